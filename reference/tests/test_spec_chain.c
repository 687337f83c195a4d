/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Speculative decode is lossless or it is wrong: a chain of drafted steps with random
 * acceptance must leave the same bits as decoding the accepted tokens one by one. State
 * pools are FP64, so nothing is rounded on the way that one path stores more often than the
 * other. */
#include "op_bench.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "gdn/random.h"

#define HK    2
#define HV    4
#define K     8
#define V     6
#define W     4
#define Q     4
#define C     (2 * HK * K + HV * V)
#define QKVZ  (C + HV * V)
#define SLOTS (Q + 2)
#define ROWS  (W - 2 + Q)
#define STEPS 64

/* One token's projections. Tokens of a step that are later rejected are other numbers than
 * the token that finally stands at their position. */
static void set_token(op_bench *b, int64_t row, uint64_t number) {
    const gdn_random random = {.seed = 11, .stream = number};
    gdn_tensor *qkvz = op_tensor(b, "projected_states_qkvz");
    gdn_tensor *ba = op_tensor(b, "projected_states_ba");
    for (int64_t i = 0; i < QKVZ; i++) {
        gdn_store(qkvz->data, qkvz->dtype, row * QKVZ + i,
                  gdn_random_normal(&random, (uint64_t)i));
    }
    for (int64_t i = 0; i < 2 * HV; i++) {
        gdn_store(ba->data, ba->dtype, row * 2 * HV + i,
                  gdn_random_normal(&random, 1000 + (uint64_t)i));
    }
}

/* A call of `rows` tokens that runs in place on both pools; outputs in FP64. */
static void begin(op_bench *b, int64_t rows, bool spec,
                  const gdn_conventions *conventions) {
    op_begin(b, GDN_OP_GDN_ATTENTION);
    b->conventions = *conventions;
    op_add(b, "core_attn_out", GDN_BF16, rows, HV, V, 0);
    op_add(b, "z", GDN_BF16, rows, HV, V, 0);
    op_add(b, "projected_states_qkvz", GDN_BF16, rows, QKVZ, 0, 0);
    op_add(b, "projected_states_ba", GDN_BF16, rows, 2 * HV, 0, 0);
    op_add(b, "conv_state", GDN_BF16, SLOTS, ROWS, C, 0);
    op_add(b, "ssm_state", GDN_FP64, SLOTS, HV, V, K);
    op_normal(op_tensor(b, "conv_state"), 3, 1, 1.0);
    op_normal(op_tensor(b, "ssm_state"), 3, 2, 0.5);
    op_normal(op_add(b, "conv_weights", GDN_BF16, C, W, 0, 0), 3, 3, 0.5);
    op_normal(op_add(b, "A_log", GDN_FP32, HV, 0, 0, 0), 3, 4, 1.0);
    op_normal(op_add(b, "dt_bias", GDN_BF16, HV, 0, 0, 0), 3, 5, 1.0);
    const int slots[SLOTS] = {3, 1, 4, 2, 5, 0};
    if (spec) {
        op_set_ints(op_add(b, "spec_query_start_loc", GDN_I32, 2, 0, 0, 0),
                    (int[]){0, (int)rows}, 2);
        gdn_tensor *index = op_add(b, "spec_token_indx", GDN_I32, rows, 0, 0, 0);
        for (int64_t i = 0; i < rows; i++) {
            ((int32_t *)index->data)[i] = (int32_t)i;
        }
        op_set_ints(op_add(b, "spec_state_indices_tensor", GDN_I32, 1, Q, 0, 0), slots, Q);
        op_add(b, "num_accepted_tokens", GDN_I32, 1, 0, 0, 0);
    } else {
        op_set_ints(op_add(b, "non_spec_query_start_loc", GDN_I32, 2, 0, 0, 0),
                    (int[]){0, 1}, 2);
        op_set_ints(op_add(b, "non_spec_state_indices_tensor", GDN_I32, 1, 0, 0, 0), slots,
                    1);
    }
    const int64_t scalars[] = {HK, HV, K, V, 0, !spec, spec, rows, 1, 0};
    const char *const names[] = {"num_k_heads",      "num_v_heads",       "head_k_dim",
                                 "head_v_dim",       "num_prefills",      "num_decodes",
                                 "num_spec_decodes", "num_actual_tokens", "tp_size",
                                 "reorder_input"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        op_scalar(b, names[i], scalars[i]);
    }
    op_want(b, "core_attn_out", GDN_FP64, false);
    op_want(b, "z", GDN_BF16, false);
    op_output(b, "conv_state")->value = *op_tensor(b, "conv_state");
    op_output(b, "ssm_state")->value = *op_tensor(b, "ssm_state");
}

