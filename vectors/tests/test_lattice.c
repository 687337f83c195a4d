/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Golden values of lattice cases against a second implementation in 64-bit integers, which
 * knows no norm, no exponential and no chunk: a key is a lane, an update replaces a column. */
#include "lattice.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan.h"

typedef struct bench {
    gdn_case test;
    gdn_problem problem;
    gdn_golden golden;
    gdn_plan plan;
    int64_t K, V;
} bench;

static void make(bench *b, const char *text) {
    gdn_error err = {0};
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    if (gdn_case_from_json(&b->test, json, GDN_PROFILE_DIR, &err) != GDN_OK ||
        gdn_problem_create(&b->problem, &b->test, &err) != GDN_OK ||
        gdn_golden_create(&b->golden, &b->problem, &err) != GDN_OK ||
        gdn_plan_create(&b->plan, &b->test, &err) != GDN_OK) {
        fail_msg("%s: %s", text, err.message);
    }
    b->K = b->test.head_k_dim;
    b->V = b->test.head_v_dim;
    json_decref(json);
}

static void destroy(bench *b) {
    gdn_plan_destroy(&b->plan);
    gdn_golden_destroy(&b->golden);
    gdn_problem_destroy(&b->problem);
    gdn_case_destroy(&b->test);
}

/* Inputs of one kind and head `t` tokens into sequence `i`, which begins at `first`; zero
 * before a sequence without a history. */
static void inputs(const bench *b, size_t i, int64_t first, int64_t t, gdn_field kind,
                   int64_t head, double *out) {
    const int64_t HK = b->plan.key_heads, HV = b->plan.value_heads;
    const int64_t dim = kind == GDN_FIELD_V ? b->V : b->K;
    const gdn_sequence *s = &b->test.sequences[i];
    if (t >= 0) {
        gdn_fill_values(&b->test, kind, first + t, head, kind == GDN_FIELD_V ? HV : HK, dim,
                        out);
        return;
    }
    const int64_t history = b->test.conv_width - 1;
    double *row = calloc((size_t)b->plan.channels, sizeof *row);
    if (s->has_initial_state) {
        gdn_fill_values(&b->test, GDN_FIELD_CONV_HISTORY, (int64_t)i, t + history, history,
                        b->plan.channels, row);
    }
    const int64_t start = kind == GDN_FIELD_Q   ? head * b->K
                          : kind == GDN_FIELD_K ? (HK + head) * b->K
                                                : 2 * HK * b->K + head * b->V;
    memcpy(out, row + start, (size_t)dim * sizeof *out);
    free(row);
}

/* The lane that the convolution leaves of them: sums of copies, as SiLU keeps numbers from
 * 18 on and zeros. */
static void convolved(const bench *b, size_t i, int64_t first, int64_t t, gdn_field kind,
                      int64_t head, int64_t *out) {
    const int64_t HK = b->plan.key_heads;
    const int64_t dim = kind == GDN_FIELD_V ? b->V : b->K;
    const int64_t channel = kind == GDN_FIELD_Q   ? head * b->K
                            : kind == GDN_FIELD_K ? (HK + head) * b->K
                                                  : 2 * HK * b->K + head * b->V;
    const int64_t taps = b->test.op == GDN_OP_GDN_ATTENTION ? b->test.conv_width : 1;
    double x[1024], w[8] = {1.0}, bias[4096] = {0.0};
    memset(out, 0, (size_t)dim * sizeof *out);
    if (taps > 1 && b->test.conv_bias) {
        gdn_fill_values(&b->test, GDN_FIELD_CONV_BIAS, 0, 0, 1, b->plan.channels, bias);
    }
    for (int64_t j = 0; j < taps; j++) {
        inputs(b, i, first, t - (taps - 1) + j, kind, head, x);
        for (int64_t lane = 0; lane < dim; lane++) {
            if (taps > 1) {
                gdn_fill_values(&b->test, GDN_FIELD_CONV_WEIGHT, channel + lane, 0, 1, taps,
                                w);
            }
            out[lane] += (int64_t)w[taps > 1 ? j : 0] * (int64_t)x[lane];
        }
    }
    for (int64_t lane = 0; lane < dim; lane++) {
        out[lane] += (int64_t)bias[channel + lane];
        assert_true(taps == 1 || out[lane] == 0 || out[lane] >= 18);
    }
}

