/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "gdn/json_check.h"

#include "gdn/nearest.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void gdn_json_at(char path[GDN_JSON_WHERE], const char *where, const char *fmt, ...) {
    const int used = snprintf(path, GDN_JSON_WHERE, "%s", where);
    if (used >= 0 && used < GDN_JSON_WHERE) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(path + used, (size_t)(GDN_JSON_WHERE - used), fmt, args);
        va_end(args);
    }
}

gdn_status gdn_json_unexpected(gdn_error *err, gdn_status status, const char *where,
                               const char *expected, const json_t *found) {
    char *text = found ? json_dumps(found, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    const bool cut = text && strlen(text) > 120;
    gdn_error_set(err, status, "%s: expected %s but found %.120s%s", where, expected,
                  text ? text : "nothing", cut ? ".." : "");
    free(text);
    return status;
}

gdn_status gdn_json_members(const json_t *object, gdn_status status, const char *where,
                            const char *const *allowed, gdn_error *err) {
    if (!json_is_object(object)) {
        return gdn_json_unexpected(err, status, where, "an object", object);
    }
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)object, name, value) {
        bool known = false;
        for (size_t i = 0; !known && allowed[i]; i++) {
            known = strcmp(allowed[i], name) == 0;
        }
        if (!known) {
            char what[GDN_JSON_WHERE];
            gdn_json_at(what, where, ": member name");
            return gdn_error_unknown(err, status, what, name, allowed);
        }
    }
    return GDN_OK;
}

gdn_status gdn_json_text(const char **text, const json_t *object, const char *member,
                         gdn_status status, const char *where, gdn_error *err) {
    const json_t *value = json_object_get(object, member);
    if (!json_is_string(value)) {
        char path[GDN_JSON_WHERE];
        gdn_json_at(path, where, ".%s", member);
        return gdn_json_unexpected(err, status, path, "text", value);
    }
    *text = json_string_value(value);
    return GDN_OK;
}

static gdn_status read_file(json_t **json, const char *path, gdn_error *err) {
    json_error_t error;
    errno = 0;
    *json = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (*json) {
        return GDN_OK;
    }
    if (json_error_code(&error) == json_error_cannot_open_file) {
        return gdn_error_set(err, GDN_ERR_IO, "%s: %s", path, strerror(errno));
    }
    return gdn_error_set(err, GDN_ERR_FORMAT, "%s:%d:%d: %s", path, error.line,
                         error.column, error.text);
}

static gdn_status check_head(const json_t *json, const char *kind, const char *name,
                             int schema, const char *where, gdn_error *err) {
    char text[GDN_JSON_WHERE];
    if (!json_is_object(json)) {
        return gdn_json_unexpected(err, GDN_ERR_FORMAT, where, "an object", json);
    }
    const json_t *version = json_object_get(json, "schema");
    const json_int_t number = json_integer_value(version);
    if (!json_is_integer(version) || number < 1 || number > schema) {
        char expected[96];
        snprintf(expected, sizeof expected,
                 number > schema ? "%d or older (a newer gdn-conform wrote this)"
                                 : "a schema version from 1 to %d",
                 schema);
        gdn_json_at(text, where, ".schema");
        return gdn_json_unexpected(err, GDN_ERR_FORMAT, text, expected, version);
    }
    const char *found = NULL;
    GDN_TRY(gdn_json_text(&found, json, kind, GDN_ERR_FORMAT, where, err));
    if (strcmp(found, name) != 0) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "%s.%s: expected the file's name \"%s\" but found \"%.120s\"",
                             where, kind, name, found);
    }
    return GDN_OK;
}

gdn_status gdn_json_open(json_t **json, const char *dir, const char *kind, const char *name,
                         int schema, char where[GDN_JSON_WHERE], gdn_error *err) {
    /* Looked up in the listing rather than opened: a name is never a path. */
    gdn_names names = {0};
    GDN_TRY(gdn_names_list(&names, dir, err));
    bool exists = false;
    for (size_t i = 0; i < names.count; i++) {
        exists = exists || strcmp(names.items[i], name) == 0;
    }
    if (!exists) {
        const gdn_status status = gdn_error_unknown(err, GDN_ERR_ARG, kind, name,
                                                    (const char *const *)names.items);
        gdn_names_destroy(&names);
        return status;
    }
    gdn_names_destroy(&names);
    char path[PATH_MAX];
    const int n = snprintf(path, sizeof path, "%s/%s.json", dir, name);
    if (n < 0 || (size_t)n >= sizeof path) {
        return gdn_error_set(err, GDN_ERR_IO, "%s: %s", dir, strerror(ENAMETOOLONG));
    }
    GDN_TRY(read_file(json, path, err));
    /* Messages need the end of a long path, where the file's name is. */
    const int room = GDN_JSON_WHERE / 2;
    const char *shown = n <= room ? path : path + n - room;
    snprintf(where, GDN_JSON_WHERE, "%s%.*s: $", shown == path ? "" : "..", room, shown);
    const gdn_status status = check_head(*json, kind, name, schema, where, err);
    if (status != GDN_OK) {
        json_decref(*json);
        *json = NULL;
    }
    return status;
}
