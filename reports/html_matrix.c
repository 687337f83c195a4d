/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The matrix of cases: op, layout and types downwards, mix and length across; a cell is as
 * bad as its worst case. */
#include <stdlib.h>
#include <string.h>

#include "case_facets.h"
#include "html.h"
#include "text.h"

#define MIXES   5
#define COLUMNS (MIXES * GDN_LENGTH_GROUPS)

static const char *const MIX_NAMES[MIXES] = {"prefill", "decode", "spec", "mixed", "other"};

typedef struct cell {
    size_t cases, red, declined;
    double budget;
    size_t worst; /* index of the case */
} cell;

typedef struct row {
    char op[40], layout[4], types[24];
    cell cells[COLUMNS];
} row;

typedef struct table {
    row *rows;
    size_t n_rows;
    bool used[COLUMNS];
} table;

static int column_of(const gdn_case_facets *facets) {
    int mix = 0;
    while (mix < MIXES - 1 && strcmp(MIX_NAMES[mix], facets->mix) != 0) {
        mix++;
    }
    return mix * GDN_LENGTH_GROUPS + gdn_length_group(facets->longest);
}

static row *find_row(table *t, const gdn_case_facets *facets) {
    for (size_t i = 0; i < t->n_rows; i++) {
        row *r = &t->rows[i];
        if (strcmp(r->op, facets->op) == 0 && strcmp(r->layout, facets->layout) == 0 &&
            strcmp(r->types, facets->types) == 0) {
            return r;
        }
    }
    row *rows = realloc(t->rows, (t->n_rows + 1) * sizeof *rows);
    if (!rows) {
        return NULL;
    }
    t->rows = rows;
    row *r = &rows[t->n_rows++];
    *r = (row){.cells = {{0}}};
    memcpy(r->op, facets->op, sizeof r->op);
    memcpy(r->layout, facets->layout, sizeof r->layout);
    memcpy(r->types, facets->types, sizeof r->types);
    for (int i = 0; i < COLUMNS; i++) {
        r->cells[i].budget = -1.0;
    }
    return r;
}

/* A red case outranks every budget: a crash has none. */
static void add_case(cell *c, const gdn_case_result *result, size_t index) {
    const bool red = gdn_verdict_is_red(result->verdict);
    const double budget = gdn_case_budget(result);
    if (c->cases == 0 || (red && c->red == 0) ||
        ((red || c->red == 0) && budget > c->budget)) {
        c->worst = index;
    }
    c->budget = budget > c->budget ? budget : c->budget;
    c->cases++;
    c->red += red;
    c->declined += !gdn_verdict_ran(result->verdict);
}

static int by_name(const void *a, const void *b) {
    const row *x = a, *y = b;
    const int op = strcmp(x->op, y->op);
    const int layout = strcmp(x->layout, y->layout);
    return op != 0 ? op : layout != 0 ? layout : strcmp(x->types, y->types);
}

static void put_head(FILE *out, const table *t) {
    fputs("<tr><th></th>", out);
    for (int mix = 0; mix < MIXES; mix++) {
        int span = 0;
        for (int g = 0; g < GDN_LENGTH_GROUPS; g++) {
            span += t->used[mix * GDN_LENGTH_GROUPS + g];
        }
        if (span > 0) {
            fprintf(out, "<th colspan=\"%d\" scope=\"colgroup\"><b>%s</b></th>", span,
                    MIX_NAMES[mix]);
        }
    }
    fputs("</tr>\n<tr><th>layout, types</th>", out);
    for (int i = 0; i < COLUMNS; i++) {
        if (t->used[i]) {
            fprintf(out, "<th scope=\"col\">%s</th>",
                    gdn_length_group_name(i % GDN_LENGTH_GROUPS));
        }
    }
    fputs("</tr>\n", out);
}

static void put_cell(FILE *out, const cell *c, const gdn_run_result *run, bool links) {
    if (c->cases == 0) {
        fputs("<td></td>", out);
        return;
    }
    const int level =
        c->red > 0 && c->budget <= 1.0 ? GDN_LEVELS - 1 : gdnp_level(c->budget);
    fprintf(out, "<td><%s class=\"m-%s\"", links ? "a" : "i", gdnp_level_class(level));
    if (links) {
        fprintf(out, " href=\"#c%zu\"", c->worst);
    }
    fputs(" title=\"", out);
    fprintf(out, "%zu cases, %zu red, %zu not run; worst budget ", c->cases, c->red,
            c->declined);
    gdn_put_number(out, c->budget >= 0.0 ? c->budget : 0.0);
    fputs(": ", out);
    gdn_put_html(out, run->cases[c->worst].id, false);
    fputs("\">", out);
    if (c->red > 0) {
        fprintf(out, "✕%zu", c->red);
    } else if (c->declined == c->cases) {
        fputs("–", out);
    } else {
        gdn_put_number(out, c->budget);
    }
    fputs(links ? "</a></td>" : "</i></td>", out);
}

static void put_rows(FILE *out, const table *t, const gdn_run_result *run, bool links) {
    int columns = 0;
    for (int k = 0; k < COLUMNS; k++) {
        columns += t->used[k];
    }
    for (size_t i = 0; i < t->n_rows; i++) {
        const row *r = &t->rows[i];
        if (i == 0 || strcmp(r->op, t->rows[i - 1].op) != 0) {
            fprintf(out, "<tr><th colspan=\"%d\" scope=\"rowgroup\"><b>", 1 + columns);
            gdn_put_html(out, r->op, false);
            fputs("</b></th></tr>\n", out);
        }
        fputs("<tr><th scope=\"row\">", out);
        gdn_put_html(out, r->layout, false);
        fputs(r->layout[0] ? " " : "", out);
        gdn_put_html(out, r->types, false);
        fputs("</th>", out);
        for (int k = 0; k < COLUMNS; k++) {
            if (t->used[k]) {
                put_cell(out, &r->cells[k], run, links);
            }
        }
        fputs("</tr>\n", out);
    }
}

void gdnp_html_matrix(FILE *out, const gdn_run_result *run, bool links) {
    table t = {.rows = NULL};
    for (size_t i = 0; i < run->n_cases; i++) {
        gdn_case_facets facets;
        gdn_case_facets_read(&facets, run->cases[i].id);
        row *r = find_row(&t, &facets);
        if (r) {
            const int column = column_of(&facets);
            add_case(&r->cells[column], &run->cases[i], i);
            t.used[column] = true;
        }
    }
    if (t.n_rows > 0) {
        qsort(t.rows, t.n_rows, sizeof *t.rows, by_name);
    }
    fputs(
        "<figure><figcaption>Worst budget of each kind of case; ✕ counts the red ones. "
        "Across: mix of sequences and tokens of the longest one. A cell leads to its worst "
        "case.</figcaption><div class=\"scroll\" role=\"region\" tabindex=\"0\" "
        "aria-label=\"matrix of cases\"><table class=\"matrix\">\n",
        out);
    put_head(out, &t);
    put_rows(out, &t, run, links);
    fputs("</table></div>\n", out);
    gdnp_html_legend(out);
    fputs("</figure>\n", out);
    free(t.rows);
}
