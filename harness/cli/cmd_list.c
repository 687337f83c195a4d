/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "coverage.h"
#include "expand.h"
#include "gdn/deviation.h"
#include "gdn/profile.h"
#include "vector_file.h"

typedef struct arguments {
    const char *what;
    const char *suites[GDN_CLI_MAX_SUITES];
    bool coverage;
} arguments;

enum { KEY_COVERAGE = 256 };

static const char *const THINGS[] = {"ops",        "suites",  "profiles", "cases",
                                     "deviations", "vectors", NULL};

static const struct argp_option OPTIONS[] = {
    {"suite", 's', "SUITE", 0, "Of these suites (cases, coverage: default ci)", 0},
    {"coverage", KEY_COVERAGE, NULL, 0, "Which shapes and conventions the suites cover", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state) {
    arguments *a = state->input;
    switch (key) {
    case 's':
        gdn_cli_add_suites(state, a->suites, arg);
        return 0;
    case ARGP_KEY_ARG:
        if (a->what) {
            argp_error(state, "unexpected argument \"%s\"", arg);
        }
        a->what = arg;
        return 0;
    case KEY_COVERAGE:
        a->coverage = true;
        return 0;
    case ARGP_KEY_END:
        if ((a->what != NULL) == a->coverage) {
            argp_error(state, "expected one of ops, suites, profiles, cases, deviations, "
                              "vectors, or --coverage");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void list_ops(void) {
    for (int op = 0; op < GDN_OP_COUNT; op++) {
        const gdn_op_info *info = gdn_op_get((gdn_op)op);
        printf("%-18s %s\n", info->name, info->what);
    }
}

static void list_deviations(void) {
    size_t count;
    const gdn_deviation *rows = gdn_deviations(&count);
    for (size_t i = 0; i < count; i++) {
        printf("%-22s %s\n%-22s   seen: %s\n%-22s   touches: %s\n", rows[i].name,
               rows[i].symptom, "", rows[i].evidence, "", rows[i].touches);
        if (rows[i].idle_field) {
            printf("%-22s   idle where %s is: %s\n", "", rows[i].idle_field,
                   rows[i].idle_values);
        }
        if (rows[i].ops) {
            printf("%-22s   ops: %s\n", "", rows[i].ops);
        }
    }
}

static gdn_status list_suites(const gdn_paths *paths, gdn_error *err) {
    gdn_names names;
    GDN_TRY(gdn_suite_names(&names, paths->suites, err));
    gdn_status status = GDN_OK;
    for (size_t i = 0; status == GDN_OK && i < names.count; i++) {
        gdn_suite suite;
        status =
            gdn_suite_load(&suite, paths->suites, paths->profiles, names.items[i], err);
        if (status == GDN_OK) {
            printf("%-12s %5zu cases  %s\n", suite.name, suite.n_cases, suite.summary);
            gdn_suite_destroy(&suite);
        }
    }
    gdn_names_destroy(&names);
    return status;
}

static gdn_status list_profiles(const gdn_paths *paths, gdn_error *err) {
    gdn_names names;
    GDN_TRY(gdn_names_list(&names, paths->profiles, err));
    gdn_status status = GDN_OK;
    for (size_t i = 0; status == GDN_OK && i < names.count; i++) {
        gdn_profile profile;
        status = gdn_profile_load(&profile, paths->profiles, names.items[i], err);
        if (status == GDN_OK) {
            printf("%-14s %s\n%-14s   read at: %s\n", profile.name, profile.summary, "",
                   profile.source);
            gdn_profile_destroy(&profile);
        }
    }
    gdn_names_destroy(&names);
    return status;
}

static gdn_status list_cases(const arguments *a, const gdn_paths *paths, gdn_error *err) {
    for (size_t s = 0; a->suites[s]; s++) {
        gdn_suite suite;
        GDN_TRY(gdn_suite_load(&suite, paths->suites, paths->profiles, a->suites[s], err));
        for (size_t i = 0; i < suite.n_cases; i++) {
            printf("%s\n", suite.cases[i].id);
        }
        gdn_suite_destroy(&suite);
    }
    return GDN_OK;
}

static gdn_status list_coverage(const arguments *a, const gdn_paths *paths,
                                gdn_error *err) {
    gdn_coverage coverage;
    GDN_TRY(gdn_coverage_start(&coverage, err));
    gdn_status status = GDN_OK;
    for (size_t s = 0; status == GDN_OK && a->suites[s]; s++) {
        gdn_suite suite;
        status = gdn_suite_load(&suite, paths->suites, paths->profiles, a->suites[s], err);
        for (size_t i = 0; status == GDN_OK && i < suite.n_cases; i++) {
            status = gdn_coverage_add(&coverage, &suite.cases[i], err);
        }
        gdn_suite_destroy(&suite);
    }
    if (status == GDN_OK) {
        gdn_coverage_print(&coverage, stdout);
    }
    gdn_coverage_destroy(&coverage);
    return status;
}

/* How wrong the golden values of a suite can be, at worst. */
static void print_certified(const json_t *manifest) {
    const gdn_certified_suite s = gdn_manifest_certified(manifest);
    printf("%-12s   certified: %zu of %zu cases, at most %.3g of a limit and %.3g ulps of "
           "fp64 from 113-bit arithmetic; %lld rounding ties\n",
           "", s.certified, s.certified + s.uncertified, s.limits, s.ulps,
           (long long)s.ties);
}

static gdn_status list_vectors(const gdn_paths *paths, gdn_error *err) {
    gdn_names names;
    GDN_TRY(gdn_vector_suites(&names, paths->vectors, err));
    gdn_status status = GDN_OK;
    for (size_t i = 0; status == GDN_OK && i < names.count; i++) {
        const char *suite = names.items[i];
        gdn_vector_reader *reader = NULL;
        status = gdn_vector_reader_open(&reader, paths->vectors, suite, err);
        if (status == GDN_OK) {
            const json_t *manifest = gdn_vector_reader_manifest(reader);
            printf("%-12s %5zu cases  %s\n", suite,
                   json_object_size(json_object_get(manifest, "cases")),
                   json_string_value(json_object_get(manifest, "generator")));
            print_certified(manifest);
        }
        gdn_vector_reader_close(reader);
    }
    gdn_names_destroy(&names);
    return status;
}

int gdn_cmd_list(int argc, char **argv) {
    static const struct argp ARGP = {
        .options = OPTIONS,
        .parser = parse,
        .args_doc = "ops|suites|profiles|cases|deviations|vectors\n--coverage",
        .doc = "Lists what this build knows.",
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
    gdn_status status = GDN_OK;
    if (a.coverage) {
        status = list_coverage(&a, &paths, &err);
    } else if (strcmp(a.what, "ops") == 0) {
        list_ops();
    } else if (strcmp(a.what, "deviations") == 0) {
        list_deviations();
    } else if (strcmp(a.what, "suites") == 0) {
        status = list_suites(&paths, &err);
    } else if (strcmp(a.what, "profiles") == 0) {
        status = list_profiles(&paths, &err);
    } else if (strcmp(a.what, "cases") == 0) {
        status = list_cases(&a, &paths, &err);
    } else if (strcmp(a.what, "vectors") == 0) {
        status = list_vectors(&paths, &err);
    } else {
        status = gdn_error_unknown(&err, GDN_ERR_ARG, "list", a.what, THINGS);
    }
    return status == GDN_OK ? GDN_EXIT_GREEN : gdn_cli_fail(&err);
}
