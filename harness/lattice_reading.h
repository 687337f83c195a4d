/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What a wrong integer of a lattice case is a copy of. Lines of V lanes hold numbers of
 * their own (vectors/lattice.h), so a wrong line names the token, head or slot that was read
 * in place of the right one. */
#ifndef GDN_LATTICE_READING_H
#define GDN_LATTICE_READING_H

#include "problem.h"
#include "result.h"

/// Reads the first wrong line of the first wrong output of a judged lattice case: "; ..
/// expected v of token 3 of sequence 0, head 2, found v of token 3 of sequence 0, head 0".
/// Leaves `text` alone if there is none, or if the case is none.
void gdn_lattice_read_case(const gdn_problem *problem, const gdn_golden *golden,
                           const gdn_case_result *result, char *text, size_t size);

#endif
