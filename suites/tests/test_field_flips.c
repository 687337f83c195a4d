/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Every convention that a profile may set decides something: for each field, and each of
 * its values, some small case of a shipped profile has other golden values or limits than
 * under another value. A field without a row here fails, so that none can be added that no
 * op honours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "problem.h"

#define HEADS "'num_k_heads': 2, 'num_v_heads': 4, 'head_k_dim': 8, 'head_v_dim': 6"
#define CONV  "{'op': 'causal_conv1d', 'conv_bias': true, " HEADS
#define DELTA "{'op': 'gated_delta_rule', 'fill': 'model', 'dtype': 'bf16', " HEADS
#define WHOLE "{'op': 'gdn_attention', 'fill': 'model', 'dtype': 'bf16', " HEADS
#define GATES                                                                              \
    "{'op': 'gdn_gating', 'fill': 'model', 'num_k_heads': 1, 'num_v_heads': 34, "          \
    "'head_k_dim': 4, 'head_v_dim': 4"

/* `with`: settings of other fields that the flip needs, "field=value,..", or, where only
 * one value needs them, "value:field=value,..". */
typedef struct flip {
    const char *field, *test, *with;
} flip;

static const flip FLIPS[] = {
    {"qkvz_layout", WHOLE ", 'profile': 'vllm-xpu@b', 'batch': 'pre1x3'}", ""},
    {"state_order", DELTA ", 'profile': 'fla', 'batch': 'pre1x3'}", ""},
    {"head_map", DELTA ", 'profile': 'ggml', 'batch': 'pre1x3'}", ""},
    {"conv_window", CONV ", 'profile': 'vllm-xpu@b', 'batch': 'spec2x3', 'seed': 2}", ""},
    {"conv_window", CONV ", 'profile': 'sglang', 'batch': 'spec2x3'}", "conv_anchor=last"},
    {"conv_state_order", CONV ", 'profile': 'sglang', 'batch': 'dec3'}", ""},
    {"conv_anchor", CONV ", 'profile': 'sglang', 'batch': 'dec2', 'conv_rows': 5}", ""},
    {"conv_history", CONV ", 'profile': 'fla', 'batch': 'pre1x5'}", ""},
    {"conv_weight",
     "{'op': 'causal_conv1d', 'num_k_heads': 2, 'num_v_heads': 4, 'head_k_dim': 8, "
     "'head_v_dim': 8, 'profile': 'vllm-cpu-amx', 'batch': 'dec3'}",
     ""},
    /* as many channels as taps, so that either order has the other's shape */
    {"conv_weight",
     "{'op': 'causal_conv1d', 'num_k_heads': 1, 'num_v_heads': 2, 'head_k_dim': 1, "
     "'head_v_dim': 1, 'profile': 'sglang-npu', 'batch': 'pre1x3'}",
     ""},
    {"conv_product", CONV ", 'profile': 'vllm-triton', 'batch': 'dec3'}", ""},
    {"spec_state", DELTA ", 'profile': 'sglang', 'batch': 'spec2x3', 'accepted': 'full'}",
     "slots:conv_window=sliding,buffer:conv_window=windows"},
    {"buffer_rows", DELTA ", 'profile': 'sglang', 'batch': 'spec3x3'}", ""},
    {"gate_input", DELTA ", 'profile': 'flashinfer', 'batch': 'pre1x3'}", ""},
    {"beta_input", DELTA ", 'profile': 'sglang-npu@verify', 'batch': 'spec2x2'}", ""},
    {"beta_storage", GATES ", 'profile': 'vllm-triton', 'batch': 'dec3'}", ""},
    {"beta_rounding",
     DELTA ", 'profile': 'vllm-cpu-amx', 'gates': 'fused', 'batch': 'dec5'}", ""},
    {"beta_tail", GATES ", 'profile': 'vllm-cpu-amx', 'batch': 'dec5'}", ""},
    {"l2norm_form", DELTA ", 'profile': 'ggml', 'batch': 'pre1x20', 'dtype': 'fp32'}",
     "l2norm_eps=0.5"},
    {"chunk_qk", DELTA ", 'profile': 'vllm-triton', 'batch': 'pre1x5'}", ""},
    {"pad_sequences", DELTA ", 'profile': 'sglang', 'batch': 'dec2+pad2'}", ""},
    {"pad_rows", WHOLE ", 'profile': 'vllm-rocm-aiter', 'batch': 'dec2', 'pad_rows': 2}",
     ""},
    {"activation", CONV ", 'profile': 'ggml', 'batch': 'dec3'}", ""},
    {"conv_output", WHOLE ", 'profile': 'vllm-xpu@b', 'batch': 'pre1x3'}", ""},
    {"state_carry",
     DELTA ", 'profile': 'vllm-cpu-amx', 'state_dtype': 'bf16', 'batch': 'pre1x70'}", ""},
    {"metadata_rules",
     "{'op': 'gdn_metadata', 'profile': 'vllm-xpu@b', 'initial': 'none', "
     "'batch': 'dec2+spec1x3+pre1x1', " HEADS "}",
     ""},
    {"metadata_rules",
     "{'op': 'gdn_metadata', 'profile': 'vllm-xpu@b', 'initial': 'none', "
     "'batch': 'dec2+pre1x3', " HEADS "}",
     ""},
    {"numeric_class", DELTA ", 'profile': 'vllm-triton', 'batch': 'dec3'}", ""},
    {"chunk_class", DELTA ", 'profile': 'vllm-triton', 'batch': 'pre1x5'}", ""},
    {"chunk_decay", DELTA ", 'profile': 'vllm-cpu-amx', 'batch': 'pre1x5'}", ""},
    {"pad_slot_id",
     "{'op': 'gdn_metadata', 'profile': 'vllm-xpu@b', 'batch': 'spec2x3+pad2', " HEADS "}",
     ""},
    {"l2norm_eps", DELTA ", 'profile': 'vllm-cpu-amx', 'batch': 'pre1x20'}", ""},
    {"softplus_beta", GATES ", 'profile': 'sglang-npu', 'batch': 'dec3'}", ""},
    {"softplus_threshold",
     GATES ", 'profile': 'sglang-npu', 'batch': 'dec3', 'fill': 'normal'}", ""},
    {"log_error", GATES ", 'profile': 'fla', 'batch': 'dec3'}", ""},
    {"exp_error", GATES ", 'profile': 'vllm-cpu-amx', 'batch': 'dec3'}", ""},
    {"rsqrt_error", DELTA ", 'profile': 'vllm-cpu-amx', 'batch': 'dec3'}", ""},
    {"sigmoid_error", GATES ", 'profile': 'vllm-cpu-amx', 'batch': 'dec3'}", ""},
};

