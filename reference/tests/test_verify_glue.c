/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The ops around verification, by hand: candidates (contract draft_verification 4), the
 * order of rows (6), sampling parameters and status (5), the legacy op (3), and which
 * states become live (contract sglang_npu 7). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "verify_bench.h"

static void candidates(vbench *b, const char *conventions, double top_p, size_t n,
                       const double *probs) {
    vb_begin(b, GDN_OP_TOP_P_CANDIDATES, conventions);
    vb_reals(b, "probs", SHAPE(1, (int64_t)n), n, probs);
    vb_reals(b, "top_p", SHAPE(1), NUMBERS(top_p));
    vb_ints(b, "batch_id_per_token_output", SHAPE(1), LIST(0));
    vb_reals(b, "verify_scores", SHAPE(1, 3), NUMBERS(HOLE));
    vb_ints(b, "verify_tokens", SHAPE(1, 3), LIST(HOLE));
    vb_ints(b, "actual_candidate_lens", SHAPE(1), LIST(HOLE));
    vb_run(b);
}

static void expect_candidates(const char *conventions, double top_p, size_t n,
                              const double *probs, const int64_t *ids, int64_t length) {
    vbench b;
    candidates(&b, conventions, top_p, n, probs);
    vb_expect(&b, conventions, "verify_tokens", 3, ids);
    vb_expect(&b, conventions, "actual_candidate_lens", 1, &length);
    for (int64_t k = 0; k < 3; k++) {
        const gdn_tensor *scores = vb_tensor(&b, "verify_scores");
        const double expected = length > 0 && k >= length ? 0.0 : probs[ids[k]];
        assert_true(gdn_load(scores->data, GDN_FP32, k) ==
                    gdn_round_to(expected, GDN_FP32));
    }
    vb_end(&b);
}

#define IDS(...) ((const int64_t[]){__VA_ARGS__})

static void test_candidates(void **state) {
    (void)state;
    /* The crossing token belongs to the nucleus; what is behind it is zeroed. */
    expect_candidates("", .75, NUMBERS(.1, .4, .3, .2), IDS(1, 2, 3), 3);
    expect_candidates("", .65, NUMBERS(.1, .4, .3, .2), IDS(1, 2, 0), 2);
    expect_candidates("", .25, NUMBERS(.1, .4, .3, .2), IDS(1, 0, 0), 1);
    expect_candidates("", .5, NUMBERS(.25, .5, .25, 0), IDS(1, 0, 0), 1);
    /* Ties go to the smaller id, zeros are entries like any other. */
    expect_candidates("", .75, NUMBERS(.25, .25, .25, .25), IDS(0, 1, 2), 3);
    expect_candidates("", 1.0, NUMBERS(0, .5, 0, .5), IDS(1, 3, 0), 2);
    expect_candidates("", 1.0, NUMBERS(0, .5, 0, .25), IDS(1, 3, 0), 3);
    /* The mass of all three stays below top_p: disputed (4.2). */
    expect_candidates("", .95, NUMBERS(.1, .4, .3, .2), IDS(1, 2, 3), 3);
    expect_candidates("short_mass=none", .95, NUMBERS(.1, .4, .3, .2), IDS(1, 2, 3), 0);
    expect_candidates("short_mass=all_at_one", .95, NUMBERS(.1, .4, .3, .2), IDS(1, 2, 3),
                      0);
    expect_candidates("short_mass=all_at_one", 1.0, NUMBERS(.1, .4, .3, .2), IDS(1, 2, 3),
                      3);
    /* big_n adds the largest twice (4.3). */
    expect_candidates("nucleus=first_twice", .75, NUMBERS(.4, .3, .2), IDS(0, 1, 0), 2);
    expect_candidates("nucleus=first_twice", .85, NUMBERS(.4, .3, .2), IDS(0, 1, 2), 3);
    expect_candidates("", .85, NUMBERS(.4, .3, .2), IDS(0, 1, 2), 3);
    vbench b;
    candidates(&b, "short_mass=unwritten", .95, NUMBERS(.1, .4, .3, .2));
    assert_int_equal(vb_int(&b, "actual_candidate_lens", 0), HOLE);
    vb_reals(&b, "probs", SHAPE(1, 4), NUMBERS(-.1, .4, .3, .2));
    vb_refused(&b, "probs[0,0]: expected a number in [0, inf] but found -0.1");
    vb_reals(&b, "probs", SHAPE(1, 4), NUMBERS(0.0 / 0.0));
    vb_refused(&b, "probs[0,0]: expected a number in [0, inf] but found nan");
    vb_end(&b);
}

