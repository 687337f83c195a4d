/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "mutate_trial.h"

#include <stdlib.h>
#include <string.h>

#include "judge.h"
#include "loop.h"
#include "sampling.h"
#include "visibility.h"

gdn_status gdn_mutate_run(const gdn_problem *problem, const gdn_conventions *bent,
                          gdn_error *err) {
    gdn_call call = problem->call;
    call.conventions = bent;
    gdn_output *outputs = calloc(call.n_tensors, sizeof *outputs);
    if (!outputs) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for outputs");
    }
    for (size_t i = 0; i < call.n_tensors; i++) {
        outputs[i].value = call.tensors[i];
    }
    const gdn_status status = gdn_reference_run(&call, outputs, err);
    free(outputs);
    return status;
}

static bool is_chunked(const gdn_problem *problem) {
    return gdn_call_scalar(&problem->call, "num_prefills", 0) > 0 ||
           gdn_call_scalar(&problem->call, "chunked", 0) != 0;
}

/* Only the recurrence has limits that depend on a class, and on that of chunks only where
 * there are any. */
static bool same_limits(const gdnp_trial *t, size_t i, size_t j) {
    const gdn_conventions *x = &t->conventions[i], *y = &t->conventions[j];
    const gdn_op op = t->problem.test->op;
    return (op != GDN_OP_GATED_DELTA_RULE && op != GDN_OP_GDN_ATTENTION) ||
           (x->numeric_class == y->numeric_class &&
            (x->chunk_class == y->chunk_class || !is_chunked(&t->problem)));
}

gdn_status gdnp_trial_create(gdnp_trial *t, const gdnp_search *of, size_t row,
                             const gdn_case *test, gdn_error *err) {
    *t = (gdnp_trial){.of = of, .test = test, .row = row};
    if (test->verify.steps > 0) {
        return GDN_OK;
    }
    if (test->relation != GDN_RELATION_NONE) {
        GDN_TRY(gdn_relation_create(&t->relation, test, err));
        t->problem = t->relation.related.calls[0].problem;
        t->golden[0] = t->relation.calls[0].golden;
        return GDN_OK;
    }
    GDN_TRY(gdn_problem_create(&t->problem, test, err));
    for (size_t i = 0; i < of->n_limits; i++) {
        t->conventions[i] = test->conventions;
        if (i > 0) {
            t->conventions[i].numeric_class = t->conventions[i].chunk_class =
                of->options->classes[i - 1];
        }
        while (!same_limits(t, i, t->same[i])) {
            t->same[i]++;
        }
    }
    return GDN_OK;
}

void gdnp_trial_destroy(gdnp_trial *t) {
    if (t->relation.calls) {
        gdn_relation_destroy(&t->relation);
        return;
    }
    for (size_t i = 0; i < GDN_MUTATE_LIMITS; i++) {
        gdn_golden_destroy(&t->golden[i]);
    }
    gdn_problem_destroy(&t->problem);
}

/* The arena must be as the inputs were. */
static gdn_status get_golden(gdnp_trial *t, size_t limits, gdn_error *err) {
    gdn_golden *golden = &t->golden[t->same[limits]];
    if (golden->outputs) {
        return GDN_OK;
    }
    gdn_problem problem = t->problem;
    problem.call.conventions = &t->conventions[limits];
    return gdn_golden_create(golden, &problem, err);
}

/* The exact result under bent conventions. */
static gdn_status make_bent(gdn_golden *bent, const gdnp_trial *t,
                            const gdn_conventions *how, gdn_error *err) {
    gdn_problem other = t->problem;
    other.call.conventions = how;
    return gdn_golden_create_to(bent, &other, GDN_GOLDEN_VALUES, err);
}

/* Stray writes have no exact result of their own; they are seen where they are killed. */
static gdn_sight sight_of(double distance) {
    return distance > GDN_VISIBLE_LIMITS ? GDN_SIGHT_SURVIVES
           : distance > 0.0              ? GDN_SIGHT_SLIGHT
                                         : GDN_SIGHT_NONE;
}

