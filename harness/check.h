/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Judges what production recorded: no device, the same judge. */
#ifndef GDN_CHECK_H
#define GDN_CHECK_H

#include "data_paths.h"
#include "result.h"

/// Judges one captured file (vectors/captured.h) into `result`, which the caller destroys
/// whatever is returned. GDN_OK means that it was judged; GDN_ERR_FORMAT that the file is
/// not one that can be.
GDN_NODISCARD gdn_status gdn_check_file(gdn_case_result *result, const char *path,
                                        const gdn_paths *paths, gdn_error *err);

#endif
