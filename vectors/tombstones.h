/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Case ids that are gone. An id names one case for ever: reports, known-failures lists and
 * other people's notes refer to it. One that leaves a suite gets a line in
 * <folder>/tombstones.json (vectors/tombstones.schema.json) that says since when and why:
 *   {"schema": 1, "tombstones": {"<id>": {"since": "0.2.0", "reason": ".."}}}
 * and no case may ever have it again. */
#ifndef GDN_TOMBSTONES_H
#define GDN_TOMBSTONES_H

#include <jansson.h>

#include "gdn/status.h"

/// The object of tombstones of a folder, empty if it has no such file. If GDN_OK is
/// returned the caller owns it.
GDN_NODISCARD gdn_status gdn_tombstones_read(json_t **tombstones, const char *folder,
                                             gdn_error *err);

#endif
