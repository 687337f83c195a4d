/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* rejection_sample against the golden vectors of contract draft_verification 7.4, and
 * against hand values at the boundaries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "verify_bench.h"

enum { V = 8 };

/* One request of `n` drafts over 8 tokens. A law is given by rows of weights. */
static void request(vbench *b, const char *conventions, int64_t method, int64_t n,
                    const int64_t *drafts, const double *p, const double *q,
                    const double *u) {
    vb_begin(b, GDN_OP_REJECTION_SAMPLE, conventions);
    vb_ints(b, "output_token_ids", SHAPE(1, n + 1), LIST(HOLE));
    vb_ints(b, "num_sampled", SHAPE(1), LIST(HOLE));
    vb_ints(b, "cu_num_draft_tokens", SHAPE(1), LIST(n));
    vb_ints(b, "draft_token_ids", SHAPE(n), (size_t)n, drafts);
    if (q) {
        vb_reals(b, "draft_probs", SHAPE(n, V), (size_t)(n * V), q);
    }
    vb_reals(b, "target_probs", SHAPE(n, V), (size_t)(n * V), p);
    vb_ints(b, "bonus_token_ids", SHAPE(1), LIST(4));
    vb_ints(b, "is_greedy", SHAPE(1), LIST(0));
    vb_reals(b, "uniform", SHAPE(n), (size_t)n, u);
    vb_reals(b, "exponential", SHAPE(1, V), NUMBERS(1));
    vb_scalar(b, "method", method);
}

/* Rows whose argmax is given. */
static void peaks(double *p, size_t n, const int64_t *at) {
    for (size_t i = 0; i < n * V; i++) {
        p[i] = i % V == (size_t)at[i / V] ? 0.5625 : 0.0625;
    }
}

static void expect_greedy(size_t n, const int64_t *drafts, const int64_t *targets,
                          const int64_t *expected, int64_t count) {
    double p[4 * V];
    const double half[4] = {.5, .5, .5, .5};
    vbench b;
    peaks(p, n, targets);
    request(&b, "", GDN_REJECT_STANDARD, (int64_t)n, drafts, p, NULL, half);
    vb_ints(&b, "is_greedy", SHAPE(1), LIST(1));
    vb_run(&b);
    vb_expect(&b, "greedy", "output_token_ids", n + 1, expected);
    vb_expect(&b, "greedy", "num_sampled", 1, &count);
    /* The same by target match. */
    vb_ints(&b, "target_tokens", SHAPE((int64_t)n), n, targets);
    vb_ints(&b, "is_greedy", SHAPE(1), LIST(0));
    vb_scalar(&b, "method", GDN_REJECT_MATCH);
    vb_run(&b);
    vb_expect(&b, "match", "output_token_ids", n + 1, expected);
    vb_end(&b);
}

#define IDS(...) ((const int64_t[]){__VA_ARGS__})

static void test_rejection_greedy(void **state) {
    (void)state;
    expect_greedy(3, IDS(1, 2, 3), IDS(1, 2, 3), IDS(1, 2, 3, 4), 4);
    expect_greedy(3, IDS(1, 2, 3), IDS(1, 5, 6), IDS(1, 5, -1, -1), 2);
    expect_greedy(3, IDS(1, 2, 3), IDS(7, 2, 3), IDS(7, -1, -1, -1), 1);
    expect_greedy(3, IDS(1, -1, 3), IDS(1, 2, 3), IDS(1, 2, -1, -1), 2);
}

