/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Index tensors and values of a problem. What no correct backend reads stays poison: pad
 * rows, slots that no sequence starts from, conv rows outside every history window. */
#include "problem_tensors.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "fill.h"
#include "gdn/exact.h"
#include "gdn/random.h"

typedef struct filler {
    gdn_problem *problem;
    const gdn_case *test;
    const gdn_plan *plan;
    double *runs; /* scratch for one run of values, one a thread */
    size_t run_size;
} filler;

/* Whether the values are worth a team of threads. */
static bool is_large(const filler *f) {
    return f->problem->arena.bytes >= (size_t)1 << 19;
}

static double *run_of(const filler *f) {
    return f->runs + (size_t)omp_get_thread_num() * f->run_size;
}

static gdn_tensor *tensor_of(const filler *f, const char *name) {
    return gdn_arena_tensor(&f->problem->arena, name);
}

/* Index tensors are dense. NULL is accepted: an optional argument that the case leaves out.
 */
static void set_int(gdn_tensor *tensor, int64_t index, int64_t value) {
    if (!tensor) {
        return;
    }
    if (tensor->dtype == GDN_BOOL) {
        ((uint8_t *)tensor->data)[index] = value != 0;
    } else {
        ((int32_t *)tensor->data)[index] = (int32_t)value;
    }
}

/* Values of one field into `count` adjacent elements. */
static void put(const filler *f, gdn_tensor *tensor, int64_t at, gdn_field field,
                int64_t item, int64_t head, int64_t heads, int64_t count) {
    gdn_fill_values(f->test, field, item, head, heads, count, run_of(f));
    gdn_store_run(tensor->data, tensor->dtype, at, 1, run_of(f), count);
}

/* Element of the weight that holds tap j of channel c. */
static int64_t weight_at(gdn_conv_weight order, const gdn_tensor *w, int64_t c, int64_t j) {
    switch (order) {
    case GDN_WEIGHT_CW:
        break;
    case GDN_WEIGHT_WC:
        return j * w->stride[0] + c * w->stride[1];
    case GDN_WEIGHT_VNNI:
        return gdn_conv_packed_offset(w->shape[1], c, j);
    }
    return c * w->stride[0] + j * w->stride[1];
}

static void fill_parameters(const filler *f, gdn_conv_weight order, const char *weight,
                            const char *bias) {
    const int64_t channels = f->plan->channels;
    const int64_t taps = f->test->conv_width;
    gdn_tensor *w = tensor_of(f, weight);
    gdn_tensor *b = tensor_of(f, bias);
    for (int64_t c = 0; c < channels; c++) {
        gdn_fill_values(f->test, GDN_FIELD_CONV_WEIGHT, c, 0, 1, taps, run_of(f));
        for (int64_t j = 0; j < taps; j++) {
            gdn_store(w->data, w->dtype, weight_at(order, w, c, j), run_of(f)[j]);
        }
    }
    if (b) {
        put(f, b, 0, GDN_FIELD_CONV_BIAS, 0, 0, 1, channels);
    }
}

static void fill_gate_parameters(const filler *f) {
    put(f, tensor_of(f, "A_log"), 0, GDN_FIELD_A_LOG, 0, 0, 1, f->plan->value_heads);
    put(f, tensor_of(f, "dt_bias"), 0, GDN_FIELD_DT_BIAS, 0, 0, 1, f->plan->value_heads);
}

/* Start states: one [HV, V, K] block for each sequence that has one, from the sequence's
 * own numbers, so that they do not depend on the slot. Values are drawn in V-major order
 * and placed by the pool's order. */
