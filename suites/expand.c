/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "expand.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gdn/json_check.h"
#include "group.h"

#define MOST_SUITES 64

/* Where a case comes from, for the message that names both. */
typedef struct origin {
    const char *suite; ///< into loader.loaded
    char *place;
} origin;

typedef struct loader {
    const char *suites_dir, *profiles_dir;
    gdn_suite *suite;
    origin *origins; ///< one a case
    size_t capacity;
    char *loaded[MOST_SUITES]; ///< every suite met; a second include of one adds nothing
    bool finished[MOST_SUITES];
    size_t n_loaded;
    size_t current; ///< into loaded
    bool included;  ///< the current suite is not the one asked for
} loader;

static gdn_status no_memory(gdn_error *err) {
    return gdn_error_set(err, GDN_ERR_OOM, "no memory for a suite");
}

static gdn_status make_room(loader *l, gdn_error *err) {
    if (l->suite->n_cases < l->capacity) {
        return GDN_OK;
    }
    const size_t capacity = l->capacity * 2 + 64;
    gdn_case *cases = realloc(l->suite->cases, capacity * sizeof *cases);
    if (cases) {
        l->suite->cases = cases;
    }
    origin *origins = realloc(l->origins, capacity * sizeof *origins);
    if (origins) {
        l->origins = origins;
    }
    if (!cases || !origins) {
        return no_memory(err);
    }
    l->capacity = capacity;
    return GDN_OK;
}

/* An id says all that a case is, so the same id from two included suites is one case;
 * within one file it is a mistake. */
static gdn_status find_twin(const loader *l, const char *id, const char *where, bool *found,
                            gdn_error *err) {
    const char *suite = l->loaded[l->current];
    for (size_t i = 0; i < l->suite->n_cases; i++) {
        if (strcmp(l->suite->cases[i].id, id) != 0) {
            continue;
        }
        *found = true;
        if (l->included && strcmp(l->origins[i].suite, suite) != 0) {
            return GDN_OK;
        }
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "%s: expected ids to be unique but found %s, which %s has too",
                             where, id, l->origins[i].place);
    }
    *found = false;
    return GDN_OK;
}

static gdn_status add_case(void *context, const json_t *json, const char *where,
                           gdn_error *err) {
    loader *l = context;
    gdn_case test = {0};
    gdn_error cause = {0};
    gdn_status status = gdn_case_from_json(&test, json, l->profiles_dir, &cause);
    if (status != GDN_OK) {
        char *text = json_dumps(json, JSON_COMPACT);
        gdn_error_set(err, status == GDN_ERR_ARG ? GDN_ERR_FORMAT : status,
                      "%s: %s in case %.320s", where, cause.message, text ? text : "");
        free(text);
        return status == GDN_ERR_ARG ? GDN_ERR_FORMAT : status;
    }
    bool twin = false;
    status = find_twin(l, test.id, where, &twin, err);
    if (status == GDN_OK && !twin) {
        status = make_room(l, err);
    }
    if (status != GDN_OK || twin) {
        gdn_case_destroy(&test);
        return status;
    }
    const origin from = {.suite = l->loaded[l->current], .place = strdup(where)};
    l->origins[l->suite->n_cases] = from;
    l->suite->cases[l->suite->n_cases++] = test;
    return from.place ? GDN_OK : no_memory(err);
}

static gdn_status load_file(loader *l, const char *name, bool included, gdn_error *err);

static gdn_status load_includes(loader *l, const json_t *root, const char *where,
                                gdn_error *err) {
    const json_t *include = json_object_get(root, "include");
    char path[GDN_JSON_WHERE];
    if (include && !json_is_array(include)) {
        gdn_json_at(path, where, ".include");
        return gdn_json_unexpected(err, GDN_ERR_FORMAT, path, "a list of suites", include);
    }
    for (size_t i = 0; i < json_array_size(include); i++) {
        const json_t *item = json_array_get(include, i);
        gdn_json_at(path, where, ".include[%zu]", i);
        if (!json_is_string(item)) {
            return gdn_json_unexpected(err, GDN_ERR_FORMAT, path, "a suite's name", item);
        }
        gdn_error cause = {0};
        const gdn_status status = load_file(l, json_string_value(item), true, &cause);
        if (status == GDN_ERR_ARG) {
            return gdn_error_set(err, GDN_ERR_FORMAT, "%s: %s", path, cause.message);
        }
        if (status != GDN_OK) {
            return gdn_error_set(err, status, "%s", cause.message);
        }
    }
    return GDN_OK;
}

