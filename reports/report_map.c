/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Maps as JSON. A budget needs three digits to be coloured by, so that is what is
 * stored. */
#include "report_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

json_t *gdnp_number_json(double x) {
    if (isfinite(x)) {
        return json_real(x);
    }
    return json_string(isnan(x) ? "nan" : x > 0 ? "inf" : "-inf");
}

static json_t *cell_json(float budget) {
    if (budget < 0.0F) {
        return json_null();
    }
    char text[32];
    snprintf(text, sizeof text, "%.3g", (double)budget);
    return isfinite(budget) ? json_real(strtod(text, NULL)) : json_string("inf");
}

json_t *gdnp_map_json(const gdn_map *map) {
    json_t *cells = json_array();
    for (int i = 0; i < map->row_bins * map->column_bins; i++) {
        json_array_append_new(cells, cell_json(map->budget[i]));
    }
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:i, s:i, s:I, s:I, s:o}", "tensor",
                     map->tensor, "rows", map->rows, "columns", map->columns, "n_rows",
                     (json_int_t)map->n_rows, "n_columns", (json_int_t)map->n_columns,
                     "row_bins", map->row_bins, "column_bins", map->column_bins,
                     "first_row", (json_int_t)map->first_row, "first_column",
                     (json_int_t)map->first_column, "budget", cells);
}

static gdn_status read_cells(gdn_map *map, const json_t *cells, const char *where,
                             gdn_error *err) {
    const size_t count = (size_t)(map->row_bins * map->column_bins);
    if (!json_is_array(cells) || json_array_size(cells) != count) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "%s.budget: expected %zu numbers (row_bins * column_bins) but "
                             "found %zu",
                             where, count, json_array_size(cells));
    }
    map->budget = malloc((count + 1) * sizeof *map->budget);
    if (!map->budget) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a map");
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *cell = json_array_get(cells, i);
        if (json_is_null(cell)) {
            map->budget[i] = -1.0F;
        } else if (json_is_number(cell) && json_number_value(cell) >= 0.0) {
            map->budget[i] = (float)json_number_value(cell);
        } else if (json_is_string(cell) && strcmp(json_string_value(cell), "inf") == 0) {
            map->budget[i] = INFINITY;
        } else {
            char at[GDN_JSON_WHERE];
            gdn_json_at(at, where, ".budget[%zu]", i);
            return gdn_json_unexpected(err, GDN_ERR_FORMAT, at,
                                       "null, \"inf\" or a number from 0", cell);
        }
    }
    return GDN_OK;
}

gdn_status gdnp_map_read(gdn_map *map, const json_t *json, const char *where,
                         gdn_error *err) {
    *map = (gdn_map){0};
    int64_t row_bins = 0, column_bins = 0;
    GDN_TRY(gdnp_read_text(map->tensor, sizeof map->tensor, json, "tensor", where, err));
    GDN_TRY(gdnp_read_text(map->rows, sizeof map->rows, json, "rows", where, err));
    GDN_TRY(gdnp_read_text(map->columns, sizeof map->columns, json, "columns", where, err));
    GDN_TRY(gdnp_read_int(&map->n_rows, json, "n_rows", 1, INT64_MAX, where, err));
    GDN_TRY(gdnp_read_int(&map->n_columns, json, "n_columns", 1, INT64_MAX, where, err));
    GDN_TRY(gdnp_read_int(&row_bins, json, "row_bins", 1, GDN_MAP_MOST, where, err));
    GDN_TRY(gdnp_read_int(&column_bins, json, "column_bins", 1, GDN_MAP_MOST, where, err));
    GDN_TRY(
        gdnp_read_int(&map->first_row, json, "first_row", -1, map->n_rows - 1, where, err));
    GDN_TRY(gdnp_read_int(&map->first_column, json, "first_column", -1, map->n_columns - 1,
                          where, err));
    map->row_bins = (int)row_bins;
    map->column_bins = (int)column_bins;
    return read_cells(map, json_object_get(json, "budget"), where, err);
}
