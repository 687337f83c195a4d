/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Private to the shadow (gdn/shadow.h). Nothing of ops.h is used here, nor the reverse: the
 * two computations are to have no mistake in common but those of the contracts. */
#ifndef GDN_MPFR_SHADOW_H
#define GDN_MPFR_SHADOW_H

#include <mpfr.h>

#include "gdn/shadow.h"

/* Significand of IEEE 754 binary128: more than twice that of FP64, so products of two FP64
 * numbers are exact and the shadow's own errors are some 2^-60 of those that it
 * measures. */
#define GDNP_SHADOW_BITS 113

/* What FP64 may lose in one operation. */
#define GDNP_FP64_UNIT 0x1p-53

/* `count` numbers, zero; the caller frees them with free(). NULL without memory. */
mpfr_ptr gdnp_reals_create(int64_t count);

void gdnp_real_sigmoid(mpfr_ptr out, mpfr_srcptr x);
void gdnp_real_silu(mpfr_ptr out, mpfr_srcptr x);
void gdnp_real_softplus(mpfr_ptr out, mpfr_srcptr x, double beta, double threshold);

/* Rounds x to a storage type, ties to even. True if a boundary between two roundings lies
 * within `margin` of it. FP64 is the arithmetic itself, not a storage: x stays. */
bool gdnp_real_round(mpfr_ptr x, gdn_dtype storage, mpfr_srcptr margin);

/* Element of a tensor, exactly. */
double gdnp_shadow_element(const gdn_tensor *tensor, const int64_t *index);

/* Where a result goes; both NULL if it is not wanted. */
typedef struct gdnp_shadow_sink {
    const gdn_tensor *tensor;
    gdn_shadow_output *output;
} gdnp_shadow_sink;
gdnp_shadow_sink gdnp_shadow_sink_of(const gdn_call *call, gdn_shadow_output *outputs,
                                     const char *name);
void gdnp_shadow_put(const gdnp_shadow_sink *sink, const int64_t *index, mpfr_srcptr value,
                     bool undecided);
void gdnp_shadow_copy(const gdnp_shadow_sink *sink, const int64_t *index, double value);

/* The sequences of one group by their index tensors (contract vllm_xpu 2.8 and 3); tensors
 * that the call lacks are NULL. `accepted` makes the group speculative, and so does
 * `places`, whose rows of the intermediate tensors then take the states. */
typedef struct gdnp_shadow_group {
    const gdn_conventions *conventions;
    const gdn_tensor *starts, *rows, *slots, *has_initial, *accepted;
    const gdn_tensor *places, *parents;
    bool chunked;
} gdnp_shadow_group;

int64_t gdnp_shadow_count(const gdnp_shadow_group *group);
int64_t gdnp_shadow_length(const gdnp_shadow_group *group, int64_t n);
/* Global row of token t of sequence n. */
int64_t gdnp_shadow_row(const gdnp_shadow_group *group, int64_t n, int64_t t);
bool gdnp_shadow_is_padding(const gdnp_shadow_group *group, int64_t n);
/* Intermediate row of the start state; -1: it is in a slot, or zero. */
int64_t gdnp_shadow_load_place(const gdnp_shadow_group *group, int64_t n);
/* Slot (or place) that takes the state after token t, or -1 if none does. */
int64_t gdnp_shadow_store_slot(const gdnp_shadow_group *group, int64_t n, int64_t t);
/* Slot of the start state; -1: zero. */
int64_t gdnp_shadow_load_slot(const gdnp_shadow_group *group, int64_t n);

/* One channel of one sequence through the convolution. */
typedef struct gdnp_shadow_conv {
    const gdnp_shadow_group *group;
    int64_t n; /* sequence */
    const gdn_tensor *x, *weight, *bias, *state;
    int64_t column;  /* in x */
    int64_t channel; /* in weight, bias and state */
    bool rounded;    /* y passes through the type of x */
    gdnp_shadow_sink state_out, windows_out;
} gdnp_shadow_conv;

/* y of the tokens into y[0], y[stride], ..; tie[..] of the same places is set where y is at
 * a rounding boundary. Returns how many are. `work` has GDNP_CONV_WORK numbers. */
