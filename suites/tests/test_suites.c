/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The suites that ship: they load, cover what they claim, and stay within their budgets, so
 * that neither coverage nor speed can shrink unseen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "expand.h"
#include "scratch.h"

typedef struct shipped {
    const char *name;
    gdn_suite suite;
} shipped;

/* The union last. */
static shipped SUITES[] = {
    {"smoke", {0}},       {"qwen3-next", {0}},   {"qwen3.5", {0}},
    {"vllm-triton", {0}}, {"vllm-cpu-amx", {0}}, {"vllm-rocm-aiter", {0}},
    {"sglang", {0}},      {"sglang-npu", {0}},   {"fla", {0}},
    {"flashinfer", {0}},  {"ggml", {0}},         {"lattice", {0}},
    {"relations", {0}},   {"ci", {0}},
};

enum {
    SMOKE,
    NEXT,
    THREE_FIVE,
    N_SUITES = sizeof SUITES / sizeof SUITES[0],
    CI = N_SUITES - 1
};

static int load_suites(void **state) {
    (void)state;
    for (size_t i = 0; i < N_SUITES; i++) {
        gdn_error err = {0};
        if (gdn_suite_load(&SUITES[i].suite, GDN_SUITE_DIR, GDN_PROFILE_DIR, SUITES[i].name,
                           &err) != GDN_OK) {
            fprintf(stderr, "%s: %s\n", SUITES[i].name, err.message);
            return -1;
        }
    }
    return 0;
}

static int destroy_suites(void **state) {
    (void)state;
    for (size_t i = 0; i < N_SUITES; i++) {
        gdn_suite_destroy(&SUITES[i].suite);
    }
    return 0;
}

/* Those of draft verification: a backend of the recurrence need not have its ops, so `ci`
 * leaves them out. Only the last one holds defects. */
static const char *const VERIFY[] = {"fastdeploy-xpu", "fastdeploy-gpu", "rejection",
                                     "tree",           "spec-loop",      "draws",
                                     "shipped"};

enum { N_VERIFY = sizeof VERIFY / sizeof VERIFY[0] };

/* What a right kernel of the recurrence may fail, or a small machine cannot hold. */
static const char *const APART[] = {"lattice-alpha0", "dye", "refusals", "offsets"};

enum { N_APART = sizeof APART / sizeof APART[0] };

/* Nothing ships that is not looked at here, and the union is no more than ci. */
static void test_every_file(void **state) {
    (void)state;
    gdn_names names;
    assert_int_equal(gdn_suite_names(&names, GDN_SUITE_DIR, NULL), GDN_OK);
    assert_int_equal(names.count, N_SUITES + N_VERIFY + N_APART);
    gdn_names_destroy(&names);
    size_t verify = 0, apart = 0;
    for (int i = 0; i < N_VERIFY; i++) {
        gdn_suite suite;
        gdn_error err = {0};
        assert_int_equal(
            gdn_suite_load(&suite, GDN_SUITE_DIR, GDN_PROFILE_DIR, VERIFY[i], &err),
            GDN_OK);
        for (size_t k = 0; k < suite.n_cases; k++) {
            const gdn_case *test = &suite.cases[k];
            assert_true(gdn_op_is_verify(test->op));
            assert_int_equal(gdn_conventions_defect(&test->conventions) != NULL,
                             strcmp(VERIFY[i], "shipped") == 0);
        }
        verify += suite.n_cases;
        gdn_suite_destroy(&suite);
    }
    for (int i = 0; i < N_APART; i++) {
        gdn_suite suite;
        assert_int_equal(
            gdn_suite_load(&suite, GDN_SUITE_DIR, GDN_PROFILE_DIR, APART[i], NULL), GDN_OK);
        apart += suite.n_cases;
        gdn_suite_destroy(&suite);
    }
    gdn_suite all;
    assert_int_equal(gdn_suite_load(&all, GDN_SUITE_DIR, GDN_PROFILE_DIR, "all", NULL),
                     GDN_OK);
    size_t sum = 0;
    for (int s = 0; s < CI; s++) {
        sum += SUITES[s].suite.n_cases;
    }
    assert_int_equal(SUITES[CI].suite.n_cases, sum);
    assert_int_equal(all.n_cases, sum + verify + apart);
    gdn_suite_destroy(&all);
}

