/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "hunts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gdn/json_check.h"

#define HUNTS_SCHEMA 2

static bool is_visible(const gdn_kill_matrix *matrix, size_t row, size_t mutant) {
    return matrix->sights[row * matrix->n_mutants + mutant] >= GDN_SIGHT_SURVIVES;
}

static bool kills(const gdn_kill_matrix *matrix, size_t row, size_t mutant) {
    return matrix->sights[row * matrix->n_mutants + mutant] == GDN_SIGHT_KILLED;
}

static json_t *hunted(const gdn_kill_matrix *matrix, size_t row) {
    json_t *list = json_array();
    for (size_t m = 0; m < matrix->n_mutants; m++) {
        if (kills(matrix, row, m)) {
            json_array_append_new(list, json_string(matrix->mutants[m].deviation->name));
        }
    }
    return list;
}

json_t *gdn_hunts_json(const gdn_hunts_limits *limits, const char *suite) {
    const gdn_kill_matrix *own = limits->matrices;
    json_t *names = json_array(), *hunts = json_object(), *visible = json_object(),
           *unseen = json_object();
    for (size_t m = 0; m < own->n_mutants; m++) {
        json_array_append_new(names, json_string(own->mutants[m].deviation->name));
    }
    for (size_t row = 0; row < own->n_ids; row++) {
        if (own->full[row]) {
            json_object_set_new(hunts, own->ids[row], hunted(own, row));
        }
    }
    for (size_t i = 0; i < limits->count; i++) {
        const gdn_kill_matrix *matrix = &limits->matrices[i];
        json_t *none = json_array();
        json_int_t seen = 0;
        for (size_t m = 0; m < matrix->n_mutants; m++) {
            for (size_t row = 0; row < matrix->n_ids; row++) {
                seen += matrix->full[row] && is_visible(matrix, row, m);
            }
            if (matrix->mutants[m].visible == 0) {
                json_array_append(none, json_array_get(names, m));
            }
        }
        json_object_set_new(visible, limits->names[i], json_integer(seen));
        json_object_set_new(unseen, limits->names[i], none);
    }
    return json_pack("{s:i, s:s, s:o, s:o, s:o, s:o}", "schema", HUNTS_SCHEMA, "suite",
                     suite, "deviations", names, "visible", visible, "unseen", unseen,
                     "hunts", hunts);
}

static size_t find_row(const gdn_kill_matrix *matrix, const char *id) {
    size_t row = 0;
    while (row < matrix->n_ids && strcmp(matrix->ids[row], id) != 0) {
        row++;
    }
    return row;
}

static size_t find_mutant(const gdn_kill_matrix *matrix, const char *name) {
    size_t m = 0;
    while (m < matrix->n_mutants && strcmp(matrix->mutants[m].deviation->name, name) != 0) {
        m++;
    }
    return m;
}

static void check_case(const gdn_kill_matrix *own, const char *id, const json_t *list,
                       FILE *losses) {
    const size_t row = find_row(own, id);
    if (row == own->n_ids) {
        fprintf(losses, "%s: the suite has no such case\n", id);
    }
    for (size_t i = 0; row < own->n_ids && i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        const size_t m = find_mutant(own, name ? name : "");
        if (m == own->n_mutants || !kills(own, row, m)) {
            fprintf(losses, "%s: hunts %s and does not kill it\n", id, name ? name : "?");
        }
    }
}

