/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The gated delta rule of one value head: its state, a segment of its tokens, and the two
 * ways of running them. */
#ifndef GDN_CPU_DELTA_H
#define GDN_CPU_DELTA_H

#include "cpu.h"
#include "cpu_conv.h"

/* Row length of keys, kk and qk: apart from a power of two, which would map all rows to a
 * few sets of the first cache. */
#define CPU_LD_TOKENS (CPU_SEGMENT + 16)

typedef struct cpu_delta {
    const cpu_kernels *kernels;
    int64_t k_dim, v_dim;
    int64_t columns, ld; /* v_dim padded for the kernels, and for the cache */
    float *q, *k;        /* [CPU_SEGMENT][k_dim] */
    float *keys;         /* k transposed, [k_dim][CPU_LD_TOKENS] */
    float *v, *u, *out;  /* [CPU_SEGMENT][ld] */
    float *state;        /* [k_dim][ld] */
    float *kk, *qk;      /* [CPU_SEGMENT][CPU_LD_TOKENS] */
    float *rows;         /* [16][k_dim], for transposing */
    /* Log decay, or the decay itself where the call brings that; update strength. */
    float g[CPU_SEGMENT], beta[CPU_SEGMENT];
} cpu_delta;

/* A head's state in a pool. */
typedef struct cpu_pool {
    const gdn_tensor *tensor;
    int k_axis, v_axis;
} cpu_pool;

cpu_pool cpu_pool_of(const gdn_tensor *tensor, gdn_state_order order);

/* How a sequence runs. */
typedef struct cpu_delta_plan {
    const gdn_conventions *conventions;
    const cpu_pool *pool, *buffer; /* buffer: of intermediate states, or NULL */
    int64_t head;
    bool chunked;      /* the call's batch is for a chunk kernel */
    bool decays_given; /* g holds decays */
    gdn_dtype storage; /* T */
} cpu_delta_plan;

/* Floats of scratch memory for a head of these dimensions. */
size_t cpu_delta_floats(int64_t k_dim, int64_t v_dim);

void cpu_delta_init(cpu_delta *delta, const cpu_kernels *kernels, int64_t k_dim,
                    int64_t v_dim, float *scratch);

/* Start state of a sequence, zero if it has none. */
void cpu_delta_begin(cpu_delta *delta, const cpu_delta_plan *plan,
                     const cpu_sequence *sequence);

/* Makes of `count` rows of q and k what the recurrence takes: q scaled by K^-1/2, and both
 * divided by their norms before if `l2norm`; rounded where the conventions say so. */
void cpu_delta_normalise(cpu_delta *delta, const cpu_delta_plan *plan, int64_t count,
                         bool l2norm);

/* Runs the `count` tokens in q, k, v, g and beta, of which `first` is the first of the
 * sequence, into `out`, and stores the states that are due after them. Segments are
 * CPU_SEGMENT tokens, save the last. */
void cpu_delta_segment(cpu_delta *delta, const cpu_delta_plan *plan,
                       const cpu_sequence *sequence, int64_t first, int64_t count);

/* The chunk form of a segment (cpu_chunk.c). */
void cpu_delta_chunk(cpu_delta *delta, int64_t count);

#endif
