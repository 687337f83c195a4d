/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Whether a vector file and its manifest are what they claim to be. Private to vectors/. */
#ifndef GDN_VECTOR_VERIFY_H
#define GDN_VECTOR_VERIFY_H

#include "hdf5_io.h"
#include "manifest.h"

/// Opens an HDF5 file that says it is a vector file of a schema that this build reads. If
/// GDN_OK is returned the caller closes it.
GDN_NODISCARD gdn_status gdnp_vector_open(const char *path, hid_t *file, gdn_error *err);

/// Reads the whole dataset "kind/tensor" of a case group and verifies its digest against
/// its attribute and against `digest`, the manifest's. If GDN_OK is returned the caller
/// frees `*bytes` and closes `dataset->id`.
GDN_NODISCARD gdn_status gdnp_vector_read(hid_t group, const char *name, const char *digest,
                                          gdnp_h5_dataset *dataset, void **bytes,
                                          gdn_error *err);

/// The same for dataset "kind/tensor" of a stored case of an open reader, with nothing left
/// to close. If GDN_OK is returned the caller frees `*bytes`.
GDN_NODISCARD gdn_status gdnp_vector_reader_dataset(const gdn_vector_reader *reader,
                                                    const char *id, const char *name,
                                                    gdnp_h5_dataset *form, void **bytes,
                                                    gdn_error *err);

/// Verifies everything, in this process.
GDN_NODISCARD gdn_status gdnp_vector_verify(const char *path, const char *manifest_path,
                                            const char *suite, gdn_error *err);

#endif
