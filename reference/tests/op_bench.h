/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Calls with memory of their own, for tests of the ops' mathematics. */
#ifndef GDN_OP_BENCH_H
#define GDN_OP_BENCH_H

#include "gdn/reference.h"

#define OP_TENSORS 24
#define OP_SCALARS 12

typedef struct op_bench {
    gdn_conventions conventions;
    gdn_tensor tensors[OP_TENSORS];
    gdn_output outputs[OP_TENSORS];
    gdn_scalar scalars[OP_SCALARS];
    gdn_call call;
} op_bench;

/* An empty call with default conventions. */
void op_begin(op_bench *b, gdn_op op);

/* Adds a zeroed dense tensor; `shape` ends at the first 0. */
gdn_tensor *op_add(op_bench *b, const char *name, gdn_dtype dtype, int64_t s0, int64_t s1,
                   int64_t s2, int64_t s3);
void op_scalar(op_bench *b, const char *name, int64_t value);

gdn_tensor *op_tensor(op_bench *b, const char *name);
gdn_output *op_output(op_bench *b, const char *name);

/* Asks for an output in `dtype`, with limits or without. */
void op_want(op_bench *b, const char *name, gdn_dtype dtype, bool limits);

/* Fills with scale * N(0,1) of a stream. */
void op_normal(gdn_tensor *tensor, uint64_t seed, uint64_t stream, double scale);

/* Writes `count` values or integers in C order. */
void op_set(gdn_tensor *tensor, const double *values, int64_t count);
void op_set_ints(gdn_tensor *tensor, const int *values, int64_t count);

/* Runs and fails the test with the message if that does not succeed. */
void op_run(op_bench *b);

void op_end(op_bench *b);

/* A gated_delta_rule call of `lengths` (n of them), slot i + 1 for sequence i, one more
 * free slot;
 * N(0,1) values, g = -rate * |N|, beta in (0,1), all outputs wanted in FP64 with limits. */
typedef struct delta_shape {
    int64_t key_heads, value_heads, k_dim, v_dim;
    gdn_dtype dtype, state_dtype;
    double rate;
    double logit; /* of beta, added to N(0,1) */
} delta_shape;
void op_delta(op_bench *b, const delta_shape *shape, const int *lengths, int n,
              uint64_t seed);

#endif
