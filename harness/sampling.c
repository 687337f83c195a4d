/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "sampling.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gdn/exact.h"
#include "gdn/law.h"
#include "gdn/random.h"

enum { MOST_VOCAB = 32, EQUALS = 8, CALLS = 8, OUTSIDE = EQUALS };

/* Contract draft_verification 1.8: laws under which the classic bugs are far apart. */
static const double P[MOST_VOCAB] = {.5, .3, .2}, Q[MOST_VOCAB] = {.2, .2, .6};

#define TOP_P 0.75
#define RATE  0.7

typedef struct sampling {
    gdn_problem *problem;
    const gdn_executor *executor;
    gdn_case_result *result;
    gdn_error *err;
    gdn_status status;
    bool over; /* a call did not come through */
} sampling;

static const gdn_tensor *tensor(const sampling *s, const char *name) {
    return gdn_arena_tensor(&s->problem->arena, name);
}

static void set_int(const sampling *s, const char *name, int64_t at, int64_t value) {
    gdn_problem_set_int(s->problem, name, at, value);
}

static void set_law(const sampling *s, const char *name, const double *law) {
    const gdn_tensor *t = tensor(s, name);
    const int64_t vocab = t ? t->shape[t->rank - 1] : 1;
    for (int64_t i = 0; t && i < gdn_tensor_count(t); i++) {
        gdn_store(t->data, t->dtype, i, law[i % vocab]);
    }
}

static void set_all(const sampling *s, const char *name, double value) {
    const gdn_tensor *t = tensor(s, name);
    for (int64_t i = 0; t && i < gdn_tensor_count(t); i++) {
        gdn_store(t->data, t->dtype, i, value);
    }
}

/* What all calls have in common: no end is near, no row is greedy, and what stands in the
 * arguments for draws means nothing. */
static void prepare(const sampling *s, const double *p, const double *q) {
    const gdn_tensor *ends = tensor(s, "end_tokens");
    for (int64_t i = 0; ends && i < ends->shape[0]; i++) {
        set_int(s, "end_tokens", i, 1000 + i);
    }
    for (int64_t b = 0; b < s->problem->test->verify.slots; b++) {
        set_int(s, "is_greedy", b, 0);
    }
    set_law(s, "target_probs", p);
    if (s->problem->test->op != GDN_OP_TREE_SPECULATIVE_SAMPLING) {
        set_law(s, "draft_probs", q); /* of a tree it is scratch */
    }
    set_all(s, "acceptance_rates", RATE);
    static const char *const MEANINGLESS[] = {"u", "uniform", "exponential",
                                              "uniform_samples",
                                              "uniform_samples_for_final_sampling"};
    for (size_t i = 0; i < sizeof MEANINGLESS / sizeof MEANINGLESS[0]; i++) {
        set_all(s, MEANINGLESS[i], 0.5);
    }
}

/* The tokens of p with their scores, as many as reach top_p. */
static void set_candidates(const sampling *s, const double *p, int64_t length,
                           double top_p) {
    const gdn_tensor *ids = tensor(s, "candidate_ids"), *lens = tensor(s, "candidate_lens");
    const gdn_tensor *scores = tensor(s, "candidate_scores");
    for (int64_t i = 0; ids && i < gdn_tensor_count(ids); i++) {
        set_int(s, "candidate_ids", i, i % ids->shape[1]);
        gdn_store(scores->data, scores->dtype, i, p[i % ids->shape[1]]);
    }
    for (int64_t i = 0; lens && i < lens->shape[0]; i++) {
        set_int(s, "candidate_lens", i, length);
    }
    set_all(s, "topp", top_p);
}

static void set_draft(const sampling *s, int64_t b, int64_t draft) {
    const gdn_case *test = s->problem->test;
    if (test->op == GDN_OP_VERIFY_DRAFT_TOKENS) {
        set_int(s, "step_input_ids", 2 * b + 1, draft);
    } else if (test->op == GDN_OP_REJECTION_SAMPLE) {
        set_int(s, "draft_token_ids", b, draft);
    } else if (test->op == GDN_OP_CHAIN_SPECULATIVE_SAMPLING) {
        set_int(s, "candidates", 2 * b + 1, draft);
    } else { /* two siblings below the root */
        set_int(s, "candidates", 3 * b + 1, draft);
        set_int(s, "candidates", 3 * b + 2, draft < 3 ? (draft + 1) % 3 : draft + 1);
        for (int64_t i = 0; i < 3; i++) {
            set_int(s, "retrive_next_token", 3 * b + i, i == 0 ? 1 : -1);
            set_int(s, "retrive_next_sibling", 3 * b + i, i == 1 ? 2 : -1);
        }
    }
}

