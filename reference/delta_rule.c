/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The gated delta rule around its inner loop: state loads and stores in either order and
 * any storage type, and how the state is carried from token to token. */
#include "delta_limits.h"
#include "floor.h"
#include "ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Tokens between two looks at the state: the chunk of chunked kernels, so that a profile
 * that stores the state every chunk widens its bound at the same places. */
#define CHUNK 64

gdn_status gdnp_workspace_resize(gdnp_workspace *w, int64_t length, int64_t k_dim,
                                 int64_t values, gdn_error *err) {
    const size_t keys = (size_t)(length * k_dim) * sizeof(double);
    const size_t tokens = (size_t)length * sizeof(gdnp_token);
    const size_t bytes = 2 * keys + tokens + (size_t)values * sizeof(double) + 1;
    if (bytes > w->bytes) {
        free(w->memory);
        w->memory = malloc(bytes);
        w->bytes = w->memory ? bytes : 0;
        if (!w->memory) {
            return gdn_error_set(err, GDN_ERR_OOM, "no memory for one key head: %zu bytes",
                                 bytes);
        }
    }
    char *at = w->memory;
    w->keys = (gdnp_keys){
        .length = length,
        .k_dim = k_dim,
        .k = (void *)at,
        .q = (void *)(at + keys),
        .tokens = (void *)(at + 2 * keys),
    };
    w->values = (void *)(at + 2 * keys + tokens);
    return GDN_OK;
}

void gdnp_workspace_destroy(gdnp_workspace *w) {
    free(w->memory);
    *w = (gdnp_workspace){0};
}

static double sum_of_squares(const double *x, int64_t count) {
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++) {
        sum += x[i] * x[i];
    }
    return sum;
}

/* Element strides of one head's block along the value and the key dimension. The slip reads
 * the same memory in the other order. */
typedef struct state_block {
    int64_t at, v_stride, k_stride;
    int64_t flat, v_flat, k_flat; /* the same in the dense array of limits */
} state_block;

static gdnp_arithmetic arithmetic_of(const gdnp_head *head) {
    return gdnp_recurrence_arithmetic(head->conventions, head->sequence->chunked);
}

static state_block find_block(const gdn_tensor *state, const gdnp_head *head,
                              int64_t slot) {
    const bool vk = head->conventions->state_order == GDN_STATE_VK;
    const int64_t k_dim = head->keys->k_dim;
    const int64_t size = head->v_dim * k_dim;
    state_block block = {
        .at = slot * state->stride[0] + head->head * state->stride[1],
        .v_stride = state->stride[vk ? 2 : 3],
        .k_stride = state->stride[vk ? 3 : 2],
        .flat = (slot * state->shape[1] + head->head) * size,
        .v_flat = vk ? k_dim : 1,
        .k_flat = vk ? 1 : head->v_dim,
    };
    if (head->conventions->state_access == GDN_ACCESS_TRANSPOSED) {
        const int64_t inner = state->stride[3];
        block.v_stride = vk ? inner : k_dim * inner;
        block.k_stride = vk ? head->v_dim * inner : inner;
        block.v_flat = vk ? 1 : k_dim; /* limits belong to the values that they bound */
        block.k_flat = vk ? head->v_dim : 1;
    }
    return block;
}

/* Buffers of one head. `rows` is v_dim padded to whole blocks of the kernel's lanes. */
typedef struct head_buffers {
    int64_t lanes, rows;
    double *state;                     /* a block after the other, each [k_dim][lanes] */
    double *row, *errors;              /* [k_dim] */
    double *v, *v_error, *o, *o_error; /* [CHUNK][rows] */
    double *o_input;                   /* [CHUNK][rows] */
    double *row_error, *row_norm;      /* [rows] */
    double *row_mass, *row_input;      /* [rows] */
    double *span;                      /* gdnp_span_advance()'s */
    gdnp_token *tokens;                /* [CHUNK]: gdnp_tokens_masked()'s */
} head_buffers;

