/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "diff.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *gdn_change_name(gdn_change change) {
    static const char *const NAMES[GDN_CHANGE_COUNT] = {
        [GDN_CHANGE_NEW_FAILURE] = "new_failure",
        [GDN_CHANGE_VERDICT] = "verdict",
        [GDN_CHANGE_DIAGNOSIS] = "diagnosis",
        [GDN_CHANGE_DRIFT_UP] = "drift_up",
        [GDN_CHANGE_DECLINED] = "declined",
        [GDN_CHANGE_RAISED] = "ratchet_raised",
        [GDN_CHANGE_FIXED] = "fixed",
        [GDN_CHANGE_TAKEN] = "taken",
        [GDN_CHANGE_DRIFT_DOWN] = "drift_down",
        [GDN_CHANGE_SKIP_KIND] = "skip_kind",
        [GDN_CHANGE_GOLDEN] = "other_golden",
        [GDN_CHANGE_GONE] = "gone",
        [GDN_CHANGE_ADDED] = "added",
    };
    return NAMES[change];
}

const char *gdn_change_title(gdn_change change) {
    static const char *const TITLES[GDN_CHANGE_COUNT] = {
        [GDN_CHANGE_NEW_FAILURE] = "new failure",
        [GDN_CHANGE_VERDICT] = "fails in another way",
        [GDN_CHANGE_DIAGNOSIS] = "another diagnosis",
        [GDN_CHANGE_DRIFT_UP] = "uses more budget",
        [GDN_CHANGE_DECLINED] = "not run any more",
        [GDN_CHANGE_RAISED] = "ratchet raised",
        [GDN_CHANGE_FIXED] = "fixed",
        [GDN_CHANGE_TAKEN] = "run now, and right",
        [GDN_CHANGE_DRIFT_DOWN] = "uses less budget",
        [GDN_CHANGE_SKIP_KIND] = "still not run, for another reason",
        [GDN_CHANGE_GOLDEN] = "not comparable: other golden values",
        [GDN_CHANGE_GONE] = "case gone",
        [GDN_CHANGE_ADDED] = "case added",
    };
    return TITLES[change];
}

const char *gdn_diff_side(const char *text) {
    return text && *text ? text : "unknown";
}

/* What the device did, whatever the known-failures list says to it. */
typedef enum outcome { RIGHT, WRONG, NOT_RUN } outcome;

static outcome outcome_of(gdn_verdict verdict) {
    switch (verdict) {
    case GDN_PASS:
    case GDN_XPASS:
        return RIGHT;
    case GDN_SKIP:
    case GDN_UNSUPPORTED:
        return NOT_RUN;
    default:
        return WRONG;
    }
}

static int severity(gdn_verdict verdict) {
    return verdict == GDN_HANG ? 3 : verdict == GDN_CRASH ? 2 : 1;
}

static void add(gdn_report_diff *diff, gdn_change change, bool regression,
                const gdn_case_result *base, const gdn_case_result *now, double factor) {
    diff->entries[diff->n_entries++] = (gdn_diff_entry){
        .change = change,
        .regression = regression,
        .base = base,
        .now = now,
        .factor = factor,
    };
    diff->tally[change]++;
    diff->regressions += regression;
}

static void compare_budgets(gdn_report_diff *diff, const gdn_case_result *base,
                            const gdn_case_result *now) {
    const double before = gdn_case_budget(base);
    const double after = gdn_case_budget(now);
    if (before < 0.0 || after < 0.0 || before == after ||
        !(fmax(before, after) >= GDN_DRIFT_LEAST)) {
        return;
    }
    if (after > GDN_DRIFT * before) {
        add(diff, GDN_CHANGE_DRIFT_UP, true, base, now, after / before);
    } else if (before > GDN_DRIFT * after) {
        add(diff, GDN_CHANGE_DRIFT_DOWN, false, base, now, after / before);
    }
}

