/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "runner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "doctor.h"
#include "numerics.h"
#include "plan_cases.h"
#include "run_case.h"
#include "run_policy.h"
#include "session.h"
#include "shards.h"
#include "tags.h"
#include "text.h"
#include "tripwire.h"
#include "worker_process.h"

/* One line of the event stream, on its way before anything else happens: a killed run has
 * lost no verdict, and its last line names the case that was running. Takes `event`. */
static gdn_status emit_event(FILE *events, json_t *event, gdn_error *err) {
    gdn_status status = GDN_OK;
    if (events && (!event || json_dumpf(event, events, JSON_COMPACT) != 0 ||
                   fputc('\n', events) == EOF || fflush(events) != 0)) {
        status = gdn_error_set(err, GDN_ERR_IO, "the event stream cannot be written: %s",
                               strerror(errno));
    }
    json_decref(event);
    return status;
}

static gdn_status emit_verdict(FILE *events, const gdn_case_result *result,
                               gdn_error *err) {
    return events ? emit_event(events,
                               json_pack("{s:s, s:o}", "event", "verdict", "case",
                                         gdn_report_case_json(result)),
                               err)
                  : GDN_OK;
}

static void show_progress(FILE *out, size_t done, size_t planned, const char *id) {
    if (out) {
        const int filled = planned > 0 ? (int)(24 * done / planned) : 0;
        fprintf(out, "\r\033[K[%.*s%.*s] %zu/%zu %.60s", filled, "########################",
                24 - filled, "........................", done, planned, id);
        fflush(out);
    }
}

/* Text for a POSIX shell: in single quotes, with those inside written as '\''. */
static char *quote(const char *text) {
    char *quoted = malloc(4 * strlen(text) + 3);
    char *out = quoted;
    if (!quoted) {
        return NULL;
    }
    *out++ = '\'';
    for (; *text; text++) {
        out = *text == '\'' ? stpcpy(out, "'\\''") : (*out = *text, out + 1);
    }
    strcpy(out, "'");
    return quoted;
}

static gdn_status name_result(gdn_case_result *result, const gdn_planned_case *planned,
                              const gdn_run_options *options, gdn_error *err) {
    *result = (gdn_case_result){
        .id = strdup(planned->test->id), .verdict = GDN_SKIP, .kernel_seconds = -1.0};
    gdn_conventions_get(&planned->test->conventions,
                        gdn_convention_field_find("numeric_class"), result->numeric_class,
                        sizeof result->numeric_class);
    char *device = quote(options->device);
    const bool named =
        result->id && device &&
        asprintf(&result->replay, "gdn-conform run --device %s --suite %s --case '%s'",
                 device, options->suites[planned->suite], planned->test->id) >= 0;
    free(device);
    return named ? GDN_OK : gdn_error_set(err, GDN_ERR_OOM, "no memory for a result");
}

static void print_result(const gdn_run_options *options, const gdn_case_result *result) {
    if (result->verdict == GDN_PASS) {
        return;
    }
    if (options->progress) {
        fprintf(options->progress, "\r\033[K");
        fflush(options->progress);
    }
    /* Messages are a worker's words, and may hold what a terminal obeys. */
    fprintf(options->results, "%-11s ", gdn_verdict_name(result->verdict));
    gdn_put_plain(options->results, result->id);
    fputs("  ", options->results);
    gdn_put_plain(options->results, result->message ? result->message : "");
    fputc('\n', options->results);
    if (result->diagnosis.verdict) {
        fputs("            ", options->results);
        gdn_put_plain(options->results, result->diagnosis.verdict);
        fputc(' ', options->results);
        gdn_put_plain(options->results, result->diagnosis.text);
        fputc('\n', options->results);
    }
    if (result->first_wrong) {
        fputs("            ", options->results);
        gdn_put_plain(options->results, result->first_wrong);
        fputc('\n', options->results);
    }
    fflush(options->results);
}

