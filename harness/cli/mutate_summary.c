/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "mutate_summary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "expand.h"
#include "false_alarms.h"

/* Right names first among the failing pairs. */
#define HIT_RATE 0.95

#define MISSES_SHOWN 12

/* Seeds of the right kernels beside the union of all suites; else one. */
#define ALL_SEEDS 10

static const gdn_numeric_class CLASSES[] = {GDN_CLASS_FP32, GDN_CLASS_TF32_MMA,
                                            GDN_CLASS_FP16_MMA, GDN_CLASS_BF16_MMA};

/* One run of the program: what its parts share. */
typedef struct summary {
    const gdn_deviation *deviations;
    size_t count;
    const gdn_paths *paths;
    gdn_score_pairs pairs;
    gdn_score_diagnose diagnoses;
    bool red;
} summary;

static const char *class_name(gdn_numeric_class class) {
    return gdn_convention_field_find("numeric_class")->values[class];
}

void gdn_mutate_print_pairs(const gdn_score_pairs *pairs) {
    const size_t *n = pairs->by_sight;
    const size_t tried = n[GDN_SIGHT_NONE] + n[GDN_SIGHT_SLIGHT] + n[GDN_SIGHT_SURVIVES] +
                         n[GDN_SIGHT_KILLED];
    printf(
        "pairs: %zu tried = %zu killed + %zu visible and surviving + %zu moved by at most "
        "2 limits + %zu invisible by proof + %zu without effect (%.1f %% visible)\n",
        tried, n[GDN_SIGHT_KILLED], n[GDN_SIGHT_SURVIVES], n[GDN_SIGHT_SLIGHT],
        pairs->proved, n[GDN_SIGHT_NONE] - pairs->proved,
        tried > 0
            ? 100.0 * (double)(n[GDN_SIGHT_KILLED] + n[GDN_SIGHT_SURVIVES]) / (double)tried
            : 0.0);
}

/* The limits of one class over one suite; the profiles' own class is diagnosed too. */
static gdn_status score_suite(summary *s, const char *suite, const gdn_numeric_class *class,
                              gdn_error *err) {
    const char *const suites[] = {suite, NULL};
    gdn_kill_matrix matrix;
    gdn_score_pairs pairs = {0};
    const gdn_mutate_options options = {
        .full_work = class ? 0.0 : GDN_SCORE_FULL_WORK,
        .in_class = class != NULL,
        .class = class ? *class : GDN_CLASS_FP32,
        .on_kill = class ? NULL : gdn_score_kill,
        .on_case = class ? NULL : gdn_score_right,
        .context = &s->diagnoses,
    };
    GDN_TRY(gdn_mutate(&matrix, s->deviations, s->count, suites, &options, s->paths, err));
    size_t visible = 0, killed = 0, idle = 0;
    for (size_t i = 0; i < matrix.n_mutants; i++) {
        idle += matrix.mutants[i].idle;
        visible += matrix.mutants[i].visible > 0;
        killed += matrix.mutants[i].kills > 0;
    }
    gdn_score_count(class ? &pairs : &s->pairs, &matrix);
    printf("%-14s %-10s %4zu of %zu deviations visible, %zu of them killed, by %zu cases\n",
           suite, class ? class_name(*class) : "(profile)", visible,
           matrix.n_mutants - idle, killed, matrix.cases);
    for (size_t i = 0; i < matrix.n_mutants; i++) {
        if (matrix.mutants[i].kills == 0 && !matrix.mutants[i].idle) {
            printf("  %s %s\n", matrix.mutants[i].visible > 0 ? "SURVIVES" : "INVISIBLE",
                   matrix.mutants[i].deviation->name);
        }
    }
    fflush(stdout);
    s->red = s->red || killed < visible ||
             (class ? &pairs : &s->pairs)->by_sight[GDN_SIGHT_SURVIVES] > 0;
    gdn_kill_matrix_destroy(&matrix);
    return GDN_OK;
}

static gdn_status score_classes(summary *s, const char *suite, gdn_error *err) {
    for (size_t i = 0; i < sizeof CLASSES / sizeof CLASSES[0]; i++) {
        bool has = false;
        GDN_TRY(gdn_score_has_class(CLASSES[i], s->paths->profiles, &has, err));
        if (has) {
            GDN_TRY(score_suite(s, suite, &CLASSES[i], err));
        }
    }
    return GDN_OK;
}

static void print_diagnoses(summary *s) {
    const gdn_score_names *n = &s->diagnoses.names;
    const double rate = n->pairs > 0 ? (double)n->first / (double)n->pairs : 0.0;
    gdn_mutate_print_pairs(&s->pairs);
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
    printf("slowest diagnosis: %.2f s on %s\n", n->slowest,
           n->slowest_id ? n->slowest_id : "-");
    s->red = s->red || rate < HIT_RATE || n->correct_named > 0;
}

/* Right kernels of every class and profile, by the same judge. */
static gdn_status score_right_kernels(summary *s, int seeds, gdn_error *err) {
    gdn_false_alarms alarms;
    for (int relations = 0; relations < 2; relations++) {
        GDN_TRY(gdn_false_alarms_count(&alarms, s->paths->profiles, seeds, relations == 1,
                                       stdout, err));
        fputs(relations == 1 ? "relations: " : "", stdout);
        gdn_false_alarms_print(&alarms, stdout);
        s->red = s->red || alarms.alarms > 0 || alarms.runs == 0;
    }
    return GDN_OK;
}

static gdn_status score_all(summary *s, const char *const *suites, gdn_error *err) {
    gdn_names names = {0};
    const bool all = strcmp(suites[0], "all") == 0;
    if (all) {
        GDN_TRY(gdn_suite_names(&names, s->paths->suites, err));
    }
    const char *const *list = all ? (const char *const *)names.items : suites;
    gdn_status status = GDN_OK;
    for (size_t i = 0; status == GDN_OK && list[i]; i++) {
        if (all && strcmp(list[i], "ci") == 0) {
            continue; /* a union of others */
        }
        if (all && strcmp(list[i], "relations") == 0) {
            continue; /* sees by itself what it can: `mutate --at-least` */
        }
        status = score_suite(s, list[i], NULL, err);
        if (status == GDN_OK) {
            status = score_classes(s, list[i], err);
        }
    }
    gdn_names_destroy(&names);
    return status;
}

int gdn_mutate_summary(const char *const *suites, const gdn_deviation *deviations,
                       size_t count, bool from_file, const gdn_paths *paths) {
    gdn_error err = {0};
    summary s = {
        .deviations = deviations,
        .count = count,
        .paths = paths,
        .diagnoses = {.more = from_file ? deviations : NULL,
                      .n_more = from_file ? count : 0},
    };
    gdn_status status = score_all(&s, suites, &err);
    if (status == GDN_OK) {
        print_diagnoses(&s);
        status =
            score_right_kernels(&s, strcmp(suites[0], "all") == 0 ? ALL_SEEDS : 1, &err);
    }
    gdn_score_destroy(&s.diagnoses);
    return status != GDN_OK ? gdn_cli_fail(&err) : s.red ? GDN_EXIT_RED : GDN_EXIT_GREEN;
}
