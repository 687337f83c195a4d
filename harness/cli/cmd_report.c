/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <string.h>

#include "cli.h"
#include "forms.h"
#include "out_file.h"
#include "report_read.h"

enum { KEY_HTML = 256, KEY_JUNIT, KEY_MARKDOWN, KEY_CSV, KEY_ANNOTATIONS };

static const struct argp_option OPTIONS[] = {
    {"html", KEY_HTML, "FILE", 0, "Write one self-contained page", 0},
    {"junit", KEY_JUNIT, "FILE", 0, "Write JUnit XML", 0},
    {"markdown", KEY_MARKDOWN, "FILE", 0, "Write a comment for a pull request (60 KB)", 0},
    {"annotations", KEY_ANNOTATIONS, "FILE", 0, "Write errors as GitHub Actions reads them",
     0},
    {"csv", KEY_CSV, "FILE", 0, "Write a row a tensor", 0},
    {0},
};

typedef struct arguments {
    const char *report;
    const char *html, *junit, *markdown, *csv, *annotations;
} arguments;

static error_t parse(int key, char *arg, struct argp_state *state) {
    arguments *a = state->input;
    switch (key) {
    case KEY_HTML:
        a->html = arg;
        return 0;
    case KEY_JUNIT:
        a->junit = arg;
        return 0;
    case KEY_MARKDOWN:
        a->markdown = arg;
        return 0;
    case KEY_ANNOTATIONS:
        a->annotations = arg;
        return 0;
    case KEY_CSV:
        a->csv = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (a->report) {
            argp_error(state, "unexpected argument \"%s\"", arg);
        }
        a->report = arg;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "expected a report, or - for standard input");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static gdn_status html(const void *run, FILE *out, gdn_error *err) {
    (void)err;
    gdn_report_html(run, out);
    return GDN_OK;
}

static gdn_status junit(const void *run, FILE *out, gdn_error *err) {
    return gdn_report_junit(run, out, err);
}

static gdn_status markdown(const void *run, FILE *out, gdn_error *err) {
    (void)err;
    gdn_report_markdown(run, out);
    return GDN_OK;
}

static gdn_status annotations(const void *run, FILE *out, gdn_error *err) {
    (void)err;
    gdn_report_annotations(run, out);
    return GDN_OK;
}

static gdn_status csv(const void *run, FILE *out, gdn_error *err) {
    (void)err;
    gdn_report_csv(run, out);
    return GDN_OK;
}

int gdn_cmd_report(int argc, char **argv) {
    static const struct argp ARGP = {
        .options = OPTIONS,
        .parser = parse,
        .args_doc = "REPORT.json",
        .doc = "Makes other forms of a report, - for standard output; without an option it "
               "prints the table at the end of the run.\v"
               "Exit: 0 whatever the report says; 2 bad usage or input.",
    };
    arguments a = {0};
    gdn_cli_parse(&ARGP, argc, argv, &a);
    gdn_error err = {0};
    gdn_run_result run;
    if (gdn_report_read(&run, a.report, &err) != GDN_OK) {
        return gdn_cli_fail(&err);
    }
    const struct {
        const char *path;
        gdn_write_form form;
    } forms[] = {{a.html, html},
                 {a.junit, junit},
                 {a.markdown, markdown},
                 {a.csv, csv},
                 {a.annotations, annotations}};
    gdn_status status = GDN_OK;
    for (size_t i = 0; status == GDN_OK && i < sizeof forms / sizeof forms[0]; i++) {
        status =
            forms[i].path ? gdn_out_file(forms[i].path, forms[i].form, &run, &err) : GDN_OK;
    }
    if (!a.html && !a.junit && !a.markdown && !a.csv && !a.annotations) {
        gdn_report_table(&run, stdout);
    }
    gdn_run_result_destroy(&run);
    return status == GDN_OK ? GDN_EXIT_GREEN : gdn_cli_fail(&err);
}
