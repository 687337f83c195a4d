/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What the writer and the reader of JSON reports share. Private to reports/. */
#ifndef GDN_REPORT_PARTS_H
#define GDN_REPORT_PARTS_H

#include "gdn/json_check.h"
#include "result.h"

#define GDN_REPORT_SCHEMA 1

/// JSON has no infinities and no NaN; they travel as text, so that no reader takes a
/// missing number for a good one. New reference.
json_t *gdnp_number_json(double x);

/// New reference.
json_t *gdnp_map_json(const gdn_map *map);

/// Reads what gdnp_map_json() writes; `map->budget` may be set even if it fails.
GDN_NODISCARD gdn_status gdnp_map_read(gdn_map *map, const json_t *json, const char *where,
                                       gdn_error *err);

/// What `run --perf` measured. New reference.
json_t *gdnp_perf_json(const gdn_case_perf *perf);

GDN_NODISCARD gdn_status gdnp_perf_read(gdn_case_perf *perf, const json_t *json,
                                        const char *where, gdn_error *err);

/// Reads one case; `result` may hold memory even if it fails.
GDN_NODISCARD gdn_status gdnp_case_read(gdn_case_result *result, const json_t *json,
                                        const char *where, gdn_error *err);

/// Member readers. What is missing, of another type or out of range is GDN_ERR_FORMAT with
/// the place. The one for numbers takes "inf", "-inf" and "nan" too.
GDN_NODISCARD gdn_status gdnp_read_text(char *text, size_t size, const json_t *object,
                                        const char *member, const char *where,
                                        gdn_error *err);
GDN_NODISCARD gdn_status gdnp_read_int(int64_t *value, const json_t *object,
                                       const char *member, int64_t least, int64_t most,
                                       const char *where, gdn_error *err);
GDN_NODISCARD gdn_status gdnp_read_number(double *value, const json_t *object,
                                          const char *member, const char *where,
                                          gdn_error *err);
GDN_NODISCARD gdn_status gdnp_read_bool(bool *value, const json_t *object,
                                        const char *member, const char *where,
                                        gdn_error *err);

/// A copy of a text member; NULL for a member that is null or absent.
GDN_NODISCARD gdn_status gdnp_read_string(char **text, const json_t *object,
                                          const char *member, const char *where,
                                          gdn_error *err);

#endif
