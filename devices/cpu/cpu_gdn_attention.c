/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* gdn_attention: projections to core output. A piece of work is one value head of one
 * sequence; it convolves the key head's channels for itself, which costs about a seventh of
 * the time at two value heads a key head, and spares a buffer of all tokens and channels in
 * fp32. */
#include <omp.h>
#include <stdlib.h>

#include "cpu.h"
#include "cpu_convert.h"
#include "cpu_delta.h"
#include "cpu_gates.h"
#include "cpu_math.h"

enum { NON_SPEC, SPEC, GROUPS };

typedef struct attention {
    const gdn_conventions *conventions;
    const gdn_tensor *out, *z, *qkvz, *ba, *A_log, *dt_bias;
    cpu_conv_op conv;
    cpu_pool pool;
    cpu_group groups[GROUPS];
    int64_t key_heads, value_heads, ratio, k_dim, v_dim;
    int64_t rows; /* num_actual_tokens */
    bool chunked; /* non-spec sequences are for a chunk kernel */
} attention;

/* Columns of one head in the projections, by contract vllm_xpu 2.1. */
typedef struct columns {
    int64_t q, k, v, z, b, a;
} columns;

static columns columns_of(const attention *at, int64_t key_head, int64_t head) {
    const int64_t hk = at->key_heads, hv = at->value_heads, r = at->ratio;
    const int64_t k = at->k_dim, v = at->v_dim;
    if (at->conventions->qkvz_layout == GDN_QKVZ_SEPARATE) {
        return (columns){
            .q = key_head * k,
            .k = (hk + key_head) * k,
            .v = 2 * hk * k + head * v,
            .z = 2 * hk * k + (hv + head) * v,
            .b = head,
            .a = hv + head,
        };
    }
    const int64_t group = 2 * k + 2 * r * v;
    const int64_t of = head / r, j = head % r;
    return (columns){
        .q = key_head * group,
        .k = key_head * group + k,
        .v = of * group + 2 * k + j * v,
        .z = of * group + 2 * k + (r + j) * v,
        .b = of * 2 * r + j,
        .a = of * 2 * r + r + j,
    };
}

/* Channels of the convolution are [q|k|v] whatever the layout of the columns. */
static cpu_channels q_channels(const attention *at, const columns *c, int64_t key_head) {
    return (cpu_channels){
        .channel = key_head * at->k_dim, .column = c->q, .count = at->k_dim};
}

static cpu_channels k_channels(const attention *at, const columns *c, int64_t key_head) {
    return (cpu_channels){.channel = (at->key_heads + key_head) * at->k_dim,
                          .column = c->k,
                          .count = at->k_dim};
}

static cpu_channels v_channels(const attention *at, const columns *c, int64_t head) {
    return (cpu_channels){.channel = 2 * at->key_heads * at->k_dim + head * at->v_dim,
                          .column = c->v,
                          .count = at->v_dim};
}

static int64_t rows_of(const gdn_tensor *tensor) {
    return tensor ? tensor->shape[0] : 0;
}

/* What is active follows from counts and token lists, as contract vllm_xpu 1 has it. */
static void find_groups(attention *at, const gdn_call *call) {
    const gdn_tensor *tokens = gdn_call_tensor(call, "non_spec_token_indx");
    const gdn_tensor *spec_tokens = gdn_call_tensor(call, "spec_token_indx");
    const bool some = gdn_call_scalar(call, "num_prefills", 0) > 0 ||
                      gdn_call_scalar(call, "num_decodes", 0) > 0;
    if (some && (tokens ? rows_of(tokens) : at->rows) > 0) {
        const gdn_tensor *starts = gdn_call_tensor(call, "non_spec_query_start_loc");
        at->groups[NON_SPEC] = (cpu_group){
            .starts = starts,
            .tokens = tokens,
            .slots = gdn_call_tensor(call, "non_spec_state_indices_tensor"),
            .initial = gdn_call_tensor(call, "has_initial_state"),
            .conventions = call->conventions,
            .window = call->conventions->conv_window,
            .count = rows_of(starts) - 1,
        };
    }
    if (gdn_call_scalar(call, "num_spec_decodes", 0) > 0 && rows_of(spec_tokens) > 0) {
        const gdn_tensor *starts = gdn_call_tensor(call, "spec_query_start_loc");
        at->groups[SPEC] = (cpu_group){
            .starts = starts,
            .tokens = spec_tokens,
            .slots = gdn_call_tensor(call, "spec_state_indices_tensor"),
            .accepted = gdn_call_tensor(call, "num_accepted_tokens"),
            .conventions = call->conventions,
            .window = call->conventions->conv_window,
            .count = rows_of(starts) - 1,
        };
    }
}

