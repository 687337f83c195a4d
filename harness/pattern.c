/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "pattern.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fit.h"
#include "pattern_values.h"

/* Which indices of an axis are wrong, out of those that were compared. */
typedef struct axis {
    const char *name;
    int64_t size;
    int64_t *wrong, *compared;
} axis;

/* Sequence and token of each row of the token tensors; -1: a row of nobody. */
typedef struct token_map {
    int64_t rows, sequences, longest;
    int64_t *sequence, *token;
} token_map;

/* An index tensor as it was before the call: a device may have changed it. */
static gdn_tensor frozen(const gdn_problem *problem, const char *name) {
    const gdn_tensor *t = name ? gdn_call_tensor(&problem->call, name) : NULL;
    gdn_tensor copy = {0};
    if (t) {
        copy = *t;
        copy.data = problem->arena.image + ((const uint8_t *)t->data - problem->arena.base);
    }
    return copy;
}

static void map_group(token_map *map, const gdn_problem *problem, const char *starts_name,
                      const char *rows_name) {
    const gdn_tensor starts = frozen(problem, starts_name);
    const gdn_tensor rows = frozen(problem, rows_name);
    for (int64_t i = 0; starts.data && i + 1 < starts.shape[0]; i++, map->sequences++) {
        const int64_t first = gdn_tensor_int(&starts, i, 0);
        const int64_t last = gdn_tensor_int(&starts, i + 1, 0);
        map->longest = last - first > map->longest ? last - first : map->longest;
        for (int64_t p = first; p < last; p++) {
            const int64_t row = rows.data ? gdn_tensor_int(&rows, p, 0) : p;
            if (row >= 0 && row < map->rows) {
                map->sequence[row] = map->sequences;
                map->token[row] = p - first;
            }
        }
    }
}

static bool map_tokens(token_map *map, const gdn_problem *problem, int64_t rows) {
    *map = (token_map){.rows = rows,
                       .sequence = malloc((size_t)(rows + 1) * sizeof(int64_t)),
                       .token = malloc((size_t)(rows + 1) * sizeof(int64_t))};
    for (int64_t i = 0; map->sequence && map->token && i < rows; i++) {
        map->sequence[i] = map->token[i] = -1;
    }
    if (!map->sequence || !map->token) {
        return false;
    }
    if (problem->call.op == GDN_OP_GDN_ATTENTION) {
        map_group(map, problem, "non_spec_query_start_loc", "non_spec_token_indx");
        map_group(map, problem, "spec_query_start_loc", "spec_token_indx");
    } else {
        map_group(map, problem, "query_start_loc", NULL);
    }
    if (map->sequences == 0) { /* tokens only, as in gdn_gating */
        map->sequences = 1;
        map->longest = rows;
        for (int64_t i = 0; i < rows; i++) {
            map->sequence[i] = 0;
            map->token[i] = i;
        }
    }
    return true;
}

static bool axis_create(axis *a, const char *name, int64_t size) {
    *a = (axis){.name = name, .size = size};
    a->wrong = calloc((size_t)size + 1, sizeof(int64_t));
    a->compared = calloc((size_t)size + 1, sizeof(int64_t));
    return a->wrong && a->compared;
}

static void axis_destroy(axis *a) {
    free(a->wrong);
    free(a->compared);
    *a = (axis){0};
}

/* Whether the wrong indices are all those with some residues mod m, fewer than half of
 * them: then which. */
static bool find_period(const axis *a, int64_t m, FILE *out) {
    bool wrong[64] = {false};
    int64_t residues = 0;
    for (int64_t i = 0; i < a->size; i++) {
        if (a->wrong[i] > 0 && !wrong[i % m]) {
            wrong[i % m] = true;
            residues++;
        }
    }
    for (int64_t i = 0; i < a->size; i++) {
        if (a->compared[i] > 0 && wrong[i % m] != (a->wrong[i] > 0)) {
            return false;
        }
    }
    if (a->size < 2 * m || 2 * residues > m || residues > 4) {
        return false;
    }
    fprintf(out, ", %s mod %lld in {", a->name, (long long)m);
    const char *separator = "";
    for (int64_t r = 0; r < m; r++) {
        if (wrong[r]) {
            fprintf(out, "%s%lld", separator, (long long)r);
            separator = ",";
        }
    }
    fprintf(out, "}");
    return true;
}

