/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "cli.h"
#include "gdn/profile.h"
#include "hunts.h"
#include "mutate_summary.h"
#include "visibility.h"

/* Cases in which an input is seen before --lint leaves it alone. */
#define LINT_ENOUGH 8

enum {
    KEY_JSON = 256,
    KEY_DEVIATIONS,
    KEY_FULL,
    KEY_SUMMARY,
    KEY_LINT,
    KEY_HUNTS,
    KEY_AT_LEAST
};

static const struct argp_option OPTIONS[] = {
    {"suite", 's', "SUITE", 0, "Suite to score, repeatable, commas allowed (default ci)",
     0},
    {"deviations", KEY_DEVIATIONS, "FILE", 0,
     "Score on the deviations of a JSON file instead of the table", 0},
    {"full", KEY_FULL, NULL, 0,
     "Every deviation, or with --lint every input, on every case", 0},
    {"hunts", KEY_HUNTS, NULL, 0, "Print what suites/hunts/SUITE.json holds", 0},
    {"summary", KEY_SUMMARY, NULL, 0, "Print the figures of suites, judge and diagnosis",
     0},
    {"lint", KEY_LINT, NULL, 0, "Score the cases' inputs: what a change of each moves", 0},
    {"at-least", KEY_AT_LEAST, "PERCENT", 0,
     "Green if that share of the visible deviations is killed (default: all deviations)",
     0},
    {"json", KEY_JSON, NULL, 0, "Print the matrix as JSON", 0},
    {0},
};

typedef struct arguments {
    const char *suites[GDN_CLI_MAX_SUITES];
    const char *deviations;
    double at_least; ///< per cent; 0: not asked for
    bool json, full, summary, lint, hunts;
} arguments;