static void test_round_trips(void **state) {
    (void)state;
    const gdn_suite *suite = &SUITES[CI].suite;
    for (size_t i = 0; i < suite->n_cases; i++) {
        json_t *json = gdn_case_to_json(&suite->cases[i]);
        gdn_case again;
        gdn_error err = {0};
        if (gdn_case_from_json(&again, json, GDN_PROFILE_DIR, &err) != GDN_OK) {
            fail_msg("%s: %s", suite->cases[i].id, err.message);
        }
        assert_string_equal(suite->cases[i].id, again.id);
        json_decref(json);
        gdn_case_destroy(&again);
    }
}

/* The suite's schema knows the members of a case, all of them and no others. */
static void test_schema_matches_members(void **state) {
    (void)state;
    json_t *schema = json_load_file(GDN_SUITE_DIR "/suite.schema.json", 0, NULL);
    json_t *properties = json_object_get(
        json_object_get(json_object_get(schema, "$defs"), "members"), "properties");
    json_t *members = gdn_case_to_json(&SUITES[SMOKE].suite.cases[0]);
    gdn_suite suite;
    assert_int_equal(
        gdn_suite_load(&suite, GDN_SUITE_DIR, GDN_PROFILE_DIR, "fastdeploy-xpu", NULL),
        GDN_OK);
    json_t *verify = gdn_case_to_json(&suite.cases[0]); /* has every member of its own */
    assert_int_equal(json_object_update(members, verify), 0);
    json_decref(verify);
    gdn_suite_destroy(&suite);
    assert_non_null(properties);
    /* not written at their defaults, as in this case */
    static const char *const spare[] = {"gates",     "chunked",  "l2norm", "tree",
                                        "conv_rows", "relation", "steps",  "dye",
                                        "refuse",    "row_bytes"};
    for (size_t i = 0; i < sizeof spare / sizeof spare[0]; i++) {
        assert_null(json_object_get(members, spare[i]));
        json_object_set_new(members, spare[i], json_null());
    }
    assert_int_equal(json_object_size(properties), json_object_size(members));
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach(members, name, value) {
        assert_non_null(json_object_get(properties, name));
    }
    /* each of them is a member: what is no value at all is refused as such */
    json_object_foreach(properties, name, value) {
        json_t *odd = gdn_case_to_json(&SUITES[SMOKE].suite.cases[0]);
        gdn_case test;
        gdn_error err = {0};
        char quoted[80];
        json_object_set_new(odd, name, json_array());
        assert_int_not_equal(gdn_case_from_json(&test, odd, GDN_PROFILE_DIR, &err), GDN_OK);
        snprintf(quoted, sizeof quoted, "%s: expected", name);
        if (strcmp(name, "profile") != 0 && strncmp(err.message, quoted, strlen(quoted))) {
            fail_msg("%s: %s", name, err.message);
        }
        json_decref(odd);
    }
    json_decref(members);
    json_decref(schema);
}

/* Members that value v of an axis sets, over the base. */
static json_t *with_value(const json_t *base, const char *axis, json_t *value) {
    json_t *json = json_copy((json_t *)base);
    if (json_is_object(value)) {
        json_object_update(json, value);
    } else {
        json_object_set(json, axis, value);
    }
    return json;
}

/* Some members are not written at their defaults. */
static bool is_silent_default(const char *name, const json_t *value) {
    const char *text = json_string_value(value);
    return (strcmp(name, "gates") == 0 && strcmp(text, "given") == 0) ||
           (strcmp(name, "tree") == 0 && strcmp(text, "none") == 0) ||
           (strcmp(name, "l2norm") == 0 && json_is_true(value)) ||
           (strcmp(name, "relation") == 0 && strcmp(text, "none") == 0) ||
           strcmp(name, "chunked") == 0; /* the batch's, which the id's flags tell */
}

