/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "related.h"

#include <stdlib.h>
#include <string.h>

#include "fill.h"

static gdn_status no_memory(const gdn_case *test, gdn_error *err) {
    return gdn_error_set(err, GDN_ERR_OOM, "no memory for the related calls of %s",
                         test->id);
}

gdn_status gdnp_related_add(gdn_related *related, const gdn_case *like, size_t room,
                            gdn_related_call **call, gdn_error *err) {
    const gdn_case from = *like; /* it may stand in the memory that moves */
    gdn_related_call *calls =
        realloc(related->calls, (related->n_calls + 1) * sizeof *calls);
    if (!calls) {
        return no_memory(&from, err);
    }
    related->calls = calls;
    gdn_related_call *added = &calls[related->n_calls];
    *added = (gdn_related_call){.test = from};
    added->test.sequences = calloc(room + 1, sizeof *added->test.sequences);
    added->test.n_sequences = 0;
    added->ties = calloc(room + 1, sizeof *added->ties);
    if (!added->test.sequences || !added->ties) {
        free(added->test.sequences);
        free(added->ties);
        return no_memory(&from, err);
    }
    related->n_calls++;
    *call = added;
    return GDN_OK;
}

/* Local token that sequence s of a call begins with. */
static int64_t first_token(const gdn_case *test, int64_t s) {
    int64_t first = 0;
    for (int64_t i = 0; i < s; i++) {
        first += test->sequences[i].length;
    }
    return first;
}

/* Row of a token in a tensor that has one a token. Only projections come in any order. */
static int64_t token_row(const gdn_related_call *call, int64_t token) {
    return call->test.op == GDN_OP_GDN_ATTENTION ? call->plan.token_rows[token] : token;
}

/* Tokens and states of a call, from the ties of its sequences. */
static gdn_status tie_all(const gdn_related *related, gdn_related_call *call,
                          gdn_error *err) {
    const int64_t columns = call->plan.columns;
    const size_t states = call->test.n_sequences * (size_t)columns;
    call->tokens = calloc((size_t)call->plan.tokens + 1, sizeof *call->tokens);
    call->states = calloc(states + 1, sizeof *call->states);
    call->row_tokens = calloc((size_t)call->plan.rows + 1, sizeof *call->row_tokens);
    if (!call->tokens || !call->states || !call->row_tokens) {
        return no_memory(&call->test, err);
    }
    for (int64_t row = 0; row < call->plan.rows; row++) {
        call->row_tokens[row] = -1;
    }
    for (int64_t t = 0; t < call->plan.tokens; t++) {
        call->row_tokens[token_row(call, t)] = t;
    }
    int64_t token = 0;
    for (size_t s = 0; s < call->test.n_sequences; s++) {
        const gdn_related_sequence *tie = &call->ties[s];
        const bool tied = tie->call >= 0;
        const gdn_related_call *other = &related->calls[tied ? tie->call : 0];
        const int64_t there = tied ? first_token(&other->test, tie->origin) : 0;
        for (int64_t t = 0; t < call->test.sequences[s].length; t++) {
            call->tokens[token++] =
                (gdn_same){.call = tie->call, .at = there + tie->token + t};
        }
        for (int64_t c = 0; c < columns; c++) {
            const bool all = tie->column == GDN_ALL_COLUMNS;
            const bool state = tied && (all || (tie->column >= 0 && c == 0));
            call->states[(int64_t)s * columns + c] = (gdn_same){
                .call = state ? tie->call : -1,
                .at = tie->origin * other->plan.columns + (all ? c : tie->column)};
        }
    }
    return GDN_OK;
}

static gdn_status begin(gdn_related *related, const gdn_case *test, gdn_error *err) {
    gdn_related_call *base;
    GDN_TRY(gdnp_related_add(related, test, test->n_sequences, &base, err));
    base->test.n_sequences = test->n_sequences;
    for (size_t s = 0; s < test->n_sequences; s++) {
        base->test.sequences[s] = test->sequences[s];
        base->ties[s] = (gdn_related_sequence){
            .sequence = test->sequences[s], .call = -1, .from_call = -1};
    }
    return gdnp_related_calls(related, err);
}

gdn_status gdn_related_create(gdn_related *related, const gdn_case *test, gdn_error *err) {
    *related = (gdn_related){.relation = test->relation};
    gdn_status status = begin(related, test, err);
    /* Conventions and sequences are pointed to: cases move no more from here on. */
    for (size_t i = 0; status == GDN_OK && i < related->n_calls; i++) {
        gdn_related_call *call = &related->calls[i];
        status = gdn_plan_create(&call->plan, &call->test, err);
        if (status == GDN_OK) {
            status = gdn_problem_create(&call->problem, &call->test, err);
        }
    }
    for (size_t i = 0; status == GDN_OK && i < related->n_calls; i++) {
        status = tie_all(related, &related->calls[i], err);
    }
    if (status != GDN_OK) {
        gdn_related_destroy(related);
    }
    return status;
}

