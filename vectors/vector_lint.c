/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "vector_lint.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manifest.h"
#include "store_index.h"
#include "tombstones.h"

typedef struct lint {
    json_t *findings;
    const char *folder, *profiles;
    json_t *all; ///< every case entry of the folder by id
    json_t *tombstones;
} lint;

static void GDN_PRINTF(2, 3) find(lint *l, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    json_array_append_new(l->findings, json_vsprintf(fmt, args));
    va_end(args);
}

/* ---- one suite ---- */

static void lint_case(lint *l, const char *suite, const char *id, json_t *entry) {
    gdn_case test = {0};
    gdn_error err = {0};
    char digest[GDNP_DIGEST_SIZE];
    if (gdn_case_from_json(&test, json_object_get(entry, "case"), l->profiles, &err) !=
        GDN_OK) {
        find(l, "%s: %s: %s", suite, id, err.message);
        return;
    }
    if (strcmp(test.id, id) != 0) {
        find(l, "%s: %s: this case's id is %s", suite, id, test.id);
    }
    if (gdnp_profile_digest(test.op, &test.conventions, digest, &err) == GDN_OK &&
        strcmp(digest, gdnp_case_profile_digest(entry)) != 0) {
        find(l, "%s: %s: profile %s has changed since; generate the suite again", suite, id,
             test.profile);
    }
    const json_t *stone = json_object_get(l->tombstones, id);
    if (stone) {
        find(l, "%s: %s: the id is gone since %s (%s) and is not used again", suite, id,
             json_string_value(json_object_get(stone, "since")),
             json_string_value(json_object_get(stone, "reason")));
    }
    json_t *other = json_object_get(l->all, id);
    if (other && !json_equal(other, entry)) {
        find(l, "%s: %s: another suite has other values under this id", suite, id);
    }
    json_object_set(l->all, id, entry);
    gdn_case_destroy(&test);
}

/* What a program writes has one form: another was edited, by hand or by a merge. */
static void lint_text(lint *l, const char *suite, const json_t *manifest) {
    char *path = gdnp_vector_path(l->folder, suite, ".manifest.json");
    char *text = gdnp_manifest_text(manifest);
    FILE *file = path ? fopen(path, "rb") : NULL;
    const size_t size = text ? strlen(text) : 0;
    char *found = malloc(size + 2);
    if (file && text && found) {
        const size_t n = fread(found, 1, size + 1, file);
        if (n != size || memcmp(found, text, size) != 0) {
            find(l, "%s: the manifest's text is not as generate writes it", suite);
        }
    }
    if (file) {
        fclose(file);
    }
    free(found);
    free(text);
    free(path);
}

static void lint_suite(lint *l, const char *suite) {
    gdn_vector_reader *reader = NULL;
    gdn_error err = {0};
    if (gdn_vector_reader_open(&reader, l->folder, suite, &err) != GDN_OK) {
        find(l, "%s: %s", suite, err.message);
        return;
    }
    const json_t *manifest = gdn_vector_reader_manifest(reader);
    const char *id;
    json_t *entry;
    json_object_foreach(json_object_get(manifest, "cases"), id, entry) {
        lint_case(l, suite, id, entry);
    }
    lint_text(l, suite, manifest);
    gdn_vector_reader_close(reader);
}

/* ---- the index, where the folder is a store ---- */

static void lint_file(lint *l, const gdnp_index_file *file) {
    char *path = NULL, digest[GDNP_DIGEST_SIZE];
    gdn_error err = {0};
    if (asprintf(&path, "%s/%s", l->folder, file->path) < 0) {
        return;
    }
    if (gdn_sha256_file(path, digest, &err) != GDN_OK) {
        find(l, "index.json: %s: %s", file->name, err.message);
    } else if (strcmp(digest, file->sha256) != 0) {
        find(l, "index.json: %s: expected sha256 %.12s.. but found %.12s..", file->name,
             file->sha256, digest);
    }
    free(path);
}

