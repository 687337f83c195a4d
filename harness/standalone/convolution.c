/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Input number `i` of a channel: W-1 of history, then the tokens. */
static float history[W][CHANNELS];

static float input_of(const long *rows, long i, long channel) {
    return i < W - 1 ? history[i][channel] : token_input(rows[i - (W - 1)], channel);
}

static void keep(const long *rows, long slot, long first, long count) {
    for (long i = 0; i < count; i++) {
        for (long c = 0; c < CHANNELS; c++) {
            put_conv_state(slot * conv_state_STRIDE + i * CHANNELS + c,
                           input_of(rows, first + i, c));
        }
    }
}

/* y of one sequence, [length][CHANNELS], rounded to storage; keeps its inputs. */
static void convolve(const long *rows, long length, long load, long load_row, int spec,
                     const long *slots, float *y) {
    for (long i = 0; i < (W - 1) * CHANNELS; i++) {
        history[i / CHANNELS][i % CHANNELS] =
            load < 0 ? 0.0F
                     : get_conv_state(load * conv_state_STRIDE + load_row * CHANNELS + i);
    }
    for (long t = 0; t < length; t++) {
        for (long c = 0; c < CHANNELS; c++) {
            float sum = bias_of(c);
            for (long w = 0; w < W; w++) {
                sum += tap_of(c, w) * input_of(rows, t + w, c);
            }
            y[t * CHANNELS + c] = round_y(SILU ? sum / (1.0F + expf(-sum)) : sum);
        }
    }
    if (!spec) {
        keep(rows, slots[0], length, W - 1);
    } else if (CONV_SLIDING) {
        keep(rows, slots[0], 1, W - 2 + length);
    } else {
        for (long t = 0; t < length; t++) {
            keep(rows, slots[t], t + 1, W - 1);
        }
    }
}
