/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Conventions and calls to and from JSON. What is read may come from a foreign program, so
 * nothing in it is trusted: a call that decodes can be run without leaving its arena. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gdn/profile.h"

/* The name as it stands in JSON: fields of verification have an object of their own. */
static const char *short_name(const gdn_convention_field *field) {
    const char *dot = strchr(field->name, '.');
    return dot ? dot + 1 : field->name;
}

static json_t *fields_to_json(const gdn_conventions *conventions,
                              const gdn_convention_field *fields, size_t count) {
    json_t *object = json_object();
    for (size_t i = 0; object && i < count; i++) {
        char text[64];
        const int n = gdn_conventions_get(conventions, &fields[i], text, sizeof text);
        assert(n > 0 && (size_t)n < sizeof text);
        (void)n;
        if (json_object_set_new(object, short_name(&fields[i]), json_string(text)) != 0) {
            json_decref(object);
            object = NULL;
        }
    }
    return object;
}

json_t *gdn_conventions_to_json(const gdn_conventions *conventions) {
    size_t count = 0;
    size_t verify_count = 0;
    const gdn_convention_field *fields = gdn_convention_fields(&count);
    const gdn_convention_field *verify = gdn_verify_fields(&verify_count);
    json_t *object = fields_to_json(conventions, fields, count);
    json_t *nested = fields_to_json(conventions, verify, verify_count);
    if (!object || json_object_set_new(object, GDN_VERIFY_OBJECT, nested) != 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static gdn_status refuse_slip(const gdn_conventions *conventions,
                              const gdn_convention_field *field, gdn_error *err) {
    const int value = *(const int *)((const char *)conventions + field->offset);
    const int most = field->shipped > field->correct ? field->shipped : field->correct;
    if (field->kind != GDN_FIELD_ENUM || value < most) {
        return GDN_OK;
    }
    char allowed[256];
    size_t used = 0;
    for (int i = 0; i < most; i++) {
        const int n = snprintf(allowed + used, sizeof allowed - used, "%s%s",
                               i > 0 ? ", " : "", field->values[i]);
        assert(n > 0 && used + (size_t)n < sizeof allowed);
        used += (size_t)n;
    }
    return gdn_error_set(err, GDN_ERR_FORMAT,
                         "%s: expected one of %s but found \"%s\", which is a slip",
                         field->name, allowed, field->values[value]);
}

static gdn_status field_from_json(gdn_conventions *conventions, const char *prefix,
                                  const char *member, const json_t *value, bool profile,
                                  gdn_error *err) {
    char name[96];
    char number[64];
    const char *text = number;
    snprintf(name, sizeof name, "%s%s", prefix, member);
    if (json_is_string(value)) {
        text = json_string_value(value);
    } else if (json_is_integer(value)) {
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        snprintf(number, sizeof number, "%.17g", json_real_value(value));
    } else {
        return gdn_error_set(err, GDN_ERR_FORMAT, "%s: expected text or a number", name);
    }
    gdn_error why = {0};
    if (gdn_conventions_set(conventions, name, text, &why) != GDN_OK) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "%s", why.message);
    }
    return profile ? refuse_slip(conventions, gdn_convention_field_find(name), err)
                   : GDN_OK;
}

static gdn_status verify_from_json(gdn_conventions *conventions, json_t *json, bool profile,
                                   gdn_error *err) {
    if (!json_is_object(json)) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             GDN_VERIFY_OBJECT ": expected an object of conventions");
    }
    const char *member = NULL;
    json_t *value = NULL;
    json_object_foreach(json, member, value) {
        GDN_TRY(field_from_json(conventions, GDN_VERIFY_OBJECT ".", member, value, profile,
                                err));
    }
    return GDN_OK;
}

