/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Writes vector files and manifests. Both take shape under temporary names in the folder
 * they end up in, where a rename replaces the old file in one step. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "certificate.h"
#include "hdf5_io.h"
#include "manifest.h"
#include "replace_file.h"

struct gdn_vector_writer {
    json_t *manifest;
    char *dir; ///< NULL: digests only
    char *suite;
    char *temporary; ///< the HDF5 file while it grows; NULL once it has its final name
    hid_t file;
    bool failed; ///< an addition broke off: the file must not be published
};

/* Groups of one case in the file; negative where nothing is stored. */
enum { INPUT, GOLDEN, LIMIT, ROWS, FLOOR, OPERAND, KINDS };
static const char *const KIND_NAMES[KINDS] = {"input", "golden", "limit",
                                              "rows",  "floor",  "operand"};

/* Inputs, and up to six datasets of each output. */
#define MAX_ITEMS 128

/* Bytes from which a team of threads is worth its start. */
#define WORTH_THREADS ((size_t)1 << 19)

typedef struct item {
    int kind;
    gdn_tensor dense;
    size_t bytes;
    void *gathered; /* NULL: the tensor was dense */
    char digest[GDNP_DIGEST_SIZE];
} item;

typedef struct target {
    hid_t groups[KINDS];
    json_t *digests;
    item items[MAX_ITEMS];
    int n_items;
} target;

static gdn_status out_of_memory(gdn_error *err) {
    return gdn_error_set(err, GDN_ERR_OOM, "out of memory");
}

/* Writes the manifest under a temporary name beside `path` and syncs it. */
static gdn_status write_manifest(const gdn_vector_writer *writer, const char *path,
                                 char **temporary, gdn_error *err) {
    char *text = gdnp_manifest_text(writer->manifest);
    if (!text) {
        return out_of_memory(err);
    }
    const gdn_status status = gdnp_temporary_text(path, text, temporary, err);
    free(text);
    return status;
}

/* ---- life ---- */

static gdn_status create_file(gdn_vector_writer *writer, gdn_error *err) {
    int fd = -1;
    char *path = gdnp_vector_path(writer->dir, writer->suite, ".h5");
    if (!path) {
        return out_of_memory(err);
    }
    gdn_status status = gdnp_temporary_create(path, &writer->temporary, &fd, err);
    free(path);
    if (status != GDN_OK) {
        return status;
    }
    close(fd);
    GDN_TRY(gdnp_h5_file_create(writer->temporary, &writer->file, err));
    GDN_TRY(gdnp_h5_write_int(writer->file, "gdn_schema", GDN_VECTOR_SCHEMA, err));
    GDN_TRY(gdnp_h5_write_text(writer->file, "suite", writer->suite, err));
    return gdnp_h5_write_text(
        writer->file, "generator",
        json_string_value(json_object_get(writer->manifest, "generator")), err);
}

gdn_status gdn_vector_writer_create(gdn_vector_writer **out, const char *dir,
                                    const char *suite, gdn_error *err) {
    GDN_TRY(gdnp_suite_check(suite, err));
    gdn_vector_writer *writer = calloc(1, sizeof *writer);
    if (!writer) {
        return out_of_memory(err);
    }
    gdn_status status = GDN_OK;
    writer->file = H5I_INVALID_HID;
    writer->manifest = gdnp_manifest_new(suite);
    writer->suite = strdup(suite);
    writer->dir = dir ? strdup(dir) : NULL;
    if (!writer->manifest || !writer->suite || (dir && !writer->dir)) {
        status = out_of_memory(err);
    } else if (dir) {
        gdnp_h5_start();
        status = create_file(writer, err);
    }
    if (status != GDN_OK) {
        gdn_vector_writer_abandon(writer);
        return status;
    }
    *out = writer;
    return GDN_OK;
}

const json_t *gdn_vector_writer_manifest(const gdn_vector_writer *writer) {
    return writer->manifest;
}

