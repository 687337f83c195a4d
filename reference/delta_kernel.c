/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The gated delta rule on a block of state rows (contract vllm_xpu 2.5), token by token:
 *
 *     S' = a S        m = S' k        d = b (v - m)        S = S' + d k^T        o = S q
 *
 * with k ascending in every sum and one accumulator a row. Beside it runs the bound of
 * reference/BOUND.md on what fp32 (or another class) can make of it. Written with the
 * vector operations of delta_lanes.h; CMake compiles this file once for each set.
 *
 * The second half of a token and the first half of the next one share a pass over the
 * block, so that one load and one store of an element pay for 4 operations of the fma pipes
 * (7 with the bound): in two passes the stores, not the arithmetic, would set the pace. */
#include "delta_kernel.h"

#include "delta_lanes.h"

/* Registers of rows in a block. Two are enough: the 8 operations of a step (14 with the
 * bound) take two fma pipes as long as one takes to deliver (4 cycles), so no sum waits for
 * itself. More would not fit the 16 registers of AVX2 together with the bound's sums. */
#define REGISTERS 2
#define LANES     (REGISTERS * GDN_LANE_WIDTH)

/* What a run computes. Constants in the correct order, so that the compiler folds them;
 * slips share the text. */
typedef struct recipe {
    bool limits;
    gdn_decay_order decay;
    gdn_output_state output;
    gdn_delta_beta beta;
} recipe;

/* Sums over k of one token. First half, decay and read: m = S' k and, for the bound,
 * sum |S'||k|. Second half, update and output: o = S q, sum |S||q|, ||S||^2. */
typedef struct read_sums {
    lane m[REGISTERS], reach[REGISTERS];
} read_sums;
typedef struct output_sums {
    lane o[REGISTERS], reach[REGISTERS], square[REGISTERS];
} output_sums;

/* One pass over the block: the second half of token `next - 1` if `update`, then the first
 * half of token `next` if `read`. Each coefficient is loaded where it is first used and no
 * earlier: AVX2 has no register to keep it in. */
static inline __attribute__((always_inline)) void
sweep(const gdnp_delta_block *b, recipe how, bool update, bool read, int64_t next,
      const lane d[REGISTERS], output_sums *out_sums, read_sums *next_sums) {
    const int64_t k_dim = b->k_dim;
    const double *k = update ? b->k + (next - 1) * k_dim : NULL;
    const double *q = update ? b->q + (next - 1) * k_dim : NULL;
    const double *k_next = read ? b->k + next * k_dim : NULL;
    const lane decay = lane_set(update ? b->tokens[next - 1].decay : 0.0);
    const lane decay_next = lane_set(read ? b->tokens[next].decay : 0.0);
    output_sums out;
    read_sums in;
    for (int j = 0; j < REGISTERS; j++) {
        out.o[j] = out.reach[j] = out.square[j] = lane_set(0.0);
        in.m[j] = in.reach[j] = lane_set(0.0);
    }
    for (int64_t i = 0; i < k_dim; i++) {
        double *row = b->state + i * LANES;
        lane s[REGISTERS], seen[REGISTERS];
        for (int j = 0; j < REGISTERS; j++) {
            s[j] = lane_load(row + j * GDN_LANE_WIDTH);
        }
        if (update) {
            const lane ki = lane_set(k[i]);
            for (int j = 0; j < REGISTERS; j++) {
                seen[j] = s[j];
                s[j] = lane_fma(d[j], ki, s[j]);
                if (how.decay == GDN_DECAY_AFTER_UPDATE) {
                    s[j] = lane_mul(decay, s[j]);
                }
                if (how.output == GDN_OUTPUT_UPDATED) {
                    seen[j] = s[j];
                }
            }
            const lane qi = lane_set(q[i]);
            for (int j = 0; j < REGISTERS; j++) {
                out.o[j] = lane_fma(seen[j], qi, out.o[j]);
            }
            if (how.limits) {
                const lane qa = lane_abs(qi);
                for (int j = 0; j < REGISTERS; j++) {
                    out.reach[j] = lane_fma(lane_abs(seen[j]), qa, out.reach[j]);
                    out.square[j] = lane_fma(s[j], s[j], out.square[j]);
                }
            }
        }
        if (read) {
            const lane kn = lane_set(k_next[i]);
            for (int j = 0; j < REGISTERS; j++) {
                const lane decayed = lane_mul(decay_next, s[j]);
                seen[j] = how.decay == GDN_DECAY_BEFORE_READ ? decayed : s[j];
                if (how.decay != GDN_DECAY_AFTER_UPDATE) {
                    s[j] = decayed;
                }
                in.m[j] = lane_fma(seen[j], kn, in.m[j]);
            }
            if (how.limits) {
                const lane ka = lane_abs(kn);
                for (int j = 0; j < REGISTERS; j++) {
                    in.reach[j] = lane_fma(lane_abs(seen[j]), ka, in.reach[j]);
                }
            }
        }
        for (int j = 0; j < REGISTERS; j++) {
            lane_store(row + j * GDN_LANE_WIDTH, s[j]);
        }
    }
    *out_sums = out;
    *next_sums = in;
}

