/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Cases of draft verification: what each op can be asked for. */
#include <inttypes.h>
#include <stdio.h>

#include "case_internal.h"
#include "gdn/nearest.h"

const char *const GDNP_MODE_NAMES[GDN_MODE_COUNT + 1] = {
    "plain",      "topp",      "greedy",  "target_match", "standard", "block",
    "match",      "synthetic", "entropy", "full",         "query",    "packed",
    "candidates", "best",      "sampled", "speculative",  "naive",    NULL};

const char *const GDNP_SCENARIO_NAMES[GDN_SCENARIO_COUNT + 1] = {
    "mixed",  "all",     "none",  "ends", "states", "window",
    "forced", "refused", "edges", "law",  "seeds",  NULL};

#define MODES(first, last) ((1U << ((last) + 1)) - (1U << (first)))
#define PLAIN              (1U << GDN_MODE_PLAIN)
#define SCENARIO(name)     (1U << GDN_SCENARIO_##name)
#define FIRST_ALL          (SCENARIO(LAW) - 1) /* those with draws as arguments */
#define SAMPLED            (SCENARIO(LAW) | SCENARIO(SEEDS))
#define PATTERNS           (SCENARIO(MIXED) | SCENARIO(ALL) | SCENARIO(NONE))

static const struct {
    unsigned modes, scenarios;
} OFFERS[GDN_OP_COUNT] = {
    [GDN_OP_VERIFY_DRAFT_TOKENS] = {MODES(GDN_MODE_TOPP, GDN_MODE_TARGET_MATCH),
                                    FIRST_ALL | SAMPLED},
    [GDN_OP_TOP_P_CANDIDATES] = {PLAIN, SCENARIO(MIXED) | SCENARIO(EDGES)},
    [GDN_OP_ADJUST_BATCH] = {PLAIN, SCENARIO(MIXED)},
    [GDN_OP_GATHER_NEXT_TOKEN] = {PLAIN | 1U << GDN_MODE_SPECULATIVE, SCENARIO(MIXED)},
    [GDN_OP_BUILD_SAMPLING_PARAMS] = {PLAIN, SCENARIO(MIXED)},
    [GDN_OP_SPECULATE_VERIFY] = {MODES(GDN_MODE_CANDIDATES, GDN_MODE_SAMPLED), FIRST_ALL},
    [GDN_OP_UNIFIED_UPDATE_MODEL_STATUS] = {PLAIN | 1U << GDN_MODE_NAIVE,
                                            SCENARIO(MIXED) | SCENARIO(ENDS) |
                                                SCENARIO(STATES)},
    [GDN_OP_NAIVE_UPDATE_MODEL_STATUS] = {PLAIN, SCENARIO(MIXED) | SCENARIO(STATES)},
    [GDN_OP_REJECTION_SAMPLE] = {MODES(GDN_MODE_STANDARD, GDN_MODE_ENTROPY),
                                 PATTERNS | SCENARIO(STATES) | SCENARIO(EDGES) | SAMPLED},
    [GDN_OP_VERIFY_TREE_GREEDY] = {PLAIN, PATTERNS},
    [GDN_OP_TREE_SPECULATIVE_SAMPLING] = {PLAIN, SCENARIO(MIXED) | SCENARIO(FORCED) |
                                                     SCENARIO(EDGES) | SAMPLED},
    [GDN_OP_CHAIN_SPECULATIVE_SAMPLING] = {PLAIN | 1U << GDN_MODE_BLOCK,
                                           PATTERNS | SCENARIO(EDGES) | SAMPLED},
    [GDN_OP_BUILD_TREE] = {MODES(GDN_MODE_FULL, GDN_MODE_PACKED), SCENARIO(MIXED)},
    [GDN_OP_STATE_COMMIT] = {PLAIN, PATTERNS | SCENARIO(STATES)},
};

static gdn_status check_offer(const gdn_case *test, const char *member, unsigned offered,
                              unsigned chosen, const char *const *names, gdn_error *err) {
    const char *allowed[GDN_MODE_COUNT + 1] = {NULL};
    size_t n = 0;
    if (offered & (1U << chosen)) {
        return GDN_OK;
    }
    for (unsigned i = 0; names[i]; i++) {
        if (offered & (1U << i)) {
            allowed[n++] = names[i];
        }
    }
    char what[96];
    snprintf(what, sizeof what, "%s of %s", member, gdn_op_get(test->op)->name);
    return gdn_error_unknown(err, GDN_ERR_ARG, what, names[chosen], allowed);
}

gdn_status gdnp_verify_case_check(const gdn_case *test, gdn_error *err) {
    const gdn_verify_case *v = &test->verify;
    GDN_TRY(
        check_offer(test, "mode", OFFERS[test->op].modes, v->mode, GDNP_MODE_NAMES, err));
    GDN_TRY(check_offer(test, "scenario",
                        v->steps > 0 ? PATTERNS : OFFERS[test->op].scenarios, v->scenario,
                        GDNP_SCENARIO_NAMES, err));
    const int64_t c = v->candidates;
    const bool known = c >= 2 && c <= 10 && c != 6 && c != 7 && c != 9;
    if (test->op == GDN_OP_TOP_P_CANDIDATES && !known) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "candidates: expected 2, 3, 4, 5, 8 or 10 but found %" PRId64,
                             c);
    }
    if (v->scenario == GDN_SCENARIO_STATES && v->slots < 5) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "slots: expected at least 5 for scenario states but found "
                             "%" PRId64,
                             v->slots);
    }
    const bool window = test->op == GDN_OP_VERIFY_DRAFT_TOKENS
                            ? v->mode == GDN_MODE_TOPP
                            : v->mode == GDN_MODE_CANDIDATES;
    if (v->scenario == GDN_SCENARIO_WINDOW && (!window || c < 2)) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "scenario: expected window only beside 2 candidates or more "
                             "and a mode that reads them but found it beside mode %s",
                             GDNP_MODE_NAMES[v->mode]);
    }
    return GDN_OK;
}

