/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* One token of the gated delta rule on a block of state rows (contract vllm_xpu 2.5):
 *
 *     S' = a S        m = S' k        d = b (v - m)        S = S' + d k^T        o = S q
 *
 * with k ascending in every sum and one accumulator a row. Beside it runs the bound of
 * reference/README.md on what fp32 (or another class) can make of it. Written with the four
 * vector operations of delta_lanes.h; CMake compiles this file once for each set. */
#include "delta_kernel.h"

#include "delta_lanes.h"

#define REGISTERS (GDN_LANES / GDN_LANE_WIDTH)

/* The first half of a token: decay and read. Leaves m and, for the bound, sum |S'||k|. */
static inline __attribute__((always_inline)) void
decay_and_read(const gdnp_delta_block *b, const double *k, lane decay, bool limits,
               gdn_decay_order order, lane m[REGISTERS], lane reach[REGISTERS]) {
    for (int j = 0; j < REGISTERS; j++) {
        m[j] = lane_set(0.0);
        reach[j] = lane_set(0.0);
    }
    for (int64_t i = 0; i < b->k_dim; i++) {
        const lane ki = lane_set(k[i]);
        const lane ka = lane_abs(ki);
        double *row = b->state + i * GDN_LANES;
        for (int j = 0; j < REGISTERS; j++) {
            const lane old = lane_load(row + j * GDN_LANE_WIDTH);
            const lane decayed = lane_mul(decay, old);
            const lane read = order == GDN_DECAY_BEFORE_READ ? decayed : old;
            m[j] = lane_fma(read, ki, m[j]);
            if (limits) {
                reach[j] = lane_fma(lane_abs(read), ka, reach[j]);
            }
            if (order != GDN_DECAY_AFTER_UPDATE) {
                lane_store(row + j * GDN_LANE_WIDTH, decayed);
            }
        }
    }
}

/* The second half: update and output. Leaves o and, for the bound, sum |S||q| and ||S||^2.
 */
static inline __attribute__((always_inline)) void
update_and_output(const gdnp_delta_block *b, const double *k, const double *q, lane decay,
                  const lane d[REGISTERS], bool limits, gdn_decay_order order,
                  gdn_output_state output, lane o[REGISTERS], lane reach[REGISTERS],
                  lane square[REGISTERS]) {
    for (int j = 0; j < REGISTERS; j++) {
        o[j] = lane_set(0.0);
        reach[j] = lane_set(0.0);
        square[j] = lane_set(0.0);
    }
    for (int64_t i = 0; i < b->k_dim; i++) {
        const lane ki = lane_set(k[i]);
        const lane qi = lane_set(q[i]);
        const lane qa = lane_abs(qi);
        double *row = b->state + i * GDN_LANES;
        for (int j = 0; j < REGISTERS; j++) {
            const lane before = lane_load(row + j * GDN_LANE_WIDTH);
            lane s = lane_fma(d[j], ki, before);
            if (order == GDN_DECAY_AFTER_UPDATE) {
                s = lane_mul(decay, s);
            }
            lane_store(row + j * GDN_LANE_WIDTH, s);
            const lane seen = output == GDN_OUTPUT_UPDATED ? s : before;
            o[j] = lane_fma(seen, qi, o[j]);
            if (limits) {
                reach[j] = lane_fma(lane_abs(seen), qa, reach[j]);
                square[j] = lane_fma(s, s, square[j]);
            }
        }
    }
}

/* Advances E and ||S|| of one register of rows and writes the bound on o, as derived in
 * reference/README.md. `reach` are the two sums of absolute products. */
