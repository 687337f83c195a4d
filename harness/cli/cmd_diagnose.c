/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "diagnose_shrink.h"
#include "gdn/json_check.h"
#include "gdn/profile.h"
#include "plan_cases.h"

#define DEFAULT_TIMEOUT 120.0
#define DEFAULT_TOP     8

enum { KEY_CASE = 256, KEY_DEVIATIONS, KEY_TOP, KEY_SHRINK };

static const struct argp_option OPTIONS[] = {
    {"case", KEY_CASE, "GLOB", 0,
     "Only failing cases whose id matches (default: the first)", 0},
    {"device", 'd', "DEVICE", 0, "Run on this device instead of the report's", 0},
    {"deviations", KEY_DEVIATIONS, "FILE", 0, "Suspect the deviations of a JSON file too",
     0},
    {"shrink", KEY_SHRINK, "DIR", 0,
     "Shrink the first such case and write it there: as HDF5, and as a C program", 0},
    {"top", KEY_TOP, "N", 0, "Rows of the ranking to print (default 8)", 0},
    {0},
};

typedef struct arguments {
    const char *report, *glob, *device, *deviations, *shrink;
    long top;
} arguments;

/* What a diagnosis is made with. */
typedef struct clinic {
    const arguments *arguments;
    gdn_paths paths;
    json_t *report;
    gdn_deviation_list more;
    gdn_case_plan plan;
    gdn_device_spec device;
    gdn_session session;
    bool open;
} clinic;

static error_t parse(int key, char *arg, struct argp_state *state) {
    arguments *a = state->input;
    char *end = NULL;
    switch (key) {
    case KEY_CASE:
        a->glob = arg;
        return 0;
    case 'd':
        a->device = arg;
        return 0;
    case KEY_DEVIATIONS:
        a->deviations = arg;
        return 0;
    case KEY_SHRINK:
        a->shrink = arg;
        return 0;
    case KEY_TOP:
        a->top = strtol(arg, &end, 10);
        if (end == arg || *end != '\0' || a->top < 1) {
            argp_error(state, "--top: expected a number from 1 on but found \"%s\"", arg);
        }
        return 0;
    case ARGP_KEY_ARG:
        if (a->report) {
            argp_error(state, "unexpected argument \"%s\"", arg);
        }
        a->report = arg;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "expected a report (gdn-conform run --report FILE)");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static gdn_status read_report(clinic *c, gdn_error *err) {
    const char *path = c->arguments->report;
    json_error_t bad;
    c->report = json_load_file(path, JSON_REJECT_DUPLICATES, &bad);
    if (!c->report) {
        const bool unread = json_error_code(&bad) == json_error_cannot_open_file;
        return gdn_error_set(err, unread ? GDN_ERR_IO : GDN_ERR_FORMAT, "%s:%d: %s", path,
                             bad.line, bad.text);
    }
    const json_t *device = json_object_get(c->report, "device");
    if (!json_is_string(json_object_get(device, "name")) ||
        !json_is_string(json_object_get(c->report, "suites")) ||
        !json_is_array(json_object_get(c->report, "cases"))) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "%s: expected a report with $.device.name, $.suites and "
                             "$.cases",
                             path);
    }
    return GDN_OK;
}

static gdn_status plan_suites(clinic *c, gdn_error *err) {
    const char *suites[GDN_CLI_MAX_SUITES] = {NULL};
    char *text = strdup(json_string_value(json_object_get(c->report, "suites")));
    char *rest = text;
    size_t n = 0;
    for (char *name; text && (name = strsep(&rest, ",")) && n + 1 < GDN_CLI_MAX_SUITES;) {
        suites[n++] = name;
    }
    const gdn_status status =
        text ? gdn_case_plan_create(&c->plan, suites, NULL, NULL, &c->paths, err)
             : gdn_error_set(err, GDN_ERR_OOM, "no memory for suites");
    free(text);
    return status;
}

static gdn_status clinic_open(clinic *c, gdn_error *err) {
    GDN_TRY(gdn_paths_find(&c->paths, err));
    GDN_TRY(read_report(c, err));
    if (c->arguments->deviations) {
        GDN_TRY(gdn_deviations_load(&c->more, c->arguments->deviations, err));
    }
    GDN_TRY(plan_suites(c, err));
    const char *device = c->arguments->device
                             ? c->arguments->device
                             : json_string_value(json_object_get(
                                   json_object_get(c->report, "device"), "name"));
    GDN_TRY(gdn_device_spec_parse(&c->device, device, &c->paths, err));
    GDN_TRY(
        gdn_session_open(&c->session, &c->device, c->paths.profiles, DEFAULT_TIMEOUT, err));
    c->open = true;
    return GDN_OK;
}

static void clinic_close(clinic *c) {
    if (c->open) {
        gdn_session_close(&c->session);
    }
    gdn_device_spec_destroy(&c->device);
    gdn_case_plan_destroy(&c->plan);
    gdn_deviation_list_destroy(&c->more);
    json_decref(c->report);
}

static void print_fit(const char *name, const gdn_fit *fit, const char *note) {
    const int64_t right = fit->compared > fit->wrong ? fit->compared - fit->wrong : 0;
    printf("  %-34s %9lld %8.2f%% %12.1f  %s\n", name, (long long)fit->wrong,
           fit->compared > 0 ? 100.0 * (double)right / (double)fit->compared : 0.0,
           fit->residual, note);
}

