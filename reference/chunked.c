/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The gated delta rule by its chunk form, in FP64: the second opinion on delta_rule.c. With
 * D_ij = g_{j+1} + .. + g_i and S0 the state before the chunk,
 *
 *     u_i = b_i (v_i - exp(D_i,-1) S0^T k_i) - sum_{j<i} b_i (k_i.k_j) exp(D_ij) u_j
 *     o_i = exp(D_i,-1) S0^T q_i + sum_{j<=i} (q_i.k_j) exp(D_ij) u_j
 *     S1  = exp(D_C,-1) S0 + sum_j exp(D_Cj) k_j u_j^T
 *
 * (contract aiter_fla_flashinfer_ggml section 0, the triangular system solved by
 * substitution). It shares with the first algorithm only the call and the storage types:
 * its exp is the C library's, its sums run in another order, its state is [V][K]. */
#include "gdn/reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "environment.h"

#define CHUNK 64

typedef struct rule {
    const gdn_call *call;
    const gdn_tensor *q, *k, *v, *g, *beta, *state;
    int64_t k_dim, v_dim, r;
    gdn_output *out, *state_out;
    double *S;                      /* [V][K] */
    double *kn, *qn;                /* [CHUNK][K] */
    double *u;                      /* [CHUNK][V] */
    double decay[CHUNK][CHUNK + 1]; /* exp(D_ij) at [i][j + 1] */
} rule;

static double at3(const gdn_tensor *t, int64_t i, int64_t j, int64_t l) {
    return gdn_load(t->data, t->dtype,
                    i * t->stride[0] + j * t->stride[1] + l * t->stride[2]);
}

static double at2(const gdn_tensor *t, int64_t i, int64_t j) {
    return gdn_load(t->data, t->dtype, i * t->stride[0] + j * t->stride[1]);
}

static double dot(const double *a, const double *b, int64_t n) {
    double sum = 0.0;
    for (int64_t i = n - 1; i >= 0; i--) {
        sum += a[i] * b[i];
    }
    return sum;
}

static int64_t state_offset(const gdn_tensor *state, const gdn_call *call, int64_t slot,
                            int64_t head, int64_t v, int64_t k) {
    const bool vk = call->conventions->state_order == GDN_STATE_VK;
    const int64_t index[4] = {slot, head, vk ? v : k, vk ? k : v};
    return gdn_tensor_offset(state, index);
}

static double inverse_norm(const rule *p, double sum) {
    const double eps = p->call->conventions->l2norm_eps;
    switch (p->call->conventions->l2norm_form) {
    case GDN_L2NORM_OUTSIDE:
        return 1.0 / (eps + sqrt(sum));
    case GDN_L2NORM_MAX:
        return sum > eps * eps ? 1.0 / sqrt(sum) : 1.0 / eps;
    case GDN_L2NORM_INSIDE:
        break;
    }
    return 1.0 / sqrt(sum + eps);
}

/* Normalised keys and queries of `count` tokens from row `first`. */
static void load_keys(rule *p, int64_t first, int64_t count, int64_t head) {
    const bool l2norm = gdn_call_scalar(p->call, "use_qk_l2norm", 1) != 0;
    for (int64_t i = 0; i < count; i++) {
        double *k = p->kn + i * p->k_dim;
        double *q = p->qn + i * p->k_dim;
        for (int64_t d = 0; d < p->k_dim; d++) {
            k[d] = at3(p->k, first + i, head, d);
            q[d] = at3(p->q, first + i, head, d);
        }
        const double nk = l2norm ? inverse_norm(p, dot(k, k, p->k_dim)) : 1.0;
        const double nq = l2norm ? inverse_norm(p, dot(q, q, p->k_dim)) : 1.0;
        for (int64_t d = 0; d < p->k_dim; d++) {
            k[d] *= nk;
            q[d] *= nq / sqrt((double)p->k_dim);
        }
    }
}

