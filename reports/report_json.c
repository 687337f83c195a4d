/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <errno.h>
#include <libgen.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "out_file.h"
#include "report_parts.h"

static json_t *text_or_null(const char *text) {
    return text ? json_string(text) : json_null();
}

static json_t *pool_json(const gdn_pool_result *pool) {
    if (pool->head < 0) {
        return json_null();
    }
    return json_pack("{s:I, s:s, s:o, s:o, s:o}", "head", (json_int_t)pool->head, "kind",
                     gdn_limit_kind_name(pool->kind), "budget",
                     gdnp_number_json(pool->budget), "found", gdnp_number_json(pool->found),
                     "limit", gdnp_number_json(pool->limit));
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
        "unwritten", (json_int_t)t->special.unwritten, "budget",
        gdnp_number_json(t->budget), "binding", gdn_limit_kind_name(t->binding), "pool",
        pool_json(&t->pool), "worst", t->worst, "first_bad", t->first_bad, "golden",
        gdnp_number_json(t->golden), "found", gdnp_number_json(t->found), "limit",
        gdnp_number_json(t->limit), "max_error", gdnp_number_json(t->max_error), "max_ulps",
        gdnp_number_json(t->max_ulps), "rel_l2", gdnp_number_json(t->rel_l2), "rms",
        gdnp_number_json(t->rms), "nmse", gdnp_number_json(t->nmse), "cosine",
        gdnp_number_json(t->cosine), "upstream_ok", t->upstream_ok);
}

/* Members that only some cases have. */
static json_t *add_notes(json_t *json, const gdn_case_result *result) {
    const gdn_case_diagnosis *d = &result->diagnosis;
    if (json && result->numeric_class[0]) {
        json_object_set_new(json, "numeric_class", json_string(result->numeric_class));
    }
    if (json && result->digest[0]) {
        json_object_set_new(json, "digest", json_string(result->digest));
    }
    if (json && d->verdict) {
        json_object_set_new(json, "diagnosis",
                            json_pack("{s:s, s:o, s:o}", "verdict", d->verdict, "deviation",
                                      text_or_null(d->deviation), "text",
                                      json_string(d->text ? d->text : "")));
    }
    if (json && result->known) {
        json_object_set_new(json, "known", json_string(result->known));
    }
    if (json && result->returned) {
        json_object_set_new(json, "returned", json_string(result->returned));
    }
    if (json && result->ratchet.held) {
        json_object_set_new(json, "ratchet",
                            json_pack("{s:o, s:o, s:o}", "budget",
                                      gdnp_number_json(result->ratchet.budget), "spread",
                                      gdnp_number_json(result->ratchet.spread), "reason",
                                      text_or_null(result->ratchet.reason)));
    }
    if (json && result->first_wrong) {
        json_object_set_new(json, "first_wrong", json_string(result->first_wrong));
    }
    if (json && result->claim.seen) {
        const gdn_case_claim *claim = &result->claim;
        json_object_set_new(json, "claim",
                            json_pack("{s:s, s:s, s:b, s:s}", "axis",
                                      GDN_AXIS_NAMES[claim->axis], "claimed",
                                      GDN_CLAIM_NAMES[claim->claimed], "held", claim->held,
                                      "differs", claim->differs));
    }
    if (json && result->perf.runs > 0) {
        json_object_set_new(json, "perf", gdnp_perf_json(&result->perf));
    }
    if (json && result->n_maps > 0) {
        json_t *maps = json_array();
        for (size_t i = 0; i < result->n_maps; i++) {
            json_array_append_new(maps, gdnp_map_json(&result->maps[i]));
        }
        json_object_set_new(json, "maps", maps);
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
        "device", gdnp_number_json(result->device_seconds), "total",
        gdnp_number_json(result->total_seconds));
    return add_notes(json, result);
}

