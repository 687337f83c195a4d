/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* build_tree (contract draft_verification 8.4, sglang_npu 10). Node 0 is the verified
 * token; node i is the i-th selected draft. */
#include "verify.h"

typedef struct tree {
    const gdn_call *call;
    const gdn_verify_conventions *v;
    const gdn_tensor *parents, *selected, *lens;
    int64_t nodes, topk;
} tree;

/* The check has seen to it that there is one, and that it comes before the node. */
static int64_t parent_of(const tree *t, int64_t b, int64_t node) {
    const int64_t group = gdnp_int(t->selected, b, node - 1) / t->topk;
    if (group == 0) {
        return 0;
    }
    const int64_t flat = gdnp_int(t->parents, b, group);
    int64_t place = 0;
    while (gdnp_int(t->selected, b, place) != flat) {
        place++;
    }
    return place + 1;
}

static void link_nodes(const tree *t, gdn_output *outputs, int64_t b) {
    gdn_output *next = gdnp_output(t->call, outputs, "retrive_next_token");
    gdn_output *sibling = gdnp_output(t->call, outputs, "retrive_next_sibling");
    for (int64_t i = 0; t->v->links == GDN_LINKS_CLEARED && i < t->nodes; i++) {
        gdnp_put_int(next, b, i, -1);
        gdnp_put_int(sibling, b, i, -1);
    }
    /* The links of a node are its first child and that child's chain; found by looking, so
     * that outputs are never read. */
    for (int64_t node = 0; node < t->nodes; node++) {
        int64_t before = -1;
        for (int64_t k = 1; k < t->nodes; k++) {
            const bool descend = t->v->slip == GDN_VERIFY_SLIP_SIBLINGS_DESCEND;
            const int64_t child = descend ? t->nodes - k : k;
            if (parent_of(t, b, child) != node) {
                continue;
            }
            gdnp_put_int(before < 0 ? next : sibling, b, before < 0 ? node : before, child);
            before = child;
        }
    }
}

static bool sees(const tree *t, int64_t b, int64_t node, int64_t other) {
    while (node != other && node != 0) {
        node = parent_of(t, b, node);
    }
    return node == other || other == 0;
}

static void write_mask(const tree *t, gdn_output *outputs, int64_t b, int64_t *base) {
    gdn_output *mask = gdnp_output(t->call, outputs, "tree_mask");
    gdn_output *packed = gdnp_output(t->call, outputs, "packed_mask");
    const int64_t mode = gdn_call_scalar(t->call, "tree_mask_mode", 0);
    const int64_t prefix = mode == GDN_MASK_FULL ? gdnp_int(t->lens, b, 0) : 0;
    const bool collide = mode == GDN_MASK_QUERY && t->v->mask_rows == GDN_MASK_ROWS_COLLIDE;
    for (int64_t node = 0; node < t->nodes; node++) {
        const int64_t row =
            collide ? *base + b * t->nodes : *base + node * (prefix + t->nodes) + prefix;
        int64_t bits = 0;
        for (int64_t other = 0; other < t->nodes; other++) {
            const bool visible = sees(t, b, node, other);
            bits |= visible ? INT64_C(1) << other : 0;
            if (mode != GDN_MASK_PACKED && mask && row + other < mask->value.shape[0]) {
                gdnp_put_int(mask, row + other, 0, visible);
            }
        }
        if (mode == GDN_MASK_PACKED) {
            gdnp_put_int(packed, b * t->nodes + node, 0, bits);
        }
    }
    *base += t->nodes * (prefix + t->nodes);
}

void gdnp_build_tree(const gdn_call *call, gdn_output *outputs) {
    const tree t = {
        .call = call,
        .v = &call->conventions->verify,
        .parents = gdnp_in(call, "parent_list"),
        .selected = gdnp_in(call, "selected_index"),
        .lens = gdnp_in(call, "verified_seq_len"),
        .nodes = gdnp_in(call, "retrive_index")->shape[1],
        .topk = gdn_call_scalar(call, "topk", 1),
    };
    int64_t base = 0;
    for (int64_t b = 0; b < t.selected->shape[0]; b++) {
        for (int64_t node = 0; node < t.nodes; node++) {
            int64_t depth = 0;
            for (int64_t up = node; up != 0; up = parent_of(&t, b, up)) {
                depth++;
            }
            gdnp_put_int(gdnp_output(call, outputs, "positions"), b * t.nodes + node, 0,
                         gdnp_int(t.lens, b, 0) + depth);
            gdnp_put_int(gdnp_output(call, outputs, "retrive_index"), b, node,
                         b * t.nodes + node);
        }
        link_nodes(&t, outputs, b);
        write_mask(&t, outputs, b, &base);
    }
}
