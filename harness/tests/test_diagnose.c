/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Diagnoses of right answers, of known bugs, of bugs that no table knows, of two at once,
 * and of devices that are wrong in no convention at all. `mutate --summary` scores whole
 * suites; here is what it cannot show. */
#include "diagnose.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "doctor.h"
#include "expand.h"
#include "invisible.h"
#include "mutate.h"
#include "pattern.h"

/* K != V, value heads that share keys, sequences with and without a state, accepted counts
 * of 2 and 0, and a key head with keys so small that eps shows. */
static const char CASE[] =
    "{\"op\": \"gdn_attention\", \"profile\": \"vllm-xpu\", \"batch\": "
    "\"spec2x2+pre2x21+dec1\", \"num_k_heads\": 2, \"num_v_heads\": 4,"
    " \"head_k_dim\": 8, \"head_v_dim\": 6, \"order\": "
    "\"interleaved\", \"pad_rows\": 1, \"fill\": \"model\", \"seed\": 2}";

typedef struct bench {
    gdn_case test;
    gdn_problem problem;
    gdn_golden golden;
    gdn_suspects suspects;
    gdn_error err;
} bench;

static void open_bench(bench *b, const char *text) {
    *b = (bench){.err = {0}};
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    const bool made =
        gdn_case_from_json(&b->test, json, GDN_PROFILE_DIR, &b->err) == GDN_OK &&
        gdn_problem_create(&b->problem, &b->test, &b->err) == GDN_OK &&
        gdn_golden_create(&b->golden, &b->problem, &b->err) == GDN_OK &&
        gdn_suspects_create(&b->suspects, &b->test.conventions, NULL, 0, &b->err) == GDN_OK;
    if (!made) {
        fail_msg("%s", b->err.message);
    }
    json_decref(json);
}

static void close_bench(bench *b) {
    gdn_suspects_destroy(&b->suspects);
    gdn_golden_destroy(&b->golden);
    gdn_problem_destroy(&b->problem);
    gdn_case_destroy(&b->test);
}

/* Leaves in the arena what a device would that obeys other conventions. */
static void run_device(bench *b, const gdn_conventions *conventions) {
    gdn_arena_restore(&b->problem.arena);
    if (gdn_mutate_run(&b->problem, conventions, &b->err) != GDN_OK) {
        fail_msg("%s", b->err.message);
    }
}

static gdn_conventions bend(const bench *b, const char *field, const char *value) {
    gdn_conventions bent = b->test.conventions;
    assert_int_equal(gdn_conventions_set(&bent, field, value, NULL), GDN_OK);
    return bent;
}

static gdn_diagnosis diagnose(bench *b) {
    gdn_diagnosis d;
    if (gdn_diagnose(&d, &b->problem, &b->golden, &b->suspects, NULL, &b->err) != GDN_OK) {
        fail_msg("%s", b->err.message);
    }
    return d;
}

static void expect_finding(bench *b, gdn_finding finding, const char *names) {
    gdn_diagnosis d = diagnose(b);
    if (d.finding != finding ||
        (names ? !d.names || strcmp(d.names, names) != 0 : d.names != NULL)) {
        fail_msg("expected %s %s but found %s %s", gdn_finding_name(finding),
                 names ? names : "", gdn_finding_name(d.finding), d.text);
    }
    gdn_diagnosis_destroy(&d);
}

static void expect_text(bench *b, const char *part) {
    gdn_diagnosis d = diagnose(b);
    if (d.finding != GDN_FOUND_PATTERN || !strstr(d.text, part)) {
        fail_msg("expected a pattern with \"%s\" but found %s %s", part,
                 gdn_finding_name(d.finding), d.text);
    }
    gdn_diagnosis_destroy(&d);
}

/* The right answer with the error of a sloppy device: nearly a limit, of either sign. */
static void answer_with_errors(bench *b, double share) {
    gdn_golden judged;
    assert_int_equal(gdn_fit_golden_create(&judged, &b->golden, &b->err), GDN_OK);
    for (size_t i = 0; i < judged.n_outputs; i++) {
        const gdn_expected *e = &judged.outputs[i];
        for (int64_t flat = 0; e->golden && flat < e->n_rows * e->row_count; flat++) {
            const double unit = gdn_dtype_unit_roundoff(e->tensor->dtype);
            const double room =
                fmax((double)e->limit[flat] - unit * fabs(e->golden[flat]), 0);
            const double error = (flat % 3 == 0 ? -share : share) * room;
            gdn_store(e->tensor->data, e->tensor->dtype,
                      e->rows[flat / e->row_count] * e->tensor->stride[0] +
                          flat % e->row_count,
                      e->golden[flat] + error);
        }
    }
    gdn_fit_golden_destroy(&judged);
}

