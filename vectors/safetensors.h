/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Safetensors: eight bytes with the length of a JSON header, the header, then the bytes of
 * all tensors without gaps (format: https://github.com/huggingface/safetensors). Files come
 * from anywhere, so nothing in a header is believed: what lies about sizes, overlaps,
 * leaves holes, repeats a name or nests where nothing nests is refused. */
#ifndef GDN_SAFETENSORS_H
#define GDN_SAFETENSORS_H

#include <jansson.h>

#include "gdn/tensor.h"

/// As the format's own reader has it.
#define GDN_SAFETENSORS_HEADER_MAX (INT64_C(100) << 20)

typedef struct gdn_safetensors {
    gdn_tensor *tensors; ///< dense; names and data as said below. Bytes may be unaligned
    size_t n_tensors;
    json_t *metadata; ///< object of texts, empty if the file has none
    json_t *header;   ///< owns the names
    void *map;        ///< the mapped file; NULL after gdn_safetensors_parse()
    size_t map_bytes;
} gdn_safetensors;

/// Reads a file in memory; tensors point into it. GDN_ERR_FORMAT names the tensor and what
/// is wrong. If GDN_OK is returned the caller destroys `file`, and keeps `bytes` until
/// then.
GDN_NODISCARD gdn_status gdn_safetensors_parse(gdn_safetensors *file, const void *bytes,
                                               size_t size, gdn_error *err);

/// Maps a file and reads it; nothing is copied. If GDN_OK is returned the caller destroys
/// it.
GDN_NODISCARD gdn_status gdn_safetensors_open(gdn_safetensors *file, const char *path,
                                              gdn_error *err);

/// Accepts a zeroed file.
void gdn_safetensors_destroy(gdn_safetensors *file);

/// Writes tensors (strides are followed) and an object of texts, to a temporary name that
/// is then renamed.
GDN_NODISCARD gdn_status gdn_safetensors_write(const char *path, const gdn_tensor *tensors,
                                               size_t count, const json_t *metadata,
                                               gdn_error *err);

#endif
