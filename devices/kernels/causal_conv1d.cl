/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The depthwise causal convolution, and what conv_state keeps of its inputs: two kernels,
 * because the second overwrites histories that all work-items of the first may read. */

#define GK_MAX_TAPS 8

/* The first row of history that the first token sees. */
static long gk_history_row(const gk_conv_args *args, const gk_sequence *s) {
    return args->group.accepted.data ? s->conv_row
                                     : args->kept_first + args->kept - (args->taps - 1);
}

/* Position of the input that stands `steps` before the one at `position`: a node of a tree
 * of drafts follows its parent, the root the history. */
static long gk_before(const gk_memory *m, const gk_conv_args *args, const gk_sequence *s,
                      long position, int steps) {
    if (!args->group.parents.data) {
        return position - steps;
    }
    for (; steps > 0; steps--) {
        const long token = position - (args->taps - 1);
        position = token > 0
                       ? args->taps - 1 + gk_int(m, &args->group.parents, s->index, token)
                       : position - 1;
    }
    return position;
}

static float gk_weight(const gk_memory *m, const gk_conv_args *args, int channel, int tap) {
    const long at = args->packed
                        ? (long)(channel / 32) * 32 * args->taps + tap / 2 * 64 +
                              channel % 32 * 2 + tap % 2
                        : channel * args->weight.stride[0] + tap * args->weight.stride[1];
    return gk_load(m, &args->weight, at);
}

/* Input `position` of a sequence's stream: the taps-1 rows of history, then its tokens. */
static float gk_input(const gk_memory *m, const gk_conv_args *args, const gk_sequence *s,
                      int channel, int column, long position) {
    const int history = args->taps - 1;
    if (position >= history) {
        const long row = gk_row(m, &args->group, s->first + position - history);
        return gk_load(m, &args->x, row * args->x.stride[0] + column * args->x.stride[1]);
    }
    /* Without a history the slot may hold anything, NaN included: it is not read. */
    return s->conv_slot < 0
               ? 0.0f
               : gk_load(m, &args->state,
                         s->conv_slot * args->state.stride[0] +
                             (gk_history_row(args, s) + position) * args->state.stride[1] +
                             channel * args->state.stride[2]);
}

/* Group x: a local token; group y: as many channels as it has work-items. Taps in rising
 * order from zero, the bias last. */
__kernel void gk_conv(const gk_conv_args args, __global char *arena,
                      __global char *scratch) {
    const gk_memory m = {arena, scratch};
    const int channel =
        (int)get_global_id(1) * (int)get_local_size(0) + (int)get_local_id(0);
    const long token = get_group_id(0);
    const int index = gk_find_sequence(&m, &args.group, token);
    if (index < 0 || channel >= args.channels) {
        return;
    }
    const gk_sequence s = gk_sequence_at(&m, &args.group, index);
    if (gk_is_idle(&args.group, &s)) {
        return;
    }
    const long t = token - s.first, history = args.taps - 1;
    const int column = gk_channel_column(&args.layout, channel);
    float sum = 0.0f;
    for (int i = 0; i < args.taps; i++) {
        const long position = gk_before(&m, &args, &s, history + t, (int)history - i);
        const float product = gk_weight(&m, &args, channel, i) *
                              gk_input(&m, &args, &s, channel, column, position);
        sum += gk_round(product, args.round_product);
    }
    if (args.bias.data) {
        sum += gk_load(&m, &args.bias, channel * args.bias.stride[0]);
    }
    const float y = args.silu ? gk_silu(sum) : sum;
    const long row = gk_row(&m, &args.group, token);
    gk_store(&m, &args.out, row * args.out.stride[0] + channel * args.out.stride[1],
             gk_round(y, args.round));
}

/* What a work-item knows of one channel's past, as bits. */
typedef struct gk_past {
    uint history[GK_MAX_TAPS];
    int rows; /* in `history`: taps - 1, or one more */
} gk_past;

/* Row `row` of a line becomes input `position` of the stream, bit for bit; positions below
 * 0 are older history. */
static void gk_keep(const gk_memory *m, const gk_conv_args *args, const gk_view *lines,
                    const gk_sequence *s, int channel, const gk_past *past, long slot,
                    long row, long position) {
    const int seen = args->taps - 1;
    uint bits;
    if (position >= seen) {
        const long token = gk_row(m, &args->group, s->first + position - seen);
        bits =
            gk_load_bits(m, &args->x,
                         token * args->x.stride[0] +
                             gk_channel_column(&args->layout, channel) * args->x.stride[1]);
    } else {
        bits = past->history[position + past->rows - seen];
    }
    gk_store_bits(m, lines,
                  slot * lines->stride[0] + row * lines->stride[1] +
                      channel * lines->stride[2],
                  bits);
}

