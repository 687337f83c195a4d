/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "score.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "diagnose.h"
#include "doctor.h"
#include "visibility.h"

const gdn_numeric_class GDN_SCORE_CLASSES[] = {GDN_CLASS_FP32, GDN_CLASS_TF32_MMA,
                                               GDN_CLASS_FP16_MMA, GDN_CLASS_BF16_MMA};
const char *const GDN_SCORE_LIMITS[] = {"profile", "fp32", "tf32-mma", "fp16-mma",
                                        "bf16-mma"};

void gdn_score_count(gdn_score_pairs *pairs, const gdn_kill_matrix *matrix) {
    for (size_t i = 0; i < matrix->n_ids * matrix->n_mutants; i++) {
        pairs->by_sight[matrix->sights[i]]++;
        pairs->proved += matrix->sights[i] == GDN_SIGHT_NONE && matrix->proofs[i] != NULL;
        pairs->granted +=
            matrix->sights[i] == GDN_SIGHT_UNTRIED && matrix->proofs[i] != NULL;
    }
}

void gdn_score_add_pairs(gdn_score_pairs *into, const gdn_score_pairs *pairs) {
    for (size_t i = 0; i < GDN_SIGHT_COUNT; i++) {
        into->by_sight[i] += pairs->by_sight[i];
    }
    into->proved += pairs->proved;
    into->granted += pairs->granted;
}

static gdn_status add_miss(gdn_score_names *names, const gdn_deviation *deviation,
                           const char *id, const gdn_diagnosis *d, gdn_error *err) {
    char **misses = realloc(names->misses, (names->n_misses + 1) * sizeof *misses);
    if (misses) {
        names->misses = misses;
    }
    if (!misses ||
        asprintf(&misses[names->n_misses], "%s on %s: %s %s", deviation->name, id,
                 gdn_finding_name(d->finding), d->names ? d->names : "") < 0) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a miss");
    }
    names->n_misses++;
    return GDN_OK;
}

/* Rows of a file may bend conventions as a row of the table does: another name for the same
 * bug is the right name. */
static bool is_same(const gdn_deviation *a, const gdn_deviation *b,
                    const gdn_conventions *conventions) {
    gdn_conventions x = *conventions, y = *conventions;
    const gdn_convention_field *field = gdn_convention_field_find(a->field);
    char of_x[64], of_y[64];
    if (strcmp(a->name, b->name) == 0) {
        return true;
    }
    if (strcmp(a->field, b->field) != 0 || gdn_deviation_apply(a, &x, NULL) != GDN_OK ||
        gdn_deviation_apply(b, &y, NULL) != GDN_OK) {
        return false;
    }
    gdn_conventions_get(&x, field, of_x, sizeof of_x);
    gdn_conventions_get(&y, field, of_y, sizeof of_y);
    return strcmp(of_x, of_y) == 0;
}

static gdn_status note(gdn_score_names *names, const gdn_problem *problem,
                       const gdn_deviation *deviation, const gdn_diagnosis *d,
                       const gdn_suspects *suspects, gdn_error *err) {
    size_t at = SIZE_MAX;
    for (size_t i = 0; at == SIZE_MAX && i < d->n_named; i++) {
        const gdn_deviation *named = &suspects->items[d->ranking[i].suspect];
        at = is_same(named, deviation, problem->call.conventions) ? i : SIZE_MAX;
    }
    names->pairs++;
    names->first += at == 0;
    names->alone += at == 0 && d->n_named == 1;
    names->among += at != 0 && at != SIZE_MAX;
    names->silent += d->n_named == 0;
    names->wrong += d->n_named > 0 && at == SIZE_MAX;
    return at == 0 ? GDN_OK : add_miss(names, deviation, problem->test->id, d, err);
}

