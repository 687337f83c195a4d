/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Heat maps, and the error against the token position. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "html.h"
#include "text.h"

#define LEFT 34.0
#define TOP  16.0
#define SIDE 256.0 /* of the longer side of a map */

typedef struct frame {
    double width, height; /* of a cell */
} frame;

/* Cells are no larger than 28 and no flatter than their labels can bear. */
static frame frame_of(const gdn_map *map) {
    const double most = 28.0;
    frame f = {.width = (320.0 - LEFT - 6.0) / map->column_bins,
               .height = SIDE / map->row_bins};
    f.width = f.width < most ? f.width : most;
    f.height = f.height < most ? f.height : most;
    return f;
}

/* Neighbours of one level are one rectangle. */
static void put_cells(FILE *out, const gdn_map *map, frame f) {
    for (int r = 0; r < map->row_bins; r++) {
        for (int c = 0; c < map->column_bins;) {
            const int level = gdnp_level((double)map->budget[r * map->column_bins + c]);
            int end = c + 1;
            while (end < map->column_bins &&
                   gdnp_level((double)map->budget[r * map->column_bins + end]) == level) {
                end++;
            }
            fprintf(out,
                    "<rect class=\"%s\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" "
                    "height=\"%.2f\"/>",
                    gdnp_level_class(level), LEFT + c * f.width, TOP + r * f.height,
                    (end - c) * f.width, f.height);
            c = end;
        }
    }
}

static void put_crosses(FILE *out, const gdn_map *map, frame f) {
    const double arm = (f.width < f.height ? f.width : f.height) * 0.22;
    fputs("<path class=\"x\" d=\"", out);
    for (int i = 0; i < map->row_bins * map->column_bins; i++) {
        if (gdnp_level((double)map->budget[i]) >= GDN_LEVEL_OVER) {
            const double x = LEFT + (i % map->column_bins + 0.5) * f.width;
            const double y = TOP + (i / map->column_bins + 0.5) * f.height;
            fprintf(out, "M%.1f %.1fl%.1f %.1fm0-%.1fl-%.1f %.1f", x - arm, y - arm,
                    2 * arm, 2 * arm, 2 * arm, 2 * arm, 2 * arm);
        }
    }
    fputs("\"/>", out);
}

static void put_axes(FILE *out, const gdn_map *map, frame f) {
    const double right = LEFT + map->column_bins * f.width;
    const double bottom = TOP + map->row_bins * f.height;
    fprintf(out, "<text class=\"tick\" x=\"%.1f\" y=\"11\">", LEFT);
    gdn_put_html(out, map->columns, false);
    fputs(" 0</text>", out);
    if (map->n_columns > 3) {
        fprintf(out,
                "<text class=\"tick\" x=\"%.1f\" y=\"11\" text-anchor=\"end\">%" PRId64
                "</text>",
                right > LEFT + 70 ? right : LEFT + 70, map->n_columns - 1);
    }
    fprintf(out, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">0</text>",
            LEFT - 4, TOP + 10);
    if (map->n_rows > 1) {
        fprintf(out,
                "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%" PRId64
                "</text>",
                LEFT - 4, bottom > TOP + 22 ? bottom - 1 : TOP + 22, map->n_rows - 1);
    }
}

static double mark_x(const gdn_map *map, frame f) {
    return LEFT + ((double)(map->first_column * map->column_bins / map->n_columns) + 0.5) *
                      f.width;
}

static double mark_y(const gdn_map *map, frame f) {
    return TOP + ((double)(map->first_row * map->row_bins / map->n_rows) + 0.5) * f.height;
}

static void put_caption(FILE *out, const gdn_map *map) {
    fputs("<figcaption><b>", out);
    gdn_put_html(out, map->tensor, false);
    fputs("</b>: ", out);
    gdn_put_html(out, map->rows, false);
    fputs(" (down) × ", out);
    gdn_put_html(out, map->columns, false);
    if (map->first_row >= 0) {
        fputs("; first divergence (ring): ", out);
        gdn_put_html(out, map->rows, false);
        fprintf(out, " %" PRId64 ", ", map->first_row);
        gdn_put_html(out, map->columns, false);
        fprintf(out, " %" PRId64, map->first_column);
    }
    if (map->n_rows > map->row_bins || map->n_columns > map->column_bins) {
        fprintf(out, "; a cell is the worst of %" PRId64 " × %" PRId64,
                (map->n_rows + map->row_bins - 1) / map->row_bins,
                (map->n_columns + map->column_bins - 1) / map->column_bins);
    }
    fputs("</figcaption>", out);
}

