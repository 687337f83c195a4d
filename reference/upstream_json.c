/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "gdn/json_check.h"
#include "gdn/nearest.h"
#include "gdn/profile.h"

#include <string.h>

static const char *const METRICS[] = {"allclose", "rms_ratio", "nmse", NULL};

static gdn_status read_number(double *number, const json_t *object, const char *name,
                              const char *where, gdn_error *err) {
    const json_t *json = json_object_get(object, name);
    if (json && (!json_is_number(json) || !(json_number_value(json) >= 0.0))) {
        char path[GDN_JSON_WHERE];
        gdn_json_at(path, where, ".%s", name);
        return gdn_json_unexpected(err, GDN_ERR_FORMAT, path, "a number not below 0", json);
    }
    if (json) {
        *number = json_number_value(json);
    }
    return GDN_OK;
}

static gdn_status read_numbers(gdn_upstream *policy, const json_t *object,
                               const char *where, gdn_error *err) {
    GDN_TRY(read_number(&policy->atol, object, "atol", where, err));
    GDN_TRY(read_number(&policy->rtol, object, "rtol", where, err));
    return read_number(&policy->ratio, object, "ratio", where, err);
}

static gdn_status read_metric(gdn_upstream *policy, const json_t *object, const char *where,
                              gdn_error *err) {
    const char *name = NULL;
    GDN_TRY(gdn_json_text(&name, object, "metric", GDN_ERR_FORMAT, where, err));
    for (int i = 0; METRICS[i]; i++) {
        if (strcmp(METRICS[i], name) == 0) {
            policy->metric = (gdn_upstream_metric)i;
            return GDN_OK;
        }
    }
    char path[GDN_JSON_WHERE];
    gdn_json_at(path, where, ".metric");
    return gdn_error_unknown(err, GDN_ERR_FORMAT, path, name, METRICS);
}

gdn_status gdn_upstream_from_json(gdn_upstream *outputs, gdn_upstream *states,
                                  const json_t *root, const char *where, gdn_error *err) {
    static const char *const members[] = {"metric",    "atol",  "rtol",   "ratio",
                                          "equal_nan", "state", "source", NULL};
    static const char *const numbers[] = {"atol", "rtol", "ratio", NULL};
    const json_t *json = json_object_get(root, "upstream");
    char path[GDN_JSON_WHERE], state_path[GDN_JSON_WHERE];
    *outputs = (gdn_upstream){.metric = GDN_UPSTREAM_ALLCLOSE,
                              .atol = json ? 0.0 : 5e-2,
                              .rtol = json ? 0.0 : 5e-2,
                              .equal_nan = !json};
    if (json) {
        gdn_json_at(path, where, ".upstream");
        GDN_TRY(gdn_json_members(json, GDN_ERR_FORMAT, path, members, err));
        GDN_TRY(read_metric(outputs, json, path, err));
        GDN_TRY(read_numbers(outputs, json, path, err));
        const json_t *nan = json_object_get(json, "equal_nan");
        if (nan && !json_is_boolean(nan)) {
            gdn_json_at(state_path, path, ".equal_nan");
            return gdn_json_unexpected(err, GDN_ERR_FORMAT, state_path, "true or false",
                                       nan);
        }
        outputs->equal_nan = json_is_true(nan);
    }
    *states = *outputs;
    const json_t *state = json_object_get(json, "state");
    if (state) {
        gdn_json_at(state_path, path, ".state");
        GDN_TRY(gdn_json_members(state, GDN_ERR_FORMAT, state_path, numbers, err));
        GDN_TRY(read_numbers(states, state, state_path, err));
    }
    return GDN_OK;
}
