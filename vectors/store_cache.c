/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "store_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "replace_file.h"
#include "vector_file.h"

static gdn_status refused(gdn_error *err, const char *what, const char *path) {
    return gdn_error_set(err, GDN_ERR_IO, "cannot %s %s: %s", what, path, strerror(errno));
}

static gdn_status join(char **path, const gdnp_cache *cache, const char *folder,
                       const char *name, const char *suffix, gdn_error *err) {
    return asprintf(path, "%s/%s/%s%s", cache->folder, folder, name, suffix) < 0
               ? gdn_error_set(err, GDN_ERR_OOM, "no memory for a path")
               : GDN_OK;
}

/* ---- the folder ---- */

static gdn_status make_folder(const char *path, gdn_error *err) {
    return mkdir(path, 0777) == 0 || errno == EEXIST ? GDN_OK
                                                     : refused(err, "make folder", path);
}

/* The base directories specification: a relative path there is to be ignored. */
static gdn_status find_folder(char **folder, gdn_error *err) {
    const char *base = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    int n = -1;
    if (base && base[0] == '/') {
        n = asprintf(folder, "%s/gdn-conform", base);
    } else if (home && home[0] == '/') {
        n = asprintf(folder, "%s/.cache/gdn-conform", home);
    } else {
        return gdn_error_set(
            err, GDN_ERR_ARG,
            "no place for the cache: expected XDG_CACHE_HOME or HOME to be "
            "an absolute path");
    }
    return n < 0 ? gdn_error_set(err, GDN_ERR_OOM, "no memory for a path") : GDN_OK;
}

gdn_status gdnp_cache_open(gdnp_cache *cache, gdn_error *err) {
    static const char *const PARTS[] = {"blobs", "sets", "urls"};
    *cache = (gdnp_cache){0};
    GDN_TRY(find_folder(&cache->folder, err));
    gdn_status status = GDN_OK;
    /* Whatever leads there may be missing too. */
    for (char *slash = cache->folder + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        if (mkdir(cache->folder, 0700) != 0 && errno != EEXIST && errno != EROFS &&
            errno != EACCES && status == GDN_OK) {
            status = refused(err, "make folder", cache->folder);
        }
        *slash = '/';
    }
    if (status == GDN_OK) {
        status = make_folder(cache->folder, err);
    }
    for (size_t i = 0; status == GDN_OK && i < sizeof PARTS / sizeof PARTS[0]; i++) {
        char *path = NULL;
        status = join(&path, cache, PARTS[i], "", "", err);
        if (status == GDN_OK) {
            path[strlen(path) - 1] = '\0';
            status = make_folder(path, err);
            free(path);
        }
    }
    if (status != GDN_OK) {
        gdnp_cache_close(cache);
    }
    return status;
}

void gdnp_cache_close(gdnp_cache *cache) {
    free(cache->folder);
    *cache = (gdnp_cache){0};
}

/* ---- blobs ---- */

gdn_status gdnp_cache_has(const gdnp_cache *cache, const char *sha256, int64_t size,
                          bool *has, gdn_error *err) {
    char *path = NULL, found[65];
    struct stat info;
    *has = false;
    GDN_TRY(join(&path, cache, "blobs", sha256, "", err));
    gdn_status status = GDN_OK;
    if (stat(path, &info) == 0) {
        if (info.st_size == size &&
            (status = gdn_sha256_file(path, found, err)) == GDN_OK) {
            *has = strcmp(found, sha256) == 0;
        }
        if (status == GDN_OK && !*has && unlink(path) != 0 && errno != ENOENT) {
            status = refused(err, "drop the damaged", path);
        }
    }
    free(path);
    return status;
}