void gdn_related_destroy(gdn_related *related) {
    for (size_t i = 0; i < related->n_calls; i++) {
        gdn_related_call *call = &related->calls[i];
        gdn_problem_destroy(&call->problem);
        gdn_plan_destroy(&call->plan);
        free(call->test.sequences);
        free(call->ties);
        free(call->row_tokens);
        free(call->tokens);
        free(call->states);
    }
    free(related->calls);
    *related = (gdn_related){0};
}

/* Copies one row, the bytes of all its elements. */
static void copy_row(gdn_related_call *to, int64_t to_row, const gdn_related_call *from,
                     int64_t from_row, const char *name) {
    gdn_tensor *a = gdn_arena_tensor(&to->problem.arena, name);
    gdn_arena source = from->problem.arena; /* the look-up takes no const */
    const gdn_tensor *b = gdn_arena_tensor(&source, name);
    if (a && b && to_row >= 0 && from_row >= 0) {
        const size_t size = gdn_dtype_size(a->dtype);
        memcpy((uint8_t *)a->data + (size_t)(to_row * a->stride[0]) * size,
               (const uint8_t *)b->data + (size_t)(from_row * b->stride[0]) * size,
               (size_t)gdn_tensor_row_count(a) * size);
    }
}

/* Every slot and intermediate row that sequence `from` of an earlier call has left. */
static void copy_states(gdn_related_call *to, size_t s, const gdn_related_call *from) {
    const gdn_related_sequence *tie = &to->ties[s];
    for (int64_t c = 0; c < to->plan.columns; c++) {
        const int64_t a = to->plan.sequence_slots[(int64_t)s * to->plan.columns + c];
        const int64_t b = from->plan.sequence_slots[tie->from * from->plan.columns + c];
        copy_row(to, a, from, b, "ssm_state");
        copy_row(to, a, from, b, "conv_state");
        if (to->plan.places > 0 && from->plan.places > 0) {
            const int64_t p = to->plan.sequence_places[(int64_t)s - to->plan.non_spec] + c;
            const int64_t q =
                from->plan.sequence_places[tie->from - from->plan.non_spec] + c;
            copy_row(to, p, from, q, "intermediate_state");
            copy_row(to, p, from, q, "intermediate_conv_window");
        }
    }
}

void gdn_related_prepare(gdn_related *related, size_t index) {
    gdn_related_call *call = &related->calls[index];
    bool carries = false;
    gdn_arena_restore(&call->problem.arena);
    for (size_t s = 0; s < call->test.n_sequences; s++) {
        if (call->ties[s].from_call >= 0) {
            copy_states(call, s, &related->calls[call->ties[s].from_call]);
            carries = true;
        }
    }
    if (carries) {
        gdn_arena_refreeze(&call->problem.arena);
    }
}

bool gdn_related_is_token(const gdn_tensor *tensor) {
    static const char *const NAMES[] = {"out", "core_attn_out", "z", "g", "beta"};
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        if (strcmp(NAMES[i], tensor->name) == 0) {
            return true;
        }
    }
    return false;
}

static const gdn_tensor *tensor_named(const gdn_related_call *call, const char *name) {
    gdn_arena arena = call->problem.arena; /* the look-up takes no const */
    return gdn_arena_tensor(&arena, name);
}

static gdn_same_row same_token(const gdn_related *related, const gdn_related_call *call,
                               const gdn_tensor *tensor, int64_t row) {
    const int64_t token = call->row_tokens[row];
    if (token < 0 || call->tokens[token].call < 0) {
        return (gdn_same_row){.call = -1};
    }
    const gdn_same *same = &call->tokens[token];
    const gdn_related_call *other = &related->calls[same->call];
    return (gdn_same_row){.call = same->call,
                          .tensor = tensor_named(other, tensor->name),
                          .row = token_row(other, same->at)};
}

static bool is_spec(const gdn_related_call *call, int64_t s) {
    return call->test.sequences[s].kind == GDN_SEQ_SPEC;
}

/* Row of a column's state: a slot, or a row of the intermediate tensors; -1: none. */
static int64_t state_row(const gdn_related_call *call, bool buffer, int64_t at) {
    const int64_t s = at / call->plan.columns;
    if (!buffer) {
        return call->plan.sequence_slots[at];
    }
    return call->plan.places > 0 && is_spec(call, s)
               ? call->plan.sequence_places[s - call->plan.non_spec] +
                     at % call->plan.columns
               : -1;
}

