/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Where a transfer's bytes go: a thread writes them to the file in large pieces and hashes
 * them while they are in its cache, so that a file that has arrived is nearly verified too
 * and the network is not kept waiting. Private to vectors/. */
#ifndef GDN_STORE_SINK_H
#define GDN_STORE_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gdn/status.h"

typedef struct gdnp_sink gdnp_sink;

/// Continues `fd` behind the `have` bytes that are there, which are hashed too. `fd` stays
/// the caller's. If GDN_OK is returned the caller ends it by gdnp_sink_finish().
GDN_NODISCARD gdn_status gdnp_sink_start(gdnp_sink **sink, int fd, int64_t have,
                                         gdn_error *err);

/// Takes a copy of the bytes; waits while the thread is far behind. False if it could not
/// write earlier ones.
bool gdnp_sink_write(gdnp_sink *sink, const void *bytes, size_t size);

/// Writes what was taken, fills `hex` with the digest of the whole file ("" if there is
/// none) and destroys the sink. Returns 0 or the errno of a write that failed.
int gdnp_sink_finish(gdnp_sink *sink, char hex[65]);

#endif
