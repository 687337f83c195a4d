/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* verify_draft_tokens against G1 to G15, T1 to T7 and the draw table of contract
 * draft_verification 2.5, as it should be and as the kernels ship it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "verify_bench.h"

#define GPU   "padding=untouched window=skip_one length=one_more"
#define XPU_B "window=skip_one forced_end=token_5 ends=first_32"
#define REF   ""

/* One golden row: the written ids, then the length, in a profile. */
typedef struct golden {
    const char *conventions;
    int64_t ids[6], length;
} golden;

/* What a case changes against the common row. */
typedef struct greedy_case {
    const char *name;
    int64_t n, drafts[6], targets[6], ends[2], step, limit, encoder, reasoning;
    bool reject_all, accept_all;
    golden gpu, xpu, ref;
} greedy_case;

#define ALL_FIVE  {11, 12, 13, 14, 15, HOLE}, 5
#define ALL_MINUS {11, 12, 13, 14, 15, -1}, 5
#define H         HOLE

static const greedy_case GREEDY[] = {
    {"G1",
     5,
     {11, 12, 13, 14},
     {11, 12, 77, 14, 15},
     {2},
     0,
     1000,
     0,
     0,
     false,
     false,
     {GPU, {11, 12, 77, H, H, H}, 3},
     {XPU_B, {11, 12, 77, -1, -1, -1}, 3},
     {REF, {11, 12, 77, -1, -1, -1}, 3}},
    {"G2",
     5,
     {11, 12, 13, 14},
     {11, 12, 13, 14, 15},
     {2},
     0,
     1000,
     0,
     0,
     false,
     false,
     {GPU, ALL_FIVE},
     {XPU_B, ALL_MINUS},
     {REF, ALL_MINUS}},
    {"G3",
     5,
     {11, 12, 13, 14},
     {7, 12, 13, 14, 15},
     {2},
     0,
     1000,
     0,
     0,
     false,
     false,
     {GPU, {7, H, H, H, H, H}, 1},
     {XPU_B, {7, -1, -1, -1, -1, -1}, 1},
     {REF, {7, -1, -1, -1, -1, -1}, 1}},
    {"G4",
     5,
     {11, 2, 13, 14},
     {11, 2, 13, 14, 15},
     {2},
     0,
     1000,
     0,
     0,
     false,
     false,
     {GPU, {11, 2, H, H, H, H}, 3},
     {XPU_B, {11, 2, -1, -1, -1, -1}, 2},
     {REF, {11, 2, -1, -1, -1, -1}, 2}},
    {"G5",
     3,
     {11, 12},
     {11, 2, 9},
     {2},
     0,
     1000,
     0,
     0,
     false,
     false,
     {GPU, {11, 2, H, H, H, H}, 2},
     {XPU_B, {11, 2, -1, -1, -1, -1}, 2},
     {REF, {11, 2, -1, -1, -1, -1}, 2}},
    {"G6",
     5,
     {11, 12, 13, 14},
     {11, 12, 13, 14, 15},
     {2, 3},
     48,
     50,
     0,
     0,
     false,
     false,
     {GPU, {11, 2, H, H, H, H}, 3},
     {XPU_B, {11, 2, -1, -1, -1, -1}, 2},
     {REF, {11, 2, -1, -1, -1, -1}, 2}},
    {"G7",
     5,
     {11, 12, 13, 14},
     {11, 12, 13, 14, 15},
     {2, 3},
     49,
     50,
     0,
     0,
     false,
     false,
     {GPU, {2, H, H, H, H, H}, 2},
     {XPU_B, {2, -1, -1, -1, -1, -1}, 1},
     {REF, {2, -1, -1, -1, -1, -1}, 1}},
    {"G8",
     5,
     {3, 12, 13, 14},
     {3, 12, 13, 14, 15},
     {2, 3},
     49,
     50,
     0,
     0,
     false,
     false,
     {GPU, {3, H, H, H, H, H}, 2},
     {XPU_B, {3, -1, -1, -1, -1, -1}, 1},
     {REF, {3, -1, -1, -1, -1, -1}, 1}},
    {"G9",
     3,
     {11, 12},
     {11, 88, 9},
     {2},
     48,
     50,
     0,
     0,
     false,
     false,
     {GPU, {11, 2, H, H, H, H}, 2},
     {XPU_B, {11, 2, -1, -1, -1, -1}, 2},
     {REF, {11, 2, -1, -1, -1, -1}, 2}},
    {"G10 prefill",
     5,
     {11, 12, 13, 14},
     {11, 12, 13, 14, 15},
     {2},
     0,
     1000,
     5,
     0,
     false,
     false,
     {GPU, {11, H, H, H, H, H}, 1},
     {XPU_B, {11, -1, -1, -1, -1, -1}, 1},
     {REF, {11, -1, -1, -1, -1, -1}, 1}},
    {"G10 reasoning",
     5,
     {11, 12, 13, 14},
     {11, 12, 13, 14, 15},
     {2},
     0,
     1000,
     0,
     1,
     false,
     false,
     {GPU, {11, H, H, H, H, H}, 1},
     {XPU_B, {11, -1, -1, -1, -1, -1}, 1},
     {REF, {11, -1, -1, -1, -1, -1}, 1}},
    {"G10 reject_all",
     5,
     {11, 12, 13, 14},
     {11, 12, 13, 14, 15},
     {2},
     0,
     1000,
     0,
     0,
     true,
     false,
     {GPU, {11, H, H, H, H, H}, 1},
     {XPU_B, {11, -1, -1, -1, -1, -1}, 1},
     {REF, {11, -1, -1, -1, -1, -1}, 1}},
    {"G10 both",
     5,
     {11, 12, 13, 14},
     {11, 12, 13, 14, 15},
     {2},
     0,
     1000,
     0,
     0,
     true,
     true,
     {GPU, {11, H, H, H, H, H}, 1},
     {XPU_B, {11, -1, -1, -1, -1, -1}, 1},
     {REF, {11, -1, -1, -1, -1, -1}, 1}},
    {"G11",
     5,
     {11, 12, 13, 14},
     {1, 1, 1, 1, 15},
     {2},
     0,
     1000,
     0,
     0,
     false,
     true,
     {GPU, ALL_FIVE},
     {XPU_B, ALL_MINUS},
     {REF, ALL_MINUS}},
    {"G12",
     5,
     {11, 2, 13, 14},
     {1, 1, 1, 1, 15},
     {2},
     0,
     1000,
     0,
     0,
     false,
     true,
     {GPU, {11, 2, H, H, H, H}, 3},
     {XPU_B, {11, 5, 13, 14, 15, -1}, 5},
     {REF, {11, 2, -1, -1, -1, -1}, 2}},
    {"G13",
     5,
     {11, 5, 13, 14},
     {1, 1, 1, 1, 15},
     {5},
     0,
     1000,
     0,
     0,
     false,
     true,
     {GPU, {11, 5, H, H, H, H}, 3},
     {XPU_B, {11, 5, -1, -1, -1, -1}, 2},
     {REF, {11, 5, -1, -1, -1, -1}, 2}},
    {"G14",
     1,
     {0},
     {44},
     {2},
     0,
     1000,
     0,
     0,
     false,
     false,
     {GPU, {44, H, H, H, H, H}, 1},
     {XPU_B, {44, -1, -1, -1, -1, -1}, 1},
     {REF, {44, -1, -1, -1, -1, -1}, 1}},
    {"G15",
     5,
     {11, 12, 13, 14},
     {11, 12, 13, 14, 15},
     {2},
     60,
     50,
     0,
     0,
     false,
     false,
     {GPU, {2, H, H, H, H, H}, 2},
     {XPU_B, {2, -1, -1, -1, -1, -1}, 1},
     {REF, {2, -1, -1, -1, -1, -1}, 1}},
};

