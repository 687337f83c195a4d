/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The shadow: every float op once more, with a 113-bit significand and no limit on the
 * exponent (MPFR). It says how wrong the FP64 reference is. It was written for itself from
 * the contracts and shares with the reference only the call, the access to tensors and the
 * storage types; it honours every convention that a profile may set, and none of the slips.
 *
 * The same call gives the same bits everywhere: MPFR rounds correctly. */
#ifndef GDN_SHADOW_H
#define GDN_SHADOW_H

#include "gdn/call.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum gdn_shadow_mark {
    GDN_SHADOW_UNTOUCHED, ///< the op does not write this element
    GDN_SHADOW_VALUE,
    /// A y that is rounded to storage stands so near to a rounding boundary that correct
    /// FP64 arithmetic may put it on the other side, and this element depends on it.
    GDN_SHADOW_UNDECIDED,
} gdn_shadow_mark;

/// Where one output goes; all arrays dense in C order over the tensor's shape. `high` NULL:
/// not wanted. high + low is the value to 106 bits or more: high rounds it to FP64, low
/// rounds what is left.
typedef struct gdn_shadow_output {
    double *high, *low;
    uint8_t *mark; ///< gdn_shadow_mark; the caller zeroes it
} gdn_shadow_output;

/// Operations on 113-bit numbers that the shadow of a call takes, exp and log counted for
/// what they cost beside an addition. 0 for ops that compute no floats.
double gdn_shadow_cost(const gdn_call *call);

/// Runs `call`; `outputs[i]` belongs to `call->tensors[i]`. `*ties` is the number of values
/// that stand within the error of FP64 from a rounding boundary. The call is checked first.
/// GDN_ERR_ARG for ops that compute no floats.
GDN_NODISCARD gdn_status gdn_shadow_run(const gdn_call *call, gdn_shadow_output *outputs,
                                        int64_t *ties, gdn_error *err);

#ifdef __cplusplus
}
#endif

#endif
