/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "hunts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gdn/json_check.h"

#define HUNTS_SCHEMA 1

static bool is_visible(const gdn_kill_matrix *matrix, size_t row, size_t mutant) {
    return matrix->sights[row * matrix->n_mutants + mutant] >= GDN_SIGHT_SURVIVES;
}

static bool kills(const gdn_kill_matrix *matrix, size_t row, size_t mutant) {
    return matrix->sights[row * matrix->n_mutants + mutant] == GDN_SIGHT_KILLED;
}

json_t *gdn_hunts_json(const gdn_kill_matrix *matrix, const char *suite) {
    json_t *names = json_array(), *hunts = json_object();
    json_int_t visible = 0;
    for (size_t m = 0; m < matrix->n_mutants; m++) {
        json_array_append_new(names, json_string(matrix->mutants[m].deviation->name));
    }
    for (size_t row = 0; row < matrix->n_ids; row++) {
        json_t *list = json_array();
        for (size_t m = 0; m < matrix->n_mutants; m++) {
            visible += is_visible(matrix, row, m);
            if (kills(matrix, row, m)) {
                json_array_append(list, json_array_get(names, m));
            }
        }
        json_object_set_new(hunts, matrix->ids[row], list);
    }
    return json_pack("{s:i, s:s, s:o, s:I, s:o}", "schema", HUNTS_SCHEMA, "suite", suite,
                     "deviations", names, "visible", visible, "hunts", hunts);
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

/* Lines about one case of the file; returns how many of its pairs are visible. */
static json_int_t check_case(const gdn_kill_matrix *matrix, const json_t *names,
                             const char *id, const json_t *hunted, FILE *losses) {
    const size_t row = find_row(matrix, id);
    json_int_t visible = 0;
    if (row == matrix->n_ids) {
        fprintf(losses, "%s: the suite has no such case\n", id);
        return 0;
    }
    for (size_t i = 0; i < json_array_size(hunted); i++) {
        const char *name = json_string_value(json_array_get(hunted, i));
        const size_t m = find_mutant(matrix, name ? name : "");
        if (m == matrix->n_mutants || !kills(matrix, row, m)) {
            fprintf(losses, "%s: hunts %s and does not kill it\n", id, name ? name : "?");
        }
    }
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        const size_t m = find_mutant(matrix, name ? name : "");
        visible += m < matrix->n_mutants && is_visible(matrix, row, m);
    }
    return visible;
}

static gdn_status check_file(const gdn_kill_matrix *matrix, const json_t *root,
                             const char *where, FILE *losses, gdn_error *err) {
    static const char *const MEMBERS[] = {"schema",  "suite", "deviations",
                                          "visible", "hunts", NULL};
    GDN_TRY(gdn_json_members(root, GDN_ERR_FORMAT, where, MEMBERS, err));
    const json_t *names = json_object_get(root, "deviations");
    json_t *hunts = json_object_get(root, "hunts");
    const json_t *floor = json_object_get(root, "visible");
    if (!json_is_array(names) || !json_is_object(hunts) || !json_is_integer(floor)) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "%s: expected deviations, visible and hunts", where);
    }
    json_int_t visible = 0;
    const char *id;
    json_t *hunted;
    json_object_foreach(hunts, id, hunted) {
        visible += check_case(matrix, names, id, hunted, losses);
    }
    if (visible < json_integer_value(floor)) {
        fprintf(losses, "%lld visible pairs, and the floor is %lld\n", (long long)visible,
                (long long)json_integer_value(floor));
    }
    return GDN_OK;
}

gdn_status gdn_hunts_check(const gdn_kill_matrix *matrix, const char *suite,
                           const gdn_paths *paths, bool *holds, char **losses,
                           gdn_error *err) {
    char dir[PATH_MAX], path[PATH_MAX], where[GDN_JSON_WHERE];
    json_t *root = NULL;
    size_t size = 0;
    *holds = true;
    *losses = NULL;
    const int n = snprintf(dir, sizeof dir, "%s/../hunts", paths->suites);
    const int m = snprintf(path, sizeof path, "%s/../hunts/%s.json", paths->suites, suite);
    if (n < 0 || m < 0 || (size_t)n >= sizeof dir || (size_t)m >= sizeof path ||
        access(path, F_OK) != 0) {
        return GDN_OK;
    }
    GDN_TRY(gdn_json_open(&root, dir, "suite", suite, HUNTS_SCHEMA, where, err));
    FILE *out = open_memstream(losses, &size);
    gdn_status status = out ? check_file(matrix, root, where, out, err)
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
