/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Calls of the ops at the sizes of Qwen3-Next, with memory of their own. */
#ifndef GDN_BENCH_CALLS_H
#define GDN_BENCH_CALLS_H

#include "gdn/reference.h"

#define BENCH_TENSORS 12

typedef struct bench_call {
    gdn_conventions conventions;
    gdn_tensor tensors[BENCH_TENSORS];
    gdn_output outputs[BENCH_TENSORS];
    gdn_scalar scalar;
    gdn_call call;
    int64_t elements; /* of the state times tokens, or of the first output */
} bench_call;

/* One sequence of `tokens`; all outputs in FP64, with limits or without. They end the
 * program if there is no memory. */
void bench_delta_create(bench_call *b, int64_t tokens, bool limits);
void bench_conv_create(bench_call *b, int64_t tokens, gdn_activation activation,
                       bool limits);
void bench_gating_create(bench_call *b, int64_t tokens, bool limits);
void bench_call_destroy(bench_call *b);

/* Ends the program with the message if the op fails. */
void bench_call_run(bench_call *b);

/* `count` elements of N(0,1), the same few thousand over and over. */
void bench_fill(void *data, gdn_dtype dtype, int64_t count, double scale);

/* Zeroed and aligned to a cache line; ends the program if there is none. */
void *bench_alloc(size_t bytes);

#endif
