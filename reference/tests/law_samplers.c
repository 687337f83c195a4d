/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "law_samplers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "gdn/random.h"

enum { BATCH = 500, DRAFT = 1, COIN, NOISE, FINAL, TARGET, SECOND };

static double uniform(uint64_t seed, uint64_t stream, int64_t at) {
    const gdn_random random = {.seed = seed, .stream = stream};
    return gdn_random_uniform(&random, (uint64_t)at);
}

static int64_t inverse(const double *law, int64_t n, double u) {
    double sum = 0.0;
    for (int64_t i = 0; i + 1 < n; i++) {
        sum += law[i];
        if (u < sum) {
            return i;
        }
    }
    return n - 1;
}

static double exponential(uint64_t seed, int64_t at) {
    return -log(uniform(seed, NOISE, at));
}

/* The laws of contract draft_verification 1.5 and 1.8. */
static const double P[3] = {.5, .3, .2};
static const double Q[3] = {.2, .2, .6};

static void put(const gdn_tensor *t, int64_t at, double value) {
    gdn_store(t->data, t->dtype, at, value);
}

/* One draft over three tokens for each of BATCH requests; the first token counts. */
static void rejection_one(const char *conventions, int64_t method, uint64_t seed,
                          int64_t first, int64_t trials, int64_t *counts) {
    vbench b;
    vb_begin(&b, GDN_OP_REJECTION_SAMPLE, conventions);
    vb_ints(&b, "output_token_ids", SHAPE(BATCH, 2), LIST(0));
    vb_ints(&b, "num_sampled", SHAPE(BATCH), LIST(0));
    vb_ints(&b, "cu_num_draft_tokens", SHAPE(BATCH), LIST(0));
    vb_ints(&b, "draft_token_ids", SHAPE(BATCH), LIST(0));
    vb_reals(&b, "draft_probs", SHAPE(BATCH, 3), 3, Q);
    vb_reals(&b, "target_probs", SHAPE(BATCH, 3), 3, P);
    vb_ints(&b, "target_tokens", SHAPE(BATCH), LIST(0));
    vb_ints(&b, "bonus_token_ids", SHAPE(BATCH), LIST(0));
    vb_ints(&b, "is_greedy", SHAPE(BATCH), LIST(0));
    vb_reals(&b, "uniform", SHAPE(BATCH), NUMBERS(.5));
    vb_reals(&b, "exponential", SHAPE(BATCH, 3), NUMBERS(1));
    vb_reals(&b, "acceptance_rates", SHAPE(1), NUMBERS(.7));
    vb_scalar(&b, "method", method);
    const gdn_tensor *cu_num_draft_tokens = vb_tensor(&b, "cu_num_draft_tokens");
    const gdn_tensor *draft_token_ids = vb_tensor(&b, "draft_token_ids");
    const gdn_tensor *target_tokens = vb_tensor(&b, "target_tokens");
    const gdn_tensor *uniform_of = vb_tensor(&b, "uniform");
    const gdn_tensor *exponential_of = vb_tensor(&b, "exponential");
    for (int64_t done = 0; done < trials; done += BATCH) {
        for (int64_t i = 0; i < BATCH; i++) {
            const int64_t at = first + done + i;
            put(cu_num_draft_tokens, i, (double)(i + 1));
            put(draft_token_ids, i, (double)inverse(Q, 3, uniform(seed, DRAFT, at)));
            put(target_tokens, i, (double)inverse(P, 3, uniform(seed, TARGET, at)));
            put(uniform_of, i, uniform(seed, COIN, at));
            for (int64_t t = 0; t < 3; t++) {
                put(exponential_of, 3 * i + t, exponential(seed, 3 * at + t));
            }
        }
        vb_run(&b);
        for (int64_t i = 0; i < BATCH && done + i < trials; i++) {
            counts[vb_int(&b, "output_token_ids", 2 * i)]++;
        }
    }
    vb_end(&b);
}

#define SAMPLER(name, body)                                                                \
    static void name(void *context, uint64_t seed, int64_t first, int64_t trials,          \
                     int64_t *counts) {                                                    \
        const char *conventions = ((const law_case *)context)->conventions;                \
        body;                                                                              \
    }

SAMPLER(standard,
        rejection_one(conventions, GDN_REJECT_STANDARD, seed, first, trials, counts))