/* The golden list of 6.2: rows hold their original index; ids above 256 need more than
 * bf16, so the payload is fp32. */
static void groups(vbench *b, gdn_op op, size_t slots, const int64_t *n,
                   const int64_t *encoder) {
    int64_t lods[2][9] = {{0}}, maps[2][8], count[2] = {0, 0};
    for (size_t i = 0; i < slots; i++) {
        const int side = encoder[i] > 0 ? 0 : 1;
        if (n[i] > 0) {
            maps[side][count[side]] = (int64_t)i;
            lods[side][count[side] + 1] = lods[side][count[side]] + n[i];
            count[side]++;
        }
    }
    vb_begin(b, op, "");
    vb_ints(b, "encoder_seq_lod", SHAPE(count[0] + 1), (size_t)count[0] + 1, lods[0]);
    vb_ints(b, "decoder_seq_lod", SHAPE(count[1] + 1), (size_t)count[1] + 1, lods[1]);
    vb_ints(b, "encoder_batch_map", SHAPE(count[0]), (size_t)count[0] + 1, maps[0]);
    vb_ints(b, "decoder_batch_map", SHAPE(count[1]), (size_t)count[1] + 1, maps[1]);
}

static void expect_gather(size_t slots, const int64_t *n, const int64_t *encoder, bool spec,
                          size_t rows, const int64_t *expected) {
    double original[400];
    int64_t tokens = 0;
    for (size_t i = 0; i < slots; i++) {
        for (int64_t t = 0; t < n[i]; t++) {
            original[tokens] = (double)tokens;
            tokens++;
        }
    }
    vbench adjust, gather;
    groups(&adjust, GDN_OP_ADJUST_BATCH, slots, n, encoder);
    vb_reals(&adjust, "x", SHAPE(tokens, 1), (size_t)tokens, original);
    vb_reals(&adjust, "out", SHAPE(tokens, 1), NUMBERS(HOLE));
    vb_run(&adjust);
    groups(&gather, GDN_OP_GATHER_NEXT_TOKEN, slots, n, encoder);
    const gdn_tensor *sorted = vb_tensor(&adjust, "out");
    for (int64_t i = 0; i < tokens; i++) {
        original[i] = gdn_load(sorted->data, sorted->dtype, i);
    }
    vb_reals(&gather, "x", SHAPE(tokens, 1), (size_t)tokens, original);
    vb_reals(&gather, "out", SHAPE((int64_t)rows, 1), NUMBERS(HOLE));
    vb_scalar(&gather, "is_speculative", spec);
    vb_scalar(&gather, "max_bsz", (int64_t)slots);
    vb_run(&gather);
    vb_expect(&gather, "gather", "out", rows, expected);
    vb_end(&adjust);
    vb_end(&gather);
}

static void test_adjust_and_gather(void **state) {
    (void)state;
    expect_gather(LIST(100, 2, 0, 1, 120, 140, 3), IDS(100, 0, 0, 0, 120, 140, 0), true,
                  LIST(99, 100, 101, 102, 222, 362, 363, 364, 365));
    expect_gather(LIST(100, 1, 0, 1, 120, 140, 1), IDS(100, 0, 0, 0, 120, 140, 0), false,
                  LIST(99, 100, HOLE, 101, 221, 361, 362));
    /* Without prefills the rows stay as they are. */
    expect_gather(LIST(2, 0, 3), IDS(0, 0, 0), true, LIST(0, 1, 2, 3, 4));
    vbench b;
    groups(&b, GDN_OP_ADJUST_BATCH, LIST(2, 3), IDS(2, 0));
    vb_reals(&b, "x", SHAPE(5, 1), NUMBERS(1));
    vb_reals(&b, "out", SHAPE(5, 1), NUMBERS(1));
    vb_ints(&b, "decoder_batch_map", SHAPE(1), LIST(0));
    vb_refused(&b,
               "decoder_batch_map[0]: expected a slot that nobody else names but found 0");
    vb_end(&b);
}