static bool buffers_create(head_buffers *b, int64_t lanes, int64_t v_dim, int64_t k_dim) {
    b->lanes = lanes;
    b->rows = (v_dim + lanes - 1) / lanes * lanes;
    const int64_t tokens = CHUNK * b->rows;
    const int64_t count = (b->rows + 2) * k_dim + 5 * tokens + 4 * b->rows +
                          GDNP_SPAN_DOUBLES(b->rows, CHUNK) +
                          CHUNK * (int64_t)(sizeof *b->tokens / sizeof(double));
    /* Registers as wide as a cache line: one that straddles two is loaded twice. */
    const size_t bytes = ((size_t)count * sizeof(double) / 64 + 1) * 64;
    double *memory = aligned_alloc(64, bytes);
    if (!memory) {
        return false;
    }
    memset(memory, 0, bytes);
    b->state = memory;
    b->v = b->state + b->rows * k_dim;
    b->v_error = b->v + tokens;
    b->o = b->v_error + tokens;
    b->o_error = b->o + tokens;
    b->o_input = b->o_error + tokens;
    b->row_error = b->o_input + tokens;
    b->row_norm = b->row_error + b->rows;
    b->row_mass = b->row_norm + b->rows;
    b->row_input = b->row_mass + b->rows;
    b->row = b->row_input + b->rows;
    b->errors = b->row + k_dim;
    b->span = b->errors + k_dim;
    b->tokens = (gdnp_token *)(b->span + GDNP_SPAN_DOUBLES(b->rows, CHUNK));
    return true;
}

/* State row `l` in its block: elements are `lanes` apart. */
static double *state_row(const head_buffers *b, int64_t k_dim, int64_t l) {
    return b->state + l / b->lanes * b->lanes * k_dim + l % b->lanes;
}

static void load_state(const gdnp_head *head, head_buffers *b) {
    const int64_t k_dim = head->keys->k_dim;
    const gdnp_sequence *s = head->sequence;
    if (s->load_row < 0 && s->load_slot < 0) {
        return; /* from zero, as the buffers are */
    }
    const gdn_tensor *state = s->load_row >= 0 ? head->intermediate : head->state;
    const state_block block =
        find_block(state, head, s->load_row >= 0 ? s->load_row : s->load_slot);
    for (int64_t l = 0; l < head->v_dim; l++) {
        double *row = state_row(b, k_dim, l);
        gdn_load_run(b->row, state->data, state->dtype, block.at + l * block.v_stride,
                     block.k_stride, k_dim);
        for (int64_t i = 0; i < k_dim; i++) {
            row[i * b->lanes] = b->row[i];
        }
        b->row_norm[l] = sqrt(sum_of_squares(b->row, k_dim));
        b->row_mass[l] = b->row_norm[l];
    }
}

static void store_state(const gdnp_head *head, head_buffers *b, gdn_output *out,
                        int64_t slot) {
    const int64_t k_dim = head->keys->k_dim;
    const gdn_tensor *value = &out->value;
    const state_block block = find_block(value, head, slot);
    const double tiny = arithmetic_of(head).tiny;
    for (int64_t l = 0; l < head->v_dim; l++) {
        const double *row = state_row(b, k_dim, l);
        for (int64_t i = 0; i < k_dim; i++) {
            b->row[i] = row[i * b->lanes];
            b->errors[i] = b->row_error[l];
        }
        const int64_t at = block.at + l * block.v_stride;
        const int64_t flat = block.flat + l * block.v_flat;
        for (int64_t i = 0; out->input && i < k_dim; i++) {
            out->input[flat + i * block.k_flat] = (float)sqrt(b->row_input[l]);
        }
        if (block.k_flat == 1 || !out->limit) {
            gdnp_store_bounded(out, at, block.k_stride, flat, b->row, b->errors, k_dim,
                               head->state->dtype, tiny);
            continue;
        }
        for (int64_t i = 0; i < k_dim; i++) {
            gdnp_store_bounded(out, at + i * block.k_stride, 1, flat + i * block.k_flat,
                               b->row + i, b->errors + i, 1, head->state->dtype, tiny);
        }
    }
}

