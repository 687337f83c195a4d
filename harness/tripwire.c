/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "tripwire.h"

#include <math.h>
#include <string.h>

#include "judge.h"

/* Small, and yet with every kind of output: bounded and exact, rows and slots, a paged
 * pool. */
static const char CASE[] =
    "{\"op\": \"gdn_attention\", \"profile\": \"vllm-xpu\", \"batch\": \"spec1x2+pre1x3\","
    " \"num_k_heads\": 1, \"num_v_heads\": 2, \"head_k_dim\": 4, \"head_v_dim\": 4,"
    " \"pad_rows\": 1, \"page_bytes\": 1024}";

/* What a device that is right would leave in the arena. Copies are bytes: poison that stands
 * in them has to stay what it is. */
static void answer(const gdn_golden *golden) {
    for (size_t i = 0; i < golden->n_outputs; i++) {
        const gdn_expected *e = &golden->outputs[i];
        const size_t size = gdn_dtype_size(e->tensor->dtype);
        for (int64_t row = 0; row < e->n_rows; row++) {
            const int64_t at = e->rows[row] * e->tensor->stride[0];
            const int64_t flat = row * e->row_count;
            if (e->golden) {
                gdn_store_run(e->tensor->data, e->tensor->dtype, at, 1, e->golden + flat,
                              e->row_count);
            } else {
                memcpy((uint8_t *)e->tensor->data + (size_t)at * size,
                       (const uint8_t *)e->bits + (size_t)flat * size,
                       (size_t)e->row_count * size);
            }
        }
    }
}

static void plant_nothing(gdn_arena *arena) {
    (void)arena;
}

static void plant_element(gdn_arena *arena) {
    gdn_tensor *core = gdn_arena_tensor(arena, "core_attn_out");
    const double right = gdn_load(core->data, core->dtype, 0);
    gdn_store(core->data, core->dtype, 0, right + 8.0 * gdn_dtype_ulp(right, core->dtype));
}

static void plant_nan(gdn_arena *arena) {
    gdn_tensor *core = gdn_arena_tensor(arena, "core_attn_out");
    gdn_store(core->data, core->dtype, 1, NAN);
}

static void plant_copy(gdn_arena *arena) {
    *(uint8_t *)gdn_arena_tensor(arena, "z")->data ^= 1;
}

static void plant_guard(gdn_arena *arena) {
    ((uint8_t *)gdn_arena_tensor(arena, "core_attn_out")->data)[-1] ^= 1;
}

static const struct {
    const char *name;
    void (*plant)(gdn_arena *arena);
    int exit_code;
} FAULTS[] = {
    {"the right answer", plant_nothing, 0},
    {"an element beyond its limit", plant_element, 1},
    {"a NaN", plant_nan, 1},
    {"a flipped bit in a copy", plant_copy, 1},
    {"a changed guard byte", plant_guard, 1},
};

static gdn_status expect(const char *fault, int expected, const gdn_run_result *run,
                         gdn_error *err) {
    const char *why = NULL;
    const int found = gdn_run_exit_code(run, &why);
    if (found == expected) {
        return GDN_OK;
    }
    return gdn_error_set(err, GDN_ERR_BLIND,
                         "trip-wire: %s gave exit code %d instead of %d: this build cannot "
                         "judge",
                         fault, found, expected);
}

static gdn_status try_faults(const gdn_problem *problem, const gdn_golden *golden,
                             gdn_error *err) {
    gdn_arena arena = problem->arena;
    for (size_t i = 0; i < sizeof FAULTS / sizeof FAULTS[0]; i++) {
        gdn_arena_restore(&arena);
        answer(golden);
        FAULTS[i].plant(&arena);
        gdn_case_result result = {0};
        gdn_status status = gdn_judge_case(problem, golden, &result, err);
        const gdn_run_result run = {.cases = &result, .n_cases = 1, .planned = 1};
        if (status == GDN_OK) {
            status = expect(FAULTS[i].name, FAULTS[i].exit_code, &run, err);
        }
        gdn_case_result_destroy(&result);
        GDN_TRY(status);
    }
    gdn_case_result passed = {.verdict = GDN_PASS};
    const gdn_run_result swallowed = {.cases = &passed, .n_cases = 1, .planned = 2};
    return expect("a swallowed case", 3, &swallowed, err);
}

gdn_status gdn_tripwire(const char *profiles, gdn_error *err) {
    json_t *json = json_loads(CASE, 0, NULL);
    gdn_case test = {0};
    gdn_problem problem = {0};
    gdn_golden golden = {0};
    gdn_status status = gdn_case_from_json(&test, json, profiles, err);
    if (status == GDN_OK) {
        status = gdn_problem_create(&problem, &test, err);
    }
    if (status == GDN_OK) {
        status = gdn_golden_create(&golden, &problem, err);
    }
    if (status == GDN_OK) {
        status = try_faults(&problem, &golden, err);
    }
    gdn_golden_destroy(&golden);
    gdn_problem_destroy(&problem);
    gdn_case_destroy(&test);
    json_decref(json);
    return status;
}
