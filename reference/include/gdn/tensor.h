/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A strided view of memory that somebody else owns. */
#ifndef GDN_TENSOR_H
#define GDN_TENSOR_H

#include "gdn/dtype.h"
#include "gdn/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GDN_MAX_RANK 5

/// Shape and strides are in elements; dimension 0 is the slowest by convention (rows,
/// slots). `name` and `data` are borrowed. `data` may be NULL where only the shape matters.
typedef struct gdn_tensor {
    const char *name;
    void *data;
    gdn_dtype dtype;
    int rank;
    int64_t shape[GDN_MAX_RANK];
    int64_t stride[GDN_MAX_RANK];
} gdn_tensor;

/// A dense (C order) view of `data`.
gdn_tensor gdn_tensor_dense(const char *name, void *data, gdn_dtype dtype, int rank,
                            const int64_t *shape);

/// Elements of the whole tensor; 1 for rank 0.
int64_t gdn_tensor_count(const gdn_tensor *tensor);

/// Elements below one index of dimension 0.
int64_t gdn_tensor_row_count(const gdn_tensor *tensor);

/// Elements from the first to one past the last that the view reaches; 0 if it is empty.
int64_t gdn_tensor_extent(const gdn_tensor *tensor);

/// True if dimensions `from`.. are in C order without gaps.
bool gdn_tensor_is_dense_from(const gdn_tensor *tensor, int from);

/// Offset in elements of an index tuple of `tensor->rank` entries.
int64_t gdn_tensor_offset(const gdn_tensor *tensor, const int64_t *index);

/// Offset of the `flat`-th element in C order.
int64_t gdn_tensor_flat_offset(const gdn_tensor *tensor, int64_t flat);

/// Integer element of a rank-1 or rank-2 index tensor (j is ignored for rank 1).
int64_t gdn_tensor_int(const gdn_tensor *tensor, int64_t i, int64_t j);

/// Checks rank and shape (an entry of -1 accepts any size) and says which differs.
GDN_NODISCARD gdn_status gdn_tensor_expect(const gdn_tensor *tensor, int rank,
                                           const int64_t *shape, gdn_error *err);

#ifdef __cplusplus
}
#endif

#endif
