/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "known_failures.h"

#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gdn/json_check.h"
#include "gdn/nearest.h"

static const char *const KINDS[] = {"wrong", "unsupported", "crash", "hang", NULL};

/* ---- reading ---- */

/* ISO dates, which compare as texts. */
static bool is_date(const char *text) {
    static const int DAYS[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = 0, month = 0, day = 0, length = 0;
    return strlen(text) == 10 &&
           sscanf(text, "%4d-%2d-%2d%n", &year, &month, &day, &length) == 3 &&
           length == 10 && month >= 1 && month <= 12 && day >= 1 &&
           day <= DAYS[month - 1] && strspn(text, "0123456789-") == 10;
}

static gdn_status copy(char **to, const json_t *object, const char *member,
                       const char *where, gdn_error *err) {
    const char *text = NULL;
    GDN_TRY(gdn_json_text(&text, object, member, GDN_ERR_FORMAT, where, err));
    if (*text == '\0') {
        return gdn_error_set(err, GDN_ERR_FORMAT, "%s.%s: expected a text but found \"\"",
                             where, member);
    }
    *to = strdup(text);
    return *to ? GDN_OK : gdn_error_set(err, GDN_ERR_OOM, "no memory for a list");
}

static gdn_status read_kind(gdn_known_failure *e, const json_t *json, const char *where,
                            gdn_error *err) {
    const char *kind = NULL;
    char at[GDN_JSON_WHERE];
    GDN_TRY(gdn_json_text(&kind, json, "kind", GDN_ERR_FORMAT, where, err));
    for (int i = 0; KINDS[i]; i++) {
        if (strcmp(KINDS[i], kind) == 0) {
            e->kind = (gdn_known_kind)i;
            return GDN_OK;
        }
    }
    gdn_json_at(at, where, ".kind");
    return gdn_error_unknown(err, GDN_ERR_FORMAT, at, kind, KINDS);
}

static gdn_status read_limits(gdn_known_failure *e, const json_t *json, const char *where,
                              gdn_error *err) {
    const char *until = NULL;
    GDN_TRY(gdn_json_text(&until, json, "until", GDN_ERR_FORMAT, where, err));
    if (!is_date(until)) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "%s.until: expected a date such as 2026-12-31 but found "
                             "\"%.40s\"",
                             where, until);
    }
    memcpy(e->until, until, sizeof e->until);
    const json_t *most = json_object_get(json, "budget_max");
    e->budget_max = most ? json_number_value(most) : INFINITY;
    if (most && !(json_is_number(most) && e->budget_max > 1.0)) {
        char at[GDN_JSON_WHERE];
        gdn_json_at(at, where, ".budget_max");
        return gdn_json_unexpected(err, GDN_ERR_FORMAT, at, "a number above 1", most);
    }
    if (json_object_get(json, "diagnosis")) {
        GDN_TRY(copy(&e->diagnosis, json, "diagnosis", where, err));
    }
    if (e->kind != GDN_KNOWN_WRONG && (e->diagnosis || most)) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "%s: diagnosis and budget_max need the kind \"wrong\"", where);
    }
    return GDN_OK;
}

static gdn_status read_entry(gdn_known_failure *e, const json_t *json, const char *where,
                             gdn_error *err) {
    static const char *const members[] = {"device", "case",      "issue",      "until",
                                          "kind",   "diagnosis", "budget_max", NULL};
    GDN_TRY(gdn_json_members(json, GDN_ERR_FORMAT, where, members, err));
    GDN_TRY(copy(&e->device, json, "device", where, err));
    GDN_TRY(copy(&e->cases, json, "case", where, err));
    GDN_TRY(copy(&e->issue, json, "issue", where, err));
    GDN_TRY(read_kind(e, json, where, err));
    return read_limits(e, json, where, err);
}

