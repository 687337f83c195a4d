/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What the tests of suites/ share: JSON in C strings, and a folder for bad files. */
#ifndef GDN_TEST_SCRATCH_H
#define GDN_TEST_SCRATCH_H

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

/* Single quotes stand for double ones. The caller frees. */
static inline char *requote(const char *text) {
    char *copy = strdup(text);
    for (char *at = copy; at && *at; at++) {
        *at = *at == '\'' ? '"' : *at;
    }
    return copy;
}

static inline json_t *parse_json(const char *text) {
    char *quoted = requote(text);
    json_t *json = quoted ? json_loads(quoted, 0, NULL) : NULL;
    if (!json) {
        fprintf(stderr, "the test's own JSON is wrong: %s\n", text);
        abort();
    }
    free(quoted);
    return json;
}

typedef struct scratch {
    char dir[64];
} scratch;

static inline void scratch_create(scratch *s) {
    snprintf(s->dir, sizeof s->dir, "/tmp/gdn_suites_XXXXXX");
    if (!mkdtemp(s->dir)) {
        perror(s->dir);
        abort();
    }
}

/* Writes <dir>/<file>, single quotes as above. */
static inline void scratch_write(const scratch *s, const char *file, const char *text) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", s->dir, file);
    FILE *out = fopen(path, "w");
    char *quoted = requote(text);
    if (!out || !quoted || fputs(quoted, out) < 0 || fclose(out) != 0) {
        perror(path);
        abort();
    }
    free(quoted);
}

static inline void scratch_destroy(const scratch *s) {
    DIR *folder = opendir(s->dir);
    for (const struct dirent *entry = folder ? readdir(folder) : NULL; entry;
         entry = readdir(folder)) {
        if (entry->d_name[0] != '.') {
            unlinkat(dirfd(folder), entry->d_name, 0);
        }
    }
    if (folder) {
        closedir(folder);
    }
    rmdir(s->dir);
}

#endif
