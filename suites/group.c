/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "group.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "expand.h"
#include "gdn/json_check.h"
#include "pairwise.h"

typedef struct axis {
    const char *name;
    const json_t *values;
} axis;

typedef struct group {
    const json_t *json;
    const char *where;
    const json_t *base; ///< NULL: empty
    axis *axes;
    size_t *sizes;
    size_t n_axes, n_values;
    bool *excludes;
    size_t n_excludes;
} group;

/* What value v of an axis says about a member; NULL if nothing. */
static const json_t *axis_member(const axis *a, size_t v, const char *member) {
    const json_t *value = json_array_get(a->values, v);
    if (json_is_object(value)) {
        return json_object_get(value, member);
    }
    return strcmp(a->name, member) == 0 ? value : NULL;
}

static bool axis_sets(const axis *a, const char *member) {
    for (size_t v = 0; v < json_array_size(a->values); v++) {
        if (axis_member(a, v, member)) {
            return true;
        }
    }
    return false;
}

static gdn_status no_memory(const group *g, gdn_error *err) {
    return gdn_error_set(err, GDN_ERR_OOM, "%s: no memory to expand it", g->where);
}

/* Two axes that set one member would silently undo each other. */
static gdn_status check_overlap(const group *g, size_t a, gdn_error *err) {
    for (size_t v = 0; v < g->sizes[a]; v++) {
        json_t *value = json_array_get(g->axes[a].values, v);
        const char *member = g->axes[a].name;
        void *at = json_is_object(value) ? json_object_iter(value) : NULL;
        do {
            member = at ? json_object_iter_key(at) : member;
            for (size_t b = 0; b < a; b++) {
                if (axis_sets(&g->axes[b], member)) {
                    return gdn_error_set(
                        err, GDN_ERR_FORMAT,
                        "%s.axes.%s: expected members of its own but found "
                        "\"%s\", which axis \"%s\" sets too",
                        g->where, g->axes[a].name, member, g->axes[b].name);
                }
            }
            at = at ? json_object_iter_next(value, at) : NULL;
        } while (at);
    }
    return GDN_OK;
}

static gdn_status check_values(const group *g, size_t a, gdn_error *err) {
    char where[GDN_JSON_WHERE];
    const json_t *values = g->axes[a].values;
    for (size_t v = 0; v < json_array_size(values); v++) {
        const json_t *value = json_array_get(values, v);
        gdn_json_at(where, g->where, ".axes.%.48s[%zu]", g->axes[a].name, v);
        if (json_is_array(value) || json_is_null(value) ||
            (json_is_object(value) && json_object_size(value) == 0)) {
            return gdn_json_unexpected(err, GDN_ERR_FORMAT, where,
                                       "a value or an object of members", value);
        }
        for (size_t w = 0; w < v; w++) {
            if (json_equal(value, json_array_get(values, w))) {
                return gdn_json_unexpected(err, GDN_ERR_FORMAT, where, "each value once",
                                           value);
            }
        }
    }
    return check_overlap(g, a, err);
}

static gdn_status read_axes(group *g, gdn_error *err) {
    json_t *axes = json_object_get(g->json, "axes");
    if (axes && (!json_is_object(axes) || json_object_size(axes) == 0)) {
        char where[GDN_JSON_WHERE];
        gdn_json_at(where, g->where, ".axes");
        return gdn_json_unexpected(err, GDN_ERR_FORMAT, where, "an object of axes", axes);
    }
    g->axes = calloc(json_object_size(axes) + 1, sizeof *g->axes);
    g->sizes = calloc(json_object_size(axes) + 1, sizeof *g->sizes);
    if (!g->axes || !g->sizes) {
        return no_memory(g, err);
    }
    const char *name = NULL;
    json_t *values = NULL;
    json_object_foreach(axes, name, values) {
        if (!json_is_array(values) || json_array_size(values) == 0) {
            char where[GDN_JSON_WHERE];
            gdn_json_at(where, g->where, ".axes.%.48s", name);
            return gdn_json_unexpected(err, GDN_ERR_FORMAT, where, "a list of values",
                                       values);
        }
        const size_t a = g->n_axes++;
        g->axes[a] = (axis){.name = name, .values = values};
        g->sizes[a] = json_array_size(values);
        g->n_values += g->sizes[a];
        GDN_TRY(check_values(g, a, err));
    }
    return GDN_OK;
}

