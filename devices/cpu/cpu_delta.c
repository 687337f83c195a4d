/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "cpu_delta.h"

#include <math.h>
#include <string.h>

#include "cpu_convert.h"

/* Rows of a [V,K] state that are transposed together. */
enum { TRANSPOSED_ROWS = 16 };

static int64_t padded(int64_t v_dim) {
    return (v_dim + CPU_COLUMNS - 1) / CPU_COLUMNS * CPU_COLUMNS;
}

cpu_pool cpu_pool_of(const gdn_tensor *tensor, gdn_state_order order) {
    const bool vk = order == GDN_STATE_VK;
    return (cpu_pool){.tensor = tensor, .k_axis = vk ? 3 : 2, .v_axis = vk ? 2 : 3};
}

/* Places the arrays one after the other, or only counts when `memory` is NULL. */
static size_t place(cpu_delta *d, float *memory) {
    const int64_t tokens = CPU_SEGMENT;
    const struct {
        float **array;
        int64_t floats;
    } arrays[] = {
        {&d->q, tokens * d->k_dim},
        {&d->k, tokens * d->k_dim},
        {&d->keys, d->k_dim * CPU_LD_TOKENS},
        {&d->v, tokens * d->ld},
        {&d->u, tokens * d->ld},
        {&d->out, tokens * d->ld},
        {&d->state, d->k_dim * d->ld},
        {&d->kk, tokens * CPU_LD_TOKENS},
        {&d->qk, tokens * CPU_LD_TOKENS},
        {&d->rows, TRANSPOSED_ROWS * d->k_dim},
    };
    size_t used = 0;
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        *arrays[i].array = memory ? memory + used : NULL;
        used += cpu_aligned(arrays[i].floats);
    }
    return used;
}

static cpu_delta sized(int64_t k_dim, int64_t v_dim) {
    const int64_t columns = padded(v_dim);
    return (cpu_delta){
        .k_dim = k_dim, .v_dim = v_dim, .columns = columns, .ld = columns + 16};
}

size_t cpu_delta_floats(int64_t k_dim, int64_t v_dim) {
    cpu_delta delta = sized(k_dim, v_dim);
    return place(&delta, NULL);
}

void cpu_delta_init(cpu_delta *delta, const cpu_kernels *kernels, int64_t k_dim,
                    int64_t v_dim, float *scratch) {
    *delta = sized(k_dim, v_dim);
    delta->kernels = kernels;
    place(delta, scratch);
}

/* Element of the pool where a head's state begins in a slot. */
static int64_t state_at(const cpu_pool *pool, const cpu_delta_plan *plan, int64_t slot) {
    return slot * pool->tensor->stride[0] + plan->head * pool->tensor->stride[1];
}

/* The pool's contiguous dimension is the inner one of all copies; [V,K] states are turned
 * 16 rows at a time, so that both sides are walked by cache lines. */
static void load_state(cpu_delta *d, const cpu_pool *pool, const cpu_delta_plan *plan,
                       int64_t slot) {
    const gdn_tensor *tensor = pool->tensor;
    const int64_t ks = tensor->stride[pool->k_axis];
    const int64_t vs = tensor->stride[pool->v_axis];
    const int64_t at = state_at(pool, plan, slot);
    if (pool->v_axis > pool->k_axis) {
        for (int64_t k = 0; k < d->k_dim; k++) {
            cpu_load(d->state + k * d->ld, tensor->data, tensor->dtype, at + k * ks, vs,
                     d->v_dim);
        }
        return;
    }
    for (int64_t v = 0; v < d->v_dim; v += TRANSPOSED_ROWS) {
        const int64_t rest = d->v_dim - v;
        const int64_t n = rest < TRANSPOSED_ROWS ? rest : TRANSPOSED_ROWS;
        for (int64_t j = 0; j < n; j++) {
            cpu_load(d->rows + j * d->k_dim, tensor->data, tensor->dtype, at + (v + j) * vs,
                     ks, d->k_dim);
        }
        for (int64_t k = 0; k < d->k_dim; k++) {
            for (int64_t j = 0; j < n; j++) {
                d->state[k * d->ld + v + j] = d->rows[j * d->k_dim + k];
            }
        }
    }
}

