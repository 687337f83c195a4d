/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The outermost object is scanned by hand, so that its cases can be taken one by one; each
 * value below it is jansson's. */
#include "report_read.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "report_parts.h"
#include "text.h"

typedef struct reader {
    FILE *file;
    gdn_run_result *run;
    size_t room; /* of run->cases */
    struct hsearch_data ids;
    json_t *keys;     /* members that were there */
    json_t *verdicts; /* as the report counts them */
    int64_t schema;
    char *text; /* of the value that was scanned last */
    size_t length, capacity;
    /* The first value that is wrong. It waits for the end of the file: that the schema is
     * newer, which may stand behind the value, is the better message. */
    gdn_error complaint;
} reader;

static const char *const MEMBERS[] = {
    "schema",        "device",          "suites",   "vectors", "vectors_digest",
    "profiles",      "shard",           "seconds",  "planned", "verdicts",
    "harness_error", "allowed_seconds", "complaint"};
#define N_MEMBERS (sizeof MEMBERS / sizeof MEMBERS[0])

static int next_char(reader *r) {
    int c;
    do {
        c = getc_unlocked(r->file);
    } while (c == ' ' || c == '\t' || c == '\n' || c == '\r');
    return c;
}

static gdn_status keep_char(reader *r, int c, gdn_error *err) {
    if (r->length >= GDN_REPORT_CASE_BYTES) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "a value of more than %d bytes: no report",
                             GDN_REPORT_CASE_BYTES);
    }
    if (r->length + 1 >= r->capacity) {
        const size_t capacity = r->capacity > 0 ? 2 * r->capacity : 4096;
        char *text = realloc(r->text, capacity);
        if (!text) {
            return gdn_error_set(err, GDN_ERR_OOM, "no memory for a report");
        }
        r->text = text;
        r->capacity = capacity;
    }
    r->text[r->length++] = (char)c;
    return GDN_OK;
}

static gdn_status ends_early(const reader *r, gdn_error *err) {
    if (ferror(r->file)) {
        return gdn_error_set(err, GDN_ERR_IO, "cannot be read: %s", strerror(errno));
    }
    return gdn_error_set(err, GDN_ERR_FORMAT,
                         "ends in the middle of a report, after %zu cases: truncated?",
                         r->run->n_cases);
}

/* Keeps the text of one value that starts with `c`, and stops before what follows it. */
static gdn_status scan_value(reader *r, int c, gdn_error *err) {
    r->length = 0;
    int depth = 0;
    bool quoted = false, escaped = false;
    for (;; c = getc_unlocked(r->file)) {
        if (c == EOF) {
            return ends_early(r, err);
        }
        const bool ends_scalar =
            !quoted && depth == 0 && r->length > 0 && strchr(",]} \t\r\n", c);
        if (ends_scalar) {
            ungetc(c, r->file);
            return GDN_OK;
        }
        GDN_TRY(keep_char(r, c, err));
        if (escaped) {
            escaped = false;
        } else if (quoted) {
            escaped = c == '\\';
            quoted = c != '"';
        } else if (c == '"') {
            quoted = true;
        } else {
            depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        }
        if (depth < 0) {
            return gdn_error_set(err, GDN_ERR_FORMAT, "expected a value but found '%c'", c);
        }
        if (depth == 0 && !quoted && (c == '"' || c == '}' || c == ']')) {
            return GDN_OK;
        }
    }
}

/* New reference, NULL with an error. */
static json_t *parse_value(const reader *r, const char *where, gdn_error *err) {
    json_error_t error;
    json_t *json =
        json_loadb(r->text, r->length, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
    if (!json) {
        gdn_error_set(err, GDN_ERR_FORMAT,
                      "%s: %s (numbers that are not finite must be "
                      "the texts \"inf\", \"-inf\", \"nan\")",
                      where, error.text);
    }
    return json;
}

static gdn_status remember_id(reader *r, gdn_error *err) {
    ENTRY *found = NULL;
    ENTRY entry = {.key = r->run->cases[r->run->n_cases - 1].id};
    if (hsearch_r(entry, FIND, &found, &r->ids) != 0) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "$.cases[%zu].id: \"%s\" was there before",
                             r->run->n_cases - 1, entry.key);
    }
    return hsearch_r(entry, ENTER, &found, &r->ids) != 0
               ? GDN_OK
               : gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu ids", r->run->n_cases);
}