static void store_outputs(const gdnp_head *head, const head_buffers *b, int64_t token,
                          int64_t count) {
    gdn_output *out = head->out;
    const gdn_tensor *value = &out->value;
    for (int64_t t = 0; t < count; t++) {
        const int64_t row = head->sequence->rows[token + t];
        const int64_t at = row * value->stride[0] + head->head * value->stride[1];
        const int64_t flat = (row * value->shape[1] + head->head) * head->v_dim;
        gdnp_store_bounded(out, at, value->stride[2], flat, b->o + t * b->rows,
                           b->o_error + t * b->rows, head->v_dim, head->out_storage,
                           arithmetic_of(head).tiny);
        for (int64_t l = 0; out->input && l < head->v_dim; l++) {
            out->input[flat + l] = (float)b->o_input[t * b->rows + l];
        }
    }
}

/* The sources that the limits of this head are made of: those that all its outputs want. */
static unsigned head_terms(const gdnp_head *head) {
    return gdnp_terms(head->out) & gdnp_terms(head->state_out) &
           gdnp_terms(head->intermediate_out);
}

/* Whether the carried state passes through its storage behind `token` tokens. A backend
 * whose arithmetic is no finer than the storage has nothing to round. */
static bool is_carried_by_storage(const gdnp_head *head, int64_t token) {
    const gdnp_sequence *s = head->sequence;
    if (gdn_dtype_unit_roundoff(head->state->dtype) <= arithmetic_of(head).unit) {
        return false;
    }
    switch (head->conventions->state_carry) {
    case GDN_CARRY_TOKEN:
        return true;
    case GDN_CARRY_CHUNK:
        return token % CHUNK == 0 || s->parents;
    case GDN_CARRY_KERNEL:
        return !s->chunked || token % CHUNK == 0;
    case GDN_CARRY_CALL:
        break;
    }
    return s->parents; /* each token of a tree reads what its parent has stored */
}

/* Rounds the state. A row that is off by e, each element by no more, is off by how far its
 * elements can land from where they do here, or by e and both roundings: BOUND.md,
 * "Stores". */
static void round_state(const gdnp_head *head, head_buffers *b) {
    const gdn_dtype storage = head->state->dtype;
    const double unit = gdn_dtype_unit_roundoff(storage);
    const double tiny = arithmetic_of(head).tiny;
    const double root = sqrt((double)head->keys->k_dim);
    const bool counts = head_terms(head) & GDN_TERM_CARRY;
    for (int64_t l = 0; l < head->v_dim; l++) {
        double *row = state_row(b, head->keys->k_dim, l);
        const double e = b->row_error[l];
        double flips = 0.0, moved = 0.0, square = 0.0;
        for (int64_t i = 0; i < head->keys->k_dim; i++) {
            double *x = &row[i * b->lanes];
            const double rounded = gdn_round_to(*x, storage);
            const double above = fabs(gdn_round_to(*x + e, storage) - rounded);
            const double below = fabs(gdn_round_to(*x - e, storage) - rounded);
            const double worst = fmax(above, below);
            flips += worst * worst;
            moved += (rounded - *x) * (rounded - *x);
            square += rounded * rounded;
            *x = rounded;
        }
        const double both = e + sqrt(moved) + unit * (b->row_norm[l] + e) +
                            root * gdnp_underflow(storage, tiny);
        const double whole = fmin(sqrt(flips) + root * tiny, both);
        b->row_error[l] = counts ? whole : e;
        b->row_input[l] += fmin(flips, whole * whole);
        b->row_norm[l] = sqrt(square);
    }
}

/* What the tokens of a tree have stored, for their children: the state and, behind it, its
 * rows' errors, norms, masses and variances. */
typedef struct snapshots {
    double *memory;
    size_t state, rows; /* of one */
} snapshots;

