/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Candidates, the order of rows, sampling parameters, status, and state commits. */
#include <string.h>

#include "cpu_verify.h"

enum { MOST_CANDIDATES = 16 };

/* One pass over the row keeps the best so far in order; an equal one stays behind. */
static void best_of(const gdn_tensor *probs, int64_t row, int64_t count, int64_t *ids,
                    float *values) {
    const int64_t vocab = probs->shape[1];
    int64_t filled = 0;
    for (int64_t t = 0; t < vocab; t++) {
        const float p = cpu_real(probs, row * vocab + t);
        int64_t at = filled;
        while (at > 0 && values[at - 1] < p) {
            at--;
        }
        if (at >= count) {
            continue;
        }
        filled += filled < count;
        for (int64_t k = filled - 1; k > at; k--) {
            ids[k] = ids[k - 1];
            values[k] = values[k - 1];
        }
        ids[at] = t;
        values[at] = p;
    }
}

static gdn_status run_candidates(gdn_device *device, const gdn_call *call, gdn_error *err) {
    const gdn_tensor *probs = cpu_arg(call, "probs");
    const gdn_tensor *scores = cpu_arg(call, "verify_scores");
    const gdn_tensor *tokens = cpu_arg(call, "verify_tokens");
    const int64_t count = tokens->shape[1];
    const gdn_verify_short_mass rule = call->conventions->verify.short_mass;
    (void)device;
    (void)err;
    for (int64_t row = 0; row < probs->shape[0]; row++) {
        int64_t ids[MOST_CANDIDATES];
        float values[MOST_CANDIDATES];
        best_of(probs, row, count, ids, values);
        const float top_p =
            cpu_real(cpu_arg(call, "top_p"),
                     cpu_int(cpu_arg(call, "batch_id_per_token_output"), row));
        int64_t length = 0;
        float mass = 0.0F;
        bool reached = false;
        while (!reached && length < count) {
            mass += values[length++];
            reached = mass >= top_p;
        }
        for (int64_t k = length; k < count; k++) {
            ids[k] = 0;
            values[k] = 0.0F;
        }
        for (int64_t k = 0; k < count; k++) {
            cpu_set_int(tokens, row * count + k, ids[k]);
        }
        cpu_store(scores->data, scores->dtype, row * count, 1, values, count);
        const bool none = !reached && (rule == GDN_SHORT_NONE ||
                                       (rule == GDN_SHORT_ALL_AT_ONE && top_p < 1.0F));
        cpu_set_int(cpu_arg(call, "actual_candidate_lens"), row, none ? 0 : length);
    }
    return GDN_OK;
}

static gdn_status check_candidates(const gdn_call *call, gdn_error *err) {
    GDN_TRY(cpu_verify_check(call, err));
    if (cpu_arg(call, "verify_tokens")->shape[1] > MOST_CANDIDATES) {
        return gdn_error_set(err, GDN_ERR_UNSUPPORTED,
                             "verify_tokens: this device takes at most %d candidates",
                             MOST_CANDIDATES);
    }
    return GDN_OK;
}

/* Slots in ascending order: whose turn comes after slot `last`. */
typedef struct turn {
    int64_t slot, index;
    bool prefill;
} turn;

static bool next_turn(const gdn_call *call, turn *t) {
    static const char *const MAPS[2] = {"decoder_batch_map", "encoder_batch_map"};
    turn best = {.slot = INT64_MAX};
    for (int prefill = 0; prefill < 2; prefill++) {
        const gdn_tensor *map = cpu_arg(call, MAPS[prefill]);
        for (int64_t i = 0; i < map->shape[0]; i++) {
            const int64_t slot = cpu_int(map, i);
            if (slot > t->slot && slot < best.slot) {
                best = (turn){slot, i, prefill == 1};
            }
        }
    }
    *t = best;
    return best.slot != INT64_MAX;
}

static int64_t bound(const gdn_call *call, const turn *t, int64_t more) {
    const char *name = t->prefill ? "encoder_seq_lod" : "decoder_seq_lod";
    return cpu_int(cpu_arg(call, name), t->index + more);
}

