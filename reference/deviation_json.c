/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <stdlib.h>

#include "gdn/json_check.h"
#include "gdn/profile.h"

static gdn_status read_row(gdn_deviation *row, const json_t *json, const char *where,
                           gdn_error *err) {
    static const char *const MEMBERS[] = {"name", "symptom", "field", "value", NULL};
    GDN_TRY(gdn_json_members(json, GDN_ERR_FORMAT, where, MEMBERS, err));
    const char **const texts[] = {&row->name, &row->symptom, &row->field, &row->value};
    for (size_t i = 0; MEMBERS[i]; i++) {
        GDN_TRY(gdn_json_text(texts[i], json, MEMBERS[i], GDN_ERR_FORMAT, where, err));
    }
    /* Tried on a scratch copy, so that a bad value is found here and not in the middle of a
     * run. */
    gdn_conventions scratch = gdn_conventions_default();
    gdn_error cause = {0};
    if (gdn_conventions_set(&scratch, row->field, row->value, &cause) != GDN_OK) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "%s: %s", where, cause.message);
    }
    row->evidence = "a file";
    row->touches = "";
    return GDN_OK;
}

gdn_status gdn_deviations_load(gdn_deviation_list *list, const char *path, gdn_error *err) {
    *list = (gdn_deviation_list){0};
    json_error_t bad;
    list->json = json_load_file(path, JSON_REJECT_DUPLICATES, &bad);
    if (!list->json) {
        const bool unread = json_error_code(&bad) == json_error_cannot_open_file;
        return gdn_error_set(err, unread ? GDN_ERR_IO : GDN_ERR_FORMAT, "%s:%d: %s", path,
                             bad.line, bad.text);
    }
    gdn_status status = GDN_OK;
    char root[GDN_JSON_WHERE];
    gdn_json_at(root, path, ": $");
    if (!json_is_array(list->json) || json_array_size(list->json) == 0) {
        status = gdn_json_unexpected(err, GDN_ERR_FORMAT, root, "an array of deviations",
                                     list->json);
    }
    const size_t count = json_array_size(list->json);
    list->items = calloc(count + 1, sizeof *list->items);
    if (status == GDN_OK && !list->items) {
        status = gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu deviations", count);
    }
    for (; status == GDN_OK && list->count < count; list->count++) {
        char where[GDN_JSON_WHERE];
        gdn_json_at(where, root, "[%zu]", list->count);
        status = read_row(&list->items[list->count],
                          json_array_get(list->json, list->count), where, err);
    }
    if (status != GDN_OK) {
        gdn_deviation_list_destroy(list);
    }
    return status;
}

void gdn_deviation_list_destroy(gdn_deviation_list *list) {
    free(list->items);
    json_decref(list->json);
    *list = (gdn_deviation_list){0};
}
