/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The loop of speculative decoding: a step is a batch of drafts through the convolution,
 * the recurrence, verification and the commit, each an ordinary problem whose inputs are
 * what the calls before left behind. At temperature 0 the tokens are those of plain
 * decoding, whoever verifies and however states become live; a fault in any stage shows,
 * and its first wrong step is named. */
#ifndef GDN_LOOP_H
#define GDN_LOOP_H

#include "doctor.h"
#include "executor.h"

typedef struct gdn_loop_options {
    const char *profiles; ///< folder
    bool name_call;     ///< after a wrong token, go through the steps again with every call
                        ///< judged, and name the first that is wrong
    gdn_doctor *doctor; ///< diagnoses that call; NULL: nobody does
} gdn_loop_options;

/// Runs a case with `steps`: the op verifies, its profile's causal_conv1d, gated_delta_rule
/// and state_commit do the rest. `result` gets GDN_PASS, GDN_FAIL with step, request,
/// position and the wrong call, or the verdict of a call that did not come through.
GDN_NODISCARD gdn_status gdn_loop_run(const gdn_case *test, const gdn_executor *executor,
                                      const gdn_loop_options *options,
                                      gdn_case_result *result, gdn_error *err);

/// Whether a loop whose verifier is `verifier` is there to catch the row.
bool gdn_loop_concerns(const gdn_deviation *deviation, gdn_op verifier);

#endif