/* Where a group begins among the sorted rows. */
static int64_t group_start(const gdn_call *call, const turn *t) {
    const gdn_tensor *encoder = cpu_arg(call, "encoder_seq_lod");
    return t->prefill ? 0 : cpu_int(encoder, encoder->shape[0] - 1);
}

static void move_rows(const gdn_tensor *out, int64_t to, const gdn_tensor *x, int64_t from,
                      int64_t rows) {
    const size_t bytes = (size_t)x->shape[1] * gdn_dtype_size(x->dtype);
    memcpy((uint8_t *)out->data + (size_t)to * bytes,
           (const uint8_t *)x->data + (size_t)from * bytes, (size_t)rows * bytes);
}

static gdn_status run_adjust(gdn_device *device, const gdn_call *call, gdn_error *err) {
    int64_t row = 0;
    (void)device;
    (void)err;
    for (turn t = {.slot = -1}; next_turn(call, &t);) {
        const int64_t rows = bound(call, &t, 1) - bound(call, &t, 0);
        move_rows(cpu_arg(call, "out"), group_start(call, &t) + bound(call, &t, 0),
                  cpu_arg(call, "x"), row, rows);
        row += rows;
    }
    return GDN_OK;
}

static gdn_status run_gather(gdn_device *device, const gdn_call *call, gdn_error *err) {
    const gdn_tensor *x = cpu_arg(call, "x");
    const gdn_tensor *out = cpu_arg(call, "out");
    const bool spec = gdn_call_scalar(call, "is_speculative", 0) != 0;
    int64_t row = 0;
    (void)device;
    (void)err;
    if (spec && cpu_arg(call, "encoder_batch_map")->shape[0] == 0) {
        move_rows(out, 0, x, 0, x->shape[0]);
        return GDN_OK;
    }
    for (turn t = {.slot = -1}; next_turn(call, &t);) {
        const int64_t end = group_start(call, &t) + bound(call, &t, 1);
        const int64_t rows =
            t.prefill || !spec ? 1 : bound(call, &t, 1) - bound(call, &t, 0);
        move_rows(out, spec ? row : t.slot, x, end - rows, rows);
        row += rows;
    }
    return GDN_OK;
}

/* a + b modulo m for a in [0, m): no sum ever passes m. */
static int64_t add_modulo(int64_t a, int64_t b, int64_t m) {
    b %= m;
    a %= m;
    return a >= m - b ? a - (m - b) : a + b;
}

static gdn_status run_params(gdn_device *device, const gdn_call *call, gdn_error *err) {
    const gdn_tensor *starts = cpu_arg(call, "cu_seqlens_q_output");
    const gdn_tensor *seeds = cpu_arg(call, "infer_seed");
    const bool narrow = call->conventions->verify.seed_modulus == GDN_SEED_INT32;
    const int64_t m = narrow ? INT32_MAX : INT64_MAX - 1;
    (void)device;
    (void)err;
    for (int64_t b = 0; b < seeds->shape[0]; b++) {
        int64_t seed = cpu_int(seeds, b) % m;
        cpu_set_int(seeds, b,
                    add_modulo(seed, gdn_call_scalar(call, "increment_value", 0), m));
        for (int64_t row = cpu_int(starts, b); row < cpu_int(starts, b + 1); row++) {
            const float top_p = cpu_real(cpu_arg(call, "top_p"), b);
            cpu_store(cpu_arg(call, "top_p_padded")->data, GDN_FP32, row, 1, &top_p, 1);
            cpu_set_int(cpu_arg(call, "top_k_padded"), row,
                        cpu_int(cpu_arg(call, "top_k"), b));
            cpu_set_int(cpu_arg(call, "topp_seed"), row, seed);
            seed = add_modulo(seed, 4, m);
        }
    }
    return GDN_OK;
}

typedef struct columns {
    const gdn_tensor *ids, *lens, *stops, *now, *encoder, *decoder, *inputs, *steps;
    int64_t width;
} columns;

/* First position of the step at which the slot stops; its length if nowhere. */
static int64_t stop_position(const gdn_call *call, const columns *c, int64_t b,
                             int64_t length) {
    const int64_t room = cpu_int(cpu_arg(call, "max_dec_len"), b) - cpu_int(c->steps, b);
    for (int64_t i = 0; i < length; i++) {
        if (i + 1 >= room || cpu_ends(call, cpu_int(c->ids, b * c->width + i))) {
            return i;
        }
    }
    return length;
}

