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

/// Sources of an error, which add up to a limit (reference/BOUND.md). For outputs that no
/// recurrence makes, GDN_TERM_ROUNDINGS is all but the store.
typedef enum gdn_limit_term {
    GDN_TERM_ROUNDINGS = 1, ///< products and sums of the recurrence
    GDN_TERM_DECAY = 2,     ///< g and exp(g)
    GDN_TERM_BETA = 4,
    GDN_TERM_K = 8,
    GDN_TERM_Q = 16,
    GDN_TERM_V = 32,
    GDN_TERM_SUBNORMALS = 64,
    GDN_TERM_OPERANDS = 128, ///< rounded for matrix units
    GDN_TERM_CARRY = 256,    ///< stores of the state that the profile continues from
    GDN_TERM_STORE = 512,    ///< of the output itself
    GDN_TERM_ALL = 1023
} gdn_limit_term;

/// What the emulated kernel was for one head.
typedef struct gdn_pool {
    int64_t degrees; ///< errors that are not multiples of each other
    bool matrix;     ///< operands of matrix products were rounded
} gdn_pool;

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
    unsigned terms; ///< gdn_limit_term bits that `limit` is made of; 0: all
    /// Outputs of the recurrence, both NULL or both there, shape as `limit` (which they
    /// need): what a kernel with the profile's rounding points computes, before it is
    /// stored (reference/floor.h), and the standard deviation of the part of an element's
    /// error that comes with k, q and v. Pools are the heads, dimension 1.
    float *emulated, *input;
    gdn_pool *pools; ///< [shape[1]], zeroed by the caller
} gdn_output;

/// Runs `call` in FP64. `outputs[i]` belongs to `call->tensors[i]`; entries of inputs are
/// ignored. The call's tensors are only read (unless an output aliases them). The call is
/// checked first (gdn_call_check), and so is the process: another rounding mode than to
/// nearest, or denormals flushed to zero (FTZ, DAZ), in any thread that takes part is
/// GDN_ERR_ARG. GDN_REFERENCE_KERNEL in the environment (reference/README.md) picks the
/// inner loop: an unknown name is GDN_ERR_ARG, one that is not here GDN_ERR_UNSUPPORTED.
/// NaN and infinity in inputs follow IEEE 754 through every step; denormals are kept.
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
