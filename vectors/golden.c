/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dye.h"
#include "floor_figures.h"
#include "lattice.h"
#include "problem_tensors.h"

/* Elements from which a team of threads is worth its start. */
#define WORTH_THREADS (1 << 16)

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

/* Integers are held to their lattice, whatever a kernel of the class errs by. */
static bool has_floors(const gdn_case *test) {
    return (test->op == GDN_OP_GATED_DELTA_RULE || test->op == GDN_OP_GDN_ATTENTION) &&
           !gdn_case_is_lattice(test);
}

static gdn_status sink_create(sink *s, gdn_output *output, const gdn_tensor *tensor,
                              const gdn_argument *argument, bool recurrent,
                              gdn_golden_depth depth, gdn_error *err) {
    const bool bounded = argument->judgement == GDN_JUDGE_BOUNDED;
    const bool limits = bounded && depth >= GDN_GOLDEN_LIMITS;
    const bool floors = bounded && depth >= GDN_GOLDEN_FLOORS && recurrent;
    const gdn_dtype dtype = bounded ? GDN_FP64 : tensor->dtype;
    const size_t count = (size_t)gdn_tensor_count(tensor);
    *s = (sink){.argument = argument, .tensor = tensor};
    s->values = calloc(count + 1, gdn_dtype_size(dtype));
    s->written = calloc((size_t)tensor->shape[0] + 1, 1);
    s->limit = limits ? calloc(count + 1, sizeof(float)) : NULL;
    if (floors) {
        s->emulated = calloc(count + 1, sizeof(float));
        s->operand = calloc(count + 1, sizeof(float));
        s->pools = calloc((size_t)tensor->shape[1] + 1, sizeof *s->pools);
    }
    if (!s->values || !s->written || (limits && !s->limit) ||
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

/* Errors of one row's head as a dense matrix with value dimensions as rows (states), or one
 * row of a matrix with a row a token (outputs). */
static void load_errors(const sink *s, int64_t row, int64_t head, bool vk, double *errors) {
    const gdn_tensor *t = s->tensor;
    const int64_t width = gdn_tensor_row_count(t) / t->shape[1];
    const int64_t first = (row * t->shape[1] + head) * width;
    for (int64_t i = 0; i < width; i++) {
        const double e =
            (double)s->emulated[first + i] - ((const double *)s->values)[first + i];
        const int64_t at =
            t->rank < 4 || vk ? i : i % t->shape[3] * t->shape[2] + i / t->shape[3];
        errors[at] = isfinite(e) ? e : 0.0;
    }
}

static gdn_status measure_floor(const sink *s, int64_t head, bool vk, double *errors,
                                gdn_floor *floor, gdn_error *err) {
    const gdn_tensor *t = s->tensor;
    const int64_t width = gdn_tensor_row_count(t) / t->shape[1];
    gdnp_floor_sums sums = {0};
    int64_t tokens = 0;
    for (int64_t row = 0; row < t->shape[0]; row++) {
        if (s->written[row] && t->rank == 4) {
            load_errors(s, row, head, vk, errors);
            const int64_t rows = t->shape[vk ? 2 : 3];
            GDN_TRY(gdnp_floor_add(&sums, errors, rows, width / rows, err));
        } else if (s->written[row]) {
            load_errors(s, row, head, vk, errors + width * tokens++);
        }
    }
    if (tokens > 0) {
        GDN_TRY(gdnp_floor_add(&sums, errors, tokens, width, err));
    }
    *floor = gdnp_floor_figures(&sums, &s->pools[head]);
    return GDN_OK;
}

/* Heads are independent and each is summed in its own order. */
static gdn_status measure_floors(const sink *s, gdn_expected *expected, bool vk,
                                 gdn_error *err) {
    const gdn_tensor *t = s->tensor;
    const int64_t heads = t->shape[1];
    const int64_t width = gdn_tensor_row_count(t) / heads;
    const int64_t most = t->rank == 4 ? width : width * t->shape[0];
    gdn_status status = GDN_OK;
    expected->floors = calloc((size_t)heads + 1, sizeof *expected->floors);
    if (!expected->floors) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for the floors of %s", t->name);
    }
#pragma omp parallel for schedule(dynamic) if (heads * most > WORTH_THREADS)
    for (int64_t head = 0; head < heads; head++) {
        double *errors = malloc((size_t)(most + 1) * sizeof *errors);
        gdn_error local = {0};
        const gdn_status own =
            errors ? measure_floor(s, head, vk, errors, &expected->floors[head], &local)
                   : gdn_error_set(&local, GDN_ERR_OOM, "no memory for a noise floor");
        free(errors);
        if (own != GDN_OK) {
#pragma omp critical(gdn_floor_error)
            status = gdn_error_set(err, own, "%s", local.message);
        }
    }
    return status;
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
static gdn_status sink_take(sink *s, gdn_expected *expected, bool vk, gdn_error *err) {
    const bool bounded = s->argument->judgement == GDN_JUDGE_BOUNDED;
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
        GDN_TRY(measure_floors(s, expected, vk, err));
    }
    int64_t n = 0;
    for (int64_t row = 0; row < s->tensor->shape[0]; row++) {
        if (!s->written[row]) {
            continue;
        }
        if (n != row) {
            memmove((uint8_t *)s->values + (size_t)n * row_bytes,
                    (uint8_t *)s->values + (size_t)row * row_bytes, row_bytes);
            if (s->limit) {
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

static gdn_status evaluate(gdn_golden *golden, const gdn_problem *problem,
                           gdn_golden_depth depth, gdn_error *err) {
    const gdn_call *call = &problem->call;
    const bool vk = call->conventions->state_order == GDN_STATE_VK;
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
                                 has_floors(problem->test), depth, err);
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
            status = sink_take(&sinks[i], &golden->outputs[golden->n_outputs++], vk, err);
        }
    }
    for (size_t i = 0; status == GDN_OK && i < golden->n_outputs; i++) {
        gdnp_lattice_limits(&golden->outputs[i], problem->test);
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

void gdn_golden_answer(const gdn_golden *golden) {
    for (size_t i = 0; i < golden->n_outputs; i++) {
        const gdn_expected *e = &golden->outputs[i];
        const size_t size = gdn_dtype_size(e->tensor->dtype);
        for (int64_t row = 0; row < e->n_rows; row++) {
            const int64_t at = e->rows[row] * e->tensor->stride[0];
            const int64_t flat = row * e->row_count;
            if (e->golden) {
                gdn_store_run(e->tensor->data, e->tensor->dtype, at, 1, e->golden + flat,
                              e->row_count);
            } else {
                memcpy((uint8_t *)e->tensor->data + (size_t)at * size,
                       (const uint8_t *)e->bits + (size_t)flat * size,
                       (size_t)e->row_count * size);
            }
        }
    }
}

gdn_status gdnp_golden_evaluate(gdn_golden *golden, const gdn_problem *problem,
                                gdn_error *err) {
    return evaluate(golden, problem, GDN_GOLDEN_FLOORS, err);
}

/* Dyes are made of several evaluations, whole ones. */
gdn_status gdn_golden_create_to(gdn_golden *golden, const gdn_problem *problem,
                                gdn_golden_depth depth, gdn_error *err) {
    const gdn_dye dye = problem->test->dye;
    return dye == GDN_DYE_NONE || dye == GDN_DYE_UNREAD
               ? evaluate(golden, problem, depth, err)
               : gdnp_dye_golden(golden, problem, err);
}

gdn_status gdn_golden_create(gdn_golden *golden, const gdn_problem *problem,
                             gdn_error *err) {
    return gdn_golden_create_to(golden, problem, GDN_GOLDEN_FLOORS, err);
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
