/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* SHA-256 by OpenSSL. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vector_file.h"

static void to_hex(const unsigned char digest[32], char hex[65]) {
    for (int i = 0; i < 32; i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
}

void gdn_sha256(const void *bytes, size_t size, char hex[65]) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    /* Fails only without memory. No digest equals the empty text, so no damage can pass
     * for a match. */
    hex[0] = '\0';
    if (EVP_Digest(size > 0 ? bytes : "", size, digest, NULL, EVP_sha256(), NULL) == 1) {
        to_hex(digest, hex);
    }
}

gdn_status gdn_sha256_file(const char *path, char hex[65], gdn_error *err) {
    enum { BLOCK = 1 << 16 };
    gdn_status status = GDN_OK;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned char *block = NULL;
    EVP_MD_CTX *context = NULL;
    FILE *file = fopen(path, "rb");
    if (!file) {
        return gdn_error_set(err, GDN_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    }
    block = malloc(BLOCK);
    context = EVP_MD_CTX_new();
    if (!block || !context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) {
        status = gdn_error_set(err, GDN_ERR_OOM, "%s: out of memory", path);
        goto cleanup;
    }
    for (size_t n; (n = fread(block, 1, BLOCK, file)) > 0;) {
        if (EVP_DigestUpdate(context, block, n) != 1) {
            status = gdn_error_set(err, GDN_ERR_OOM, "%s: out of memory", path);
            goto cleanup;
        }
    }
    if (ferror(file)) {
        status =
            gdn_error_set(err, GDN_ERR_IO, "cannot read %s: %s", path, strerror(errno));
        goto cleanup;
    }
    if (EVP_DigestFinal_ex(context, digest, NULL) != 1) {
        status = gdn_error_set(err, GDN_ERR_OOM, "%s: out of memory", path);
        goto cleanup;
    }
    to_hex(digest, hex);

cleanup:
    EVP_MD_CTX_free(context);
    free(block);
    fclose(file);
    return status;
}
