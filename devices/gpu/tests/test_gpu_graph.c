/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A graph that was captured once gives the bits of eager launches when it is replayed with
 * other metadata: other slots and accepted counts, and 0, 1 and B-1 rows of padding, which
 * have no tokens and whose slots stay as they were.
 *
 * Needs a GPU; exit 77 without one. GDN_GPU_OPTIONS: options of the device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gdn/arena.h"
#include "gpu.h"
#include "problem.h"

enum { EAGER, GRAPH, DEVICES };

static gdn_device *devices[DEVICES];

typedef struct bench {
    gdn_case test;
    gdn_problem problem;
    uint8_t *start; /* the arena before any call */
} bench;

static void make(bench *b, const char *batch, const char *op) {
    char text[512];
    snprintf(text, sizeof text,
             "{\"op\": \"%s\", \"profile\": \"vllm-xpu@b\", \"num_k_heads\": 2,"
             " \"num_v_heads\": 4, \"head_k_dim\": 64, \"head_v_dim\": 48,"
             " \"batch\": \"%s\"}",
             op, batch);
    gdn_error err = {0};
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    if (gdn_case_from_json(&b->test, json, GDN_PROFILE_DIR, &err) != GDN_OK ||
        gdn_problem_create(&b->problem, &b->test, &err) != GDN_OK) {
        fail_msg("%s: %s", text, err.message);
    }
    json_decref(json);
    b->start = malloc(b->problem.arena.bytes);
    assert_non_null(b->start);
}

static void destroy(bench *b) {
    free(b->start);
    gdn_problem_destroy(&b->problem);
    gdn_case_destroy(&b->test);
}

/* No poison in the pools, so that every slot is worth starting from. */
static void fill_pool(bench *b, const char *name) {
    gdn_tensor *pool = gdn_arena_tensor(&b->problem.arena, name);
    uint32_t random = 12345;
    for (int64_t i = 0; pool && i < gdn_tensor_count(pool); i++) {
        const int64_t at = gdn_tensor_flat_offset(pool, i);
        random = random * 1664525U + 1013904223U;
        const float value = (float)(int32_t)random * 0x1p-32F;
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        if (pool->dtype == GDN_FP32) {
            ((uint32_t *)pool->data)[at] = bits;
        } else {
            ((uint16_t *)pool->data)[at] = (uint16_t)(bits >> 16);
        }
    }
}

/* Names of one group's index tensors. */
typedef struct group {
    const char *starts, *slots, *accepted;
} group;

static const group SPEC = {"spec_query_start_loc", "spec_state_indices_tensor",
                           "num_accepted_tokens"};
static const group OTHERS = {"non_spec_query_start_loc", "non_spec_state_indices_tensor",
                             NULL};
static const group STAGE = {"query_start_loc", "state_indices", "num_accepted_tokens"};

/* Rows move up by `by`, the first ones to the end. */
static void rotate(gdn_tensor *t, int64_t by) {
    const int64_t rows = t->shape[0], columns = t->rank > 1 ? t->shape[1] : 1;
    int32_t *old = malloc((size_t)(rows * columns) * sizeof *old);
    assert_non_null(old);
    for (int64_t i = 0; i < rows * columns; i++) {
        old[i] = (int32_t)gdn_tensor_int(t, i / columns, i % columns);
    }
    for (int64_t i = 0; i < rows * columns; i++) {
        const int64_t from = (i / columns + by) % rows * columns + i % columns;
        ((int32_t *)t->data)[gdn_tensor_flat_offset(t, i)] = old[from];
    }
    free(old);
}

/* Leaves tokens to all but the last `padded` sequences, which keep one length. */
static void change(bench *b, const group *g, int64_t padded, int64_t turn) {
    gdn_arena *arena = &b->problem.arena;
    gdn_tensor *starts = gdn_arena_tensor(arena, g->starts);
    const int64_t count = starts->shape[0] - 1, length = gdn_tensor_int(starts, 1, 0);
    for (int64_t i = 0; i <= count; i++) {
        const int64_t full = i < count - padded ? i : count - padded;
        ((int32_t *)starts->data)[i * starts->stride[0]] = (int32_t)(full * length);
    }
    rotate(gdn_arena_tensor(arena, g->slots), turn);
    gdn_tensor *accepted = g->accepted ? gdn_arena_tensor(arena, g->accepted) : NULL;
    if (accepted) {
        rotate(accepted, turn + 1);
    }
}

static void run(bench *b, int which) {
    gdn_error err = {0};
    double seconds = -1;
    if (gpu_run_planned(devices[which], &b->problem.call, &seconds, &err) != GDN_OK) {
        fail_msg("%s", err.message);
    }
}