/* No drafts: the bonus alone. Two requests, the second of which has some. */
static void test_rejection_ragged(void **state) {
    (void)state;
    double p[2 * V];
    vbench b;
    peaks(p, 2, IDS(1, 2));
    request(&b, "", GDN_REJECT_STANDARD, 2, IDS(1, 2), p, NULL, (const double[]){.5, .5});
    vb_ints(&b, "output_token_ids", SHAPE(2, 3), LIST(HOLE));
    vb_ints(&b, "num_sampled", SHAPE(2), LIST(HOLE));
    vb_ints(&b, "cu_num_draft_tokens", SHAPE(2), LIST(0, 2));
    vb_ints(&b, "bonus_token_ids", SHAPE(2), LIST(5, 6));
    vb_ints(&b, "is_greedy", SHAPE(2), LIST(1));
    vb_reals(&b, "exponential", SHAPE(2, V), NUMBERS(1));
    vb_run(&b);
    vb_expect(&b, "ragged", "output_token_ids", LIST(5, -1, -1, 1, 2, 6));
    vb_ints(&b, "cu_num_draft_tokens", SHAPE(2), LIST(2, 1));
    vb_refused(&b, "cu_num_draft_tokens[1]: expected 2 to 2 but found 1");
    vb_ints(&b, "cu_num_draft_tokens", SHAPE(2), LIST(0, 2));
    vb_ints(&b, "draft_token_ids", SHAPE(2), LIST(1, V));
    vb_refused(&b, "draft_token_ids[1]: expected -1 to 7 but found 8");
    vb_end(&b);
}

/* p = 1/4, q = 1/2 at draft 0, so the ratio is 1/2 exactly. */
static int64_t toss(const char *conventions, double u, double p0, const double *noise) {
    const double p[V] = {p0, .5, .25};
    const double q[V] = {.5, .25, .25};
    vbench b;
    request(&b, conventions, GDN_REJECT_STANDARD, 1, IDS(0), p, q, &u);
    if (noise) {
        vb_reals(&b, "exponential", SHAPE(1, V), V, noise);
    }
    vb_run(&b);
    const int64_t token = vb_int(&b, "output_token_ids", 0);
    vb_end(&b);
    return token;
}

static void test_rejection_boundaries(void **state) {
    (void)state;
    assert_int_equal(toss("", .5, .25, NULL), 0); /* p/q >= u */
    assert_int_equal(toss("accept=strict", .5, .25, NULL), 1);
    assert_int_equal(toss("", .5 + 0x1p-20, .25, NULL), 1);
    assert_int_equal(toss("", 0x1p-60, 0, NULL), 1); /* p = 0 never passes */
    /* The residual is (0, .25, 0): token 2 cannot be drawn, however small its noise. */
    const double noise[V] = {1e-3, 1, 1e-9, 1, 1, 1, 1, 1};
    assert_int_equal(toss("", .75, .25, noise), 1);
    assert_int_equal(toss("slip=reject_samples_target", .75, .25, noise), 2);
    /* One-hot drafts: the draft itself is cut out of the residual. */
    const double p[V] = {.75, .125, .125};
    const double u = .875;
    vbench b;
    request(&b, "", GDN_REJECT_STANDARD, 1, IDS(0), p, NULL, &u);
    vb_reals(&b, "exponential", SHAPE(1, V), NUMBERS(1, 2, 1, 1, 1, 1, 1, 1));
    vb_run(&b);
    vb_expect(&b, "one-hot", "output_token_ids", LIST(2, -1));
    vb_reals(&b, "target_probs", SHAPE(1, V), NUMBERS(.5, -.25));
    vb_refused(&b, "target_probs[0,1]: expected a number in [0, inf] but found -0.25");
    vb_reals(&b, "target_probs", SHAPE(1, V), NUMBERS(.5));
    vb_reals(&b, "uniform", SHAPE(1), NUMBERS(0));
    vb_refused(&b, "uniform[0]: expected a number in [2.22507e-308, 1] but found 0");
    vb_end(&b);
}

/* Block rule on V = 2 (contract 1.7): P_1 = 5/9, Z_1 = |5/9 p2 - q2|+, by hand. Token-wise
 * the first draft would fall at u = 0.6; the block rule looks at the second one all the
 * same. */