static error_t parse(int key, char *arg, struct argp_state *state) {
    arguments *a = state->input;
    char *end = NULL;
    switch (key) {
    case 's':
        gdn_cli_add_suites(state, a->suites, arg);
        return 0;
    case KEY_JSON:
        a->json = true;
        return 0;
    case KEY_FULL:
        a->full = true;
        return 0;
    case KEY_HUNTS:
        a->hunts = true;
        return 0;
    case KEY_SUMMARY:
        a->summary = true;
        return 0;
    case KEY_LINT:
        a->lint = true;
        return 0;
    case KEY_AT_LEAST:
        a->at_least = strtod(arg, &end);
        if (end == arg || *end != '\0' || !(a->at_least > 0.0 && a->at_least <= 100.0)) {
            argp_error(state, "--at-least: expected a number in (0, 100] but found \"%s\"",
                       arg);
        }
        return 0;
    case KEY_DEVIATIONS:
        a->deviations = arg;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument \"%s\"", arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* A deviation that some case shows and none kills is a hole in the judge; one that no case
 * shows is a hole in the suite, unless a proof says that none of its cases could. */
static const char *standing(const gdn_mutant *m) {
    if (m->idle || m->proof) {
        return m->idle ? "idle" : "invisible";
    }
    return m->kills > 0 ? "killed" : m->visible > 0 ? "SURVIVES" : "INVISIBLE";
}

static void print_matrix(const gdn_kill_matrix *matrix) {
    for (size_t i = 0; i < matrix->n_mutants; i++) {
        const gdn_mutant *m = &matrix->mutants[i];
        printf("%-9s %-22s %3zu cases tried  %s\n", standing(m), m->deviation->name,
               m->tried,
               m->kills > 0 ? m->killers[0]
               : m->proof   ? m->proof
                            : m->deviation->symptom);
    }
}

/* Cases in which the deviation has no effect and no proof says why. */
static json_t *unexplained(const gdn_kill_matrix *matrix, size_t mutant) {
    json_t *ids = json_array();
    for (size_t row = 0; row < matrix->n_ids; row++) {
        const size_t at = row * matrix->n_mutants + mutant;
        if (matrix->sights[at] == GDN_SIGHT_NONE && !matrix->proofs[at]) {
            json_array_append_new(ids, json_string(matrix->ids[row]));
        }
    }
    return ids;
}

static void print_json(const gdn_kill_matrix *matrix) {
    json_t *rows = json_array();
    for (size_t i = 0; i < matrix->n_mutants; i++) {
        const gdn_mutant *m = &matrix->mutants[i];
        json_t *killers = json_array();
        for (size_t k = 0; k < m->kills && k < GDN_MUTATE_KILLS; k++) {
            json_array_append_new(killers, json_string(m->killers[k]));
        }
        json_array_append_new(rows,
                              json_pack("{s:s, s:s, s:s*, s:I, s:I, s:o, s:o}", "deviation",
                                        m->deviation->name, "standing", standing(m),
                                        "proof", m->proof, "tried", (json_int_t)m->tried,
                                        "visible", (json_int_t)m->visible, "killers",
                                        killers, "unexplained", unexplained(matrix, i)));
    }
    json_dumpf(rows, stdout, JSON_INDENT(1));
    putchar('\n');
    json_decref(rows);
}

static void print_cases(const gdn_kill_matrix *matrix) {
    size_t redundant = 0;
    for (size_t row = 0; row < matrix->n_ids; row++) {
        size_t kills = 0;
        for (size_t m = 0; m < matrix->n_mutants; m++) {
            kills += matrix->sights[row * matrix->n_mutants + m] == GDN_SIGHT_KILLED;
        }
        const size_t needed = gdn_hunts_needed(matrix, row);
        redundant += needed == 0;
        printf("hunts %2zu, needed for %2zu  %s\n", kills, needed, matrix->ids[row]);
    }
    printf("%zu of %zu cases kill nothing that %d others do not kill\n", redundant,
           matrix->n_ids, GDN_MUTATE_KILLS);
    gdn_score_pairs pairs = {0};
    gdn_score_count(&pairs, matrix);
    gdn_mutate_print_pairs(&pairs, stdout);
}

/* Of one suite: its file of hunts is compared. */
static int check_hunts(const gdn_kill_matrix *matrices, const arguments *a,
                       const gdn_paths *paths) {
    const gdn_hunts_limits limits = {matrices, GDN_SCORE_LIMITS, GDN_MUTATE_LIMITS};
    gdn_error err = {0};
    char *losses = NULL;
    bool holds = true;
    if (gdn_hunts_check(&limits, a->suites[0], paths, &holds, &losses, &err) != GDN_OK) {
        return gdn_cli_fail(&err);
    }
    fputs(holds ? "" : losses, stderr);
    free(losses);
    return holds ? GDN_EXIT_GREEN : GDN_EXIT_RED;
}

static int print_hunts(const gdn_kill_matrix *matrices, const arguments *a) {
    const gdn_hunts_limits limits = {matrices, GDN_SCORE_LIMITS, GDN_MUTATE_LIMITS};
    json_t *hunts = gdn_hunts_json(&limits, a->suites[0]);
    json_dumpf(hunts, stdout, JSON_INDENT(1));
    putchar('\n');
    json_decref(hunts);
    return GDN_EXIT_GREEN;
}

static int report(const gdn_kill_matrix *matrices, const arguments *a,
                  const gdn_paths *paths) {
    const gdn_kill_matrix *matrix = &matrices[0];
    size_t killed = 0, idle = 0, proved = 0, visible = 0;
    for (size_t i = 0; i < matrix->n_mutants; i++) {
        killed += matrix->mutants[i].kills > 0;
        visible += matrix->mutants[i].visible > 0;
        idle += matrix->mutants[i].idle;
        proved += !matrix->mutants[i].idle && matrix->mutants[i].proof;
    }
    if (a->json) {
        print_json(matrix);
    } else {
        print_matrix(matrix);
        printf("%zu of %zu deviations killed by %zu cases", killed,
               matrix->n_mutants - idle - proved, matrix->cases);
        if (idle > 0) {
            printf(", %zu have no place in the profiles", idle);
        }
        if (proved > 0) {
            printf(", %zu are invisible by proof", proved);
        }
        const double share = visible > 0 ? 100.0 * (double)killed / (double)visible : 0.0;
        printf("; %zu are visible: %.1f %%\n", visible, share);
    }
    if (a->full) {
        if (!a->json) {
            print_cases(matrix);
        }
        const int code = a->deviations ? GDN_EXIT_GREEN : check_hunts(matrices, a, paths);
        if (code != GDN_EXIT_GREEN) {
            return code;
        }
    }
    if (a->at_least > 0.0) {
        const bool enough = 100.0 * (double)killed >= a->at_least * (double)visible;
        return enough && visible > 0 ? GDN_EXIT_GREEN : GDN_EXIT_RED;
    }
    return killed + idle + proved == matrix->n_mutants ? GDN_EXIT_GREEN : GDN_EXIT_RED;
}

static int lint(const arguments *a, const gdn_paths *paths) {
    gdn_visibility v;
    gdn_error err = {0};
    size_t blind = 0;
    if (gdn_visibility_measure(&v, a->suites, GDN_MUTATE_TOKENS, a->full ? 0 : LINT_ENOUGH,
                               paths, &err) != GDN_OK) {
        return gdn_cli_fail(&err);
    }
    printf("%-9s %-16s %-30s %7s %9s %12s %12s\n", "", "op", "input", "cases", "visible",
           "by 1/128", "by 1/4");
    for (size_t i = 0; i < v.n_fields; i++) {
        const gdn_visible_field *f = &v.fields[i];
        printf("%-9s %-16s %-30s %7zu %9zu", f->visible > 0 ? "" : "INVISIBLE",
               gdn_op_get(f->op)->name, f->name, f->cases, f->visible);
        for (int k = 0; k < 2; k++) {
            const double x = k == 0 ? f->small : f->large;
            if (f->cases == 0 || x < 0.0) {
                printf(" %12s", "-");
            } else {
                printf(" %12.3g", x);
            }
        }
        putchar('\n');
        blind += f->visible == 0;
    }
    printf("%zu of %zu inputs visible in some of %zu cases (limits moved, median)\n",
           v.n_fields - blind, v.n_fields, v.cases);
    gdn_visibility_destroy(&v);
    return blind == 0 ? GDN_EXIT_GREEN : GDN_EXIT_RED;
}

static int score(const arguments *a, const gdn_deviation *deviations, size_t count,
                 const gdn_paths *paths) {
    gdn_kill_matrix matrices[GDN_MUTATE_LIMITS];
    gdn_error err = {0};
    const gdn_mutate_options options = {
        .full_work = a->full    ? INFINITY
                     : a->hunts ? GDN_SCORE_FULL_WORK
                                : 0.0,
        .examples = a->hunts,
        .tries = a->hunts ? GDN_SCORE_TRIES : 0,
        .classes = GDN_SCORE_CLASSES,
        .n_classes = a->full || a->hunts ? GDN_MUTATE_LIMITS - 1 : 0,
    };
    if (gdn_mutate(matrices, deviations, count, a->suites, &options, paths, &err) !=
        GDN_OK) {
        return gdn_cli_fail(&err);
    }
    const int code = a->hunts ? print_hunts(matrices, a) : report(matrices, a, paths);
    for (size_t i = 0; i <= options.n_classes; i++) {
        gdn_kill_matrix_destroy(&matrices[i]);
    }
    return code;
}

int gdn_cmd_mutate(int argc, char **argv) {
    static const struct argp ARGP = {
        .options = OPTIONS,
        .parser = parse,
        .doc =
            "Scores suites on known bugs: every deviation must be killed by some case.\v"
            "Cases are tried from the cheapest on, up to 257 tokens, until a deviation has "
            "two kills.\n"
            "Exit: 0 every deviation is killed (--lint: every input is visible somewhere; "
            "--full: and the suite's hunts hold; --summary: every figure holds); 1 not; 2 "
            "bad usage or input; 3 the harness failed.",
    };
    arguments a = {0};
    gdn_cli_parse(&ARGP, argc, argv, &a);
    if (!a.suites[0]) {
        a.suites[0] = a.summary ? "all" : "ci";
    }
    if ((a.full || a.hunts) && a.suites[1]) {
        fprintf(stderr, "gdn-conform: %s: expected one suite but found \"%s\" too\n",
                a.full ? "--full" : "--hunts", a.suites[1]);
        return GDN_EXIT_USAGE;
    }
    gdn_paths paths;
    int code = GDN_EXIT_HARNESS;
    if (!gdn_cli_paths(&paths, &code)) {
        return code;
    }
    if (a.lint) {
        return lint(&a, &paths);
    }
    gdn_error err = {0};
    gdn_deviation_list list = {0};
    size_t count;
    const gdn_deviation *deviations = gdn_deviations(&count);
    if (a.deviations) {
        if (gdn_deviations_load(&list, a.deviations, &err) != GDN_OK) {
            return gdn_cli_fail(&err);
        }
        deviations = list.items;
        count = list.count;
    }
    code = a.summary
               ? gdn_mutate_summary(a.suites, deviations, count, list.count > 0, &paths)
               : score(&a, deviations, count, &paths);
    gdn_deviation_list_destroy(&list);
    return code;
}
