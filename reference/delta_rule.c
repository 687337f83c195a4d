/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The gated delta rule around its inner loop: normalised keys, state loads and stores in
 * either order and any storage type, and the op of that name. */
#include "ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Tokens between two looks at the state: the chunk of chunked kernels, so that a profile
 * that stores the state every chunk widens its bound at the same places. */
#define CHUNK 64

/* Tokens between the prefetch of an operand's row and its use. */
#define PREFETCH 16

/* Tokens whose sums of squares run side by side: each has to wait for itself. */
#define ABREAST 8

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

/* The same for `rows` rows of `count`, at most ABREAST. */
static void sums_of_squares(const double *x, int64_t rows, int64_t count, double *sums) {
    if (rows < ABREAST) {
        for (int64_t r = 0; r < rows; r++) {
            sums[r] = sum_of_squares(x + r * count, count);
        }
        return;
    }
    double sum[ABREAST] = {0.0};
    for (int64_t i = 0; i < count; i++) {
        for (int64_t r = 0; r < ABREAST; r++) {
            sum[r] += x[r * count + i] * x[r * count + i];
        }
    }
    memcpy(sums, sum, sizeof sum);
}

/* What the recurrence must know of a row of k or q: its 2-norm, the bound on a backend's
 * error in it, and what a sum with it may lose to zeros. */
typedef struct scaled_row {
    double norm, error, floor;
} scaled_row;

/* x = scale * x / sqrt(sum + eps) with sum = sum x^2, or scale * x; the terms are those of
 * BOUND.md, "Keys and queries". */
static scaled_row scale_row(double *x, double sum, int64_t count,
                            const gdn_conventions *conventions, bool l2norm, double scale,
                            const double *errors) {
    const gdnp_arithmetic fp = gdnp_arithmetic_of(conventions);
    const double eps = conventions->l2norm_eps;
    const double n = (double)count;
    const double seen = conventions->slip == GDN_SLIP_L2NORM_MEAN ? sum / n : sum;
    const double root = l2norm ? sqrt(seen + eps) : 1.0;
    for (int64_t i = 0; i < count; i++) {
        x[i] = scale == 1.0 ? x[i] / root : x[i] / root * scale;
    }
    const double input = errors ? sqrt(sum_of_squares(errors, count)) : 0.0;
    double least = root; /* of the roots between the exact row and the backend's */
    double roundings = scale == 1.0 ? 0.0 : 3.0 * fp.unit;
    if (l2norm) {
        least = fmax(root - input, sqrt(eps));
        roundings += gdnp_gamma(n + 1.0, fp.unit) / 2.0 +
                     (conventions->rsqrt_error + 1.0) * fp.unit +
                     n * fp.tiny / (seen + eps);
    }
    const double factor = scale / root;
    const double norm = sqrt(sum) * factor;
    return (scaled_row){
        .norm = norm,
        .error =
            input / least * scale + norm * roundings + sqrt(n) * fp.tiny * (factor + 2.0),
        .floor = (2.0 * n + 8.0) * fp.tiny * fmax(factor, 1.0 / factor),
    };
}

void gdnp_keys_normalise(gdnp_keys *keys, const gdn_conventions *conventions, bool l2norm,
                         const double *k_error, const double *q_error) {
    const int64_t n = keys->k_dim;
    const double scale = 1.0 / sqrt((double)n);
    const double q_scale = conventions->slip == GDN_SLIP_Q_UNSCALED ? 1.0 : scale;
    const double k_scale = conventions->slip == GDN_SLIP_K_SCALED ? scale : 1.0;
    l2norm = l2norm && conventions->slip != GDN_SLIP_L2NORM_MISSING;
    double kk[ABREAST], qq[ABREAST];
    for (int64_t t = 0; t < keys->length; t++) {
        if (t % ABREAST == 0) {
            const int64_t left = keys->length - t;
            const int64_t rows = left < ABREAST ? left : ABREAST;
            sums_of_squares(keys->k + t * n, rows, n, kk);
            sums_of_squares(keys->q + t * n, rows, n, qq);
        }
        gdnp_token *token = &keys->tokens[t];
        const scaled_row k = scale_row(keys->k + t * n, kk[t % ABREAST], n, conventions,
                                       l2norm, k_scale, k_error ? k_error + t * n : NULL);
        const scaled_row q = scale_row(keys->q + t * n, qq[t % ABREAST], n, conventions,
                                       l2norm, q_scale, q_error ? q_error + t * n : NULL);
        token->k_norm = k.norm;
        token->k_error = k.error;
        token->k_floor = k.floor;
        token->q_norm = q.norm;
        token->q_error = q.error;
        token->q_floor = q.floor;
    }
}

/* Element strides of one head's block along the value and the key dimension. The slip reads
 * the same memory in the other order. */
