/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The whole module, as the run-time compiler gets it. */
#include "causal_conv1d.hip"
#include "gated_delta_chunk.hip"
#include "gated_delta_rule.hip"
#include "gates.hip"
#include "gdn_metadata.hip"
#include "verify_drafts.hip"
