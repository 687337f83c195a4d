/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The depthwise causal convolution, and what conv_state keeps of its inputs: two kernels,
 * because the second overwrites histories that all threads of the first may read. */
#include "common.hip"

#define GK_MAX_TAPS 8

/* The first row of history that the first token sees. */
static __device__ inline long long gk_history_row(const gk_conv_args &args,
                                                  const gk_sequence &s) {
    return args.group.accepted.data ? s.conv_row
                                    : args.kept_first + args.kept - (args.taps - 1);
}

/* Position of the input that stands `steps` before the one at `position`: a node of a tree
 * of drafts follows its parent, the root the history. */
static __device__ inline long long gk_before(const gk_conv_args &args, const gk_sequence &s,
                                             long long position, int steps) {
    if (!args.group.parents.data) {
        return position - steps;
    }
    for (; steps > 0; steps--) {
        const long long token = position - (args.taps - 1);
        position = token > 0 ? args.taps - 1 + gk_int(args.group.parents, s.index, token)
                             : position - 1;
    }
    return position;
}

static __device__ inline float gk_weight(const gk_conv_args &args, int channel, int tap) {
    const long long at =
        args.packed ? (long long)(channel / 32) * 32 * args.taps + tap / 2 * 64 +
                          channel % 32 * 2 + tap % 2
                    : channel * args.weight.stride[0] + tap * args.weight.stride[1];
    return gk_load(args.weight, at);
}

/* Input `position` of a sequence's stream: the taps-1 rows of history, then its tokens. */
static __device__ inline float gk_input(const gk_conv_args &args, const gk_sequence &s,
                                        int channel, int column, long long position) {
    const int history = args.taps - 1;
    if (position >= history) {
        const long long row = gk_row(args.group, s.first + position - history);
        return gk_load(args.x, row * args.x.stride[0] + column * args.x.stride[1]);
    }
    /* Without a history the slot may hold anything, NaN included: it is not read. */
    return s.conv_slot < 0 ? 0.0f
                           : gk_load(args.state, s.conv_slot * args.state.stride[0] +
                                                     (gk_history_row(args, s) + position) *
                                                         args.state.stride[1] +
                                                     channel * args.state.stride[2]);
}

/* Block x: a local token; block y: as many channels as it has threads. Taps in rising order
 * from zero, the bias last. */
extern "C" __global__ void __launch_bounds__(256) gk_conv(const gk_conv_args args) {
    const int channel = (int)(blockIdx.y * blockDim.x + threadIdx.x);
    const int index = gk_find_sequence(args.group, blockIdx.x);
    if (index < 0 || channel >= args.channels) {
        return;
    }
    const gk_sequence s = gk_sequence_at(args.group, index);
    if (gk_is_idle(args.group, s)) {
        return;
    }
    const long long t = blockIdx.x - s.first, history = args.taps - 1;
    const int column = gk_channel_column(args.layout, channel);
    float sum = 0.0f;
    for (int i = 0; i < args.taps; i++) {
        const long long position = gk_before(args, s, history + t, (int)history - i);
        const float product =
            gk_weight(args, channel, i) * gk_input(args, s, channel, column, position);
        sum += gk_round(product, args.round_product);
    }
    if (args.bias.data) {
        sum += gk_load(args.bias, channel * args.bias.stride[0]);
    }
    const float y = args.silu ? gk_silu(sum) : sum;
    const long long row = gk_row(args.group, blockIdx.x);
    gk_store(args.out, row * args.out.stride[0] + channel * args.out.stride[1],
             gk_round(y, args.round));
}

/* What a thread knows of one channel's past, as bits. */
typedef struct gk_past {
    unsigned history[GK_MAX_TAPS];
    int rows; /* in `history`: taps - 1, or one more */
} gk_past;

/* Row `row` of a line becomes input `position` of the stream, bit for bit; positions below
 * 0 are older history. */
static __device__ inline void gk_keep(const gk_conv_args &args, const gk_view &lines,
                                      const gk_sequence &s, int channel,
                                      const gk_past &past, long long slot, long long row,
                                      long long position) {
    const int seen = args.taps - 1;
    unsigned bits;
    if (position >= seen) {
        const long long token = gk_row(args.group, s.first + position - seen);
        bits = gk_load_bits(args.x,
                            token * args.x.stride[0] +
                                gk_channel_column(args.layout, channel) * args.x.stride[1]);
    } else {
        bits = past.history[position + past.rows - seen];
    }
    gk_store_bits(
        lines, slot * lines.stride[0] + row * lines.stride[1] + channel * lines.stride[2],
        bits);
}

