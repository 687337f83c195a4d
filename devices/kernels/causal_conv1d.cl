/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The depthwise causal convolution, and what conv_state keeps of its inputs: two kernels,
 * because the second overwrites histories that all work-items of the first may read. */

#define GK_MAX_TAPS 8

/* Input `position` of a sequence's stream: the taps-1 rows of history, then its tokens. */
static float gk_input(const gk_memory *m, const gk_conv_args *args, const gk_sequence *s,
                      int channel, int column, long position) {
    const int history = args->taps - 1;
    if (position >= history) {
        const long row = gk_row(m, &args->group, s->first + position - history);
        return gk_load(m, &args->x, row * args->x.stride[0] + column * args->x.stride[1]);
    }
    /* Without a history the slot may hold anything, NaN included: it is not read. */
    return s->conv_slot < 0 ? 0.0f
                            : gk_load(m, &args->state,
                                      s->conv_slot * args->state.stride[0] +
                                          (s->conv_row + position) * args->state.stride[1] +
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
    const long t = token - s.first;
    const int column = gk_channel_column(&args.layout, channel);
    float sum = 0.0f;
    for (int i = 0; i < args.taps; i++) {
        const float weight = gk_load(
            &m, &args.weight, channel * args.weight.stride[0] + i * args.weight.stride[1]);
        sum += weight * gk_input(&m, &args, &s, channel, column, t + i);
    }
    if (args.bias.data) {
        sum += gk_load(&m, &args.bias, channel * args.bias.stride[0]);
    }
    const float y = args.silu ? gk_silu(sum) : sum;
    const long row = gk_row(&m, &args.group, token);
    gk_store(&m, &args.out, row * args.out.stride[0] + channel * args.out.stride[1],
             gk_round(y, args.round));
}

/* Row `row` of a slot becomes input `position` of the stream, bit for bit. */
static void gk_keep(const gk_memory *m, const gk_conv_args *args, const gk_sequence *s,
                    int channel, const uint *history, long slot, int row, long position) {
    uint bits;
    if (position >= args->taps - 1) {
        const long token = gk_row(m, &args->group, s->first + position - (args->taps - 1));
        bits =
            gk_load_bits(m, &args->x,
                         token * args->x.stride[0] +
                             gk_channel_column(&args->layout, channel) * args->x.stride[1]);
    } else {
        bits = history[position];
    }
    gk_store_bits(m, &args->state,
                  slot * args->state.stride[0] + row * args->state.stride[1] +
                      channel * args->state.stride[2],
                  bits);
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
    if (s.length <= 0 || channel >= args.channels) {
        return;
    }
    uint history[GK_MAX_TAPS];
    for (int i = 0; i < GK_MAX_TAPS; i++) {
        history[i] = 0;
        if (i < args.taps - 1 && s.conv_slot >= 0) {
            history[i] = gk_load_bits(&m, &args.state,
                                      s.conv_slot * args.state.stride[0] +
                                          (s.conv_row + i) * args.state.stride[1] +
                                          channel * args.state.stride[2]);
        }
    }
    const int rows = args.taps - 1;
    if (!args.group.accepted.data) {
        const long slot = gk_slot(&m, &args.group, s.index, 0);
        for (int i = 0; i < rows; i++) {
            gk_keep(&m, &args, &s, channel, history, slot, i, s.length + i);
        }
    } else if (args.group.sliding) {
        /* The line without its oldest row: where the next call starts in it is for the next
         * count of accepted tokens to say. */
        const long slot = gk_slot(&m, &args.group, s.index, 0);
        for (int i = 0; i < rows - 1 + s.length; i++) {
            gk_keep(&m, &args, &s, channel, history, slot, i, i + 1);
        }
    } else {
        for (long t = 0; t < s.length; t++) {
            const long slot = gk_slot(&m, &args.group, s.index, t);
            for (int i = 0; i < rows; i++) {
                gk_keep(&m, &args, &s, channel, history, slot, i, t + 1 + i);
            }
        }
    }
}