/* exp of the log decays between any two tokens of the chunk, from the nearer end. */
static void load_decays(rule *p, int64_t first, int64_t count, int64_t head) {
    for (int64_t i = 0; i < count; i++) {
        double sum = 0.0;
        p->decay[i][i + 1] = 1.0;
        for (int64_t j = i - 1; j >= -1; j--) {
            const double g = at2(p->g, first + j + 1, head);
            sum += p->call->conventions->gate_input == GDN_GATE_LOG ? g : log(g);
            p->decay[i][j + 1] = exp(sum);
        }
    }
}

static void solve(rule *p, int64_t first, int64_t count, int64_t head) {
    for (int64_t i = 0; i < count; i++) {
        const double *k = p->kn + i * p->k_dim;
        const double b = at2(p->beta, first + i, head);
        double *u = p->u + i * p->v_dim;
        for (int64_t d = 0; d < p->v_dim; d++) {
            const double read = p->decay[i][0] * dot(p->S + d * p->k_dim, k, p->k_dim);
            u[d] = b * (at3(p->v, first + i, head, d) - read);
        }
        for (int64_t j = 0; j < i; j++) {
            const double a =
                b * dot(k, p->kn + j * p->k_dim, p->k_dim) * p->decay[i][j + 1];
            for (int64_t d = 0; d < p->v_dim; d++) {
                u[d] -= a * p->u[j * p->v_dim + d];
            }
        }
    }
}

static void emit(rule *p, int64_t first, int64_t count, int64_t head) {
    for (int64_t i = 0; i < count; i++) {
        const double *q = p->qn + i * p->k_dim;
        for (int64_t d = 0; d < p->v_dim; d++) {
            double o = p->decay[i][0] * dot(p->S + d * p->k_dim, q, p->k_dim);
            for (int64_t j = 0; j <= i; j++) {
                o += dot(q, p->kn + j * p->k_dim, p->k_dim) * p->decay[i][j + 1] *
                     p->u[j * p->v_dim + d];
            }
            const int64_t index[3] = {first + i, head, d};
            gdn_store(p->out->value.data, p->out->value.dtype,
                      gdn_tensor_offset(&p->out->value, index), o);
        }
    }
}

static void advance(rule *p, int64_t count) {
    for (int64_t d = 0; d < p->v_dim; d++) {
        double *row = p->S + d * p->k_dim;
        for (int64_t e = 0; e < p->k_dim; e++) {
            double s = p->decay[count - 1][0] * row[e];
            for (int64_t j = 0; j < count; j++) {
                s += p->decay[count - 1][j + 1] * p->kn[j * p->k_dim + e] *
                     p->u[j * p->v_dim + d];
            }
            row[e] = s;
        }
    }
}

static void move_state(rule *p, const gdn_tensor *tensor, int64_t slot, int64_t head,
                       bool store) {
    for (int64_t v = 0; v < p->v_dim; v++) {
        for (int64_t k = 0; k < p->k_dim; k++) {
            const int64_t at = state_offset(tensor, p->call, slot, head, v, k);
            double *s = &p->S[v * p->k_dim + k];
            if (store) {
                gdn_store(tensor->data, tensor->dtype, at, *s);
            } else {
                *s = gdn_load(tensor->data, tensor->dtype, at);
            }
        }
    }
}

/* One head of one sequence. A speculative one stores after each token: its chunks are
 * single tokens. */
