/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The whole module, for the compiler that makes SPIR-V of it. */
#include "kernel_args.h"

#include "common.cl"

#include "causal_conv1d.cl"
#include "gated_delta_rule.cl"
#include "gates.cl"
#include "gdn_metadata.cl"
#include "verify_drafts.cl"