/* Seeds step by 4 a row and by the increment a call, modulo INT64_MAX - 1. */
static void test_sampling_params(void **state) {
    (void)state;
    vbench b;
    const int64_t most = INT64_MAX - 1;
    vb_begin(&b, GDN_OP_BUILD_SAMPLING_PARAMS, "");
    vb_reals(&b, "top_p", SHAPE(3), NUMBERS(1, 0, .5));
    vb_ints(&b, "top_k", SHAPE(3), LIST(5, 6, 7));
    vb_ints(&b, "infer_seed", SHAPE(3), LIST(10, 20, most - 6));
    vb_ints(&b, "cu_seqlens_q_output", SHAPE(4), LIST(0, 2, 2, 5));
    vb_reals(&b, "top_p_padded", SHAPE(6), NUMBERS(HOLE));
    vb_ints(&b, "top_k_padded", SHAPE(6), LIST(HOLE));
    vb_ints(&b, "topp_seed", SHAPE(6), LIST(HOLE));
    vb_scalar(&b, "increment_value", 12);
    vb_run(&b);
    vb_expect(&b, "params", "top_k_padded", LIST(5, 5, 7, 7, 7, HOLE));
    vb_expect(&b, "params", "topp_seed", LIST(10, 14, most - 6, most - 2, 2, HOLE));
    vb_expect(&b, "params", "infer_seed", LIST(22, 32, 6));
    vb_end(&b);
}

typedef struct legacy_case {
    const char *name, *conventions;
    int64_t compare, n, window, drafts[5], lens[6], step, limit, ends[2];
    int64_t ids[6], count, steps, stopped;
} legacy_case;

static void run_legacy(const legacy_case *c) {
    vbench b;
    const int64_t row[6] = {10,           c->drafts[0], c->drafts[1],
                            c->drafts[2], c->drafts[3], c->drafts[4]};
    vb_begin(&b, GDN_OP_SPECULATE_VERIFY, c->conventions);
    vb_ints(&b, "sampled_token_ids", SHAPE(6), LIST(21, 22, 23, 24, 25, 26));
    vb_ints(&b, "accept_tokens", SHAPE(1, 6), LIST(HOLE));
    vb_ints(&b, "accept_num", SHAPE(1), LIST(HOLE));
    vb_ints(&b, "step_idx", SHAPE(1), LIST(c->step));
    vb_ints(&b, "stop_flags", SHAPE(1), LIST(0));
    vb_ints(&b, "seq_lens_encoder", SHAPE(1), LIST(0));
    vb_ints(&b, "draft_tokens", SHAPE(1, 6), 6, row);
    vb_ints(&b, "seq_lens_this_time", SHAPE(1), LIST(c->n));
    vb_ints(&b, "verify_tokens", SHAPE(6, 2),
            LIST(20, 21, 22, 0, 23, 0, 24, 0, 25, 0, 26, 0));
    vb_reals(&b, "verify_scores", SHAPE(6, 2), NUMBERS(.6, .3));
    vb_ints(&b, "max_dec_len", SHAPE(1), LIST(c->limit));
    vb_ints(&b, "end_tokens", SHAPE(2), 2, c->ends);
    vb_ints(&b, "is_block_step", SHAPE(1), LIST(0));
    vb_ints(&b, "cu_seqlens_q_output", SHAPE(2), LIST(0, c->n));
    vb_ints(&b, "actual_candidate_len", SHAPE(6), 6, c->lens);
    vb_reals(&b, "topp", SHAPE(1), NUMBERS(.9));
    vb_reals(&b, "u", SHAPE(1), NUMBERS(.5));
    vb_scalar(&b, "verify_window", c->window);
    vb_scalar(&b, "enable_topp", 0);
    vb_scalar(&b, "benchmark_mode", 0);
    vb_scalar(&b, "accept_all_drafts", 0);
    vb_scalar(&b, "compare", c->compare);
    vb_scalar(&b, "prefill_one_step_stop", 0);
    vb_run(&b);
    vb_expect(&b, c->name, "accept_tokens", 6, c->ids);
    vb_expect(&b, c->name, "accept_num", 1, &c->count);
    vb_expect(&b, c->name, "step_idx", 1, &c->steps);
    vb_expect(&b, c->name, "stop_flags", 1, &c->stopped);
    vb_end(&b);
}

