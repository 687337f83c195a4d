/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "plan_cases.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_planned(const gdn_case_plan *plan, const char *id) {
    for (size_t i = 0; i < plan->n_cases; i++) {
        if (strcmp(plan->cases[i].test->id, id) == 0) {
            return true;
        }
    }
    return false;
}

static gdn_status open_reader(gdn_case_plan *plan, const char *folder, const char *suite,
                              gdn_error *err) {
    gdn_vector_reader **readers =
        realloc(plan->readers, (plan->n_readers + 1) * sizeof(gdn_vector_reader *));
    if (!readers) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for vector files");
    }
    plan->readers = readers;
    GDN_TRY(gdn_vector_reader_open(&readers[plan->n_readers], folder, suite, err));
    plan->n_readers++;
    return GDN_OK;
}

/* Every file that came with the program: a suite may be a union of others. */
static gdn_status open_own_vectors(gdn_case_plan *plan, const gdn_paths *paths,
                                   gdn_error *err) {
    static const char MANIFEST[] = ".manifest";
    if (access(paths->vectors, F_OK) != 0) {
        return GDN_OK;
    }
    gdn_names names;
    GDN_TRY(gdn_names_list(&names, paths->vectors, err));
    gdn_status status = GDN_OK;
    for (size_t i = 0; status == GDN_OK && i < names.count; i++) {
        const size_t length = strlen(names.items[i]);
        if (length > strlen(MANIFEST) &&
            strcmp(names.items[i] + length - strlen(MANIFEST), MANIFEST) == 0) {
            names.items[i][length - strlen(MANIFEST)] = '\0';
            status = open_reader(plan, paths->vectors, names.items[i], err);
        }
    }
    gdn_names_destroy(&names);
    return status;
}

static gdn_vector_reader *find_reader(const gdn_case_plan *plan, const char *id) {
    for (size_t i = 0; i < plan->n_readers; i++) {
        if (gdn_vector_reader_has(plan->readers[i], id)) {
            return plan->readers[i];
        }
    }
    return NULL;
}

/* A suite of the program by its name, or any suite file by its path. `name` receives what
 * the suite calls itself. */
static gdn_status load_suite(gdn_suite *suite, char name[NAME_MAX + 1], const char *text,
                             const gdn_paths *paths, gdn_error *err) {
    const char *slash = strrchr(text, '/');
    const char *base = slash ? slash + 1 : text;
    const char *dot = slash ? strrchr(base, '.') : NULL;
    const size_t length = dot ? (size_t)(dot - base) : strlen(base);
    char dir[PATH_MAX];
    if (length > NAME_MAX || (slash && (size_t)(slash - text) + 1 >= sizeof dir)) {
        return gdn_error_set(err, GDN_ERR_ARG, "--suite: the name is too long");
    }
    snprintf(name, NAME_MAX + 1, "%.*s", (int)length, base);
    if (!slash) {
        return gdn_suite_load(suite, paths->suites, paths->profiles, name, err);
    }
    if (!dot || strcmp(dot, ".json") != 0) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "--suite: expected a name or the path of a .json file but "
                             "found \"%s\"",
                             text);
    }
    snprintf(dir, sizeof dir, "%.*s", slash == text ? 1 : (int)(slash - text), text);
    return gdn_suite_load(suite, dir, paths->profiles, name, err);
}

static gdn_status select_cases(gdn_case_plan *plan, size_t index, const char *glob,
                               gdn_error *err) {
    const gdn_suite *suite = &plan->suites[index];
    gdn_planned_case *cases =
        realloc(plan->cases, (plan->n_cases + suite->n_cases + 1) * sizeof *cases);
    if (!cases) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for the plan");
    }
    plan->cases = cases;
    for (size_t i = 0; i < suite->n_cases; i++) {
        const gdn_case *test = &suite->cases[i];
        if ((glob && fnmatch(glob, test->id, 0) != 0) || is_planned(plan, test->id)) {
            continue;
        }
        cases[plan->n_cases++] = (gdn_planned_case){
            .test = test,
            .suite = index,
            .reader = find_reader(plan, test->id),
        };
    }
    return GDN_OK;
}

static gdn_status digest_manifests(gdn_case_plan *plan, gdn_error *err) {
    json_t *manifests = json_array();
    for (size_t i = 0; i < plan->n_readers; i++) {
        json_t *manifest = json_deep_copy(gdn_vector_reader_manifest(plan->readers[i]));
        json_array_append_new(manifests, manifest);
    }
    char *text = json_dumps(manifests, JSON_COMPACT | JSON_SORT_KEYS);
    if (text && json_array_size(manifests) > 0) {
        gdn_sha256(text, strlen(text), plan->digest);
    }
    const bool ok = text != NULL;
    free(text);
    json_decref(manifests);
    return ok ? GDN_OK : gdn_error_set(err, GDN_ERR_OOM, "no memory for a digest");
}

gdn_status gdn_case_plan_create(gdn_case_plan *plan, const char *const *suites,
                                const char *glob, const char *vectors,
                                const gdn_paths *paths, gdn_error *err) {
    *plan = (gdn_case_plan){0};
    size_t count = 0;
    while (suites[count]) {
        count++;
    }
    plan->suites = calloc(count + 1, sizeof *plan->suites);
    gdn_status status =
        plan->suites ? GDN_OK : gdn_error_set(err, GDN_ERR_OOM, "no memory for suites");
    if (status == GDN_OK && !vectors) {
        status = open_own_vectors(plan, paths, err);
    }
    while (status == GDN_OK && plan->n_suites < count) {
        const size_t i = plan->n_suites;
        char name[NAME_MAX + 1];
        status = load_suite(&plan->suites[i], name, suites[i], paths, err);
        if (status == GDN_OK) {
            plan->n_suites++;
            status = vectors ? open_reader(plan, vectors, name, err) : GDN_OK;
        }
        if (status == GDN_OK) {
            status = select_cases(plan, i, glob, err);
        }
    }
    if (status == GDN_OK && plan->n_cases == 0) {
        status =
            gdn_error_set(err, GDN_ERR_ARG, "no case matches \"%s\"", glob ? glob : "*");
    }
    if (status == GDN_OK) {
        status = digest_manifests(plan, err);
    }
    if (status != GDN_OK) {
        gdn_case_plan_destroy(plan);
    }
    return status;
}

void gdn_case_plan_destroy(gdn_case_plan *plan) {
    for (size_t i = 0; i < plan->n_readers; i++) {
        gdn_vector_reader_close(plan->readers[i]);
    }
    for (size_t i = 0; i < plan->n_suites; i++) {
        gdn_suite_destroy(&plan->suites[i]);
    }
    free(plan->suites);
    free(plan->readers);
    free(plan->cases);
    *plan = (gdn_case_plan){0};
}
