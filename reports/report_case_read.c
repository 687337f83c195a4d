/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* One case of a JSON report into the result model. */
#include "report_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static gdn_status unexpected(gdn_error *err, const char *where, const char *member,
                             const char *expected, const json_t *found) {
    char at[GDN_JSON_WHERE];
    gdn_json_at(at, where, ".%s", member);
    return gdn_json_unexpected(err, GDN_ERR_FORMAT, at, expected, found);
}

gdn_status gdnp_read_text(char *text, size_t size, const json_t *object, const char *member,
                          const char *where, gdn_error *err) {
    const json_t *value = json_object_get(object, member);
    if (!json_is_string(value) || json_string_length(value) >= size) {
        char expected[64];
        snprintf(expected, sizeof expected, "a text of at most %zu bytes", size - 1);
        return unexpected(err, where, member, expected, value);
    }
    memcpy(text, json_string_value(value), json_string_length(value) + 1);
    return GDN_OK;
}

gdn_status gdnp_read_int(int64_t *value, const json_t *object, const char *member,
                         int64_t least, int64_t most, const char *where, gdn_error *err) {
    const json_t *json = json_object_get(object, member);
    if (!json_is_integer(json) || json_integer_value(json) < least ||
        json_integer_value(json) > most) {
        char expected[96];
        snprintf(expected, sizeof expected, "an integer from %lld to %lld",
                 (long long)least, (long long)most);
        return unexpected(err, where, member, expected, json);
    }
    *value = json_integer_value(json);
    return GDN_OK;
}

gdn_status gdnp_read_number(double *value, const json_t *object, const char *member,
                            const char *where, gdn_error *err) {
    const json_t *json = json_object_get(object, member);
    if (json_is_number(json)) {
        *value = json_number_value(json);
        return GDN_OK;
    }
    const char *text = json_is_string(json) ? json_string_value(json) : "";
    if (strcmp(text, "inf") == 0 || strcmp(text, "-inf") == 0) {
        *value = text[0] == '-' ? -INFINITY : INFINITY;
        return GDN_OK;
    }
    if (strcmp(text, "nan") == 0) {
        *value = NAN;
        return GDN_OK;
    }
    return unexpected(err, where, member, "a number, \"inf\", \"-inf\" or \"nan\"", json);
}

gdn_status gdnp_read_bool(bool *value, const json_t *object, const char *member,
                          const char *where, gdn_error *err) {
    const json_t *json = json_object_get(object, member);
    if (!json_is_boolean(json)) {
        return unexpected(err, where, member, "true or false", json);
    }
    *value = json_is_true(json);
    return GDN_OK;
}

gdn_status gdnp_read_string(char **text, const json_t *object, const char *member,
                            const char *where, gdn_error *err) {
    const json_t *json = json_object_get(object, member);
    if (!json || json_is_null(json)) {
        *text = NULL;
        return GDN_OK;
    }
    if (!json_is_string(json)) {
        return unexpected(err, where, member, "a text or null", json);
    }
    *text = strdup(json_string_value(json));
    return *text ? GDN_OK : gdn_error_set(err, GDN_ERR_OOM, "no memory for a text");
}

static gdn_status read_special(gdn_special_counts *special, const json_t *json,
                               const char *where, gdn_error *err) {
    GDN_TRY(gdnp_read_int(&special->nan_unexpected, json, "nan_unexpected", 0, INT64_MAX,
                          where, err));
    GDN_TRY(gdnp_read_int(&special->nan_missing, json, "nan_missing", 0, INT64_MAX, where,
                          err));
    GDN_TRY(
        gdnp_read_int(&special->inf_wrong, json, "inf_wrong", 0, INT64_MAX, where, err));
    return gdnp_read_int(&special->unwritten, json, "unwritten", 0, INT64_MAX, where, err);
}

