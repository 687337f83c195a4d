/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Where a failing case goes wrong first, from outside: the case is run again on prefixes of
 * its sequences, each with golden values of its own, by binary search for the shortest that
 * fails. A final state says nothing of when it went wrong; the states after prefixes do. */
#ifndef GDN_BISECT_H
#define GDN_BISECT_H

#include "executor.h"

/// Sets result->first_wrong ("first wrong token 37 of sequence 0: ssm_state, head 3, lanes
/// 0-15") if the case fails by its elements, has a sequence of two tokens or more that is not
/// speculative, and is within the doctor's bound of work. A prefix that does not come
/// through (a crash, a decline) ends the search without a word.
GDN_NODISCARD gdn_status gdn_bisect(const gdn_case *test, const gdn_executor *executor,
                                    gdn_case_result *result, gdn_error *err);

#endif
