/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "call_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#define T  GDN_BF16
#define ST GDN_FP16

#define SHAPE(...)                                                                         \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), {                           \
        __VA_ARGS__                                                                        \
    }
#define INTS(...) ((const int[]){__VA_ARGS__})

const valid_call VALID[VALID_CALLS] = {
    /* N 9 with two pad rows, C 6, W 4, S 7, R 5, B 3: an empty sequence in the middle
     * shares the slot of its neighbour. */
    [CONV] =
        {
            GDN_OP_CAUSAL_CONV1D,
            {{"x", T, SHAPE(9, 6), NULL},
             {"weight", T, SHAPE(6, 4), NULL},
             {"bias", T, SHAPE(6), NULL},
             {"conv_state", T, SHAPE(7, 5, 6), NULL},
             {"query_start_loc", GDN_I32, SHAPE(4), INTS(0, 4, 4, 7)},
             {"state_indices", GDN_I32, SHAPE(3), INTS(6, 2, 2)},
             {"has_initial_state", GDN_BOOL, SHAPE(3), INTS(1, 0, 1)},
             {"out", T, SHAPE(9, 6), NULL}},
            {{0}},
        },

    /* Q 3, a short sequence and a repeated slot inside a row; sliding windows need R 5. */
    [SPEC_CONV] =
        {
            GDN_OP_CAUSAL_CONV1D,
            {{"x", T, SHAPE(6, 8), NULL},
             {"weight", T, SHAPE(8, 4), NULL},
             {"conv_state", T, SHAPE(7, 5, 8), NULL},
             {"query_start_loc", GDN_I32, SHAPE(3), INTS(0, 3, 5)},
             {"state_indices", GDN_I32, SHAPE(2, 3), INTS(6, 1, 2, 4, 3, 4)},
             {"num_accepted_tokens", GDN_I32, SHAPE(2), INTS(0, 3)},
             {"out", T, SHAPE(6, 8), NULL}},
            {{0}},
        },

    /* Two trees of 4 and 3 tokens of Q 4; windows in 9 rows; C 6, W 4, S 7, R 5. */
    [VERIFY_CONV] =
        {
            GDN_OP_CAUSAL_CONV1D,
            {{"x", T, SHAPE(8, 6), NULL},
             {"weight", T, SHAPE(6, 4), NULL},
             {"conv_state", T, SHAPE(7, 5, 6), NULL},
             {"query_start_loc", GDN_I32, SHAPE(3), INTS(0, 4, 7)},
             {"state_indices", GDN_I32, SHAPE(2), INTS(6, 2)},
             {"num_accepted_tokens", GDN_I32, SHAPE(2), INTS(0, 4)},
             {"intermediate_indices", GDN_I32, SHAPE(2, 4), INTS(5, 6, 7, 8, 0, 1, 2, 3)},
             {"parent_token", GDN_I32, SHAPE(2, 4), INTS(-1, 0, 0, 1, 0, 0, 1, 99)},
             {"intermediate_conv_window", T, SHAPE(9, 3, 6), NULL},
             {"out", T, SHAPE(8, 6), NULL}},
            {{0}},
        },

    [PACK] =
        {
            GDN_OP_CONV_WEIGHT_PACK,
            {{"weight", T, SHAPE(64, 4), NULL}, {"packed", T, SHAPE(64, 4), NULL}},
            {{0}},
        },

    [GATING] =
        {
            GDN_OP_GDN_GATING,
            {{"A_log", GDN_FP32, SHAPE(4), NULL},
             {"dt_bias", T, SHAPE(4), NULL},
             {"a", T, SHAPE(5, 4), NULL},
             {"b", T, SHAPE(5, 4), NULL},
             {"g", GDN_FP32, SHAPE(5, 4), NULL},
             {"beta", GDN_FP32, SHAPE(5, 4), NULL}},
            {{0}},
        },

    /* HK 2, HV 6, K 8, V 5. */
    [DELTA] =
        {
            GDN_OP_GATED_DELTA_RULE,
            {{"q", T, SHAPE(7, 2, 8), NULL},
             {"k", T, SHAPE(7, 2, 8), NULL},
             {"v", T, SHAPE(7, 6, 5), NULL},
             {"g", GDN_FP32, SHAPE(7, 6), NULL},
             {"beta", GDN_FP32, SHAPE(7, 6), NULL},
             {"ssm_state", ST, SHAPE(4, 6, 5, 8), NULL},
             {"query_start_loc", GDN_I32, SHAPE(3), INTS(0, 1, 7)},
             {"state_indices", GDN_I32, SHAPE(2), INTS(3, 0)},
             {"has_initial_state", GDN_BOOL, SHAPE(2), INTS(1, 0)},
             {"out", T, SHAPE(7, 6, 5), NULL}},
            {{"use_qk_l2norm", 1}},
        },

    /* Two ranks of 2 and 4 heads, K 8, V 5: C 52, projections of 72 and 8 columns. A
     * prefill of
 * 4 tokens, a decode, and spec sequences of 3 and 2 tokens: 10 of 12 rows, scattered. */
    [ATTENTION] =
        {
            GDN_OP_GDN_ATTENTION,
            {{"core_attn_out", T, SHAPE(12, 4, 5), NULL},
             {"z", T, SHAPE(12, 4, 5), NULL},
             {"projected_states_qkvz", T, SHAPE(11, 72), NULL},
             {"projected_states_ba", T, SHAPE(10, 8), NULL},
             {"conv_state", T, SHAPE(9, 5, 52), NULL},
             {"ssm_state", ST, SHAPE(9, 4, 5, 8), NULL},
             {"conv_weights", T, SHAPE(52, 4), NULL},
             {"conv_bias", T, SHAPE(52), NULL},
             {"A_log", GDN_FP32, SHAPE(4), NULL},
             {"dt_bias", T, SHAPE(4), NULL},
             {"has_initial_state", GDN_BOOL, SHAPE(2), INTS(0, 1)},
             {"non_spec_query_start_loc", GDN_I32, SHAPE(3), INTS(0, 4, 5)},
             {"non_spec_token_indx", GDN_I32, SHAPE(5), INTS(0, 1, 2, 3, 7)},
             {"non_spec_state_indices_tensor", GDN_I32, SHAPE(2), INTS(8, 5)},
             {"spec_query_start_loc", GDN_I32, SHAPE(3), INTS(0, 3, 5)},
             {"spec_token_indx", GDN_I32, SHAPE(5), INTS(9, 4, 6, 8, 5)},
             {"spec_state_indices_tensor", GDN_I32, SHAPE(2, 3), INTS(0, 1, 2, 3, 3, 4)},
             {"num_accepted_tokens", GDN_I32, SHAPE(2), INTS(0, 3)}},
            {{"num_k_heads", 4},
             {"num_v_heads", 8},
             {"head_k_dim", 8},
             {"head_v_dim", 5},
             {"num_prefills", 1},
             {"num_decodes", 1},
             {"num_spec_decodes", 2},
             {"num_actual_tokens", 10},
             {"tp_size", 2},
             {"reorder_input", 0}},
        },

    /* Two drafts at most: a prompt, a decode, a spec row, a padding request; P 6. */
    [METADATA] =
        {
            GDN_OP_GDN_METADATA,
            {{"query_start_loc", GDN_I32, SHAPE(5), INTS(0, 5, 6, 9, 9)},
             {"seq_lens", GDN_I32, SHAPE(4), INTS(5, 7, 20, 0)},
             {"block_table", GDN_I32, SHAPE(4, 4),
              INTS(1, -1, -1, -1, 2, -1, -1, -1, 3, 4, 5, -1, -1, -1, -1, -1)},
             {"num_decode_draft_tokens", GDN_I32, SHAPE(4), INTS(-1, -1, 2, -1)},
             {"num_accepted_tokens", GDN_I32, SHAPE(4), INTS(-9, 9, 3, 99)},
             {"counts", GDN_I32, SHAPE(14), NULL},
             {"has_initial_state", GDN_BOOL, SHAPE(4), NULL},
             {"spec_query_start_loc", GDN_I32, SHAPE(7), NULL},
             {"non_spec_query_start_loc", GDN_I32, SHAPE(7), NULL},
             {"spec_state_indices_tensor", GDN_I32, SHAPE(6, 3), NULL},
             {"non_spec_state_indices_tensor", GDN_I32, SHAPE(6), NULL},
             {"spec_token_indx", GDN_I32, SHAPE(9), NULL},
             {"non_spec_token_indx", GDN_I32, SHAPE(9), NULL},
             {"spec_num_accepted_tokens", GDN_I32, SHAPE(6), NULL}},
            {{"num_spec", 2}, {"pad_requests", 6}},
        },
};

