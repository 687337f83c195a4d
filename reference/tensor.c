/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Views and type names: everything about tensors that does no arithmetic on values, so that
 * adapters can link it without touching the reference's numerics. */
#include "gdn/tensor.h"

#include <assert.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
    bool is_float;
} DTYPES[GDN_DTYPE_COUNT] = {
    [GDN_FP64] = {"fp64", 8, true},  [GDN_FP32] = {"fp32", 4, true},
    [GDN_FP16] = {"fp16", 2, true},  [GDN_BF16] = {"bf16", 2, true},
    [GDN_I64] = {"i64", 8, false},   [GDN_I32] = {"i32", 4, false},
    [GDN_BOOL] = {"bool", 1, false},
};

size_t gdn_dtype_size(gdn_dtype dtype) {
    return DTYPES[dtype].size;
}

const char *gdn_dtype_name(gdn_dtype dtype) {
    return DTYPES[dtype].name;
}

bool gdn_dtype_is_float(gdn_dtype dtype) {
    return DTYPES[dtype].is_float;
}

bool gdn_dtype_from_name(const char *name, gdn_dtype *dtype) {
    for (int i = 0; i < GDN_DTYPE_COUNT; i++) {
        if (strcmp(name, DTYPES[i].name) == 0) {
            *dtype = (gdn_dtype)i;
            return true;
        }
    }
    return false;
}

gdn_tensor gdn_tensor_dense(const char *name, void *data, gdn_dtype dtype, int rank,
                            const int64_t *shape) {
    assert(rank >= 0 && rank <= GDN_MAX_RANK);
    gdn_tensor tensor = {.name = name, .data = data, .dtype = dtype, .rank = rank};
    int64_t stride = 1;
    for (int d = rank - 1; d >= 0; d--) {
        tensor.shape[d] = shape[d];
        tensor.stride[d] = stride;
        stride *= shape[d];
    }
    return tensor;
}

int64_t gdn_tensor_count(const gdn_tensor *tensor) {
    int64_t count = 1;
    for (int d = 0; d < tensor->rank; d++) {
        count *= tensor->shape[d];
    }
    return count;
}

int64_t gdn_tensor_row_count(const gdn_tensor *tensor) {
    int64_t count = 1;
    for (int d = 1; d < tensor->rank; d++) {
        count *= tensor->shape[d];
    }
    return count;
}

int64_t gdn_tensor_extent(const gdn_tensor *tensor) {
    int64_t last = 0;
    for (int d = 0; d < tensor->rank; d++) {
        if (tensor->shape[d] == 0) {
            return 0;
        }
        last += (tensor->shape[d] - 1) * tensor->stride[d];
    }
    return last + 1;
}

bool gdn_tensor_is_dense_from(const gdn_tensor *tensor, int from) {
    int64_t stride = 1;
    for (int d = tensor->rank - 1; d >= from; d--) {
        if (tensor->shape[d] != 1 && tensor->stride[d] != stride) {
            return false;
        }
        stride *= tensor->shape[d];
    }
    return true;
}

int64_t gdn_tensor_offset(const gdn_tensor *tensor, const int64_t *index) {
    int64_t offset = 0;
    for (int d = 0; d < tensor->rank; d++) {
        offset += index[d] * tensor->stride[d];
    }
    return offset;
}

int64_t gdn_tensor_flat_offset(const gdn_tensor *tensor, int64_t flat) {
    int64_t offset = 0;
    for (int d = tensor->rank - 1; d >= 0; d--) {
        offset += flat % tensor->shape[d] * tensor->stride[d];
        flat /= tensor->shape[d];
    }
    return offset;
}

int64_t gdn_tensor_int(const gdn_tensor *tensor, int64_t i, int64_t j) {
    const int64_t offset =
        i * tensor->stride[0] + (tensor->rank > 1 ? j * tensor->stride[1] : 0);
    switch (tensor->dtype) {
    case GDN_I64:
        return ((const int64_t *)tensor->data)[offset];
    case GDN_I32:
        return ((const int32_t *)tensor->data)[offset];
    default:
        assert(tensor->dtype == GDN_BOOL);
        return ((const uint8_t *)tensor->data)[offset];
    }
}

gdn_status gdn_tensor_expect(const gdn_tensor *tensor, int rank, const int64_t *shape,
                             gdn_error *err) {
    if (tensor->rank != rank) {
        return gdn_error_set(err, GDN_ERR_ARG, "%s: expected rank %d but found %d",
                             tensor->name, rank, tensor->rank);
    }
    for (int d = 0; d < rank; d++) {
        if (shape[d] >= 0 && tensor->shape[d] != shape[d]) {
            return gdn_error_set(
                err, GDN_ERR_ARG, "%s: expected size %lld in dimension %d but found %lld",
                tensor->name, (long long)shape[d], d, (long long)tensor->shape[d]);
        }
    }
    return GDN_OK;
}
