/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The noise floor: the recurrence once more, as a kernel of the profile's class computes
 * it. How far it comes from the FP64 value is what a correct kernel of that class errs by,
 * not at most but usually; BOUND.md, "The noise floor", says how verdicts are made of it.
 *
 * Class fp32: token by token, every product and sum rounded to fp32, k from 0 up. Matrix
 * classes: chunks by the WY form, operands of matrix products rounded, sums in fp32
 * (contracts aiter_fla_flashinfer_ggml A4 and F1; vllm_xpu 2.6; vllm_cpu_and_metadata 1.4;
 * sglang_npu 6.1). A chunk is 128 tokens, or 64 where the profile stores the state after
 * them: keys that nearly repeat make a longer chunk err more, and backends use up to 128.
 *
 * Keys, gates and values start from the FP64 ones. Gates are moved to the upper end of what
 * the profile grants, and so are exp and rsqrt: their errors may have one sign for a whole
 * sequence (vLLM's CPU exp(0) is 0.99995), which no sum of random ones comes near. What the
 * convolution errs by is not in it; see gdn_output's `input`. The state passes through its
 * storage type where `state_carry` says so.
 *
 * Only IEEE operations in a fixed order: the bits are the same on every build. */
#ifndef GDN_FLOOR_H
#define GDN_FLOOR_H

#include "ops.h"

/* Whether an output of the head asks for the emulated kernel's values. */
bool gdnp_floor_wanted(const gdnp_head *head);

/* Fills `emulated` and `pools` of the head's outputs. GDN_ERR_OOM. */
gdn_status gdnp_floor_run(const gdnp_head *head, gdn_error *err);

#endif