/* A device that a known crash loses is lost for its own session only. */
static gdn_status run_quarantined(const gdn_planned_case *planned,
                                  const gdn_session *session, gdn_doctor *doctor,
                                  gdn_run_result *run, gdn_case_result *result,
                                  gdn_error *err) {
    gdn_session own;
    gdn_error absent = {0};
    if (gdn_session_open(&own, session->device, session->profiles, session->timeout,
                         &absent) != GDN_OK) {
        result->verdict = GDN_CRASH;
        result->message = strdup(absent.message);
        return GDN_OK;
    }
    const gdn_status status = gdn_run_case(planned, &own, doctor, run, result, err);
    gdn_session_close(&own);
    return status;
}

static gdn_status launch_case(const gdn_planned_case *planned, gdn_session *session,
                              gdn_doctor *doctor, gdn_run_policy *policy,
                              gdn_run_result *run, gdn_case_result *result,
                              gdn_error *err) {
    const gdn_launch launch = gdn_run_policy_launch(policy, result->id);
    if (launch == GDN_LAUNCH) {
        GDN_TRY(gdn_run_case(planned, session, doctor, run, result, err));
    } else if (launch == GDN_LAUNCH_QUARANTINED) {
        GDN_TRY(run_quarantined(planned, session, doctor, run, result, err));
    }
    return gdn_run_policy_settle(policy, launch != GDN_LAUNCH_NEVER, result, err);
}

static gdn_status run_cases(gdn_run_result *run, const gdn_case_plan *plan,
                            gdn_session *session, gdn_doctor *doctor,
                            gdn_run_policy *policy, const gdn_run_options *options,
                            FILE *events, gdn_error *err) {
    for (size_t i = 0; i < plan->n_cases; i++) {
        const gdn_planned_case *planned = &plan->cases[i];
        gdn_case_result *result = &run->cases[run->n_cases];
        GDN_TRY(name_result(result, planned, options, err));
        run->n_cases++;
        if (session->lost) {
            result->message = strdup("device lost");
        } else {
            show_progress(options->progress, i, plan->n_cases, result->id);
            GDN_TRY(emit_event(events,
                               json_pack("{s:s, s:s, s:s}", "event", "start", "id",
                                         result->id, "replay", result->replay),
                               err));
            GDN_TRY(launch_case(planned, session, doctor, policy, run, result, err));
        }
        GDN_TRY(emit_verdict(events, result, err));
        print_result(options, result);
    }
    show_progress(options->progress, plan->n_cases, plan->n_cases, "");
    if (options->progress) {
        fprintf(options->progress, "\r\033[K");
    }
    return GDN_OK;
}

static char *join_names(const char *const *names) {
    size_t length = 1;
    for (size_t i = 0; names[i]; i++) {
        length += strlen(names[i]) + 1;
    }
    char *text = calloc(length, 1);
    for (size_t i = 0; text && names[i]; i++) {
        strcat(strcat(text, i > 0 ? "," : ""), names[i]);
    }
    return text;
}

static gdn_status describe_run(gdn_run_result *run, const gdn_case_plan *plan,
                               const gdn_session *session, const gdn_run_options *options,
                               gdn_error *err) {
    *run = (gdn_run_result){
        .device = strdup(options->device),
        .hardware = strdup(session->hardware),
        .driver = strdup(session->driver),
        .build = strdup(session->build),
        .suites = join_names(options->suites),
        .vectors = options->vectors ? strdup(options->vectors) : NULL,
        .vectors_digest = plan->digest[0] ? strdup(plan->digest) : NULL,
        .cases = calloc(plan->n_cases, sizeof *run->cases),
        .shard = options->shard,
        .shards = options->shards,
        .planned = plan->n_cases,
    };
    return run->device && run->suites && run->cases
               ? GDN_OK
               : gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu results",
                               plan->n_cases);
}

static gdn_status open_events(FILE **events, const char *path, gdn_error *err) {
    *events = !path ? NULL : strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
    if (path && !*events) {
        return gdn_error_set(err, GDN_ERR_ARG, "--events: cannot write %s: %s", path,
                             strerror(errno));
    }
    return GDN_OK;
}

/* What the harness did not get to is a skip, and what it did is kept: a report of half a
 * run is worth more than none. */
