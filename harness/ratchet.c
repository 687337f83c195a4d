/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "ratchet.h"

#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gdn/json_check.h"

/* ---- the file ---- */

static gdn_status check_entry(const json_t *entry, const char *where, gdn_error *err) {
    static const char *const members[] = {"budget", "spread", "digest", "reason", NULL};
    static const char *const numbers[] = {"budget", "spread"};
    GDN_TRY(gdn_json_members(entry, GDN_ERR_FORMAT, where, members, err));
    const char *digest = NULL;
    GDN_TRY(gdn_json_text(&digest, entry, "digest", GDN_ERR_FORMAT, where, err));
    for (size_t i = 0; i < 2; i++) {
        const json_t *number = json_object_get(entry, numbers[i]);
        if (!json_is_number(number) || !(json_number_value(number) >= 0.0)) {
            char at[GDN_JSON_WHERE];
            gdn_json_at(at, where, ".%s", numbers[i]);
            return gdn_json_unexpected(err, GDN_ERR_FORMAT, at, "a number from 0", number);
        }
    }
    const json_t *reason = json_object_get(entry, "reason");
    if (reason && !json_is_string(reason)) {
        char at[GDN_JSON_WHERE];
        gdn_json_at(at, where, ".reason");
        return gdn_json_unexpected(err, GDN_ERR_FORMAT, at, "a text", reason);
    }
    return GDN_OK;
}

static gdn_status check_root(json_t *root, const char *where, gdn_error *err) {
    static const char *const members[] = {"schema", "device", "cases", NULL};
    char at[GDN_JSON_WHERE];
    GDN_TRY(gdn_json_members(root, GDN_ERR_FORMAT, where, members, err));
    const json_t *schema = json_object_get(root, "schema");
    if (!json_is_integer(schema) || json_integer_value(schema) != GDN_RATCHET_SCHEMA) {
        gdn_json_at(at, where, ".schema");
        return gdn_json_unexpected(err, GDN_ERR_FORMAT, at, "1", schema);
    }
    const char *device = NULL;
    GDN_TRY(gdn_json_text(&device, root, "device", GDN_ERR_FORMAT, where, err));
    json_t *cases = json_object_get(root, "cases");
    if (!json_is_object(cases)) {
        gdn_json_at(at, where, ".cases");
        return gdn_json_unexpected(err, GDN_ERR_FORMAT, at, "an object of cases", cases);
    }
    const char *id;
    json_t *entry;
    json_object_foreach(cases, id, entry) {
        gdn_json_at(at, where, ".cases[\"%s\"]", id);
        GDN_TRY(check_entry(entry, at, err));
    }
    return GDN_OK;
}

gdn_status gdn_ratchet_load(gdn_ratchet *ratchet, const char *path, gdn_error *err) {
    json_error_t error;
    char where[GDN_JSON_WHERE];
    *ratchet = (gdn_ratchet){.path = strdup(path),
                             .root = json_load_file(path, JSON_REJECT_DUPLICATES, &error)};
    gdn_json_at(where, path, ": $");
    gdn_status status;
    if (!ratchet->path) {
        status = gdn_error_set(err, GDN_ERR_OOM, "no memory for a ratchet");
    } else if (!ratchet->root) {
        status = gdn_error_set(err, GDN_ERR_FORMAT, "%s:%d: %s", path,
                               error.line > 0 ? error.line : 0, error.text);
    } else {
        status = check_root(ratchet->root, where, err);
    }
    if (status != GDN_OK) {
        gdn_ratchet_destroy(ratchet);
    }
    return status;
}

gdn_status gdn_ratchet_start(gdn_ratchet *ratchet, const char *path, const char *device,
                             gdn_error *err) {
    *ratchet = (gdn_ratchet){
        .path = strdup(path),
        .root = json_pack("{s:i, s:s, s:{}}", "schema", GDN_RATCHET_SCHEMA, "device",
                          device, "cases"),
    };
    if (ratchet->path && ratchet->root) {
        return GDN_OK;
    }
    gdn_ratchet_destroy(ratchet);
    return gdn_error_set(err, GDN_ERR_OOM, "no memory for a ratchet");
}

void gdn_ratchet_destroy(gdn_ratchet *ratchet) {
    free(ratchet->path);
    json_decref(ratchet->root);
    *ratchet = (gdn_ratchet){0};
}

gdn_status gdn_ratchet_check_device(const gdn_ratchet *ratchet, const char *device,
                                    gdn_error *err) {
    const char *held = json_string_value(json_object_get(ratchet->root, "device"));
    return strcmp(held, device) == 0
               ? GDN_OK
               : gdn_error_set(err, GDN_ERR_ARG,
                               "%s: is the ratchet of device \"%s\", not of \"%s\"",
                               ratchet->path, held, device);
}

/* ---- holding a case to it ---- */

static double number_of(const json_t *entry, const char *member) {
    return json_number_value(json_object_get(entry, member));
}

static double reach(double budget, double spread) {
    return GDN_RATCHET_SLACK * budget + spread;
}

