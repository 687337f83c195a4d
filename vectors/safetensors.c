/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hdf5_io.h"
#include "replace_file.h"

#define PREFIX 8

/* Format's names in the order of gdn_dtype. */
static const char *const DTYPES[GDN_DTYPE_COUNT] = {"F64", "F32", "F16", "BF16",
                                                    "I64", "I32", "BOOL"};

/* ---- reading ---- */

static gdn_status bad(gdn_error *err, const char *name, const char *what) {
    return gdn_error_set(err, GDN_ERR_FORMAT, "%.80s: %s", name, what);
}

static bool find_dtype(const char *text, gdn_dtype *dtype) {
    for (int i = 0; text && i < GDN_DTYPE_COUNT; i++) {
        if (strcmp(text, DTYPES[i]) == 0) {
            *dtype = (gdn_dtype)i;
            return true;
        }
    }
    return false;
}

/* Shape and byte count; an empty dimension counts as 1 in the overflow check, so that no
 * later product of sizes overflows either. */
static gdn_status read_shape(gdn_tensor *t, const json_t *shape, int64_t *bytes,
                             gdn_error *err) {
    int64_t dims[GDN_MAX_RANK], count = 1, reach = 1;
    const size_t rank = json_array_size(shape);
    if (!json_is_array(shape) || rank > GDN_MAX_RANK) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "%.80s: shape: expected a list of at most %d sizes", t->name,
                             GDN_MAX_RANK);
    }
    for (size_t d = 0; d < rank; d++) {
        const json_t *size = json_array_get(shape, d);
        dims[d] = json_integer_value(size);
        if (!json_is_integer(size) || dims[d] < 0 ||
            __builtin_mul_overflow(reach, dims[d] > 0 ? dims[d] : 1, &reach) ||
            reach > INT64_MAX / 8) {
            return gdn_error_set(err, GDN_ERR_FORMAT,
                                 "%.80s: shape: expected sizes whose product fits but "
                                 "found %lld",
                                 t->name, (long long)dims[d]);
        }
        count *= dims[d];
    }
    *t = gdn_tensor_dense(t->name, NULL, t->dtype, (int)rank, dims);
    *bytes = count * (int64_t)gdn_dtype_size(t->dtype);
    return GDN_OK;
}

/* One entry of the header; its place is [*begin, *end) of the `size` bytes at `data`. */
static gdn_status read_entry(gdn_tensor *t, const char *name, const json_t *entry,
                             const uint8_t *data, int64_t size, int64_t *begin,
                             int64_t *end, gdn_error *err) {
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    int64_t bytes = 0;
    *t = (gdn_tensor){.name = name};
    if (!json_is_object(entry) || json_object_size(entry) != 3 || !dtype) {
        return bad(err, name, "expected dtype, shape and data_offsets, nothing else");
    }
    if (!find_dtype(dtype, &t->dtype)) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "%.80s: dtype: expected one of F64, F32, F16, BF16, I64, I32, "
                             "BOOL but found \"%.16s\"",
                             name, dtype);
    }
    GDN_TRY(read_shape(t, json_object_get(entry, "shape"), &bytes, err));
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 ||
        !json_is_integer(json_array_get(offsets, 0)) ||
        !json_is_integer(json_array_get(offsets, 1))) {
        return bad(err, name, "data_offsets: expected two numbers");
    }
    *begin = json_integer_value(json_array_get(offsets, 0));
    *end = json_integer_value(json_array_get(offsets, 1));
    if (*begin < 0 || *end < *begin || *end > size || *end - *begin != bytes) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "%.80s: data_offsets: expected %lld bytes in [0, %lld] but "
                             "found [%lld, %lld]",
                             name, (long long)bytes, (long long)size, (long long)*begin,
                             (long long)*end);
    }
    t->data = (void *)(uintptr_t)(data + *begin);
    return GDN_OK;
}

typedef struct place {
    int64_t begin, end;
    const char *name;
} place;

static int by_place(const void *a, const void *b) {
    const place *x = a, *y = b;
    return x->begin != y->begin ? (x->begin > y->begin) - (x->begin < y->begin)
                                : (x->end > y->end) - (x->end < y->end);
}

