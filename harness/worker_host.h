/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The host's side of devices/PROTOCOL.md: starts a worker, asks it, and survives whatever
 * it does. A request has two kinds of answer: gdn_status says whether the host could do its
 * part (out of memory, no processes: the run cannot go on), the reply says what the worker
 * did. Whatever a worker does is GDN_OK with an outcome.
 *
 * A handle is used from one thread, the one that spawned it: the kernel kills the worker
 * when that thread ends. Handles of different threads know nothing of each other. */
#ifndef GDN_WORKER_HOST_H
#define GDN_WORKER_HOST_H

#include "gdn/call.h"

/// Captured output of a worker: at most its last this many bytes are kept.
#define GDN_WORKER_OUTPUT_MAX 65536

typedef struct gdn_worker gdn_worker;

/// After CRASH, HANG and GARBAGE the worker is dead or abandoned: close it and spawn
/// another. After the others it takes the next request.
typedef enum gdn_worker_outcome {
    GDN_WORKER_OK,
    GDN_WORKER_UNSUPPORTED, ///< hello: no such hardware or driver; supports: it declines
    GDN_WORKER_ERROR,       ///< it answered {"type":"error"}; `status` is its reason
    GDN_WORKER_CRASH,       ///< it died; `signal` or `exit_status` tell how
    GDN_WORKER_HANG,        ///< no answer in time; it was killed
    GDN_WORKER_GARBAGE,     ///< an answer against the protocol; it was killed
} gdn_worker_outcome;

/// What became of one request.
typedef struct gdn_worker_reply {
    gdn_worker_outcome outcome;
    /// UNSUPPORTED and ERROR: what the worker gave; else GDN_OK.
    gdn_status status;
    /// CRASH: the signal that ended it, or 0, then its exit status.
    int signal;
    int exit_status;
    /// CRASH and GARBAGE that an earlier request is to blame for (it died while idle, it
    /// answered that request twice, which its id tells even if the second answer comes
    /// late): asking a fresh worker is fair.
    bool stale;
    /// The worker did not die of SIGKILL (stuck in a driver). It was abandoned: the device
    /// is lost.
    bool lost;
    /// Of run: kernel time as the worker tells it, negative if it does not.
    double seconds;
    /// Of run: names, joined by commas, of outputs that the op returned as tensors of its
    /// own; the worker copied them, so nothing is known of the bytes around them.
    char returned[512];
    /// Why it is not OK, for people: one sentence in valid UTF-8. Empty if OK.
    char message[1024];
} gdn_worker_reply;

/// Who answers; from the worker's hello.
typedef struct gdn_worker_identity {
    const char *hardware;
    const char *driver;
    const char *build;
} gdn_worker_identity;

/// Short stable name ("ok", "unsupported", "error", "crash", "hang", "garbage").
const char *gdn_worker_outcome_name(gdn_worker_outcome outcome);

/// Starts `argv` (NULL-terminated; argv[0] is looked up in PATH) as a worker: in a process
/// group of its own, with GDN_WORKER_FD, without other descriptors, its input empty and its
/// output captured. If GDN_OK is returned the caller closes the worker. A program that
/// cannot be executed is GDN_ERR_IO.
GDN_NODISCARD gdn_status gdn_worker_spawn(gdn_worker **worker, const char *const *argv,
                                          gdn_error *err);

/// Requests. Each waits `timeout` seconds at most (from sending on; INFINITY: for ever) and
/// then about one second more for a worker that does not die. `*reply` is always filled if
/// GDN_OK is returned. Asking a dead worker is GDN_ERR_ARG.

/// Opens the device; the first request of every worker. `options` NULL means "".
GDN_NODISCARD gdn_status gdn_worker_hello(gdn_worker *worker, const char *device,
                                          const char *options, double timeout,
                                          gdn_worker_reply *reply, gdn_error *err);

/// Asks whether the device takes this call, with an arena of call->arena_bytes.
/// UNSUPPORTED: `message` is its reason.
GDN_NODISCARD gdn_status gdn_worker_supports(gdn_worker *worker, const gdn_call *call,
                                             double timeout, gdn_worker_reply *reply,
                                             gdn_error *err);

/// Runs the call on the arena behind `arena_fd` (call->arena_bytes long, sealed against
/// shrinking). While it runs, and after HANG with `lost` for ever, the worker may write to
/// the arena.
GDN_NODISCARD gdn_status gdn_worker_run(gdn_worker *worker, const gdn_call *call,
                                        int arena_fd, double timeout,
                                        gdn_worker_reply *reply, gdn_error *err);

/// Bytes a second of a copy on the device. ERROR: it does not tell, or knows no such
/// request.
GDN_NODISCARD gdn_status gdn_worker_bandwidth(gdn_worker *worker, double timeout,
                                              double *bytes_per_second,
                                              gdn_worker_reply *reply, gdn_error *err);

/// What the worker answered to hello; NULL before that. Belongs to the worker.
const gdn_worker_identity *gdn_worker_identify(const gdn_worker *worker);

/// False after CRASH, HANG or GARBAGE.
bool gdn_worker_alive(const gdn_worker *worker);

/// What the worker printed (standard output and error) since the latest request began; for
/// the first one, since it was started. Valid UTF-8 without NUL, other bytes show as "?"; a
/// first line in square brackets tells if its beginning was dropped. Never NULL; belongs to
/// the worker, until the next request.
const char *gdn_worker_output(gdn_worker *worker);

/// Says bye, waits `timeout` seconds for the end, kills what does not end, frees the
/// handle. Accepts NULL. `reply`, if not NULL: OK if the worker ended with status 0 or had
/// died before; else CRASH or HANG.
void gdn_worker_close(gdn_worker *worker, double timeout, gdn_worker_reply *reply);

#endif
