/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "floor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "floor_kernel.h"

bool gdnp_floor_wanted(const gdnp_head *head) {
    return (head->out && head->out->emulated) ||
           (head->state_out && head->state_out->emulated);
}

/* Tokens between two stores of a state carried in chunks, as in delta_rule.c. */
#define SEGMENT 64

/* One row of k or q in fp32, with the error of an fp32 norm where there is one: its length
 * is brought to `norm` by a sum of squares in fp32. */
static void load_key(float *out, const double *x, int64_t count, bool l2norm, double norm) {
    float sum = 0.0F;
    for (int64_t i = 0; i < count; i++) {
        out[i] = (float)x[i];
        sum += out[i] * out[i];
    }
    if (l2norm && sum > 0.0F) {
        const float factor = (float)norm / sqrtf(sum);
        for (int64_t i = 0; i < count; i++) {
            out[i] *= factor;
        }
    }
}

/* Element (row, column) of the head's state in the call's tensor and in a dense array. */
typedef struct state_place {
    int64_t at, flat;
} state_place;

static state_place place_state(const gdnp_head *head, const gdn_tensor *state, int64_t slot,
                               int64_t row, int64_t column) {
    const bool vk = head->conventions->state_order == GDN_STATE_VK;
    const int64_t outer = vk ? row : column, inner = vk ? column : row;
    return (state_place){
        .at = slot * state->stride[0] + head->head * state->stride[1] +
              outer * state->stride[2] + inner * state->stride[3],
        .flat = ((slot * state->shape[1] + head->head) * state->shape[2] + outer) *
                    state->shape[3] +
                inner,
    };
}

static void load_state(const gdnp_head *head, float *state) {
    const gdnp_sequence *s = head->sequence;
    const gdn_tensor *from = s->load_row >= 0 ? head->intermediate : head->state;
    const int64_t slot = s->load_row >= 0 ? s->load_row : s->load_slot;
    for (int64_t c = 0; slot >= 0 && c < head->keys->k_dim; c++) {
        for (int64_t r = 0; r < head->v_dim; r++) {
            const state_place p = place_state(head, from, slot, r, c);
            state[c * head->v_dim + r] = (float)gdn_load(from->data, from->dtype, p.at);
        }
    }
}

/* Errors of a state row after few tokens are multiples of few keys. */
static void store_state(const gdnp_head *head, const float *state, gdn_output *out,
                        int64_t slot, int64_t tokens) {
    if (!out || !out->emulated) {
        return;
    }
    const int64_t k_dim = head->keys->k_dim;
    for (int64_t c = 0; c < k_dim; c++) {
        for (int64_t r = 0; r < head->v_dim; r++) {
            const state_place p = place_state(head, &out->value, slot, r, c);
            out->emulated[p.flat] = state[c * head->v_dim + r];
        }
    }
    gdn_pool *pool = &out->pools[head->head];
    const int64_t degrees = head->v_dim * (tokens < k_dim ? tokens : k_dim);
#pragma omp atomic
    pool->degrees += degrees;
}

/* What the chunk that ends behind `next` tokens leaves in slots or intermediate rows. */
static void store_states(const gdnp_head *head, const float *state, int64_t next) {
    const gdnp_sequence *s = head->sequence;
    const int64_t token = next - 1;
    if (s->padded) {
        return;
    }
    if (s->verify) {
        store_state(head, state, head->intermediate_out, s->window_rows[token], next);
    } else if (s->spec || next == s->length) {
        store_state(head, state, head->state_out, s->slots[s->spec ? token : 0], next);
    }
}

static void store_outputs(const gdnp_head *head, const float *o, int64_t first,
                          int64_t count) {
    gdn_output *out = head->out;
    if (!out || !out->emulated) {
        return;
    }
    for (int64_t t = 0; t < count; t++) {
        const int64_t row = head->sequence->rows[first + t];
        memcpy(out->emulated + (row * out->value.shape[1] + head->head) * head->v_dim,
               o + t * head->v_dim, (size_t)head->v_dim * sizeof *o);
    }
    gdn_pool *pool = &out->pools[head->head];
    const int64_t degrees = count * head->v_dim;
#pragma omp atomic
    pool->degrees += degrees;
}

static void mark_matrix(gdn_output *out, int64_t head) {
    if (out && out->emulated) {
#pragma omp atomic write
        out->pools[head].matrix = true;
    }
}

/* Tokens of the next chunk, at the end of which the state may be stored. */
static int64_t next_chunk(const gdnp_head *head, bool matrix, int64_t first) {
    const gdnp_sequence *s = head->sequence;
    const int64_t left = s->length - first;
    const bool each = s->spec || s->verify || !matrix ||
                      head->conventions->state_carry == GDN_CARRY_TOKEN;
    const bool stored = head->conventions->state_carry != GDN_CARRY_CALL;
    const int64_t most = each ? 1 : stored ? SEGMENT : GDNP_FLOOR_CHUNK;
    return left < most ? left : most;
}

