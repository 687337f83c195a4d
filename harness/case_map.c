/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "case_map.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "judge.h"

/* ---- digest ---- */

/* The multipliers of MurmurHash3's 64-bit half (Appleby, public domain). Four chains, so
 * that the multiplier's latency does not bound the speed. */
#define MIX_A 0x87c37b91114253d5u
#define MIX_B 0x4cf5ad432745937fu

typedef struct mixer {
    uint64_t lane[4];
} mixer;

static uint64_t mix(uint64_t h, uint64_t word) {
    h ^= word * MIX_A;
    h = h << 31 | h >> 33;
    return h * MIX_B + 0x52dce729;
}

static void mix_bytes(mixer *m, const void *bytes, size_t size) {
    const uint8_t *p = bytes;
    size_t at = 0;
    for (; at + 32 <= size; at += 32) {
        uint64_t words[4];
        memcpy(words, p + at, sizeof words);
        for (int i = 0; i < 4; i++) {
            m->lane[i] = mix(m->lane[i], words[i]);
        }
    }
    for (int i = 0; at < size; at += 8, i++) {
        uint64_t word = 0;
        memcpy(&word, p + at, size - at < 8 ? size - at : 8);
        m->lane[i] = mix(m->lane[i], word);
    }
    m->lane[0] = mix(m->lane[0], size);
}

void gdn_golden_mix(const gdn_golden *golden, char hex[17]) {
    mixer m = {{1, 2, 3, 4}};
    for (size_t i = 0; i < golden->n_outputs; i++) {
        const gdn_expected *e = &golden->outputs[i];
        const size_t count = (size_t)(e->n_rows * e->row_count);
        mix_bytes(&m, e->tensor->name, strlen(e->tensor->name));
        mix_bytes(&m, e->rows, (size_t)e->n_rows * sizeof *e->rows);
        if (e->judgement == GDN_JUDGE_EXACT) {
            mix_bytes(&m, e->bits, count * gdn_dtype_size(e->tensor->dtype));
        } else {
            mix_bytes(&m, e->golden, count * sizeof *e->golden);
            mix_bytes(&m, e->limit, count * sizeof *e->limit);
        }
    }
    uint64_t h = m.lane[0];
    for (int i = 1; i < 4; i++) {
        h = mix(h, m.lane[i]);
    }
    h ^= h >> 29;
    snprintf(hex, 17, "%016" PRIx64, h * MIX_A);
}

/* ---- maps ---- */

/* Budget of one element; infinity for a copy that is none. */
static double budget_at(const gdn_expected *e, int64_t index, int64_t i, bool *ok) {
    const gdn_tensor *t = e->tensor;
    const int64_t at = e->rows[index] * t->stride[0] + i;
    const int64_t flat = index * e->row_count + i;
    const double found = gdn_load(t->data, t->dtype, at);
    if (e->judgement == GDN_JUDGE_BOUNDED) {
        double budget;
        *ok = gdn_judge_element(e->golden[flat], found, (double)e->limit[flat], t->dtype,
                                &budget);
        return budget;
    }
    const size_t size = gdn_dtype_size(t->dtype);
    *ok = memcmp((const uint8_t *)t->data + (size_t)at * size,
                 (const uint8_t *)e->bits + (size_t)flat * size, size) == 0 ||
          (isnan(found) && isnan(gdn_load(e->bits, t->dtype, flat)));
    return *ok ? 0.0 : INFINITY;
}

static gdn_status map_start(gdn_map *map, int64_t n_rows, int64_t n_columns,
                            gdn_error *err) {
    map->n_rows = n_rows;
    map->n_columns = n_columns;
    map->row_bins = n_rows < GDN_MAP_MOST ? (int)n_rows : GDN_MAP_MOST;
    map->column_bins = n_columns < GDN_MAP_MOST ? (int)n_columns : GDN_MAP_MOST;
    map->first_row = map->first_column = -1;
    const int cells = map->row_bins * map->column_bins;
    map->budget = malloc((size_t)cells * sizeof *map->budget);
    if (!map->budget) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a map");
    }
    for (int i = 0; i < cells; i++) {
        map->budget[i] = -1.0F;
    }
    return GDN_OK;
}

static void map_add(gdn_map *map, int64_t row, int64_t column, double budget, bool ok) {
    const int64_t r = row * map->row_bins / map->n_rows;
    const int64_t c = column * map->column_bins / map->n_columns;
    float *cell = &map->budget[r * map->column_bins + c];
    *cell = fmaxf(*cell, (float)budget);
    if (!ok && map->first_row < 0) {
        map->first_row = row;
        map->first_column = column;
    }
}