static attention attention_of(const gdn_call *call) {
    const gdn_conventions *conventions = call->conventions;
    const int64_t tp = gdn_call_scalar(call, "tp_size", 1);
    attention at = {
        .conventions = conventions,
        .out = gdn_call_tensor(call, "core_attn_out"),
        .z = gdn_call_tensor(call, "z"),
        .qkvz = gdn_call_tensor(call, "projected_states_qkvz"),
        .ba = gdn_call_tensor(call, "projected_states_ba"),
        .A_log = gdn_call_tensor(call, "A_log"),
        .dt_bias = gdn_call_tensor(call, "dt_bias"),
        .key_heads = gdn_call_scalar(call, "num_k_heads", 0) / tp,
        .value_heads = gdn_call_scalar(call, "num_v_heads", 0) / tp,
        .k_dim = gdn_call_scalar(call, "head_k_dim", 0),
        .v_dim = gdn_call_scalar(call, "head_v_dim", 0),
    };
    at.ratio = at.value_heads / at.key_heads;
    at.rows = gdn_call_scalar(call, "num_actual_tokens", at.qkvz->shape[0]);
    at.chunked = gdn_call_scalar(call, "num_prefills", 0) > 0;
    at.conv = (cpu_conv_op){
        .conventions = conventions,
        .x = at.qkvz,
        .weight = gdn_call_tensor(call, "conv_weights"),
        .bias = gdn_call_tensor(call, "conv_bias"),
        .state = gdn_call_tensor(call, "conv_state"),
        .silu = conventions->activation == GDN_ACTIVATION_SILU,
        .round = conventions->conv_output == GDN_ROUND_STORAGE,
    };
    at.pool = cpu_pool_of(gdn_call_tensor(call, "ssm_state"), conventions->state_order);
    find_groups(&at, call);
    return at;
}

static gdn_status check_scalars(const gdn_call *call, gdn_error *err) {
    static const char *const NAMES[] = {"num_k_heads", "num_v_heads", "head_k_dim",
                                        "head_v_dim"};
    const int64_t tp = gdn_call_scalar(call, "tp_size", 1);
    GDN_TRY(cpu_expect_positive("tp_size", tp, err));
    for (int i = 0; i < 4; i++) {
        GDN_TRY(cpu_expect_positive(NAMES[i], gdn_call_scalar(call, NAMES[i], 0), err));
    }
    const int64_t hk = gdn_call_scalar(call, "num_k_heads", 0);
    const int64_t hv = gdn_call_scalar(call, "num_v_heads", 0);
    if (hk % tp != 0 || hv % tp != 0 || hv % hk != 0) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "heads: expected num_k_heads a multiple of tp_size and "
                             "num_v_heads one of num_k_heads but found %lld and %lld "
                             "at tp_size %lld",
                             (long long)hk, (long long)hv, (long long)tp);
    }
    /* The scalar and the convention say the same; a call in which they differ is wrong in
     * one of them, and nobody could tell which. */
    const bool separate = call->conventions->qkvz_layout == GDN_QKVZ_SEPARATE;
    if ((gdn_call_scalar(call, "reorder_input", separate) != 0) != separate) {
        return gdn_error_set(
            err, GDN_ERR_ARG,
            "reorder_input: expected %d with this qkvz_layout but found %d", separate,
            !separate);
    }
    return GDN_OK;
}

/* Rows may be more than the actual tokens, and different from tensor to tensor. */
static gdn_status check_rows(const gdn_call *call, const char *name, int64_t rows,
                             gdn_error *err) {
    const gdn_tensor *tensor = gdn_call_tensor(call, name);
    if (tensor->shape[0] >= rows) {
        return GDN_OK;
    }
    return gdn_error_set(
        err, GDN_ERR_ARG,
        "%s: expected num_actual_tokens = %lld rows or more but found %lld", name,
        (long long)rows, (long long)tensor->shape[0]);
}

