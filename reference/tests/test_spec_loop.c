/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The loop: draft, verify, commit, with the real ops, against plain decoding. The target is
 * one gdn_attention layer over random embeddings whose argmax is the next token; its logits
 * have a part that depends on the position, so that the text never falls into a cycle. The
 * drafter knows the right tokens and errs where the pattern says. At temperature 0 the
 * tokens are those of plain decoding, whoever verifies and however states become live; a
 * fault in any stage shows, and its first wrong step is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gdn/random.h"
#include "op_bench.h"
#include "verify_bench.h"

enum {
    HK = 1,
    HV = 2,
    DIM = 4, /* of keys and values */
    TAPS = 4,
    Q = 4, /* drafts + 1 */
    CHANNELS = 2 * HK * DIM + HV * DIM,
    COLUMNS = CHANNELS + HV * DIM,
    SLOTS = Q + 2,
    LINE = TAPS - 2 + Q,
    VOCAB = 32,
    STEPS = 10000,
    LENGTH = STEPS * Q,
    OUTPUTS = HV * DIM,
};

typedef enum drafter { NONE, ALL, CYCLE, RANDOM, DRAFTERS } drafter;

typedef struct loop {
    const char *name;
    const char *gdn;    /* "field=value" words for the attention */
    const char *verify; /* and for verification and commit */
    gdn_op verifier;
} loop;

static const int SLOT_TABLE[Q] = {3, 1, 4, 2};

static void set_conventions(gdn_conventions *conventions, const char *words) {
    char text[256];
    snprintf(text, sizeof text, "%s", words);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
        char *value = strchr(word, '=');
        *value++ = '\0';
        assert_int_equal(gdn_conventions_set(conventions, word, value, NULL), GDN_OK);
    }
}

/* ---- the target ---- */

static void begin_target(op_bench *b, int64_t rows, const char *words) {
    const bool spec = rows > 1;
    op_begin(b, GDN_OP_GDN_ATTENTION);
    set_conventions(&b->conventions, "state_carry=token");
    set_conventions(&b->conventions, words);
    op_add(b, "core_attn_out", GDN_BF16, rows, HV, DIM, 0);
    op_add(b, "z", GDN_BF16, rows, HV, DIM, 0);
    op_add(b, "projected_states_qkvz", GDN_BF16, rows, COLUMNS, 0, 0);
    op_add(b, "projected_states_ba", GDN_BF16, rows, 2 * HV, 0, 0);
    op_normal(op_add(b, "conv_state", GDN_BF16, SLOTS, LINE, CHANNELS, 0), 3, 1, 1.0);
    op_normal(op_add(b, "ssm_state", GDN_FP32, SLOTS, HV, DIM, DIM), 3, 2, 0.5);
    op_normal(op_add(b, "conv_weights", GDN_BF16, CHANNELS, TAPS, 0, 0), 3, 3, 0.5);
    op_normal(op_add(b, "A_log", GDN_FP32, HV, 0, 0, 0), 3, 4, 0.5);
    op_normal(op_add(b, "dt_bias", GDN_BF16, HV, 0, 0, 0), 3, 5, 1.0);
    if (spec) {
        op_set_ints(op_add(b, "spec_query_start_loc", GDN_I32, 2, 0, 0, 0), (int[]){0, Q},
                    2);
        op_set_ints(op_add(b, "spec_token_indx", GDN_I32, Q, 0, 0, 0), (int[]){0, 1, 2, 3},
                    Q);
        op_set_ints(op_add(b, "spec_state_indices_tensor", GDN_I32, 1, Q, 0, 0), SLOT_TABLE,
                    Q);
        op_add(b, "num_accepted_tokens", GDN_I32, 1, 0, 0, 0);
    } else {
        op_set_ints(op_add(b, "non_spec_query_start_loc", GDN_I32, 2, 0, 0, 0),
                    (int[]){0, 1}, 2);
        op_set_ints(op_add(b, "non_spec_state_indices_tensor", GDN_I32, 1, 0, 0, 0),
                    SLOT_TABLE, 1);
    }
    const int64_t scalars[] = {HK, HV, DIM, DIM, 0, !spec, spec, rows, 1, 0};
    static const char *const NAMES[] = {
        "num_k_heads",  "num_v_heads",  "head_k_dim",       "head_v_dim",
        "num_prefills", "num_decodes",  "num_spec_decodes", "num_actual_tokens",
        "tp_size",      "reorder_input"};
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        op_scalar(b, NAMES[i], scalars[i]);
    }
    op_want(b, "core_attn_out", GDN_FP64, false);
    op_want(b, "z", GDN_BF16, false);
    op_output(b, "conv_state")->value = *op_tensor(b, "conv_state");
    op_output(b, "ssm_state")->value = *op_tensor(b, "ssm_state");
}