static gdn_status read_metrics(gdn_tensor_result *t, const json_t *json, const char *where,
                               gdn_error *err) {
    const struct {
        const char *member;
        double *value;
    } numbers[] = {
        {"budget", &t->budget},       {"golden", &t->golden},
        {"found", &t->found},         {"limit", &t->limit},
        {"max_error", &t->max_error}, {"max_ulps", &t->max_ulps},
        {"rel_l2", &t->rel_l2},       {"rms", &t->rms},
        {"nmse", &t->nmse},           {"cosine", &t->cosine},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        GDN_TRY(gdnp_read_number(numbers[i].value, json, numbers[i].member, where, err));
    }
    /* Every maximum and every comparison of a form relies on this. */
    if (!(t->budget >= 0.0)) {
        return unexpected(err, where, "budget", "a number from 0, or \"inf\"",
                          json_object_get(json, "budget"));
    }
    return GDN_OK;
}

static gdn_status read_kind(gdn_limit_kind *kind, const json_t *json, const char *member,
                            const char *where, gdn_error *err) {
    char name[24];
    GDN_TRY(gdnp_read_text(name, sizeof name, json, member, where, err));
    for (int k = GDN_LIMIT_EXACT; k <= GDN_LIMIT_LATTICE; k++) {
        if (strcmp(gdn_limit_kind_name((gdn_limit_kind)k), name) == 0) {
            *kind = (gdn_limit_kind)k;
            return GDN_OK;
        }
    }
    return unexpected(err, where, member, "the name of a limit",
                      json_object_get(json, member));
}

static gdn_status read_pool(gdn_pool_result *pool, const json_t *json, const char *where,
                            gdn_error *err) {
    *pool = (gdn_pool_result){.head = -1};
    if (!json || json_is_null(json)) {
        return GDN_OK;
    }
    GDN_TRY(gdnp_read_int(&pool->head, json, "head", 0, INT64_MAX, where, err));
    GDN_TRY(read_kind(&pool->kind, json, "kind", where, err));
    GDN_TRY(gdnp_read_number(&pool->budget, json, "budget", where, err));
    GDN_TRY(gdnp_read_number(&pool->found, json, "found", where, err));
    return gdnp_read_number(&pool->limit, json, "limit", where, err);
}

static gdn_status read_tensor(gdn_tensor_result *t, const json_t *json, const char *where,
                              gdn_error *err) {
    char dtype[16], judgement[16];
    GDN_TRY(gdnp_read_text(t->name, sizeof t->name, json, "name", where, err));
    GDN_TRY(gdnp_read_text(dtype, sizeof dtype, json, "dtype", where, err));
    GDN_TRY(gdnp_read_text(judgement, sizeof judgement, json, "judgement", where, err));
    if (!gdn_dtype_from_name(dtype, &t->dtype)) {
        return unexpected(err, where, "dtype", "the name of a type",
                          json_object_get(json, "dtype"));
    }
    if (strcmp(judgement, "exact") != 0 && strcmp(judgement, "bounded") != 0) {
        return unexpected(err, where, "judgement", "\"exact\" or \"bounded\"",
                          json_object_get(json, "judgement"));
    }
    t->judgement = judgement[0] == 'e' ? GDN_JUDGE_EXACT : GDN_JUDGE_BOUNDED;
    GDN_TRY(gdnp_read_bool(&t->ok, json, "ok", where, err));
    GDN_TRY(gdnp_read_int(&t->compared, json, "compared", 0, INT64_MAX, where, err));
    GDN_TRY(gdnp_read_int(&t->failed, json, "failed", 0, t->compared, where, err));
    char at[GDN_JSON_WHERE];
    /* Reports from before the noise floor know one limit. */
    t->binding = t->judgement == GDN_JUDGE_EXACT ? GDN_LIMIT_EXACT : GDN_LIMIT_BOUND;
    if (json_object_get(json, "binding")) {
        GDN_TRY(read_kind(&t->binding, json, "binding", where, err));
    }
    gdn_json_at(at, where, ".pool");
    GDN_TRY(read_pool(&t->pool, json_object_get(json, "pool"), at, err));
    gdn_json_at(at, where, ".special");
    GDN_TRY(read_special(&t->special, json_object_get(json, "special"), at, err));
    GDN_TRY(gdnp_read_text(t->worst, sizeof t->worst, json, "worst", where, err));
    GDN_TRY(
        gdnp_read_text(t->first_bad, sizeof t->first_bad, json, "first_bad", where, err));
    GDN_TRY(gdnp_read_bool(&t->upstream_ok, json, "upstream_ok", where, err));
    return read_metrics(t, json, where, err);
}

