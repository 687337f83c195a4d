/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apart.h"
#include "captured.h"
#include "hdf5_io.h"
#include "replace_file.h"
#include "safetensors.h"
#include "vector_file.h"

#define PARSE_SECONDS 600

static const char *const FOLDERS[] = {"input", "output"};

/* ---- what a file says about itself ---- */

static gdn_status parse_about(json_t **about, const char *text, gdn_error *err) {
    json_error_t at;
    *about = json_loads(text, JSON_REJECT_DUPLICATES, &at);
    if (!json_is_object(*about)) {
        json_decref(*about);
        *about = NULL;
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             GDN_CAPTURE_KEY ": expected an object%s%s",
                             at.text[0] ? ": " : "", at.text);
    }
    const json_t *schema = json_object_get(*about, "schema");
    if (json_integer_value(schema) != GDN_CAPTURE_SCHEMA) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             GDN_CAPTURE_KEY ".schema: expected %d but found %lld",
                             GDN_CAPTURE_SCHEMA, (long long)json_integer_value(schema));
    }
    return GDN_OK;
}

/* ---- HDF5 ---- */

typedef struct hdf5_backing {
    void **blocks; ///< names and data
    size_t n_blocks;
} hdf5_backing;

static void release_hdf5(void *data) {
    hdf5_backing *backing = data;
    for (size_t i = 0; i < backing->n_blocks; i++) {
        free(backing->blocks[i]);
    }
    free(backing->blocks);
    free(backing);
}

static bool keep(hdf5_backing *backing, void *block) {
    void **blocks =
        realloc(backing->blocks, (backing->n_blocks + 1) * sizeof *backing->blocks);
    if (!block || !blocks) {
        free(block);
        return false;
    }
    backing->blocks = blocks;
    blocks[backing->n_blocks++] = block;
    return true;
}

static gdn_status read_dataset(gdn_bundle *bundle, hid_t group, const char *folder,
                               const char *name, gdn_error *err) {
    hdf5_backing *backing = bundle->backing;
    gdnp_h5_dataset dataset;
    GDN_TRY(gdnp_h5_dataset_open(&dataset, group, name, err));
    gdn_status status = GDN_OK;
    char *full = NULL;
    void *data = malloc(dataset.bytes + 1);
    gdn_tensor *tensors =
        realloc(bundle->tensors, (bundle->n_tensors + 1) * sizeof *bundle->tensors);
    bundle->tensors = tensors ? tensors : bundle->tensors;
    if (!tensors || asprintf(&full, "%s/%s", folder, name) < 0) {
        free(data);
        status = gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu bytes", dataset.bytes);
    } else if (!keep(backing, full) || !keep(backing, data)) {
        status = gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu bytes", dataset.bytes);
    } else if ((status = gdnp_h5_dataset_read(&dataset, data, err)) == GDN_OK) {
        tensors[bundle->n_tensors++] =
            gdn_tensor_dense(full, data, dataset.dtype, dataset.rank, dataset.shape);
    }
    H5Dclose(dataset.id);
    return status;
}

static gdn_status read_group(gdn_bundle *bundle, hid_t file, const char *folder,
                             gdn_error *err) {
    hid_t group = H5I_INVALID_HID;
    H5G_info_t info;
    if (H5Lexists(file, folder, H5P_DEFAULT) <= 0) {
        return GDN_OK;
    }
    GDN_TRY(gdnp_h5_group(file, folder, false, &group, err));
    gdn_status status = GDN_OK;
    if (H5Gget_info(group, &info) < 0) {
        status = gdnp_h5_fail(err, GDN_ERR_FORMAT, "group %s", folder);
        info.nlinks = 0;
    }
    for (hsize_t i = 0; status == GDN_OK && i < info.nlinks; i++) {
        char name[128];
        const ssize_t length = H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, i,
                                                  name, sizeof name, H5P_DEFAULT);
        if (length <= 0 || (size_t)length >= sizeof name) {
            status = gdn_error_set(err, GDN_ERR_FORMAT, "%s: a name is too long", folder);
        } else if ((status = read_dataset(bundle, group, folder, name, err)) != GDN_OK) {
            gdn_error_context(err, "%s/%s", folder, name);
        }
    }
    H5Gclose(group);
    return status;
}

