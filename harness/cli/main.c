/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* gdn-conform: picks the subcommand; one file each. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "gdn/nearest.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *what;
} COMMANDS[] = {
    {"check", gdn_cmd_check, "judge calls that production recorded"},
    {"devices", gdn_cmd_devices, "what is here, and why the rest is not"},
    {"diagnose", gdn_cmd_diagnose, "which known bug explains a failing case of a report"},
    {"explain", gdn_cmd_explain, "the terms of one element's limit, with numbers"},
    {"export", gdn_cmd_export, "golden vectors as safetensors"},
    {"diff", gdn_cmd_diff, "what changed between two reports"},
    {"generate", gdn_cmd_generate, "make golden vector files, or check them"},
    {"import", gdn_cmd_import, "complete a captured call, so that check takes it"},
    {"list", gdn_cmd_list, "ops, suites, profiles, cases, deviations, vectors"},
    {"merge", gdn_cmd_merge, "one report of the shards of a run"},
    {"mutate", gdn_cmd_mutate, "the kill matrix: which known bugs the suites see"},
    {"new-worker", gdn_cmd_new_worker, "a worker to start from, in Python and in C"},
    {"pull", gdn_cmd_pull, "fetch golden vector files from a store"},
    {"push", gdn_cmd_push, "upload golden vector files, or a report"},
    {"ratchet", gdn_cmd_ratchet, "lower the best budgets that a device is held to"},
    {"report", gdn_cmd_report, "a report as HTML, JUnit, Markdown, CSV"},
    {"run", gdn_cmd_run, "judge a device"},
    {"vectors", gdn_cmd_vectors, "diff, lint and index of golden files"},
};
#define COUNT (sizeof COMMANDS / sizeof COMMANDS[0])

static void print_usage(FILE *out) {
    fprintf(out, "Usage: gdn-conform COMMAND [OPTION...]\n\n");
    for (size_t i = 0; i < COUNT; i++) {
        fprintf(out, "  %-10s %s\n", COMMANDS[i].name, COMMANDS[i].what);
    }
    fprintf(out, "\ngdn-conform COMMAND --help tells the options.\n");
}

/* A result that nobody could read is no result. */
static int finish(int code) {
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "gdn-conform: standard output cannot be written\n");
        return GDN_EXIT_HARNESS;
    }
    return code;
}

int main(int argc, char **argv) {
    /* A reader of ours that goes away must not take the report with it. */
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        print_usage(stderr);
        return GDN_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("gdn-conform %s\n", GDN_VERSION);
        return GDN_EXIT_GREEN;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        print_usage(stdout);
        return GDN_EXIT_GREEN;
    }
    const char *names[COUNT + 1] = {NULL};
    for (size_t i = 0; i < COUNT; i++) {
        names[i] = COMMANDS[i].name;
        if (strcmp(argv[1], names[i]) == 0) {
            char program[64];
            snprintf(program, sizeof program, "gdn-conform %s", names[i]);
            argv[1] = program;
            return finish(COMMANDS[i].run(argc - 1, argv + 1));
        }
    }
    gdn_error err = {0};
    gdn_error_unknown(&err, GDN_ERR_ARG, "command", argv[1], names);
    return gdn_cli_fail(&err);
}
