/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* gated_delta_rule: the recurrence over a state pool, its gates ready-made or not. */
#include <omp.h>
#include <stdlib.h>

#include "cpu.h"
#include "cpu_convert.h"
#include "cpu_delta.h"
#include "cpu_gates.h"
#include "cpu_math.h"

typedef struct delta_rule {
    const gdn_tensor *q, *k, *v, *out;
    const gdn_tensor *g, *beta; /* NULL: made from the next ones */
    const gdn_tensor *A_log, *dt_bias, *a, *b;
    cpu_group group;
    cpu_pool pool, buffer;
    const gdn_conventions *conventions;
    int64_t key_heads, value_heads, k_dim, v_dim;
    bool l2norm, chunked;
} delta_rule;

static delta_rule rule_of(const gdn_call *call) {
    delta_rule rule = {
        .q = gdn_call_tensor(call, "q"),
        .k = gdn_call_tensor(call, "k"),
        .v = gdn_call_tensor(call, "v"),
        .g = gdn_call_tensor(call, "g"),
        .beta = gdn_call_tensor(call, "beta"),
        .A_log = gdn_call_tensor(call, "A_log"),
        .dt_bias = gdn_call_tensor(call, "dt_bias"),
        .a = gdn_call_tensor(call, "a"),
        .b = gdn_call_tensor(call, "b"),
        .out = gdn_call_tensor(call, "out"),
        .conventions = call->conventions,
        .l2norm = gdn_call_scalar(call, "use_qk_l2norm", 1) != 0,
        .chunked = gdn_call_scalar(call, "chunked", 0) != 0,
    };
    const gdn_tensor *starts = gdn_call_tensor(call, "query_start_loc");
    rule.group = (cpu_group){
        .starts = starts,
        .slots = gdn_call_tensor(call, "state_indices"),
        .initial = gdn_call_tensor(call, "has_initial_state"),
        .accepted = gdn_call_tensor(call, "num_accepted_tokens"),
        .places = gdn_call_tensor(call, "intermediate_indices"),
        .parents = gdn_call_tensor(call, "parent_token"),
        .conventions = call->conventions,
        .count = starts->shape[0] - 1,
    };
    rule.pool =
        cpu_pool_of(gdn_call_tensor(call, "ssm_state"), call->conventions->state_order);
    const gdn_tensor *buffer = gdn_call_tensor(call, "intermediate_state");
    if (buffer) {
        rule.buffer = cpu_pool_of(buffer, call->conventions->state_order);
    }
    rule.key_heads = rule.q->shape[1];
    rule.value_heads = rule.v->shape[1];
    rule.k_dim = rule.q->shape[2];
    rule.v_dim = rule.v->shape[2];
    return rule;
}

/* Both gates, or everything that they are made from; a buffer for intermediate states. */
static gdn_status check_gates(const delta_rule *rule, gdn_error *err) {
    const bool given = rule->g && rule->beta;
    if (!given && !(rule->A_log && rule->dt_bias && rule->a && rule->b)) {
        return gdn_error_set(
            err, GDN_ERR_ARG,
            "gates: the call lacks g and beta, or one of A_log, dt_bias, a "
            "and b");
    }
    if (rule->group.places && !rule->buffer.tensor) {
        return gdn_error_set(err, GDN_ERR_ARG, "intermediate_state: the call lacks it");
    }
    return GDN_OK;
}

