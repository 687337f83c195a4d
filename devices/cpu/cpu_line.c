/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "cpu_line.h"

#include "cpu_convert.h"

int64_t cpu_conv_taps(const cpu_conv_op *op) {
    return op->weight->shape[op->conventions->conv_weight == GDN_WEIGHT_WC ? 0 : 1];
}

void cpu_conv_weight_shape(const gdn_conventions *conventions, int64_t channels,
                           int64_t shape[2]) {
    const bool wc = conventions->conv_weight == GDN_WEIGHT_WC;
    shape[0] = wc ? -1 : channels;
    shape[1] = wc ? channels : -1;
}

void cpu_conv_state_shape(const gdn_conventions *conventions, int64_t channels,
                          int64_t shape[3]) {
    const bool ds = conventions->conv_state_order == GDN_CONV_STATE_DS;
    shape[0] = -1;
    shape[1] = ds ? channels : -1;
    shape[2] = ds ? -1 : channels;
}

cpu_cells cpu_line_cells(const cpu_conv_op *op, const gdn_tensor *tensor, int64_t slot,
                         int64_t row, int64_t channel) {
    const int rows = op->conventions->conv_state_order == GDN_CONV_STATE_DS ? 2 : 1;
    const int64_t stride = tensor->stride[3 - rows];
    return (cpu_cells){
        .at = slot * tensor->stride[0] + row * tensor->stride[rows] + channel * stride,
        .stride = stride,
    };
}

int64_t cpu_line_rows(const cpu_conv_op *op) {
    return op->state->shape[op->conventions->conv_state_order == GDN_CONV_STATE_DS ? 2 : 1];
}

int64_t cpu_line_kept(const cpu_conv_op *op) {
    const bool all = op->conventions->conv_history == GDN_CONV_KEEPS_TAPS;
    return all ? cpu_conv_taps(op) : cpu_conv_taps(op) - 1;
}

static int64_t kept_first(const cpu_conv_op *op) {
    return op->conventions->conv_anchor == GDN_CONV_LAST
               ? cpu_line_rows(op) - cpu_line_kept(op)
               : 0;
}

int64_t cpu_line_history(const cpu_conv_op *op, const cpu_sequence *sequence) {
    return sequence->group->accepted
               ? sequence->conv_row
               : kept_first(op) + cpu_line_kept(op) - (cpu_conv_taps(op) - 1);
}

int64_t cpu_line_before(const cpu_conv_op *op, const cpu_sequence *sequence, int64_t taps,
                        int64_t position) {
    const int64_t token = position - (taps - 1);
    if (!op->parents || token <= 0) {
        return position - 1;
    }
    return taps - 1 + gdn_tensor_int(op->parents, sequence->index, token);
}

/* A piece of work on the bits of one sequence's inputs. */
typedef struct keeper {
    const cpu_conv_op *op;
    const cpu_sequence *sequence;
    cpu_channels channels;
    int64_t taps, rows; /* rows of history at hand: taps - 1, or one more */
    const uint8_t *history;
} keeper;

/* Row of a line from the input at `position`; positions below 0 are older history. */
static void keep_row(const keeper *k, const gdn_tensor *line, int64_t slot, int64_t row,
                     int64_t position) {
    const gdn_tensor *x = k->op->x;
    const int64_t n = k->channels.count, history = k->taps - 1;
    const size_t size = gdn_dtype_size(line->dtype);
    const cpu_cells out = cpu_line_cells(k->op, line, slot, row, k->channels.channel);
    if (position >= history) {
        const int64_t token = cpu_sequence_row(k->sequence, position - history);
        cpu_copy(line->data, out.at, out.stride, x->data,
                 token * x->stride[0] + k->channels.column * x->stride[1], x->stride[1], n,
                 size);
    } else {
        cpu_copy(line->data, out.at, out.stride, k->history,
                 (position + k->rows - history) * n, 1, n, size);
    }
}

/* The window after each token of a sequence that has rows for them. */
static void keep_windows(const keeper *k) {
    for (int64_t t = 0; t < k->sequence->length; t++) {
        const int64_t slot = gdn_tensor_int(k->op->buffer, k->sequence->index, t);
        int64_t position = k->taps - 1 + t;
        for (int64_t row = k->taps - 2; row >= 0; row--) {
            keep_row(k, k->op->windows, slot, row, position);
            position = cpu_line_before(k->op, k->sequence, k->taps, position);
        }
    }
}

