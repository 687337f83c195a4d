/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "store_index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gdn/nearest.h"
#include "manifest.h"
#include "tombstones.h"

/* ---- reading ---- */

/* Names become files of a folder, so they are of few characters and never hidden. */
static bool is_name(const char *text, size_t length) {
    static const char ALLOWED[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+@-";
    return length > 0 && length < 200 && text[0] != '.' && strspn(text, ALLOWED) >= length;
}

/* Names joined by '/': neither absolute nor able to climb. */
static bool is_path(const char *text) {
    for (;;) {
        const size_t length = strcspn(text, "/");
        if (!is_name(text, length)) {
            return false;
        }
        if (text[length] == '\0') {
            return true;
        }
        text += length + 1;
    }
}

static bool is_sha256(const char *text) {
    return text && strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

/* Foreign words without control characters: they must not move a terminal's cursor. */
static const char *shown(const char *text, char *out, size_t size) {
    size_t n = 0;
    for (; text && *text && n + 1 < size; text++) {
        out[n++] = (unsigned char)*text < ' ' || *text == 127 ? '?' : *text;
    }
    out[n] = '\0';
    return out;
}

static gdn_status read_file(gdnp_index_file *file, const json_t *json, gdn_error *err) {
    char text[80];
    *file = (gdnp_index_file){
        .name = json_string_value(json_object_get(json, "name")),
        .path = json_string_value(json_object_get(json, "path")),
        .sha256 = json_string_value(json_object_get(json, "sha256")),
    };
    if (!file->name || !is_name(file->name, strlen(file->name))) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "name: expected a file name of letters, digits and ._+@- but "
                             "found \"%s\"",
                             shown(file->name, text, sizeof text));
    }
    if (!file->path) {
        file->path = file->name;
    }
    if (!is_path(file->path)) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "path: expected a path below the index but found \"%s\"",
                             shown(file->path, text, sizeof text));
    }
    if (!is_sha256(file->sha256)) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "sha256: expected 64 hexadecimal digits but found \"%s\"",
                             shown(file->sha256, text, sizeof text));
    }
    const json_t *size = json_object_get(json, "size");
    file->size = json_integer_value(size);
    if (!json_is_integer(size) || file->size < 0 || file->size > INT64_C(1) << 50) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "size: expected bytes in [0, 2^50] but found %lld",
                             (long long)file->size);
    }
    return GDN_OK;
}

/* Walks all files; `names` remembers which were seen. */
static gdn_status check_suite(const json_t *suite, json_t *names, gdn_error *err) {
    const json_t *files = json_object_get(suite, "files");
    if (!json_is_array(files) || json_array_size(files) == 0) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "files: expected a list of files");
    }
    for (size_t i = 0; i < json_array_size(files); i++) {
        gdnp_index_file file;
        gdn_status status = read_file(&file, json_array_get(files, i), err);
        if (status == GDN_OK && json_object_get(names, file.name)) {
            status = gdn_error_set(err, GDN_ERR_FORMAT, "name: a second \"%s\"", file.name);
        }
        if (status != GDN_OK) {
            gdn_error_context(err, "files[%zu]", i);
            return status;
        }
        json_object_set_new(names, file.name, json_true());
    }
    return GDN_OK;
}

static gdn_status check_index(const json_t *index, gdn_error *err) {
    const json_t *schema = json_object_get(index, "schema");
    json_t *suites = json_object_get(index, "suites");
    if (!json_is_integer(schema) || !json_is_object(suites)) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "no index: expected schema and suites");
    }
    if (json_integer_value(schema) != GDNP_INDEX_SCHEMA) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "schema: expected %d but found %lld",
                             GDNP_INDEX_SCHEMA, (long long)json_integer_value(schema));
    }
    gdn_status status = GDN_OK;
    json_t *names = json_object();
    const char *name;
    json_t *suite;
    json_object_foreach(suites, name, suite) {
        char text[80];
        if (status == GDN_OK && !is_name(name, strlen(name))) {
            status = gdn_error_set(err, GDN_ERR_FORMAT,
                                   "suites: expected a suite's name but found \"%s\"",
                                   shown(name, text, sizeof text));
        } else if (status == GDN_OK &&
                   (status = check_suite(suite, names, err)) != GDN_OK) {
            gdn_error_context(err, "suites.%s", name);
        }
    }
    json_decref(names);
    return status;
}

