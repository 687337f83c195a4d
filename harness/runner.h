/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The main job: every planned case through a device and the judge. */
#ifndef GDN_RUNNER_H
#define GDN_RUNNER_H

#include "data_paths.h"
#include "result.h"

typedef struct gdn_run_options {
    const char *device;
    const char *const *suites; ///< NULL-terminated
    const char *glob;          ///< of case ids, `*` crosses '/'; NULL: all
    const char
        *vectors;      ///< folder that must hold the suites' vector files; NULL: those that
                       ///< came with the program, where they exist
    const char *tag;   ///< expression (tags.h), or NULL: all
    int shard, shards; ///< take shard 1..shards of the cases; 0, 0: all
    const char *known_failures; ///< file (known_failures.h), or NULL
    bool retry_known;    ///< launch known crashes and hangs, each in a worker of its own
    const char *ratchet; ///< file (ratchet.h), or NULL
    const char *events;  ///< file for the event stream, "-" for stdout, or NULL
    double timeout;      ///< seconds a case
    bool numerics;       ///< probe the device's arithmetic under each profile (numerics.h)
    bool no_diagnosis;   ///< failing cases are not searched for the bug that explains them
    int perf;            ///< timed runs of each case that passes; 0: none
    FILE *results;       ///< a line a case that is not a pass
    FILE *progress;      ///< progress bar, or NULL
} gdn_run_options;

/// Runs. GDN_OK means that the harness did its work, whatever the verdicts; the exit code
/// comes from gdn_run_exit_code(). GDN_ERR_ARG and GDN_ERR_FORMAT: bad input, nothing was
/// run. GDN_ERR_UNSUPPORTED: the device is absent. GDN_ERR_BLIND: tripwire.h. If GDN_OK is
/// returned the caller destroys `run`.
GDN_NODISCARD gdn_status gdn_run(gdn_run_result *run, const gdn_run_options *options,
                                 const gdn_paths *paths, gdn_error *err);

#endif
