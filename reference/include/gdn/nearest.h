/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Names that exist, and the one that somebody meant. Every message about an unknown name is
 * made here, so that all of them read alike. */
#ifndef GDN_NEAREST_H
#define GDN_NEAREST_H

#include <stddef.h>

#include "gdn/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/// The candidate that `name` most likely misspells: a few insertions, deletions,
/// substitutions or swaps of neighbours away, or begun by it; case is ignored. The
/// first of equally near ones. `candidates` ends with NULL. NULL when nothing is close.
const char *gdn_nearest(const char *name, const char *const *candidates);

/// Fails with "<what>: expected one of <candidates> but found "<name>" (did you mean
/// "<nearest>"?)". A list too long for the message is cut and says so.
gdn_status gdn_error_unknown(gdn_error *err, gdn_status status, const char *what,
                             const char *name, const char *const *candidates);

/// Writes the names separated by ", "; what does not fit becomes "..".
void gdn_names_text(char *text, size_t size, const char *const *names);

/// What a folder offers.
typedef struct gdn_names {
    char **items; ///< ascending bytes, NULL-terminated
    size_t count;
} gdn_names;

/// Lists the stems of <dir>/<stem>.json, JSON Schemas (*.schema.json) left out. If GDN_OK
/// is returned the caller destroys the names.
GDN_NODISCARD gdn_status gdn_names_list(gdn_names *names, const char *dir, gdn_error *err);

/// Accepts zeroed names.
void gdn_names_destroy(gdn_names *names);

#ifdef __cplusplus
}
#endif

#endif
