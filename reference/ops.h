/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Private to reference/: what the ops share below the call. */
#ifndef GDN_OPS_H
#define GDN_OPS_H

#include "delta_kernel.h"
#include "gdn/reference.h"

/* The ops, one file each. The call has been checked; tensors are as gdn/call.h says. */
gdn_status gdn_reference_causal_conv1d(const gdn_call *call, gdn_output *outputs,
                                       gdn_error *err);
gdn_status gdn_reference_gating(const gdn_call *call, gdn_output *outputs, gdn_error *err);
gdn_status gdn_reference_delta_rule(const gdn_call *call, gdn_output *outputs,
                                    gdn_error *err);
gdn_status gdn_reference_attention(const gdn_call *call, gdn_output *outputs,
                                   gdn_error *err);
gdn_status gdn_reference_metadata(const gdn_call *call, gdn_output *outputs,
                                  gdn_error *err);
gdn_status gdn_reference_conv_weight_pack(const gdn_call *call, gdn_output *outputs,
                                          gdn_error *err);

/* Whether a call is worth a team of threads. A small one is done before they have met, and
 * on a busy machine much before; results do not depend on it. */
static inline bool gdnp_is_large(const gdn_call *call) {
    return call->arena_bytes == 0 || call->arena_bytes >= (size_t)1 << 19;
}

/* The output of that name if somebody wants it, else NULL. */
gdn_output *gdnp_output(const gdn_call *call, gdn_output *outputs, const char *name);

/* The sources that its limits are made of; all where it is NULL. */
unsigned gdnp_terms(const gdn_output *output);

/* Marks a row of dimension 0 as written; accepts a NULL output. */
void gdnp_mark_row(gdn_output *output, int64_t row);

/* Stores `count` values of an output whose elements are `stride` apart from element `at`;
 * `errors` (NULL: no limits) become limits at `flat`, its dense position, once the rounding
 * to `storage` and underflow to `tiny` are added. */
void gdnp_store_bounded(gdn_output *output, int64_t at, int64_t stride, int64_t flat,
                        const double *values, const double *errors, int64_t count,
                        gdn_dtype storage, double tiny);

/* u of the class, and the absolute error that one operation may make near zero. Flushing
 * subnormals is granted to every fp32 backend (GPU intrinsics do it), so `tiny` is FLT_MIN.
 */
typedef struct gdnp_arithmetic {
    double unit, tiny;
    double operand;      /* u of the operands of matrix products; 0: not rounded */
    double operand_tiny; /* what rounding one may lose near zero */
} gdnp_arithmetic;
gdnp_arithmetic gdnp_arithmetic_of_class(gdn_numeric_class numeric_class);

/* Of everything but the recurrence of chunked sequences. */
gdnp_arithmetic gdnp_arithmetic_of(const gdn_conventions *conventions);

/* Of the recurrence, normalised keys and queries included. */
static inline gdnp_arithmetic gdnp_recurrence_arithmetic(const gdn_conventions *conventions,
                                                         bool chunked) {
    return gdnp_arithmetic_of_class(chunked ? conventions->chunk_class
                                            : conventions->numeric_class);
}

/* What one store may lose near zero. fp16 keeps subnormals on every backend; types with
 * fp32's exponent range may be flushed with it. */
double gdnp_underflow(gdn_dtype storage, double tiny);

/* Relative error of exp(x): what the profile grants to the function, and the product of
 * exp2(x log2 e), one rounding of it and 0.23u of the constant in fp32. */
double gdnp_exp_error(const gdn_conventions *conventions, double x);

/* Relative error of 1 / (1 + exp(-x)), which hands on sigmoid(-x) of that of exp(-x). */
double gdnp_sigmoid_error(const gdn_conventions *conventions, double x);

/* gamma_n = n u / (1 - n u): n roundings in any order (N. Higham, Accuracy and Stability of
 * Numerical Algorithms, 2nd ed., lemma 3.1). */
double gdnp_gamma(double n, double unit);

