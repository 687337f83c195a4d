/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "mutate_summary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "expand.h"
#include "false_alarms.h"
#include "hunts.h"

/* Right names first among the failing pairs. */
#define HIT_RATE 0.95

#define MISSES_SHOWN 12

/* Seeds of the right kernels beside the union of all suites; else one. */
#define ALL_SEEDS 10

/* What one suite came to. */
typedef struct suite_score {
    const char *suite;
    char *text; /* what it prints */
    gdn_score_pairs pairs[GDN_MUTATE_LIMITS];
    size_t visible[GDN_MUTATE_LIMITS], killed[GDN_MUTATE_LIMITS]; /* deviations */
    gdn_score_diagnose diagnoses;
    bool red;
} suite_score;

/* One run of the program: what its parts share. */
typedef struct summary {
    const gdn_deviation *deviations;
    size_t count;
    const gdn_paths *paths;
    bool from_file;
    bool red;
} summary;

static size_t tried_pairs(const gdn_score_pairs *pairs) {
    const size_t *n = pairs->by_sight;
    return n[GDN_SIGHT_NONE] + n[GDN_SIGHT_SLIGHT] + n[GDN_SIGHT_SURVIVES] +
           n[GDN_SIGHT_KILLED];
}

static double visible_share(const gdn_score_pairs *pairs) {
    const size_t tried = tried_pairs(pairs);
    const size_t visible =
        pairs->by_sight[GDN_SIGHT_KILLED] + pairs->by_sight[GDN_SIGHT_SURVIVES];
    return tried > 0 ? 100.0 * (double)visible / (double)tried : 0.0;
}

void gdn_mutate_print_pairs(const gdn_score_pairs *pairs, FILE *out) {
    const size_t *n = pairs->by_sight;
    fprintf(
        out,
        "pairs: %zu tried = %zu killed + %zu visible and surviving + %zu moved by at "
        "most 2 limits + %zu invisible by proof, checked + %zu without effect and proof "
        "(%.1f %% visible); %zu not tried, by proof\n",
        tried_pairs(pairs), n[GDN_SIGHT_KILLED], n[GDN_SIGHT_SURVIVES], n[GDN_SIGHT_SLIGHT],
        pairs->proved, n[GDN_SIGHT_NONE] - pairs->proved, visible_share(pairs),
        pairs->granted);
}

/* One set of limits over one suite. */
static void count_limits(suite_score *s, size_t limits, const gdn_kill_matrix *matrix,
                         FILE *out) {
    size_t possible = 0;
    gdn_score_count(&s->pairs[limits], matrix);
    for (size_t i = 0; i < matrix->n_mutants; i++) {
        const gdn_mutant *m = &matrix->mutants[i];
        possible += !m->idle && !m->proof;
        s->visible[limits] += m->visible > 0;
        s->killed[limits] += m->kills > 0;
    }
    fprintf(out,
            "%-16s %-10s %3zu of %3zu deviations visible, %3zu of them killed; %5.1f %% of "
            "%zu pairs visible\n",
            limits == 0 ? s->suite : "", GDN_SCORE_LIMITS[limits], s->visible[limits],
            possible, s->killed[limits], visible_share(&s->pairs[limits]),
            tried_pairs(&s->pairs[limits]));
    for (size_t i = 0; i < matrix->n_mutants; i++) {
        const gdn_mutant *m = &matrix->mutants[i];
        if (m->kills == 0 && !m->idle && !m->proof) {
            fprintf(out, "  %s %s\n", m->visible > 0 ? "SURVIVES" : "INVISIBLE",
                    m->deviation->name);
        } else if (limits == 0 && m->proof) {
            fprintf(out, "  by proof  %s: %s\n", m->deviation->name, m->proof);
        }
    }
    s->red = s->red || s->killed[limits] < s->visible[limits] ||
             s->pairs[limits].by_sight[GDN_SIGHT_SURVIVES] > 0;
}

