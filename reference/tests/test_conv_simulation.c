/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Convolutions against a simulation by lists: every line is a queue that tokens enter at
 * the end, and what a token sees is found by walking backwards. Values are small integers,
 * so sums are exact in any order and everything is compared by its bits. */
#include "op_bench.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <string.h>

#include "gdn/random.h"

enum { CHANNELS = 3, MAX_TOKENS = 12, MAX_ROWS = 24, SLOTS = 5 };

typedef struct recipe {
    int taps, rows, tokens, accepted, columns;
    gdn_conventions conventions;
    bool buffer, starts, tree;
} recipe;

typedef struct dice {
    gdn_random random;
    uint64_t next;
} dice;

static int below(dice *d, int n) {
    return (int)gdn_random_below(&d->random, d->next++, (uint32_t)n);
}

static recipe draw(uint64_t seed) {
    dice d = {.random = {.seed = seed, .stream = 5}};
    recipe r = {
        .taps = 1 + below(&d, 5),
        .tokens = 1 + below(&d, MAX_TOKENS),
        .conventions = gdn_conventions_default(),
        .starts = below(&d, 4) != 0,
    };
    gdn_conventions *c = &r.conventions;
    c->activation = GDN_ACTIVATION_NONE;
    c->conv_state_order = below(&d, 2) ? GDN_CONV_STATE_DS : GDN_CONV_STATE_SD;
    c->conv_weight = below(&d, 2) ? GDN_WEIGHT_WC : GDN_WEIGHT_CW;
    c->conv_window = (gdn_conv_window)below(&d, 4);
    const bool own = c->conv_window >= GDN_CONV_ROLLING;
    c->spec_state = own ? GDN_SPEC_BUFFER : GDN_SPEC_SLOTS;
    if (c->conv_window == GDN_CONV_ROLLING || (own && below(&d, 2))) {
        c->conv_anchor = GDN_CONV_LAST;
        c->conv_history = below(&d, 2) ? GDN_CONV_KEEPS_TAPS : GDN_CONV_KEEPS_WINDOW;
    }
    const bool spec = below(&d, 3) != 0;
    r.buffer = spec && own;
    r.tree = r.buffer && below(&d, 2);
    r.columns = spec && !own ? r.tokens + below(&d, 3) : 0;
    r.accepted = r.columns > 0 ? below(&d, r.columns + 1) : -1;
    const int line = c->conv_window == GDN_CONV_SLIDING && r.columns > 0
                         ? r.taps - 2 + r.columns
                         : r.taps;
    r.rows = (line > r.taps ? line : r.taps) + below(&d, 6);
    gdn_error err = {0};
    if (gdn_conventions_check(c, &err) != GDN_OK) {
        fail_msg("%s", err.message);
    }
    return r;
}

static double value_of(uint64_t seed, int stream, int i) {
    const gdn_random random = {.seed = seed, .stream = (uint64_t)stream};
    return (double)gdn_random_below(&random, (uint64_t)i, 64) - 31.0;
}

static double pool_value(uint64_t seed, int slot, int row, int c) {
    return value_of(seed, 11, (slot * MAX_ROWS + row) * CHANNELS + c);
}

static double x_value(uint64_t seed, int t, int c) {
    return value_of(seed, 12, t * CHANNELS + c);
}

static double weight_value(uint64_t seed, int c, int tap) {
    return value_of(seed, 13, c * 8 + tap);
}

static int parent_of(uint64_t seed, int t) {
    const gdn_random random = {.seed = seed, .stream = 14};
    return t > 0 ? (int)gdn_random_below(&random, (uint64_t)t, (uint32_t)t) : -1;
}

/* Slots are handed out backwards, so that none is where its column number says. */
static int slot_of_column(int column) {
    return SLOTS - 1 - column % SLOTS;
}

/* The slot's line of a channel, oldest first, and where in it the newest input stands that
 * the sequence knows. */
typedef struct line {
    double row[MAX_ROWS + MAX_TOKENS];
    int newest; /* row of x(-1) */
} line;

