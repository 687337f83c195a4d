/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "tombstones.h"

#include <stdlib.h>
#include <unistd.h>

#include "manifest.h"

static gdn_status check_tombstones(const json_t *json, gdn_error *err) {
    json_t *tombstones = json_object_get(json, "tombstones");
    if (json_integer_value(json_object_get(json, "schema")) != 1 ||
        !json_is_object(tombstones) || json_object_size(json) != 2) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "expected schema 1 and tombstones, nothing else");
    }
    const char *id;
    json_t *stone;
    json_object_foreach(tombstones, id, stone) {
        const char *since = json_string_value(json_object_get(stone, "since"));
        const char *reason = json_string_value(json_object_get(stone, "reason"));
        if (!since || !reason || !*since || !*reason || json_object_size(stone) != 2) {
            return gdn_error_set(err, GDN_ERR_FORMAT,
                                 "tombstones.%s: expected since and reason", id);
        }
    }
    return GDN_OK;
}

gdn_status gdn_tombstones_read(json_t **tombstones, const char *folder, gdn_error *err) {
    json_error_t at;
    char *path = gdnp_vector_path(folder, "tombstones", ".json");
    if (!path) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a path");
    }
    gdn_status status = GDN_OK;
    if (access(path, F_OK) != 0) {
        *tombstones = json_object();
    } else {
        json_t *json = json_load_file(path, JSON_REJECT_DUPLICATES, &at);
        if (!json) {
            status = gdn_error_set(err, GDN_ERR_FORMAT, "%s:%d:%d: %s", path, at.line,
                                   at.column, at.text);
        } else if ((status = check_tombstones(json, err)) != GDN_OK) {
            gdn_error_context(err, "%s", path);
        } else {
            *tombstones = json_incref(json_object_get(json, "tombstones"));
        }
        json_decref(json);
    }
    free(path);
    return status;
}
