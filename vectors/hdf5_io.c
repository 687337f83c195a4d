/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "hdf5_io.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Digests are over little-endian bytes and every buffer here is in the host's order. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "vector files are written from little-endian memory");

/* A file that the library could not write (disk full) it cannot close either, and its exit
 * handler, which tries again, crashes over it. We close what we open and need none. */
void gdnp_h5_start(void) {
    H5dont_atexit();
    H5open();
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

/* The stack is walked from where the failure began; what stands above only repeats that
 * something below failed. */
static herr_t keep_first_description(unsigned n, const H5E_error2_t *entry, void *data) {
    const char **description = data;
    (void)n;
    if (!*description && entry->desc && entry->desc[0] != '\0') {
        *description = entry->desc;
    }
    return 0;
}

/* Where the operating system refused something its words are quoted in the middle of
 * addresses and a date: they are all that is kept. */
static void copy_reason(char *reason, size_t size, const char *description) {
    static const char QUOTE[] = "error message = '";
    const char *quoted = strstr(description, QUOTE);
    if (quoted) {
        description = quoted + sizeof QUOTE - 1;
    }
    const size_t length = strcspn(description, quoted ? "'\n" : "\n");
    snprintf(reason, size, "%.*s", (int)(length < size ? length : size), description);
}

gdn_status gdnp_h5_fail(gdn_error *err, gdn_status status, const char *fmt, ...) {
    const char *description = NULL;
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_first_description, &description);
    char what[512], reason[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    copy_reason(reason, sizeof reason, description ? description : "HDF5 gives no reason");
    return gdn_error_set(err, status, "%s: %s", what, reason);
}

/* Files appear under their final name complete or not at all, so locks protect nothing;
 * and they fail on read-only and on some network file systems. The format is pinned, not
 * the library's latest: a newer library writes files that all can read. */
static hid_t access_list(void) {
    const hid_t list = H5Pcreate(H5P_FILE_ACCESS);
    if (list >= 0 && (H5Pset_file_locking(list, 0, 1) < 0 ||
                      H5Pset_fclose_degree(list, H5F_CLOSE_STRONG) < 0 ||
                      H5Pset_libver_bounds(list, H5F_LIBVER_V110, H5F_LIBVER_V110) < 0)) {
        H5Pclose(list);
        return H5I_INVALID_HID;
    }
    return list;
}

gdn_status gdnp_h5_file_create(const char *path, hid_t *file, gdn_error *err) {
    gdn_status status = GDN_OK;
    *file = H5I_INVALID_HID;
    const hid_t creation = H5Pcreate(H5P_FILE_CREATE);
    const hid_t access = access_list();
    if (creation >= 0 && access >= 0 && H5Pset_obj_track_times(creation, 0) >= 0) {
        *file = H5Fcreate(path, H5F_ACC_TRUNC, creation, access);
    }
    if (*file < 0) {
        status = gdnp_h5_fail(err, GDN_ERR_IO, "cannot create %s", path);
    }
    if (creation >= 0) {
        H5Pclose(creation);
    }
    if (access >= 0) {
        H5Pclose(access);
    }
    return status;
}

gdn_status gdnp_h5_file_open(const char *path, hid_t *file, gdn_error *err) {
    gdn_status status = GDN_OK;
    const hid_t access = access_list();
    *file = access >= 0 ? H5Fopen(path, H5F_ACC_RDONLY, access) : access;
    if (*file < 0) {
        status = gdnp_h5_fail(err, GDN_ERR_FORMAT, "cannot open %s", path);
    }
    if (access >= 0) {
        H5Pclose(access);
    }
    return status;
}

/* ---- groups ---- */

static gdn_status create_group(hid_t parent, const char *name, hid_t *group,
                               gdn_error *err) {
    gdn_status status = GDN_OK;
    *group = H5I_INVALID_HID;
    const hid_t creation = H5Pcreate(H5P_GROUP_CREATE);
    if (creation >= 0 && H5Pset_obj_track_times(creation, 0) >= 0) {
        *group = H5Gcreate2(parent, name, H5P_DEFAULT, creation, H5P_DEFAULT);
    }
    if (*group < 0) {
        status = gdnp_h5_fail(err, GDN_ERR_IO, "cannot create group %s", name);
    }
    if (creation >= 0) {
        H5Pclose(creation);
    }
    return status;
}

static gdn_status open_one_group(hid_t parent, const char *name, bool create, hid_t *group,
                                 gdn_error *err) {
    const htri_t exists = H5Lexists(parent, name, H5P_DEFAULT);
    if (exists < 0) {
        return gdnp_h5_fail(err, GDN_ERR_FORMAT, "group %s", name);
    }
    if (!exists && create) {
        return create_group(parent, name, group, err);
    }
    H5L_info_t link;
    if (!exists) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "group %s is missing", name);
    }
    if (H5Lget_info(parent, name, &link, H5P_DEFAULT) < 0 || link.type != H5L_TYPE_HARD) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "%s is a link, not a group", name);
    }
    *group = H5Gopen2(parent, name, H5P_DEFAULT);
    return *group < 0 ? gdnp_h5_fail(err, GDN_ERR_FORMAT, "group %s", name) : GDN_OK;
}

