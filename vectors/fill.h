/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Where the numbers of a case come from. Values belong to logical things (token 3's key of
 * head 1), never to columns, rows or slots: the same case in another layout, row order or
 * pool has the same data.
 *
 * normal: N(0,1) everywhere, the distribution of upstream's tests.
 *
 * model: what trained models look like, and the heads on which kernels fail while N(0,1)
 * passes. Value heads by hv mod 4: weak forgetting (A = 1e-3), strong (A = 16), and twice
 * A = U(0,16) as Qwen3-Next initialises it; dt_bias is the inverse softplus of log-uniform
 * [1e-3, 0.1]. Key heads by (h + seed) mod 4: ordinary; near-parallel keys and alternating
 * keys, both with beta near 1 (an fp32 chunk kernel that inverts by a series is lost
 * there); runs of zero keys, tiny keys (norm 1e-3, where eps shows) and ordinary ones.
 *
 * lattice, lattice-alpha0: lattice.h. */
#ifndef GDN_FILL_H
#define GDN_FILL_H

#include "case.h"

/// Numbers are random streams: they are never reordered, or every golden file changes.
typedef enum gdn_field {
    GDN_FIELD_Q = 1,
    GDN_FIELD_K = 2,
    GDN_FIELD_V = 3,
    GDN_FIELD_Z = 4,
    GDN_FIELD_B = 5,
    GDN_FIELD_A = 6,
    GDN_FIELD_CONV_WEIGHT = 7,
    GDN_FIELD_CONV_BIAS = 8,
    GDN_FIELD_A_LOG = 9,
    GDN_FIELD_DT_BIAS = 10,
    GDN_FIELD_CONV_HISTORY = 11,
    GDN_FIELD_STATE = 12,
    GDN_FIELD_ROWS = 13,       ///< permutation of sequences and spec tokens over rows
    GDN_FIELD_SLOTS = 14,      ///< permutation of the slots
    GDN_FIELD_CONTEXT = 15,    ///< context lengths of metadata requests
    GDN_FIELD_BLOCKS = 16,     ///< block tables of metadata requests
    GDN_FIELD_CONV_OLDER = 17, ///< conv inputs before the history, kept and never used
    GDN_FIELD_VERIFY = 64,     ///< everything about draft verification
} gdn_field;

/// `count` values of one head (or of all channels, head 0 of 1) of one item: a token, a
/// channel, a sequence, by field. `heads` is how many heads an item has.
void gdn_fill_values(const gdn_case *test, gdn_field field, int64_t item, int64_t head,
                     int64_t heads, int64_t count, double *out);

/// Whose numbers head, lane or conv channel `index` of a twisted case has; without a twist
/// its own.
int64_t gdn_twisted_key_head(const gdn_case *test, int64_t head);
int64_t gdn_twisted_value_head(const gdn_case *test, int64_t head);
int64_t gdn_twisted_lane(const gdn_case *test, int64_t lane);
int64_t gdn_twisted_channel(const gdn_case *test, int64_t channel);

#endif
