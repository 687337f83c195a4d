/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "tripwire.h"

#include <math.h>
#include <string.h>

#include "floor_limit.h"
#include "judge.h"

/* Small, and yet with every kind of output: bounded and exact, rows and slots, a paged
 * pool. */
static const char CASE[] =
    "{\"op\": \"gdn_attention\", \"profile\": \"vllm-xpu\", \"batch\": \"spec1x2+pre1x3\","
    " \"num_k_heads\": 1, \"num_v_heads\": 2, \"head_k_dim\": 4, \"head_v_dim\": 4,"
    " \"pad_rows\": 1, \"page_bytes\": 1024}";

/* Long enough that figures of a whole head mean something. */
static const char LONG_CASE[] =
    "{\"op\": \"gated_delta_rule\", \"profile\": \"vllm-xpu\", \"batch\": \"pre1x256\","
    " \"num_k_heads\": 1, \"num_v_heads\": 2, \"head_k_dim\": 16, \"head_v_dim\": 16,"
    " \"fill\": \"model\"}";

static void plant_nothing(gdn_arena *arena, const gdn_golden *golden) {
    (void)arena;
    (void)golden;
}

static void plant_element(gdn_arena *arena, const gdn_golden *golden) {
    (void)golden;
    gdn_tensor *core = gdn_arena_tensor(arena, "core_attn_out");
    const double right = gdn_load(core->data, core->dtype, 0);
    gdn_store(core->data, core->dtype, 0, right + 8.0 * gdn_dtype_ulp(right, core->dtype));
}

static void plant_nan(gdn_arena *arena, const gdn_golden *golden) {
    (void)golden;
    gdn_tensor *core = gdn_arena_tensor(arena, "core_attn_out");
    gdn_store(core->data, core->dtype, 1, NAN);
}

static void plant_infinity(gdn_arena *arena, const gdn_golden *golden) {
    (void)golden;
    gdn_tensor *core = gdn_arena_tensor(arena, "core_attn_out");
    gdn_store(core->data, core->dtype, 2, INFINITY);
}

static void plant_copy(gdn_arena *arena, const gdn_golden *golden) {
    (void)golden;
    *(uint8_t *)gdn_arena_tensor(arena, "z")->data ^= 1;
}

static void plant_guard(gdn_arena *arena, const gdn_golden *golden) {
    (void)golden;
    ((uint8_t *)gdn_arena_tensor(arena, "core_attn_out")->data)[-1] ^= 1;
}

static const gdn_expected *find_output(const gdn_golden *golden, const char *name) {
    for (size_t i = 0; i < golden->n_outputs; i++) {
        if (strcmp(golden->outputs[i].tensor->name, name) == 0) {
            return &golden->outputs[i];
        }
    }
    return NULL;
}

/* How far element i of an output without operands' errors may be by itself. */
static double element_limit(const gdn_expected *e, int64_t i) {
    const int64_t width = e->row_count / e->tensor->shape[1];
    const gdn_floor_limit limit = gdn_floor_limit_of(&e->floors[i % e->row_count / width]);
    return fmin((double)e->limit[i],
                gdn_floor_element(&limit, e->golden[i], 0.0, e->tensor->dtype));
}

static void store_element(const gdn_expected *e, int64_t i, double value) {
    const gdn_tensor *t = e->tensor;
    gdn_store(t->data, t->dtype,
              e->rows[i / e->row_count] * t->stride[0] + i % e->row_count, value);
}

/* The state's element with the most room between what the noise floor allows and the bound,
 * half way between them. */
static void plant_largest(gdn_arena *arena, const gdn_golden *golden) {
    (void)arena;
    const gdn_expected *e = find_output(golden, "ssm_state");
    int64_t at = 0;
    double most = 0.0;
    for (int64_t i = 0; i < e->n_rows * e->row_count; i++) {
        const double room = (double)e->limit[i] - element_limit(e, i);
        at = room > most ? i : at;
        most = fmax(most, room);
    }
    store_element(e, at, e->golden[at] + element_limit(e, at) + 0.5 * most);
}

/* A state of which every element is nearly as far off as it may be by itself. */
static void plant_state(gdn_arena *arena, const gdn_golden *golden) {
    (void)arena;
    const gdn_expected *e = find_output(golden, "ssm_state");
    for (int64_t i = 0; i < e->n_rows * e->row_count; i++) {
        const double side = i % 2 == 0 ? 0.9 : -0.9;
        store_element(e, i, e->golden[i] + side * element_limit(e, i));
    }
}

