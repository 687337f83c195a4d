/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* sglang's trees and chains of drafts (contract draft_verification 8, sglang_npu 8 and 9).
 * A node's row predicts the token behind it; `predicts` holds, at each accepted node, that
 * token, and at the last one the token that nobody drafted. */
#include <math.h>

#include "verify.h"

typedef struct walk {
    const gdn_call *call;
    const gdn_verify_conventions *v;
    gdn_output *predicts, *accepted, *number, *scratch;
    const gdn_tensor *candidates, *index, *next, *sibling, *p, *q;
    int64_t b, nodes, columns, vocabulary;
    int64_t cur, last, count;
} walk;

static walk walk_of(const gdn_call *call, gdn_output *outputs) {
    return (walk){
        .call = call,
        .v = &call->conventions->verify,
        .predicts = gdnp_output(call, outputs, "predicts"),
        .accepted = gdnp_output(call, outputs, "accept_index"),
        .number = gdnp_output(call, outputs, "accept_token_num"),
        .scratch = NULL,
        .candidates = gdnp_in(call, "candidates"),
        .index = gdnp_in(call, "retrive_index"),
        .next = gdnp_in(call, "retrive_next_token"),
        .sibling = gdnp_in(call, "retrive_next_sibling"),
        .p = gdnp_in(call, "target_probs"),
        .q = gdnp_in(call, "draft_probs"),
        .nodes = gdnp_in(call, "candidates")->shape[1],
        .columns = gdnp_in(call, "accept_index")->shape[1],
        .vocabulary =
            gdnp_in(call, "target_probs") ? gdnp_in(call, "target_probs")->shape[2] : 0,
    };
}

static void begin(walk *w, int64_t b) {
    w->b = b;
    w->cur = 0;
    w->count = 0;
    w->last = gdnp_int(w->index, b, 0);
    gdnp_put_int(w->accepted, b, 0, w->last);
}

static void accept(walk *w, int64_t node) {
    gdnp_put_int(w->predicts, w->last, 0, gdnp_int(w->candidates, w->b, node));
    w->cur = node;
    w->last = gdnp_int(w->index, w->b, node);
    w->count++;
    gdnp_put_int(w->accepted, w->b, w->count, w->last);
}

static void finish(walk *w, int64_t token) {
    if (w->v->slip != GDN_VERIFY_SLIP_BONUS_MISSING) {
        gdnp_put_int(w->predicts, w->last, 0, token);
    }
    gdnp_put_int(w->number, w->b, 0,
                 w->count + (w->v->accept_count == GDN_COUNT_WITH_BONUS));
}

static int64_t first_child(const walk *w, int64_t node) {
    if (w->v->tree_walk == GDN_TREE_CHAIN) {
        return node + 1 < w->nodes ? node + 1 : -1;
    }
    return gdnp_int(w->next, w->b, node);
}

static int64_t next_sibling(const walk *w, int64_t node) {
    return w->v->tree_walk == GDN_TREE_LINKED ? gdnp_int(w->sibling, w->b, node) : -1;
}

/* target_predict is flat over all requests; the walk's own position in it is `last`. */
static int64_t prediction(const walk *w) {
    const gdn_tensor *target = gdnp_in(w->call, "target_predict");
    return gdnp_int(target, w->last / w->nodes, w->last % w->nodes);
}

void gdnp_verify_tree_greedy(const gdn_call *call, gdn_output *outputs) {
    walk w = walk_of(call, outputs);
    for (int64_t b = 0; b < w.candidates->shape[0]; b++) {
        begin(&w, b);
        while (w.count + 1 < w.columns) {
            int64_t node = first_child(&w, w.cur);
            while (node != -1 && gdnp_int(w.candidates, b, node) != prediction(&w)) {
                node = next_sibling(&w, node);
            }
            if (node == -1) {
                break;
            }
            accept(&w, node);
        }
        finish(&w, prediction(&w));
    }
}

