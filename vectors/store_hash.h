/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* SHA-256 of a file while it grows: a thread follows the writer, so that a file that has
 * arrived is nearly verified too. Private to vectors/. */
#ifndef GDN_STORE_HASH_H
#define GDN_STORE_HASH_H

#include <stdbool.h>
#include <stdint.h>

#include "gdn/status.h"

typedef struct gdnp_hasher gdnp_hasher;

/// Follows `fd`, of which `have` bytes are there. If GDN_OK is returned the caller ends it
/// by gdnp_hasher_finish().
GDN_NODISCARD gdn_status gdnp_hasher_start(gdnp_hasher **hasher, int fd, int64_t have,
                                           gdn_error *err);

/// `have` bytes are there now.
void gdnp_hasher_advance(gdnp_hasher *hasher, int64_t have);

/// Waits for the digest of what is there and destroys the hasher. `hex` is "" if the file
/// could not be read back. `abandon`: nobody wants the digest.
void gdnp_hasher_finish(gdnp_hasher *hasher, bool abandon, char hex[65]);

#endif