static gdn_status check_tensors(const gdn_call *call, gdn_error *err) {
    const int64_t tp = gdn_call_scalar(call, "tp_size", 1);
    const int64_t hk = gdn_call_scalar(call, "num_k_heads", 0) / tp;
    const int64_t hv = gdn_call_scalar(call, "num_v_heads", 0) / tp;
    const int64_t k = gdn_call_scalar(call, "head_k_dim", 0);
    const int64_t v = gdn_call_scalar(call, "head_v_dim", 0);
    const int64_t channels = 2 * hk * k + hv * v;
    GDN_TRY(cpu_expect(call, "projected_states_qkvz", CPU_FLOATS, 2,
                       (int64_t[]){-1, channels + hv * v}, err));
    const gdn_tensor *qkvz = gdn_call_tensor(call, "projected_states_qkvz");
    const unsigned storage = CPU_TYPE(qkvz->dtype), fp32 = CPU_TYPE(GDN_FP32);
    int64_t state[4];
    cpu_state_shape(call->conventions, hv, k, v, state);
    GDN_TRY(
        cpu_expect(call, "projected_states_ba", storage, 2, (int64_t[]){-1, 2 * hv}, err));
    GDN_TRY(cpu_expect(call, "core_attn_out", storage, 3, (int64_t[]){-1, hv, v}, err));
    GDN_TRY(cpu_expect(call, "z", storage, 3, (int64_t[]){-1, hv, v}, err));
    int64_t lines[3], weights[2];
    cpu_conv_state_shape(call->conventions, channels, lines);
    cpu_conv_weight_shape(call->conventions, channels, weights);
    GDN_TRY(cpu_expect(call, "conv_state", storage, 3, lines, err));
    GDN_TRY(cpu_expect(call, "ssm_state", CPU_FLOATS, 4, state, err));
    GDN_TRY(cpu_expect(call, "conv_weights", storage, 2, weights, err));
    GDN_TRY(cpu_expect(call, "conv_bias", storage, 1, &channels, err));
    GDN_TRY(cpu_expect(call, "A_log", fp32, 1, &hv, err));
    GDN_TRY(cpu_expect(call, "dt_bias", storage, 1, &hv, err));
    const int64_t rows = gdn_call_scalar(call, "num_actual_tokens", qkvz->shape[0]);
    GDN_TRY(check_rows(call, "projected_states_qkvz", rows, err));
    GDN_TRY(check_rows(call, "projected_states_ba", rows, err));
    GDN_TRY(check_rows(call, "core_attn_out", rows, err));
    return check_rows(call, "z", rows, err);
}

static gdn_status check_group(const attention *at, const cpu_group *group, bool spec,
                              gdn_error *err) {
    if (spec && at->conventions->spec_state == GDN_SPEC_BUFFER) {
        return gdn_error_set(
            err, GDN_ERR_ARG,
            "num_spec_decodes: expected 0 where speculative states go to a "
            "buffer");
    }
    if (!group->starts || !group->slots || (spec && !group->accepted)) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "%s sequences: the call lacks one of their index tensors",
                             spec ? "speculative" : "non-speculative");
    }
    return cpu_conv_check(group, &at->conv, err);
}

/* Speculative tokens are found by their lists, and beside them all others. */
static gdn_status check_lists(const gdn_call *call, gdn_error *err) {
    const bool spec = gdn_call_scalar(call, "num_spec_decodes", 0) > 0;
    const bool both = spec && (gdn_call_scalar(call, "num_prefills", 0) > 0 ||
                               gdn_call_scalar(call, "num_decodes", 0) > 0);
    const char *const lacks =
        spec && !gdn_call_tensor(call, "spec_token_indx")       ? "spec_token_indx"
        : both && !gdn_call_tensor(call, "non_spec_token_indx") ? "non_spec_token_indx"
                                                                : NULL;
    return lacks ? gdn_error_set(err, GDN_ERR_ARG,
                                 "%s: the call lacks it, and has speculative sequences",
                                 lacks)
                 : GDN_OK;
}

static gdn_status check(const gdn_call *call, gdn_error *err) {
    static const struct {
        const char *name;
        unsigned types;
        int rank;
    } INDICES[] = {
        {"has_initial_state", CPU_TYPE(GDN_BOOL), 1},
        {"non_spec_query_start_loc", CPU_INTEGERS, 1},
        {"non_spec_token_indx", CPU_INTEGERS, 1},
        {"non_spec_state_indices_tensor", CPU_INTEGERS, 1},
        {"spec_query_start_loc", CPU_INTEGERS, 1},
        {"spec_token_indx", CPU_INTEGERS, 1},
        {"spec_state_indices_tensor", CPU_INTEGERS, 2},
        {"num_accepted_tokens", CPU_INTEGERS, 1},
    };
    const int64_t any[2] = {-1, -1};
    GDN_TRY(check_scalars(call, err));
    GDN_TRY(check_tensors(call, err));
    for (size_t i = 0; i < sizeof INDICES / sizeof INDICES[0]; i++) {
        GDN_TRY(
            cpu_expect(call, INDICES[i].name, INDICES[i].types, INDICES[i].rank, any, err));
    }
    GDN_TRY(check_lists(call, err));
    const attention at = attention_of(call);
    for (int i = 0; i < GROUPS; i++) {
        if (at.groups[i].count != 0) {
            GDN_TRY(check_group(&at, &at.groups[i], i == SPEC, err));
        }
    }
    return GDN_OK;
}