/* The window after each token, in a tensor of its own. */
static __device__ inline void gk_keep_windows(const gk_conv_args &args,
                                              const gk_sequence &s, int channel,
                                              const gk_past &past) {
    const int seen = args.taps - 1;
    for (long long t = 0; t < s.length; t++) {
        const long long place = gk_int(args.group.places, s.index, t);
        for (int row = 0; row < seen; row++) {
            gk_keep(args, args.windows, s, channel, past, place, row,
                    gk_before(args, s, seen + t, seen - 1 - row));
        }
    }
}

/* All rows of a line move up, and the tokens follow: from the oldest row on, since a row is
 * read before it is written over. */
static __device__ inline void gk_roll(const gk_conv_args &args, const gk_sequence &s,
                                      int channel, const gk_past &past) {
    const long long slot = gk_slot(args.group, s.index, 0);
    const long long at = slot * args.state.stride[0] + channel * args.state.stride[2];
    for (long long row = 0; row < args.rows; row++) {
        const long long from = row + s.length;
        if (from < args.rows) {
            gk_store_bits(args.state, at + row * args.state.stride[1],
                          gk_load_bits(args.state, at + from * args.state.stride[1]));
        } else {
            gk_keep(args, args.state, s, channel, past, slot, row,
                    args.taps - 1 + from - args.rows);
        }
    }
}

static __device__ inline void gk_keep_state(const gk_conv_args &args, const gk_sequence &s,
                                            int channel, const gk_past &past) {
    const int rows = args.taps - 1;
    const long long slot = gk_slot(args.group, s.index, 0);
    if (args.group.accepted.data && args.group.sliding) {
        /* The line without its oldest row: where the next call starts in it is for the next
         * count of accepted tokens to say. */
        for (int i = 0; i < rows - 1 + s.length; i++) {
            gk_keep(args, args.state, s, channel, past, slot, i, i + 1);
        }
    } else if (args.group.accepted.data) {
        for (long long t = 0; t < s.length; t++) {
            for (int i = 0; i < rows; i++) {
                gk_keep(args, args.state, s, channel, past, gk_slot(args.group, s.index, t),
                        i, t + 1 + i);
            }
        }
    } else if (args.rolling) {
        gk_roll(args, s, channel, past);
    } else {
        for (int i = 0; i < args.kept; i++) {
            gk_keep(args, args.state, s, channel, past, slot, args.kept_first + i,
                    rows + s.length - args.kept + i);
        }
    }
}

/* Block x: a sequence; block y: as many channels as it has threads. A channel of a sequence
 * is one thread's from start to end, so that it may overwrite what it has read. */
extern "C" __global__ void __launch_bounds__(256) gk_conv_keep(const gk_conv_args args) {
    const int channel = (int)(blockIdx.y * blockDim.x + threadIdx.x);
    const gk_sequence s = gk_sequence_at(args.group, (int)blockIdx.x);
    if (s.length <= 0 || s.padded || channel >= args.channels) {
        return;
    }
    /* Taken out first: the slots written may be the one that it came from. */
    gk_past past;
    past.rows = args.group.accepted.data ? args.taps - 1 : args.kept;
    const long long first = gk_history_row(args, s) - (past.rows - (args.taps - 1));
    for (int i = 0; i < GK_MAX_TAPS; i++) {
        past.history[i] = 0;
        if (i < past.rows && s.conv_slot >= 0) {
            past.history[i] =
                gk_load_bits(args.state, s.conv_slot * args.state.stride[0] +
                                             (first + i) * args.state.stride[1] +
                                             channel * args.state.stride[2]);
        }
    }
    if (args.windows.data) {
        gk_keep_windows(args, s, channel, past);
    }
    gk_keep_state(args, s, channel, past);
}

/* conv_weight_pack: a thread an element of [C/32][W/2][32][2]. */
extern "C" __global__ void __launch_bounds__(256) gk_pack(const gk_pack_args args) {
    const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= (long long)args.channels * args.taps) {
        return;
    }
    const long long block = at / (32 * args.taps), pair = at % (32 * args.taps) / 64;
    const long long channel = block * 32 + at % 64 / 2, tap = pair * 2 + at % 2;
    gk_store_bits(args.packed, at,
                  gk_load_bits(args.weight, channel * args.weight.stride[0] +
                                                tap * args.weight.stride[1]));
}
