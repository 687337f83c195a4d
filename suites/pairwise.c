/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Greedy, in the manner of AETG (D. Cohen et al., IEEE Transactions on Software Engineering
 * 23, 1997), with fixed starting points in place of random ones: a row starts from an
 * uncovered pair, every other axis takes in turn the value that covers most, and the best
 * of several orders of the axes is kept. */
#include "pairwise.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define UNSET SIZE_MAX

/* Greedy runs from which the shortest is kept. */
#define STARTS 4

typedef struct cover {
    const gdn_axes *axes;
    size_t *first;  ///< number of each axis's value 0
    size_t n_total; ///< values of all axes
    bool *open;     ///< n_total * n_total: pair not covered yet, lower number first
    size_t n_open;
    size_t twist;         ///< where the search starts among equals
    size_t *uses;         ///< n_total * n_total: rows so far in which a pair occurs
    size_t *order;        ///< axes, those with most values first
    size_t *best, *trial; ///< rows
} cover;

static bool is_allowed(const cover *c, const size_t *row) {
    const gdn_axes *axes = c->axes;
    for (size_t e = 0; e < axes->n_excludes; e++) {
        const bool *flags = axes->excludes + e * c->n_total;
        bool hit = true;
        for (size_t a = 0; hit && a < axes->n_axes; a++) {
            /* An open axis escapes the exclude if any of its values does. */
            if (row[a] != UNSET) {
                hit = flags[c->first[a] + row[a]];
            } else {
                for (size_t v = 0; hit && v < axes->sizes[a]; v++) {
                    hit = flags[c->first[a] + v];
                }
            }
        }
        if (hit) {
            return false;
        }
    }
    return true;
}

/* Whether the open axes from `axis` on can be filled; leaves the row as it was. */
static bool can_complete(const cover *c, size_t *row, size_t axis) {
    while (axis < c->axes->n_axes && row[axis] != UNSET) {
        axis++;
    }
    if (!is_allowed(c, row)) {
        return false;
    }
    if (axis == c->axes->n_axes || c->axes->n_excludes == 0) {
        return true;
    }
    bool found = false;
    for (size_t v = 0; !found && v < c->axes->sizes[axis]; v++) {
        row[axis] = v;
        found = can_complete(c, row, axis + 1);
    }
    row[axis] = UNSET;
    return found;
}

/* Where a pair stands in `open` and `uses`. */
static size_t pair_index(const cover *c, size_t a, size_t va, size_t b, size_t vb) {
    const size_t i = c->first[a] + va;
    const size_t j = c->first[b] + vb;
    return i < j ? i * c->n_total + j : j * c->n_total + i;
}

static void clear_row(const cover *c, size_t *row) {
    for (size_t a = 0; a < c->axes->n_axes; a++) {
        row[a] = UNSET;
    }
}

/* Opens the pairs that occur in some allowed row. */
static void open_pairs(cover *c) {
    const gdn_axes *axes = c->axes;
    size_t *row = c->trial;
    clear_row(c, row);
    for (size_t a = 0; a < axes->n_axes; a++) {
        for (size_t b = a + 1; b < axes->n_axes; b++) {
            for (size_t va = 0; va < axes->sizes[a]; va++) {
                for (size_t vb = 0; vb < axes->sizes[b]; vb++) {
                    row[a] = va;
                    row[b] = vb;
                    if (can_complete(c, row, 0)) {
                        c->open[pair_index(c, a, va, b, vb)] = true;
                        c->n_open++;
                    }
                }
            }
            row[b] = UNSET;
        }
        row[a] = UNSET;
    }
}

/* What value v of axis a adds to a row: open pairs, and how worn its other pairs are. */
static size_t count_gain(const cover *c, const size_t *row, size_t a, size_t v,
                         size_t *wear) {
    size_t gain = 0;
    *wear = 0;
    for (size_t b = 0; b < c->axes->n_axes; b++) {
        if (b != a && row[b] != UNSET) {
            const size_t pair = pair_index(c, a, v, b, row[b]);
            gain += c->open[pair] ? 1 : 0;
            *wear += c->uses[pair] * c->uses[pair];
        }
    }
    return gain;
}

/* Sets the open axes of a row, beginning with the `start`th; returns the pairs gained.
 * Among equals the less worn value wins, or else the values that nothing forces would all
 * be the first ones and move in step. */