/* The vectors first: a manifest that is older than the vectors beside it is found out by
 * the reader, as would be the reverse, and --check compares against the manifest. */
static gdn_status publish(gdn_vector_writer *writer, gdn_error *err) {
    gdn_status status = GDN_OK;
    char *temporary = NULL;
    char *vectors = gdnp_vector_path(writer->dir, writer->suite, ".h5");
    char *manifest = gdnp_vector_path(writer->dir, writer->suite, ".manifest.json");
    if (!vectors || !manifest) {
        status = out_of_memory(err);
        goto cleanup;
    }
    if (H5Fclose(writer->file) < 0) {
        status = gdnp_h5_fail(err, GDN_ERR_IO, "cannot write %s", writer->temporary);
    }
    writer->file = H5I_INVALID_HID; /* HDF5 crashes over a second attempt */
    if (status != GDN_OK) {
        goto cleanup;
    }
    if ((status = gdnp_sync_path(writer->temporary, O_RDWR, err)) != GDN_OK ||
        (status = write_manifest(writer, manifest, &temporary, err)) != GDN_OK ||
        (status = gdnp_rename_over(&writer->temporary, vectors, err)) != GDN_OK ||
        (status = gdnp_rename_over(&temporary, manifest, err)) != GDN_OK) {
        goto cleanup;
    }
    status = gdnp_sync_path(writer->dir, O_RDONLY | O_DIRECTORY, err);

cleanup:
    if (temporary) {
        unlink(temporary);
    }
    free(temporary);
    free(manifest);
    free(vectors);
    return status;
}

gdn_status gdn_vector_writer_commit(gdn_vector_writer *writer, gdn_error *err) {
    gdn_status status = GDN_OK;
    if (writer->failed) {
        status = gdn_error_set(err, GDN_ERR_ARG,
                               "suite %s: a case could not be added, so nothing is written",
                               writer->suite);
    } else if (writer->dir) {
        status = publish(writer, err);
    }
    gdn_vector_writer_abandon(writer);
    return status;
}

void gdn_vector_writer_abandon(gdn_vector_writer *writer) {
    if (!writer) {
        return;
    }
    if (writer->file >= 0) {
        H5Fclose(writer->file);
    }
    if (writer->temporary) {
        unlink(writer->temporary);
    }
    json_decref(writer->manifest);
    free(writer->temporary);
    free(writer->suite);
    free(writer->dir);
    free(writer);
}

/* ---- cases ---- */

/* Notes a tensor of the case; its memory stays the caller's until finish_items(). */
static gdn_status add_tensor(target *to, int kind, const gdn_tensor *tensor,
                             gdn_error *err) {
    if (to->n_items == MAX_ITEMS) {
        return gdn_error_set(err, GDN_ERR_ARG, "%s: more than %d tensors", tensor->name,
                             MAX_ITEMS);
    }
    item *i = &to->items[to->n_items++];
    *i = (item){.kind = kind,
                .dense = gdn_tensor_dense(tensor->name, tensor->data, tensor->dtype,
                                          tensor->rank, tensor->shape)};
    const size_t bytes =
        (size_t)gdn_tensor_count(&i->dense) * gdn_dtype_size(tensor->dtype);
    i->bytes = bytes;
    if (!gdn_tensor_is_dense_from(tensor, 0)) {
        if (!(i->gathered = malloc(bytes + 1))) {
            return gdn_error_set(err, GDN_ERR_OOM, "%s: no memory for %zu bytes",
                                 tensor->name, bytes);
        }
        gdnp_gather(tensor, i->gathered);
        i->dense.data = i->gathered;
    }
    return GDN_OK;
}

