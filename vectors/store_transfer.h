/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* One file on its way into the cache: claimed, continued, hashed while it arrives, tried
 * again, published. Private to vectors/. */
#ifndef GDN_STORE_TRANSFER_H
#define GDN_STORE_TRANSFER_H

#include "store_cache.h"
#include "store_http.h"
#include "store_index.h"
#include "store_sink.h"

typedef enum gdnp_phase {
    GDNP_WAITING, ///< for a place, for another process, or for the next try
    GDNP_RUNNING,
    GDNP_FINISHED,
} gdnp_phase;

typedef struct gdnp_transfer {
    gdnp_index_file file; ///< borrowed texts
    const gdnp_cache *cache;
    gdnp_phase phase;
    double not_before; ///< seconds of CLOCK_MONOTONIC
    int fd;
    int64_t have;    ///< bytes in the beginning
    int64_t resumed; ///< of them, from before this try
    int64_t fetched; ///< over the network, all tries
    gdnp_sink *sink;
    gdnp_request request;
    unsigned tries;  ///< failures since the last progress
    bool from_start; ///< a continued file was wrong: its beginning was
    bool too_much;   ///< why the writer stopped: more bytes than the index says
} gdnp_transfer;

double gdnp_seconds(void);

/// Makes a waiting transfer run if it may. `*started`: its request.easy is to be performed.
/// It may also be finished by another process meanwhile.
GDN_NODISCARD gdn_status gdnp_transfer_start(gdnp_transfer *transfer,
                                             const gdnp_http_url *base,
                                             const gdn_store_options *options,
                                             bool *started, gdn_error *err);

/// Takes the result of a performed request: the transfer is then finished, or waits for
/// another try. An error is final, and nothing that is wrong stays behind.
GDN_NODISCARD gdn_status gdnp_transfer_end(gdnp_transfer *transfer, CURLcode code,
                                           const gdn_store_options *options,
                                           gdn_error *err);

/// Lets go of what is held; a beginning stays for the next time.
void gdnp_transfer_cancel(gdnp_transfer *transfer);

#endif
