/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "gdn/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* A paged state (page gaps), a transposed weight, an index tensor, one byte flags, an empty
 * tensor and a scalar. */
static const gdn_tensor SHAPES[] = {
    {.name = "state",
     .dtype = GDN_FP32,
     .rank = 3,
     .shape = {4, 2, 3},
     .stride = {10, 3, 1}},
    {.name = "weight", .dtype = GDN_BF16, .rank = 2, .shape = {5, 4}, .stride = {1, 5}},
    {.name = "index", .dtype = GDN_I32, .rank = 1, .shape = {7}, .stride = {1}},
    {.name = "flag", .dtype = GDN_BOOL, .rank = 1, .shape = {3}, .stride = {1}},
    {.name = "empty", .dtype = GDN_FP16, .rank = 2, .shape = {0, 8}, .stride = {8, 1}},
    {.name = "scalar", .dtype = GDN_FP64, .rank = 0},
};
#define N_SHAPES (sizeof SHAPES / sizeof SHAPES[0])

static gdn_arena create(bool misaligned) {
    gdn_arena arena;
    gdn_error err = {0};
    assert_int_equal(gdn_arena_create(&arena, SHAPES, N_SHAPES, misaligned, &err), GDN_OK);
    assert_int_equal(err.status, GDN_OK);
    assert_int_equal(arena.n_tensors, N_SHAPES);
    return arena;
}

static size_t start_of(const gdn_arena *arena, size_t i) {
    return (size_t)((uint8_t *)arena->tensors[i].data - arena->base);
}

static size_t end_of(const gdn_arena *arena, size_t i) {
    return start_of(arena, i) + (size_t)gdn_tensor_extent(&arena->tensors[i]) *
                                    gdn_dtype_size(arena->tensors[i].dtype);
}

static void test_everything_is_poison(void **state) {
    (void)state;
    for (int misaligned = 0; misaligned < 2; misaligned++) {
        gdn_arena arena = create(misaligned);
        for (size_t i = 0; i < arena.bytes; i += 2) {
            assert_int_equal(arena.base[i], GDN_POISON_WORD & 0xff);
            assert_int_equal(arena.base[i + 1], GDN_POISON_WORD >> 8);
        }
        gdn_arena_destroy(&arena);
    }
}

static void test_alignment_and_guards(void **state) {
    (void)state;
    for (int misaligned = 0; misaligned < 2; misaligned++) {
        gdn_arena arena = create(misaligned);
        size_t previous = 0;
        for (size_t i = 0; i < N_SHAPES; i++) {
            const size_t shift =
                misaligned ? 2 * gdn_dtype_size(arena.tensors[i].dtype) : 0;
            assert_int_equal((uintptr_t)arena.tensors[i].data % GDN_ARENA_ALIGN, shift);
            /* Two guards between neighbours, one at the ends: so nothing overlaps. */
            const size_t guards = i == 0 ? 1 : 2;
            assert_true(start_of(&arena, i) >= previous + guards * GDN_ARENA_GUARD);
            previous = end_of(&arena, i);
        }
        assert_true(arena.bytes >= previous + GDN_ARENA_GUARD);
        gdn_arena_destroy(&arena);
    }
}

static void test_views_are_kept(void **state) {
    (void)state;
    char name[] = "copied";
    gdn_tensor shape = SHAPES[0];
    shape.name = name;
    gdn_arena arena;
    assert_int_equal(gdn_arena_create(&arena, &shape, 1, false, NULL), GDN_OK);
    name[0] = 'X';
    const gdn_tensor *tensor = gdn_arena_tensor(&arena, "copied");
    assert_ptr_equal(tensor, arena.tensors);
    assert_int_equal(tensor->dtype, shape.dtype);
    assert_int_equal(tensor->rank, shape.rank);
    assert_memory_equal(tensor->shape, shape.shape, sizeof shape.shape);
    assert_memory_equal(tensor->stride, shape.stride, sizeof shape.stride);
    assert_null(gdn_arena_tensor(&arena, "Xopied"));
    gdn_arena_destroy(&arena);
    assert_null(arena.base);
    gdn_arena_destroy(&arena);
    gdn_arena_destroy(&(gdn_arena){0});
    assert_int_not_equal(fcntl(0, F_GETFD), -1); /* a zeroed arena does not own stdin */

    assert_int_equal(gdn_arena_create(&arena, NULL, 0, false, NULL), GDN_OK);
    assert_true(arena.bytes > 0);
    gdn_arena_destroy(&arena);
}

