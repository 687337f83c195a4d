/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

static const char *const FILES[] = {"worker.py", "worker.c"};

static error_t parse(int key, char *arg, struct argp_state *state) {
    const char **folder = state->input;
    if (key == ARGP_KEY_ARG && !*folder) {
        *folder = arg;
        return 0;
    }
    if (key == ARGP_KEY_ARG || (key == ARGP_KEY_END && !*folder)) {
        argp_error(state, "expected one folder");
    }
    return ARGP_ERR_UNKNOWN;
}

/* Never over a file that is there: it may hold somebody's kernel. */
static gdn_status copy(const char *from, const char *to, gdn_error *err) {
    FILE *in = fopen(from, "re");
    if (!in) {
        return gdn_error_set(err, GDN_ERR_IO, "%s: %s", from, strerror(errno));
    }
    const int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
    if (!out) {
        const gdn_status status =
            gdn_error_set(err, GDN_ERR_ARG, "%s: %s", to, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        fclose(in);
        return status;
    }
    for (int c = getc(in); c != EOF; c = getc(in)) {
        putc(c, out);
    }
    const bool complete = !ferror(in) && !ferror(out);
    fclose(in);
    return fclose(out) == 0 && complete
               ? GDN_OK
               : gdn_error_set(err, GDN_ERR_IO, "%s cannot be written", to);
}

int gdn_cmd_new_worker(int argc, char **argv) {
    static const struct argp ARGP = {
        .parser = parse,
        .args_doc = "DIR",
        .doc = "Writes a worker to start from into DIR, in Python and in C: fill in one "
               "function, and the first cases pass.\v"
               "Files that are there are left alone (exit 2).",
    };
    const char *folder = NULL;
    gdn_cli_parse(&ARGP, argc, argv, &folder);
    gdn_paths paths;
    gdn_error err = {0};
    int code = GDN_EXIT_HARNESS;
    if (!gdn_cli_paths(&paths, &code)) {
        return code;
    }
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) {
        gdn_error_set(&err, GDN_ERR_ARG, "%s: %s", folder, strerror(errno));
        return gdn_cli_fail(&err);
    }
    for (size_t i = 0; i < sizeof FILES / sizeof FILES[0]; i++) {
        char from[PATH_MAX + 32];
        char to[PATH_MAX];
        snprintf(from, sizeof from, "%s/new/%s", paths.bridge, FILES[i]);
        const int n = snprintf(to, sizeof to, "%s/%s", folder, FILES[i]);
        if (n < 0 || (size_t)n >= sizeof to) {
            gdn_error_set(&err, GDN_ERR_ARG, "path too long: %s", folder);
            return gdn_cli_fail(&err);
        }
        if (copy(from, to, &err) != GDN_OK) {
            return gdn_cli_fail(&err);
        }
        printf("%s\n", to);
    }
    printf("\nFill in gdn_gating() of one of them; then\n"
           "  gdn-conform run --device bridge:%s/worker.py --suite smoke --case "
           "'gdn_gating/vllm-xpu*'\n"
           "  cc -O2 %s/worker.c -o %s/worker -ljansson -lm\n"
           "  gdn-conform run --device bridge:exec=%s/worker --suite smoke --case "
           "'gdn_gating/vllm-xpu*'\n",
           folder, folder, folder, folder);
    return GDN_EXIT_GREEN;
}