typedef struct state_block {
    int64_t at, v_stride, k_stride;
    int64_t flat, v_flat, k_flat; /* the same in the dense array of limits */
} state_block;

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
    }
    return block;
}

/* Buffers of one head. `rows` is v_dim padded to whole blocks of the kernel's lanes. */
typedef struct head_buffers {
    int64_t lanes, rows;
    double *state;                     /* a block after the other, each [k_dim][lanes] */
    double *row, *errors;              /* [k_dim] */
    double *v, *v_error, *o, *o_error; /* [CHUNK][rows] */
    double *row_error, *row_norm;      /* [rows] */
    double *row_mass;                  /* [rows] */
} head_buffers;

static bool buffers_create(head_buffers *b, int64_t lanes, int64_t v_dim, int64_t k_dim) {
    b->lanes = lanes;
    b->rows = (v_dim + lanes - 1) / lanes * lanes;
    const int64_t tokens = CHUNK * b->rows;
    const int64_t count = (b->rows + 2) * k_dim + 4 * tokens + 3 * b->rows;
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
    b->row_error = b->o_error + tokens;
    b->row_norm = b->row_error + b->rows;
    b->row_mass = b->row_norm + b->rows;
    b->row = b->row_mass + b->rows;
    b->errors = b->row + k_dim;
    return true;
}

/* State row `l` in its block: elements are `lanes` apart. */
static double *state_row(const head_buffers *b, int64_t k_dim, int64_t l) {
    return b->state + l / b->lanes * b->lanes * k_dim + l % b->lanes;
}

static void load_state(const gdnp_head *head, head_buffers *b) {
    const int64_t k_dim = head->keys->k_dim;
    if (head->sequence->load_slot < 0) {
        return; /* from zero, as the buffers are */
    }
    const gdn_tensor *state = head->state;
    const state_block block = find_block(state, head, head->sequence->load_slot);
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

static void store_state(const gdnp_head *head, head_buffers *b, int64_t slot) {
    const int64_t k_dim = head->keys->k_dim;
    gdn_output *out = head->state_out;
    const gdn_tensor *value = &out->value;
    const state_block block = find_block(value, head, slot);
    const double tiny = gdnp_arithmetic_of(head->conventions).tiny;
    for (int64_t l = 0; l < head->v_dim; l++) {
        const double *row = state_row(b, k_dim, l);
        for (int64_t i = 0; i < k_dim; i++) {
            b->row[i] = row[i * b->lanes];
            b->errors[i] = b->row_error[l];
        }
        const int64_t at = block.at + l * block.v_stride;
        const int64_t flat = block.flat + l * block.v_flat;
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
                           gdnp_arithmetic_of(head->conventions).tiny);
    }
}

/* Where the profile stores the carried state, a backend continues from a rounded copy. */
static void widen_for_carry(const gdnp_head *head, head_buffers *b) {
    const gdn_dtype storage = head->state->dtype;
    const double unit = gdn_dtype_unit_roundoff(storage);
    const double tiny = gdnp_arithmetic_of(head->conventions).tiny;
    const double eta = sqrt((double)head->keys->k_dim) * gdnp_underflow(storage, tiny);
    for (int64_t l = 0; l < b->rows; l++) {
        b->row_error[l] += unit * (b->row_norm[l] + b->row_error[l]) + eta;
    }
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
    const bool each = (head->sequence->spec && head->state_out) ||
                      head->conventions->state_carry == GDN_CARRY_TOKEN ||
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
        if (head->v_error) {
            memcpy(b->v_error + t * b->rows, head->v_error + at, bytes);
        }
    }
}

/* All blocks of rows through `count` tokens: their keys are read from memory once, not once
 * a block. */
static void run_segment(const gdnp_head *head, const gdnp_delta_kernel *kernel,
                        head_buffers *b, int64_t token, int64_t count) {
    const gdnp_arithmetic arithmetic = gdnp_arithmetic_of(head->conventions);
    const gdnp_keys *keys = head->keys;
    const bool limits =
        (head->out && head->out->limit) || (head->state_out && head->state_out->limit);
    for (int64_t first = 0; first < b->rows; first += b->lanes) {
        const gdnp_delta_block block = {
            .length = count,
            .k_dim = keys->k_dim,
            .k = keys->k + token * keys->k_dim,
            .q = keys->q + token * keys->k_dim,
            .tokens = keys->tokens + token,
            .stride = b->rows,
            .v = b->v + first,
            .v_error = b->v_error + first,
            .o = b->o + first,
            .o_error = b->o_error + first,
            .state = b->state + first * keys->k_dim,
            .row_error = limits ? b->row_error + first : NULL,
            .row_norm = b->row_norm + first,
            .row_mass = b->row_mass + first,
            .unit = arithmetic.unit,
            .tiny = arithmetic.tiny,
            .decay_order = head->conventions->decay_order,
            .output_state = head->conventions->output_state,
            .delta_beta = head->conventions->delta_beta,
        };
        kernel->run(&block);
    }
}

