/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Index tensors looked up once: which rows a sequence owns, where its states come from and
 * where they go (contract vllm_xpu 2.8 and 3). */
#include "ops.h"

#include <stdlib.h>

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* The column that a spec sequence starts from, slips included; a slip stays in the row. */
static int64_t start_column(const gdn_conventions *conventions, int64_t accepted,
                            int64_t columns) {
    switch (conventions->spec_column) {
    case GDN_SPEC_ACCEPTED_MINUS_ONE:
        return accepted > 0 ? accepted - 1 : 0;
    case GDN_SPEC_ACCEPTED:
        return min64(accepted, columns - 1);
    case GDN_SPEC_FIRST:
        break;
    }
    return 0;
}

static void find_states(gdnp_sequence *s, const gdn_conventions *conventions, int64_t index,
                        const gdn_tensor *state_indices, const gdn_tensor *has_initial,
                        const gdn_tensor *accepted) {
    if (accepted) {
        const int64_t columns = state_indices->shape[1];
        const int64_t column =
            start_column(conventions, gdn_tensor_int(accepted, index, 0), columns);
        s->load_slot = gdn_tensor_int(state_indices, index, column);
        if (conventions->conv_window == GDN_CONV_SNAPSHOT) {
            s->conv_slot = s->load_slot;
        } else {
            s->conv_slot = gdn_tensor_int(state_indices, index, 0);
            s->conv_row = column;
        }
    } else {
        const int64_t shift = conventions->slip == GDN_SLIP_FLAGS_SHIFTED;
        const bool starts =
            !has_initial ||
            gdn_tensor_int(has_initial, (index + shift) % has_initial->shape[0], 0) != 0;
        s->load_slot = starts ? s->slots[0] : -1;
        s->conv_slot = s->load_slot;
    }
    if (conventions->history == GDN_HISTORY_IGNORED) {
        s->load_slot = -1;
        s->conv_slot = -1;
    }
}

/* Padding names no slot. */
static void find_padding(gdnp_sequence *s, const gdn_conventions *conventions) {
    if (conventions->pad_sequences != GDN_PAD_REFUSED &&
        s->slots[0] == conventions->pad_slot_id) {
        s->padded = true;
        s->load_slot = -1;
        s->conv_slot = -1;
        s->conv_row = 0;
    }
}

/* What the slip of a mixed batch goes by. */
static void mark_fresh(gdnp_sequence *sequences, int64_t count) {
    bool some = false;
    for (int64_t i = 0; i < count; i++) {
        some = some || sequences[i].load_slot >= 0;
    }
    for (int64_t i = 0; i < count; i++) {
        sequences[i].fresh_beside_others = some && sequences[i].load_slot < 0;
    }
}

gdn_status gdnp_batch_add(gdnp_batch *batch, const gdn_conventions *conventions,
                          const gdn_tensor *query_start_loc, const gdn_tensor *token_indx,
                          const gdn_tensor *state_indices, const gdn_tensor *has_initial,
                          const gdn_tensor *accepted, gdn_error *err) {
    const int64_t n = query_start_loc->shape[0] - 1;
    const int64_t tokens = gdn_tensor_int(query_start_loc, n, 0);
    const int64_t columns = accepted ? state_indices->shape[1] : 1;
    gdnp_sequence *sequences =
        realloc(batch->sequences, (size_t)(batch->count + n + 1) * sizeof *sequences);
    int64_t *memory = malloc((size_t)(tokens + n * columns + 1) * sizeof *memory);
    if (sequences) {
        batch->sequences = sequences;
    }
    if (!sequences || !memory) {
        free(memory);
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %lld sequences",
                             (long long)n);
    }
    batch->memory[batch->groups++] = memory;
    int64_t *rows = memory;
    int64_t *slots = rows + tokens;
    for (int64_t t = 0; t < tokens; t++) {
        const bool indexed = token_indx && conventions->slip != GDN_SLIP_TOKENS_UNINDEXED;
        rows[t] = indexed ? gdn_tensor_int(token_indx, t, 0) : t;
    }
    for (int64_t i = 0; i < n; i++) {
        const int64_t first = gdn_tensor_int(query_start_loc, i, 0);
        gdnp_sequence *s = &batch->sequences[batch->count++];
        *s = (gdnp_sequence){
            .spec = accepted != NULL,
            .index = i,
            .first = first,
            .load_row = -1,
            .length = gdn_tensor_int(query_start_loc, i + 1, 0) - first,
            .rows = rows + first,
            .slots = slots + i * columns,
        };
        for (int64_t c = 0; c < columns; c++) {
            slots[i * columns + c] = gdn_tensor_int(state_indices, i, c);
        }
        find_states(s, conventions, i, state_indices, has_initial, accepted);
        find_padding(s, conventions);
    }
    mark_fresh(&batch->sequences[batch->count - n], n);
    return GDN_OK;
}

