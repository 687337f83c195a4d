/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Verify steps whose states go to intermediate rows: chains, trees (each node against the
 * plain recurrence over its ancestors), padding, and what a call may not say. */
#include "shadow_bench.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

enum { TOKENS = 5, ROWS = 7, K = 4, V = 3, HEADS = 2 };

static const int PLACES[TOKENS] = {6, 2, 0, 5, 3};
static const int PARENTS[TOKENS] = {-1, 0, 0, 1, 2};

static delta_shape shape_of(gdn_dtype state) {
    return (delta_shape){.key_heads = 1,
                         .value_heads = HEADS,
                         .k_dim = K,
                         .v_dim = V,
                         .dtype = GDN_FP32,
                         .state_dtype = state,
                         .rate = 0.3};
}

/* One sequence in slot 1 of 3. */
static void begin_verify(op_bench *b, gdn_dtype state, bool tree) {
    const delta_shape shape = shape_of(state);
    const int length = TOKENS;
    op_delta(b, &shape, &length, 1, 5);
    b->conventions.spec_state = GDN_SPEC_BUFFER;
    b->conventions.conv_window = GDN_CONV_WINDOWS;
    op_normal(op_add(b, "intermediate_state", state, ROWS, HEADS, V, K), 9, 7, 0.5);
    op_set_ints(op_add(b, "intermediate_indices", GDN_I32, 1, TOKENS, 0, 0), PLACES,
                TOKENS);
    if (tree) {
        op_set_ints(op_add(b, "parent_token", GDN_I32, 1, TOKENS, 0, 0), PARENTS, TOKENS);
    }
    op_want(b, "intermediate_state", GDN_FP64, true);
}

/* The rows `path` of a verify step as a plain sequence. */
static void begin_path(op_bench *c, op_bench *b, gdn_dtype state, const int *path,
                       int length) {
    static const char *const OPERANDS[] = {"q", "k", "v", "g", "beta"};
    const delta_shape shape = shape_of(state);
    op_delta(c, &shape, &length, 1, 5);
    c->conventions.state_carry = GDN_CARRY_TOKEN;
    for (int o = 0; o < 5; o++) {
        const gdn_tensor *from = op_tensor(b, OPERANDS[o]);
        const gdn_tensor *to = op_tensor(c, OPERANDS[o]);
        const size_t bytes =
            (size_t)gdn_tensor_row_count(from) * gdn_dtype_size(from->dtype);
        for (int t = 0; t < length; t++) {
            memcpy((char *)to->data + (size_t)t * bytes,
                   (char *)from->data + (size_t)path[t] * bytes, bytes);
        }
    }
    op_run(c);
}

static void expect_node(op_bench *b, gdn_dtype state, int node) {
    int path[TOKENS], length = 0;
    for (int at = node; at >= 0; at = PARENTS[at]) {
        memmove(path + 1, path, (size_t)length * sizeof *path);
        path[0] = at;
        length++;
    }
    op_bench c;
    begin_path(&c, b, state, path, length);
    for (int i = 0; i < HEADS * V; i++) {
        assert_true(shadow_reference(b, "out", node * HEADS * V + i) ==
                    shadow_reference(&c, "out", (length - 1) * HEADS * V + i));
    }
    const int size = HEADS * V * K;
    for (int i = 0; i < size; i++) {
        assert_true(shadow_reference(b, "intermediate_state", PLACES[node] * size + i) ==
                    shadow_reference(&c, "ssm_state", size + i));
    }
    op_end(&c);
}

static void test_a_node_is_the_recurrence_over_its_ancestors(void **unused) {
    (void)unused;
    static const gdn_dtype STATES[] = {GDN_FP32, GDN_BF16, GDN_FP16};
    for (int s = 0; s < 3; s++) {
        op_bench b;
        shadow_bench shadow;
        begin_verify(&b, STATES[s], true);
        shadow_begin(&shadow, &b);
        for (int node = 0; node < TOKENS; node++) {
            expect_node(&b, STATES[s], node);
            for (int i = 0; i < HEADS * V; i++) {
                const int at = node * HEADS * V + i;
                shadow_expect(&shadow, &b, "out", at, shadow_reference(&b, "out", at),
                              1e-13);
            }
        }
        shadow_end(&shadow, &b);
    }
}

/* The pool is read only, and rows that no token names stay as they are. */
static void test_only_named_rows_are_written(void **unused) {
    (void)unused;
    op_bench b;
    begin_verify(&b, GDN_FP32, false);
    op_run(&b);
    const gdn_output *buffer = op_output(&b, "intermediate_state");
    const gdn_output *pool = op_output(&b, "ssm_state");
    static const int NAMED[ROWS] = {1, 0, 1, 1, 0, 1, 1};
    for (int row = 0; row < ROWS; row++) {
        assert_int_equal(buffer->written[row], NAMED[row]);
    }
    for (int row = 0; row < 3; row++) {
        assert_int_equal(pool->written[row], 0);
    }
    op_end(&b);
}