gdn_status gdnp_cache_claim(const gdnp_cache *cache, const char *sha256, gdnp_claim *claim,
                            int *fd, int64_t *have, gdn_error *err) {
    char *part = NULL, *final = NULL;
    struct stat mine, named;
    gdn_status status = join(&part, cache, "blobs", sha256, ".part", err);
    if (status == GDN_OK) {
        status = join(&final, cache, "blobs", sha256, "", err);
    }
    *fd = -1;
    *claim = GDNP_CLAIM_BUSY;
    if (status != GDN_OK) {
        goto cleanup;
    }
    *fd = open(part, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (*fd < 0) {
        status = refused(err, "create", part);
    } else if (flock(*fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            status = refused(err, "lock", part);
        }
    } else if (fstat(*fd, &mine) != 0) {
        status = refused(err, "read", part);
    } else if (stat(part, &named) != 0 || named.st_ino != mine.st_ino ||
               named.st_dev != mine.st_dev) {
        /* What was locked got its name, or was dropped, before the lock was ours. */
        *claim = GDNP_CLAIM_BUSY;
    } else if (access(final, F_OK) == 0) {
        unlink(part);
        *claim = GDNP_CLAIM_DONE;
    } else {
        *claim = GDNP_CLAIM_MINE;
        *have = mine.st_size;
    }

cleanup:
    if (*claim != GDNP_CLAIM_MINE && *fd >= 0) {
        close(*fd);
        *fd = -1;
    }
    free(final);
    free(part);
    return status;
}

gdn_status gdnp_cache_publish(const gdnp_cache *cache, const char *sha256, int fd,
                              gdn_error *err) {
    char *part = NULL, *final = NULL;
    gdn_status status = join(&part, cache, "blobs", sha256, ".part", err);
    if (status == GDN_OK) {
        status = join(&final, cache, "blobs", sha256, "", err);
    }
    if (status == GDN_OK && rename(part, final) != 0) {
        status = refused(err, "rename", part);
    }
    close(fd);
    free(final);
    free(part);
    return status;
}

void gdnp_cache_release(const gdnp_cache *cache, const char *sha256, int fd, bool drop) {
    char *part = NULL;
    if (drop && join(&part, cache, "blobs", sha256, ".part", NULL) == GDN_OK) {
        unlink(part);
        free(part);
    }
    close(fd);
}

/* ---- small files, written beside and renamed ---- */

static gdn_status write_text(const char *path, const char *text, gdn_error *err) {
    char *temporary = NULL;
    gdn_status status = gdnp_temporary_text(path, text, &temporary, err);
    if (status == GDN_OK) {
        status = gdnp_rename_over(&temporary, path, err);
    }
    if (temporary) {
        unlink(temporary);
    }
    free(temporary);
    return status;
}

static gdn_status read_text(const char *path, char **text, size_t *size, gdn_error *err) {
    struct stat info;
    FILE *file = fopen(path, "rbe");
    if (!file || fstat(fileno(file), &info) != 0 ||
        !(*text = malloc((size_t)info.st_size + 1))) {
        const gdn_status status = refused(err, "open", path);
        if (file) {
            fclose(file);
        }
        return status;
    }
    *size = fread(*text, 1, (size_t)info.st_size, file);
    (*text)[*size] = '\0';
    fclose(file);
    return GDN_OK;
}

gdn_status gdnp_cache_add(const gdnp_cache *cache, const char *text, size_t size,
                          char sha256[65], gdn_error *err) {
    char *path = NULL;
    gdn_sha256(text, size, sha256);
    GDN_TRY(join(&path, cache, "blobs", sha256, "", err));
    const gdn_status status = write_text(path, text, err);
    free(path);
    return status;
}

gdn_status gdnp_cache_read(const gdnp_cache *cache, const char *sha256, char **text,
                           size_t *size, gdn_error *err) {
    char *path = NULL, found[65];
    GDN_TRY(join(&path, cache, "blobs", sha256, "", err));
    gdn_status status = read_text(path, text, size, err);
    if (status == GDN_OK) {
        gdn_sha256(*text, *size, found);
        if (strcmp(found, sha256) != 0) {
            status = gdn_error_set(err, GDN_ERR_FORMAT, "%s: the file is damaged", path);
            free(*text);
            *text = NULL;
        }
    }
    free(path);
    return status;
}

/* ---- URLs and sets ---- */

gdn_status gdnp_cache_set_url(const gdnp_cache *cache, const char *url, const char *sha256,
                              gdn_error *err) {
    char *path = NULL, key[65];
    gdn_sha256(url, strlen(url), key);
    GDN_TRY(join(&path, cache, "urls", key, "", err));
    const gdn_status status = write_text(path, sha256, err);
    free(path);
    return status;
}

gdn_status gdnp_cache_get_url(const gdnp_cache *cache, const char *url, char sha256[65],
                              gdn_error *err) {
    char *path = NULL, *text = NULL, key[65];
    size_t size = 0;
    gdn_sha256(url, strlen(url), key);
    GDN_TRY(join(&path, cache, "urls", key, "", err));
    gdn_status status = GDN_OK;
    if (access(path, F_OK) != 0) {
        status = gdn_error_set(err, GDN_ERR_ARG,
                               "--offline: the cache has nothing of %s: pull it once with "
                               "a network",
                               url);
    } else if ((status = read_text(path, &text, &size, err)) == GDN_OK) {
        if (size != 64 || strspn(text, "0123456789abcdef") != 64) {
            status = gdn_error_set(err, GDN_ERR_FORMAT, "%s: the file is damaged", path);
        } else {
            memcpy(sha256, text, 65);
        }
    }
    free(text);
    free(path);
    return status;
}

gdn_status gdnp_cache_set_folder(const gdnp_cache *cache, const char *set, char **folder,
                                 gdn_error *err) {
    GDN_TRY(join(folder, cache, "sets", set, "", err));
    const gdn_status status = make_folder(*folder, err);
    if (status != GDN_OK) {
        free(*folder);
        *folder = NULL;
    }
    return status;
}

/* Another process may make the same link at the same time: it is the same link. */
gdn_status gdnp_cache_link(const char *folder, const char *name, const char *sha256,
                           gdn_error *err) {
    char *target = NULL, *path = NULL;
    gdn_status status = GDN_OK;
    if (asprintf(&target, "../../blobs/%s", sha256) < 0) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a path");
    }
    if (asprintf(&path, "%s/%s", folder, name) < 0) {
        free(target);
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a path");
    }
    if (symlink(target, path) != 0 && errno != EEXIST) {
        status = refused(err, "link", path);
    }
    free(path);
    free(target);
    return status;
}
