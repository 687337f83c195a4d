/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Trees of drafts: built, walked greedily, and walked by tossing coins. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu_verify.h"

/* A path through the tree of request b, written down as it grows. */
typedef struct path {
    const gdn_call *call;
    int64_t b, nodes, room, length, node, flat;
} path;

static path start(const gdn_call *call, int64_t b) {
    const gdn_tensor *index = cpu_arg(call, "retrive_index");
    path p = {.call = call, .b = b, .nodes = index->shape[1]};
    p.room = cpu_arg(call, "accept_index")->shape[1];
    p.flat = cpu_int(index, b * p.nodes);
    cpu_set_int(cpu_arg(call, "accept_index"), b * p.room, p.flat);
    return p;
}

static int64_t link_of(const path *p, const char *name, int64_t node) {
    return cpu_int(cpu_arg(p->call, name), p->b * p->nodes + node);
}

static void follow(path *p, int64_t node) {
    cpu_set_int(cpu_arg(p->call, "predicts"), p->flat, link_of(p, "candidates", node));
    p->node = node;
    p->flat = link_of(p, "retrive_index", node);
    p->length++;
    cpu_set_int(cpu_arg(p->call, "accept_index"), p->b * p->room + p->length, p->flat);
}

static void close_path(const path *p, int64_t token) {
    cpu_set_int(cpu_arg(p->call, "predicts"), p->flat, token);
    cpu_set_int(cpu_arg(p->call, "accept_token_num"), p->b, p->length);
}

static gdn_status run_greedy(gdn_device *device, const gdn_call *call, gdn_error *err) {
    const gdn_tensor *target = cpu_arg(call, "target_predict");
    (void)device;
    (void)err;
    for (int64_t b = 0; b < target->shape[0]; b++) {
        path p = start(call, b);
        int64_t node = link_of(&p, "retrive_next_token", 0);
        while (p.length + 1 < p.room && node >= 0) {
            if (link_of(&p, "candidates", node) == cpu_int(target, p.flat)) {
                follow(&p, node);
                node = link_of(&p, "retrive_next_token", node);
            } else {
                node = link_of(&p, "retrive_next_sibling", node);
            }
        }
        close_path(&p, cpu_int(target, p.flat));
    }
    return GDN_OK;
}

static bool heads(const gdn_call *call, float coin, float mass, float p) {
    float whole = cpu_real(cpu_arg(call, "threshold_acc"), 0);
    const bool alone = p >= cpu_real(cpu_arg(call, "threshold_single"), 0);
    whole = whole < 1e-9F ? 1e-9F : whole;
    if (call->conventions->verify.tree_accept == GDN_TREE_INCLUSIVE) {
        return alone || coin <= mass / whole;
    }
    return p > 0.0F && (alone || coin < mass / whole);
}

/* Walks on from the path's node; false: no child stood, and `law` has lost their mass. */
static bool toss(path *p, float *coin, float *law, const gdn_tensor *scratch) {
    const int64_t vocab = scratch->shape[2];
    const int64_t row = (p->b * p->nodes + p->node) * vocab;
    float mass = 0.0F;
    float *left = (float *)scratch->data + row;
    int64_t node = link_of(p, "retrive_next_token", p->node);
    for (; node >= 0; node = link_of(p, "retrive_next_sibling", node)) {
        const int64_t token = link_of(p, "candidates", node);
        const float q = cpu_real(cpu_arg(p->call, "target_probs"), row + token);
        mass += q;
        if (heads(p->call, *coin, mass, q)) {
            follow(p, node);
            *coin = cpu_real(cpu_arg(p->call, "uniform_samples"), p->b * p->nodes + node);
            return true;
        }
        left[token] = q;
    }
    for (int64_t t = 0; t < vocab; t++) {
        law[t] = law[t] > left[t] ? law[t] - left[t] : 0.0F;
    }
    return false;
}

static void load_law(const path *p, float *law, int64_t vocab) {
    cpu_load(law, cpu_arg(p->call, "target_probs")->data, GDN_FP32,
             (p->b * p->nodes + p->node) * vocab, 1, vocab);
}

static gdn_status run_tree(gdn_device *device, const gdn_call *call, gdn_error *err) {
    const gdn_tensor *scratch = cpu_arg(call, "draft_probs");
    const int64_t vocab = scratch->shape[2];
    float *law = malloc((size_t)vocab * sizeof *law);
    (void)device;
    if (!law) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a law");
    }
    if (call->conventions->verify.scratch == GDN_SCRATCH_CLEARED) {
        memset(scratch->data, 0, (size_t)gdn_tensor_count(scratch) * sizeof(float));
    }
    for (int64_t b = 0; b < scratch->shape[0]; b++) {
        path p = start(call, b);
        float coin = cpu_real(cpu_arg(call, "uniform_samples"), b * p.nodes);
        bool on = true;
        while (on) {
            load_law(&p, law, vocab);
            on = p.length + 1 < p.room && toss(&p, &coin, law, scratch);
        }
        close_path(&p,
                   cpu_pick_weight(
                       law, vocab,
                       cpu_real(cpu_arg(call, "uniform_samples_for_final_sampling"), b)));
    }
    free(law);
    return GDN_OK;
}

