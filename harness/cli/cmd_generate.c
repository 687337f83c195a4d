/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <omp.h>

#include "cli.h"
#include "digest_list.h"
#include "expand.h"
#include "gdn/exact.h"
#include "vector_file.h"
#include "worker_process.h"

enum { KEY_CHECK = 256, KEY_DIGESTS };

static const struct argp_option OPTIONS[] = {
    {"suite", 's', "SUITE", 0, "Suite to generate, repeatable, commas allowed (required)",
     0},
    {"output", 'o', "DIR", 0, "Folder of the vector files (default: the program's own)", 0},
    {"check", KEY_CHECK, NULL, 0,
     "Write nothing: regenerate and compare with the manifest and the file in DIR", 0},
    {"digests", KEY_DIGESTS, NULL, 0,
     "Write one digest a case instead of vectors: SUITE.digests, which --check knows too",
     0},
    {0},
};

typedef struct arguments {
    const char *suites[GDN_CLI_MAX_SUITES];
    const char *folder;
    bool check, digests;
} arguments;

/* Where the time of a suite goes, in seconds. */
typedef struct phases {
    double inputs, reference, certificates, files;
} phases;

static error_t parse(int key, char *arg, struct argp_state *state) {
    arguments *a = state->input;
    switch (key) {
    case 's':
        gdn_cli_add_suites(state, a->suites, arg);
        return 0;
    case 'o':
        a->folder = arg;
        return 0;
    case KEY_CHECK:
        a->check = true;
        return 0;
    case KEY_DIGESTS:
        a->digests = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument \"%s\"", arg);
        return 0;
    case ARGP_KEY_END:
        if (!a->suites[0]) {
            argp_error(state, "expected at least one --suite");
        }
        if (a->check && a->digests) {
            argp_error(state, "expected one of --check and --digests");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Time since `*then`, which becomes now. */
static double lap(double *then) {
    const double now = gdnp_now();
    const double passed = now - *then;
    *then = now;
    return passed;
}

/* `certify` false: digests are all that is wanted. */
static gdn_status generate_case(gdn_vector_writer *writer, const gdn_case *test,
                                bool certify, phases *time, gdn_error *err) {
    gdn_problem problem;
    gdn_golden golden;
    double then = gdnp_now();
    GDN_TRY(gdn_problem_create(&problem, test, err));
    time->inputs += lap(&then);
    gdn_status status = gdn_golden_create(&golden, &problem, err);
    time->reference += lap(&then);
    if (status == GDN_OK) {
        gdn_certificate certificate = {0};
        status = certify ? gdn_certify(&certificate, &problem, &golden, err) : GDN_OK;
        time->certificates += lap(&then);
        if (status == GDN_OK) {
            status = gdn_vector_writer_add(writer, &problem, &golden, &certificate, err);
        }
        time->files += lap(&then);
        gdn_golden_destroy(&golden);
    }
    gdn_problem_destroy(&problem);
    return status;
}

static void show_progress(size_t done, size_t all, const char *suite) {
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r\033[K%s %zu/%zu%s", suite, done, all, done == all ? "\n" : "");
        fflush(stderr);
    }
}

static void show_phases(const char *suite, const phases *time, double fallbacks) {
    const double all = time->inputs + time->reference + time->certificates + time->files;
    fprintf(
        stderr,
        "%s: %.1f s: reference %.0f %%, certificates %.0f %%, inputs %.0f %%, digests and "
        "files %.0f %%; rounding by MPFR %.2f %%\n",
        suite, all, 100.0 * time->reference / all, 100.0 * time->certificates / all,
        100.0 * time->inputs / all, 100.0 * time->files / all,
        100.0 * fallbacks / (all * omp_get_max_threads()));
}

/* What the manifest should be, against what is in the folder. */
static gdn_status check_suite(const gdn_vector_writer *writer, const char *folder,
                              const char *suite, bool digests, gdn_error *err) {
    if (digests) {
        return gdn_digest_list_compare(folder, suite, gdn_vector_writer_manifest(writer),
                                       err);
    }
    gdn_vector_reader *reader = NULL;
    GDN_TRY(gdn_vector_reader_open(&reader, folder, suite, err));
    const gdn_status status = gdn_manifest_compare(gdn_vector_reader_manifest(reader),
                                                   gdn_vector_writer_manifest(writer), err);
    gdn_vector_reader_close(reader);
    return status;
}

/* Compares or publishes what the writer has, and destroys it. */
static gdn_status finish_suite(gdn_vector_writer *writer, const arguments *a,
                               const gdn_suite *suite, bool digests, gdn_error *err) {
    const char *what = digests ? "digests" : "digests and certificates";
    gdn_status status = GDN_OK;
    if (a->check) {
        status = check_suite(writer, a->folder, suite->name, digests, err);
    } else if (digests) {
        status = gdn_digest_list_write(a->folder, suite->name,
                                       gdn_vector_writer_manifest(writer), err);
    } else {
        GDN_TRY(gdn_vector_writer_commit(writer, err));
        printf("%s: %zu cases written to %s\n", suite->name, suite->n_cases, a->folder);
        return GDN_OK;
    }
    gdn_vector_writer_abandon(writer);
    GDN_TRY(status);
    if (a->check) {
        printf("%s: %zu cases regenerated, all %s as in %s\n", suite->name, suite->n_cases,
               what, a->folder);
    } else {
        printf("%s: digests of %zu cases written to %s\n", suite->name, suite->n_cases,
               a->folder);
    }
    return GDN_OK;
}

static gdn_status generate_suite(const arguments *a, const gdn_suite *suite,
                                 gdn_error *err) {
    const bool digests =
        a->digests || (a->check && gdn_digest_list_exists(a->folder, suite->name));
    gdn_vector_writer *writer = NULL;
    GDN_TRY(gdn_vector_writer_create(&writer, a->check || digests ? NULL : a->folder,
                                     suite->name, err));
    phases time = {0};
    const double before = gdn_exact_fallback_seconds();
    for (size_t i = 0; i < suite->n_cases; i++) {
        show_progress(i, suite->n_cases, suite->name);
        const gdn_status status =
            generate_case(writer, &suite->cases[i], !digests, &time, err);
        if (status != GDN_OK) {
            gdn_vector_writer_abandon(writer);
            gdn_error_context(err, "suite %s", suite->name);
            return status;
        }
    }
    show_progress(suite->n_cases, suite->n_cases, suite->name);
    show_phases(suite->name, &time, gdn_exact_fallback_seconds() - before);
    return finish_suite(writer, a, suite, digests, err);
}

int gdn_cmd_generate(int argc, char **argv) {
    static const struct argp ARGP = {
        .options = OPTIONS,
        .parser = parse,
        .doc =
            "Makes the golden vector file and the manifest of each suite. Files appear "
            "under their names only when they are complete.\v"
            "Each case that is not too large is certified against 113-bit arithmetic.\n"
            "Exit: 0 done, or equal; 1 a regenerated digest or certificate differs, or a "
            "certificate is refused; 2 bad usage or input.",
    };
    arguments a = {0};
    gdn_cli_parse(&ARGP, argc, argv, &a);
    gdn_paths paths;
    int code = GDN_EXIT_HARNESS;
    if (!gdn_cli_paths(&paths, &code)) {
        return code;
    }
    if (!a.folder) {
        a.folder = paths.vectors;
    }
    /* All suites are read before anything is written. */
    gdn_error err = {0};
    gdn_suite suites[GDN_CLI_MAX_SUITES] = {0};
    gdn_status status = GDN_OK;
    size_t count = 0;
    while (status == GDN_OK && a.suites[count]) {
        status = gdn_suite_load(&suites[count], paths.suites, paths.profiles,
                                a.suites[count], &err);
        count++;
    }
    if (status == GDN_OK && !a.check && mkdir(a.folder, 0777) != 0 && errno != EEXIST) {
        status = gdn_error_set(&err, GDN_ERR_ARG, "--output: cannot make %s: %s", a.folder,
                               strerror(errno));
    }
    bool disagrees = false;
    for (size_t i = 0; status == GDN_OK && i < count; i++) {
        status = generate_suite(&a, &suites[i], &err);
        disagrees = status == GDN_ERR_FORMAT;
    }
    for (size_t i = 0; i < count; i++) {
        gdn_suite_destroy(&suites[i]);
    }
    code = status == GDN_OK ? GDN_EXIT_GREEN : gdn_cli_fail(&err);
    return disagrees ? GDN_EXIT_RED : code;
}
