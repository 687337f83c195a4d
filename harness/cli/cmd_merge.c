/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "merge.h"
#include "out_file.h"
#include "report_read.h"

#define MOST_SHARDS 4096

static const struct argp_option OPTIONS[] = {
    {"report", 'o', "FILE", 0, "Write the merged report there (default: standard output)",
     0},
    {0},
};

typedef struct arguments {
    const char **shards;
    size_t n_shards;
    const char *report;
} arguments;

static error_t parse(int key, char *arg, struct argp_state *state) {
    arguments *a = state->input;
    switch (key) {
    case 'o':
        a->report = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (a->n_shards == MOST_SHARDS) {
            argp_error(state, "more than %d shards", MOST_SHARDS);
        }
        a->shards[a->n_shards++] = arg;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "expected the reports of the shards");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static gdn_status read_all(gdn_run_result *runs, const arguments *a, gdn_error *err) {
    for (size_t i = 0; i < a->n_shards; i++) {
        GDN_TRY(gdn_report_read(&runs[i], a->shards[i], err));
    }
    return gdn_merge(runs, a->shards, a->n_shards, err);
}

int gdn_cmd_merge(int argc, char **argv) {
    static const struct argp ARGP = {
        .options = OPTIONS,
        .parser = parse,
        .args_doc = "SHARD.json...",
        .doc = "One report of all shards of a run (run --shard I/N): same device, driver, "
               "suites and vectors, every shard once.\v"
               "Exit: that of the whole run, as `run` would have said it; 2 bad usage or "
               "input, or a shard is missing.",
    };
    arguments a = {.shards = calloc((size_t)argc + 1, sizeof *a.shards), .report = "-"};
    gdn_run_result *runs = calloc((size_t)argc + 1, sizeof *runs);
    gdn_error err = {0};
    if (!a.shards || !runs) {
        gdn_error_set(&err, GDN_ERR_OOM, "no memory");
        return gdn_cli_fail(&err);
    }
    gdn_cli_parse(&ARGP, argc, argv, &a);
    gdn_status status = read_all(runs, &a, &err);
    int code = GDN_EXIT_HARNESS;
    if (status == GDN_OK) {
        const char *why = NULL;
        code = gdn_run_exit_code(&runs[0], &why);
        json_t *json = gdn_report_json(&runs[0]);
        status = json ? gdn_report_write(json, a.report, &err)
                      : gdn_error_set(&err, GDN_ERR_OOM, "no memory for the report");
        json_decref(json);
    }
    for (size_t i = 0; i < a.n_shards; i++) {
        gdn_run_result_destroy(&runs[i]);
    }
    free(runs);
    free(a.shards);
    return status == GDN_OK ? code : gdn_cli_fail(&err);
}
