/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The module of what computes in doubles, for the compiler that makes SPIR-V of it. */
#include "kernel_args.h"

#include "common.cl"

#include "rejection_sample.cl"
