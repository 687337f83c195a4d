/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What the inputs of verification may hold: nothing that a backend would follow out of
 * bounds, and no law that is none. Tensors without data are passed over. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "verify.h"

typedef long long ll; /* for printf */

typedef struct check {
    const gdn_call *call;
    const int64_t *size; /* by letter */
    gdn_error *err;
} check;

static const gdn_tensor *readable(const check *c, const char *name) {
    const gdn_tensor *t = gdn_call_tensor(c->call, name);
    return t && t->data ? t : NULL;
}

static gdn_status refuse(const check *c, const gdn_tensor *t, int64_t i, int64_t j,
                         const char *expected) {
    char column[32] = "";
    if (t->rank > 1) {
        snprintf(column, sizeof column, ",%lld", (ll)j);
    }
    return gdn_error_set(c->err, GDN_ERR_ARG, "%s[%lld%s]: expected %s but found %lld",
                         t->name, (ll)i, column, expected, (ll)gdnp_int(t, i, j));
}

static gdn_status check_element(const check *c, const gdn_tensor *t, int64_t i, int64_t j,
                                int64_t low, int64_t high) {
    const int64_t value = gdnp_int(t, i, j);
    if (value < low || value > high) {
        char expected[64];
        snprintf(expected, sizeof expected, "%lld to %lld", (ll)low, (ll)high);
        return refuse(c, t, i, j, expected);
    }
    return GDN_OK;
}

static gdn_status check_range(const check *c, const char *name, int64_t low, int64_t high) {
    const gdn_tensor *t = readable(c, name);
    for (int64_t i = 0; t && i < t->shape[0]; i++) {
        for (int64_t j = 0; j < (t->rank > 1 ? t->shape[1] : 1); j++) {
            GDN_TRY(check_element(c, t, i, j, low, high));
        }
    }
    return GDN_OK;
}

/* Every element lies in [low, high]; NaN never does. */
static gdn_status check_reals(const check *c, const char *name, double low, double high) {
    const gdn_tensor *t = readable(c, name);
    const int64_t count = t ? gdn_tensor_count(t) : 0;
    for (int64_t flat = 0; flat < count; flat++) {
        const double value = gdn_load(t->data, t->dtype, gdn_tensor_flat_offset(t, flat));
        if (!(value >= low && value <= high)) {
            char at[64];
            int64_t rest = flat;
            int64_t index[GDN_MAX_RANK] = {0};
            for (int d = t->rank - 1; d >= 0; d--) {
                index[d] = rest % t->shape[d];
                rest /= t->shape[d];
            }
            int used = snprintf(at, sizeof at, "[%lld", (ll)index[0]);
            for (int d = 1; d < t->rank; d++) {
                used +=
                    snprintf(at + used, sizeof at - (size_t)used, ",%lld", (ll)index[d]);
            }
            return gdn_error_set(c->err, GDN_ERR_ARG,
                                 "%s%s]: expected a number in [%g, %g] but found %g", name,
                                 at, low, high, isnan(value) ? (double)NAN : value);
        }
    }
    return GDN_OK;
}

/* Laws may sum to a little less or more than 1, and a logit may be off: no upper end. */
static gdn_status check_law(const check *c, const char *name) {
    return check_reals(c, name, 0.0, (double)INFINITY);
}

/* Starts begin at 0, never fall, and end within `limit`. */
static gdn_status check_starts(const check *c, const char *name, int64_t limit) {
    const gdn_tensor *t = readable(c, name);
    int64_t last = 0;
    for (int64_t i = 0; t && i < t->shape[0]; i++) {
        GDN_TRY(check_element(c, t, i, 0, last, i == 0 ? 0 : limit));
        last = gdnp_int(t, i, 0);
    }
    return GDN_OK;
}

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