/* Outputs rounded to the wrong side wherever that is within an element's limit. */
static void plant_roundings(gdn_arena *arena, const gdn_golden *golden) {
    (void)arena;
    const gdn_expected *e = find_output(golden, "out");
    for (int64_t i = 0; i < e->n_rows * e->row_count; i++) {
        const double right = gdn_round_to(e->golden[i], e->tensor->dtype);
        const double side = e->golden[i] < right ? -1.0 : 1.0;
        const double wrong = right + side * gdn_dtype_ulp(right, e->tensor->dtype);
        if (fabs(wrong - e->golden[i]) <= 0.999 * element_limit(e, i)) {
            store_element(e, i, wrong);
        }
    }
}

/* `kind`, if not exact, is the limit that must see it, with `failed` elements beyond their
 * own. */
typedef struct planted {
    const char *name, *test;
    void (*plant)(gdn_arena *arena, const gdn_golden *golden);
    int exit_code;
    gdn_limit_kind kind;
    int64_t failed;
} planted;

static const planted FAULTS[] = {
    {"the right answer", CASE, plant_nothing, 0, GDN_LIMIT_EXACT, 0},
    {"an element beyond its limit", CASE, plant_element, 1, GDN_LIMIT_EXACT, 0},
    {"a NaN", CASE, plant_nan, 1, GDN_LIMIT_EXACT, 0},
    {"an infinity", CASE, plant_infinity, 1, GDN_LIMIT_EXACT, 0},
    {"a flipped bit in a copy", CASE, plant_copy, 1, GDN_LIMIT_EXACT, 0},
    {"a changed guard byte", CASE, plant_guard, 1, GDN_LIMIT_EXACT, 0},
    {"the right answer to a long case", LONG_CASE, plant_nothing, 0, GDN_LIMIT_EXACT, 0},
    {"an element beyond the noise floor", LONG_CASE, plant_largest, 1,
     GDN_LIMIT_FLOOR_LARGEST, 1},
    {"a state with too large a root mean square error", LONG_CASE, plant_state, 1,
     GDN_LIMIT_FLOOR_RMS, 0},
    {"outputs rounded to the wrong side", LONG_CASE, plant_roundings, 1, GDN_LIMIT_ROUNDED,
     0},
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

/* That no other element was beyond its limit, so that nothing but the fault's own limit can
 * have seen it. */
static gdn_status expect_kind(const planted *plan, const gdn_case_result *result,
                              gdn_error *err) {
    const gdn_tensor_result *worst = gdn_case_worst(result);
    if (plan->kind == GDN_LIMIT_EXACT ||
        (worst && worst->failed == plan->failed && worst->binding == plan->kind)) {
        return GDN_OK;
    }
    return gdn_error_set(err, GDN_ERR_BLIND, "trip-wire: %s was not seen by %s: %s",
                         plan->name, gdn_limit_kind_name(plan->kind),
                         result->message ? result->message : "");
}

static gdn_status try_faults(const char *test, const gdn_problem *problem,
                             const gdn_golden *golden, gdn_error *err) {
    gdn_arena arena = problem->arena;
    for (size_t i = 0; i < sizeof FAULTS / sizeof FAULTS[0]; i++) {
        if (FAULTS[i].test != test) {
            continue;
        }
        gdn_arena_restore(&arena);
        gdn_golden_answer(golden);
        FAULTS[i].plant(&arena, golden);
        gdn_case_result result = {0};
        gdn_status status = gdn_judge_case(problem, golden, &result, err);
        const gdn_run_result run = {.cases = &result, .n_cases = 1, .planned = 1};
        if (status == GDN_OK) {
            status = expect(FAULTS[i].name, FAULTS[i].exit_code, &run, err);
        }
        if (status == GDN_OK) {
            status = expect_kind(&FAULTS[i], &result, err);
        }
        gdn_case_result_destroy(&result);
        GDN_TRY(status);
    }
    return GDN_OK;
}

static gdn_status try_case(const char *text, const char *profiles, gdn_error *err) {
    json_t *json = json_loads(text, 0, NULL);
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
        status = try_faults(text, &problem, &golden, err);
    }
    gdn_golden_destroy(&golden);
    gdn_problem_destroy(&problem);
    gdn_case_destroy(&test);
    json_decref(json);
    return status;
}

gdn_status gdn_tripwire(const char *profiles, gdn_error *err) {
    GDN_TRY(try_case(CASE, profiles, err));
    GDN_TRY(try_case(LONG_CASE, profiles, err));
    gdn_case_result passed = {.verdict = GDN_PASS};
    const gdn_run_result swallowed = {.cases = &passed, .n_cases = 1, .planned = 2};
    return expect("a swallowed case", 3, &swallowed, err);
}