/* Golden outputs of a case as one digest-like block of bytes: values, limits, rows,
 * bits, floors. */
typedef struct outcome {
    char *bytes;
    size_t size;
} outcome;

static void outcome_add(FILE *out, const void *bytes, size_t size) {
    if (bytes) {
        assert_int_equal(fwrite(bytes, 1, size, out), size);
    }
}

/* False if the conventions contradict each other or the call does not fit them. */
static bool evaluate(outcome *o, const gdn_problem *problem) {
    gdn_golden golden;
    gdn_error err = {0};
    if (gdn_conventions_check(problem->call.conventions, &err) != GDN_OK ||
        gdn_golden_create(&golden, problem, &err) != GDN_OK) {
        return false;
    }
    FILE *out = open_memstream(&o->bytes, &o->size);
    assert_non_null(out);
    for (size_t i = 0; i < golden.n_outputs; i++) {
        const gdn_expected *e = &golden.outputs[i];
        const size_t count = (size_t)(e->n_rows * e->row_count);
        outcome_add(out, e->tensor->shape, sizeof e->tensor->shape);
        outcome_add(out, &e->tensor->dtype, sizeof e->tensor->dtype);
        outcome_add(out, e->rows, (size_t)e->n_rows * sizeof *e->rows);
        outcome_add(out, e->golden, count * sizeof *e->golden);
        outcome_add(out, e->limit, count * sizeof *e->limit);
        outcome_add(out, e->bits, count * gdn_dtype_size(e->tensor->dtype));
        outcome_add(out, e->floors, (size_t)e->tensor->shape[1] * sizeof *e->floors);
    }
    assert_int_equal(fclose(out), 0);
    gdn_golden_destroy(&golden);
    return true;
}

static void set_field(gdn_conventions *conventions, const char *field, const char *value) {
    gdn_error err = {0};
    if (gdn_conventions_set(conventions, field, value, &err) != GDN_OK) {
        fail_msg("%s", err.message);
    }
}

static gdn_case load_case(const flip *f) {
    gdn_case test;
    gdn_error err = {0};
    json_t *json = NULL;
    char *text = strdup(f->test);
    assert_non_null(text);
    for (char *at = text; *at; at++) {
        *at = *at == '\'' ? '"' : *at;
    }
    assert_non_null(json = json_loads(text, 0, NULL));
    if (gdn_case_from_json(&test, json, GDN_PROFILE_DIR, &err) != GDN_OK) {
        fail_msg("%s: %s", f->field, err.message);
    }
    json_decref(json);
    free(text);
    return test;
}

