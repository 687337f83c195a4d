/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Values of the ops that read laws, and of trees. Laws are permutations of one dyadic
 * ladder, so every sum and every product with a coin is exact in fp32. */
#include "verify_plan.h"

#define SET(...)  gdn_verify_set_int(f, __VA_ARGS__)
#define REAL(...) gdn_verify_set_real(f, __VA_ARGS__)
#define BELOW(n)  gdn_verify_below(f, (n))
#define SCENE(s)  (f->test->verify.scenario == GDN_SCENARIO_##s)

enum { TOPK = 3, DEPTH = 4 };

/* A token's rank in a row: a rotation, by an odd factor where the vocabulary allows it. */
static int64_t rank_in(int64_t token, int64_t turn, int64_t vocab) {
    return (token + turn) % vocab;
}

/* The token of that rank. */
static int64_t token_of(int64_t rank, int64_t turn, int64_t vocab) {
    return ((rank - turn) % vocab + vocab) % vocab;
}

void gdn_verify_fill_candidates(gdn_verify_filler *f) {
    static const double TOP_P[] = {0.75, 0.875, 0.5, 1.0, 0.96875, 0.25};
    const int64_t vocab = f->plan->size['V'];
    for (int64_t b = 0; b < f->plan->size['B']; b++) {
        const gdn_verify_request *r = &f->plan->requests[b];
        REAL("top_p", b, 0, 0, TOP_P[b % 6]);
        for (int64_t i = 0; i < r->tokens; i++) {
            SET("batch_id_per_token_output", r->first + i, 0, b);
        }
    }
    for (int64_t row = 0; row < f->plan->size['T']; row++) {
        const int64_t turn = BELOW(vocab);
        for (int64_t t = 0; t < vocab; t++) {
            double p = gdn_verify_law(rank_in(t, turn, vocab), vocab);
            if (SCENE(EDGES) && row % 3 == 0) {
                p = 0.125; /* ties, and more mass than 1 where there are many tokens */
            } else if (SCENE(EDGES) && row % 3 == 1) {
                p = rank_in(t, turn, vocab) == 1 ? 0.0 : p / 2; /* zeros, too little mass */
            }
            REAL("probs", row, t, 0, p);
        }
    }
}

/* The draft is the target's favourite where it is to stand; where it is to fall it is the
 * last but one in the target's order and the favourite of the drafter. */
static void fill_draft_row(gdn_verify_filler *f, int64_t row, int64_t i,
                           const gdn_verify_request *r, bool drafter) {
    const int64_t vocab = f->plan->size['V'];
    const int64_t turn = BELOW(vocab);
    const bool stands = i < r->kept;
    const int64_t draft = token_of(stands ? 0 : vocab - 1, turn, vocab);
    for (int64_t t = 0; t < vocab; t++) {
        const int64_t rank = rank_in(t, turn, vocab);
        const int64_t back = stands ? (rank + 1) % vocab : vocab - 1 - rank;
        REAL("target_probs", row, t, 0, gdn_verify_law(rank, vocab));
        if (drafter) {
            REAL("draft_probs", row, t, 0, gdn_verify_law(back, vocab));
        }
    }
    SET("draft_token_ids", row, 0, draft);
    SET("target_tokens", row, 0, stands ? draft : (draft + 1) % vocab);
    REAL("uniform", row, 0, 0, stands ? gdn_verify_coin(f) * 0.5 : 0.998046875);
}

/* Ratios that the uniform meets exactly, drafts without target mass or without draft mass,
 * sums of 1.001 and 0.999. */
static void bend_row(gdn_verify_filler *f, int64_t row) {
    const int64_t vocab = f->plan->size['V'];
    for (int64_t t = 0; t < vocab; t++) {
        const double rest = t < 4 ? 0.0 : 0.25 / (double)(vocab - 4);
        REAL("target_probs", row, t, 0,
             t == 0   ? 0.25
             : t == 1 ? (row % 4 == 3 ? 0.0 : 0.25 + 0x1p-10)
             : t == 2 ? 0.25
                      : rest);
        REAL("draft_probs", row, t, 0,
             t == 0   ? 0.5
             : t == 1 ? 0.25
             : t == 3 ? 0.25 - 0x1p-10
                      : 0.0);
    }
    SET("draft_token_ids", row, 0, row % 4 == 2 ? 2 : row % 4 == 3 ? 1 : 0);
    REAL("uniform", row, 0, 0, row % 4 == 1 ? 0.5 + 0x1p-9 : 0.5);
}

