/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "cli.h"

enum { KEY_REPORT = 256 };

static const struct argp_option OPTIONS[] = {
    {"report", KEY_REPORT, "FILE", 0, "Write the JSON report", 0},
    {0},
};

typedef struct arguments {
    char **files;
    size_t count;
    const char *report;
} arguments;

static error_t parse(int key, char *arg, struct argp_state *state) {
    arguments *a = state->input;
    switch (key) {
    case KEY_REPORT:
        a->report = arg;
        return 0;
    case ARGP_KEY_ARGS:
        a->files = state->argv + state->next;
        a->count = (size_t)(state->argc - state->next);
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "expected at least one captured file");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void print_result(const gdn_case_result *result) {
    printf("%-11s %s  %s\n", gdn_verdict_name(result->verdict), result->id,
           result->message ? result->message : "");
    if (result->diagnosis.verdict) {
        printf("            %s %s\n", result->diagnosis.verdict, result->diagnosis.text);
    }
    for (size_t i = 0; i < result->n_tensors; i++) {
        const gdn_tensor_result *t = &result->tensors[i];
        printf("            %-18s %lld of %lld beyond the limit, budget %.3g%s%s\n",
               t->name, (long long)t->failed, (long long)t->compared, t->budget,
               t->first_bad[0] ? ", first " : "", t->first_bad);
    }
    if (result->diagnosis.verdict) {
        printf("            %s %s\n", result->diagnosis.verdict, result->diagnosis.text);
    }
}

static int report(const gdn_run_result *run, const char *path, int code) {
    gdn_error err = {0};
    json_t *json = gdn_report_json(run);
    if (!json || gdn_report_write(json, path, &err) != GDN_OK) {
        gdn_error_set(&err, GDN_ERR_OOM, "no memory for the report");
        code = gdn_cli_fail(&err);
    }
    json_decref(json);
    return code;
}

int gdn_cmd_check(int argc, char **argv) {
    static const struct argp ARGP = {
        .options = OPTIONS,
        .parser = parse,
        .args_doc = "FILE...",
        .doc =
            "Judges captured calls: files with inputs and states before and outputs and "
            "states after, HDF5 or safetensors, as devices/bridge/capture.py writes them. "
            "No device is needed.\v"
            "Rows of outputs that the call does not write are judged only where the file "
            "has "
            "their content before the call; bytes around tensors are in no file.\n"
            "Exit: 0 all passed; 1 one failed; 2 bad usage, or a file that cannot be "
            "judged.",
    };
    arguments a = {0};
    gdn_cli_parse(&ARGP, argc, argv, &a);
    gdn_error err = {0};
    gdn_paths paths;
    int code = GDN_EXIT_HARNESS;
    if (a.report && gdn_report_check_path(a.report, &err) != GDN_OK) {
        gdn_error_context(&err, "--report");
        return gdn_cli_fail(&err);
    }
    if (!gdn_cli_paths(&paths, &code)) {
        return code;
    }
    gdn_run_result run = {.device = strdup("captured"),
                          .suites = strdup(""),
                          .cases = calloc(a.count, sizeof *run.cases),
                          .planned = a.count};
    gdn_status status = run.device && run.suites && run.cases
                            ? GDN_OK
                            : gdn_error_set(&err, GDN_ERR_OOM, "no memory for results");
    while (status == GDN_OK && run.n_cases < a.count) {
        gdn_case_result *result = &run.cases[run.n_cases];
        status = gdn_check_file(result, a.files[run.n_cases], &paths, &err);
        run.n_cases++;
        if (status == GDN_OK) {
            print_result(result);
        }
    }
    if (status != GDN_OK) {
        code = gdn_cli_fail(&err);
    } else {
        const char *why = NULL;
        code = gdn_run_exit_code(&run, &why);
        printf("%s\n", why);
        code = a.report ? report(&run, a.report, code) : code;
    }
    gdn_run_result_destroy(&run);
    return code;
}
