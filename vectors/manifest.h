/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The manifest's text and parts. Private to vectors/. */
#ifndef GDN_MANIFEST_H
#define GDN_MANIFEST_H

#include "vector_file.h"

/// Digits of a digest that messages show; enough to tell two apart.
#define GDNP_DIGEST_SHOWN 12

/// Hex digits and the terminating zero.
#define GDNP_DIGEST_SIZE 65

/// <dir>/<suite><suffix>, NULL without memory. The caller frees it.
char *gdnp_vector_path(const char *dir, const char *suite, const char *suffix);

/// Refuses names that would leave the folder.
GDN_NODISCARD gdn_status gdnp_suite_check(const char *suite, gdn_error *err);

/// New reference, NULL without memory.
json_t *gdnp_manifest_new(const char *suite);

/// Reads a manifest and checks its form; missing is GDN_ERR_IO. If GDN_OK is returned the
/// caller owns `*manifest`.
GDN_NODISCARD gdn_status gdnp_manifest_read(json_t **manifest, const char *path,
                                            gdn_error *err);

/// The text that gdnp_manifest_read() reads, NULL without memory. The caller frees it.
char *gdnp_manifest_text(const json_t *manifest);

/// Borrowed, NULL if the manifest has no such case.
json_t *gdnp_manifest_case(const json_t *manifest, const char *id);

/// Borrowed members of a checked case.
bool gdnp_case_stored(const json_t *entry);
const char *gdnp_case_profile_digest(const json_t *entry);
json_t *gdnp_case_datasets(const json_t *entry);

/// Digest of the conventions that the op reads, as compact JSON, keys sorted.
GDN_NODISCARD gdn_status gdnp_profile_digest(gdn_op op, const gdn_conventions *conventions,
                                             char hex[GDNP_DIGEST_SIZE], gdn_error *err);

/// Answers a schema number found in `what`.
GDN_NODISCARD gdn_status gdnp_schema_check(const char *what, json_int_t schema,
                                           gdn_error *err);

/// Compares two case objects; GDN_ERR_FORMAT names the first member that differs.
GDN_NODISCARD gdn_status gdnp_case_compare(const json_t *expected, const json_t *found,
                                           gdn_error *err);

#endif