static gdn_status check(const gdn_call *call, gdn_error *err) {
    const int64_t any[3] = {-1, -1, -1};
    GDN_TRY(cpu_expect(call, "q", CPU_FLOATS, 3, any, err));
    const gdn_tensor *q = gdn_call_tensor(call, "q");
    const unsigned storage = CPU_TYPE(q->dtype), fp32 = CPU_TYPE(GDN_FP32);
    const bool columns =
        gdn_call_is_speculative(call) && call->conventions->spec_state == GDN_SPEC_SLOTS;
    const bool wide = call->conventions->beta_storage == GDN_BETA_FP32;
    GDN_TRY(cpu_expect(call, "k", storage, 3, q->shape, err));
    GDN_TRY(cpu_expect(call, "v", storage, 3, (int64_t[]){q->shape[0], -1, -1}, err));
    const gdn_tensor *v = gdn_call_tensor(call, "v");
    GDN_TRY(cpu_expect(call, "g", fp32, 2, v->shape, err));
    GDN_TRY(cpu_expect(call, "beta", wide ? fp32 : storage, 2, v->shape, err));
    GDN_TRY(cpu_expect(call, "A_log", fp32, 1, &v->shape[1], err));
    GDN_TRY(cpu_expect(call, "dt_bias", storage, 1, &v->shape[1], err));
    GDN_TRY(cpu_expect(call, "a", storage, 2, v->shape, err));
    GDN_TRY(cpu_expect(call, "b", storage, 2, v->shape, err));
    GDN_TRY(cpu_expect(call, "out", storage, 3, v->shape, err));
    GDN_TRY(cpu_expect_positive("key heads", q->shape[1], err));
    GDN_TRY(cpu_expect_positive("key dimension", q->shape[2], err));
    GDN_TRY(cpu_expect_positive("value dimension", v->shape[2], err));
    if (v->shape[1] % q->shape[1] != 0) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "v: expected a multiple of %lld heads but found %lld",
                             (long long)q->shape[1], (long long)v->shape[1]);
    }
    int64_t state[4];
    cpu_state_shape(call->conventions, v->shape[1], q->shape[2], v->shape[2], state);
    GDN_TRY(cpu_expect(call, "ssm_state", CPU_FLOATS, 4, state, err));
    GDN_TRY(cpu_expect(call, "query_start_loc", CPU_INTEGERS, 1, any, err));
    GDN_TRY(cpu_expect(call, "state_indices", CPU_INTEGERS, columns ? 2 : 1, any, err));
    GDN_TRY(cpu_expect(call, "intermediate_state", CPU_FLOATS, 4, state, err));
    GDN_TRY(cpu_expect(call, "intermediate_indices", CPU_INTEGERS, 2, any, err));
    GDN_TRY(cpu_expect(call, "parent_token", CPU_INTEGERS, 2, any, err));
    GDN_TRY(cpu_expect(call, "has_initial_state", CPU_TYPE(GDN_BOOL), 1, any, err));
    GDN_TRY(cpu_expect(call, "num_accepted_tokens", CPU_INTEGERS, 1, any, err));
    const delta_rule rule = rule_of(call);
    GDN_TRY(check_gates(&rule, err));
    return cpu_group_expect(&rule.group, err);
}

/* A row of one head of a [N, heads, dim] tensor. */
static void load_row(float *out, const gdn_tensor *tensor, int64_t row, int64_t head) {
    cpu_load(out, tensor->data, tensor->dtype,
             row * tensor->stride[0] + head * tensor->stride[1], tensor->stride[2],
             tensor->shape[2]);
}

static float load_gate(const gdn_tensor *tensor, int64_t row, int64_t head) {
    return cpu_load_one(tensor->data, tensor->dtype,
                        row * tensor->stride[0] + head * tensor->stride[1]);
}

/* Gates of one token, as cpu_delta takes them. */
static void load_gates(const delta_rule *rule, double rate, int64_t row, int64_t head,
                       float *g, float *beta) {
    const gdn_conventions *conventions = rule->conventions;
    const bool logits = !rule->g || conventions->beta_input == GDN_BETA_LOGITS;
    const float b = load_gate(rule->g ? rule->beta : rule->b, row, head);
    const int roundings =
        cpu_beta_made(conventions, cpu_group_is_speculative(&rule->group));
    *beta = logits ? cpu_beta(roundings, rule->v->dtype, b) : b;
    *g = rule->g ? load_gate(rule->g, row, head)
                 : cpu_log_decay(conventions, rate, load_gate(rule->a, row, head),
                                 cpu_load_one(rule->dt_bias->data, rule->dt_bias->dtype,
                                              head * rule->dt_bias->stride[0]));
}

