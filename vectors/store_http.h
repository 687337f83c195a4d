/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* HTTP as the store needs it: one place that decides what is sent along, what a redirect
 * may do, and what a failure means. Private to vectors/. */
#ifndef GDN_STORE_HTTP_H
#define GDN_STORE_HTTP_H

#include <curl/curl.h>

#include "store.h"

/// A URL taken apart: secrets are kept where no message finds them.
typedef struct gdnp_http_url {
    char *shown;           ///< without user and password; ends with '/' for a folder
    char *user, *password; ///< NULL: none given
    bool tls;
    bool local; ///< the host is this machine: a token may go there without TLS
} gdnp_http_url;

/// Refuses other schemes, queries and fragments. If GDN_OK is returned the caller destroys
/// `url`.
GDN_NODISCARD gdn_status gdnp_http_url_parse(gdnp_http_url *url, const char *text,
                                             gdn_error *err);

void gdnp_http_url_destroy(gdnp_http_url *url);

/// One request in the making.
typedef struct gdnp_request {
    CURL *easy;
    char *url;
    struct curl_slist *headers;
    char message[CURL_ERROR_SIZE];
} gdnp_request;

/// A request for `relative` below the URL ("" for the URL itself) with credentials,
/// certificates and limits set. If GDN_OK is returned the caller destroys it.
GDN_NODISCARD gdn_status gdnp_request_create(gdnp_request *request,
                                             const gdnp_http_url *base,
                                             const char *relative,
                                             const gdn_store_options *options,
                                             gdn_error *err);

void gdnp_request_destroy(gdnp_request *request);

/// What a finished request means: GDN_OK, or an error with the URL and a status by what it
/// is: GDN_ERR_NETWORK, GDN_ERR_FORMAT, .. `*passing` tells whether another try makes
/// sense, and after how many seconds at the earliest the server wants it (0: does not say).
GDN_NODISCARD gdn_status gdnp_request_judge(gdnp_request *request, CURLcode code,
                                            bool *passing, double *wait, gdn_error *err);

/// Performs the request, again after failures that may pass. `restart` puts the request's
/// source or sink back to its beginning before each try.
GDN_NODISCARD gdn_status gdnp_request_perform(gdnp_request *request,
                                              const gdn_store_options *options,
                                              void (*restart)(void *data), void *data,
                                              gdn_error *err);

/// Writes one line about a finished request to options->log, where there is one.
void gdnp_request_log(const gdnp_request *request, const gdn_store_options *options,
                      const char *method);

/// Seconds to wait before try number `tries` (1: the first repetition): 0.5 s, doubled each
/// time up to 8 s, or what the server asked for up to a minute.
double gdnp_backoff(unsigned tries, double wait);

/// Body of a GET of at most `most` bytes, zero-terminated. If GDN_OK is returned the caller
/// frees `*body`. A 404 is GDN_OK with `*body` NULL if `may_miss`.
GDN_NODISCARD gdn_status gdnp_http_get(char **body, size_t *size, const gdnp_http_url *base,
                                       const char *relative, int64_t most, bool may_miss,
                                       const gdn_store_options *options, gdn_error *err);

#endif