#define H HOLE

/* Section 3.2, by its numbers. */
static const legacy_case LEGACY[] = {
    {"target sampling",
     "",
     GDN_COMPARE_SAMPLED,
     4,
     2,
     {21, 22, 9},
     {1, 1, 1, 1, 1, 1},
     0,
     99,
     {2, 3},
     {21, 22, 23, H, H, H},
     3,
     3,
     0},
    {"best candidate only",
     "",
     GDN_COMPARE_BEST,
     4,
     2,
     {20, 22, 9},
     {2, 2, 2, 2, 2, 2},
     0,
     99,
     {2, 3},
     {20, 22, 23, H, H, H},
     3,
     3,
     0},
    {"membership",
     "",
     GDN_COMPARE_CANDIDATES,
     3,
     2,
     {21, 22},
     {2, 1, 1, 1, 1, 1},
     0,
     99,
     {2, 3},
     {21, 22, 23, H, H, H},
     3,
     3,
     0},
    {"1: a stop among the drafts counts what is written",
     "",
     GDN_COMPARE_SAMPLED,
     4,
     2,
     {21, 22, 23},
     {1, 1, 1, 1, 1, 1},
     0,
     99,
     {22, 3},
     {21, 22, H, H, H, H},
     2,
     2,
     1},
    {"3: an end token at the limit is rewritten",
     "",
     GDN_COMPARE_SAMPLED,
     4,
     2,
     {21, 22, 23},
     {1, 1, 1, 1, 1, 1},
     48,
     50,
     {3, 22},
     {21, 3, H, H, H, H},
     2,
     50,
     1},
    {"4: nothing is verified behind a block",
     "",
     GDN_COMPARE_CANDIDATES,
     6,
     2,
     {21, 22, 23, 24, 25},
     {1, 1, 1, 1, 1, 1},
     0,
     99,
     {2, 3},
     {21, 22, 23, 24, H, H},
     4,
     4,
     0},
    {"4: the block stops where the limit is",
     "",
     GDN_COMPARE_CANDIDATES,
     6,
     2,
     {21, 22, 23, 24, 25},
     {1, 1, 1, 1, 1, 1},
     48,
     50,
     {2, 3},
     {21, 2, H, H, H, H},
     2,
     50,
     1},
    {"4 as shipped: it stops W tokens early and counts too many",
     "bulk_count=upfront",
     GDN_COMPARE_CANDIDATES,
     6,
     2,
     {21, 22, 23, 24, 25},
     {1, 1, 1, 1, 1, 1},
     48,
     50,
     {2, 3},
     {2, H, H, H, H, H},
     3,
     51,
     1},
};

static void test_legacy(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof LEGACY / sizeof LEGACY[0]; i++) {
        run_legacy(&LEGACY[i]);
    }
}

enum { SLOTS = 7, LIVE = 6, HISTORY = 12 };