SAMPLER(match, rejection_one(conventions, GDN_REJECT_MATCH, seed, first, trials, counts))
SAMPLER(synthetic,
        rejection_one(conventions, GDN_REJECT_SYNTHETIC, seed, first, trials, counts))
SAMPLER(entropy,
        rejection_one(conventions, GDN_REJECT_ENTROPY, seed, first, trials, counts))

/* Contract 1.7: V = 2, two drafts whose second law hangs on the first token. */
static const double P1[2] = {.5, .5}, Q1[2] = {.9, .1};
static const double P2[2][2] = {{.7, .3}, {.2, .8}}, Q2[2][2] = {{.3, .7}, {.6, .4}};

/* The two tokens that a pair of steps emits: what is not emitted in this one the target
 * draws in the next. */
static int64_t pair_of(vbench *b, int64_t i, uint64_t seed, int64_t at) {
    const int64_t x = vb_int(b, "output_token_ids", 3 * i);
    const int64_t n = vb_int(b, "num_sampled", i);
    const int64_t y = n > 1 ? vb_int(b, "output_token_ids", 3 * i + 1)
                            : inverse(P2[x], 2, uniform(seed, SECOND, at));
    return 2 * x + y;
}

static void rejection_two(const char *conventions, int64_t method, uint64_t seed,
                          int64_t first, int64_t trials, int64_t *counts) {
    vbench b;
    vb_begin(&b, GDN_OP_REJECTION_SAMPLE, conventions);
    vb_ints(&b, "output_token_ids", SHAPE(BATCH, 3), LIST(0));
    vb_ints(&b, "num_sampled", SHAPE(BATCH), LIST(0));
    vb_ints(&b, "cu_num_draft_tokens", SHAPE(BATCH), LIST(0));
    vb_ints(&b, "draft_token_ids", SHAPE(2 * BATCH), LIST(0));
    vb_reals(&b, "draft_probs", SHAPE(2 * BATCH, 2), NUMBERS(0));
    vb_reals(&b, "target_probs", SHAPE(2 * BATCH, 2), NUMBERS(0));
    vb_ints(&b, "bonus_token_ids", SHAPE(BATCH), LIST(0));
    vb_ints(&b, "is_greedy", SHAPE(BATCH), LIST(0));
    vb_reals(&b, "uniform", SHAPE(2 * BATCH), NUMBERS(.5));
    vb_reals(&b, "exponential", SHAPE(BATCH, 2), NUMBERS(1));
    vb_scalar(&b, "method", method);
    const gdn_tensor *cu_num_draft_tokens = vb_tensor(&b, "cu_num_draft_tokens");
    const gdn_tensor *draft_token_ids = vb_tensor(&b, "draft_token_ids");
    const gdn_tensor *target_probs = vb_tensor(&b, "target_probs");
    const gdn_tensor *draft_probs = vb_tensor(&b, "draft_probs");
    const gdn_tensor *uniform_of = vb_tensor(&b, "uniform");
    const gdn_tensor *exponential_of = vb_tensor(&b, "exponential");
    for (int64_t done = 0; done < trials; done += BATCH) {
        for (int64_t i = 0; i < BATCH; i++) {
            const int64_t at = first + done + i;
            const int64_t x = inverse(Q1, 2, uniform(seed, DRAFT, 2 * at));
            const int64_t y = inverse(Q2[x], 2, uniform(seed, DRAFT, 2 * at + 1));
            put(cu_num_draft_tokens, i, (double)(2 * i + 2));
            put(draft_token_ids, 2 * i, (double)x);
            put(draft_token_ids, 2 * i + 1, (double)y);
            for (int64_t t = 0; t < 2; t++) {
                put(target_probs, 4 * i + t, P1[t]);
                put(draft_probs, 4 * i + t, Q1[t]);
                put(target_probs, 4 * i + 2 + t, P2[x][t]);
                put(draft_probs, 4 * i + 2 + t, Q2[x][t]);
                put(uniform_of, 2 * i + t, uniform(seed, COIN, 2 * at + t));
                put(exponential_of, 2 * i + t, exponential(seed, 2 * at + t));
            }
        }
        vb_run(&b);
        for (int64_t i = 0; i < BATCH && done + i < trials; i++) {
            counts[pair_of(&b, i, seed, first + done + i)]++;
        }
    }
    vb_end(&b);
}

