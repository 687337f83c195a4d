/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Reads vector files that a child process has found sound. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apart.h"
#include "vector_verify.h"

/* Generous: the largest suites verify in seconds, from a slow network disk in minutes. */
#define VERIFY_SECONDS 600

struct gdn_vector_reader {
    char *path, *manifest_path;
    const char *suite; ///< borrowed while opening
    json_t *manifest;
    hid_t file;
};

static gdn_status verify(void *data, gdn_error *err) {
    const gdn_vector_reader *reader = data;
    return gdnp_vector_verify(reader->path, reader->manifest_path, reader->suite, err);
}

static gdn_status open_files(gdn_vector_reader *reader, gdn_error *err) {
    if (access(reader->path, R_OK) != 0) {
        return gdn_error_set(err, GDN_ERR_IO, "cannot open %s: %s", reader->path,
                             strerror(errno));
    }
    gdnp_h5_start();
    GDN_TRY(gdnp_run_apart(verify, reader, reader->path, VERIFY_SECONDS, err));
    GDN_TRY(gdnp_manifest_read(&reader->manifest, reader->manifest_path, err));
    return gdnp_vector_open(reader->path, &reader->file, err);
}

gdn_status gdn_vector_reader_open(gdn_vector_reader **out, const char *dir,
                                  const char *suite, gdn_error *err) {
    GDN_TRY(gdnp_suite_check(suite, err));
    gdn_status status = GDN_OK;
    gdn_vector_reader *reader = calloc(1, sizeof *reader);
    if (!reader) {
        return gdn_error_set(err, GDN_ERR_OOM, "out of memory");
    }
    reader->file = H5I_INVALID_HID;
    reader->suite = suite;
    reader->path = gdnp_vector_path(dir, suite, ".h5");
    reader->manifest_path = gdnp_vector_path(dir, suite, ".manifest.json");
    if (!reader->path || !reader->manifest_path) {
        status = gdn_error_set(err, GDN_ERR_OOM, "out of memory");
    } else {
        status = open_files(reader, err);
    }
    reader->suite = NULL;
    if (status != GDN_OK) {
        gdn_vector_reader_close(reader);
        return status;
    }
    *out = reader;
    return GDN_OK;
}

void gdn_vector_reader_close(gdn_vector_reader *reader) {
    if (!reader) {
        return;
    }
    if (reader->file >= 0) {
        H5Fclose(reader->file);
    }
    json_decref(reader->manifest);
    free(reader->manifest_path);
    free(reader->path);
    free(reader);
}

const json_t *gdn_vector_reader_manifest(const gdn_vector_reader *reader) {
    return reader->manifest;
}

bool gdn_vector_reader_has(const gdn_vector_reader *reader, const char *id) {
    const json_t *entry = gdnp_manifest_case(reader->manifest, id);
    return entry && gdnp_case_stored(entry);
}

gdn_status gdnp_vector_reader_dataset(const gdn_vector_reader *reader, const char *id,
                                      const char *name, gdnp_h5_dataset *form, void **bytes,
                                      gdn_error *err) {
    const json_t *entry = gdnp_manifest_case(reader->manifest, id);
    const char *digest =
        json_string_value(json_object_get(gdnp_case_datasets(entry), name));
    hid_t group = H5I_INVALID_HID;
    gdn_status status =
        digest ? gdnp_h5_group(reader->file, id, false, &group, err)
               : gdn_error_set(err, GDN_ERR_FORMAT, "%s: the dataset is missing", name);
    if (status == GDN_OK) {
        status = gdnp_vector_read(group, name, digest, form, bytes, err);
        H5Gclose(group);
    }
    if (status == GDN_OK) {
        H5Dclose(form->id);
        form->id = H5I_INVALID_HID;
    } else {
        gdn_error_context(err, "%s: case %s", reader->path, id);
    }
    return status;
}

/* ---- loading ---- */

/* A stored case while it is loaded. `used` counts the datasets that found a place. */
typedef struct source {
    hid_t group;
    json_t *datasets;
    size_t used;
} source;

static void shape_text(const int64_t *shape, int rank, char *text, size_t size) {
    size_t used = 0;
    text[0] = '\0';
    for (int d = 0; d < rank && used < size; d++) {
        const int n =
            snprintf(text + used, size - used, "%s%" PRId64, d > 0 ? "," : "", shape[d]);
        used += n > 0 ? (size_t)n : 0;
    }
}

