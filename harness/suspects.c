/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "suspects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Whether a row makes of these conventions what `field` = `value` makes of them. */
static bool is_covered(const gdn_suspects *suspects, const gdn_conventions *conventions,
                       const gdn_convention_field *field, const char *value) {
    for (size_t i = 0; i < suspects->n_rows; i++) {
        gdn_conventions bent = *conventions;
        char text[64];
        if (strcmp(suspects->items[i].field, field->name) == 0 &&
            gdn_deviation_apply(&suspects->items[i], &bent, NULL) == GDN_OK) {
            gdn_conventions_get(&bent, field, text, sizeof text);
            if (strcmp(text, value) == 0) {
                return true;
            }
        }
    }
    return false;
}

static gdn_status add_value(gdn_suspects *suspects, const gdn_convention_field *field,
                            const char *value, const char *now, gdn_error *err) {
    char *name = NULL, *symptom = NULL;
    if (asprintf(&name, "%s=%s", field->name, value) >= 0) {
        suspects->texts[suspects->n_texts++] = name;
        if (asprintf(&symptom, "%s: \"%s\" is obeyed where the profile says \"%s\"",
                     field->what, value, now) >= 0) {
            suspects->texts[suspects->n_texts++] = symptom;
            suspects->items[suspects->count++] = (gdn_deviation){
                .name = name,
                .symptom = symptom,
                .evidence = "a value that other profiles choose",
                .field = field->name,
                .value = value,
                .touches = "",
            };
            return GDN_OK;
        }
    }
    return gdn_error_set(err, GDN_ERR_OOM, "no memory for a suspect");
}

/* Classes and their rounding points are no conventions that a result could obey: they widen
 * limits and move nothing. */
static bool is_class(const gdn_convention_field *field) {
    return strcmp(field->name, "numeric_class") == 0 ||
           strcmp(field->name, "chunk_class") == 0 ||
           strcmp(field->name, "chunk_decay") == 0;
}

static gdn_status add_values(gdn_suspects *suspects, const gdn_conventions *conventions,
                             const gdn_convention_field *field, gdn_error *err) {
    char now[64];
    gdn_conventions_get(conventions, field, now, sizeof now);
    for (int v = 0; v < field->correct; v++) {
        const char *value = field->values[v];
        if (strcmp(value, now) != 0 && !is_covered(suspects, conventions, field, value)) {
            GDN_TRY(add_value(suspects, field, value, now, err));
        }
    }
    return GDN_OK;
}

gdn_status gdn_suspects_create(gdn_suspects *suspects, const gdn_conventions *conventions,
                               const gdn_deviation *more, size_t n_more, gdn_error *err) {
    size_t n_table, n_fields;
    const gdn_deviation *table = gdn_deviations(&n_table);
    const gdn_convention_field *fields = gdn_convention_fields(&n_fields);
    size_t values = 0;
    for (size_t f = 0; f < n_fields; f++) {
        values += fields[f].kind == GDN_FIELD_ENUM ? (size_t)fields[f].correct : 0;
    }
    const size_t most = n_table + n_more + values;
    *suspects = (gdn_suspects){
        .items = calloc(most + 1, sizeof *suspects->items),
        .texts = calloc(2 * values + 1, sizeof *suspects->texts),
        .n_rows = n_table + n_more,
        .count = n_table + n_more,
    };
    if (!suspects->items || !suspects->texts) {
        gdn_suspects_destroy(suspects);
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu suspects", most);
    }
    memcpy(suspects->items, table, n_table * sizeof *table);
    if (n_more > 0) {
        memcpy(suspects->items + n_table, more, n_more * sizeof *more);
    }
    gdn_status status = GDN_OK;
    for (size_t f = 0; status == GDN_OK && f < n_fields; f++) {
        if (fields[f].kind == GDN_FIELD_ENUM && !is_class(&fields[f])) {
            status = add_values(suspects, conventions, &fields[f], err);
        }
    }
    if (status != GDN_OK) {
        gdn_suspects_destroy(suspects);
    }
    return status;
}

void gdn_suspects_destroy(gdn_suspects *suspects) {
    for (size_t i = 0; i < suspects->n_texts; i++) {
        free(suspects->texts[i]);
    }
    free(suspects->texts);
    free(suspects->items);
    *suspects = (gdn_suspects){0};
}
