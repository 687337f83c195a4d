/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Values of the slot-wise ops. Draws and sums are dyadic, so that every decision is exact
 * in fp32 and integer outputs can be judged cell by cell. */
#include "problem_tensors.h"
#include "verify_plan.h"

enum { END = 2, SECOND_END = 3, LATE_END = 5, FIRST_TOKEN = 10 };

#define SET(...)  gdn_verify_set_int(f, __VA_ARGS__)
#define GET(...)  gdn_verify_get_int(f, __VA_ARGS__)
#define REAL(...) gdn_verify_set_real(f, __VA_ARGS__)
#define BELOW(n)  gdn_verify_below(f, (n))
#define SCENE(s)  (f->test->verify.scenario == GDN_SCENARIO_##s)

static int64_t token(gdn_verify_filler *f) {
    return FIRST_TOKEN + BELOW(f->test->verify.vocab);
}

/* Never equal to `other`, and no end token. */
static int64_t other_token(gdn_verify_filler *f, int64_t other) {
    const int64_t t = token(f);
    return t == other ? FIRST_TOKEN + f->test->verify.vocab : t;
}

/* Forty end tokens: the one that matters is the first, the second or one behind the
 * 32nd. */
static void fill_ends(gdn_verify_filler *f) {
    const int64_t count = f->plan->size['E'];
    for (int64_t i = 0; i < count; i++) {
        SET("end_tokens", i, 0, i == 0 ? END : i == 1 ? SECOND_END : 100000 + i);
    }
    if (count > 33) {
        SET("end_tokens", 35, 0, LATE_END + 1);
    }
}

static void fill_states(gdn_verify_filler *f) {
    for (int64_t b = 0; b < f->plan->size['B']; b++) {
        const gdn_verify_request *r = &f->plan->requests[b];
        const bool short_limit = SCENE(ENDS) && b % 3 == 1;
        const bool in_block = SCENE(WINDOW) && b % 8 == 4;
        SET("stop_flags", b, 0, r->stopped);
        SET("is_block_step", b, 0, r->blocked);
        SET("is_paused", b, 0, r->blocked);
        SET("seq_lens_encoder", b, 0, r->encoder);
        SET("reasoning_status", b, 0,
            r->thinking  ? 1
            : b % 3 == 1 ? 2
            : b % 3 == 2 ? 3
                         : 0);
        SET("step_idx", b, 0, 48);
        SET("max_dec_len", b, 0,
            in_block      ? 50 /* the second token of a bulk accept */
            : short_limit ? 49 + b % r->tokens
                          : 1000);
        REAL("topp", b, 0, 0, SCENE(EDGES) ? 1.0 : 0.875 + 0.0625 * (double)(b % 2));
        REAL("u", b, 0, 0, gdn_verify_coin(f));
    }
    for (int64_t b = 0; b < f->plan->size['R']; b++) {
        SET("seq_lens_this_time", b, 0, f->plan->requests[b].tokens);
    }
    for (int64_t b = 0; SCENE(EDGES) && b < f->plan->size['B']; b++) {
        static const double U[] = {0.0, 0.5, 0.75, 1.0, 0.875, 1.0 - 0x1p-24};
        REAL("u", b, 0, 0, U[b % 6]);
    }
}

/* Starts of the slots' target rows; none that is no slot's. */
static void fill_starts(gdn_verify_filler *f, int64_t slots, int64_t end) {
    for (int64_t b = 0; b < slots; b++) {
        SET("cu_seqlens_q_output", b, 0, f->plan->requests[b].first);
    }
    SET("cu_seqlens_q_output", slots, 0, end);
}

/* Drafts of each slot; in scenario ends some are end tokens, in turn of each kind. */
static void fill_drafts(gdn_verify_filler *f, const char *name) {
    for (int64_t b = 0; b < f->plan->size['B']; b++) {
        for (int64_t j = 0; j < f->plan->size['S']; j++) {
            SET(name, b, j, token(f));
        }
        const gdn_verify_request *r = &f->plan->requests[b];
        if ((SCENE(ENDS) || SCENE(FORCED)) && r->tokens > 1) {
            static const int64_t ENDS[] = {END, SECOND_END, LATE_END + 1};
            const bool far = b % 3 == 2 && !SCENE(ENDS);
            SET(name, b, 1 + b % (r->tokens - 1), far ? END : ENDS[b % 3]);
        }
    }
}

/* What the target says behind each token: the draft as long as it is to stand. */
static void fill_targets(gdn_verify_filler *f, const char *drafts, const char *targets) {
    for (int64_t b = 0; b < f->plan->size['R']; b++) {
        const gdn_verify_request *r = &f->plan->requests[b];
        const int64_t rows = r->encoder > 0 ? 1 : r->tokens;
        for (int64_t i = 0; i < rows; i++) {
            const int64_t draft = i + 1 < r->tokens ? GET(drafts, b, i + 1) : -1;
            int64_t value = i < r->kept ? draft : other_token(f, draft);
            if (SCENE(ENDS) && i + 1 == r->tokens && b % 4 == 3) {
                value = SECOND_END;
            }
            SET(targets, r->first + i, 0, value);
        }
    }
}