static void remember(const gdn_call *call, const columns *c, int64_t b, int64_t length) {
    const gdn_tensor *history = cpu_arg(call, "token_ids_all");
    const int64_t behind = cpu_int(cpu_arg(call, "prompt_lens"), b) + cpu_int(c->steps, b);
    const bool later = call->conventions->verify.history_index == GDN_HISTORY_ONE_LATER;
    if (behind >= gdn_call_scalar(call, "max_model_len", 1)) {
        return;
    }
    for (int64_t back = 1; back <= length; back++) {
        const int64_t at = behind - back + (later ? 1 : 0);
        if (at >= 0 && at < history->shape[1]) {
            cpu_set_int(history, b * history->shape[1] + at,
                        cpu_int(c->ids, b * c->width + length - back));
        }
    }
}

static bool update_slot(const gdn_call *call, const columns *c, int64_t b) {
    const bool naive = gdn_call_scalar(call, "is_naive_mode", 0) != 0;
    const int64_t prompt = cpu_int(c->encoder, b);
    int64_t length = naive ? 1 : cpu_int(c->lens, b);
    const int64_t at = stop_position(call, c, b, length);
    bool stop = at < length;
    if (stop) {
        length = at + 1;
        if (!cpu_ends(call, cpu_int(c->ids, b * c->width + at))) {
            cpu_set_int(c->ids, b * c->width + at, cpu_int(cpu_arg(call, "end_tokens"), 0));
        }
    }
    stop = stop || (prompt > 0 && gdn_call_scalar(call, "prefill_one_step_stop", 0) != 0);
    cpu_set_int(c->lens, b, length);
    cpu_set_int(c->steps, b, cpu_int(c->steps, b) + length);
    int64_t context = cpu_int(c->decoder, b);
    int64_t rollback = 0;
    if (stop) {
        cpu_set_int(c->stops, b, 1);
        context = length == 0 ? 0 : context;
    } else if (prompt == 0) {
        context += length;
        rollback = cpu_int(c->now, b) - length;
    }
    if (prompt > 0) {
        context += prompt;
        cpu_set_int(c->encoder, b, 0);
    }
    cpu_set_int(c->decoder, b, context);
    cpu_set_int(cpu_arg(call, "mask_rollback"), b, rollback);
    if (naive) {
        cpu_set_int(c->now, b, stop ? 0 : 1);
    }
    if (length > 0) {
        cpu_set_int(c->inputs, b * c->width, cpu_int(c->ids, b * c->width + length - 1));
        remember(call, c, b, length);
    }
    return !stop;
}

static gdn_status run_unified(gdn_device *device, const gdn_call *call, gdn_error *err) {
    const columns c = {
        cpu_arg(call, "step_output_ids"),
        cpu_arg(call, "step_output_len"),
        cpu_arg(call, "stop_flags"),
        cpu_arg(call, "seq_lens_this_time"),
        cpu_arg(call, "seq_lens_encoder"),
        cpu_arg(call, "seq_lens_decoder"),
        cpu_arg(call, "step_input_ids"),
        cpu_arg(call, "step_idx"),
        cpu_arg(call, "step_output_ids")->shape[1],
    };
    bool running = false;
    (void)device;
    (void)err;
    for (int64_t b = 0; b < gdn_call_scalar(call, "real_bsz", 0); b++) {
        if (cpu_int(c.stops, b) == 0 && cpu_int(cpu_arg(call, "is_paused"), b) == 0) {
            running = update_slot(call, &c, b) || running;
            continue;
        }
        cpu_set_int(c.stops, b, 1);
        cpu_set_int(c.decoder, b, 0);
        cpu_set_int(c.now, b, 0);
        cpu_set_int(c.lens, b, 0);
    }
    cpu_set_int(cpu_arg(call, "has_running"), 0, running);
    return GDN_OK;
}