static gdn_status score_matrices(suite_score *s, const summary *all,
                                 const gdn_kill_matrix *matrices, FILE *out,
                                 gdn_error *err) {
    const gdn_hunts_limits limits = {
        .matrices = matrices, .names = GDN_SCORE_LIMITS, .count = GDN_MUTATE_LIMITS};
    char *losses = NULL;
    bool holds = true;
    for (size_t i = 0; i < GDN_MUTATE_LIMITS; i++) {
        count_limits(s, i, &matrices[i], out);
    }
    if (!all->from_file) {
        GDN_TRY(gdn_hunts_check(&limits, s->suite, all->paths, &holds, &losses, err));
        fputs(holds ? "" : losses, out);
        free(losses);
        s->red = s->red || !holds;
    }
    return GDN_OK;
}

static gdn_status score_suite(suite_score *s, const summary *all, gdn_error *err) {
    const char *const suites[] = {s->suite, NULL};
    gdn_kill_matrix matrices[GDN_MUTATE_LIMITS];
    char **watched = NULL;
    size_t size = 0;
    s->diagnoses = (gdn_score_diagnose){.more = all->from_file ? all->deviations : NULL,
                                        .n_more = all->from_file ? all->count : 0};
    GDN_TRY(gdn_hunts_watched(&watched, s->suite, all->paths, err));
    const gdn_mutate_options options = {
        .full_work = GDN_SCORE_FULL_WORK,
        .tries = GDN_SCORE_TRIES,
        .watched = (const char *const *)watched,
        .examples = true,
        .classes = GDN_SCORE_CLASSES,
        .n_classes = GDN_MUTATE_LIMITS - 1,
        .on_kill = gdn_score_kill,
        .on_case = gdn_score_right,
        .context = &s->diagnoses,
    };
    gdn_status status = gdn_mutate(matrices, all->deviations, all->count, suites, &options,
                                   all->paths, err);
    gdn_hunts_free_watched(watched);
    GDN_TRY(status);
    FILE *out = open_memstream(&s->text, &size);
    status = out ? score_matrices(s, all, matrices, out, err)
                 : gdn_error_set(err, GDN_ERR_OOM, "no memory for %s", s->suite);
    if (out) {
        fclose(out);
    }
    for (size_t i = 0; i < GDN_MUTATE_LIMITS; i++) {
        gdn_kill_matrix_destroy(&matrices[i]);
    }
    return status;
}

/* Side by side: each suite is the work of one thread. */
static gdn_status score_suites(summary *all, suite_score *scores, size_t count,
                               gdn_error *err) {
    gdn_status status = GDN_OK;
#pragma omp parallel for schedule(dynamic, 1)
    for (size_t i = 0; i < count; i++) {
        gdn_error local = {0};
        const gdn_status own = score_suite(&scores[i], all, &local);
#pragma omp critical(gdn_summary)
        {
            if (own != GDN_OK) {
                status = gdn_error_set(err, own, "%s", local.message);
            } else {
                fputs(scores[i].text, stdout);
                fflush(stdout);
            }
            all->red = all->red || scores[i].red;
        }
    }
    return status;
}

static void print_diagnoses(summary *all, const gdn_score_names *n) {
    const double rate = n->pairs > 0 ? (double)n->first / (double)n->pairs : 0.0;
    printf("diagnosis: right name first in %zu of %zu failing pairs (%.2f %%), alone in "
           "%zu; named behind another in %zu, a pattern in %zu, wrong in %zu\n",
           n->first, n->pairs, 100.0 * rate, n->alone, n->among, n->silent, n->wrong);
    for (size_t i = 0; i < n->n_misses && i < MISSES_SHOWN; i++) {
        printf("  %s\n", n->misses[i]);
    }
    if (n->n_misses > MISSES_SHOWN) {
        printf("  and %zu more\n", n->n_misses - MISSES_SHOWN);
    }
    printf("correct kernels: %zu right answers, %zu of them blamed\n", n->correct,
           n->correct_named);
    printf("slowest diagnosis: %.2f s of one core on %s\n", n->slowest,
           n->slowest_id ? n->slowest_id : "-");
    all->red = all->red || rate < HIT_RATE || n->correct_named > 0;
}

