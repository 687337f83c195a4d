/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* FastDeploy's ops that carry a verified step into the state of the slots, the legacy one
 * that verifies too (contract draft_verification 3 and 5.3), and the move of recurrent
 * states and conv windows (contract sglang_npu 7). */
#include "verify.h"

typedef struct legacy {
    const gdn_call *call;
    const gdn_verify_conventions *v;
    gdn_output *tokens;
    const gdn_tensor *drafts, *candidates, *lens, *ends;
    int64_t b, n, base, steps, limit, count;
    bool stopped;
} legacy;

/* At the limit even an end token is rewritten to the first one (3.2, 3). */
static void emit_at(legacy *s, int64_t column, int64_t token, int64_t steps) {
    const bool hit = steps >= s->limit;
    token = hit ? gdnp_int(s->ends, 0, 0) : token;
    s->stopped = hit || gdnp_is_end(s->ends, s->v, token);
    gdnp_put_int(s->tokens, s->b, column, token);
}

static bool legacy_match(const legacy *s, int64_t i) {
    const int64_t draft = gdnp_int(s->drafts, s->b, i + 1);
    const int64_t row = s->base + i;
    const int64_t compare = gdn_call_scalar(s->call, "compare", 0);
    if (compare == GDN_COMPARE_SAMPLED) {
        return gdnp_int(gdnp_in(s->call, "sampled_token_ids"), row, 0) == draft;
    }
    const int64_t set = gdnp_min64(gdnp_int(s->lens, row, 0), s->candidates->shape[1]);
    const int64_t looked_at = compare == GDN_COMPARE_BEST ? 1 : set;
    for (int64_t k = 0; k < looked_at; k++) {
        if (gdnp_int(s->candidates, row, k) == draft) {
            return true;
        }
    }
    return false;
}

static int64_t legacy_bulk(const legacy *s, int64_t i) {
    const int64_t window = gdn_call_scalar(s->call, "verify_window", 0);
    if (gdn_call_scalar(s->call, "compare", 0) != GDN_COMPARE_CANDIDATES ||
        s->candidates->shape[1] < 2 ||
        gdnp_int(s->candidates, s->base + i, 1) != gdnp_int(s->drafts, s->b, i + 1)) {
        return -1;
    }
    int64_t m = i + 1;
    while (m < s->n - 1 && m <= i + window &&
           gdnp_int(s->candidates, s->base + m, 0) == gdnp_int(s->drafts, s->b, m + 1)) {
        m++;
    }
    return m == i + 1 + window ? m : -1;
}

/* Upfront, every token of the block is held against the limit with the count behind it, and
 * a stop takes only one back (3.2, 4). */
static int64_t accept_bulk(legacy *s, int64_t i, int64_t m) {
    const bool upfront = s->v->bulk_count == GDN_BULK_UPFRONT;
    if (upfront) {
        s->steps += m - i;
        s->count += m - i;
    }
    for (; i < m && !s->stopped; i++) {
        s->steps += !upfront;
        emit_at(s, i, gdnp_int(s->drafts, s->b, i + 1), s->steps);
        s->count += !upfront && !s->stopped;
    }
    s->count -= upfront && s->stopped;
    return i;
}

static int64_t legacy_phase(legacy *s, bool accept_all) {
    int64_t i = 0;
    while (i < s->n - 1 && !s->stopped) {
        if (accept_all || legacy_match(s, i)) {
            s->steps++;
            emit_at(s, i, gdnp_int(s->drafts, s->b, i + 1), s->steps);
            s->count += !s->stopped;
            i += !s->stopped;
            continue;
        }
        const int64_t m = legacy_bulk(s, i);
        return m < 0 ? i : accept_bulk(s, i, m); /* nothing is verified behind a block */
    }
    return i;
}

static int64_t legacy_final(const legacy *s, int64_t i) {
    const int64_t row = s->base + i;
    if (gdn_call_scalar(s->call, "compare", 0) == GDN_COMPARE_SAMPLED) {
        return gdnp_int(gdnp_in(s->call, "sampled_token_ids"), row, 0);
    }
    if (!gdn_call_scalar(s->call, "enable_topp", 0)) {
        return gdnp_int(s->candidates, row, 0);
    }
    const gdn_tensor *u = gdnp_in(s->call, "u");
    const int64_t draw = s->v->legacy_draw == GDN_DRAW_OF_FIRST      ? 0
                         : s->v->legacy_draw == GDN_DRAW_OF_POSITION ? i % u->shape[0]
                                                                     : s->b;
    const int64_t set = gdnp_min64(gdnp_int(s->lens, row, 0), s->candidates->shape[1]);
    return gdnp_draw_candidate(s->candidates, gdnp_in(s->call, "verify_scores"), row, set,
                               (float)gdnp_real(u, draw, 0, 0),
                               (float)gdnp_real(gdnp_in(s->call, "topp"), s->b, 0, 0),
                               s->v->legacy_scale);
}

