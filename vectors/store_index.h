/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The index of a store. Private to vectors/. */
#ifndef GDN_STORE_INDEX_H
#define GDN_STORE_INDEX_H

#include "store.h"

#define GDNP_INDEX_NAME   "index.json"
#define GDNP_INDEX_SCHEMA 1

/// An index beyond this is refused while it arrives.
#define GDNP_INDEX_BYTES (INT64_C(64) << 20)

/// One file of a selection; texts are borrowed from the index.
typedef struct gdnp_index_file {
    const char *name;   ///< in the folder that the caller gets
    const char *path;   ///< below the index's URL
    const char *sha256; ///< 64 hex digits
    int64_t size;       ///< bytes
} gdnp_index_file;

/// Parses an index and checks all of it: `where` is for messages. What names a file outside
/// its folder is GDN_ERR_FORMAT. If GDN_OK is returned the caller owns `*index`.
GDN_NODISCARD gdn_status gdnp_index_parse(json_t **index, const char *text, size_t size,
                                          const char *where, gdn_error *err);

/// The files of the suites (NULL: of all). If GDN_OK is returned the caller frees `*files`.
GDN_NODISCARD gdn_status gdnp_index_select(gdnp_index_file **files, size_t *count,
                                           const json_t *index, const char *const *suites,
                                           const char *where, gdn_error *err);

#endif
