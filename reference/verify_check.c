/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What the inputs of verification may hold: nothing that a backend would follow out of
 * bounds, and no law that is none. */
#include "verify_check.h"

/* Slots that verify: their rows are there, their columns too, and their tokens are ids. */
static gdn_status check_slots(const check *c, const char *input, const char *starts_name) {
    const gdn_tensor *n = readable(c, "seq_lens_this_time");
    const gdn_tensor *starts = readable(c, starts_name);
    const gdn_tensor *encoder = readable(c, "seq_lens_encoder");
    const gdn_tensor *blocked = readable(c, "is_block_step");
    const gdn_tensor *stopped = readable(c, "stop_flags");
    const gdn_tensor *tokens = readable(c, input);
    if (!n || !starts || !encoder || !blocked || !stopped || !tokens) {
        return GDN_OK;
    }
    for (int64_t b = 0; b < n->shape[0]; b++) {
        GDN_TRY(check_element(c, n, b, 0, 0, INT32_MAX));
        if (gdnp_int(blocked, b, 0) || gdnp_int(stopped, b, 0)) {
            continue;
        }
        const bool prefill = gdnp_int(encoder, b, 0) != 0;
        GDN_TRY(check_element(c, n, b, 0, 1, prefill ? INT32_MAX : tokens->shape[1]));
        const int64_t rows = prefill ? 1 : gdnp_int(n, b, 0);
        const int64_t found = gdnp_int(starts, b + 1, 0) - gdnp_int(starts, b, 0);
        if (found < rows) {
            return gdn_error_set(c->err, GDN_ERR_ARG,
                                 "%s[%lld]: expected %lld rows or more for slot %lld but "
                                 "found %lld",
                                 starts_name, (ll)b + 1, (ll)rows, (ll)b, (ll)found);
        }
        for (int64_t j = 0; j < rows; j++) {
            GDN_TRY(check_element(c, tokens, b, j, 0, INT64_MAX));
        }
    }
    return GDN_OK;
}

static gdn_status check_draft(const check *c) {
    const int64_t strategy = gdn_call_scalar(c->call, "verify_strategy", 0);
    if (strategy == GDN_STRATEGY_TOPP) {
        GDN_TRY(need(c, "candidate_ids", "strategy TOPP"));
        GDN_TRY(need(c, "candidate_scores", "strategy TOPP"));
        GDN_TRY(need(c, "candidate_lens", "strategy TOPP"));
    } else {
        GDN_TRY(need(c, "target_tokens", "strategies GREEDY and TARGET_MATCH"));
    }
    if (gdn_call_tensor(c->call, "max_dec_len")) {
        GDN_TRY(need(c, "step_idx", "max_dec_len"));
    }
    GDN_TRY(check_range(c, "stop_flags", 0, 1));
    GDN_TRY(check_range(c, "is_block_step", 0, 1));
    GDN_TRY(check_range(c, "reasoning_status", 0, 3));
    GDN_TRY(check_range(c, "candidate_lens", 0, c->size['C']));
    GDN_TRY(check_range(c, "candidate_ids", 0, INT64_MAX));
    GDN_TRY(check_range(c, "target_tokens", 0, INT64_MAX));
    GDN_TRY(check_range(c, "end_tokens", 0, INT64_MAX));
    GDN_TRY(check_law(c, "candidate_scores"));
    GDN_TRY(check_reals(c, "topp", 0.0, 1.0));
    GDN_TRY(check_reals(c, "u", 0.0, 1.0));
    GDN_TRY(check_starts(c, "cu_seqlens_q_output", c->size['T']));
    return check_slots(c, "step_input_ids", "cu_seqlens_q_output");
}

static gdn_status check_legacy(const check *c) {
    if (gdn_call_scalar(c->call, "compare", 0) == GDN_COMPARE_SAMPLED) {
        GDN_TRY(need(c, "sampled_token_ids", "comparison with sampled tokens"));
    }
    GDN_TRY(check_range(c, "stop_flags", 0, 1));
    GDN_TRY(check_range(c, "is_block_step", 0, 1));
    GDN_TRY(check_range(c, "actual_candidate_len", 0, c->size['C']));
    GDN_TRY(check_range(c, "verify_tokens", 0, INT64_MAX));
    GDN_TRY(check_range(c, "sampled_token_ids", 0, INT64_MAX));
    GDN_TRY(check_range(c, "end_tokens", 0, INT64_MAX));
    GDN_TRY(check_law(c, "verify_scores"));
    GDN_TRY(check_reals(c, "topp", 0.0, 1.0));
    GDN_TRY(check_reals(c, "u", 0.0, 1.0));
    GDN_TRY(check_starts(c, "cu_seqlens_q_output", c->size['T']));
    return check_slots(c, "draft_tokens", "cu_seqlens_q_output");
}