/* Three accepted: the step goes on from what token 2 left, as if it were in the pool. */
static void test_a_step_starts_from_the_accepted_row(void **unused) {
    (void)unused;
    op_bench b, c;
    begin_verify(&b, GDN_FP32, false);
    begin_verify(&c, GDN_FP32, false);
    op_set_ints(op_add(&b, "num_accepted_tokens", GDN_I32, 1, 0, 0, 0), (int[]){3}, 1);
    const size_t bytes = sizeof(float) * HEADS * V * K;
    memcpy((char *)op_tensor(&c, "ssm_state")->data + bytes,
           (char *)op_tensor(&b, "intermediate_state")->data + (size_t)PLACES[2] * bytes,
           bytes);
    op_run(&b);
    op_run(&c);
    for (int i = 0; i < TOKENS * HEADS * V; i++) {
        assert_true(shadow_reference(&b, "out", i) == shadow_reference(&c, "out", i));
    }
    op_end(&b);
    op_end(&c);
}

/* ---- padding ---- */

static void expect_padding(gdn_pad_sequences treatment, int written) {
    const delta_shape shape = shape_of(GDN_FP32);
    const int lengths[] = {1, 1, 1};
    op_bench b;
    op_delta(&b, &shape, lengths, 3, 8);
    b.conventions.pad_sequences = treatment;
    b.conventions.pad_slot_id = -1;
    op_set_ints(op_tensor(&b, "state_indices"), (int[]){2, -1, 4}, 3);
    op_run(&b);
    const gdn_output *out = op_output(&b, "out"), *pool = op_output(&b, "ssm_state");
    assert_int_equal(out->written[0] && out->written[2], 1);
    assert_int_equal(out->written[1], written);
    static const int OWNED[] = {0, 0, 1, 0, 1};
    for (int slot = 0; slot < 5; slot++) {
        assert_int_equal(pool->written[slot], OWNED[slot]);
    }
    double largest = 0.0;
    for (int i = HEADS * V; written && i < 2 * HEADS * V; i++) {
        largest = fmax(largest, fabs(shadow_reference(&b, "out", i)));
        assert_true(treatment != GDN_PAD_ZEROED || out->limit[i] == 0.0F);
    }
    assert_true((largest > 0.0) == (treatment == GDN_PAD_FROM_ZERO));
    op_end(&b);
}

static void test_padding_is_what_the_profile_says(void **unused) {
    (void)unused;
    expect_padding(GDN_PAD_SKIPPED, 0);
    expect_padding(GDN_PAD_ZEROED, 1);
    expect_padding(GDN_PAD_FROM_ZERO, 1);
}

/* ---- refusals ---- */

static void expect_refusal(op_bench *b, const char *text) {
    gdn_error err = {0};
    assert_int_equal(gdn_call_check(&b->call, &err), GDN_ERR_ARG);
    if (!strstr(err.message, text)) {
        fail_msg("expected \"%s\" in: %s", text, err.message);
    }
    op_end(b);
}

static void test_refusals_of_verify_steps(void **unused) {
    (void)unused;
    op_bench b;
    begin_verify(&b, GDN_FP32, true);
    op_set_ints(op_tensor(&b, "parent_token"), (int[]){-1, 0, 3, 1, 2}, TOKENS);
    expect_refusal(&b, "parent_token[0,2]: expected 0 to 1");
    begin_verify(&b, GDN_FP32, false);
    op_set_ints(op_tensor(&b, "intermediate_indices"), (int[]){6, 2, 0, 5, ROWS}, TOKENS);
    expect_refusal(&b, "intermediate_indices[0,4]: expected 0 to 6 but found 7");
    begin_verify(&b, GDN_FP32, false);
    b.conventions.spec_state = GDN_SPEC_SLOTS;
    expect_refusal(&b, "intermediate_indices: expected none without spec_state");
    begin_verify(&b, GDN_FP32, false);
    op_scalar(&b, "chunked", 1);
    expect_refusal(&b, "chunked: expected 0 in a speculative call but found 1");
}

static void test_refusals_of_gates_and_padding(void **unused) {
    (void)unused;
    const delta_shape shape = shape_of(GDN_FP32);
    const int lengths[] = {1, 1};
    op_bench b;
    op_delta(&b, &shape, lengths, 2, 8);
    op_add(&b, "A_log", GDN_FP32, HEADS, 0, 0, 0);
    expect_refusal(&b, "A_log: expected none beside g");
    op_delta(&b, &shape, lengths, 2, 8);
    b.conventions.beta_storage = GDN_BETA_ACTIVATION;
    op_tensor(&b, "beta")->dtype = GDN_BF16;
    expect_refusal(&b, "beta: expected type fp32 but found bf16");
    op_delta(&b, &shape, lengths, 2, 8);
    b.conventions.pad_slot_id = -1;
    op_set_ints(op_tensor(&b, "state_indices"), (int[]){1, -1}, 2);
    expect_refusal(&b, "state_indices[1]: expected 0 to 3 but found -1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_node_is_the_recurrence_over_its_ancestors),
        cmocka_unit_test(test_only_named_rows_are_written),
        cmocka_unit_test(test_a_step_starts_from_the_accepted_row),
        cmocka_unit_test(test_padding_is_what_the_profile_says),
        cmocka_unit_test(test_refusals_of_verify_steps),
        cmocka_unit_test(test_refusals_of_gates_and_padding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