/* ---- error against token position ---- */

#define PLOT_HEIGHT 120.0
#define LOWEST      (-4.0) /* decades */
#define HIGHEST     4.0

static double plot_y(double budget) {
    double decade = budget > 0.0 ? log10(budget) : LOWEST;
    decade = fmin(fmax(decade, LOWEST), HIGHEST);
    return 10.0 + PLOT_HEIGHT * (HIGHEST - decade) / (HIGHEST - LOWEST);
}

static double worst_of_row(const gdn_map *map, int row) {
    double worst = -1.0;
    for (int c = 0; c < map->column_bins; c++) {
        worst = fmax(worst, (double)map->budget[row * map->column_bins + c]);
    }
    return worst;
}

static void put_plot(FILE *out, const gdn_map *map) {
    const double step = (320.0 - LEFT - 6.0) / map->row_bins;
    fputs("<path class=\"path\" d=\"", out);
    bool pen = false;
    for (int r = 0; r < map->row_bins; r++) {
        const double worst = worst_of_row(map, r);
        if (worst < 0.0) {
            pen = false;
            continue;
        }
        const double y = plot_y(worst);
        fprintf(out, "%c%.1f %.1fH%.1f", pen ? 'L' : 'M', LEFT + r * step, y,
                LEFT + (r + 1) * step);
        pen = true;
    }
    fputs("\"/>", out);
    fprintf(out, "<path class=\"axis\" d=\"M%.1f 10V%.1fH314\"/>", LEFT,
            10.0 + PLOT_HEIGHT);
    fprintf(out, "<path class=\"limit\" d=\"M%.1f %.1fH314\"/>", LEFT, plot_y(1.0));
    static const struct {
        double budget;
        const char *name;
    } TICKS[] = {{1e-4, "1e-4"}, {1e-2, ".01"}, {1.0, "limit"}, {1e2, "100"}, {1e4, "1e4"}};
    for (size_t i = 0; i < sizeof TICKS / sizeof TICKS[0]; i++) {
        fprintf(out,
                "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>",
                LEFT - 4, plot_y(TICKS[i].budget) + 4, TICKS[i].name);
    }
    fprintf(out,
            "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\">0</text><text class=\"tick\" "
            "x=\"314\" y=\"%.1f\" text-anchor=\"end\">token %" PRId64 "</text>",
            LEFT, 24.0 + PLOT_HEIGHT, 24.0 + PLOT_HEIGHT, map->n_rows - 1);
    if (map->first_row >= 0) {
        const int64_t bin = map->first_row * map->row_bins / map->n_rows;
        fprintf(out, "<circle class=\"ring\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"/>",
                LEFT + ((double)bin + 0.5) * step, plot_y(worst_of_row(map, (int)bin)));
    }
}

void gdnp_html_map(FILE *out, const gdn_map *map) {
    const frame f = frame_of(map);
    const double bottom = TOP + map->row_bins * f.height;
    fputs("<figure>", out);
    put_caption(out, map);
    fprintf(out,
            "<svg viewBox=\"0 0 320 %.0f\" role=\"img\" aria-label=\"heat map of the "
            "budget used\">",
            fmax(bottom, TOP + 26) + 6);
    put_cells(out, map, f);
    put_crosses(out, map, f);
    put_axes(out, map, f);
    if (map->first_row >= 0) {
        fprintf(out, "<circle class=\"ring\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/>",
                mark_x(map, f), mark_y(map, f),
                fmax(4.0, 0.6 * (f.width < f.height ? f.width : f.height)));
    }
    fputs("</svg></figure>\n", out);
    if (strcmp(map->rows, "token") == 0 && map->n_rows > 1) {
        fputs("<figure><figcaption><b>", out);
        gdn_put_html(out, map->tensor, false);
        fputs("</b>: budget used against the token position (row of the call)</figcaption>"
              "<svg viewBox=\"0 0 320 150\" role=\"img\" aria-label=\"budget used against "
              "the "
              "token position\">",
              out);
        put_plot(out, map);
        fputs("</svg></figure>\n", out);
    }
}
