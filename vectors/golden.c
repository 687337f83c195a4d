/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "problem.h"

/* What the reference writes into: whole tensors, of which only the written rows are kept.
 * calloc leaves the pages of untouched slots unmapped. */
typedef struct sink {
    const gdn_argument *argument;
    const gdn_tensor *tensor;
    void *values;
    float *limit, *emulated, *operand;
    gdn_pool *pools; /* a head each; NULL where no recurrence makes the output */
    uint8_t *written;
} sink;

static bool is_recurrent(gdn_op op) {
    return op == GDN_OP_GATED_DELTA_RULE || op == GDN_OP_GDN_ATTENTION;
}

static gdn_status sink_create(sink *s, gdn_output *output, const gdn_tensor *tensor,
                              const gdn_argument *argument, gdn_op op, gdn_error *err) {
    const bool bounded = argument->judgement == GDN_JUDGE_BOUNDED;
    const bool floors = bounded && is_recurrent(op);
    const gdn_dtype dtype = bounded ? GDN_FP64 : tensor->dtype;
    const size_t count = (size_t)gdn_tensor_count(tensor);
    *s = (sink){.argument = argument, .tensor = tensor};
    s->values = calloc(count + 1, gdn_dtype_size(dtype));
    s->written = calloc((size_t)tensor->shape[0] + 1, 1);
    s->limit = bounded ? calloc(count + 1, sizeof(float)) : NULL;
    if (floors) {
        s->emulated = calloc(count + 1, sizeof(float));
        s->operand = calloc(count + 1, sizeof(float));
        s->pools = calloc((size_t)tensor->shape[1] + 1, sizeof *s->pools);
    }
    if (!s->values || !s->written || (bounded && !s->limit) ||
        (floors && (!s->emulated || !s->operand || !s->pools))) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for golden %s (%zu values)",
                             tensor->name, count);
    }
    *output = (gdn_output){
        .value =
            gdn_tensor_dense(tensor->name, s->values, dtype, tensor->rank, tensor->shape),
        .limit = s->limit,
        .written = s->written,
        .emulated = s->emulated,
        .input = s->operand,
        .pools = s->pools,
    };
    return GDN_OK;
}

/* Sums over one head, rows ascending. Errors of different size count for less than their
 * number: a sum of squares of normal errors has the variance of one with
 * (sum s^2)^2 / sum s^4 equal ones (Welch and Satterthwaite), and sum e^4 estimates
 * 3 sum s^4. */
static gdn_floor measure_floor(const sink *s, int64_t head) {
    const int64_t heads = s->tensor->shape[1];
    const int64_t row_count = gdn_tensor_row_count(s->tensor);
    const int64_t width = row_count / heads;
    double largest = 0.0, square = 0.0, fourth = 0.0, count = 0.0;
    for (int64_t row = 0; row < s->tensor->shape[0]; row++) {
        const int64_t first = row * row_count + head * width;
        for (int64_t i = first; s->written[row] && i < first + width; i++) {
            const double e = (double)s->emulated[i] - ((const double *)s->values)[i];
            if (isfinite(e)) {
                largest = fmax(largest, fabs(e));
                square += e * e;
                fourth += e * e * e * e;
                count += 1.0;
            }
        }
    }
    gdn_floor floor = {.largest = largest, .matrix = s->pools[head].matrix};
    if (fourth > 0.0) {
        const double equal = fmin(1.0, 3.0 * square * square / (fourth * count));
        floor.rms = sqrt(square / count);
        floor.degrees = fmin(equal * (double)s->pools[head].degrees, count);
    }
    return floor;
}

static gdn_status measure_floors(const sink *s, gdn_expected *expected, gdn_error *err) {
    const int64_t heads = s->tensor->shape[1];
    expected->floors = calloc((size_t)heads + 1, sizeof *expected->floors);
    if (!expected->floors) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for the floors of %s",
                             s->tensor->name);
    }
    for (int64_t head = 0; head < heads; head++) {
        expected->floors[head] = measure_floor(s, head);
    }
    return GDN_OK;
}

static bool all_zero(const float *values, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        if (values[i] != 0.0F) {
            return false;
        }
    }
    return true;
}

/* Exact outputs may be written in part of a row (conv state): start from what is there. */
static void copy_rows_in(sink *s) {
    const gdn_tensor *t = s->tensor;
    const size_t size = gdn_dtype_size(t->dtype);
    const int64_t row_count = gdn_tensor_row_count(t);
    for (int64_t row = 0; row < t->shape[0]; row++) {
        const uint8_t *from =
            (const uint8_t *)t->data + (size_t)(row * t->stride[0]) * size;
        memcpy((uint8_t *)s->values + (size_t)(row * row_count) * size, from,
               (size_t)row_count * size);
    }
}