void gdn_verify_fill_rejection(gdn_verify_filler *f) {
    const int64_t vocab = f->plan->size['V'];
    const bool greedy = f->test->verify.mode == GDN_MODE_STANDARD ||
                        f->test->verify.mode == GDN_MODE_SYNTHETIC;
    int64_t end = 0;
    for (int64_t b = 0; b < f->plan->size['B']; b++) {
        const gdn_verify_request *r = &f->plan->requests[b];
        end = r->first + r->tokens - 1;
        SET("cu_num_draft_tokens", b, 0, end);
        SET("bonus_token_ids", b, 0, BELOW(vocab));
        SET("is_greedy", b, 0, greedy && b % 3 == 1);
        for (int64_t t = 0; t < vocab; t++) {
            REAL("exponential", b, t, 0,
                 0.05 + 3.0 * (double)BELOW(1 << 20) / (double)(1 << 20));
        }
        for (int64_t row = r->first; row < end; row++) {
            fill_draft_row(f, row, row - r->first, r, true);
            if (SCENE(EDGES)) {
                bend_row(f, row);
            }
            if (SCENE(STATES) && (row + b) % 4 == 3) {
                SET("draft_token_ids", row, 0, -1); /* placeholder */
            }
        }
    }
    for (int64_t i = 0; i < f->plan->size['S']; i++) {
        REAL("acceptance_rates", i, 0, 0, 1.0 / (double)(i + 1));
    }
}

/* A random tree: the parent is one of the three nodes before. Siblings ascend. */
static void fill_links(gdn_verify_filler *f, int64_t b, int64_t *parents) {
    const int64_t nodes = f->plan->size['D'];
    int64_t youngest[64];
    for (int64_t i = 0; i < nodes; i++) {
        youngest[i] = -1;
        SET("retrive_next_token", b, i, -1);
        SET("retrive_next_sibling", b, i, -1);
    }
    for (int64_t i = 1; i < nodes; i++) {
        const int64_t reach = i < 3 ? i : 3;
        parents[i] = i - 1 - BELOW(reach);
        if (youngest[parents[i]] < 0) {
            SET("retrive_next_token", b, parents[i], i);
        } else {
            SET("retrive_next_sibling", b, youngest[parents[i]], i);
        }
        youngest[parents[i]] = i;
    }
}

/* Drafts of a node in the order of the target's favour, the k-th child the k-th. */
static void fill_nodes(gdn_verify_filler *f, int64_t b, const int64_t *parents) {
    const int64_t nodes = f->plan->size['D'], vocab = f->plan->size['V'];
    const bool chain = f->test->op == GDN_OP_CHAIN_SPECULATIVE_SAMPLING;
    int64_t turn[64], children[64] = {0};
    SET("candidates", b, 0, BELOW(vocab));
    for (int64_t i = 0; i < nodes; i++) {
        turn[i] = BELOW(vocab);
        for (int64_t t = 0; t < vocab; t++) {
            REAL("target_probs", b, i, t,
                 gdn_verify_law(rank_in(t, turn[i], vocab), vocab));
        }
    }
    for (int64_t i = 1; i < nodes; i++) {
        const int64_t up = parents[i];
        const bool falls = chain && i > f->plan->requests[b].kept;
        const int64_t rank = falls ? vocab - 1 : children[up]++ % vocab;
        SET("candidates", b, i, token_of(rank, turn[up], vocab));
        for (int64_t t = 0; chain && t < vocab; t++) {
            const int64_t r = rank_in(t, turn[up], vocab);
            REAL("draft_probs", b, i - 1, t,
                 gdn_verify_law(falls ? vocab - 1 - r : (r + 1) % vocab, vocab));
        }
    }
}

/* The target goes along with `kept` drafts, now a first child, now a later one. */
static void fill_predictions(gdn_verify_filler *f, int64_t b, const int64_t *parents) {
    const int64_t nodes = f->plan->size['D'];
    int64_t node = 0;
    for (int64_t i = 0; i < nodes; i++) {
        SET("target_predict", b, i, f->plan->size['V'] + i); /* nobody drafted that */
    }
    for (int64_t depth = 0; depth < f->plan->requests[b].kept; depth++) {
        int64_t child = -1;
        for (int64_t i = 1; i < nodes; i++) {
            const bool later = child < 0 || (b + depth) % 2 == 0;
            child = parents[i] == node && later ? i : child;
        }
        if (child < 0) {
            break;
        }
        SET("target_predict", b, node, gdn_verify_get_int(f, "candidates", b, child));
        node = child;
    }
}

static double edge_coin(int64_t i) {
    static const double COINS[] = {0.5, 0.75, 0.0, 0.875, 1.0, 1.0 - 0x1p-24};
    return COINS[i % 6];
}

