/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* How wrong golden values can be: their largest difference from the 113-bit shadow
 * (gdn/shadow.h), and the form in which files and manifests carry it.
 *
 * In the manifest, per case:
 *   "certified": {tensor: {"limits": number, "ulps": number, "undecided": count}},
 *   "rounding_ties": count                       or, above the bound,
 *   "uncertified": "some 1.2e+09 operations, more than the bound of 8.4e+06"
 * In the file, on each golden/<tensor> of a certified case: certified_limits and
 * certified_ulps (FP64) and certifier, the tool's version. */
#ifndef GDN_CERTIFY_H
#define GDN_CERTIFY_H

#include "problem.h"

/// Cases whose shadow takes more operations on 113-bit numbers are not certified. A core
/// does 2^23 of them in a fifth of a second; all of smoke takes it one second, and one
/// decoded token of a whole Qwen3-Next layer (2^22) is within.
#define GDN_CERTIFIED_COST (double)(INT64_C(1) << 23)

/// Bounded outputs that an op may have.
#define GDN_MAX_CERTIFIED 4

typedef struct gdn_certified {
    const char *tensor; ///< borrowed from the problem
    /// Largest |FP64 - MPFR| in units of the element's limit, and in ulps of FP64 at the
    /// element; rounded to three digits, as they are stored.
    double limits, ulps;
    /// Elements that hang on a value at a rounding boundary: not compared.
    int64_t undecided;
} gdn_certified;

typedef struct gdn_certificate {
    double cost;    ///< estimated operations
    bool certified; ///< false: above the bound, nothing below is set
    int64_t ties;   ///< intermediate values at a rounding boundary of their storage
    gdn_certified outputs[GDN_MAX_CERTIFIED];
    size_t n_outputs;
} gdn_certificate;

/// Compares every golden value of a problem with its shadow: bounded ones by their
/// difference, exact ones by equality, and which rows were written. GDN_ERR_FORMAT if an
/// exact output differs, a value is NaN or infinite on one side only, or a difference is
/// beyond the element's own limit: then the golden values are wrong, or the shadow.
GDN_NODISCARD gdn_status gdn_certify(gdn_certificate *certificate,
                                     const gdn_problem *problem, const gdn_golden *golden,
                                     gdn_error *err);

/// Figures of a whole suite, as its manifest has them.
typedef struct gdn_certified_suite {
    size_t certified, uncertified;
    double limits, ulps; ///< the largest
    int64_t ties;
} gdn_certified_suite;

/// Counts cases without either member (of older manifests) as uncertified.
gdn_certified_suite gdn_manifest_certified(const json_t *manifest);

#endif