/* Moves the written rows to the front and hands the arrays over. */
static gdn_status sink_take(sink *s, gdn_expected *expected, gdn_error *err) {
    const bool bounded = s->limit != NULL;
    const int64_t row_count = gdn_tensor_row_count(s->tensor);
    const size_t row_bytes =
        (size_t)row_count * (bounded ? sizeof(double) : gdn_dtype_size(s->tensor->dtype));
    int64_t *rows = malloc((size_t)(s->tensor->shape[0] + 1) * sizeof *rows);
    if (!rows) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for the rows of %s",
                             s->tensor->name);
    }
    *expected = (gdn_expected){.rows = rows};
    if (s->pools) {
        GDN_TRY(measure_floors(s, expected, err));
    }
    int64_t n = 0;
    for (int64_t row = 0; row < s->tensor->shape[0]; row++) {
        if (!s->written[row]) {
            continue;
        }
        if (n != row) {
            memmove((uint8_t *)s->values + (size_t)n * row_bytes,
                    (uint8_t *)s->values + (size_t)row * row_bytes, row_bytes);
            if (bounded) {
                memmove(s->limit + n * row_count, s->limit + row * row_count,
                        (size_t)row_count * sizeof(float));
            }
            if (s->operand) {
                memmove(s->operand + n * row_count, s->operand + row * row_count,
                        (size_t)row_count * sizeof(float));
            }
        }
        rows[n++] = row;
    }
    *expected = (gdn_expected){
        .tensor = s->tensor,
        .judgement = s->argument->judgement,
        .rows = rows,
        .n_rows = n,
        .row_count = row_count,
        .golden = bounded ? s->values : NULL,
        .limit = s->limit,
        .floors = expected->floors,
        .bits = bounded ? NULL : s->values,
    };
    s->values = NULL;
    s->limit = NULL;
    if (s->operand && !all_zero(s->operand, n * row_count)) {
        expected->operand = s->operand;
        s->operand = NULL;
    }
    return GDN_OK;
}

gdn_status gdn_golden_create(gdn_golden *golden, const gdn_problem *problem,
                             gdn_error *err) {
    const gdn_call *call = &problem->call;
    const size_t n = call->n_tensors;
    *golden = (gdn_golden){.outputs = calloc(n, sizeof *golden->outputs)};
    sink *sinks = calloc(n, sizeof *sinks);
    gdn_output *outputs = calloc(n, sizeof *outputs);
    gdn_status status =
        golden->outputs && sinks && outputs
            ? GDN_OK
            : gdn_error_set(err, GDN_ERR_OOM, "no memory for golden outputs");
    for (size_t i = 0; status == GDN_OK && i < n; i++) {
        const gdn_argument *argument = gdn_op_argument(call->op, call->tensors[i].name);
        if (argument->access != GDN_IN) {
            status = sink_create(&sinks[i], &outputs[i], &call->tensors[i], argument,
                                 call->op, err);
            if (status == GDN_OK && argument->judgement == GDN_JUDGE_EXACT) {
                copy_rows_in(&sinks[i]);
            }
        }
    }
    if (status == GDN_OK) {
        status = gdn_reference_run(call, outputs, err);
    }
    for (size_t i = 0; status == GDN_OK && i < n; i++) {
        if (sinks[i].argument) {
            status = sink_take(&sinks[i], &golden->outputs[golden->n_outputs++], err);
        }
    }
    for (size_t i = 0; sinks && i < n; i++) {
        free(sinks[i].values);
        free(sinks[i].limit);
        free(sinks[i].emulated);
        free(sinks[i].operand);
        free(sinks[i].pools);
        free(sinks[i].written);
    }
    free(sinks);
    free(outputs);
    if (status != GDN_OK) {
        gdn_golden_destroy(golden);
        gdn_error_context(err, "reference on %s", problem->test->id);
    }
    return status;
}

void gdn_golden_destroy(gdn_golden *golden) {
    for (size_t i = 0; i < golden->n_outputs; i++) {
        gdn_expected *e = &golden->outputs[i];
        free(e->rows);
        free(e->golden);
        free(e->limit);
        free(e->floors);
        free(e->operand);
        free(e->bits);
    }
    free(golden->outputs);
    *golden = (gdn_golden){0};
}

int64_t gdn_golden_bytes(const gdn_golden *golden) {
    int64_t bytes = 0;
    for (size_t i = 0; i < golden->n_outputs; i++) {
        const gdn_expected *e = &golden->outputs[i];
        const int64_t element = e->golden ? (int64_t)(sizeof(double) + sizeof(float))
                                          : (int64_t)gdn_dtype_size(e->tensor->dtype);
        bytes += e->n_rows * e->row_count * element;
    }
    return bytes;
}
