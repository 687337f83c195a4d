/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A device under test over the lives of its workers: whatever ends one, the next case gets
 * a fresh one, unless the device itself is gone. */
#ifndef GDN_SESSION_H
#define GDN_SESSION_H

#include "case.h"
#include "device_spec.h"
#include "executor.h"
#include "problem.h"
#include "result.h"
#include "worker_host.h"

typedef struct gdn_session {
    const gdn_device_spec *device; ///< borrowed
    const char *profiles;          ///< folder, borrowed
    double timeout;                ///< seconds a case
    gdn_worker *worker;            ///< NULL: none alive
    char *hardware, *driver, *build;
    gdn_status answered; ///< status of the last error that a worker answered
    struct gdn_queue *queue; ///< the second one (queue.h), NULL: none was asked for
    bool lost;
    char *reason; ///< why it is lost
    int perf; ///< timed runs of each case that passes, set by the caller; 0: none
    bool asked_bandwidth;
    double bandwidth; ///< 0: unknown
} gdn_session;

/// Starts the first worker and opens the device. GDN_ERR_UNSUPPORTED: the hardware or
/// driver is absent; GDN_ERR_ARG: bad device options; GDN_ERR_DEVICE: the worker died or
/// hung on hello. If GDN_OK is returned the caller closes the session.
GDN_NODISCARD gdn_status gdn_session_open(gdn_session *session,
                                          const gdn_device_spec *device,
                                          const char *profiles, double timeout,
                                          gdn_error *err);

void gdn_session_close(gdn_session *session);

/// Asks whether the device takes the problem. `result` gets verdict GDN_UNSUPPORTED,
/// GDN_CRASH or GDN_HANG with a message if it does not; `*supported` tells.
GDN_NODISCARD gdn_status gdn_session_supports(gdn_session *session,
                                              const gdn_problem *problem, bool *supported,
                                              gdn_case_result *result, gdn_error *err);

/// Runs the problem. `*ran`: the outputs are in the arena, to be judged; otherwise the
/// verdict (fail, crash, hang) and its message are in `result`. After a crash or a hang
/// micro cases of the other ops probe fresh workers; if none that the device takes comes
/// through, session->lost: a lost device is not a failed kernel.
GDN_NODISCARD gdn_status gdn_session_run(gdn_session *session, const gdn_problem *problem,
                                         bool *ran, gdn_case_result *result,
                                         gdn_error *err);

/// Bytes a second of a copy on the device, asked once; 0: it does not tell.
GDN_NODISCARD gdn_status gdn_session_bandwidth(gdn_session *session,
                                               double *bytes_per_second, gdn_error *err);

/// The device as an executor: asks whether it takes each problem, then runs it.
gdn_executor gdn_session_executor(gdn_session *session);

#endif