/* Says which part of an axis is wrong; nothing if all of it is. */
static void describe_axis(const axis *a, FILE *out) {
    int64_t wrong = 0, compared = 0, first = -1, last = -1, end = -1;
    for (int64_t i = 0; i < a->size; i++) {
        compared += a->compared[i] > 0;
        end = a->compared[i] > 0 ? i : end;
        if (a->wrong[i] > 0) {
            first = first < 0 ? i : first;
            last = i;
            wrong++;
        }
    }
    if (wrong == 0 || wrong == compared) {
        return;
    }
    if (wrong == 1) {
        fprintf(out, ", only %s %lld of %lld", a->name, (long long)first,
                (long long)a->size);
        return;
    }
    for (int64_t m = 2; m <= 64; m *= 2) {
        if (find_period(a, m, out)) {
            return;
        }
    }
    int64_t inside = 0;
    for (int64_t i = first; i <= last; i++) {
        inside += a->compared[i] > 0;
    }
    if (inside == wrong && last == end) {
        fprintf(out, ", %s %lld and all after it", a->name, (long long)first);
    } else if (inside == wrong) {
        fprintf(out, ", %s %lld to %lld of %lld", a->name, (long long)first,
                (long long)last, (long long)a->size);
    } else {
        fprintf(out, ", %lld of %lld %ss, the first %lld", (long long)wrong,
                (long long)compared, a->name, (long long)first);
    }
}

/* Names of the axes of an output; the first is "token" for rows that belong to tokens. */
static const char *axis_name(const gdn_problem *problem, const gdn_tensor *t, int d) {
    const bool vk = problem->call.conventions->state_order == GDN_STATE_VK;
    const bool sd = problem->call.conventions->conv_state_order == GDN_CONV_STATE_SD;
    if (strcmp(t->name, "ssm_state") == 0 && t->rank == 4) {
        const char *const names[] = {"slot", "head", vk ? "v" : "k", vk ? "k" : "v"};
        return names[d];
    }
    if (strcmp(t->name, "conv_state") == 0 && t->rank == 3) {
        const char *const names[] = {"slot", sd ? "row" : "channel",
                                     sd ? "channel" : "row"};
        return names[d];
    }
    if (problem->call.op == GDN_OP_GDN_METADATA || d >= 3) {
        return d == 0 ? "entry" : "column";
    }
    const bool conv = problem->call.op == GDN_OP_CAUSAL_CONV1D;
    return d == 0 ? "token" : d == 1 ? (conv ? "channel" : "head") : "lane";
}

/* Counts wrong and compared elements by every axis of output `e`. */
static int64_t count_axes(const gdn_problem *problem, const gdn_expected *e, axis *axes) {
    const gdn_tensor *t = e->tensor;
    int64_t wrong = 0;
    for (int64_t index = 0; index < e->n_rows; index++) {
        for (int64_t i = 0; i < e->row_count; i++) {
            double budget;
            const bool bad = gdn_fit_wrong(problem, e, index, i, &budget);
            int64_t rest = i;
            wrong += bad;
            for (int d = t->rank - 1; d >= 1; d--) {
                axes[d].compared[rest % t->shape[d]]++;
                axes[d].wrong[rest % t->shape[d]] += bad;
                rest /= t->shape[d];
            }
            axes[0].compared[e->rows[index]]++;
            axes[0].wrong[e->rows[index]] += bad;
        }
    }
    return wrong;
}

