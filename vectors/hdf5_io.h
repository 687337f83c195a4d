/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The few things that vector files need from HDF5, in our types and with our errors.
 * Private to vectors/. The HDF5 library is not thread-safe as distributions build it:
 * callers use it from one thread at a time. */
#ifndef GDN_HDF5_IO_H
#define GDN_HDF5_IO_H

/* 1.12 changed the meaning of several unversioned names; this keeps one set of them. */
#ifndef H5_USE_110_API
#define H5_USE_110_API
#endif
#include <hdf5.h>

#include "gdn/tensor.h"

/// Prepares the library for a program that must not print or crash; before anything else.
void gdnp_h5_start(void);

/// Sets an error from a format and what HDF5 says about its last failure. To be called
/// before any other HDF5 function, for each of them forgets the previous one's failure.
gdn_status gdnp_h5_fail(gdn_error *err, gdn_status status, const char *fmt, ...)
    GDN_PRINTF(3, 4);

/// Truncates `path`, which exists. If GDN_OK is returned the caller closes the file.
GDN_NODISCARD gdn_status gdnp_h5_file_create(const char *path, hid_t *file, gdn_error *err);

/// Opens for reading. If GDN_OK is returned the caller closes the file.
GDN_NODISCARD gdn_status gdnp_h5_file_open(const char *path, hid_t *file, gdn_error *err);

/// Opens the group at `path` (components joined by '/') below `parent`, or creates it with
/// all that is missing on the way. Only hard links are followed: a link to another file
/// would be read without having been checked. If GDN_OK is returned the caller closes it.
GDN_NODISCARD gdn_status gdnp_h5_group(hid_t parent, const char *path, bool create,
                                       hid_t *group, gdn_error *err);

GDN_NODISCARD gdn_status gdnp_h5_write_text(hid_t object, const char *name,
                                            const char *text, gdn_error *err);
GDN_NODISCARD gdn_status gdnp_h5_write_int(hid_t object, const char *name, int value,
                                           gdn_error *err);
GDN_NODISCARD gdn_status gdnp_h5_write_real(hid_t object, const char *name, double value,
                                            gdn_error *err);

/// If GDN_OK is returned the caller frees `*text`.
GDN_NODISCARD gdn_status gdnp_h5_read_text(hid_t object, const char *name, char **text,
                                           gdn_error *err);
GDN_NODISCARD gdn_status gdnp_h5_read_int(hid_t object, const char *name, int *value,
                                          gdn_error *err);
GDN_NODISCARD gdn_status gdnp_h5_read_real(hid_t object, const char *name, double *value,
                                           gdn_error *err);

/// Writes a dense tensor as the dataset tensor->name of `group`, with its digest.
GDN_NODISCARD gdn_status gdnp_h5_write_dataset(hid_t group, const gdn_tensor *tensor,
                                               const char *digest, gdn_error *err);

/// A dataset opened for reading whose size the file is known to have.
typedef struct gdnp_h5_dataset {
    hid_t id;
    gdn_dtype dtype;
    int rank;
    int64_t shape[GDN_MAX_RANK];
    size_t bytes;
} gdnp_h5_dataset;

/// Refuses whatever gdnp_h5_write_dataset() does not write: foreign types, filters, storage
/// in other files. If GDN_OK is returned the caller closes `dataset->id`.
GDN_NODISCARD gdn_status gdnp_h5_dataset_open(gdnp_h5_dataset *dataset, hid_t group,
                                              const char *name, gdn_error *err);

/// Reads `dataset->bytes` bytes.
GDN_NODISCARD gdn_status gdnp_h5_dataset_read(const gdnp_h5_dataset *dataset, void *out,
                                              gdn_error *err);

/// Copies a strided tensor to dense C order, and back.
void gdnp_gather(const gdn_tensor *tensor, void *out);
void gdnp_scatter(const gdn_tensor *tensor, const void *in);

#endif