/* Side by side from the first byte to the last. */
static gdn_status check_places(place *places, size_t count, int64_t size, gdn_error *err) {
    qsort(places, count, sizeof *places, by_place);
    int64_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (places[i].begin != at) {
            return gdn_error_set(
                err, GDN_ERR_FORMAT,
                "%.80s: data_offsets: expected to begin at %lld, where the "
                "tensor before ends, but found %lld",
                places[i].name, (long long)at, (long long)places[i].begin);
        }
        at = places[i].end;
    }
    return at == size ? GDN_OK
                      : gdn_error_set(err, GDN_ERR_FORMAT,
                                      "%lld bytes at the end belong to no tensor",
                                      (long long)(size - at));
}

static gdn_status check_metadata(const json_t *metadata, gdn_error *err) {
    const char *name;
    json_t *value;
    if (!json_is_object(metadata)) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "__metadata__: expected an object");
    }
    json_object_foreach((json_t *)(uintptr_t)metadata, name, value) {
        if (!json_is_string(value)) {
            return gdn_error_set(err, GDN_ERR_FORMAT, "__metadata__.%.80s: expected a text",
                                 name);
        }
    }
    return GDN_OK;
}

static gdn_status read_entries(gdn_safetensors *file, const uint8_t *data, int64_t size,
                               gdn_error *err) {
    const size_t most = json_object_size(file->header);
    place *places = calloc(most + 1, sizeof *places);
    file->tensors = calloc(most + 1, sizeof *file->tensors);
    gdn_status status = places && file->tensors
                            ? GDN_OK
                            : gdn_error_set(err, GDN_ERR_OOM, "no memory for the header");
    const char *name;
    json_t *entry;
    json_object_foreach(file->header, name, entry) {
        if (status != GDN_OK) {
            break;
        }
        if (strcmp(name, "__metadata__") == 0) {
            status = check_metadata(entry, err);
            file->metadata = json_incref(entry);
            continue;
        }
        place *p = &places[file->n_tensors];
        status = read_entry(&file->tensors[file->n_tensors], name, entry, data, size,
                            &p->begin, &p->end, err);
        p->name = name;
        file->n_tensors++;
    }
    if (status == GDN_OK) {
        status = check_places(places, file->n_tensors, size, err);
    }
    free(places);
    return status;
}

gdn_status gdn_safetensors_parse(gdn_safetensors *file, const void *bytes, size_t size,
                                 gdn_error *err) {
    *file = (gdn_safetensors){0};
    const uint8_t *at = bytes;
    uint64_t header = 0;
    for (int i = PREFIX - 1; size >= PREFIX && i >= 0; i--) {
        header = header << 8 | at[i];
    }
    if (size < PREFIX || header > size - PREFIX ||
        header > (uint64_t)GDN_SAFETENSORS_HEADER_MAX || header < 2) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "no safetensors file: expected a header of 2 to %zu bytes but "
                             "found %llu",
                             size < PREFIX ? 0 : size - PREFIX, (unsigned long long)header);
    }
    json_error_t where;
    if (at[PREFIX] != '{' ||
        !(file->header = json_loadb((const char *)at + PREFIX, (size_t)header,
                                    JSON_REJECT_DUPLICATES, &where))) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "header: %s",
                             at[PREFIX] != '{' ? "expected a '{'" : where.text);
    }
    gdn_status status = read_entries(file, at + PREFIX + header,
                                     (int64_t)(size - PREFIX - (size_t)header), err);
    if (status == GDN_OK && !file->metadata && !(file->metadata = json_object())) {
        status = gdn_error_set(err, GDN_ERR_OOM, "no memory for the header");
    }
    if (status != GDN_OK) {
        gdn_safetensors_destroy(file);
    }
    return status;
}