static gdn_status read_list(gdn_known_list *list, const json_t *root, const char *where,
                            gdn_error *err) {
    static const char *const members[] = {"schema", "known_failures", NULL};
    GDN_TRY(gdn_json_members(root, GDN_ERR_FORMAT, where, members, err));
    const json_t *schema = json_object_get(root, "schema");
    if (!json_is_integer(schema) || json_integer_value(schema) != GDN_KNOWN_SCHEMA) {
        char at[GDN_JSON_WHERE];
        gdn_json_at(at, where, ".schema");
        return gdn_json_unexpected(err, GDN_ERR_FORMAT, at, "1", schema);
    }
    const json_t *entries = json_object_get(root, "known_failures");
    if (!json_is_array(entries)) {
        char at[GDN_JSON_WHERE];
        gdn_json_at(at, where, ".known_failures");
        return gdn_json_unexpected(err, GDN_ERR_FORMAT, at, "a list", entries);
    }
    list->entries = calloc(json_array_size(entries) + 1, sizeof *list->entries);
    if (!list->entries) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a list");
    }
    for (size_t i = 0; i < json_array_size(entries); i++) {
        char at[GDN_JSON_WHERE];
        gdn_json_at(at, where, ".known_failures[%zu]", i);
        list->count++;
        GDN_TRY(read_entry(&list->entries[i], json_array_get(entries, i), at, err));
    }
    return GDN_OK;
}

gdn_status gdn_known_load(gdn_known_list *list, const char *path, const char *today,
                          gdn_error *err) {
    *list = (gdn_known_list){.path = strdup(path)};
    if (!list->path) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a list");
    }
    if (today) {
        snprintf(list->today, sizeof list->today, "%s", today);
    } else {
        const time_t now = time(NULL);
        struct tm utc;
        gmtime_r(&now, &utc);
        strftime(list->today, sizeof list->today, "%Y-%m-%d", &utc);
    }
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    gdn_status status;
    if (root) {
        char where[GDN_JSON_WHERE];
        gdn_json_at(where, path, ": $");
        status = read_list(list, root, where, err);
    } else {
        status = gdn_error_set(err, GDN_ERR_FORMAT, "%s:%d: %s", path,
                               error.line > 0 ? error.line : 0, error.text);
    }
    json_decref(root);
    if (status != GDN_OK) {
        gdn_known_destroy(list);
    }
    return status;
}

void gdn_known_destroy(gdn_known_list *list) {
    for (size_t i = 0; i < list->count; i++) {
        free(list->entries[i].device);
        free(list->entries[i].cases);
        free(list->entries[i].issue);
        free(list->entries[i].diagnosis);
    }
    free(list->entries);
    free(list->path);
    *list = (gdn_known_list){0};
}

/* ---- matching ---- */

static bool names_device(const char *glob, const char *device, const char *hardware) {
    const bool others = glob[0] == '!';
    glob += others;
    const bool named = fnmatch(glob, device, 0) == 0 ||
                       (hardware && *hardware && fnmatch(glob, hardware, 0) == 0);
    return named != others;
}

void gdn_known_match(gdn_known_list *list, const gdn_case_plan *plan, const char *device,
                     const char *hardware) {
    for (size_t i = 0; i < list->count; i++) {
        gdn_known_failure *e = &list->entries[i];
        e->here = names_device(e->device, device, hardware);
        e->planned = 0;
        for (size_t k = 0; e->here && k < plan->n_cases; k++) {
            e->planned += fnmatch(e->cases, plan->cases[k].test->id, 0) == 0;
        }
    }
}

static bool is_expired(const gdn_known_list *list, const gdn_known_failure *e) {
    return strcmp(list->today, e->until) > 0;
}