void bench_set(gdn_tensor *tensor, int64_t at, int64_t value) {
    if (tensor->dtype == GDN_BOOL) {
        ((uint8_t *)tensor->data)[at] = (uint8_t)value;
    } else {
        ((int32_t *)tensor->data)[at] = (int32_t)value;
    }
}

void bench_init(bench *b, valid_name name) {
    const valid_call *valid = &VALID[name];
    *b = (bench){.conventions = gdn_conventions_default()};
    memset(b->data, 0x5a, sizeof b->data); /* what stands behind an input is nonsense */
    b->call = (gdn_call){
        .struct_size = sizeof b->call,
        .op = valid->op,
        .conventions = &b->conventions,
        .tensors = b->tensors,
        .scalars = b->scalars,
    };
    for (size_t i = 0; i < MAX_TENSORS && valid->tensors[i].name; i++) {
        const given *g = &valid->tensors[i];
        gdn_tensor *t = &b->tensors[b->call.n_tensors++];
        *t = gdn_tensor_dense(g->name, g->values ? &b->data[i] : NULL, g->dtype, g->rank,
                              g->shape);
        for (int64_t k = 0; g->values && k < gdn_tensor_count(t); k++) {
            bench_set(t, k, g->values[k]);
        }
    }
    while (valid->scalars[b->call.n_scalars].name) {
        b->scalars[b->call.n_scalars] = valid->scalars[b->call.n_scalars];
        b->call.n_scalars++;
    }
    if (name == VERIFY_CONV) {
        b->conventions.spec_state = GDN_SPEC_BUFFER;
        b->conventions.conv_window = GDN_CONV_WINDOWS;
    }
}