static bool is_buffer(const gdn_tensor *tensor) {
    return strncmp(tensor->name, "intermediate", 12) == 0;
}

static gdn_same_row same_state(const gdn_related *related, const gdn_related_call *call,
                               const gdn_tensor *tensor, int64_t row) {
    const bool conv = strstr(tensor->name, "conv") != NULL;
    const int64_t count = (int64_t)call->test.n_sequences * call->plan.columns;
    for (int64_t at = 0; row >= 0 && at < count; at++) {
        const gdn_same *same = &call->states[at];
        if (same->call < 0 || state_row(call, is_buffer(tensor), at) != row) {
            continue;
        }
        const gdn_related_call *other = &related->calls[same->call];
        const bool spec = is_spec(other, same->at / other->plan.columns);
        const bool both = spec == is_spec(call, at / call->plan.columns);
        if (conv && !both) {
            continue; /* lines of draft columns have as many forms as there are profiles */
        }
        /* A decode leaves in its slot what a draft column may leave in the buffer. */
        const bool buffered = is_buffer(tensor) || (!both && other->plan.places > 0);
        const char *name = buffered && !both ? "intermediate_state" : tensor->name;
        return (gdn_same_row){.call = same->call,
                              .tensor = tensor_named(other, name),
                              .row = state_row(other, buffered, same->at)};
    }
    return (gdn_same_row){.call = -1};
}

gdn_same_row gdn_related_row(const gdn_related *related, size_t index,
                             const gdn_tensor *tensor, int64_t row) {
    const gdn_related_call *call = &related->calls[index];
    /* Other queries change what is made of them, and their own conv lines. */
    const bool queried = strstr(tensor->name, "conv") || strcmp(tensor->name, "out") == 0 ||
                         strcmp(tensor->name, "core_attn_out") == 0;
    if (related->relation == GDN_RELATION_REQUERIED && queried) {
        return (gdn_same_row){.call = -1};
    }
    return gdn_related_is_token(tensor) ? same_token(related, call, tensor, row)
                                        : same_state(related, call, tensor, row);
}

int64_t gdn_related_owner(const gdn_related_call *call, const gdn_tensor *tensor,
                          int64_t row) {
    if (gdn_related_is_token(tensor)) {
        int64_t token = call->row_tokens[row];
        int64_t s = 0;
        while (token >= 0 && token >= call->test.sequences[s].length) {
            token -= call->test.sequences[s++].length;
        }
        return token < 0 ? -1 : s;
    }
    const int64_t count = (int64_t)call->test.n_sequences * call->plan.columns;
    for (int64_t at = 0; row >= 0 && at < count; at++) {
        if (state_row(call, is_buffer(tensor), at) == row) {
            return at / call->plan.columns;
        }
    }
    return -1;
}

const gdn_tensor *gdn_related_state(const gdn_related_call *call, int64_t s, int64_t column,
                                    int64_t *row) {
    const bool buffer = call->plan.places > 0 && is_spec(call, s) && column > 0;
    *row = state_row(call, buffer, s * call->plan.columns + column);
    return *row < 0 ? NULL
                    : tensor_named(call, buffer ? "intermediate_state" : "ssm_state");
}

int64_t gdn_related_element(const gdn_case *test, const gdn_tensor *t, int64_t element) {
    const int64_t V = test->head_v_dim, K = test->head_k_dim;
    const bool conv = strstr(t->name, "conv") || test->op == GDN_OP_CAUSAL_CONV1D;
    if (!test->twist.heads && !test->twist.lanes) {
        return element;
    }
    if (conv && t->rank == 2) {
        return gdn_twisted_channel(test, element);
    }
    if (conv) {
        const bool sd = test->conventions.conv_state_order == GDN_CONV_STATE_SD;
        const int64_t inner = t->shape[2];
        const int64_t a = element / inner, b = element % inner;
        return sd ? a * inner + gdn_twisted_channel(test, b)
                  : gdn_twisted_channel(test, a) * inner + b;
    }
    if (t->rank == 2) { /* g, beta */
        return gdn_twisted_value_head(test, element);
    }
    const int64_t width = t->rank == 4 ? V * K : V;
    const int64_t head = gdn_twisted_value_head(test, element / width) * width;
    const int64_t at = element % width;
    if (t->rank == 3) {
        return head + gdn_twisted_lane(test, at);
    }
    return test->conventions.state_order == GDN_STATE_VK
               ? head + gdn_twisted_lane(test, at / K) * K + at % K
               : head + at / V * V + gdn_twisted_lane(test, at % V);
}
