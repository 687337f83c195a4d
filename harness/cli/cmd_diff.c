/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "diff.h"
#include "matrix.h"
#include "out_file.h"
#include "report_read.h"

enum { KEY_HTML = 256, KEY_MARKDOWN, KEY_JSON, KEY_MATRIX };

static const struct argp_option OPTIONS[] = {
    {"markdown", KEY_MARKDOWN, "FILE", 0, "Write a comment for a pull request (60 KB)", 0},
    {"html", KEY_HTML, "FILE", 0, "Write one self-contained page", 0},
    {"json", KEY_JSON, NULL, 0, "Print JSON", 0},
    {"matrix", KEY_MATRIX, NULL, 0, "Two or more devices side by side", 0},
    {0},
};

#define MOST_REPORTS 64

typedef struct arguments {
    const char *reports[MOST_REPORTS];
    size_t n_reports;
    const char *html, *markdown;
    bool json, matrix;
} arguments;

static error_t parse(int key, char *arg, struct argp_state *state) {
    arguments *a = state->input;
    switch (key) {
    case KEY_HTML:
        a->html = arg;
        return 0;
    case KEY_MARKDOWN:
        a->markdown = arg;
        return 0;
    case KEY_JSON:
        a->json = true;
        return 0;
    case KEY_MATRIX:
        a->matrix = true;
        return 0;
    case ARGP_KEY_ARG:
        if (a->n_reports == MOST_REPORTS) {
            argp_error(state, "more than %d reports", MOST_REPORTS);
        }
        a->reports[a->n_reports++] = arg;
        return 0;
    case ARGP_KEY_END:
        if (a->n_reports < 2 || (a->n_reports > 2 && !a->matrix)) {
            argp_error(state, "expected two reports, BASE and NEW, or --matrix and two or "
                              "more");
        } else if (a->matrix && a->html) {
            argp_error(state, "--html and --matrix do not go together");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static gdn_status diff_html(const void *diff, FILE *out, gdn_error *err) {
    (void)err;
    gdn_diff_html(diff, out);
    return GDN_OK;
}

static gdn_status diff_markdown(const void *diff, FILE *out, gdn_error *err) {
    (void)err;
    gdn_diff_markdown(diff, out);
    return GDN_OK;
}

static gdn_status matrix_markdown(const void *matrix, FILE *out, gdn_error *err) {
    (void)err;
    gdn_matrix_markdown(matrix, out);
    return GDN_OK;
}

/* Takes `json`. */
static gdn_status print_json(json_t *json, gdn_error *err) {
    const gdn_status status =
        json ? gdn_report_write(json, "-", err)
             : gdn_error_set(err, GDN_ERR_OOM, "no memory for the JSON");
    json_decref(json);
    return status;
}

static gdn_status incomparable(const arguments *a, gdn_error *err) {
    return gdn_error_set(err, GDN_ERR_ARG,
                         "%s and %s: no case has the same golden values in both, nothing "
                         "can be compared",
                         a->reports[0], a->reports[a->n_reports - 1]);
}

static gdn_status tell_diff(const arguments *a, const gdn_run_result *runs, int *code,
                            gdn_error *err) {
    gdn_report_diff diff;
    GDN_TRY(gdn_diff_create(&diff, &runs[0], &runs[1], err));
    gdn_status status = diff.comparable > 0 ? GDN_OK : incomparable(a, err);
    if (status == GDN_OK && a->markdown) {
        status = gdn_out_file(a->markdown, diff_markdown, &diff, err);
    }
    if (status == GDN_OK && a->html) {
        status = gdn_out_file(a->html, diff_html, &diff, err);
    }
    if (status == GDN_OK && a->json) {
        status = print_json(gdn_diff_json(&diff), err);
    } else if (status == GDN_OK) {
        gdn_diff_text(&diff, stdout);
    }
    *code = diff.regressions > 0 ? GDN_EXIT_RED : GDN_EXIT_GREEN;
    gdn_diff_destroy(&diff);
    return status;
}

static gdn_status tell_matrix(const arguments *a, const gdn_run_result *runs,
                              gdn_error *err) {
    gdn_matrix matrix;
    GDN_TRY(gdn_matrix_create(&matrix, runs, a->n_reports, err));
    gdn_status status = matrix.comparable > 0 ? GDN_OK : incomparable(a, err);
    if (status == GDN_OK && a->markdown) {
        status = gdn_out_file(a->markdown, matrix_markdown, &matrix, err);
    }
    if (status == GDN_OK && a->json) {
        status = print_json(gdn_matrix_json(&matrix), err);
    } else if (status == GDN_OK) {
        gdn_matrix_text(&matrix, stdout);
    }
    gdn_matrix_destroy(&matrix);
    return status;
}

int gdn_cmd_diff(int argc, char **argv) {
    static const struct argp ARGP = {
        .options = OPTIONS,
        .parser = parse,
        .args_doc = "BASE.json NEW.json\n--matrix REPORT.json...",
        .doc = "What changed between two reports: new failures, diagnoses, budgets beyond "
               "1.5 times, cases, drivers, vectors. With --matrix: the cases that are not "
               "right on every device.\v"
               "Exit: 0 no regression; 1 a regression: a new or a worse failure, another "
               "bug, a budget beyond 1.5 times, a case that is not run any more; 2 bad "
               "usage or input, or no case has the same golden values in both.",
    };
    arguments a = {.n_reports = 0};
    gdn_cli_parse(&ARGP, argc, argv, &a);
    gdn_run_result *runs = calloc(MOST_REPORTS, sizeof *runs);
    gdn_error err = {0};
    gdn_status status =
        runs ? GDN_OK : gdn_error_set(&err, GDN_ERR_OOM, "no memory for reports");
    size_t n_read = 0;
    while (status == GDN_OK && n_read < a.n_reports) {
        status = gdn_report_read(&runs[n_read], a.reports[n_read], &err);
        n_read += status == GDN_OK;
    }
    int code = GDN_EXIT_GREEN;
    if (status == GDN_OK) {
        status = a.matrix ? tell_matrix(&a, runs, &err) : tell_diff(&a, runs, &code, &err);
    }
    for (size_t i = 0; i < n_read; i++) {
        gdn_run_result_destroy(&runs[i]);
    }
    free(runs);
    return status == GDN_OK ? code : gdn_cli_fail(&err);
}