static float load_element(const gdn_tensor *tensor, int64_t row, int64_t column) {
    return cpu_load_one(tensor->data, tensor->dtype,
                        row * tensor->stride[0] + column * tensor->stride[1]);
}

static void load_gates(const attention *at, const columns *c, int64_t head, double rate,
                       int roundings, int64_t row, float *g, float *beta) {
    const float bias = load_element(at->dt_bias, head, 0);
    *g = cpu_log_decay(at->conventions, rate, load_element(at->ba, row, c->a), bias);
    *beta = cpu_beta(roundings, at->ba->dtype, load_element(at->ba, row, c->b));
}

static void store_row(const attention *at, int64_t head, int64_t row, const float *values) {
    const gdn_tensor *out = at->out;
    cpu_store(out->data, out->dtype, row * out->stride[0] + head * out->stride[1],
              out->stride[2], values, at->v_dim);
}

static void copy_z(const attention *at, const columns *c, int64_t head, int64_t row) {
    const gdn_tensor *z = at->z, *qkvz = at->qkvz;
    cpu_copy(z->data, row * z->stride[0] + head * z->stride[1], z->stride[2], qkvz->data,
             row * qkvz->stride[0] + c->z * qkvz->stride[1], qkvz->stride[1], at->v_dim,
             gdn_dtype_size(z->dtype));
}

static int64_t key_head_of(const attention *at, int64_t head) {
    return at->conventions->head_map == GDN_HEADS_GROUPED ? head / at->ratio
                                                          : head % at->key_heads;
}

/* `scratch` is for the three convolutions. */
static void run_head(const attention *at, const cpu_sequence *sequence, int64_t head,
                     cpu_delta *delta, float *scratch) {
    const int64_t taps = cpu_conv_taps(&at->conv);
    const int64_t key_head = key_head_of(at, head);
    const columns c = columns_of(at, key_head, head);
    const double rate = cpu_decay_rate(load_element(at->A_log, head, 0));
    const bool spec = cpu_group_is_speculative(sequence->group);
    const cpu_delta_plan plan = {
        .conventions = at->conventions,
        .pool = &at->pool,
        .head = head,
        .chunked = at->chunked && !spec,
        .storage = at->qkvz->dtype,
    };
    const int roundings = plan.chunked
                              ? cpu_beta_staged(at->conventions, head, at->value_heads)
                              : cpu_beta_made(at->conventions, spec);
    float *k_scratch = scratch + cpu_conv_floats(taps, at->k_dim);
    float *v_scratch = k_scratch + cpu_conv_floats(taps, at->k_dim);
    cpu_conv q, k, v;
    cpu_conv_begin(&q, &at->conv, sequence, q_channels(at, &c, key_head), scratch);
    cpu_conv_begin(&k, &at->conv, sequence, k_channels(at, &c, key_head), k_scratch);
    cpu_conv_begin(&v, &at->conv, sequence, v_channels(at, &c, head), v_scratch);
    cpu_delta_begin(delta, &plan, sequence);
    for (int64_t first = 0; first < sequence->length; first += CPU_SEGMENT) {
        const int64_t rest = sequence->length - first;
        const int64_t n = rest < CPU_SEGMENT ? rest : CPU_SEGMENT;
        cpu_conv_segment(&q, first, n, delta->q, delta->k_dim);
        cpu_conv_segment(&k, first, n, delta->k, delta->k_dim);
        cpu_conv_segment(&v, first, n, delta->v, delta->ld);
        for (int64_t t = 0; t < n; t++) {
            load_gates(at, &c, head, rate, roundings, cpu_sequence_row(sequence, first + t),
                       &delta->g[t], &delta->beta[t]);
        }
        cpu_delta_normalise(delta, &plan, n, true);
        cpu_delta_segment(delta, &plan, sequence, first, n);
        for (int64_t t = 0; t < n; t++) {
            const int64_t row = cpu_sequence_row(sequence, first + t);
            store_row(at, head, row, delta->out + t * delta->ld);
            copy_z(at, &c, head, row);
        }
    }
}

/* Padding that is not computed: z as ever, and zeros where the profile has them. `zeros`
 * are v_dim of them. */