static double p_of(const walk *w, int64_t node, int64_t token) {
    return gdnp_real(w->p, w->b, node, token);
}

static double coin_of(const walk *w, int64_t node) {
    if (w->v->slip == GDN_VERIFY_SLIP_CONSTANT_DRAW) {
        return 0.159793362;
    }
    return gdnp_real(gdnp_in(w->call, "uniform_samples"), w->b, node, 0);
}

static double final_coin(const walk *w, double coin) {
    if (w->v->slip == GDN_VERIFY_SLIP_DRAW_REUSED) {
        return coin;
    }
    return gdnp_real(gdnp_in(w->call, "uniform_samples_for_final_sampling"), w->b, 0, 0);
}

static double threshold(const walk *w, const char *name) {
    return gdnp_real(gdnp_in(w->call, name), 0, 0, 0);
}

static bool passes(const walk *w, float coin, float mass, float p) {
    const float acc = fmaxf((float)threshold(w, "threshold_acc"), 1e-9F);
    const float single = (float)threshold(w, "threshold_single");
    if (w->v->tree_accept == GDN_TREE_INCLUSIVE) {
        return coin <= mass / acc || p >= single;
    }
    return p > 0.0F && (coin < mass / acc || p >= single);
}

static void note_rejected(const walk *w, int64_t token, double p) {
    if (w->scratch) {
        const gdn_tensor *t = &w->scratch->value;
        gdn_store(t->data, t->dtype,
                  w->b * t->stride[0] + w->cur * t->stride[1] + token * t->stride[2], p);
        gdnp_mark_row(w->scratch, w->b);
    }
}

/* Tries the children of the current node with one coin for all of them. */
static bool descend(walk *w, double *coin, int64_t depth) {
    float mass = 0.0F;
    for (int64_t node = first_child(w, w->cur); node != -1; node = next_sibling(w, node)) {
        const int64_t token = gdnp_int(w->candidates, w->b, node);
        const double p = p_of(w, w->cur, token);
        const bool fresh = w->v->tree_accept == GDN_TREE_FRESH_COINS;
        mass += (float)p;
        if (passes(w, (float)(fresh ? coin_of(w, node) : *coin), mass, (float)p)) {
            const bool level = w->v->slip == GDN_VERIFY_SLIP_COIN_OF_LEVEL;
            accept(w, node);
            *coin = coin_of(w, level ? depth : node);
            return true;
        }
        note_rejected(w, token, p);
    }
    return false;
}

typedef struct tree_law {
    const walk *w;
    bool whole; /* the path is full: nothing was tried behind its last node */
} tree_law;

/* What is left of a node's law once its children have been rejected. */
static double tree_weight(const void *context, int64_t token) {
    const tree_law *law = context;
    const walk *w = law->w;
    const double p = p_of(w, w->cur, token);
    if (law->whole || w->v->slip == GDN_VERIFY_SLIP_REJECT_SAMPLES_TARGET) {
        return p;
    }
    for (int64_t node = first_child(w, w->cur); node != -1; node = next_sibling(w, node)) {
        if (gdnp_int(w->candidates, w->b, node) == token) {
            return 0.0;
        }
    }
    const bool dirty = w->v->scratch == GDN_SCRATCH_TRUSTED;
    return fmax(p - (dirty ? gdnp_real(w->q, w->b, w->cur, token) : 0.0), 0.0);
}

static void clear_scratch(const walk *w) {
    if (!w->scratch || w->v->scratch == GDN_SCRATCH_TRUSTED) {
        return;
    }
    const gdn_tensor *t = &w->scratch->value;
    for (int64_t node = 0; node < t->shape[1]; node++) {
        for (int64_t token = 0; token < t->shape[2]; token++) {
            gdn_store(t->data, t->dtype,
                      w->b * t->stride[0] + node * t->stride[1] + token * t->stride[2],
                      0.0);
        }
    }
    gdnp_mark_row(w->scratch, w->b);
}