static void test_correct_kernel_is_never_blamed(void **state) {
    (void)state;
    bench b;
    open_bench(&b, CASE);
    run_device(&b, &b.test.conventions);
    expect_finding(&b, GDN_FOUND_NOTHING_WRONG, NULL);
    answer_with_errors(&b, 0.9);
    expect_finding(&b, GDN_FOUND_NOTHING_WRONG, NULL);
    close_bench(&b);
}

/* A right kernel that is a little too inexact fails, and is no known bug. */
static void test_error_beyond_limits_is_no_deviation(void **state) {
    (void)state;
    bench b;
    open_bench(&b, CASE);
    run_device(&b, &b.test.conventions);
    answer_with_errors(&b, 4.0);
    gdn_diagnosis d = diagnose(&b);
    assert_true(d.correct.wrong > 0);
    for (size_t i = 0; i < d.n_named; i++) {
        assert_false(d.ranking[i].explains);
    }
    gdn_diagnosis_destroy(&d);
    close_bench(&b);
}

/* A bug, and on top of it the error of a device that rounds: limits are the bug's own. */
static void test_deviation_is_named_through_rounding(void **state) {
    (void)state;
    static const char *const NAMES[] = {"state_transposed", "decay_after_read",
                                        "accepted_ignored", "taps_reversed"};
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        bench b;
        open_bench(&b, CASE);
        gdn_conventions bent = b.test.conventions;
        assert_int_equal(gdn_deviation_apply(gdn_deviation_find(NAMES[i]), &bent, NULL),
                         GDN_OK);
        run_device(&b, &bent);
        gdn_problem other = b.problem;
        other.call.conventions = &bent;
        gdn_golden right = b.golden;
        gdn_arena_restore(&b.problem.arena);
        assert_int_equal(gdn_golden_create(&b.golden, &other, &b.err), GDN_OK);
        run_device(&b, &bent);
        answer_with_errors(&b, 0.9);
        gdn_golden_destroy(&b.golden);
        b.golden = right;
        expect_finding(&b, GDN_FOUND_DIAGNOSED, NAMES[i]);
        close_bench(&b);
    }
}

static const char GATES[] =
    "{\"op\": \"gdn_gating\", \"profile\": \"vllm-xpu\", \"batch\": \"pre1x9\","
    " \"num_k_heads\": 2, \"num_v_heads\": 4, \"head_k_dim\": 8, \"head_v_dim\": 8}";

/* Not in the table, not even enums: numbers that only the file has. */
static void test_deviations_from_a_file_are_named(void **state) {
    (void)state;
    static const gdn_deviation MORE[] = {
        {.name = "eps_large",
         .symptom = "eps is 1e-3",
         .field = "l2norm_eps",
         .value = "0.001",
         .touches = ""},
        {.name = "eps_missing",
         .symptom = "there is no eps",
         .field = "l2norm_eps",
         .value = "0",
         .touches = ""},
        {.name = "softplus_early",
         .symptom = "softplus is linear above 0",
         .field = "softplus_threshold",
         .value = "0",
         .touches = ""},
    };
    const size_t n = sizeof MORE / sizeof MORE[0];
    for (size_t i = 0; i < n; i++) {
        bench b;
        open_bench(&b, i < 2 ? CASE : GATES);
        gdn_suspects_destroy(&b.suspects);
        assert_int_equal(
            gdn_suspects_create(&b.suspects, &b.test.conventions, MORE, n, &b.err), GDN_OK);
        const gdn_conventions bent = bend(&b, MORE[i].field, MORE[i].value);
        run_device(&b, &bent);
        expect_finding(&b, GDN_FOUND_DIAGNOSED, MORE[i].name);
        close_bench(&b);
    }
}

/* A value that another profile may choose, and no row of the table has. */
static void test_value_of_a_field_is_named(void **state) {
    (void)state;
    bench b;
    open_bench(&b, CASE);
    const gdn_conventions bent = bend(&b, "conv_output", "none");
    run_device(&b, &bent);
    expect_finding(&b, GDN_FOUND_DIAGNOSED, "conv_output=none");
    close_bench(&b);
}