static void end_target(op_bench *b) {
    op_output(b, "conv_state")->value.data = NULL; /* aliases of the call's own */
    op_output(b, "ssm_state")->value.data = NULL;
    op_end(b);
}

static double normal(uint64_t stream, int64_t at) {
    const gdn_random random = {.seed = 77, .stream = stream};
    return gdn_random_normal(&random, (uint64_t)at);
}

/* Numbers that do not change: embeddings of tokens and their directions in the output. */
static double EMBEDDING[VOCAB][COLUMNS + 2 * HV], DIRECTION[VOCAB][OUTPUTS];

static void make_model(void) {
    for (int t = 0; t < VOCAB; t++) {
        for (int i = 0; i < COLUMNS + 2 * HV; i++) {
            EMBEDDING[t][i] = normal(1, t * 100 + i);
        }
        for (int i = 0; i < OUTPUTS; i++) {
            DIRECTION[t][i] = normal(2, t * 100 + i);
        }
    }
}

static void set_token(op_bench *b, int64_t row, int64_t token) {
    gdn_tensor *qkvz = op_tensor(b, "projected_states_qkvz");
    gdn_tensor *ba = op_tensor(b, "projected_states_ba");
    gdn_store_run(qkvz->data, qkvz->dtype, row * COLUMNS, 1, EMBEDDING[token], COLUMNS);
    gdn_store_run(ba->data, ba->dtype, row * 2 * HV, 1, EMBEDDING[token] + COLUMNS, 2 * HV);
}

/* The token behind position `at`, by the outputs of a row. */
static int64_t next_token(op_bench *b, int64_t row, int64_t at) {
    const double *out =
        (const double *)op_output(b, "core_attn_out")->value.data + row * OUTPUTS;
    int64_t best = 0;
    double best_logit = 0.0;
    for (int64_t t = 0; t < VOCAB; t++) {
        double logit = 0.1 * normal(3, at * VOCAB + t);
        for (int i = 0; i < OUTPUTS; i++) {
            logit += out[i] * DIRECTION[t][i];
        }
        if (t == 0 || logit > best_logit) {
            best = t;
            best_logit = logit;
        }
    }
    return best;
}

/* ---- the verifiers: tokens that stand, with the last one nobody drafted ---- */

static int64_t by_slots(const loop *l, const int64_t *row, const int64_t *targets,
                        int64_t *tokens) {
    vbench b;
    vb_begin(&b, GDN_OP_VERIFY_DRAFT_TOKENS, l->verify);
    vb_ints(&b, "step_output_ids", SHAPE(1, Q), LIST(-1));
    vb_ints(&b, "step_output_len", SHAPE(1), LIST(0));
    vb_ints(&b, "step_input_ids", SHAPE(1, Q), Q, row);
    vb_ints(&b, "target_tokens", SHAPE(Q), Q, targets);
    vb_reals(&b, "topp", SHAPE(1), NUMBERS(1));
    vb_ints(&b, "stop_flags", SHAPE(1), LIST(0));
    vb_ints(&b, "seq_lens_encoder", SHAPE(1), LIST(0));
    vb_ints(&b, "seq_lens_this_time", SHAPE(1), LIST(Q));
    vb_ints(&b, "end_tokens", SHAPE(1), LIST(VOCAB));
    vb_ints(&b, "is_block_step", SHAPE(1), LIST(0));
    vb_ints(&b, "cu_seqlens_q_output", SHAPE(2), LIST(0, Q));
    vb_ints(&b, "reasoning_status", SHAPE(1), LIST(0));
    vb_reals(&b, "u", SHAPE(1), NUMBERS(0.5));
    vb_scalar(&b, "verify_window", 2);
    vb_scalar(&b, "verify_strategy", GDN_STRATEGY_GREEDY);
    vb_scalar(&b, "reject_all", 0);
    vb_scalar(&b, "accept_all", 0);
    vb_run(&b);
    const int64_t count = vb_int(&b, "step_output_len", 0);
    for (int64_t i = 0; i < count && i < Q; i++) {
        tokens[i] = vb_int(&b, "step_output_ids", i);
    }
    vb_end(&b);
    return count;
}