static gdn_status read_hdf5(gdn_bundle *bundle, const char *path, gdn_error *err) {
    hid_t file = H5I_INVALID_HID;
    bundle->release = release_hdf5;
    if (!(bundle->backing = calloc(1, sizeof(hdf5_backing)))) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory");
    }
    GDN_TRY(gdnp_h5_file_open(path, &file, err));
    gdn_status status = GDN_OK;
    char *text = NULL;
    if (H5Aexists(file, GDN_CAPTURE_KEY) > 0 &&
        (status = gdnp_h5_read_text(file, GDN_CAPTURE_KEY, &text, err)) == GDN_OK) {
        status = parse_about(&bundle->about, text, err);
    }
    for (size_t i = 0; status == GDN_OK && i < 2; i++) {
        status = read_group(bundle, file, FOLDERS[i], err);
    }
    free(text);
    H5Fclose(file);
    return status;
}

static gdn_status try_hdf5(void *data, gdn_error *err) {
    gdn_bundle bundle = {0};
    const gdn_status status = read_hdf5(&bundle, data, err);
    gdn_bundle_destroy(&bundle);
    return status;
}

static gdn_status open_hdf5(gdn_bundle *bundle, const char *path, gdn_error *err) {
    gdnp_h5_start();
    GDN_TRY(gdnp_run_apart(try_hdf5, (void *)(uintptr_t)path, path, PARSE_SECONDS, err));
    return read_hdf5(bundle, path, err);
}

/* ---- safetensors ---- */

static void release_safetensors(void *data) {
    gdn_safetensors_destroy(data);
    free(data);
}

static gdn_status open_safetensors(gdn_bundle *bundle, const char *path, gdn_error *err) {
    gdn_safetensors *file = calloc(1, sizeof *file);
    if (!file) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory");
    }
    const gdn_status status = gdn_safetensors_open(file, path, err);
    if (status != GDN_OK) {
        free(file);
        return status;
    }
    bundle->backing = file;
    bundle->release = release_safetensors;
    bundle->tensors = calloc(file->n_tensors + 1, sizeof *bundle->tensors);
    if (!bundle->tensors) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory");
    }
    memcpy(bundle->tensors, file->tensors, file->n_tensors * sizeof *file->tensors);
    bundle->n_tensors = file->n_tensors;
    const char *text = json_string_value(json_object_get(file->metadata, GDN_CAPTURE_KEY));
    return text ? parse_about(&bundle->about, text, err) : GDN_OK;
}

/* ---- both ---- */

