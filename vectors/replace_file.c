/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "replace_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Not mkstemp(): its mode would stay with the final file, which others must be able to
 * read. */
gdn_status gdnp_temporary_create(const char *path, char **temporary, int *fd,
                                 gdn_error *err) {
    for (int n = 0; n < 1000; n++) {
        char *name = NULL;
        if (asprintf(&name, "%s.%ld-%d.tmp", path, (long)getpid(), n) < 0) {
            return gdn_error_set(err, GDN_ERR_OOM, "out of memory");
        }
        *fd = open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
        if (*fd >= 0) {
            *temporary = name;
            return GDN_OK;
        }
        const int cause = errno;
        if (cause != EEXIST) {
            gdn_error_set(err, GDN_ERR_IO, "cannot create %s: %s", name, strerror(cause));
            free(name);
            return GDN_ERR_IO;
        }
        free(name);
    }
    return gdn_error_set(err, GDN_ERR_IO, "cannot create %s: all temporary names are taken",
                         path);
}

gdn_status gdnp_sync_path(const char *path, int flags, gdn_error *err) {
    const int fd = open(path, flags | O_CLOEXEC);
    const bool synced = fd >= 0 && fsync(fd) == 0;
    const int cause = errno;
    if (fd >= 0) {
        close(fd);
    }
    return synced ? GDN_OK
                  : gdn_error_set(err, GDN_ERR_IO, "cannot sync %s: %s", path,
                                  strerror(cause));
}

static bool write_all(int fd, const char *text, size_t size) {
    while (size > 0) {
        const ssize_t n = write(fd, text, size);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        text += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

gdn_status gdnp_temporary_text(const char *path, const char *text, char **temporary,
                               gdn_error *err) {
    int fd = -1;
    gdn_status status = gdnp_temporary_create(path, temporary, &fd, err);
    if (status == GDN_OK && (!write_all(fd, text, strlen(text)) || fsync(fd) != 0)) {
        status = gdn_error_set(err, GDN_ERR_IO, "cannot write %s: %s", *temporary,
                               strerror(errno));
    }
    if (fd >= 0 && close(fd) != 0 && status == GDN_OK) {
        status = gdn_error_set(err, GDN_ERR_IO, "cannot write %s: %s", *temporary,
                               strerror(errno));
    }
    return status;
}

gdn_status gdnp_rename_over(char **temporary, const char *path, gdn_error *err) {
    if (rename(*temporary, path) != 0) {
        return gdn_error_set(err, GDN_ERR_IO, "cannot rename %s to %s: %s", *temporary,
                             path, strerror(errno));
    }
    free(*temporary);
    *temporary = NULL;
    return GDN_OK;
}
