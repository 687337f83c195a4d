/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The name of the bug. A failing case is compared with the reference under every suspect,
 * the right conventions among them, each with limits of its own. What reproduces every
 * output, and foretells what is wrong, explains the failure; a correct kernel, whose
 * outputs the right conventions reproduce, is never blamed on a suspect. */
#ifndef GDN_DIAGNOSE_H
#define GDN_DIAGNOSE_H

#include "fit.h"
#include "suspects.h"

typedef enum gdn_finding {
    GDN_FOUND_NOTHING_WRONG, ///< no element is beyond its limit: a correct kernel
    GDN_FOUND_DIAGNOSED,     ///< one suspect explains everything
    GDN_FOUND_CONSISTENT,    ///< several do, or one explains nearly everything
    GDN_FOUND_PATTERN,       ///< none does: what the wrong elements have in common
} gdn_finding;

/// "correct", "diagnosed", "consistent with", "pattern".
const char *gdn_finding_name(gdn_finding finding);

typedef struct gdn_hypothesis {
    size_t suspect; ///< index; of a pair, the first
    size_t other;   ///< of a pair, the second; else SIZE_MAX
    bool pruned;    ///< not run: it cannot touch all that is wrong (deviation.h,
                    ///< invisible.h)
    bool explains;  ///< nothing is wrong under it, and it foretells most of what is wrong
    gdn_fit fit;
} gdn_hypothesis;

typedef struct gdn_diagnosis {
    gdn_finding finding;
    gdn_fit correct;         ///< under the right conventions
    gdn_hypothesis *ranking; ///< best first; those pruned or that do not apply are last
    size_t n_ranking;
    size_t n_named; ///< leading entries that `finding` names
    size_t n_run;   ///< suspects under which the reference was evaluated
    char *names;    ///< the named suspects, "a", "a, b" or "a + b"; NULL for a pattern
    char *text;     ///< one line
} gdn_diagnosis;

/// Suspects named by earlier failures of the same device. One that alone explains this case
/// too ends the search: one bug is likelier than two.
typedef struct gdn_diagnose_hints {
    const size_t *suspects;
    size_t count;
    bool only; ///< no search if no hint explains: then the pattern is all there is
} gdn_diagnose_hints;

/// Explains what the device left in the arena. `hints` may be NULL. If GDN_OK is returned
/// the caller destroys the diagnosis.
GDN_NODISCARD gdn_status gdn_diagnose(gdn_diagnosis *diagnosis, const gdn_problem *problem,
                                      const gdn_golden *golden,
                                      const gdn_suspects *suspects,
                                      const gdn_diagnose_hints *hints, gdn_error *err);

/// The same over all pairs of suspects from the table and the file that set different
/// fields; for small cases, after gdn_diagnose() found only a pattern.
GDN_NODISCARD gdn_status gdn_diagnose_pairs(gdn_diagnosis *diagnosis,
                                            const gdn_problem *problem,
                                            const gdn_golden *golden,
                                            const gdn_suspects *suspects, gdn_error *err);

/// Accepts a zeroed diagnosis.
void gdn_diagnosis_destroy(gdn_diagnosis *diagnosis);

#endif
