/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "cli.h"
#include "gdn/profile.h"
#include "mutate.h"

enum { KEY_JSON = 256, KEY_DEVIATIONS };

static const struct argp_option OPTIONS[] = {
    {"suite", 's', "SUITE", 0, "Suite to score, repeatable, commas allowed (default ci)",
     0},
    {"deviations", KEY_DEVIATIONS, "FILE", 0,
     "Score on the deviations of a JSON file instead of the table", 0},
    {"json", KEY_JSON, NULL, 0, "Print the matrix as JSON", 0},
    {0},
};

typedef struct arguments {
    const char *suites[GDN_CLI_MAX_SUITES];
    const char *deviations;
    bool json;
} arguments;

static error_t parse(int key, char *arg, struct argp_state *state) {
    arguments *a = state->input;
    switch (key) {
    case 's':
        gdn_cli_add_suites(state, a->suites, arg);
        return 0;
    case KEY_JSON:
        a->json = true;
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
 * shows is a hole in the suite. */
static const char *standing(const gdn_mutant *m) {
    if (m->idle) {
        return "idle";
    }
    return m->kills > 0 ? "killed" : m->visible > 0 ? "SURVIVES" : "INVISIBLE";
}

static void print_matrix(const gdn_kill_matrix *matrix) {
    for (size_t i = 0; i < matrix->n_mutants; i++) {
        const gdn_mutant *m = &matrix->mutants[i];
        printf("%-9s %-22s %3zu cases tried  %s\n", standing(m), m->deviation->name,
               m->tried, m->kills > 0 ? m->killers[0] : m->deviation->symptom);
    }
}

static void print_json(const gdn_kill_matrix *matrix) {
    json_t *rows = json_array();
    for (size_t i = 0; i < matrix->n_mutants; i++) {
        const gdn_mutant *m = &matrix->mutants[i];
        json_t *killers = json_array();
        for (size_t k = 0; k < m->kills; k++) {
            json_array_append_new(killers, json_string(m->killers[k]));
        }
        json_array_append_new(rows, json_pack("{s:s, s:s, s:I, s:I, s:o}", "deviation",
                                              m->deviation->name, "standing", standing(m),
                                              "tried", (json_int_t)m->tried, "visible",
                                              (json_int_t)m->visible, "killers", killers));
    }
    json_dumpf(rows, stdout, JSON_INDENT(1));
    putchar('\n');
    json_decref(rows);
}

static int report(const gdn_kill_matrix *matrix, bool json) {
    size_t killed = 0, idle = 0;
    for (size_t i = 0; i < matrix->n_mutants; i++) {
        killed += matrix->mutants[i].kills > 0;
        idle += matrix->mutants[i].idle;
    }
    if (json) {
        print_json(matrix);
    } else {
        print_matrix(matrix);
        printf("%zu of %zu deviations killed by %zu cases", killed,
               matrix->n_mutants - idle, matrix->cases);
        if (idle > 0) {
            printf(", %zu have no place in the profiles", idle);
        }
        putchar('\n');
    }
    return killed + idle == matrix->n_mutants ? GDN_EXIT_GREEN : GDN_EXIT_RED;
}

int gdn_cmd_mutate(int argc, char **argv) {
    static const struct argp ARGP = {
        .options = OPTIONS,
        .parser = parse,
        .doc =
            "Scores suites on known bugs: every deviation must be killed by some case.\v"
            "Cases are tried from the cheapest on, up to 257 tokens, until a deviation has "
            "two kills.\n"
            "Exit: 0 every deviation is killed; 1 one survives or is nowhere visible.",
    };
    arguments a = {0};
    gdn_cli_parse(&ARGP, argc, argv, &a);
    if (!a.suites[0]) {
        a.suites[0] = "ci";
    }
    gdn_paths paths;
    int code = GDN_EXIT_HARNESS;
    if (!gdn_cli_paths(&paths, &code)) {
        return code;
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
    gdn_kill_matrix matrix;
    if (gdn_mutate(&matrix, deviations, count, a.suites, &paths, &err) == GDN_OK) {
        code = report(&matrix, a.json);
        gdn_kill_matrix_destroy(&matrix);
    } else {
        code = gdn_cli_fail(&err);
    }
    gdn_deviation_list_destroy(&list);
    return code;
}