static void compare_wrong(gdn_report_diff *diff, const gdn_case_result *base,
                          const gdn_case_result *now) {
    const char *before = base->diagnosis.deviation;
    const char *after = now->diagnosis.deviation;
    if (severity(base->verdict) != severity(now->verdict)) {
        add(diff, GDN_CHANGE_VERDICT, severity(now->verdict) > severity(base->verdict),
            base, now, 0.0);
    }
    /* A name that goes away or comes is the diagnosis learning; another name is another
     * bug. */
    if ((before || after) && !(before && after && strcmp(before, after) == 0)) {
        add(diff, GDN_CHANGE_DIAGNOSIS, before && after, base, now, 0.0);
    }
}

static void compare_ratchets(gdn_report_diff *diff, const gdn_case_result *base,
                             const gdn_case_result *now) {
    if (now->ratchet.held && base->ratchet.held &&
        now->ratchet.budget > base->ratchet.budget) {
        add(diff, GDN_CHANGE_RAISED, false, base, now,
            now->ratchet.budget / base->ratchet.budget);
    }
}

static void compare_case(gdn_report_diff *diff, const gdn_case_result *base,
                         const gdn_case_result *now) {
    const bool both = base->digest[0] != '\0' && now->digest[0] != '\0';
    diff->in_both++;
    if (both && strcmp(base->digest, now->digest) != 0) {
        add(diff, GDN_CHANGE_GOLDEN, false, base, now, 0.0);
        return;
    }
    if (both) {
        diff->pairs[2 * diff->comparable] = base;
        diff->pairs[2 * diff->comparable + 1] = now;
        diff->comparable++;
    }
    const outcome before = outcome_of(base->verdict);
    const outcome after = outcome_of(now->verdict);
    compare_ratchets(diff, base, now);
    if (after == WRONG && before != WRONG) {
        add(diff, GDN_CHANGE_NEW_FAILURE, true, base, now, 0.0);
    } else if (after == NOT_RUN && before != NOT_RUN) {
        add(diff, GDN_CHANGE_DECLINED, true, base, now, 0.0);
    } else if (after == RIGHT && before == WRONG) {
        add(diff, GDN_CHANGE_FIXED, false, base, now, 0.0);
    } else if (after == RIGHT && before == NOT_RUN) {
        add(diff, GDN_CHANGE_TAKEN, false, base, now, 0.0);
    } else if (after == NOT_RUN) {
        if (base->verdict != now->verdict) {
            add(diff, GDN_CHANGE_SKIP_KIND, false, base, now, 0.0);
        }
    } else {
        if (after == WRONG) {
            compare_wrong(diff, base, now);
        }
        if (both) {
            compare_budgets(diff, base, now);
        }
    }
}

static int by_id(const void *a, const void *b) {
    const gdn_case_result *const *x = a, *const *y = b;
    return strcmp((*x)->id, (*y)->id);
}

static const gdn_case_result **sorted(const gdn_run_result *run) {
    const gdn_case_result **order = calloc(run->n_cases + 1, sizeof *order);
    for (size_t i = 0; order && i < run->n_cases; i++) {
        order[i] = &run->cases[i];
    }
    if (order) {
        qsort(order, run->n_cases, sizeof *order, by_id);
    }
    return order;
}

static const gdn_case_result *find(const gdn_case_result **order, size_t count,
                                   const gdn_case_result *like) {
    const gdn_case_result **found = bsearch(&like, order, count, sizeof *order, by_id);
    return found ? *found : NULL;
}

static void compare_cases(gdn_report_diff *diff, const gdn_case_result **before,
                          const gdn_case_result **after) {
    const gdn_run_result *base = diff->base, *now = diff->now;
    for (size_t i = 0; i < base->n_cases; i++) {
        const gdn_case_result *c = find(after, now->n_cases, &base->cases[i]);
        if (c) {
            compare_case(diff, &base->cases[i], c);
        } else {
            add(diff, GDN_CHANGE_GONE, false, &base->cases[i], NULL, 0.0);
        }
    }
    for (size_t i = 0; i < now->n_cases; i++) {
        if (!find(before, base->n_cases, &now->cases[i])) {
            add(diff, GDN_CHANGE_ADDED, false, NULL, &now->cases[i], 0.0);
        }
    }
}

