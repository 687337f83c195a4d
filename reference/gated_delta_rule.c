/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The op gated_delta_rule: operands, gates given or made, one task a key head. */
#include "ops.h"

/* Tokens between the prefetch of an operand's row and its use. */
#define PREFETCH 16

/* A row of one head lies on a page of its own, where no hardware prefetcher follows. */
static void prefetch_row(const gdn_tensor *tensor, int64_t row, int64_t head) {
    const size_t size = gdn_dtype_size(tensor->dtype);
    const int64_t at = row * tensor->stride[0] + head * tensor->stride[1];
    const char *data = (const char *)tensor->data + (size_t)at * size;
    const size_t bytes = (size_t)(tensor->shape[2] * tensor->stride[2]) * size;
    for (size_t i = 0; i < bytes; i += 64) {
        __builtin_prefetch(data + i);
    }
}

/* Loads a [rows, heads, dim] operand of one head for the tokens of a sequence. */
static void load_operand(double *out, const gdn_tensor *tensor, const gdnp_sequence *s,
                         int64_t head) {
    const int64_t dim = tensor->shape[2];
    for (int64_t t = 0; t < s->length; t++) {
        if (t + PREFETCH < s->length) {
            prefetch_row(tensor, s->rows[t + PREFETCH], head);
        }
        gdn_load_run(out + t * dim, tensor->data, tensor->dtype,
                     s->rows[t] * tensor->stride[0] + head * tensor->stride[1],
                     tensor->stride[2], dim);
    }
}

/* What a call brings beside its operands. */
typedef struct rule {
    const gdn_call *call;
    gdn_output *state_out, *intermediate_out, *out;
} rule;

static double element(const gdn_tensor *tensor, int64_t i, int64_t j) {
    return gdn_load(tensor->data, tensor->dtype,
                    i * tensor->stride[0] + j * tensor->stride[1]);
}

/* Row that a token's beta is read from. */
static int64_t beta_row(const gdn_call *call, int64_t row) {
    return call->conventions->slip == GDN_SLIP_BETA_ROW0 ? 0 : row;
}

/* Gates made from a and b. */
static void make_gates(const gdn_call *call, const gdnp_sequence *s, int64_t head,
                       gdnp_token *tokens) {
    const gdn_conventions *conventions = call->conventions;
    const gdn_tensor *b = gdn_call_tensor(call, "b");
    const gdnp_beta_form form = gdnp_beta_made(conventions, s->spec || s->verify);
    const double A_log = element(gdn_call_tensor(call, "A_log"), head, 0);
    const double dt_bias = element(gdn_call_tensor(call, "dt_bias"), head, 0);
    for (int64_t t = 0; t < s->length; t++) {
        const double logit = element(b, beta_row(call, s->rows[t]), head);
        gdnp_gate gate =
            gdnp_gate_eval(conventions, A_log, dt_bias,
                           element(gdn_call_tensor(call, "a"), s->rows[t], head), logit);
        gdnp_gate_set_beta(&gate, conventions, form, b->dtype, logit);
        gdnp_token_set_gate(&tokens[t], conventions, &gate);
    }
}

/* Gates that were given; T is that of the operands. */
static void load_gates(const gdn_call *call, const gdnp_sequence *s, int64_t head,
                       gdnp_token *tokens) {
    const gdn_conventions *conventions = call->conventions;
    const gdn_tensor *g = gdn_call_tensor(call, "g");
    const gdn_tensor *beta = gdn_call_tensor(call, "beta");
    const gdnp_beta_form form = gdnp_beta_made(conventions, s->spec || s->verify);
    const bool log = conventions->gate_input == GDN_GATE_LOG;
    for (int64_t t = 0; t < s->length; t++) {
        const double decay = element(g, s->rows[t], head);
        const double strength = element(beta, beta_row(call, s->rows[t]), head);
        gdnp_gate gate = {.g = log ? decay : 0.0, .beta = strength};
        if (conventions->beta_input == GDN_BETA_LOGITS) {
            gdnp_gate_set_beta(&gate, conventions, form, gdn_call_tensor(call, "v")->dtype,
                               strength);
        }
        gdnp_token_set_gate(&tokens[t], conventions, &gate);
        if (!log) {
            gdnp_token_set_decay(&tokens[t], conventions, decay, s->chunked);
        }
    }
}

