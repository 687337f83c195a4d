/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Valid calls and ways to break them, for the tests of gdn_call_check(). The calls are as
 * small as they can be with every optional argument present and no two sizes equal that
 * could be mistaken for each other. */
#ifndef GDN_CALL_BENCH_H
#define GDN_CALL_BENCH_H

#include "gdn/call.h"

#define MAX_TENSORS 20
#define MAX_SCALARS 12
#define MAX_INTS    20

typedef enum valid_name {
    CONV,
    SPEC_CONV,
    VERIFY_CONV, /* under spec_state=buffer conv_window=windows */
    PACK,
    GATING,
    DELTA,
    ATTENTION,
    METADATA,
    VALID_CALLS
} valid_name;

/* One argument. Only index tensors that are inputs have data. */
typedef struct given {
    const char *name;
    gdn_dtype dtype;
    int rank;
    int64_t shape[GDN_MAX_RANK];
    const int *values;
} given;

typedef struct valid_call {
    gdn_op op;
    given tensors[MAX_TENSORS];
    gdn_scalar scalars[MAX_SCALARS];
} valid_call;

extern const valid_call VALID[VALID_CALLS];

/* A call that may be changed. */
typedef struct bench {
    gdn_conventions conventions;
    gdn_tensor tensors[MAX_TENSORS + 1];
    gdn_scalar scalars[MAX_SCALARS + 1];
    union {
        int32_t i32[MAX_INTS];
        uint8_t flag[MAX_INTS];
    } data[MAX_TENSORS + 1];
    gdn_call call;
} bench;

void bench_init(bench *b, valid_name name);

/* Element `at` in C order of an index tensor. */
void bench_set(gdn_tensor *tensor, int64_t at, int64_t value);

/* Applies changes, separated by spaces:
 *   x[3]=7     element 3 in C order         x.1=4   size of dimension 1
 *   x/2        rank: trailing dimensions go, or come with size 1
 *   x:fp16     type, by name or number      x!      renamed to "extra"
 *   n=5        a scalar, or a convention    -x      absent          +x      there twice */
void bench_change(bench *b, const char *changes);

/* `message`: the whole of it; NULL if the call passes all the same. */
typedef struct row {
    valid_name valid;
    const char *changes;
    const char *message;
} row;

void check_rows(const row *rows, size_t n);

#define CHECK_ROWS(rows) check_rows(rows, sizeof(rows) / sizeof((rows)[0]))

#endif
