/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* verify_draft_tokens (contract draft_verification 2.2; what kernels do otherwise, 2.3). */
#include "verify.h"

typedef struct op {
    const gdn_verify_conventions *v;
    gdn_output *ids, *len;
    const gdn_tensor *input_ids, *targets, *candidates, *scores, *lens, *topp, *end_tokens;
    const gdn_tensor *limits, *steps, *u;
    int64_t columns, width, window, strategy;
    bool reject_all, accept_all;
} op;

/* One slot on its way. */
typedef struct slot {
    int64_t b, n, base, generated, limit, written;
    bool stopped;
} slot;

/* Where a defect passes the last column, the row goes on in the next one, as it does in
 * memory; past the last row nothing is written. */
static void put_cell(const op *o, const slot *s, int64_t column, int64_t token) {
    const int64_t row = s->b + column / o->columns;
    if (o->ids && row < o->ids->value.shape[0]) {
        gdnp_put_int(o->ids, row, column % o->columns, token);
    }
}

static void emit(const op *o, slot *s, int64_t column, int64_t token, bool draft) {
    s->generated += o->v->slip != GDN_VERIFY_SLIP_STEP_NOT_COUNTED;
    bool end = gdnp_is_end(o->end_tokens, o->v, token);
    const bool late = o->v->slip == GDN_VERIFY_SLIP_LIMIT_LATE;
    const bool hit = o->limits && s->generated >= s->limit + late;
    if (hit && !end) {
        token = gdnp_int(o->end_tokens, 0, 0);
    } else if (end && draft && o->accept_all && o->v->forced_end != GDN_FORCED_END_STOPS) {
        if (o->v->forced_end == GDN_FORCED_END_TOKEN_5) {
            token = 5;
            end = gdnp_is_end(o->end_tokens, o->v, token);
        } else {
            end = false;
        }
    }
    put_cell(o, s, column, token);
    s->written++;
    s->stopped = end || hit;
}

static int64_t draft_of(const op *o, const slot *s, int64_t i) {
    const bool shifted = o->v->slip == GDN_VERIFY_SLIP_DRAFT_SHIFTED;
    return gdnp_int(o->input_ids, s->b, i + !shifted);
}

static int64_t set_size(const op *o, int64_t row) {
    return gdnp_min64(gdnp_int(o->lens, row, 0), o->width);
}

static bool matches(const op *o, const slot *s, int64_t i) {
    const int64_t draft = draft_of(o, s, i);
    const int64_t row = s->base + i;
    if (o->strategy != GDN_STRATEGY_TOPP) {
        return gdnp_int(o->targets, row, 0) == draft;
    }
    for (int64_t k = 0; k < set_size(o, row); k++) {
        if (gdnp_int(o->candidates, row, k) == draft) {
            return true;
        }
    }
    return false;
}

/* The position behind a bulk accept that starts at i; -1: none. */
static int64_t bulk_end(const op *o, const slot *s, int64_t i) {
    if (o->width < 2 || gdnp_int(o->candidates, s->base + i, 1) != draft_of(o, s, i)) {
        return -1;
    }
    int64_t m = i + 1;
    while (m < s->n - 1 && m <= i + o->window &&
           gdnp_int(o->candidates, s->base + m, 0) == draft_of(o, s, m)) {
        m++;
    }
    return m == i + 1 + o->window ? m : -1;
}

static int64_t final_token(const op *o, const slot *s, int64_t i) {
    const int64_t rows = o->targets ? o->targets->shape[0] : o->candidates->shape[0];
    const int64_t row = gdnp_min64(s->base + i, rows - 1);
    if (o->strategy != GDN_STRATEGY_TOPP) {
        return gdnp_int(o->targets, row, 0);
    }
    const bool constant = o->v->slip == GDN_VERIFY_SLIP_CONSTANT_DRAW;
    const float u = constant ? 0.159793362F : (float)gdnp_real(o->u, s->b, 0, 0);
    return gdnp_draw_candidate(o->candidates, o->scores, row, set_size(o, row), u,
                               (float)gdnp_real(o->topp, s->b, 0, 0), o->v->draw_scale);
}

/* Phase 1; returns the position that the final token belongs to. */
static int64_t accept_drafts(const op *o, slot *s) {
    int64_t i = 0;
    while (i < s->n - 1 && !s->stopped) {
        int64_t m = -1;
        if (o->accept_all || matches(o, s, i)) {
            emit(o, s, i, draft_of(o, s, i), true);
            i++;
        } else if (o->strategy == GDN_STRATEGY_TOPP && (m = bulk_end(o, s, i)) >= 0) {
            for (; i < m && !s->stopped; i++) {
                emit(o, s, i, draft_of(o, s, i), true);
            }
            i += !s->stopped && o->v->window == GDN_WINDOW_SKIP_ONE;
        } else {
            break;
        }
    }
    return i;
}