static void lint_index(lint *l) {
    gdn_error err = {0};
    json_t *index = NULL;
    gdnp_index_file *files = NULL;
    size_t count = 0;
    json_error_t at;
    char *path = gdnp_vector_path(l->folder, "index", ".json");
    if (!path || access(path, F_OK) != 0) {
        free(path);
        return;
    }
    json_t *raw = json_load_file(path, JSON_REJECT_DUPLICATES, &at);
    char *text = raw ? json_dumps(raw, JSON_COMPACT) : NULL;
    if (!text) {
        find(l, "%s:%d:%d: %s", path, at.line, at.column, at.text);
    } else if (gdnp_index_parse(&index, text, strlen(text), path, &err) != GDN_OK ||
               gdnp_index_select(&files, &count, index, NULL, path, &err) != GDN_OK) {
        find(l, "%s", err.message);
    }
    for (size_t i = 0; i < count; i++) {
        lint_file(l, &files[i]);
    }
    free(files);
    json_decref(index);
    json_decref(raw);
    free(text);
    free(path);
}

/* ---- against what was ---- */

static void lint_old_suite(lint *l, const char *suite, const json_t *manifest) {
    const char *id;
    json_t *entry;
    json_object_foreach(json_object_get(manifest, "cases"), id, entry) {
        const json_t *now = json_object_get(l->all, id);
        gdn_error err = {0};
        if (!now && !json_object_get(l->tombstones, id)) {
            find(l, "%s: %s: gone, and has no tombstone in tombstones.json", suite, id);
        } else if (now && gdnp_case_compare(json_object_get(entry, "case"),
                                            json_object_get(now, "case"), &err) != GDN_OK) {
            find(l, "%s: %s: the id is another case now: %s", suite, id, err.message);
        }
    }
}

static gdn_status lint_old(lint *l, const char *old, gdn_error *err) {
    gdn_names suites;
    json_t *stones = NULL;
    GDN_TRY(gdn_vector_suites(&suites, old, err));
    gdn_status status = gdn_tombstones_read(&stones, old, err);
    for (size_t i = 0; status == GDN_OK && i < suites.count; i++) {
        json_t *manifest = NULL;
        char *path = gdnp_vector_path(old, suites.items[i], ".manifest.json");
        status = path ? gdnp_manifest_read(&manifest, path, err)
                      : gdn_error_set(err, GDN_ERR_OOM, "no memory for a path");
        free(path);
        if (status == GDN_OK) {
            lint_old_suite(l, suites.items[i], manifest);
            json_decref(manifest);
        }
    }
    const char *id;
    json_t *stone;
    json_object_foreach(stones, id, stone) {
        if (!json_object_get(l->tombstones, id)) {
            find(l, "tombstones.json: %s: a tombstone was removed", id);
        }
    }
    json_decref(stones);
    gdn_names_destroy(&suites);
    return status;
}

gdn_status gdn_vector_lint(json_t *findings, size_t *cases, const char *folder,
                           const char *old, const char *profiles, gdn_error *err) {
    lint l = {.findings = findings, .folder = folder, .profiles = profiles};
    gdn_names suites = {0};
    *cases = 0;
    GDN_TRY(gdn_vector_suites(&suites, folder, err));
    gdn_status status = GDN_OK;
    gdn_error broken = {0};
    if (suites.count == 0) {
        status = gdn_error_set(err, GDN_ERR_ARG,
                               "%s: expected vector files but found no "
                               "<suite>.manifest.json",
                               folder);
        goto cleanup;
    }
    if (gdn_tombstones_read(&l.tombstones, folder, &broken) != GDN_OK) {
        find(&l, "%s", broken.message);
    }
    l.all = json_object();
    for (size_t i = 0; i < suites.count; i++) {
        lint_suite(&l, suites.items[i]);
    }
    lint_index(&l);
    if (old) {
        status = lint_old(&l, old, err);
    }
    *cases = json_object_size(l.all);

cleanup:
    json_decref(l.tombstones);
    json_decref(l.all);
    gdn_names_destroy(&suites);
    return status;
}
