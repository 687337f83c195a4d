/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The files of standalone/ as texts; made at build time. */
#ifndef GDN_STANDALONE_PARTS_H
#define GDN_STANDALONE_PARTS_H

extern const char gdn_part_attention_columns[];
extern const char gdn_part_causal_conv1d[];
extern const char gdn_part_conv1d_columns[];
extern const char gdn_part_convolution[];
extern const char gdn_part_gated_delta_rule[];
extern const char gdn_part_gates[];
extern const char gdn_part_gdn_attention[];
extern const char gdn_part_gdn_gating[];
extern const char gdn_part_judge[];
extern const char gdn_part_recurrence[];
extern const char gdn_part_storage[];

#endif
