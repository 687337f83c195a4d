/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Datasets: our storage types as HDF5 types, and the one form of storage that vector files
 * use. Types in memory are the types in the file, so that no conversion ever touches a
 * NaN's payload. */
#include "hdf5_io.h"

/* A two-byte float with the sign in bit 15. The fields are set while the type is still 32
 * bits wide: HDF5 refuses a size that cuts a field off. */
static hid_t half_type(size_t exponent_bits, size_t mantissa_bits, size_t bias) {
    const hid_t type = H5Tcopy(H5T_IEEE_F32LE);
    if (type >= 0 &&
        (H5Tset_fields(type, 15, mantissa_bits, exponent_bits, 0, mantissa_bits) < 0 ||
         H5Tset_size(type, 2) < 0 || H5Tset_ebias(type, bias) < 0)) {
        H5Tclose(type);
        return H5I_INVALID_HID;
    }
    return type;
}

/* As h5py stores numpy.bool_. */
static hid_t bool_type(void) {
    const int8_t no = 0, yes = 1;
    const hid_t type = H5Tenum_create(H5T_STD_I8LE);
    if (type >= 0 && (H5Tenum_insert(type, "FALSE", &no) < 0 ||
                      H5Tenum_insert(type, "TRUE", &yes) < 0)) {
        H5Tclose(type);
        return H5I_INVALID_HID;
    }
    return type;
}

/* New type, negative on failure. */
static hid_t file_type(gdn_dtype dtype) {
    switch (dtype) {
    case GDN_FP64:
        return H5Tcopy(H5T_IEEE_F64LE);
    case GDN_FP32:
        return H5Tcopy(H5T_IEEE_F32LE);
    case GDN_FP16:
        return half_type(5, 10, 15);
    case GDN_BF16:
        return half_type(8, 7, 127);
    case GDN_I64:
        return H5Tcopy(H5T_STD_I64LE);
    case GDN_I32:
        return H5Tcopy(H5T_STD_I32LE);
    case GDN_BOOL:
        return bool_type();
    case GDN_DTYPE_COUNT:
        break;
    }
    return H5I_INVALID_HID;
}

static bool dtype_from_file(hid_t type, gdn_dtype *dtype) {
    for (int i = 0; i < GDN_DTYPE_COUNT; i++) {
        const hid_t candidate = file_type((gdn_dtype)i);
        const bool equal = candidate >= 0 && H5Tequal(candidate, type) > 0;
        if (candidate >= 0) {
            H5Tclose(candidate);
        }
        if (equal) {
            *dtype = (gdn_dtype)i;
            return true;
        }
    }
    return false;
}

static gdn_status create_dataset(hid_t group, const gdn_tensor *tensor, hid_t type,
                                 hid_t *dataset, gdn_error *err) {
    gdn_status status = GDN_OK;
    hsize_t shape[GDN_MAX_RANK];
    for (int d = 0; d < tensor->rank; d++) {
        shape[d] = (hsize_t)tensor->shape[d];
    }
    *dataset = H5I_INVALID_HID;
    const hid_t space = H5Screate_simple(tensor->rank, shape, NULL);
    const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    if (space >= 0 && creation >= 0 && H5Pset_obj_track_times(creation, 0) >= 0 &&
        H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY) >= 0 &&
        H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER) >= 0) {
        *dataset = H5Dcreate2(group, tensor->name, type, space, H5P_DEFAULT, creation,
                              H5P_DEFAULT);
    }
    if (*dataset < 0) {
        status = gdnp_h5_fail(err, GDN_ERR_IO, "cannot create dataset %s", tensor->name);
    }
    if (creation >= 0) {
        H5Pclose(creation);
    }
    if (space >= 0) {
        H5Sclose(space);
    }
    return status;
}

gdn_status gdnp_h5_write_dataset(hid_t group, const gdn_tensor *tensor, const char *digest,
                                 gdn_error *err) {
    hid_t dataset = H5I_INVALID_HID;
    const hid_t type = file_type(tensor->dtype);
    if (type < 0) {
        return gdnp_h5_fail(err, GDN_ERR_OOM, "type %s", gdn_dtype_name(tensor->dtype));
    }
    gdn_status status = create_dataset(group, tensor, type, &dataset, err);
    if (status != GDN_OK) {
        goto cleanup;
    }
    if (gdn_tensor_count(tensor) > 0 &&
        H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, tensor->data) < 0) {
        status = gdnp_h5_fail(err, GDN_ERR_IO, "cannot write dataset %s", tensor->name);
        goto cleanup;
    }
    status = gdnp_h5_write_text(dataset, "sha256", digest, err);