/* All value heads of one key head of one sequence. */
static gdn_status run_key_head(const rule *p, const gdnp_sequence *s, int64_t h,
                               gdnp_workspace *w, gdn_error *err) {
    const gdn_call *call = p->call;
    const gdn_tensor *q = gdn_call_tensor(call, "q");
    const gdn_tensor *v = gdn_call_tensor(call, "v");
    const int64_t key_heads = q->shape[1];
    const int64_t r = v->shape[1] / key_heads;
    GDN_TRY(gdnp_workspace_resize(w, s->length, q->shape[2], s->length * v->shape[2], err));
    gdnp_keys keys = w->keys;
    load_operand(keys.q, q, s, h);
    load_operand(keys.k, gdn_call_tensor(call, "k"), s, h);
    const gdnp_key_form form = {
        .l2norm = gdn_call_scalar(call, "use_qk_l2norm", 1) != 0,
        .chunked = s->chunked,
        .storage = q->dtype,
    };
    gdnp_keys_normalise(&w->keys, call->conventions, form, NULL, NULL);
    keys.l2norm = w->keys.l2norm;
    for (int64_t j = 0; j < r; j++) {
        const int64_t hv = gdnp_value_head(call->conventions, h, j, key_heads, r);
        load_operand(w->values, v, s, hv);
        (gdn_call_tensor(call, "g") ? load_gates : make_gates)(call, s, hv, keys.tokens);
        const gdnp_head head = {
            .conventions = call->conventions,
            .sequence = s,
            .keys = &keys,
            .v = w->values,
            .v_dim = v->shape[2],
            .head = hv,
            .state = gdn_call_tensor(call, "ssm_state"),
            .intermediate = gdn_call_tensor(call, "intermediate_state"),
            .out_storage = v->dtype,
            .state_out = p->state_out,
            .intermediate_out = p->intermediate_out,
            .out = p->out,
        };
        GDN_TRY(gdnp_head_run(&head, err));
    }
    return GDN_OK;
}

static gdn_status add_sequences(gdnp_batch *batch, const gdn_call *call, gdn_error *err) {
    const bool buffer = call->conventions->spec_state == GDN_SPEC_BUFFER;
    const gdn_tensor *accepted = gdn_call_tensor(call, "num_accepted_tokens");
    const gdn_tensor *indices = gdn_call_tensor(call, "intermediate_indices");
    const bool verify = buffer && indices;
    GDN_TRY(gdnp_batch_add(batch, call->conventions,
                           gdn_call_tensor(call, "query_start_loc"), NULL,
                           gdn_call_tensor(call, "state_indices"),
                           verify ? NULL : gdn_call_tensor(call, "has_initial_state"),
                           buffer ? NULL : accepted, err));
    if (verify) {
        GDN_TRY(gdnp_batch_verify(batch, call->conventions, indices, accepted,
                                  gdn_call_tensor(call, "parent_token"), err));
    }
    for (int64_t i = 0; i < batch->count; i++) {
        batch->sequences[i].chunked = gdn_call_scalar(call, "chunked", 0) != 0;
    }
    gdnp_batch_stray(batch, call->conventions,
                     gdn_call_tensor(call, "ssm_state")->shape[0]);
    return GDN_OK;
}

/* Rows that the batch writes, and zeros for padding where the profile has them. */
static void mark(const rule *p, const gdnp_batch *batch) {
    const gdn_conventions *conventions = p->call->conventions;
    gdnp_batch_mark(batch, conventions, p->out, NULL, p->state_out);
    if (conventions->pad_sequences == GDN_PAD_FROM_ZERO) {
        gdnp_mark_padding(batch, p->out);
    }
    for (int64_t i = 0; i < batch->count; i++) {
        const gdnp_sequence *s = &batch->sequences[i];
        const bool zeroed = s->padded && conventions->pad_sequences == GDN_PAD_ZEROED;
        for (int64_t t = 0; t < s->length; t++) {
            if (zeroed) {
                gdnp_zero_row(p->out, s->rows[t]);
            } else if (s->verify && !s->padded) {
                gdnp_mark_row(p->intermediate_out, s->window_rows[t]);
            }
        }
    }
}

gdn_status gdn_reference_delta_rule(const gdn_call *call, gdn_output *outputs,
                                    gdn_error *err) {
    const rule p = {
        .call = call,
        .state_out = gdnp_output(call, outputs, "ssm_state"),
        .intermediate_out = gdnp_output(call, outputs, "intermediate_state"),
        .out = gdnp_output(call, outputs, "out"),
    };
    const bool padding_runs = call->conventions->pad_sequences == GDN_PAD_FROM_ZERO;
    const int64_t key_heads = gdn_call_tensor(call, "q")->shape[1];
    gdnp_batch batch = {0};
    gdn_status status = add_sequences(&batch, call, err);
    if (status == GDN_OK) {
        mark(&p, &batch);
#pragma omp parallel if (gdnp_is_large(call))
        {
            gdnp_workspace w = {0};
#pragma omp for schedule(dynamic) nowait
            for (int64_t i = 0; i < batch.count * key_heads; i++) {
                const gdnp_sequence *s = &batch.sequences[i / key_heads];
                gdn_error local = {0};
                if ((!s->padded || padding_runs) &&
                    run_key_head(&p, s, i % key_heads, &w, &local) != GDN_OK) {
#pragma omp critical(gdn_reference_error)
                    status = gdn_error_set(err, local.status, "%s", local.message);
                }
            }
            gdnp_workspace_destroy(&w);
        }
    }
    gdnp_batch_destroy(&batch);
    return status;
}
