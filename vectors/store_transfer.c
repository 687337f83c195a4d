/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "store_transfer.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* How soon to look again whether another process has fetched the file. */
#define BUSY_SECONDS 0.1

/* A try that brought so much was no failure to count: slow lines are not punished. */
#define PROGRESS_BYTES (INT64_C(1) << 20)

double gdnp_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static size_t write_body(char *bytes, size_t one, size_t n, void *data) {
    gdnp_transfer *t = data;
    (void)one;
    if ((int64_t)n > t->file.size - t->have) {
        t->too_much = true;
        return 0;
    }
    if (!gdnp_sink_write(t->sink, bytes, n)) {
        return 0;
    }
    t->have += (int64_t)n;
    t->fetched += (int64_t)n;
    return n;
}

static gdn_status prepare(gdnp_transfer *t, const gdnp_http_url *base,
                          const gdn_store_options *options, gdn_error *err) {
    /* A beginning as long as the file may still be wrong: ask for it anew. */
    if (t->from_start || t->have >= t->file.size) {
        if (ftruncate(t->fd, 0) != 0) {
            return gdn_error_set(err, GDN_ERR_IO, "%s: cannot truncate: %s", t->file.name,
                                 strerror(errno));
        }
        t->have = 0;
    }
    t->resumed = t->have;
    t->too_much = false;
    GDN_TRY(gdnp_request_create(&t->request, base, t->file.path, options, err));
    CURL *easy = t->request.easy;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, write_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    if (t->have > 0) {
        curl_easy_setopt(easy, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)t->have);
    }
    return gdnp_sink_start(&t->sink, t->fd, t->have, err);
}

gdn_status gdnp_transfer_start(gdnp_transfer *t, const gdnp_http_url *base,
                               const gdn_store_options *options, bool *started,
                               gdn_error *err) {
    *started = false;
    if (t->phase != GDNP_WAITING || gdnp_seconds() < t->not_before) {
        return GDN_OK;
    }
    if (t->fd < 0) {
        gdnp_claim claim;
        GDN_TRY(gdnp_cache_claim(t->cache, t->file.sha256, &claim, &t->fd, &t->have, err));
        if (claim == GDNP_CLAIM_BUSY) {
            t->not_before = gdnp_seconds() + BUSY_SECONDS;
            return GDN_OK;
        }
        if (claim == GDNP_CLAIM_DONE) {
            t->phase = GDNP_FINISHED;
            return GDN_OK;
        }
    }
    GDN_TRY(prepare(t, base, options, err));
    t->phase = GDNP_RUNNING;
    *started = true;
    return GDN_OK;
}

static void drop(gdnp_transfer *t) {
    gdnp_cache_release(t->cache, t->file.sha256, t->fd, true);
    t->fd = -1;
}

/* Another try, unless there were too many. */
static gdn_status again(gdnp_transfer *t, gdn_status status, double wait,
                        const gdn_store_options *options, const gdn_error *cause,
                        gdn_error *err) {
    if (t->have - t->resumed >= PROGRESS_BYTES) {
        t->tries = 0;
    }
    if (++t->tries > options->retries) {
        return gdn_error_set(err, status, "%s", cause->message);
    }
    t->not_before = gdnp_seconds() + gdnp_backoff(t->tries, wait);
    t->phase = GDNP_WAITING;
    return GDN_OK;
}

/* Once: a beginning that another version of the file left, or that was damaged, or that the
 * server cannot continue. */
static gdn_status from_start(gdnp_transfer *t) {
    t->from_start = true;
    t->not_before = 0.0;
    t->phase = GDNP_WAITING;
    return GDN_OK;
}

static gdn_status refuse(gdnp_transfer *t, const char *digest, gdn_error *err) {
    drop(t);
    if (t->too_much) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "%s: expected %lld bytes as the index says but found more; "
                             "the file was dropped",
                             t->request.url, (long long)t->file.size);
    }
    if (t->have != t->file.size) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "%s: expected %lld bytes as the index says but found %lld; "
                             "the file was dropped",
                             t->request.url, (long long)t->file.size, (long long)t->have);
    }
    return gdn_error_set(err, GDN_ERR_FORMAT,
                         "%s: expected sha256 %.12s.. as the index says but found %.12s..; "
                         "the file was dropped",
                         t->request.url, t->file.sha256, digest);
}

static gdn_status arrived(gdnp_transfer *t, const char *digest, gdn_error *err) {
    if (t->have == t->file.size && strcmp(digest, t->file.sha256) == 0) {
        const int fd = t->fd;
        t->fd = -1;
        GDN_TRY(gdnp_cache_publish(t->cache, t->file.sha256, fd, err));
        t->phase = GDNP_FINISHED;
        return GDN_OK;
    }
    return t->resumed > 0 ? from_start(t) : refuse(t, digest, err);
}

gdn_status gdnp_transfer_end(gdnp_transfer *t, CURLcode code,
                             const gdn_store_options *options, gdn_error *err) {
    bool passing = false;
    double wait = 0.0;
    char digest[65];
    gdn_error cause = {0};
    long http = 0;
    curl_easy_getinfo(t->request.easy, CURLINFO_RESPONSE_CODE, &http);
    gdnp_request_log(&t->request, options, "GET");
    gdn_status status = gdnp_request_judge(&t->request, code, &passing, &wait, &cause);
    const int write_errno = gdnp_sink_finish(t->sink, digest);
    t->sink = NULL;
    if (write_errno != 0) {
        /* Half a file on a full disk helps nobody. */
        drop(t);
        status = gdn_error_set(err, GDN_ERR_IO, "%s/blobs: cannot write %s: %s",
                               t->cache->folder, t->file.name, strerror(write_errno));
    } else if (status == GDN_OK) {
        status = arrived(t, digest, err);
    } else if (t->resumed > 0 &&
               (t->too_much || code == CURLE_RANGE_ERROR || http == 416)) {
        status = from_start(t);
    } else if (t->too_much) {
        status = refuse(t, "", err);
    } else if (passing) {
        status = again(t, status, wait, options, &cause, err);
    } else {
        gdn_error_set(err, status, "%s", cause.message);
    }
    gdnp_request_destroy(&t->request);
    return status;
}

void gdnp_transfer_cancel(gdnp_transfer *t) {
    char digest[65];
    if (t->sink) {
        gdnp_sink_finish(t->sink, digest);
        t->sink = NULL;
    }
    if (t->fd >= 0) {
        gdnp_cache_release(t->cache, t->file.sha256, t->fd, false);
        t->fd = -1;
    }
    gdnp_request_destroy(&t->request);
}
