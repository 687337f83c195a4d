/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Files that take shape under a temporary name in the folder where they end up, and replace
 * the old one in one step: a killed writer leaves the old file or the new one. */
#ifndef GDN_REPLACE_FILE_H
#define GDN_REPLACE_FILE_H

#include "gdn/status.h"

/* Creates an empty file beside `path` under a name that nobody else has. If GDN_OK is
 * returned the caller owns `*temporary` (free, unlink) and closes `*fd`. */
GDN_NODISCARD gdn_status gdnp_temporary_create(const char *path, char **temporary, int *fd,
                                               gdn_error *err);

/* The same with a text in it, synced and closed. `*temporary` may be set on failure too. */
GDN_NODISCARD gdn_status gdnp_temporary_text(const char *path, const char *text,
                                             char **temporary, gdn_error *err);

/* Frees and clears `*temporary` once it has its final name. */
GDN_NODISCARD gdn_status gdnp_rename_over(char **temporary, const char *path,
                                          gdn_error *err);

/* fsync() of a path opened with `flags`. */
GDN_NODISCARD gdn_status gdnp_sync_path(const char *path, int flags, gdn_error *err);

#endif