/* What became of promises to the bit, an object an axis that cases had a word on. */
static json_t *claims_json(const gdn_run_result *run) {
    json_t *claims = json_array();
    for (int axis = 0; axis < GDN_AXIS_COUNT; axis++) {
        const gdn_claim_sum sum = gdn_run_claim(run, (gdn_claim_axis)axis);
        const gdn_case_result *first = sum.refuted ? sum.refuted : sum.first;
        if (sum.cases > 0) {
            json_array_append_new(
                claims,
                json_pack("{s:s, s:s, s:I, s:I, s:o, s:s}", "axis", GDN_AXIS_NAMES[axis],
                          "outcome", gdn_claim_outcome(&sum), "cases",
                          (json_int_t)sum.cases, "differ", (json_int_t)sum.differ, "first",
                          text_or_null(first ? first->id : NULL), "differs",
                          first ? first->claim.differs : ""));
        }
    }
    return claims;
}

static json_t *numerics_json(const gdn_run_result *run) {
    json_t *all = json_array();
    for (size_t i = 0; i < run->n_numerics; i++) {
        const gdn_numeric_finding *f = &run->numerics[i];
        const bool numbers = f->measured && f->unit;
        json_array_append_new(
            all, json_pack("{s:s, s:s, s:b, s:b, s:o, s:o, s:o, s:s}", "profile",
                           f->profile, "quantity", f->quantity, "measured", f->measured,
                           "ok", f->ok, "unit", text_or_null(f->unit), "found",
                           numbers ? gdnp_number_json(f->found) : json_null(), "allowed",
                           numbers ? gdnp_number_json(f->allowed) : json_null(), "text",
                           f->text));
    }
    return all;
}

/* Members that only some reports have. */
static json_t *add_run_notes(json_t *json, const gdn_run_result *run) {
    if (json && run->n_profiles > 0) {
        json_t *profiles = json_array();
        for (size_t i = 0; i < run->n_profiles; i++) {
            json_array_append_new(profiles,
                                  json_pack("{s:s, s:s}", "name", run->profiles[i].name,
                                            "digest", run->profiles[i].digest));
        }
        json_object_set_new(json, "profiles", profiles);
    }
    json_t *claims = json ? claims_json(run) : NULL;
    if (json_array_size(claims) > 0) {
        json_object_set(json, "claims", claims);
    }
    json_decref(claims);
    if (json && run->n_numerics > 0) {
        json_object_set_new(json, "numerics", numerics_json(run));
    }
    if (json && run->shards > 0) {
        json_object_set_new(
            json, "shard",
            json_pack("{s:i, s:i}", "index", run->shard, "count", run->shards));
    }
    if (json && run->seconds > 0.0) {
        json_object_set_new(json, "seconds", json_real(run->seconds));
    }
    if (json && run->allowed_seconds > 0.0) {
        json_object_set_new(json, "allowed_seconds", json_real(run->allowed_seconds));
    }
    if (json && run->complaint) {
        json_object_set_new(json, "complaint", json_string(run->complaint));
    }
    if (json && run->harness_error) {
        json_object_set_new(json, "harness_error", json_string(run->harness_error));
    }
    return json;
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
    json_t *json = json_pack(
        "{s:i, s:{s:s, s:s}, s:{s:s, s:o, s:o, s:o, s:b, s:o}, s:s, s:o, s:o, s:I, s:o,"
        " s:{s:i, s:s}, s:o}",
        "schema", GDN_REPORT_SCHEMA, "tool", "name", "gdn-conform", "version", GDN_VERSION,
        "device", "name", run->device, "hardware", text_or_null(run->hardware), "driver",
        text_or_null(run->driver), "build", text_or_null(run->build), "lost",
        run->device_lost, "lost_reason", text_or_null(run->lost_reason), "suites",
        run->suites, "vectors", text_or_null(run->vectors), "vectors_digest",
        text_or_null(run->vectors_digest), "planned", (json_int_t)run->planned, "verdicts",
        verdicts, "exit", "code", code, "why", why, "cases", cases);
    return add_run_notes(json, run);
}

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

static gdn_status write_json(const void *report, FILE *out, gdn_error *err) {
    const bool written =
        json_dumpf(report, out, JSON_INDENT(1)) == 0 && fputc('\n', out) != EOF;
    return written ? GDN_OK : gdn_error_set(err, GDN_ERR_IO, "%s", strerror(errno));
}

gdn_status gdn_report_write(const json_t *report, const char *path, gdn_error *err) {
    return gdn_out_file(path, write_json, report, err);
}