gdn_status gdnp_index_parse(json_t **index, const char *text, size_t size,
                            const char *where, gdn_error *err) {
    json_error_t at;
    json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &at);
    if (!json) {
        char what[120];
        return gdn_error_set(err, GDN_ERR_FORMAT, "%s: %d:%d: %s", where, at.line,
                             at.column, shown(at.text, what, sizeof what));
    }
    const gdn_status status = check_index(json, err);
    if (status != GDN_OK) {
        gdn_error_context(err, "%s", where);
        json_decref(json);
        return status;
    }
    *index = json;
    return GDN_OK;
}

static gdn_status add_files(gdnp_index_file **files, size_t *count, const json_t *suite,
                            gdn_error *err) {
    const json_t *list = json_object_get(suite, "files");
    const size_t n = json_array_size(list);
    gdnp_index_file *more = realloc(*files, (*count + n) * sizeof *more);
    if (!more) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for the list of files");
    }
    *files = more;
    for (size_t i = 0; i < n; i++) {
        GDN_TRY(read_file(&more[*count], json_array_get(list, i), err));
        ++*count;
    }
    return GDN_OK;
}

static gdn_status unknown_suite(const char *suite, json_t *suites, const char *where,
                                gdn_error *err) {
    const char **names = calloc(json_object_size(suites) + 1, sizeof *names);
    if (!names) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for names");
    }
    const char *name;
    json_t *value;
    size_t n = 0;
    json_object_foreach(suites, name, value) {
        names[n++] = name;
    }
    gdn_error_unknown(err, GDN_ERR_ARG, "suite", suite, names);
    gdn_error_context(err, "%s", where);
    free(names);
    return GDN_ERR_ARG;
}

gdn_status gdnp_index_select(gdnp_index_file **files, size_t *count, const json_t *index,
                             const char *const *suites, const char *where, gdn_error *err) {
    json_t *all = json_object_get(index, "suites");
    gdn_status status = GDN_OK;
    *files = NULL;
    *count = 0;
    if (!suites) {
        const char *name;
        json_t *suite;
        json_object_foreach(all, name, suite) {
            status = status == GDN_OK ? add_files(files, count, suite, err) : status;
        }
    }
    for (size_t i = 0; status == GDN_OK && suites && suites[i]; i++) {
        const json_t *suite = json_object_get(all, suites[i]);
        status = suite ? add_files(files, count, suite, err)
                       : unknown_suite(suites[i], all, where, err);
    }
    if (status == GDN_OK && *count == 0) {
        status = gdn_error_set(err, GDN_ERR_FORMAT, "%s: the store has no suite", where);
    }
    if (status != GDN_OK) {
        free(*files);
        *files = NULL;
    }
    return status;
}

/* ---- writing ---- */

static gdn_status file_entry(json_t *files, const char *folder, const char *suite,
                             const char *suffix, gdn_error *err) {
    char digest[GDNP_DIGEST_SIZE];
    struct stat info;
    gdn_status status = GDN_OK;
    char *path = gdnp_vector_path(folder, suite, suffix);
    json_t *entry = NULL;
    if (!path) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a path");
    }
    if (stat(path, &info) != 0) {
        status =
            gdn_error_set(err, GDN_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    } else if ((status = gdn_sha256_file(path, digest, err)) == GDN_OK) {
        entry = json_pack("{s:s, s:I, s:s}", "name", path + strlen(folder) + 1, "size",
                          (json_int_t)info.st_size, "sha256", digest);
        if (!entry || json_array_append_new(files, entry) != 0) {
            status = gdn_error_set(err, GDN_ERR_OOM, "no memory for the index");
        }
    }
    free(path);
    return status;
}