/* Parents by node number; the tree has been checked. */
static void find_parents(const gdn_call *call, int64_t b, int64_t nodes, int64_t *parents) {
    const gdn_tensor *selected = cpu_arg(call, "selected_index");
    const gdn_tensor *list = cpu_arg(call, "parent_list");
    const int64_t topk = gdn_call_scalar(call, "topk", 1);
    parents[0] = -1;
    for (int64_t i = 1; i < nodes; i++) {
        const int64_t group = cpu_int(selected, b * (nodes - 1) + i - 1) / topk;
        const int64_t flat = cpu_int(list, b * list->shape[1] + group);
        parents[i] =
            group == 0 ? 0 : 1 + cpu_find(selected, b * (nodes - 1), nodes - 1, flat);
    }
}

/* From the last node to the first, each pushed in front of its parent's children. */
static void link_tree(const gdn_call *call, int64_t b, int64_t nodes,
                      const int64_t *parents) {
    const gdn_tensor *next = cpu_arg(call, "retrive_next_token");
    const gdn_tensor *sibling = cpu_arg(call, "retrive_next_sibling");
    if (call->conventions->verify.links == GDN_LINKS_CLEARED) {
        for (int64_t i = 0; i < nodes; i++) {
            cpu_set_int(next, b * nodes + i, -1);
            cpu_set_int(sibling, b * nodes + i, -1);
        }
    }
    for (int64_t i = nodes - 1; i > 0; i--) {
        const int64_t at = b * nodes + parents[i];
        if (cpu_int(next, at) >= 0) {
            cpu_set_int(sibling, b * nodes + i, cpu_int(next, at));
        }
        cpu_set_int(next, at, i);
    }
}

static gdn_status run_build(gdn_device *device, const gdn_call *call, gdn_error *err) {
    const gdn_tensor *index = cpu_arg(call, "retrive_index");
    const gdn_tensor *mask = cpu_arg(call, "tree_mask");
    const gdn_tensor *packed = cpu_arg(call, "packed_mask");
    const int64_t nodes = index->shape[1];
    const bool full = gdn_call_scalar(call, "tree_mask_mode", 0) == GDN_MASK_FULL;
    int64_t parents[64];
    uint64_t seen[64];
    int64_t depth[64];
    int64_t at = 0;
    (void)device;
    (void)err;
    for (int64_t b = 0; b < index->shape[0]; b++) {
        const int64_t length = cpu_int(cpu_arg(call, "verified_seq_len"), b);
        find_parents(call, b, nodes, parents);
        link_tree(call, b, nodes, parents);
        for (int64_t i = 0; i < nodes; i++) {
            depth[i] = i == 0 ? 0 : depth[parents[i]] + 1;
            seen[i] = (i == 0 ? 0 : seen[parents[i]]) | UINT64_C(1) << i;
            cpu_set_int(index, b * nodes + i, b * nodes + i);
            cpu_set_int(cpu_arg(call, "positions"), b * nodes + i, length + depth[i]);
            if (packed) {
                cpu_set_int(packed, b * nodes + i, (int64_t)seen[i]);
                continue;
            }
            at += full ? length : 0;
            for (int64_t j = 0; mask && j < nodes; j++) {
                cpu_set_int(mask, at++, (int64_t)(seen[i] >> j & 1));
            }
        }
    }
    return GDN_OK;
}

static gdn_status check_build(const gdn_call *call, gdn_error *err) {
    GDN_TRY(cpu_verify_check(call, err));
    if (cpu_arg(call, "retrive_index")->shape[1] > 64) {
        return gdn_error_set(err, GDN_ERR_UNSUPPORTED,
                             "retrive_index: this device takes at most 64 nodes");
    }
    return GDN_OK;
}

const cpu_op cpu_verify_tree_greedy = {.check = cpu_verify_check, .run = run_greedy};
static gdn_status run_tree_drawn(gdn_device *device, const gdn_call *call, gdn_error *err) {
    return cpu_verify_drawn(device, call, run_tree, err);
}

const cpu_op cpu_tree_sampling = {.check = cpu_verify_check, .run = run_tree_drawn};
const cpu_op cpu_build_tree = {.check = check_build, .run = run_build};