/* C distinct candidates of one row, the draft among the first `length` of them or not at
 * all; scores are halves, so that their sums are exact. */
static void fill_set(gdn_verify_filler *f, const char *ids, const char *scores, int64_t row,
                     int64_t draft, bool inside, int64_t length) {
    const int64_t count = f->plan->size['C'];
    const int64_t first = 1 + FIRST_TOKEN + f->test->verify.vocab + BELOW(50);
    const int64_t place = inside ? BELOW(length) : -1;
    for (int64_t k = 0; k < count; k++) {
        SET(ids, row, k, k == place ? draft : first + k);
        REAL(scores, row, k, 0, 1.0 / (double)(INT64_C(2) << (k < 12 ? k : 12)));
    }
}

static void fill_sets(gdn_verify_filler *f, const char *drafts, const char *ids,
                      const char *scores, const char *lens) {
    const int64_t count = f->plan->size['C'];
    for (int64_t b = 0; b < f->plan->size['R']; b++) {
        const gdn_verify_request *r = &f->plan->requests[b];
        const int64_t rows = r->encoder > 0 ? 1 : r->tokens;
        for (int64_t i = 0; i < rows; i++) {
            const bool empty = SCENE(EDGES) && i >= r->kept && (b + i) % 3 == 0;
            const int64_t length = empty ? 0 : 1 + BELOW(count);
            const int64_t draft = i + 1 < r->tokens ? GET(drafts, b, i + 1) : -1;
            fill_set(f, ids, scores, r->first + i, draft, i < r->kept && draft >= 0,
                     length);
            SET(lens, r->first + i, 0, length);
        }
    }
}

/* A bulk accept from position `at`: candidate 1 is the draft there, and candidate 0 the
 * draft at the next W positions; in turn it succeeds, is too short, meets a mismatch, or
 * succeeds with a mismatch right behind it, where the next position must be looked at. */
static void fill_window(gdn_verify_filler *f, const char *drafts, const char *ids,
                        const char *lens, int64_t b) {
    const gdn_verify_request *r = &f->plan->requests[b];
    const int64_t window = f->test->verify.window;
    const int64_t at = b % 2;
    for (int64_t i = 0; i < r->tokens; i++) {
        SET(lens, r->first + i, 0, 1);
        if (i + 1 < r->tokens) {
            const int64_t draft = GET(drafts, b, i + 1);
            const int64_t behind = at + 1 + window;
            const bool missing =
                (b % 4 == 2 && i == at + window) || (b % 4 == 3 && i == behind);
            const int64_t best = GET(ids, r->first + i, 0);
            SET(ids, r->first + i, 1, i == at ? draft : best + 7);
            SET(ids, r->first + i, 0, i == at || missing ? best : draft);
        }
    }
}

static void fill_windows(gdn_verify_filler *f, const char *drafts, const char *ids,
                         const char *lens) {
    for (int64_t b = 0; SCENE(WINDOW) && b < f->plan->size['R']; b++) {
        fill_window(f, drafts, ids, lens, b);
    }
}

static void fill_draft_tokens(gdn_verify_filler *f) {
    fill_ends(f);
    fill_states(f);
    fill_starts(f, f->plan->size['R'], f->plan->size['T']);
    fill_drafts(f, "step_input_ids");
    if (f->test->verify.mode == GDN_MODE_TOPP) {
        fill_sets(f, "step_input_ids", "candidate_ids", "candidate_scores",
                  "candidate_lens");
        fill_windows(f, "step_input_ids", "candidate_ids", "candidate_lens");
    } else {
        fill_targets(f, "step_input_ids", "target_tokens");
    }
    gdn_verify_set_all(f, "step_output_ids", -777);
    gdn_verify_set_all(f, "step_output_len", -777);
}

static void fill_legacy(gdn_verify_filler *f) {
    fill_ends(f);
    fill_states(f);
    fill_starts(f, f->plan->size['R'], f->plan->size['T']);
    fill_drafts(f, "draft_tokens");
    fill_sets(f, "draft_tokens", "verify_tokens", "verify_scores", "actual_candidate_len");
    fill_windows(f, "draft_tokens", "verify_tokens", "actual_candidate_len");
    if (f->test->verify.mode == GDN_MODE_SAMPLED) {
        fill_targets(f, "draft_tokens", "sampled_token_ids");
    }
    gdn_verify_set_all(f, "accept_tokens", -777);
    gdn_verify_set_all(f, "accept_num", -777);
}

