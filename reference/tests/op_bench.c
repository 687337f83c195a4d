/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "op_bench.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gdn/random.h"

void op_begin(op_bench *b, gdn_op op) {
    *b = (op_bench){.conventions = gdn_conventions_default()};
    b->call = (gdn_call){
        .struct_size = sizeof(gdn_call),
        .op = op,
        .conventions = &b->conventions,
        .tensors = b->tensors,
        .scalars = b->scalars,
    };
}

gdn_tensor *op_add(op_bench *b, const char *name, gdn_dtype dtype, int64_t s0, int64_t s1,
                   int64_t s2, int64_t s3) {
    const int64_t shape[] = {s0, s1, s2, s3};
    int rank = 0;
    while (rank < 4 && shape[rank] != 0) {
        rank++;
    }
    assert_true(b->call.n_tensors < OP_TENSORS);
    gdn_tensor *tensor = &b->tensors[b->call.n_tensors++];
    *tensor = gdn_tensor_dense(name, NULL, dtype, rank, shape);
    tensor->data = calloc((size_t)gdn_tensor_count(tensor) + 1, gdn_dtype_size(dtype));
    assert_non_null(tensor->data);
    return tensor;
}

void op_scalar(op_bench *b, const char *name, int64_t value) {
    assert_true(b->call.n_scalars < OP_SCALARS);
    b->scalars[b->call.n_scalars++] = (gdn_scalar){.name = name, .value = value};
}

gdn_tensor *op_tensor(op_bench *b, const char *name) {
    for (size_t i = 0; i < b->call.n_tensors; i++) {
        if (strcmp(b->tensors[i].name, name) == 0) {
            return &b->tensors[i];
        }
    }
    fail_msg("no tensor %s", name);
    return NULL;
}

gdn_output *op_output(op_bench *b, const char *name) {
    return &b->outputs[op_tensor(b, name) - b->tensors];
}

void op_want(op_bench *b, const char *name, gdn_dtype dtype, bool limits) {
    const gdn_tensor *tensor = op_tensor(b, name);
    gdn_output *output = op_output(b, name);
    free(output->value.data); /* of an earlier wish */
    free(output->limit);
    free(output->written);
    const size_t count = (size_t)gdn_tensor_count(tensor) + 1;
    output->value = gdn_tensor_dense(name, calloc(count, gdn_dtype_size(dtype)), dtype,
                                     tensor->rank, tensor->shape);
    output->limit = limits ? calloc(count, sizeof(float)) : NULL;
    output->written = calloc((size_t)tensor->shape[0] + 1, 1);
}

void op_normal(gdn_tensor *tensor, uint64_t seed, uint64_t stream, double scale) {
    const gdn_random random = {.seed = seed, .stream = stream};
    const int64_t count = gdn_tensor_count(tensor);
    for (int64_t i = 0; i < count; i++) {
        gdn_store(tensor->data, tensor->dtype, i,
                  scale * gdn_random_normal(&random, (uint64_t)i));
    }
}

void op_set(gdn_tensor *tensor, const double *values, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        gdn_store(tensor->data, tensor->dtype, i, values[i]);
    }
}

void op_set_ints(gdn_tensor *tensor, const int *values, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        gdn_store(tensor->data, tensor->dtype, i, (double)values[i]);
    }
}

void op_run(op_bench *b) {
    gdn_error err = {0};
    if (gdn_reference_run(&b->call, b->outputs, &err) != GDN_OK) {
        fail_msg("%s", err.message);
    }
}

void op_end(op_bench *b) {
    for (size_t i = 0; i < b->call.n_tensors; i++) {
        free(b->tensors[i].data);
        free(b->outputs[i].value.data);
        free(b->outputs[i].limit);
        free(b->outputs[i].written);
    }
}

void op_delta(op_bench *b, const delta_shape *s, const int *lengths, int n, uint64_t seed) {
    int starts[16] = {0};
    int slots[16];
    for (int i = 0; i < n; i++) {
        starts[i + 1] = starts[i] + lengths[i];
        slots[i] = i + 1;
    }
    const int64_t rows = starts[n];
    const int64_t hk = s->key_heads, hv = s->value_heads;
    op_begin(b, GDN_OP_GATED_DELTA_RULE);
    op_normal(op_add(b, "q", s->dtype, rows, hk, s->k_dim, 0), seed, 1, 1.0);
    op_normal(op_add(b, "k", s->dtype, rows, hk, s->k_dim, 0), seed, 2, 1.0);
    op_normal(op_add(b, "v", s->dtype, rows, hv, s->v_dim, 0), seed, 3, 1.0);
    gdn_tensor *g = op_add(b, "g", GDN_FP32, rows, hv, 0, 0);
    gdn_tensor *beta = op_add(b, "beta", GDN_FP32, rows, hv, 0, 0);
    op_normal(g, seed, 4, s->rate);
    op_normal(beta, seed, 5, 1.0);
    for (int64_t i = 0; i < rows * hv; i++) {
        float *gi = (float *)g->data + i;
        float *bi = (float *)beta->data + i;
        *gi = -fabsf(*gi);
        *bi = 1.0F / (1.0F + expf(-(*bi + (float)s->logit)));
    }
    op_normal(op_add(b, "ssm_state", s->state_dtype, n + 2, hv, s->v_dim, s->k_dim), seed,
              6, 0.5);
    op_set_ints(op_add(b, "query_start_loc", GDN_I32, n + 1, 0, 0, 0), starts, n + 1);
    op_set_ints(op_add(b, "state_indices", GDN_I32, n, 0, 0, 0), slots, n);
    op_add(b, "out", s->dtype, rows, hv, s->v_dim, 0);
    op_scalar(b, "use_qk_l2norm", 1);
    op_want(b, "out", GDN_FP64, true);
    op_want(b, "ssm_state", GDN_FP64, true);
}