static void run_head(rule *p, int64_t sequence, int64_t head) {
    const gdn_tensor *starts = gdn_call_tensor(p->call, "query_start_loc");
    const gdn_tensor *slots = gdn_call_tensor(p->call, "state_indices");
    const gdn_tensor *flags = gdn_call_tensor(p->call, "has_initial_state");
    const gdn_tensor *accepted = gdn_call_tensor(p->call, "num_accepted_tokens");
    const int64_t first = gdn_tensor_int(starts, sequence, 0);
    const int64_t end = gdn_tensor_int(starts, sequence + 1, 0);
    const int64_t count = accepted ? gdn_tensor_int(accepted, sequence, 0) : 0;
    const int64_t from = gdn_tensor_int(slots, sequence, count > 0 ? count - 1 : 0);
    if (first == end) {
        return;
    }
    if (accepted || !flags || gdn_tensor_int(flags, sequence, 0) != 0) {
        move_state(p, p->state, from, head, false);
    } else {
        memset(p->S, 0, (size_t)(p->k_dim * p->v_dim) * sizeof *p->S);
    }
    const int64_t step = accepted ? 1 : CHUNK;
    for (int64_t t = first; t < end; t += step) {
        const int64_t n = end - t < step ? end - t : step;
        load_keys(p, t, n, head / p->r);
        load_decays(p, t, n, head);
        solve(p, t, n, head);
        if (p->out) {
            emit(p, t, n, head);
        }
        advance(p, n);
        if (p->state_out && (accepted || t + n == end)) {
            const int64_t to = gdn_tensor_int(slots, sequence, accepted ? t - first : 0);
            move_state(p, &p->state_out->value, to, head, true);
        }
    }
}

static gdn_output *wanted(const gdn_call *call, gdn_output *outputs, const char *name) {
    for (size_t i = 0; i < call->n_tensors; i++) {
        if (strcmp(call->tensors[i].name, name) == 0 && outputs[i].value.data) {
            return &outputs[i];
        }
    }
    return NULL;
}

/* The chunk form is an opinion on exact arithmetic: it rounds nothing between storage, and
 * takes gates and states as they are given. */
static bool is_written_for(const gdn_call *call) {
    const gdn_conventions *c = call->conventions;
    return call->op == GDN_OP_GATED_DELTA_RULE && c->head_map == GDN_HEADS_GROUPED &&
           c->spec_state == GDN_SPEC_SLOTS && c->beta_input == GDN_BETA_VALUE &&
           c->chunk_qk == GDN_CHUNK_QK_NONE && c->state_carry == GDN_CARRY_CALL &&
           c->pad_sequences == GDN_PAD_REFUSED && gdn_call_tensor(call, "g");
}

gdn_status gdn_reference_run_chunked(const gdn_call *call, gdn_output *outputs,
                                     gdn_error *err) {
    if (!is_written_for(call)) {
        return gdn_error_set(err, GDN_ERR_UNSUPPORTED,
                             "the chunk form is written for gated_delta_rule with grouped "
                             "heads, given gates and nothing rounded on the way");
    }
    GDN_TRY(gdnp_environment_check(false, err));
    GDN_TRY(gdn_call_check(call, err));
    rule *p = calloc(1, sizeof *p);
    if (!p) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for the chunk form");
    }
    p->call = call;
    p->q = gdn_call_tensor(call, "q");
    p->k = gdn_call_tensor(call, "k");
    p->v = gdn_call_tensor(call, "v");
    p->g = gdn_call_tensor(call, "g");
    p->beta = gdn_call_tensor(call, "beta");
    p->state = gdn_call_tensor(call, "ssm_state");
    p->out = wanted(call, outputs, "out");
    p->state_out = wanted(call, outputs, "ssm_state");
    p->k_dim = p->k->shape[2];
    p->v_dim = p->v->shape[2];
    p->r = p->v->shape[1] / p->k->shape[1];
    p->S = malloc((size_t)(p->v_dim * p->k_dim) * sizeof(double));
    p->kn = malloc((size_t)(CHUNK * p->k_dim) * sizeof(double));
    p->qn = malloc((size_t)(CHUNK * p->k_dim) * sizeof(double));
    p->u = malloc((size_t)(CHUNK * p->v_dim) * sizeof(double));
    gdn_status status = GDN_OK;
    if (!p->S || !p->kn || !p->qn || !p->u) {
        status = gdn_error_set(err, GDN_ERR_OOM, "no memory for the chunk form");
    }
    const int64_t sequences = gdn_call_tensor(call, "query_start_loc")->shape[0] - 1;
    for (int64_t i = 0; status == GDN_OK && i < sequences; i++) {
        for (int64_t head = 0; head < p->v->shape[1]; head++) {
            run_head(p, i, head);
        }
    }
    free(p->S);
    free(p->kn);
    free(p->qn);
    free(p->u);
    free(p);
    return status;
}