SAMPLER(two_standard,
        rejection_two(conventions, GDN_REJECT_STANDARD, seed, first, trials, counts))
SAMPLER(two_blocks,
        rejection_two(conventions, GDN_REJECT_BLOCK, seed, first, trials, counts))

/* A root with children 2 and 0 (contract 1.6), or 2 alone; the token behind the root
 * counts. */
static void tree_one(const char *conventions, double threshold, bool narrow, uint64_t seed,
                     int64_t first, int64_t trials, int64_t *counts) {
    enum { TREES = 100 };
    int64_t index[3 * TREES];
    for (int64_t i = 0; i < 3 * TREES; i++) {
        index[i] = i;
    }
    vbench b;
    vb_begin(&b, GDN_OP_TREE_SPECULATIVE_SAMPLING, conventions);
    vb_ints(&b, "predicts", SHAPE(3 * TREES), LIST(-1));
    vb_ints(&b, "accept_index", SHAPE(TREES, 2), LIST(-1));
    vb_ints(&b, "accept_token_num", SHAPE(TREES), LIST(0));
    vb_ints(&b, "candidates", SHAPE(TREES, 3), LIST(0, 2, 0));
    vb_ints(&b, "retrive_index", SHAPE(TREES, 3), 3 * TREES, index);
    vb_ints(&b, "retrive_next_token", SHAPE(TREES, 3), LIST(1, -1, -1));
    vb_ints(&b, "retrive_next_sibling", SHAPE(TREES, 3), LIST(-1, narrow ? -1 : 2, -1));
    vb_reals(&b, "uniform_samples", SHAPE(TREES, 3), NUMBERS(.5));
    vb_reals(&b, "uniform_samples_for_final_sampling", SHAPE(TREES), NUMBERS(.5));
    vb_reals(&b, "target_probs", SHAPE(TREES, 3, 3), 3, P);
    /* With a scratch that is not cleared, what the last step left. */
    vb_reals(&b, "draft_probs", SHAPE(TREES, 3, 3), NUMBERS(0, .2, 0));
    vb_reals(&b, "threshold_single", SHAPE(1), NUMBERS(1));
    vb_reals(&b, "threshold_acc", SHAPE(1), NUMBERS(threshold));
    const gdn_tensor *uniform_samples = vb_tensor(&b, "uniform_samples");
    const gdn_tensor *uniform_samples_for_final_sampling =
        vb_tensor(&b, "uniform_samples_for_final_sampling");
    for (int64_t done = 0; done < trials; done += TREES) {
        for (int64_t i = 0; i < TREES; i++) {
            const int64_t at = first + done + i;
            for (int64_t k = 0; k < 3; k++) {
                put(uniform_samples, 3 * i + k, uniform(seed, COIN, 3 * at + k));
            }
            put(uniform_samples_for_final_sampling, i, uniform(seed, FINAL, at));
        }
        if (strstr(conventions, "trusted")) {
            vb_reals(&b, "draft_probs", SHAPE(TREES, 3, 3), NUMBERS(0, .2, 0));
        }
        vb_run(&b);
        for (int64_t i = 0; i < TREES && done + i < trials; i++) {
            counts[vb_int(&b, "predicts", 3 * i)]++;
        }
    }
    vb_end(&b);
}

SAMPLER(tree, tree_one(conventions, 1.0, false, seed, first, trials, counts))
SAMPLER(narrow_tree, tree_one(conventions, 1.0, true, seed, first, trials, counts))
SAMPLER(loose_tree, tree_one(conventions, .5, false, seed, first, trials, counts))