static int64_t hot(const int64_t *x, int64_t count) {
    int64_t lane = -1;
    for (int64_t i = 0; i < count; i++) {
        if (x[i] != 0) {
            assert_true(x[i] == 4096 || x[i] == 1);
            assert_int_equal(lane, -1);
            lane = i;
        }
    }
    return lane;
}

static const gdn_expected *output(const bench *b, const char *part) {
    for (size_t i = 0; i < b->golden.n_outputs; i++) {
        const gdn_expected *e = &b->golden.outputs[i];
        if (strstr(e->tensor->name, part) && e->judgement == GDN_JUDGE_BOUNDED) {
            return e;
        }
    }
    return NULL;
}

/* Golden values of a row, or NULL where the op does not write it. */
static const double *golden_row(const gdn_expected *e, int64_t row) {
    for (int64_t i = 0; i < e->n_rows; i++) {
        if (e->rows[i] == row) {
            return e->golden + i * e->row_count;
        }
    }
    return NULL;
}

static void expect_integer(const bench *b, double golden, double scale, int64_t integer,
                           const char *what, int64_t token) {
    if (golden * scale != (double)integer &&
        fabs(golden * scale - (double)integer) > 1e-12 * fabs((double)integer)) {
        fail_msg("%s: %s of token %lld: golden %.17g, integers %lld", b->test.id, what,
                 (long long)token, golden * scale, (long long)integer);
    }
}

/* The state of one head after a token against the slot that it goes to. */
static void check_state(const bench *b, int64_t slot, int64_t head, const int64_t *S,
                        int64_t token) {
    const gdn_expected *e = output(b, "ssm_state");
    const double *row = golden_row(e, slot);
    const bool vk = b->test.conventions.state_order == GDN_STATE_VK;
    assert_non_null(row);
    for (int64_t i = 0; i < b->V * b->K; i++) {
        const int64_t v = i / b->K, k = i % b->K;
        const int64_t at = head * b->V * b->K + (vk ? v * b->K + k : k * b->V + v);
        expect_integer(b, row[at], 1.0, S[i], "state", token);
    }
}

/* One value head of one sequence, token by token; returns outputs compared. */
static int64_t run_head(const bench *b, size_t i, int64_t first, int64_t head) {
    const gdn_case *test = &b->test;
    const gdn_sequence *s = &test->sequences[i];
    const int64_t HV = b->plan.value_heads;
    const int64_t key_head = head / (HV / b->plan.key_heads);
    const bool attention = test->op == GDN_OP_GDN_ATTENTION;
    const gdn_expected *out = output(b, "out");
    int64_t *S = calloc((size_t)(b->V * b->K), sizeof *S);
    double values[1024];
    for (int64_t v = 0; s->has_initial_state && v < b->V; v++) {
        gdn_fill_values(test, GDN_FIELD_STATE, (int64_t)i, head * b->V + v, HV * b->V, b->K,
                        values);
        for (int64_t k = 0; k < b->K; k++) {
            S[v * b->K + k] = (int64_t)values[k];
        }
    }
    for (int64_t t = 0; t < s->length; t++) {
        int64_t x[1024], v[1024];
        convolved(b, i, first, t, GDN_FIELD_Q, key_head, x);
        const int64_t q = hot(x, b->K);
        convolved(b, i, first, t, GDN_FIELD_K, key_head, x);
        const int64_t k = hot(x, b->K);
        convolved(b, i, first, t, GDN_FIELD_V, head, v);
        gdn_fill_values(test, GDN_FIELD_A, first + t, 0, 1, HV, values);
        const bool forget = values[head] > 100.0;
        gdn_fill_values(test, GDN_FIELD_B, first + t, 0, 1, HV, values);
        for (int64_t j = 0; forget && j < b->V * b->K; j++) {
            S[j] = 0;
        }
        for (int64_t j = 0; k >= 0 && values[head] > 0.0 && j < b->V; j++) {
            S[j * b->K + k] = v[j];
        }
        const int64_t row = attention ? b->plan.token_rows[first + t] : first + t;
        const double *golden = golden_row(out, row);
        assert_non_null(golden);
        for (int64_t j = 0; j < b->V; j++) {
            expect_integer(b, golden[head * b->V + j], sqrt((double)b->K),
                           q >= 0 ? S[j * b->K + q] : 0, "output", t);
        }
        if (s->kind == GDN_SEQ_SPEC || t + 1 == s->length) {
            const int64_t column = s->kind == GDN_SEQ_SPEC ? t : 0;
            check_state(b, b->plan.sequence_slots[(int64_t)i * b->plan.columns + column],
                        head, S, t);
        }
    }
    free(S);
    return s->length;
}