static bool has_members(const json_t *json, json_t *members) {
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach(members, name, value) {
        const json_t *found = json_object_get(json, name);
        /* labels are completed by the parser */
        if (strcmp(name, "model") != 0 &&
            !(found ? json_equal(found, value) : is_silent_default(name, value))) {
            return false;
        }
    }
    return true;
}

static bool is_excluded(const json_t *group, const json_t *members) {
    const json_t *excludes = json_object_get(group, "exclude");
    for (size_t e = 0; e < json_array_size(excludes); e++) {
        bool hit = true;
        const char *name = NULL;
        json_t *pattern = NULL;
        json_object_foreach(json_array_get(excludes, e), name, pattern) {
            const json_t *value = json_object_get(members, name);
            bool any = value && json_equal(value, pattern);
            for (size_t i = 0; value && i < json_array_size(pattern); i++) {
                any = any || json_equal(value, json_array_get(pattern, i));
            }
            hit = hit && any;
        }
        if (hit) {
            return true;
        }
    }
    return false;
}

/* The base without what some axis sets over it. */
static json_t *bare_base(const json_t *group) {
    json_t *base = json_copy(json_object_get(group, "base"));
    const char *axis = NULL;
    json_t *values = NULL;
    json_object_foreach(json_object_get(group, "axes"), axis, values) {
        json_object_del(base, axis);
        for (size_t v = 0; v < json_array_size(values); v++) {
            const char *name = NULL;
            json_t *value = NULL;
            json_object_foreach(json_array_get(values, v), name, value) {
                json_object_del(base, name);
            }
        }
    }
    return base;
}

/* Every two values of two axes of a group meet in some case of the suite. */
static size_t check_group(const json_t *group, json_t *const *cases, size_t n_cases) {
    json_t *axes = json_object_get(group, "axes");
    json_t *base = bare_base(group);
    size_t checked = 0;
    for (void *a = json_object_iter(axes); a; a = json_object_iter_next(axes, a)) {
        for (void *b = json_object_iter_next(axes, a); b;
             b = json_object_iter_next(axes, b)) {
            json_t *left = json_object_iter_value(a);
            json_t *right = json_object_iter_value(b);
            for (size_t i = 0; i < json_array_size(left) * json_array_size(right); i++) {
                json_t *one = with_value(base, json_object_iter_key(a),
                                         json_array_get(left, i / json_array_size(right)));
                json_t *both =
                    with_value(one, json_object_iter_key(b),
                               json_array_get(right, i % json_array_size(right)));
                bool found = is_excluded(group, both);
                for (size_t c = 0; !found && c < n_cases; c++) {
                    found = has_members(cases[c], both);
                }
                if (!found) {
                    char *text = json_dumps(both, JSON_COMPACT);
                    fail_msg("no case has %s", text);
                }
                checked++;
                json_decref(one);
                json_decref(both);
            }
        }
    }
    json_decref(base);
    return checked;
}

static void test_pairs_meet(void **state) {
    (void)state;
    for (size_t s = 0; s < N_SUITES; s++) {
        const gdn_suite *suite = &SUITES[s].suite;
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s.json", GDN_SUITE_DIR, SUITES[s].name);
        json_t *root = json_load_file(path, 0, NULL);
        json_t **cases = calloc(suite->n_cases, sizeof *cases);
        for (size_t c = 0; c < suite->n_cases; c++) {
            cases[c] = gdn_case_to_json(&suite->cases[c]);
        }
        const json_t *groups = json_object_get(root, "groups");
        size_t checked = 0;
        for (size_t g = 0; g < json_array_size(groups); g++) {
            checked += check_group(json_array_get(groups, g), cases, suite->n_cases);
        }
        assert_true(s == CI || checked > 100);
        for (size_t c = 0; c < suite->n_cases; c++) {
            json_decref(cases[c]);
        }
        free(cases);
        json_decref(root);
    }
}

