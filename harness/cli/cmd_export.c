/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "captured.h"
#include "cli.h"
#include "expand.h"

#define MOST_TENSORS 96

enum { KEY_FORMAT = 256, KEY_CASE };

static const struct argp_option OPTIONS[] = {
    {"suite", 's', "SUITE", 0, "Suite to export, repeatable, commas allowed (required)", 0},
    {"case", KEY_CASE, "GLOB", 0, "Only cases whose id matches; * crosses '/'", 0},
    {"format", KEY_FORMAT, "FORMAT", 0, "safetensors (the default)", 0},
    {"output", 'o', "DIR", 0, "Folder to write <case id>.safetensors below (required)", 0},
    {0},
};

typedef struct arguments {
    const char *suites[GDN_CLI_MAX_SUITES];
    const char *glob, *folder;
} arguments;

static error_t parse(int key, char *arg, struct argp_state *state) {
    arguments *a = state->input;
    switch (key) {
    case 's':
        gdn_cli_add_suites(state, a->suites, arg);
        return 0;
    case KEY_CASE:
        a->glob = arg;
        return 0;
    case KEY_FORMAT:
        if (strcmp(arg, "safetensors") != 0) {
            argp_error(state, "--format: expected safetensors but found \"%s\"", arg);
        }
        return 0;
    case 'o':
        a->folder = arg;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument \"%s\"", arg);
        return 0;
    case ARGP_KEY_END:
        if (!a->suites[0] || !a->folder) {
            argp_error(state, "expected --suite and --output");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Tensors of one file, with the names that they get there. */
typedef struct sheet {
    gdn_tensor tensors[MOST_TENSORS];
    char names[MOST_TENSORS][64];
    size_t count;
} sheet;

static void add(sheet *s, const char *kind, const gdn_tensor *tensor) {
    if (s->count < MOST_TENSORS) {
        snprintf(s->names[s->count], sizeof s->names[0], "%s/%s", kind, tensor->name);
        s->tensors[s->count] = *tensor;
        s->tensors[s->count].name = s->names[s->count];
        s->count++;
    }
}

static void add_golden(sheet *s, const gdn_expected *e) {
    int64_t shape[GDN_MAX_RANK];
    memcpy(shape, e->tensor->shape, sizeof shape);
    shape[0] = e->n_rows;
    const int rank = e->tensor->rank;
    const char *name = e->tensor->name;
    const gdn_tensor rows = gdn_tensor_dense(name, e->rows, GDN_I64, 1, &e->n_rows);
    const gdn_tensor golden =
        e->golden ? gdn_tensor_dense(name, e->golden, GDN_FP64, rank, shape)
                  : gdn_tensor_dense(name, e->bits, e->tensor->dtype, rank, shape);
    add(s, "rows", &rows);
    add(s, "golden", &golden);
    if (e->limit) {
        const gdn_tensor limit = gdn_tensor_dense(name, e->limit, GDN_FP32, rank, shape);
        add(s, "limit", &limit);
    }
    if (e->floors) {
        const int64_t figures[] = {e->tensor->shape[1], GDN_FLOOR_FIGURES};
        const gdn_tensor floors = gdn_tensor_dense(name, e->floors, GDN_FP64, 2, figures);
        add(s, "floor", &floors);
    }
    if (e->operand) {
        const gdn_tensor operand =
            gdn_tensor_dense(name, e->operand, GDN_FP32, rank, shape);
        add(s, "operand", &operand);
    }
}

static gdn_status make_folders(char *path, gdn_error *err) {
    for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST) {
            return gdn_error_set(err, GDN_ERR_ARG, "--output: cannot make %s: %s", path,
                                 strerror(errno));
        }
        *slash = '/';
    }
    return GDN_OK;
}

/* Without outputs, so that whoever adds output/.. to it has a file for `check`. */
static gdn_status write_case(const arguments *a, const gdn_problem *problem,
                             const gdn_golden *golden, gdn_error *err) {
    sheet *s = calloc(1, sizeof *s);
    char *path = NULL;
    json_t *about = json_pack("{s:i, s:o}", "schema", GDN_CAPTURE_SCHEMA, "case",
                              gdn_case_to_json(problem->test));
    gdn_status status = GDN_OK;
    if (!s || !about ||
        asprintf(&path, "%s/%s.safetensors", a->folder, problem->test->id) < 0) {
        path = NULL;
        status = gdn_error_set(err, GDN_ERR_OOM, "no memory for %s", problem->test->id);
        goto cleanup;
    }
    for (size_t i = 0; i < problem->arena.n_tensors; i++) {
        const gdn_tensor *t = &problem->arena.tensors[i];
        if (gdn_op_argument(problem->test->op, t->name)->access != GDN_OUT) {
            add(s, "input", t);
        }
    }
    for (size_t i = 0; i < golden->n_outputs; i++) {
        add_golden(s, &golden->outputs[i]);
    }
    status = make_folders(path, err);
    if (status == GDN_OK) {
        status = gdn_bundle_write(path, s->tensors, s->count, about, err);
    }

cleanup:
    json_decref(about);
    free(path);
    free(s);
    return status;
}

static gdn_status export_case(const arguments *a, const gdn_case *test, gdn_error *err) {
    gdn_problem problem;
    gdn_golden golden = {0};
    GDN_TRY(gdn_problem_create(&problem, test, err));
    gdn_status status = gdn_golden_create(&golden, &problem, err);
    if (status == GDN_OK) {
        status = write_case(a, &problem, &golden, err);
    }
    gdn_golden_destroy(&golden);
    gdn_problem_destroy(&problem);
    return status;
}

static gdn_status export_suite(const arguments *a, const gdn_paths *paths, const char *name,
                               size_t *count, gdn_error *err) {
    gdn_suite suite;
    GDN_TRY(gdn_suite_load(&suite, paths->suites, paths->profiles, name, err));
    gdn_status status = GDN_OK;
    for (size_t i = 0; status == GDN_OK && i < suite.n_cases; i++) {
        if (!a->glob || fnmatch(a->glob, suite.cases[i].id, 0) == 0) {
            status = export_case(a, &suite.cases[i], err);
            ++*count;
        }
    }
    gdn_suite_destroy(&suite);
    return status;
}

int gdn_cmd_export(int argc, char **argv) {
    static const struct argp ARGP = {
        .options = OPTIONS,
        .parser = parse,
        .doc =
            "Writes cases with their inputs, golden values (FP64), limits (FP32) and the "
            "rows that both speak of, one file a case. With the tensors output/NAME of "
            "an implementation added, a file is one for check.\v"
            "Exit: 0 written; 2 bad usage or input.",
    };
    arguments a = {0};
    gdn_cli_parse(&ARGP, argc, argv, &a);
    gdn_paths paths;
    gdn_error err = {0};
    int code = GDN_EXIT_HARNESS;
    if (!gdn_cli_paths(&paths, &code)) {
        return code;
    }
    size_t count = 0;
    gdn_status status = GDN_OK;
    for (size_t i = 0; status == GDN_OK && a.suites[i]; i++) {
        status = export_suite(&a, &paths, a.suites[i], &count, &err);
    }
    if (status == GDN_OK && count == 0) {
        status = gdn_error_set(&err, GDN_ERR_ARG, "no case matches \"%s\"",
                               a.glob ? a.glob : "*");
    }
    if (status != GDN_OK) {
        return gdn_cli_fail(&err);
    }
    printf("%zu cases written to %s\n", count, a.folder);
    return GDN_EXIT_GREEN;
}
