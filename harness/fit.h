/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* How well one set of conventions reproduces what a device left in the arena. The
 * reference runs under them on the frozen inputs, with limits of its own, so a device that
 * is wrong in exactly this way, and rounds as devices do, fits as well as a right one fits
 * the right conventions. */
#ifndef GDN_FIT_H
#define GDN_FIT_H

#include "problem.h"

/// What one differing element or byte adds to a residual at most: log2(1 + 2^30).
#define GDN_FIT_MOST 30.0

typedef struct gdn_fit {
    bool applies;     ///< the call is one that the reference takes under these conventions
    int64_t compared; ///< elements of outputs
    int64_t wrong;    ///< elements beyond their limit, and stray bytes
    int64_t astray;   ///< bytes that changed outside the rows of the right outputs
    int64_t foretold; ///< of what is wrong by the right conventions, how much these say
                      ///< and do not merely tolerate (fit.c)
    /// Sum over what is wrong of log2(1 + error / limit), each at most GDN_FIT_MOST: one
    /// explosion cannot outweigh a tensor of misses.
    double residual;
} gdn_fit;

/// Golden values with the limits that the judge holds each element to: the smaller of its
/// bound and of what the noise floor of its head allows. Everything but `limit` is borrowed
/// from `golden`. If GDN_OK is returned the caller destroys it.
GDN_NODISCARD gdn_status gdn_fit_golden_create(gdn_golden *judged, const gdn_golden *golden,
                                               gdn_error *err);

/// Accepts zeroed ones.
void gdn_fit_golden_destroy(gdn_golden *judged);

/// Wrong elements of a device by one set of golden values: what a diagnosis has to explain.
typedef struct gdn_wrong {
    int64_t elements[16]; ///< wrong elements by output, in the order of the golden outputs
    int64_t stray;        ///< changed bytes outside the rows of the outputs
} gdn_wrong;

/// Counts what is wrong by `golden`, the golden values of the problem itself; here and
/// below made by gdn_fit_golden_create().
void gdn_wrong_count(gdn_wrong *wrong, const gdn_problem *problem,
                     const gdn_golden *golden);

/// Runs the reference under `conventions` and compares. The arena must be frozen and is not
/// changed. `correct` is the fit of the right conventions, NULL if this is it. Conventions
/// under which the call is refused give GDN_OK and `applies` false.
GDN_NODISCARD gdn_status gdn_fit_measure(gdn_fit *fit, const gdn_problem *problem,
                                         const gdn_golden *golden,
                                         const gdn_conventions *conventions,
                                         const gdn_fit *correct, gdn_error *err);

/// Whether element `i` of row `index` of `expected` is wrong in the arena; `*budget`
/// receives error / limit, infinity for an exact output.
bool gdn_fit_wrong(const gdn_problem *problem, const gdn_expected *expected, int64_t index,
                   int64_t i, double *budget);

/// The bytes of tensor `t` as the device left them; `t` lies in the arena or in its image.
const void *gdn_fit_found(const gdn_arena *arena, const gdn_tensor *t);

#endif
