/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Reading JSON that people write: every complaint names the place, the value found and what
 * was expected. */
#ifndef GDN_JSON_CHECK_H
#define GDN_JSON_CHECK_H

#include <jansson.h>

#include "gdn/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Room for "<file>: $.path.to[3].member".
#define GDN_JSON_WHERE 400

/// Reads <dir>/<name>.json: an object with "schema" at most `schema` and `kind` equal to
/// `name`. A name that the folder lacks is GDN_ERR_ARG with the nearest one. `where`
/// receives "<path>: $" for the messages to come. If GDN_OK is returned the caller drops
/// the reference.
GDN_NODISCARD gdn_status gdn_json_open(json_t **json, const char *dir, const char *kind,
                                       const char *name, int schema,
                                       char where[GDN_JSON_WHERE], gdn_error *err);

/// Writes `where` and a path below it; what does not fit is cut.
void gdn_json_at(char path[GDN_JSON_WHERE], const char *where, const char *fmt, ...)
    GDN_PRINTF(3, 4);

/// Fails with "<where>: expected <expected> but found <value>"; NULL is "nothing".
gdn_status gdn_json_unexpected(gdn_error *err, gdn_status status, const char *where,
                               const char *expected, const json_t *found);

/// Refuses what is no object or has a member outside `allowed` (NULL-terminated).
GDN_NODISCARD gdn_status gdn_json_members(const json_t *object, gdn_status status,
                                          const char *where, const char *const *allowed,
                                          gdn_error *err);

/// Text member; one that is absent or no text is refused.
GDN_NODISCARD gdn_status gdn_json_text(const char **text, const json_t *object,
                                       const char *member, gdn_status status,
                                       const char *where, gdn_error *err);

#ifdef __cplusplus
}
#endif

#endif