#define GDNP_CONV_WORK 4
int64_t gdnp_shadow_conv_run(const gdnp_shadow_conv *conv, mpfr_ptr y, uint8_t *tie,
                             int64_t stride, mpfr_ptr work);

/* g = -exp(A_log) softplus(a + dt_bias), beta = sigmoid(b). */
void gdnp_shadow_gate(const gdn_conventions *conventions, double A_log, double dt_bias,
                      double a, double b, mpfr_ptr g, mpfr_ptr beta);

/* How often a beta is rounded to T: one that an op makes for itself, and one of head hv of
 * `heads` that gdn_gating hands on. */
int gdnp_shadow_made_roundings(const gdn_conventions *conventions, bool speculative);
int gdnp_shadow_staged_roundings(const gdn_conventions *conventions, int64_t hv,
                                 int64_t heads);

/* Rounds beta = sigmoid(b), 0, 1 or 3 times; true if it stood at a boundary. */
bool gdnp_shadow_round_beta(int roundings, gdn_dtype storage, double b, mpfr_ptr beta);

/* One sequence and key head with its value heads through the recurrence. `k` and `q` are
 * raw; gdnp_shadow_normalise() makes them ready. */
typedef struct gdnp_shadow_head {
    const gdnp_shadow_group *group;
    int64_t n;
    int64_t length, k_dim, v_dim;
    int64_t value_head;
    mpfr_ptr k, q;        /* [length][k_dim] */
    mpfr_ptr v;           /* [length][v_dim] */
    mpfr_ptr decay, beta; /* [length] */
    mpfr_ptr kept;        /* [length][k_dim], of a tree: a row as each token left it */
    uint8_t *k_tie, *q_tie, *v_tie, *beta_tie, *kept_tie; /* of the same shapes */
    const gdn_tensor *state, *intermediate;
    gdnp_shadow_sink state_out, intermediate_out, out;
} gdnp_shadow_head;

/* How many numbers and how many ties a head of `length` tokens needs, and where in them its
 * arrays lie; the first k_dim + 3 numbers stay free for work. */
int64_t gdnp_shadow_numbers(int64_t length, int64_t k_dim, int64_t v_dim);
int64_t gdnp_shadow_ties(int64_t length, int64_t k_dim, int64_t v_dim);
void gdnp_shadow_place(gdnp_shadow_head *head, int64_t length, mpfr_ptr numbers,
                       uint8_t *ties);

/* What becomes of k or q. */
typedef struct gdnp_shadow_keys {
    bool l2norm, scale;
    gdn_dtype storage; /* T, to which chunk_qk rounds */
} gdnp_shadow_keys;

/* Each row over its norm if `l2norm`, over sqrt(k_dim) if `scale`, rounded as the profile
 * says; marks ties and returns how many there are. `work` has two numbers. */
int64_t gdnp_shadow_normalise(const gdnp_shadow_head *head, mpfr_ptr x,
                              gdnp_shadow_keys how, uint8_t *tie, mpfr_ptr work);

/* Returns the ties of states that are stored between tokens. `work` has k_dim + 3
 * numbers. */
int64_t gdnp_shadow_recur(const gdnp_shadow_head *head, mpfr_ptr work);

/* Whether sequence n is padding that is not computed; its rows of `out` then become zeros
 * if `zeroed`. */
bool gdnp_shadow_skip(const gdnp_shadow_group *group, int64_t n, int64_t heads, int64_t dim,
                      bool zeroed, const gdnp_shadow_sink *out);

/* Key head that value head hv reads. */
int64_t gdnp_shadow_key_head(const gdn_conventions *conventions, int64_t hv,
                             int64_t key_heads, int64_t value_heads);

gdn_status gdnp_shadow_causal_conv1d(const gdn_call *call, gdn_shadow_output *outputs,
                                     gdn_error *err);
gdn_status gdnp_shadow_gating(const gdn_call *call, gdn_shadow_output *outputs,
                              gdn_error *err);
gdn_status gdnp_shadow_delta_rule(const gdn_call *call, gdn_shadow_output *outputs,
                                  int64_t *ties, gdn_error *err);
gdn_status gdnp_shadow_attention(const gdn_call *call, gdn_shadow_output *outputs,
                                 int64_t *ties, gdn_error *err);

#endif
