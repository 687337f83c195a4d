/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "conv_lines.h"

#include <string.h>

/* Rows of history that a slot keeps. */
static int64_t kept_rows(const gdnp_conv *conv, int64_t taps) {
    return conv->conventions->conv_history == GDN_CONV_KEEPS_TAPS ? taps : taps - 1;
}

/* Elements from one row of a conv line to the next, and from channel to channel. The slip
 * takes the two axes of a slot for each other. */
typedef struct line_strides {
    int64_t row, channel;
} line_strides;

static line_strides strides_of(const gdnp_conv *conv, const gdn_tensor *t) {
    const bool sd = conv->conventions->conv_state_order == GDN_CONV_STATE_SD;
    if (conv->conventions->slip == GDN_SLIP_CONV_AXES_SWAPPED) {
        return sd ? (line_strides){.row = 1, .channel = t->shape[1]}
                  : (line_strides){.row = t->shape[1], .channel = 1};
    }
    return sd ? (line_strides){.row = t->stride[1], .channel = t->stride[2]}
              : (line_strides){.row = t->stride[2], .channel = t->stride[1]};
}

static int64_t line_rows(const gdnp_conv *conv) {
    const bool sd = conv->conventions->conv_state_order == GDN_CONV_STATE_SD;
    return conv->state->shape[sd ? 1 : 2];
}

static bool rolls(const gdnp_conv *conv) {
    return conv->sequence->verify && conv->conventions->conv_window == GDN_CONV_ROLLING;
}

bool gdnp_line_reads_first(const gdnp_conv *conv) {
    return conv->sequence->verify && conv->conventions->slip == GDN_SLIP_VERIFY_FROM_FIRST;
}

/* First of the rows that a slot keeps outside of slots a draft column. */
static int64_t kept_first(const gdnp_conv *conv, int64_t taps) {
    const bool last = conv->conventions->conv_anchor == GDN_CONV_LAST ||
                      conv->conventions->conv_window == GDN_CONV_ROLLING;
    return last ? line_rows(conv) - kept_rows(conv, taps) : 0;
}

gdnp_line_part gdnp_line_stored(const gdnp_conv *conv, int64_t taps) {
    const gdnp_sequence *s = conv->sequence;
    const int64_t kept = kept_rows(conv, taps);
    if (s->spec) {
        return (gdnp_line_part){.first = s->conv_row, .depth = taps - 1};
    }
    if (rolls(conv) || gdnp_line_reads_first(conv)) {
        return (gdnp_line_part){.first = 0, .depth = line_rows(conv)};
    }
    return (gdnp_line_part){.first = kept_first(conv, taps), .depth = kept};
}

static void load_row(const gdnp_conv *conv, int64_t slot, int64_t index, double *row) {
    const gdn_tensor *state = conv->state;
    const line_strides by = strides_of(conv, state);
    const int64_t at =
        slot * state->stride[0] + index * by.row + conv->channel * by.channel;
    gdn_load_run(row, state->data, state->dtype, at, by.channel, conv->channels);
}

void gdnp_line_load(const gdnp_conv *conv, gdnp_line_part part, double *history) {
    const gdnp_sequence *s = conv->sequence;
    for (int64_t i = 0; i < part.depth; i++) {
        double *row = history + i * conv->channels;
        if (s->conv_slot < 0) {
            memset(row, 0, (size_t)conv->channels * sizeof *row);
        } else {
            load_row(conv, s->conv_slot, part.first + i, row);
        }
    }
}

void gdnp_line_input(const gdnp_conv *conv, int64_t depth, const double *history,
                     int64_t index, double *row) {
    if (index < 0) {
        memset(row, 0, (size_t)conv->channels * sizeof *row);
    } else if (index < depth) {
        memcpy(row, history + index * conv->channels, (size_t)conv->channels * sizeof *row);
    } else {
        const int64_t token = conv->sequence->rows[index - depth];
        const int64_t at = token * conv->x->stride[0] + conv->column * conv->x->stride[1];
        gdn_load_run(row, conv->x->data, conv->x->dtype, at, conv->x->stride[1],
                     conv->channels);
    }
}