static void print_kills(const suite_score *scores, size_t count) {
    gdn_score_pairs pairs = {0};
    for (size_t limits = 0; limits < GDN_MUTATE_LIMITS; limits++) {
        size_t visible = 0, killed = 0;
        for (size_t i = 0; i < count; i++) {
            visible += scores[i].visible[limits];
            killed += scores[i].killed[limits];
        }
        printf(
            "kills, limits of %-9s %zu of %zu visible deviations (%.2f %%), a suite each\n",
            GDN_SCORE_LIMITS[limits], killed, visible,
            visible > 0 ? 100.0 * (double)killed / (double)visible : 0.0);
    }
    for (size_t i = 0; i < count; i++) {
        gdn_score_add_pairs(&pairs, &scores[i].pairs[0]);
    }
    gdn_mutate_print_pairs(&pairs, stdout);
}

/* Right kernels of every class and profile, by the same judge. */
static gdn_status score_right_kernels(summary *all, int seeds, gdn_error *err) {
    gdn_false_alarms alarms;
    for (int relations = 0; relations < 2; relations++) {
        GDN_TRY(gdn_false_alarms_count(&alarms, all->paths->profiles, seeds, relations == 1,
                                       stdout, err));
        fputs(relations == 1 ? "relations: " : "", stdout);
        gdn_false_alarms_print(&alarms, stdout);
        all->red = all->red || alarms.alarms > 0 || alarms.runs == 0;
    }
    return GDN_OK;
}

static gdn_status score_all(summary *all, const char *const *suites, int seeds,
                            gdn_error *err) {
    size_t count = 0, given = 0;
    while (suites[given]) {
        given++;
    }
    suite_score *scores = calloc(given + 1, sizeof *scores);
    if (!scores) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu suites", given);
    }
    /* Left out of all: a union of others, and what sees by itself as much as it can
     * (`mutate --at-least`). */
    for (size_t i = 0; i < given; i++) {
        if (given == 1 ||
            (strcmp(suites[i], "ci") != 0 && strcmp(suites[i], "relations") != 0)) {
            scores[count++].suite = suites[i];
        }
    }
    gdn_status status = score_suites(all, scores, count, err);
    if (status == GDN_OK) {
        gdn_score_names names = {0};
        for (size_t i = 0; status == GDN_OK && i < count; i++) {
            status = gdn_score_add_names(&names, &scores[i].diagnoses.names, err);
        }
        print_kills(scores, count);
        print_diagnoses(all, &names);
        gdn_score_names_destroy(&names);
    }
    for (size_t i = 0; i < count; i++) {
        free(scores[i].text);
        gdn_score_diagnose_destroy(&scores[i].diagnoses);
    }
    free(scores);
    return status == GDN_OK ? score_right_kernels(all, seeds, err) : status;
}

int gdn_mutate_summary(const char *const *suites, const gdn_deviation *deviations,
                       size_t count, bool from_file, const gdn_paths *paths) {
    gdn_error err = {0};
    gdn_names names = {0};
    summary all = {
        .deviations = deviations, .count = count, .paths = paths, .from_file = from_file};
    const bool every = strcmp(suites[0], "all") == 0;
    gdn_status status = every ? gdn_suite_names(&names, paths->suites, &err) : GDN_OK;
    if (status == GDN_OK) {
        status = score_all(&all, every ? (const char *const *)names.items : suites,
                           every ? ALL_SEEDS : 1, &err);
    }
    gdn_names_destroy(&names);
    return status != GDN_OK ? gdn_cli_fail(&err) : all.red ? GDN_EXIT_RED : GDN_EXIT_GREEN;
}
