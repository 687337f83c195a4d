/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What laws, trees and slot tables may hold. */
#include "verify_check.h"

#include <stdlib.h>

gdn_status gdnp_check_rejection(const check *c) {
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

gdn_status gdnp_check_tree(const check *c) {
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

gdn_status gdnp_check_build(const check *c) {
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

gdn_status gdnp_check_commit(const check *c) {
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
