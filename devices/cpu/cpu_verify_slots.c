/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* verify_draft_tokens and speculate_verify. Each slot is planned first, as if nothing could
 * stop it, and then cut where an end token or the limit stands. */
#include "cpu_verify.h"

gdn_status cpu_verify_check(const gdn_call *call, gdn_error *err) {
    gdn_verify_sizes sizes;
    for (size_t i = 0; i < call->n_tensors; i++) {
        if (!gdn_tensor_is_dense_from(&call->tensors[i], 0)) {
            return gdn_error_set(err, GDN_ERR_UNSUPPORTED,
                                 "%s: this device takes dense tensors here",
                                 call->tensors[i].name);
        }
    }
    return gdn_verify_check_shapes(call, &sizes, err);
}

int64_t cpu_pick_candidate(const gdn_tensor *ids, const gdn_tensor *scores, int64_t row,
                           int64_t count, float r) {
    const int64_t first = row * ids->shape[1];
    float reached = 0.0F;
    int64_t k = 0;
    while (k < count && (reached += cpu_real(scores, first + k), reached < r)) {
        k++;
    }
    return cpu_int(ids, first + (k < count ? k : 0));
}

/* A row of candidates and how a draft is held against it. */
typedef struct rows {
    const gdn_tensor *ids, *lens;
    int64_t window;
} rows;

static int64_t members(const rows *c, int64_t row) {
    const int64_t length = cpu_int(c->lens, row);
    return length < c->ids->shape[1] ? length : c->ids->shape[1];
}

static bool among(const rows *c, int64_t row, int64_t draft) {
    return cpu_find(c->ids, row * c->ids->shape[1], members(c, row), draft) >= 0;
}

/* Length of a bulk accept at the front of `drafts`; 0: none. */
static int64_t bulk(const rows *c, int64_t row, const int64_t *drafts, int64_t count) {
    const int64_t width = c->ids->shape[1];
    if (width < 2 || cpu_int(c->ids, row * width + 1) != drafts[0] ||
        c->window + 1 > count) {
        return 0;
    }
    for (int64_t k = 1; k <= c->window; k++) {
        if (cpu_int(c->ids, (row + k) * width) != drafts[k]) {
            return 0;
        }
    }
    return c->window + 1;
}

/* Drafts that the target data let stand, from the front. */
static int64_t standing(const gdn_call *call, int64_t base, const int64_t *drafts,
                        int64_t count) {
    const gdn_tensor *targets = cpu_arg(call, "target_tokens");
    const rows c = {cpu_arg(call, "candidate_ids"), cpu_arg(call, "candidate_lens"),
                    gdn_call_scalar(call, "verify_window", 0)};
    const bool by_set = gdn_call_scalar(call, "verify_strategy", 0) == GDN_STRATEGY_TOPP;
    int64_t kept = 0;
    while (kept < count) {
        const int64_t row = base + kept;
        int64_t more;
        if (by_set) {
            more = among(&c, row, drafts[kept])
                       ? 1
                       : bulk(&c, row, drafts + kept, count - kept);
        } else {
            more = cpu_int(targets, row) == drafts[kept];
        }
        if (more == 0) {
            break;
        }
        kept += more;
    }
    return kept;
}

static int64_t closing(const gdn_call *call, int64_t slot, int64_t row) {
    if (gdn_call_scalar(call, "verify_strategy", 0) != GDN_STRATEGY_TOPP) {
        return cpu_int(cpu_arg(call, "target_tokens"), row);
    }
    const rows c = {cpu_arg(call, "candidate_ids"), cpu_arg(call, "candidate_lens"), 0};
    const float r =
        cpu_real(cpu_arg(call, "u"), slot) * cpu_real(cpu_arg(call, "topp"), slot);
    return cpu_pick_candidate(c.ids, cpu_arg(call, "candidate_scores"), row,
                              members(&c, row), r);
}