static gdn_status read_magic(const char *path, unsigned char magic[8], gdn_error *err) {
    FILE *file = fopen(path, "rbe");
    if (!file) {
        return gdn_error_set(err, GDN_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    }
    const size_t n = fread(magic, 1, 8, file);
    fclose(file);
    return n == 8 ? GDN_OK
                  : gdn_error_set(err, GDN_ERR_FORMAT,
                                  "%s: neither an HDF5 nor a safetensors file", path);
}

gdn_status gdn_bundle_open(gdn_bundle *bundle, const char *path, gdn_error *err) {
    static const unsigned char HDF5[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
    unsigned char magic[8];
    *bundle = (gdn_bundle){0};
    GDN_TRY(read_magic(path, magic, err));
    const gdn_status status = memcmp(magic, HDF5, 8) == 0
                                  ? open_hdf5(bundle, path, err)
                                  : open_safetensors(bundle, path, err);
    if (status != GDN_OK) {
        gdn_bundle_destroy(bundle);
    }
    return status;
}

void gdn_bundle_destroy(gdn_bundle *bundle) {
    free(bundle->tensors);
    json_decref(bundle->about);
    if (bundle->release && bundle->backing) {
        bundle->release(bundle->backing);
    }
    *bundle = (gdn_bundle){0};
}

const gdn_tensor *gdn_bundle_tensor(const gdn_bundle *bundle, const char *name) {
    for (size_t i = 0; i < bundle->n_tensors; i++) {
        if (strcmp(bundle->tensors[i].name, name) == 0) {
            return &bundle->tensors[i];
        }
    }
    return NULL;
}

/* ---- writing ---- */

static gdn_status write_dataset(hid_t file, const gdn_tensor *tensor, gdn_error *err) {
    char folder[32], digest[65];
    hid_t group = H5I_INVALID_HID;
    const char *slash = strchr(tensor->name, '/');
    const size_t bytes = (size_t)gdn_tensor_count(tensor) * gdn_dtype_size(tensor->dtype);
    if (!slash || (size_t)(slash - tensor->name) >= sizeof folder) {
        return gdn_error_set(err, GDN_ERR_ARG, "%s: expected input/ or output/",
                             tensor->name);
    }
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - tensor->name), tensor->name);
    void *dense = malloc(bytes + 1);
    if (!dense) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu bytes", bytes);
    }
    gdnp_gather(tensor, dense);
    gdn_sha256(dense, bytes, digest);
    const gdn_tensor value =
        gdn_tensor_dense(slash + 1, dense, tensor->dtype, tensor->rank, tensor->shape);
    gdn_status status = gdnp_h5_group(file, folder, true, &group, err);
    if (status == GDN_OK) {
        status = gdnp_h5_write_dataset(group, &value, digest, err);
        H5Gclose(group);
    }
    free(dense);
    return status;
}

static gdn_status fill_hdf5(const char *path, const gdn_tensor *tensors, size_t count,
                            const char *about, gdn_error *err) {
    hid_t file = H5I_INVALID_HID;
    gdnp_h5_start();
    GDN_TRY(gdnp_h5_file_create(path, &file, err));
    gdn_status status = gdnp_h5_write_text(file, GDN_CAPTURE_KEY, about, err);
    for (size_t i = 0; status == GDN_OK && i < count; i++) {
        status = write_dataset(file, &tensors[i], err);
    }
    if (H5Fclose(file) < 0 && status == GDN_OK) {
        status = gdnp_h5_fail(err, GDN_ERR_IO, "cannot write %s", path);
    }
    return status;
}

static gdn_status write_hdf5(const char *path, const gdn_tensor *tensors, size_t count,
                             const char *about, gdn_error *err) {
    int fd = -1;
    char *temporary = NULL;
    gdn_status status = gdnp_temporary_create(path, &temporary, &fd, err);
    if (status == GDN_OK) {
        close(fd);
        status = fill_hdf5(temporary, tensors, count, about, err);
    }
    if (status == GDN_OK) {
        status = gdnp_rename_over(&temporary, path, err);
    }
    if (temporary) {
        unlink(temporary);
    }
    free(temporary);
    return status;
}

gdn_status gdn_bundle_write(const char *path, const gdn_tensor *tensors, size_t count,
                            const json_t *about, gdn_error *err) {
    const size_t length = strlen(path);
    char *text = json_dumps(about, JSON_COMPACT);
    json_t *metadata = text ? json_pack("{s:s}", GDN_CAPTURE_KEY, text) : NULL;
    gdn_status status = GDN_OK;
    if (!metadata) {
        status = gdn_error_set(err, GDN_ERR_OOM, "no memory to write %s", path);
    } else if (length > 3 && strcmp(path + length - 3, ".h5") == 0) {
        status = write_hdf5(path, tensors, count, text, err);
    } else {
        status = gdn_safetensors_write(path, tensors, count, metadata, err);
    }
    json_decref(metadata);
    free(text);
    return status;
}