static bool verifies(const op *o, const gdn_call *call, int64_t b) {
    const bool prefill = gdnp_int(gdnp_in(call, "seq_lens_encoder"), b, 0) != 0;
    const bool thinking = gdnp_int(gdnp_in(call, "reasoning_status"), b, 0) == 1;
    return !o->reject_all && (!prefill || o->v->slip == GDN_VERIFY_SLIP_PREFILL_VERIFIED) &&
           (!thinking || o->v->slip == GDN_VERIFY_SLIP_THINKING_VERIFIED);
}

static void run_slot(const op *o, const gdn_call *call, int64_t b) {
    const bool inclusive = o->v->slip == GDN_VERIFY_SLIP_STARTS_INCLUSIVE;
    const bool prefill = gdnp_int(gdnp_in(call, "seq_lens_encoder"), b, 0) != 0;
    slot s = {
        .b = b,
        .n = gdnp_int(gdnp_in(call, "seq_lens_this_time"), b, 0),
        .base = gdnp_int(gdnp_in(call, "cu_seqlens_q_output"), b + inclusive, 0),
        .generated = o->steps ? gdnp_int(o->steps, b, 0) : 0,
        .limit = o->limits ? gdnp_int(o->limits, b, 0) : 0,
    };
    /* A slip may look for rows that are not there, and a prefill owns one row only. */
    const int64_t rows = o->targets ? o->targets->shape[0] : o->candidates->shape[0];
    s.n = gdnp_min64(s.n, prefill || inclusive ? rows - s.base : s.n);
    s.n = gdnp_min64(s.n, o->columns);
    const int64_t i = verifies(o, call, b) ? accept_drafts(o, &s) : 0;
    const bool early = s.stopped;
    if (!s.stopped && o->v->slip != GDN_VERIFY_SLIP_BONUS_MISSING) {
        emit(o, &s, i, final_token(o, &s, i), false);
    }
    int64_t length = s.written;
    if (o->v->length == GDN_LENGTH_ONE_MORE) {
        length += early;
    } else if (o->v->length == GDN_LENGTH_ACCEPTED) {
        length -= !early;
    }
    gdnp_put_int(o->len, b, 0, length);
}

void gdnp_verify_draft_tokens(const gdn_call *call, gdn_output *outputs) {
    const gdn_tensor *candidates = gdnp_in(call, "candidate_ids");
    const op o = {
        .v = &call->conventions->verify,
        .ids = gdnp_output(call, outputs, "step_output_ids"),
        .len = gdnp_output(call, outputs, "step_output_len"),
        .input_ids = gdnp_in(call, "step_input_ids"),
        .targets = gdnp_in(call, "target_tokens"),
        .candidates = candidates,
        .scores = gdnp_in(call, "candidate_scores"),
        .lens = gdnp_in(call, "candidate_lens"),
        .topp = gdnp_in(call, "topp"),
        .end_tokens = gdnp_in(call, "end_tokens"),
        .limits = gdnp_in(call, "max_dec_len"),
        .steps = gdnp_in(call, "step_idx"),
        .u = gdnp_in(call, "u"),
        .columns = gdnp_in(call, "step_input_ids")->shape[1],
        .width = candidates ? candidates->shape[1] : 1,
        .window = gdn_call_scalar(call, "verify_window", 0),
        .strategy = gdn_call_scalar(call, "verify_strategy", 0),
        .reject_all = gdn_call_scalar(call, "reject_all", 0) != 0,
        .accept_all = gdn_call_scalar(call, "accept_all", 0) != 0,
    };
    const gdn_tensor *live = gdnp_in(call, "seq_lens_this_time");
    const int64_t slots = gdnp_in(call, "step_output_len")->shape[0];
    const int64_t cleared = o.v->cleared == GDN_CLEARED_ALL ? slots : live->shape[0];
    for (int64_t b = 0; b < slots; b++) {
        if (b < cleared) {
            gdnp_put_int(o.len, b, 0, 0);
        }
        for (int64_t j = 0; j < o.columns && o.v->padding != GDN_PADDING_UNTOUCHED; j++) {
            gdnp_put_int(o.ids, b, j, o.v->padding == GDN_PADDING_ZERO ? 0 : -1);
        }
    }
    for (int64_t b = 0; b < live->shape[0]; b++) {
        if (!gdnp_int(gdnp_in(call, "is_block_step"), b, 0) &&
            !gdnp_int(gdnp_in(call, "stop_flags"), b, 0)) {
            run_slot(&o, call, b);
        }
    }
}