static bool lists(const json_t *array, const char *name) {
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *item = json_string_value(json_array_get(array, i));
        if (item && strcmp(item, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Pairs of the file's cases and deviations, and deviations, that one set of limits shows. */
static void check_limits(const gdn_kill_matrix *matrix, const char *limits,
                         const json_t *root, FILE *losses) {
    const json_t *names = json_object_get(root, "deviations");
    const json_t *unseen = json_object_get(json_object_get(root, "unseen"), limits);
    const json_t *floor = json_object_get(json_object_get(root, "visible"), limits);
    json_int_t visible = 0;
    const char *id;
    json_t *hunted;
    for (size_t i = 0; floor && i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        const size_t m = find_mutant(matrix, name ? name : "");
        if (!lists(unseen, name ? name : "") &&
            (m == matrix->n_mutants || matrix->mutants[m].visible == 0)) {
            fprintf(losses, "%s is not visible any more by limits of %s\n", name, limits);
        }
        json_object_foreach(json_object_get(root, "hunts"), id, hunted) {
            const size_t row = find_row(matrix, id);
            visible +=
                row < matrix->n_ids && m < matrix->n_mutants && is_visible(matrix, row, m);
        }
    }
    if (floor && visible < json_integer_value(floor)) {
        fprintf(losses, "limits of %s: %lld visible pairs, and the floor is %lld\n", limits,
                (long long)visible, (long long)json_integer_value(floor));
    }
}

static gdn_status check_file(const gdn_hunts_limits *limits, const json_t *root,
                             const char *where, FILE *losses, gdn_error *err) {
    static const char *const MEMBERS[] = {"schema", "suite", "deviations", "visible",
                                          "unseen", "hunts", NULL};
    GDN_TRY(gdn_json_members(root, GDN_ERR_FORMAT, where, MEMBERS, err));
    if (!json_is_array(json_object_get(root, "deviations")) ||
        !json_is_object(json_object_get(root, "visible")) ||
        !json_is_object(json_object_get(root, "unseen")) ||
        !json_is_object(json_object_get(root, "hunts"))) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "%s: expected deviations, visible, unseen and hunts", where);
    }
    const char *id;
    json_t *list;
    json_object_foreach(json_object_get(root, "hunts"), id, list) {
        check_case(limits->matrices, id, list, losses);
    }
    for (size_t i = 0; i < limits->count; i++) {
        check_limits(&limits->matrices[i], limits->names[i], root, losses);
    }
    return GDN_OK;
}

/* `*root` NULL if the suite has no file. */
static gdn_status open_file(json_t **root, const char *suite, const gdn_paths *paths,
                            char where[GDN_JSON_WHERE], gdn_error *err) {
    char dir[PATH_MAX], path[PATH_MAX];
    const int n = snprintf(dir, sizeof dir, "%s/../hunts", paths->suites);
    const int m = snprintf(path, sizeof path, "%s/../hunts/%s.json", paths->suites, suite);
    *root = NULL;
    if (n < 0 || m < 0 || (size_t)n >= sizeof dir || (size_t)m >= sizeof path ||
        access(path, F_OK) != 0) {
        return GDN_OK;
    }
    return gdn_json_open(root, dir, "suite", suite, HUNTS_SCHEMA, where, err);
}

gdn_status gdn_hunts_watched(char ***ids, const char *suite, const gdn_paths *paths,
                             gdn_error *err) {
    char where[GDN_JSON_WHERE];
    json_t *root, *list;
    const char *id;
    size_t n = 0;
    *ids = NULL;
    GDN_TRY(open_file(&root, suite, paths, where, err));
    json_t *hunts = json_object_get(root, "hunts");
    if (!root) {
        return GDN_OK;
    }
    *ids = calloc(json_object_size(hunts) + 1, sizeof **ids);
    bool room = *ids != NULL;
    json_object_foreach(hunts, id, list) {
        if (room) {
            (*ids)[n] = strdup(id);
            room = (*ids)[n++] != NULL;
        }
    }
    json_decref(root);
    if (!room) {
        gdn_hunts_free_watched(*ids);
        *ids = NULL;
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu ids", n);
    }
    return GDN_OK;
}

void gdn_hunts_free_watched(char **ids) {
    for (size_t i = 0; ids && ids[i]; i++) {
        free(ids[i]);
    }
    free(ids);
}

gdn_status gdn_hunts_check(const gdn_hunts_limits *limits, const char *suite,
                           const gdn_paths *paths, bool *holds, char **losses,
                           gdn_error *err) {
    char where[GDN_JSON_WHERE];
    json_t *root = NULL;
    size_t size = 0;
    *holds = true;
    *losses = NULL;
    GDN_TRY(open_file(&root, suite, paths, where, err));
    if (!root) {
        return GDN_OK;
    }
    FILE *out = open_memstream(losses, &size);
    gdn_status status = out ? check_file(limits, root, where, out, err)
                            : gdn_error_set(err, GDN_ERR_OOM, "no memory for losses");
    if (out) {
        fclose(out);
    }
    json_decref(root);
    *holds = status == GDN_OK && size == 0;
    return status;
}

size_t gdn_hunts_needed(const gdn_kill_matrix *matrix, size_t row) {
    size_t own = 0;
    for (size_t m = 0; m < matrix->n_mutants; m++) {
        size_t others = 0;
        for (size_t r = 0; r < matrix->n_ids; r++) {
            others += r != row && kills(matrix, r, m);
        }
        own += kills(matrix, row, m) && others < GDN_MUTATE_KILLS;
    }
    return own;
}
