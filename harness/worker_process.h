/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The process of a worker: its start, what it prints, its end. Private to worker_host.c,
 * which speaks the protocol. */
#ifndef GDN_WORKER_PROCESS_H
#define GDN_WORKER_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "gdn/status.h"
#include "worker_host.h"

#define GDNP_NOTE_ROOM 64 /* before the output, for the line that says it is cut */

typedef struct gdnp_process {
    pid_t pid; /* -1 once reaped or abandoned */
    int socket;
    int output; /* read end of standard output and error; -1 once nobody holds the other */
    size_t captured;
    size_t dropped;
    char capture[GDNP_NOTE_ROOM + 2 * GDN_WORKER_OUTPUT_MAX + 1];
} gdnp_process;

/* Starts it (gdn_worker_spawn says how). `process` is zeroed; after an error it holds
 * nothing. */
GDN_NODISCARD gdn_status gdnp_process_start(gdnp_process *process, const char *const *argv,
                                            gdn_error *err);

/* True if it has ended; it stays a zombie until gdnp_process_end(). */
bool gdnp_process_has_exited(gdnp_process *process);

/* Reads what was printed, without waiting and without staying for ever with somebody who
 * prints faster than this reads. */
void gdnp_process_capture(gdnp_process *process);

/* Drops what was printed so far. */
void gdnp_process_forget_output(gdnp_process *process);

/* gdn_worker_output(). */
const char *gdnp_process_output(gdnp_process *process);

typedef struct gdnp_ending {
    int signal; /* 0: it exited, with exit_status */
    int exit_status;
    bool killed; /* it did not end by itself */
    bool lost;   /* nor by SIGKILL */
} gdnp_ending;

/* Waits `grace` seconds for its end, then kills the process group and waits
 * GDNP_DEATH_SECONDS. Closes everything. */
#define GDNP_DEATH_SECONDS 1.0
gdnp_ending gdnp_process_end(gdnp_process *process, double grace);

/* Makes valid UTF-8 without NUL of `size` bytes: others become "?". */
void gdnp_make_utf8(char *text, size_t size);

/* CLOCK_MONOTONIC in seconds. */
double gdnp_now(void);

#endif
