/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* verify_draft_tokens on input that it refuses, and on random batches against a second
 * opinion. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "gdn/random.h"
#include "verify_bench.h"

#define REF ""

static void expect_refusal(const char *name, int rank, const int64_t *shape,
                           const int64_t *values, size_t n, const char *message) {
    vbench b;
    vb_slot(&b, REF, GDN_STRATEGY_TOPP, 3, DRAFTS(21, 22));
    vb_ints(&b, "candidate_ids", SHAPE(3, 2), LIST(20, 21));
    vb_reals(&b, "candidate_scores", SHAPE(3, 2), NUMBERS(.6, .3));
    vb_ints(&b, "candidate_lens", SHAPE(3), LIST(1));
    if (strcmp(name, "candidate_scores") == 0 || strcmp(name, "u") == 0) {
        vb_reals(&b, name, rank, shape, 1, (const double[]){(double)values[0]});
    } else {
        vb_ints(&b, name, rank, shape, n, values);
    }
    vb_refused(&b, message);
    vb_end(&b);
}

#define REFUSE(name, message, shape, ...)                                                  \
    expect_refusal(name, shape, (const int64_t[]){__VA_ARGS__},                            \
                   N_OF(int64_t, __VA_ARGS__), message)
#define OF(...) SHAPE(__VA_ARGS__)

static void test_bad_input_is_named(void **state) {
    (void)state;
    REFUSE("cu_seqlens_q_output",
           "cu_seqlens_q_output[1]: expected 3 rows or more for slot 0 but found 2", OF(2),
           0, 2);
    REFUSE("cu_seqlens_q_output", "cu_seqlens_q_output[1]: expected 0 to 3 but found -1",
           OF(2), 0, -1);
    REFUSE("seq_lens_this_time", "seq_lens_this_time[0]: expected 1 to 6 but found 7",
           OF(1), 7);
    REFUSE("seq_lens_this_time", "seq_lens_this_time[0]: expected 1 to 6 but found 0",
           OF(1), 0);
    REFUSE("candidate_lens", "candidate_lens[0]: expected 0 to 2 but found 3", OF(3), 3);
    REFUSE("candidate_ids",
           "candidate_ids[0,0]: expected 0 to 9223372036854775807 but found -4", OF(3, 2),
           -4);
    REFUSE("candidate_scores",
           "candidate_scores[0,0]: expected a number in [0, inf] but found -1", OF(3, 2),
           -1);
    REFUSE("u", "u[0]: expected a number in [0, 1] but found 2", OF(1), 2);
    REFUSE("reasoning_status", "reasoning_status[0]: expected 0 to 3 but found 4", OF(1),
           4);
}

/* A second opinion on REF for the whole batch, written the other way round: from the row of
 * tokens that would be emitted if nothing stopped, cut at the first stop. */
static void naive_row(vbench *b, int64_t slot_index, int64_t S, int64_t *ids,
                      int64_t *length) {
    const int64_t n = vb_int(b, "seq_lens_this_time", slot_index);
    const int64_t base = vb_int(b, "cu_seqlens_q_output", slot_index);
    const bool alone = vb_int(b, "seq_lens_encoder", slot_index) != 0 ||
                       vb_int(b, "reasoning_status", slot_index) == 1;
    int64_t kept = 0;
    while (!alone && kept < n - 1 &&
           vb_int(b, "target_tokens", base + kept) ==
               vb_int(b, "step_input_ids", slot_index * S + kept + 1)) {
        kept++;
    }
    const int64_t room =
        vb_int(b, "max_dec_len", slot_index) - vb_int(b, "step_idx", slot_index);
    *length = kept + 1;
    for (int64_t i = 0; i < kept + 1; i++) {
        ids[i] = vb_int(b, "target_tokens", base + i);
        const bool end = ids[i] == 2 || ids[i] == 3;
        if (end || i + 1 >= room) {
            ids[i] = end ? ids[i] : 2;
            *length = i + 1;
            return;
        }
    }
}

