/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The case model: grammar, ids, defaults, and every refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "case.h"
#include "scratch.h"

#define DIMS      "'num_k_heads': 2, 'num_v_heads': 4, 'head_k_dim': 64, 'head_v_dim': 96"
#define ATTENTION "'op': 'gdn_attention', 'profile': 'vllm-xpu@b', " DIMS

/* The members of both objects; those of `over` win, and null takes one away. */
static json_t *merged(const char *base, const char *over) {
    json_t *json = parse_json(base);
    json_t *more = parse_json(over);
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach(more, name, value) {
        if (json_is_null(value)) {
            json_object_del(json, name);
        } else {
            json_object_set(json, name, value);
        }
    }
    json_decref(more);
    return json;
}

static gdn_case make(const char *text) {
    json_t *json = parse_json(text);
    gdn_error err = {0};
    gdn_case test;
    if (gdn_case_from_json(&test, json, GDN_PROFILE_DIR, &err) != GDN_OK) {
        fail_msg("%s: %s", text, err.message);
    }
    json_decref(json);
    return test;
}

static void test_id_of_the_design(void **state) {
    (void)state;
    gdn_case test =
        make("{'op': 'gdn_attention', 'profile': 'vllm-xpu@b', 'model': 'qwen3-next', "
             "'num_k_heads': 16, 'num_v_heads': 32, 'head_k_dim': 128, 'head_v_dim': 128, "
             "'batch': 'spec4x3+pre2x65+dec5', 'pad_rows': 3}");
    assert_string_equal(test.id, "gdn_attention/vllm-xpu@b/qwen3-next-tp1/"
                                 "mixed-spec4x3+pre2x65+dec5/bf16+fp32/int-pad3-n0");
    assert_int_equal(gdn_case_tokens(&test), 4 * 3 + 2 * 65 + 5);
    gdn_case_destroy(&test);
    gdn_case_destroy(&test); /* destroyed cases may be destroyed */
}

static void test_defaults(void **state) {
    (void)state;
    gdn_case test = make("{" ATTENTION ", 'profile': 'vllm-xpu', 'batch': 'dec1'}");
    assert_string_equal(test.profile, "vllm-xpu@b");
    assert_string_equal(test.model, "custom-hk2-hv4-k64-v96-w4");
    assert_int_equal(test.conv_width, 4);
    assert_int_equal(test.tp_size, 1);
    assert_int_equal(test.dtype, GDN_BF16);
    assert_int_equal(test.state_dtype, GDN_FP32);
    assert_int_equal(test.conventions.qkvz_layout, GDN_QKVZ_INTERLEAVED);
    assert_int_equal(test.conventions.conv_window, GDN_CONV_SLIDING);
    assert_int_equal(test.columns, 0);
    gdn_case_destroy(&test);
}

static void check_sequence(const gdn_case *test, size_t i, gdn_sequence expected) {
    const gdn_sequence *s = &test->sequences[i];
    assert_true(i < test->n_sequences);
    assert_int_equal(s->kind, expected.kind);
    assert_int_equal(s->length, expected.length);
    assert_int_equal(s->accepted, expected.accepted);
    assert_int_equal(s->has_initial_state, expected.has_initial_state);
    assert_int_equal(s->padded, expected.padded);
}

