/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "manifest.h"

#include "certificate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gdn/profile.h"

#ifndef GDN_VERSION
#error "compile with -DGDN_VERSION=\"x.y.z\": it goes into every vector file"
#endif

char *gdnp_vector_path(const char *dir, const char *suite, const char *suffix) {
    char *path = NULL;
    return asprintf(&path, "%s/%s%s", dir, suite, suffix) < 0 ? NULL : path;
}

gdn_status gdn_vector_suites(gdn_names *suites, const char *dir, gdn_error *err) {
    static const char SUFFIX[] = ".manifest";
    GDN_TRY(gdn_names_list(suites, dir, err));
    size_t kept = 0;
    for (size_t i = 0; i < suites->count; i++) {
        char *name = suites->items[i];
        const size_t length = strlen(name), suffix = sizeof SUFFIX - 1;
        if (length > suffix && strcmp(name + length - suffix, SUFFIX) == 0) {
            name[length - suffix] = '\0';
            suites->items[kept++] = name;
        } else {
            free(name);
        }
    }
    suites->count = kept;
    suites->items[kept] = NULL;
    return GDN_OK;
}

gdn_status gdnp_suite_check(const char *suite, gdn_error *err) {
    if (suite[0] == '\0' || suite[0] == '.' || strchr(suite, '/')) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "expected a suite's name without '/' and without '.' in "
                             "front but found \"%s\"",
                             suite);
    }
    return GDN_OK;
}

json_t *gdnp_manifest_new(const char *suite) {
    return json_pack("{s:i, s:s, s:s, s:{}}", "schema", GDN_VECTOR_SCHEMA, "suite", suite,
                     "generator", "gdn-conform " GDN_VERSION, "cases");
}

char *gdnp_manifest_text(const json_t *manifest) {
    /* The only reals are certified figures, which have so few digits. */
    char *json = json_dumps(manifest, JSON_INDENT(1) | JSON_SORT_KEYS |
                                          JSON_REAL_PRECISION(GDNP_CERTIFIED_DIGITS));
    char *text = NULL;
    if (json && asprintf(&text, "%s\n", json) < 0) {
        text = NULL;
    }
    free(json);
    return text;
}

/* ---- reading ---- */

gdn_status gdnp_schema_check(const char *what, json_int_t schema, gdn_error *err) {
    if (schema > GDN_VECTOR_SCHEMA) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "%s: schema %lld is newer than %d: a newer gdn-conform wrote "
                             "it",
                             what, (long long)schema, GDN_VECTOR_SCHEMA);
    }
    if (schema < 1) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "%s: expected schema %d but found %lld",
                             what, GDN_VECTOR_SCHEMA, (long long)schema);
    }
    return GDN_OK;
}

static bool is_digest(const json_t *value) {
    const char *text = json_string_value(value);
    return text && strlen(text) == GDNP_DIGEST_SIZE - 1 &&
           strspn(text, "0123456789abcdef") == GDNP_DIGEST_SIZE - 1;
}

static gdn_status check_case(const char *id, json_t *entry, gdn_error *err) {
    const json_t *stored = json_object_get(entry, "stored");
    json_t *datasets = json_object_get(entry, "datasets");
    if (!json_is_boolean(stored) || !json_is_object(json_object_get(entry, "case")) ||
        !is_digest(json_object_get(entry, "profile_digest")) || !json_is_object(datasets)) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "case %s: expected stored, case, profile_digest and datasets",
                             id);
    }
    const char *name;
    json_t *digest;
    json_object_foreach(datasets, name, digest) {
        const char *slash = strchr(name, '/');
        if (!slash || slash == name || slash[1] == '\0' || strchr(slash + 1, '/')) {
            return gdn_error_set(err, GDN_ERR_FORMAT,
                                 "case %s: expected a dataset \"kind/tensor\" but found "
                                 "\"%s\"",
                                 id, name);
        }
        if (!is_digest(digest)) {
            return gdn_error_set(err, GDN_ERR_FORMAT,
                                 "case %s: %s: expected 64 hexadecimal digits", id, name);
        }
    }
    if (gdnp_certificate_check(entry, err) != GDN_OK) {
        gdn_error_context(err, "case %s", id);
        return GDN_ERR_FORMAT;
    }
    return GDN_OK;
}