static uint32_t below(uint32_t n) {
    static const gdn_random RANDOM = {.seed = 2026, .stream = 5};
    static uint64_t at;
    return gdn_random_below(&RANDOM, at++, n);
}

enum { B = 7, R = 5, S = 5 };

static void random_batch(vbench *b) {
    int64_t starts[R + 1] = {0};
    int64_t n[R];
    int64_t inputs[B * S], targets[R * S], steps[B], limits[B], encoder[B], reasoning[B];
    int64_t stopped[B], blocked[B];
    for (int i = 0; i < B; i++) {
        steps[i] = below(6);
        limits[i] = 1 + below(20);
        encoder[i] = below(6) == 0 ? 4 : 0;
        reasoning[i] = below(5) == 0 ? 1 : below(4);
        stopped[i] = below(6) == 0;
        blocked[i] = below(6) == 0;
        for (int j = 0; j < S; j++) {
            inputs[i * S + j] = below(30);
        }
    }
    for (int i = 0; i < R; i++) {
        n[i] = 1 + below(S);
        starts[i + 1] = starts[i] + (encoder[i] ? 1 : n[i]);
        for (int64_t j = starts[i]; j < starts[i + 1]; j++) {
            const int64_t k = j - starts[i] + 1;
            targets[j] = k < S && below(4) > 0 ? inputs[i * S + k] : below(30);
        }
    }
    vb_slot(b, REF, GDN_STRATEGY_GREEDY, 1, DRAFTS(0));
    vb_ints(b, "step_output_ids", SHAPE(B, S), LIST(HOLE));
    vb_ints(b, "step_output_len", SHAPE(B), LIST(HOLE));
    vb_ints(b, "step_input_ids", SHAPE(B, S), B * S, inputs);
    vb_ints(b, "target_tokens", SHAPE(starts[R]), (size_t)starts[R], targets);
    vb_reals(b, "topp", SHAPE(B), NUMBERS(0.9));
    vb_reals(b, "u", SHAPE(B), NUMBERS(0.5));
    vb_ints(b, "stop_flags", SHAPE(B), B, stopped);
    vb_ints(b, "is_block_step", SHAPE(B), B, blocked);
    vb_ints(b, "seq_lens_encoder", SHAPE(B), B, encoder);
    vb_ints(b, "seq_lens_this_time", SHAPE(R), R, n);
    vb_ints(b, "end_tokens", SHAPE(2), LIST(2, 3));
    vb_ints(b, "cu_seqlens_q_output", SHAPE(R + 1), R + 1, starts);
    vb_ints(b, "reasoning_status", SHAPE(B), B, reasoning);
    vb_ints(b, "max_dec_len", SHAPE(B), B, limits);
    vb_ints(b, "step_idx", SHAPE(B), B, steps);
}

static void test_random_batches(void **state) {
    (void)state;
    int lengths[S + 1] = {0};
    for (int trial = 0; trial < 2000; trial++) {
        vbench b;
        random_batch(&b);
        vb_run(&b);
        for (int64_t i = 0; i < B; i++) {
            int64_t ids[S] = {0};
            int64_t length = 0;
            if (i < R && !vb_int(&b, "stop_flags", i) && !vb_int(&b, "is_block_step", i)) {
                naive_row(&b, i, S, ids, &length);
            }
            assert_int_equal(vb_int(&b, "step_output_len", i), length);
            lengths[length]++;
            for (int64_t j = 0; j < S; j++) {
                assert_int_equal(vb_int(&b, "step_output_ids", i * S + j),
                                 j < length ? ids[j] : -1);
            }
        }
        vb_end(&b);
    }
    for (int i = 0; i <= S; i++) {
        assert_true(lengths[i] > 20);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_input_is_named),
        cmocka_unit_test(test_random_batches),
    };
    return cmocka_run_group_tests_name("verify_batches", tests, NULL, NULL);
}