/* One sequence of a call, with every index already looked up. */
typedef struct gdnp_sequence {
    bool spec;
    int64_t length;
    const int64_t *rows;  /* global row of each token */
    const int64_t *slots; /* spec: slot of each token's state; else one slot */
    int64_t load_slot;    /* -1: starts from zero */
    int64_t conv_slot;    /* of the conv history; -1: zero */
    int64_t conv_row;     /* spec: the history's first row; others: by the conventions */
    int64_t index;        /* in its group */
    int64_t first;        /* its first token's place in the group */
    /* Speculative, but with one slot of the pool, which is read only: a row of the
     * intermediate tensors for each token, and a parent (NULL: the token before it). */
    bool verify;
    const int64_t *window_rows, *parents;
    int64_t load_row; /* intermediate row that it starts from; -1: none, see load_slot */
    bool chunked;     /* the backend's chunk kernel gets it */
    bool padded;      /* padding: names no slot, so starts from zero and stores no state */
    bool fresh_beside_others; /* no start state, though another one of its group has one */
} gdnp_sequence;

typedef struct gdnp_batch {
    gdnp_sequence *sequences;
    int64_t count;
    int64_t *memory[2]; /* of the groups */
    int groups;
    int64_t *buffer; /* rows of intermediate tensors, and parents */
    int64_t stray;   /* slot that padding takes under a slip */
} gdnp_batch;

/* Appends the sequences of one group, of two at most. `token_indx`, `has_initial` and
 * `accepted` may be NULL; `accepted` makes the group speculative. The caller destroys the
 * batch in any case. */
gdn_status gdnp_batch_add(gdnp_batch *batch, const gdn_conventions *conventions,
                          const gdn_tensor *query_start_loc, const gdn_tensor *token_indx,
                          const gdn_tensor *state_indices, const gdn_tensor *has_initial,
                          const gdn_tensor *accepted, gdn_error *err);
void gdnp_batch_destroy(gdnp_batch *batch);

/* Makes all sequences of a batch that was added without `accepted` speculative: rows of the
 * intermediate tensors, where they start, and their parents (`accepted`, `parents` may be
 * NULL). */
gdn_status gdnp_batch_verify(gdnp_batch *batch, const gdn_conventions *conventions,
                             const gdn_tensor *intermediate_indices,
                             const gdn_tensor *accepted, const gdn_tensor *parents,
                             gdn_error *err);

/* The slips of padding: one padded sequence takes the first or last slot for its own. The
 * batch must stay where it is. */
void gdnp_batch_stray(gdnp_batch *batch, const gdn_conventions *conventions, int64_t slots);

/* Zeroes a row of an output (NULL: nothing) with its limits, and marks it. */
void gdnp_zero_row(gdn_output *output, int64_t row);

/* Marks the rows of padding. */
void gdnp_mark_padding(const gdnp_batch *batch, gdn_output *tokens);

/* Marks the rows and slots that a batch writes, none of padding and of what goes to
 * intermediate tensors. */
void gdnp_batch_mark(const gdnp_batch *batch, const gdn_conventions *conventions,
                     gdn_output *tokens, gdn_output *conv_state, gdn_output *ssm_state);

/* Adjacent channels of one sequence through the convolution. */
typedef struct gdnp_conv {
    const gdn_conventions *conventions;
    const gdnp_sequence *sequence;
    const gdn_tensor *x;                     /* [rows, columns] */
    int64_t column;                          /* of the first channel in x */
    const gdn_tensor *weight, *bias, *state; /* bias may be NULL */
    int64_t channel;                         /* first channel in weight, bias and state */
    int64_t channels;
    double *y;       /* [length][channels], rounded as conventions->conv_output says */
    double *y_error; /* NULL: no bounds. What a correct backend's y may differ by */
    gdn_output *state_out, *windows_out; /* NULL: not wanted */
} gdnp_conv;

gdn_status gdnp_conv_run(const gdnp_conv *conv, gdn_error *err);

/* Gates of one token and head with the errors that a backend may make in them: absolute for
 * g, relative for beta. */
typedef struct gdnp_gate {
    double g, beta, g_error, beta_error;
    double beta_input; /* the part of beta_error that is a rounding to storage */
} gdnp_gate;