static void test_two_bugs_at_once(void **state) {
    (void)state;
    static const char SMALL[] =
        "{\"op\": \"gdn_attention\", \"profile\": \"vllm-xpu\", \"batch\": \"pre1x3\","
        " \"num_k_heads\": 2, \"num_v_heads\": 4, \"head_k_dim\": 4, \"head_v_dim\": 6,"
        " \"initial\": \"all\"}";
    bench b;
    open_bench(&b, SMALL);
    gdn_conventions bent = bend(&b, "state_access", "transposed");
    assert_int_equal(gdn_conventions_set(&bent, "head_map", "tiled", NULL), GDN_OK);
    run_device(&b, &bent);
    gdn_diagnosis d = diagnose(&b);
    assert_int_equal(d.finding, GDN_FOUND_PATTERN);
    gdn_diagnosis_destroy(&d);
    assert_int_equal(gdn_diagnose_pairs(&d, &b.problem, &b.golden, &b.suspects, &b.err),
                     GDN_OK);
    assert_int_equal(d.finding, GDN_FOUND_DIAGNOSED);
    assert_string_equal(d.names, "state_transposed + heads_tiled");
    gdn_diagnosis_destroy(&d);
    close_bench(&b);
}

/* Adds `by` to the elements of an output that `hits` selects. */
typedef bool (*selects)(const int64_t *index);

static void spoil(bench *b, const char *name, selects hits, double factor, double by) {
    gdn_tensor *t = gdn_arena_tensor(&b->problem.arena, name);
    for (int64_t flat = 0; flat < gdn_tensor_count(t); flat++) {
        int64_t index[GDN_MAX_RANK], rest = flat;
        for (int d = t->rank - 1; d >= 0; d--) {
            index[d] = rest % t->shape[d];
            rest /= t->shape[d];
        }
        const int64_t at = gdn_tensor_flat_offset(t, flat);
        const double value = gdn_load(t->data, t->dtype, at);
        if (hits(index) && !isnan(value)) {
            gdn_store(t->data, t->dtype, at, factor * value + by);
        }
    }
}

static bool lane_3(const int64_t *index) {
    return index[2] == 3;
}

static bool head_1(const int64_t *index) {
    return index[1] == 1;
}

static bool all(const int64_t *index) {
    (void)index;
    return true;
}

static bool tail(const int64_t *index) {
    return index[0] >= 64;
}

static bool every_16th(const int64_t *index) {
    return index[0] % 16 == 15;
}

/* One sequence whose rows are its tokens. */
static const char LONG[] =
    "{\"op\": \"gated_delta_rule\", \"profile\": \"vllm-xpu\", \"batch\": \"pre1x70\","
    " \"num_k_heads\": 2, \"num_v_heads\": 4, \"head_k_dim\": 8, \"head_v_dim\": 6,"
    " \"dtype\": \"fp32\"}";

static void test_patterns(void **state) {
    (void)state;
    static const struct {
        selects hits;
        double factor, by;
        const char *text;
    } ROWS[] = {
        {lane_3, 1.0, 0.5, "out: 280 of 1680 wrong, only lane 3 of 6"},
        {head_1, 1.0, 0.5, "out: 420 of 1680 wrong, only head 1 of 4"},
        {tail, 0.0, 0.0, "token 64 and all after it, zero"},
        {every_16th, 1.0, 0.5, "token mod 16 in {15}"},
        {all, 3.0, 0.0, "3 times the right value"},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        bench b;
        open_bench(&b, LONG);
        run_device(&b, &b.test.conventions);
        spoil(&b, "out", ROWS[i].hits, ROWS[i].factor, ROWS[i].by);
        expect_text(&b, ROWS[i].text);
        close_bench(&b);
    }
}

/* A token too many in one head's state is a residual of rank 1. */
static void test_rank_of_a_state_residual(void **state) {
    (void)state;
    bench b;
    open_bench(&b, LONG);
    run_device(&b, &b.test.conventions);
    const gdn_expected *e = NULL;
    for (size_t i = 0; i < b.golden.n_outputs; i++) {
        if (strcmp(b.golden.outputs[i].tensor->name, "ssm_state") == 0) {
            e = &b.golden.outputs[i];
        }
    }
    assert_non_null(e);
    for (int64_t i = 0; i < 48; i++) {
        const int64_t at = e->rows[0] * e->tensor->stride[0] + 2 * 48 + i;
        const double update = (1.0 + (double)(i / 8)) * (0.25 + 0.125 * (double)(i % 8));
        gdn_store(e->tensor->data, e->tensor->dtype, at,
                  gdn_load(e->tensor->data, e->tensor->dtype, at) + update);
    }
    expect_text(&b, "only head 2 of 4, residual of rank 1 in ssm_state[");
    close_bench(&b);
}