/* Of this thread: suites run side by side, and each diagnosis on one core. */
static double processor_time(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static bool is_due(gdn_score_diagnose *score, const gdn_problem *problem,
                   const gdn_deviation *deviation) {
    const double work = gdn_doctor_work(problem->test);
    if (work <= GDN_SCORE_FULL_WORK) {
        return true;
    }
    for (size_t i = 0; i < score->n_seen; i++) {
        if (score->seen[i] == deviation) {
            return false;
        }
    }
    const gdn_deviation **seen =
        realloc(score->seen, (score->n_seen + 1) * sizeof *score->seen);
    if (!seen || work > GDN_SCORE_DIAGNOSED_WORK ||
        problem->arena.bytes > GDN_SCORE_DIAGNOSED_BYTES) {
        score->seen = seen ? seen : score->seen;
        return false;
    }
    score->seen = seen;
    score->seen[score->n_seen++] = deviation;
    return true;
}

gdn_status gdn_score_kill(void *context, const gdn_problem *problem,
                          const gdn_golden *golden, const gdn_deviation *deviation,
                          gdn_error *err) {
    gdn_score_diagnose *score = context;
    gdn_suspects suspects;
    gdn_diagnosis d = {0};
    if (!is_due(score, problem, deviation)) {
        return GDN_OK;
    }
    GDN_TRY(gdn_suspects_create(&suspects, problem->call.conventions, score->more,
                                score->n_more, err));
    const double start = processor_time();
    gdn_status status = gdn_diagnose(&d, problem, golden, &suspects, NULL, err);
    const double seconds = processor_time() - start;
    if (status == GDN_OK && seconds > score->names.slowest) {
        free(score->names.slowest_id);
        score->names.slowest = seconds;
        score->names.slowest_id = strdup(problem->test->id);
    }
    if (status == GDN_OK) {
        status = note(&score->names, problem, deviation, &d, &suspects, err);
    }
    gdn_diagnosis_destroy(&d);
    gdn_suspects_destroy(&suspects);
    return status;
}

gdn_status gdn_score_right(void *context, const gdn_problem *problem,
                           const gdn_golden *golden, gdn_error *err) {
    gdn_score_diagnose *score = context;
    gdn_suspects suspects;
    gdn_diagnosis d = {0};
    if (gdn_doctor_work(problem->test) > GDN_SCORE_DIAGNOSED_WORK ||
        problem->arena.bytes > GDN_SCORE_DIAGNOSED_BYTES) {
        return GDN_OK;
    }
    GDN_TRY(gdn_mutate_run(problem, problem->call.conventions, err));
    GDN_TRY(gdn_suspects_create(&suspects, problem->call.conventions, score->more,
                                score->n_more, err));
    const gdn_status status = gdn_diagnose(&d, problem, golden, &suspects, NULL, err);
    score->names.correct++;
    score->names.correct_named += status == GDN_OK && d.finding != GDN_FOUND_NOTHING_WRONG;
    gdn_diagnosis_destroy(&d);
    gdn_suspects_destroy(&suspects);
    return status;
}

gdn_status gdn_score_add_names(gdn_score_names *into, gdn_score_names *names,
                               gdn_error *err) {
    const size_t n = into->n_misses + names->n_misses;
    char **misses = realloc(into->misses, (n + 1) * sizeof *misses);
    if (!misses) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu misses", n);
    }
    into->misses = misses;
    for (size_t i = 0; i < names->n_misses; i++) {
        misses[into->n_misses++] = names->misses[i];
    }
    names->n_misses = 0;
    into->pairs += names->pairs;
    into->first += names->first;
    into->alone += names->alone;
    into->among += names->among;
    into->silent += names->silent;
    into->wrong += names->wrong;
    into->correct += names->correct;
    into->correct_named += names->correct_named;
    if (names->slowest > into->slowest) {
        free(into->slowest_id);
        into->slowest = names->slowest;
        into->slowest_id = names->slowest_id;
        names->slowest_id = NULL;
    }
    gdn_score_names_destroy(names);
    return GDN_OK;
}

void gdn_score_names_destroy(gdn_score_names *names) {
    for (size_t i = 0; i < names->n_misses; i++) {
        free(names->misses[i]);
    }
    free(names->misses);
    free(names->slowest_id);
    *names = (gdn_score_names){0};
}

void gdn_score_diagnose_destroy(gdn_score_diagnose *score) {
    gdn_score_names_destroy(&score->names);
    free(score->seen);
    *score = (gdn_score_diagnose){0};
}