static void legacy_slot(const gdn_call *call, gdn_output *outputs, int64_t b) {
    legacy s = {
        .call = call,
        .v = &call->conventions->verify,
        .tokens = gdnp_output(call, outputs, "accept_tokens"),
        .drafts = gdnp_in(call, "draft_tokens"),
        .candidates = gdnp_in(call, "verify_tokens"),
        .lens = gdnp_in(call, "actual_candidate_len"),
        .ends = gdnp_in(call, "end_tokens"),
        .b = b,
        .n = gdnp_int(gdnp_in(call, "seq_lens_this_time"), b, 0),
        .base = gdnp_int(gdnp_in(call, "cu_seqlens_q_output"), b, 0),
        .steps = gdnp_int(gdnp_in(call, "step_idx"), b, 0),
        .limit = gdnp_int(gdnp_in(call, "max_dec_len"), b, 0),
        .count = 1,
    };
    const bool prefill = gdnp_int(gdnp_in(call, "seq_lens_encoder"), b, 0) != 0;
    int64_t i = 0;
    if (!gdn_call_scalar(call, "benchmark_mode", 0) && !prefill) {
        i = legacy_phase(&s, gdn_call_scalar(call, "accept_all_drafts", 0) != 0);
    }
    if (!s.stopped) {
        s.steps++;
        emit_at(&s, i, legacy_final(&s, i), s.steps);
    }
    const bool one_step = prefill && gdn_call_scalar(call, "prefill_one_step_stop", 0);
    gdnp_put_int(gdnp_output(call, outputs, "accept_num"), b, 0, s.count);
    gdnp_put_int(gdnp_output(call, outputs, "step_idx"), b, 0, s.steps);
    if (s.stopped || one_step) {
        gdnp_put_int(gdnp_output(call, outputs, "stop_flags"), b, 0, 1);
    }
}

void gdnp_speculate_verify(const gdn_call *call, gdn_output *outputs) {
    for (int64_t b = 0; b < gdnp_in(call, "seq_lens_this_time")->shape[0]; b++) {
        if (!gdnp_int(gdnp_in(call, "is_block_step"), b, 0) &&
            !gdnp_int(gdnp_in(call, "stop_flags"), b, 0)) {
            legacy_slot(call, outputs, b);
        }
    }
}

static void put(const gdn_call *call, gdn_output *outputs, const char *name, int64_t b,
                int64_t value) {
    gdnp_put_int(gdnp_output(call, outputs, name), b, 0, value);
}

/* Tokens of the step into the history, as far as it reaches (5.3). Read before anything is
 * written, because outputs may be the inputs. */
static void write_history(const gdn_call *call, gdn_output *outputs, int64_t b,
                          const int64_t *tokens, int64_t length, int64_t steps) {
    const int64_t prompt = gdnp_int(gdnp_in(call, "prompt_lens"), b, 0);
    const bool later = call->conventions->verify.history_index == GDN_HISTORY_ONE_LATER;
    gdn_output *history = gdnp_output(call, outputs, "token_ids_all");
    if (prompt + steps >= gdn_call_scalar(call, "max_model_len", 1)) {
        return;
    }
    for (int64_t i = 0; i < length; i++) {
        const int64_t at = prompt + steps - length + i + later;
        if (history && at >= 0 && at < history->value.shape[1]) {
            gdnp_put_int(history, b, at, tokens[i]);
        }
    }
}

