/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The list of failures that a user knows of, a file in his repository
 * (reports/known_failures.schema.json). It excuses nothing beyond its letter: another
 * bug, a worse error, a pass, an entry past its date or without a case are red. */
#ifndef GDN_KNOWN_FAILURES_H
#define GDN_KNOWN_FAILURES_H

#include "plan_cases.h"
#include "result.h"

#define GDN_KNOWN_SCHEMA 1

typedef enum gdn_known_kind {
    GDN_KNOWN_WRONG,
    GDN_KNOWN_UNSUPPORTED,
    GDN_KNOWN_CRASH, ///< never launched, except in quarantine on request
    GDN_KNOWN_HANG,  ///< same
} gdn_known_kind;

typedef struct gdn_known_failure {
    char *device; ///< glob of the device's name or hardware; "!glob": of all others
    char *cases;  ///< glob of ids, `*` crosses '/'
    char *issue;
    char until[11]; ///< "2026-12-31", the last day
    gdn_known_kind kind;
    char *diagnosis;   ///< deviation, or NULL: any
    double budget_max; ///< infinity: any
    bool here;         ///< speaks of the device of this run
    size_t planned;    ///< cases of the plan that it names, if `here`
} gdn_known_failure;

typedef struct gdn_known_list {
    char *path;
    gdn_known_failure *entries;
    size_t count;
    char today[11]; ///< UTC
} gdn_known_list;

/// Reads a list. `today` as "2026-11-20"; NULL: the clock's. Anything wrong in the file is
/// GDN_ERR_FORMAT with file and JSON path. If GDN_OK is returned the caller destroys it.
GDN_NODISCARD gdn_status gdn_known_load(gdn_known_list *list, const char *path,
                                        const char *today, gdn_error *err);

/// Accepts a zeroed list.
void gdn_known_destroy(gdn_known_list *list);

/// Finds out which entries speak of this device and how many planned cases they name.
void gdn_known_match(gdn_known_list *list, const gdn_case_plan *plan, const char *device,
                     const char *hardware);

/// New text: what is wrong with the list itself, NULL if nothing is. Entries that name no
/// planned case and entries past their date. The caller frees it.
char *gdn_known_complaint(const gdn_known_list *list);

/// The entry for a case on this device, NULL if there is none; the first one counts.
const gdn_known_failure *gdn_known_find(const gdn_known_list *list, const char *id);

/// True for crashes and hangs: the case must not be launched.
bool gdn_known_keeps_back(const gdn_known_failure *entry);

/// Turns the verdict on a case that the list knows into xfail or xpass, or says why the
/// entry does not cover it. `launched`: the case was given to the device.
GDN_NODISCARD gdn_status gdn_known_settle(const gdn_known_list *list,
                                          const gdn_known_failure *entry, bool launched,
                                          gdn_case_result *result, gdn_error *err);

#endif