static bool matches(const json_t *pattern, const json_t *value) {
    if (!json_is_array(pattern)) {
        return json_equal(pattern, value);
    }
    for (size_t i = 0; i < json_array_size(pattern); i++) {
        if (json_equal(json_array_get(pattern, i), value)) {
            return true;
        }
    }
    return false;
}

/* Clears the flags of values that escape one member of an exclude. An exclude that can
 * never apply is a typing error: somebody relies on it. */
static gdn_status apply_member(const group *g, bool *flags, const char *member,
                               const json_t *pattern, const char *where, gdn_error *err) {
    const json_t *base = json_object_get(g->base, member);
    bool set = false;
    bool hit = false;
    for (size_t a = 0; a < g->n_axes; a++) {
        if (axis_sets(&g->axes[a], member)) {
            set = true;
            for (size_t v = 0; v < g->sizes[a]; v++) {
                const json_t *value = axis_member(&g->axes[a], v, member);
                value = value ? value : base;
                const bool match = value && matches(pattern, value);
                flags[v] = flags[v] && match;
                hit = hit || match;
            }
        }
        flags += g->sizes[a];
    }
    hit = set ? hit : base && matches(pattern, base);
    if (!hit) {
        char path[GDN_JSON_WHERE];
        gdn_json_at(path, where, ".%.48s", member);
        return gdn_json_unexpected(err, GDN_ERR_FORMAT, path, "a value that the group has",
                                   pattern);
    }
    return GDN_OK;
}

static gdn_status read_excludes(group *g, gdn_error *err) {
    const json_t *excludes = json_object_get(g->json, "exclude");
    char where[GDN_JSON_WHERE];
    if (excludes && !json_is_array(excludes)) {
        gdn_json_at(where, g->where, ".exclude");
        return gdn_json_unexpected(err, GDN_ERR_FORMAT, where, "a list", excludes);
    }
    g->n_excludes = json_array_size(excludes);
    g->excludes = malloc((g->n_excludes * g->n_values + 1) * sizeof *g->excludes);
    if (!g->excludes) {
        return no_memory(g, err);
    }
    for (size_t e = 0; e < g->n_excludes; e++) {
        json_t *exclude = json_array_get(excludes, e);
        bool *flags = g->excludes + e * g->n_values;
        for (size_t i = 0; i < g->n_values; i++) {
            flags[i] = true;
        }
        gdn_json_at(where, g->where, ".exclude[%zu]", e);
        if (!json_is_object(exclude) || json_object_size(exclude) == 0) {
            return gdn_json_unexpected(err, GDN_ERR_FORMAT, where, "an object of members",
                                       exclude);
        }
        const char *member = NULL;
        json_t *pattern = NULL;
        json_object_foreach(exclude, member, pattern) {
            GDN_TRY(apply_member(g, flags, member, pattern, where, err));
        }
    }
    return GDN_OK;
}

/* The base with the members of one row over it. New reference, NULL without memory. */
static json_t *row_case(const group *g, const size_t *row) {
    json_t *json = g->base ? json_copy((json_t *)g->base) : json_object();
    bool stored = json != NULL;
    for (size_t a = 0; stored && a < g->n_axes; a++) {
        json_t *value = json_array_get(g->axes[a].values, row[a]);
        stored =
            (json_is_object(value) ? json_object_update(json, value)
                                   : json_object_set(json, g->axes[a].name, value)) == 0;
    }
    if (!stored) {
        json_decref(json);
        return NULL;
    }
    return json;
}

static gdn_status check_uses(const group *g, const gdn_rows *rows, gdn_error *err) {
    for (size_t a = 0; a < g->n_axes; a++) {
        for (size_t v = 0; v < g->sizes[a]; v++) {
            bool used = false;
            for (size_t r = 0; !used && r < rows->n_rows; r++) {
                used = rows->values[r * g->n_axes + a] == v;
            }
            if (!used) {
                return gdn_error_set(err, GDN_ERR_FORMAT,
                                     "%s.axes.%s[%zu]: expected a value that the excludes "
                                     "leave in some case but found none",
                                     g->where, g->axes[a].name, v);
            }
        }
    }
    return GDN_OK;
}