static gdn_status check_manifest(const char *path, json_t *manifest, gdn_error *err) {
    const json_t *schema = json_object_get(manifest, "schema");
    json_t *cases = json_object_get(manifest, "cases");
    if (!json_is_integer(schema)) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "%s: no manifest: no schema number",
                             path);
    }
    GDN_TRY(gdnp_schema_check(path, json_integer_value(schema), err));
    if (!json_is_string(json_object_get(manifest, "suite")) ||
        !json_is_string(json_object_get(manifest, "generator")) || !json_is_object(cases)) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "%s: expected suite, generator and cases",
                             path);
    }
    const char *id;
    json_t *entry;
    json_object_foreach(cases, id, entry) {
        const gdn_status status = check_case(id, entry, err);
        if (status != GDN_OK) {
            gdn_error_context(err, "%s", path);
            return status;
        }
    }
    return GDN_OK;
}

gdn_status gdnp_manifest_read(json_t **manifest, const char *path, gdn_error *err) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        return gdn_error_set(err, GDN_ERR_IO, "cannot open the manifest %s: %s", path,
                             strerror(errno));
    }
    json_error_t at;
    json_t *json = json_loadf(file, JSON_REJECT_DUPLICATES, &at);
    fclose(file);
    if (!json) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "%s:%d:%d: %s", path, at.line, at.column,
                             at.text);
    }
    const gdn_status status = check_manifest(path, json, err);
    if (status != GDN_OK) {
        json_decref(json);
        return status;
    }
    *manifest = json;
    return GDN_OK;
}

json_t *gdnp_manifest_case(const json_t *manifest, const char *id) {
    return json_object_get(json_object_get(manifest, "cases"), id);
}

bool gdnp_case_stored(const json_t *entry) {
    return json_is_true(json_object_get(entry, "stored"));
}

const char *gdnp_case_profile_digest(const json_t *entry) {
    return json_string_value(json_object_get(entry, "profile_digest"));
}

json_t *gdnp_case_datasets(const json_t *entry) {
    return json_object_get(entry, "datasets");
}

gdn_status gdnp_profile_digest(gdn_op op, const gdn_conventions *conventions,
                               char hex[GDNP_DIGEST_SIZE], gdn_error *err) {
    json_t *all = gdn_conventions_to_json(conventions);
    json_t *json = all;
    size_t count;
    const gdn_convention_field *fields = gdn_convention_fields(&count);
    for (size_t i = 0; i < count; i++) {
        /* Fields without a choice are slips: a new kind of bug is no new profile. */
        if (fields[i].kind == GDN_FIELD_ENUM && fields[i].correct == 1) {
            json_object_del(all, fields[i].name);
        }
    }
    /* Neither family of ops reads the other's fields. */
    if (gdn_op_is_verify(op)) {
        json = json_incref(json_object_get(all, GDN_VERIFY_OBJECT));
        json_decref(all);
    } else {
        json_object_del(all, GDN_VERIFY_OBJECT);
    }
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    hex[0] = '\0';
    if (text) {
        gdn_sha256(text, strlen(text), hex);
    }
    free(text);
    json_decref(json);
    return hex[0] ? GDN_OK : gdn_error_set(err, GDN_ERR_OOM, "out of memory");
}

/* ---- comparing ---- */

static void value_text(const json_t *value, char *text, size_t size) {
    char *json = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    snprintf(text, size, "%s", json ? json : "nothing");
    free(json);
}

/* Difference of one member of two objects, in words; GDN_OK if they are equal. */
static gdn_status compare_member(const json_t *expected, const json_t *found,
                                 const char *name, gdn_error *err) {
    const json_t *a = json_object_get(expected, name);
    const json_t *b = json_object_get(found, name);
    if (a && b && json_equal(a, b)) {
        return GDN_OK;
    }
    char wanted[128], got[128];
    value_text(a, wanted, sizeof wanted);
    value_text(b, got, sizeof got);
    return gdn_error_set(err, GDN_ERR_FORMAT, "%s: expected %s but found %s", name, wanted,
                         got);
}

