/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <errno.h>
#include <libgen.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "result.h"

#define REPORT_SCHEMA 1

/* JSON has no infinities and no NaN; they travel as text, so that no reader takes a missing
 * number for a good one. */
static json_t *number(double x) {
    if (isfinite(x)) {
        return json_real(x);
    }
    return json_string(isnan(x) ? "nan" : x > 0 ? "inf" : "-inf");
}

static json_t *text_or_null(const char *text) {
    return text ? json_string(text) : json_null();
}

static json_t *pool_json(const gdn_pool_result *pool) {
    if (pool->head < 0) {
        return json_null();
    }
    return json_pack("{s:I, s:s, s:o, s:o, s:o}", "head", (json_int_t)pool->head, "kind",
                     gdn_limit_kind_name(pool->kind), "budget", number(pool->budget),
                     "found", number(pool->found), "limit", number(pool->limit));
}

static json_t *tensor_json(const gdn_tensor_result *t) {
    return json_pack(
        "{s:s, s:s, s:s, s:b, s:I, s:I, s:{s:I, s:I, s:I, s:I}, s:o, s:s, s:o, s:s, "
        "s:s, s:o, s:o, s:o,"
        " s:o, s:o, s:o, s:o, s:o, s:o, s:b}",
        "name", t->name, "dtype", gdn_dtype_name(t->dtype), "judgement",
        t->judgement == GDN_JUDGE_EXACT ? "exact" : "bounded", "ok", t->ok, "compared",
        (json_int_t)t->compared, "failed", (json_int_t)t->failed, "special",
        "nan_unexpected", (json_int_t)t->special.nan_unexpected, "nan_missing",
        (json_int_t)t->special.nan_missing, "inf_wrong", (json_int_t)t->special.inf_wrong,
        "unwritten", (json_int_t)t->special.unwritten, "budget", number(t->budget),
        "binding", gdn_limit_kind_name(t->binding), "pool", pool_json(&t->pool), "worst",
        t->worst, "first_bad", t->first_bad, "golden", number(t->golden), "found",
        number(t->found), "limit", number(t->limit), "max_error", number(t->max_error),
        "max_ulps", number(t->max_ulps), "rel_l2", number(t->rel_l2), "rms", number(t->rms),
        "nmse", number(t->nmse), "cosine", number(t->cosine), "upstream_ok",
        t->upstream_ok);
}

/* Members that only some cases have. */
static json_t *add_notes(json_t *json, const gdn_case_result *result) {
    const gdn_case_diagnosis *d = &result->diagnosis;
    if (json && d->verdict) {
        json_object_set_new(json, "diagnosis",
                            json_pack("{s:s, s:o, s:o}", "verdict", d->verdict, "deviation",
                                      text_or_null(d->deviation), "text",
                                      json_string(d->text ? d->text : "")));
    }
    return json;
}

json_t *gdn_report_case_json(const gdn_case_result *result) {
    json_t *tensors = json_array();
    for (size_t i = 0; i < result->n_tensors; i++) {
        json_array_append_new(tensors, tensor_json(&result->tensors[i]));
    }
    json_t *json = json_pack(
        "{s:s, s:s, s:o, s:o, s:o, s:s, s:o, s:{s:I, s:s}, s:{s:o, s:o, s:o}}", "id",
        result->id, "verdict", gdn_verdict_name(result->verdict), "message",
        text_or_null(result->message), "replay", text_or_null(result->replay), "output",
        text_or_null(result->output), "golden",
        result->golden_stored ? "stored" : "computed", "tensors", tensors, "stray", "bytes",
        (json_int_t)result->stray_bytes, "first", result->stray_first, "seconds", "kernel",
        result->kernel_seconds >= 0 ? json_real(result->kernel_seconds) : json_null(),
        "device", number(result->device_seconds), "total", number(result->total_seconds));
    return add_notes(json, result);
}

