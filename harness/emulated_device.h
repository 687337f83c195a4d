/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A device that is right: gated_delta_rule and gdn_attention in an arena by one of the
 * emulated kernels of reference/emulated. */
#ifndef GDN_EMULATED_DEVICE_H
#define GDN_EMULATED_DEVICE_H

#include "mma_kernel.h"
#include "problem.h"

/* Whether it honours every convention that the case needs. No speculative sequences. */
bool gdnp_emulated_supports(const gdn_case *test);

/* Writes what the kernel computes into the problem's arena, which was just restored.
 * Copies come from `golden`: nothing is rounded in them. */
void gdnp_emulated_run(const gdn_problem *problem, const gdn_golden *golden,
                       const kernel_style *style);

#endif