static size_t fill_row(const cover *c, size_t *row, size_t start) {
    const size_t n_axes = c->axes->n_axes;
    size_t total = 0;
    for (size_t i = 0; i < n_axes; i++) {
        const size_t a = c->order[(start + i) % n_axes];
        if (row[a] != UNSET) {
            continue;
        }
        size_t best = UNSET;
        size_t best_gain = 0;
        size_t least_wear = 0;
        for (size_t j = 0; j < c->axes->sizes[a]; j++) {
            const size_t v = (j + c->twist) % c->axes->sizes[a];
            size_t wear = 0;
            const size_t gain = count_gain(c, row, a, v, &wear);
            if (best != UNSET &&
                (gain < best_gain || (gain == best_gain && wear >= least_wear))) {
                continue;
            }
            row[a] = v;
            if (can_complete(c, row, 0)) {
                best = v;
                best_gain = gain;
                least_wear = wear;
            }
            row[a] = UNSET;
        }
        row[a] = best;
        total += best_gain;
    }
    return total;
}

/* The first open pair of two axes. */
static bool first_open(const cover *c, size_t a, size_t b, size_t *va, size_t *vb) {
    for (*va = 0; *va < c->axes->sizes[a]; ++*va) {
        for (*vb = 0; *vb < c->axes->sizes[b]; ++*vb) {
            if (c->open[pair_index(c, a, *va, b, *vb)]) {
                return true;
            }
        }
    }
    return false;
}

/* Leaves the row that covers most open pairs in c->best. */
static void find_row(cover *c) {
    const size_t n_axes = c->axes->n_axes;
    size_t most = 0;
    for (size_t a = 0; a < n_axes; a++) {
        for (size_t b = a + 1; b < n_axes; b++) {
            size_t va = 0;
            size_t vb = 0;
            if (!first_open(c, a, b, &va, &vb)) {
                continue;
            }
            for (size_t start = 0; start < n_axes; start++) {
                clear_row(c, c->trial);
                c->trial[a] = va;
                c->trial[b] = vb;
                const size_t gain = 1 + fill_row(c, c->trial, start);
                if (gain > most) {
                    most = gain;
                    memcpy(c->best, c->trial, n_axes * sizeof *c->best);
                }
            }
        }
    }
}

static gdn_status append_row(gdn_rows *rows, const size_t *row, size_t n_axes,
                             gdn_error *err) {
    if (rows->n_rows == rows->capacity) {
        const size_t capacity = rows->capacity * 2 + 32;
        size_t *values = realloc(rows->values, capacity * n_axes * sizeof *values);
        if (!values) {
            return gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu rows", capacity);
        }
        rows->values = values;
        rows->capacity = capacity;
    }
    memcpy(rows->values + rows->n_rows++ * n_axes, row, n_axes * sizeof *row);
    return GDN_OK;
}

static void close_pairs(cover *c, const size_t *row) {
    for (size_t a = 0; a < c->axes->n_axes; a++) {
        for (size_t b = a + 1; b < c->axes->n_axes; b++) {
            const size_t pair = pair_index(c, a, row[a], b, row[b]);
            c->n_open -= c->open[pair] ? 1 : 0;
            c->open[pair] = false;
            c->uses[pair]++;
        }
    }
}

/* Drops rows all of whose pairs occur elsewhere: early rows, which later ones made
 * redundant. */
static void drop_redundant(cover *c, gdn_rows *rows) {
    const size_t n_axes = c->axes->n_axes;
    size_t kept = 0;
    for (size_t r = 0; r < rows->n_rows; r++) {
        const size_t *row = rows->values + r * n_axes;
        bool needed = false;
        for (size_t i = 0; !needed && i < n_axes * n_axes; i++) {
            const size_t a = i / n_axes;
            const size_t b = i % n_axes;
            needed = a < b && c->uses[pair_index(c, a, row[a], b, row[b])] < 2;
        }
        if (needed) {
            memmove(rows->values + kept++ * n_axes, row, n_axes * sizeof *row);
            continue;
        }
        for (size_t i = 0; i < n_axes * n_axes; i++) {
            const size_t a = i / n_axes;
            const size_t b = i % n_axes;
            c->uses[pair_index(c, a, row[a], b, row[b])] -= a < b ? 1 : 0;
        }
    }
    rows->n_rows = kept;
}

/* Axes by falling size, equal ones as given. */
static void sort_axes(cover *c) {
    for (size_t a = 0; a < c->axes->n_axes; a++) {
        size_t i = a;
        for (; i > 0 && c->axes->sizes[c->order[i - 1]] < c->axes->sizes[a]; i--) {
            c->order[i] = c->order[i - 1];
        }
        c->order[i] = a;
    }
}