static void fill_ssm_state(const filler *f) {
    const gdn_case *test = f->test;
    const bool vk = test->conventions.state_order == GDN_STATE_VK;
    const int64_t rows = f->plan->value_heads * test->head_v_dim;
    for (size_t i = 0; i < test->n_sequences; i++) {
        const gdn_sequence *s = &test->sequences[i];
        const bool spec = s->kind == GDN_SEQ_SPEC;
        if ((!spec && !s->has_initial_state) || s->padded) {
            continue;
        }
        const int64_t column = spec ? gdn_plan_start_column(s) : 0;
        const bool buffer = column > 0 && f->plan->places > 0;
        const gdn_tensor *state = tensor_of(f, buffer ? "intermediate_state" : "ssm_state");
        const int64_t v_stride = state->stride[vk ? 2 : 3];
        const int64_t k_stride = state->stride[vk ? 3 : 2];
        const int64_t slot =
            buffer ? f->plan->sequence_places[(int64_t)i - f->plan->non_spec] + column
                   : f->plan->sequence_slots[(int64_t)i * f->plan->columns + column];
#pragma omp parallel for schedule(static) if (is_large(f))
        for (int64_t row = 0; row < rows; row++) {
            gdn_fill_values(test, GDN_FIELD_STATE, s->source, row, rows, test->head_k_dim,
                            run_of(f));
            const int64_t at = slot * state->stride[0] +
                               row / test->head_v_dim * state->stride[1] +
                               row % test->head_v_dim * v_stride;
            gdn_store_run(state->data, state->dtype, at, k_stride, run_of(f),
                          test->head_k_dim);
        }
    }
}

/* Row of the history in a line that is not a draft column's. */
static int64_t anchored_row(const filler *f) {
    const gdn_case *test = f->test;
    const int64_t kept = gdn_plan_conv_kept(test);
    const bool last = test->conventions.conv_anchor == GDN_CONV_LAST ||
                      test->conventions.conv_window == GDN_CONV_ROLLING;
    const int64_t first = last ? f->plan->conv_rows - kept : 0;
    return first + kept - (test->conv_width - 1);
}

/* Conv histories: W-1 rows where the profile's window will look for them, and the older
 * inputs that some keep or roll on without a use. */
static void fill_conv_state(const filler *f) {
    gdn_tensor *state = tensor_of(f, "conv_state");
    const gdn_case *test = f->test;
    const gdn_conventions *conventions = &test->conventions;
    const bool sd = conventions->conv_state_order == GDN_CONV_STATE_SD;
    const bool sliding = conventions->conv_window == GDN_CONV_SLIDING;
    const int64_t history = test->conv_width - 1;
    for (size_t i = 0; i < test->n_sequences; i++) {
        const gdn_sequence *s = &test->sequences[i];
        const bool spec = s->kind == GDN_SEQ_SPEC;
        if ((!spec && !s->has_initial_state) || s->padded) {
            continue;
        }
        const bool columns = spec && f->plan->places == 0;
        const int64_t column = columns ? gdn_plan_start_column(s) : 0;
        const int64_t *slots = f->plan->sequence_slots + (int64_t)i * f->plan->columns;
        const int64_t slot = slots[sliding ? 0 : column];
        const int64_t row = !columns ? anchored_row(f) : sliding ? column : 0;
        const bool rolls = spec && conventions->conv_window == GDN_CONV_ROLLING;
        const int64_t older = columns ? 0
                              : rolls ? row
                                      : gdn_plan_conv_kept(test) - history;
        for (int64_t w = -older; w < history; w++) {
            gdn_fill_values(test, w < 0 ? GDN_FIELD_CONV_OLDER : GDN_FIELD_CONV_HISTORY,
                            s->source, w < 0 ? older + w : w, w < 0 ? older : history,
                            f->plan->channels, run_of(f));
            gdn_store_run(state->data, state->dtype,
                          slot * state->stride[0] + (row + w) * state->stride[sd ? 1 : 2],
                          state->stride[sd ? 2 : 1], run_of(f), f->plan->channels);
        }
    }
}

static int64_t parent_of(gdn_tree tree, int64_t t) {
    switch (tree) {
    case GDN_TREE_NONE:
        break;
    case GDN_TREE_STAR:
        return t > 0 ? 0 : -1;
    case GDN_TREE_BINARY:
        return t > 0 ? (t - 1) / 2 : -1;
    case GDN_TREE_CATERPILLAR:
        return t > 2 && t % 2 == 1 ? t - 2 : t - 1;
    }
    return t - 1;
}

/* Where spec sequence `index` has its states, a slot or an intermediate row a column. */
static void fill_columns(const filler *f, int64_t index, const int64_t *own,
                         gdn_tensor *slots) {
    const int64_t columns = f->plan->columns;
    const bool buffer = f->plan->places > 0;
    for (int64_t c = 0; c < columns; c++) {
        if (buffer) {
            set_int(tensor_of(f, "intermediate_indices"), index * columns + c,
                    f->plan->sequence_places[index] + c);
            set_int(tensor_of(f, "parent_token"), index * columns + c,
                    parent_of(f->test->tree, c));
        } else {
            set_int(slots, index * columns + c, own[c]);
        }
    }
    if (buffer) {
        set_int(slots, index, own[0]);
    }
}