static gdn_status check_candidates(const check *c) {
    static const int64_t ALLOWED[] = {2, 3, 4, 5, 8, 10};
    const int64_t count = c->size['C'];
    bool known = false;
    for (size_t i = 0; i < sizeof ALLOWED / sizeof ALLOWED[0]; i++) {
        known = known || ALLOWED[i] == count;
    }
    if (!known || count > c->size['V']) {
        return gdn_error_set(c->err, GDN_ERR_ARG,
                             "verify_tokens: expected 2, 3, 4, 5, 8 or 10 candidates of "
                             "%lld tokens but found %lld",
                             (ll)c->size['V'], (ll)count);
    }
    GDN_TRY(check_law(c, "probs"));
    GDN_TRY(check_reals(c, "top_p", 0.0, 1.0));
    return check_range(c, "batch_id_per_token_output", 0, c->size['B'] - 1);
}

/* Each slot stands in one map, once. */
static gdn_status check_maps(const check *c) {
    static const char *const MAPS[2] = {"encoder_batch_map", "decoder_batch_map"};
    for (int m = 0; m < 2; m++) {
        const gdn_tensor *map = readable(c, MAPS[m]);
        for (int64_t i = 0; map && i < map->shape[0]; i++) {
            GDN_TRY(check_element(c, map, i, 0, 0, 65535));
            for (int other = 0; other <= m; other++) {
                const gdn_tensor *o = readable(c, MAPS[other]);
                const int64_t count = o ? other == m ? i : o->shape[0] : 0;
                for (int64_t k = 0; k < count; k++) {
                    if (gdnp_int(o, k, 0) == gdnp_int(map, i, 0)) {
                        return refuse(c, map, i, 0, "a slot that nobody else names");
                    }
                }
            }
        }
    }
    return GDN_OK;
}

static gdn_status check_groups(const check *c) {
    const gdn_tensor *encoder = readable(c, "encoder_seq_lod");
    const gdn_tensor *decoder = readable(c, "decoder_seq_lod");
    GDN_TRY(check_starts(c, "encoder_seq_lod", c->size['N']));
    GDN_TRY(check_starts(c, "decoder_seq_lod", c->size['N']));
    GDN_TRY(check_maps(c));
    for (int64_t i = 0; encoder && i < c->size['F']; i++) {
        GDN_TRY(
            check_element(c, encoder, i + 1, 0, gdnp_int(encoder, i, 0) + 1, c->size['N']));
    }
    if (encoder && decoder) {
        const int64_t tokens =
            gdnp_int(encoder, c->size['F'], 0) + gdnp_int(decoder, c->size['K'], 0);
        if (tokens != c->size['N']) {
            return gdn_error_set(c->err, GDN_ERR_ARG,
                                 "x: expected %lld rows (both groups) but found %lld",
                                 (ll)tokens, (ll)c->size['N']);
        }
    }
    return GDN_OK;
}

static gdn_status check_gather(const check *c) {
    GDN_TRY(check_groups(c));
    const bool spec = gdn_call_scalar(c->call, "is_speculative", 0) != 0;
    const gdn_tensor *decoder = readable(c, "decoder_seq_lod");
    const int64_t slots = gdn_call_scalar(c->call, "max_bsz", 0);
    int64_t rows = slots;
    if (spec) {
        if (!decoder) {
            return GDN_OK;
        }
        const int64_t decoded = gdnp_int(decoder, c->size['K'], 0);
        rows = c->size['F'] > 0 ? c->size['F'] + decoded : c->size['N'];
    } else {
        GDN_TRY(check_range(c, "encoder_batch_map", 0, slots - 1));
        GDN_TRY(check_range(c, "decoder_batch_map", 0, slots - 1));
        for (int64_t i = 0; decoder && i < c->size['K']; i++) {
            GDN_TRY(check_element(c, decoder, i + 1, 0, gdnp_int(decoder, i, 0) + 1,
                                  gdnp_int(decoder, i, 0) + 1));
        }
    }
    if (c->size['O'] != rows) {
        return gdn_error_set(c->err, GDN_ERR_ARG,
                             "out: expected size %lld in dimension 0 but found %lld",
                             (ll)rows, (ll)c->size['O']);
    }
    return GDN_OK;
}

