/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The calls whose digests are committed. */
#ifndef GDN_DIGEST_CALLS_H
#define GDN_DIGEST_CALLS_H

#include "gdn/call.h"

#define DIGEST_TENSORS 20
#define DIGEST_SCALARS 10

/* How an input without `ints` gets its values; outputs get none. */
typedef enum digest_fill {
    FILL_NORMAL, ///< scale * N(0,1)
    FILL_DECAY,  ///< -scale * |N(0,1)|
    FILL_BETA,   ///< sigmoid(scale * N(0,1))
} digest_fill;

typedef struct digest_tensor {
    const char *name;
    gdn_dtype dtype;
    int rank;
    int64_t shape[GDN_MAX_RANK];
    const int *ints;
    double scale;
    digest_fill fill;
} digest_tensor;

typedef struct digest_call {
    const char *name;
    gdn_op op;
    const char *conventions; ///< "field=value", separated by spaces
    digest_tensor tensors[DIGEST_TENSORS];
    gdn_scalar scalars[DIGEST_SCALARS];
} digest_call;

/* Ends with a call without a name. */
extern const digest_call DIGEST_CALLS[];

#endif
