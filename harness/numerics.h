/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What arithmetic a device has, read off it through ordinary ops, and held against what the
 * profile claims. Inputs are chosen so that one property decides the output:
 *
 *   operand_chunk, operand_decode  S0 = 1 + 2^-i in lane i, v = 0, k one-hot, beta 1: what
 *                   stays of S0 is what S lost as an operand. S0 = -2^-i, v = 1: what the
 *                   state is short of 1 is what the delta lost. Bits behind the point that
 *                   both keep; and whether 2^20 overflows, as in fp16 alone
 *   accumulation    rows 1, 2^-i .. 2^-i, -1 times equal keys: the sum's small terms vanish
 *                   beside the 1 in an accumulator of fewer than i bits
 *   cast            a state that decays to 1/4 and 3/4 between two bf16 numbers, put out
 *   denormals       a state of 2^-130 under decay 1
 *   rsqrt           v = 1 stored under a key whose norm eps shows in
 *   exp, softplus, sigmoid         grids through gdn_gating
 *
 * With K = 64 and components of 4096 keys are exact after the norm: 1, or 1/8. */
#ifndef GDN_NUMERICS_H
#define GDN_NUMERICS_H

#include "executor.h"

/// Probes the device under one profile and appends what it finds to the run. A quantity that
/// the profile's ops do not show, or whose call the device declines, is noted as such.
GDN_NODISCARD gdn_status gdn_numerics_probe(gdn_run_result *run, const char *profile,
                                            const char *profiles,
                                            const gdn_executor *executor, gdn_error *err);

#endif