static void reshape(gdn_tensor *t, int rank, long at, int64_t size) {
    int64_t shape[GDN_MAX_RANK] = {1, 1, 1, 1, 1};
    for (int d = 0; d < t->rank; d++) {
        shape[d] = t->shape[d];
    }
    if (at >= 0) {
        shape[at] = size;
    }
    *t = gdn_tensor_dense(t->name, t->data, t->dtype, rank, shape);
}

static void set_type(gdn_tensor *t, const char *type) {
    if (!gdn_dtype_from_name(type, &t->dtype)) {
        t->dtype = (gdn_dtype)strtol(type, NULL, 10);
    }
}

/* `how` is what stands behind the name, or the sign before it. */
static void change_tensor(bench *b, gdn_tensor *t, const char *how) {
    char *end = NULL;
    const long at = strtol(how + (*how != '\0'), &end, 10);
    switch (*how) {
    case '[':
        bench_set(t, at, strtoll(end + 2, NULL, 10));
        break;
    case '.':
        reshape(t, t->rank, at, strtoll(end + 1, NULL, 10));
        break;
    case '/':
        reshape(t, (int)at, -1, 0);
        break;
    case ':':
        set_type(t, how + 1);
        break;
    case '!':
        t->name = "extra";
        break;
    case '-':
        *t = b->tensors[--b->call.n_tensors];
        break;
    default:
        assert_int_equal(*how, '+');
        b->tensors[b->call.n_tensors++] = *t;
    }
}

static void change_scalar(bench *b, gdn_scalar *s, const char *how) {
    switch (*how) {
    case '=':
        s->value = strtoll(how + 1, NULL, 10);
        break;
    case '!':
        s->name = "extra";
        break;
    case '-':
        *s = b->scalars[--b->call.n_scalars];
        break;
    default:
        assert_int_equal(*how, '+');
        b->scalars[b->call.n_scalars++] = *s;
    }
}

static void change_one(bench *b, char *change) {
    const bool sign = *change == '-' || *change == '+';
    char name[64] = "";
    const size_t length = strcspn(change + sign, "[./:!=");
    memcpy(name, change + sign, length);
    const char *how = sign ? change : change + length;
    for (size_t i = 0; i < b->call.n_tensors; i++) {
        if (strcmp(b->tensors[i].name, name) == 0) {
            change_tensor(b, &b->tensors[i], how);
            return;
        }
    }
    for (size_t i = 0; i < b->call.n_scalars; i++) {
        if (strcmp(b->scalars[i].name, name) == 0) {
            change_scalar(b, &b->scalars[i], how);
            return;
        }
    }
    assert_int_equal(gdn_conventions_set(&b->conventions, name, how + 1, NULL), GDN_OK);
}

void bench_change(bench *b, const char *changes) {
    char text[512];
    assert_true(strlen(changes) < sizeof text);
    strcpy(text, changes);
    char *rest = text;
    while (*rest) {
        char *change = rest;
        rest += strcspn(rest, " ");
        if (*rest) {
            *rest++ = '\0';
        }
        change_one(b, change);
    }
}

void check_rows(const row *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const row *r = &rows[i];
        bench b;
        bench_init(&b, r->valid);
        bench_change(&b, r->changes);
        gdn_error err = {0};
        const gdn_status status = gdn_call_check(&b.call, &err);
        const char *message = r->message ? r->message : "";
        if (strcmp(err.message, message) != 0) {
            fail_msg("%s with \"%s\":\n  expected \"%s\"\n  found    \"%s\"",
                     gdn_op_get(VALID[r->valid].op)->name, r->changes, message,
                     err.message);
        }
        assert_int_equal(status, r->message ? GDN_ERR_ARG : GDN_OK);
        assert_int_equal(gdn_call_check(&b.call, NULL), status);
    }
}