/* The first token behind the last one of the request. */
static int64_t emitted(const sampling *s, int64_t b) {
    const gdn_case *test = s->problem->test;
    const gdn_tensor *t =
        tensor(s, test->op == GDN_OP_VERIFY_DRAFT_TOKENS ? "step_output_ids"
                  : test->op == GDN_OP_REJECTION_SAMPLE  ? "output_token_ids"
                                                         : "predicts");
    return t->rank > 1 ? gdn_tensor_int(t, b, 0)
                       : gdn_tensor_int(t, b * (test->verify.drafts + 1), 0);
}

static void call(sampling *s, int64_t first_seed) {
    bool ran = false;
    for (int64_t b = 0; b < s->problem->test->verify.slots; b++) {
        set_int(s, "seed", b, first_seed + b);
    }
    if (s->problem->test->conventions.verify.scratch == GDN_SCRATCH_TRUSTED &&
        s->problem->test->op == GDN_OP_TREE_SPECULATIVE_SAMPLING) {
        set_all(s, "draft_probs", 0.0);
    }
    free(s->result->output); /* of the call before */
    s->result->output = NULL;
    s->status = s->executor->run(s->executor->context, s->problem, &ran, s->result, s->err);
    s->over = s->status != GDN_OK || !ran;
}

/* ---- the law ---- */

static int64_t inverse(const double *law, int64_t n, double u) {
    double sum = 0.0;
    int64_t i = 0;
    while (i + 1 < n && u >= (sum += law[i])) {
        i++;
    }
    return i;
}

/* Trial i has seed i and a draft of its own, from a stream that is nobody else's. A call
 * has all slots, and what is over the wanted number is not counted. */
static void sample(void *context, uint64_t seed, int64_t first, int64_t trials,
                   int64_t *counts) {
    sampling *s = context;
    const int64_t slots = s->problem->test->verify.slots;
    const gdn_random drafts = {.seed = UINT64_C(0x647261667465) + seed, .stream = 99};
    for (int64_t done = 0; !s->over && done < trials; done += slots) {
        for (int64_t b = 0; b < slots; b++) {
            const uint64_t trial = (uint64_t)(first + done + b);
            set_draft(s, b, inverse(Q, 3, gdn_random_uniform(&drafts, trial)));
        }
        call(s, first + done);
        for (int64_t b = 0; !s->over && b < slots && done + b < trials; b++) {
            const int64_t token = emitted(s, b);
            counts[token >= 0 && token < OUTSIDE ? token : OUTSIDE]++;
        }
    }
}

static double entropy_factor(const gdn_verify_conventions *v) {
    double entropy = 0.0;
    for (int t = 0; t < 3; t++) {
        entropy -= P[t] * gdn_log(P[t]);
    }
    return fmin(gdn_exp(-v->entropy_alpha * entropy), v->entropy_threshold);
}

/* The closed forms (contract 1.1, 1.5, 7.2, 9). A draft x stands with probability a(x); what
 * falls is drawn anew from the residual, or, in TOPP, from the set. */
static void emitted_law(const gdn_case *test, double law[OUTSIDE + 1]) {
    double residual[3], total = 0.0, fallen = 1.0;
    for (int t = 0; t < 3; t++) {
        residual[t] = fmax(P[t] - Q[t], 0.0);
        total += residual[t];
    }
    for (int t = 0; t <= OUTSIDE; t++) {
        law[t] = t < 3 ? P[t] : 0.0;
    }
    const double set[3] = {P[0] / TOP_P, (TOP_P - P[0]) / TOP_P, 0.0};
    const bool topp = test->verify.mode == GDN_MODE_TOPP;
    const bool entropy = test->verify.mode == GDN_MODE_ENTROPY;
    if (!topp && !entropy && test->verify.mode != GDN_MODE_SYNTHETIC) {
        return; /* lossless */
    }
    for (int t = 0; t < 3; t++) {
        const double stands =
            topp      ? t < 2
            : entropy ? fmin(1.0, P[t] / Q[t] / entropy_factor(&test->conventions.verify))
                      : RATE;
        law[t] = Q[t] * stands;
        fallen -= law[t];
    }
    for (int t = 0; t < 3; t++) {
        law[t] += fallen * (topp ? set[t] : residual[t] / total);
    }
}

static void fail(sampling *s, const char *text) {
    s->result->verdict = GDN_FAIL;
    free(s->result->message);
    s->result->message = strdup(text);
}

/* The token that is farthest off says most. */
static void name_token(sampling *s, const double *law, const gdn_law_result *r) {
    char text[320];
    int64_t counts[OUTSIDE + 1] = {0};
    const int64_t trials = 100000;
    int worst = 0;
    double off = -1.0;
    sample(s, 1, INT64_C(1) << 40, trials, counts);
    for (int t = 0; t <= OUTSIDE; t++) {
        const double apart = fabs((double)counts[t] / (double)trials - law[t]);
        worst = apart > off ? t : worst;
        off = fmax(off, apart);
    }
    const double share = (double)counts[worst] / (double)trials;
    if (worst == OUTSIDE) {
        snprintf(text, sizeof text, "what is emitted is no token of the law in %.1f %%",
                 100.0 * share);
    } else {
        snprintf(text, sizeof text,
                 "the emitted law is another (G-test p %.2g, then %.2g): token %d in %.2f "
                 "%%, expected in %.2f %%%s",
                 r->p[0], r->p[1], worst, 100.0 * share, 100.0 * law[worst],
                 law[worst] == 0.0 ? ", which is never" : "");
    }
    fail(s, text);
}

