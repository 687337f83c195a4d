/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"
#include "cli_store.h"

enum { KEY_CACERT = 256, KEY_RETRIES, KEY_STALL, KEY_POST };

static const struct argp_option OPTIONS[] = {
    {"suite", 's', "SUITE", 0, "Suite to upload, repeatable, commas allowed (default: all)",
     0},
    {"post", KEY_POST, NULL, 0, "Upload a file by POST to the URL itself instead of PUT",
     0},
    {"cacert", KEY_CACERT, "FILE", 0, "Trust the certificates of FILE, no others", 0},
    {"retries", KEY_RETRIES, "N", 0, "Tries after a failure that may pass (default 4)", 0},
    {"stall", KEY_STALL, "SECONDS", 0,
     "A transfer without a byte for so long has failed (default 30)", 0},
    {"verbose", 'v', NULL, 0, "Say what is requested and what came of it", 0},
    {0},
};

typedef struct arguments {
    const char *suites[GDN_CLI_MAX_SUITES];
    const char *url, *path;
    bool post;
    gdn_store_options store;
} arguments;

static error_t parse(int key, char *arg, struct argp_state *state) {
    arguments *a = state->input;
    switch (key) {
    case 's':
        gdn_cli_add_suites(state, a->suites, arg);
        return 0;
    case KEY_POST:
        a->post = true;
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
        if (a->url && a->path) {
            argp_error(state, "expected a URL and one path but found a third argument");
        } else if (a->url) {
            a->path = arg;
        } else {
            a->url = arg;
        }
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "expected a URL");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static gdn_status push(const arguments *a, const char *path, bool folder, gdn_error *err) {
    if (!folder) {
        GDN_TRY(gdn_store_push_file(a->url, path, a->post, &a->store, err));
        printf("%s uploaded\n", path);
        return GDN_OK;
    }
    gdn_store_summary summary;
    GDN_TRY(gdn_store_push(&summary, a->url, path, a->suites[0] ? a->suites : NULL,
                           &a->store, err));
    printf("%zu files and the index uploaded, %.1f MB\n", summary.files,
           (double)summary.bytes / 1e6);
    return GDN_OK;
}

int gdn_cmd_push(int argc, char **argv) {
    static const struct argp ARGP = {
        .options = OPTIONS,
        .parser = parse,
        .args_doc = "URL [FOLDER|FILE]",
        .doc =
            "Uploads a folder of vector files (default: those that came with the program) "
            "with an index, or one file, such as a report.\v"
            "The token is taken from GDN_CONFORM_TOKEN and from nowhere else; it goes to "
            "https only, and to this machine.\n"
            "Exit: 0 uploaded; 2 bad usage or input, or the server refuses; 3 the server "
            "cannot be reached.",
    };
    arguments a = {.store = gdn_cli_store_defaults()};
    gdn_cli_parse(&ARGP, argc, argv, &a);
    gdn_error err = {0};
    gdn_paths paths;
    int code = GDN_EXIT_HARNESS;
    if (!a.path && !gdn_cli_paths(&paths, &code)) {
        return code;
    }
    const char *path = a.path ? a.path : paths.vectors;
    struct stat info;
    gdn_status status = GDN_OK;
    if (stat(path, &info) != 0) {
        status = gdn_error_set(&err, GDN_ERR_IO, "%s: %s", path, strerror(errno));
    } else if (S_ISDIR(info.st_mode) && a.post) {
        status =
            gdn_error_set(&err, GDN_ERR_ARG, "--post: expected a file but found %s", path);
    } else if (!S_ISDIR(info.st_mode) && a.suites[0]) {
        status =
            gdn_error_set(&err, GDN_ERR_ARG,
                          "--suite: expected a folder of vector files but found %s", path);
    } else {
        status = push(&a, path, S_ISDIR(info.st_mode), &err);
    }
    return status == GDN_OK ? GDN_EXIT_GREEN : gdn_cli_fail(&err);
}