static void end(op_bench *b) {
    op_output(b, "conv_state")->value.data = NULL; /* aliases of the call's own */
    op_output(b, "ssm_state")->value.data = NULL;
    op_end(b);
}

static const double *state_of(op_bench *b, int64_t slot) {
    return (const double *)op_tensor(b, "ssm_state")->data + slot * HV * V * K;
}

/* Runs the chain; returns how many steps accepted something else than 1 and Q. */
static int run_chain(const char *window, bool ragged) {
    gdn_conventions conventions = gdn_conventions_default();
    assert_int_equal(gdn_conventions_set(&conventions, "conv_window", window, NULL),
                     GDN_OK);
    op_bench plain;
    begin(&plain, 1, false, &conventions);
    const gdn_random random = {.seed = 12, .stream = 1};
    const int slots[Q] = {3, 1, 4, 2};
    double expected[Q][HV * V];
    int accepted = 1, inner = 0;
    uint64_t number = 0;
    op_bench last = {0};
    for (int step = 0; step < STEPS; step++) {
        const int length =
            ragged ? 1 + (int)gdn_random_below(&random, (uint64_t)(1000 + step), Q) : Q;
        op_bench spec;
        begin(&spec, length, true, &conventions);
        if (step > 0) {
            memcpy(op_tensor(&spec, "ssm_state")->data, op_tensor(&last, "ssm_state")->data,
                   sizeof(double) * SLOTS * HV * V * K);
            memcpy(op_tensor(&spec, "conv_state")->data,
                   op_tensor(&last, "conv_state")->data,
                   sizeof(uint16_t) * SLOTS * ROWS * C);
            end(&last);
        }
        op_set_ints(op_tensor(&spec, "num_accepted_tokens"), &accepted, 1);
        for (int t = 0; t < length; t++) {
            set_token(&spec, t, number + (uint64_t)t);
        }
        op_run(&spec);
        accepted = 1 + (int)gdn_random_below(&random, (uint64_t)step, (uint32_t)length);
        inner += accepted > 1 && accepted < length;
        for (int t = 0; t < accepted; t++) {
            set_token(&plain, 0, number + (uint64_t)t);
            op_run(&plain);
            memcpy(expected[t], op_output(&plain, "core_attn_out")->value.data,
                   sizeof expected[t]);
        }
        assert_memory_equal(op_output(&spec, "core_attn_out")->value.data, expected,
                            sizeof expected[0] * (size_t)accepted);
        assert_memory_equal(state_of(&spec, slots[accepted - 1]),
                            state_of(&plain, slots[0]), sizeof(double) * HV * V * K);
        number += 100;
        last = spec;
    }
    end(&last);
    end(&plain);
    return inner;
}

static void test_sliding_window_chain_equals_plain_decode(void **state) {
    (void)state;
    assert_true(run_chain("sliding", false) > STEPS / 4);
}

static void test_snapshot_window_chain_equals_plain_decode(void **state) {
    (void)state;
    assert_true(run_chain("snapshot", false) > STEPS / 4);
}

static void test_ragged_chain_equals_plain_decode(void **state) {
    (void)state;
    run_chain("sliding", true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sliding_window_chain_equals_plain_decode),
        cmocka_unit_test(test_snapshot_window_chain_equals_plain_decode),
        cmocka_unit_test(test_ragged_chain_equals_plain_decode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
