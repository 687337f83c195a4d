/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What changed between two reports of the same cases. Budgets are compared only where the
 * golden values and limits are the same (digest of the case); verdicts also where one side
 * did not get as far as golden values. */
#ifndef GDN_DIFF_H
#define GDN_DIFF_H

#include "result.h"

/// In the order in which a reviewer wants to read them.
typedef enum gdn_change {
    GDN_CHANGE_NEW_FAILURE, ///< passed or was not run, and is wrong now
    GDN_CHANGE_VERDICT,     ///< wrong before and after, in another way: fail, crash, hang
    GDN_CHANGE_DIAGNOSIS,   ///< wrong before and after, by another bug
    GDN_CHANGE_DRIFT_UP,    ///< uses more than 1.5 times the budget
    GDN_CHANGE_DECLINED,    ///< ran before, is skipped or unsupported now
    GDN_CHANGE_RAISED,      ///< its ratchet was raised, with the reason
    GDN_CHANGE_FIXED,
    GDN_CHANGE_TAKEN, ///< was skipped or unsupported, and is right now
    GDN_CHANGE_DRIFT_DOWN,
    GDN_CHANGE_SKIP_KIND, ///< skipped before and unsupported now, or the reverse
    GDN_CHANGE_GOLDEN,    ///< not compared: other golden values
    GDN_CHANGE_GONE,
    GDN_CHANGE_ADDED,
    GDN_CHANGE_COUNT
} gdn_change;

/// "new_failure", ..: names in the JSON form.
const char *gdn_change_name(gdn_change change);

/// "new failure", "budget beyond 1.5 times", ..: for people.
const char *gdn_change_title(gdn_change change);

/// A side of a fact for people: "unknown" for NULL and "".
const char *gdn_diff_side(const char *text);

/// Budgets that differ by more than this factor are a change. Below GDN_DRIFT_LEAST of a
/// limit they are not: a hundred times worse would still be right, and ratios of a few
/// roundings say nothing.
#define GDN_DRIFT       1.5
#define GDN_DRIFT_LEAST 0.01

typedef struct gdn_diff_entry {
    gdn_change change;
    bool regression;
    const gdn_case_result *base, *now; ///< borrowed; one is NULL for gone and added
    double factor;                     ///< drift: budget now / budget before
} gdn_diff_entry;

/// Something else than a case that differs: "driver", "profile vllm-xpu", ...
typedef struct gdn_diff_fact {
    char what[96];
    const char *base, *now; ///< borrowed; NULL: unknown
} gdn_diff_fact;

typedef struct gdn_report_diff {
    const gdn_run_result *base, *now; ///< borrowed
    gdn_diff_entry *entries;          ///< by change, then in the order of the reports
    size_t n_entries;
    gdn_diff_fact *facts;
    size_t n_facts;
    size_t in_both;    ///< cases
    size_t comparable; ///< of them, with equal digests
    size_t regressions;
    size_t tally[GDN_CHANGE_COUNT];
    const gdn_case_result **pairs; ///< 2 * comparable: base and now, for the scatter
} gdn_report_diff;

/// Compares. Both runs must outlive the diff. If GDN_OK is returned the caller destroys it.
GDN_NODISCARD gdn_status gdn_diff_create(gdn_report_diff *diff, const gdn_run_result *base,
                                         const gdn_run_result *now, gdn_error *err);

void gdn_diff_destroy(gdn_report_diff *diff);

/// The forms. Writers don't close `out`.
void gdn_diff_text(const gdn_report_diff *diff, FILE *out);
void gdn_diff_markdown(const gdn_report_diff *diff, FILE *out);
void gdn_diff_html(const gdn_report_diff *diff, FILE *out);

/// New reference: the object of diff.schema.json.
json_t *gdn_diff_json(const gdn_report_diff *diff);

#endif