gdn_status gdn_conventions_from_json(gdn_conventions *conventions, const json_t *json,
                                     bool profile, gdn_error *err) {
    if (!json_is_object(json)) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "expected an object of conventions");
    }
    /* Not touched before all of it is known to be good. */
    gdn_conventions result = *conventions;
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)json, name, value) {
        if (strcmp(name, GDN_VERIFY_OBJECT) == 0) {
            GDN_TRY(verify_from_json(&result, value, profile, err));
        } else if (strchr(name, '.')) {
            return gdn_error_set(err, GDN_ERR_FORMAT, "no convention is named \"%s\"",
                                 name);
        } else {
            GDN_TRY(field_from_json(&result, "", name, value, profile, err));
        }
    }
    *conventions = result;
    return GDN_OK;
}

static json_t *integers_to_json(const int64_t *values, int count) {
    json_t *array = json_array();
    for (int i = 0; i < count; i++) {
        /* On failure the array stays short; the caller compares its size. */
        json_array_append_new(array, json_integer(values[i]));
    }
    return array;
}

static json_t *tensor_to_json(const gdn_call *call, const gdn_tensor *tensor) {
    int64_t offset = 0;
    if (tensor->data) {
        offset = (int64_t)((const char *)tensor->data - (const char *)call->arena);
    }
    json_t *shape = integers_to_json(tensor->shape, tensor->rank);
    json_t *stride = integers_to_json(tensor->stride, tensor->rank);
    const size_t rank = (size_t)tensor->rank;
    if (json_array_size(shape) != rank || json_array_size(stride) != rank) {
        json_decref(shape);
        json_decref(stride);
        return NULL;
    }
    return json_pack("{s:s, s:s, s:I, s:o, s:o}", "name", tensor->name, "dtype",
                     gdn_dtype_name(tensor->dtype), "offset", (json_int_t)offset, "shape",
                     shape, "stride", stride);
}

json_t *gdn_call_to_json(const gdn_call *call) {
    json_t *scalars = json_object();
    json_t *tensors = json_array();
    bool complete = scalars && tensors;
    for (size_t i = 0; i < call->n_scalars; i++) {
        complete =
            complete && json_object_set_new(scalars, call->scalars[i].name,
                                            json_integer(call->scalars[i].value)) == 0;
    }
    for (size_t i = 0; i < call->n_tensors; i++) {
        complete = complete && json_array_append_new(
                                   tensors, tensor_to_json(call, &call->tensors[i])) == 0;
    }
    if (!complete) {
        json_decref(scalars);
        json_decref(tensors);
        return NULL;
    }
    return json_pack("{s:s, s:o, s:o, s:o}", "op", gdn_op_get(call->op)->name,
                     "conventions", gdn_conventions_to_json(call->conventions), "scalars",
                     scalars, "tensors", tensors);
}

/* Sizes or strides: at most GDN_MAX_RANK integers, none negative. */
static gdn_status integers_from_json(const json_t *array, const char *what, int64_t *values,
                                     int *count, gdn_error *err) {
    const size_t size = json_array_size(array);
    if (!json_is_array(array) || size > GDN_MAX_RANK) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "%s: expected an array of at most %d integers but found %s of "
                             "%zu",
                             what, GDN_MAX_RANK,
                             json_is_array(array) ? "one" : "something else", size);
    }
    for (size_t i = 0; i < size; i++) {
        const json_t *item = json_array_get(array, i);
        if (!json_is_integer(item) || json_integer_value(item) < 0) {
            return gdn_error_set(err, GDN_ERR_FORMAT,
                                 "%s[%zu]: expected an integer of at least 0", what, i);
        }
        values[i] = json_integer_value(item);
    }
    *count = (int)size;
    return GDN_OK;
}

/* The whole view must lie in [0, arena_bytes). Empty dimensions count as 1 in the overflow
 * checks: whoever counts elements later multiplies before it meets the zero. */
