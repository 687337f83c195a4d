/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "matrix.h"

#include <stdlib.h>
#include <string.h>

#include "forms.h"
#include "limited.h"
#include "report_parts.h"
#include "text.h"

typedef struct place {
    const gdn_case_result *c;
    size_t run, order; /* order: over all runs, the first one's cases first */
} place;

static int by_id(const void *a, const void *b) {
    const place *x = a, *y = b;
    const int ids = strcmp(x->c->id, y->c->id);
    return ids != 0 ? ids : (x->order > y->order) - (x->order < y->order);
}

typedef struct ordered_row {
    gdn_matrix_row row;
    size_t order;
} ordered_row;

static int by_order(const void *a, const void *b) {
    const ordered_row *x = a, *y = b;
    return (x->order > y->order) - (x->order < y->order);
}

static void fill_row(gdn_matrix_row *row, const place *places, size_t count,
                     gdn_matrix *matrix) {
    const char *digest = "";
    size_t equal = 0;
    row->id = places[0].c->id;
    row->comparable = true;
    for (size_t i = 0; i < count; i++) {
        const gdn_case_result *c = places[i].c;
        row->cells[places[i].run] = c;
        if (c->digest[0] == '\0') {
            continue;
        }
        if (digest[0] != '\0' && strcmp(digest, c->digest) != 0) {
            row->comparable = false;
        }
        equal += digest[0] != '\0';
        digest = c->digest;
    }
    matrix->comparable += row->comparable && equal > 0;
}

static void fill_rows(gdn_matrix *matrix, const place *places, size_t n_places,
                      ordered_row *rows) {
    for (size_t i = 0; i < n_places;) {
        size_t end = i + 1;
        while (end < n_places && strcmp(places[end].c->id, places[i].c->id) == 0) {
            end++;
        }
        ordered_row *row = &rows[matrix->n_rows];
        row->order = places[i].order;
        row->row.cells = matrix->cells + matrix->n_rows * matrix->n_runs;
        fill_row(&row->row, places + i, end - i, matrix);
        matrix->n_rows++;
        i = end;
    }
    qsort(rows, matrix->n_rows, sizeof *rows, by_order);
    for (size_t i = 0; i < matrix->n_rows; i++) {
        matrix->rows[i] = rows[i].row;
    }
}

gdn_status gdn_matrix_create(gdn_matrix *matrix, const gdn_run_result *runs, size_t n_runs,
                             gdn_error *err) {
    size_t total = 0;
    for (size_t i = 0; i < n_runs; i++) {
        total += runs[i].n_cases;
    }
    *matrix = (gdn_matrix){
        .runs = runs,
        .n_runs = n_runs,
        .rows = calloc(total + 1, sizeof *matrix->rows),
        .cells = calloc(total * n_runs + 1, sizeof *matrix->cells),
    };
    place *places = calloc(total + 1, sizeof *places);
    ordered_row *rows = calloc(total + 1, sizeof *rows);
    gdn_status status = GDN_OK;
    if (places && rows && matrix->rows && matrix->cells) {
        size_t n = 0;
        for (size_t i = 0; i < n_runs; i++) {
            for (size_t k = 0; k < runs[i].n_cases; k++, n++) {
                places[n] = (place){&runs[i].cases[k], i, n};
            }
        }
        qsort(places, n, sizeof *places, by_id);
        fill_rows(matrix, places, n, rows);
    } else {
        status = gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu cases", total);
        gdn_matrix_destroy(matrix);
    }
    free(places);
    free(rows);
    return status;
}

void gdn_matrix_destroy(gdn_matrix *matrix) {
    free(matrix->rows);
    free(matrix->cells);
    *matrix = (gdn_matrix){0};
}

static bool is_plain(const gdn_matrix *matrix, const gdn_matrix_row *row) {
    for (size_t i = 0; i < matrix->n_runs; i++) {
        if (!row->cells[i] || row->cells[i]->verdict != GDN_PASS) {
            return false;
        }
    }
    return row->comparable;
}