static void draft_slot(const gdn_call *call, int64_t b) {
    const gdn_tensor *inputs = cpu_arg(call, "step_input_ids");
    const gdn_tensor *ids = cpu_arg(call, "step_output_ids");
    const gdn_tensor *limits = cpu_arg(call, "max_dec_len");
    const int64_t width = inputs->shape[1];
    const int64_t base = cpu_int(cpu_arg(call, "cu_seqlens_q_output"), b);
    const int64_t drafts = cpu_int(cpu_arg(call, "seq_lens_this_time"), b) - 1;
    const bool alone = gdn_call_scalar(call, "reject_all", 0) != 0 ||
                       cpu_int(cpu_arg(call, "seq_lens_encoder"), b) != 0 ||
                       cpu_int(cpu_arg(call, "reasoning_status"), b) == 1;
    int64_t room = INT64_MAX;
    if (limits) {
        room = cpu_int(limits, b) - cpu_int(cpu_arg(call, "step_idx"), b);
    }
    int64_t local[1024];
    for (int64_t i = 0; !alone && i < drafts; i++) {
        local[i] = cpu_int(inputs, b * width + 1 + i);
    }
    int64_t kept = 0;
    if (!alone) {
        kept = gdn_call_scalar(call, "accept_all", 0) != 0
                   ? drafts
                   : standing(call, base, local, drafts);
    }
    int64_t length = 0;
    bool going = true;
    while (going && length <= kept) {
        int64_t token = length < kept ? local[length] : closing(call, b, base + kept);
        const bool end = cpu_ends(call, token);
        const bool full = length + 1 >= room;
        if (full && !end) {
            token = cpu_int(cpu_arg(call, "end_tokens"), 0);
        }
        cpu_set_int(ids, b * width + length++, token);
        going = !end && !full;
    }
    cpu_set_int(cpu_arg(call, "step_output_len"), b, length);
}

static bool sleeps(const gdn_call *call, int64_t b) {
    return cpu_int(cpu_arg(call, "stop_flags"), b) != 0 ||
           cpu_int(cpu_arg(call, "is_block_step"), b) != 0;
}

static gdn_status check_width(const gdn_call *call, const char *name, gdn_error *err) {
    GDN_TRY(cpu_verify_check(call, err));
    if (cpu_arg(call, name)->shape[1] > 1024) {
        return gdn_error_set(err, GDN_ERR_UNSUPPORTED,
                             "%s: this device takes at most 1024 columns", name);
    }
    return GDN_OK;
}

static gdn_status check_draft(const gdn_call *call, gdn_error *err) {
    return check_width(call, "step_input_ids", err);
}

static gdn_status run_draft(gdn_device *device, const gdn_call *call, gdn_error *err) {
    const gdn_tensor *ids = cpu_arg(call, "step_output_ids");
    const gdn_tensor *lens = cpu_arg(call, "step_output_len");
    (void)device;
    (void)err;
    for (int64_t b = 0; b < lens->shape[0]; b++) {
        cpu_set_int(lens, b, 0);
    }
    if (call->conventions->verify.padding == GDN_PADDING_MINUS_ONE) {
        for (int64_t i = 0; i < gdn_tensor_count(ids); i++) {
            cpu_set_int(ids, i, -1);
        }
    }
    for (int64_t b = 0; b < cpu_arg(call, "seq_lens_this_time")->shape[0]; b++) {
        if (!sleeps(call, b)) {
            draft_slot(call, b);
        }
    }
    return GDN_OK;
}

/* The legacy op: a bulk accept is the last thing that is accepted. */
static int64_t legacy_standing(const gdn_call *call, int64_t base, const int64_t *drafts,
                               int64_t count) {
    const int64_t compare = gdn_call_scalar(call, "compare", 0);
    const rows c = {cpu_arg(call, "verify_tokens"), cpu_arg(call, "actual_candidate_len"),
                    gdn_call_scalar(call, "verify_window", 0)};
    for (int64_t kept = 0; kept < count; kept++) {
        const int64_t row = base + kept;
        bool stands;
        if (compare == GDN_COMPARE_SAMPLED) {
            stands = cpu_int(cpu_arg(call, "sampled_token_ids"), row) == drafts[kept];
        } else if (compare == GDN_COMPARE_BEST) {
            stands = cpu_int(c.ids, row * c.ids->shape[1]) == drafts[kept];
        } else {
            stands = among(&c, row, drafts[kept]);
        }
        if (!stands) {
            const bool sets = compare == GDN_COMPARE_CANDIDATES;
            return kept + (sets ? bulk(&c, row, drafts + kept, count - kept) : 0);
        }
    }
    return count;
}

