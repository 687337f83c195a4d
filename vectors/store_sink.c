/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "store_sink.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A block is hashed right after it was written: it should still be in the second cache. */
#define BLOCK  ((size_t)1 << 20)
#define BLOCKS 8

struct gdnp_sink {
    int fd;
    int64_t have; ///< bytes in the file; the thread's
    EVP_MD_CTX *context;
    unsigned char *blocks; ///< a ring of BLOCKS
    size_t sizes[BLOCKS];
    size_t filling, used; ///< block in the making and its bytes; the caller's
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    size_t ready; ///< blocks for the thread; under the mutex, as is all that follows
    bool ended;
    bool unreadable; ///< what was there could not be hashed
    int write_errno;
};

/* What an earlier process left. Returns false if it is not all there. */
static bool hash_beginning(gdnp_sink *s, unsigned char *scratch) {
    for (int64_t done = 0; done < s->have;) {
        const int64_t left = s->have - done;
        const ssize_t n = pread(s->fd, scratch,
                                left < (int64_t)BLOCK ? (size_t)left : BLOCK, (off_t)done);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0 || EVP_DigestUpdate(s->context, scratch, (size_t)n) != 1) {
            return false;
        }
        done += n;
    }
    return true;
}

/* Returns 0 or errno. */
static int write_block(gdnp_sink *s, const unsigned char *block, size_t size) {
    for (size_t done = 0; done < size;) {
        const ssize_t n =
            pwrite(s->fd, block + done, size - done, (off_t)(s->have + (int64_t)done));
        if (n < 0 && errno != EINTR) {
            return errno;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    s->have += (int64_t)size;
    return 0;
}

static bool wait_for_block(gdnp_sink *s) {
    pthread_mutex_lock(&s->mutex);
    while (s->ready == 0 && !s->ended) {
        pthread_cond_wait(&s->changed, &s->mutex);
    }
    const bool there = s->ready > 0;
    pthread_mutex_unlock(&s->mutex);
    return there;
}

/* After a failure blocks are still taken, so that nobody waits for ever. */
static void *drain(void *data) {
    gdnp_sink *s = data;
    unsigned char *scratch = s->have > 0 ? malloc(BLOCK) : NULL;
    bool hashing = s->have == 0 || (scratch && hash_beginning(s, scratch));
    free(scratch);
    int failure = 0;
    for (size_t at = 0; wait_for_block(s); at = (at + 1) % BLOCKS) {
        const unsigned char *block = s->blocks + at * BLOCK;
        if (failure == 0) {
            failure = write_block(s, block, s->sizes[at]);
        }
        hashing = hashing && failure == 0 &&
                  EVP_DigestUpdate(s->context, block, s->sizes[at]) == 1;
        pthread_mutex_lock(&s->mutex);
        s->ready--;
        s->write_errno = failure;
        pthread_cond_signal(&s->changed);
        pthread_mutex_unlock(&s->mutex);
    }
    pthread_mutex_lock(&s->mutex);
    s->unreadable = !hashing;
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

static void destroy(gdnp_sink *s) {
    EVP_MD_CTX_free(s->context);
    free(s->blocks);
    free(s);
}

gdn_status gdnp_sink_start(gdnp_sink **out, int fd, int64_t have, gdn_error *err) {
    gdnp_sink *s = calloc(1, sizeof *s);
    if (!s) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a transfer");
    }
    s->fd = fd;
    s->have = have;
    s->context = EVP_MD_CTX_new();
    s->blocks = malloc(BLOCKS * BLOCK);
    if (!s->context || !s->blocks ||
        EVP_DigestInit_ex(s->context, EVP_sha256(), NULL) != 1) {
        destroy(s);
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a transfer");
    }
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->changed, NULL);
    if (pthread_create(&s->thread, NULL, drain, s) != 0) {
        pthread_mutex_destroy(&s->mutex);
        pthread_cond_destroy(&s->changed);
        destroy(s);
        return gdn_error_set(err, GDN_ERR_OOM, "no thread for a transfer");
    }
    *out = s;
    return GDN_OK;
}

/* Hands the block in the making to the thread, and waits until there is a next one. */
static bool hand_over(gdnp_sink *s) {
    s->sizes[s->filling] = s->used;
    pthread_mutex_lock(&s->mutex);
    s->ready++;
    pthread_cond_signal(&s->changed);
    while (s->ready == BLOCKS) {
        pthread_cond_wait(&s->changed, &s->mutex);
    }
    const bool good = s->write_errno == 0;
    pthread_mutex_unlock(&s->mutex);
    s->filling = (s->filling + 1) % BLOCKS;
    s->used = 0;
    return good;
}

bool gdnp_sink_write(gdnp_sink *s, const void *bytes, size_t size) {
    const unsigned char *from = bytes;
    bool good = true;
    while (size > 0) {
        const size_t room = BLOCK - s->used;
        const size_t n = size < room ? size : room;
        memcpy(s->blocks + s->filling * BLOCK + s->used, from, n);
        s->used += n;
        from += n;
        size -= n;
        if (s->used == BLOCK) {
            good = hand_over(s) && good;
        }
    }
    return good;
}

int gdnp_sink_finish(gdnp_sink *s, char hex[65]) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    if (s->used > 0) {
        (void)hand_over(s);
    }
    pthread_mutex_lock(&s->mutex);
    s->ended = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->mutex);
    pthread_join(s->thread, NULL);
    const int failure = s->write_errno;
    hex[0] = '\0';
    if (failure == 0 && !s->unreadable &&
        EVP_DigestFinal_ex(s->context, digest, NULL) == 1) {
        for (int i = 0; i < 32; i++) {
            snprintf(hex + 2 * i, 3, "%02x", digest[i]);
        }
    }
    pthread_mutex_destroy(&s->mutex);
    pthread_cond_destroy(&s->changed);
    destroy(s);
    return failure;
}
