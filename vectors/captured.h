/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A captured case: what one call of an op got and gave in production, in a file that needs
 * no device to be judged.
 *
 *   input/<argument>    tensors before the call: inputs, states, index tensors; for an
 *                       output, what its buffer held, where that is known
 *   output/<argument>   tensors after the call: outputs and states
 *   gdn_capture         JSON text: an attribute of the HDF5 root, or a member of
 *                       __metadata__ in safetensors:
 *     {"schema": 1, "op": "gdn_attention", "profile": "vllm-xpu@b",
 *      "scalars": {"num_k_heads": 16, ..}, "source": {"layer": 3, "step": 17, ..}}
 *
 * Shapes and types are those of gdn/call.h. `case` in place of op and scalars is the JSON
 * form of case.h: the index tensors are then that case's, and where the file has no input/
 * the inputs are made from its seed. HDF5 is parsed in a child process first. */
#ifndef GDN_CAPTURED_H
#define GDN_CAPTURED_H

#include "problem.h"

#define GDN_CAPTURE_KEY    "gdn_capture"
#define GDN_CAPTURE_SCHEMA 1

/// Tensors of a file by the names above, and what it says about itself.
typedef struct gdn_bundle {
    gdn_tensor *tensors; ///< dense; data may be unaligned
    size_t n_tensors;
    json_t *about; ///< the gdn_capture object; NULL if the file has none
    void *backing; ///< owner of names and data
    void (*release)(void *backing);
} gdn_bundle;

/// Opens HDF5 or safetensors, by the first bytes. If GDN_OK is returned the caller destroys
/// the bundle.
GDN_NODISCARD gdn_status gdn_bundle_open(gdn_bundle *bundle, const char *path,
                                         gdn_error *err);

/// Accepts a zeroed bundle.
void gdn_bundle_destroy(gdn_bundle *bundle);

/// NULL if there is none of this name.
const gdn_tensor *gdn_bundle_tensor(const gdn_bundle *bundle, const char *name);

/// Writes tensors and `about` as HDF5 if the path ends with ".h5", else as safetensors.
GDN_NODISCARD gdn_status gdn_bundle_write(const char *path, const gdn_tensor *tensors,
                                          size_t count, const json_t *about,
                                          gdn_error *err);

/// A captured case, ready for gdn_golden_create().
typedef struct gdn_captured {
    gdn_bundle bundle;
    gdn_case test; ///< of a call: what its tensors say; no model, batch or seed
    gdn_problem problem;
} gdn_captured;

/// Loads a file: the problem's arena is frozen with the inputs. What is missing,
/// superfluous or of another shape is GDN_ERR_FORMAT with the tensor or member. If GDN_OK
/// is returned the caller destroys `captured`.
GDN_NODISCARD gdn_status gdn_captured_load(gdn_captured *captured, const char *path,
                                           const char *profiles, gdn_error *err);

/// Puts the outputs into the arena as a device would have left them. Of an output whose
/// buffer before the call is unknown only the rows that `golden` speaks of are put there.
void gdn_captured_apply(gdn_captured *captured, const gdn_golden *golden);

/// Accepts a zeroed one.
void gdn_captured_destroy(gdn_captured *captured);

#endif