gdn_status gdnp_h5_group(hid_t parent, const char *path, bool create, hid_t *group,
                         gdn_error *err) {
    hid_t at = parent;
    for (const char *rest = path; *rest;) {
        const size_t length = strcspn(rest, "/");
        char name[256];
        if (length == 0 || length >= sizeof name) {
            if (at != parent) {
                H5Gclose(at);
            }
            return gdn_error_set(err, GDN_ERR_ARG,
                                 "expected a name of 1 to %zu characters in \"%s\" but "
                                 "found %zu",
                                 sizeof name - 1, path, length);
        }
        memcpy(name, rest, length);
        name[length] = '\0';
        hid_t next = H5I_INVALID_HID;
        const gdn_status status = open_one_group(at, name, create, &next, err);
        if (at != parent) {
            H5Gclose(at);
        }
        if (status != GDN_OK) {
            return status;
        }
        at = next;
        rest += length;
        rest += *rest == '/';
    }
    *group = at;
    return GDN_OK;
}

/* ---- attributes ---- */

static hid_t text_type(void) {
    const hid_t type = H5Tcopy(H5T_C_S1);
    if (type >= 0 &&
        (H5Tset_size(type, H5T_VARIABLE) < 0 || H5Tset_cset(type, H5T_CSET_UTF8) < 0)) {
        H5Tclose(type);
        return H5I_INVALID_HID;
    }
    return type;
}

static gdn_status write_attribute(hid_t object, const char *name, hid_t type,
                                  const void *value, gdn_error *err) {
    gdn_status status = GDN_OK;
    hid_t attribute = H5I_INVALID_HID;
    const hid_t space = H5Screate(H5S_SCALAR);
    if (space >= 0 && type >= 0) {
        attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    }
    if (attribute < 0 || H5Awrite(attribute, type, value) < 0) {
        status = gdnp_h5_fail(err, GDN_ERR_IO, "cannot write attribute %s", name);
    }
    if (attribute >= 0) {
        H5Aclose(attribute);
    }
    if (space >= 0) {
        H5Sclose(space);
    }
    return status;
}

gdn_status gdnp_h5_write_text(hid_t object, const char *name, const char *text,
                              gdn_error *err) {
    const hid_t type = text_type();
    const gdn_status status = write_attribute(object, name, type, &text, err);
    if (type >= 0) {
        H5Tclose(type);
    }
    return status;
}

gdn_status gdnp_h5_write_int(hid_t object, const char *name, int value, gdn_error *err) {
    return write_attribute(object, name, H5T_STD_I32LE, &value, err);
}

gdn_status gdnp_h5_write_real(hid_t object, const char *name, double value,
                              gdn_error *err) {
    return write_attribute(object, name, H5T_IEEE_F64LE, &value, err);
}

/* Whether a type is what the writers above use for its class, and how that reads. */
static bool is_ours(hid_t type, H5T_class_t class, const char **text) {
    switch (class) {
    case H5T_STRING:
        *text = "string of variable length";
        return H5Tis_variable_str(type) > 0;
    case H5T_FLOAT:
        *text = "float of 64 bits";
        return H5Tequal(type, H5T_IEEE_F64LE) > 0;
    default:
        *text = "integer of 32 bits";
        return H5Tget_size(type) <= 4;
    }
}

