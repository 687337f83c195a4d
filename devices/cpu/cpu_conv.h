/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The causal convolution of adjacent channels of one sequence, a segment of tokens at a
 * time, and what conv_state keeps of its inputs. */
#ifndef GDN_CPU_CONV_H
#define GDN_CPU_CONV_H

#include "cpu_sequences.h"

/* Tokens in a segment; also the chunk of the delta rule. */
#define CPU_SEGMENT 64

#define CPU_MAX_TAPS 8

/* The tensors; channels are those of weight, bias and state. */
typedef struct cpu_conv_op {
    const gdn_conventions *conventions;
    const gdn_tensor *x, *weight, *bias, *state; /* bias may be NULL */
    /* Speculation with one slot a sequence: rows of `windows` (may be NULL) and parents
     * (NULL: the token before) of its tokens, both [count, columns]. NULL: none. */
    const gdn_tensor *buffer, *parents, *windows;
    bool silu;
    bool round; /* y to x's type */
} cpu_conv_op;

/* Channels `channel`.. are columns `column`.. of x. */
typedef struct cpu_channels {
    int64_t channel, column, count;
} cpu_channels;

typedef struct cpu_conv {
    const cpu_conv_op *op;
    const cpu_sequence *sequence;
    cpu_channels channels;
    int64_t taps;
    float *weight;  /* [taps][count] */
    float *bias;    /* [count] */
    float *product; /* [count] */
    float *x;       /* [taps-1+CPU_SEGMENT][count]; the inputs before the segment first */
} cpu_conv;

int64_t cpu_conv_taps(const cpu_conv_op *op);

/* Shapes of weight and state for `channels` channels, by the conventions; -1: any size. */
void cpu_conv_weight_shape(const gdn_conventions *conventions, int64_t channels,
                           int64_t shape[2]);
void cpu_conv_state_shape(const gdn_conventions *conventions, int64_t channels,
                          int64_t shape[3]);

/* Taps, and rows of conv_state for what `group` keeps there. */
gdn_status cpu_conv_check(const cpu_group *group, const cpu_conv_op *op, gdn_error *err);

/* Floats of scratch memory that one cpu_conv needs. */
size_t cpu_conv_floats(int64_t taps, int64_t count);

/* Loads weights and history. */
void cpu_conv_begin(cpu_conv *conv, const cpu_conv_op *op, const cpu_sequence *sequence,
                    cpu_channels channels, float *scratch);

/* The next `count` <= CPU_SEGMENT tokens, of which `first` is the first, into rows of y. */
void cpu_conv_segment(cpu_conv *conv, int64_t first, int64_t count, float *y, int64_t ldy);

/* Bits of the inputs that the next call needs, and the windows after each token. Reads the
 * old state: to be called after all of the sequence's convolutions. */
void cpu_conv_keep(const cpu_conv_op *op, const cpu_sequence *sequence,
                   cpu_channels channels);

#endif