static gdn_status finish_item(const target *to, const item *i, gdn_error *err) {
    char key[128];
    const int n = snprintf(key, sizeof key, "%s/%s", KIND_NAMES[i->kind], i->dense.name);
    if (n < 0 || (size_t)n >= sizeof key) {
        return gdn_error_set(err, GDN_ERR_ARG, "%s: the name is too long", i->dense.name);
    }
    if (i->digest[0] == '\0' ||
        json_object_set_new(to->digests, key, json_string(i->digest)) != 0) {
        return out_of_memory(err);
    }
    return to->groups[i->kind] < 0
               ? GDN_OK
               : gdnp_h5_write_dataset(to->groups[i->kind], &i->dense, i->digest, err);
}

/* Digests what was noted, side by side, and stores it where there is a group for its kind;
 * `status` is that of the notes. */
static gdn_status finish_items(target *to, gdn_status status, gdn_error *err) {
    size_t bytes = 0;
    for (int i = 0; i < to->n_items; i++) {
        bytes += to->items[i].bytes;
    }
#pragma omp parallel for schedule(dynamic) if (bytes > WORTH_THREADS)
    for (int i = 0; i < to->n_items; i++) {
        gdn_sha256(to->items[i].dense.data, to->items[i].bytes, to->items[i].digest);
    }
    for (int i = 0; i < to->n_items; i++) {
        if (status == GDN_OK) {
            status = finish_item(to, &to->items[i], err);
        }
        free(to->items[i].gathered);
    }
    return status;
}

/* Inputs come from the frozen bytes: a device may have run on the arena since. */
static gdn_status add_inputs(target *to, const gdn_problem *problem, gdn_error *err) {
    const gdn_arena *arena = &problem->arena;
    if (!arena->image) {
        return gdn_error_set(err, GDN_ERR_ARG, "the problem's arena is not frozen");
    }
    for (size_t i = 0; i < arena->n_tensors; i++) {
        gdn_tensor tensor = arena->tensors[i];
        const gdn_argument *argument = gdn_op_argument(problem->test->op, tensor.name);
        if (!argument) {
            return gdn_error_set(err, GDN_ERR_ARG, "%s has no argument %s",
                                 gdn_op_get(problem->test->op)->name, tensor.name);
        }
        if (argument->access != GDN_OUT) {
            tensor.data = arena->image + ((uint8_t *)tensor.data - arena->base);
            GDN_TRY(add_tensor(to, INPUT, &tensor, err));
        }
    }
    return GDN_OK;
}

static gdn_status add_output(target *to, const gdn_expected *expected, gdn_error *err) {
    int64_t shape[GDN_MAX_RANK];
    const gdn_tensor *tensor = expected->tensor;
    memcpy(shape, tensor->shape, sizeof shape);
    shape[0] = expected->n_rows;
    const gdn_tensor rows =
        gdn_tensor_dense(tensor->name, expected->rows, GDN_I64, 1, &expected->n_rows);
    GDN_TRY(add_tensor(to, ROWS, &rows, err));
    if (expected->judgement == GDN_JUDGE_EXACT) {
        const gdn_tensor bits = gdn_tensor_dense(tensor->name, expected->bits,
                                                 tensor->dtype, tensor->rank, shape);
        return add_tensor(to, GOLDEN, &bits, err);
    }
    const gdn_tensor golden =
        gdn_tensor_dense(tensor->name, expected->golden, GDN_FP64, tensor->rank, shape);
    const gdn_tensor limit =
        gdn_tensor_dense(tensor->name, expected->limit, GDN_FP32, tensor->rank, shape);
    GDN_TRY(add_tensor(to, GOLDEN, &golden, err));
    GDN_TRY(add_tensor(to, LIMIT, &limit, err));
    if (expected->floors) {
        const int64_t figures[] = {tensor->shape[1], GDN_FLOOR_FIGURES};
        const gdn_tensor floors =
            gdn_tensor_dense(tensor->name, expected->floors, GDN_FP64, 2, figures);
        GDN_TRY(add_tensor(to, FLOOR, &floors, err));
    }
    if (expected->operand) {
        const gdn_tensor operand = gdn_tensor_dense(tensor->name, expected->operand,
                                                    GDN_FP32, tensor->rank, shape);
        GDN_TRY(add_tensor(to, OPERAND, &operand, err));
    }
    return GDN_OK;
}