static void run_greedy(const greedy_case *c, const golden *g) {
    for (int strategy = GDN_STRATEGY_GREEDY; strategy <= GDN_STRATEGY_TARGET_MATCH;
         strategy++) {
        vbench b;
        vb_slot(&b, g->conventions, strategy, c->n, c->drafts);
        vb_ints(&b, "target_tokens", SHAPE(c->n), (size_t)c->n, c->targets);
        vb_ints(&b, "end_tokens", SHAPE(c->ends[1] ? 2 : 1), 2, c->ends);
        vb_ints(&b, "step_idx", SHAPE(1), LIST(c->step));
        vb_ints(&b, "max_dec_len", SHAPE(1), LIST(c->limit));
        vb_ints(&b, "seq_lens_encoder", SHAPE(1), LIST(c->encoder));
        vb_ints(&b, "reasoning_status", SHAPE(1), LIST(c->reasoning));
        vb_scalar(&b, "reject_all", c->reject_all);
        vb_scalar(&b, "accept_all", c->accept_all);
        vb_run(&b);
        vb_expect(&b, c->name, "step_output_ids", 6, g->ids);
        vb_expect(&b, c->name, "step_output_len", 1, &g->length);
        vb_end(&b);
    }
}

static void test_greedy_and_target_match(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof GREEDY / sizeof GREEDY[0]; i++) {
        run_greedy(&GREEDY[i], &GREEDY[i].gpu);
        run_greedy(&GREEDY[i], &GREEDY[i].xpu);
        run_greedy(&GREEDY[i], &GREEDY[i].ref);
    }
}

typedef struct topp_case {
    const char *name;
    int64_t n, drafts[6], window, lens[6];
    golden gpu, xpu, ref;
} topp_case;