/* Modes in which an op draws. */
static bool draws(const gdn_case *test) {
    const gdn_verify_mode mode = test->verify.mode;
    return test->op == GDN_OP_TREE_SPECULATIVE_SAMPLING ||
           test->op == GDN_OP_CHAIN_SPECULATIVE_SAMPLING ||
           (test->op == GDN_OP_VERIFY_DRAFT_TOKENS && mode == GDN_MODE_TOPP) ||
           (test->op == GDN_OP_REJECTION_SAMPLE && mode != GDN_MODE_MATCH);
}

gdn_status gdnp_draws_case_check(gdn_case *test, gdn_error *err) {
    gdn_verify_draws *whose = &test->conventions.verify.draws;
    const gdn_verify_case *v = &test->verify;
    if (!gdn_case_is_sampled(test)) {
        if (*whose == GDN_DRAWS_INTERNAL && draws(test)) {
            return gdn_error_set(
                err, GDN_ERR_ARG,
                "scenario: expected law or seeds, because profile %s draws "
                "by itself, but found \"%s\"",
                test->profile, GDNP_SCENARIO_NAMES[v->scenario]);
        }
        return GDN_OK;
    }
    const bool tree = test->op == GDN_OP_TREE_SPECULATIVE_SAMPLING;
    const bool set = test->op == GDN_OP_VERIFY_DRAFT_TOKENS;
    if (!draws(test)) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "mode: expected one that draws beside scenario %s but found "
                             "\"%s\"",
                             GDNP_SCENARIO_NAMES[v->scenario], GDNP_MODE_NAMES[v->mode]);
    }
    if (v->drafts != 1 + tree || v->vocab < 16 || v->vocab > 32 || v->slots < 8 ||
        (set && v->candidates != 8)) {
        return gdn_error_set(
            err, GDN_ERR_ARG,
            "scenario: expected drafts %d, vocab 16 to 32, slots 8 or more "
            "and candidates 8 beside %s but found %" PRId64 ", %" PRId64 ", %" PRId64
            " and %" PRId64,
            1 + tree, GDNP_SCENARIO_NAMES[v->scenario], v->drafts, v->vocab, v->slots,
            v->candidates);
    }
    *whose = GDN_DRAWS_INTERNAL;
    return GDN_OK;
}

gdn_status gdnp_loop_case_check(const gdn_case *test, const bool *ops, gdn_error *err) {
    static const gdn_op STAGES[] = {GDN_OP_CAUSAL_CONV1D, GDN_OP_GATED_DELTA_RULE,
                                    GDN_OP_STATE_COMMIT};
    static const unsigned MODES_AT_0 = PLAIN | MODES(GDN_MODE_TOPP, GDN_MODE_TARGET_MATCH) |
                                       MODES(GDN_MODE_STANDARD, GDN_MODE_MATCH);
    const gdn_conventions *c = &test->conventions;
    if (test->verify.steps == 0) {
        return GDN_OK;
    }
    GDN_TRY(check_offer(test, "mode in a loop", OFFERS[test->op].modes & MODES_AT_0,
                        test->verify.mode, GDNP_MODE_NAMES, err));
    for (size_t i = 0; i < sizeof STAGES / sizeof STAGES[0]; i++) {
        if (!ops[STAGES[i]]) {
            return gdn_error_set(err, GDN_ERR_ARG,
                                 "steps: expected 0, because profile %s has no %s, but "
                                 "found %" PRId64,
                                 test->profile, gdn_op_get(STAGES[i])->name,
                                 test->verify.steps);
        }
    }
    if ((c->spec_state == GDN_SPEC_SLOTS) != (c->verify.commit == GDN_COMMIT_INDEX)) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "steps: expected spec_state slots beside commit index, or "
                             "buffer beside move, but found neither in profile %s",
                             test->profile);
    }
    if (test->verify.slots > GDN_LOOP_SLOTS || test->verify.vocab != GDN_LOOP_VOCAB) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "steps: expected a loop of vocab %d and at most %d slots but "
                             "found %" PRId64 " and %" PRId64,
                             GDN_LOOP_VOCAB, GDN_LOOP_SLOTS, test->verify.vocab,
                             test->verify.slots);
    }
    return GDN_OK;
}

gdn_status gdnp_verify_case_set_id(gdn_case *test, gdn_error *err) {
    const gdn_verify_case *v = &test->verify;
    char loop[40] = "";
    if (v->steps > 0) {
        snprintf(loop, sizeof loop, "loop%" PRId64 "-", v->steps);
    }
    if (asprintf(&test->id,
                 "%s/%s/b%" PRId64 "-k%" PRId64 "-v%" PRId64 "-c%" PRId64 "-w%" PRId64
                 "/%s-%s/%s/%s%sn%" PRIu64,
                 gdn_op_get(test->op)->name, test->profile, v->slots, v->drafts, v->vocab,
                 v->candidates, v->window, GDNP_MODE_NAMES[v->mode],
                 GDNP_SCENARIO_NAMES[v->scenario], gdn_dtype_name(test->dtype), loop,
                 test->misaligned ? "mis-" : "", test->seed) < 0) {
        test->id = NULL;
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for an id");
    }
    return GDN_OK;
}