static gdn_status cover_create(cover *c, const gdn_axes *axes, gdn_error *err) {
    *c = (cover){.axes = axes};
    c->first = malloc((axes->n_axes + 1) * sizeof *c->first);
    for (size_t a = 0; c->first && a < axes->n_axes; a++) {
        c->first[a] = c->n_total;
        c->n_total += axes->sizes[a];
    }
    c->open = calloc(c->n_total * c->n_total + 1, sizeof *c->open);
    c->uses = calloc(c->n_total * c->n_total + 1, sizeof *c->uses);
    c->order = malloc((axes->n_axes + 1) * sizeof *c->order);
    c->best = malloc((axes->n_axes + 1) * sizeof *c->best);
    c->trial = malloc((axes->n_axes + 1) * sizeof *c->trial);
    if (!c->first || !c->open || !c->uses || !c->order || !c->best || !c->trial) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu axes", axes->n_axes);
    }
    sort_axes(c);
    clear_row(c, c->trial);
    if (!can_complete(c, c->trial, 0)) {
        return gdn_error_set(err, GDN_ERR_ARG, "the excludes leave no case");
    }
    return GDN_OK;
}

static void cover_destroy(cover *c) {
    free(c->first);
    free(c->open);
    free(c->uses);
    free(c->order);
    free(c->best);
    free(c->trial);
}

/* One counter a level of the odometer; partial rows that are forbidden already are skipped
 * whole. */
static gdn_status append_all(gdn_rows *rows, const cover *c, size_t *row, size_t axis,
                             size_t most, gdn_error *err) {
    if (!is_allowed(c, row)) {
        return GDN_OK;
    }
    if (axis == c->axes->n_axes) {
        return rows->n_rows < most
                   ? append_row(rows, row, axis, err)
                   : gdn_error_set(err, GDN_ERR_ARG,
                                   "expected at most %zu cases but found more", most);
    }
    gdn_status status = GDN_OK;
    for (size_t v = 0; status == GDN_OK && v < c->axes->sizes[axis]; v++) {
        row[axis] = v;
        status = append_all(rows, c, row, axis + 1, most, err);
    }
    row[axis] = UNSET;
    return status;
}

gdn_status gdn_rows_all(gdn_rows *rows, const gdn_axes *axes, size_t most, gdn_error *err) {
    *rows = (gdn_rows){0};
    cover c;
    gdn_status status = cover_create(&c, axes, err);
    if (status == GDN_OK) {
        clear_row(&c, c.best);
        status = append_all(rows, &c, c.best, 0, most, err);
    }
    cover_destroy(&c);
    if (status != GDN_OK) {
        gdn_rows_destroy(rows);
    }
    return status;
}

/* One greedy run over pairs that are all open. */
static gdn_status build_rows(cover *c, gdn_rows *rows, size_t twist, gdn_error *err) {
    gdn_status status = GDN_OK;
    c->twist = twist;
    memset(c->uses, 0, c->n_total * c->n_total * sizeof *c->uses);
    while (status == GDN_OK && c->n_open > 0) {
        find_row(c);
        close_pairs(c, c->best);
        status = append_row(rows, c->best, c->axes->n_axes, err);
    }
    if (status == GDN_OK) {
        drop_redundant(c, rows);
    }
    return status;
}

gdn_status gdn_rows_pairs(gdn_rows *rows, const gdn_axes *axes, gdn_error *err) {
    if (axes->n_axes < 2) {
        return gdn_rows_all(rows, axes, SIZE_MAX, err);
    }
    *rows = (gdn_rows){0};
    cover c;
    gdn_status status = cover_create(&c, axes, err);
    for (size_t twist = 0; status == GDN_OK && twist < STARTS; twist++) {
        gdn_rows found = {0};
        open_pairs(&c);
        status = build_rows(&c, &found, twist, err);
        if (status == GDN_OK && (twist == 0 || found.n_rows < rows->n_rows)) {
            const gdn_rows more = *rows;
            *rows = found;
            found = more;
        }
        gdn_rows_destroy(&found);
    }
    cover_destroy(&c);
    if (status != GDN_OK) {
        gdn_rows_destroy(rows);
    }
    return status;
}

void gdn_rows_destroy(gdn_rows *rows) {
    free(rows->values);
    *rows = (gdn_rows){0};
}