gdn_status gdnp_batch_verify(gdnp_batch *batch, const gdn_conventions *conventions,
                             const gdn_tensor *intermediate_indices,
                             const gdn_tensor *accepted, const gdn_tensor *parents,
                             gdn_error *err) {
    const int64_t columns = intermediate_indices->shape[1];
    const int64_t count = batch->count * columns;
    batch->buffer = malloc((size_t)(2 * count + 1) * sizeof *batch->buffer);
    if (!batch->buffer) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %lld sequences",
                             (long long)batch->count);
    }
    const bool tree = parents && conventions->slip != GDN_SLIP_TREE_IGNORED;
    for (int64_t i = 0; i < batch->count; i++) {
        gdnp_sequence *s = &batch->sequences[i];
        int64_t *rows = batch->buffer + i * columns;
        int64_t *links = rows + count;
        for (int64_t t = 0; t < columns; t++) {
            rows[t] = gdn_tensor_int(intermediate_indices, i, t);
            links[t] = tree ? gdn_tensor_int(parents, i, t) : t - 1;
        }
        const int64_t column =
            accepted ? start_column(conventions, gdn_tensor_int(accepted, i, 0), columns)
                     : 0;
        s->verify = true;
        s->window_rows = rows;
        s->parents = tree ? links : NULL;
        if (column > 0 && !s->padded && conventions->history == GDN_HISTORY_HONOURED) {
            s->load_row = rows[column];
        }
    }
    return GDN_OK;
}

void gdnp_batch_stray(gdnp_batch *batch, const gdn_conventions *conventions,
                      int64_t slots) {
    const bool last = conventions->slip == GDN_SLIP_PAD_IN_LAST;
    if (!last && conventions->slip != GDN_SLIP_PAD_IN_SLOT0) {
        return;
    }
    for (int64_t i = 0; i < batch->count; i++) {
        gdnp_sequence *s = &batch->sequences[i];
        if (s->padded && !s->spec && !s->verify) {
            batch->stray = last ? slots - 1 : 0;
            s->padded = false;
            s->slots = &batch->stray;
            s->load_slot = batch->stray;
            s->conv_slot = batch->stray;
            return; /* one is enough, and a second one would race with it */
        }
    }
}

void gdnp_batch_destroy(gdnp_batch *batch) {
    free(batch->buffer);
    free(batch->memory[0]);
    free(batch->memory[1]);
    free(batch->sequences);
    *batch = (gdnp_batch){0};
}

void gdnp_batch_mark(const gdnp_batch *batch, const gdn_conventions *conventions,
                     gdn_output *tokens, gdn_output *conv_state, gdn_output *ssm_state) {
    for (int64_t i = 0; i < batch->count; i++) {
        const gdnp_sequence *s = &batch->sequences[i];
        for (int64_t t = 0; t < s->length && !s->padded; t++) {
            gdnp_mark_row(tokens, s->rows[t]);
            if (s->verify) {
                gdnp_mark_row(conv_state, s->slots[0]);
                continue;
            }
            const int64_t slot = s->slots[s->spec ? t : 0];
            gdnp_mark_row(ssm_state, slot);
            const bool line = s->spec && conventions->conv_window == GDN_CONV_SLIDING;
            gdnp_mark_row(conv_state, line ? s->slots[0] : slot);
        }
    }
}

void gdnp_mark_padding(const gdnp_batch *batch, gdn_output *tokens) {
    for (int64_t i = 0; i < batch->count; i++) {
        const gdnp_sequence *s = &batch->sequences[i];
        for (int64_t t = 0; t < s->length && s->padded; t++) {
            gdnp_mark_row(tokens, s->rows[t]);
        }
    }
}
