/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "cli_store.h"
#include "doctor.h"
#include "forms.h"
#include "out_file.h"
#include "perf.h"
#include "runner.h"
#include "shards.h"

#define DEFAULT_TIMEOUT   120.0
#define DEFAULT_PERF_RUNS 20

enum {
    KEY_TIMEOUT = 256,
    KEY_VECTORS,
    KEY_CASE,
    KEY_REPORT,
    KEY_EVENTS,
    KEY_NO_DIAGNOSIS,
    KEY_NUMERICS,
    KEY_OFFLINE,
    KEY_CACERT,
    KEY_TAG,
    KEY_SHARD,
    KEY_KNOWN,
    KEY_RETRY,
    KEY_RATCHET,
    KEY_JUNIT,
    KEY_PERF
};

static const struct argp_option OPTIONS[] = {
    {"device", 'd', "DEVICE", 0, "Device to judge, NAME or NAME:OPTIONS (default cpu)", 0},
    {"suite", 's', "SUITE", 0,
     "Suite of cases, or path of a suite file with a slash in it; repeatable, commas "
     "allowed (default ci)",
     0},
    {"case", KEY_CASE, "GLOB", 0, "Only cases whose id matches; * crosses '/'", 0},
    {"tag", KEY_TAG, "EXPR", 0, "Only cases with these tags: 'spec & !slow'", 0},
    {"shard", KEY_SHARD, "I/N", 0, "Only the I-th of N parts of equal work", 0},
    {"known-failures", KEY_KNOWN, "FILE", 0, "Failures that are known, with issue and date",
     0},
    {"retry-known", KEY_RETRY, NULL, 0, "Launch known crashes and hangs, in quarantine", 0},
    {"ratchet", KEY_RATCHET, "FILE", 0, "Hold cases to the best that they have reached", 0},
    {"vectors", KEY_VECTORS, "DIR|URL", 0,
     "Folder with the suites' golden vector files, or a store to pull them from", 0},
    {"offline", KEY_OFFLINE, NULL, 0, "Take the files of --vectors URL from the cache", 0},
    {"cacert", KEY_CACERT, "FILE", 0, "Certificates that --vectors URL trusts", 0},
    {"timeout", KEY_TIMEOUT, "SECONDS", 0, "Longest time a case may take (default 120)", 0},
    {"report", KEY_REPORT, "FILE", 0, "Write the JSON report", 0},
    {"numerics", KEY_NUMERICS, NULL, 0,
     "Read the device's arithmetic off it and hold it against what each profile claims", 0},
    {"no-diagnosis", KEY_NO_DIAGNOSIS, NULL, 0,
     "Do not search failing cases for the known bug that explains them", 0},
    {"perf", KEY_PERF, "RUNS", OPTION_ARG_OPTIONAL,
     "Time each case that passes over RUNS runs more (default 20), and judge the last", 0},
    {"junit", KEY_JUNIT, "FILE", 0, "Write JUnit XML", 0},
    {"events", KEY_EVENTS, "FILE", 0, "Write the event stream, - for stdout", 0},
    {0},
};

typedef struct arguments {
    gdn_run_options run;
    const char *suites[GDN_CLI_MAX_SUITES];
    const char *report, *junit;
    gdn_store_options store;
} arguments;

static void parse_shard(gdn_run_options *run, const char *arg, struct argp_state *state) {
    int length = 0;
    if (sscanf(arg, "%4d/%4d%n", &run->shard, &run->shards, &length) != 2 ||
        arg[length] != '\0' || run->shard < 1 || run->shard > run->shards ||
        run->shards > GDN_MOST_SHARDS) {
        argp_error(state, "--shard: expected I/N with 1 <= I <= N <= %d but found \"%s\"",
                   GDN_MOST_SHARDS, arg);
    }
}