/* Opens an attribute that holds one value of class `class`. */
static gdn_status open_attribute(hid_t object, const char *name, H5T_class_t class,
                                 hid_t *attribute, gdn_error *err) {
    const htri_t exists = H5Aexists(object, name);
    if (exists < 0) {
        return gdnp_h5_fail(err, GDN_ERR_FORMAT, "attribute %s", name);
    }
    if (!exists) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "attribute %s is missing", name);
    }
    *attribute = H5Aopen(object, name, H5P_DEFAULT);
    if (*attribute < 0) {
        return gdnp_h5_fail(err, GDN_ERR_FORMAT, "attribute %s", name);
    }
    const hid_t space = H5Aget_space(*attribute);
    const hid_t type = H5Aget_type(*attribute);
    const char *expected = "value";
    const bool ours = type >= 0 && is_ours(type, class, &expected);
    const bool good = ours && space >= 0 && H5Tget_class(type) == class &&
                      H5Sget_simple_extent_type(space) == H5S_SCALAR;
    if (type >= 0) {
        H5Tclose(type);
    }
    if (space >= 0) {
        H5Sclose(space);
    }
    if (!good) {
        H5Aclose(*attribute);
        *attribute = H5I_INVALID_HID;
        return gdn_error_set(err, GDN_ERR_FORMAT, "attribute %s: expected one %s", name,
                             expected);
    }
    return GDN_OK;
}

gdn_status gdnp_h5_read_text(hid_t object, const char *name, char **text, gdn_error *err) {
    hid_t attribute = H5I_INVALID_HID;
    GDN_TRY(open_attribute(object, name, H5T_STRING, &attribute, err));
    gdn_status status = GDN_OK;
    char *stored = NULL;
    /* The attribute's own type: HDF5 converts no character sets and would refuse ours. */
    const hid_t type = H5Aget_type(attribute);
    if (type < 0 || H5Aread(attribute, type, &stored) < 0) {
        status = gdnp_h5_fail(err, GDN_ERR_FORMAT, "attribute %s", name);
    } else if (!(*text = strdup(stored ? stored : ""))) {
        status = gdn_error_set(err, GDN_ERR_OOM, "attribute %s: out of memory", name);
    }
    if (stored) {
        H5free_memory(stored);
    }
    if (type >= 0) {
        H5Tclose(type);
    }
    H5Aclose(attribute);
    return status;
}

gdn_status gdnp_h5_read_int(hid_t object, const char *name, int *value, gdn_error *err) {
    hid_t attribute = H5I_INVALID_HID;
    GDN_TRY(open_attribute(object, name, H5T_INTEGER, &attribute, err));
    gdn_status status = GDN_OK;
    if (H5Aread(attribute, H5T_NATIVE_INT, value) < 0) {
        status = gdnp_h5_fail(err, GDN_ERR_FORMAT, "attribute %s", name);
    }
    H5Aclose(attribute);
    return status;
}

gdn_status gdnp_h5_read_real(hid_t object, const char *name, double *value,
                             gdn_error *err) {
    hid_t attribute = H5I_INVALID_HID;
    GDN_TRY(open_attribute(object, name, H5T_FLOAT, &attribute, err));
    gdn_status status = GDN_OK;
    if (H5Aread(attribute, H5T_NATIVE_DOUBLE, value) < 0) {
        status = gdnp_h5_fail(err, GDN_ERR_FORMAT, "attribute %s", name);
    }
    H5Aclose(attribute);
    return status;
}

/* ---- strides ---- */

/* Elements that lie side by side at the end of the shape. */
static int64_t dense_run(const gdn_tensor *tensor) {
    int64_t run = 1;
    for (int d = tensor->rank - 1; d >= 0 && gdn_tensor_is_dense_from(tensor, d); d--) {
        run *= tensor->shape[d];
    }
    return run;
}

void gdnp_gather(const gdn_tensor *tensor, void *out) {
    const int64_t count = gdn_tensor_count(tensor);
    const int64_t run = dense_run(tensor);
    const int64_t size = (int64_t)gdn_dtype_size(tensor->dtype);
    for (int64_t flat = 0; flat < count; flat += run) {
        memcpy((uint8_t *)out + flat * size,
               (const uint8_t *)tensor->data + gdn_tensor_flat_offset(tensor, flat) * size,
               (size_t)(run * size));
    }
}

void gdnp_scatter(const gdn_tensor *tensor, const void *in) {
    const int64_t count = gdn_tensor_count(tensor);
    const int64_t run = dense_run(tensor);
    const int64_t size = (int64_t)gdn_dtype_size(tensor->dtype);
    for (int64_t flat = 0; flat < count; flat += run) {
        memcpy((uint8_t *)tensor->data + gdn_tensor_flat_offset(tensor, flat) * size,
               (const uint8_t *)in + flat * size, (size_t)(run * size));
    }
}