static int64_t by_rejection(const loop *l, const int64_t *row, const int64_t *targets,
                            int64_t *tokens) {
    double law[(Q - 1) * VOCAB] = {0};
    for (int64_t i = 0; i + 1 < Q; i++) {
        law[i * VOCAB + targets[i]] = 1.0;
    }
    vbench b;
    vb_begin(&b, GDN_OP_REJECTION_SAMPLE, l->verify);
    vb_ints(&b, "output_token_ids", SHAPE(1, Q), LIST(-1));
    vb_ints(&b, "num_sampled", SHAPE(1), LIST(0));
    vb_ints(&b, "cu_num_draft_tokens", SHAPE(1), LIST(Q - 1));
    vb_ints(&b, "draft_token_ids", SHAPE(Q - 1), Q - 1, row + 1);
    vb_reals(&b, "target_probs", SHAPE(Q - 1, VOCAB), (Q - 1) * VOCAB, law);
    vb_ints(&b, "bonus_token_ids", SHAPE(1), LIST(targets[Q - 1]));
    vb_ints(&b, "is_greedy", SHAPE(1), LIST(1));
    vb_reals(&b, "uniform", SHAPE(Q - 1), NUMBERS(0.5));
    vb_reals(&b, "exponential", SHAPE(1, VOCAB), NUMBERS(1));
    vb_scalar(&b, "method", GDN_REJECT_STANDARD);
    vb_run(&b);
    const int64_t count = vb_int(&b, "num_sampled", 0);
    for (int64_t i = 0; i < count; i++) {
        tokens[i] = vb_int(&b, "output_token_ids", i);
    }
    vb_end(&b);
    return count;
}

/* accept_token_num leaves out the token that nobody drafted. */
static int64_t by_tree(const loop *l, const int64_t *row, const int64_t *targets,
                       int64_t *tokens) {
    vbench b;
    vb_begin(&b, GDN_OP_VERIFY_TREE_GREEDY, l->verify);
    vb_ints(&b, "predicts", SHAPE(Q), LIST(-1));
    vb_ints(&b, "accept_index", SHAPE(1, Q), LIST(-1));
    vb_ints(&b, "accept_token_num", SHAPE(1), LIST(0));
    vb_ints(&b, "candidates", SHAPE(1, Q), Q, row);
    vb_ints(&b, "retrive_index", SHAPE(1, Q), LIST(0, 1, 2, 3));
    vb_ints(&b, "retrive_next_token", SHAPE(1, Q), LIST(1, 2, 3, -1));
    vb_ints(&b, "retrive_next_sibling", SHAPE(1, Q), LIST(-1));
    vb_ints(&b, "target_predict", SHAPE(1, Q), Q, targets);
    vb_run(&b);
    const int64_t count = vb_int(&b, "accept_token_num", 0) + 1;
    for (int64_t i = 0; i < count && i < Q; i++) {
        const int64_t node = vb_int(&b, "accept_index", i);
        tokens[i] = node < 0 ? -1 : vb_int(&b, "predicts", node);
    }
    vb_end(&b);
    return count;
}

/* ---- the commit: accepted count of the next call ---- */

static void copy_slots(op_bench *target, const char *name, uint8_t *out,
                       int64_t slot_bytes) {
    for (int i = 0; i < Q; i++) {
        memcpy(out + i * slot_bytes,
               (uint8_t *)op_tensor(target, name)->data + SLOT_TABLE[i] * slot_bytes,
               (size_t)slot_bytes);
    }
}

static int64_t commit(const loop *l, op_bench *target, int64_t count) {
    const int64_t X = HV * DIM * DIM;
    const int64_t slots[Q] = {SLOT_TABLE[0], SLOT_TABLE[1], SLOT_TABLE[2], SLOT_TABLE[3]};
    gdn_tensor *ssm = op_tensor(target, "ssm_state"),
               *conv = op_tensor(target, "conv_state");
    vbench b;
    vb_begin(&b, GDN_OP_STATE_COMMIT, l->verify);
    vb_reals(&b, "ssm_states", SHAPE(1, SLOTS, X), NUMBERS(0));
    vb_reals(&b, "intermediate", SHAPE(1, 1, Q, X), NUMBERS(0));
    vb_reals(&b, "conv_states", SHAPE(1, SLOTS, LINE, CHANNELS), NUMBERS(0));
    vb_reals(&b, "intermediate_conv", SHAPE(1, 1, Q, LINE, CHANNELS), NUMBERS(0));
    vb_ints(&b, "slot_table", SHAPE(1, Q), Q, slots);
    vb_ints(&b, "src_indices", SHAPE(1), LIST(0));
    vb_ints(&b, "last_steps", SHAPE(1), LIST(count - 1));
    vb_ints(&b, "live_slots", SHAPE(1), LIST(-1));
    const size_t ssm_bytes = (size_t)(SLOTS * X) * sizeof(float);
    const size_t conv_bytes = (size_t)(SLOTS * LINE * CHANNELS) * 2;
    memcpy(vb_tensor(&b, "ssm_states")->data, ssm->data, ssm_bytes);
    memcpy(vb_tensor(&b, "conv_states")->data, conv->data, conv_bytes);
    copy_slots(target, "ssm_state", vb_tensor(&b, "intermediate")->data,
               X * (int64_t)sizeof(float));
    copy_slots(target, "conv_state", vb_tensor(&b, "intermediate_conv")->data,
               LINE * CHANNELS * 2);
    vb_run(&b);
    memcpy(ssm->data, vb_tensor(&b, "ssm_states")->data, ssm_bytes);
    memcpy(conv->data, vb_tensor(&b, "conv_states")->data, conv_bytes);
    const int64_t live = vb_int(&b, "live_slots", 0);
    const bool by_index = b.conventions.verify.commit == GDN_COMMIT_INDEX;
    vb_end(&b);
    /* By index the live slot is some column; moved, it is the first one again. */
    int64_t column = 0;
    while (by_index && SLOT_TABLE[column] != live) {
        column++;
    }
    return column + 1;
}

