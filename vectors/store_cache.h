/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The cache folder of a store (store.h describes it). Private to vectors/. */
#ifndef GDN_STORE_CACHE_H
#define GDN_STORE_CACHE_H

#include "store.h"

typedef struct gdnp_cache {
    char *folder;
} gdnp_cache;

/// Makes the folders. If GDN_OK is returned the caller closes the cache.
GDN_NODISCARD gdn_status gdnp_cache_open(gdnp_cache *cache, gdn_error *err);

void gdnp_cache_close(gdnp_cache *cache);

/// Whether a blob is there with this size and digest. One that is there and is not right is
/// dropped.
GDN_NODISCARD gdn_status gdnp_cache_has(const gdnp_cache *cache, const char *sha256,
                                        int64_t size, bool *has, gdn_error *err);

/// Stores a small text as a blob and returns its digest.
GDN_NODISCARD gdn_status gdnp_cache_add(const gdnp_cache *cache, const char *text,
                                        size_t size, char sha256[65], gdn_error *err);

/// Content of a blob, verified. If GDN_OK is returned the caller frees `*text`.
GDN_NODISCARD gdn_status gdnp_cache_read(const gdnp_cache *cache, const char *sha256,
                                         char **text, size_t *size, gdn_error *err);

typedef enum gdnp_claim {
    GDNP_CLAIM_MINE, ///< the beginning is ours to continue
    GDNP_CLAIM_BUSY, ///< another process fetches it
    GDNP_CLAIM_DONE, ///< another process has fetched it
} gdnp_claim;

/// Tries to become the one that fetches a blob; never waits. With GDNP_CLAIM_MINE `*fd` is
/// the locked beginning of `*have` bytes, which the caller ends by publish or release.
GDN_NODISCARD gdn_status gdnp_cache_claim(const gdnp_cache *cache, const char *sha256,
                                          gdnp_claim *claim, int *fd, int64_t *have,
                                          gdn_error *err);

/// Gives a complete and verified blob its name; closes `fd` in any case.
GDN_NODISCARD gdn_status gdnp_cache_publish(const gdnp_cache *cache, const char *sha256,
                                            int fd, gdn_error *err);

/// Closes `fd`; `drop`: what is there is worthless.
void gdnp_cache_release(const gdnp_cache *cache, const char *sha256, int fd, bool drop);

/// Remembers, or tells, which index a URL has. Telling: GDN_ERR_ARG if none was ever seen.
GDN_NODISCARD gdn_status gdnp_cache_set_url(const gdnp_cache *cache, const char *url,
                                            const char *sha256, gdn_error *err);
GDN_NODISCARD gdn_status gdnp_cache_get_url(const gdnp_cache *cache, const char *url,
                                            char sha256[65], gdn_error *err);

/// Folder of the index `set`, made if missing. If GDN_OK is returned the caller frees it.
GDN_NODISCARD gdn_status gdnp_cache_set_folder(const gdnp_cache *cache, const char *set,
                                               char **folder, gdn_error *err);

/// Links <set>/<name> to a blob.
GDN_NODISCARD gdn_status gdnp_cache_link(const char *folder, const char *name,
                                         const char *sha256, gdn_error *err);

#endif
