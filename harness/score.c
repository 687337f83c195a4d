/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "score.h"

#include <stdlib.h>
#include <string.h>

#include "diagnose.h"
#include "visibility.h"
#include "worker_process.h"

void gdn_score_count(gdn_score_pairs *pairs, const gdn_kill_matrix *matrix) {
    for (size_t i = 0; i < matrix->n_ids * matrix->n_mutants; i++) {
        pairs->by_sight[matrix->sights[i]]++;
        pairs->proved += matrix->sights[i] == GDN_SIGHT_NONE && matrix->proofs[i] != NULL;
    }
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

gdn_status gdn_score_kill(void *context, const gdn_problem *problem,
                          const gdn_golden *golden, const gdn_deviation *deviation,
                          gdn_error *err) {
    gdn_score_diagnose *score = context;
    gdn_suspects suspects;
    gdn_diagnosis d = {0};
    GDN_TRY(gdn_suspects_create(&suspects, problem->call.conventions, score->more,
                                score->n_more, err));
    const double start = gdnp_now();
    gdn_status status = gdn_diagnose(&d, problem, golden, &suspects, NULL, err);
    const double seconds = gdnp_now() - start;
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

void gdn_score_destroy(gdn_score_diagnose *score) {
    for (size_t i = 0; i < score->names.n_misses; i++) {
        free(score->names.misses[i]);
    }
    free(score->names.misses);
    free(score->names.slowest_id);
    *score = (gdn_score_diagnose){0};
}

/* Small, and with every step that a class may round. */
static const char PROBE[] =
    "{\"op\": \"gdn_attention\", \"profile\": \"vllm-xpu\", \"batch\": \"pre1x65\","
    " \"num_k_heads\": 1, \"num_v_heads\": 1, \"head_k_dim\": 8, \"head_v_dim\": 8}";

static gdn_status probe_limit(gdn_case *test, gdn_numeric_class class, float *limit,
                              gdn_error *err) {
    gdn_problem problem;
    gdn_golden golden;
    test->conventions.numeric_class = test->conventions.chunk_class = class;
    GDN_TRY(gdn_problem_create(&problem, test, err));
    const gdn_status status = gdn_golden_create(&golden, &problem, err);
    for (size_t i = 0; status == GDN_OK && i < golden.n_outputs; i++) {
        const gdn_expected *e = &golden.outputs[i];
        if (e->limit && strcmp(e->tensor->name, "ssm_state") == 0) {
            *limit = e->limit[0];
        }
    }
    if (status == GDN_OK) {
        gdn_golden_destroy(&golden);
    }
    gdn_problem_destroy(&problem);
    return status;
}

gdn_status gdn_score_has_class(gdn_numeric_class class, const char *profiles, bool *has,
                               gdn_error *err) {
    json_t *json = json_loads(PROBE, 0, NULL);
    gdn_case test = {0};
    float own = 0.0F, fp32 = 0.0F;
    gdn_status status = gdn_case_from_json(&test, json, profiles, err);
    if (status == GDN_OK) {
        status = probe_limit(&test, class, &own, err);
    }
    if (status == GDN_OK) {
        status = probe_limit(&test, GDN_CLASS_FP32, &fp32, err);
    }
    *has = class == GDN_CLASS_FP32 || own > fp32;
    gdn_case_destroy(&test);
    json_decref(json);
    return status;
}