gdn_status gdnp_head_run(const gdnp_head *head, gdn_error *err) {
    const gdnp_delta_kernel *kernel;
    GDN_TRY(gdnp_delta_kernel_choose(&kernel, err));
    const gdnp_sequence *s = head->sequence;
    head_buffers b;
    if (!buffers_create(&b, kernel->lanes, head->v_dim, head->keys->k_dim)) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for one head's state");
    }
    load_state(head, &b);
    for (int64_t token = 0, count; token < s->length; token += count) {
        count = next_segment(head, token);
        copy_values(head, &b, token, count);
        run_segment(head, kernel, &b, token, count);
        if (head->out) {
            store_outputs(head, &b, token, count);
        }
        slip_state(head, &b, token + count);
        const bool last = token + count == s->length;
        const bool each = s->spec && head->conventions->slip != GDN_SLIP_LAST_COLUMN_ONLY;
        if (head->state_out && (each || last)) {
            store_state(head, &b, s->slots[s->spec ? token : 0]);
        }
        if (head->conventions->state_carry != GDN_CARRY_CALL) {
            widen_for_carry(head, &b);
        }
    }
    free(b.state);
    return GDN_OK;
}

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

static void load_gates(const gdn_call *call, const gdnp_sequence *s, int64_t head,
                       gdnp_token *tokens) {
    const gdn_tensor *g = gdn_call_tensor(call, "g");
    const gdn_tensor *beta = gdn_call_tensor(call, "beta");
    for (int64_t t = 0; t < s->length; t++) {
        const int64_t row = s->rows[t];
        const gdnp_gate gate = {
            .g = gdn_load(g->data, g->dtype, row * g->stride[0] + head * g->stride[1]),
            .beta = gdn_load(beta->data, beta->dtype,
                             row * beta->stride[0] + head * beta->stride[1]),
        };
        gdnp_token_set_gate(&tokens[t], call->conventions, &gate);
    }
}

/* All value heads of one key head of one sequence. */
static gdn_status run_key_head(const gdn_call *call, const gdnp_sequence *s, int64_t h,
                               gdn_output *state_out, gdn_output *out, gdnp_workspace *w,
                               gdn_error *err) {
    const gdn_tensor *q = gdn_call_tensor(call, "q");
    const gdn_tensor *v = gdn_call_tensor(call, "v");
    const int64_t key_heads = q->shape[1];
    const int64_t r = v->shape[1] / key_heads;
    GDN_TRY(gdnp_workspace_resize(w, s->length, q->shape[2], s->length * v->shape[2], err));
    const gdnp_keys keys = w->keys;
    load_operand(keys.q, q, s, h);
    load_operand(keys.k, gdn_call_tensor(call, "k"), s, h);
    gdnp_keys_normalise(&w->keys, call->conventions,
                        gdn_call_scalar(call, "use_qk_l2norm", 1) != 0, NULL, NULL);
    for (int64_t j = 0; j < r; j++) {
        const int64_t hv = gdnp_value_head(call->conventions, h, j, key_heads, r);
        load_operand(w->values, v, s, hv);
        load_gates(call, s, hv, keys.tokens);
        const gdnp_head head = {
            .conventions = call->conventions,
            .sequence = s,
            .keys = &keys,
            .v = w->values,
            .v_dim = v->shape[2],
            .head = hv,
            .state = gdn_call_tensor(call, "ssm_state"),
            .out_storage = v->dtype,
            .state_out = state_out,
            .out = out,
        };
        GDN_TRY(gdnp_head_run(&head, err));
    }
    return GDN_OK;
}

gdn_status gdn_reference_delta_rule(const gdn_call *call, gdn_output *outputs,
                                    gdn_error *err) {
    gdn_output *out = gdnp_output(call, outputs, "out");
    gdn_output *state_out = gdnp_output(call, outputs, "ssm_state");
    const int64_t key_heads = gdn_call_tensor(call, "q")->shape[1];
    gdnp_batch batch = {0};
    gdn_status status = gdnp_batch_add(
        &batch, call->conventions, gdn_call_tensor(call, "query_start_loc"), NULL,
        gdn_call_tensor(call, "state_indices"), gdn_call_tensor(call, "has_initial_state"),
        gdn_call_tensor(call, "num_accepted_tokens"), err);
    if (status == GDN_OK) {
        gdnp_batch_mark(&batch, call->conventions, out, NULL, state_out);
#pragma omp parallel
        {
            gdnp_workspace w = {0};
#pragma omp for schedule(dynamic) nowait
            for (int64_t i = 0; i < batch.count * key_heads; i++) {
                gdn_error local = {0};
                if (run_key_head(call, &batch.sequences[i / key_heads], i % key_heads,
                                 state_out, out, &w, &local) != GDN_OK) {
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
