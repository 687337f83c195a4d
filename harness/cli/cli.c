/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gdn/nearest.h"

/* Long options that argp adds by itself. */
static const char *const BUILT_IN[] = {"help", "usage", "version"};
#define BUILT_INS (sizeof BUILT_IN / sizeof BUILT_IN[0])

#define MOST_OPTIONS 32

static void collect_names(const struct argp *argp, const char **names) {
    size_t n = 0;
    for (const struct argp_option *o = argp->options;
         o && (o->name || o->key || o->doc) && n + BUILT_INS + 1 < MOST_OPTIONS; o++) {
        if (o->name) {
            names[n++] = o->name;
        }
    }
    for (size_t i = 0; i < BUILT_INS; i++) {
        names[n++] = BUILT_IN[i];
    }
    names[n] = NULL;
}

/* getopt accepts unambiguous beginnings; so does this. */
static bool is_known(const char *const *names, const char *name, size_t length) {
    for (size_t i = 0; names[i]; i++) {
        if (strncmp(names[i], name, length) == 0) {
            return true;
        }
    }
    return false;
}

void gdn_cli_parse(const struct argp *argp, int argc, char **argv, void *input) {
    const char *names[MOST_OPTIONS];
    collect_names(argp, names);
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strncmp(argv[i], "--", 2) != 0) {
            continue;
        }
        const size_t length = strcspn(argv[i] + 2, "=");
        if (is_known(names, argv[i] + 2, length)) {
            continue;
        }
        char *name = strndup(argv[i] + 2, length);
        const char *nearest = name ? gdn_nearest(name, names) : NULL;
        fprintf(stderr, "%s: no option is named \"--%s\"", argv[0], name ? name : "");
        fprintf(stderr, nearest ? " (did you mean \"--%s\"?)\n" : "\n", nearest);
        free(name);
        exit(GDN_EXIT_USAGE);
    }
    argp_err_exit_status = GDN_EXIT_USAGE;
    argp_parse(argp, argc, argv, 0, NULL, input);
}

int gdn_cli_fail(const gdn_error *err) {
    fprintf(stderr, "gdn-conform: %s\n", err->message);
    switch (err->status) {
    case GDN_ERR_ARG:
    case GDN_ERR_FORMAT:
    case GDN_ERR_IO:
        return GDN_EXIT_USAGE;
    case GDN_ERR_DEVICE:
    case GDN_ERR_UNSUPPORTED:
        return GDN_EXIT_DEVICE;
    case GDN_OK:
    case GDN_ERR_OOM:
    case GDN_ERR_ABI:
    case GDN_ERR_BLIND:
    case GDN_ERR_NETWORK:
        break;
    }
    return GDN_EXIT_HARNESS;
}

bool gdn_cli_paths(gdn_paths *paths, int *exit_code) {
    gdn_error err = {0};
    if (gdn_paths_find(paths, &err) == GDN_OK) {
        return true;
    }
    *exit_code = gdn_cli_fail(&err);
    return false;
}

void gdn_cli_add_suites(struct argp_state *state, const char **suites, char *text) {
    size_t n = 0;
    while (suites[n]) {
        n++;
    }
    char *name;
    while ((name = strsep(&text, ",")) != NULL) {
        if (*name == '\0' || n + 1 >= GDN_CLI_MAX_SUITES) {
            argp_error(state, "--suite: an empty name, or more than %d suites",
                       GDN_CLI_MAX_SUITES - 1);
            return;
        }
        suites[n++] = name;
    }
}
