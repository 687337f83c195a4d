/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "digest_list.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manifest.h"
#include "replace_file.h"

static gdn_status out_of_memory(gdn_error *err) {
    return gdn_error_set(err, GDN_ERR_OOM, "out of memory");
}

static int compare_texts(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static gdn_status case_digest(json_t *entry, char hex[GDNP_DIGEST_SIZE], gdn_error *err) {
    json_t *part = json_pack("{s:O, s:O, s:O}", "case", json_object_get(entry, "case"),
                             "datasets", gdnp_case_datasets(entry), "profile_digest",
                             json_object_get(entry, "profile_digest"));
    char *text = part ? json_dumps(part, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(part);
    hex[0] = '\0';
    if (text) {
        gdn_sha256(text, strlen(text), hex);
    }
    free(text);
    return hex[0] ? GDN_OK : out_of_memory(err);
}

static gdn_status print_lines(FILE *out, json_t *cases, gdn_error *err) {
    const size_t count = json_object_size(cases);
    const char **ids = malloc((count + 1) * sizeof *ids);
    if (!ids) {
        return out_of_memory(err);
    }
    size_t n = 0;
    for (void *at = json_object_iter(cases); at; at = json_object_iter_next(cases, at)) {
        ids[n++] = json_object_iter_key(at);
    }
    qsort(ids, n, sizeof *ids, compare_texts);
    gdn_status status = GDN_OK;
    for (size_t i = 0; status == GDN_OK && i < n; i++) {
        char hex[GDNP_DIGEST_SIZE];
        status = case_digest(json_object_get(cases, ids[i]), hex, err);
        fprintf(out, "%s  %s\n", hex, ids[i]);
    }
    free(ids);
    return status;
}

/* The list as text; the caller frees it. */
static gdn_status list_text(char **text, const json_t *manifest, gdn_error *err) {
    size_t size = 0;
    *text = NULL;
    FILE *out = open_memstream(text, &size);
    if (!out) {
        return out_of_memory(err);
    }
    gdn_status status = print_lines(out, json_object_get(manifest, "cases"), err);
    if (fclose(out) != 0 && status == GDN_OK) {
        status = out_of_memory(err);
    }
    return status;
}

bool gdn_digest_list_exists(const char *dir, const char *suite) {
    char *path = gdnp_vector_path(dir, suite, ".digests");
    const bool exists = path && access(path, F_OK) == 0;
    free(path);
    return exists;
}

gdn_status gdn_digest_list_write(const char *dir, const char *suite, const json_t *manifest,
                                 gdn_error *err) {
    char *text = NULL;
    char *temporary = NULL;
    char *path = gdnp_vector_path(dir, suite, ".digests");
    gdn_status status = path ? list_text(&text, manifest, err) : out_of_memory(err);
    if (status == GDN_OK) {
        status = gdnp_temporary_text(path, text, &temporary, err);
    }
    if (status == GDN_OK) {
        status = gdnp_rename_over(&temporary, path, err);
    }
    if (temporary) {
        unlink(temporary);
    }
    if (status == GDN_OK) {
        status = gdnp_sync_path(dir, O_RDONLY | O_DIRECTORY, err);
    }
    free(temporary);
    free(text);
    free(path);
    return status;
}

/* Both texts are sorted by id: the first lines that differ tell which case it is. */
static gdn_status compare_lines(FILE *expected, char *found, const char *path,
                                gdn_error *err) {
    char *line = NULL;
    size_t size = 0;
    size_t number = 0;
    gdn_status status = GDN_OK;
    char *rest = NULL;
    for (char *got = strtok_r(found, "\n", &rest); status == GDN_OK;
         got = strtok_r(NULL, "\n", &rest)) {
        const ssize_t length = getline(&line, &size, expected);
        number++;
        if (length > 0 && line[length - 1] == '\n') {
            line[length - 1] = '\0';
        }
        if (length <= 0 && !got) {
            break;
        }
        if (length <= 0 || !got || strcmp(line, got) != 0) {
            status = gdn_error_set(
                err, GDN_ERR_FORMAT, "%s line %zu: expected \"%s\" but found \"%s\"", path,
                number, length > 0 ? line : "nothing", got ? got : "nothing");
        }
    }
    free(line);
    return status;
}

gdn_status gdn_digest_list_compare(const char *dir, const char *suite,
                                   const json_t *manifest, gdn_error *err) {
    char *text = NULL;
    char *path = gdnp_vector_path(dir, suite, ".digests");
    gdn_status status = path ? list_text(&text, manifest, err) : out_of_memory(err);
    if (status == GDN_OK) {
        FILE *file = fopen(path, "re");
        status = file ? compare_lines(file, text, path, err)
                      : gdn_error_set(err, GDN_ERR_IO, "cannot open %s: %s", path,
                                      strerror(errno));
        if (file) {
            fclose(file);
        }
    }
    free(text);
    free(path);
    return status;
}