static line find_line(const recipe *r, uint64_t seed, int c) {
    line l = {.newest = r->taps - 2};
    const int column = r->accepted > 1 ? r->accepted - 1 : 0;
    const bool snapshot = r->conventions.conv_window == GDN_CONV_SNAPSHOT;
    const int slot = slot_of_column(snapshot ? column : 0);
    for (int i = 0; i < r->rows; i++) {
        l.row[i] = pool_value(seed, slot, i, c);
    }
    if (r->columns > 0 && !snapshot) {
        l.newest += column;
    }
    if (r->conventions.conv_anchor == GDN_CONV_LAST) {
        l.newest = r->rows - 1;
    }
    return l;
}

/* x(-1), x(-2), .. for t = -1, -2, .. */
static double past(const recipe *r, const line *l, int t) {
    const bool known = r->starts || r->columns > 0 || r->buffer;
    return known ? l->row[l->newest + 1 + t] : 0.0;
}

/* What token t sees `back` steps behind itself. */
static double seen(const recipe *r, uint64_t seed, const line *l, int c, int t, int back) {
    for (; back > 0 && t > 0; back--) {
        t = r->tree ? parent_of(seed, t) : t - 1;
    }
    t -= back;
    return t >= 0 ? x_value(seed, t, c) : past(r, l, t);
}

static void build(op_bench *b, const recipe *r, uint64_t seed) {
    const bool ds = r->conventions.conv_state_order == GDN_CONV_STATE_DS;
    const bool wc = r->conventions.conv_weight == GDN_WEIGHT_WC;
    op_begin(b, GDN_OP_CAUSAL_CONV1D);
    b->conventions = r->conventions;
    gdn_tensor *w = op_add(b, "weight", GDN_FP64, wc ? r->taps : CHANNELS,
                           wc ? CHANNELS : r->taps, 0, 0);
    gdn_tensor *x = op_add(b, "x", GDN_FP64, r->tokens, CHANNELS, 0, 0);
    gdn_tensor *pool = op_add(b, "conv_state", GDN_FP64, SLOTS, ds ? CHANNELS : r->rows,
                              ds ? r->rows : CHANNELS, 0);
    for (int c = 0; c < CHANNELS; c++) {
        for (int i = 0; i < r->taps; i++) {
            ((double *)w->data)[wc ? i * CHANNELS + c : c * r->taps + i] =
                weight_value(seed, c, i);
        }
        for (int t = 0; t < r->tokens; t++) {
            ((double *)x->data)[t * CHANNELS + c] = x_value(seed, t, c);
        }
        for (int i = 0; i < SLOTS * r->rows; i++) {
            const int slot = i / r->rows, row = i % r->rows;
            ((double *)pool->data)[slot * r->rows * CHANNELS +
                                   (ds ? c * r->rows + row : row * CHANNELS + c)] =
                pool_value(seed, slot, row, c);
        }
    }
    op_set_ints(op_add(b, "query_start_loc", GDN_I32, 2, 0, 0, 0), (int[]){0, r->tokens},
                2);
    int slots[MAX_TOKENS + 3], rows[MAX_TOKENS], parents[MAX_TOKENS];
    for (int i = 0; i < MAX_TOKENS + 3; i++) {
        slots[i] = slot_of_column(i);
    }
    for (int t = 0; t < MAX_TOKENS; t++) {
        rows[t] = MAX_TOKENS - 1 - t;
        parents[t] = parent_of(seed, t);
    }
    const int columns = r->columns > 0 ? r->columns : 1;
    op_set_ints(op_add(b, "state_indices", GDN_I32, 1, r->columns, 0, 0), slots, columns);
    if (r->columns > 0) {
        op_set_ints(op_add(b, "num_accepted_tokens", GDN_I32, 1, 0, 0, 0), &r->accepted, 1);
    } else if (!r->buffer) {
        const int starts = r->starts;
        op_set_ints(op_add(b, "has_initial_state", GDN_BOOL, 1, 0, 0, 0), &starts, 1);
    } else {
        op_set_ints(op_add(b, "intermediate_indices", GDN_I32, 1, r->tokens, 0, 0), rows,
                    r->tokens);
    }
    if (r->tree) {
        op_set_ints(op_add(b, "parent_token", GDN_I32, 1, r->tokens, 0, 0), parents,
                    r->tokens);
    }
    if (r->buffer && r->conventions.conv_window == GDN_CONV_WINDOWS && r->taps > 1) {
        op_add(b, "intermediate_conv_window", GDN_FP64, MAX_TOKENS,
               ds ? CHANNELS : r->taps - 1, ds ? r->taps - 1 : CHANNELS, 0);
        op_want(b, "intermediate_conv_window", GDN_FP64, false);
    }
    op_add(b, "out", GDN_FP64, r->tokens, CHANNELS, 0, 0);
    op_want(b, "out", GDN_FP64, false);
    op_want(b, "conv_state", GDN_FP64, false);
    memcpy(op_output(b, "conv_state")->value.data, pool->data,
           (size_t)gdn_tensor_count(pool) * sizeof(double));
}