static void compare_fact(gdn_report_diff *diff, const char *what, const char *base,
                         const char *now) {
    if (base == now || (base && now && strcmp(base, now) == 0)) {
        return;
    }
    gdn_diff_fact *fact = &diff->facts[diff->n_facts++];
    *fact = (gdn_diff_fact){.base = base, .now = now};
    snprintf(fact->what, sizeof fact->what, "%s", what);
}

static const char *profile_digest(const gdn_run_result *run, const char *name) {
    for (size_t i = 0; i < run->n_profiles; i++) {
        if (strcmp(run->profiles[i].name, name) == 0) {
            return run->profiles[i].digest;
        }
    }
    return NULL;
}

static void compare_facts(gdn_report_diff *diff) {
    const gdn_run_result *base = diff->base, *now = diff->now;
    compare_fact(diff, "device", base->device, now->device);
    compare_fact(diff, "hardware", base->hardware, now->hardware);
    compare_fact(diff, "driver", base->driver, now->driver);
    compare_fact(diff, "build", base->build, now->build);
    compare_fact(diff, "suites", base->suites, now->suites);
    compare_fact(diff, "vectors", base->vectors_digest, now->vectors_digest);
    for (size_t i = 0; i < base->n_profiles + now->n_profiles; i++) {
        const bool second = i >= base->n_profiles;
        const char *name =
            second ? now->profiles[i - base->n_profiles].name : base->profiles[i].name;
        if (!second || !profile_digest(base, name)) {
            char what[96];
            snprintf(what, sizeof what, "profile %.80s", name);
            compare_fact(diff, what, profile_digest(base, name), profile_digest(now, name));
        }
    }
}

/* Stable: within a change the order of the reports stays. */
static void sort_entries(gdn_diff_entry *entries, size_t count, gdn_diff_entry *scratch) {
    size_t n = 0;
    for (int change = 0; change < GDN_CHANGE_COUNT; change++) {
        for (size_t i = 0; i < count; i++) {
            if ((int)entries[i].change == change) {
                scratch[n++] = entries[i];
            }
        }
    }
    memcpy(entries, scratch, count * sizeof *entries);
}

gdn_status gdn_diff_create(gdn_report_diff *diff, const gdn_run_result *base,
                           const gdn_run_result *now, gdn_error *err) {
    *diff = (gdn_report_diff){.base = base, .now = now};
    /* At most four changes a case: a raised ratchet, a verdict, a diagnosis, a budget. */
    const size_t most = 4 * (base->n_cases + now->n_cases) + 1;
    const gdn_case_result **before = sorted(base);
    const gdn_case_result **after = sorted(now);
    gdn_diff_entry *scratch = calloc(most, sizeof *scratch);
    diff->entries = calloc(most, sizeof *diff->entries);
    diff->facts = calloc(base->n_profiles + now->n_profiles + 6, sizeof *diff->facts);
    diff->pairs = calloc(2 * base->n_cases + 1, sizeof *diff->pairs);
    gdn_status status = GDN_OK;
    if (before && after && scratch && diff->entries && diff->facts && diff->pairs) {
        compare_facts(diff);
        compare_cases(diff, before, after);
        sort_entries(diff->entries, diff->n_entries, scratch);
    } else {
        status = gdn_error_set(err, GDN_ERR_OOM, "no memory to compare %zu cases",
                               base->n_cases + now->n_cases);
        gdn_diff_destroy(diff);
    }
    free(before);
    free(after);
    free(scratch);
    return status;
}

void gdn_diff_destroy(gdn_report_diff *diff) {
    free(diff->entries);
    free(diff->facts);
    free(diff->pairs);
    *diff = (gdn_report_diff){0};
}
