/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* One group of a suite file, expanded to the JSON forms of its cases. */
#ifndef GDN_GROUP_H
#define GDN_GROUP_H

#include <jansson.h>

#include "gdn/status.h"

/// Takes one case's JSON form (borrowed) and the JSON path it comes from.
typedef gdn_status gdnp_case_sink(void *context, const json_t *json, const char *where,
                                  gdn_error *err);

/// Hands every case of the group to the sink, axes first, explicit cases after. `where` is
/// the group's file and JSON path.
GDN_NODISCARD gdn_status gdnp_group_expand(const json_t *group, const char *where,
                                           gdnp_case_sink *sink, void *context,
                                           gdn_error *err);

#endif