static double element(op_bench *b, const recipe *r, const char *name, int slot, int row,
                      int c) {
    const gdn_tensor *t = &op_output(b, name)->value;
    const bool ds = r->conventions.conv_state_order == GDN_CONV_STATE_DS;
    return gdn_load(t->data, GDN_FP64,
                    slot * t->stride[0] + row * t->stride[ds ? 2 : 1] +
                        c * t->stride[ds ? 1 : 2]);
}

/* The whole of a slot after the call: l.row[i] where nothing is to change. */
static void expect_line(op_bench *b, const recipe *r, uint64_t seed, int slot, int c,
                        const double *rows) {
    for (int i = 0; i < r->rows; i++) {
        const double found = element(b, r, "conv_state", slot, i, c);
        if (found != rows[i]) {
            fail_msg("seed %llu: slot %d row %d channel %d: expected %g but found %g",
                     (unsigned long long)seed, slot, i, c, rows[i], found);
        }
    }
}

/* A queue: tokens enter at the end, of `kept` rows from `first` on. */
static void enqueue(uint64_t seed, int c, double *rows, int first, int kept, int tokens,
                    bool empty) {
    for (int i = 0; empty && i < kept; i++) {
        rows[first + i] = 0.0;
    }
    for (int t = 0; t < tokens && kept > 0; t++) {
        memmove(rows + first, rows + first + 1, (size_t)(kept - 1) * sizeof *rows);
        rows[first + kept - 1] = x_value(seed, t, c);
    }
}

static void check_states(op_bench *b, const recipe *r, uint64_t seed, int c) {
    line l = find_line(r, seed, c);
    const gdn_conventions *k = &r->conventions;
    const bool taps = k->conv_history == GDN_CONV_KEEPS_TAPS;
    const int kept = taps ? r->taps : r->taps - 1;
    double rows[MAX_ROWS + MAX_TOKENS];
    memcpy(rows, l.row, sizeof rows);
    if (r->columns > 0 && k->conv_window == GDN_CONV_SNAPSHOT) {
        /* A later column may have the slot of an earlier one: the last one to come wins. */
        for (int t = r->tokens - SLOTS < 0 ? 0 : r->tokens - SLOTS; t < r->tokens; t++) {
            for (int i = 0; i < r->rows; i++) {
                rows[i] = pool_value(seed, slot_of_column(t), i, c);
            }
            for (int i = 0; i < r->taps - 1; i++) {
                rows[i] = seen(r, seed, &l, c, t, r->taps - 2 - i);
            }
            expect_line(b, r, seed, slot_of_column(t), c, rows);
        }
        return;
    }
    if (r->columns > 0) {
        /* vllm_cpu_and_metadata 2.2: new[i] = old[off + 1 + i] for i < W-2, then x. */
        const int off = r->accepted > 1 ? r->accepted - 1 : 0;
        for (int i = 0; i < r->taps - 2; i++) {
            rows[i] = l.row[off + 1 + i];
        }
        for (int t = r->taps > 1 ? 0 : 1; t < r->tokens; t++) {
            rows[r->taps - 2 + t] = x_value(seed, t, c);
        }
    } else if (r->buffer && k->conv_window == GDN_CONV_ROLLING) {
        enqueue(seed, c, rows, 0, r->rows, r->tokens, false);
    } else {
        const int first = k->conv_anchor == GDN_CONV_LAST ? r->rows - kept : 0;
        enqueue(seed, c, rows, first, kept, r->tokens, !r->starts && !r->buffer);
    }
    expect_line(b, r, seed, slot_of_column(0), c, rows);
}

