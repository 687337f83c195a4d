/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "loop.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gdn/random.h"
#include "judge.h"
#include "loop_stages.h"

typedef struct loop {
    const gdn_case *test;
    const gdn_executor *executor;
    const gdn_loop_options *options;
    gdn_case_result *result;
    gdnp_text text;
    gdnp_layer layer;
    gdnp_stage verifier, commit;
    bool judging; /* every call; the loop ends at the first that is wrong */
    bool over;    /* the verdict is there */
    int64_t step;
    int64_t at[GDNP_LOOP_SLOTS]; /* position of each request's last token */
} loop;

static void fail(loop *l, const char *message) {
    l->over = true;
    l->result->verdict = GDN_FAIL;
    free(l->result->message);
    l->result->message = strdup(message);
}

/* Holds one call to the golden values of its own inputs. */
static gdn_status judge(loop *l, const gdnp_stage *stage, const gdn_golden *golden,
                        gdn_error *err) {
    gdn_case_result own = {.kernel_seconds = -1.0};
    gdn_status status = gdn_judge_case(&stage->problem, golden, &own, err);
    if (status == GDN_OK && own.verdict == GDN_FAIL) {
        char text[768];
        if (l->options->doctor) {
            status = gdn_doctor_see(l->options->doctor, &stage->problem, golden, &own, err);
        }
        snprintf(text, sizeof text, "%.300s; first wrong call: step %lld, %s: %.300s",
                 l->result->message, (long long)l->step, gdn_op_get(stage->test.op)->name,
                 own.message);
        fail(l, text);
        l->result->diagnosis = own.diagnosis;
        own.diagnosis = (gdn_case_diagnosis){0};
    }
    gdn_case_result_destroy(&own);
    return status;
}

static gdn_status run_stage(loop *l, gdnp_stage *stage, gdn_error *err) {
    gdn_golden golden = {0};
    gdn_status status = GDN_OK;
    bool ran = false;
    if (l->over) {
        return GDN_OK;
    }
    if (l->judging) {
        gdn_arena_refreeze(&stage->problem.arena);
        status = gdn_golden_create(&golden, &stage->problem, err);
    }
    free(l->result->output); /* of the call before */
    l->result->output = NULL;
    if (status == GDN_OK) {
        status =
            l->executor->run(l->executor->context, &stage->problem, &ran, l->result, err);
    }
    if (status == GDN_OK && !ran) {
        l->over = true;
    } else if (status == GDN_OK && l->judging) {
        status = judge(l, stage, &golden, err);
    }
    gdn_golden_destroy(&golden);
    if (status != GDN_OK) {
        gdn_error_context(err, "step %lld, %s", (long long)l->step,
                          gdn_op_get(stage->test.op)->name);
    }
    return status;
}

/* Drafts that are right, of the first on. */
static int64_t planned(const loop *l, int64_t b) {
    const int64_t drafts = l->test->verify.drafts;
    const gdn_random random = {.seed = l->test->seed, .stream = 1000 + (uint64_t)b};
    switch (l->test->verify.scenario) {
    case GDN_SCENARIO_ALL:
        return drafts;
    case GDN_SCENARIO_NONE:
        return 0;
    default: /* by turns, and from then on as it comes */
        return l->step < 2 * (drafts + 1)
                   ? (l->step + b) % (drafts + 1)
                   : (int64_t)gdn_random_below(&random, (uint64_t)l->step,
                                               (uint32_t)drafts + 1);
    }
}

/* Tokens into the layer, and what it says behind each. Where plain decoding's token is a
 * rival within the slack of position and device it is taken: both are right. */
static gdn_status ask_target(loop *l, int64_t *rows, int64_t *targets, gdn_error *err) {
    const int64_t Q = l->test->verify.drafts + 1;
    for (int64_t b = 0; b < l->test->verify.slots; b++) {
        GDN_TRY(gdnp_text_reach(&l->text, l->at[b] + Q, err));
        for (int64_t i = 0; i < Q; i++) {
            const int64_t token = gdnp_text_token(&l->text, b, l->at[b] + i);
            const bool good = i <= planned(l, b);
            rows[b * Q + i] = good ? token : (token + 1) % GDNP_LOOP_VOCAB;
            gdnp_layer_set(&l->layer, b * Q + i, rows[b * Q + i]);
        }
    }
    GDN_TRY(run_stage(l, &l->layer.conv, err));
    gdnp_layer_join(&l->layer);
    GDN_TRY(run_stage(l, &l->layer.delta, err));
    for (int64_t row = 0; row < l->test->verify.slots * Q; row++) {
        const int64_t b = row / Q, at = l->at[b] + row % Q;
        const int64_t plain = gdnp_text_token(&l->text, b, at + 1);
        const double slack = l->text.slack[b * l->text.length + at];
        double out[GDNP_LOOP_OUTPUTS], best = -INFINITY;
        gdnp_layer_out(&l->layer, row, out);
        targets[row] = (plain + 1) % GDNP_LOOP_VOCAB; /* if nothing is a number */
        for (int64_t t = 0; t < GDNP_LOOP_VOCAB; t++) {
            const double logit = gdnp_loop_logit(out, b, at, t);
            targets[row] = logit > best ? t : targets[row];
            best = logit > best ? logit : best;
        }
        if (row % Q <= planned(l, b) &&
            gdnp_loop_logit(out, b, at, plain) >= best - slack) {
            targets[row] = plain;
        }
    }
    return GDN_OK;
}

