/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* How well conventions reproduce a device of which no element is beyond its limit, but a
 * figure of a whole head is: its root mean square error, or how many of its outputs are not
 * the rounded golden value. */
#ifndef GDN_FIT_HEADS_H
#define GDN_FIT_HEADS_H

#include "problem.h"
#include "result.h"

typedef struct gdn_heads_fit {
    bool applies;  ///< the call is one that the reference takes under these conventions
    bool passes;   ///< by the judge, every limit of heads included
    double energy; ///< sum of squared errors, in limits of the right conventions, over the
                   ///< tensors that fail by those
} gdn_heads_fit;

/// `failed` is the verdict by the right conventions, whose golden values are `right`. The
/// arena must be frozen and is not changed.
GDN_NODISCARD gdn_status gdn_heads_fit_measure(
    gdn_heads_fit *fit, const gdn_problem *problem, const gdn_golden *right,
    const gdn_conventions *conventions, const gdn_case_result *failed, gdn_error *err);

#endif