static void expect_text(const gdn_arena *arena, size_t offset, const char *expected) {
    char text[128];
    const int n = gdn_arena_describe(arena, offset, text, sizeof text);
    assert_string_equal(text, expected);
    assert_int_equal(n, strlen(expected));
    char little[6];
    assert_int_equal(gdn_arena_describe(arena, offset, little, sizeof little), n);
    assert_memory_equal(little, expected, 5);
    assert_int_equal(gdn_arena_describe(arena, offset, NULL, 0), n);
}

static void test_describe(void **state) {
    (void)state;
    for (int misaligned = 0; misaligned < 2; misaligned++) {
        gdn_arena arena = create(misaligned);
        const size_t s = start_of(&arena, 0);
        expect_text(&arena, 0, "guard before state");
        expect_text(&arena, s - 1, "guard before state");
        expect_text(&arena, s, "state[0,0,0]");
        expect_text(&arena, s + 3, "state[0,0,0]");
        expect_text(&arena, s + 4 * 5, "state[0,1,2]");
        expect_text(&arena, s + 4 * 6, "gap after row 0 of state");
        expect_text(&arena, s + 4 * 10 - 1, "gap after row 0 of state");
        expect_text(&arena, s + 4 * (30 + 4), "state[3,1,1]");
        expect_text(&arena, end_of(&arena, 0) - 1, "state[3,1,2]");
        expect_text(&arena, end_of(&arena, 0), "guard after state");
        expect_text(&arena, end_of(&arena, 0) + GDN_ARENA_GUARD - 1, "guard after state");
        expect_text(&arena, end_of(&arena, 0) + GDN_ARENA_GUARD, "guard before weight");
        expect_text(&arena, start_of(&arena, 1) + 2 * 7 + 1, "weight[2,1]");
        expect_text(&arena, start_of(&arena, 3) + 2, "flag[2]");
        expect_text(&arena, start_of(&arena, 4), "guard after empty");
        expect_text(&arena, start_of(&arena, 5) + 7, "scalar");
        expect_text(&arena, arena.bytes - 1, "guard after scalar");
        expect_text(&arena, arena.bytes, "byte 0 past the end of the arena");
        gdn_arena_destroy(&arena);
    }
}

/* Every element of awkward views is found by its own index, every other byte of the extent
 * is a gap. */
static void test_describe_finds_every_element(void **state) {
    (void)state;
    static const gdn_tensor views[] = {
        {.name = "t", .dtype = GDN_FP16, .rank = 2, .shape = {2, 4}, .stride = {3, 2}},
        {.name = "t",
         .dtype = GDN_FP32,
         .rank = 3,
         .shape = {3, 2, 4},
         .stride = {2, 50, 7}},
        {.name = "t", .dtype = GDN_BOOL, .rank = 1, .shape = {5}, .stride = {3}},
        {.name = "t",
         .dtype = GDN_FP64,
         .rank = 3,
         .shape = {1, 3, 1},
         .stride = {0, 2, 9}},
        {.name = "t",
         .dtype = GDN_BF16,
         .rank = 5,
         .shape = {2, 2, 3, 2, 2},
         .stride = {100, 40, 9, 4, 1}},
    };
    for (size_t v = 0; v < sizeof views / sizeof views[0]; v++) {
        gdn_arena arena;
        assert_int_equal(gdn_arena_create(&arena, &views[v], 1, false, NULL), GDN_OK);
        const gdn_tensor *tensor = &arena.tensors[0];
        const size_t start = start_of(&arena, 0);
        const int64_t count = gdn_tensor_count(tensor);
        const int64_t extent = gdn_tensor_extent(tensor);
        int64_t elements = 0;
        for (int64_t at = 0; at < extent; at++) {
            const size_t width = gdn_dtype_size(tensor->dtype);
            char text[128];
            gdn_arena_describe(&arena, start + (size_t)at * width, text, sizeof text);
            elements += text[0] == 't';
            assert_true(text[0] == 't' || strncmp(text, "gap after ", 10) == 0);
        }
        assert_int_equal(elements, count);
        for (int64_t flat = 0; flat < count; flat++) {
            char expected[128] = "t[";
            int64_t rest = count;
            for (int d = 0; d < tensor->rank; d++) {
                rest /= tensor->shape[d];
                snprintf(expected + strlen(expected), sizeof expected - strlen(expected),
                         "%lld%s", (long long)(flat / rest % tensor->shape[d]),
                         d + 1 < tensor->rank ? "," : "]");
            }
            const size_t at = (size_t)gdn_tensor_flat_offset(tensor, flat);
            expect_text(&arena, start + at * gdn_dtype_size(tensor->dtype), expected);
        }
        gdn_arena_destroy(&arena);
    }
}

