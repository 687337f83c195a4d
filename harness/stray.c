/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "stray.h"

#include <string.h>

/* Adds the bytes of [from, to) that are not what they were. */
static void scan_held(const gdn_arena *arena, size_t from, size_t to,
                      gdn_case_result *result) {
    if (memcmp(arena->base + from, arena->image + from, to - from) == 0) {
        return;
    }
    for (size_t i = from; i < to; i++) {
        if (arena->base[i] != arena->image[i]) {
            if (result->stray_bytes++ == 0) {
                gdn_arena_describe(arena, i, result->stray_first,
                                   sizeof result->stray_first);
            }
        }
    }
}

/* The same, less what are still holes. */
static void scan_stray(const gdn_arena *arena, size_t from, size_t to,
                       gdn_case_result *result) {
    size_t start = from, end = from;
    while (end < to && gdn_arena_next(arena, end, &start, &end) && start < to) {
        scan_held(arena, start, end < to ? end : to, result);
    }
}

/* The arena in order, less the rows that were judged. Tensors and golden outputs stand in
 * the order of the arena, rows ascend. */
void gdn_judge_stray(const gdn_problem *problem, const gdn_golden *golden,
                     gdn_case_result *result) {
    const gdn_arena *arena = &problem->arena;
    size_t position = 0;
    for (size_t i = 0; i < golden->n_outputs; i++) {
        const gdn_expected *e = &golden->outputs[i];
        const size_t size = gdn_dtype_size(e->tensor->dtype);
        const size_t base = (size_t)((const uint8_t *)e->tensor->data - arena->base);
        for (int64_t index = 0; index < e->n_rows; index++) {
            const size_t row =
                base + (size_t)(e->rows[index] * e->tensor->stride[0]) * size;
            scan_stray(arena, position, row, result);
            position = row + (size_t)e->row_count * size;
        }
    }
    scan_stray(arena, position, arena->bytes, result);
}