static gdn_status expect_form(const gdnp_h5_dataset *dataset, const gdn_tensor *form,
                              gdn_error *err) {
    if (dataset->dtype == form->dtype && dataset->rank == form->rank &&
        memcmp(dataset->shape, form->shape, (size_t)form->rank * sizeof *form->shape) ==
            0) {
        return GDN_OK;
    }
    char wanted[128], found[128];
    shape_text(form->shape, form->rank, wanted, sizeof wanted);
    shape_text(dataset->shape, dataset->rank, found, sizeof found);
    return gdn_error_set(err, GDN_ERR_FORMAT, "expected %s [%s] but found %s [%s]",
                         gdn_dtype_name(form->dtype), wanted,
                         gdn_dtype_name(dataset->dtype), found);
}

/* Reads kind/<form->name>, which must have the type and shape of `form`; a size of -1 in
 * dimension 0 takes what the file has. If GDN_OK is returned the caller frees `*bytes`. */
static gdn_status take(source *from, const char *kind, gdn_tensor *form, void **bytes,
                       gdn_error *err) {
    char name[128];
    const int n = snprintf(name, sizeof name, "%s/%s", kind, form->name);
    const char *digest = n > 0 && (size_t)n < sizeof name
                             ? json_string_value(json_object_get(from->datasets, name))
                             : NULL;
    if (!digest) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "%s/%s: the dataset is missing", kind,
                             form->name);
    }
    gdnp_h5_dataset dataset;
    GDN_TRY(gdnp_vector_read(from->group, name, digest, &dataset, bytes, err));
    if (form->shape[0] < 0 && dataset.rank > 0) {
        form->shape[0] = dataset.shape[0];
    }
    const gdn_status status = expect_form(&dataset, form, err);
    H5Dclose(dataset.id);
    if (status != GDN_OK) {
        gdn_error_context(err, "%s", name);
        free(*bytes);
        *bytes = NULL;
        return status;
    }
    from->used++;
    return GDN_OK;
}

static gdn_status load_inputs(source *from, gdn_problem *problem, gdn_error *err) {
    for (size_t i = 0; i < problem->arena.n_tensors; i++) {
        gdn_tensor tensor = problem->arena.tensors[i];
        const gdn_argument *argument = gdn_op_argument(problem->test->op, tensor.name);
        if (argument && argument->access != GDN_OUT) {
            void *bytes = NULL;
            GDN_TRY(take(from, "input", &tensor, &bytes, err));
            gdnp_scatter(&tensor, bytes);
            free(bytes);
        }
    }
    return GDN_OK;
}

/* Later code uses the rows as indices and relies on their order. */
static gdn_status check_rows(const gdn_expected *expected, gdn_error *err) {
    const gdn_tensor *tensor = expected->tensor;
    for (int64_t i = 0; i < expected->n_rows; i++) {
        const int64_t row = expected->rows[i];
        const int64_t least = i > 0 ? expected->rows[i - 1] + 1 : 0;
        if (row < least || row >= tensor->shape[0]) {
            return gdn_error_set(err, GDN_ERR_FORMAT,
                                 "rows/%s: expected entry %" PRId64 " in [%" PRId64
                                 ",%" PRId64 ") but found %" PRId64,
                                 tensor->name, i, least, tensor->shape[0], row);
        }
    }
    return GDN_OK;
}

static bool has_dataset(const source *from, const char *kind, const char *tensor) {
    char name[128];
    snprintf(name, sizeof name, "%s/%s", kind, tensor);
    return json_object_get(from->datasets, name) != NULL;
}

/* What verdicts beside the limit are made of; either may be missing. */
static gdn_status load_floors(source *from, gdn_expected *expected, gdn_error *err) {
    void *bytes = NULL;
    gdn_tensor form = *expected->tensor;
    if (has_dataset(from, "operand", form.name)) {
        form.shape[0] = expected->n_rows;
        form.dtype = GDN_FP32;
        GDN_TRY(take(from, "operand", &form, &bytes, err));
        expected->operand = bytes;
    }
    if (has_dataset(from, "floor", form.name)) {
        const int64_t heads = form.rank > 1 ? expected->tensor->shape[1] : 0;
        const int64_t figures[] = {heads, GDN_FLOOR_FIGURES};
        form = gdn_tensor_dense(form.name, NULL, GDN_FP64, 2, figures);
        GDN_TRY(take(from, "floor", &form, &bytes, err));
        expected->floors = bytes;
    }
    return GDN_OK;
}

/* Whether an output is exact is told by the absence of limits, not by the op's table: a
 * case may be exact where its op is not. */
