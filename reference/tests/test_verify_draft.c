/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* verify_draft_tokens against G1 to G15, T1 to T7 and the draw table of contract
 * draft_verification 2.5, as it should be and as the kernels ship it; then its properties
 * on random batches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "gdn/random.h"
#include "verify_bench.h"

#define GPU   "padding=untouched window=skip_one length=one_more"
#define XPU_B "window=skip_one forced_end=token_5 ends=first_32"
#define REF   ""

enum { HOLE = -777 }; /* what an untouched cell still holds */

/* The common row of the contract: S = 6, one slot, end token 2 unless said. */
static void slot(vbench *b, const char *conventions, int64_t strategy, int64_t n,
                 const int64_t *drafts) {
    vb_begin(b, GDN_OP_VERIFY_DRAFT_TOKENS, conventions);
    vb_scalar(b, "verify_window", 2);
    vb_scalar(b, "verify_strategy", strategy);
    vb_scalar(b, "reject_all", 0);
    vb_scalar(b, "accept_all", 0);
    vb_ints(b, "step_output_ids", SHAPE(1, 6), LIST(HOLE));
    vb_ints(b, "step_output_len", SHAPE(1), LIST(HOLE));
    const int64_t row[6] = {10, drafts[0], drafts[1], drafts[2], drafts[3], drafts[4]};
    vb_ints(b, "step_input_ids", SHAPE(1, 6), 6, row);
    vb_reals(b, "topp", SHAPE(1), NUMBERS(0.9));
    vb_ints(b, "stop_flags", SHAPE(1), LIST(0));
    vb_ints(b, "seq_lens_encoder", SHAPE(1), LIST(0));
    vb_ints(b, "seq_lens_this_time", SHAPE(1), LIST(n));
    vb_ints(b, "end_tokens", SHAPE(1), LIST(2));
    vb_ints(b, "is_block_step", SHAPE(1), LIST(0));
    vb_ints(b, "cu_seqlens_q_output", SHAPE(2), LIST(0, n));
    vb_ints(b, "reasoning_status", SHAPE(1), LIST(0));
    vb_ints(b, "max_dec_len", SHAPE(1), LIST(1000));
    vb_ints(b, "step_idx", SHAPE(1), LIST(0));
    vb_reals(b, "u", SHAPE(1), NUMBERS(0.5));
}

#define DRAFTS(...) ((const int64_t[6]){__VA_ARGS__})

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
        slot(&b, g->conventions, strategy, c->n, c->drafts);
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
    slot(&b, g->conventions, GDN_STRATEGY_TOPP, c->n, c->drafts);
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
    slot(&b, conventions, GDN_STRATEGY_TOPP, 1, DRAFTS(0));
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

static void expect_refusal(const char *name, int rank, const int64_t *shape,
                           const int64_t *values, size_t n, const char *message) {
    vbench b;
    slot(&b, REF, GDN_STRATEGY_TOPP, 3, DRAFTS(21, 22));
    vb_ints(&b, "candidate_ids", SHAPE(3, 2), LIST(20, 21));
    vb_reals(&b, "candidate_scores", SHAPE(3, 2), NUMBERS(.6, .3));
    vb_ints(&b, "candidate_lens", SHAPE(3), LIST(1));
    if (strcmp(name, "candidate_scores") == 0 || strcmp(name, "u") == 0) {
        vb_reals(&b, name, rank, shape, 1, (const double[]){(double)values[0]});
    } else {
        vb_ints(&b, name, rank, shape, n, values);
    }
    vb_refused(&b, message);
    vb_end(&b);
}

#define REFUSE(name, message, shape, ...)                                                  \
    expect_refusal(name, shape, (const int64_t[]){__VA_ARGS__},                            \
                   N_OF(int64_t, __VA_ARGS__), message)
#define OF(...) SHAPE(__VA_ARGS__)

static void test_bad_input_is_named(void **state) {
    (void)state;
    REFUSE("cu_seqlens_q_output",
           "cu_seqlens_q_output[1]: expected 3 rows or more for slot 0 but found 2", OF(2),
           0, 2);
    REFUSE("cu_seqlens_q_output", "cu_seqlens_q_output[1]: expected 0 to 3 but found -1",
           OF(2), 0, -1);
    REFUSE("seq_lens_this_time", "seq_lens_this_time[0]: expected 1 to 6 but found 7",
           OF(1), 7);
    REFUSE("seq_lens_this_time", "seq_lens_this_time[0]: expected 1 to 6 but found 0",
           OF(1), 0);
    REFUSE("candidate_lens", "candidate_lens[0]: expected 0 to 2 but found 3", OF(3), 3);
    REFUSE("candidate_ids",
           "candidate_ids[0,0]: expected 0 to 9223372036854775807 but found -4", OF(3, 2),
           -4);
    REFUSE("candidate_scores",
           "candidate_scores[0,0]: expected a number in [0, inf] but found -1", OF(3, 2),
           -1);
    REFUSE("u", "u[0]: expected a number in [0, 1] but found 2", OF(1), 2);
    REFUSE("reasoning_status", "reasoning_status[0]: expected 0 to 3 but found 4", OF(1),
           4);
}

/* A second opinion on REF for the whole batch, written the other way round: from the row of
 * tokens that would be emitted if nothing stopped, cut at the first stop. */
