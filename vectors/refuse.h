/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Calls that are wrong in one place. A backend that validates refuses them; one that does
 * not must not crash on them.
 *
 *   accepted_beyond_columns   an accepted count of Q + 1
 *   slot_out_of_range         a state index of S
 *   falling_cu_seqlens        a sequence that ends before it starts
 *   wrong_index_dtype         64-bit state indices
 *   non_contiguous            the inner dimensions of an input in the other order
 *   absent:NAME[+NAME]        one or two arguments left out
 *
 * Some of them are no mistake for every op: a call that gdn_call_check() takes is judged as
 * any other. */
#ifndef GDN_REFUSE_H
#define GDN_REFUSE_H

#include "problem.h"

/// The case's `refuse` is one of the above, and the call has what it spoils.
GDN_NODISCARD gdn_status gdnp_refuse_check(const gdn_case *test, gdn_error *err);

/// Spoils a filled problem.
GDN_NODISCARD gdn_status gdnp_refuse_apply(gdn_problem *problem, gdn_error *err);

#endif