static void status(vbench *b, const char *conventions, int64_t naive) {
    vb_begin(b, GDN_OP_UNIFIED_UPDATE_MODEL_STATUS, conventions);
    /* running, end token, at the limit, prefill, paused, stopped, beyond real_bsz */
    vb_ints(b, "step_output_ids", SHAPE(SLOTS, 3),
            LIST(5, 6, -1, 5, 2, 7, 5, 6, 7, 8, -1, -1, 9, 9, 9, 9, 9, 9, 9, 9, 9));
    vb_ints(b, "step_output_len", SHAPE(SLOTS), LIST(2, 3, 3, 1, 1, 1, 1));
    vb_ints(b, "stop_flags", SHAPE(SLOTS), LIST(0, 0, 0, 0, 0, 1, 0));
    vb_ints(b, "seq_lens_this_time", SHAPE(SLOTS), LIST(3, 3, 3, 4, 3, 3, 3));
    vb_ints(b, "seq_lens_encoder", SHAPE(SLOTS), LIST(0, 0, 0, 4, 0, 0, 0));
    vb_ints(b, "seq_lens_decoder", SHAPE(SLOTS), LIST(10, 10, 10, 0, 10, 10, 10));
    vb_ints(b, "step_input_ids", SHAPE(SLOTS, 3), LIST(1, 1, 1));
    vb_ints(b, "token_ids_all", SHAPE(SLOTS, HISTORY), LIST(HOLE));
    vb_ints(b, "step_idx", SHAPE(SLOTS), LIST(4, 4, 4, 0, 4, 4, 4));
    vb_ints(b, "prompt_lens", SHAPE(SLOTS), LIST(3));
    vb_ints(b, "is_paused", SHAPE(SLOTS), LIST(0, 0, 0, 0, 1, 0, 0));
    vb_ints(b, "end_tokens", SHAPE(1), LIST(2));
    vb_ints(b, "max_dec_len", SHAPE(SLOTS), LIST(99, 99, 6, 99, 99, 99, 99));
    vb_ints(b, "mask_rollback", SHAPE(SLOTS), LIST(HOLE));
    vb_ints(b, "has_running", SHAPE(1), LIST(0));
    vb_scalar(b, "real_bsz", LIVE);
    vb_scalar(b, "max_model_len", 100);
    vb_scalar(b, "is_naive_mode", naive);
    vb_scalar(b, "prefill_one_step_stop", 0);
    vb_run(b);
}

static void test_unified_status(void **state) {
    (void)state;
    vbench b;
    status(&b, "", 0);
    vb_expect(&b, "status", "step_output_len", LIST(2, 2, 2, 1, 0, 0, 1));
    vb_expect(&b, "status", "step_output_ids",
              LIST(5, 6, -1, 5, 2, 7, 5, 2, 7, 8, -1, -1, 9, 9, 9, 9, 9, 9, 9, 9, 9));
    vb_expect(&b, "status", "stop_flags", LIST(0, 1, 1, 0, 1, 1, 0));
    vb_expect(&b, "status", "seq_lens_decoder", LIST(12, 10, 10, 4, 0, 0, 10));
    vb_expect(&b, "status", "seq_lens_encoder", LIST(0, 0, 0, 0, 0, 0, 0));
    vb_expect(&b, "status", "seq_lens_this_time", LIST(3, 3, 3, 4, 0, 0, 3));
    vb_expect(&b, "status", "step_idx", LIST(6, 6, 6, 1, 4, 4, 4));
    vb_expect(&b, "status", "mask_rollback", LIST(1, 0, 0, 0, HOLE, HOLE, HOLE));
    vb_expect(&b, "status", "has_running", LIST(1));
    assert_int_equal(vb_int(&b, "step_input_ids", 0), 6);
    assert_int_equal(vb_int(&b, "step_input_ids", 3), 2);
    /* Tokens 5 and 6 of slot 0 are the fifth and sixth behind a prompt of 3. */
    assert_int_equal(vb_int(&b, "token_ids_all", 7), 5);
    assert_int_equal(vb_int(&b, "token_ids_all", 8), 6);
    assert_int_equal(vb_int(&b, "token_ids_all", 6), HOLE);
    vb_end(&b);
    status(&b, "history_index=one_later", 0);
    assert_int_equal(vb_int(&b, "token_ids_all", 9), 6);
    vb_end(&b);
    status(&b, "", 1);
    vb_expect(&b, "naive", "step_output_len", LIST(1, 1, 1, 1, 0, 0, 1));
    vb_expect(&b, "naive", "seq_lens_this_time", LIST(1, 1, 1, 1, 0, 0, 3));
    vb_end(&b);
}

