/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "merge.h"

#include <stdlib.h>
#include <string.h>

static bool same(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static gdn_status differ(const char *what, const char *a, const char *name_a, const char *b,
                         const char *name_b, gdn_error *err) {
    return gdn_error_set(err, GDN_ERR_ARG,
                         "%s and %s are no shards of one run: %s \"%s\" and \"%s\"", name_a,
                         name_b, what, a ? a : "unknown", b ? b : "unknown");
}

static gdn_status check_same(const gdn_run_result *a, const char *name_a,
                             const gdn_run_result *b, const char *name_b, gdn_error *err) {
    const struct {
        const char *what, *a, *b;
    } texts[] = {
        {"device", a->device, b->device},
        {"hardware", a->hardware, b->hardware},
        {"driver", a->driver, b->driver},
        {"build", a->build, b->build},
        {"suites", a->suites, b->suites},
        {"vectors_digest", a->vectors_digest, b->vectors_digest},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (!same(texts[i].a, texts[i].b)) {
            return differ(texts[i].what, texts[i].a, name_a, texts[i].b, name_b, err);
        }
    }
    for (size_t i = 0; i < a->n_profiles; i++) {
        for (size_t k = 0; k < b->n_profiles; k++) {
            const gdn_used_profile *p = &a->profiles[i], *q = &b->profiles[k];
            if (strcmp(p->name, q->name) == 0 && strcmp(p->digest, q->digest) != 0) {
                return differ(p->name, p->digest, name_a, q->digest, name_b, err);
            }
        }
    }
    return GDN_OK;
}

static gdn_status check_shards(const gdn_run_result *runs, const char *const *names,
                               size_t count, gdn_error *err) {
    for (size_t i = 0; i < count; i++) {
        GDN_TRY(check_same(&runs[0], names[0], &runs[i], names[i], err));
        if (runs[i].shards != (int)count) {
            return gdn_error_set(err, GDN_ERR_ARG,
                                 "%s: is shard %d of %d, but %zu reports were given",
                                 names[i], runs[i].shard, runs[i].shards, count);
        }
        for (size_t k = 0; k < i; k++) {
            if (runs[k].shard == runs[i].shard) {
                return gdn_error_set(err, GDN_ERR_ARG, "%s and %s are both shard %d",
                                     names[k], names[i], runs[i].shard);
            }
        }
    }
    return GDN_OK;
}

static int by_shard(const void *a, const void *b) {
    const gdn_run_result *x = a, *y = b;
    return (x->shard > y->shard) - (x->shard < y->shard);
}

static int by_id(const void *a, const void *b) {
    const gdn_case_result *const *x = a, *const *y = b;
    return strcmp((*x)->id, (*y)->id);
}

static gdn_status check_ids(const gdn_run_result *run, gdn_error *err) {
    const gdn_case_result **order = calloc(run->n_cases + 1, sizeof *order);
    if (!order) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu cases", run->n_cases);
    }
    for (size_t i = 0; i < run->n_cases; i++) {
        order[i] = &run->cases[i];
    }
    qsort(order, run->n_cases, sizeof *order, by_id);
    gdn_status status = GDN_OK;
    for (size_t i = 1; status == GDN_OK && i < run->n_cases; i++) {
        if (strcmp(order[i - 1]->id, order[i]->id) == 0) {
            status = gdn_error_set(err, GDN_ERR_ARG, "two shards have the case \"%s\"",
                                   order[i]->id);
        }
    }
    free(order);
    return status;
}

static gdn_status take_profiles(gdn_run_result *into, gdn_run_result *from,
                                gdn_error *err) {
    gdn_used_profile *profiles = realloc(
        into->profiles, (into->n_profiles + from->n_profiles + 1) * sizeof *profiles);
    if (!profiles) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for profiles");
    }
    into->profiles = profiles;
    for (size_t i = 0; i < from->n_profiles; i++) {
        bool there = false;
        for (size_t k = 0; k < into->n_profiles; k++) {
            there = there || strcmp(profiles[k].name, from->profiles[i].name) == 0;
        }
        if (!there) {
            profiles[into->n_profiles++] = from->profiles[i];
            from->profiles[i].name = NULL;
        }
    }
    return GDN_OK;
}

static gdn_status take_cases(gdn_run_result *into, gdn_run_result *from, gdn_error *err) {
    gdn_case_result *cases =
        realloc(into->cases, (into->n_cases + from->n_cases + 1) * sizeof *cases);
    if (!cases) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for cases");
    }
    into->cases = cases;
    for (size_t i = 0; i < from->n_cases; i++) {
        cases[into->n_cases++] = from->cases[i];
        from->cases[i] = (gdn_case_result){0};
    }
    from->n_cases = 0;
    into->planned += from->planned;
    into->seconds += from->seconds;
    into->device_lost = into->device_lost || from->device_lost;
    if (!into->lost_reason) {
        into->lost_reason = from->lost_reason;
        from->lost_reason = NULL;
    }
    if (!into->complaint) {
        into->complaint = from->complaint;
        from->complaint = NULL;
    }
    if (!into->harness_error) {
        into->harness_error = from->harness_error;
        from->harness_error = NULL;
    }
    return GDN_OK;
}

gdn_status gdn_merge(gdn_run_result *runs, const char *const *names, size_t count,
                     gdn_error *err) {
    if (count == 1 && runs[0].shards == 0) {
        return GDN_OK;
    }
    GDN_TRY(check_shards(runs, names, count, err));
    qsort(runs, count, sizeof *runs, by_shard);
    for (size_t i = 1; i < count; i++) {
        GDN_TRY(take_profiles(&runs[0], &runs[i], err));
        GDN_TRY(take_cases(&runs[0], &runs[i], err));
    }
    runs[0].shard = runs[0].shards = 0;
    return check_ids(&runs[0], err);
}
