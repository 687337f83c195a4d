/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The inner loop of the recurrence: a block of value rows ("lanes") of one head's state,
 * advanced through a run of tokens together with its error bound. Compiled once for each
 * instruction set; a lane's operations do not depend on its neighbours, so every build
 * gives the same bits. */
#ifndef GDN_DELTA_KERNEL_H
#define GDN_DELTA_KERNEL_H

#include "gdn/conventions.h"

/* Per token, shared by all lanes. Errors are those of a correct backend's operands:
 * relative for decay and beta, 2-norms for k and q; `beta_input`, `k_input` and `q_input`
 * are the parts that came in or were rounded to storage, a few large steps. Floors are what
 * a sum with k or q may lose to subnormals that become zeros. `g` is the log decay. */
typedef struct gdnp_token {
    double g, decay, beta;
    double decay_error, beta_error;
    double k_norm, q_norm;
    double k_error, q_error;
    double beta_input, k_input, q_input;
    double k_floor, q_floor;
} gdnp_token;

typedef struct gdnp_delta_block {
    int64_t length, k_dim;
    const double *k, *q;      /* [length][k_dim] */
    const gdnp_token *tokens; /* [length] */
    int64_t stride;           /* between tokens of the next four */
    const double *v, *v_error;
    double *o, *o_error;
    double *o_input; /* standard deviation of the output's error that comes with k, q, v */
    double *state;   /* [k_dim][lanes] */
    double *row_error; /* [lanes]: bound E on the 2-norm of a state row's error */
    double *row_norm;  /* [lanes]: ||S|| of the row */
    double *row_mass;  /* [lanes]: all that was ever added to the row, without decay */
    /* [lanes]: variance of the row's error that comes with k, q and v; NULL with o_input */
    double *row_input;
    /* [lanes], read and written if `operand` > 0, from the start of the span: R, X and Z of
     * BOUND.md, "Matrix units". */
    double *row_reach, *row_flow, *row_load;
    double unit;         /* u of the backend's arithmetic */
    double tiny;         /* absolute error of one operation near zero */
    double operand;      /* u of the operands of matrix products; 0: they are not rounded */
    double operand_tiny; /* absolute error of rounding one near zero */
    const double *gate_error; /* [length]: what sums of g add to decay_error, or NULL */
    gdn_decay_order decay_order;
    gdn_output_state output_state;
    gdn_delta_beta delta_beta;
} gdnp_delta_block;

typedef struct gdnp_delta_kernel {
    const char *name;
    int lanes;
    /* v_error, o_error, row_error, row_norm and row_mass NULL: values only. */
    void (*run)(const gdnp_delta_block *block);
} gdnp_delta_kernel;

/* The widest kernel that this machine runs, or the one of that name ("scalar", "avx2",
 * "avx512", "neon"); NULL if the machine or the build has none of that name. */
const gdnp_delta_kernel *gdnp_delta_kernel_get(const char *name);

/* The one that GDN_REFERENCE_KERNEL in the environment names, else the widest. GDN_ERR_ARG
 * if no kernel has that name, GDN_ERR_UNSUPPORTED if this machine or build lacks it. */
GDN_NODISCARD gdn_status gdnp_delta_kernel_choose(const gdnp_delta_kernel **kernel,
                                                  gdn_error *err);

#endif
