/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "vector_verify.h"

#include "certificate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What to do about two files that do not belong together. */
#define HINT_REGENERATE "; generate the suite again"

/* Datasets that carry certificates. */
#define GOLDEN_PREFIX "golden/"

gdn_status gdnp_vector_open(const char *path, hid_t *file, gdn_error *err) {
    if (H5Fis_hdf5(path) <= 0) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "%s is not an HDF5 file", path);
    }
    GDN_TRY(gdnp_h5_file_open(path, file, err));
    gdn_status status = GDN_OK;
    int schema = 0;
    if (H5Aexists(*file, "gdn_schema") <= 0) {
        status = gdn_error_set(err, GDN_ERR_FORMAT,
                               "%s is an HDF5 file but not a vector file of gdn-conform: "
                               "attribute gdn_schema is missing",
                               path);
    } else if ((status = gdnp_h5_read_int(*file, "gdn_schema", &schema, err)) != GDN_OK) {
        gdn_error_context(err, "%s", path);
    } else {
        status = gdnp_schema_check(path, schema, err);
    }
    if (status != GDN_OK) {
        H5Fclose(*file);
        *file = H5I_INVALID_HID;
    }
    return status;
}

/* ---- datasets ---- */

static gdn_status check_digest(const gdnp_h5_dataset *dataset, const void *bytes,
                               const char *digest, gdn_error *err) {
    char *claimed = NULL;
    char found[GDNP_DIGEST_SIZE];
    GDN_TRY(gdnp_h5_read_text(dataset->id, "sha256", &claimed, err));
    gdn_status status = GDN_OK;
    gdn_sha256(bytes, dataset->bytes, found);
    if (strcmp(claimed, digest) != 0) {
        status = gdn_error_set(err, GDN_ERR_FORMAT,
                               "the manifest says sha256 %.*s.. but the file says "
                               "%.*s.." HINT_REGENERATE,
                               GDNP_DIGEST_SHOWN, digest, GDNP_DIGEST_SHOWN, claimed);
    } else if (found[0] == '\0') {
        status = gdn_error_set(err, GDN_ERR_OOM, "out of memory");
    } else if (strcmp(found, digest) != 0) {
        status = gdn_error_set(err, GDN_ERR_FORMAT,
                               "expected sha256 %.*s.. but found %.*s..: the data is "
                               "damaged",
                               GDNP_DIGEST_SHOWN, digest, GDNP_DIGEST_SHOWN, found);
    }
    free(claimed);
    return status;
}

/* `name` is "kind/tensor". */
static gdn_status open_dataset(hid_t group, const char *name, gdnp_h5_dataset *dataset,
                               gdn_error *err) {
    const char *tensor = strchr(name, '/') + 1;
    char *kind = strndup(name, (size_t)(tensor - name) - 1);
    hid_t parent = H5I_INVALID_HID;
    if (!kind) {
        return gdn_error_set(err, GDN_ERR_OOM, "out of memory");
    }
    gdn_status status = gdnp_h5_group(group, kind, false, &parent, err);
    if (status == GDN_OK) {
        status = gdnp_h5_dataset_open(dataset, parent, tensor, err);
        H5Gclose(parent);
    }
    free(kind);
    return status;
}

gdn_status gdnp_vector_read(hid_t group, const char *name, const char *digest,
                            gdnp_h5_dataset *dataset, void **bytes, gdn_error *err) {
    void *content = NULL;
    gdn_status status = open_dataset(group, name, dataset, err);
    if (status != GDN_OK) {
        gdn_error_context(err, "%s", name);
        return status;
    }
    /* One more byte than it may hold, for malloc(0) may be NULL. */
    if (!(content = malloc(dataset->bytes + 1))) {
        status = gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu bytes", dataset->bytes);
    }
    if (status == GDN_OK) {
        status = gdnp_h5_dataset_read(dataset, content, err);
    }
    if (status == GDN_OK) {
        status = check_digest(dataset, content, digest, err);
    }
    if (status != GDN_OK) {
        gdn_error_context(err, "%s", name);
        H5Dclose(dataset->id);
        free(content);
        return status;
    }
    *bytes = content;
    return GDN_OK;
}

/* ---- cases ---- */

static gdn_status verify_text(hid_t object, const char *name, const char *expected,
                              gdn_error *err) {
    char *found = NULL;
    GDN_TRY(gdnp_h5_read_text(object, name, &found, err));
    gdn_status status = GDN_OK;
    if (strcmp(found, expected) != 0) {
        status = gdn_error_set(err, GDN_ERR_FORMAT,
                               "attribute %s: the manifest says \"%.80s\" but the file "
                               "says \"%.80s\"" HINT_REGENERATE,
                               name, expected, found);
    }
    free(found);
    return status;
}