/* ---- the loop ---- */

static int64_t right[LENGTH + 2 * Q]; /* [0] is the prompt */

static void decode_plainly(void) {
    op_bench b;
    begin_target(&b, 1, "");
    right[0] = 5;
    for (int64_t at = 0; at + 1 < LENGTH + 2 * Q; at++) {
        set_token(&b, 0, right[at]);
        op_run(&b);
        right[at + 1] = next_token(&b, 0, at);
    }
    end_target(&b);
}

static int64_t planned(drafter d, int64_t step) {
    const gdn_random random = {.seed = 4, .stream = 1};
    switch (d) {
    case NONE:
        return 0;
    case ALL:
        return Q - 1;
    case CYCLE:
        return step % Q;
    default:
        return gdn_random_below(&random, (uint64_t)step, Q);
    }
}

typedef struct outcome {
    int64_t steps;      /* made */
    int64_t wrong_step; /* -1: none */
    int64_t position;   /* of the first wrong token */
    int64_t found, expected;
    int64_t kept[Q]; /* how often that many drafts stood */
} outcome;

/* The start: the speculative pool reads its first state from column 0, as plain decoding
 * does. */
static outcome run_loop(const loop *l, drafter d, int64_t steps) {
    outcome o = {.wrong_step = -1};
    op_bench b;
    begin_target(&b, Q, l->gdn);
    int64_t accepted = 1;
    for (int64_t at = 0; o.steps < steps && o.wrong_step < 0; o.steps++) {
        int64_t row[Q] = {right[at]}, targets[Q], tokens[Q] = {-1, -1, -1, -1};
        for (int64_t i = 1; i < Q; i++) {
            const bool good = i <= planned(d, o.steps);
            row[i] = good ? right[at + i] : (right[at + i] + 1) % VOCAB;
        }
        for (int64_t i = 0; i < Q; i++) {
            set_token(&b, i, row[i]);
        }
        op_set_ints(op_tensor(&b, "num_accepted_tokens"), (int[]){(int)accepted}, 1);
        op_run(&b);
        for (int64_t i = 0; i < Q; i++) {
            targets[i] = next_token(&b, i, at + i);
        }
        const int64_t count =
            l->verifier == GDN_OP_VERIFY_DRAFT_TOKENS ? by_slots(l, row, targets, tokens)
            : l->verifier == GDN_OP_REJECTION_SAMPLE ? by_rejection(l, row, targets, tokens)
                                                     : by_tree(l, row, targets, tokens);
        for (int64_t i = 0; (i < count || count < 1) && o.wrong_step < 0; i++) {
            const int64_t token = i < Q ? tokens[i] : -1;
            if (token != right[at + 1 + i] || count < 1) {
                o.wrong_step = o.steps;
                o.position = at + 1 + i;
                o.found = token;
                o.expected = right[at + 1 + i];
            }
        }
        if (o.wrong_step < 0) {
            o.kept[count - 1]++;
            accepted = commit(l, &b, count);
            at += count;
        }
    }
    end_target(&b);
    return o;
}

#define SLIDING  "conv_window=sliding"
#define SNAPSHOT "conv_window=snapshot"

