/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Cases whose outputs are integers, so that nothing has to be tolerated and a wrong number
 * says what it is a copy of.
 *
 * Keys and queries are one-hot and 4096 long: eps vanishes in 2^24 under the root, and
 * normalising gives 1. A_log = 0 and dt_bias = -200 make a decay of exactly 1, b = +-200 a
 * beta of 1 or 0. One update then replaces a column of the state by v, or leaves it; an
 * output is a column of the state times K^-1/2. With v in 18..200 and start states in
 * -55..17 every difference that a chunk kernel makes is an integer below 2^8, which all
 * matrix classes hold exactly.
 *
 * The convolution copies: each head has one tap of 1, by turns, so that histories matter;
 * SiLU of 18 and more is the number itself to 1.5e-8. A bias is at least 18, for tokens
 * without a history.
 *
 * Some tokens of `lattice-alpha0` have a + dt_bias = 200 and forget everything.
 *
 * gdn_gating has g = -(a + dt_bias) in -200..-18, or 0. */
#ifndef GDN_LATTICE_H
#define GDN_LATTICE_H

#include "fill.h"
#include "problem.h"

/// A device's integer may be off by this, whatever its class.
#define GDN_LATTICE_LIMIT (1.0 / 32.0)

bool gdn_case_is_lattice(const gdn_case *test);

/// By what an element of the output is an integer: sqrt(K) for outputs of the recurrence.
double gdn_lattice_scale(const gdn_case *test, const char *output);

/// As gdn_fill_values() of fill.h.
void gdnp_lattice_values(const gdn_case *test, gdn_field field, int64_t item, int64_t head,
                         int64_t heads, int64_t count, double *out);

/// Golden values that are integers but for FP64's own rounding become such, and limits the
/// lattice's, 1/32; but the bound where that is narrower and nothing is left to do but
/// copies and powers of two (gated_delta_rule with gates and keys as given, K a power of
/// 4). Such a kernel is exact, unless its exp(0) is off by what the profile grants. Where K
/// is no power of 4 its root is rounded with the query, and the output with it.
void gdnp_lattice_limits(gdn_expected *expected, const gdn_case *test);

/// Delay of a head's tap, in tokens; `kind` GDN_FIELD_Q, _K or _V.
int64_t gdn_lattice_delay(const gdn_case *test, gdn_field kind, int64_t head);

/// A lane of v of a token, behind the convolution.
double gdn_lattice_v(const gdn_case *test, int64_t item, int64_t head, int64_t lane);

#endif