static void print_ranking(const gdn_diagnosis *d, const gdn_suspects *suspects, long top) {
    printf("  %-34s %9s %9s %12s\n", "suspect", "wrong", "right", "residual");
    size_t useless = 0;
    for (size_t i = 0; i < d->n_ranking; i++) {
        const gdn_hypothesis *h = &d->ranking[i];
        char name[128];
        if (!h->fit.applies || h->fit.residual >= d->correct.residual || (long)i >= top) {
            useless += !h->fit.applies || h->fit.residual >= d->correct.residual;
            continue;
        }
        snprintf(name, sizeof name, "%s%s%s", suspects->items[h->suspect].name,
                 h->other == SIZE_MAX ? "" : " + ",
                 h->other == SIZE_MAX ? "" : suspects->items[h->other].name);
        print_fit(name, &h->fit,
                  h->explains         ? "explains it"
                  : h->fit.wrong == 0 ? "too wide: its limits hold anything"
                                      : "");
    }
    print_fit("the correct kernel", &d->correct, "");
    printf("  (%zu of %zu suspects do no better than the correct kernel)\n", useless,
           d->n_ranking);
}

static gdn_status diagnose_case(clinic *c, const gdn_case *test, gdn_error *err) {
    gdn_rerun rerun;
    gdn_suspects suspects = {0};
    gdn_diagnosis d = {0};
    GDN_TRY(gdn_rerun_create(&rerun, &c->session, test, err));
    printf("%s\n", test->id);
    gdn_status status = GDN_OK;
    if (!rerun.judged || rerun.result.verdict != GDN_FAIL) {
        printf("  does not fail now: %s%s%s\n", gdn_verdict_name(rerun.result.verdict),
               rerun.result.message ? ": " : "",
               rerun.result.message ? rerun.result.message : "");
    } else {
        status = gdn_suspects_create(&suspects, &test->conventions, c->more.items,
                                     c->more.count, err);
        if (status == GDN_OK) {
            status = gdn_diagnose(&d, &rerun.problem, &rerun.golden, &suspects, NULL, err);
        }
        if (status == GDN_OK) {
            print_ranking(&d, &suspects, c->arguments->top);
            printf("  %s %s\n", gdn_finding_name(d.finding), d.text);
            fflush(stdout);
        }
        if (status == GDN_OK && c->arguments->shrink) {
            const gdn_shrink_job job = {
                .session = &c->session,
                .profiles = c->paths.profiles,
                .folder = c->arguments->shrink,
                .device = c->device.text,
                .test = test,
                .rerun = &rerun,
                .diagnosis = &d,
                .suspects = &suspects,
            };
            status = gdn_diagnose_shrink(&job, err);
        }
    }
    gdn_diagnosis_destroy(&d);
    gdn_suspects_destroy(&suspects);
    gdn_rerun_destroy(&rerun);
    return status;
}

static const gdn_case *find_case(const clinic *c, const char *id) {
    for (size_t i = 0; i < c->plan.n_cases; i++) {
        if (strcmp(c->plan.cases[i].test->id, id) == 0) {
            return c->plan.cases[i].test;
        }
    }
    return NULL;
}

/* The failing cases that the glob selects, or the first one. */
static gdn_status diagnose_report(clinic *c, gdn_error *err) {
    const json_t *cases = json_object_get(c->report, "cases");
    size_t done = 0;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *entry = json_array_get(cases, i);
        const char *id = json_string_value(json_object_get(entry, "id"));
        const char *verdict = json_string_value(json_object_get(entry, "verdict"));
        if (!id || !verdict || strcmp(verdict, "fail") != 0 ||
            (c->arguments->glob ? fnmatch(c->arguments->glob, id, 0) != 0 : done > 0)) {
            continue;
        }
        const gdn_case *test = find_case(c, id);
        if (!test) {
            return gdn_error_set(err, GDN_ERR_FORMAT,
                                 "%s: case %s is in none of the suites %s",
                                 c->arguments->report, id,
                                 json_string_value(json_object_get(c->report, "suites")));
        }
        GDN_TRY(diagnose_case(c, test, err));
        done++;
        if (c->arguments->shrink) {
            break;
        }
    }
    return done > 0 ? GDN_OK
                    : gdn_error_set(err, GDN_ERR_ARG, "%s: no failing case matches \"%s\"",
                                    c->arguments->report,
                                    c->arguments->glob ? c->arguments->glob : "*");
}

int gdn_cmd_diagnose(int argc, char **argv) {
    static const struct argp ARGP = {
        .options = OPTIONS,
        .parser = parse,
        .args_doc = "REPORT.json",
        .doc = "Runs failing cases of a report again and says which known bug explains "
               "them.\v"
               "The reference runs under every known deviation; a suspect explains a case "
               "if no output is wrong under it and it foretells what is. residual is the "
               "sum of log2(1 + error / limit) over what is wrong.\n"
               "Exit: 0 the cases were looked at; 2 bad usage or input; 3 the harness "
               "failed; 4 the device is absent.",
    };
    arguments a = {.top = DEFAULT_TOP};
    gdn_cli_parse(&ARGP, argc, argv, &a);
    gdn_error err = {0};
    clinic c = {.arguments = &a};
    if (a.shrink && access(a.shrink, W_OK | X_OK) != 0 && mkdir(a.shrink, 0777) != 0) {
        gdn_error_set(&err, GDN_ERR_ARG, "--shrink: cannot write to %s: %s", a.shrink,
                      strerror(errno));
        return gdn_cli_fail(&err);
    }
    gdn_status status = clinic_open(&c, &err);
    if (status == GDN_OK) {
        status = diagnose_report(&c, &err);
    }
    clinic_close(&c);
    return status == GDN_OK ? GDN_EXIT_GREEN : gdn_cli_fail(&err);
}