static void test_naive_status(void **state) {
    (void)state;
    vbench b;
    vb_begin(&b, GDN_OP_NAIVE_UPDATE_MODEL_STATUS, "");
    vb_ints(&b, "accept_tokens", SHAPE(3, 2), LIST(HOLE));
    vb_ints(&b, "accept_num", SHAPE(3), LIST(HOLE));
    vb_ints(&b, "seq_lens_this_time", SHAPE(3), LIST(9));
    vb_ints(&b, "next_tokens", SHAPE(4), LIST(50, 51, 52, 53));
    vb_ints(&b, "cu_seqlens_q_output", SHAPE(4), LIST(0, 2, 2, 4));
    vb_ints(&b, "stop_flags", SHAPE(3), LIST(0, 1, 0));
    vb_ints(&b, "is_paused", SHAPE(3), LIST(0, 0, 0));
    vb_run(&b);
    vb_expect(&b, "naive", "accept_tokens", LIST(51, HOLE, HOLE, HOLE, 53, HOLE));
    vb_expect(&b, "naive", "accept_num", LIST(1, 0, 1));
    vb_expect(&b, "naive", "seq_lens_this_time", LIST(1, 0, 1));
    vb_end(&b);
}

/* Two requests in slots 3 and 1 of 4, a third that is padding; D = 3 steps, windows of 4
 * rows; elements say where they come from: 100 * scratch + 10 * step. */
static void commit(vbench *b, const char *conventions) {
    double snapshots[2 * 3 * 3 * 2], windows[2 * 3 * 3 * 4];
    for (int i = 0; i < 2 * 3 * 3 * 2; i++) {
        snapshots[i] = i / 18 * 1000 + i % 18 / 6 * 100 + i % 6 / 2 * 10 + i % 2;
    }
    for (int i = 0; i < 2 * 3 * 3 * 4; i++) {
        windows[i] = 128 + i;
    }
    vb_begin(b, GDN_OP_STATE_COMMIT, conventions);
    vb_reals(b, "ssm_states", SHAPE(2, 4, 2), NUMBERS(HOLE));
    vb_reals(b, "intermediate", SHAPE(2, 3, 3, 2), 36, snapshots);
    vb_reals(b, "conv_states", SHAPE(2, 4, 4, 1), NUMBERS(1, 2, 3, 4));
    vb_reals(b, "intermediate_conv", SHAPE(2, 3, 3, 4, 1), 72, windows);
    vb_ints(b, "slot_table", SHAPE(3, 3), LIST(3, 2, 0, 1, 0, 2, 0, 0, 0));
    vb_ints(b, "src_indices", SHAPE(3), LIST(2, 0, 1));
    vb_ints(b, "last_steps", SHAPE(3), LIST(1, 2, -1));
    vb_ints(b, "live_slots", SHAPE(3), LIST(HOLE));
    vb_run(b);
}

static void test_commit(void **state) {
    (void)state;
    vbench b;
    commit(&b, "");
    vb_expect(&b, "move", "live_slots", LIST(3, 1, HOLE));
    vb_expect(&b, "move", "ssm_states",
              LIST(HOLE, HOLE, 20, 21, HOLE, HOLE, 210, 211, HOLE, HOLE, 1020, 1021, HOLE,
                   HOLE, 1210, 1211));
    /* Slot 3 accepted steps 0 and 1 of 3: one row up, row 0 keeps what it held. */
    vb_expect(&b, "rollback", "conv_states",
              LIST(1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 1, 2, 3, 1, 2, 3, 4, 1, 2, 3, 4,
                   1, 2, 3, 4, 1, 1, 2, 3));
    vb_end(&b);
    commit(&b, "conv_commit=scatter");
    assert_int_equal((int)gdn_load(vb_tensor(&b, "conv_states")->data, GDN_BF16, 12),
                     128 + (2 * 3 + 1) * 4);
    vb_end(&b);
    commit(&b, "commit=index");
    vb_expect(&b, "index", "live_slots", LIST(2, 2, HOLE));
    assert_int_equal((int)gdn_load(vb_tensor(&b, "ssm_states")->data, GDN_FP32, 6), HOLE);
    vb_ints(&b, "last_steps", SHAPE(3), LIST(3));
    vb_refused(&b, "last_steps[0]: expected -1 to 2 but found 3");
    vb_end(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_candidates),      cmocka_unit_test(test_adjust_and_gather),
        cmocka_unit_test(test_sampling_params), cmocka_unit_test(test_legacy),
        cmocka_unit_test(test_unified_status),  cmocka_unit_test(test_naive_status),
        cmocka_unit_test(test_commit),
    };
    return cmocka_run_group_tests_name("verify_glue", tests, NULL, NULL);
}