/* A row past the slot's own holds 99 as every candidate: T2's x. */
static const topp_case TOPP[] = {
    {"T1",
     6,
     {21, 22, 23, 24, 25},
     2,
     {1, 1, 1, 1, 1, 1},
     {GPU, {21, 22, 23, H, 25, 26}, 5},
     {XPU_B, {21, 22, 23, -1, 25, 26}, 5},
     {REF, {21, 22, 23, 24, 25, 26}, 6}},
    {"T2",
     4,
     {21, 22, 23},
     2,
     {1, 1, 1, 1, 1, 1},
     {GPU, {21, 22, 23, H, 25, H}, 4},
     {XPU_B, {21, 22, 23, -1, 25, -1}, 4},
     {REF, {21, 22, 23, 24, -1, -1}, 4}},
    {"T3",
     3,
     {21, 22},
     2,
     {1, 1, 1, 1, 1, 1},
     {GPU, {20, H, H, H, H, H}, 1},
     {XPU_B, {20, -1, -1, -1, -1, -1}, 1},
     {REF, {20, -1, -1, -1, -1, -1}, 1}},
    {"T4",
     6,
     {21, 22, 23, 24, 25},
     0,
     {1, 1, 1, 1, 1, 1},
     {GPU, {21, H, 23, 24, 25, 26}, 5},
     {XPU_B, {21, -1, 23, 24, 25, 26}, 5},
     {REF, {21, 22, 23, 24, 25, 26}, 6}},
    {"T5",
     6,
     {21, 22, 23, 77, 25},
     2,
     {1, 1, 1, 1, 1, 1},
     {GPU, {21, 22, 23, H, 25, 26}, 5},
     {XPU_B, {21, 22, 23, -1, 25, 26}, 5},
     {REF, {21, 22, 23, 24, -1, -1}, 4}},
    {"T6",
     3,
     {20, 22},
     2,
     {0, 0, 0, 0, 0, 0},
     {GPU, {20, H, H, H, H, H}, 1},
     {XPU_B, {20, -1, -1, -1, -1, -1}, 1},
     {REF, {20, -1, -1, -1, -1, -1}, 1}},
    {"T7",
     3,
     {21, 22},
     2,
     {2, 1, 1, 1, 1, 1},
     {GPU, {21, 22, 23, H, H, H}, 3},
     {XPU_B, {21, 22, 23, -1, -1, -1}, 3},
     {REF, {21, 22, 23, -1, -1, -1}, 3}},
};

static void run_topp(const topp_case *c, const golden *g) {
    vbench b;
    vb_slot(&b, g->conventions, GDN_STRATEGY_TOPP, c->n, c->drafts);
    vb_scalar(&b, "verify_window", c->window);
    vb_ints(&b, "candidate_ids", SHAPE(6, 2),
            LIST(20, 21, 22, 0, 23, 0, 24, 0, 25, 0, 26, 0));
    vb_reals(&b, "candidate_scores", SHAPE(6, 2),
             NUMBERS(.6, .3, .9, .05, .9, .05, .9, .05, .9, .05, .9, .05));
    vb_ints(&b, "candidate_lens", SHAPE(6), 6, c->lens);
    vb_run(&b);
    vb_expect(&b, c->name, "step_output_ids", 6, g->ids);
    vb_expect(&b, c->name, "step_output_len", 1, &g->length);
    vb_end(&b);
}

static void test_topp(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof TOPP / sizeof TOPP[0]; i++) {
        run_topp(&TOPP[i], &TOPP[i].gpu);
        run_topp(&TOPP[i], &TOPP[i].xpu);
        run_topp(&TOPP[i], &TOPP[i].ref);
    }
}

static int64_t draw(const char *conventions, double u, double last_score) {
    vbench b;
    vb_slot(&b, conventions, GDN_STRATEGY_TOPP, 1, DRAFTS(0));
    vb_ints(&b, "candidate_ids", SHAPE(1, 3), LIST(7, 8, 9));
    vb_reals(&b, "candidate_scores", SHAPE(1, 3), NUMBERS(.5, .3, last_score));
    vb_ints(&b, "candidate_lens", SHAPE(1), LIST(3));
    vb_reals(&b, "u", SHAPE(1), NUMBERS(u));
    vb_run(&b);
    const int64_t token = vb_int(&b, "step_output_ids", 0);
    vb_end(&b);
    return token;
}

/* The draw table, edges included; with the mass short of top_p the argmax takes the rest,
 * unless the draw is scaled to the mass. */
static void test_draws(void **state) {
    (void)state;
    assert_int_equal(draw(REF, 0.0, .15), 7);
    assert_int_equal(draw(REF, 0.2, .15), 7);
    assert_int_equal(draw(REF, 0.5, .15), 7);
    assert_int_equal(draw(REF, 0.8, .15), 8);
    assert_int_equal(draw(REF, 1.0, .15), 9);
    assert_int_equal(draw(REF, 0.94, .05), 9);
    assert_int_equal(draw(REF, 0.95, .05), 7);
    assert_int_equal(draw(REF, 1.0, .05), 7);
    assert_int_equal(draw("draw_scale=capped", 0.95, .05), 9);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy_and_target_match),
        cmocka_unit_test(test_topp),
        cmocka_unit_test(test_draws),
    };
    return cmocka_run_group_tests_name("verify_draft", tests, NULL, NULL);
}