static void give_up(gdn_run_result *run, const gdn_case_plan *plan,
                    const gdn_run_options *options, const gdn_error *cause) {
    run->harness_error = strdup(cause->message);
    if (run->n_cases > 0 && run->cases[run->n_cases - 1].verdict == GDN_SKIP) {
        free(run->cases[run->n_cases - 1].message);
        run->cases[run->n_cases - 1].message = strdup(cause->message);
    }
    while (run->n_cases < run->planned) {
        gdn_case_result *result = &run->cases[run->n_cases];
        if (name_result(result, &plan->cases[run->n_cases], options, NULL) != GDN_OK) {
            return;
        }
        result->message = strdup("the harness failed before");
        run->n_cases++;
    }
}

/* Each profile that a case obeys, once, by the file that it was read from. */
static gdn_status note_profiles(gdn_run_result *run, const gdn_case_plan *plan,
                                const gdn_paths *paths, gdn_error *err) {
    for (size_t i = 0; i < plan->n_cases; i++) {
        const char *name = plan->cases[i].test->profile;
        const int length = (int)strcspn(name, "@");
        bool there = false;
        for (size_t k = 0; !there && k < run->n_profiles; k++) {
            there = strncmp(run->profiles[k].name, name, (size_t)length) == 0 &&
                    run->profiles[k].name[length] == '\0';
        }
        if (there) {
            continue;
        }
        gdn_used_profile *profiles =
            realloc(run->profiles, (run->n_profiles + 1) * sizeof *profiles);
        char path[PATH_MAX + 256];
        if (!profiles) {
            return gdn_error_set(err, GDN_ERR_OOM, "no memory for profiles");
        }
        run->profiles = profiles;
        snprintf(path, sizeof path, "%s/%.*s.json", paths->profiles, length, name);
        GDN_TRY(gdn_sha256_file(path, profiles[run->n_profiles].digest, err));
        profiles[run->n_profiles].name = strndup(name, (size_t)length);
        if (!profiles[run->n_profiles].name) {
            return gdn_error_set(err, GDN_ERR_OOM, "no memory for profiles");
        }
        run->n_profiles++;
    }
    return GDN_OK;
}

/* Profiles of the recurrence: those of draft verification compute nothing. */
static gdn_status probe_numerics(gdn_run_result *run, const gdn_case_plan *plan,
                                 gdn_session *session, const gdn_paths *paths,
                                 gdn_error *err) {
    const gdn_executor device = gdn_session_executor(session);
    for (size_t i = 0; i < run->n_profiles; i++) {
        const size_t length = strlen(run->profiles[i].name);
        bool computes = false;
        for (size_t k = 0; k < plan->n_cases; k++) {
            const gdn_case *test = plan->cases[k].test;
            computes =
                computes ||
                (strncmp(test->profile, run->profiles[i].name, length) == 0 &&
                 strspn(test->profile + length, "@") == (test->profile[length] != '\0') &&
                 !gdn_op_is_verify(test->op));
        }
        if (computes && !session->lost) {
            GDN_TRY(gdn_numerics_probe(run, run->profiles[i].name, paths->profiles, &device,
                                       err));
        }
    }
    return GDN_OK;
}

/* What the whole suites may take; a part of them has no word on that. */
static double allowed_seconds(const gdn_case_plan *plan, const gdn_run_options *options) {
    double sum = 0.0;
    for (size_t i = 0; i < plan->n_suites; i++) {
        if (plan->suites[i].seconds == 0.0) {
            return 0.0;
        }
        sum += plan->suites[i].seconds;
    }
    return options->glob || options->tag || options->shards > 0 ? 0.0 : sum;
}