static int64_t legacy_closing(const gdn_call *call, int64_t b, int64_t row) {
    const rows c = {cpu_arg(call, "verify_tokens"), cpu_arg(call, "actual_candidate_len"),
                    0};
    const gdn_tensor *scores = cpu_arg(call, "verify_scores");
    const int64_t width = c.ids->shape[1];
    if (gdn_call_scalar(call, "compare", 0) == GDN_COMPARE_SAMPLED) {
        return cpu_int(cpu_arg(call, "sampled_token_ids"), row);
    }
    if (gdn_call_scalar(call, "enable_topp", 0) == 0) {
        return cpu_int(c.ids, row * width);
    }
    float scale = cpu_real(cpu_arg(call, "topp"), b);
    if (call->conventions->verify.legacy_scale == GDN_DRAW_CAPPED) {
        float mass = 0.0F;
        for (int64_t k = 0; k < members(&c, row); k++) {
            mass += cpu_real(scores, row * width + k);
        }
        scale = mass < scale ? mass : scale;
    }
    return cpu_pick_candidate(c.ids, scores, row, members(&c, row),
                              cpu_real(cpu_arg(call, "u"), b) * scale);
}

static void legacy_slot(const gdn_call *call, int64_t b) {
    const gdn_tensor *inputs = cpu_arg(call, "draft_tokens");
    const gdn_tensor *steps = cpu_arg(call, "step_idx");
    const int64_t width = inputs->shape[1];
    const int64_t base = cpu_int(cpu_arg(call, "cu_seqlens_q_output"), b);
    const int64_t drafts = cpu_int(cpu_arg(call, "seq_lens_this_time"), b) - 1;
    const int64_t limit = cpu_int(cpu_arg(call, "max_dec_len"), b);
    const bool prefill = cpu_int(cpu_arg(call, "seq_lens_encoder"), b) != 0;
    const bool alone = prefill || gdn_call_scalar(call, "benchmark_mode", 0) != 0;
    int64_t local[1024];
    for (int64_t i = 0; !alone && i < drafts; i++) {
        local[i] = cpu_int(inputs, b * width + 1 + i);
    }
    int64_t kept = 0;
    if (!alone) {
        kept = gdn_call_scalar(call, "accept_all_drafts", 0) != 0
                   ? drafts
                   : legacy_standing(call, base, local, drafts);
    }
    int64_t length = 0;
    bool stop = false;
    while (!stop && length <= kept) {
        int64_t token =
            length < kept ? local[length] : legacy_closing(call, b, base + kept);
        const bool full = cpu_int(steps, b) + length + 1 >= limit;
        token = full ? cpu_int(cpu_arg(call, "end_tokens"), 0) : token;
        stop = full || cpu_ends(call, token);
        cpu_set_int(cpu_arg(call, "accept_tokens"), b * width + length++, token);
    }
    cpu_set_int(cpu_arg(call, "accept_num"), b, length);
    cpu_set_int(steps, b, cpu_int(steps, b) + length);
    if (stop || (prefill && gdn_call_scalar(call, "prefill_one_step_stop", 0) != 0)) {
        cpu_set_int(cpu_arg(call, "stop_flags"), b, 1);
    }
}

static gdn_status check_legacy(const gdn_call *call, gdn_error *err) {
    return check_width(call, "draft_tokens", err);
}

static gdn_status run_legacy(gdn_device *device, const gdn_call *call, gdn_error *err) {
    (void)device;
    (void)err;
    for (int64_t b = 0; b < cpu_arg(call, "seq_lens_this_time")->shape[0]; b++) {
        if (!sleeps(call, b)) {
            legacy_slot(call, b);
        }
    }
    return GDN_OK;
}

static gdn_status run_draft_drawn(gdn_device *device, const gdn_call *call,
                                  gdn_error *err) {
    return cpu_verify_drawn(device, call, run_draft, err);
}

const cpu_op cpu_verify_draft_tokens = {.check = check_draft, .run = run_draft_drawn};
const cpu_op cpu_speculate_verify = {.check = check_legacy, .run = run_legacy};