static void store_state(cpu_delta *d, const cpu_pool *pool, const cpu_delta_plan *plan,
                        int64_t slot) {
    const gdn_tensor *tensor = pool->tensor;
    const int64_t ks = tensor->stride[pool->k_axis];
    const int64_t vs = tensor->stride[pool->v_axis];
    const int64_t at = state_at(pool, plan, slot);
    if (pool->v_axis > pool->k_axis) {
        for (int64_t k = 0; k < d->k_dim; k++) {
            cpu_store(tensor->data, tensor->dtype, at + k * ks, vs, d->state + k * d->ld,
                      d->v_dim);
        }
        return;
    }
    for (int64_t v = 0; v < d->v_dim; v += TRANSPOSED_ROWS) {
        const int64_t rest = d->v_dim - v;
        const int64_t n = rest < TRANSPOSED_ROWS ? rest : TRANSPOSED_ROWS;
        for (int64_t k = 0; k < d->k_dim; k++) {
            for (int64_t j = 0; j < n; j++) {
                d->rows[j * d->k_dim + k] = d->state[k * d->ld + v + j];
            }
        }
        for (int64_t j = 0; j < n; j++) {
            cpu_store(tensor->data, tensor->dtype, at + (v + j) * vs, ks,
                      d->rows + j * d->k_dim, d->k_dim);
        }
    }
}

void cpu_delta_begin(cpu_delta *delta, const cpu_delta_plan *plan,
                     const cpu_sequence *sequence) {
    if (sequence->load_place >= 0) {
        load_state(delta, plan->buffer, plan, sequence->load_place);
    } else if (sequence->load_slot >= 0) {
        load_state(delta, plan->pool, plan, sequence->load_slot);
    } else {
        memset(delta->state, 0, (size_t)(delta->k_dim * delta->ld) * sizeof *delta->state);
    }
}

/* Sums of squares in double, in four chains: they neither overflow nor lose anything next
 * to the fp32 recurrence, for a cost that does not show. */
static double inverse_norm(const gdn_conventions *conventions, const float *x, int64_t n) {
    double sum[4] = {0.0};
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (int j = 0; j < 4; j++) {
            sum[j] += (double)x[i + j] * (double)x[i + j];
        }
    }
    for (; i < n; i++) {
        sum[0] += (double)x[i] * (double)x[i];
    }
    const double total = sum[0] + sum[1] + (sum[2] + sum[3]);
    const double eps = conventions->l2norm_eps;
    switch (conventions->l2norm_form) {
    case GDN_L2NORM_OUTSIDE:
        return 1.0 / (sqrt(total) + eps);
    case GDN_L2NORM_MAX:
        return 1.0 / (sqrt(total) <= eps ? eps : sqrt(total));
    case GDN_L2NORM_INSIDE:
        break;
    }
    return 1.0 / sqrt(total + eps);
}

static void scale(float *x, int64_t n, double factor) {
    for (int64_t i = 0; i < n; i++) {
        x[i] = (float)((double)x[i] * factor);
    }
}

void cpu_delta_normalise(cpu_delta *delta, const cpu_delta_plan *plan, int64_t count,
                         bool l2norm) {
    const gdn_conventions *conventions = plan->conventions;
    const gdn_chunk_qk rounding = plan->chunked ? conventions->chunk_qk : GDN_CHUNK_QK_NONE;
    const int64_t n = delta->k_dim;
    const double query_scale = 1.0 / sqrt((double)n);
    for (int64_t t = 0; t < count; t++) {
        float *q = delta->q + t * n, *k = delta->k + t * n;
        const double norm = l2norm ? inverse_norm(conventions, q, n) : 1.0;
        if (rounding == GDN_CHUNK_QK_STORAGE) {
            scale(q, n, norm);
            cpu_round(q, plan->storage, n);
            scale(q, n, query_scale);
        } else {
            scale(q, n, query_scale * norm);
        }
        if (l2norm) {
            scale(k, n, inverse_norm(conventions, k, n));
        }
        if (rounding == GDN_CHUNK_QK_SCALED) {
            cpu_round(q, plan->storage, n);
        }
        if (rounding != GDN_CHUNK_QK_NONE) {
            cpu_round(k, plan->storage, n);
        }
    }
}