static const char *row_name(const gdn_tensor *t) {
    return strstr(t->name, "state") ? "slot" : "token";
}

static const char *column_name(gdn_op op, const gdn_tensor *t) {
    if (op == GDN_OP_GDN_METADATA) {
        return "column";
    }
    if (strcmp(t->name, "conv_state") == 0) {
        return "row";
    }
    return op == GDN_OP_CAUSAL_CONV1D ? "channel" : "head";
}

static gdn_status map_rows(gdn_map *map, const gdn_expected *e, gdn_op op, gdn_error *err) {
    const gdn_tensor *t = e->tensor;
    *map = (gdn_map){0};
    snprintf(map->tensor, sizeof map->tensor, "%s", t->name);
    snprintf(map->rows, sizeof map->rows, "%s", row_name(t));
    snprintf(map->columns, sizeof map->columns, "%s", column_name(op, t));
    GDN_TRY(map_start(map, t->shape[0], t->shape[1], err));
    const int64_t below = e->row_count / t->shape[1];
    for (int64_t index = 0; index < e->n_rows; index++) {
        for (int64_t i = 0; i < e->row_count; i++) {
            bool ok;
            const double budget = budget_at(e, index, i, &ok);
            map_add(map, e->rows[index], i / below, budget, ok);
        }
    }
    return GDN_OK;
}

/* The head of a state with the first failing element, else with the largest budget. */
static void find_head(const gdn_expected *e, int64_t *row, int64_t *head) {
    const int64_t plane = e->row_count / e->tensor->shape[1];
    double most = -1.0;
    for (int64_t index = 0; index < e->n_rows; index++) {
        for (int64_t i = 0; i < e->row_count; i++) {
            bool ok;
            const double budget = budget_at(e, index, i, &ok);
            if (!ok || budget > most) {
                most = budget;
                *row = index;
                *head = i / plane;
            }
            if (!ok) {
                return;
            }
        }
    }
}

static gdn_status map_plane(gdn_map *map, const gdn_expected *e,
                            const gdn_conventions *conventions, gdn_error *err) {
    const gdn_tensor *t = e->tensor;
    const bool v_first = conventions->state_order == GDN_STATE_VK;
    int64_t row = 0, head = 0;
    find_head(e, &row, &head);
    *map = (gdn_map){0};
    snprintf(map->tensor, sizeof map->tensor, "%.40s[%" PRId64 ",%" PRId64 "]", t->name,
             e->rows[row], head);
    snprintf(map->rows, sizeof map->rows, v_first ? "v" : "k");
    snprintf(map->columns, sizeof map->columns, v_first ? "k" : "v");
    GDN_TRY(map_start(map, t->shape[2], t->shape[3], err));
    const int64_t plane = t->shape[2] * t->shape[3];
    for (int64_t i = 0; i < plane; i++) {
        bool ok;
        const double budget = budget_at(e, row, head * plane + i, &ok);
        map_add(map, i / t->shape[3], i % t->shape[3], budget, ok);
    }
    return GDN_OK;
}

/* Index of the worst output of rank `least` to `most`; -1: there is none. */
static int find_worst(const gdn_case_result *result, const gdn_golden *golden, int least,
                      int most) {
    int worst = -1;
    for (size_t i = 0; i < result->n_tensors; i++) {
        const gdn_expected *e = &golden->outputs[i];
        if (e->tensor->rank < least || e->tensor->rank > most || e->n_rows == 0 ||
            e->row_count == 0) {
            continue;
        }
        if (!result->tensors[i].ok) {
            return (int)i;
        }
        if (worst < 0 || result->tensors[i].budget > result->tensors[worst].budget) {
            worst = (int)i;
        }
    }
    return worst;
}

gdn_status gdn_case_maps(gdn_case_result *result, const gdn_problem *problem,
                         const gdn_golden *golden, gdn_error *err) {
    const int rows = find_worst(result, golden, 2, 3);
    const int state = find_worst(result, golden, 4, 4);
    if (rows >= 0) {
        GDN_TRY(map_rows(&result->maps[result->n_maps], &golden->outputs[rows],
                         problem->call.op, err));
        result->n_maps++;
    }
    if (state >= 0) {
        GDN_TRY(map_plane(&result->maps[result->n_maps], &golden->outputs[state],
                          problem->call.conventions, err));
        result->n_maps++;
    }
    return GDN_OK;
}

void gdn_case_drop_maps(gdn_case_result *result) {
    for (size_t i = 0; i < result->n_maps; i++) {
        free(result->maps[i].budget);
        result->maps[i] = (gdn_map){0};
    }
    result->n_maps = 0;
}