static void record(gdnp_trial *t, size_t limits, size_t at, gdn_sight sight) {
    gdn_kill_matrix *matrix = &t->of->matrices[limits];
    gdn_mutant *mutant = &matrix->mutants[at];
    mutant->tried++;
    mutant->visible += sight >= GDN_SIGHT_SURVIVES;
    if (sight == GDN_SIGHT_KILLED && mutant->kills++ < GDN_MUTATE_KILLS) {
        mutant->killers[mutant->kills - 1] = strdup(t->test->id);
    }
    matrix->sights[t->row * matrix->n_mutants + at] = (uint8_t)sight;
}

static gdn_status run_bent(void *context, const gdn_problem *problem, bool *ran,
                           gdn_case_result *result, gdn_error *err) {
    (void)result;
    *ran = true;
    return gdn_mutate_run(problem, context, err);
}

static gdn_status run_reference(void *context, const gdn_problem *problem, bool *ran,
                                gdn_case_result *result, gdn_error *err) {
    gdn_conventions bent = *problem->call.conventions;
    if (context) {
        GDN_TRY(gdn_deviation_apply(context, &bent, err));
    }
    return run_bent(&bent, problem, ran, result, err);
}

gdn_executor gdn_mutate_executor(const gdn_deviation *deviation) {
    return (gdn_executor){.run = run_reference, .context = (void *)(uintptr_t)deviation};
}

bool gdnp_trial_is_series(const gdn_case *test) {
    return test->verify.steps > 0 || gdn_case_is_sampled(test);
}

/* Many calls show what a deviation does to their tokens; what they do not kill they do not
 * see. */
static gdn_status run_series(gdnp_trial *t, size_t at, const bool *wanted,
                             gdn_sight *sights, gdn_error *err) {
    const gdn_executor executor =
        gdn_mutate_executor(t->of->matrices->mutants[at].deviation);
    const gdn_loop_options options = {.profiles = t->of->profiles};
    gdn_case_result result = {0};
    const gdn_status status =
        gdn_case_is_sampled(t->test)
            ? gdn_sampling_run(&t->problem, &executor, &result, err)
            : gdn_loop_run(t->test, &executor, &options, &result, err);
    sights[0] = result.verdict == GDN_FAIL ? GDN_SIGHT_KILLED : GDN_SIGHT_NONE;
    gdn_case_result_destroy(&result);
    for (size_t i = 0; status == GDN_OK && i < t->of->n_limits; i++) {
        if (wanted[i]) {
            record(t, i, at, sights[0]);
        }
    }
    return status;
}

static gdn_status judge_relation(gdnp_trial *t, gdn_conventions *bent, gdn_sight *sight,
                                 gdn_error *err) {
    const gdn_executor executor = {.run = run_bent, .context = bent};
    gdn_case_result result = {0};
    bool ran;
    const gdn_status status =
        gdn_relation_judge(&t->relation, &executor, &ran, &result, err);
    *sight = result.verdict == GDN_FAIL ? GDN_SIGHT_KILLED : GDN_SIGHT_UNTRIED;
    gdn_case_result_destroy(&result);
    return status;
}

/* Judges what is in the arena by one set of limits. `deviation` NULL: nobody is told. */
static gdn_status judge_by(gdnp_trial *t, size_t limits, const gdn_deviation *deviation,
                           gdn_sight *sight, gdn_error *err) {
    const gdn_mutate_options *options = t->of->options;
    const gdn_golden *golden = &t->golden[t->same[limits]];
    gdn_case_result result = {0};
    gdn_status status = gdn_judge_case(&t->problem, golden, &result, err);
    *sight = result.verdict == GDN_FAIL ? GDN_SIGHT_KILLED : GDN_SIGHT_UNTRIED;
    gdn_case_result_destroy(&result);
    if (status == GDN_OK && *sight == GDN_SIGHT_KILLED && deviation && options->on_kill) {
        status = options->on_kill(options->context, &t->problem, golden, deviation, err);
    }
    return status;
}

/* One deviation by every set of limits that wants it. `sights` come as UNTRIED. */
/* What limits that did not see a deviation say of its exact result. */
static gdn_status look(gdnp_trial *t, size_t limits, const gdn_conventions *bent,
                       gdn_golden *exact, gdn_sight *sight, gdn_error *err) {
    if (!exact->outputs) {
        gdn_arena_restore(&t->problem.arena);
        GDN_TRY(make_bent(exact, t, bent, err));
    }
    *sight = sight_of(gdn_golden_distance(&t->golden[t->same[limits]], exact));
    return GDN_OK;
}