static gdn_status load_output(source *from, gdn_expected *expected, gdn_error *err) {
    void *bytes = NULL;
    char limit_name[128];
    gdn_tensor form = *expected->tensor;
    gdn_tensor rows = {.name = form.name, .dtype = GDN_I64, .rank = 1, .shape = {-1}};
    GDN_TRY(take(from, "rows", &rows, &bytes, err));
    expected->rows = bytes;
    expected->n_rows = rows.shape[0];
    expected->row_count = gdn_tensor_row_count(&form);
    GDN_TRY(check_rows(expected, err));

    form.shape[0] = expected->n_rows;
    snprintf(limit_name, sizeof limit_name, "limit/%s", form.name);
    if (!json_object_get(from->datasets, limit_name)) {
        expected->judgement = GDN_JUDGE_EXACT;
        return take(from, "golden", &form, &expected->bits, err);
    }
    expected->judgement = GDN_JUDGE_BOUNDED;
    form.dtype = GDN_FP64;
    GDN_TRY(take(from, "golden", &form, &bytes, err));
    expected->golden = bytes;
    form.dtype = GDN_FP32;
    GDN_TRY(take(from, "limit", &form, &bytes, err));
    expected->limit = bytes;
    return load_floors(from, expected, err);
}

static gdn_status load_golden(source *from, const gdn_problem *problem, gdn_golden *golden,
                              gdn_error *err) {
    const gdn_arena *arena = &problem->arena;
    golden->outputs = calloc(arena->n_tensors + 1, sizeof *golden->outputs);
    if (!golden->outputs) {
        return gdn_error_set(err, GDN_ERR_OOM, "out of memory");
    }
    for (size_t i = 0; i < arena->n_tensors; i++) {
        const gdn_tensor *tensor = &arena->tensors[i];
        const gdn_argument *argument = gdn_op_argument(problem->test->op, tensor->name);
        if (argument && argument->judgement != GDN_JUDGE_INPUT) {
            gdn_expected *expected = &golden->outputs[golden->n_outputs++];
            expected->tensor = tensor;
            GDN_TRY(load_output(from, expected, err));
        }
    }
    if (from->used != json_object_size(from->datasets)) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "expected %zu datasets for the tensors of the case but found "
                             "%zu",
                             from->used, json_object_size(from->datasets));
    }
    return GDN_OK;
}

/* The stored case must be the caller's in every parameter and in its conventions: a profile
 * that has changed since makes the golden values wrong. */
static gdn_status check_identity(const json_t *entry, const gdn_case *test,
                                 gdn_error *err) {
    json_t *json = gdn_case_to_json(test);
    if (!json) {
        return gdn_error_set(err, GDN_ERR_OOM, "out of memory");
    }
    gdn_status status = gdnp_case_compare(json, json_object_get(entry, "case"), err);
    json_decref(json);
    if (status != GDN_OK) {
        gdn_error_context(err, "the stored case is another one");
        return status;
    }
    char digest[GDNP_DIGEST_SIZE];
    GDN_TRY(gdnp_profile_digest(test->op, &test->conventions, digest, err));
    if (strcmp(digest, gdnp_case_profile_digest(entry)) != 0) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "profile %s has changed since the vectors were generated; "
                             "generate the suite again",
                             test->profile);
    }
    return GDN_OK;
}

static gdn_status load_case(gdn_vector_reader *reader, const gdn_case *test,
                            gdn_problem *problem, gdn_golden *golden, gdn_error *err) {
    const json_t *entry = gdnp_manifest_case(reader->manifest, test->id);
    if (!entry || !gdnp_case_stored(entry)) {
        return gdn_error_set(err, GDN_ERR_ARG, "the file does not hold this case");
    }
    GDN_TRY(check_identity(entry, test, err));
    source from = {.datasets = gdnp_case_datasets(entry)};
    GDN_TRY(gdn_problem_create_empty(problem, test, err));
    gdn_status status = gdnp_h5_group(reader->file, test->id, false, &from.group, err);
    if (status != GDN_OK) {
        goto cleanup;
    }
    status = load_inputs(&from, problem, err);
    if (status == GDN_OK) {
        status = gdn_arena_freeze(&problem->arena, err);
    }
    /* A device follows what index tensors say, and here no reference has read them
     * before. */
    if (status == GDN_OK && gdn_call_check(&problem->call, err) != GDN_OK) {
        status = err->status = GDN_ERR_FORMAT;
    }
    if (status == GDN_OK) {
        status = load_golden(&from, problem, golden, err);
    }
    H5Gclose(from.group);

cleanup:
    if (status != GDN_OK) {
        gdn_golden_destroy(golden);
        gdn_problem_destroy(problem);
        *golden = (gdn_golden){0};
        *problem = (gdn_problem){0};
    }
    return status;
}

gdn_status gdn_vector_reader_load(gdn_vector_reader *reader, const gdn_case *test,
                                  gdn_problem *problem, gdn_golden *golden,
                                  gdn_error *err) {
    *golden = (gdn_golden){0};
    *problem = (gdn_problem){0};
    const gdn_status status = load_case(reader, test, problem, golden, err);
    if (status != GDN_OK) {
        gdn_error_context(err, "%s: case %s", reader->path, test->id);
    }
    return status;
}
