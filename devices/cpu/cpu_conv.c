/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "cpu_conv.h"

#include <string.h>

#include "cpu.h"
#include "cpu_convert.h"
#include "cpu_math.h"

gdn_status cpu_conv_check(const cpu_group *group, const gdn_tensor *weight,
                          const gdn_tensor *state, gdn_error *err) {
    const int64_t taps = weight->shape[1];
    if (taps < 1 || taps > CPU_MAX_TAPS) {
        return gdn_error_set(err, GDN_ERR_UNSUPPORTED,
                             "%s: this device takes 1 to %d taps but found %lld",
                             weight->name, CPU_MAX_TAPS, (long long)taps);
    }
    const int64_t rows = cpu_group_conv_rows(group, taps);
    if (state->shape[1] < rows) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "%s: expected %lld rows a slot or more but found %lld",
                             state->name, (long long)rows, (long long)state->shape[1]);
    }
    return cpu_group_expect(group, err);
}

size_t cpu_conv_floats(int64_t taps, int64_t count) {
    return cpu_aligned(taps * count) + cpu_aligned(count) +
           cpu_aligned((taps - 1 + CPU_SEGMENT) * count);
}

void cpu_conv_begin(cpu_conv *conv, const cpu_conv_op *op, const cpu_sequence *sequence,
                    cpu_channels channels, float *scratch) {
    const gdn_tensor *weight = op->weight;
    const int64_t n = channels.count;
    *conv = (cpu_conv){.op = op, .sequence = sequence, .channels = channels};
    conv->taps = weight->shape[1];
    conv->weight = scratch;
    conv->bias = conv->weight + cpu_aligned(conv->taps * n);
    conv->x = conv->bias + cpu_aligned(n);
    for (int64_t i = 0; i < conv->taps; i++) {
        const int64_t at = channels.channel * weight->stride[0] + i * weight->stride[1];
        cpu_load(conv->weight + i * n, weight->data, weight->dtype, at, weight->stride[0],
                 n);
    }
    if (op->bias) {
        cpu_load(conv->bias, op->bias->data, op->bias->dtype,
                 channels.channel * op->bias->stride[0], op->bias->stride[0], n);
    } else {
        memset(conv->bias, 0, (size_t)n * sizeof *conv->bias);
    }
    /* Without a history the slot may hold anything, NaN included: it is not read. */
    for (int64_t i = 0; i < conv->taps - 1; i++) {
        const gdn_tensor *state = op->state;
        if (sequence->conv_slot < 0) {
            memset(conv->x + i * n, 0, (size_t)n * sizeof *conv->x);
            continue;
        }
        const int64_t at = sequence->conv_slot * state->stride[0] +
                           (sequence->conv_row + i) * state->stride[1] +
                           channels.channel * state->stride[2];
        cpu_load(conv->x + i * n, state->data, state->dtype, at, state->stride[2], n);
    }
}

/* `e` where x has its sign set, else 1. By bits: compilers make a branch of a comparison,
 * and no processor predicts the sign of an activation. */
static inline float negative_or_one(float x, float e) {
    const float one = 1.0F;
    uint32_t sign, chosen, other;
    memcpy(&sign, &x, sizeof sign);
    memcpy(&chosen, &e, sizeof chosen);
    memcpy(&other, &one, sizeof other);
    const uint32_t mask = UINT32_C(0) - (sign >> 31);
    chosen = (chosen & mask) | (other & ~mask);
    memcpy(&e, &chosen, sizeof e);
    return e;
}

/* x / (1 + exp(-x)) without overflow, in three passes over a block, so that all but the
 * exponentials are vectorised. */
static void silu(float *y, int64_t n) {
    enum { BLOCK = 64 };
    float x[BLOCK], e[BLOCK];
    for (int64_t first = 0; first < n; first += BLOCK, y += BLOCK) {
        const int64_t count = n - first < BLOCK ? n - first : BLOCK;
        for (int64_t i = 0; i < count; i++) {
            x[i] = y[i];
            e[i] = expf(-fabsf(x[i]));
        }
        for (int64_t i = 0; i < count; i++) {
            y[i] = x[i] * negative_or_one(x[i], e[i]) / (1.0F + e[i]);
        }
        for (int64_t i = 0; i < count; i++) {
            if (x[i] < CPU_SILU_TAIL) {
                y[i] = cpu_silu_tail(x[i]);
            }
        }
    }
}

