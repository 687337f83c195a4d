/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A case as one C file that needs nothing but a C17 compiler: inputs, expected outputs with
 * their limits, a plain fp32 kernel to be replaced by the one under test, PASS or FAIL. */
#ifndef GDN_STANDALONE_H
#define GDN_STANDALONE_H

#include "problem.h"

/// Elements of all tensors that such a file may hold.
#define GDN_STANDALONE_MOST 200000

/// Writes `path`; `about` stands in the comment at its head. The kernel in it obeys the
/// conventions of most profiles; where it does not, the file says so and has none. A case
/// with more elements is GDN_ERR_ARG.
GDN_NODISCARD gdn_status gdn_standalone_write(const char *path, const gdn_problem *problem,
                                              const gdn_golden *golden, const char *about,
                                              gdn_error *err);

#endif