static void test_batch_order_and_history(void **state) {
    (void)state;
    gdn_case test =
        make("{" ATTENTION ", 'batch': 'rag4x3+pre3x7+dec1+spec1x2', 'seed': 2}");
    const gdn_sequence expected[] = {
        {GDN_SEQ_PREFILL, 7, 0, true, false, 0, 0},
        {GDN_SEQ_PREFILL, 7, 0, false, false, 0, 0},
        {GDN_SEQ_PREFILL, 7, 0, true, false, 0, 0},
        {GDN_SEQ_DECODE, 1, 0, true, false, 0, 0},
        {GDN_SEQ_SPEC, 3, 2, true, false, 0, 0},
        {GDN_SEQ_SPEC, 2, 3, true, false, 0, 0},
        {GDN_SEQ_SPEC, 1, 0, true, false, 0, 0},
        {GDN_SEQ_SPEC, 3, 1, true, false, 0, 0},
        {GDN_SEQ_SPEC, 2, 2, true, false, 0, 0},
    };
    assert_int_equal(test.n_sequences, sizeof expected / sizeof expected[0]);
    assert_int_equal(test.columns, 3);
    int64_t item = 0;
    for (size_t i = 0; i < test.n_sequences; i++) {
        check_sequence(&test, i, expected[i]);
        assert_int_equal(test.sequences[i].source, i);
        assert_int_equal(test.sequences[i].first_item, item);
        item += expected[i].length;
    }
    gdn_case_destroy(&test);

    test = make("{" ATTENTION
                ", 'batch': 'pre2x2+dec1+spec1x4', 'initial': 'none', 'accepted': 'full'}");
    check_sequence(&test, 0, (gdn_sequence){GDN_SEQ_PREFILL, 2, 0, false, false, 0, 0});
    check_sequence(&test, 2, (gdn_sequence){GDN_SEQ_DECODE, 1, 0, false, false, 0, 0});
    check_sequence(&test, 3, (gdn_sequence){GDN_SEQ_SPEC, 4, 4, true, false, 0, 0});
    gdn_case_destroy(&test);

    test = make("{" ATTENTION
                ", 'batch': 'pre2x2+spec1x4', 'initial': 'absent', 'accepted': 'one'}");
    check_sequence(&test, 1, (gdn_sequence){GDN_SEQ_PREFILL, 2, 0, true, false, 0, 0});
    check_sequence(&test, 2, (gdn_sequence){GDN_SEQ_SPEC, 4, 1, true, false, 0, 0});
    gdn_case_destroy(&test);
}

static void test_metadata_rows(void **state) {
    (void)state;
    gdn_case test = make("{'op': 'gdn_metadata', 'profile': 'vllm-xpu@b', " DIMS
                         ", 'batch': 'spec1x3+pre1x50+pad2'}");
    check_sequence(&test, 0, (gdn_sequence){GDN_SEQ_SPEC, 3, 0, true, false, 0, 0});
    check_sequence(&test, 1, (gdn_sequence){GDN_SEQ_PREFILL, 50, 0, true, false, 0, 0});
    assert_int_equal(test.n_sequences, 2);
    assert_int_equal(test.pad_requests, 2);
    assert_int_equal(gdn_case_tokens(&test), 53);
    assert_non_null(strstr(test.id, "/mixed-spec1x3+pre1x50+pad2/"));
    gdn_case_destroy(&test);
}

static void test_mixes(void **state) {
    (void)state;
    static const char *const mixes[][2] = {
        {"pre2x3", "/prefill-pre2x3/"},   {"dec2", "/decode-dec2/"},
        {"spec2x3", "/spec-spec2x3/"},    {"rag2x3", "/spec-rag2x3/"},
        {"pre1x3+dec1", "/mixed-"},       {"spec1x2+dec1", "/mixed-"},
        {"spec1x2+rag1x2", "/spec-spec"}, {"pre1x2+pre1x3", "/prefill-"},
    };
    for (size_t i = 0; i < sizeof mixes / sizeof mixes[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, "{" ATTENTION ", 'batch': '%s'}", mixes[i][0]);
        gdn_case test = make(text);
        assert_non_null(strstr(test.id, mixes[i][1]));
        gdn_case_destroy(&test);
    }
}