/* Taps in rising order from zero, the bias last, as the contract has it. */
static void convolve(const cpu_conv *conv, const float *restrict x, float *restrict y) {
    const int64_t n = conv->channels.count;
    const float *restrict weight = conv->weight;
    for (int64_t c = 0; c < n; c++) {
        y[c] = weight[c] * x[c];
    }
    for (int64_t i = 1; i < conv->taps; i++) {
        for (int64_t c = 0; c < n; c++) {
            y[c] += weight[i * n + c] * x[i * n + c];
        }
    }
    for (int64_t c = 0; c < n; c++) {
        y[c] += conv->bias[c];
    }
    if (conv->op->silu) {
        silu(y, n);
    }
    if (conv->op->round) {
        cpu_round(y, conv->op->x->dtype, n);
    }
}

void cpu_conv_segment(cpu_conv *conv, int64_t first, int64_t count, float *y, int64_t ldy) {
    const gdn_tensor *x = conv->op->x;
    const int64_t n = conv->channels.count;
    const int64_t history = conv->taps - 1;
    for (int64_t t = 0; t < count; t++) {
        const int64_t at = cpu_sequence_row(conv->sequence, first + t) * x->stride[0] +
                           conv->channels.column * x->stride[1];
        cpu_load(conv->x + (history + t) * n, x->data, x->dtype, at, x->stride[1], n);
        convolve(conv, conv->x + t * n, y + t * ldy);
    }
    memmove(conv->x, conv->x + count * n, (size_t)(history * n) * sizeof *conv->x);
}

/* One row of a slot from row `position` of the stream of inputs: the taps-1 rows of
 * `history`, then the tokens. */
static void keep_row(const cpu_conv_op *op, const cpu_sequence *sequence,
                     cpu_channels channels, int64_t slot, int64_t row, int64_t position,
                     const uint8_t *history) {
    const gdn_tensor *state = op->state, *x = op->x;
    const int64_t taps = op->weight->shape[1], n = channels.count;
    const size_t size = gdn_dtype_size(state->dtype);
    const int64_t at = slot * state->stride[0] + row * state->stride[1] +
                       channels.channel * state->stride[2];
    if (position >= taps - 1) {
        const int64_t token = cpu_sequence_row(sequence, position - (taps - 1));
        cpu_copy(state->data, at, state->stride[2], x->data,
                 token * x->stride[0] + channels.column * x->stride[1], x->stride[1], n,
                 size);
    } else {
        cpu_copy(state->data, at, state->stride[2], history, position * n, 1, n, size);
    }
}

/* At most this many channels at once, so that their history fits on the stack. */
enum { KEEP_CHANNELS = 256 };

static void keep_block(const cpu_conv_op *op, const cpu_sequence *sequence,
                       cpu_channels channels) {
    const gdn_tensor *state = op->state;
    const int64_t taps = op->weight->shape[1];
    const int64_t length = sequence->length;
    const size_t size = gdn_dtype_size(state->dtype);
    /* Taken out first: the slots written may be the one that it came from. */
    uint8_t history[(CPU_MAX_TAPS - 1) * KEEP_CHANNELS * sizeof(float)] = {0};
    for (int64_t i = 0; i < taps - 1 && sequence->conv_slot >= 0; i++) {
        cpu_copy(history, i * channels.count, 1, state->data,
                 sequence->conv_slot * state->stride[0] +
                     (sequence->conv_row + i) * state->stride[1] +
                     channels.channel * state->stride[2],
                 state->stride[2], channels.count, size);
    }
    if (!sequence->group->accepted) {
        for (int64_t i = 0; i < taps - 1; i++) {
            keep_row(op, sequence, channels, cpu_sequence_slot(sequence, 0), i, length + i,
                     history);
        }
    } else if (sequence->group->window == GDN_CONV_SLIDING) {
        /* The line without its oldest row: where the next call starts in it is for the
         * next count of accepted tokens to say. */
        for (int64_t i = 0; i < taps - 2 + length; i++) {
            keep_row(op, sequence, channels, cpu_sequence_slot(sequence, 0), i, i + 1,
                     history);
        }
    } else {
        for (int64_t t = 0; t < length; t++) {
            for (int64_t i = 0; i < taps - 1; i++) {
                keep_row(op, sequence, channels, cpu_sequence_slot(sequence, t), i,
                         t + 1 + i, history);
            }
        }
    }
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