/* All rows of a line move up, and the tokens follow. From the oldest row on, since a row is
 * read before it is written over. */
static void roll(const keeper *k) {
    const gdn_tensor *state = k->op->state;
    const int64_t rows = cpu_line_rows(k->op), length = k->sequence->length;
    const int64_t slot = cpu_sequence_slot(k->sequence, 0);
    for (int64_t row = 0; row < rows; row++) {
        const int64_t from = row + length;
        if (from >= rows) {
            keep_row(k, state, slot, row, k->taps - 1 + from - rows);
            continue;
        }
        const cpu_cells out = cpu_line_cells(k->op, state, slot, row, k->channels.channel);
        const cpu_cells in = cpu_line_cells(k->op, state, slot, from, k->channels.channel);
        cpu_copy(state->data, out.at, out.stride, state->data, in.at, in.stride,
                 k->channels.count, gdn_dtype_size(state->dtype));
    }
}

static void keep_state(const keeper *k) {
    const gdn_tensor *state = k->op->state;
    const cpu_sequence *sequence = k->sequence;
    const int64_t taps = k->taps, length = sequence->length;
    const gdn_conv_window window = k->op->conventions->conv_window;
    const int64_t slot = cpu_sequence_slot(sequence, 0);
    if (sequence->group->accepted && window == GDN_CONV_SLIDING) {
        /* The line without its oldest row: where the next call starts in it is for the
         * next count of accepted tokens to say. */
        for (int64_t i = 0; i < taps - 2 + length; i++) {
            keep_row(k, state, slot, i, i + 1);
        }
    } else if (sequence->group->accepted) {
        for (int64_t t = 0; t < length; t++) {
            for (int64_t i = 0; i < taps - 1; i++) {
                keep_row(k, state, cpu_sequence_slot(sequence, t), i, t + 1 + i);
            }
        }
    } else if (k->op->buffer && window == GDN_CONV_ROLLING) {
        roll(k);
    } else {
        const int64_t kept = cpu_line_kept(k->op), first = kept_first(k->op);
        for (int64_t i = 0; i < kept; i++) {
            keep_row(k, state, slot, first + i, taps - 1 + length - kept + i);
        }
    }
}

/* At most this many channels at once, so that their history fits on the stack. */
enum { KEEP_CHANNELS = 256 };

static void keep_block(const cpu_conv_op *op, const cpu_sequence *sequence,
                       cpu_channels channels) {
    const gdn_tensor *state = op->state;
    /* Taken out first: the slots written may be the one that it came from. */
    uint8_t history[CPU_MAX_TAPS * KEEP_CHANNELS * sizeof(float)] = {0};
    keeper k = {
        .op = op,
        .sequence = sequence,
        .channels = channels,
        .taps = cpu_conv_taps(op),
        .history = history,
    };
    k.rows = sequence->group->accepted ? k.taps - 1 : cpu_line_kept(op);
    const int64_t first = cpu_line_history(op, sequence) - (k.rows - (k.taps - 1));
    for (int64_t i = 0; i < k.rows && sequence->conv_slot >= 0; i++) {
        const cpu_cells in =
            cpu_line_cells(op, state, sequence->conv_slot, first + i, channels.channel);
        cpu_copy(history, i * channels.count, 1, state->data, in.at, in.stride,
                 channels.count, gdn_dtype_size(state->dtype));
    }
    if (op->buffer && op->windows) {
        keep_windows(&k);
    }
    keep_state(&k);
}

void cpu_conv_keep(const cpu_conv_op *op, const cpu_sequence *sequence,
                   cpu_channels channels) {
    for (int64_t c = 0; c < channels.count; c += KEEP_CHANNELS) {
        const int64_t rest = channels.count - c;
        keep_block(op, sequence,
                   (cpu_channels){.channel = channels.channel + c,
                                  .column = channels.column + c,
                                  .count = rest < KEEP_CHANNELS ? rest : KEEP_CHANNELS});
    }
}