/* Every profile with slots for drafts, which all hold states as ops take them. */
static const char *const CASES[] = {
    "\"op\": \"gdn_attention\", \"profile\": \"vllm-xpu@b\", \"batch\": "
    "\"pre2x9+dec2+spec2x3\", \"conv_bias\": true, \"order\": \"scattered\"",
    "\"op\": \"gdn_attention\", \"profile\": \"vllm-xpu@a\", \"batch\": "
    "\"pre1x65+spec1x4\","
    " \"qkvz_layout\": \"separate\", \"initial\": \"none\"",
    "\"op\": \"gdn_attention\", \"profile\": \"vllm-triton\", \"batch\": \"pre1x33+dec1\","
    " \"dtype\": \"fp16\", \"conv_width\": 3",
    "\"op\": \"gdn_attention\", \"profile\": \"vllm-rocm-aiter\", \"batch\": \"pre1x17\"",
    "\"op\": \"gated_delta_rule\", \"profile\": \"vllm-cpu-amx@sd\", \"batch\": "
    "\"pre1x129\"",
    "\"op\": \"gated_delta_rule\", \"profile\": \"flashinfer\", \"batch\": \"pre1x65\","
    " \"l2norm\": false",
    "\"op\": \"gated_delta_rule\", \"profile\": \"fla@k-first\", \"batch\": \"pre2x31\"",
    "\"op\": \"gated_delta_rule\", \"profile\": \"vllm-xpu@b\", \"batch\": \"spec3x4\","
    " \"gates\": \"fused\", \"state_dtype\": \"fp16\"",
};

static void test_integers_agree(void **state) {
    (void)state;
    static const char *const fills[] = {"lattice", "lattice-alpha0"};
    int64_t compared = 0;
    for (size_t c = 0; c < 2 * (sizeof CASES / sizeof CASES[0]); c++) {
        for (int seed = 0; seed < 3; seed++) {
            char text[512];
            bench b;
            snprintf(text, sizeof text,
                     "{%s, \"fill\": \"%s\", \"seed\": %d, \"num_k_heads\": 2,"
                     " \"num_v_heads\": 6, \"head_k_dim\": 64, \"head_v_dim\": 16}",
                     CASES[c / 2], fills[c % 2], seed);
            make(&b, text);
            int64_t first = 0;
            for (size_t i = 0; i < b.test.n_sequences; i++) {
                for (int64_t head = 0; head < b.plan.value_heads; head++) {
                    compared += run_head(&b, i, first, head);
                }
                first += b.test.sequences[i].length;
            }
            destroy(&b);
        }
    }
    assert_true(compared > 5000);
}

/* Values of different places differ, or a reading would say nothing: lines of v, and of
 * start states, none of which a v could be. */
static void test_lines_are_told_apart(void **state) {
    (void)state;
    bench b;
    make(&b, "{\"op\": \"gated_delta_rule\", \"profile\": \"vllm-xpu@b\", \"batch\": "
             "\"pre1x64\", \"fill\": \"lattice\", \"num_k_heads\": 2, \"num_v_heads\": 4,"
             " \"head_k_dim\": 64, \"head_v_dim\": 16}");
    for (int64_t i = 0; i < 64 * 4; i++) {
        for (int64_t j = 0; j < i; j++) {
            int64_t same = 0;
            for (int64_t lane = 0; lane < b.V; lane++) {
                same += gdn_lattice_v(&b.test, i / 4, i % 4, lane) ==
                        gdn_lattice_v(&b.test, j / 4, j % 4, lane);
            }
            assert_true(same < 6);
        }
    }
    double row[64];
    for (int64_t r = 0; r < 4 * b.V; r++) {
        gdn_fill_values(&b.test, GDN_FIELD_STATE, 0, r, 4 * b.V, 64, row);
        for (int64_t k = 0; k < 64; k++) {
            assert_true(row[k] >= -55.0 && row[k] < 18.0);
        }
    }
    destroy(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers_agree),
        cmocka_unit_test(test_lines_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