typedef bool predicate(const gdn_case *test, int64_t value);

static void expect_some(int suite, gdn_op op, predicate *holds, int64_t value,
                        const char *what) {
    const gdn_suite *s = &SUITES[suite].suite;
    for (size_t i = 0; i < s->n_cases; i++) {
        if (s->cases[i].op == op && holds(&s->cases[i], value)) {
            return;
        }
    }
    fail_msg("suite %s has no %s with %s %lld", s->name, gdn_op_get(op)->name, what,
             (long long)value);
}

static bool has_prefill(const gdn_case *test, int64_t value) {
    for (size_t i = 0; i < test->n_sequences; i++) {
        if (test->sequences[i].kind == GDN_SEQ_PREFILL &&
            test->sequences[i].length == value) {
            return true;
        }
    }
    return false;
}

/* Bits: prefill, decode, spec; 8 more: ragged. */
static bool has_mix(const gdn_case *test, int64_t value) {
    int64_t mix = 0;
    for (size_t i = 0; i < test->n_sequences; i++) {
        const gdn_sequence *s = &test->sequences[i];
        mix |= INT64_C(1) << s->kind;
        mix |= s->kind == GDN_SEQ_SPEC && s->length < test->columns ? 8 : 0;
    }
    return mix == value;
}

static bool has_types(const gdn_case *test, int64_t value) {
    return test->dtype * 10 + test->state_dtype == value;
}

static bool has_tp(const gdn_case *test, int64_t value) {
    return test->tp_size == value;
}

static bool has_heads(const gdn_case *test, int64_t value) {
    return test->num_k_heads == 16 && test->num_v_heads == value;
}

static bool has_layout(const gdn_case *test, int64_t value) {
    return (int64_t)test->conventions.qkvz_layout == value;
}

static bool has_window(const gdn_case *test, int64_t value) {
    return (int64_t)test->conventions.conv_window == value;
}

static bool has_fill(const gdn_case *test, int64_t value) {
    return (int64_t)test->fill == value;
}

static bool has_order(const gdn_case *test, int64_t value) {
    return (int64_t)test->order == value;
}

static bool has_initial(const gdn_case *test, int64_t value) {
    return (int64_t)test->initial == value;
}

static bool has_pad(const gdn_case *test, int64_t value) {
    return test->pad_rows == value;
}

static bool has_bias(const gdn_case *test, int64_t value) {
    return test->conv_bias == (value != 0);
}

static bool has_pages(const gdn_case *test, int64_t value) {
    return (test->page_bytes > 0) == (value != 0);
}

static bool has_misaligned(const gdn_case *test, int64_t value) {
    return test->misaligned == (value != 0);
}

static bool has_op(const gdn_case *test, int64_t value) {
    (void)test;
    (void)value;
    return true;
}

/* Key and value dims differ, and neither is a power of two. */
static bool has_odd_dims(const gdn_case *test, int64_t value) {
    const int64_t k = test->head_k_dim;
    const int64_t v = test->head_v_dim;
    (void)value;
    return k != v && (k & (k - 1)) != 0 && (v & (v - 1)) != 0;
}

/* value: columns * 100 + accepted */
static bool has_accepted(const gdn_case *test, int64_t value) {
    for (size_t i = 0; i < test->n_sequences; i++) {
        if (test->sequences[i].kind == GDN_SEQ_SPEC && test->columns == value / 100 &&
            test->sequences[i].accepted == value % 100) {
            return true;
        }
    }
    return false;
}

#define P (1 << GDN_SEQ_PREFILL)
#define D (1 << GDN_SEQ_DECODE)
#define S (1 << GDN_SEQ_SPEC)