static void test_stray_bytes_are_located(void **state) {
    (void)state;
    bench b;
    open_bench(&b, LONG);
    run_device(&b, &b.test.conventions);
    ((uint8_t *)gdn_arena_tensor(&b.problem.arena, "k")->data)[0] ^= 1;
    expect_text(&b, "1 stray bytes, k[0,0,0]");
    close_bench(&b);
}

/* A run names cases by what it found before, and stops searching at its bound. */
static void test_doctor_shares_and_stops(void **state) {
    (void)state;
    gdn_doctor doctor = {0};
    bench b;
    open_bench(&b, CASE);
    const gdn_conventions bent = bend(&b, "decay_order", "after_read");
    for (int i = 0; i < 3; i++) {
        gdn_case_result result = {0};
        run_device(&b, &bent);
        assert_int_equal(gdn_doctor_see(&doctor, &b.problem, &b.golden, &result, &b.err),
                         GDN_OK);
        assert_string_equal(result.diagnosis.verdict, "diagnosed");
        assert_string_equal(result.diagnosis.deviation, "decay_after_read");
        assert_int_equal(doctor.searches, 1);
        gdn_case_result_destroy(&result);
    }
    doctor.searches = GDN_DOCTOR_SEARCHES;
    gdn_case_result result = {0};
    run_device(&b, &b.test.conventions);
    spoil(&b, "core_attn_out", lane_3, 1.0, 0.5);
    assert_int_equal(gdn_doctor_see(&doctor, &b.problem, &b.golden, &result, &b.err),
                     GDN_OK);
    assert_null(result.diagnosis.verdict); /* not searched is not "no known bug" */
    gdn_doctor_destroy(&doctor);
    close_bench(&b);
}

/* Where no element is beyond its limit, but a head's root mean square error is. */
static const char HEADS[] =
    "{\"op\": \"gated_delta_rule\", \"profile\": \"vllm-triton\", \"batch\": \"pre1x128\","
    " \"num_k_heads\": 2, \"num_v_heads\": 4, \"head_k_dim\": 64, \"head_v_dim\": 64}";

static void test_bug_that_only_heads_show_is_named(void **state) {
    (void)state;
    bench b;
    open_bench(&b, HEADS);
    const gdn_conventions bent = bend(&b, "slip", "state_rounded");
    run_device(&b, &bent);
    gdn_diagnosis d = diagnose(&b);
    assert_int_equal(d.correct.wrong, 0);
    assert_int_equal(d.finding, GDN_FOUND_DIAGNOSED);
    assert_string_equal(d.names, "state_rounded");
    assert_non_null(strstr(d.text, "of ssm_state: floor_rms"));
    gdn_diagnosis_destroy(&d);
    close_bench(&b);
}

/* Errors of that size that no bug makes. */
static void test_inexact_heads_are_blamed_on_nobody(void **state) {
    (void)state;
    bench b;
    open_bench(&b, HEADS);
    run_device(&b, &b.test.conventions);
    answer_with_errors(&b, 0.9);
    gdn_diagnosis d = diagnose(&b);
    assert_int_equal(d.correct.wrong, 0);
    assert_int_equal(d.finding, GDN_FOUND_PATTERN);
    assert_null(d.names);
    gdn_diagnosis_destroy(&d);
    close_bench(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_correct_kernel_is_never_blamed),
        cmocka_unit_test(test_error_beyond_limits_is_no_deviation),
        cmocka_unit_test(test_deviation_is_named_through_rounding),
        cmocka_unit_test(test_deviations_from_a_file_are_named),
        cmocka_unit_test(test_value_of_a_field_is_named),
        cmocka_unit_test(test_two_bugs_at_once),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_rank_of_a_state_residual),
        cmocka_unit_test(test_stray_bytes_are_located),
        cmocka_unit_test(test_doctor_shares_and_stops),
        cmocka_unit_test(test_bug_that_only_heads_show_is_named),
        cmocka_unit_test(test_inexact_heads_are_blamed_on_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
