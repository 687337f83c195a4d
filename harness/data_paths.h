/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Where an installed or freshly built gdn-conform finds its data and its programs. */
#ifndef GDN_DATA_PATHS_H
#define GDN_DATA_PATHS_H

#include <limits.h>
#include <stdbool.h>

#include "gdn/status.h"

/// Folders, without trailing slash.
typedef struct gdn_paths {
    char programs[PATH_MAX]; ///< gdn-worker and the device libraries
    char suites[PATH_MAX];
    char profiles[PATH_MAX];
    char vectors[PATH_MAX]; ///< the golden files that come with the program
    char bridge[PATH_MAX];  ///< devices/bridge: the workers in Python
} gdn_paths;

/// Data is looked for in $GDN_DATA_DIR, then in ../share/gdn-conform beside the program,
/// then in the source tree that it was built from; the bridge only in the last two.
GDN_NODISCARD gdn_status gdn_paths_find(gdn_paths *paths, gdn_error *err);

#endif