static gdn_status load_root(loader *l, const json_t *root, size_t index, bool included,
                            const char *where, gdn_error *err) {
    static const char *const members[] = {"schema",  "suite",  "summary", "seconds",
                                          "include", "groups", NULL};
    const char *summary = NULL;
    char path[GDN_JSON_WHERE];
    GDN_TRY(gdn_json_members(root, GDN_ERR_FORMAT, where, members, err));
    GDN_TRY(gdn_json_text(&summary, root, "summary", GDN_ERR_FORMAT, where, err));
    const json_t *seconds = json_object_get(root, "seconds");
    if (seconds && !(json_is_number(seconds) && json_number_value(seconds) > 0.0)) {
        gdn_json_at(path, where, ".seconds");
        return gdn_json_unexpected(err, GDN_ERR_FORMAT, path, "seconds above 0", seconds);
    }
    if (!included) {
        l->suite->seconds = json_number_value(seconds);
        l->suite->summary = strdup(summary);
        if (!l->suite->summary) {
            return no_memory(err);
        }
    }
    GDN_TRY(load_includes(l, root, where, err));
    l->current = index;
    l->included = included;
    const json_t *groups = json_object_get(root, "groups");
    if (groups ? !json_is_array(groups) : !json_object_get(root, "include")) {
        gdn_json_at(path, where, ".groups");
        return gdn_json_unexpected(err, GDN_ERR_FORMAT, path, "a list of groups", groups);
    }
    for (size_t i = 0; i < json_array_size(groups); i++) {
        gdn_json_at(path, where, ".groups[%zu]", i);
        GDN_TRY(gdnp_group_expand(json_array_get(groups, i), path, add_case, l, err));
    }
    return GDN_OK;
}

static gdn_status load_file(loader *l, const char *name, bool included, gdn_error *err) {
    for (size_t i = 0; i < l->n_loaded; i++) {
        if (strcmp(l->loaded[i], name) == 0) {
            return l->finished[i]
                       ? GDN_OK
                       : gdn_error_set(err, GDN_ERR_FORMAT,
                                       "suite %s: expected no circle of includes but found "
                                       "one back to it",
                                       name);
        }
    }
    json_t *root = NULL;
    char where[GDN_JSON_WHERE];
    GDN_TRY(
        gdn_json_open(&root, l->suites_dir, "suite", name, GDN_SUITE_SCHEMA, where, err));
    gdn_status status = GDN_OK;
    if (l->n_loaded == MOST_SUITES) {
        status = gdn_error_set(err, GDN_ERR_FORMAT, "%s: expected at most %d suites", where,
                               MOST_SUITES);
    } else if (!(l->loaded[l->n_loaded] = strdup(name))) {
        status = no_memory(err);
    } else {
        const size_t index = l->n_loaded++;
        status = load_root(l, root, index, included, where, err);
        l->finished[index] = true;
    }
    json_decref(root);
    return status;
}

static gdn_status load_all(loader *l, gdn_error *err) {
    gdn_names names = {0};
    l->suite->summary = strdup("every suite");
    if (!l->suite->summary) {
        return no_memory(err);
    }
    GDN_TRY(gdn_suite_names(&names, l->suites_dir, err));
    gdn_status status = GDN_OK;
    for (size_t i = 0; status == GDN_OK && i < names.count; i++) {
        status = load_file(l, names.items[i], true, err);
    }
    gdn_names_destroy(&names);
    return status;
}

gdn_status gdn_suite_load(gdn_suite *suite, const char *suites_dir,
                          const char *profiles_dir, const char *name, gdn_error *err) {
    *suite = (gdn_suite){.name = strdup(name)};
    loader l = {.suites_dir = suites_dir, .profiles_dir = profiles_dir, .suite = suite};
    gdn_status status = !suite->name               ? no_memory(err)
                        : strcmp(name, "all") == 0 ? load_all(&l, err)
                                                   : load_file(&l, name, false, err);
    for (size_t i = 0; i < suite->n_cases; i++) {
        free(l.origins[i].place);
    }
    free(l.origins);
    for (size_t i = 0; i < l.n_loaded; i++) {
        free(l.loaded[i]);
    }
    if (status == GDN_OK && suite->n_cases == 0) {
        status = gdn_error_set(err, GDN_ERR_FORMAT,
                               "suite %s: expected cases but found none", name);
    }
    if (status != GDN_OK) {
        gdn_suite_destroy(suite);
    }
    return status;
}

void gdn_suite_destroy(gdn_suite *suite) {
    for (size_t i = 0; i < suite->n_cases; i++) {
        gdn_case_destroy(&suite->cases[i]);
    }
    free(suite->cases);
    free(suite->name);
    free(suite->summary);
    *suite = (gdn_suite){0};
}

gdn_status gdn_suite_names(gdn_names *names, const char *suites_dir, gdn_error *err) {
    return gdn_names_list(names, suites_dir, err);
}
