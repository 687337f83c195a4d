/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "ratchet.h"
#include "report_read.h"

enum { KEY_RAISE = 256, KEY_REASON };

static const struct argp_option OPTIONS[] = {
    {"raise", KEY_RAISE, "GLOB", 0, "Also raise the entries of these cases", 0},
    {"reason", KEY_REASON, "TEXT", 0, "Why; shown by diff", 0},
    {0},
};

#define MOST_REPORTS 64

typedef struct arguments {
    const char *file;
    const char *reports[MOST_REPORTS];
    size_t n_reports;
    const char *raise, *reason;
} arguments;

static error_t parse(int key, char *arg, struct argp_state *state) {
    arguments *a = state->input;
    switch (key) {
    case KEY_RAISE:
        a->raise = arg;
        return 0;
    case KEY_REASON:
        a->reason = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (!a->file) {
            a->file = arg;
        } else if (a->n_reports < MOST_REPORTS) {
            a->reports[a->n_reports++] = arg;
        } else {
            argp_error(state, "more than %d reports", MOST_REPORTS);
        }
        return 0;
    case ARGP_KEY_END:
        if (a->n_reports == 0) {
            argp_error(state, "expected the ratchet and the reports of repeated runs");
        } else if ((a->raise == NULL) != (a->reason == NULL) ||
                   (a->reason && a->reason[strspn(a->reason, " ")] == '\0')) {
            argp_error(state, "--raise needs --reason, and --reason a text");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static gdn_status turn(const arguments *a, const gdn_run_result *runs,
                       gdn_ratchet_change *change, gdn_error *err) {
    gdn_ratchet ratchet = {0};
    if (access(a->file, F_OK) == 0) {
        GDN_TRY(gdn_ratchet_load(&ratchet, a->file, err));
    } else {
        GDN_TRY(gdn_ratchet_start(&ratchet, a->file, runs[0].device, err));
    }
    gdn_status status =
        gdn_ratchet_lower(&ratchet, runs, a->n_reports, a->raise, a->reason, change, err);
    if (status == GDN_OK) {
        status = gdn_report_write(ratchet.root, a->file, err);
    }
    gdn_ratchet_destroy(&ratchet);
    return status;
}

int gdn_cmd_ratchet(int argc, char **argv) {
    static const struct argp ARGP = {
        .options = OPTIONS,
        .parser = parse,
        .args_doc = "FILE REPORT.json...",
        .doc =
            "Lowers the ratchet FILE (it is made if there is none) to the best budgets of "
            "five or more runs of one device, and never raises an entry without a "
            "reason.\v"
            "Exit: 0 the ratchet was written; 2 bad usage or input.",
    };
    arguments a = {.file = NULL};
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
    gdn_ratchet_change change = {0};
    if (status == GDN_OK) {
        status = turn(&a, runs, &change, &err);
    }
    for (size_t i = 0; i < n_read; i++) {
        gdn_run_result_destroy(&runs[i]);
    }
    free(runs);
    if (status != GDN_OK) {
        return gdn_cli_fail(&err);
    }
    printf("%zu added, %zu lowered, %zu raised, %zu renewed for other golden values, %zu "
           "kept\n",
           change.added, change.lowered, change.raised, change.renewed, change.kept);
    return GDN_EXIT_GREEN;
}