static gdn_status verify_case_text(hid_t group, const json_t *expected, gdn_error *err) {
    char *text = NULL;
    GDN_TRY(gdnp_h5_read_text(group, "case", &text, err));
    json_error_t at;
    json_t *found = json_loads(text, JSON_REJECT_DUPLICATES, &at);
    gdn_status status = GDN_OK;
    if (!found) {
        status = gdn_error_set(err, GDN_ERR_FORMAT, "attribute case: %s", at.text);
    } else if ((status = gdnp_case_compare(expected, found, err)) != GDN_OK) {
        gdn_error_context(err, "attribute case: the manifest and the file disagree");
    }
    json_decref(found);
    free(text);
    return status;
}

static gdn_status verify_case(hid_t file, const char *id, const json_t *entry,
                              gdn_error *err) {
    hid_t group = H5I_INVALID_HID;
    GDN_TRY(gdnp_h5_group(file, id, false, &group, err));
    gdn_status status = verify_case_text(group, json_object_get(entry, "case"), err);
    if (status == GDN_OK) {
        status = verify_text(group, "profile_digest", gdnp_case_profile_digest(entry), err);
    }
    const char *name;
    json_t *digest;
    json_object_foreach(gdnp_case_datasets(entry), name, digest) {
        if (status == GDN_OK) {
            gdnp_h5_dataset dataset;
            void *bytes = NULL;
            status = gdnp_vector_read(group, name, json_string_value(digest), &dataset,
                                      &bytes, err);
            if (status == GDN_OK) {
                if (strncmp(name, GOLDEN_PREFIX, strlen(GOLDEN_PREFIX)) == 0) {
                    status = gdnp_certificate_verify(dataset.id, entry,
                                                     name + strlen(GOLDEN_PREFIX), err);
                }
                H5Dclose(dataset.id);
                free(bytes);
            }
        }
    }
    H5Gclose(group);
    return status;
}

static gdn_status verify_cases(hid_t file, const json_t *manifest, gdn_error *err) {
    const char *id;
    json_t *entry;
    json_object_foreach(json_object_get(manifest, "cases"), id, entry) {
        if (gdnp_case_stored(entry)) {
            const gdn_status status = verify_case(file, id, entry, err);
            if (status != GDN_OK) {
                gdn_error_context(err, "case %s", id);
                return status;
            }
        }
    }
    return GDN_OK;
}

/* ---- what else is in the file ---- */

typedef struct search {
    const json_t *manifest;
    gdn_error *err;
    gdn_status status;
} search;

static bool in_manifest(const json_t *manifest, const char *path) {
    bool found = false;
    char *id = strdup(path);
    char *tensor = id ? strrchr(id, '/') : NULL;
    if (tensor) {
        *tensor = '\0';
        char *kind = strrchr(id, '/');
        if (kind) {
            *kind = '\0';
            const json_t *entry = gdnp_manifest_case(manifest, id);
            found = entry && gdnp_case_stored(entry) &&
                    json_object_get(gdnp_case_datasets(entry), path + (kind - id) + 1);
        }
    }
    free(id);
    return found;
}

static herr_t visit(hid_t object, const char *path, const H5O_info_t *info, void *data) {
    search *context = data;
    (void)object;
    if (info->type == H5O_TYPE_GROUP || in_manifest(context->manifest, path)) {
        return 0;
    }
    context->status = gdn_error_set(context->err, GDN_ERR_FORMAT,
                                    "%s is in the file but not in the "
                                    "manifest" HINT_REGENERATE,
                                    path);
    return 1;
}

static gdn_status verify_nothing_else(hid_t file, const json_t *manifest, gdn_error *err) {
    search context = {.manifest = manifest, .err = err};
    if (H5Ovisit2(file, H5_INDEX_NAME, H5_ITER_INC, visit, &context, H5O_INFO_BASIC) < 0) {
        return gdnp_h5_fail(err, GDN_ERR_FORMAT, "cannot list the datasets");
    }
    return context.status;
}

gdn_status gdnp_vector_verify(const char *path, const char *manifest_path,
                              const char *suite, gdn_error *err) {
    hid_t file = H5I_INVALID_HID;
    json_t *manifest = NULL;
    GDN_TRY(gdnp_vector_open(path, &file, err));
    gdn_status status = gdnp_manifest_read(&manifest, manifest_path, err);
    if (status != GDN_OK) {
        goto cleanup;
    }
    const char *named = json_string_value(json_object_get(manifest, "suite"));
    if (strcmp(named, suite) != 0) {
        status =
            gdn_error_set(err, GDN_ERR_FORMAT, "%s: expected suite \"%s\" but found \"%s\"",
                          manifest_path, suite, named);
        goto cleanup;
    }
    if ((status = verify_text(file, "suite", suite, err)) != GDN_OK ||
        (status = verify_text(file, "generator",
                              json_string_value(json_object_get(manifest, "generator")),
                              err)) != GDN_OK ||
        (status = verify_cases(file, manifest, err)) != GDN_OK ||
        (status = verify_nothing_else(file, manifest, err)) != GDN_OK) {
        gdn_error_context(err, "%s", path);
    }

cleanup:
    json_decref(manifest);
    H5Fclose(file);
    return status;
}
