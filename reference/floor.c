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

static state_place place_state(const gdnp_head *head, int64_t slot, int64_t row,
                               int64_t column) {
    const gdn_tensor *state = head->state;
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
    const gdn_tensor *from = head->state;
    const int64_t k_dim = head->keys->k_dim;
    for (int64_t c = 0; head->sequence->load_slot >= 0 && c < k_dim; c++) {
        for (int64_t r = 0; r < head->v_dim; r++) {
            const state_place p = place_state(head, head->sequence->load_slot, r, c);
            state[c * head->v_dim + r] = (float)gdn_load(from->data, from->dtype, p.at);
        }
    }
}

/* Errors of a state row after few tokens are multiples of few keys. */
static void store_state(const gdnp_head *head, const float *state, int64_t slot,
                        int64_t tokens) {
    gdn_output *out = head->state_out;
    if (!out || !out->emulated) {
        return;
    }
    const int64_t k_dim = head->keys->k_dim;
    for (int64_t c = 0; c < k_dim; c++) {
        for (int64_t r = 0; r < head->v_dim; r++) {
            out->emulated[place_state(head, slot, r, c).flat] = state[c * head->v_dim + r];
        }
    }
    gdn_pool *pool = &out->pools[head->head];
    const int64_t degrees = head->v_dim * (tokens < k_dim ? tokens : k_dim);
#pragma omp atomic
    pool->degrees += degrees;
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
    const int64_t left = head->keys->length - first;
    const bool each = head->sequence->spec || !matrix ||
                      head->conventions->state_carry == GDN_CARRY_TOKEN;
    const int64_t most = each ? 1 : GDNP_FLOOR_CHUNK;
    return left < most ? left : most;
}

static bool carries(const gdnp_head *head, bool matrix, int64_t next) {
    switch (head->conventions->state_carry) {
    case GDN_CARRY_CALL:
        return false;
    case GDN_CARRY_CHUNK:
        return next % GDNP_FLOOR_CHUNK == 0;
    case GDN_CARRY_TOKEN:
        return true;
    case GDN_CARRY_KERNEL:
        break;
    }
    return !matrix || next % GDNP_FLOOR_CHUNK == 0;
}

static void round_state(float *state, int64_t count, gdn_dtype storage) {
    for (int64_t i = 0; storage != GDN_FP32 && i < count; i++) {
        state[i] = (float)gdn_round_to((double)state[i], storage);
    }
}

/* Operands of one chunk in fp32. */
static void load_chunk(const gdnp_head *head, int64_t first, gdnp_floor_chunk *chunk) {
    const gdnp_keys *keys = head->keys;
    for (int64_t t = 0; t < chunk->length; t++) {
        const gdnp_token *token = &keys->tokens[first + t];
        const int64_t at = (first + t) * keys->k_dim;
        load_key(chunk->k + t * keys->k_dim, keys->k + at, keys->k_dim, keys->l2norm,
                 token->k_norm);
        load_key(chunk->q + t * keys->k_dim, keys->q + at, keys->k_dim, keys->l2norm,
                 token->q_norm);
        for (int64_t r = 0; r < head->v_dim; r++) {
            chunk->v[t * head->v_dim + r] = (float)head->v[(first + t) * head->v_dim + r];
        }
        chunk->g[t] = (float)token->g;
        chunk->beta[t] = (float)token->beta;
    }
}

gdn_status gdnp_floor_run(const gdnp_head *head, gdn_error *err) {
    const gdnp_sequence *s = head->sequence;
    const gdnp_arithmetic fp = gdnp_arithmetic_of(head->conventions);
    const bool matrix = fp.operand > 0.0;
    gdnp_floor_chunk chunk = {.k_dim = head->keys->k_dim,
                              .v_dim = head->v_dim,
                              .operands = head->conventions->numeric_class};
    if (!gdnp_floor_chunk_create(&chunk)) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for one head's noise floor");
    }
    load_state(head, chunk.state);
    if (matrix) {
        mark_matrix(head->out, head->head);
        mark_matrix(head->state_out, head->head);
    }
    for (int64_t first = 0; first < s->length; first += chunk.length) {
        chunk.length = next_chunk(head, matrix, first);
        load_chunk(head, first, &chunk);
        if (matrix) {
            gdnp_floor_solve(&chunk);
        } else {
            gdnp_floor_step(&chunk);
        }
        const int64_t next = first + chunk.length;
        store_outputs(head, chunk.o, first, chunk.length);
        if (s->spec || next == s->length) {
            store_state(head, chunk.state, s->slots[s->spec ? first : 0], next);
        }
        if (carries(head, matrix, next)) {
            round_state(chunk.state, chunk.k_dim * chunk.v_dim, head->state->dtype);
        }
    }
    gdnp_floor_chunk_destroy(&chunk);
    return GDN_OK;
}