/* Query starts, state indices, flags and accepted counts of sequences [first, last). */
static void fill_group(const filler *f, size_t first, size_t last, const char *starts_name,
                       const char *slots_name) {
    gdn_tensor *starts = tensor_of(f, starts_name);
    gdn_tensor *slots = tensor_of(f, slots_name);
    int64_t position = 0;
    set_int(starts, 0, 0);
    for (size_t i = first; i < last; i++) {
        const gdn_sequence *s = &f->test->sequences[i];
        const int64_t index = (int64_t)(i - first);
        const int64_t *own = f->plan->sequence_slots + (int64_t)i * f->plan->columns;
        position += s->length;
        set_int(starts, index + 1, position);
        if (s->kind == GDN_SEQ_SPEC) {
            fill_columns(f, index, own, slots);
            set_int(tensor_of(f, "num_accepted_tokens"), index, s->accepted);
        } else {
            set_int(slots, index, own[0]);
            set_int(tensor_of(f, "has_initial_state"), index, s->has_initial_state);
        }
    }
}

static void fill_conv(const filler *f) {
    gdn_tensor *x = tensor_of(f, "x");
    const gdn_case *test = f->test;
    const int64_t k_dim = test->head_k_dim;
    const int64_t heads = f->plan->key_heads;
#pragma omp parallel for schedule(static) if (is_large(f))
    for (int64_t t = 0; t < f->plan->tokens; t++) {
        const int64_t at = t * x->stride[0];
        const int64_t item = f->plan->token_items[t];
        for (int64_t h = 0; h < heads; h++) {
            put(f, x, at + h * k_dim, GDN_FIELD_Q, item, h, heads, k_dim);
            put(f, x, at + (heads + h) * k_dim, GDN_FIELD_K, item, h, heads, k_dim);
        }
        for (int64_t hv = 0; hv < f->plan->value_heads; hv++) {
            put(f, x, at + 2 * heads * k_dim + hv * test->head_v_dim, GDN_FIELD_V, item, hv,
                f->plan->value_heads, test->head_v_dim);
        }
    }
    fill_parameters(f, test->conventions.conv_weight, "weight", "bias");
    fill_conv_state(f);
    fill_group(f, 0, test->n_sequences, "query_start_loc", "state_indices");
}

/* a, b and the parameters, from which gates are made. */
static void fill_gating(const filler *f) {
    gdn_tensor *a = tensor_of(f, "a");
    gdn_tensor *b = tensor_of(f, "b");
#pragma omp parallel for schedule(static) if (is_large(f))
    for (int64_t t = 0; t < f->plan->tokens; t++) {
        const int64_t item = f->plan->token_items[t];
        put(f, a, t * a->stride[0], GDN_FIELD_A, item, 0, 1, f->plan->value_heads);
        put(f, b, t * b->stride[0], GDN_FIELD_B, item, 0, 1, f->plan->value_heads);
    }
    fill_gate_parameters(f);
}

/* g and beta of one token as an exact gating would hand them over: the log decay or the
 * decay, beta or its logits. */
static void put_gates(const filler *f, int64_t token, gdn_tensor *g, gdn_tensor *beta) {
    const int64_t heads = f->plan->value_heads;
    double *a = run_of(f), *A_log = a + heads, *dt_bias = A_log + heads,
           *b = dt_bias + heads;
    const int64_t item = f->plan->token_items[token];
    gdn_fill_values(f->test, GDN_FIELD_A, item, 0, 1, heads, a);
    gdn_fill_values(f->test, GDN_FIELD_A_LOG, 0, 0, 1, heads, A_log);
    gdn_fill_values(f->test, GDN_FIELD_DT_BIAS, 0, 0, 1, heads, dt_bias);
    gdn_fill_values(f->test, GDN_FIELD_B, item, 0, 1, heads, b);
    const gdn_conventions *conventions = &f->test->conventions;
    for (int64_t h = 0; h < heads; h++) {
        const double sp = gdn_softplus(a[h] + dt_bias[h], conventions->softplus_beta,
                                       conventions->softplus_threshold);
        const double log_decay = -gdn_exp(A_log[h]) * sp;
        const bool log = conventions->gate_input == GDN_GATE_LOG;
        const bool logits = conventions->beta_input == GDN_BETA_LOGITS;
        gdn_store(g->data, g->dtype, token * g->stride[0] + h,
                  log ? log_decay : gdn_exp(log_decay));
        gdn_store(beta->data, beta->dtype, token * beta->stride[0] + h,
                  logits ? b[h] : gdn_sigmoid(b[h]));
    }
}