static gdn_status read_tensors(gdn_case_result *result, const json_t *json,
                               const char *where, gdn_error *err) {
    const json_t *tensors = json_object_get(json, "tensors");
    if (!json_is_array(tensors) || json_array_size(tensors) > GDN_MAX_OUTPUTS) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "%s.tensors: expected an array of at most %d tensors", where,
                             GDN_MAX_OUTPUTS);
    }
    for (size_t i = 0; i < json_array_size(tensors); i++) {
        char at[GDN_JSON_WHERE];
        gdn_json_at(at, where, ".tensors[%zu]", i);
        GDN_TRY(read_tensor(&result->tensors[i], json_array_get(tensors, i), at, err));
        result->n_tensors++;
    }
    return GDN_OK;
}

static gdn_status read_maps(gdn_case_result *result, const json_t *json, const char *where,
                            gdn_error *err) {
    const json_t *maps = json_object_get(json, "maps");
    if (!maps) {
        return GDN_OK;
    }
    if (!json_is_array(maps) || json_array_size(maps) > GDN_MAPS_CASE) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "%s.maps: expected an array of at most %d maps", where,
                             GDN_MAPS_CASE);
    }
    for (size_t i = 0; i < json_array_size(maps); i++) {
        char at[GDN_JSON_WHERE];
        gdn_json_at(at, where, ".maps[%zu]", i);
        result->n_maps++; /* destroyed with the case, whatever was read of it */
        GDN_TRY(gdnp_map_read(&result->maps[i], json_array_get(maps, i), at, err));
    }
    return GDN_OK;
}

static gdn_status read_seconds(gdn_case_result *result, const json_t *json,
                               const char *where, gdn_error *err) {
    const json_t *seconds = json_object_get(json, "seconds");
    char at[GDN_JSON_WHERE];
    gdn_json_at(at, where, ".seconds");
    result->kernel_seconds = -1.0;
    if (!json_is_null(json_object_get(seconds, "kernel"))) {
        GDN_TRY(gdnp_read_number(&result->kernel_seconds, seconds, "kernel", at, err));
    }
    GDN_TRY(gdnp_read_number(&result->device_seconds, seconds, "device", at, err));
    return gdnp_read_number(&result->total_seconds, seconds, "total", at, err);
}

/* An axis or a word that this reader does not know is a newer report's: no claim. */
static gdn_status read_claim(gdn_case_claim *claim, const json_t *json, const char *where,
                             gdn_error *err) {
    const json_t *object = json_object_get(json, "claim");
    char at[GDN_JSON_WHERE], axis[32], word[16];
    if (!object) {
        return GDN_OK;
    }
    gdn_json_at(at, where, ".claim");
    GDN_TRY(gdnp_read_text(axis, sizeof axis, object, "axis", at, err));
    GDN_TRY(gdnp_read_text(word, sizeof word, object, "claimed", at, err));
    GDN_TRY(
        gdnp_read_text(claim->differs, sizeof claim->differs, object, "differs", at, err));
    claim->held = json_is_true(json_object_get(object, "held"));
    for (int i = 0; i < GDN_AXIS_COUNT; i++) {
        if (strcmp(axis, GDN_AXIS_NAMES[i]) == 0) {
            claim->seen = true;
            claim->axis = (gdn_claim_axis)i;
        }
    }
    for (int i = 0; GDN_CLAIM_NAMES[i]; i++) {
        if (strcmp(word, GDN_CLAIM_NAMES[i]) == 0) {
            claim->claimed = (gdn_claim)i;
        }
    }
    return GDN_OK;
}

