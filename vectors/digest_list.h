/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* One digest a case, for suites whose vectors are too large to commit: text beside the
 * vector files (<suite>.digests), a line "<sha256>  <case id>" for each case, ascending by
 * id. The digest is that of the case's manifest entry without its certificate: the case,
 * its conventions' digest, and the SHA-256 of every input, golden, limit and row
 * dataset. */
#ifndef GDN_DIGEST_LIST_H
#define GDN_DIGEST_LIST_H

#include <jansson.h>
#include <stdbool.h>

#include "gdn/status.h"

/// True if the folder has a list of this suite.
bool gdn_digest_list_exists(const char *dir, const char *suite);

/// Writes the list of a manifest, replacing an older one in one step.
GDN_NODISCARD gdn_status gdn_digest_list_write(const char *dir, const char *suite,
                                               const json_t *manifest, gdn_error *err);

/// GDN_ERR_FORMAT names the first line that differs, GDN_ERR_IO a file that can't be read.
GDN_NODISCARD gdn_status gdn_digest_list_compare(const char *dir, const char *suite,
                                                 const json_t *manifest, gdn_error *err);

#endif