/* Sets the field, and what the flip needs with it. */
static void set_flip(gdn_case *test, const flip *f, const char *value) {
    char *with = strdup(f->with);
    char *rest = NULL;
    assert_non_null(with);
    for (char *pair = strtok_r(with, ",", &rest); pair; pair = strtok_r(NULL, ",", &rest)) {
        char *colon = strchr(pair, ':');
        char *field = colon ? colon + 1 : pair;
        char *other = strchr(field, '=');
        assert_non_null(other);
        *other++ = '\0';
        if (!colon || strncmp(pair, value, (size_t)(colon - pair)) == 0) {
            set_field(&test->conventions, field, other);
        }
    }
    set_field(&test->conventions, f->field, value);
    free(with);
}

/* Value number v of a field as text; NULL behind the last. */
static const char *value_of(const gdn_convention_field *field, int v) {
    static const char *const integers[] = {"-1", "0", NULL};
    static const char *const reals[][3] = {{"1e-06", "0.5", NULL}, {"1", "3", NULL}};
    switch (field->kind) {
    case GDN_FIELD_ENUM:
        return v < field->correct ? field->values[v] : NULL;
    case GDN_FIELD_INT:
        return integers[v];
    case GDN_FIELD_REAL:
        break;
    }
    return reals[strcmp(field->name, "l2norm_eps") != 0][v];
}

#define MOST_VALUES 8

/* Under value number v: from inputs laid out for it, or from those of the profile's own. */
static bool outcome_of(outcome *o, const flip *f, const gdn_convention_field *field, int v,
                       bool own_inputs) {
    gdn_problem problem;
    gdn_error err = {0};
    gdn_case test = load_case(f);
    if (!own_inputs) {
        set_flip(&test, f, value_of(field, v));
    }
    bool valid = gdn_problem_create(&problem, &test, &err) == GDN_OK;
    if (valid) {
        set_flip(&test, f, value_of(field, v));
        valid = evaluate(o, &problem);
        gdn_problem_destroy(&problem);
    }
    gdn_case_destroy(&test);
    return valid;
}

/* Which values of the field give other outcomes than each other in this case. */
static void tell_apart(const flip *f, const gdn_convention_field *field, bool own_inputs,
                       bool apart[MOST_VALUES][MOST_VALUES]) {
    outcome outcomes[MOST_VALUES] = {0};
    bool valid[MOST_VALUES] = {false};
    for (int v = 0; value_of(field, v); v++) {
        valid[v] = outcome_of(&outcomes[v], f, field, v, own_inputs);
    }
    for (int v = 0; value_of(field, v); v++) {
        for (int w = 0; w < v; w++) {
            /* a profile that refuses padding refuses the call: that is all it decides */
            const bool refusal = strcmp(field->name, "pad_sequences") == 0;
            const bool both = valid[v] && valid[w];
            const bool other = both ? outcomes[v].size != outcomes[w].size ||
                                          memcmp(outcomes[v].bytes, outcomes[w].bytes,
                                                 outcomes[v].size) != 0
                                    : refusal && valid[v] != valid[w];
            apart[v][w] = apart[v][w] || other;
        }
    }
    for (int v = 0; v < MOST_VALUES; v++) {
        free(outcomes[v].bytes);
    }
}

static void test_every_field_decides_something(void **state) {
    (void)state;
    size_t count = 0;
    const gdn_convention_field *fields = gdn_convention_fields(&count);
    int missing = 0;
    for (size_t i = 0; i < count; i++) {
        const gdn_convention_field *field = &fields[i];
        if (field->kind == GDN_FIELD_ENUM && field->correct < 2) {
            continue; /* only slips differ: the deviation table's business */
        }
        bool apart[MOST_VALUES][MOST_VALUES] = {{false}};
        for (size_t k = 0; k < sizeof FLIPS / sizeof FLIPS[0]; k++) {
            if (strcmp(FLIPS[k].field, field->name) == 0) {
                tell_apart(&FLIPS[k], field, true, apart);
                tell_apart(&FLIPS[k], field, false, apart);
            }
        }
        for (int v = 0; value_of(field, v); v++) {
            bool told = false;
            for (int w = 0; value_of(field, w); w++) {
                told = told || apart[v][w] || apart[w][v];
            }
            if (!told) {
                print_error("%s: no case tells \"%s\" from the others\n", field->name,
                            value_of(field, v));
                missing++;
            }
        }
    }
    assert_int_equal(missing, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field_decides_something),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
