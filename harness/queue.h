/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A second queue on a device: a worker of its own that runs one problem again and again, in
 * a thread, while the first runs what is judged. What comes out of it is thrown away. */
#ifndef GDN_QUEUE_H
#define GDN_QUEUE_H

#include "device_spec.h"
#include "problem.h"

typedef struct gdn_queue gdn_queue;

/// Starts a worker and opens the device once more. `*queue` stays NULL if the device lets
/// nobody in beside its first user, which is no error. The caller closes it.
GDN_NODISCARD gdn_status gdn_queue_open(gdn_queue **queue, const gdn_device_spec *device,
                                        double timeout, gdn_error *err);

/// Runs a copy of the problem until it is told to stop; has run once when it returns.
GDN_NODISCARD gdn_status gdn_queue_start(gdn_queue *queue, const gdn_problem *problem,
                                         gdn_error *err);
void gdn_queue_stop(gdn_queue *queue);

/// Accepts NULL.
void gdn_queue_close(gdn_queue *queue);

#endif
