/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "lattice_reading.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lattice.h"

/* Lanes that must agree before a line is called a copy of another: chance makes 1 in 183
 * agree. */
#define LANES_LEAST 3

/* Wrong lines that are looked at until one is a copy. */
#define LINES_MOST 8

#define NAME_MOST 160

/* Lines of an output: a head of a row, or of a state one key's column of it. */
typedef struct lines {
    const gdn_problem *problem;
    const gdn_expected *expected;
    double scale;
    int64_t heads, lanes, keys; /* a row; keys 1 but for states */
    int64_t lane_step, key_step;
} lines;

/* A line that may have been copied, by name. */
typedef struct source {
    char name[NAME_MOST];
    const double *values;
} source;

typedef struct reading {
    const lines *all;
    double *golden, *found; /* of the wrong line, as integers should be */
    bool *wrong;            /* lanes */
    int64_t n_wrong, first; /* lane */
    char expected[NAME_MOST], read[NAME_MOST], added[NAME_MOST];
} reading;

static lines lines_of(const gdn_problem *problem, const gdn_expected *e) {
    const gdn_case *test = problem->test;
    const gdn_tensor *t = e->tensor;
    const bool vk = test->conventions.state_order == GDN_STATE_VK;
    lines all = {.problem = problem,
                 .expected = e,
                 .scale = gdn_lattice_scale(test, t->name),
                 .heads = 1,
                 .lanes = e->row_count,
                 .keys = 1,
                 .lane_step = 1};
    if (t->rank == 3) {
        all.heads = t->shape[1];
        all.lanes = t->shape[2];
    } else if (t->rank == 4) {
        all.heads = t->shape[1];
        all.lanes = t->shape[vk ? 2 : 3];
        all.keys = t->shape[vk ? 3 : 2];
        all.lane_step = vk ? all.keys : 1;
        all.key_step = vk ? 1 : all.lanes;
    }
    return all;
}

/* Index of a lane of a line within the compared rows. */
static int64_t flat_of(const lines *all, int64_t row, int64_t head, int64_t key,
                       int64_t lane) {
    return row * all->expected->row_count + head * all->lanes * all->keys +
           key * all->key_step + lane * all->lane_step;
}

static double found_at(const lines *all, int64_t flat) {
    const gdn_expected *e = all->expected;
    const gdn_tensor *t = e->tensor;
    return all->scale *
           gdn_load(t->data, t->dtype,
                    e->rows[flat / e->row_count] * t->stride[0] + flat % e->row_count);
}

static bool load_line(const lines *all, int64_t row, int64_t head, int64_t key,
                      reading *r) {
    r->n_wrong = 0;
    r->expected[0] = r->read[0] = r->added[0] = '\0';
    for (int64_t lane = 0; lane < all->lanes; lane++) {
        const int64_t flat = flat_of(all, row, head, key, lane);
        r->golden[lane] = all->scale * all->expected->golden[flat];
        r->found[lane] = found_at(all, flat);
        const double error = fabs(r->found[lane] - r->golden[lane]);
        r->wrong[lane] = !(error <= all->scale * (double)all->expected->limit[flat]);
        r->first = r->wrong[lane] && r->n_wrong == 0 ? lane : r->first;
        r->n_wrong += r->wrong[lane];
    }
    return r->n_wrong > 0;
}

/* A 16-bit output without an exact root is off by some 1/128. */
static bool is_near(double found, double value) {
    return fabs(found - value) <= 0.5 + fabs(value) / 128.0;
}

static bool all_near(const reading *r, const double *values, const double *wanted) {
    for (int64_t lane = 0; lane < r->all->lanes; lane++) {
        if (r->wrong[lane] && !is_near(values[lane], wanted[lane])) {
            return false;
        }
    }
    return true;
}

/* Holds a source beside what was expected and what was found. The first one wins. */
static void hold(reading *r, const source *s) {
    char *const names[] = {r->expected, r->read, r->added};
    double *difference = malloc((size_t)(r->all->lanes + 1) * sizeof *difference);
    bool matches[3] = {all_near(r, r->golden, s->values), all_near(r, r->found, s->values),
                       false};
    for (int64_t lane = 0; difference && lane < r->all->lanes; lane++) {
        difference[lane] = r->found[lane] - r->golden[lane];
    }
    matches[2] = difference && all_near(r, difference, s->values);
    for (int i = 0; i < 3; i++) {
        if (matches[i] && names[i][0] == '\0') {
            snprintf(names[i], NAME_MOST, "%s", s->name);
        }
    }
    free(difference);
}