static gdn_status run_on_device(gdn_run_result *run, const gdn_case_plan *plan,
                                const gdn_case_plan *whole, gdn_run_policy *policy,
                                const gdn_run_options *options,
                                const gdn_device_spec *device, const gdn_paths *paths,
                                gdn_error *err) {
    gdn_session session;
    gdn_doctor doctor = {0};
    FILE *events = NULL;
    GDN_TRY(gdn_session_open(&session, device, paths->profiles, options->timeout, err));
    session.perf = options->perf;
    const double start = gdnp_now();
    gdn_known_match(&policy->known, whole, options->device, session.hardware);
    gdn_status status = describe_run(run, plan, &session, options, err);
    if (status == GDN_OK) {
        run->allowed_seconds = allowed_seconds(plan, options);
        status = note_profiles(run, plan, paths, err);
    }
    if (status == GDN_OK) {
        status = open_events(&events, options->events, err);
    }
    if (status == GDN_OK) {
        gdn_error cause = {0};
        status = emit_event(events,
                            json_pack("{s:s, s:s, s:s, s:I}", "event", "run", "device",
                                      options->device, "hardware", session.hardware,
                                      "planned", (json_int_t)plan->n_cases),
                            &cause);
        if (status == GDN_OK) {
            status = run_cases(run, plan, &session, options->no_diagnosis ? NULL : &doctor,
                               policy, options, events, &cause);
        }
        if (status == GDN_OK && options->numerics) {
            status = probe_numerics(run, plan, &session, paths, &cause);
        }
        if (status != GDN_OK) {
            give_up(run, plan, options, &cause);
            status = GDN_OK;
        }
    }
    if (status == GDN_OK) {
        status = gdn_run_policy_complain(policy, run, err);
    }
    run->seconds = gdnp_now() - start;
    run->device_lost = session.lost;
    run->lost_reason = session.lost && session.reason ? strdup(session.reason) : NULL;
    gdn_session_close(&session);
    gdn_doctor_destroy(&doctor);
    if (events && events != stdout) {
        fclose(events);
    }
    if (status != GDN_OK) {
        gdn_run_result_destroy(run);
    }
    return status;
}

/* Keeps the cases that the options select; `whole` gets those of the suites, for lists that
 * speak of all. */
static gdn_status select_cases(gdn_case_plan *plan, gdn_case_plan *whole,
                               const gdn_run_options *options, gdn_error *err) {
    *whole = *plan;
    whole->cases = malloc((plan->n_cases + 1) * sizeof *whole->cases);
    if (!whole->cases) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for the plan");
    }
    memcpy(whole->cases, plan->cases, plan->n_cases * sizeof *whole->cases);
    if (options->glob) {
        gdn_plan_keep_glob(plan, options->glob);
        if (plan->n_cases == 0) {
            return gdn_error_set(err, GDN_ERR_ARG, "no case matches \"%s\"", options->glob);
        }
    }
    if (options->tag) {
        GDN_TRY(gdn_plan_keep_tagged(plan, options->tag, err));
        if (plan->n_cases == 0) {
            return gdn_error_set(err, GDN_ERR_ARG, "--tag \"%s\": no case is left",
                                 options->tag);
        }
    }
    return options->shards > 0
               ? gdn_plan_keep_shard(plan, options->shard, options->shards, err)
               : GDN_OK;
}

gdn_status gdn_run(gdn_run_result *run, const gdn_run_options *options,
                   const gdn_paths *paths, gdn_error *err) {
    *run = (gdn_run_result){0};
    gdn_device_spec device = {0};
    gdn_run_policy policy = {.retry_known = false};
    gdn_case_plan plan = {0}, whole = {0};
    GDN_TRY(gdn_device_spec_parse(&device, options->device, paths, err));
    gdn_status status =
        gdn_run_policy_open(&policy, options->known_failures, options->ratchet,
                            options->device, options->retry_known, err);
    if (status == GDN_OK) {
        status = gdn_case_plan_create(&plan, options->suites, NULL, options->vectors, paths,
                                      err);
    }
    if (status == GDN_OK) {
        status = select_cases(&plan, &whole, options, err);
    }
    if (status == GDN_OK) {
        status = gdn_tripwire(paths->profiles, err);
    }
    if (status == GDN_OK) {
        status = run_on_device(run, &plan, &whole, &policy, options, &device, paths, err);
    }
    free(whole.cases);
    gdn_case_plan_destroy(&plan);
    gdn_run_policy_destroy(&policy);
    gdn_device_spec_destroy(&device);
    return status;
}