gdn_status gdn_ratchet_settle(const gdn_ratchet *ratchet, gdn_case_result *result,
                              size_t *stale, gdn_error *err) {
    const json_t *cases = json_object_get(ratchet->root, "cases");
    const json_t *entry = json_object_get(cases, result->id);
    if (!entry || result->n_tensors == 0) {
        return GDN_OK;
    }
    if (strcmp(json_string_value(json_object_get(entry, "digest")), result->digest) != 0) {
        ++*stale;
        return GDN_OK;
    }
    gdn_case_ratchet *held = &result->ratchet;
    const char *reason = json_string_value(json_object_get(entry, "reason"));
    *held = (gdn_case_ratchet){.held = true,
                               .budget = number_of(entry, "budget"),
                               .spread = number_of(entry, "spread"),
                               .reason = reason ? strdup(reason) : NULL};
    const double budget = gdn_case_budget(result);
    if (result->verdict != GDN_PASS || budget <= reach(held->budget, held->spread)) {
        return GDN_OK;
    }
    result->verdict = GDN_FAIL;
    free(result->message);
    if (asprintf(
            &result->message,
            "ratchet: budget %.3g is beyond %.2f times the best, %.3g, plus its spread, "
            "%.3g",
            budget, GDN_RATCHET_SLACK, held->budget, held->spread) < 0) {
        result->message = NULL;
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a message");
    }
    return GDN_OK;
}

/* ---- lowering it ---- */

static int by_id(const void *a, const void *b) {
    const gdn_case_result *const *x = a, *const *y = b;
    return strcmp((*x)->id, (*y)->id);
}

/* Right by its limits, whatever the ratchet said to it. */
static bool is_right(const gdn_case_result *c) {
    if (c->n_tensors == 0 || c->stray_bytes > 0 || c->digest[0] == '\0' ||
        (c->verdict != GDN_PASS && !(c->verdict == GDN_FAIL && c->ratchet.held))) {
        return false;
    }
    for (size_t i = 0; i < c->n_tensors; i++) {
        if (!c->tensors[i].ok) {
            return false;
        }
    }
    return true;
}

static json_t *entry_new(double budget, double spread, const char *digest,
                         const char *reason) {
    json_t *entry =
        json_pack("{s:f, s:f, s:s}", "budget", budget, "spread", spread, "digest", digest);
    if (entry && reason) {
        json_object_set_new(entry, "reason", json_string(reason));
    }
    return entry;
}

static gdn_status lower_case(gdn_ratchet *ratchet, const gdn_case_result *const *repeats,
                             size_t n, const char *raise, const char *reason,
                             gdn_ratchet_change *change, gdn_error *err) {
    double best = INFINITY, worst = 0.0;
    for (size_t i = 0; i < n; i++) {
        if (!is_right(repeats[i]) || strcmp(repeats[i]->digest, repeats[0]->digest) != 0) {
            return GDN_OK;
        }
        best = fmin(best, gdn_case_budget(repeats[i]));
        worst = fmax(worst, gdn_case_budget(repeats[i]));
    }
    json_t *cases = json_object_get(ratchet->root, "cases");
    const json_t *old = json_object_get(cases, repeats[0]->id);
    const char *why = old ? json_string_value(json_object_get(old, "reason")) : NULL;
    if (!old) {
        change->added++;
    } else if (strcmp(json_string_value(json_object_get(old, "digest")),
                      repeats[0]->digest) != 0) {
        change->renewed++;
        why = NULL;
    } else {
        const double before = reach(number_of(old, "budget"), number_of(old, "spread"));
        const double after = reach(best, worst - best);
        if (after < before) {
            change->lowered++;
        } else if (after > before && raise && fnmatch(raise, repeats[0]->id, 0) == 0) {
            change->raised++;
            why = reason;
        } else {
            change->kept++;
            return GDN_OK;
        }
    }
    json_t *entry = entry_new(best, worst - best, repeats[0]->digest, why);
    return entry && json_object_set_new(cases, repeats[0]->id, entry) == 0
               ? GDN_OK
               : gdn_error_set(err, GDN_ERR_OOM, "no memory for a ratchet");
}

static gdn_status lower_all(gdn_ratchet *ratchet, const gdn_case_result **order,
                            size_t count, size_t n_runs, const char *raise,
                            const char *reason, gdn_ratchet_change *change,
                            gdn_error *err) {
    for (size_t i = 0; i < count;) {
        size_t end = i + 1;
        while (end < count && strcmp(order[end]->id, order[i]->id) == 0) {
            end++;
        }
        /* A case that one of the runs lacks has not been repeated often enough. */
        if (end - i == n_runs) {
            GDN_TRY(lower_case(ratchet, order + i, n_runs, raise, reason, change, err));
        }
        i = end;
    }
    return GDN_OK;
}

gdn_status gdn_ratchet_lower(gdn_ratchet *ratchet, const gdn_run_result *runs,
                             size_t n_runs, const char *raise, const char *reason,
                             gdn_ratchet_change *change, gdn_error *err) {
    *change = (gdn_ratchet_change){0};
    if (n_runs < GDN_RATCHET_REPEATS) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "expected at least %d reports of the same run but found %zu: "
                             "their spread is part of the ratchet",
                             GDN_RATCHET_REPEATS, n_runs);
    }
    size_t total = 0;
    for (size_t i = 0; i < n_runs; i++) {
        GDN_TRY(gdn_ratchet_check_device(ratchet, runs[i].device, err));
        total += runs[i].n_cases;
    }
    const gdn_case_result **order = calloc(total + 1, sizeof *order);
    if (!order) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu cases", total);
    }
    size_t n = 0;
    for (size_t i = 0; i < n_runs; i++) {
        for (size_t k = 0; k < runs[i].n_cases; k++) {
            order[n++] = &runs[i].cases[k];
        }
    }
    qsort(order, n, sizeof *order, by_id);
    const gdn_status status =
        lower_all(ratchet, order, n, n_runs, raise, reason, change, err);
    free(order);
    return status;
}
