/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "store_hash.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 1 << 20 };

struct gdnp_hasher {
    int fd;
    EVP_MD_CTX *context;
    unsigned char *block;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int64_t have; ///< under the mutex, as is `ended`
    bool ended;
    bool failed; ///< of the thread alone
};

/* Waits until a whole block or the end is there; bytes that may be read from `done` on. */
static int64_t wait_for(gdnp_hasher *h, int64_t done, bool *ended) {
    pthread_mutex_lock(&h->mutex);
    while (!h->ended && h->have - done < BLOCK) {
        pthread_cond_wait(&h->changed, &h->mutex);
    }
    const int64_t have = h->have;
    *ended = h->ended;
    pthread_mutex_unlock(&h->mutex);
    return have - done;
}

static void *follow(void *data) {
    gdnp_hasher *h = data;
    int64_t done = 0;
    bool ended = false;
    while (!h->failed) {
        const int64_t ready = wait_for(h, done, &ended);
        if (ready <= 0) {
            break;
        }
        const ssize_t n =
            pread(h->fd, h->block, (size_t)(ready < BLOCK ? ready : BLOCK), (off_t)done);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        h->failed = n <= 0 || EVP_DigestUpdate(h->context, h->block, (size_t)n) != 1;
        done += n;
    }
    return NULL;
}

static void destroy(gdnp_hasher *h) {
    EVP_MD_CTX_free(h->context);
    free(h->block);
    free(h);
}

gdn_status gdnp_hasher_start(gdnp_hasher **out, int fd, int64_t have, gdn_error *err) {
    gdnp_hasher *h = calloc(1, sizeof *h);
    if (!h) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a digest");
    }
    h->fd = fd;
    h->have = have;
    h->context = EVP_MD_CTX_new();
    h->block = malloc(BLOCK);
    pthread_mutex_init(&h->mutex, NULL);
    pthread_cond_init(&h->changed, NULL);
    if (!h->context || !h->block ||
        EVP_DigestInit_ex(h->context, EVP_sha256(), NULL) != 1) {
        destroy(h);
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a digest");
    }
    if (pthread_create(&h->thread, NULL, follow, h) != 0) {
        destroy(h);
        return gdn_error_set(err, GDN_ERR_OOM, "no thread for a digest");
    }
    *out = h;
    return GDN_OK;
}

void gdnp_hasher_advance(gdnp_hasher *h, int64_t have) {
    pthread_mutex_lock(&h->mutex);
    const bool block = have / BLOCK != h->have / BLOCK;
    h->have = have;
    pthread_mutex_unlock(&h->mutex);
    if (block) {
        pthread_cond_signal(&h->changed);
    }
}

void gdnp_hasher_finish(gdnp_hasher *h, bool abandon, char hex[65]) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    pthread_mutex_lock(&h->mutex);
    h->ended = true;
    h->have = abandon ? 0 : h->have;
    pthread_mutex_unlock(&h->mutex);
    pthread_cond_signal(&h->changed);
    pthread_join(h->thread, NULL);
    hex[0] = '\0';
    if (!abandon && !h->failed && EVP_DigestFinal_ex(h->context, digest, NULL) == 1) {
        for (int i = 0; i < 32; i++) {
            snprintf(hex + 2 * i, 3, "%02x", digest[i]);
        }
    }
    pthread_mutex_destroy(&h->mutex);
    pthread_cond_destroy(&h->changed);
    destroy(h);
}