/* A chain of one draft from Q. */
static void chain_one(const char *conventions, uint64_t seed, int64_t first, int64_t trials,
                      int64_t *counts) {
    enum { CHAINS = 100 };
    int64_t index[2 * CHAINS];
    for (int64_t i = 0; i < 2 * CHAINS; i++) {
        index[i] = i;
    }
    vbench b;
    vb_begin(&b, GDN_OP_CHAIN_SPECULATIVE_SAMPLING, conventions);
    vb_ints(&b, "predicts", SHAPE(2 * CHAINS), LIST(-1));
    vb_ints(&b, "accept_index", SHAPE(CHAINS, 2), LIST(-1));
    vb_ints(&b, "accept_token_num", SHAPE(CHAINS), LIST(0));
    vb_ints(&b, "candidates", SHAPE(CHAINS, 2), LIST(0));
    vb_ints(&b, "retrive_index", SHAPE(CHAINS, 2), 2 * CHAINS, index);
    vb_reals(&b, "uniform_samples", SHAPE(CHAINS, 2), NUMBERS(.5));
    vb_reals(&b, "uniform_samples_for_final_sampling", SHAPE(CHAINS), NUMBERS(.5));
    vb_reals(&b, "target_probs", SHAPE(CHAINS, 2, 3), 3, P);
    vb_reals(&b, "draft_probs", SHAPE(CHAINS, 1, 3), 3, Q);
    vb_scalar(&b, "block", 0);
    const gdn_tensor *candidates = vb_tensor(&b, "candidates");
    const gdn_tensor *uniform_samples = vb_tensor(&b, "uniform_samples");
    const gdn_tensor *uniform_samples_for_final_sampling =
        vb_tensor(&b, "uniform_samples_for_final_sampling");
    for (int64_t done = 0; done < trials; done += CHAINS) {
        for (int64_t i = 0; i < CHAINS; i++) {
            const int64_t at = first + done + i;
            put(candidates, 2 * i + 1, (double)inverse(Q, 3, uniform(seed, DRAFT, at)));
            put(uniform_samples, 2 * i, uniform(seed, COIN, at));
            put(uniform_samples_for_final_sampling, i, uniform(seed, FINAL, at));
        }
        vb_run(&b);
        for (int64_t i = 0; i < CHAINS && done + i < trials; i++) {
            counts[vb_int(&b, "predicts", 2 * i)]++;
        }
    }
    vb_end(&b);
}

SAMPLER(chain, chain_one(conventions, seed, first, trials, counts))

/* TOPP over the candidates {0, 1} of P at top_p .75 (contract 1.5). */
static void topp_one(const char *conventions, uint64_t seed, int64_t first, int64_t trials,
                     int64_t *counts) {
    enum { SLOTS = 500 };
    int64_t starts[SLOTS + 1];
    for (int64_t i = 0; i <= SLOTS; i++) {
        starts[i] = 2 * i;
    }
    vbench b;
    vb_begin(&b, GDN_OP_VERIFY_DRAFT_TOKENS, conventions);
    vb_ints(&b, "step_output_ids", SHAPE(SLOTS, 2), LIST(0));
    vb_ints(&b, "step_output_len", SHAPE(SLOTS), LIST(0));
    vb_ints(&b, "step_input_ids", SHAPE(SLOTS, 2), LIST(0));
    vb_ints(&b, "candidate_ids", SHAPE(2 * SLOTS, 2), LIST(0, 1));
    vb_reals(&b, "candidate_scores", SHAPE(2 * SLOTS, 2), NUMBERS(.5, .3));
    vb_ints(&b, "candidate_lens", SHAPE(2 * SLOTS), LIST(2));
    vb_reals(&b, "topp", SHAPE(SLOTS), NUMBERS(.75));
    vb_ints(&b, "stop_flags", SHAPE(SLOTS), LIST(0));
    vb_ints(&b, "seq_lens_encoder", SHAPE(SLOTS), LIST(0));
    vb_ints(&b, "seq_lens_this_time", SHAPE(SLOTS), LIST(2));
    vb_ints(&b, "end_tokens", SHAPE(1), LIST(99));
    vb_ints(&b, "is_block_step", SHAPE(SLOTS), LIST(0));
    vb_ints(&b, "cu_seqlens_q_output", SHAPE(SLOTS + 1), SLOTS + 1, starts);
    vb_ints(&b, "reasoning_status", SHAPE(SLOTS), LIST(0));
    vb_reals(&b, "u", SHAPE(SLOTS), NUMBERS(.5));
    vb_scalar(&b, "verify_window", 2);
    vb_scalar(&b, "verify_strategy", GDN_STRATEGY_TOPP);
    vb_scalar(&b, "reject_all", 0);
    vb_scalar(&b, "accept_all", 0);
    const gdn_tensor *u = vb_tensor(&b, "u");
    for (int64_t done = 0; done < trials; done += SLOTS) {
        for (int64_t i = 0; i < SLOTS; i++) {
            const int64_t at = first + done + i;
            const int64_t draft = inverse(Q, 3, uniform(seed, DRAFT, at));
            ((int64_t *)vb_tensor(&b, "step_input_ids")->data)[2 * i + 1] = draft;
            put(u, i, uniform(seed, FINAL, at));
        }
        vb_run(&b);
        for (int64_t i = 0; i < SLOTS && done + i < trials; i++) {
            counts[vb_int(&b, "step_output_ids", 2 * i)]++;
        }
    }
    vb_end(&b);
}