void gdn_verify_fill_tree(gdn_verify_filler *f) {
    const int64_t nodes = f->plan->size['D'];
    const bool chain = f->test->op == GDN_OP_CHAIN_SPECULATIVE_SAMPLING;
    int64_t parents[64];
    for (int64_t b = 0; b < f->plan->size['B']; b++) {
        fill_links(f, b, parents);
        for (int64_t i = 1; chain && i < nodes; i++) {
            parents[i] = i - 1;
        }
        fill_nodes(f, b, parents);
        if (f->test->op == GDN_OP_VERIFY_TREE_GREEDY) {
            fill_predictions(f, b, parents);
        }
        REAL("uniform_samples_for_final_sampling", b, 0, 0,
             SCENE(EDGES) ? edge_coin(b) : gdn_verify_coin(f));
        for (int64_t i = 0; i < nodes; i++) {
            const bool stands = chain && i < f->plan->requests[b].kept;
            const bool falls = chain && !stands;
            const double coin = gdn_verify_coin(f);
            SET("retrive_index", b, i, b * nodes + i);
            REAL("uniform_samples", b, i, 0,
                 SCENE(EDGES) ? edge_coin(b + 2 * i)
                 : stands     ? coin * 0.5
                 : falls      ? 0.998046875
                              : coin);
        }
    }
    REAL("threshold_single", 0, 0, 0, SCENE(FORCED) ? 0.5 : 1.0);
    REAL("threshold_acc", 0, 0, 0, SCENE(FORCED) ? 0.5 : 1.0);
    if (!chain) { /* what the last step left behind, unless the op relies on zeros */
        gdn_verify_set_all(f, "draft_probs",
                           f->v->scratch == GDN_SCRATCH_CLEARED ? 0.25 : 0.0);
    }
    gdn_verify_set_all(f, "predicts", -1);
    gdn_verify_set_all(f, "accept_index", -1);
}

/* The drafting steps of one request: each keeps TOPK of its TOPK^2 continuations. */
static void fill_parents(gdn_verify_filler *f, int64_t b, int64_t *parent_of) {
    int64_t frontier[TOPK];
    SET("parent_list", b, 0, -1);
    for (int64_t k = 0; k < TOPK; k++) {
        frontier[k] = k;
        parent_of[k] = -1;
    }
    for (int64_t step = 0; step + 1 < DEPTH; step++) {
        const int64_t base = TOPK + step * TOPK * TOPK;
        for (int64_t k = 0; k < TOPK; k++) {
            SET("parent_list", b, 1 + step * TOPK + k, frontier[k]);
            for (int64_t c = 0; c < TOPK; c++) {
                parent_of[base + k * TOPK + c] = frontier[k];
            }
        }
        for (int64_t k = 0; k < TOPK; k++) {
            frontier[k] = base + k * TOPK + BELOW(TOPK);
        }
    }
}

/* Nodes are chosen one by one among those whose parent is there already. */
static void select_nodes(gdn_verify_filler *f, int64_t b, const int64_t *parent_of) {
    enum { ALL = TOPK + (DEPTH - 1) * TOPK * TOPK };
    bool chosen[ALL] = {false};
    int64_t left = f->plan->size['G'];
    while (left > 0) {
        const int64_t node = BELOW(ALL);
        if (!chosen[node] && (parent_of[node] < 0 || chosen[parent_of[node]])) {
            chosen[node] = true;
            left--;
        }
    }
    int64_t at = 0;
    for (int64_t node = 0; node < ALL; node++) {
        if (chosen[node]) {
            SET("selected_index", b, at++, node);
        }
    }
}

void gdn_verify_fill_build(gdn_verify_filler *f) {
    int64_t parent_of[TOPK + (DEPTH - 1) * TOPK * TOPK];
    for (int64_t b = 0; b < f->plan->size['B']; b++) {
        fill_parents(f, b, parent_of);
        select_nodes(f, b, parent_of);
        SET("verified_seq_len", b, 0, 3 + b);
    }
    const double links = f->v->links == GDN_LINKS_TRUSTED ? -1 : -777;
    gdn_verify_set_all(f, "retrive_next_token", links);
    gdn_verify_set_all(f, "retrive_next_sibling", links);
    gdn_verify_set_all(f, "tree_mask", 1);
}

/* Distinct values everywhere; slots of a request are spread over the pool. */
void gdn_verify_fill_commit(gdn_verify_filler *f) {
    const int64_t steps = f->plan->size['A'], slots = f->plan->size['B'];
    const char *const POOLS[] = {"ssm_states", "intermediate", "conv_states",
                                 "intermediate_conv"};
    for (size_t i = 0; i < sizeof POOLS / sizeof POOLS[0]; i++) {
        const gdn_tensor *t = gdn_arena_tensor(&f->problem->arena, POOLS[i]);
        const int64_t count = t ? gdn_tensor_count(t) : 0;
        for (int64_t k = 0; k < count; k++) {
            const int64_t value = t->dtype == GDN_BF16 ? (k * 7 + (int64_t)i) % 251 : k;
            gdn_store(t->data, t->dtype, k, (double)(i % 2 ? -value - 1 : value + 1));
        }
    }
    for (int64_t b = 0; b < slots; b++) {
        const bool padding = SCENE(STATES) && b >= slots - 2;
        for (int64_t a = 0; a < steps; a++) {
            SET("slot_table", b, a, 1 + a * slots + (b * 5 + a) % slots);
        }
        for (int64_t other = 0; slots % 5 == 0 && other < steps; other++) {
            SET("slot_table", b, other, 1 + other * slots + (b + other) % slots);
        }
        SET("src_indices", b, 0, slots - 1 - b);
        SET("last_steps", b, 0, padding ? -1 : f->plan->requests[b].kept);
    }
    gdn_verify_set_all(f, "live_slots", -777);
}