static gdn_status add_case(reader *r, gdn_error *err) {
    gdn_run_result *run = r->run;
    char where[64];
    snprintf(where, sizeof where, "$.cases[%zu]", run->n_cases);
    if (run->n_cases == GDN_REPORT_MOST_CASES) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "$.cases: more than %d cases",
                             GDN_REPORT_MOST_CASES);
    }
    if (run->n_cases == r->room) {
        const size_t room = r->room > 0 ? 2 * r->room : 256;
        gdn_case_result *cases = realloc(run->cases, room * sizeof *cases);
        if (!cases) {
            return gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu cases", room);
        }
        run->cases = cases;
        r->room = room;
    }
    json_t *json = parse_value(r, where, err);
    if (!json) {
        return GDN_ERR_FORMAT;
    }
    const gdn_status status = gdnp_case_read(&run->cases[run->n_cases++], json, where, err);
    json_decref(json);
    return status == GDN_OK ? remember_id(r, err) : status;
}

static gdn_status read_cases(reader *r, gdn_error *err) {
    int c = next_char(r);
    if (c != '[') {
        return gdn_error_set(err, GDN_ERR_FORMAT, "$.cases: expected an array");
    }
    c = next_char(r);
    while (c != ']') {
        GDN_TRY(scan_value(r, c, err));
        if (r->complaint.status == GDN_OK) {
            (void)!add_case(r, &r->complaint);
        }
        c = next_char(r);
        if (c == ',') {
            c = next_char(r);
            continue;
        }
        if (c != ']') {
            return c == EOF ? ends_early(r, err)
                            : gdn_error_set(err, GDN_ERR_FORMAT,
                                            "$.cases: expected ',' or ']' after case %zu",
                                            r->run->n_cases);
        }
    }
    return GDN_OK;
}

static gdn_status read_device(gdn_run_result *run, const json_t *json, gdn_error *err) {
    static const char WHERE[] = "$.device";
    GDN_TRY(gdnp_read_string(&run->device, json, "name", WHERE, err));
    if (!run->device) {
        return gdn_json_unexpected(err, GDN_ERR_FORMAT, "$.device.name", "a text", NULL);
    }
    GDN_TRY(gdnp_read_string(&run->hardware, json, "hardware", WHERE, err));
    GDN_TRY(gdnp_read_string(&run->driver, json, "driver", WHERE, err));
    GDN_TRY(gdnp_read_string(&run->build, json, "build", WHERE, err));
    GDN_TRY(gdnp_read_bool(&run->device_lost, json, "lost", WHERE, err));
    return gdnp_read_string(&run->lost_reason, json, "lost_reason", WHERE, err);
}

static gdn_status read_profiles(gdn_run_result *run, const json_t *json, gdn_error *err) {
    const size_t count = json_array_size(json);
    run->profiles = calloc(count + 1, sizeof *run->profiles);
    if (!run->profiles) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu profiles", count);
    }
    for (size_t i = 0; i < count; i++) {
        char where[64];
        snprintf(where, sizeof where, "$.profiles[%zu]", i);
        gdn_used_profile *profile = &run->profiles[run->n_profiles++];
        const json_t *entry = json_array_get(json, i);
        GDN_TRY(gdnp_read_string(&profile->name, entry, "name", where, err));
        GDN_TRY(gdnp_read_text(profile->digest, sizeof profile->digest, entry, "digest",
                               where, err));
        if (!profile->name) {
            return gdn_json_unexpected(err, GDN_ERR_FORMAT, where, "a name", entry);
        }
    }
    return GDN_OK;
}

static gdn_status read_shard(gdn_run_result *run, const json_t *json, gdn_error *err) {
    int64_t index = 0, count = 0;
    GDN_TRY(gdnp_read_int(&count, json, "count", 1, 4096, "$.shard", err));
    GDN_TRY(gdnp_read_int(&index, json, "index", 1, count, "$.shard", err));
    run->shard = (int)index;
    run->shards = (int)count;
    return GDN_OK;
}