/* Advances E, ||S|| and the mass of one register of rows and writes the bound on o, as
 * derived in reference/BOUND.md. `reach` are the two sums of absolute products. */
/* What operands rounded for matrix units add to dd, to the state's error and to o's
 * (BOUND.md, "Matrix units"), while R, X and Z of the rows advance. */
typedef struct operand_terms {
    lane dd, state, o;
} operand_terms;

static inline __attribute__((always_inline)) operand_terms
advance_operands(const gdnp_delta_block *b, const gdnp_token *t, int j, lane d_abs,
                 lane v_abs, lane old_mass) {
    const double h = b->operand;
    const double k = t->k_norm;
    const double contraction = fmax(1.0, fabs(1.0 - t->beta * k * k));
    const double rows = sqrt((double)b->k_dim) * b->operand_tiny;
    double *reach = b->row_reach + j * GDN_LANE_WIDTH;
    double *flow = b->row_flow + j * GDN_LANE_WIDTH;
    double *load = b->row_load + j * GDN_LANE_WIDTH;
    const lane decay = lane_set(t->decay);
    const lane old_reach = lane_mul(decay, lane_load(reach));
    const lane old_flow = lane_mul(decay, lane_load(flow));
    const lane entry = lane_fma(lane_set(k), old_reach, v_abs);
    const lane y = lane_mul(lane_set(t->beta), lane_fma(lane_set(k), old_flow, entry));
    const lane new_reach = lane_fma(d_abs, lane_set(k), old_reach);
    lane z = lane_fma(lane_set(t->beta), v_abs, lane_load(load));
    z = lane_fma(lane_set((t->beta + 1.0) * k), old_mass, z);
    z = lane_add(z, lane_add(d_abs, lane_set(1.0 + k)));
    lane_store(reach, new_reach);
    lane_store(flow, lane_fma(lane_set(contraction), old_flow,
                              lane_mul(lane_set(t->beta * k), entry)));
    lane_store(load, z);
    const lane lost = lane_add(lane_set(1.0), lane_add(old_mass, z));
    operand_terms terms;
    terms.dd = lane_mul(lane_set(9.0 * h), y);
    terms.dd = lane_fma(lane_set(5.0 * h * t->beta * k), old_reach, terms.dd);
    terms.dd = lane_fma(lane_set(2.0 * h), d_abs, terms.dd);
    terms.dd = lane_fma(lane_set(16.0 * rows * (1.0 + t->beta * k)), lost, terms.dd);
    terms.state = lane_mul(lane_set(4.0 * h * k), d_abs);
    terms.state = lane_fma(lane_set(4.0 * rows), lane_add(d_abs, lane_set(k)), terms.state);
    terms.o = lane_mul(lane_set(5.0 * h * t->q_norm), new_reach);
    terms.o = lane_fma(lane_set(8.0 * rows * (1.0 + t->q_norm)), lost, terms.o);
    return terms;
}