/* Rows of tokens by sequence and by place in the sequence. */
static void describe_tokens(const gdn_problem *problem, const axis *rows, FILE *out) {
    token_map map = {0};
    axis sequences = {0}, tokens = {0};
    if (map_tokens(&map, problem, rows->size) &&
        axis_create(&sequences, "sequence", map.sequences) &&
        axis_create(&tokens, "token", map.longest)) {
        for (int64_t row = 0; row < map.rows; row++) {
            if (map.token[row] >= 0) {
                sequences.compared[map.sequence[row]] += rows->compared[row];
                sequences.wrong[map.sequence[row]] += rows->wrong[row];
                tokens.compared[map.token[row]] += rows->compared[row];
                tokens.wrong[map.token[row]] += rows->wrong[row];
            }
        }
        describe_axis(&sequences, out);
        describe_axis(&tokens, out);
    }
    axis_destroy(&sequences);
    axis_destroy(&tokens);
    free(map.sequence);
    free(map.token);
}

static bool describe_output(const gdn_problem *problem, const gdn_expected *e,
                            const char *separator, FILE *out) {
    const gdn_tensor *t = e->tensor;
    axis axes[GDN_MAX_RANK] = {{0}};
    bool room = true;
    int64_t wrong = 0;
    for (int d = 0; d < t->rank; d++) {
        room = room && axis_create(&axes[d], axis_name(problem, t, d), t->shape[d]);
    }
    if (room) {
        wrong = count_axes(problem, e, axes);
    }
    if (wrong > 0) {
        fprintf(out, "%s%s: %lld of %lld wrong", separator, t->name, (long long)wrong,
                (long long)(e->n_rows * e->row_count));
        if (strcmp(axes[0].name, "token") == 0) {
            describe_tokens(problem, &axes[0], out);
        } else {
            describe_axis(&axes[0], out);
        }
        for (int d = 1; d < t->rank; d++) {
            describe_axis(&axes[d], out);
        }
        gdn_pattern_values(problem, e, out);
    }
    for (int d = 0; d < t->rank; d++) {
        axis_destroy(&axes[d]);
    }
    return wrong > 0;
}

/* Tensors and golden outputs stand in the order of the arena. */
static void describe_stray(const gdn_problem *problem, const gdn_golden *golden,
                           const char *separator, FILE *out) {
    const gdn_arena *arena = &problem->arena;
    size_t position = 0;
    int64_t stray = 0;
    size_t first = 0, last = 0;
    for (size_t i = 0; i <= golden->n_outputs; i++) {
        const gdn_expected *e = i < golden->n_outputs ? &golden->outputs[i] : NULL;
        for (int64_t index = 0; index < (e ? e->n_rows : 1); index++) {
            size_t row = arena->bytes, end = arena->bytes;
            if (e) {
                const size_t size = gdn_dtype_size(e->tensor->dtype);
                row = (size_t)((const uint8_t *)gdn_fit_found(arena, e->tensor) -
                               arena->base) +
                      (size_t)(e->rows[index] * e->tensor->stride[0]) * size;
                end = row + (size_t)e->row_count * size;
            }
            for (; position < row; position++) {
                if (arena->base[position] != arena->image[position]) {
                    first = stray++ == 0 ? position : first;
                    last = position;
                }
            }
            position = end;
        }
    }
    if (stray > 0) {
        char from[128], to[128];
        gdn_arena_describe(arena, first, from, sizeof from);
        gdn_arena_describe(arena, last, to, sizeof to);
        fprintf(out, "%s%lld stray bytes, %s", separator, (long long)stray, from);
        if (strcmp(from, to) != 0) {
            fprintf(out, " to %s", to);
        }
    }
}

char *gdn_pattern_text(const gdn_problem *problem, const gdn_golden *golden) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) {
        return NULL;
    }
    const char *separator = "";
    for (size_t i = 0; i < golden->n_outputs; i++) {
        if (describe_output(problem, &golden->outputs[i], separator, out)) {
            separator = "; ";
        }
    }
    describe_stray(problem, golden, separator, out);
    fclose(out);
    return text;
}