/* The window after each token, in a tensor of its own. */
static void gk_keep_windows(const gk_memory *m, const gk_conv_args *args,
                            const gk_sequence *s, int channel, const gk_past *past) {
    const int seen = args->taps - 1;
    for (long t = 0; t < s->length; t++) {
        const long place = gk_int(m, &args->group.places, s->index, t);
        for (int row = 0; row < seen; row++) {
            gk_keep(m, args, &args->windows, s, channel, past, place, row,
                    gk_before(m, args, s, seen + t, seen - 1 - row));
        }
    }
}

/* All rows of a line move up, and the tokens follow: from the oldest row on, since a row is
 * read before it is written over. */
static void gk_roll(const gk_memory *m, const gk_conv_args *args, const gk_sequence *s,
                    int channel, const gk_past *past) {
    const long slot = gk_slot(m, &args->group, s->index, 0);
    const long at = slot * args->state.stride[0] + channel * args->state.stride[2];
    for (long row = 0; row < args->rows; row++) {
        const long from = row + s->length;
        if (from < args->rows) {
            gk_store_bits(m, &args->state, at + row * args->state.stride[1],
                          gk_load_bits(m, &args->state, at + from * args->state.stride[1]));
        } else {
            gk_keep(m, args, &args->state, s, channel, past, slot, row,
                    args->taps - 1 + from - args->rows);
        }
    }
}

static void gk_keep_state(const gk_memory *m, const gk_conv_args *args,
                          const gk_sequence *s, int channel, const gk_past *past) {
    const int rows = args->taps - 1;
    const long slot = gk_slot(m, &args->group, s->index, 0);
    if (args->group.accepted.data && args->group.sliding) {
        /* The line without its oldest row: where the next call starts in it is for the next
         * count of accepted tokens to say. */
        for (int i = 0; i < rows - 1 + s->length; i++) {
            gk_keep(m, args, &args->state, s, channel, past, slot, i, i + 1);
        }
    } else if (args->group.accepted.data) {
        for (long t = 0; t < s->length; t++) {
            for (int i = 0; i < rows; i++) {
                gk_keep(m, args, &args->state, s, channel, past,
                        gk_slot(m, &args->group, s->index, t), i, t + 1 + i);
            }
        }
    } else if (args->rolling) {
        gk_roll(m, args, s, channel, past);
    } else {
        for (int i = 0; i < args->kept; i++) {
            gk_keep(m, args, &args->state, s, channel, past, slot, args->kept_first + i,
                    rows + s->length - args->kept + i);
        }
    }
}

/* Group x: a sequence; group y: as many channels as it has work-items. A channel of a
 * sequence is one work-item's from start to end, so that it may overwrite what it has
 * read. */
__kernel void gk_conv_keep(const gk_conv_args args, __global char *arena,
                           __global char *scratch) {
    const gk_memory m = {arena, scratch};
    const int channel =
        (int)get_global_id(1) * (int)get_local_size(0) + (int)get_local_id(0);
    const gk_sequence s = gk_sequence_at(&m, &args.group, (int)get_group_id(0));
    if (s.length <= 0 || s.padded || channel >= args.channels) {
        return;
    }
    /* Taken out first: the slots written may be the one that it came from. */
    gk_past past;
    past.rows = args.group.accepted.data ? args.taps - 1 : args.kept;
    const long first = gk_history_row(&args, &s) - (past.rows - (args.taps - 1));
    for (int i = 0; i < GK_MAX_TAPS; i++) {
        past.history[i] = 0;
        if (i < past.rows && s.conv_slot >= 0) {
            past.history[i] = gk_load_bits(&m, &args.state,
                                           s.conv_slot * args.state.stride[0] +
                                               (first + i) * args.state.stride[1] +
                                               channel * args.state.stride[2]);
        }
    }
    if (args.windows.data) {
        gk_keep_windows(&m, &args, &s, channel, &past);
    }
    gk_keep_state(&m, &args, &s, channel, &past);
}

/* conv_weight_pack: a work-item an element of [C/32][W/2][32][2]. */
__kernel void gk_pack(const gk_pack_args args, __global char *arena,
                      __global char *scratch) {
    const gk_memory m = {arena, scratch};
    const long at = get_global_id(0);
    if (at >= (long)args.channels * args.taps) {
        return;
    }
    const long block = at / (32 * args.taps), pair = at % (32 * args.taps) / 64;
    const long channel = block * 32 + at % 64 / 2, tap = pair * 2 + at % 2;
    gk_store_bits(
        &m, &args.packed, at,
        gk_load_bits(&m, &args.weight,
                     channel * args.weight.stride[0] + tap * args.weight.stride[1]));
}