static void pad_head(const attention *at, const cpu_sequence *sequence, int64_t head,
                     const float *zeros) {
    const bool zeroed = at->conventions->pad_sequences == GDN_PAD_ZEROED ||
                        at->conventions->pad_rows == GDN_PAD_ROWS_ZEROED;
    const columns c = columns_of(at, key_head_of(at, head), head);
    for (int64_t t = 0; t < sequence->length; t++) {
        const int64_t row = cpu_sequence_row(sequence, t);
        copy_z(at, &c, head, row);
        if (zeroed) {
            store_row(at, head, row, zeros);
        }
    }
}

/* Rows of the outputs behind the tokens. */
static void zero_behind(const attention *at, const float *zeros) {
    const gdn_tensor *const tensors[] = {at->out, at->z};
    for (int i = 0; i < 2; i++) {
        const gdn_tensor *t = tensors[i];
        for (int64_t row = at->rows; row < t->shape[0]; row++) {
            for (int64_t head = 0; head < t->shape[1]; head++) {
                cpu_store(t->data, t->dtype, row * t->stride[0] + head * t->stride[1],
                          t->stride[2], zeros, t->shape[2]);
            }
        }
    }
}

/* conv_state of one head: its v channels, and q and k once for each key head. Under either
 * head map value heads 0, r, 2r.. are as many as there are key heads. */
static void keep_head(const attention *at, const cpu_sequence *sequence, int64_t head) {
    const int64_t key_head = head / at->ratio;
    const columns c = columns_of(at, key_head, head);
    cpu_conv_keep(&at->conv, sequence, v_channels(at, &c, head));
    if (head % at->ratio == 0) {
        cpu_conv_keep(&at->conv, sequence, q_channels(at, &c, key_head));
        cpu_conv_keep(&at->conv, sequence, k_channels(at, &c, key_head));
    }
}

static gdn_status run(gdn_device *device, const gdn_call *call, gdn_error *err) {
    const attention at = attention_of(call);
    const int64_t conv_slots = at.conv.state->shape[0];
    const int64_t ssm_slots = at.pool.tensor->shape[0];
    for (int i = 0; i < GROUPS; i++) {
        GDN_TRY(cpu_group_check(&at.groups[i], at.rows,
                                conv_slots < ssm_slots ? conv_slots : ssm_slots, err));
    }
    const int64_t others = at.groups[NON_SPEC].count;
    const int64_t items = (others + at.groups[SPEC].count) * at.value_heads;
    const int threads = cpu_threads(device, call, items);
    const int64_t taps = cpu_conv_taps(&at.conv);
    const size_t delta_floats = cpu_delta_floats(at.k_dim, at.v_dim);
    const size_t floats = delta_floats + 2 * cpu_conv_floats(taps, at.k_dim) +
                          cpu_conv_floats(taps, at.v_dim);
    /* One share more than threads stays zero. */
    float *scratch = cpu_scratch_create(threads + 1, floats);
    if (!scratch) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %d threads of gdn_attention",
                             threads);
    }
    const bool from_zero = at.conventions->pad_sequences == GDN_PAD_FROM_ZERO;
    const float *zeros = scratch + (size_t)threads * cpu_aligned((int64_t)floats);
    if (at.conventions->pad_rows == GDN_PAD_ROWS_ZEROED) {
        zero_behind(&at, zeros);
    }
#pragma omp parallel num_threads(threads)
    {
        float *mine = scratch + (size_t)omp_get_thread_num() * floats;
        cpu_delta delta;
        cpu_delta_init(&delta, device->kernels, at.k_dim, at.v_dim, mine);
        /* The second loop overwrites the histories that the first one reads: heads share
         * those of q and k, so it waits for all of them. */
        for (int pass = 0; pass < 2; pass++) {
#pragma omp for schedule(dynamic)
            for (int64_t item = 0; item < items; item++) {
                const int64_t i = item / at.value_heads, head = item % at.value_heads;
                const cpu_sequence sequence =
                    i < others ? cpu_sequence_at(&at.groups[NON_SPEC], i)
                               : cpu_sequence_at(&at.groups[SPEC], i - others);
                const bool idle = sequence.padded && !from_zero;
                if (idle && pass == 0) {
                    pad_head(&at, &sequence, head, zeros);
                } else if (sequence.length > 0 && pass == 0) {
                    run_head(&at, &sequence, head, &delta, mine + delta_floats);
                } else if (sequence.length > 0 && !sequence.padded) {
                    keep_head(&at, &sequence, head);
                }
            }
        }
    }
    free(scratch);
    return GDN_OK;
}

const cpu_op cpu_gdn_attention = {.check = check, .run = run};