/* Digests by profile: one profile has several where cases choose a layout. */
static void add_profile(json_t *profiles, const json_t *entry) {
    const char *name =
        json_string_value(json_object_get(json_object_get(entry, "case"), "profile"));
    const char *digest = gdnp_case_profile_digest(entry);
    if (!name) {
        return;
    }
    json_t *digests = json_object_get(profiles, name);
    if (!digests) {
        digests = json_array();
        json_object_set_new(profiles, name, digests);
    }
    for (size_t i = 0; i < json_array_size(digests); i++) {
        if (strcmp(json_string_value(json_array_get(digests, i)), digest) == 0) {
            return;
        }
    }
    json_array_append_new(digests, json_string(digest));
}

static gdn_status suite_entry(json_t *suites, const char *folder, const char *suite,
                              gdn_error *err) {
    json_t *manifest = NULL;
    char *path = gdnp_vector_path(folder, suite, ".manifest.json");
    if (!path) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a path");
    }
    gdn_status status = gdnp_manifest_read(&manifest, path, err);
    free(path);
    if (status != GDN_OK) {
        return status;
    }
    json_t *cases = json_object_get(manifest, "cases");
    json_t *files = json_array(), *profiles = json_object();
    const char *id;
    json_t *entry;
    json_int_t stored = 0;
    json_object_foreach(cases, id, entry) {
        stored += gdnp_case_stored(entry);
        add_profile(profiles, entry);
    }
    if ((status = file_entry(files, folder, suite, ".h5", err)) == GDN_OK &&
        (status = file_entry(files, folder, suite, ".manifest.json", err)) == GDN_OK) {
        json_t *all = json_pack("{s:O, s:I, s:I, s:O, s:O}", "generator",
                                json_object_get(manifest, "generator"), "cases",
                                (json_int_t)json_object_size(cases), "stored", stored,
                                "profiles", profiles, "files", files);
        if (!all || json_object_set_new(suites, suite, all) != 0) {
            status = gdn_error_set(err, GDN_ERR_OOM, "no memory for the index");
        }
    }
    json_decref(profiles);
    json_decref(files);
    json_decref(manifest);
    return status;
}

gdn_status gdn_store_index(json_t **index, const char *folder, const char *const *suites,
                           gdn_error *err) {
    gdn_names names = {0};
    json_t *tombstones = NULL;
    json_t *entries = json_object();
    gdn_status status = GDN_OK;
    if (!suites && (status = gdn_vector_suites(&names, folder, err)) == GDN_OK) {
        suites = (const char *const *)names.items;
        if (names.count == 0) {
            status = gdn_error_set(err, GDN_ERR_ARG,
                                   "%s: expected vector files but found no "
                                   "<suite>.manifest.json",
                                   folder);
        }
    }
    for (size_t i = 0; status == GDN_OK && suites[i]; i++) {
        if ((status = gdnp_suite_check(suites[i], err)) == GDN_OK) {
            status = suite_entry(entries, folder, suites[i], err);
        }
    }
    if (status == GDN_OK) {
        status = gdn_tombstones_read(&tombstones, folder, err);
    }
    if (status == GDN_OK &&
        !(*index = json_pack("{s:i, s:s, s:O, s:O}", "schema", GDNP_INDEX_SCHEMA,
                             "generator", "gdn-conform " GDN_VERSION, "suites", entries,
                             "tombstones", tombstones))) {
        status = gdn_error_set(err, GDN_ERR_OOM, "no memory for the index");
    }
    json_decref(tombstones);
    json_decref(entries);
    gdn_names_destroy(&names);
    return status;
}