json_t *gdn_report_json(const gdn_run_result *run) {
    size_t tally[GDN_VERDICT_COUNT];
    gdn_run_tally(run, tally);
    const char *why = NULL;
    const int code = gdn_run_exit_code(run, &why);
    json_t *verdicts = json_object();
    for (int v = 0; v < GDN_VERDICT_COUNT; v++) {
        json_object_set_new(verdicts, gdn_verdict_name((gdn_verdict)v),
                            json_integer((json_int_t)tally[v]));
    }
    json_t *cases = json_array();
    for (size_t i = 0; i < run->n_cases; i++) {
        /* A case that can't be written must not vanish from the report. */
        if (json_array_append_new(cases, gdn_report_case_json(&run->cases[i])) != 0) {
            json_decref(cases);
            json_decref(verdicts);
            return NULL;
        }
    }
    return json_pack(
        "{s:i, s:{s:s, s:s}, s:{s:s, s:o, s:o, s:o, s:b, s:o}, s:s, s:o, s:o, s:I, s:o,"
        " s:{s:i, s:s}, s:o}",
        "schema", REPORT_SCHEMA, "tool", "name", "gdn-conform", "version", GDN_VERSION,
        "device", "name", run->device, "hardware", text_or_null(run->hardware), "driver",
        text_or_null(run->driver), "build", text_or_null(run->build), "lost",
        run->device_lost, "lost_reason", text_or_null(run->lost_reason), "suites",
        run->suites, "vectors", text_or_null(run->vectors), "vectors_digest",
        text_or_null(run->vectors_digest), "planned", (json_int_t)run->planned, "verdicts",
        verdicts, "exit", "code", code, "why", why, "cases", cases);
}

/* A report goes to a regular file by way of a temporary one beside it, so that a reader never
 * sees half of it; to a device or a pipe directly. */
static bool is_special(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && !S_ISREG(info.st_mode);
}

gdn_status gdn_report_check_path(const char *path, gdn_error *err) {
    struct stat info;
    const size_t length = strlen(path);
    if (length == 0 || path[length - 1] == '/' ||
        (stat(path, &info) == 0 && S_ISDIR(info.st_mode))) {
        return gdn_error_set(err, GDN_ERR_ARG, "cannot write \"%s\": it names a folder",
                             path);
    }
    char *folder = strdup(path);
    if (!folder) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a file name");
    }
    const bool exists = access(path, F_OK) == 0;
    const bool writable = exists ? access(path, W_OK) == 0 : true;
    const bool room = is_special(path) || access(dirname(folder), W_OK | X_OK) == 0;
    const int reason = errno;
    free(folder);
    return writable && room ? GDN_OK
                            : gdn_error_set(err, GDN_ERR_ARG, "cannot write %s: %s", path,
                                            strerror(reason));
}

static gdn_status write_to(const json_t *report, FILE *file, const char *path,
                           gdn_error *err) {
    const bool written = file && json_dumpf(report, file, JSON_INDENT(1)) == 0 &&
                         fputc('\n', file) != EOF && fflush(file) == 0;
    const int reason = errno;
    const bool closed = file && fclose(file) == 0;
    return written && closed ? GDN_OK
                             : gdn_error_set(err, GDN_ERR_IO, "cannot write %s: %s", path,
                                             strerror(written ? errno : reason));
}

gdn_status gdn_report_write(const json_t *report, const char *path, gdn_error *err) {
    if (is_special(path)) {
        return write_to(report, fopen(path, "we"), path, err);
    }
    char *target = realpath(path, NULL); /* what a symbolic link leads to */
    char *temporary = NULL;
    if (asprintf(&temporary, "%s.XXXXXX", target ? target : path) < 0) {
        free(target);
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a file name");
    }
    const int fd = mkstemp(temporary);
    gdn_status status = write_to(report, fd < 0 ? NULL : fdopen(fd, "w"), path, err);
    const mode_t mask = umask(0);
    umask(mask);
    if (status == GDN_OK && (chmod(temporary, 0666 & ~mask) != 0 ||
                             rename(temporary, target ? target : path) != 0)) {
        status =
            gdn_error_set(err, GDN_ERR_IO, "cannot write %s: %s", path, strerror(errno));
    }
    if (status != GDN_OK && fd >= 0) {
        unlink(temporary);
    }
    free(temporary);
    free(target);
    return status;
}
