/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Between case.c, batch.c and case_id.c. */
#ifndef GDN_CASE_INTERNAL_H
#define GDN_CASE_INTERNAL_H

#include "case.h"

#define GDNP_MAX_TOKENS    (INT64_C(1) << 22)
#define GDNP_MAX_SEQUENCES 65536
#define GDNP_MAX_COLUMNS   256

/// Fills sequences, columns and pad_requests from the batch text; op, conventions, initial,
/// accepted and seed are set.
GDN_NODISCARD gdn_status gdnp_case_expand_batch(gdn_case *test, bool ragged_spec,
                                                gdn_error *err);

/// Whether the batch has speculative sequences, and whether it has any others.
bool gdnp_case_has_spec(const gdn_case *test);
bool gdnp_case_has_non_spec(const gdn_case *test);

/// Whether a prefill has more than one token.
bool gdnp_case_has_chunks(const gdn_case *test);

/// What dimensions must be to each other, and, with the batch expanded, everything else.
GDN_NODISCARD gdn_status gdnp_case_check_shapes(const gdn_case *test, gdn_error *err);
GDN_NODISCARD gdn_status gdnp_case_check_values(const gdn_case *test, gdn_error *err);

/// Replaces the model label by its canonical form, which implies every dimension; a label
/// that contradicts one is refused.
GDN_NODISCARD gdn_status gdnp_case_set_label(gdn_case *test, gdn_error *err);

/// Ops of draft verification: modes and scenarios that the op has, and sizes that fit.
GDN_NODISCARD gdn_status gdnp_verify_case_check(const gdn_case *test, gdn_error *err);

/// A case that is judged by laws and seeds; sets verify.draws.
GDN_NODISCARD gdn_status gdnp_draws_case_check(gdn_case *test, gdn_error *err);

/// A case with steps: everything else of a step is there too. `ops` are the profile's.
GDN_NODISCARD gdn_status gdnp_loop_case_check(const gdn_case *test, const bool *ops,
                                              gdn_error *err);

/// The id of such a case.
GDN_NODISCARD gdn_status gdnp_verify_case_set_id(gdn_case *test, gdn_error *err);

extern const char *const GDNP_MODE_NAMES[];
extern const char *const GDNP_SCENARIO_NAMES[];

/// Builds the id from everything else.
GDN_NODISCARD gdn_status gdnp_case_set_id(gdn_case *test, gdn_error *err);

#endif
