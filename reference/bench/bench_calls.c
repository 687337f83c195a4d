/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "bench_calls.h"

#include "gdn/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_HEADS   16
#define VALUE_HEADS 32
#define HEAD_DIM    128
#define TAPS        4
#define CHANNELS    ((2 * KEY_HEADS + VALUE_HEADS) * HEAD_DIM)

#define NORMALS 4093

void *bench_alloc(size_t bytes) {
    const size_t lines = bytes / 64 + 1;
    void *memory = aligned_alloc(64, lines * 64);
    if (!memory) {
        fprintf(stderr, "bench_reference: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return memset(memory, 0, lines * 64);
}

void bench_fill(void *data, gdn_dtype dtype, int64_t count, double scale) {
    const gdn_random random = {.seed = 1, .stream = 1};
    double normals[NORMALS];
    gdn_random_normals(&random, 0, NORMALS, normals);
    for (int64_t i = 0; i < count; i++) {
        gdn_store(data, dtype, i, scale * normals[i % NORMALS]);
    }
}

static void begin(bench_call *b, gdn_op op) {
    *b = (bench_call){.conventions = gdn_conventions_default()};
    b->call = (gdn_call){
        .struct_size = sizeof(gdn_call),
        .op = op,
        .conventions = &b->conventions,
        .tensors = b->tensors,
        .scalars = &b->scalar,
    };
}

/* Adds a dense tensor of N(0,1), integers zeroed; `shape` ends at the first 0. */
static gdn_tensor *add(bench_call *b, const char *name, gdn_dtype dtype, int64_t s0,
                       int64_t s1, int64_t s2, int64_t s3) {
    const int64_t shape[] = {s0, s1, s2, s3};
    int rank = 0;
    while (rank < 4 && shape[rank] != 0) {
        rank++;
    }
    gdn_tensor *tensor = &b->tensors[b->call.n_tensors++];
    *tensor = gdn_tensor_dense(name, NULL, dtype, rank, shape);
    const int64_t count = gdn_tensor_count(tensor);
    tensor->data = bench_alloc((size_t)count * gdn_dtype_size(dtype));
    if (gdn_dtype_is_float(dtype)) {
        bench_fill(tensor->data, dtype, count, 1.0);
    }
    return tensor;
}

static void want(bench_call *b, const gdn_tensor *tensor, bool limits) {
    gdn_output *output = &b->outputs[tensor - b->tensors];
    const size_t count = (size_t)gdn_tensor_count(tensor);
    output->value = gdn_tensor_dense(tensor->name, bench_alloc(count * sizeof(double)),
                                     GDN_FP64, tensor->rank, tensor->shape);
    output->limit = limits ? bench_alloc(count * sizeof *output->limit) : NULL;
}

/* One sequence of all rows, in slot 0. */
static void add_sequence(bench_call *b, int64_t tokens) {
    gdn_tensor *starts = add(b, "query_start_loc", GDN_I32, 2, 0, 0, 0);
    gdn_store(starts->data, GDN_I32, 1, (double)tokens);
    add(b, "state_indices", GDN_I32, 1, 0, 0, 0);
}

void bench_delta_create(bench_call *b, int64_t tokens, bool limits) {
    begin(b, GDN_OP_GATED_DELTA_RULE);
    add(b, "q", GDN_BF16, tokens, KEY_HEADS, HEAD_DIM, 0);
    add(b, "k", GDN_BF16, tokens, KEY_HEADS, HEAD_DIM, 0);
    add(b, "v", GDN_BF16, tokens, VALUE_HEADS, HEAD_DIM, 0);
    float *g = add(b, "g", GDN_FP32, tokens, VALUE_HEADS, 0, 0)->data;
    float *beta = add(b, "beta", GDN_FP32, tokens, VALUE_HEADS, 0, 0)->data;
    for (int64_t i = 0; i < tokens * VALUE_HEADS; i++) {
        g[i] = -0.05F * fabsf(g[i]);
        beta[i] = 1.0F / (1.0F + expf(-beta[i]));
    }
    add_sequence(b, tokens);
    want(b, add(b, "ssm_state", GDN_FP32, 1, VALUE_HEADS, HEAD_DIM, HEAD_DIM), limits);
    want(b, add(b, "out", GDN_BF16, tokens, VALUE_HEADS, HEAD_DIM, 0), limits);
    b->scalar = (gdn_scalar){.name = "use_qk_l2norm", .value = 1};
    b->call.n_scalars = 1;
    b->elements = tokens * VALUE_HEADS * HEAD_DIM * HEAD_DIM;
}

void bench_conv_create(bench_call *b, int64_t tokens, gdn_activation activation,
                       bool limits) {
    begin(b, GDN_OP_CAUSAL_CONV1D);
    b->conventions.activation = activation;
    add(b, "x", GDN_BF16, tokens, CHANNELS, 0, 0);
    add(b, "weight", GDN_BF16, CHANNELS, TAPS, 0, 0);
    add_sequence(b, tokens);
    want(b, add(b, "conv_state", GDN_BF16, 1, TAPS - 1, CHANNELS, 0), false);
    want(b, add(b, "out", GDN_BF16, tokens, CHANNELS, 0, 0), limits);
    b->elements = tokens * CHANNELS;
}

void bench_gating_create(bench_call *b, int64_t tokens, bool limits) {
    begin(b, GDN_OP_GDN_GATING);
    add(b, "A_log", GDN_FP32, VALUE_HEADS, 0, 0, 0);
    add(b, "dt_bias", GDN_BF16, VALUE_HEADS, 0, 0, 0);
    add(b, "a", GDN_BF16, tokens, VALUE_HEADS, 0, 0);
    add(b, "b", GDN_BF16, tokens, VALUE_HEADS, 0, 0);
    want(b, add(b, "g", GDN_FP32, tokens, VALUE_HEADS, 0, 0), limits);
    want(b, add(b, "beta", GDN_FP32, tokens, VALUE_HEADS, 0, 0), limits);
    b->elements = tokens * VALUE_HEADS;
}

void bench_call_run(bench_call *b) {
    gdn_error err = {0};
    if (gdn_reference_run(&b->call, b->outputs, &err) != GDN_OK) {
        fprintf(stderr, "bench_reference: %s\n", err.message);
        exit(1);
    }
}

void bench_call_destroy(bench_call *b) {
    for (size_t i = 0; i < b->call.n_tensors; i++) {
        free(b->tensors[i].data);
        free(b->outputs[i].value.data);
        free(b->outputs[i].limit);
    }
}
