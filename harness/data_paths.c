/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "data_paths.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static gdn_status join(char *path, const char *folder, const char *name, gdn_error *err) {
    const int n = snprintf(path, PATH_MAX, "%s/%s", folder, name);
    return n > 0 && n < PATH_MAX
               ? GDN_OK
               : gdn_error_set(err, GDN_ERR_ARG, "path too long: %s/%s", folder, name);
}

gdn_status gdn_paths_find(gdn_paths *paths, gdn_error *err) {
    const ssize_t n = readlink("/proc/self/exe", paths->programs, PATH_MAX - 1);
    if (n <= 0) {
        return gdn_error_set(err, GDN_ERR_IO, "/proc/self/exe: %s", strerror(errno));
    }
    paths->programs[n] = '\0';
    *strrchr(paths->programs, '/') = '\0';

    char installed[PATH_MAX];
    GDN_TRY(join(installed, paths->programs, "../share/gdn-conform", err));
    GDN_TRY(join(paths->bridge, installed, "bridge", err));
    if (access(paths->bridge, R_OK) != 0) {
        GDN_TRY(join(paths->bridge, GDN_SOURCE_DIR, "devices/bridge", err));
    }
    const char *candidates[] = {getenv("GDN_DATA_DIR"), installed, GDN_SOURCE_DIR};
    for (size_t i = 0; i < sizeof candidates / sizeof candidates[0]; i++) {
        if (!candidates[i]) {
            continue;
        }
        GDN_TRY(join(paths->suites, candidates[i], "suites/suites", err));
        if (access(paths->suites, R_OK) == 0) {
            GDN_TRY(join(paths->profiles, candidates[i], "suites/profiles", err));
            return join(paths->vectors, candidates[i], "vectors/golden", err);
        }
        if (i == 0) {
            return gdn_error_set(err, GDN_ERR_ARG, "GDN_DATA_DIR: %s has no suites/suites",
                                 candidates[i]);
        }
    }
    return gdn_error_set(err, GDN_ERR_IO, "no suites found in %s or %s", installed,
                         GDN_SOURCE_DIR);
}