SAMPLER(topp, topp_one(conventions, seed, first, trials, counts))

/* Four to a Philox block, by where a word lies among the cumulated law: 1e8 draws a
 * second. */
void sample_directly(void *context, uint64_t seed, int64_t first, int64_t trials,
                     int64_t *counts) {
    const double *law = context;
    uint64_t ends[64];
    double sum = 0.0;
    int64_t n = 0;
    for (; n < 64 && law[n] > 0.0; n++) {
        sum += law[n];
        ends[n] = (uint64_t)(sum * 0x1p32);
    }
    ends[n - 1] = UINT64_C(1) << 32;
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (int64_t i = 0; i < trials; i += 4) {
        const uint64_t block = (uint64_t)(first + i) / 4;
        const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), TARGET, 0};
        uint32_t words[4];
        gdn_philox4x32(counter, key, words);
        for (int64_t k = 0; k < 4 && i + k < trials; k++) {
            int64_t at = (int64_t)((uint64_t)words[k] * (uint64_t)n >> 32);
            while (at > 0 && words[k] < ends[at - 1]) {
                at--;
            }
            while (words[k] >= ends[at]) {
                at++;
            }
            counts[at]++;
        }
    }
}

#define TARGET_LAW                                                                         \
    3, {                                                                                   \
        .5, .3, .2                                                                         \
    }
#define PAIRS                                                                              \
    4, {                                                                                   \
        .35, .15, .1, .4                                                                   \
    }

/* synthetic: a q + (1 - a) residual, residual (.75, .25, 0), a = .7. entropy: f = exp(-.4
 * H(P)) = .662389, q min(1, p / (q f)) = (.2, .2, .301937), and what is missing of 1 goes
 * to the residual. TOPP: q inside the set, else (.5, .25) / .75 of the rest. */
const law_case LAWS[] = {
    {"rejection", "", standard, TARGET_LAW},
    {"rejection, strict", "accept=strict", standard, TARGET_LAW},
    {"target match", "", match, TARGET_LAW},
    {"two drafts", "", two_standard, PAIRS},
    {"block", "", two_blocks, PAIRS},
    {"tree", "", tree, TARGET_LAW},
    {"tree of one child", "", narrow_tree, TARGET_LAW},
    {"tree, inclusive", "tree_accept=inclusive", tree, TARGET_LAW},
    {"chain", "", chain, TARGET_LAW},
    {"TOPP, lossy", "", topp, 3, {.6, .4, 0}},
    {"tree at .5, lossy", "", loose_tree, 3, {.6, 0, .4}},
    {"synthetic, lossy", "", synthetic, 3, {.365, .215, .42}},
    {"entropy, lossy", "", entropy, 3, {.4235472, .2745157, .3019371}},
};
const size_t N_LAWS = sizeof LAWS / sizeof LAWS[0];

const law_case WRONG[] = {
    {"constant draw, rejection", "slip=constant_draw", standard, TARGET_LAW},
    {"constant draw, TOPP", "slip=constant_draw", topp, 3, {.6, .4, 0}},
    {"target instead of residual", "slip=reject_samples_target", standard, TARGET_LAW},
    {"target instead of residual, chain", "slip=reject_samples_target", chain, TARGET_LAW},
    {"re-used draw", "slip=draw_reused", standard, TARGET_LAW},
    {"re-used draw, tree", "slip=draw_reused", narrow_tree, TARGET_LAW},
    {"fresh coins for siblings", "tree_accept=fresh_coins", tree, TARGET_LAW},
    {"dirty scratch", "scratch=trusted", narrow_tree, TARGET_LAW},
    {"ascend's product, torch path", "block=product_torch", two_blocks, PAIRS},
    {"ascend's product, fused path", "block=product_fused", two_blocks, PAIRS},
    {"unscaled draw, TOPP", "draw_scale=one", topp, 3, {.6, .4, 0}},
};
const size_t N_WRONG = sizeof WRONG / sizeof WRONG[0];