static void judge_law(sampling *s) {
    const gdn_law_plan plan = gdn_law_nightly();
    double law[OUTSIDE + 1];
    emitted_law(s->problem->test, law);
    prepare(s, P, Q);
    set_candidates(s, P, 2, TOP_P);
    const gdn_law_result r = gdn_law_test(&plan, law, OUTSIDE + 1, sample, s, 1);
    if (!s->over && !r.ok) {
        name_token(s, law, &r);
    }
}

/* ---- seeds ---- */

static void complain(sampling *s, const gdn_draws_report *r, const char *what) {
    char text[320];
    if (r->equal_slots) {
        snprintf(text, sizeof text, "%s: every request draws the same in some call", what);
    } else if (r->equal_calls) {
        snprintf(text, sizeof text, "%s: two calls in a row draw the same", what);
    } else if (r->shifted) {
        snprintf(text, sizeof text,
                 "%s: a request draws what its neighbour drew a call before", what);
    } else if (r->correlated) {
        snprintf(text, sizeof text,
                 "%s: neighbouring seeds go together: correlation %.3f over slots, %.3f "
                 "over calls",
                 what, r->slot_correlation, r->call_correlation);
    } else {
        return;
    }
    fail(s, text);
}

/* A draw is seen as the place among eight equals; that of the acceptance as whether an
 * even chance stood. Seeds go on by one, over slots and calls. */
static void judge_seeds(sampling *s, bool acceptance) {
    const int64_t slots = s->problem->test->verify.slots, draft = OUTSIDE - 1;
    double equal[MOST_VOCAB] = {0}, certain[MOST_VOCAB] = {0}, half[MOST_VOCAB] = {0};
    double *draws = calloc((size_t)(CALLS * slots), sizeof *draws);
    for (int t = 0; t < EQUALS; t++) {
        equal[t] = t == draft && s->problem->test->op != GDN_OP_VERIFY_DRAFT_TOKENS
                       ? 0.0
                       : 1.0 / 8.0;
    }
    certain[draft] = 1.0;
    half[draft] = half[0] = 0.5;
    prepare(s, acceptance ? half : equal, certain);
    set_candidates(s, equal, EQUALS, 1.0);
    for (int64_t c = 0; draws && !s->over && c < CALLS; c++) {
        for (int64_t b = 0; b < slots; b++) {
            set_draft(s, b, draft);
            set_int(s, "seq_lens_this_time", b, 1); /* the final draw only */
        }
        call(s, c * slots);
        for (int64_t b = 0; !s->over && b < slots; b++) {
            draws[c * slots + b] = acceptance ? emitted(s, b) == draft
                                              : (double)emitted(s, b) / (double)EQUALS;
        }
    }
    if (!draws) {
        s->over = true;
        s->status = gdn_error_set(s->err, GDN_ERR_OOM, "no memory for draws");
    } else if (!s->over) {
        const gdn_draws_report r = gdn_draws_check(draws, CALLS, slots);
        complain(s, &r, acceptance ? "acceptance" : "final draw");
    }
    free(draws);
}

gdn_status gdn_sampling_run(gdn_problem *problem, const gdn_executor *executor,
                            gdn_case_result *result, gdn_error *err) {
    sampling s = {.problem = problem, .executor = executor, .result = result, .err = err};
    result->verdict = GDN_PASS;
    if (problem->test->verify.scenario == GDN_SCENARIO_LAW) {
        judge_law(&s);
        return s.status;
    }
    judge_seeds(&s, false);
    const bool accepts = problem->test->op != GDN_OP_VERIFY_DRAFT_TOKENS;
    if (!s.over && result->verdict == GDN_PASS && accepts) {
        judge_seeds(&s, true);
    }
    return s.status;
}

bool gdn_sampling_concerns(const gdn_deviation *deviation, const gdn_case *test) {
    static const struct {
        const char *name;
        bool seeds;
    } HUNTED[] = {
        {"constant_draw", true},
        {"seed_fixed", true},
        {"seed_shared", true},
        {"seed_linear", true},
        {"reject_samples_target", false},
        {"draw_reused", false},
        {"siblings_fresh_coins", false},
        {"scratch_dirty", false},
        {"draw_unscaled", false},
    };
    const bool seeds = test->verify.scenario == GDN_SCENARIO_SEEDS;
    for (size_t i = 0; i < sizeof HUNTED / sizeof HUNTED[0]; i++) {
        if (strcmp(HUNTED[i].name, deviation->name) == 0) {
            return HUNTED[i].seeds == seeds && gdn_deviation_concerns(deviation, test->op);
        }
    }
    return false;
}
