/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Work that may take its process with it, done in a child. Private to vectors/. */
#ifndef GDN_APART_H
#define GDN_APART_H

#include "gdn/status.h"

typedef gdn_status (*gdnp_work)(void *data, gdn_error *err);

/// Runs `work` in a child process and returns its status and message. A child that crashes
/// or does not end within `seconds` is a GDN_ERR_FORMAT that blames `path`, the file that
/// the work reads. Nothing else comes back from the child; what it prints is dropped.
GDN_NODISCARD gdn_status gdnp_run_apart(gdnp_work work, void *data, const char *path,
                                        unsigned seconds, gdn_error *err);

#endif