gdn_status gdn_safetensors_open(gdn_safetensors *file, const char *path, gdn_error *err) {
    struct stat info;
    *file = (gdn_safetensors){0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) {
        const int cause = errno;
        if (fd >= 0) {
            close(fd);
        }
        return gdn_error_set(err, GDN_ERR_IO, "cannot open %s: %s", path, strerror(cause));
    }
    const size_t size = info.st_size > 0 ? (size_t)info.st_size : 0;
    void *map = size > 0 && S_ISREG(info.st_mode)
                    ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0)
                    : MAP_FAILED;
    close(fd);
    if (map == MAP_FAILED) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "%s: no safetensors file", path);
    }
    const gdn_status status = gdn_safetensors_parse(file, map, size, err);
    if (status != GDN_OK) {
        gdn_error_context(err, "%s", path);
        munmap(map, size);
        return status;
    }
    file->map = map;
    file->map_bytes = size;
    return GDN_OK;
}

void gdn_safetensors_destroy(gdn_safetensors *file) {
    if (file->map) {
        munmap(file->map, file->map_bytes);
    }
    free(file->tensors);
    json_decref(file->metadata);
    json_decref(file->header);
    *file = (gdn_safetensors){0};
}

/* ---- writing ---- */

/* Padded by spaces so that the tensors begin on eight bytes, as the format's own writer has
 * it. NULL without memory. */
static char *make_header(const gdn_tensor *tensors, size_t count, const json_t *metadata) {
    json_t *header = json_pack("{s:O}", "__metadata__", metadata);
    json_int_t at = 0;
    for (size_t i = 0; header && i < count; i++) {
        const gdn_tensor *t = &tensors[i];
        const json_int_t end =
            at + (json_int_t)gdn_tensor_count(t) * (json_int_t)gdn_dtype_size(t->dtype);
        json_t *shape = json_array();
        for (int d = 0; d < t->rank; d++) {
            json_array_append_new(shape, json_integer(t->shape[d]));
        }
        json_object_set_new(header, t->name,
                            json_pack("{s:s, s:o, s:[I,I]}", "dtype", DTYPES[t->dtype],
                                      "shape", shape, "data_offsets", at, end));
        at = end;
    }
    char *text = header ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    char *padded = NULL;
    if (text) {
        const int spaces = (int)((PREFIX - strlen(text) % PREFIX) % PREFIX);
        if (asprintf(&padded, "%s%*s", text, spaces, "") < 0) {
            padded = NULL;
        }
    }
    free(text);
    return padded;
}

static bool write_tensor(FILE *out, const gdn_tensor *t) {
    const size_t bytes = (size_t)gdn_tensor_count(t) * gdn_dtype_size(t->dtype);
    if (bytes == 0) {
        return true;
    }
    void *dense = gdn_tensor_is_dense_from(t, 0) ? NULL : malloc(bytes);
    if (dense) {
        gdnp_gather(t, dense);
    }
    const bool ok = (dense || gdn_tensor_is_dense_from(t, 0)) &&
                    fwrite(dense ? dense : t->data, 1, bytes, out) == bytes;
    free(dense);
    return ok;
}

static bool write_file(FILE *out, const char *header, const gdn_tensor *tensors,
                       size_t count) {
    unsigned char prefix[PREFIX];
    const uint64_t length = strlen(header);
    for (int i = 0; i < PREFIX; i++) {
        prefix[i] = (unsigned char)(length >> (8 * i));
    }
    bool ok = fwrite(prefix, 1, PREFIX, out) == PREFIX && fputs(header, out) >= 0;
    for (size_t i = 0; ok && i < count; i++) {
        ok = write_tensor(out, &tensors[i]);
    }
    return ok;
}

gdn_status gdn_safetensors_write(const char *path, const gdn_tensor *tensors, size_t count,
                                 const json_t *metadata, gdn_error *err) {
    int fd = -1;
    char *temporary = NULL;
    char *header = make_header(tensors, count, metadata);
    if (!header) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory to write %s", path);
    }
    gdn_status status = gdnp_temporary_create(path, &temporary, &fd, err);
    if (status == GDN_OK) {
        FILE *out = fdopen(fd, "wb");
        const bool written = out && write_file(out, header, tensors, count);
        if (!out || fclose(out) != 0 || !written) {
            status = gdn_error_set(err, GDN_ERR_IO, "cannot write %s: %s", path,
                                   strerror(errno));
        } else {
            status = gdnp_rename_over(&temporary, path, err);
        }
    }
    if (temporary) {
        unlink(temporary);
    }
    free(temporary);
    free(header);
    return status;
}