/* Names of an object in an order that does not depend on how it came to be. */
typedef struct name_list {
    const char **names;
    size_t count;
} name_list;

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static gdn_status list_names(name_list *list, json_t *object, gdn_error *err) {
    const char *name;
    json_t *value;
    list->count = 0;
    list->names = malloc((json_object_size(object) + 1) * sizeof *list->names);
    if (!list->names) {
        return gdn_error_set(err, GDN_ERR_OOM, "out of memory");
    }
    json_object_foreach(object, name, value) {
        list->names[list->count++] = name;
    }
    qsort(list->names, list->count, sizeof *list->names, compare_names);
    return GDN_OK;
}

/* Calls `compare` for each name of `expected`, then finds names that only `found` has. */
static gdn_status compare_objects(json_t *expected, json_t *found,
                                  gdn_status (*compare)(const json_t *, const json_t *,
                                                        const char *, gdn_error *),
                                  gdn_error *err) {
    name_list list;
    GDN_TRY(list_names(&list, expected, err));
    gdn_status status = GDN_OK;
    for (size_t i = 0; i < list.count && status == GDN_OK; i++) {
        status = compare(expected, found, list.names[i], err);
    }
    free(list.names);
    if (status != GDN_OK) {
        return status;
    }
    GDN_TRY(list_names(&list, found, err));
    for (size_t i = 0; i < list.count && status == GDN_OK; i++) {
        if (!json_object_get(expected, list.names[i])) {
            status = gdn_error_set(err, GDN_ERR_FORMAT, "%s: found but not expected",
                                   list.names[i]);
        }
    }
    free(list.names);
    return status;
}

gdn_status gdnp_case_compare(const json_t *expected, const json_t *found, gdn_error *err) {
    if (json_equal(expected, found)) {
        return GDN_OK;
    }
    /* jansson's getters want an object that could be changed; nothing here changes it. */
    return compare_objects((json_t *)(uintptr_t)expected, (json_t *)(uintptr_t)found,
                           compare_member, err);
}

static gdn_status compare_digest(const json_t *expected, const json_t *found,
                                 const char *name, gdn_error *err) {
    const char *a = json_string_value(json_object_get(expected, name));
    const char *b = json_string_value(json_object_get(found, name));
    if (a && b && strcmp(a, b) == 0) {
        return GDN_OK;
    }
    return gdn_error_set(err, GDN_ERR_FORMAT, "%s: expected sha256 %.*s.. but found %.*s%s",
                         name, GDNP_DIGEST_SHOWN, a ? a : "", GDNP_DIGEST_SHOWN,
                         b ? b : "no dataset", b ? ".." : "");
}

static gdn_status compare_entry(const json_t *expected, const json_t *found, const char *id,
                                gdn_error *err) {
    const json_t *a = json_object_get(expected, id);
    const json_t *b = json_object_get(found, id);
    if (!b) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "%s: expected but not found", id);
    }
    gdn_status status =
        gdnp_case_compare(json_object_get(a, "case"), json_object_get(b, "case"), err);
    if (status == GDN_OK) {
        status = compare_digest(a, b, "profile_digest", err);
    }
    if (status == GDN_OK) {
        status = compare_objects(gdnp_case_datasets(a), gdnp_case_datasets(b),
                                 compare_digest, err);
    }
    if (status == GDN_OK) {
        status = compare_member(a, b, "stored", err);
    }
    static const char *const CERTIFICATE[] = {"certified", "rounding_ties", "uncertified"};
    for (int i = 0; status == GDN_OK && i < 3; i++) {
        if (json_object_get(a, CERTIFICATE[i]) || json_object_get(b, CERTIFICATE[i])) {
            status = compare_member(a, b, CERTIFICATE[i], err);
        }
    }
    if (status != GDN_OK) {
        gdn_error_context(err, "%s", id);
    }
    return status;
}

/* The generator's version is not compared: a release that changes no number must not fail
 * the check of a committed manifest. */
gdn_status gdn_manifest_compare(const json_t *expected, const json_t *found,
                                gdn_error *err) {
    GDN_TRY(compare_member(expected, found, "schema", err));
    GDN_TRY(compare_member(expected, found, "suite", err));
    return compare_objects(json_object_get(expected, "cases"),
                           json_object_get(found, "cases"), compare_entry, err);
}
