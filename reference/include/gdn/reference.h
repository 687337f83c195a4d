/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The FP64 reference: golden values and how far a correct backend may be from them.
 *
 * Summation order is fixed (k ascending, one accumulator, explicit fma), exp and log1p are
 * correctly rounded, threads split only independent work: the same call gives the same bits
 * on every machine, compiler, vector width and thread count. */
#ifndef GDN_REFERENCE_H
#define GDN_REFERENCE_H

#include "gdn/call.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Where one output goes. `value.data` NULL: not wanted. `value` has the shape of the
/// call's tensor; its type decides the rounding: GDN_FP64 for golden values, the storage
/// type to act as a device (then it may be the call's own tensor: in place). `limit`, if
/// not NULL, receives per element, dense in C order, the largest error that a correct
/// backend of the profile's numeric class can have, rounding to the call's storage type
/// included. `written`, if not NULL, has shape[0] flags; the op sets those of the rows
/// (tokens, slots) it writes, and everything else in the tensor must stay untouched.
typedef struct gdn_output {
    gdn_tensor value;
    float *limit;
    uint8_t *written;
} gdn_output;

/// Runs `call` in FP64. `outputs[i]` belongs to `call->tensors[i]`; entries of inputs are
/// ignored. The call's tensors are only read (unless an output aliases them). The call is
/// checked first (gdn_call_check), and so is the process: another rounding mode than to
/// nearest, or denormals flushed to zero (FTZ, DAZ), in any thread that takes part is
/// GDN_ERR_ARG. GDN_REFERENCE_KERNEL in the environment (reference/README.md) picks the inner
/// loop: an unknown name is GDN_ERR_ARG, one that is not here GDN_ERR_UNSUPPORTED. NaN and infinity in inputs follow IEEE 754 through every
/// step; denormals are kept.
GDN_NODISCARD gdn_status gdn_reference_run(const gdn_call *call, gdn_output *outputs,
                                           gdn_error *err);

/// The same for gated_delta_rule by a second algorithm: the 64-token chunk form (contract
/// aiter_fla_flashinfer_ggml section 0) with its triangular solve, in FP64, without limits.
/// It exists to check the first; the two share nothing below the call.
GDN_NODISCARD gdn_status gdn_reference_run_chunked(const gdn_call *call,
                                                   gdn_output *outputs, gdn_error *err);

/// Number of taps of a conv weight in the order of the conventions.
int64_t gdn_conv_taps(const gdn_conventions *conventions, const gdn_tensor *weight);

/// Element of a packed conv weight that holds tap j of channel c: [C/32][W/2][32][2]
/// (contract vllm_cpu_and_metadata 1.5, there for W = 4).
int64_t gdn_conv_packed_offset(int64_t taps, int64_t c, int64_t j);

#ifdef __cplusplus
}
#endif

#endif