/* The part of the errors that came with k, q and v: in quadrature, since each may fall to
 * either side (floor.h). */
static inline __attribute__((always_inline)) void
advance_input(const gdnp_delta_block *b, const gdnp_token *t, int j, lane d_abs,
              lane old_norm, lane new_norm, lane v_error, double *o_input) {
    double *row = b->row_input + j * GDN_LANE_WIDTH;
    const double kk = t->k_norm * t->k_norm;
    const double carried = t->decay * fmax(1.0, fabs(1.0 - t->beta * kk));
    const lane read = lane_mul(lane_set(t->k_norm * t->beta * t->k_input), old_norm);
    const lane update = lane_mul(lane_set(t->k_input), d_abs);
    const lane value = lane_mul(lane_set(t->k_norm * t->beta), v_error);
    const lane key = lane_add(read, update);
    const lane beta = lane_mul(lane_set(t->k_norm * t->beta_input), d_abs);
    lane variance = lane_mul(lane_set(carried * carried), lane_load(row));
    variance = lane_fma(beta, beta, variance);
    variance = lane_fma(key, key, lane_fma(value, value, variance));
    lane_store(row, variance);
    const lane query = lane_mul(lane_set(t->q_input), new_norm);
    const lane total =
        lane_fma(query, query, lane_mul(lane_set(t->q_norm * t->q_norm), variance));
    lane_store(o_input, lane_sqrt(total));
}

static inline __attribute__((always_inline)) void
advance_bound(const gdnp_delta_block *b, int64_t token, int j, lane d, lane gap,
              lane reach_m, lane reach_o, lane square) {
    const gdnp_token *t = b->tokens + token;
    const int64_t at = token * b->stride + j * GDN_LANE_WIDTH;
    const lane v_error = lane_load(b->v_error + at);
    const double u = b->unit;
    const double count = (double)b->k_dim;
    /* Of m, behind the sum: the decay, beta, and beta again where beta v - beta m is what
     * the backend forms. */
    const double gamma_m = (count + 3.0) * u / (1.0 - (count + 3.0) * u);
    const double gamma_o = count * u / (1.0 - count * u);
    const double kk = t->k_norm * t->k_norm;
    const double contraction = fmax(1.0, fabs(1.0 - t->beta * kk));
    const double da = t->decay_error + (b->gate_error ? b->gate_error[token] : 0.0);
    double *norm = b->row_norm + j * GDN_LANE_WIDTH;
    double *error = b->row_error + j * GDN_LANE_WIDTH;
    double *mass = b->row_mass + j * GDN_LANE_WIDTH;

    const lane old_norm = lane_mul(lane_set(t->decay), lane_load(norm)); /* ||S'|| */
    const lane new_norm = lane_sqrt(square);
    const lane d_abs = lane_abs(d);
    const lane gap_abs = lane_abs(gap);
    const lane old_mass = lane_load(mass);
    lane decayed = lane_add(lane_mul(lane_set(t->decay), lane_load(error)),
                            lane_mul(lane_set(u + da), old_norm));
    /* A decay below `tiny` may be zero: that of a token, or of all tokens since. */
    decayed = lane_add(decayed, lane_mul(lane_set(b->tiny), old_mass));
    lane dd = lane_mul(lane_set(gamma_m), reach_m);
    dd = lane_add(dd, lane_mul(old_norm, lane_set(t->k_error)));
    dd = lane_add(dd, lane_mul(lane_set(u), gap_abs));
    dd = lane_add(dd, lane_add(v_error, lane_set(t->k_floor)));
    dd = lane_mul(dd, lane_set(t->beta));
    dd = lane_add(dd, lane_mul(d_abs, lane_set(t->beta_error + 2.0 * u)));
    dd = lane_add(dd, lane_fma(lane_set(b->tiny), gap_abs, lane_set(t->k_floor)));
    operand_terms operands = {.dd = lane_set(0.0)};
    if (b->operand > 0.0) {
        operands =
            advance_operands(b, t, j, d_abs, lane_abs(lane_load(b->v + at)), old_mass);
        dd = lane_add(dd, operands.dd);
    }
    lane e = lane_mul(lane_set(contraction), decayed);
    e = lane_add(e, lane_mul(lane_set(t->k_norm), dd));
    e = lane_add(e, lane_mul(d_abs, lane_set(t->k_error + u * t->k_norm)));
    e = lane_add(e, lane_add(lane_mul(lane_set(u), new_norm), lane_set(t->k_floor)));
    if (b->operand > 0.0) {
        e = lane_add(e, operands.state);
    }
    lane_store(error, e);
    lane_store(norm, new_norm);
    lane_store(mass, lane_add(lane_mul(lane_set(fmax(1.0, t->decay)), old_mass),
                              lane_mul(d_abs, lane_set(t->k_norm))));
    lane eo = lane_mul(lane_set(t->q_norm), e);
    eo = lane_add(eo, lane_mul(new_norm, lane_set(t->q_error)));
    eo = lane_add(eo, lane_add(lane_mul(lane_set(gamma_o), reach_o), lane_set(t->q_floor)));
    if (b->operand > 0.0) {
        eo = lane_add(eo, operands.o);
    }
    lane_store(b->o_error + at, eo);
    if (b->o_input) {
        advance_input(b, t, j, d_abs, old_norm, new_norm, v_error, b->o_input + at);
    }
}

