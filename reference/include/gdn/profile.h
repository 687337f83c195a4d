/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Conventions and calls as JSON: the only part of reference/ that needs jansson. */
#ifndef GDN_PROFILE_H
#define GDN_PROFILE_H

#include <jansson.h>

#include "gdn/call.h"
#include "gdn/claims.h"
#include "gdn/deviation.h"
#include "gdn/upstream.h"

#ifdef __cplusplus
extern "C" {
#endif

/// A backend's profile with one variant applied.
typedef struct gdn_profile {
    char *name;    ///< "vllm-xpu@b": with its variant, if it has variants
    char *source;  ///< repository and commit that it was read at
    char *summary; ///< one line
    gdn_conventions conventions;
    bool ops[GDN_OP_COUNT];
    bool validates;   ///< refuses calls that are wrong; false: no, or not claimed
    bool ragged_spec; ///< takes speculative sequences shorter than the batch's columns
    gdn_claim claims[GDN_AXIS_COUNT];
    gdn_upstream upstream, upstream_state; ///< of outputs, and of states
    char *canonical; ///< compact JSON of the file, keys sorted: what digests hash
} gdn_profile;

/// Reads <dir>/<name>.json for "name" or "name@variant" (without one, the file's default).
/// Unknown members, values outside an enum, slips and contradictions are GDN_ERR_FORMAT
/// with file and JSON path; a profile or variant that does not exist is GDN_ERR_ARG. If
/// GDN_OK is returned the caller destroys the profile.
GDN_NODISCARD gdn_status gdn_profile_load(gdn_profile *profile, const char *dir,
                                          const char *name, gdn_error *err);

/// Reads the member "upstream" of a profile's root, which may be missing: then atol = rtol
/// = 5e-2 with equal_nan, the widest policy that anybody uses. GDN_ERR_FORMAT.
GDN_NODISCARD gdn_status gdn_upstream_from_json(gdn_upstream *outputs, gdn_upstream *states,
                                                const json_t *root, const char *where,
                                                gdn_error *err);

/// Accepts a zeroed profile.
void gdn_profile_destroy(gdn_profile *profile);

/// The member of the JSON forms that holds the conventions of draft verification.
#define GDN_VERIFY_OBJECT "verify"

/// New reference: every field as text, in table order, those of verification in an object.
json_t *gdn_conventions_to_json(const gdn_conventions *conventions);

/// Sets the fields that the object has; values may be text or numbers. `profile`: refuse
/// slips.
GDN_NODISCARD gdn_status gdn_conventions_from_json(gdn_conventions *conventions,
                                                   const json_t *json, bool profile,
                                                   gdn_error *err);

/// Deviations read from a file, with the memory of their texts.
typedef struct gdn_deviation_list {
    gdn_deviation *items;
    size_t count;
    json_t *json; ///< owns the texts
} gdn_deviation_list;

/// Reads an array of {"name", "symptom", "field", "value"}; every field and value must be
/// one of the conventions, slips included. Anything else is GDN_ERR_FORMAT with file and
/// JSON path, a file that can't be read GDN_ERR_IO. If GDN_OK is returned the caller
/// destroys the list.
GDN_NODISCARD gdn_status gdn_deviations_load(gdn_deviation_list *list, const char *path,
                                             gdn_error *err);

/// Accepts a zeroed list.
void gdn_deviation_list_destroy(gdn_deviation_list *list);

/// New reference: the `call` object of devices/PROTOCOL.md.
json_t *gdn_call_to_json(const gdn_call *call);

/// A call decoded from JSON with everything it points to.
typedef struct gdn_call_storage {
    gdn_call call;
    gdn_conventions conventions;
    gdn_tensor *tensors; ///< data = arena + offset, or NULL if arena is NULL
    gdn_scalar *scalars;
} gdn_call_storage;

/// Decodes a call whose arena is mapped at `arena` (or NULL). Every tensor must lie inside
/// [0, arena_bytes). If GDN_OK is returned the caller destroys the storage.
GDN_NODISCARD gdn_status gdn_call_from_json(gdn_call_storage *storage, const json_t *json,
                                            void *arena, size_t arena_bytes,
                                            gdn_error *err);

/// Accepts a zeroed storage.
void gdn_call_storage_destroy(gdn_call_storage *storage);

#ifdef __cplusplus
}
#endif

#endif