/* Sequence and position of a token of the batch. */
static void name_token(const gdn_case *test, int64_t token, char *text, size_t size) {
    size_t i = 0;
    while (i + 1 < test->n_sequences && token >= test->sequences[i].length) {
        token -= test->sequences[i++].length;
    }
    snprintf(text, size, "token %lld of sequence %zu", (long long)token, i);
}

static void hold_tokens(reading *r, double *values) {
    const gdn_case *test = r->all->problem->test;
    const int64_t tokens = gdn_case_tokens(test);
    source s = {.values = values};
    for (int64_t i = 0; i < tokens * r->all->heads; i++) {
        const int64_t token = i / r->all->heads, head = i % r->all->heads;
        char place[64];
        for (int64_t lane = 0; lane < r->all->lanes; lane++) {
            values[lane] = gdn_lattice_v(test, token, head, lane);
        }
        name_token(test, token, place, sizeof place);
        snprintf(s.name, sizeof s.name, "v of %s, head %lld", place, (long long)head);
        hold(r, &s);
    }
}

/* Columns of the start states; the pool itself may be overwritten by now. */
static void hold_states(reading *r, double *values) {
    const gdn_case *test = r->all->problem->test;
    const int64_t rows = r->all->heads * r->all->lanes, K = test->head_k_dim;
    double *block = malloc((size_t)(r->all->lanes * K + 1) * sizeof *block);
    source s = {.values = values};
    for (size_t i = 0; block && i < test->n_sequences; i++) {
        for (int64_t head = 0; head < r->all->heads; head++) {
            for (int64_t lane = 0; lane < r->all->lanes; lane++) {
                gdn_fill_values(test, GDN_FIELD_STATE, (int64_t)i,
                                head * r->all->lanes + lane, rows, K, block + lane * K);
            }
            for (int64_t key = 0; key < K; key++) {
                for (int64_t lane = 0; lane < r->all->lanes; lane++) {
                    values[lane] = block[lane * K + key];
                }
                snprintf(s.name, sizeof s.name,
                         "the start state of sequence %zu, head %lld, key lane %lld", i,
                         (long long)head, (long long)key);
                hold(r, &s);
            }
        }
    }
    free(block);
}

/* What other lines of the tensor must hold. */
static void hold_others(reading *r, double *values) {
    const lines *all = r->all;
    source s = {.values = values};
    for (int64_t row = 0; row < all->expected->n_rows; row++) {
        for (int64_t head = 0; head < all->heads; head++) {
            for (int64_t key = 0; key < all->keys; key++) {
                for (int64_t lane = 0; lane < all->lanes; lane++) {
                    values[lane] =
                        all->scale *
                        all->expected->golden[flat_of(all, row, head, key, lane)];
                }
                const int n = snprintf(s.name, sizeof s.name, "what row %lld",
                                       (long long)all->expected->rows[row]);
                const int m = all->heads == 1
                                  ? 0
                                  : snprintf(s.name + n, sizeof s.name - (size_t)n,
                                             ", head %lld", (long long)head);
                snprintf(s.name + n + m, sizeof s.name - (size_t)(n + m), "%s",
                         " must hold");
                hold(r, &s);
            }
        }
    }
}

static void hold_all(reading *r, double *values) {
    const gdn_op op = r->all->problem->test->op;
    memset(values, 0, (size_t)r->all->lanes * sizeof *values);
    hold(r, &(source){.name = "0, which is no value of any input", .values = values});
    r->added[0] = '\0'; /* nothing was added */
    if (op == GDN_OP_GATED_DELTA_RULE || op == GDN_OP_GDN_ATTENTION) {
        hold_tokens(r, values);
        hold_states(r, values);
    }
    if (r->read[0] == '\0') {
        hold_others(r, values);
    }
}

/* The lane of the same line whose value stands in the first wrong one, if all wrong lanes
 * have values of their line; else -1. */
