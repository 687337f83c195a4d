/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What the subcommands share. Only this folder prints and exits. */
#ifndef GDN_CLI_H
#define GDN_CLI_H

#include <argp.h>

#include "data_paths.h"

/// Exit codes of every subcommand (design section 6).
enum {
    GDN_EXIT_GREEN = 0,
    GDN_EXIT_RED = 1,     ///< a device or a comparison failed
    GDN_EXIT_USAGE = 2,   ///< bad usage or bad input
    GDN_EXIT_HARNESS = 3, ///< the harness itself failed
    GDN_EXIT_DEVICE = 4,  ///< the device is absent or lost
};

/// Subcommands; argv[0] is "gdn-conform NAME".
int gdn_cmd_check(int argc, char **argv);
int gdn_cmd_devices(int argc, char **argv);
int gdn_cmd_diagnose(int argc, char **argv);
int gdn_cmd_explain(int argc, char **argv);
int gdn_cmd_export(int argc, char **argv);
int gdn_cmd_diff(int argc, char **argv);
int gdn_cmd_generate(int argc, char **argv);
int gdn_cmd_import(int argc, char **argv);
int gdn_cmd_list(int argc, char **argv);
int gdn_cmd_merge(int argc, char **argv);
int gdn_cmd_mutate(int argc, char **argv);
int gdn_cmd_new_worker(int argc, char **argv);
int gdn_cmd_pull(int argc, char **argv);
int gdn_cmd_push(int argc, char **argv);
int gdn_cmd_ratchet(int argc, char **argv);
int gdn_cmd_report(int argc, char **argv);
int gdn_cmd_run(int argc, char **argv);
int gdn_cmd_vectors(int argc, char **argv);

/// argp_parse() that first refuses unknown long options by naming the nearest one. Leaves
/// the program with GDN_EXIT_USAGE on bad usage.
void gdn_cli_parse(const struct argp *argp, int argc, char **argv, void *input);

/// Prints "gdn-conform: <message>" on stderr and returns the exit code that fits the
/// status.
int gdn_cli_fail(const gdn_error *err);

/// Finds the data folders or fails as gdn_cli_fail() does; true if it found them.
bool gdn_cli_paths(gdn_paths *paths, int *exit_code);

#define GDN_CLI_MAX_SUITES 32

/// Appends the comma-separated suite names of one --suite option; too many, or an empty
/// one, is bad usage. Names point into `text`, which is cut.
void gdn_cli_add_suites(struct argp_state *state, const char **suites, char *text);

#endif
