/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What the id of a case tells: "op/profile/model/mix-batch/types/flags" (suites/README.md).
 * Forms group by it; ids of strangers, which tell less, leave facets empty. */
#ifndef GDN_CASE_FACETS_H
#define GDN_CASE_FACETS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct gdn_case_facets {
    char op[40];
    char profile[72];
    char model[72];
    char mix[24];    ///< "prefill", "decode", "spec", "mixed"
    char batch[160]; ///< "pre2x65+dec5"
    char types[24];  ///< "bf16+fp32": activations and states
    char flags[160]; ///< "int-pad3-n0"
    char layout[4];  ///< "int", "sep" or ""
    int64_t longest; ///< tokens of the longest sequence; 0: unknown
} gdn_case_facets;

void gdn_case_facets_read(gdn_case_facets *facets, const char *id);

/// Edges of the lengths by which forms group: tile and chunk sizes.
#define GDN_LENGTH_GROUPS 6

/// 0 .. GDN_LENGTH_GROUPS-1: 1, 2-8, 9-64, 65-256, 257-1024, longer.
int gdn_length_group(int64_t longest);

const char *gdn_length_group_name(int group);

#endif