/* Creates the groups of a case with its attributes. */
static gdn_status create_groups(target *to, hid_t file, const json_t *entry, const char *id,
                                gdn_error *err) {
    gdn_status status = GDN_OK;
    hid_t group = H5I_INVALID_HID;
    char *text = json_dumps(json_object_get(entry, "case"), JSON_COMPACT);
    if (!text) {
        return out_of_memory(err);
    }
    if ((status = gdnp_h5_group(file, id, true, &group, err)) != GDN_OK ||
        (status = gdnp_h5_write_text(group, "case", text, err)) != GDN_OK) {
        goto cleanup;
    }
    status =
        gdnp_h5_write_text(group, "profile_digest", gdnp_case_profile_digest(entry), err);
    for (int i = 0; i < KINDS && status == GDN_OK; i++) {
        status = gdnp_h5_group(group, KIND_NAMES[i], true, &to->groups[i], err);
    }

cleanup:
    if (group >= 0) {
        H5Gclose(group);
    }
    free(text);
    return status;
}

static gdn_status add_case(gdn_vector_writer *writer, const gdn_problem *problem,
                           const gdn_golden *golden, const gdn_certificate *certificate,
                           gdn_error *err) {
    gdn_status status = GDN_OK;
    const char *id = problem->test->id;
    const bool stored = gdn_golden_bytes(golden) <= GDN_STORED_BYTES;
    char digest[GDNP_DIGEST_SIZE];
    target to = {.groups = {-1, -1, -1, -1, -1, -1}};
    GDN_TRY(
        gdnp_profile_digest(problem->test->op, &problem->test->conventions, digest, err));
    json_t *entry =
        json_pack("{s:b, s:o, s:s, s:{}}", "stored", stored, "case",
                  gdn_case_to_json(problem->test), "profile_digest", digest, "datasets");
    if (!entry) {
        return out_of_memory(err);
    }
    to.digests = gdnp_case_datasets(entry);
    if (stored && writer->file >= 0) {
        status = create_groups(&to, writer->file, entry, id, err);
    }
    if (status == GDN_OK) {
        status = gdnp_certificate_to_json(entry, certificate, err);
    }
    if (status == GDN_OK) {
        status = add_inputs(&to, problem, err);
    }
    for (size_t i = 0; i < golden->n_outputs && status == GDN_OK; i++) {
        status = add_output(&to, &golden->outputs[i], err);
    }
    status = finish_items(&to, status, err);
    for (size_t i = 0; i < golden->n_outputs && status == GDN_OK; i++) {
        if (to.groups[GOLDEN] >= 0 && golden->outputs[i].judgement == GDN_JUDGE_BOUNDED) {
            status = gdnp_certificate_write(
                to.groups[GOLDEN], golden->outputs[i].tensor->name, certificate, err);
        }
    }
    for (int i = 0; i < KINDS; i++) {
        if (to.groups[i] >= 0) {
            H5Gclose(to.groups[i]);
        }
    }
    if (status != GDN_OK) {
        json_decref(entry);
        return status;
    }
    json_t *cases = json_object_get(writer->manifest, "cases");
    return json_object_set_new(cases, id, entry) == 0 ? GDN_OK : out_of_memory(err);
}

gdn_status gdn_vector_writer_add(gdn_vector_writer *writer, const gdn_problem *problem,
                                 const gdn_golden *golden,
                                 const gdn_certificate *certificate, gdn_error *err) {
    gdn_status status = GDN_OK;
    const char *id = problem->test->id;
    if (gdnp_manifest_case(writer->manifest, id)) {
        status = gdn_error_set(err, GDN_ERR_ARG, "the suite already has this case");
    } else {
        status = add_case(writer, problem, golden, certificate, err);
    }
    if (status != GDN_OK) {
        writer->failed = true;
        gdn_error_context(err, "suite %s: case %s", writer->suite, id);
    }
    return status;
}
