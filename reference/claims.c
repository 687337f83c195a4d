/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "gdn/claims.h"

#include <stddef.h>

const char *const GDN_AXIS_NAMES[] = {
    [GDN_AXIS_DETERMINISM] = "determinism",
    [GDN_AXIS_BATCH_INVARIANCE] = "batch_invariance",
    [GDN_AXIS_SPLIT] = "split",
    [GDN_AXIS_PERMUTED] = "permuted",
    [GDN_AXIS_RELABELLED] = "relabelled",
    [GDN_AXIS_UNPADDED] = "unpadded",
    [GDN_AXIS_SCALED] = "scaled",
    [GDN_AXIS_DECODE_IS_PREFILL] = "decode_is_prefill",
    [GDN_AXIS_MIXED_IS_SEPARATE] = "mixed_is_separate",
    [GDN_AXIS_VERIFY_IS_DECODE] = "verify_is_decode",
    [GDN_AXIS_HEADS_PERMUTED] = "heads_permuted",
    [GDN_AXIS_LANES_PERMUTED] = "lanes_permuted",
    [GDN_AXIS_REQUERIED] = "requeried",
    [GDN_AXIS_COMMUTED] = "commuted",
    [GDN_AXIS_DENORMALS] = "denormals_kept",
    [GDN_AXIS_COUNT] = NULL,
};

const char *const GDN_CLAIM_NAMES[] = {"not claimed", "yes", "no", NULL};