/* Writing and reading is the identity, and the written form has every member in order. */
static void test_round_trip(void **state) {
    (void)state;
    static const char *const cases[] = {
        "{" ATTENTION ", 'batch': 'spec2x3+pre1x9', 'tp_size': 2, 'dtype': 'fp16', "
        "'state_dtype': 'fp16', 'conv_bias': true, 'order': 'scattered', "
        "'initial': 'all', 'accepted': 'one', 'pad_rows': 2, 'page_bytes': 65536, "
        "'misaligned': true, 'fill': 'model', 'seed': 9223372036854775807, "
        "'qkvz_layout': 'separate', 'conv_width': 3}",
        "{'op': 'gdn_gating', 'profile': 'vllm-xpu@a', " DIMS ", 'batch': 'pre1x5'}",
        "{'op': 'gdn_metadata', 'profile': 'vllm-xpu', " DIMS ", 'batch': 'dec3+pad2'}",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        gdn_case first = make(cases[i]);
        json_t *json = gdn_case_to_json(&first);
        gdn_case second;
        assert_int_equal(gdn_case_from_json(&second, json, GDN_PROFILE_DIR, NULL), GDN_OK);
        json_t *again = gdn_case_to_json(&second);
        assert_string_equal(first.id, second.id);
        assert_true(json_equal(json, again));
        assert_int_equal(json_object_size(json), 22);
        char *text = json_dumps(json, JSON_COMPACT);
        assert_memory_equal(text, "{\"op\":", 6);
        free(text);
        json_decref(json);
        json_decref(again);
        gdn_case_destroy(&first);
        gdn_case_destroy(&second);
    }
}

/* Each member on its own changes the id, and no two changes give the same one. */
static void test_ids_tell_everything(void **state) {
    (void)state;
    static const char *const changes[] = {
        "{}",
        "{'op': 'gated_delta_rule', 'batch': 'spec2x3', 'profile': 'vllm-xpu@b'}",
        "{'profile': 'vllm-xpu@a'}",
        "{'model': 'other'}",
        "{'batch': 'spec2x3+pre1x8+dec1'}",
        "{'num_k_heads': 1}",
        "{'num_v_heads': 8}",
        "{'head_k_dim': 96}",
        "{'head_v_dim': 64}",
        "{'conv_width': 3}",
        "{'tp_size': 2}",
        "{'qkvz_layout': 'separate'}",
        "{'dtype': 'fp16'}",
        "{'dtype': 'fp32'}",
        "{'state_dtype': 'bf16'}",
        "{'conv_bias': true}",
        "{'order': 'interleaved'}",
        "{'order': 'scattered'}",
        "{'initial': 'all'}",
        "{'initial': 'none'}",
        "{'initial': 'absent'}",
        "{'accepted': 'full'}",
        "{'accepted': 'one'}",
        "{'pad_rows': 1}",
        "{'pad_rows': 11}",
        "{'page_bytes': 8}",
        "{'page_bytes': 4096}",
        "{'misaligned': true}",
        "{'fill': 'model'}",
        "{'seed': 1}",
        "{'fill': 'model', 'seed': 1}",
    };
    enum { N = sizeof changes / sizeof changes[0] };
    char *ids[N];
    for (size_t i = 0; i < N; i++) {
        json_t *json =
            merged("{" ATTENTION ", 'batch': 'spec2x3+pre1x9+dec1'}", changes[i]);
        gdn_error err = {0};
        gdn_case test;
        if (gdn_case_from_json(&test, json, GDN_PROFILE_DIR, &err) != GDN_OK) {
            fail_msg("%s: %s", changes[i], err.message);
        }
        ids[i] = strdup(test.id);
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(ids[i], ids[j]);
        }
        json_decref(json);
        gdn_case_destroy(&test);
    }
    for (size_t i = 0; i < N; i++) {
        free(ids[i]);
    }
}