/* `whole` has the member alone, so that the readers of members serve here too. */
static gdn_status read_member(reader *r, const char *member, const json_t *whole,
                              gdn_error *err) {
    gdn_run_result *run = r->run;
    const json_t *value = json_object_get(whole, member);
    int64_t planned = 0;
    if (strcmp(member, "schema") == 0) {
        return gdnp_read_int(&r->schema, whole, member, 1, INT64_MAX, "$", err);
    }
    if (strcmp(member, "device") == 0) {
        return read_device(run, value, err);
    }
    if (strcmp(member, "suites") == 0) {
        return gdnp_read_string(&run->suites, whole, member, "$", err);
    }
    if (strcmp(member, "vectors") == 0) {
        return gdnp_read_string(&run->vectors, whole, member, "$", err);
    }
    if (strcmp(member, "vectors_digest") == 0) {
        return gdnp_read_string(&run->vectors_digest, whole, member, "$", err);
    }
    if (strcmp(member, "harness_error") == 0) {
        return gdnp_read_string(&run->harness_error, whole, member, "$", err);
    }
    if (strcmp(member, "complaint") == 0) {
        return gdnp_read_string(&run->complaint, whole, member, "$", err);
    }
    if (strcmp(member, "profiles") == 0) {
        return read_profiles(run, value, err);
    }
    if (strcmp(member, "shard") == 0) {
        return read_shard(run, value, err);
    }
    if (strcmp(member, "seconds") == 0) {
        return gdnp_read_number(&run->seconds, whole, member, "$", err);
    }
    if (strcmp(member, "allowed_seconds") == 0) {
        return gdnp_read_number(&run->allowed_seconds, whole, member, "$", err);
    }
    if (strcmp(member, "planned") == 0) {
        GDN_TRY(gdnp_read_int(&planned, whole, member, 1, INT64_MAX, "$", err));
        run->planned = (size_t)planned;
    }
    if (strcmp(member, "verdicts") == 0) {
        r->verdicts = json_incref(json_object_get(whole, member));
    }
    return GDN_OK;
}

/* A member that this schema knows, into the model. */
static void take_member(reader *r, const char *key, json_t *value) {
    for (size_t i = 0; i < N_MEMBERS; i++) {
        if (strcmp(MEMBERS[i], key) == 0) {
            json_t *whole = json_pack("{s:O}", key, value);
            if (whole && (r->complaint.status == GDN_OK || strcmp(key, "schema") == 0)) {
                (void)!read_member(r, key, whole, &r->complaint);
            }
            json_decref(whole);
        }
    }
}

static gdn_status read_value(reader *r, const char *key, gdn_error *err) {
    if (strcmp(key, "cases") == 0) {
        return read_cases(r, err);
    }
    GDN_TRY(scan_value(r, next_char(r), err));
    json_t *value = parse_value(r, "$", err);
    if (!value) {
        return GDN_ERR_FORMAT;
    }
    take_member(r, key, value);
    json_decref(value);
    return GDN_OK;
}

static gdn_status read_pair(reader *r, int c, gdn_error *err) {
    if (c != '"') {
        return c == EOF ? ends_early(r, err)
                        : gdn_error_set(err, GDN_ERR_FORMAT,
                                        "expected the name of a member of the report");
    }
    GDN_TRY(scan_value(r, c, err));
    json_t *key = parse_value(r, "$", err);
    if (!key) {
        return GDN_ERR_FORMAT;
    }
    gdn_status status = GDN_OK;
    if (json_object_get(r->keys, json_string_value(key))) {
        status = gdn_error_set(err, GDN_ERR_FORMAT, "$: a member is there twice");
    } else {
        json_object_set_new(r->keys, json_string_value(key), json_true());
        c = next_char(r);
        status = c == ':' ? read_value(r, json_string_value(key), err)
                          : gdn_error_set(err, GDN_ERR_FORMAT, "$: expected ':'");
    }
    json_decref(key);
    return status;
}

static gdn_status read_object(reader *r, gdn_error *err) {
    int c = next_char(r);
    if (c != '{') {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "expected a report, which is a JSON object");
    }
    c = next_char(r);
    while (c != '}') {
        GDN_TRY(read_pair(r, c, err));
        c = next_char(r);
        if (c == ',') {
            c = next_char(r);
        } else if (c != '}') {
            return c == EOF ? ends_early(r, err)
                            : gdn_error_set(err, GDN_ERR_FORMAT, "$: expected ',' or '}'");
        }
    }
    return next_char(r) == EOF
               ? GDN_OK
               : gdn_error_set(err, GDN_ERR_FORMAT, "text behind the end of the report");
}