static gdn_status expand_axes(const group *g, gdnp_case_sink *sink, void *context,
                              gdn_error *err) {
    const json_t *cover = json_object_get(g->json, "cover");
    const char *how = cover ? json_string_value(cover) : "pairs";
    if (!how || (strcmp(how, "pairs") != 0 && strcmp(how, "all") != 0)) {
        char where[GDN_JSON_WHERE];
        gdn_json_at(where, g->where, ".cover");
        return gdn_json_unexpected(err, GDN_ERR_FORMAT, where, "\"pairs\" or \"all\"",
                                   cover);
    }
    const gdn_axes axes = {.sizes = g->sizes,
                           .n_axes = g->n_axes,
                           .excludes = g->excludes,
                           .n_excludes = g->n_excludes};
    gdn_rows rows = {0};
    gdn_error cause = {0};
    gdn_status status = strcmp(how, "all") == 0
                            ? gdn_rows_all(&rows, &axes, GDN_SUITE_MOST, &cause)
                            : gdn_rows_pairs(&rows, &axes, &cause);
    if (status != GDN_OK) {
        return gdn_error_set(err, status == GDN_ERR_ARG ? GDN_ERR_FORMAT : status, "%s: %s",
                             g->where, cause.message);
    }
    status = check_uses(g, &rows, err);
    for (size_t r = 0; status == GDN_OK && r < rows.n_rows; r++) {
        json_t *json = row_case(g, rows.values + r * g->n_axes);
        status = json ? sink(context, json, g->where, err) : no_memory(g, err);
        json_decref(json);
    }
    gdn_rows_destroy(&rows);
    return status;
}

static gdn_status expand_cases(const group *g, gdnp_case_sink *sink, void *context,
                               gdn_error *err) {
    const json_t *cases = json_object_get(g->json, "cases");
    char where[GDN_JSON_WHERE];
    if (cases && (!json_is_array(cases) || json_array_size(cases) == 0)) {
        gdn_json_at(where, g->where, ".cases");
        return gdn_json_unexpected(err, GDN_ERR_FORMAT, where, "a list of cases", cases);
    }
    if (!cases && g->n_axes == 0) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "%s: expected axes or cases but found neither", g->where);
    }
    for (size_t i = 0; i < json_array_size(cases); i++) {
        json_t *members = json_array_get(cases, i);
        gdn_json_at(where, g->where, ".cases[%zu]", i);
        if (!json_is_object(members)) {
            return gdn_json_unexpected(err, GDN_ERR_FORMAT, where, "an object of members",
                                       members);
        }
        json_t *json = g->base ? json_copy((json_t *)g->base) : json_object();
        const bool stored = json && json_object_update(json, members) == 0;
        const gdn_status status =
            stored ? sink(context, json, where, err) : no_memory(g, err);
        json_decref(json);
        GDN_TRY(status);
    }
    return GDN_OK;
}

static gdn_status read_group(group *g, gdn_error *err) {
    static const char *const members[] = {"summary", "base",  "axes", "cover",
                                          "exclude", "cases", NULL};
    const char *summary = NULL;
    GDN_TRY(gdn_json_members(g->json, GDN_ERR_FORMAT, g->where, members, err));
    GDN_TRY(gdn_json_text(&summary, g->json, "summary", GDN_ERR_FORMAT, g->where, err));
    g->base = json_object_get(g->json, "base");
    if (g->base && !json_is_object(g->base)) {
        char where[GDN_JSON_WHERE];
        gdn_json_at(where, g->where, ".base");
        return gdn_json_unexpected(err, GDN_ERR_FORMAT, where, "an object of members",
                                   g->base);
    }
    GDN_TRY(read_axes(g, err));
    return read_excludes(g, err);
}

gdn_status gdnp_group_expand(const json_t *json, const char *where, gdnp_case_sink *sink,
                             void *context, gdn_error *err) {
    group g = {.json = json, .where = where};
    gdn_status status = read_group(&g, err);
    if (status == GDN_OK && g.n_axes > 0) {
        status = expand_axes(&g, sink, context, err);
    }
    if (status == GDN_OK) {
        status = expand_cases(&g, sink, context, err);
    }
    free(g.axes);
    free(g.sizes);
    free(g.excludes);
    return status;
}