static void test_labels(void **state) {
    (void)state;
    static const char *const labels[][2] = {
        {"'model': 'qwen3-next', 'tp_size': 2", "qwen3-next-tp2"},
        {"'model': 'qwen3-next-tp2', 'tp_size': 2", "qwen3-next-tp2"},
        {"'model': 'qwen3-next', 'head_k_dim': 96, 'head_v_dim': 80",
         "qwen3-next-k96-v80-tp1"},
        {"'model': 'qwen3-next-v80-k96', 'head_k_dim': 96, 'head_v_dim': 80",
         "qwen3-next-k96-v80-tp1"},
        {"'model': 'qwen3.5', 'num_v_heads': 48", "qwen3.5-hv48-tp1"},
        {"'model': 'qwen3.5', 'num_k_heads': 32, 'conv_width': 2",
         "qwen3.5-hk32-hv32-w2-tp1"},
        {"'model': 'mine', 'tp_size': 4", "mine-hk16-hv32-k128-v128-w4-tp4"},
        {"'tp_size': 1", "custom-hk16-hv32-k128-v128-w4"},
        {"'model': 'k8'", "k8-hk16-hv32-k128-v128-w4"},
    };
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
        char over[256];
        snprintf(over, sizeof over, "{%s}", labels[i][0]);
        json_t *json =
            merged("{'op': 'gdn_attention', 'profile': 'vllm-xpu@b', 'num_k_heads': 16, "
                   "'num_v_heads': 32, 'head_k_dim': 128, 'head_v_dim': 128, "
                   "'batch': 'dec1'}",
                   over);
        gdn_case test;
        assert_int_equal(gdn_case_from_json(&test, json, GDN_PROFILE_DIR, NULL), GDN_OK);
        assert_string_equal(test.model, labels[i][1]);
        json_decref(json);
        gdn_case_destroy(&test);
    }
}

