/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Files that reports are written to. */
#ifndef GDN_OUT_FILE_H
#define GDN_OUT_FILE_H

#include <stdio.h>

#include "gdn/status.h"

/// A form of something, written to `out`.
typedef gdn_status (*gdn_write_form)(const void *what, FILE *out, gdn_error *err);

/// Writes a form to `path`, "-" for standard output: to a regular file by way of a
/// temporary one beside it, so that a reader never sees half of it; to a device or a pipe
/// directly. GDN_ERR_IO if it can't be written.
GDN_NODISCARD gdn_status gdn_out_file(const char *path, gdn_write_form form,
                                      const void *what, gdn_error *err);

#endif
