/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Elementary functions, correctly rounded to nearest in FP64, so that golden values do not
 * depend on a C library or on the vector path it picks. A double-double evaluation decides
 * nearly always; where its error interval straddles a rounding boundary, MPFR decides. */
#ifndef GDN_EXACT_H
#define GDN_EXACT_H

#ifdef __cplusplus
extern "C" {
#endif

/// exp(x), log(x), log1p(x), expm1(x): the FP64 number nearest to the exact value; special
/// values (NaN, infinities, zeros, poles, overflow, subnormal results) as in C17 annex F.
double gdn_exp(double x);
double gdn_log(double x);
double gdn_log1p(double x);
double gdn_expm1(double x);

/// softplus(x) = log1p(exp(beta x)) / beta, x returned as it is where beta x is above
/// `threshold`; built on the functions above in this order.
double gdn_softplus(double x, double beta, double threshold);

/// 1 / (1 + exp(-x)) in this order of operations; 0 and 1 at the ends, never NaN for a
/// number.
double gdn_sigmoid(double x);

/// x / (1 + exp(-x)); -0 for x -> -inf, x for x -> +inf.
double gdn_silu(double x);

/// Seconds that MPFR took in this process, summed over threads.
double gdn_exact_fallback_seconds(void);

#ifdef __cplusplus
}
#endif

#endif