static void round_state(cpu_delta *d, gdn_dtype dtype) {
    for (int64_t k = 0; k < d->k_dim; k++) {
        cpu_round(d->state + k * d->ld, dtype, d->v_dim);
    }
}

/* How often the conventions want the carried state rounded: by the token, by the segment or
 * (call) not at all. */
static gdn_state_carry carry_of(const cpu_delta_plan *plan) {
    const gdn_state_carry carry = plan->conventions->state_carry;
    if (carry == GDN_CARRY_KERNEL) {
        return plan->chunked ? GDN_CARRY_CHUNK : GDN_CARRY_TOKEN;
    }
    return carry;
}

/* State after a token of a speculative sequence. */
static void store_column(cpu_delta *d, const cpu_delta_plan *plan,
                         const cpu_sequence *sequence, int64_t t) {
    if (sequence->padded) {
        return;
    }
    if (sequence->group->places) {
        store_state(d, plan->buffer, plan, cpu_sequence_place(sequence, t));
    } else {
        store_state(d, plan->pool, plan, cpu_sequence_slot(sequence, t));
    }
}

static void recur(cpu_delta *d, const cpu_delta_plan *plan, const cpu_sequence *sequence,
                  int64_t first, int64_t count) {
    const bool spec = cpu_group_is_speculative(sequence->group);
    const gdn_tensor *parents = sequence->group->parents;
    for (int64_t t = 0; t < count; t++) {
        const cpu_step step = {
            .k_dim = d->k_dim,
            .columns = d->columns,
            .ld = d->ld,
            .state = d->state,
            .k = d->k + t * d->k_dim,
            .q = d->q + t * d->k_dim,
            .v = d->v + t * d->ld,
            .out = d->out + t * d->ld,
            .decay = plan->decays_given ? d->g[t] : expf(d->g[t]),
            .beta = d->beta[t],
        };
        if (parents && first + t > 0 && !sequence->padded) {
            const int64_t parent = gdn_tensor_int(parents, sequence->index, first + t);
            load_state(d, plan->buffer, plan, cpu_sequence_place(sequence, parent));
        }
        d->kernels->step(&step);
        if (spec) {
            store_column(d, plan, sequence, first + t);
        }
        if (carry_of(plan) == GDN_CARRY_TOKEN) {
            round_state(d, plan->pool->tensor->dtype);
        }
    }
}

void cpu_delta_segment(cpu_delta *delta, const cpu_delta_plan *plan,
                       const cpu_sequence *sequence, int64_t first, int64_t count) {
    const bool spec = cpu_group_is_speculative(sequence->group);
    /* By the length of the sequence alone, so that its results do not depend on what else
     * is in the batch. */
    if (sequence->length >= CPU_SEGMENT && !spec && carry_of(plan) != GDN_CARRY_TOKEN) {
        for (int64_t t = 0; t < count && plan->decays_given; t++) {
            delta->g[t] = (float)log((double)delta->g[t]);
        }
        cpu_delta_chunk(delta, count);
    } else {
        recur(delta, plan, sequence, first, count);
    }
    if (carry_of(plan) == GDN_CARRY_CHUNK && count == CPU_SEGMENT) {
        round_state(delta, plan->pool->tensor->dtype);
    }
    if (!spec && !sequence->padded && first + count == sequence->length) {
        store_state(delta, plan->pool, plan, cpu_sequence_slot(sequence, 0));
    }
}
