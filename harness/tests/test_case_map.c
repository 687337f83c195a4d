/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Maps of a case whose device is the reference, with one element put wrong by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "case_map.h"
#include "judge.h"

static const char CASE[] =
    "{\"op\": \"gdn_attention\", \"profile\": \"vllm-xpu@b\", \"batch\": \"pre1x70\","
    " \"num_k_heads\": 1, \"num_v_heads\": 3, \"head_k_dim\": 8, \"head_v_dim\": 4}";

typedef struct fixture {
    gdn_case test;
    gdn_problem problem;
    gdn_golden golden;
    gdn_case_result result;
} fixture;

/* The golden values themselves stand in the arena. */
static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    gdn_error err = {0};
    json_t *json = json_loads(CASE, 0, NULL);
    assert_int_equal(gdn_case_from_json(&f->test, json, GDN_PROFILE_DIR, &err), GDN_OK);
    json_decref(json);
    assert_int_equal(gdn_problem_create(&f->problem, &f->test, &err), GDN_OK);
    assert_int_equal(gdn_golden_create(&f->golden, &f->problem, &err), GDN_OK);
    for (size_t i = 0; i < f->golden.n_outputs; i++) {
        const gdn_expected *e = &f->golden.outputs[i];
        const gdn_tensor *t = e->tensor;
        for (int64_t k = 0; k < e->n_rows * e->row_count; k++) {
            const int64_t at = e->rows[k / e->row_count] * t->stride[0] + k % e->row_count;
            const size_t size = gdn_dtype_size(t->dtype);
            if (e->judgement == GDN_JUDGE_EXACT) {
                memcpy((uint8_t *)t->data + (size_t)at * size,
                       (const uint8_t *)e->bits + (size_t)k * size, size);
            } else {
                gdn_store(t->data, t->dtype, at, e->golden[k]);
            }
        }
    }
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    gdn_case_result_destroy(&f->result);
    gdn_golden_destroy(&f->golden);
    gdn_problem_destroy(&f->problem);
    gdn_case_destroy(&f->test);
    free(f);
    return 0;
}

static const gdn_expected *output(const fixture *f, const char *name) {
    for (size_t i = 0; i < f->golden.n_outputs; i++) {
        if (strcmp(f->golden.outputs[i].tensor->name, name) == 0) {
            return &f->golden.outputs[i];
        }
    }
    fail_msg("no output %s", name);
    return NULL;
}

static void judge(fixture *f) {
    gdn_error err = {0};
    assert_int_equal(gdn_judge_case(&f->problem, &f->golden, &f->result, &err), GDN_OK);
    assert_int_equal(gdn_case_maps(&f->result, &f->problem, &f->golden, &err), GDN_OK);
    assert_int_equal(f->result.n_maps, 2);
}

static void a_wrong_element_is_where_the_map_says(void **state) {
    fixture *f = *state;
    const gdn_tensor *out = output(f, "core_attn_out")->tensor;
    gdn_store(out->data, out->dtype, 37 * out->stride[0] + 2 * 4 + 1, 1e6);
    const gdn_tensor *s = output(f, "ssm_state")->tensor;
    const int64_t slot = output(f, "ssm_state")->rows[0];
    gdn_store(s->data, s->dtype, slot * s->stride[0] + 1 * 32 + 3 * 8 + 5, -1e6);
    judge(f);
    const gdn_map *rows = &f->result.maps[0];
    assert_string_equal(rows->tensor, "core_attn_out");
    assert_string_equal(rows->rows, "token");
    assert_string_equal(rows->columns, "head");
    assert_int_equal(rows->n_rows, 70);
    assert_int_equal(rows->row_bins, 64); /* 70 tokens share 64 bins */
    assert_int_equal(rows->column_bins, 3);
    assert_int_equal(rows->first_row, 37);
    assert_int_equal(rows->first_column, 2);
    for (int i = 0; i < 64 * 3; i++) {
        const bool here = i == 37 * 64 / 70 * 3 + 2;
        assert_int_equal(rows->budget[i] > 1.0F, here);
        assert_true(rows->budget[i] >= 0.0F);
    }
    const gdn_map *plane = &f->result.maps[1];
    char name[96];
    snprintf(name, sizeof name, "ssm_state[%lld,1]", (long long)slot);
    assert_string_equal(plane->tensor, name);
    assert_string_equal(plane->rows, "v");
    assert_string_equal(plane->columns, "k");
    assert_int_equal(plane->first_row, 3);
    assert_int_equal(plane->first_column, 5);
    assert_true(plane->budget[3 * 8 + 5] > 1.0F);
    assert_true(plane->budget[3 * 8 + 4] <= 1.0F);
}

static void a_right_case_has_no_first_divergence(void **state) {
    fixture *f = *state;
    judge(f);
    assert_int_equal(f->result.verdict, GDN_PASS);
    assert_int_equal(f->result.maps[0].first_row, -1);
    assert_int_equal(f->result.maps[1].first_row, -1);
}

static void the_mix_knows_each_golden_value_and_limit(void **state) {
    fixture *f = *state;
    char before[17], after[17];
    gdn_golden_mix(&f->golden, before);
    gdn_golden_mix(&f->golden, after);
    assert_string_equal(before, after);
    assert_int_equal(strlen(before), 16);
    gdn_expected *e = &f->golden.outputs[0];
    e->golden[5] = nextafter(e->golden[5], INFINITY);
    gdn_golden_mix(&f->golden, after);
    assert_string_not_equal(before, after);
    e->golden[5] = nextafter(e->golden[5], -(double)INFINITY);
    gdn_golden_mix(&f->golden, after);
    assert_string_equal(before, after);
    e->limit[7] *= 2.0F;
    gdn_golden_mix(&f->golden, after);
    assert_string_not_equal(before, after);
    e->limit[7] /= 2.0F;
    double swap = e->golden[0]; /* four chains: places must count across them */
    e->golden[0] = e->golden[1];
    e->golden[1] = swap;
    gdn_golden_mix(&f->golden, after);
    assert_string_not_equal(before, after);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_wrong_element_is_where_the_map_says, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_right_case_has_no_first_divergence, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_mix_knows_each_golden_value_and_limit, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