static gdn_status check_inside(const gdn_tensor *tensor, int64_t offset, size_t arena_bytes,
                               gdn_error *err) {
    const int64_t width = (int64_t)gdn_dtype_size(tensor->dtype);
    int64_t last = 0;
    int64_t count = 1;
    int64_t end = 0;
    bool fits = true;
    bool empty = false;
    for (int d = 0; d < tensor->rank; d++) {
        const int64_t size = tensor->shape[d] > 0 ? tensor->shape[d] : 1;
        int64_t step = 0;
        empty = empty || tensor->shape[d] == 0;
        fits = fits && !__builtin_mul_overflow(count, size, &count) &&
               !__builtin_mul_overflow(size - 1, tensor->stride[d], &step) &&
               !__builtin_add_overflow(last, step, &last);
    }
    fits = fits && !__builtin_mul_overflow(count, width, &count) &&
           !__builtin_add_overflow(last, 1, &end) &&
           !__builtin_mul_overflow(end, width, &end) &&
           !__builtin_add_overflow(empty ? 0 : end, offset, &end);
    if (offset < 0 || !fits || (uint64_t)end > arena_bytes) {
        return gdn_error_set(
            err, GDN_ERR_FORMAT, "expected bytes inside [0, %zu) but found [%lld, %lld%s)",
            arena_bytes, (long long)offset, (long long)(fits ? end : INT64_MAX),
            fits ? "" : " and beyond");
    }
    if (offset % width != 0) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "expected offset to be a multiple of %lld but found %lld",
                             (long long)width, (long long)offset);
    }
    return GDN_OK;
}

static gdn_status tensor_from_json(gdn_call_storage *storage, json_t *json,
                                   gdn_error *err) {
    const gdn_op_info *op = gdn_op_get(storage->call.op);
    const char *name = NULL;
    const char *dtype = NULL;
    json_int_t offset = 0;
    json_t *shape = NULL;
    json_t *stride = NULL;
    json_error_t bad;
    if (json_unpack_ex(json, &bad, JSON_STRICT, "{s:s, s:s, s:I, s:o, s:o}", "name", &name,
                       "dtype", &dtype, "offset", &offset, "shape", &shape, "stride",
                       &stride) != 0) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "%s", bad.text);
    }
    const gdn_argument *argument = gdn_op_argument(storage->call.op, name);
    if (!argument) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "%s has no argument \"%s\"", op->name,
                             name);
    }
    if (gdn_call_tensor(&storage->call, name)) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "\"%s\" stands there twice", name);
    }
    gdn_tensor tensor = {.name = argument->name};
    int n_strides = 0;
    gdn_status status = GDN_OK;
    if (!gdn_dtype_from_name(dtype, &tensor.dtype)) {
        status = gdn_error_set(err, GDN_ERR_FORMAT, "no type is named \"%s\"", dtype);
        goto cleanup;
    }
    status = integers_from_json(shape, "shape", tensor.shape, &tensor.rank, err);
    if (status == GDN_OK) {
        status = integers_from_json(stride, "stride", tensor.stride, &n_strides, err);
    }
    if (status == GDN_OK && n_strides != tensor.rank) {
        status = gdn_error_set(err, GDN_ERR_FORMAT, "expected %d strides but found %d",
                               tensor.rank, n_strides);
    }
    if (status == GDN_OK) {
        status = check_inside(&tensor, offset, storage->call.arena_bytes, err);
    }

cleanup:
    if (status != GDN_OK) {
        gdn_error_context(err, "\"%s\"", argument->name);
        return status;
    }
    if (storage->call.arena) {
        tensor.data = (char *)storage->call.arena + offset;
    }
    storage->tensors[storage->call.n_tensors++] = tensor;
    return GDN_OK;
}

static gdn_status tensors_from_json(gdn_call_storage *storage, const json_t *array,
                                    gdn_error *err) {
    const gdn_op_info *op = gdn_op_get(storage->call.op);
    const size_t size = json_array_size(array);
    if (!json_is_array(array) || size > op->n_arguments) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "tensors: expected an array of at most %zu, the arguments of "
                             "%s",
                             op->n_arguments, op->name);
    }
    storage->tensors = calloc(op->n_arguments, sizeof *storage->tensors);
    if (!storage->tensors) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu tensors", size);
    }
    storage->call.tensors = storage->tensors;
    for (size_t i = 0; i < size; i++) {
        const gdn_status status = tensor_from_json(storage, json_array_get(array, i), err);
        if (status != GDN_OK) {
            gdn_error_context(err, "tensors[%zu]", i);
            return status;
        }
    }
    for (size_t i = 0; i < op->n_arguments; i++) {
        if (!op->arguments[i].optional &&
            !gdn_call_tensor(&storage->call, op->arguments[i].name)) {
            return gdn_error_set(err, GDN_ERR_FORMAT,
                                 "tensors: %s needs \"%s\", which is absent", op->name,
                                 op->arguments[i].name);
        }
    }
    return GDN_OK;
}