void gdnp_tree_sampling(const gdn_call *call, gdn_output *outputs) {
    walk w = walk_of(call, outputs);
    w.scratch = gdnp_output(call, outputs, "draft_probs");
    for (int64_t b = 0; b < w.candidates->shape[0]; b++) {
        begin(&w, b);
        clear_scratch(&w);
        double coin = coin_of(&w, 0);
        bool full = true;
        for (int64_t depth = 1; depth < w.columns && full; depth++) {
            full = descend(&w, &coin, depth);
        }
        const tree_law law = {&w, full};
        finish(&w, gdnp_draw_weights(tree_weight, &law, w.vocabulary, final_coin(&w, coin),
                                     w.v));
    }
}

typedef struct chain_law {
    const walk *w;
    double scale;
    bool whole;
} chain_law;

static double q_of(const walk *w, int64_t step, int64_t token) {
    return gdnp_real(w->q, w->b, step, token);
}

static double chain_weight(const void *context, int64_t token) {
    const chain_law *law = context;
    const double p = p_of(law->w, law->w->cur, token);
    if (law->whole || law->w->v->slip == GDN_VERIFY_SLIP_REJECT_SAMPLES_TARGET) {
        return p;
    }
    return fmax(law->scale * p - q_of(law->w, law->w->cur, token), 0.0);
}

/* A draft law may be a rounding above 1; what is no probability at all rejects (8.3). */
static bool usable(double *q) {
    if (!(*q > 0.0 && *q <= 1.001)) {
        return false;
    }
    *q = fmin(*q, 1.0);
    return true;
}

static bool chain_accepts(const walk *w, int64_t step) {
    const int64_t draft = gdnp_int(w->candidates, w->b, step + 1);
    double q = q_of(w, step, draft);
    return usable(&q) && coin_of(w, step) * q < p_of(w, step, draft);
}

/* Rule 1.7 with strict comparisons; returns the number of drafts, `scale` their P. */
static int64_t chain_block(const walk *w, int64_t steps, double *scale) {
    double product = 1.0;
    int64_t kept = 0;
    *scale = 1.0;
    for (int64_t i = 1; i <= steps; i++) {
        const int64_t draft = gdnp_int(w->candidates, w->b, i);
        double q = q_of(w, i - 1, draft);
        product = usable(&q) ? fmin(product * p_of(w, i - 1, draft) / q, 1.0) : 0.0;
        double bar = product;
        if (i < steps) {
            double mass = 0.0;
            for (int64_t t = 0; t < w->vocabulary; t++) {
                mass += fmax(product * p_of(w, i, t) - q_of(w, i, t), 0.0);
            }
            const double below = mass + 1.0 - product;
            bar = below > 0.0 ? mass / below : 1.0;
        }
        if (coin_of(w, i - 1) < bar) {
            kept = i;
            *scale = product;
        }
    }
    return kept;
}

void gdnp_chain_sampling(const gdn_call *call, gdn_output *outputs) {
    walk w = walk_of(call, outputs);
    const int64_t steps = w.columns - 1;
    for (int64_t b = 0; b < w.candidates->shape[0]; b++) {
        begin(&w, b);
        double scale = 1.0;
        int64_t kept = 0;
        if (gdn_call_scalar(call, "block", 0)) {
            kept = chain_block(&w, steps, &scale);
        } else {
            while (kept < steps && chain_accepts(&w, kept)) {
                kept++;
            }
        }
        while (w.count < kept) {
            accept(&w, w.count + 1);
        }
        const chain_law law = {&w, scale, kept == steps};
        const double coin = coin_of(&w, kept < w.nodes ? kept : 0);
        finish(&w, gdnp_draw_weights(chain_weight, &law, w.vocabulary, final_coin(&w, coin),
                                     w.v));
    }
}