/* By the case's own limits; in any case, for golden values are those of all limits, and
 * what has no effect by these has none by others. */
static gdn_status meet_own(gdnp_trial *t, const gdn_deviation *deviation, bool told,
                           gdn_conventions *bent, gdn_golden *exact, gdn_sight *sight,
                           gdn_error *err) {
    gdn_arena_restore(&t->problem.arena);
    GDN_TRY(get_golden(t, 0, err));
    if (t->relation.calls) {
        GDN_TRY(judge_relation(t, bent, sight, err));
    } else {
        GDN_TRY(gdn_mutate_run(&t->problem, bent, err));
        GDN_TRY(judge_by(t, 0, told ? deviation : NULL, sight, err));
    }
    return *sight == GDN_SIGHT_UNTRIED ? look(t, 0, bent, exact, sight, err) : GDN_OK;
}

/* By the limits of classes, where they are not the case's own. */
static gdn_status meet_classes(gdnp_trial *t, const bool *wanted, gdn_conventions *bent,
                               gdn_golden *exact, gdn_sight *sights, gdn_error *err) {
    bool any = false;
    gdn_arena_restore(&t->problem.arena);
    for (size_t i = 1; i < t->of->n_limits; i++) {
        if (wanted[i] && t->same[i] != 0) {
            GDN_TRY(get_golden(t, i, err));
            any = true;
        }
    }
    if (any) {
        GDN_TRY(gdn_mutate_run(&t->problem, bent, err));
    }
    for (size_t i = 1; i < t->of->n_limits; i++) {
        if (wanted[i] && t->same[i] == i) {
            GDN_TRY(judge_by(t, i, NULL, &sights[i], err));
        }
    }
    for (size_t i = 1; i < t->of->n_limits; i++) {
        if (wanted[i] && t->same[i] == i && sights[i] == GDN_SIGHT_UNTRIED) {
            GDN_TRY(look(t, i, bent, exact, &sights[i], err));
        }
    }
    return GDN_OK;
}

static gdn_status run_deviation(gdnp_trial *t, size_t at, const bool *wanted,
                                gdn_sight *sights, gdn_error *err) {
    const gdn_deviation *deviation = t->of->matrices->mutants[at].deviation;
    gdn_conventions bent = t->test->conventions;
    bool ask[GDN_MUTATE_LIMITS] = {false};
    gdn_golden exact = {0};
    GDN_TRY(gdn_deviation_apply(deviation, &bent, err));
    gdn_status status = meet_own(t, deviation, wanted[0], &bent, &exact, &sights[0], err);
    for (size_t i = 1; i < t->of->n_limits; i++) {
        ask[t->same[i]] = ask[t->same[i]] || wanted[i];
        sights[i] = sights[0] == GDN_SIGHT_NONE ? GDN_SIGHT_NONE : GDN_SIGHT_UNTRIED;
    }
    if (status == GDN_OK && sights[0] != GDN_SIGHT_NONE) {
        status = meet_classes(t, ask, &bent, &exact, sights, err);
    }
    gdn_arena_restore(&t->problem.arena);
    for (size_t i = 0; status == GDN_OK && i < t->of->n_limits; i++) {
        if (wanted[i]) {
            record(t, i, at, sights[t->same[i]]);
        }
    }
    gdn_golden_destroy(&exact);
    return status;
}

gdn_status gdnp_trial_greet(gdnp_trial *t, gdn_error *err) {
    const gdn_mutate_options *options = t->of->options;
    if (!options->on_case || t->relation.calls || gdnp_trial_is_series(t->test)) {
        return GDN_OK;
    }
    GDN_TRY(get_golden(t, 0, err));
    const gdn_status status =
        options->on_case(options->context, &t->problem, &t->golden[0], err);
    gdn_arena_restore(&t->problem.arena);
    return status;
}

gdn_status gdnp_trial_meet(gdnp_trial *t, size_t mutant, const bool *wanted,
                           gdn_sight *sights, gdn_error *err) {
    return gdnp_trial_is_series(t->test) ? run_series(t, mutant, wanted, sights, err)
                                         : run_deviation(t, mutant, wanted, sights, err);
}
