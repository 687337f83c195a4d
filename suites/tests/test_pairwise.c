/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Covering arrays against brute force: the full cross says which pairs are allowed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "pairwise.h"

#define MOST_AXES   7
#define MOST_VALUES 64

/* Fixed pseudo-random numbers for the shapes of the problems (Knuth's MMIX constants). */
static uint64_t next_number(uint64_t *state, uint64_t below) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*state >> 33) % below;
}

typedef struct problem {
    size_t sizes[MOST_AXES];
    bool excludes[4 * MOST_VALUES];
    gdn_axes axes;
    size_t n_values;
} problem;

/* Excludes concern two or three axes; the others have all flags set. */
static void make_problem(problem *p, uint64_t *state) {
    memset(p, 0, sizeof *p);
    p->axes.n_axes = 2 + next_number(state, MOST_AXES - 1);
    for (size_t a = 0; a < p->axes.n_axes; a++) {
        p->sizes[a] = 1 + next_number(state, 5);
        p->n_values += p->sizes[a];
    }
    p->axes.n_excludes = next_number(state, 5);
    for (size_t e = 0; e < p->axes.n_excludes; e++) {
        bool *flags = p->excludes + e * p->n_values;
        memset(flags, true, p->n_values * sizeof *flags);
        for (int k = 0; k < 3; k++) {
            const size_t axis = next_number(state, p->axes.n_axes);
            size_t first = 0;
            for (size_t a = 0; a < axis; a++) {
                first += p->sizes[a];
            }
            for (size_t v = 0; v < p->sizes[axis]; v++) {
                flags[first + v] = flags[first + v] && next_number(state, 2) == 0;
            }
        }
    }
    p->axes.sizes = p->sizes;
    p->axes.excludes = p->excludes;
}

static bool allowed(const problem *p, const size_t *row) {
    for (size_t e = 0; e < p->axes.n_excludes; e++) {
        bool hit = true;
        size_t first = 0;
        for (size_t a = 0; a < p->axes.n_axes; a++) {
            hit = hit && p->excludes[e * p->n_values + first + row[a]];
            first += p->sizes[a];
        }
        if (hit) {
            return false;
        }
    }
    return true;
}

/* Marks the pairs of a row in a table over value numbers. */
static void mark(const problem *p, const size_t *row, bool *pairs) {
    size_t numbers[MOST_AXES];
    size_t first = 0;
    for (size_t a = 0; a < p->axes.n_axes; a++) {
        numbers[a] = first + row[a];
        first += p->sizes[a];
        for (size_t b = 0; b < a; b++) {
            pairs[numbers[b] * MOST_VALUES + numbers[a]] = true;
        }
    }
}

/* Every allowed row of the cross, one by one; returns how many. */
static size_t mark_cross(const problem *p, bool *pairs) {
    size_t row[MOST_AXES] = {0};
    size_t count = 0;
    for (;;) {
        if (allowed(p, row)) {
            mark(p, row, pairs);
            count++;
        }
        size_t a = p->axes.n_axes;
        while (a > 0 && ++row[a - 1] == p->sizes[a - 1]) {
            row[--a] = 0;
        }
        if (a == 0) {
            return count;
        }
    }
}

static void test_against_the_cross(void **state) {
    (void)state;
    uint64_t random = 1;
    size_t empty = 0;
    for (int i = 0; i < 400; i++) {
        problem p;
        make_problem(&p, &random);
        static bool expected[MOST_VALUES * MOST_VALUES];
        static bool found[MOST_VALUES * MOST_VALUES];
        memset(expected, false, sizeof expected);
        memset(found, false, sizeof found);
        const size_t all = mark_cross(&p, expected);
        gdn_rows rows;
        gdn_rows cross;
        const gdn_status status = gdn_rows_pairs(&rows, &p.axes, NULL);
        if (all == 0) {
            assert_int_equal(status, GDN_ERR_ARG);
            assert_int_equal(gdn_rows_all(&cross, &p.axes, SIZE_MAX, NULL), GDN_ERR_ARG);
            empty++;
            continue;
        }
        assert_int_equal(status, GDN_OK);
        assert_true(rows.n_rows <= all);
        for (size_t r = 0; r < rows.n_rows; r++) {
            assert_true(allowed(&p, rows.values + r * p.axes.n_axes));
            mark(&p, rows.values + r * p.axes.n_axes, found);
        }
        assert_memory_equal(expected, found, sizeof found);
        assert_int_equal(gdn_rows_all(&cross, &p.axes, all, NULL), GDN_OK);
        assert_int_equal(cross.n_rows, all);
        for (size_t r = 0; r < cross.n_rows; r++) {
            assert_true(allowed(&p, cross.values + r * p.axes.n_axes));
        }
        gdn_rows_destroy(&cross);
        assert_int_equal(gdn_rows_all(&cross, &p.axes, all - 1, NULL), GDN_ERR_ARG);
        gdn_rows_destroy(&rows);
    }
    assert_true(empty < 100);
}

/* The same axes give the same rows: ids of cases depend on it. */
static void test_deterministic(void **state) {
    (void)state;
    const size_t sizes[] = {4, 5, 2, 3, 4, 2, 2, 3};
    const gdn_axes axes = {.sizes = sizes, .n_axes = 8};
    gdn_rows first;
    gdn_rows second;
    assert_int_equal(gdn_rows_pairs(&first, &axes, NULL), GDN_OK);
    assert_int_equal(gdn_rows_pairs(&second, &axes, NULL), GDN_OK);
    assert_int_equal(first.n_rows, second.n_rows);
    assert_memory_equal(first.values, second.values,
                        first.n_rows * axes.n_axes * sizeof *first.values);
    gdn_rows_destroy(&first);
    gdn_rows_destroy(&second);
}

/* Small means near the product of the two largest axes, which no array can undercut. */
static void test_small(void **state) {
    (void)state;
    static const struct {
        size_t sizes[12], n_axes, most;
    } shapes[] = {
        {{2, 2, 2}, 3, 5},
        {{3, 3, 3, 3}, 4, 12},
        {{2, 2, 2, 2, 2, 2, 2, 2, 2, 2}, 10, 10},
        {{24, 4, 4, 2, 2, 2, 2, 4, 3, 2, 2}, 11, 108},
        {{5, 4, 3, 2}, 4, 22},
        {{7}, 1, 7},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const gdn_axes axes = {.sizes = shapes[i].sizes, .n_axes = shapes[i].n_axes};
        gdn_rows rows;
        assert_int_equal(gdn_rows_pairs(&rows, &axes, NULL), GDN_OK);
        if (rows.n_rows > shapes[i].most) {
            fail_msg("shape %zu: %zu rows", i, rows.n_rows);
        }
        gdn_rows_destroy(&rows);
        gdn_rows_destroy(&rows);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_the_cross),
        cmocka_unit_test(test_deterministic),
        cmocka_unit_test(test_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