static bool snapshots_create(snapshots *s, const gdnp_head *head, const head_buffers *b) {
    *s = (snapshots){.state = (size_t)(b->rows * head->keys->k_dim),
                     .rows = 4 * (size_t)b->rows};
    if (head->sequence->parents) {
        s->memory = malloc((size_t)head->sequence->length * (s->state + s->rows) *
                           sizeof *s->memory);
    }
    return s->memory || !head->sequence->parents || head->sequence->length == 0;
}

static void keep_snapshot(const snapshots *s, const head_buffers *b, int64_t token) {
    double *at = s->memory + (size_t)token * (s->state + s->rows);
    memcpy(at, b->state, s->state * sizeof *at);
    memcpy(at + s->state, b->row_error, s->rows * sizeof *at);
}

static void take_snapshot(const snapshots *s, const head_buffers *b, int64_t token) {
    const double *at = s->memory + (size_t)token * (s->state + s->rows);
    memcpy(b->state, at, s->state * sizeof *at);
    memcpy(b->row_error, at + s->state, s->rows * sizeof *at);
}

/* The slips of the carried state: rounded after every token, forgotten after each chunk.
 */
static void slip_state(const gdnp_head *head, head_buffers *b, int64_t token) {
    const int64_t count = b->rows * head->keys->k_dim;
    if (head->conventions->slip == GDN_SLIP_STATE_ROUNDED) {
        for (int64_t i = 0; i < count; i++) {
            b->state[i] = gdn_round_to(b->state[i], GDN_BF16);
        }
    } else if (head->conventions->slip == GDN_SLIP_STATE_TRUNCATED && token % CHUNK == 0) {
        memset(b->state, 0, (size_t)count * sizeof *b->state);
    }
}

/* Tokens until the state must be looked at again. */
static int64_t next_segment(const gdnp_head *head, int64_t token) {
    const gdnp_sequence *s = head->sequence;
    const bool each = (s->spec && head->state_out) || s->verify ||
                      head->conventions->state_carry == GDN_CARRY_TOKEN ||
                      (head->conventions->state_carry == GDN_CARRY_KERNEL && !s->chunked) ||
                      head->conventions->slip == GDN_SLIP_STATE_ROUNDED;
    const int64_t left = head->keys->length - token;
    const int64_t most = each ? 1 : CHUNK;
    return left < most ? left : most;
}

static void copy_values(const gdnp_head *head, head_buffers *b, int64_t token,
                        int64_t count) {
    const size_t bytes = (size_t)head->v_dim * sizeof *b->v;
    for (int64_t t = 0; t < count; t++) {
        const int64_t at = (token + t) * head->v_dim;
        memcpy(b->v + t * b->rows, head->v + at, bytes);
        if (head->v_error && (head_terms(head) & GDN_TERM_V)) {
            memcpy(b->v_error + t * b->rows, head->v_error + at, bytes);
        }
    }
}

/* All blocks of rows through `count` tokens: their keys are read from memory once, not once
 * a block. */
