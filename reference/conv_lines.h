/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What the conv state keeps of a sequence's inputs, and where (contracts vllm_xpu 3.2 and
 * 3.3, sglang_npu 2.0 and 2.6, vllm_cpu_and_metadata 1.6 and 1.7). Rows are runs of the
 * conv's channels. Inputs are numbered: `depth` rows of history, oldest first, then the
 * tokens. */
#ifndef GDN_CONV_LINES_H
#define GDN_CONV_LINES_H

#include "ops.h"

/* What a sequence finds in its slot: `depth` rows from row `first`, of which the last W-1
 * are the history. A rolling line is needed whole, because all of it moves on. */
typedef struct gdnp_line_part {
    int64_t first, depth;
} gdnp_line_part;

gdnp_line_part gdnp_line_stored(const gdnp_conv *conv, int64_t taps);

/* The slip that takes the first rows of a line for its last ones. */
bool gdnp_line_reads_first(const gdnp_conv *conv);

/* Reads the stored rows, oldest first. */
void gdnp_line_load(const gdnp_conv *conv, gdnp_line_part part, double *history);

/* One input; zero if `index` is negative. */
void gdnp_line_input(const gdnp_conv *conv, int64_t depth, const double *history,
                     int64_t index, double *row);

/* Number of the input that token t meets `back` taps behind itself: its ancestor, and past
 * the root the history, newest first. */
int64_t gdnp_line_behind(const gdnp_sequence *s, int64_t depth, int64_t t, int64_t back);

/* Writes what the conventions keep. `row` is scratch for one row. */
void gdnp_line_store(const gdnp_conv *conv, int64_t taps, int64_t depth,
                     const double *history, double *row);

/* Writes the W-1 inputs that end with each token, oldest first, along its ancestors. */
void gdnp_line_store_windows(const gdnp_conv *conv, int64_t taps, int64_t depth,
                             const double *history, double *row);

#endif