static inline __attribute__((always_inline)) void run_tokens(const gdnp_delta_block *b,
                                                             recipe how) {
    lane d[REGISTERS] = {lane_set(0.0)};
    lane gap[REGISTERS];
    output_sums out;
    read_sums in, next;
    sweep(b, how, false, true, 0, d, &out, &in);
    for (int64_t t = 0; t < b->length; t++) {
        const int64_t at = t * b->stride;
        const gdnp_token *token = b->tokens + t;
        for (int j = 0; j < REGISTERS; j++) {
            gap[j] = lane_sub(lane_load(b->v + at + j * GDN_LANE_WIDTH), in.m[j]);
            d[j] = how.beta == GDN_BETA_APPLIED ? lane_mul(lane_set(token->beta), gap[j])
                                                : gap[j];
        }
        if (t + 1 < b->length) {
            sweep(b, how, true, true, t + 1, d, &out, &next);
        } else {
            sweep(b, how, true, false, t + 1, d, &out, &next);
        }
        for (int j = 0; j < REGISTERS; j++) {
            lane_store(b->o + at + j * GDN_LANE_WIDTH, out.o[j]);
            if (how.limits) {
                advance_bound(b, t, j, d[j], gap[j], in.reach[j], out.reach[j],
                              out.square[j]);
            }
        }
        in = next;
    }
}

static void run_block(const gdnp_delta_block *b) {
    const recipe asked = {b->row_error != NULL, b->decay_order, b->output_state,
                          b->delta_beta};
    const recipe values = {false, GDN_DECAY_BEFORE_READ, GDN_OUTPUT_UPDATED,
                           GDN_BETA_APPLIED};
    const recipe bounded = {true, GDN_DECAY_BEFORE_READ, GDN_OUTPUT_UPDATED,
                            GDN_BETA_APPLIED};
    if (b->length == 0) {
        return;
    }
    if (asked.decay != values.decay || asked.output != values.output ||
        asked.beta != values.beta) {
        run_tokens(b, asked);
    } else if (asked.limits) {
        run_tokens(b, bounded);
    } else {
        run_tokens(b, values);
    }
}

extern const gdnp_delta_kernel GDN_KERNEL_SYMBOL;
const gdnp_delta_kernel GDN_KERNEL_SYMBOL = {
    .name = GDN_KERNEL_NAME, .lanes = LANES, .run = run_block};
