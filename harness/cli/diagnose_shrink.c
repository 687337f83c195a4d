/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "diagnose_shrink.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "expand.h"
#include "shrink.h"
#include "standalone.h"
#include "vector_file.h"

#define SUITE "shrunk"

/* Outputs that are wrong, as a set of names: those of the smaller case must be the same. */
static void wrong_outputs(const gdn_rerun *rerun, char *text, size_t size) {
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < rerun->result.n_tensors && used < size; i++) {
        if (!rerun->result.tensors[i].ok) {
            const int n =
                snprintf(text + used, size - used, "%s ", rerun->result.tensors[i].name);
            used += n > 0 ? (size_t)n : 0;
        }
    }
    if (used < size) {
        snprintf(text + used, size - used, "%s",
                 rerun->result.stray_bytes > 0 ? "elsewhere" : "");
    }
}

static bool is_named(const gdn_diagnosis *d) {
    return d->n_named > 0 && d->ranking[0].explains;
}

/* The first suspect must go on explaining the case. What no suspect explains must stay so,
 * or two bugs at once would be shrunk to one of them, and keep its wrong outputs. */
static gdn_status still_fails(void *context, const gdn_case *test, bool *holds,
                              gdn_error *err) {
    const gdn_shrink_job *job = context;
    const bool named = is_named(job->diagnosis);
    gdn_rerun rerun;
    gdn_diagnosis d = {0};
    char before[256], now[256];
    *holds = false;
    GDN_TRY(gdn_rerun_create(&rerun, job->session, test, err));
    gdn_status status = GDN_OK;
    wrong_outputs(job->rerun, before, sizeof before);
    wrong_outputs(&rerun, now, sizeof now);
    if (rerun.judged && rerun.result.verdict == GDN_FAIL &&
        (named || strcmp(before, now) == 0)) {
        const size_t suspect = named ? job->diagnosis->ranking[0].suspect : 0;
        const gdn_diagnose_hints hints = {.suspects = &suspect, .count = 1, .only = true};
        status = gdn_diagnose(&d, &rerun.problem, &rerun.golden, job->suspects,
                              named ? &hints : NULL, err);
        *holds = status == GDN_OK && is_named(&d) == named;
    }
    gdn_diagnosis_destroy(&d);
    gdn_rerun_destroy(&rerun);
    return status;
}

static gdn_status write_suite(const gdn_case *test, const char *path, gdn_error *err) {
    json_t *json =
        json_pack("{s:i, s:s, s:s, s:[{s:s, s:[o]}]}", "schema", GDN_SUITE_SCHEMA, "suite",
                  SUITE, "summary", "a failing case, shrunk", "groups", "summary", test->id,
                  "cases", gdn_case_to_json(test));
    const int failed = json ? json_dump_file(json, path, JSON_INDENT(1)) : -1;
    json_decref(json);
    return failed == 0 ? GDN_OK : gdn_error_set(err, GDN_ERR_IO, "cannot write %s", path);
}

static gdn_status write_vectors(const gdn_shrink_job *job, const gdn_problem *problem,
                                const gdn_golden *golden, gdn_error *err) {
    gdn_vector_writer *writer = NULL;
    gdn_certificate certificate;
    GDN_TRY(gdn_certify(&certificate, problem, golden, err));
    GDN_TRY(gdn_vector_writer_create(&writer, job->folder, SUITE, err));
    const gdn_status status =
        gdn_vector_writer_add(writer, problem, golden, &certificate, err);
    if (status != GDN_OK) {
        gdn_vector_writer_abandon(writer);
        return status;
    }
    return gdn_vector_writer_commit(writer, err);
}

/* The shrunk case afresh: golden values read inputs that no device has touched. */
static gdn_status write_files(const gdn_shrink_job *job, const gdn_case *test,
                              const char *finding, gdn_error *err) {
    char suite[PATH_MAX], vectors[PATH_MAX], program[PATH_MAX], about[4096];
    gdn_problem problem;
    gdn_golden golden;
    struct stat info;
    snprintf(suite, sizeof suite, "%s/" SUITE ".json", job->folder);
    snprintf(vectors, sizeof vectors, "%s/" SUITE ".h5", job->folder);
    snprintf(program, sizeof program, "%s/main.c", job->folder);
    snprintf(about, sizeof about, " * On device %.200s: %.2000s\n", job->device, finding);
    for (char *end; (end = strstr(about, "*/")) != NULL;) {
        *end = ' '; /* no path may end the comment */
    }
    GDN_TRY(gdn_problem_create(&problem, test, err));
    gdn_status status = gdn_golden_create(&golden, &problem, err);
    if (status == GDN_OK) {
        status = write_suite(test, suite, err);
        if (status == GDN_OK) {
            status = write_vectors(job, &problem, &golden, err);
        }
        if (status == GDN_OK) {
            status = gdn_standalone_write(program, &problem, &golden, about, err);
        }
        gdn_golden_destroy(&golden);
    }
    gdn_problem_destroy(&problem);
    if (status == GDN_OK) {
        printf("  %s: %lld bytes of inputs and golden values\n", vectors,
               stat(vectors, &info) == 0 ? (long long)info.st_size : -1LL);
        printf("  %s: cc -std=c17 %s -lm\n", program, program);
        printf("  gdn-conform run --device '%s' --suite '%s' --vectors '%s'\n", job->device,
               suite, job->folder);
    }
    return status;
}

/* What the shrunk case says: the same bug, or two at once. */
static gdn_status look_again(const gdn_shrink_job *job, const gdn_case *test,
                             gdn_error *err) {
    gdn_rerun rerun;
    gdn_diagnosis d = {0};
    GDN_TRY(gdn_rerun_create(&rerun, job->session, test, err));
    gdn_status status = GDN_OK;
    if (!rerun.judged || rerun.result.verdict != GDN_FAIL) {
        status = gdn_error_set(err, GDN_ERR_DEVICE, "%s failed before and does not now",
                               test->id);
    }
    if (status == GDN_OK) {
        status = gdn_diagnose(&d, &rerun.problem, &rerun.golden, job->suspects, NULL, err);
    }
    if (status == GDN_OK && d.finding == GDN_FOUND_PATTERN) {
        gdn_diagnosis pairs = {0};
        status =
            gdn_diagnose_pairs(&pairs, &rerun.problem, &rerun.golden, job->suspects, err);
        if (status == GDN_OK && pairs.n_named > 0) {
            gdn_diagnosis_destroy(&d);
            d = pairs;
        } else {
            gdn_diagnosis_destroy(&pairs);
        }
    }
    if (status == GDN_OK) {
        char finding[2048];
        snprintf(finding, sizeof finding, "%s %s", gdn_finding_name(d.finding), d.text);
        printf("  %s\n  %s\n", test->id, finding);
        status = write_files(job, test, finding, err);
    }
    gdn_diagnosis_destroy(&d);
    gdn_rerun_destroy(&rerun);
    return status;
}

gdn_status gdn_diagnose_shrink(const gdn_shrink_job *job, gdn_error *err) {
    gdn_case smallest = {0};
    size_t tries = 0;
    GDN_TRY(gdn_shrink(&smallest, &tries, job->test, job->profiles, still_fails,
                       (void *)job, err));
    printf("  shrunk in %zu runs to\n", tries);
    const gdn_status status = look_again(job, &smallest, err);
    gdn_case_destroy(&smallest);
    return status;
}
