/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What a backend may promise to the bit, each an axis of its own: a profile says yes or no,
 * or nothing. A promise is refuted by one element that differs; it says nothing of how
 * accurate the backend is. */
#ifndef GDN_CLAIMS_H
#define GDN_CLAIMS_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum gdn_claim_axis {
    GDN_AXIS_DETERMINISM,      ///< the same call again, idle and beside another one
    GDN_AXIS_BATCH_INVARIANCE, ///< a request alone, among others, behind others
    GDN_AXIS_SPLIT,            ///< from here on as the relations of vectors/related.h
    GDN_AXIS_PERMUTED,
    GDN_AXIS_RELABELLED,
    GDN_AXIS_UNPADDED,
    GDN_AXIS_SCALED,
    GDN_AXIS_DECODE_IS_PREFILL,
    GDN_AXIS_MIXED_IS_SEPARATE,
    GDN_AXIS_VERIFY_IS_DECODE,
    GDN_AXIS_HEADS_PERMUTED,
    GDN_AXIS_LANES_PERMUTED,
    GDN_AXIS_REQUERIED,
    GDN_AXIS_COMMUTED,
    GDN_AXIS_DENORMALS, ///< subnormal states are kept; no: they become zero
    GDN_AXIS_COUNT
} gdn_claim_axis;

typedef enum gdn_claim { GDN_NOT_CLAIMED, GDN_CLAIMS_YES, GDN_CLAIMS_NO } gdn_claim;

/// Names in the order of the axes, NULL-terminated; "not claimed", "yes", "no".
extern const char *const GDN_AXIS_NAMES[];
extern const char *const GDN_CLAIM_NAMES[];

#ifdef __cplusplus
}
#endif

#endif