/* Whether the state goes through storage behind `next` tokens, as in delta_rule.c. */
static bool carries(const gdnp_head *head, int64_t next) {
    const gdnp_sequence *s = head->sequence;
    switch (head->conventions->state_carry) {
    case GDN_CARRY_CHUNK:
        return next % SEGMENT == 0 || s->parents;
    case GDN_CARRY_TOKEN:
        return true;
    case GDN_CARRY_KERNEL:
        return !s->chunked || next % SEGMENT == 0;
    case GDN_CARRY_CALL:
        break;
    }
    return s->parents;
}

static void round_state(float *state, int64_t count, gdn_dtype storage) {
    for (int64_t i = 0; storage != GDN_FP32 && i < count; i++) {
        state[i] = (float)gdn_round_to((double)state[i], storage);
    }
}

/* Operands of one chunk in fp32. */
static void load_chunk(const gdnp_head *head, int64_t first, gdnp_floor_chunk *chunk) {
    const gdnp_keys *keys = head->keys;
    const gdn_conventions *c = head->conventions;
    const double rsqrt = 1.0 + c->rsqrt_error * gdnp_arithmetic_of(c).unit;
    for (int64_t t = 0; t < chunk->length; t++) {
        const gdnp_token *token = &keys->tokens[first + t];
        const int64_t at = (first + t) * keys->k_dim;
        load_key(chunk->k + t * keys->k_dim, keys->k + at, keys->k_dim, keys->l2norm,
                 token->k_norm * rsqrt);
        load_key(chunk->q + t * keys->k_dim, keys->q + at, keys->k_dim, keys->l2norm,
                 token->q_norm * rsqrt);
        for (int64_t r = 0; r < head->v_dim; r++) {
            chunk->v[t * head->v_dim + r] = (float)head->v[(first + t) * head->v_dim + r];
        }
        /* What gates and intrinsics may err by may be the same for all tokens. */
        const double dg = token->decay_error - gdnp_exp_error(c, token->g);
        chunk->g[t] = (float)(token->g + fmax(dg, 0.0));
        chunk->decay[t] = (float)(token->decay * (1.0 + token->decay_error));
        chunk->beta[t] =
            (float)(token->beta * (1.0 + token->beta_error - token->beta_input));
    }
}

/* The states behind the tokens of a tree, for their children; NULL without a tree. */
static float *trees_create(const gdnp_head *head) {
    const int64_t state = head->keys->k_dim * head->v_dim;
    return malloc((size_t)(head->sequence->length * state + 1) * sizeof(float));
}

static void run_chunks(const gdnp_head *head, gdnp_floor_chunk *chunk, bool matrix,
                       float *tree) {
    const gdnp_sequence *s = head->sequence;
    const int64_t size = chunk->k_dim * chunk->v_dim;
    const size_t bytes = (size_t)size * sizeof *tree;
    for (int64_t first = 0; first < s->length; first += chunk->length) {
        chunk->length = next_chunk(head, matrix, first);
        if (tree && first > 0) {
            memcpy(chunk->state, tree + s->parents[first] * size, bytes);
        }
        load_chunk(head, first, chunk);
        if (matrix) {
            gdnp_floor_solve(chunk);
        } else {
            gdnp_floor_step(chunk);
        }
        const int64_t next = first + chunk->length;
        store_outputs(head, chunk->o, first, chunk->length);
        store_states(head, chunk->state, next);
        if (carries(head, next)) {
            round_state(chunk->state, size, head->state->dtype);
        }
        if (tree) {
            memcpy(tree + first * size, chunk->state, bytes);
        }
    }
}

gdn_status gdnp_floor_run(const gdnp_head *head, gdn_error *err) {
    const gdnp_sequence *s = head->sequence;
    const gdn_numeric_class class =
        s->chunked ? head->conventions->chunk_class : head->conventions->numeric_class;
    const bool matrix = gdnp_arithmetic_of_class(class).operand > 0.0;
    gdnp_floor_chunk chunk = {.k_dim = head->keys->k_dim,
                              .v_dim = head->v_dim,
                              .operands = class,
                              .decays = head->conventions->chunk_decay,
                              .exp_error =
                                  (float)(head->conventions->exp_error *
                                          gdnp_arithmetic_of(head->conventions).unit)};
    float *tree = s->parents ? trees_create(head) : NULL;
    if (!gdnp_floor_chunk_create(&chunk) || (s->parents && !tree)) {
        gdnp_floor_chunk_destroy(&chunk);
        free(tree);
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for one head's noise floor");
    }
    load_state(head, chunk.state);
    if (matrix) {
        mark_matrix(head->out, head->head);
        mark_matrix(head->state_out, head->head);
        mark_matrix(head->intermediate_out, head->head);
    }
    run_chunks(head, &chunk, matrix, tree);
    free(tree);
    gdnp_floor_chunk_destroy(&chunk);
    return GDN_OK;
}