static void zero_output(const delta_rule *rule, const cpu_sequence *sequence,
                        int64_t head) {
    const gdn_tensor *out = rule->out;
    const float zero = 0.0F;
    for (int64_t t = 0; t < sequence->length; t++) {
        for (int64_t i = 0; i < rule->v_dim; i++) {
            cpu_store(out->data, out->dtype,
                      cpu_sequence_row(sequence, t) * out->stride[0] +
                          head * out->stride[1] + i * out->stride[2],
                      1, &zero, 1);
        }
    }
}

static void run_head(const delta_rule *rule, const cpu_sequence *sequence, int64_t head,
                     cpu_delta *delta) {
    const bool grouped = rule->conventions->head_map == GDN_HEADS_GROUPED;
    const int64_t key_head =
        grouped ? head / (rule->value_heads / rule->key_heads) : head % rule->key_heads;
    const cpu_delta_plan plan = {
        .conventions = rule->conventions,
        .pool = &rule->pool,
        .buffer = &rule->buffer,
        .head = head,
        .chunked = rule->chunked,
        .decays_given = rule->g && rule->conventions->gate_input == GDN_GATE_DECAY,
        .storage = rule->q->dtype,
    };
    const gdn_tensor *out = rule->out;
    const double rate =
        rule->A_log ? cpu_decay_rate(cpu_load_one(rule->A_log->data, rule->A_log->dtype,
                                                  head * rule->A_log->stride[0]))
                    : 0.0;
    cpu_delta_begin(delta, &plan, sequence);
    for (int64_t first = 0; first < sequence->length; first += CPU_SEGMENT) {
        const int64_t rest = sequence->length - first;
        const int64_t n = rest < CPU_SEGMENT ? rest : CPU_SEGMENT;
        for (int64_t t = 0; t < n; t++) {
            const int64_t row = cpu_sequence_row(sequence, first + t);
            load_row(delta->q + t * delta->k_dim, rule->q, row, key_head);
            load_row(delta->k + t * delta->k_dim, rule->k, row, key_head);
            load_row(delta->v + t * delta->ld, rule->v, row, head);
            load_gates(rule, rate, row, head, &delta->g[t], &delta->beta[t]);
        }
        cpu_delta_normalise(delta, &plan, n, rule->l2norm);
        cpu_delta_segment(delta, &plan, sequence, first, n);
        for (int64_t t = 0; t < n; t++) {
            cpu_store(out->data, out->dtype,
                      cpu_sequence_row(sequence, first + t) * out->stride[0] +
                          head * out->stride[1],
                      out->stride[2], delta->out + t * delta->ld, rule->v_dim);
        }
    }
}

static gdn_status run(gdn_device *device, const gdn_call *call, gdn_error *err) {
    const delta_rule rule = rule_of(call);
    GDN_TRY(
        cpu_group_check(&rule.group, rule.q->shape[0], rule.pool.tensor->shape[0], err));
    const int64_t items = rule.group.count * rule.value_heads;
    const int threads = cpu_threads(device, call, items);
    const size_t floats = cpu_delta_floats(rule.k_dim, rule.v_dim);
    float *scratch = cpu_scratch_create(threads, floats);
    if (!scratch) {
        return gdn_error_set(err, GDN_ERR_OOM,
                             "no memory for %d threads of gated_delta_rule", threads);
    }
#pragma omp parallel num_threads(threads)
    {
        cpu_delta delta;
        cpu_delta_init(&delta, device->kernels, rule.k_dim, rule.v_dim,
                       scratch + (size_t)omp_get_thread_num() * floats);
#pragma omp for schedule(dynamic)
        for (int64_t item = 0; item < items; item++) {
            const cpu_sequence sequence =
                cpu_sequence_at(&rule.group, item / rule.value_heads);
            const gdn_pad_sequences pads = rule.conventions->pad_sequences;
            if (sequence.padded && pads == GDN_PAD_ZEROED) {
                zero_output(&rule, &sequence, item % rule.value_heads);
            } else if (sequence.length > 0 &&
                       (!sequence.padded || pads == GDN_PAD_FROM_ZERO)) {
                run_head(&rule, &sequence, item % rule.value_heads, &delta);
            }
        }
    }
    free(scratch);
    return GDN_OK;
}

const cpu_op cpu_gated_delta_rule = {.check = check, .run = run};