char *gdn_known_complaint(const gdn_known_list *list) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) {
        return NULL;
    }
    const char *separator = "";
    for (size_t i = 0; i < list->count; i++) {
        const gdn_known_failure *e = &list->entries[i];
        if (!e->here || (e->planned > 0 && !is_expired(list, e))) {
            continue;
        }
        fprintf(out, "%s%s: $.known_failures[%zu] (%s) ", separator, list->path, i,
                e->issue);
        if (e->planned == 0) {
            fprintf(out, "matches no planned case");
        } else {
            fprintf(out, "was good until %s", e->until);
        }
        separator = "; ";
    }
    fclose(out);
    if (size == 0) {
        free(text);
        return NULL;
    }
    return text;
}

const gdn_known_failure *gdn_known_find(const gdn_known_list *list, const char *id) {
    for (size_t i = 0; i < list->count; i++) {
        if (list->entries[i].here && fnmatch(list->entries[i].cases, id, 0) == 0) {
            return &list->entries[i];
        }
    }
    return NULL;
}

bool gdn_known_keeps_back(const gdn_known_failure *entry) {
    return entry->kind == GDN_KNOWN_CRASH || entry->kind == GDN_KNOWN_HANG;
}

/* ---- settling ---- */

static gdn_status say(gdn_case_result *result, gdn_verdict verdict, const char *issue,
                      const char *what, gdn_error *err) {
    char *message = NULL;
    const char *before = result->message ? result->message : "";
    if (asprintf(&message, "%s%s%s (known failure: %s)", before, *before ? "; " : "", what,
                 issue) < 0) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a message");
    }
    free(result->message);
    result->message = message;
    result->verdict = verdict;
    free(result->known);
    result->known = strdup(issue);
    return result->known ? GDN_OK : gdn_error_set(err, GDN_ERR_OOM, "no memory for a name");
}

static bool is_of_kind(gdn_verdict verdict, gdn_known_kind kind) {
    static const gdn_verdict VERDICTS[] = {GDN_FAIL, GDN_UNSUPPORTED, GDN_CRASH, GDN_HANG};
    return verdict == VERDICTS[kind];
}

/* NULL if a wrong result is the known one. A case that nobody has diagnosed is taken at its
 * budget's word. */
static const char *differs(const gdn_known_failure *e, const gdn_case_result *result,
                           char *text, size_t size) {
    const char *found = result->diagnosis.deviation;
    const bool looked = result->diagnosis.verdict != NULL;
    if (e->diagnosis && looked && (!found || strcmp(found, e->diagnosis) != 0)) {
        snprintf(text, size, "another bug than %s", e->diagnosis);
        return text;
    }
    const double budget = gdn_case_budget(result);
    if (!(budget <= e->budget_max)) {
        snprintf(text, size, "budget %.3g beyond the %.3g that are known", budget,
                 e->budget_max);
        return text;
    }
    return NULL;
}

gdn_status gdn_known_settle(const gdn_known_list *list, const gdn_known_failure *entry,
                            bool launched, gdn_case_result *result, gdn_error *err) {
    char text[256];
    if (is_expired(list, entry)) {
        const gdn_verdict verdict = launched ? result->verdict : GDN_FAIL;
        snprintf(text, sizeof text, "%sthe entry was good until %s",
                 launched ? "" : "not launched, but ", entry->until);
        return say(result, verdict == GDN_PASS ? GDN_XPASS : verdict, entry->issue, text,
                   err);
    }
    if (!launched) {
        snprintf(text, sizeof text, "not launched: would %s", KINDS[entry->kind]);
        return say(result, GDN_XFAIL, entry->issue, text, err);
    }
    if (result->verdict == GDN_PASS) {
        return say(result, GDN_XPASS, entry->issue, "passes: take the entry out", err);
    }
    if (!is_of_kind(result->verdict, entry->kind)) {
        snprintf(text, sizeof text, "known as %s, not as this", KINDS[entry->kind]);
        return say(result, result->verdict, entry->issue, text, err);
    }
    const char *why =
        entry->kind == GDN_KNOWN_WRONG ? differs(entry, result, text, sizeof text) : NULL;
    return why ? say(result, result->verdict, entry->issue, why, err)
               : say(result, GDN_XFAIL, entry->issue, "as known", err);
}
