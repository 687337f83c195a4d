/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "gdn/upstream.h"

#include <math.h>

bool gdn_upstream_accepts(const gdn_upstream *policy, const gdn_upstream_sums *sums) {
    if (sums->special_wrong || (sums->nan_pairs && !policy->equal_nan)) {
        return false;
    }
    switch (policy->metric) {
    case GDN_UPSTREAM_ALLCLOSE:
        return sums->close;
    case GDN_UPSTREAM_RMS_RATIO: {
        const double n = fmax(sums->count, 1.0);
        const double ratio =
            sqrt(sums->error_square / n) / (sqrt(sums->golden_square / n) + 1e-8);
        return sums->largest <= policy->atol || ratio < policy->ratio;
    }
    case GDN_UPSTREAM_NMSE:
        break;
    }
    return sums->error_square <= policy->ratio * sums->found_square;
}
