/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "doctor.h"

#include <stdlib.h>
#include <string.h>

double gdn_doctor_work(const gdn_case *test) {
    return (double)gdn_case_tokens(test) * (double)test->num_v_heads /
           (double)test->tp_size * (double)test->head_k_dim * (double)test->head_v_dim;
}

/* Hints by name: numbers of suspects differ from profile to profile. */
static size_t find_hints(const gdn_doctor *doctor, const gdn_suspects *suspects,
                         size_t *found) {
    size_t n = 0;
    for (size_t h = 0; h < doctor->n_hints; h++) {
        for (size_t i = 0; i < suspects->count; i++) {
            if (strcmp(suspects->items[i].name, doctor->hints[h]) == 0) {
                found[n++] = i;
                break;
            }
        }
    }
    return n;
}

static void remember(gdn_doctor *doctor, const char *name) {
    for (size_t h = 0; h < doctor->n_hints; h++) {
        if (strcmp(doctor->hints[h], name) == 0) {
            return;
        }
    }
    char *copy = doctor->n_hints < GDN_DOCTOR_HINTS ? strdup(name) : NULL;
    if (copy) {
        doctor->hints[doctor->n_hints++] = copy;
    }
}

/* A case that failed by more than its elements has nothing to name; and a pattern is not
 * the last word of a search that did not take place. */
static gdn_status take(gdn_diagnosis *d, bool searched, gdn_case_result *result,
                       gdn_error *err) {
    if (d->finding == GDN_FOUND_NOTHING_WRONG ||
        (d->finding == GDN_FOUND_PATTERN && !searched)) {
        return GDN_OK;
    }
    result->diagnosis.verdict = strdup(gdn_finding_name(d->finding));
    result->diagnosis.deviation = d->names;
    result->diagnosis.text = d->text;
    d->names = d->text = NULL;
    return result->diagnosis.verdict
               ? GDN_OK
               : gdn_error_set(err, GDN_ERR_OOM, "no memory for a diagnosis");
}

gdn_status gdn_doctor_see(gdn_doctor *doctor, const gdn_problem *problem,
                          const gdn_golden *golden, gdn_case_result *result,
                          gdn_error *err) {
    gdn_suspects suspects;
    /* A search copies the arena whole. */
    if (problem->arena.sparse || gdn_doctor_work(problem->test) > GDN_DOCTOR_WORK) {
        return GDN_OK;
    }
    GDN_TRY(gdn_suspects_create(&suspects, problem->call.conventions, NULL, 0, err));
    size_t found[GDN_DOCTOR_HINTS];
    const gdn_diagnose_hints hints = {
        .suspects = found,
        .count = find_hints(doctor, &suspects, found),
        .only = doctor->searches >= GDN_DOCTOR_SEARCHES,
    };
    gdn_diagnosis d;
    gdn_status status = gdn_diagnose(&d, problem, golden, &suspects, &hints, err);
    if (status == GDN_OK) {
        doctor->searches += d.n_ranking > 1;
        if (d.finding == GDN_FOUND_DIAGNOSED) {
            remember(doctor, d.names);
        }
        status = take(&d, !hints.only, result, err);
        gdn_diagnosis_destroy(&d);
    }
    gdn_suspects_destroy(&suspects);
    return status;
}

void gdn_doctor_destroy(gdn_doctor *doctor) {
    for (size_t h = 0; h < doctor->n_hints; h++) {
        free(doctor->hints[h]);
    }
    *doctor = (gdn_doctor){0};
}

static bool same(const gdn_case_result *a, const gdn_case_result *b) {
    return a->diagnosis.deviation && b->diagnosis.deviation &&
           strcmp(a->diagnosis.deviation, b->diagnosis.deviation) == 0 &&
           strcmp(a->diagnosis.verdict, b->diagnosis.verdict) == 0;
}

void gdn_doctor_summary(const gdn_run_result *run, FILE *out) {
    size_t failed = 0, patterns = 0, seen = 0;
    for (size_t i = 0; i < run->n_cases; i++) {
        const gdn_case_result *c = &run->cases[i];
        failed += c->verdict == GDN_FAIL;
        seen += c->diagnosis.verdict != NULL;
        patterns += c->diagnosis.verdict && !c->diagnosis.deviation;
    }
    if (seen == 0) {
        return;
    }
    for (size_t i = 0; i < run->n_cases; i++) {
        const gdn_case_result *c = &run->cases[i];
        size_t count = 0;
        bool first = c->diagnosis.deviation != NULL;
        for (size_t j = 0; j < run->n_cases; j++) {
            count += same(c, &run->cases[j]);
            first = first && !(j < i && same(c, &run->cases[j]));
        }
        if (first) {
            fprintf(out, "diagnosis: %zu of %zu failing cases: %s %s\n", count, failed,
                    c->diagnosis.verdict, c->diagnosis.deviation);
        }
    }
    if (patterns > 0) {
        fprintf(out, "diagnosis: %zu of %zu failing cases: no known bug explains them\n",
                patterns, failed);
    }
    if (seen < failed) {
        fprintf(out,
                "diagnosis: %zu of %zu failing cases: not searched (gdn-conform diagnose "
                "REPORT --case ID does)\n",
                failed - seen, failed);
    }
}
