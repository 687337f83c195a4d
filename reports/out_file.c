/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "out_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "result.h"

static gdn_status write_to(FILE *file, gdn_write_form form, const void *what,
                           gdn_error *err) {
    gdn_status status = form(what, file, err);
    if (status == GDN_OK && (fflush(file) != 0 || ferror(file))) {
        status = gdn_error_set(err, GDN_ERR_IO, "%s", strerror(errno));
    }
    return status;
}

static gdn_status write_beside(const char *path, gdn_write_form form, const void *what,
                               gdn_error *err) {
    char *target = realpath(path, NULL); /* what a symbolic link leads to */
    char *temporary = NULL;
    gdn_status status = GDN_OK;
    if (asprintf(&temporary, "%s.XXXXXX", target ? target : path) < 0) {
        free(target);
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a file name");
    }
    const int fd = mkstemp(temporary);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    status = file ? write_to(file, form, what, err)
                  : gdn_error_set(err, GDN_ERR_IO, "%s", strerror(errno));
    const mode_t mask = umask(0);
    umask(mask);
    if ((file && fclose(file) != 0) ||
        (status == GDN_OK && (chmod(temporary, 0666 & ~mask) != 0 ||
                              rename(temporary, target ? target : path) != 0))) {
        status = gdn_error_set(err, GDN_ERR_IO, "%s", strerror(errno));
    }
    if (status != GDN_OK && fd >= 0) {
        unlink(temporary);
    }
    free(temporary);
    free(target);
    return status;
}

gdn_status gdn_out_file(const char *path, gdn_write_form form, const void *what,
                        gdn_error *err) {
    struct stat info;
    gdn_status status;
    if (strcmp(path, "-") == 0) {
        status = write_to(stdout, form, what, err);
    } else if (stat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) {
        FILE *file = fopen(path, "we");
        status = file ? write_to(file, form, what, err)
                      : gdn_error_set(err, GDN_ERR_IO, "%s", strerror(errno));
        if (file) {
            fclose(file);
        }
    } else {
        status = write_beside(path, form, what, err);
    }
    if (status != GDN_OK) {
        gdn_error_context(err, "cannot write %s", path);
    }
    return status;
}