static void run_segment(const gdnp_head *head, const gdnp_delta_kernel *kernel,
                        head_buffers *b, int64_t token, int64_t count) {
    const gdnp_arithmetic arithmetic = arithmetic_of(head);
    const gdnp_keys *keys = head->keys;
    const bool limits = (head->out && head->out->limit) ||
                        (head->state_out && head->state_out->limit) ||
                        (head->intermediate_out && head->intermediate_out->limit);
    const unsigned terms = head_terms(head);
    const gdnp_token *tokens =
        gdnp_tokens_masked(keys->tokens + token, count, terms, b->tokens);
    gdnp_span span = {.rows = b->rows};
    if (limits && arithmetic.operand > 0.0) {
        span = gdnp_span_advance(b->span, b->rows, token, count, tokens, b->row_norm,
                                 terms & GDN_TERM_DECAY ? arithmetic.unit : 0.0);
    }
    for (int64_t first = 0; first < b->rows; first += b->lanes) {
        const gdnp_delta_block block = {
            .length = count,
            .k_dim = keys->k_dim,
            .k = keys->k + token * keys->k_dim,
            .q = keys->q + token * keys->k_dim,
            .tokens = tokens,
            .stride = b->rows,
            .v = b->v + first,
            .v_error = b->v_error + first,
            .o = b->o + first,
            .o_error = b->o_error + first,
            .state = b->state + first * keys->k_dim,
            .row_error = limits ? b->row_error + first : NULL,
            .row_norm = b->row_norm + first,
            .row_mass = b->row_mass + first,
            .o_input = gdnp_floor_wanted(head) ? b->o_input + first : NULL,
            .row_input = b->row_input + first,
            .row_reach = span.reach ? span.reach + first : NULL,
            .row_flow = span.flow ? span.flow + first : NULL,
            .row_load = span.load ? span.load + first : NULL,
            .unit = terms & GDN_TERM_ROUNDINGS ? arithmetic.unit : 0.0,
            .tiny = terms & GDN_TERM_SUBNORMALS ? arithmetic.tiny : 0.0,
            .operand = terms & GDN_TERM_OPERANDS ? arithmetic.operand : 0.0,
            .operand_tiny = arithmetic.operand_tiny,
            .gate_error = span.gate_error,
            .decay_order = head->conventions->decay_order,
            .output_state = head->conventions->output_state,
            .delta_beta = head->conventions->delta_beta,
        };
        kernel->run(&block);
    }
}

/* Stores what the tokens up to `token` have made of the state. */
static void store_states(const gdnp_head *head, head_buffers *b, int64_t token) {
    const gdnp_sequence *s = head->sequence;
    const gdn_slip slip = head->conventions->slip;
    const bool last = token + 1 == s->length;
    const bool each = (s->spec || s->verify) && slip != GDN_SLIP_LAST_COLUMN_ONLY;
    if (s->padded || !(each || last)) {
        return;
    }
    if (!s->verify) {
        if (head->state_out) {
            store_state(head, b, head->state_out, s->slots[s->spec ? token : 0]);
        }
        return;
    }
    if (head->intermediate_out) {
        const int64_t rows = head->intermediate->shape[0];
        const int64_t by_slot = s->slots[0] * s->length + token;
        store_state(head, b, head->intermediate_out,
                    slip == GDN_SLIP_BUFFER_BY_SLOT ? by_slot % rows
                                                    : s->window_rows[token]);
    }
    if (last && head->state_out && slip == GDN_SLIP_POOL_ADVANCED) {
        store_state(head, b, head->state_out, s->slots[0]);
    }
}

gdn_status gdnp_head_run(const gdnp_head *head, gdn_error *err) {
    const gdnp_delta_kernel *kernel;
    GDN_TRY(gdnp_delta_kernel_choose(&kernel, err));
    const gdnp_sequence *s = head->sequence;
    head_buffers b;
    snapshots tree = {0};
    if (!buffers_create(&b, kernel->lanes, head->v_dim, head->keys->k_dim)) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for one head's state");
    }
    if (!snapshots_create(&tree, head, &b)) {
        free(b.state);
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for the states of a tree");
    }
    load_state(head, &b);
    if (gdnp_floor_wanted(head) && gdnp_floor_run(head, err) != GDN_OK) {
        free(tree.memory);
        free(b.state);
        return GDN_ERR_OOM;
    }
    for (int64_t token = 0, count; token < s->length; token += count) {
        count = next_segment(head, token);
        if (s->parents && token > 0) {
            take_snapshot(&tree, &b, s->parents[token]);
        }
        copy_values(head, &b, token, count);
        run_segment(head, kernel, &b, token, count);
        if (head->out) {
            store_outputs(head, &b, token, count);
        }
        slip_state(head, &b, token + count);
        store_states(head, &b, token + count - 1);
        if (is_carried_by_storage(head, token + count)) {
            round_state(head, &b);
        }
        if (s->parents) {
            keep_snapshot(&tree, &b, token);
        }
    }
    free(tree.memory);
    free(b.state);
    return GDN_OK;
}
