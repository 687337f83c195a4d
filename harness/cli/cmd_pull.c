/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli.h"
#include "cli_store.h"

enum { KEY_OFFLINE = 256, KEY_CACERT, KEY_RETRIES, KEY_STALL };

static const struct argp_option OPTIONS[] = {
    {"suite", 's', "SUITE", 0,
     "Suite to fetch, repeatable, commas allowed (default: all that the store has)", 0},
    {"offline", KEY_OFFLINE, NULL, 0, "Use what the cache holds, ask nobody", 0},
    {"cacert", KEY_CACERT, "FILE", 0, "Trust the certificates of FILE, no others", 0},
    {"retries", KEY_RETRIES, "N", 0, "Tries after a failure that may pass (default 4)", 0},
    {"stall", KEY_STALL, "SECONDS", 0,
     "A transfer without a byte for so long has failed (default 30)", 0},
    {"verbose", 'v', NULL, 0, "Say what is requested and what came of it", 0},
    {0},
};

typedef struct arguments {
    const char *suites[GDN_CLI_MAX_SUITES];
    const char *url;
    gdn_store_options store;
} arguments;

static error_t parse(int key, char *arg, struct argp_state *state) {
    arguments *a = state->input;
    switch (key) {
    case 's':
        gdn_cli_add_suites(state, a->suites, arg);
        return 0;
    case KEY_OFFLINE:
        a->store.offline = true;
        return 0;
    case KEY_CACERT:
        a->store.cacert = arg;
        return 0;
    case KEY_RETRIES:
        a->store.retries = gdn_cli_count(state, "--retries", arg, 0, 100);
        return 0;
    case KEY_STALL:
        a->store.stall_seconds = gdn_cli_count(state, "--stall", arg, 1, 3600);
        return 0;
    case 'v':
        a->store.log = stderr;
        return 0;
    case ARGP_KEY_ARG:
        if (a->url) {
            argp_error(state, "expected one URL but found a second argument");
        }
        a->url = arg;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "expected the URL of a store");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

unsigned gdn_cli_count(struct argp_state *state, const char *option, const char *text,
                       unsigned least, unsigned most) {
    char *end = NULL;
    const unsigned long value = strtoul(text, &end, 10);
    if (end == text || *end != '\0' || text[0] == '-' || value < least || value > most) {
        argp_error(state, "%s: expected a number in [%u, %u] but found \"%s\"", option,
                   least, most, text);
    }
    return (unsigned)value;
}

gdn_store_options gdn_cli_store_defaults(void) {
    return (gdn_store_options){
        .retries = GDN_STORE_RETRIES,
        .stall_seconds = GDN_STORE_STALL,
        .progress = isatty(STDERR_FILENO) ? stderr : NULL,
    };
}

gdn_status gdn_cli_pull_vectors(char **pulled, const char **vectors,
                                const char *const *suites, const gdn_store_options *options,
                                gdn_error *err) {
    gdn_store_summary summary;
    *pulled = NULL;
    if (!*vectors || !gdn_store_is_url(*vectors)) {
        return GDN_OK;
    }
    GDN_TRY(gdn_store_pull(pulled, &summary, *vectors, suites, options, err));
    *vectors = *pulled;
    return GDN_OK;
}

int gdn_cmd_pull(int argc, char **argv) {
    static const struct argp ARGP = {
        .options = OPTIONS,
        .parser = parse,
        .args_doc = "URL",
        .doc =
            "Fetches golden vector files into the cache and prints the folder that holds "
            "them. Digests are verified before a file gets its name, and again on every "
            "use.\v"
            "URL is a store's folder or its index.json. A token is taken from "
            "GDN_CONFORM_TOKEN, proxies and certificates from the variables that curl "
            "uses.\n"
            "Exit: 0 all files are there; 2 bad usage, or the server has something else "
            "than it says; 3 the server cannot be reached.",
    };
    arguments a = {.store = gdn_cli_store_defaults()};
    gdn_cli_parse(&ARGP, argc, argv, &a);
    gdn_error err = {0};
    char *folder = NULL;
    gdn_store_summary summary;
    if (gdn_store_pull(&folder, &summary, a.url, a.suites[0] ? a.suites : NULL, &a.store,
                       &err) != GDN_OK) {
        return gdn_cli_fail(&err);
    }
    fprintf(stderr, "%zu files, %.1f MB; %zu of them fetched, %.1f MB\n", summary.files,
            (double)summary.total_bytes / 1e6, summary.fetched,
            (double)summary.bytes / 1e6);
    printf("%s\n", folder);
    free(folder);
    return GDN_EXIT_GREEN;
}