/* Which roundings to T a beta passes. */
typedef enum gdnp_beta_form {
    GDNP_BETA_EXACT,
    GDNP_BETA_ONCE,
    GDNP_BETA_THRICE, /* exp(-b), 1 + exp(-b) and the quotient */
} gdnp_beta_form;

/* Of a beta that an op makes from its logits for itself. */
gdnp_beta_form gdnp_beta_made(const gdn_conventions *conventions, bool spec);

/* Of one that passes from gdn_gating to the next stage, for value head hv of `heads`. */
gdnp_beta_form gdnp_beta_staged(const gdn_conventions *conventions, int64_t hv,
                                int64_t heads);

/* Sets beta and beta_error. */
void gdnp_gate_set_beta(gdnp_gate *gate, const gdn_conventions *conventions,
                        gdnp_beta_form form, gdn_dtype storage, double b);

/* g and its error; beta exact. */
gdnp_gate gdnp_gate_eval(const gdn_conventions *conventions, double A_log, double dt_bias,
                         double a, double b);

/* A key head's tokens, ready for the recurrence: k and q normalised and scaled, their norms
 * and errors in `tokens` (decay and beta are filled by the caller, a head at a time). */
typedef struct gdnp_keys {
    int64_t length, k_dim;
    bool l2norm;
    double *k, *q; /* [length][k_dim] */
    gdnp_token *tokens;
} gdnp_keys;

/* What a thread works in, one key head after the other; kept between them, since memory
 * that goes back to the system comes again zeroed page by page. */
typedef struct gdnp_workspace {
    gdnp_keys keys;
    double *values; /* as many as were asked for */
    void *memory;   /* of all of them */
    size_t bytes;
} gdnp_workspace;

/* Makes room, uninitialised, for the keys of `length` tokens and for `values`. The
 * workspace is zeroed before its first use; the caller destroys it in any case. */
gdn_status gdnp_workspace_resize(gdnp_workspace *w, int64_t length, int64_t k_dim,
                                 int64_t values, gdn_error *err);
void gdnp_workspace_destroy(gdnp_workspace *w);

/* What becomes of keys and queries. `storage` is T, to which chunk_qk rounds. */
typedef struct gdnp_key_form {
    bool l2norm, chunked;
    gdn_dtype storage;
} gdnp_key_form;

/* Normalises what was loaded into keys->k and keys->q, in place; `k_error` and `q_error`
 * (NULL: exact inputs) are element errors of the same shape. */
void gdnp_keys_normalise(gdnp_keys *keys, const gdn_conventions *conventions,
                         gdnp_key_form form, const double *k_error, const double *q_error);

/* Decay and beta of a token from its gate. */
void gdnp_token_set_gate(gdnp_token *token, const gdn_conventions *conventions,
                         const gdnp_gate *gate);

/* Replaces the decay by one that was given. */
void gdnp_token_set_decay(gdnp_token *token, const gdn_conventions *conventions,
                          double decay, bool chunked);

/* One value head of one sequence through the recurrence. */
typedef struct gdnp_head {
    const gdn_conventions *conventions;
    const gdnp_sequence *sequence;
    const gdnp_keys *keys;
    const double *v, *v_error; /* [length][v_dim]; v_error NULL: exact */
    int64_t v_dim;
    int64_t head;
    const gdn_tensor *state;        /* the call's */
    const gdn_tensor *intermediate; /* the call's; NULL: none */
    gdn_dtype out_storage;
    gdn_output *state_out, *intermediate_out, *out; /* NULL: not wanted */
} gdnp_head;

gdn_status gdnp_head_run(const gdnp_head *head, gdn_error *err);

/* Value heads of key head `h`, in order: j = 0 .. r-1. */
static inline int64_t gdnp_value_head(const gdn_conventions *conventions, int64_t h,
                                      int64_t j, int64_t key_heads, int64_t r) {
    return conventions->head_map == GDN_HEADS_GROUPED ? h * r + j : j * key_heads + h;
}

#endif