static void fill_delta(const filler *f) {
    const gdn_case *test = f->test;
    gdn_tensor *q = tensor_of(f, "q");
    gdn_tensor *k = tensor_of(f, "k");
    gdn_tensor *v = tensor_of(f, "v");
#pragma omp parallel for schedule(static) if (is_large(f))
    for (int64_t t = 0; t < f->plan->tokens; t++) {
        const int64_t item = f->plan->token_items[t];
        for (int64_t h = 0; h < f->plan->key_heads; h++) {
            put(f, q, t * q->stride[0] + h * q->stride[1], GDN_FIELD_Q, item, h,
                f->plan->key_heads, test->head_k_dim);
            put(f, k, t * k->stride[0] + h * k->stride[1], GDN_FIELD_K, item, h,
                f->plan->key_heads, test->head_k_dim);
        }
        for (int64_t hv = 0; hv < f->plan->value_heads; hv++) {
            put(f, v, t * v->stride[0] + hv * v->stride[1], GDN_FIELD_V, item, hv,
                f->plan->value_heads, test->head_v_dim);
        }
        if (test->gates == GDN_GATES_GIVEN) {
            put_gates(f, t, tensor_of(f, "g"), tensor_of(f, "beta"));
        }
    }
    if (test->gates == GDN_GATES_FUSED) {
        fill_gating(f);
    }
    fill_ssm_state(f);
    fill_group(f, 0, test->n_sequences, "query_start_loc", "state_indices");
}

/* One row of the projections, by the column formulas of contract vllm_xpu 2.1. */
static void put_projections(const filler *f, int64_t token, gdn_tensor *qkvz,
                            gdn_tensor *ba) {
    const gdn_case *test = f->test;
    const gdn_plan *p = f->plan;
    const bool separate = test->conventions.qkvz_layout == GDN_QKVZ_SEPARATE;
    const int64_t K = test->head_k_dim, V = test->head_v_dim, r = p->r;
    const int64_t HK = p->key_heads, HV = p->value_heads;
    const int64_t group = 2 * K + 2 * r * V;
    const int64_t row = p->token_rows[token] * qkvz->stride[0];
    const int64_t item = p->token_items[token];
    for (int64_t h = 0; h < HK; h++) {
        put(f, qkvz, row + (separate ? h * K : h * group), GDN_FIELD_Q, item, h, HK, K);
        put(f, qkvz, row + (separate ? (HK + h) * K : h * group + K), GDN_FIELD_K, item, h,
            HK, K);
    }
    for (int64_t hv = 0; hv < HV; hv++) {
        const int64_t v =
            separate ? 2 * HK * K + hv * V : hv / r * group + 2 * K + hv % r * V;
        put(f, qkvz, row + v, GDN_FIELD_V, item, hv, HV, V);
        put(f, qkvz, row + v + (separate ? HV : r) * V, GDN_FIELD_Z, item, hv, HV, V);
    }
    double *b = run_of(f), *a = b + HV;
    gdn_fill_values(test, GDN_FIELD_B, item, 0, 1, HV, b);
    gdn_fill_values(test, GDN_FIELD_A, item, 0, 1, HV, a);
    const int64_t ba_row = p->token_rows[token] * ba->stride[0];
    for (int64_t hv = 0; hv < HV; hv++) {
        const int64_t at = ba_row + (separate ? hv : hv / r * 2 * r + hv % r);
        gdn_store(ba->data, ba->dtype, at, b[hv]);
        gdn_store(ba->data, ba->dtype, at + (separate ? HV : r), a[hv]);
    }
}