static int64_t other_lane(const reading *r) {
    int64_t from = -1;
    for (int64_t lane = 0; lane < r->all->lanes; lane++) {
        int64_t where = -1;
        for (int64_t i = 0; r->wrong[lane] && where < 0 && i < r->all->lanes; i++) {
            where = is_near(r->found[lane], r->golden[i]) ? i : -1;
        }
        if (r->wrong[lane] && where < 0) {
            return -1;
        }
        from = lane == r->first ? where : from;
    }
    return from;
}

/* The values themselves: the nearest integers of the first wrong lane. */
static int write_reading(const reading *r, const char *element, char *text, size_t size) {
    const double found = r->found[r->first], golden = r->golden[r->first];
    char head[256];
    snprintf(head, sizeof head, "%s%s is %.9g, expected %.9g", element,
             r->all->scale != 1.0 ? " * sqrt(K)" : "", found, golden);
    if (isfinite(found) && fabs(found - rint(found)) > 0.25 && r->all->scale == 1.0) {
        return snprintf(text, size, "%s: no integer, so more than an index is wrong", head);
    }
    const char *more = r->read[0] ? r->read : r->added;
    const int64_t lane = more[0] || r->n_wrong < LANES_LEAST ? -1 : other_lane(r);
    if (lane >= 0) {
        return snprintf(text, size, "%s: lane %lld of the same line stands in lane %lld",
                        head, (long long)lane, (long long)r->first);
    }
    if (more[0] == '\0' || r->n_wrong < LANES_LEAST) {
        return snprintf(text, size, "%s", head);
    }
    return snprintf(text, size, "%s: expected %s, found %s%s (%lld lanes)", head,
                    r->expected[0] ? r->expected : "another line",
                    r->read[0] ? "" : "that and ", more, (long long)r->n_wrong);
}

/* "core_attn_out[3,2,5]" of the first wrong lane. */
static void name_lane(const reading *r, int64_t row, int64_t head, int64_t key, char *text,
                      size_t size) {
    const gdn_tensor *t = r->all->expected->tensor;
    const long long at = (long long)r->all->expected->rows[row];
    const bool vk = r->all->lane_step != 1;
    if (t->rank == 4) {
        snprintf(text, size, "%s[%lld,%lld,%lld,%lld]", t->name, at, (long long)head,
                 (long long)(vk ? r->first : key), (long long)(vk ? key : r->first));
    } else if (t->rank == 3) {
        snprintf(text, size, "%s[%lld,%lld,%lld]", t->name, at, (long long)head,
                 (long long)r->first);
    } else {
        snprintf(text, size, "%s[%lld,%lld]", t->name, at, (long long)r->first);
    }
}

/* The first wrong line of an output that is a copy, or else the first. */
static int read_output(const gdn_problem *problem, const gdn_expected *expected, char *text,
                       size_t size) {
    const lines all = lines_of(problem, expected);
    const size_t n = (size_t)all.lanes + 1;
    double *values = malloc(3 * n * sizeof *values);
    reading r = {.all = &all,
                 .golden = values,
                 .found = values + n,
                 .wrong = calloc(n, sizeof(bool))};
    int used = 0, tried = 0;
    for (int64_t i = 0; values && r.wrong && r.read[0] == '\0' && tried < LINES_MOST &&
                        i < expected->n_rows * all.heads * all.keys;
         i++) {
        const int64_t row = i / (all.heads * all.keys);
        const int64_t head = i / all.keys % all.heads, key = i % all.keys;
        if (load_line(&all, row, head, key, &r)) {
            char element[128];
            name_lane(&r, row, head, key, element, sizeof element);
            hold_all(&r, values + 2 * n);
            if (tried++ == 0 || r.read[0]) {
                used = write_reading(&r, element, text, size);
            }
        }
    }
    free(values);
    free(r.wrong);
    return used;
}

void gdn_lattice_read_case(const gdn_problem *problem, const gdn_golden *golden,
                           const gdn_case_result *result, char *text, size_t size) {
    for (size_t i = 0; gdn_case_is_lattice(problem->test) && i < result->n_tensors; i++) {
        const gdn_tensor_result *t = &result->tensors[i];
        if (!t->ok && t->judgement == GDN_JUDGE_BOUNDED && t->special.unwritten == 0) {
            const int n = snprintf(text, size, "; ");
            read_output(problem, &golden->outputs[i], text + n, size - (size_t)n);
            return;
        }
    }
}