static void expect_values(int suite, predicate *holds, const int64_t *values, size_t count,
                          const char *what) {
    for (size_t i = 0; i < count; i++) {
        expect_some(suite, GDN_OP_GDN_ATTENTION, holds, values[i], what);
    }
}

#define EXPECT(suite, holds, ...)                                                          \
    expect_values(suite, holds, (const int64_t[]){__VA_ARGS__},                            \
                  sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t), #holds)

static void test_every_suite_covers(void **state) {
    (void)state;
    for (int s = SMOKE; s <= THREE_FIVE; s++) {
        for (int op = 0; op < GDN_OP_VERIFY_DRAFT_TOKENS; op++) {
            if (op != GDN_OP_CONV_WEIGHT_PACK || s == SMOKE) { /* one backend packs */
                expect_some(s, (gdn_op)op, has_op, 0, "anything");
            }
        }
        EXPECT(s, has_mix, P, D, P | D, S, S | D, S | P, S | P | D, S | 8, S | P | D | 8);
        EXPECT(s, has_window, GDN_CONV_SNAPSHOT, GDN_CONV_SLIDING);
        EXPECT(s, has_fill, GDN_FILL_NORMAL, GDN_FILL_MODEL);
        EXPECT(s, has_order, GDN_ROWS_GROUPED, GDN_ROWS_INTERLEAVED, GDN_ROWS_SCATTERED);
        EXPECT(s, has_initial, GDN_INITIAL_MIXED, GDN_INITIAL_NONE, GDN_INITIAL_ABSENT);
        EXPECT(s, has_pad, 0, 1, 3);
        EXPECT(s, has_bias, 0, 1);
        EXPECT(s, has_pages, 0, 1);
        EXPECT(s, has_misaligned, 0, 1);
        EXPECT(s, has_accepted, 300, 301, 302, 303);
        const int ops[] = {GDN_OP_CAUSAL_CONV1D, GDN_OP_GATED_DELTA_RULE};
        for (size_t i = 0; i < 2; i++) {
            expect_some(s, (gdn_op)ops[i], has_mix, S, "mix");
            expect_some(s, (gdn_op)ops[i], has_mix, S | 8, "mix");
            expect_some(s, (gdn_op)ops[i], has_mix, P | D, "mix");
        }
    }
}

static void test_models_cover(void **state) {
    (void)state;
    for (int s = NEXT; s <= THREE_FIVE; s++) {
        EXPECT(s, has_prefill, 1, 2, 3, 4, 5, 6, 7, 8, 9, 63, 64, 65, 127, 128, 129, 133,
               257, 1024, 8192);
        EXPECT(s, has_tp, 1, 2, 4, 8);
        EXPECT(s, has_types, GDN_BF16 * 10 + GDN_FP32, GDN_BF16 * 10 + GDN_BF16,
               GDN_FP16 * 10 + GDN_FP32, GDN_FP16 * 10 + GDN_FP16);
        EXPECT(s, has_initial, GDN_INITIAL_ALL);
        EXPECT(s, has_mix, S | D | 8);
        EXPECT(s, has_accepted, 500, 501, 502, 503, 504, 505, 400, 401, 402, 403, 404);
        EXPECT(s, has_heads, 16, 32, 48, 64);
        EXPECT(s, has_odd_dims, 0);
        EXPECT(s, has_layout, s == NEXT ? GDN_QKVZ_INTERLEAVED : GDN_QKVZ_SEPARATE);
    }
    EXPECT(SMOKE, has_layout, GDN_QKVZ_INTERLEAVED, GDN_QKVZ_SEPARATE);
    EXPECT(SMOKE, has_types, GDN_FP32 * 10 + GDN_FP32, GDN_BF16 * 10 + GDN_BF16,
           GDN_FP16 * 10 + GDN_FP16, GDN_BF16 * 10 + GDN_FP32, GDN_FP16 * 10 + GDN_FP32);
    EXPECT(SMOKE, has_tp, 1, 2);
    EXPECT(SMOKE, has_prefill, 64, 65);
}

