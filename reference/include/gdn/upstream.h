/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* How a backend's own tests compare, so that a report can say what they would have said.
 * It decides no verdict. */
#ifndef GDN_UPSTREAM_H
#define GDN_UPSTREAM_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum gdn_upstream_metric {
    /// Each |found - golden| <= atol + rtol |golden| (torch.allclose).
    GDN_UPSTREAM_ALLCLOSE,
    /// All errors within atol, or rms(error) / (rms(golden) + 1e-8) < ratio (FLA, AITER).
    GDN_UPSTREAM_RMS_RATIO,
    /// sum error^2 / sum found^2 <= ratio (ggml).
    GDN_UPSTREAM_NMSE,
} gdn_upstream_metric;

typedef struct gdn_upstream {
    gdn_upstream_metric metric;
    double atol, rtol, ratio;
    bool equal_nan; ///< a NaN on both sides is equal; else any NaN fails
} gdn_upstream;

/// What a tensor's elements come to for any metric; special values are counted apart.
typedef struct gdn_upstream_sums {
    bool close;         ///< every pair of numbers is within atol + rtol |golden|
    bool nan_pairs;     ///< somewhere both are NaN
    bool special_wrong; ///< somewhere one is NaN or infinite and the other is not that
    double largest, error_square, golden_square, found_square, count;
} gdn_upstream_sums;

/// What upstream's test would say.
bool gdn_upstream_accepts(const gdn_upstream *policy, const gdn_upstream_sums *sums);

#ifdef __cplusplus
}
#endif

#endif