static gdn_status check_params(const check *c) {
    GDN_TRY(check_reals(c, "top_p", 0.0, 1.0));
    GDN_TRY(check_range(c, "infer_seed", 0, INT64_MAX));
    return check_starts(c, "cu_seqlens_q_output", c->size['T']);
}

static gdn_status check_unified(const check *c) {
    const int64_t live = gdn_call_scalar(c->call, "real_bsz", 0);
    if (live > c->size['B']) {
        return gdn_error_set(c->err, GDN_ERR_ARG,
                             "real_bsz: expected at most %lld slots but found %lld",
                             (ll)c->size['B'], (ll)live);
    }
    if (c->size['S'] > GDNP_MOST_STEP_TOKENS) {
        return gdn_error_set(c->err, GDN_ERR_ARG,
                             "step_output_ids: expected at most %d columns but found %lld",
                             GDNP_MOST_STEP_TOKENS, (ll)c->size['S']);
    }
    GDN_TRY(check_range(c, "stop_flags", 0, 1));
    GDN_TRY(check_range(c, "is_paused", 0, 1));
    GDN_TRY(check_range(c, "step_output_len", 0, c->size['S']));
    return check_range(c, "prompt_lens", 0, c->size['H']);
}

static gdn_status check_naive(const check *c) {
    const gdn_tensor *starts = readable(c, "cu_seqlens_q_output");
    const gdn_tensor *stopped = readable(c, "stop_flags");
    const gdn_tensor *paused = readable(c, "is_paused");
    GDN_TRY(check_range(c, "stop_flags", 0, 1));
    GDN_TRY(check_range(c, "is_paused", 0, 1));
    GDN_TRY(check_starts(c, "cu_seqlens_q_output", c->size['T']));
    for (int64_t b = 0; starts && stopped && paused && b < c->size['B']; b++) {
        if (!gdnp_int(stopped, b, 0) && !gdnp_int(paused, b, 0)) {
            GDN_TRY(check_element(c, starts, b + 1, 0, gdnp_int(starts, b, 0) + 1,
                                  c->size['T']));
        }
    }
    return GDN_OK;
}

gdn_status gdnp_verify_check(const gdn_call *call, gdn_error *err) {
    gdn_verify_sizes sizes;
    GDN_TRY(gdn_verify_check_shapes(call, &sizes, err));
    const check c = {.call = call, .size = sizes.of, .err = err};
    if (gdn_op_argument(call->op, "seed") &&
        call->conventions->verify.draws == GDN_DRAWS_INTERNAL) {
        GDN_TRY(need(&c, "seed", "draws that are internal"));
    }
    switch (call->op) {
    case GDN_OP_VERIFY_DRAFT_TOKENS:
        return check_draft(&c);
    case GDN_OP_TOP_P_CANDIDATES:
        return check_candidates(&c);
    case GDN_OP_ADJUST_BATCH:
        return check_groups(&c);
    case GDN_OP_GATHER_NEXT_TOKEN:
        return check_gather(&c);
    case GDN_OP_BUILD_SAMPLING_PARAMS:
        return check_params(&c);
    case GDN_OP_SPECULATE_VERIFY:
        return check_legacy(&c);
    case GDN_OP_UNIFIED_UPDATE_MODEL_STATUS:
        return check_unified(&c);
    case GDN_OP_NAIVE_UPDATE_MODEL_STATUS:
        return check_naive(&c);
    case GDN_OP_REJECTION_SAMPLE:
        return gdnp_check_rejection(&c);
    case GDN_OP_VERIFY_TREE_GREEDY:
    case GDN_OP_TREE_SPECULATIVE_SAMPLING:
    case GDN_OP_CHAIN_SPECULATIVE_SAMPLING:
        return gdnp_check_tree(&c);
    case GDN_OP_BUILD_TREE:
        return gdnp_check_build(&c);
    default:
        break;
    }
    return gdnp_check_commit(&c);
}
