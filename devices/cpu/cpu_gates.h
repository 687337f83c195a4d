/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Gates as the conventions want them. */
#ifndef GDN_CPU_GATES_H
#define GDN_CPU_GATES_H

#include "gdn/conventions.h"
#include "gdn/dtype.h"

/* How often a beta is rounded to T: one that an op makes for itself, and one of value head
 * `head` of `heads` that gdn_gating hands on. */
int cpu_beta_made(const gdn_conventions *conventions, bool speculative);
int cpu_beta_staged(const gdn_conventions *conventions, int64_t head, int64_t heads);

/* 1 / (1 + exp(-b)), rounded 0, 1 or 3 times. */
float cpu_beta(int roundings, gdn_dtype storage, float b);

/* Logarithm of the decay; `rate` is exp(A_log). */
float cpu_log_decay(const gdn_conventions *conventions, double rate, float a,
                    float dt_bias);

#endif