static error_t parse(int key, char *arg, struct argp_state *state) {
    arguments *a = state->input;
    char *end = NULL;
    switch (key) {
    case 'd':
        a->run.device = arg;
        return 0;
    case 's':
        gdn_cli_add_suites(state, a->suites, arg);
        return 0;
    case KEY_CASE:
        a->run.glob = arg;
        return 0;
    case KEY_VECTORS:
        a->run.vectors = arg;
        return 0;
    case KEY_OFFLINE:
        a->store.offline = true;
        return 0;
    case KEY_CACERT:
        a->store.cacert = arg;
        return 0;
    case KEY_TIMEOUT:
        a->run.timeout = strtod(arg, &end);
        if (end == arg || *end != '\0' || !(a->run.timeout > 0.0)) {
            argp_error(state, "--timeout: expected seconds above 0 but found \"%s\"", arg);
        }
        return 0;
    case KEY_REPORT:
        a->report = arg;
        return 0;
    case KEY_NUMERICS:
        a->run.numerics = true;
        return 0;
    case KEY_NO_DIAGNOSIS:
        a->run.no_diagnosis = true;
        return 0;
    case KEY_TAG:
        a->run.tag = arg;
        return 0;
    case KEY_SHARD:
        parse_shard(&a->run, arg, state);
        return 0;
    case KEY_KNOWN:
        a->run.known_failures = arg;
        return 0;
    case KEY_RETRY:
        a->run.retry_known = true;
        return 0;
    case KEY_RATCHET:
        a->run.ratchet = arg;
        return 0;
    case KEY_PERF:
        a->run.perf = arg ? (int)gdn_cli_count(state, "--perf", arg, 1, GDN_PERF_MOST_RUNS)
                          : DEFAULT_PERF_RUNS;
        return 0;
    case KEY_JUNIT:
        a->junit = arg;
        return 0;
    case KEY_EVENTS:
        a->run.events = arg;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument \"%s\"", arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static gdn_status write_junit(const void *run, FILE *out, gdn_error *err) {
    return gdn_report_junit(run, out, err);
}

static gdn_status write_files(const gdn_run_result *run, const arguments *a,
                              gdn_error *err) {
    gdn_status status = GDN_OK;
    if (a->report) {
        json_t *json = gdn_report_json(run);
        status = json ? gdn_report_write(json, a->report, err)
                      : gdn_error_set(err, GDN_ERR_OOM, "no memory for the report");
        json_decref(json);
    }
    if (status == GDN_OK && a->junit) {
        status = gdn_out_file(a->junit, write_junit, run, err);
    }
    return status;
}

static int finish(const gdn_run_result *run, const arguments *a) {
    gdn_doctor_summary(run, stdout);
    gdn_report_perf(run, stdout);
    gdn_report_table(run, stdout);
    if (run->complaint) {
        fprintf(stderr, "gdn-conform: %s\n", run->complaint);
    }
    if (run->harness_error) {
        fprintf(stderr, "gdn-conform: %s\n", run->harness_error);
    }
    if (run->lost_reason) {
        fprintf(stderr, "gdn-conform: device lost: %s\n", run->lost_reason);
    }
    const char *why = NULL;
    int code = gdn_run_exit_code(run, &why);
    gdn_error err = {0};
    if (write_files(run, a, &err) != GDN_OK) {
        gdn_cli_fail(&err);
        code = GDN_EXIT_HARNESS;
    }
    return code;
}

int gdn_cmd_run(int argc, char **argv) {
    static const struct argp ARGP = {
        .options = OPTIONS,
        .parser = parse,
        .doc =
            "Runs every case of the suites on a device and judges the outputs against FP64 "
            "golden values.\v"
            "Exit: 0 all passed; 1 a case failed, crashed, hung or was declined; 2 bad "
            "usage "
            "or input; 3 the harness failed or ran nothing; 4 the device is absent or "
            "lost.",
    };
    arguments a = {.run = {.device = "cpu",
                           .timeout = DEFAULT_TIMEOUT,
                           .results = stdout,
                           .progress = isatty(STDERR_FILENO) ? stderr : NULL},
                   .store = gdn_cli_store_defaults()};
    gdn_cli_parse(&ARGP, argc, argv, &a);
    if (!a.suites[0]) {
        a.suites[0] = "ci";
    }
    a.run.suites = a.suites;
    gdn_error err = {0};
    gdn_paths paths;
    int code = GDN_EXIT_HARNESS;
    /* Found out before hours of work, not after them. */
    if (a.report && gdn_report_check_path(a.report, &err) != GDN_OK) {
        gdn_error_context(&err, "--report");
        return gdn_cli_fail(&err);
    }
    if (a.junit && gdn_report_check_path(a.junit, &err) != GDN_OK) {
        gdn_error_context(&err, "--junit");
        return gdn_cli_fail(&err);
    }
    if (!gdn_cli_paths(&paths, &code)) {
        return code;
    }
    char *pulled = NULL;
    if (gdn_cli_pull_vectors(&pulled, &a.run.vectors, a.suites, &a.store, &err) != GDN_OK) {
        return gdn_cli_fail(&err);
    }
    gdn_run_result run;
    if (gdn_run(&run, &a.run, &paths, &err) != GDN_OK) {
        code = gdn_cli_fail(&err);
    } else {
        code = finish(&run, &a);
        gdn_run_result_destroy(&run);
    }
    free(pulled);
    return code;
}