cleanup:
    /* Small datasets reach the file only here. */
    if (dataset >= 0 && H5Dclose(dataset) < 0 && status == GDN_OK) {
        status = gdnp_h5_fail(err, GDN_ERR_IO, "cannot write dataset %s", tensor->name);
    }
    H5Tclose(type);
    return status;
}

/* Filters and storage in other files are refused before anything is read: they would run
 * code and open paths that the file chooses. */
static bool stored_plainly(hid_t dataset) {
    const hid_t creation = H5Dget_create_plist(dataset);
    const bool plain = creation >= 0 && H5Pget_layout(creation) == H5D_CONTIGUOUS &&
                       H5Pget_external_count(creation) == 0;
    if (creation >= 0) {
        H5Pclose(creation);
    }
    return plain;
}

/* Fills shape and bytes; false if the space is not a simple one of our ranks or its size
 * overflows. */
static bool measure(gdnp_h5_dataset *dataset) {
    hsize_t shape[GDN_MAX_RANK];
    const hid_t space = H5Dget_space(dataset->id);
    const int rank = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);
    const bool good = rank >= 0 && rank <= GDN_MAX_RANK &&
                      H5Sget_simple_extent_type(space) != H5S_NULL &&
                      H5Sget_simple_extent_dims(space, shape, NULL) == rank;
    if (space >= 0) {
        H5Sclose(space);
    }
    if (!good) {
        return false;
    }
    int64_t bytes = (int64_t)gdn_dtype_size(dataset->dtype);
    dataset->rank = rank;
    for (int d = 0; d < rank; d++) {
        dataset->shape[d] = (int64_t)shape[d];
        if (dataset->shape[d] < 0 ||
            __builtin_mul_overflow(bytes, dataset->shape[d], &bytes)) {
            return false;
        }
    }
    dataset->bytes = (size_t)bytes;
    return true;
}

gdn_status gdnp_h5_dataset_open(gdnp_h5_dataset *dataset, hid_t group, const char *name,
                                gdn_error *err) {
    H5L_info_t link;
    if (H5Lexists(group, name, H5P_DEFAULT) <= 0) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "the dataset is missing");
    }
    if (H5Lget_info(group, name, &link, H5P_DEFAULT) < 0 || link.type != H5L_TYPE_HARD) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "a link stands where a dataset should");
    }
    const hid_t id = H5Dopen2(group, name, H5P_DEFAULT);
    if (id < 0) {
        return gdnp_h5_fail(err, GDN_ERR_FORMAT, "cannot open the dataset");
    }
    gdn_status status = GDN_OK;
    *dataset = (gdnp_h5_dataset){.id = id};
    const hid_t type = H5Dget_type(id);
    if (type < 0 || !dtype_from_file(type, &dataset->dtype)) {
        status = gdn_error_set(err, GDN_ERR_FORMAT,
                               "the dataset has a type that gdn-conform does not write");
    } else if (!measure(dataset)) {
        status = gdn_error_set(err, GDN_ERR_FORMAT,
                               "the dataset has a shape that gdn-conform does not write");
    } else if (!stored_plainly(id) || H5Dget_storage_size(id) != dataset->bytes) {
        status = gdn_error_set(err, GDN_ERR_FORMAT,
                               "the dataset is not stored in one piece, as gdn-conform "
                               "stores it (was the file repacked?)");
    }
    if (type >= 0) {
        H5Tclose(type);
    }
    if (status != GDN_OK) {
        H5Dclose(id);
        dataset->id = H5I_INVALID_HID;
    }
    return status;
}

gdn_status gdnp_h5_dataset_read(const gdnp_h5_dataset *dataset, void *out, gdn_error *err) {
    if (dataset->bytes == 0) {
        return GDN_OK;
    }
    gdn_status status = GDN_OK;
    const hid_t type = file_type(dataset->dtype);
    if (type < 0 || H5Dread(dataset->id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) < 0) {
        status = gdnp_h5_fail(err, GDN_ERR_FORMAT, "cannot read the dataset");
    }
    if (type >= 0) {
        H5Tclose(type);
    }
    return status;
}