/* What is laid over a good case, and what the message must contain. */
static const char *const refusals[][3] = {
    /* shape of the object */
    {"{'batchh': 'dec1'}", "\"batchh\"", "did you mean \"batch\""},
    {"{'batch': null}", "batch: expected", "nothing"},
    {"{'op': null}", "op: expected", "nothing"},
    {"{'profile': null}", "profile: expected text", "nothing"},
    {"{'num_v_heads': null}", "num_v_heads: expected", "nothing"},
    {"{'seed': -1}", "seed: expected an integer in [0,", "-1"},
    {"{'seed': 1.5}", "seed: expected an integer", "1.5"},
    {"{'misaligned': 1}", "misaligned: expected true or false", "1"},
    {"{'batch': 5}", "batch: expected text", "5"},
    {"{'order': 3}", "order: expected grouped, interleaved, scattered", "3"},
    /* names */
    {"{'op': 'gdn_atention'}", "gdn_atention", "did you mean \"gdn_attention\""},
    {"{'profile': 'vllm-xpv'}", "profile: expected one of ", "mean \"vllm-xpu\""},
    {"{'profile': 'vllm-xpu@c'}", "expected one of a, b", "\"c\""},
    {"{'dtype': 'fp64'}", "dtype: expected one of fp32, fp16, bf16", "\"fp64\""},
    {"{'state_dtype': 'float16'}", "state_dtype: expected one of fp32", "\"float16\""},
    {"{'fill': 'modle'}", "fill: expected one of normal, model", "did you mean \"model\""},
    {"{'qkvz_layout': 'sep'}", "interleaved, separate", "did you mean \"separate\""},
    {"{'model': 'a/b'}", "model: expected", "a/b"},
    {"{'model': 'custom-k96'}", "agrees with head_k_dim 64", "custom-k96"},
    /* shapes */
    {"{'num_k_heads': 3}", "num_v_heads: expected a multiple of num_k_heads 3", "found 4"},
    {"{'tp_size': 4}", "num_k_heads: expected a multiple of tp_size 4", "found 2"},
    {"{'tp_size': 0}", "tp_size: expected an integer in [1, 1024]", "0"},
    {"{'num_k_heads': 0}", "num_k_heads: expected an integer in [1, 1024]", "0"},
    {"{'head_k_dim': 1025}", "head_k_dim: expected an integer in [1, 1024]", "1025"},
    {"{'head_v_dim': 0}", "head_v_dim: expected an integer in [1, 1024]", "0"},
    {"{'conv_width': 9}", "conv_width: expected an integer in [1, 8]", "9"},
    {"{'conv_width': 0}", "conv_width: expected an integer in [1, 8]", "0"},
    {"{'pad_rows': -3}", "pad_rows: expected an integer in [0,", "-3"},
    {"{'page_bytes': 12}", "page_bytes: expected a multiple of", "12"},
    /* the batch grammar */
    {"{'batch': ''}", "batch: expected text", "\"\""},
    {"{'batch': 'pre1'}", "batch: expected pre<n>x<len>", "\"pre1\""},
    {"{'batch': 'pre0x5'}", "batch: expected pre<n>x<len>", "\"pre0x5\""},
    {"{'batch': 'pre1x0'}", "batch: expected pre<n>x<len>", "\"pre1x0\""},
    {"{'batch': 'pre1x05'}", "batch: expected pre<n>x<len>", "\"pre1x05\""},
    {"{'batch': 'dec5x1'}", "batch: expected pre<n>x<len>", "\"dec5x1\""},
    {"{'batch': 'dec5+'}", "batch: expected pre<n>x<len>", "\"dec5+\""},
    {"{'batch': 'dec5 +dec1'}", "batch: expected pre<n>x<len>", "\"dec5 \""},
    {"{'batch': 'spec-1x2'}", "batch: expected pre<n>x<len>", "\"spec-1x2\""},
    {"{'batch': 'DEC1'}", "batch: expected pre<n>x<len>", "\"DEC1\""},
    {"{'batch': 'dec1+pad2'}", "batch: expected pre<n>x<len>", "\"pad2\""},
    {"{'op': 'gdn_metadata', 'batch': 'pad2+dec1'}", "and pad<n> last", "\"pad2\""},
    {"{'op': 'gdn_metadata', 'batch': 'dec1+pad2+pad1'}", "and pad<n> last", "\"pad2\""},
    {"{'batch': 'pre1x4194305'}", "at most 4194304 tokens", "pre1x4194305"},
    {"{'batch': 'pre2x4194304'}", "at most 4194304 tokens", "pre2x4194304"},
    {"{'batch': 'pre1x99999999999999999999'}", "at most 4194304 tokens", "999"},
    {"{'batch': 'dec65537'}", "at most 65536 sequences", "dec65537"},
    {"{'batch': 'spec1x257'}", "at most 256 draft columns", "spec1x257"},
    /* what a profile or an op cannot take */
    {"{'profile': 'vllm-xpu@a', 'batch': 'rag2x3'}", "takes no ragged", "one of 2"},
    {"{'profile': 'vllm-xpu@a', 'batch': 'spec1x3+spec1x2'}", "takes no ragged",
     "one of 2"},
    {"{'op': 'causal_conv1d', 'batch': 'spec1x2+dec1'}",
     "speculative sequences only or none", "spec1x2+dec1"},
    {"{'op': 'gated_delta_rule', 'batch': 'spec1x2+pre1x9'}", "only or none", "spec1x2"},
    {"{'op': 'gdn_gating', 'batch': 'spec1x2'}", "no speculative sequences", "spec1x2"},
    {"{'op': 'gdn_metadata', 'batch': 'pad3'}", "at least one token", "pad3"},
    /* members without an effect */
    {"{'op': 'causal_conv1d', 'state_dtype': 'fp16'}", "expected \"fp32\", because",
     "fp16"},
    {"{'op': 'causal_conv1d', 'qkvz_layout': 'separate'}", "causal_conv1d does not read it",
     "separate"},
    {"{'op': 'causal_conv1d', 'pad_rows': 1}", "causal_conv1d does not read it", "1"},
    {"{'op': 'gated_delta_rule', 'conv_bias': true}", "gated_delta_rule does not read it",
     "true"},
    {"{'op': 'gated_delta_rule', 'order': 'interleaved'}", "does not read it",
     "interleaved"},
    {"{'op': 'gdn_gating', 'initial': 'all'}", "gdn_gating does not read it", "all"},
    {"{'op': 'gdn_gating', 'page_bytes': 8}", "gdn_gating does not read it", "8"},
    {"{'op': 'gdn_metadata', 'drafts': 3}", "gdn_metadata does not read it", "3"},
    {"{'op': 'gdn_metadata', 'dtype': 'fp16'}", "gdn_metadata does not read it", "fp16"},
    {"{'op': 'gdn_metadata', 'fill': 'model'}", "gdn_metadata does not read it", "model"},
    {"{'op': 'gdn_metadata', 'initial': 'absent'}", "initial: expected mixed, all, none",
     "absent"},
    {"{'accepted': 'full'}", "no speculative sequences", "full"},
    {"{'order': 'scattered'}", "no speculative sequences", "scattered"},
    {"{'batch': 'spec1x2', 'initial': 'none'}", "speculative sequences always have",
     "none"},
};