int64_t gdnp_line_behind(const gdnp_sequence *s, int64_t depth, int64_t t, int64_t back) {
    while (back > 0 && t > 0) {
        t = s->parents ? s->parents[t] : t - 1;
        back--;
    }
    return depth + t - back;
}

static void store_row(const gdnp_conv *conv, const gdn_output *output, int64_t slot,
                      int64_t index, const double *row) {
    const gdn_tensor *out = &output->value;
    const line_strides by = strides_of(conv, out);
    const int64_t at = slot * out->stride[0] + index * by.row + conv->channel * by.channel;
    gdn_store_run(out->data, out->dtype, at, by.channel, row, conv->channels);
}

/* Writes `count` rows of a slot, from row `first` on, from consecutive inputs. */
static void store_rows(const gdnp_conv *conv, int64_t depth, const double *history,
                       int64_t slot, int64_t first, int64_t first_input, int64_t count,
                       double *row) {
    for (int64_t i = 0; i < count; i++) {
        gdnp_line_input(conv, depth, history, first_input + i, row);
        store_row(conv, conv->state_out, slot, first + i, row);
    }
}

/* The slip that moves on all rows of a line although only the history may. Rising rows, so
 * that none is overwritten before it is read. */
static void shift_line(const gdnp_conv *conv, int64_t depth, const double *history,
                       double *row) {
    const gdnp_sequence *s = conv->sequence;
    const int64_t rows = line_rows(conv);
    for (int64_t i = 0; i < rows; i++) {
        if (i + s->length < rows) {
            load_row(conv, s->conv_slot, i + s->length, row);
        } else {
            gdnp_line_input(conv, depth, history, depth + i - (rows - s->length), row);
        }
        store_row(conv, conv->state_out, s->slots[0], i, row);
    }
}

/* The kept rows of a slot become the newest inputs. */
static void store_kept(const gdnp_conv *conv, int64_t taps, int64_t depth,
                       const double *history, double *row) {
    const gdnp_sequence *s = conv->sequence;
    const gdn_slip slip = conv->conventions->slip;
    if (slip == GDN_SLIP_LINE_SHIFTED && !s->verify && s->conv_slot >= 0 &&
        s->length < line_rows(conv)) {
        shift_line(conv, depth, history, row);
        return;
    }
    const int64_t early =
        slip == GDN_SLIP_WINDOW_TOO_EARLY && s->fresh_beside_others ? taps - 1 : 0;
    const int64_t slot = slip == GDN_SLIP_CONV_SLOT_UNINDEXED ? s->index : s->slots[0];
    const int64_t kept = kept_rows(conv, taps);
    store_rows(conv, depth, history, slot, kept_first(conv, taps),
               depth + s->length - kept - early, kept, row);
}

void gdnp_line_store(const gdnp_conv *conv, int64_t taps, int64_t depth,
                     const double *history, double *row) {
    const gdnp_sequence *s = conv->sequence;
    if (rolls(conv)) {
        const int64_t rows = line_rows(conv);
        store_rows(conv, depth, history, s->slots[0], 0, depth + s->length - rows, rows,
                   row);
    } else if (!s->spec) {
        store_kept(conv, taps, depth, history, row);
    } else if (conv->conventions->conv_window == GDN_CONV_SNAPSHOT) {
        for (int64_t t = 0; t < s->length; t++) {
            store_rows(conv, depth, history, s->slots[t], 0, t + 1, taps - 1, row);
        }
    } else {
        store_rows(conv, depth, history, s->slots[0], 0, 1, taps - 2 + s->length, row);
    }
}

void gdnp_line_store_windows(const gdnp_conv *conv, int64_t taps, int64_t depth,
                             const double *history, double *row) {
    const gdnp_sequence *s = conv->sequence;
    for (int64_t t = 0; t < s->length; t++) {
        for (int64_t i = 0; i < taps - 1; i++) {
            gdnp_line_input(conv, depth, history,
                            gdnp_line_behind(s, depth, t, taps - 2 - i), row);
            store_row(conv, conv->windows_out, s->window_rows[t], i, row);
        }
    }
}