static void fill_attention(const filler *f) {
    const gdn_plan *p = f->plan;
    gdn_tensor *qkvz = tensor_of(f, "projected_states_qkvz");
    gdn_tensor *ba = tensor_of(f, "projected_states_ba");
#pragma omp parallel for schedule(static) if (is_large(f))
    for (int64_t t = 0; t < p->tokens; t++) {
        put_projections(f, t, qkvz, ba);
    }
    fill_parameters(f, f->test->conventions.conv_weight, "conv_weights", "conv_bias");
    fill_gate_parameters(f);
    fill_conv_state(f);
    fill_ssm_state(f);
    fill_group(f, 0, (size_t)p->non_spec, "non_spec_query_start_loc",
               "non_spec_state_indices_tensor");
    fill_group(f, (size_t)p->non_spec, f->test->n_sequences, "spec_query_start_loc",
               "spec_state_indices_tensor");
    for (int64_t t = 0; t < p->non_spec_tokens; t++) {
        set_int(tensor_of(f, "non_spec_token_indx"), t, p->token_rows[t]);
    }
    for (int64_t t = p->non_spec_tokens; t < p->tokens; t++) {
        set_int(tensor_of(f, "spec_token_indx"), t - p->non_spec_tokens, p->token_rows[t]);
    }
}

static void fill_metadata(const filler *f) {
    const gdn_case *test = f->test;
    const int64_t width = f->plan->columns + 1;
    const gdn_random contexts = {.seed = test->seed, .stream = GDN_FIELD_CONTEXT};
    const gdn_random blocks = {.seed = test->seed, .stream = GDN_FIELD_BLOCKS};
    int64_t position = 0;
    set_int(tensor_of(f, "query_start_loc"), 0, 0);
    for (size_t i = 0; i < test->n_sequences; i++) {
        const gdn_sequence *s = &test->sequences[i];
        const int64_t request = (int64_t)i;
        const bool spec = s->kind == GDN_SEQ_SPEC;
        position += s->length;
        set_int(tensor_of(f, "query_start_loc"), request + 1, position);
        const int64_t context =
            spec || s->has_initial_state ? 1 + gdn_random_below(&contexts, i, 500) : 0;
        set_int(tensor_of(f, "seq_lens"), request, context + s->length);
        for (int64_t c = 0; c < width; c++) {
            const int64_t at = request * width + c;
            set_int(tensor_of(f, "block_table"), at,
                    1 + gdn_random_below(&blocks, (uint64_t)at, 4000));
        }
        set_int(tensor_of(f, "num_decode_draft_tokens"), request,
                spec ? s->length - 1 : -1);
        set_int(tensor_of(f, "num_accepted_tokens"), request,
                spec && s->accepted > 0 ? s->accepted : 1);
    }
}

/* Longest run that put() and its callers need. */
static size_t scratch_size(const gdn_case *test, const gdn_plan *plan) {
    const int64_t sizes[] = {plan->channels, 4 * plan->value_heads, test->head_k_dim,
                             test->head_v_dim, test->conv_width};
    int64_t most = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        most = sizes[i] > most ? sizes[i] : most;
    }
    return (size_t)most;
}

gdn_status gdn_fill_problem(gdn_problem *problem, const gdn_plan *plan, gdn_error *err) {
    const gdn_case *test = problem->test;
    filler f = {.problem = problem, .test = test, .plan = plan};
    f.run_size = scratch_size(test, plan);
    f.runs = malloc((size_t)omp_get_max_threads() * f.run_size * sizeof *f.runs);
    if (!f.runs) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory to fill %s", test->id);
    }
    switch (test->op) {
    case GDN_OP_CAUSAL_CONV1D:
        fill_conv(&f);
        break;
    case GDN_OP_GDN_GATING:
        fill_gating(&f);
        break;
    case GDN_OP_GATED_DELTA_RULE:
        fill_delta(&f);
        break;
    case GDN_OP_GDN_ATTENTION:
        fill_attention(&f);
        break;
    case GDN_OP_GDN_METADATA:
        fill_metadata(&f);
        break;
    case GDN_OP_CONV_WEIGHT_PACK:
        fill_parameters(&f, GDN_WEIGHT_CW, "weight", "");
        break;
    default: /* draft verification has its own */
        break;
    }
    free(f.runs);
    return GDN_OK;
}
