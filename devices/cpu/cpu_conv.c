/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "cpu_conv.h"

#include <string.h>

#include "cpu.h"
#include "cpu_convert.h"
#include "cpu_line.h"
#include "cpu_math.h"

gdn_status cpu_conv_check(const cpu_group *group, const cpu_conv_op *op, gdn_error *err) {
    const gdn_tensor *weight = op->weight;
    const int64_t taps = cpu_conv_taps(op);
    if (taps < 1 || taps > CPU_MAX_TAPS) {
        return gdn_error_set(err, GDN_ERR_UNSUPPORTED,
                             "%s: this device takes 1 to %d taps but found %lld",
                             weight->name, CPU_MAX_TAPS, (long long)taps);
    }
    const bool packed = op->conventions->conv_weight == GDN_WEIGHT_VNNI;
    if (packed && (weight->shape[0] % 32 != 0 || taps % 2 != 0 || weight->stride[1] != 1 ||
                   weight->stride[0] != taps)) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "%s: expected whole blocks of 32 channels and two taps, dense",
                             weight->name);
    }
    const int64_t found = cpu_line_rows(op);
    int64_t rows = cpu_group_conv_rows(group, taps);
    if (rows < cpu_line_kept(op)) {
        rows = cpu_line_kept(op);
    }
    if (found < rows) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "%s: expected %lld rows a slot or more but found %lld",
                             op->state->name, (long long)rows, (long long)found);
    }
    return cpu_group_expect(group, err);
}

size_t cpu_conv_floats(int64_t taps, int64_t count) {
    return cpu_aligned(taps * count) + 2 * cpu_aligned(count) +
           cpu_aligned((taps - 1 + CPU_SEGMENT) * count);
}

static void load_weight(const cpu_conv_op *op, cpu_channels channels, int64_t taps,
                        float *out) {
    const gdn_tensor *w = op->weight;
    const int64_t n = channels.count;
    const bool wc = op->conventions->conv_weight == GDN_WEIGHT_WC;
    for (int64_t i = 0; i < taps; i++) {
        if (op->conventions->conv_weight != GDN_WEIGHT_VNNI) {
            const int64_t by_channel = w->stride[wc ? 1 : 0];
            cpu_load(out + i * n, w->data, w->dtype,
                     channels.channel * by_channel + i * w->stride[wc ? 0 : 1], by_channel,
                     n);
            continue;
        }
        /* Blocks of 32 channels; in a block pairs of taps, in those the channels. */
        for (int64_t c = 0; c < n; c++) {
            const int64_t channel = channels.channel + c;
            const int64_t block = channel / 32 * 32 * taps, pair = i / 2 * 64;
            out[i * n + c] =
                cpu_load_one(w->data, w->dtype, block + pair + channel % 32 * 2 + i % 2);
        }
    }
}

void cpu_conv_begin(cpu_conv *conv, const cpu_conv_op *op, const cpu_sequence *sequence,
                    cpu_channels channels, float *scratch) {
    const int64_t n = channels.count;
    *conv = (cpu_conv){.op = op, .sequence = sequence, .channels = channels};
    conv->taps = cpu_conv_taps(op);
    conv->weight = scratch;
    conv->bias = conv->weight + cpu_aligned(conv->taps * n);
    conv->product = conv->bias + cpu_aligned(n);
    conv->x = conv->product + cpu_aligned(n);
    load_weight(op, channels, conv->taps, conv->weight);
    if (op->bias) {
        cpu_load(conv->bias, op->bias->data, op->bias->dtype,
                 channels.channel * op->bias->stride[0], op->bias->stride[0], n);
    } else {
        memset(conv->bias, 0, (size_t)n * sizeof *conv->bias);
    }
    /* Without a history the slot may hold anything, NaN included: it is not read. */
    const int64_t first = cpu_line_history(op, sequence);
    for (int64_t i = 0; i < conv->taps - 1; i++) {
        if (sequence->conv_slot < 0) {
            memset(conv->x + i * n, 0, (size_t)n * sizeof *conv->x);
            continue;
        }
        const cpu_cells row =
            cpu_line_cells(op, op->state, sequence->conv_slot, first + i, channels.channel);
        cpu_load(conv->x + i * n, op->state->data, op->state->dtype, row.at, row.stride, n);
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

static void add_products(const cpu_conv *conv, const float *restrict x, float *restrict y) {
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
}

/* Each product through the type of x. In fp32 it is exact for the 16-bit types and itself
 * the rounded one for fp32. */
static void add_rounded(const cpu_conv *conv, const float *x, float *y) {
    const int64_t n = conv->channels.count;
    memset(y, 0, (size_t)n * sizeof *y);
    for (int64_t i = 0; i < conv->taps; i++) {
        for (int64_t c = 0; c < n; c++) {
            conv->product[c] = conv->weight[i * n + c] * x[i * n + c];
        }
        cpu_round(conv->product, conv->op->x->dtype, n);
        for (int64_t c = 0; c < n; c++) {
            y[c] += conv->product[c];
        }
    }
}

/* Taps in rising order from zero, the bias last, as the contract has it. */
static void convolve(const cpu_conv *conv, const float *restrict x, float *restrict y) {
    const int64_t n = conv->channels.count;
    if (conv->op->conventions->conv_product == GDN_ROUND_STORAGE) {
        add_rounded(conv, x, y);
    } else {
        add_products(conv, x, y);
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

static void load_token(const cpu_conv *conv, int64_t t, float *out) {
    const gdn_tensor *x = conv->op->x;
    const int64_t at = cpu_sequence_row(conv->sequence, t) * x->stride[0] +
                       conv->channels.column * x->stride[1];
    cpu_load(out, x->data, x->dtype, at, x->stride[1], conv->channels.count);
}

/* A node sees its ancestors and behind the root the history, which stays in front of x; the
 * rows behind it are room for them. */
static void convolve_node(const cpu_conv *conv, int64_t token, float *y) {
    const int64_t n = conv->channels.count, history = conv->taps - 1;
    float *seen = conv->x + history * n;
    for (int64_t i = conv->taps - 1, position = history + token; i >= 0; i--) {
        if (position >= history) {
            load_token(conv, position - history, seen + i * n);
        } else {
            memcpy(seen + i * n, conv->x + position * n, (size_t)n * sizeof *seen);
        }
        position = cpu_line_before(conv->op, conv->sequence, conv->taps, position);
    }
    convolve(conv, seen, y);
}

void cpu_conv_segment(cpu_conv *conv, int64_t first, int64_t count, float *y, int64_t ldy) {
    const int64_t n = conv->channels.count;
    const int64_t history = conv->taps - 1;
    for (int64_t t = 0; t < count; t++) {
        if (conv->op->parents) {
            convolve_node(conv, first + t, y + t * ldy);
            continue;
        }
        load_token(conv, first + t, conv->x + (history + t) * n);
        convolve(conv, conv->x + t * n, y + t * ldy);
    }
    if (!conv->op->parents) {
        memmove(conv->x, conv->x + count * n, (size_t)(history * n) * sizeof *conv->x);
    }
}
