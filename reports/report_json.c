/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <errno.h>
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

static json_t *tensor_json(const gdn_tensor_result *t) {
    return json_pack("{s:s, s:s, s:s, s:b, s:I, s:I, s:{s:I, s:I, s:I, s:I}, s:o, s:s, "
                     "s:s, s:o, s:o, s:o,"
                     " s:o, s:o, s:o, s:o, s:o, s:o, s:b}",
                     "name", t->name, "dtype", gdn_dtype_name(t->dtype), "judgement",
                     t->judgement == GDN_JUDGE_EXACT ? "exact" : "bounded", "ok", t->ok,
                     "compared", (json_int_t)t->compared, "failed", (json_int_t)t->failed,
                     "special", "nan_unexpected", (json_int_t)t->special.nan_unexpected,
                     "nan_missing", (json_int_t)t->special.nan_missing, "inf_wrong",
                     (json_int_t)t->special.inf_wrong, "unwritten",
                     (json_int_t)t->special.unwritten, "budget", number(t->budget), "worst",
                     t->worst, "first_bad", t->first_bad, "golden", number(t->golden),
                     "found", number(t->found), "limit", number(t->limit), "max_error",
                     number(t->max_error), "max_ulps", number(t->max_ulps), "rel_l2",
                     number(t->rel_l2), "rms", number(t->rms), "nmse", number(t->nmse),
                     "cosine", number(t->cosine), "upstream_ok", t->upstream_ok);
}

json_t *gdn_report_case_json(const gdn_case_result *result) {
    json_t *tensors = json_array();
    for (size_t i = 0; i < result->n_tensors; i++) {
        json_array_append_new(tensors, tensor_json(&result->tensors[i]));
    }
    return json_pack(
        "{s:s, s:s, s:o, s:o, s:o, s:s, s:o, s:{s:I, s:s}, s:{s:o, s:o, s:o}}", "id",
        result->id, "verdict", gdn_verdict_name(result->verdict), "message",
        text_or_null(result->message), "replay", text_or_null(result->replay), "output",
        text_or_null(result->output), "golden",
        result->golden_stored ? "stored" : "computed", "tensors", tensors, "stray", "bytes",
        (json_int_t)result->stray_bytes, "first", result->stray_first, "seconds", "kernel",
        result->kernel_seconds >= 0 ? json_real(result->kernel_seconds) : json_null(),
        "device", number(result->device_seconds), "total", number(result->total_seconds));
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
        json_array_append_new(cases, gdn_report_case_json(&run->cases[i]));
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

gdn_status gdn_report_write(const json_t *report, const char *path, gdn_error *err) {
    char *temporary = NULL;
    if (asprintf(&temporary, "%s.XXXXXX", path) < 0) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a file name");
    }
    gdn_status status = GDN_OK;
    const int fd = mkstemp(temporary);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (!file) {
        status =
            gdn_error_set(err, GDN_ERR_IO, "cannot write %s: %s", path, strerror(errno));
    } else {
        const bool written = json_dumpf(report, file, JSON_INDENT(1)) == 0 &&
                             fputc('\n', file) != EOF && fflush(file) == 0 &&
                             fchmod(fd, 0644) == 0;
        if (fclose(file) != 0 || !written || rename(temporary, path) != 0) {
            status = gdn_error_set(err, GDN_ERR_IO, "cannot write %s: %s", path,
                                   strerror(errno));
            unlink(temporary);
        }
    }
    free(temporary);
    return status;
}
