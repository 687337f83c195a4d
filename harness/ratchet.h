/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The best budget that each case of a device has reached, a file in the user's
 * repository (reports/ratchet.schema.json). A case that needs more than
 * GDN_RATCHET_SLACK times that, plus what its budget varies by from run to run, is red
 * although it is within its limit. */
#ifndef GDN_RATCHET_H
#define GDN_RATCHET_H

#include <jansson.h>

#include "result.h"

#define GDN_RATCHET_SCHEMA  1
#define GDN_RATCHET_SLACK   1.25
#define GDN_RATCHET_REPEATS 5

typedef struct gdn_ratchet {
    char *path;
    json_t *root; ///< checked
} gdn_ratchet;

/// Reads a file. GDN_ERR_FORMAT with file and JSON path. If GDN_OK is returned the caller
/// destroys the ratchet.
GDN_NODISCARD gdn_status gdn_ratchet_load(gdn_ratchet *ratchet, const char *path,
                                          gdn_error *err);

/// An empty one for a device.
GDN_NODISCARD gdn_status gdn_ratchet_start(gdn_ratchet *ratchet, const char *path,
                                           const char *device, gdn_error *err);

/// Accepts a zeroed ratchet.
void gdn_ratchet_destroy(gdn_ratchet *ratchet);

/// GDN_ERR_ARG if the ratchet is another device's.
GDN_NODISCARD gdn_status gdn_ratchet_check_device(const gdn_ratchet *ratchet,
                                                  const char *device, gdn_error *err);

/// Notes in the result what the case is held to, and turns a pass that exceeds it into a
/// failure. `*stale` counts entries with other golden values, which hold nothing.
GDN_NODISCARD gdn_status gdn_ratchet_settle(const gdn_ratchet *ratchet,
                                            gdn_case_result *result, size_t *stale,
                                            gdn_error *err);

typedef struct gdn_ratchet_change {
    size_t added, lowered, raised, renewed, kept;
} gdn_ratchet_change;

/// Lowers the ratchet by repeated runs: of each case that was right in all of them the
/// smallest budget and the spread. What would be higher than before is kept, except for ids
/// that match `raise`, whose entries get the reason. Fewer than GDN_RATCHET_REPEATS runs,
/// or runs of several devices, are GDN_ERR_ARG.
GDN_NODISCARD gdn_status gdn_ratchet_lower(gdn_ratchet *ratchet, const gdn_run_result *runs,
                                           size_t n_runs, const char *raise,
                                           const char *reason, gdn_ratchet_change *change,
                                           gdn_error *err);

#endif
