/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Whether a folder of vector files may be committed or published. */
#ifndef GDN_VECTOR_LINT_H
#define GDN_VECTOR_LINT_H

#include <jansson.h>

#include "gdn/status.h"

/// What is wrong with the vector files of a folder, as texts appended to the array
/// `findings`: files that do not verify, manifests that were edited by hand, ids that are
/// not what their case is called, profiles that have changed, ids that are in the
/// tombstones, cases of two suites that share an id but not their values, an index.json
/// that tells other sizes or digests. With `old`, a folder of an earlier state: ids that
/// went without a tombstone, and ids that are another case now. `*cases` counts. GDN_OK
/// means that the folder could be looked at.
GDN_NODISCARD gdn_status gdn_vector_lint(json_t *findings, size_t *cases,
                                         const char *folder, const char *old,
                                         const char *profiles, gdn_error *err);

#endif
