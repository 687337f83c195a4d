/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The tree ops, chains and build_tree against the golden vectors of contracts
 * draft_verification 8.5 and sglang_npu 8.4, 9.2 and 10.2, and against hand values at the
 * boundaries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "verify_bench.h"

#define IDS(...) ((const int64_t[]){__VA_ARGS__})

#define NEXT    LIST(1, 2, -1, 4, 5, -1, 4, 2, 3, -1, 5, -1)
#define SIBLING LIST(-1, 3, -1, -1, -1, -1, -1, -1, -1, -1, 1, -1)

static void tree(vbench *b, gdn_op op, const char *conventions) {
    vb_begin(b, op, conventions);
    vb_ints(b, "predicts", SHAPE(12), LIST(-1));
    vb_ints(b, "accept_index", SHAPE(2, 4), LIST(-1));
    vb_ints(b, "accept_token_num", SHAPE(2), LIST(HOLE));
    vb_ints(b, "candidates", SHAPE(2, 6), LIST(0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12));
    vb_ints(b, "retrive_index", SHAPE(2, 6), LIST(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
    vb_ints(b, "retrive_next_token", SHAPE(2, 6), NEXT);
    vb_ints(b, "retrive_next_sibling", SHAPE(2, 6), SIBLING);
}

static void test_tree_greedy(void **state) {
    (void)state;
    vbench b;
    tree(&b, GDN_OP_VERIFY_TREE_GREEDY, "");
    vb_ints(&b, "target_predict", SHAPE(2, 6),
            LIST(3, 18, 18, 4, 5, 18, 11, 18, 18, 18, 12, 18));
    vb_run(&b);
    vb_expect(&b, "tree", "predicts", LIST(3, -1, -1, 4, 5, 18, 11, -1, -1, -1, 12, 18));
    vb_expect(&b, "tree", "accept_index", LIST(0, 3, 4, 5, 6, 10, 11, -1));
    vb_expect(&b, "tree", "accept_token_num", LIST(3, 2));
    vb_ints(&b, "retrive_next_token", SHAPE(2, 6),
            LIST(1, 2, -1, 4, 5, -1, 4, 2, 3, -1, 5, 5));
    vb_refused(&b, "retrive_next_token[1,5]: expected a node that no other link leads to "
                   "(two parents) but found 5");
    vb_ints(&b, "retrive_next_token", SHAPE(2, 6),
            LIST(1, -1, -1, 4, 5, 2, 4, 3, 2, -1, 5, -1));
    vb_ints(&b, "retrive_next_sibling", SHAPE(2, 6),
            LIST(-1, -1, 3, -1, -1, -1, -1, -1, -1, -1, 1, -1));
    vb_refused(&b, "retrive_next_token[0,2]: expected a tree but found a cycle");
    vb_ints(&b, "retrive_next_token", SHAPE(2, 6), LIST(1, 2, 0, -1, -1, -1));
    vb_refused(&b, "retrive_next_token[0,2]: expected 1 to 5 but found 0");
    vb_end(&b);
}

/* Two chains of two, as a walk along links and as the NPU kernel does it. */
static void test_chain_greedy(void **state) {
    (void)state;
    static const char *const WALKS[] = {"", "tree_walk=chain"};
    for (int i = 0; i < 2; i++) {
        vbench b;
        vb_begin(&b, GDN_OP_VERIFY_TREE_GREEDY, WALKS[i]);
        vb_ints(&b, "predicts", SHAPE(4), LIST(-1));
        vb_ints(&b, "accept_index", SHAPE(2, 2), LIST(-1));
        vb_ints(&b, "accept_token_num", SHAPE(2), LIST(HOLE));
        vb_ints(&b, "candidates", SHAPE(2, 2), LIST(10375, 28, 223, 15098));
        vb_ints(&b, "retrive_index", SHAPE(2, 2), LIST(0, 1, 2, 3));
        vb_ints(&b, "retrive_next_token", SHAPE(2, 2), LIST(1, -1));
        vb_ints(&b, "retrive_next_sibling", SHAPE(2, 2), LIST(-1));
        vb_ints(&b, "target_predict", SHAPE(2, 2), LIST(28, 334, 15098, 18));
        vb_run(&b);
        vb_expect(&b, "chain", "predicts", LIST(28, 334, 15098, 18));
        vb_expect(&b, "chain", "accept_index", LIST(0, 1, 2, 3));
        vb_expect(&b, "chain", "accept_token_num", LIST(1, 1));
        vb_end(&b);
    }
}

/* The inputs of sglang_npu 9.2; the final coins moved off the cumulative sums, as the
 * contract advises, except where the law is dyadic. */
static void sampled_tree(vbench *b, const char *conventions, double single, double acc) {
    double p[12 * 20];
    static const struct {
        int row, token;
        double p;
    } PEAKS[] = {{0, 1, .12},  {0, 3, .72}, {3, 4, .82},  {4, 5, .75},
                 {6, 11, .68}, {6, 8, .14}, {10, 12, .77}};
    for (int i = 0; i < 12 * 20; i++) {
        p[i] = .01;
    }
    for (size_t i = 0; i < sizeof PEAKS / sizeof PEAKS[0]; i++) {
        p[PEAKS[i].row * 20 + PEAKS[i].token] = PEAKS[i].p;
    }
    for (int row = 0; row < 12; row++) {
        double sum = 0;
        for (int t = 0; t < 20; t++) {
            sum += p[row * 20 + t];
        }
        for (int t = 0; t < 20; t++) {
            p[row * 20 + t] /= sum;
        }
    }
    tree(b, GDN_OP_TREE_SPECULATIVE_SAMPLING, conventions);
    vb_reals(b, "uniform_samples", SHAPE(2, 6),
             NUMBERS(.55, .2, .8, .4, .3, .9, .6, .2, .8, .7, .3, .4));
    vb_reals(b, "uniform_samples_for_final_sampling", SHAPE(2), NUMBERS(.27, .77));
    vb_reals(b, "target_probs", SHAPE(2, 6, 20), 240, p);
    vb_reals(b, "draft_probs", SHAPE(2, 6, 20), NUMBERS(0));
    vb_reals(b, "threshold_single", SHAPE(1), NUMBERS(single));
    vb_reals(b, "threshold_acc", SHAPE(1), NUMBERS(acc));
    vb_run(b);
}

static void test_tree_sampling(void **state) {
    (void)state;
    static const double EXACT[2] = {1, 1}, LOOSE[2] = {.5, .8};
    static const char *const RULES[] = {"", "tree_accept=inclusive"};
    for (int i = 0; i < 4; i++) {
        vbench b;
        const double *t = i < 2 ? EXACT : LOOSE;
        sampled_tree(&b, RULES[i % 2], t[0], t[1]);
        vb_expect(&b, "tree", "predicts", LIST(3, -1, -1, 4, 5, 5, 11, -1, -1, -1, 12, 15));
        vb_expect(&b, "tree", "accept_index", LIST(0, 3, 4, 5, 6, 10, 11, -1));
        vb_expect(&b, "tree", "accept_token_num", LIST(3, 2));
        vb_end(&b);
    }
    vbench b;
    sampled_tree(&b, "tree_accept=inclusive", 0, 0);
    vb_expect(&b, "0/0", "predicts", LIST(1, 2, 5, -1, -1, -1, 11, -1, -1, -1, 12, 15));
    vb_expect(&b, "0/0", "accept_index", LIST(0, 1, 2, -1, 6, 10, 11, -1));
    vb_expect(&b, "0/0", "accept_token_num", LIST(2, 2));
    vb_end(&b);
}

/* sglang_npu 9.2, threshold chain: dyadic rows, the coins on cumulative sums. */
static void expect_threshold_chain(double single, double acc, size_t n,
                                   const int64_t *predicts, const int64_t *num) {
    static const int64_t CANDIDATES[8] = {0, 3, 4, 5, 0, 7, 8, 9};
    double p[8 * 32];
    for (int row = 0; row < 8; row++) {
        for (int t = 0; t < 32; t++) {
            const bool last = row % 4 == 3;
            p[row * 32 + t] = last ? 1.0 / 32 : .2 / 32;
            p[row * 32 + t] += !last && CANDIDATES[row + 1] == t ? .8 : 0;
        }
    }
    vbench b;
    vb_begin(&b, GDN_OP_TREE_SPECULATIVE_SAMPLING, "tree_accept=inclusive");
    vb_ints(&b, "predicts", SHAPE(8), LIST(-1));
    vb_ints(&b, "accept_index", SHAPE(2, 4), LIST(-1));
    vb_ints(&b, "accept_token_num", SHAPE(2), LIST(HOLE));
    vb_ints(&b, "candidates", SHAPE(2, 4), 8, CANDIDATES);
    vb_ints(&b, "retrive_index", SHAPE(2, 4), LIST(0, 1, 2, 3, 4, 5, 6, 7));
    vb_ints(&b, "retrive_next_token", SHAPE(2, 4), LIST(1, 2, 3, -1));
    vb_ints(&b, "retrive_next_sibling", SHAPE(2, 4), LIST(-1));
    vb_reals(&b, "uniform_samples", SHAPE(2, 4), NUMBERS(.1, .9, .2, 0, .7, .2, .95, 0));
    vb_reals(&b, "uniform_samples_for_final_sampling", SHAPE(2), NUMBERS(.25, .75));
    vb_reals(&b, "target_probs", SHAPE(2, 4, 32), 256, p);
    vb_reals(&b, "draft_probs", SHAPE(2, 4, 32), NUMBERS(0));
    vb_reals(&b, "threshold_single", SHAPE(1), NUMBERS(single));
    vb_reals(&b, "threshold_acc", SHAPE(1), NUMBERS(acc));
    vb_run(&b);
    vb_expect(&b, "chain", "predicts", n, predicts);
    vb_expect(&b, "chain", "accept_token_num", 2, num);
    vb_end(&b);
}

static void test_threshold_chain(void **state) {
    (void)state;
    expect_threshold_chain(1, 1, LIST(3, 8, -1, -1, 7, 8, 24, -1), IDS(1, 2));
    expect_threshold_chain(0, 0, LIST(3, 4, 5, 8, 7, 8, 9, 24), IDS(3, 3));
    expect_threshold_chain(.5, .8, LIST(3, 4, 5, 8, 7, 8, 9, 24), IDS(3, 3));
}

/* One level of siblings over V = 4 (contract 8.5, boundary): drafts, p, coin -> token and
 * count; the final coin is the coin. */
static void expect_siblings(const char *conventions, size_t n, const int64_t *drafts,
                            const double *p, double coin, double single, int64_t token,
                            int64_t count) {
    int64_t candidates[4] = {0};
    int64_t sibling[4] = {-1, -1, -1, -1};
    memcpy(candidates + 1, drafts, n * sizeof *drafts);
    for (size_t i = 1; i < n; i++) {
        sibling[i] = (int64_t)i + 1;
    }
    const int64_t nodes = (int64_t)n + 1;
    vbench b;
    vb_begin(&b, GDN_OP_TREE_SPECULATIVE_SAMPLING, conventions);
    vb_ints(&b, "predicts", SHAPE(nodes), LIST(-1));
    vb_ints(&b, "accept_index", SHAPE(1, 2), LIST(-1));
    vb_ints(&b, "accept_token_num", SHAPE(1), LIST(HOLE));
    vb_ints(&b, "candidates", SHAPE(1, nodes), 4, candidates);
    vb_ints(&b, "retrive_index", SHAPE(1, nodes), LIST(0, 1, 2, 3));
    vb_ints(&b, "retrive_next_token", SHAPE(1, nodes), LIST(1, -1, -1, -1));
    vb_ints(&b, "retrive_next_sibling", SHAPE(1, nodes), 4, sibling);
    vb_reals(&b, "uniform_samples", SHAPE(1, nodes), NUMBERS(coin));
    vb_reals(&b, "uniform_samples_for_final_sampling", SHAPE(1), NUMBERS(coin));
    vb_reals(&b, "target_probs", SHAPE(1, nodes, 4), 4, p);
    vb_reals(&b, "draft_probs", SHAPE(1, nodes, 4), NUMBERS(0));
    vb_reals(&b, "threshold_single", SHAPE(1), NUMBERS(single));
    vb_reals(&b, "threshold_acc", SHAPE(1), NUMBERS(1));
    vb_run(&b);
    assert_int_equal(vb_int(&b, "predicts", 0), token);
    assert_int_equal(vb_int(&b, "accept_token_num", 0), count);
    vb_end(&b);
}

#define LAW(...) ((const double[4]){__VA_ARGS__})

static void test_sibling_boundaries(void **state) {
    (void)state;
    expect_siblings("", LIST(2), LAW(0, 1, 0), 0, 0, 1, 0);
    expect_siblings("", LIST(2), LAW(0, 1, 0), 0, 1, 1, 0);
    expect_siblings("", LIST(1, 2, 3), LAW(0, .25, 0, .75), .25, 1, 3, 1);
    expect_siblings("", LIST(1), LAW(0, .25, .75), 0, 1, 1, 1);
    expect_siblings("", LIST(1), LAW(0, 1), 1 - 0x1p-24, 1, 1, 1);
    /* The old rule takes a token of no mass (issue 35771). */
    expect_siblings("tree_accept=inclusive", LIST(2), LAW(0, 1, 0), 0, 0, 2, 1);
    /* Beyond the total: the last token with mass, or, as shipped, the last id. */
    expect_siblings("", LIST(2), LAW(0, 1, 0), 1, 1, 1, 0);
    expect_siblings("overshoot=last_id", LIST(2), LAW(0, 1, 0), 1, 1, 3, 0);
}

static int64_t chain_toss(double coin, double p, double q, int64_t *count) {
    vbench b;
    vb_begin(&b, GDN_OP_CHAIN_SPECULATIVE_SAMPLING, "");
    vb_ints(&b, "predicts", SHAPE(2), LIST(-1));
    vb_ints(&b, "accept_index", SHAPE(1, 2), LIST(-1));
    vb_ints(&b, "accept_token_num", SHAPE(1), LIST(HOLE));
    vb_ints(&b, "candidates", SHAPE(1, 2), LIST(0, 2));
    vb_ints(&b, "retrive_index", SHAPE(1, 2), LIST(0, 1));
    vb_reals(&b, "uniform_samples", SHAPE(1, 2), NUMBERS(coin, .5));
    vb_reals(&b, "uniform_samples_for_final_sampling", SHAPE(1), NUMBERS(.5));
    vb_reals(&b, "target_probs", SHAPE(1, 2, 4), NUMBERS(.25, .25, p, .5 - p));
    vb_reals(&b, "draft_probs", SHAPE(1, 1, 4), NUMBERS(.25, 0, q, 0));
    vb_scalar(&b, "block", 0);
    vb_run(&b);
    *count = vb_int(&b, "accept_token_num", 0);
    const int64_t token = vb_int(&b, "predicts", 0);
    vb_end(&b);
    return token;
}

static void test_chain_boundaries(void **state) {
    (void)state;
    int64_t count = 0;
    assert_int_equal(chain_toss(.5, .25, .5 - 0x1p-10, &count), 2);
    assert_int_equal(count, 1);
    /* coin * q = p exactly: rejected, and the residual is (0, .25, 0, .25). */
    assert_int_equal(chain_toss(.5, .25, .5, &count), 3);
    assert_int_equal(count, 0);
    assert_int_equal(chain_toss(0, .25, 1.0005, &count), 2); /* a hair over 1 */
    assert_int_equal(chain_toss(0, .25, 0, &count), 2);      /* redrawn, not accepted */
    assert_int_equal(count, 0);
    chain_toss(0, .25, 2.0, &count);
    assert_int_equal(count, 0);
}

#define POSITIONS LIST(5, 6, 6, 7, 7, 8, 8, 9, 10, 11, 12, 12, 12, 12, 13, 14)

static void build(vbench *b, const char *conventions, int64_t mode, int64_t mask) {
    vb_begin(b, GDN_OP_BUILD_TREE, conventions);
    vb_ints(b, "parent_list", SHAPE(2, 13),
            LIST(-1, 0, 1, 2, 3, 4, 8, 9, 10, 20, 24, 21, 28, -1, 0, 1, 2, 3, 4, 5, 6, 7,
                 24, 28, 20, 21));
    vb_ints(b, "selected_index", SHAPE(2, 7),
            LIST(0, 1, 4, 8, 20, 24, 36, 0, 4, 5, 6, 7, 24, 36));
    vb_ints(b, "verified_seq_len", SHAPE(2), LIST(5, 10));
    if (mode == GDN_MASK_PACKED) {
        vb_ints(b, "packed_mask", SHAPE(16), LIST(HOLE));
    } else {
        vb_ints(b, "tree_mask", SHAPE(mask), LIST(1));
    }
    vb_ints(b, "positions", SHAPE(16), LIST(HOLE));
    vb_ints(b, "retrive_index", SHAPE(2, 8), LIST(HOLE));
    vb_ints(b, "retrive_next_token", SHAPE(2, 8), LIST(-1));
    vb_ints(b, "retrive_next_sibling", SHAPE(2, 8), LIST(-1));
    vb_scalar(b, "topk", 4);
    vb_scalar(b, "depth", 4);
    vb_scalar(b, "tree_mask_mode", mode);
    vb_run(b);
}

/* Rows of the mask as the contract prints them, first node leftmost. */
static const char *const MASK[16] = {"10000000", "11000000", "10100000", "11010000",
                                     "10101000", "11010100", "10101010", "11010101",
                                     "10000000", "11000000", "11100000", "11010000",
                                     "11001000", "11000100", "11010010", "11010011"};

static void test_build_tree(void **state) {
    (void)state;
    for (int mode = GDN_MASK_FULL; mode <= GDN_MASK_PACKED; mode++) {
        vbench b;
        build(&b, "", mode, mode == GDN_MASK_FULL ? 8 * 15 + 2 * 64 : 2 * 64);
        vb_expect(&b, "tree", "positions", POSITIONS);
        vb_expect(&b, "tree", "retrive_next_token",
                  LIST(1, 3, 4, 5, 6, 7, -1, -1, 1, 2, -1, 6, -1, -1, 7, -1));
        vb_expect(&b, "tree", "retrive_next_sibling",
                  LIST(-1, 2, -1, -1, -1, -1, -1, -1, -1, -1, 3, 4, 5, -1, -1, -1));
        assert_int_equal(vb_int(&b, "retrive_index", 9), 9);
        int64_t at = 0;
        for (int node = 0; node < 16; node++) {
            const int prefix = mode == GDN_MASK_FULL ? node < 8 ? 5 : 10 : 0;
            int64_t bits = 0;
            for (int j = 0; j < prefix; j++) {
                assert_int_equal(vb_int(&b, "tree_mask", at++), 1);
            }
            for (int j = 0; j < 8; j++) {
                const bool visible = MASK[node][j] == '1';
                bits |= visible << j;
                if (mode != GDN_MASK_PACKED) {
                    assert_int_equal(vb_int(&b, "tree_mask", at++), visible);
                }
            }
            if (mode == GDN_MASK_PACKED) {
                assert_int_equal(vb_int(&b, "packed_mask", node), bits);
            }
        }
        vb_end(&b);
    }
    vbench b;
    build(&b, "", GDN_MASK_QUERY, 128);
    vb_ints(&b, "selected_index", SHAPE(2, 7), LIST(0, 1, 5, 8, 20, 24, 36));
    vb_refused(&b, "selected_index[0,4]: expected a draft whose parent is selected before "
                   "it but found 20");
    vb_end(&b);
    build(&b, "mask_rows=collide", GDN_MASK_QUERY, 128);
    assert_int_equal(vb_int(&b, "tree_mask", 8), 1); /* row 1 was never written */
    assert_int_equal(vb_int(&b, "tree_mask", 7), 1); /* row 0 holds the last node's row */
    vb_end(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree_greedy),        cmocka_unit_test(test_chain_greedy),
        cmocka_unit_test(test_tree_sampling),      cmocka_unit_test(test_threshold_chain),
        cmocka_unit_test(test_sibling_boundaries), cmocka_unit_test(test_chain_boundaries),
        cmocka_unit_test(test_build_tree),
    };
    return cmocka_run_group_tests_name("verify_trees", tests, NULL, NULL);
}
