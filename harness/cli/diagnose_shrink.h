/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Private to cmd_diagnose.c: `diagnose --shrink DIR`. */
#ifndef GDN_DIAGNOSE_SHRINK_H
#define GDN_DIAGNOSE_SHRINK_H

#include "diagnose.h"
#include "rerun.h"

/// A failing case and what was found of it.
typedef struct gdn_shrink_job {
    gdn_session *session;
    const char *profiles;
    const char *folder; ///< must exist
    const char *device; ///< as on the command line
    const gdn_case *test;
    const gdn_rerun *rerun;
    const gdn_diagnosis *diagnosis;
    const gdn_suspects *suspects;
} gdn_shrink_job;

/// Shrinks the case as long as the device fails it for the same reason, then writes
/// shrunk.json, shrunk.h5 with its manifest, and main.c, and prints what they are. The
/// first suspect that explains the case must go on explaining it; a pattern must stay one
/// and keep its wrong outputs, and the shrunk case is then searched for pairs of bugs.
GDN_NODISCARD gdn_status gdn_diagnose_shrink(const gdn_shrink_job *job, gdn_error *err);

#endif