/* One running slot; returns whether it stops. */
static bool update_slot(const gdn_call *call, gdn_output *outputs, int64_t b) {
    const gdn_verify_conventions *v = &call->conventions->verify;
    const gdn_tensor *ends = gdnp_in(call, "end_tokens");
    const bool naive = gdn_call_scalar(call, "is_naive_mode", 0) != 0;
    const int64_t width = gdnp_in(call, "step_output_ids")->shape[1];
    const int64_t n = gdnp_int(gdnp_in(call, "seq_lens_this_time"), b, 0);
    const int64_t encoder = gdnp_int(gdnp_in(call, "seq_lens_encoder"), b, 0);
    const int64_t decoder = gdnp_int(gdnp_in(call, "seq_lens_decoder"), b, 0);
    const int64_t limit = gdnp_int(gdnp_in(call, "max_dec_len"), b, 0);
    int64_t length = naive ? 1 : gdnp_int(gdnp_in(call, "step_output_len"), b, 0);
    int64_t steps = gdnp_int(gdnp_in(call, "step_idx"), b, 0);
    int64_t tokens[GDNP_MOST_STEP_TOKENS];
    bool stop = false;
    length = gdnp_min64(length, width);
    for (int64_t i = 0; i < length; i++) {
        tokens[i] = gdnp_int(gdnp_in(call, "step_output_ids"), b, i);
        steps += v->slip != GDN_VERIFY_SLIP_STEP_NOT_COUNTED;
        const bool end = gdnp_is_end(ends, v, tokens[i]);
        if (end || steps >= limit) {
            if (!end) {
                tokens[i] = gdnp_int(ends, 0, 0);
                gdnp_put_int(gdnp_output(call, outputs, "step_output_ids"), b, i,
                             tokens[i]);
            }
            length = i + 1;
            stop = true;
        }
    }
    stop = stop || (gdn_call_scalar(call, "prefill_one_step_stop", 0) && encoder > 0);
    put(call, outputs, "step_output_len", b, length);
    put(call, outputs, "step_idx", b, steps);
    if (stop) {
        put(call, outputs, "stop_flags", b, 1);
        put(call, outputs, "mask_rollback", b, 0);
    } else {
        put(call, outputs, "mask_rollback", b, encoder == 0 ? n - length : 0);
    }
    int64_t context = decoder;
    if (stop) {
        context = length == 0 ? 0 : decoder;
    } else if (encoder == 0) {
        context = decoder + length;
    }
    put(call, outputs, "seq_lens_decoder", b, context + (encoder > 0 ? encoder : 0));
    put(call, outputs, "seq_lens_encoder", b, encoder > 0 ? 0 : encoder);
    if (naive) {
        put(call, outputs, "seq_lens_this_time", b, stop ? 0 : 1);
    }
    if (length > 0) {
        gdnp_put_int(gdnp_output(call, outputs, "step_input_ids"), b, 0,
                     tokens[length - 1]);
        write_history(call, outputs, b, tokens, length, steps);
    }
    return stop;
}

void gdnp_unified_update(const gdn_call *call, gdn_output *outputs) {
    const int64_t slots = gdnp_in(call, "stop_flags")->shape[0];
    const int64_t live = gdn_call_scalar(call, "real_bsz", 0);
    int64_t stopped = 0;
    for (int64_t b = 0; b < slots; b++) {
        const bool running = b < live && !gdnp_int(gdnp_in(call, "stop_flags"), b, 0) &&
                             !gdnp_int(gdnp_in(call, "is_paused"), b, 0);
        if (running) {
            stopped += update_slot(call, outputs, b);
            continue;
        }
        stopped++;
        if (b < live) {
            put(call, outputs, "stop_flags", b, 1);
            put(call, outputs, "seq_lens_decoder", b, 0);
            put(call, outputs, "seq_lens_this_time", b, 0);
            put(call, outputs, "step_output_len", b, 0);
        }
    }
    put(call, outputs, "has_running", 0, stopped < slots);
}

void gdnp_naive_update(const gdn_call *call, gdn_output *outputs) {
    const gdn_tensor *starts = gdnp_in(call, "cu_seqlens_q_output");
    for (int64_t b = 0; b < gdnp_in(call, "stop_flags")->shape[0]; b++) {
        const bool running = !gdnp_int(gdnp_in(call, "stop_flags"), b, 0) &&
                             !gdnp_int(gdnp_in(call, "is_paused"), b, 0);
        const bool first =
            call->conventions->verify.slip == GDN_VERIFY_SLIP_PREFILL_ROW_FIRST;
        if (running) {
            const int64_t row =
                first ? gdnp_int(starts, b, 0) : gdnp_int(starts, b + 1, 0) - 1;
            gdnp_put_int(gdnp_output(call, outputs, "accept_tokens"), b, 0,
                         gdnp_int(gdnp_in(call, "next_tokens"), row, 0));
        }
        put(call, outputs, "accept_num", b, running);
        put(call, outputs, "seq_lens_this_time", b, running);
    }
}