/* What stands must be what plain decoding says, and as much as was right. */
static void compare(loop *l, int64_t b, int64_t count, const int64_t *tokens) {
    char text[256];
    const int64_t drafts = gdnp_verifier_drafts(&l->verifier, b);
    const int64_t right = planned(l, b) < drafts ? planned(l, b) : drafts;
    for (int64_t i = 0; !l->over && i <= right && i < count; i++) {
        const int64_t expected = gdnp_text_token(&l->text, b, l->at[b] + 1 + i);
        if (tokens[i] != expected) {
            snprintf(text, sizeof text,
                     "first wrong step %lld: request %lld, position %lld: expected token "
                     "%lld, as plain decoding says, but found %lld",
                     (long long)l->step, (long long)b, (long long)(l->at[b] + 1 + i),
                     (long long)expected, (long long)tokens[i]);
            fail(l, text);
        }
    }
    if (!l->over && count != right + 1) {
        snprintf(text, sizeof text,
                 "first wrong step %lld: request %lld, position %lld: expected %lld tokens "
                 "to stand, the last one undrafted, but found %lld",
                 (long long)l->step, (long long)b, (long long)(l->at[b] + 1),
                 (long long)(right + 1), (long long)count);
        fail(l, text);
    }
}

static gdn_status run_step(loop *l, gdn_error *err) {
    int64_t rows[GDNP_LOOP_SLOTS * GDNP_LOOP_COLUMNS],
        targets[GDNP_LOOP_SLOTS * GDNP_LOOP_COLUMNS];
    int64_t counts[GDNP_LOOP_SLOTS] = {0}, tokens[GDNP_LOOP_COLUMNS];
    GDN_TRY(ask_target(l, rows, targets, err));
    if (l->over) {
        return GDN_OK;
    }
    gdnp_verifier_fill(&l->verifier, rows, targets);
    GDN_TRY(run_stage(l, &l->verifier, err));
    for (int64_t b = 0; !l->over && b < l->test->verify.slots; b++) {
        counts[b] = gdnp_verifier_read(&l->verifier, b, tokens);
        compare(l, b, counts[b], tokens);
    }
    if (!l->over) {
        gdnp_commit_fill(&l->commit, &l->layer, counts);
        GDN_TRY(run_stage(l, &l->commit, err));
    }
    if (!l->over) {
        gdnp_commit_read(&l->commit, &l->layer);
    }
    for (int64_t b = 0; b < l->test->verify.slots; b++) {
        l->at[b] += counts[b];
    }
    return GDN_OK;
}

static gdn_status create(loop *l, gdn_error *err) {
    char batch[64];
    const gdn_verify_case *v = &l->test->verify;
    const char *profiles = l->options->profiles;
    snprintf(batch, sizeof batch, "spec%lldx%lld", (long long)v->slots,
             (long long)v->drafts + 1);
    GDN_TRY(gdnp_text_create(&l->text, l->test, profiles, err));
    GDN_TRY(gdnp_layer_create(&l->layer, l->test, batch, profiles, err));
    GDN_TRY(gdnp_verifier_create(&l->verifier, l->test, err));
    return gdnp_commit_create(&l->commit, l->test, &l->layer, profiles, err);
}

static void destroy(loop *l) {
    gdnp_text_destroy(&l->text);
    gdnp_layer_destroy(&l->layer);
    gdnp_stage_destroy(&l->verifier);
    gdnp_stage_destroy(&l->commit);
}

static gdn_status go_through(loop *l, bool judging, gdn_error *err) {
    l->judging = judging;
    gdn_status status = create(l, err);
    for (l->step = 0; status == GDN_OK && !l->over && l->step < l->test->verify.steps;
         l->step++) {
        status = run_step(l, err);
    }
    destroy(l);
    return status;
}

gdn_status gdn_loop_run(const gdn_case *test, const gdn_executor *executor,
                        const gdn_loop_options *options, gdn_case_result *result,
                        gdn_error *err) {
    const loop blank = {
        .test = test, .executor = executor, .options = options, .result = result};
    loop l = blank;
    result->verdict = GDN_PASS;
    GDN_TRY(go_through(&l, false, err));
    if (result->verdict != GDN_FAIL || !options->name_call || !result->message) {
        return GDN_OK;
    }
    char *message = strdup(result->message);
    l = blank;
    GDN_TRY(go_through(&l, true, err));
    /* Calls that are right one by one and wrong together contradict one another. */
    if (message && result->message && strcmp(message, result->message) == 0) {
        char text[512];
        snprintf(text, sizeof text, "%.300s; each call by itself is right", message);
        fail(&l, text);
    }
    free(message);
    return GDN_OK;
}

/* What decides which tokens stand, and which states a step starts from. Draws and small
 * errors are the business of other cases: at temperature 0 nothing hangs on a draw, and the
 * slack forgives what rounding may do. */
bool gdn_loop_concerns(const gdn_deviation *deviation, gdn_op verifier) {
    static const char *const HUNTED[] = {
        "length_without_final", "draft_shifted",    "starts_inclusive",  "bonus_missing",
        "count_with_bonus",     "commit_other",     "commit_off_by_one", "commit_stale",
        "accepted_off_by_one",  "accepted_ignored", "history_ignored",   "last_column_only",
        "verify_from_first",    "state_transposed",
    };
    const gdn_op stages[] = {verifier, GDN_OP_STATE_COMMIT, GDN_OP_CAUSAL_CONV1D,
                             GDN_OP_GATED_DELTA_RULE};
    bool hunted = false, touches = false;
    for (size_t i = 0; i < sizeof HUNTED / sizeof HUNTED[0]; i++) {
        hunted = hunted || strcmp(deviation->name, HUNTED[i]) == 0;
    }
    for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++) {
        touches = touches || gdn_deviation_concerns(deviation, stages[i]);
    }
    return hunted && touches;
}