static gdn_status scalars_from_json(gdn_call_storage *storage, json_t *object,
                                    gdn_error *err) {
    const gdn_op_info *op = gdn_op_get(storage->call.op);
    if (!json_is_object(object)) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "scalars: expected an object");
    }
    storage->scalars = calloc(json_object_size(object) + 1, sizeof *storage->scalars);
    if (!storage->scalars) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for scalars");
    }
    storage->call.scalars = storage->scalars;
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach(object, name, value) {
        size_t i = 0;
        while (op->scalars[i] && strcmp(op->scalars[i], name) != 0) {
            i++;
        }
        if (!op->scalars[i]) {
            return gdn_error_set(err, GDN_ERR_FORMAT, "scalars: %s has none named \"%s\"",
                                 op->name, name);
        }
        if (!json_is_integer(value)) {
            return gdn_error_set(err, GDN_ERR_FORMAT, "scalars: %s: expected an integer",
                                 name);
        }
        storage->scalars[storage->call.n_scalars++] =
            (gdn_scalar){.name = op->scalars[i], .value = json_integer_value(value)};
    }
    return GDN_OK;
}

static gdn_status all_members(const json_t *json, const gdn_convention_field *fields,
                              size_t count, gdn_error *err) {
    for (size_t i = 0; i < count; i++) {
        if (!json_object_get(json, short_name(&fields[i]))) {
            return gdn_error_set(err, GDN_ERR_FORMAT, "conventions: \"%s\" is absent",
                                 fields[i].name);
        }
    }
    return GDN_OK;
}

/* A field that is absent would be guessed from a default: every one must be there. */
static gdn_status all_conventions(gdn_conventions *conventions, const json_t *json,
                                  gdn_error *err) {
    *conventions = gdn_conventions_default();
    const gdn_status status = gdn_conventions_from_json(conventions, json, false, err);
    if (status != GDN_OK) {
        gdn_error_context(err, "conventions");
        return status;
    }
    size_t count = 0;
    const gdn_convention_field *fields = gdn_convention_fields(&count);
    GDN_TRY(all_members(json, fields, count, err));
    fields = gdn_verify_fields(&count);
    GDN_TRY(all_members(json_object_get(json, GDN_VERIFY_OBJECT), fields, count, err));
    return GDN_OK;
}

gdn_status gdn_call_from_json(gdn_call_storage *storage, const json_t *json, void *arena,
                              size_t arena_bytes, gdn_error *err) {
    const char *op = NULL;
    json_t *conventions = NULL;
    json_t *scalars = NULL;
    json_t *tensors = NULL;
    json_error_t bad;

    *storage = (gdn_call_storage){.call = {.struct_size = sizeof storage->call,
                                           .conventions = &storage->conventions,
                                           .arena = arena,
                                           .arena_bytes = arena_bytes}};
    if (json_unpack_ex((json_t *)json, &bad, JSON_STRICT, "{s:s, s:o, s:o, s:o}", "op", &op,
                       "conventions", &conventions, "scalars", &scalars, "tensors",
                       &tensors) != 0) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "call: %s", bad.text);
    }
    if (!gdn_op_from_name(op, &storage->call.op)) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "call: no op is named \"%s\"", op);
    }
    gdn_status status = all_conventions(&storage->conventions, conventions, err);
    if (status == GDN_OK) {
        status = scalars_from_json(storage, scalars, err);
    }
    if (status == GDN_OK) {
        status = tensors_from_json(storage, tensors, err);
    }
    if (status != GDN_OK) {
        gdn_error_context(err, "call");
        gdn_call_storage_destroy(storage);
    }
    return status;
}

void gdn_call_storage_destroy(gdn_call_storage *storage) {
    free(storage->tensors);
    free(storage->scalars);
    *storage = (gdn_call_storage){0};
}