static void check_channel(op_bench *b, const recipe *r, uint64_t seed, int c) {
    const line l = find_line(r, seed, c);
    const bool windows = r->buffer && r->conventions.conv_window == GDN_CONV_WINDOWS;
    for (int t = 0; t < r->tokens; t++) {
        double y = 0.0;
        for (int i = 0; i < r->taps; i++) {
            y += weight_value(seed, c, i) * seen(r, seed, &l, c, t, r->taps - 1 - i);
        }
        const double found =
            ((const double *)op_output(b, "out")->value.data)[t * CHANNELS + c];
        if (found != y) {
            fail_msg("seed %llu: token %d channel %d: expected %g but found %g",
                     (unsigned long long)seed, t, c, y, found);
        }
        for (int i = 0; windows && i < r->taps - 1; i++) {
            assert_true(element(b, r, "intermediate_conv_window", MAX_TOKENS - 1 - t, i,
                                c) == seen(r, seed, &l, c, t, r->taps - 2 - i));
        }
    }
    check_states(b, r, seed, c);
}

static void test_every_convention_against_queues(void **state) {
    (void)state;
    int kinds[4][3] = {{0}};
    for (uint64_t seed = 0; seed < 4000; seed++) {
        const recipe r = draw(seed);
        op_bench b;
        build(&b, &r, seed);
        op_run(&b);
        for (int c = 0; c < CHANNELS; c++) {
            check_channel(&b, &r, seed, c);
        }
        op_end(&b);
        kinds[r.conventions.conv_window][r.tree ? 2 : r.buffer || r.columns > 0]++;
    }
    for (int w = 0; w < 4;
         w++) { /* all windows, without speculation, with it, with trees */
        assert_true(kinds[w][0] > 50 && kinds[w][1] > 50);
        assert_true(w < 2 || kinds[w][2] > 50);
    }
}

/* vllm_cpu_and_metadata 1.7: the CPU's multi-token update rewrites the whole line,
 * new[i] = old[acc + i] for i < R - L, then x; the sliding line of the GPU is the same if
 * and only if R = L + W - 2. */
static void test_cpu_rule_is_the_sliding_line_of_full_drafts(void **state) {
    (void)state;
    for (int tokens = 1; tokens <= 8; tokens++) {
        for (int accepted = 1; accepted <= tokens; accepted++) {
            recipe r = {.taps = 4,
                        .rows = tokens + 2,
                        .tokens = tokens,
                        .columns = tokens,
                        .accepted = accepted,
                        .conventions = gdn_conventions_default()};
            r.conventions.activation = GDN_ACTIVATION_NONE;
            const uint64_t seed = (uint64_t)(tokens * 16 + accepted);
            op_bench b;
            build(&b, &r, seed);
            op_run(&b);
            for (int c = 0; c < CHANNELS; c++) {
                double rows[MAX_ROWS];
                for (int i = 0; i < r.rows; i++) {
                    rows[i] = i < r.rows - tokens
                                  ? pool_value(seed, slot_of_column(0), accepted + i, c)
                                  : x_value(seed, i - (r.rows - tokens), c);
                }
                expect_line(&b, &r, seed, slot_of_column(0), c, rows);
            }
            op_end(&b);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_convention_against_queues),
        cmocka_unit_test(test_cpu_rule_is_the_sliding_line_of_full_drafts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
