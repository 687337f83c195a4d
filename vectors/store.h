/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The store: a folder of vector files behind an HTTP server, and a cache of it that all
 * processes of a user share.
 *
 * The server needs nothing but files. <url>/index.json (vectors/index.schema.json) names
 * for each suite its files with size and SHA-256; one of them is the suite's manifest,
 * which holds the digest of every dataset. The cache, in $XDG_CACHE_HOME/gdn-conform:
 *
 *   blobs/<sha256>        a file, complete and verified
 *   blobs/<sha256>.part   the beginning of one; locked (flock) by whoever fetches it
 *   sets/<sha256>/<name>  links into blobs/: the files of the index with this digest
 *   urls/<sha256>         digest of the index last seen at the URL with this digest
 *
 * A name under blobs/ appears by rename after its bytes were verified, so a process that is
 * killed leaves a beginning that the next one continues. Nothing is synced to the disk:
 * every use verifies the digests again, and what does not match is fetched again.
 *
 * URLs are http or https. Names and passwords in one, ~/.netrc, and a bearer token in
 * $GDN_CONFORM_TOKEN are sent and never shown; proxies are libcurl's (https_proxy,
 * no_proxy, ..), certificates come from `cacert`, $CURL_CA_BUNDLE, $SSL_CERT_FILE,
 * $SSL_CERT_DIR or the system, in this order. A redirect may go from http to https, never
 * back and never to another scheme. */
#ifndef GDN_STORE_H
#define GDN_STORE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "gdn/status.h"

#define GDN_STORE_TOKEN "GDN_CONFORM_TOKEN"

typedef struct gdn_store_options {
    const char *cacert;     ///< file of trusted certificates; NULL: as described above
    bool offline;           ///< use what the cache holds, ask nobody
    unsigned retries;       ///< after a failure that may pass
    unsigned stall_seconds; ///< a transfer without a byte for so long has failed
    FILE *progress;         ///< progress bar, or NULL
    FILE *log;              ///< a line a request, or NULL
} gdn_store_options;

#define GDN_STORE_RETRIES 4
#define GDN_STORE_STALL   30

typedef struct gdn_store_summary {
    size_t files;        ///< that were asked for
    size_t fetched;      ///< of them over the network; the others were in the cache
    int64_t bytes;       ///< over the network
    int64_t total_bytes; ///< of all files
} gdn_store_summary;

/// True for what begins with a scheme, as in "https://host/path".
bool gdn_store_is_url(const char *text);

/// Brings the files of `suites` (NULL-terminated; NULL: of all suites) into the cache and
/// verifies them. GDN_ERR_NETWORK: the server cannot be reached or fails. GDN_ERR_FORMAT:
/// it has something else than the index says. GDN_ERR_ARG: a bad URL, or a suite that the
/// store does not have. If GDN_OK is returned the caller frees `*folder`, which holds the
/// files by name, those of other suites possibly not.
GDN_NODISCARD gdn_status gdn_store_pull(char **folder, gdn_store_summary *summary,
                                        const char *url, const char *const *suites,
                                        const gdn_store_options *options, gdn_error *err);

/// Uploads the vector files of a folder by PUT, verified before, under names that contain
/// their digest, then the index with these suites in place of the server's. Two pushes to
/// one URL at a time may lose one's suites from the index, never a file.
GDN_NODISCARD gdn_status gdn_store_push(gdn_store_summary *summary, const char *url,
                                        const char *folder, const char *const *suites,
                                        const gdn_store_options *options, gdn_error *err);

/// Uploads one file (a report) to `url`, or below it if that ends with '/', by PUT or POST.
GDN_NODISCARD gdn_status gdn_store_push_file(const char *url, const char *path, bool post,
                                             const gdn_store_options *options,
                                             gdn_error *err);

/// New index over the vector files of a folder (`suites` as above), tombstones included. If
/// GDN_OK is returned the caller owns `*index`.
GDN_NODISCARD gdn_status gdn_store_index(json_t **index, const char *folder,
                                         const char *const *suites, gdn_error *err);

#endif