static void test_describe_gap_inside_a_row(void **state) {
    (void)state;
    const gdn_tensor shape = {
        .name = "pool", .dtype = GDN_FP32, .rank = 2, .shape = {2, 3}, .stride = {12, 4}};
    gdn_arena arena;
    assert_int_equal(gdn_arena_create(&arena, &shape, 1, false, NULL), GDN_OK);
    const size_t s = start_of(&arena, 0);
    expect_text(&arena, s + 4 * 1, "gap after pool[0,0]");
    expect_text(&arena, s + 4 * 17, "gap after pool[1,1]");
    expect_text(&arena, s + 4 * 11, "gap after row 0 of pool");
    gdn_arena_destroy(&arena);
}

static void test_freeze_and_restore(void **state) {
    (void)state;
    gdn_arena arena = create(false);
    float *data = gdn_arena_tensor(&arena, "state")->data;
    data[4] = 1.5F;
    gdn_arena_restore(&arena); /* not frozen: nothing to put back */
    assert_true(data[4] == 1.5F);
    assert_int_equal(gdn_arena_freeze(&arena, NULL), GDN_OK);
    assert_memory_equal(arena.image, arena.base, arena.bytes);
    memset(arena.base, 0, arena.bytes);
    gdn_arena_restore(&arena);
    assert_true(data[4] == 1.5F);
    assert_memory_equal(arena.image, arena.base, arena.bytes);

    gdn_error err = {0};
    assert_int_equal(gdn_arena_freeze(&arena, &err), GDN_ERR_ARG);
    assert_int_equal(gdn_arena_freeze(&(gdn_arena){0}, NULL), GDN_ERR_ARG);
    gdn_arena_destroy(&arena);
}