/* Elements of state that the recurrence passes over. */
static double recurrence_work(const gdn_case *test) {
    const bool recurrent =
        test->op == GDN_OP_GDN_ATTENTION || test->op == GDN_OP_GATED_DELTA_RULE;
    return recurrent
               ? (double)(gdn_case_tokens(test) * (test->num_v_heads / test->tp_size) *
                          test->head_k_dim * test->head_v_dim)
               : 0.0;
}

/* Bytes of inputs, golden values and limits in a vector file, without its own overhead. */
static double stored_bytes(const gdn_case *test) {
    const double hk = (double)(test->num_k_heads / test->tp_size);
    const double hv = (double)(test->num_v_heads / test->tp_size);
    const double key = hk * (double)test->head_k_dim;
    const double value = hv * (double)test->head_v_dim;
    const double state = value * (double)test->head_k_dim;
    const double size = (double)gdn_dtype_size(test->dtype);
    const double tokens = (double)gdn_case_tokens(test);
    const double rows = tokens + (double)test->pad_rows;
    const double line =
        (double)(test->conv_width + test->columns) * (2 * key + value) * size;
    double slots = 0;
    for (size_t i = 0; i < test->n_sequences; i++) {
        slots += test->sequences[i].kind == GDN_SEQ_SPEC ? (double)test->columns : 1.0;
    }
    const double golden = 12; /* FP64 and an fp32 limit */
    const double pools =
        (slots + 2) * ((double)gdn_dtype_size(test->state_dtype) * state + line);
    switch (test->op) {
    case GDN_OP_CAUSAL_CONV1D:
        return tokens * (2 * key + value) * (size + golden) + 2 * (slots + 2) * line;
    case GDN_OP_GDN_GATING:
        return tokens * hv * 2 * (size + golden);
    case GDN_OP_GATED_DELTA_RULE:
    case GDN_OP_GDN_ATTENTION:
        return pools + slots * (golden * state + line) +
               rows * (2 * key + 2 * value + 2 * hv) * size +
               tokens * value * (golden + size);
    case GDN_OP_CONV_WEIGHT_PACK:
        return 2 * line;
    case GDN_OP_GDN_METADATA:
    default: /* no suite of these holds draft verification */
        break;
    }
    return 16 * tokens + 64 * slots;
}

static void test_budgets(void **state) {
    (void)state;
    const double tp1_token = 32.0 * 128.0 * 128.0;
    for (int s = 0; s < N_SUITES; s++) {
        const gdn_suite *suite = &SUITES[s].suite;
        double work = 0;
        double bytes = 0;
        int64_t tokens = 0;
        int longest = 0;
        for (size_t i = 0; i < suite->n_cases; i++) {
            const gdn_case *test = &suite->cases[i];
            work += recurrence_work(test);
            bytes += stored_bytes(test);
            tokens += gdn_case_tokens(test);
            longest += recurrence_work(test) > 8000 * tp1_token ? 1 : 0;
        }
        print_message("%-10s %3zu cases %6lld tokens, token*HV*K*V %.3g = %5.0f tokens of "
                      "Qwen3-Next tp1, %.3g MB\n",
                      suite->name, suite->n_cases, (long long)tokens, work,
                      work / tp1_token, bytes / 1e6);
        /* three minutes on two cores, at half a millisecond a token of Qwen3-Next at tp1 */
        assert_true(work / tp1_token < 180 / 0.0005 / 2);
        assert_true(longest <= 3);
        if (s == SMOKE) {
            assert_true(suite->n_cases >= 40 && suite->n_cases <= 160);
            assert_true(bytes < 3e6); /* its golden file is committed */
            assert_true(work < 1e6);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_file),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_schema_matches_members),
        cmocka_unit_test(test_pairs_meet),
        cmocka_unit_test(test_every_suite_covers),
        cmocka_unit_test(test_models_cover),
        cmocka_unit_test(test_budgets),
    };
    return cmocka_run_group_tests(tests, load_suites, destroy_suites);
}