static void test_refusals(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        json_t *json = merged("{" ATTENTION ", 'batch': 'dec2'}", refusals[i][0]);
        gdn_error err = {0};
        gdn_case test;
        const gdn_status status = gdn_case_from_json(&test, json, GDN_PROFILE_DIR, &err);
        if (status != GDN_ERR_ARG || !strstr(err.message, refusals[i][1]) ||
            !strstr(err.message, refusals[i][2]) || strchr(err.message, '\n')) {
            fail_msg("%s: %s: %s", refusals[i][0], gdn_status_name(status), err.message);
        }
        assert_null(test.id);
        json_decref(json);
    }
    json_t *list = json_array();
    gdn_case test;
    assert_int_equal(gdn_case_from_json(&test, list, GDN_PROFILE_DIR, NULL), GDN_ERR_ARG);
    json_decref(list);
}

/* The table of names in case.c is the op table's. */
static void test_every_op(void **state) {
    (void)state;
    for (int op = 0; op < GDN_OP_VERIFY_DRAFT_TOKENS; op++) {
        char text[512];
        snprintf(text, sizeof text,
                 "{'op': '%s', 'profile': '%s', " DIMS ", 'batch': 'dec1'}",
                 gdn_op_get((gdn_op)op)->name,
                 op == GDN_OP_CONV_WEIGHT_PACK ? "vllm-cpu-amx" : "vllm-xpu");
        gdn_case test = make(text);
        assert_int_equal(test.op, op);
        gdn_case_destroy(&test);
    }
    static const struct {
        const char *op, *profile, *mode;
    } VERIFY[] = {
        {"verify_draft_tokens", "fastdeploy-xpu", "greedy"},
        {"top_p_candidates", "fastdeploy-xpu", "plain"},
        {"adjust_batch", "fastdeploy-xpu", "plain"},
        {"gather_next_token", "fastdeploy-xpu", "plain"},
        {"build_sampling_params", "fastdeploy-xpu", "plain"},
        {"speculate_verify", "fastdeploy-xpu", "best"},
        {"unified_update_model_status", "fastdeploy-xpu", "plain"},
        {"naive_update_model_status", "fastdeploy-xpu", "plain"},
        {"rejection_sample", "vllm-v1", "standard"},
        {"verify_tree_greedy", "sglang", "plain"},
        {"tree_speculative_sampling", "sglang", "plain"},
        {"chain_speculative_sampling", "sglang", "plain"},
        {"build_tree", "sglang", "full"},
        {"state_commit", "sglang", "plain"},
    };
    for (size_t i = 0; i < sizeof VERIFY / sizeof VERIFY[0]; i++) {
        char text[256];
        snprintf(text, sizeof text, "{'op': '%s', 'profile': '%s', 'mode': '%s'}",
                 VERIFY[i].op, VERIFY[i].profile, VERIFY[i].mode);
        gdn_case test = make(text);
        assert_int_equal(test.op, GDN_OP_VERIFY_DRAFT_TOKENS + (int)i);
        json_t *json = gdn_case_to_json(&test);
        gdn_case again;
        gdn_error err = {0};
        assert_int_equal(gdn_case_from_json(&again, json, GDN_PROFILE_DIR, &err), GDN_OK);
        assert_string_equal(again.id, test.id);
        json_decref(json);
        gdn_case_destroy(&again);
        gdn_case_destroy(&test);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_id_of_the_design),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_batch_order_and_history),
        cmocka_unit_test(test_metadata_rows),
        cmocka_unit_test(test_mixes),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_ids_tell_everything),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_every_op),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