static void test_block(void **state) {
    (void)state;
    const double p[2 * V] = {.5, .5, 0, 0, 0, 0, 0, 0, .75, .25};
    const double q[2 * V] = {.875, .125, 0, 0, 0, 0, 0, 0, .25, .75};
    struct {
        double u[2];
        int64_t expected[3];
    } const rows[] = {
        /* P_1 = 4/7, Z_1 = 3/7 - 1/4 = 5/28, h_1 = (5/28) / (5/28 + 3/7) = 5/17
         * P_2 = min(4/7 * 3, 1) = 1, so the second draft always stands */
        {{.9, .9}, {0, 0, 4}},
        {{.29, 1.0}, {0, 0, 4}},
    };
    vbench b;
    for (size_t i = 0; i < 2; i++) {
        request(&b, "", GDN_REJECT_BLOCK, 2, IDS(0, 0), p, q, rows[i].u);
        vb_run(&b);
        vb_expect(&b, "block", "output_token_ids", 3, rows[i].expected);
        vb_end(&b);
    }
    /* The second draft is 1: P_2 = 4/7 / 3 = 4/21; residual behind the first is
     * (4/7 * .75 - .25, 0), so token 0 follows. Behind none it is p1 - q1 = (0, .375). */
    struct {
        double u[2];
        int64_t expected[3];
    } const second[] = {
        {{.29, .18}, {0, 1, 4}},
        {{.29, .2}, {0, 0, -1}},
        {{.3, .2}, {1, -1, -1}},
    };
    for (size_t i = 0; i < 3; i++) {
        request(&b, "", GDN_REJECT_BLOCK, 2, IDS(0, 1), p, q, second[i].u);
        vb_run(&b);
        vb_expect(&b, "block", "output_token_ids", 3, second[i].expected);
        vb_end(&b);
    }
    /* Ratios 0.5 and 2: ascend's two paths disagree (contract 9, 5). */
    const double half[2 * V] = {.25, .75, 0, 0, 0, 0, 0, 0, .5, .5};
    const double whole[2 * V] = {.5, .5, 0, 0, 0, 0, 0, 0, .25, .75};
    request(&b, "block=product_torch", GDN_REJECT_BLOCK, 2, IDS(0, 0), half, whole,
            (const double[]){1.0, .75});
    vb_run(&b);
    vb_expect(&b, "torch", "output_token_ids", LIST(1, -1, -1));
    vb_end(&b);
    request(&b, "block=product_fused", GDN_REJECT_BLOCK, 2, IDS(0, 0), half, whole,
            (const double[]){1.0, .75});
    vb_run(&b);
    vb_expect(&b, "fused", "output_token_ids", LIST(0, 0, 4));
    vb_end(&b);
}

static void test_synthetic(void **state) {
    (void)state;
    const double p[2 * V] = {0, 1, 0, 0, 0, 0, 0, 0, 0, 1};
    vbench b;
    /* Rates .75 and .375: the second one is conditional, .5. */
    request(&b, "", GDN_REJECT_SYNTHETIC, 2, IDS(5, 6), p, NULL,
            (const double[]){.74, .51});
    vb_reals(&b, "acceptance_rates", SHAPE(2), NUMBERS(.75, .375));
    vb_run(&b);
    vb_expect(&b, "synthetic", "output_token_ids", LIST(5, 1, -1));
    vb_reals(&b, "uniform", SHAPE(2), NUMBERS(.74, .49));
    vb_run(&b);
    vb_expect(&b, "synthetic", "output_token_ids", LIST(5, 6, 4));
    vb_reals(&b, "acceptance_rates", SHAPE(2), NUMBERS(0, 0));
    vb_run(&b);
    vb_expect(&b, "never", "output_token_ids", LIST(1, -1, -1));
    vb_end(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rejection_greedy),
        cmocka_unit_test(test_rejection_ragged),
        cmocka_unit_test(test_rejection_boundaries),
        cmocka_unit_test(test_block),
        cmocka_unit_test(test_synthetic),
    };
    return cmocka_run_group_tests_name("verify_sampling", tests, NULL, NULL);
}
