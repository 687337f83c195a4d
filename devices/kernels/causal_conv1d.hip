/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The depthwise causal convolution, and what conv_state keeps of its inputs: two kernels,
 * because the second overwrites histories that all threads of the first may read. */
#include "common.hip"

#define GK_MAX_TAPS 8

/* Input `position` of a sequence's stream: the taps-1 rows of history, then its tokens. */
static __device__ inline float gk_input(const gk_conv_args &args, const gk_sequence &s,
                                        int channel, int column, long long position) {
    const int history = args.taps - 1;
    if (position >= history) {
        const long long row = gk_row(args.group, s.first + position - history);
        return gk_load(args.x, row * args.x.stride[0] + column * args.x.stride[1]);
    }
    /* Without a history the slot may hold anything, NaN included: it is not read. */
    return s.conv_slot < 0
               ? 0.0f
               : gk_load(args.state, s.conv_slot * args.state.stride[0] +
                                         (s.conv_row + position) * args.state.stride[1] +
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
    const long long t = blockIdx.x - s.first;
    const int column = gk_channel_column(args.layout, channel);
    float sum = 0.0f;
    for (int i = 0; i < args.taps; i++) {
        const float weight = gk_load(args.weight, channel * args.weight.stride[0] +
                                                      i * args.weight.stride[1]);
        sum += weight * gk_input(args, s, channel, column, t + i);
    }
    if (args.bias.data) {
        sum += gk_load(args.bias, channel * args.bias.stride[0]);
    }
    const float y = args.silu ? gk_silu(sum) : sum;
    const long long row = gk_row(args.group, blockIdx.x);
    gk_store(args.out, row * args.out.stride[0] + channel * args.out.stride[1],
             gk_round(y, args.round));
}

/* Row `row` of a slot becomes input `position` of the stream, bit for bit. */
static __device__ inline void gk_keep(const gk_conv_args &args, const gk_sequence &s,
                                      int channel, const unsigned *history, long long slot,
                                      int row, long long position) {
    unsigned bits;
    if (position >= args.taps - 1) {
        const long long token = gk_row(args.group, s.first + position - (args.taps - 1));
        bits = gk_load_bits(args.x,
                            token * args.x.stride[0] +
                                gk_channel_column(args.layout, channel) * args.x.stride[1]);
    } else {
        bits = history[position];
    }
    gk_store_bits(args.state,
                  slot * args.state.stride[0] + row * args.state.stride[1] +
                      channel * args.state.stride[2],
                  bits);
}

/* Block x: a sequence; block y: as many channels as it has threads. A channel of a sequence
 * is one thread's from start to end, so that it may overwrite what it has read. */
extern "C" __global__ void __launch_bounds__(256) gk_conv_keep(const gk_conv_args args) {
    const int channel = (int)(blockIdx.y * blockDim.x + threadIdx.x);
    const gk_sequence s = gk_sequence_at(args.group, (int)blockIdx.x);
    if (s.length <= 0 || channel >= args.channels) {
        return;
    }
    unsigned history[GK_MAX_TAPS];
    for (int i = 0; i < GK_MAX_TAPS; i++) {
        history[i] = 0;
        if (i < args.taps - 1 && s.conv_slot >= 0) {
            history[i] =
                gk_load_bits(args.state, s.conv_slot * args.state.stride[0] +
                                             (s.conv_row + i) * args.state.stride[1] +
                                             channel * args.state.stride[2]);
        }
    }
    const int rows = args.taps - 1;
    if (!args.group.accepted.data) {
        const long long slot = gk_slot(args.group, s.index, 0);
        for (int i = 0; i < rows; i++) {
            gk_keep(args, s, channel, history, slot, i, s.length + i);
        }
    } else if (args.group.sliding) {
        /* The line without its oldest row: where the next call starts in it is for the next
         * count of accepted tokens to say. */
        const long long slot = gk_slot(args.group, s.index, 0);
        for (int i = 0; i < rows - 1 + s.length; i++) {
            gk_keep(args, s, channel, history, slot, i, i + 1);
        }
    } else {
        for (long long t = 0; t < s.length; t++) {
            const long long slot = gk_slot(args.group, s.index, t);
            for (int i = 0; i < rows; i++) {
                gk_keep(args, s, channel, history, slot, i, t + 1 + i);
            }
        }
    }
}