static void test_sealed_but_writable(void **state) {
    (void)state;
    gdn_arena arena = create(false);
    assert_int_equal(gdn_arena_freeze(&arena, NULL), GDN_OK);
    assert_int_equal(ftruncate(arena.fd, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(arena.fd, (off_t)arena.bytes + 4096), -1);
    assert_int_equal(fcntl(arena.fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);

    uint8_t *second =
        mmap(NULL, arena.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, arena.fd, 0);
    assert_true(second != MAP_FAILED);
    second[5000] = 42;
    assert_int_equal(arena.base[5000], 42);
    arena.base[5001] = 43;
    assert_int_equal(second[5001], 43);
    assert_int_not_equal(arena.image[5000], 42);
    munmap(second, arena.bytes);
    gdn_arena_destroy(&arena);
}

static void expect_refusal(const gdn_tensor *shapes, size_t count, const char *word) {
    gdn_arena arena;
    gdn_error err = {0};
    assert_int_equal(gdn_arena_create(&arena, shapes, count, false, &err), GDN_ERR_ARG);
    assert_non_null(strstr(err.message, word));
    gdn_arena_destroy(&arena);
}

static void test_refusals(void **state) {
    (void)state;
    const int64_t huge = INT64_MAX / 2;
    expect_refusal(&(gdn_tensor){.name = "t", .rank = 1, .shape = {-1}}, 1, "at least 0");
    expect_refusal(&(gdn_tensor){.name = "t", .rank = 1, .shape = {1}, .stride = {-1}}, 1,
                   "at least 0");
    expect_refusal(&(gdn_tensor){.name = "t", .rank = 6}, 1, "rank 6");
    expect_refusal(&(gdn_tensor){.name = "t", .dtype = GDN_DTYPE_COUNT}, 1, "type");
    expect_refusal(&(gdn_tensor){.dtype = GDN_FP32}, 1, "named");
    expect_refusal(
        &(gdn_tensor){.name = "t", .rank = 2, .shape = {huge, huge}, .stride = {0, 0}}, 1,
        "beyond");
    expect_refusal(
        &(gdn_tensor){.name = "t", .rank = 2, .shape = {3, 3}, .stride = {huge, huge}}, 1,
        "beyond");
    expect_refusal(&(gdn_tensor){.name = "t", .rank = 1, .shape = {huge}, .stride = {1}}, 1,
                   "beyond");
    gdn_arena arena;
    gdn_error err = {0};
    const gdn_tensor large =
        gdn_tensor_dense("t", NULL, GDN_BOOL, 1, &(int64_t){1LL << 59});
    assert_int_equal(gdn_arena_create(&arena, &large, 1, false, &err), GDN_ERR_OOM);
    gdn_arena_destroy(&arena);
    const gdn_tensor twice[] = {SHAPES[2], SHAPES[2]};
    expect_refusal(twice, 2, "\"index\" twice");
    /* Each fits, the sum does not. */
    gdn_tensor sum[9];
    char names[9][2];
    for (int i = 0; i < 9; i++) {
        names[i][0] = (char)('a' + i);
        names[i][1] = '\0';
        sum[i] =
            gdn_tensor_dense(names[i], NULL, GDN_BOOL, 1, &(int64_t){INT64_C(1) << 58});
    }
    expect_refusal(sum, 9, "more than 2^60");
}

/* Rows a gigabyte apart cost no memory; guards at both ends of a gap are poison, what lies
 * between is a hole, and a byte written there is found and taken back. */
static void test_wide_gaps_are_holes(void **state) {
    (void)state;
    const size_t step = (size_t)1 << 30;
    const gdn_tensor shapes[] = {
        {.name = "paged",
         .dtype = GDN_BF16,
         .rank = 2,
         .shape = {5, 8},
         .stride = {1 << 29, 1}},
        {.name = "small", .dtype = GDN_FP32, .rank = 1, .shape = {4}, .stride = {1}},
    };
    for (int misaligned = 0; misaligned < 2; misaligned++) {
        gdn_arena arena;
        struct stat info;
        size_t from = 0, to = 0, held = 0;
        assert_int_equal(gdn_arena_create(&arena, shapes, 2, misaligned, NULL), GDN_OK);
        assert_true(arena.sparse && arena.bytes > 4 * step);
        const size_t row = start_of(&arena, 0);
        for (int i = 0; i < 5; i++) {
            const size_t first = i == 0 ? 0 : row + (size_t)i * step - GDN_ARENA_GUARD;
            for (size_t at = first; at < row + (size_t)i * step + 16 + GDN_ARENA_GUARD;
                 at++) {
                assert_int_equal(arena.base[at],
                                 at % 2 ? GDN_POISON_WORD >> 8 : GDN_POISON_WORD & 0xff);
            }
        }
        assert_int_equal(gdn_arena_freeze(&arena, NULL), GDN_OK);
        while (gdn_arena_next(&arena, to, &from, &to)) {
            held += to - from;
        }
        assert_true(held < 100000);
        assert_int_equal(fstat(arena.fd, &info), 0);
        assert_true(info.st_blocks * 512 < 200000);
        /* as a device would, through a mapping of its own */
        uint8_t *other =
            mmap(NULL, arena.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, arena.fd, 0);
        assert_true(other != MAP_FAILED);
        other[row + step / 2] = 7;
        to = row + GDN_ARENA_GUARD * 4;
        assert_true(gdn_arena_next(&arena, to, &from, &to));
        assert_true(from <= row + step / 2 && row + step / 2 < to);
        assert_int_equal(arena.image[row + step / 2], 0);
        gdn_arena_restore(&arena);
        assert_int_equal(other[row + step / 2], 0);
        munmap(other, arena.bytes);
        gdn_arena_destroy(&arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_is_poison),
        cmocka_unit_test(test_alignment_and_guards),
        cmocka_unit_test(test_views_are_kept),
        cmocka_unit_test(test_describe),
        cmocka_unit_test(test_describe_finds_every_element),
        cmocka_unit_test(test_describe_gap_inside_a_row),
        cmocka_unit_test(test_freeze_and_restore),
        cmocka_unit_test(test_wide_gaps_are_holes),
        cmocka_unit_test(test_sealed_but_writable),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