static void put_cell(FILE *out, const gdn_case_result *c, int width) {
    char text[48] = "-", number[16] = "";
    if (c && c->n_tensors > 0) {
        snprintf(number, sizeof number, " %.3g", gdn_case_budget(c));
    }
    if (c) {
        snprintf(text, sizeof text, "%s%s", gdn_verdict_name(c->verdict), number);
    }
    fprintf(out, "%-*s", width, text);
}

void gdn_matrix_text(const gdn_matrix *matrix, FILE *out) {
    for (size_t i = 0; i < matrix->n_runs; i++) {
        fprintf(out, "[%zu] ", i + 1);
        gdn_put_plain(out, matrix->runs[i].device);
        fputc('\n', out);
    }
    size_t plain = 0;
    for (size_t i = 0; i < matrix->n_rows; i++) {
        const gdn_matrix_row *row = &matrix->rows[i];
        if (is_plain(matrix, row)) {
            plain++;
            continue;
        }
        for (size_t k = 0; k < matrix->n_runs; k++) {
            put_cell(out, row->cells[k], 16);
        }
        gdn_put_plain(out, row->id);
        fputs(row->comparable ? "\n" : "  (other golden values)\n", out);
    }
    fprintf(out, "%zu cases, %zu comparable, %zu right on every device\n", matrix->n_rows,
            matrix->comparable, plain);
}

void gdn_matrix_markdown(const gdn_matrix *matrix, FILE *out) {
    gdn_limited md;
    gdn_limited_start(&md, out, GDN_MARKDOWN_MOST);
    FILE *line = gdn_limited_line(&md);
    fprintf(line,
            "%zu cases, %zu comparable. Listed: cases that are not right on every "
            "device.\n\n| case |",
            matrix->n_rows, matrix->comparable);
    for (size_t i = 0; i < matrix->n_runs; i++) {
        fputs(" <code>", line);
        gdn_put_markdown(line, matrix->runs[i].device);
        fputs("</code> |", line);
    }
    fputs("\n|---|", line);
    for (size_t i = 0; i < matrix->n_runs; i++) {
        fputs("---|", line);
    }
    fputs("\n", line);
    gdn_limited_end(&md);
    for (size_t i = 0; i < matrix->n_rows; i++) {
        const gdn_matrix_row *row = &matrix->rows[i];
        if (is_plain(matrix, row)) {
            continue;
        }
        line = gdn_limited_line(&md);
        fputs("| <code>", line);
        gdn_put_markdown(line, row->id);
        fputs(row->comparable ? "</code> |" : "</code> (other golden values) |", line);
        for (size_t k = 0; k < matrix->n_runs; k++) {
            fputc(' ', line);
            put_cell(line, row->cells[k], 0);
            fputs(" |", line);
        }
        fputs("\n", line);
        gdn_limited_end(&md);
    }
    gdn_limited_finish(&md);
}

json_t *gdn_matrix_json(const gdn_matrix *matrix) {
    json_t *devices = json_array();
    for (size_t i = 0; i < matrix->n_runs; i++) {
        json_array_append_new(devices, json_string(matrix->runs[i].device));
    }
    json_t *rows = json_array();
    for (size_t i = 0; i < matrix->n_rows; i++) {
        const gdn_matrix_row *row = &matrix->rows[i];
        json_t *cells = json_array();
        for (size_t k = 0; k < matrix->n_runs; k++) {
            const gdn_case_result *c = row->cells[k];
            json_array_append_new(
                cells, c ? json_pack("{s:s, s:o}", "verdict", gdn_verdict_name(c->verdict),
                                     "budget",
                                     c->n_tensors > 0 ? gdnp_number_json(gdn_case_budget(c))
                                                      : json_null())
                         : json_null());
        }
        json_array_append_new(rows,
                              json_pack("{s:s, s:b, s:o}", "id", row->id, "comparable",
                                        row->comparable, "cells", cells));
    }
    return json_pack("{s:i, s:o, s:I, s:o}", "schema", GDN_REPORT_SCHEMA, "devices",
                     devices, "comparable", (json_int_t)matrix->comparable, "rows", rows);
}