static gdn_status check_verdicts(const reader *r, gdn_error *err) {
    const gdn_run_result *run = r->run;
    size_t tally[GDN_VERDICT_COUNT];
    gdn_run_tally(run, tally);
    for (int v = 0; v < GDN_VERDICT_COUNT; v++) {
        const char *name = gdn_verdict_name((gdn_verdict)v);
        const json_t *told = json_object_get(r->verdicts, name);
        if (!json_is_integer(told) || json_integer_value(told) != (json_int_t)tally[v]) {
            return gdn_error_set(
                err, GDN_ERR_FORMAT,
                "$.verdicts.%s: expected %zu, as the cases have, but found "
                "%lld",
                name, tally[v], (long long)json_integer_value(told));
        }
    }
    if (run->n_cases != run->planned) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "$.planned: expected %zu, the number of cases, but found %zu",
                             run->n_cases, run->planned);
    }
    return GDN_OK;
}

static gdn_status check_whole(const reader *r, gdn_error *err) {
    if (r->schema > GDN_REPORT_SCHEMA) {
        return gdn_error_set(
            err, GDN_ERR_FORMAT,
            "$.schema: %lld is newer than %d, the newest that this program "
            "reads",
            (long long)r->schema, GDN_REPORT_SCHEMA);
    }
    if (r->complaint.status != GDN_OK) {
        return gdn_error_set(err, r->complaint.status, "%s", r->complaint.message);
    }
    static const char *const REQUIRED[] = {"schema",  "device", "suites",
                                           "planned", "cases",  "verdicts"};
    for (size_t i = 0; i < sizeof REQUIRED / sizeof REQUIRED[0]; i++) {
        if (!json_object_get(r->keys, REQUIRED[i])) {
            return gdn_error_set(err, GDN_ERR_FORMAT, "$: has no member \"%s\": no report",
                                 REQUIRED[i]);
        }
    }
    if (!r->run->suites) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "$.suites: expected a text but found null");
    }
    return check_verdicts(r, err);
}

/* Ids and messages of libraries stand in error messages too. */
static void make_plain(gdn_error *err) {
    char *plain = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&plain, &size);
    if (out) {
        gdn_put_plain(out, err->message);
        fclose(out);
        snprintf(err->message, sizeof err->message, "%s", plain ? plain : "");
    }
    free(plain);
}

gdn_status gdn_report_read_stream(gdn_run_result *run, FILE *file, const char *name,
                                  gdn_error *err) {
    *run = (gdn_run_result){0};
    reader r = {.file = file, .run = run, .keys = json_object()};
    gdn_error local = {0};
    gdn_status status = GDN_OK;
    if (!r.keys || hcreate_r(2 * GDN_REPORT_MOST_CASES, &r.ids) == 0) {
        status = gdn_error_set(&local, GDN_ERR_OOM, "no memory for a report");
    }
    if (status == GDN_OK) {
        status = read_object(&r, &local);
    }
    if (status == GDN_OK) {
        status = check_whole(&r, &local);
    }
    if (status != GDN_OK) {
        gdn_run_result_destroy(run);
        gdn_error_context(&local, "%s", name);
        make_plain(&local);
        gdn_error_set(err, status, "%s", local.message);
    }
    hdestroy_r(&r.ids);
    json_decref(r.verdicts);
    json_decref(r.keys);
    free(r.text);
    return status;
}

gdn_status gdn_report_read(gdn_run_result *run, const char *path, gdn_error *err) {
    *run = (gdn_run_result){0};
    if (strcmp(path, "-") == 0) {
        return gdn_report_read_stream(run, stdin, "standard input", err);
    }
    FILE *file = fopen(path, "re");
    if (!file) {
        return gdn_error_set(err, GDN_ERR_IO, "%s: %s", path, strerror(errno));
    }
    const gdn_status status = gdn_report_read_stream(run, file, path, err);
    fclose(file);
    return status;
}