static void naive_row(vbench *b, int64_t slot_index, int64_t S, int64_t *ids,
                      int64_t *length) {
    const int64_t n = vb_int(b, "seq_lens_this_time", slot_index);
    const int64_t base = vb_int(b, "cu_seqlens_q_output", slot_index);
    const bool alone = vb_int(b, "seq_lens_encoder", slot_index) != 0 ||
                       vb_int(b, "reasoning_status", slot_index) == 1;
    int64_t kept = 0;
    while (!alone && kept < n - 1 &&
           vb_int(b, "target_tokens", base + kept) ==
               vb_int(b, "step_input_ids", slot_index * S + kept + 1)) {
        kept++;
    }
    const int64_t room =
        vb_int(b, "max_dec_len", slot_index) - vb_int(b, "step_idx", slot_index);
    *length = kept + 1;
    for (int64_t i = 0; i < kept + 1; i++) {
        ids[i] = vb_int(b, "target_tokens", base + i);
        const bool end = ids[i] == 2 || ids[i] == 3;
        if (end || i + 1 >= room) {
            ids[i] = end ? ids[i] : 2;
            *length = i + 1;
            return;
        }
    }
}

static uint32_t below(uint32_t n) {
    static const gdn_random RANDOM = {.seed = 2026, .stream = 5};
    static uint64_t at;
    return gdn_random_below(&RANDOM, at++, n);
}

enum { B = 7, R = 5, S = 5 };

static void random_batch(vbench *b) {
    int64_t starts[R + 1] = {0};
    int64_t n[R];
    int64_t inputs[B * S], targets[R * S], steps[B], limits[B], encoder[B], reasoning[B];
    int64_t stopped[B], blocked[B];
    for (int i = 0; i < B; i++) {
        steps[i] = below(6);
        limits[i] = 1 + below(20);
        encoder[i] = below(6) == 0 ? 4 : 0;
        reasoning[i] = below(5) == 0 ? 1 : below(4);
        stopped[i] = below(6) == 0;
        blocked[i] = below(6) == 0;
        for (int j = 0; j < S; j++) {
            inputs[i * S + j] = below(30);
        }
    }
    for (int i = 0; i < R; i++) {
        n[i] = 1 + below(S);
        starts[i + 1] = starts[i] + (encoder[i] ? 1 : n[i]);
        for (int64_t j = starts[i]; j < starts[i + 1]; j++) {
            const int64_t k = j - starts[i] + 1;
            targets[j] = k < S && below(4) > 0 ? inputs[i * S + k] : below(30);
        }
    }
    slot(b, REF, GDN_STRATEGY_GREEDY, 1, DRAFTS(0));
    vb_ints(b, "step_output_ids", SHAPE(B, S), LIST(HOLE));
    vb_ints(b, "step_output_len", SHAPE(B), LIST(HOLE));
    vb_ints(b, "step_input_ids", SHAPE(B, S), B * S, inputs);
    vb_ints(b, "target_tokens", SHAPE(starts[R]), (size_t)starts[R], targets);
    vb_reals(b, "topp", SHAPE(B), NUMBERS(0.9));
    vb_reals(b, "u", SHAPE(B), NUMBERS(0.5));
    vb_ints(b, "stop_flags", SHAPE(B), B, stopped);
    vb_ints(b, "is_block_step", SHAPE(B), B, blocked);
    vb_ints(b, "seq_lens_encoder", SHAPE(B), B, encoder);
    vb_ints(b, "seq_lens_this_time", SHAPE(R), R, n);
    vb_ints(b, "end_tokens", SHAPE(2), LIST(2, 3));
    vb_ints(b, "cu_seqlens_q_output", SHAPE(R + 1), R + 1, starts);
    vb_ints(b, "reasoning_status", SHAPE(B), B, reasoning);
    vb_ints(b, "max_dec_len", SHAPE(B), B, limits);
    vb_ints(b, "step_idx", SHAPE(B), B, steps);
}

static void test_random_batches(void **state) {
    (void)state;
    int lengths[S + 1] = {0};
    for (int trial = 0; trial < 2000; trial++) {
        vbench b;
        random_batch(&b);
        vb_run(&b);
        for (int64_t i = 0; i < B; i++) {
            int64_t ids[S] = {0};
            int64_t length = 0;
            if (i < R && !vb_int(&b, "stop_flags", i) && !vb_int(&b, "is_block_step", i)) {
                naive_row(&b, i, S, ids, &length);
            }
            assert_int_equal(vb_int(&b, "step_output_len", i), length);
            lengths[length]++;
            for (int64_t j = 0; j < S; j++) {
                assert_int_equal(vb_int(&b, "step_output_ids", i * S + j),
                                 j < length ? ids[j] : -1);
            }
        }
        vb_end(&b);
    }
    for (int i = 0; i <= S; i++) {
        assert_true(lengths[i] > 20);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy_and_target_match),
        cmocka_unit_test(test_topp),
        cmocka_unit_test(test_draws),
        cmocka_unit_test(test_bad_input_is_named),
        cmocka_unit_test(test_random_batches),
    };
    return cmocka_run_group_tests_name("verify_draft", tests, NULL, NULL);
}