static gdn_status need(const check *c, const char *name, const char *why) {
    if (!gdn_call_tensor(c->call, name)) {
        return gdn_error_set(c->err, GDN_ERR_ARG,
                             "%s: expected a tensor for %s but found none", name, why);
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

static gdn_status check_rejection(const check *c) {
    const int64_t method = gdn_call_scalar(c->call, "method", 0);
    const gdn_tensor *ends = readable(c, "cu_num_draft_tokens");
    const int64_t drafts = c->size['J'] - 1;
    if (method == GDN_REJECT_MATCH) {
        GDN_TRY(need(c, "target_tokens", "target match"));
    } else if (method == GDN_REJECT_SYNTHETIC) {
        GDN_TRY(need(c, "acceptance_rates", "synthetic acceptance"));
    }
    int64_t last = 0;
    for (int64_t b = 0; ends && b < ends->shape[0]; b++) {
        GDN_TRY(
            check_element(c, ends, b, 0, last, gdnp_min64(last + drafts, c->size['N'])));
        last = gdnp_int(ends, b, 0);
    }
    GDN_TRY(check_range(c, "draft_token_ids", -1, c->size['V'] - 1));
    GDN_TRY(check_range(c, "target_tokens", 0, c->size['V'] - 1));
    GDN_TRY(check_range(c, "bonus_token_ids", 0, c->size['V'] - 1));
    GDN_TRY(check_range(c, "is_greedy", 0, 1));
    GDN_TRY(check_law(c, "draft_probs"));
    GDN_TRY(check_law(c, "target_probs"));
    GDN_TRY(check_reals(c, "uniform", 0x1p-1022, 1.0)); /* zero would accept p = 0 */
    GDN_TRY(check_reals(c, "exponential", 0x1p-149, (double)INFINITY));
    return check_reals(c, "acceptance_rates", 0.0, 1.0);
}

/* At most one link leads to a node, none to the root: then no walk meets a node twice. */
static gdn_status check_links(const check *c) {
    const gdn_tensor *next = readable(c, "retrive_next_token");
    const gdn_tensor *sibling = readable(c, "retrive_next_sibling");
    const int64_t nodes = c->size['D'];
    if (!next || !sibling) {
        return GDN_OK;
    }
    for (int64_t b = 0; b < c->size['B']; b++) {
        for (int64_t i = 0; i < 2 * nodes; i++) {
            const gdn_tensor *t = i < nodes ? next : sibling;
            const int64_t to = gdnp_int(t, b, i % nodes);
            if (to == -1) {
                continue;
            }
            GDN_TRY(check_element(c, t, b, i % nodes, to == 0 ? 1 : -1, nodes - 1));
            for (int64_t k = 0; k < i; k++) {
                const gdn_tensor *o = k < nodes ? next : sibling;
                if (gdnp_int(o, b, k % nodes) == to) {
                    return refuse(c, t, b, i % nodes,
                                  "a node that no other link leads to (two parents)");
                }
            }
        }
        /* Nodes that only each other's links lead to. */
        for (int64_t i = 1; i < nodes; i++) {
            int64_t at = i;
            int64_t steps = 0;
            for (int64_t k = 0; k < 2 * nodes && steps <= nodes; k++) {
                const gdn_tensor *o = k < nodes ? next : sibling;
                if (gdnp_int(o, b, k % nodes) == at) {
                    at = k % nodes;
                    steps++;
                    k = -1;
                }
            }
            if (steps > nodes) {
                return gdn_error_set(c->err, GDN_ERR_ARG,
                                     "retrive_next_token[%lld,%lld]: expected a tree but "
                                     "found a cycle",
                                     (ll)b, (ll)i);
            }
        }
    }
    return GDN_OK;
}

/* Every node has a place of its own in the flat tensors. */
static gdn_status check_distinct(const check *c, const gdn_tensor *index) {
    const int64_t nodes = c->size['D'];
    bool *taken = index ? calloc((size_t)c->size['P'] + 1, sizeof *taken) : NULL;
    if (index && !taken) {
        return gdn_error_set(c->err, GDN_ERR_OOM, "no memory for %lld nodes",
                             (ll)c->size['P']);
    }
    gdn_status status = GDN_OK;
    for (int64_t i = 0; index && status == GDN_OK && i < c->size['P']; i++) {
        const int64_t at = gdnp_int(index, i / nodes, i % nodes);
        if (taken[at]) {
            status =
                refuse(c, index, i / nodes, i % nodes, "an index that no other node has");
        }
        taken[at] = true;
    }
    free(taken);
    return status;
}

static gdn_status check_tree(const check *c) {
    const int64_t tokens = c->size['V'] >= 0 ? c->size['V'] - 1 : INT64_MAX;
    const gdn_tensor *index = readable(c, "retrive_index");
    GDN_TRY(check_range(c, "candidates", 0, tokens));
    GDN_TRY(check_range(c, "retrive_index", 0, c->size['P'] - 1));
    GDN_TRY(check_distinct(c, index));
    GDN_TRY(check_links(c));
    GDN_TRY(check_range(c, "target_predict", 0, INT64_MAX));
    GDN_TRY(check_law(c, "target_probs"));
    GDN_TRY(check_law(c, "draft_probs"));
    GDN_TRY(check_reals(c, "uniform_samples", 0.0, 1.0));
    GDN_TRY(check_reals(c, "uniform_samples_for_final_sampling", 0.0, 1.0));
    GDN_TRY(check_reals(c, "threshold_single", 0.0, 1.0));
    return check_reals(c, "threshold_acc", 0.0, 1.0);
}

/* Parents are selected, and before their children; an orphan would send the kernel's search
 * off the row. */
static gdn_status check_parents(const check *c, const gdn_tensor *selected,
                                const gdn_tensor *parents, int64_t topk) {
    for (int64_t b = 0; b < c->size['B']; b++) {
        for (int64_t i = 0; i < c->size['G']; i++) {
            const int64_t low = i > 0 ? gdnp_int(selected, b, i - 1) + 1 : 0;
            GDN_TRY(check_element(c, selected, b, i, low, c->size['Q'] * topk - 1));
            const int64_t group = gdnp_int(selected, b, i) / topk;
            int64_t place = 0;
            while (group > 0 && place < i &&
                   gdnp_int(selected, b, place) != gdnp_int(parents, b, group)) {
                place++;
            }
            if (group > 0 && place == i) {
                return refuse(c, selected, b, i,
                              "a draft whose parent is selected before it");
            }
        }
    }
    return GDN_OK;
}

static gdn_status check_build(const check *c) {
    const int64_t topk = gdn_call_scalar(c->call, "topk", 1);
    const int64_t depth = gdn_call_scalar(c->call, "depth", 1);
    const int64_t mode = gdn_call_scalar(c->call, "tree_mask_mode", 0);
    const int64_t B = c->size['B'], D = c->size['D'];
    const gdn_tensor *lens = readable(c, "verified_seq_len");
    const gdn_tensor *selected = readable(c, "selected_index");
    const gdn_tensor *parents = readable(c, "parent_list");
    if (c->size['Q'] != topk * (depth - 1) + 1) {
        return gdn_error_set(c->err, GDN_ERR_ARG,
                             "parent_list: expected size %lld (topk * (depth - 1) + 1) in "
                             "dimension 1 but found %lld",
                             (ll)(topk * (depth - 1) + 1), (ll)c->size['Q']);
    }
    if (mode == GDN_MASK_PACKED && D > 32) {
        return gdn_error_set(c->err, GDN_ERR_ARG,
                             "retrive_index: expected at most 32 nodes for a packed mask "
                             "but found %lld",
                             (ll)D);
    }
    GDN_TRY(need(c, mode == GDN_MASK_PACKED ? "packed_mask" : "tree_mask",
                 "this tree_mask_mode"));
    GDN_TRY(check_range(c, "verified_seq_len", 0, INT32_MAX));
    int64_t mask = B * D * D;
    for (int64_t b = 0; lens && mode == GDN_MASK_FULL && b < B; b++) {
        mask += D * gdnp_int(lens, b, 0);
    }
    if (lens && mode != GDN_MASK_PACKED && c->size['Y'] != mask) {
        return gdn_error_set(c->err, GDN_ERR_ARG,
                             "tree_mask: expected size %lld but found %lld", (ll)mask,
                             (ll)c->size['Y']);
    }
    return selected && parents ? check_parents(c, selected, parents, topk) : GDN_OK;
}

static gdn_status check_commit(const check *c) {
    const gdn_tensor *table = readable(c, "slot_table");
    if (c->call->conventions->verify.conv_commit == GDN_CONV_COMMIT_SCATTER &&
        c->call->conventions->verify.commit == GDN_COMMIT_MOVE) {
        GDN_TRY(need(c, "intermediate_conv", "scattered conv windows"));
    }
    GDN_TRY(check_range(c, "slot_table", 0, c->size['I'] - 1));
    GDN_TRY(check_range(c, "src_indices", 0, c->size['Z'] - 1));
    GDN_TRY(check_range(c, "last_steps", -1, c->size['A'] - 1));
    for (int64_t i = 0; table && i < table->shape[0]; i++) {
        for (int64_t k = 0; k < i; k++) {
            if (gdnp_int(table, k, 0) == gdnp_int(table, i, 0)) {
                return refuse(c, table, i, 0, "a slot that nobody else names");
            }
        }
    }
    return GDN_OK;
}

gdn_status gdnp_verify_check(const gdn_call *call, gdn_error *err) {
    gdn_verify_sizes sizes;
    GDN_TRY(gdn_verify_check_shapes(call, &sizes, err));
    const check c = {.call = call, .size = sizes.of, .err = err};
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
        return check_rejection(&c);
    case GDN_OP_VERIFY_TREE_GREEDY:
    case GDN_OP_TREE_SPECULATIVE_SAMPLING:
    case GDN_OP_CHAIN_SPECULATIVE_SAMPLING:
        return check_tree(&c);
    case GDN_OP_BUILD_TREE:
        return check_build(&c);
    default:
        break;
    }
    return check_commit(&c);
}
