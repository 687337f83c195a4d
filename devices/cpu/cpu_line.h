/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Lines of conv_state: which of a slot's rows hold the history, and what they are after the
 * call. Inputs have positions: the taps-1 rows of history, oldest first, then the
 * tokens. */
#ifndef GDN_CPU_LINE_H
#define GDN_CPU_LINE_H

#include "cpu_conv.h"

/* Elements of adjacent channels. */
typedef struct cpu_cells {
    int64_t at, stride;
} cpu_cells;

/* Row `row` of slot `slot` in a tensor with the axes of the conv state. */
cpu_cells cpu_line_cells(const cpu_conv_op *op, const gdn_tensor *tensor, int64_t slot,
                         int64_t row, int64_t channel);

/* Rows of a slot. */
int64_t cpu_line_rows(const cpu_conv_op *op);

/* How many of them are kept where draft columns have no slots. */
int64_t cpu_line_kept(const cpu_conv_op *op);

/* Row of the oldest input that the first token sees. */
int64_t cpu_line_history(const cpu_conv_op *op, const cpu_sequence *sequence);

/* Position of the input that the one at `position` follows; negative before the history. */
int64_t cpu_line_before(const cpu_conv_op *op, const cpu_sequence *sequence, int64_t taps,
                        int64_t position);

#endif