static const loop RIGHT[] = {
    {"fastdeploy-xpu", SLIDING, "commit=index", GDN_OP_VERIFY_DRAFT_TOKENS},
    {"fastdeploy-gpu", SNAPSHOT, "padding=untouched commit=index",
     GDN_OP_VERIFY_DRAFT_TOKENS},
    {"vllm-v1", SLIDING, "commit=index", GDN_OP_REJECTION_SAMPLE},
    {"vllm-mrv2", SLIDING, "accept=strict padding=untouched commit=index",
     GDN_OP_REJECTION_SAMPLE},
    {"vllm-xpu@a with vllm-v1", SNAPSHOT, "commit=index", GDN_OP_REJECTION_SAMPLE},
    {"sglang", SNAPSHOT, "conv_commit=scatter", GDN_OP_VERIFY_TREE_GREEDY},
    {"sglang-npu on a chain", SNAPSHOT, "tree_walk=chain conv_commit=scatter",
     GDN_OP_VERIFY_TREE_GREEDY},
};

static void test_loop_is_plain_decoding(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof RIGHT / sizeof RIGHT[0]; i++) {
        for (int d = NONE; d < DRAFTERS; d++) {
            const outcome o = run_loop(&RIGHT[i], (drafter)d, STEPS);
            if (o.wrong_step >= 0) {
                fail_msg(
                    "%s: step %lld, position %lld: token %lld, plain decoding has %lld",
                    RIGHT[i].name, (long long)o.wrong_step, (long long)o.position,
                    (long long)o.found, (long long)o.expected);
            }
            assert_true(d != ALL || o.kept[Q - 1] == o.steps);
            assert_true(d != NONE || o.kept[0] == o.steps);
            for (int k = 0; d >= CYCLE && k < Q; k++) {
                assert_true(o.kept[k] > o.steps / 8);
            }
        }
    }
}

/* One fault a stage: in the recurrence, in verification, in the commit. */
static const loop FAULTY[] = {
    {"accepted off by one", SLIDING " spec_column=accepted", "commit=index",
     GDN_OP_REJECTION_SAMPLE},
    {"accepted ignored", SLIDING " spec_column=first", "commit=index",
     GDN_OP_REJECTION_SAMPLE},
    {"stale window", SNAPSHOT, "conv_commit=scatter slip=commit_stale",
     GDN_OP_VERIFY_TREE_GREEDY},
    {"wrong live slot", SLIDING, "commit=index slip=commit_stale",
     GDN_OP_VERIFY_DRAFT_TOKENS},
    {"state of the token before", SNAPSHOT, "conv_commit=scatter slip=commit_off_by_one",
     GDN_OP_VERIFY_TREE_GREEDY},
    {"live slot of the token before", SLIDING, "commit=index slip=commit_off_by_one",
     GDN_OP_REJECTION_SAMPLE},
    {"length without the final token", SLIDING, "commit=index length=accepted",
     GDN_OP_VERIFY_DRAFT_TOKENS},
    {"count with the bonus", SNAPSHOT, "conv_commit=scatter accept_count=with_bonus",
     GDN_OP_VERIFY_TREE_GREEDY},
    {"drafts held against the wrong row", SLIDING, "commit=index slip=draft_shifted",
     GDN_OP_VERIFY_DRAFT_TOKENS},
    {"no bonus", SLIDING, "commit=index slip=bonus_missing", GDN_OP_REJECTION_SAMPLE},
};

static void test_faults_are_named(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof FAULTY / sizeof FAULTY[0]; i++) {
        const outcome o = run_loop(&FAULTY[i], CYCLE, 1000);
        print_message("%-36s first wrong step %lld, position %lld\n", FAULTY[i].name,
                      (long long)o.wrong_step, (long long)o.position);
        assert_true(o.wrong_step >= 0);
        assert_true(o.wrong_step < 40);
    }
}

/* The text does not repeat itself, or it would show little. */
static void test_text_is_no_cycle(void **state) {
    (void)state;
    int seen[VOCAB] = {0};
    for (int64_t i = 0; i < LENGTH; i++) {
        seen[right[i]]++;
    }
    int used = 0;
    for (int t = 0; t < VOCAB; t++) {
        used += seen[t] > LENGTH / 200;
    }
    assert_true(used >= 8);
    for (int64_t period = 1; period < 200; period++) {
        assert_memory_not_equal(right + LENGTH - 1000, right + LENGTH - 1000 - period,
                                500 * sizeof right[0]);
    }
}

int main(void) {
    make_model();
    decode_plainly();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_is_no_cycle),
        cmocka_unit_test(test_loop_is_plain_decoding),
        cmocka_unit_test(test_faults_are_named),
    };
    return cmocka_run_group_tests_name("spec_loop", tests, NULL, NULL);
}