static gdn_status run_naive(gdn_device *device, const gdn_call *call, gdn_error *err) {
    const gdn_tensor *tokens = cpu_arg(call, "accept_tokens");
    const gdn_tensor *ends = cpu_arg(call, "cu_seqlens_q_output");
    (void)device;
    (void)err;
    for (int64_t b = 0; b < tokens->shape[0]; b++) {
        const bool idle = cpu_int(cpu_arg(call, "stop_flags"), b) != 0 ||
                          cpu_int(cpu_arg(call, "is_paused"), b) != 0;
        if (!idle) {
            cpu_set_int(tokens, b * tokens->shape[1],
                        cpu_int(cpu_arg(call, "next_tokens"), cpu_int(ends, b + 1) - 1));
        }
        cpu_set_int(cpu_arg(call, "accept_num"), b, idle ? 0 : 1);
        cpu_set_int(cpu_arg(call, "seq_lens_this_time"), b, idle ? 0 : 1);
    }
    return GDN_OK;
}

/* The block of bytes under the leading `n` indices of a dense tensor, and its size. */
static uint8_t *block(const gdn_tensor *t, int n, const int64_t *index, size_t *bytes) {
    int64_t at = 0;
    size_t size = gdn_dtype_size(t->dtype);
    for (int d = 0; d < t->rank; d++) {
        at = at * t->shape[d] + (d < n ? index[d] : 0);
        size *= d < n ? 1 : (size_t)t->shape[d];
    }
    *bytes = size;
    return (uint8_t *)t->data + (size_t)at * gdn_dtype_size(t->dtype);
}

static void commit_window(const gdn_call *call, int64_t layer, int64_t to, int64_t from,
                          int64_t step) {
    const gdn_tensor *state = cpu_arg(call, "conv_states");
    const int64_t rejected = cpu_arg(call, "slot_table")->shape[1] - 1 - step;
    size_t bytes = 0;
    uint8_t *window = block(state, 2, (const int64_t[]){layer, to}, &bytes);
    if (call->conventions->verify.conv_commit == GDN_CONV_COMMIT_SCATTER) {
        const gdn_tensor *source = cpu_arg(call, "intermediate_conv");
        size_t found = 0;
        memcpy(window, block(source, 3, (const int64_t[]){layer, from, step}, &found),
               bytes);
    } else if (rejected > 0) {
        const size_t shift = (size_t)rejected * (bytes / (size_t)state->shape[2]);
        memmove(window + shift, window, bytes - shift);
    }
}

static gdn_status run_commit(gdn_device *device, const gdn_call *call, gdn_error *err) {
    const gdn_tensor *states = cpu_arg(call, "ssm_states");
    const gdn_tensor *table = cpu_arg(call, "slot_table");
    const bool by_index = call->conventions->verify.commit == GDN_COMMIT_INDEX;
    (void)device;
    (void)err;
    for (int64_t i = 0; i < table->shape[0]; i++) {
        const int64_t step = cpu_int(cpu_arg(call, "last_steps"), i);
        const int64_t from = cpu_int(cpu_arg(call, "src_indices"), i);
        if (step < 0) {
            continue;
        }
        const int64_t live = cpu_int(table, i * table->shape[1] + (by_index ? step : 0));
        cpu_set_int(cpu_arg(call, "live_slots"), i, live);
        for (int64_t layer = 0; !by_index && layer < states->shape[0]; layer++) {
            size_t bytes = 0;
            uint8_t *to = block(states, 2, (const int64_t[]){layer, live}, &bytes);
            memcpy(to,
                   block(cpu_arg(call, "intermediate"), 3,
                         (const int64_t[]){layer, from, step}, &bytes),
                   bytes);
            commit_window(call, layer, live, from, step);
        }
    }
    return GDN_OK;
}

const cpu_op cpu_top_p_candidates = {.check = check_candidates, .run = run_candidates};
const cpu_op cpu_adjust_batch = {.check = cpu_verify_check, .run = run_adjust};
const cpu_op cpu_gather_next_token = {.check = cpu_verify_check, .run = run_gather};
const cpu_op cpu_build_sampling_params = {.check = cpu_verify_check, .run = run_params};
const cpu_op cpu_unified_update = {.check = cpu_verify_check, .run = run_unified};
const cpu_op cpu_naive_update = {.check = cpu_verify_check, .run = run_naive};
const cpu_op cpu_state_commit = {.check = cpu_verify_check, .run = run_commit};
