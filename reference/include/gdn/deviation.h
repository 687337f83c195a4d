/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Known ways to get GDN wrong: one table, one row a deviation, each a convention obeyed
 * wrongly. The sim device runs them, suites are scored on them, `list deviations` prints
 * them. */
#ifndef GDN_DEVIATION_H
#define GDN_DEVIATION_H

#include "gdn/call.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gdn_deviation {
    const char *name;
    const char *symptom;  ///< one sentence: what an observer sees
    const char *evidence; ///< the upstream issue, PR or contract section
    const char *field;    ///< the convention obeyed wrongly
    const char *value;    ///< its wrong value; NULL: the other one of a two-valued field
    const char *instead;  ///< the wrong value where `value` is the right one, or NULL
    /// Outputs that it can change, separated by spaces; "elsewhere": bytes that are no
    /// output's.
    const char *touches;
    /// A convention, and those of its values (separated by spaces) under which nobody can
    /// make this mistake; NULL: it can always be made.
    const char *idle_field, *idle_values;
    /// Names of the ops that it can change, separated by spaces; NULL: those of the
    /// recurrence, or, for a field of verification, of that.
    const char *ops;
} gdn_deviation;

/// The table.
const gdn_deviation *gdn_deviations(size_t *count);

/// NULL if no row has this name.
const gdn_deviation *gdn_deviation_find(const char *name);

/// Whether a backend of these conventions has no place for the mistake.
bool gdn_deviation_is_idle(const gdn_deviation *deviation,
                           const gdn_conventions *conventions);

/// Whether the row can change the op.
bool gdn_deviation_concerns(const gdn_deviation *deviation, gdn_op op);

/// Makes conventions wrong in the way of the row.
GDN_NODISCARD gdn_status gdn_deviation_apply(const gdn_deviation *deviation,
                                             gdn_conventions *conventions, gdn_error *err);

#ifdef __cplusplus
}
#endif

#endif