static inline __attribute__((always_inline)) void
advance_bound(const gdnp_delta_block *b, const gdnp_token *t, int j, lane d, lane gap,
              lane reach_m, lane reach_o, lane square, lane v_error, double *o_error) {
    const double u = b->unit;
    const double count = (double)b->k_dim;
    const double gamma = count * u / (1.0 - count * u);
    /* An operation near zero may lose up to `tiny`; a row has k_dim of them. */
    const double floor_row = 3.0 * sqrt(count) * b->tiny;
    const double floor_sum = count * b->tiny;
    const double kk = t->k_norm * t->k_norm;
    const double contraction = fmax(1.0, fabs(1.0 - t->beta * kk));
    double *norm = b->row_norm + j * GDN_LANE_WIDTH;
    double *error = b->row_error + j * GDN_LANE_WIDTH;

    const lane old_norm = lane_mul(lane_set(t->decay), lane_load(norm)); /* ||S'|| */
    const lane new_norm = lane_sqrt(square);
    const lane d_abs = lane_abs(d);
    const lane decayed = lane_add(lane_mul(lane_set(t->decay), lane_load(error)),
                                  lane_mul(lane_set(u + t->decay_error), old_norm));
    lane dd = lane_mul(lane_set(gamma), reach_m);
    dd = lane_add(dd, lane_mul(old_norm, lane_set(t->k_error)));
    dd = lane_add(dd, lane_mul(lane_set(u), lane_abs(gap)));
    dd = lane_add(dd, lane_add(v_error, lane_set(floor_sum)));
    dd = lane_mul(dd, lane_set(t->beta));
    dd = lane_add(dd, lane_mul(d_abs, lane_set(t->beta_error + 2.0 * u)));
    lane e = lane_mul(lane_set(contraction), decayed);
    e = lane_add(e, lane_mul(lane_set(t->k_norm), dd));
    e = lane_add(e, lane_mul(d_abs, lane_set(t->k_error + u * t->k_norm)));
    e = lane_add(e, lane_add(lane_mul(lane_set(2.0 * u), new_norm), lane_set(floor_row)));
    lane_store(error, e);
    lane_store(norm, new_norm);
    lane eo = lane_mul(lane_set(t->q_norm), e);
    eo = lane_add(eo, lane_mul(new_norm, lane_set(t->q_error)));
    eo = lane_add(eo, lane_add(lane_mul(lane_set(gamma), reach_o), lane_set(floor_sum)));
    lane_store(o_error, eo);
}

static inline __attribute__((always_inline)) void
run_tokens(const gdnp_delta_block *b, bool limits, gdn_decay_order order,
           gdn_output_state output, gdn_delta_beta delta_beta) {
    for (int64_t i = 0; i < b->length; i++) {
        const gdnp_token *t = b->tokens + i;
        const double *k = b->k + i * b->k_dim;
        const double *q = b->q + i * b->k_dim;
        const int64_t at = i * b->stride;
        const lane decay = lane_set(t->decay);
        lane m[REGISTERS], d[REGISTERS], o[REGISTERS];
        lane reach_m[REGISTERS], reach_o[REGISTERS], square[REGISTERS];
        decay_and_read(b, k, decay, limits, order, m, reach_m);
        for (int j = 0; j < REGISTERS; j++) {
            const lane gap = lane_sub(lane_load(b->v + at + j * GDN_LANE_WIDTH), m[j]);
            d[j] = delta_beta == GDN_BETA_APPLIED ? lane_mul(lane_set(t->beta), gap) : gap;
            m[j] = gap;
        }
        update_and_output(b, k, q, decay, d, limits, order, output, o, reach_o, square);
        for (int j = 0; j < REGISTERS; j++) {
            lane_store(b->o + at + j * GDN_LANE_WIDTH, o[j]);
            if (limits) {
                advance_bound(b, t, j, d[j], m[j], reach_m[j], reach_o[j], square[j],
                              lane_load(b->v_error + at + j * GDN_LANE_WIDTH),
                              b->o_error + at + j * GDN_LANE_WIDTH);
            }
        }
    }
}

/* The correct order is worth constants that the compiler folds; slips share the text. */
static void run_block(const gdnp_delta_block *b) {
    const bool limits = b->row_error != NULL;
    if (b->decay_order == GDN_DECAY_BEFORE_READ && b->output_state == GDN_OUTPUT_UPDATED &&
        b->delta_beta == GDN_BETA_APPLIED) {
        if (limits) {
            run_tokens(b, true, GDN_DECAY_BEFORE_READ, GDN_OUTPUT_UPDATED,
                       GDN_BETA_APPLIED);
        } else {
            run_tokens(b, false, GDN_DECAY_BEFORE_READ, GDN_OUTPUT_UPDATED,
                       GDN_BETA_APPLIED);
        }
    } else {
        run_tokens(b, limits, b->decay_order, b->output_state, b->delta_beta);
    }
}

extern const gdnp_delta_kernel GDN_KERNEL_SYMBOL;
const gdnp_delta_kernel GDN_KERNEL_SYMBOL = {
    .name = GDN_KERNEL_NAME, .lanes = GDN_LANES, .run = run_block};