/* Eager and replayed arenas are equal to the last guard byte; the call did something. */
static void compare(bench *b, const char *what) {
    gdn_arena *arena = &b->problem.arena;
    memcpy(b->start, arena->base, arena->bytes);
    run(b, EAGER);
    uint8_t *eager = malloc(arena->bytes);
    assert_non_null(eager);
    memcpy(eager, arena->base, arena->bytes);
    memcpy(arena->base, b->start, arena->bytes);
    run(b, GRAPH);
    if (memcmp(eager, b->start, arena->bytes) == 0) {
        fail_msg("%s: the launches wrote nothing", what);
    }
    for (size_t i = 0; i < arena->bytes; i++) {
        if (eager[i] != arena->base[i]) {
            char place[128];
            gdn_arena_describe(arena, i, place, sizeof place);
            fail_msg("%s: the graph differs at %s", what, place);
        }
    }
    free(eager);
}

/* Bytes of the slots that the last `padded` sequences name. */
static void assert_padding_kept(bench *b, const group *g, int64_t padded) {
    static const char *const POOLS[] = {"ssm_state", "conv_state"};
    const gdn_arena *arena = &b->problem.arena;
    const gdn_tensor *slots = gdn_arena_tensor(&b->problem.arena, g->slots);
    const int64_t columns = slots->rank > 1 ? slots->shape[1] : 1;
    for (int64_t i = slots->shape[0] - padded; i < slots->shape[0]; i++) {
        for (int64_t j = 0; j < columns * 2; j++) {
            const gdn_tensor *pool = gdn_arena_tensor(&b->problem.arena, POOLS[j % 2]);
            if (!pool) {
                continue;
            }
            const size_t size = gdn_dtype_size(pool->dtype);
            const uint8_t *at =
                (const uint8_t *)pool->data +
                (size_t)(gdn_tensor_int(slots, i, j / 2) * pool->stride[0]) * size;
            assert_memory_equal(at, b->start + (at - arena->base),
                                (size_t)gdn_tensor_row_count(pool) * size);
        }
    }
}

static void check_replays(const char *op, const char *batch, const group *groups,
                          size_t n_groups) {
    static const int64_t UNPADDED = 0, ONE = 1, ALL_BUT_ONE = -1;
    const int64_t paddings[] = {UNPADDED, ONE, ALL_BUT_ONE};
    bench b = {0};
    make(&b, batch, op);
    fill_pool(&b, "ssm_state");
    fill_pool(&b, "conv_state");
    uint8_t *pristine = malloc(b.problem.arena.bytes);
    assert_non_null(pristine);
    memcpy(pristine, b.problem.arena.base, b.problem.arena.bytes);
    compare(&b, batch);
    void *captured = devices[GRAPH]->graph;
    assert_non_null(captured);
    for (int64_t i = 0; i < 3; i++) {
        memcpy(b.problem.arena.base, pristine, b.problem.arena.bytes);
        int64_t padded[2] = {0, 0};
        for (size_t g = 0; g < n_groups; g++) {
            const gdn_tensor *slots = gdn_arena_tensor(&b.problem.arena, groups[g].slots);
            assert_non_null(slots);
            padded[g] = paddings[i] < 0 ? slots->shape[0] - 1 : paddings[i];
            change(&b, &groups[g], padded[g], i + 1);
        }
        char what[96];
        snprintf(what, sizeof what, "%s %s, padding %d", op, batch, (int)paddings[i]);
        compare(&b, what);
        assert_ptr_equal(devices[GRAPH]->graph, captured);
        for (size_t g = 0; g < n_groups; g++) {
            assert_padding_kept(&b, &groups[g], padded[g]);
        }
    }
    free(pristine);
    destroy(&b);
}

static void replays_of_decodes(void **state) {
    (void)state;
    check_replays("gdn_attention", "dec6", &OTHERS, 1);
}

static void replays_of_speculative_sequences(void **state) {
    (void)state;
    check_replays("gdn_attention", "spec6x3", &SPEC, 1);
}

static void replays_of_mixed_batches(void **state) {
    (void)state;
    const group both[] = {SPEC, OTHERS};
    check_replays("gdn_attention", "spec4x3+dec5", both, 2);
}

static void replays_of_single_stages(void **state) {
    (void)state;
    check_replays("causal_conv1d", "spec5x4", &STAGE, 1);
    check_replays("gated_delta_rule", "spec5x4", &STAGE, 1);
    check_replays("causal_conv1d", "dec7", &STAGE, 1);
    check_replays("gated_delta_rule", "dec7", &STAGE, 1);
}

int main(void) {
    const char *given = getenv("GDN_GPU_OPTIONS");
    for (int i = 0; i < DEVICES; i++) {
        char options[4096];
        gdn_error err = {0};
        snprintf(options, sizeof options, "%s%sgraph=%d", given ? given : "",
                 given && *given ? "," : "", i == GRAPH);
        const gdn_status status = gdn_device_v1.open(options, &devices[i], &err);
        if (status != GDN_OK) {
            fprintf(stderr, "%s\n", err.message);
            return status == GDN_ERR_UNSUPPORTED ? 77 : 1;
        }
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replays_of_decodes),
        cmocka_unit_test(replays_of_speculative_sequences),
        cmocka_unit_test(replays_of_mixed_batches),
        cmocka_unit_test(replays_of_single_stages),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (int i = 0; i < DEVICES; i++) {
        gdn_device_v1.close(devices[i]);
    }
    return failed;
}