static void fill_params(gdn_verify_filler *f) {
    const int64_t slots = f->plan->size['B'];
    for (int64_t b = 0; b < slots; b++) {
        const int64_t modulus =
            f->v->seed_modulus == GDN_SEED_INT64 ? INT64_MAX - 1 : INT64_C(2147483647);
        REAL("top_p", b, 0, 0, (double)(1 + b % 8) / 8.0);
        SET("top_k", b, 0, 1 + BELOW(100));
        SET("infer_seed", b, 0, b % 2 ? modulus - 1 - BELOW(9) : BELOW(1000));
    }
    fill_starts(f, slots, f->plan->size['T']);
}

static void fill_unified(gdn_verify_filler *f) {
    const int64_t width = f->plan->size['S'];
    fill_ends(f);
    fill_states(f);
    for (int64_t b = 0; b < f->plan->size['B']; b++) {
        const gdn_verify_request *r = &f->plan->requests[b];
        const int64_t length = r->encoder > 0 ? 1 : 1 + r->kept;
        for (int64_t j = 0; j < width; j++) {
            const bool end = SCENE(ENDS) && b % 3 != 1 && j == b % length;
            SET("step_output_ids", b, j,
                j >= length ? -1
                : end       ? b % 3 ? LATE_END + 1 : SECOND_END
                            : token(f));
            SET("step_input_ids", b, j, token(f));
        }
        SET("step_output_len", b, 0, length);
        SET("seq_lens_this_time", b, 0, r->tokens);
        SET("seq_lens_decoder", b, 0, r->encoder > 0 ? 0 : 20 + b);
        SET("prompt_lens", b, 0, 3 + b % 4);
        SET("step_idx", b, 0, 1 + b % 5);
        SET("max_dec_len", b, 0, SCENE(ENDS) && b % 3 == 1 ? 3 + b % 5 : 1000);
        SET("mask_rollback", b, 0, -777);
    }
    gdn_verify_set_all(f, "token_ids_all", -777);
}

static void fill_naive(gdn_verify_filler *f) {
    fill_states(f);
    fill_starts(f, f->plan->size['B'], f->plan->size['T']);
    for (int64_t row = 0; row < f->plan->size['T']; row++) {
        SET("next_tokens", row, 0, FIRST_TOKEN + row);
    }
    for (int64_t b = 0; b < f->plan->size['B']; b++) {
        SET("seq_lens_this_time", b, 0, 9);
    }
    gdn_verify_set_all(f, "accept_tokens", -777);
    gdn_verify_set_all(f, "accept_num", -777);
}

/* Rows hold their own number in two digits of 251, exact in every type. */
static void fill_groups(gdn_verify_filler *f) {
    int64_t encoded = 0, decoded = 0, prefills = 0, decodes = 0;
    SET("encoder_seq_lod", 0, 0, 0);
    SET("decoder_seq_lod", 0, 0, 0);
    for (int64_t b = 0; b < f->test->verify.slots; b++) {
        const gdn_verify_request *r = &f->plan->requests[b];
        if (r->blocked) {
            continue;
        }
        if (r->encoder > 0) {
            encoded += r->tokens;
            SET("encoder_batch_map", prefills, 0, b);
            SET("encoder_seq_lod", ++prefills, 0, encoded);
        } else {
            decoded += r->tokens;
            SET("decoder_batch_map", decodes, 0, b);
            SET("decoder_seq_lod", ++decodes, 0, decoded);
        }
    }
    for (int64_t row = 0; row < f->plan->size['N']; row++) {
        for (int64_t j = 0; j < f->plan->size['X']; j++) {
            REAL("x", row, j, 0, (double)(j == 0 ? row % 251 : j == 1 ? row / 251 : j));
        }
    }
}

gdn_status gdn_verify_fill(gdn_problem *problem, gdn_error *err) {
    gdn_verify_plan plan;
    (void)err;
    gdn_verify_plan_make(&plan, problem->test);
    gdn_verify_filler f = {.problem = problem,
                           .test = problem->test,
                           .plan = &plan,
                           .v = &problem->test->conventions.verify};
    static void (*const FILL[])(gdn_verify_filler *) = {
        fill_draft_tokens,
        gdn_verify_fill_candidates,
        fill_groups,
        fill_groups,
        fill_params,
        fill_legacy,
        fill_unified,
        fill_naive,
        gdn_verify_fill_rejection,
        gdn_verify_fill_tree,
        gdn_verify_fill_tree,
        gdn_verify_fill_tree,
        gdn_verify_fill_build,
        gdn_verify_fill_commit,
    };
    FILL[problem->test->op - GDN_OP_VERIFY_DRAFT_TOKENS](&f);
    for (int64_t b = 0; b < problem->test->verify.slots; b++) {
        gdn_verify_set_int(&f, "seed", b, 0, b); /* if the op has one */
    }
    return GDN_OK;
}