/* Members that only some cases have. */
static gdn_status read_notes(gdn_case_result *result, const json_t *json, const char *where,
                             gdn_error *err) {
    char at[GDN_JSON_WHERE];
    const json_t *diagnosis = json_object_get(json, "diagnosis");
    if (diagnosis && !json_is_null(diagnosis)) {
        gdn_case_diagnosis *d = &result->diagnosis;
        gdn_json_at(at, where, ".diagnosis");
        GDN_TRY(gdnp_read_string(&d->verdict, diagnosis, "verdict", at, err));
        GDN_TRY(gdnp_read_string(&d->deviation, diagnosis, "deviation", at, err));
        GDN_TRY(gdnp_read_string(&d->text, diagnosis, "text", at, err));
        if (!d->verdict || !d->text) {
            return gdn_json_unexpected(err, GDN_ERR_FORMAT, at,
                                       "an object with \"verdict\" and \"text\"",
                                       diagnosis);
        }
    }
    const json_t *ratchet = json_object_get(json, "ratchet");
    if (ratchet) {
        gdn_json_at(at, where, ".ratchet");
        result->ratchet.held = true;
        GDN_TRY(gdnp_read_number(&result->ratchet.budget, ratchet, "budget", at, err));
        GDN_TRY(gdnp_read_number(&result->ratchet.spread, ratchet, "spread", at, err));
        GDN_TRY(gdnp_read_string(&result->ratchet.reason, ratchet, "reason", at, err));
    }
    const json_t *perf = json_object_get(json, "perf");
    if (perf) {
        gdn_json_at(at, where, ".perf");
        GDN_TRY(gdnp_perf_read(&result->perf, perf, at, err));
    }
    GDN_TRY(gdnp_read_string(&result->returned, json, "returned", where, err));
    GDN_TRY(gdnp_read_string(&result->first_wrong, json, "first_wrong", where, err));
    GDN_TRY(read_claim(&result->claim, json, where, err));
    return gdnp_read_string(&result->known, json, "known", where, err);
}

gdn_status gdnp_case_read(gdn_case_result *result, const json_t *json, const char *where,
                          gdn_error *err) {
    *result = (gdn_case_result){0};
    if (!json_is_object(json)) {
        return gdn_json_unexpected(err, GDN_ERR_FORMAT, where, "a case", json);
    }
    GDN_TRY(gdnp_read_string(&result->id, json, "id", where, err));
    if (!result->id || result->id[0] == '\0') {
        return unexpected(err, where, "id", "the id of a case",
                          json_object_get(json, "id"));
    }
    char text[32];
    GDN_TRY(gdnp_read_text(text, sizeof text, json, "verdict", where, err));
    if (!gdn_verdict_from_name(text, &result->verdict)) {
        return unexpected(err, where, "verdict", "a verdict",
                          json_object_get(json, "verdict"));
    }
    GDN_TRY(gdnp_read_string(&result->message, json, "message", where, err));
    GDN_TRY(gdnp_read_string(&result->replay, json, "replay", where, err));
    GDN_TRY(gdnp_read_string(&result->output, json, "output", where, err));
    GDN_TRY(gdnp_read_text(text, sizeof text, json, "golden", where, err));
    result->golden_stored = strcmp(text, "stored") == 0;
    if (json_object_get(json, "numeric_class")) {
        GDN_TRY(gdnp_read_text(result->numeric_class, sizeof result->numeric_class, json,
                               "numeric_class", where, err));
    }
    if (json_object_get(json, "digest")) {
        GDN_TRY(gdnp_read_text(result->digest, sizeof result->digest, json, "digest", where,
                               err));
    }
    GDN_TRY(read_tensors(result, json, where, err));
    const json_t *stray = json_object_get(json, "stray");
    GDN_TRY(gdnp_read_int(&result->stray_bytes, stray, "bytes", 0, INT64_MAX, where, err));
    GDN_TRY(gdnp_read_text(result->stray_first, sizeof result->stray_first, stray, "first",
                           where, err));
    GDN_TRY(read_seconds(result, json, where, err));
    GDN_TRY(read_notes(result, json, where, err));
    return read_maps(result, json, where, err);
}
