/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* `vectors diff`: a regeneration, reviewed as numbers. Other actions: vectors_lint.h. */
#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"
#include "vector_diff.h"
#include "vectors_lint.h"

#define JSON_SCHEMA 1

static const struct argp_option OPTIONS[] = {
    {"json", 'j', NULL, 0, "One JSON object instead of text", 0},
    {0},
};

typedef struct arguments {
    const char *words[3]; ///< diff OLD NEW, lint FOLDER [OLD], index FOLDER
    unsigned n_words;
    bool json;
} arguments;

static error_t parse(int key, char *arg, struct argp_state *state) {
    arguments *a = state->input;
    switch (key) {
    case 'j':
        a->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (a->n_words == 3) {
            argp_error(state, "unexpected argument \"%s\"", arg);
        }
        a->words[a->n_words++] = arg;
        return 0;
    case ARGP_KEY_END:
        if (a->n_words == 0 || (a->n_words < 3 && strcmp(a->words[0], "diff") == 0)) {
            argp_error(state, "expected diff OLD NEW");
        } else if (a->n_words < 2 && strcmp(a->words[0], "lint") == 0) {
            argp_error(state, "expected lint FOLDER [OLD]");
        } else if (a->n_words != 2 && strcmp(a->words[0], "index") == 0) {
            argp_error(state, "expected index FOLDER");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- OLD and NEW ---- */

/* Where one side's files are. A file is its folder and the one suite. */
typedef struct place {
    const char *given;
    char *folder;
    gdn_names suites;
    bool is_file;
} place;

static void place_destroy(place *p) {
    gdn_names_destroy(&p->suites);
    free(p->folder);
}

/* <folder>/<suite>.h5 */
static gdn_status split_file(place *p, gdn_error *err) {
    char *copy = strdup(p->given), *base = strdup(p->given);
    p->suites.items = calloc(2, sizeof *p->suites.items);
    gdn_status status = GDN_OK;
    if (!copy || !base || !p->suites.items) {
        status = gdn_error_set(err, GDN_ERR_OOM, "no memory for a path");
        goto cleanup;
    }
    const char *name = basename(base);
    const size_t length = strlen(name);
    if (length <= 3 || strcmp(name + length - 3, ".h5") != 0) {
        status = gdn_error_set(err, GDN_ERR_ARG,
                               "expected a folder or a file <suite>.h5 but found \"%s\"",
                               p->given);
        goto cleanup;
    }
    p->suites.items[0] = strndup(name, length - 3);
    p->folder = strdup(dirname(copy));
    p->suites.count = p->suites.items[0] != NULL;
    if (!p->folder || !p->suites.items[0]) {
        status = gdn_error_set(err, GDN_ERR_OOM, "no memory for a path");
    }

cleanup:
    free(copy);
    free(base);
    return status;
}

static gdn_status place_find(place *p, const char *path, gdn_error *err) {
    struct stat info;
    *p = (place){.given = path};
    if (stat(path, &info) != 0) {
        return gdn_error_set(err, GDN_ERR_IO, "%s: %s", path, strerror(errno));
    }
    p->is_file = !S_ISDIR(info.st_mode);
    if (p->is_file) {
        return split_file(p, err);
    }
    GDN_TRY(gdn_vector_suites(&p->suites, path, err));
    if (p->suites.count == 0) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "%s: expected a folder of vector files but "
                             "found no <suite>.manifest.json",
                             path);
    }
    p->folder = strdup(path);
    return p->folder ? GDN_OK : gdn_error_set(err, GDN_ERR_OOM, "no memory for a path");
}

static bool has_suite(const place *p, const char *suite) {
    for (size_t i = 0; i < p->suites.count; i++) {
        if (strcmp(p->suites.items[i], suite) == 0) {
            return true;
        }
    }
    return false;
}

/* A suite that a folder lacks stands for a file without cases. */
static gdn_status diff_suite(gdn_vector_diff *diff, const place *old, const char *old_suite,
                             const place *new, const char *new_suite, gdn_error *err) {
    gdn_vector_reader *before = NULL, *after = NULL;
    gdn_status status = GDN_OK;
    if (has_suite(old, old_suite)) {
        status = gdn_vector_reader_open(&before, old->folder, old_suite, err);
    }
    if (status == GDN_OK && has_suite(new, new_suite)) {
        status = gdn_vector_reader_open(&after, new->folder, new_suite, err);
    }
    if (status == GDN_OK) {
        status = gdn_vector_diff_create(diff, before, after, err);
    }
    gdn_vector_reader_close(before);
    gdn_vector_reader_close(after);
    return status;
}

/* ---- text ---- */

static void print_place(const gdn_tensor_diff *t) {
    printf("[");
    for (int d = 0; d < t->rank; d++) {
        printf("%s%" PRId64, d > 0 ? "," : "", t->index[d]);
    }
    printf("]");
}

static void print_tensor(const gdn_tensor_diff *t) {
    printf("            %s: ", t->name);
    if (t->reason) {
        printf("%s\n", t->reason);
        return;
    }
    printf("%" PRId64 " of %" PRId64 " changed", t->changed, t->elements);
    if (t->changed > 0) {
        printf(", by up to %.4g %s", t->ulps,
               gdn_dtype_is_float(t->dtype) ? "ulps" : "(integers)");
        if (t->bounded) {
            printf(" and %.3g limits", t->limits);
        }
        printf(", worst ");
        print_place(t);
        printf(": %.17g -> %.17g", t->before, t->after);
    }
    if (t->limits_changed > 0) {
        printf("; %" PRId64 " limits changed, by a factor of up to %.4g", t->limits_changed,
               t->limits_factor);
    }
    if (t->rows_gone > 0 || t->rows_added > 0) {
        printf("; rows written: %" PRId64 " gone, %" PRId64 " added", t->rows_gone,
               t->rows_added);
    }
    printf("\n");
}

static const char *change_name(gdn_case_change change) {
    static const char *const NAMES[] = {[GDN_CASE_GONE] = "gone",
                                        [GDN_CASE_ADDED] = "added",
                                        [GDN_CASE_INPUTS] = "inputs",
                                        [GDN_CASE_GOLDEN] = "golden"};
    return NAMES[change];
}

static size_t count_changes(const gdn_vector_diff *diff, gdn_case_change change) {
    size_t n = 0;
    for (size_t i = 0; i < diff->n_cases; i++) {
        n += diff->cases[i].change == change;
    }
    return n;
}

static void print_diff(const char *suite, const gdn_vector_diff *diff) {
    for (size_t i = 0; i < diff->n_cases; i++) {
        const gdn_case_diff *c = &diff->cases[i];
        printf("%-11s %s\n", change_name(c->change), c->id);
        if (c->note) {
            printf("            %s%s\n",
                   c->change == GDN_CASE_INPUTS ? "cannot be compared, other inputs: " : "",
                   c->note);
        }
        for (size_t k = 0; k < c->n_tensors; k++) {
            print_tensor(&c->tensors[k]);
        }
    }
    printf("%s: %zu cases in both: %zu equal, %zu with other golden values, %zu with other "
           "inputs; %zu gone, %zu added\n",
           suite, diff->in_both, diff->equal, count_changes(diff, GDN_CASE_GOLDEN),
           count_changes(diff, GDN_CASE_INPUTS), count_changes(diff, GDN_CASE_GONE),
           count_changes(diff, GDN_CASE_ADDED));
}

/* ---- JSON ---- */

/* JSON has no infinities and no NaN: they travel as text, as in reports. */
static json_t *number(double x) {
    return isfinite(x) ? json_real(x)
                       : json_string(isnan(x) ? "nan"
                                     : x > 0  ? "inf"
                                              : "-inf");
}

static json_t *tensor_json(const gdn_tensor_diff *t) {
    if (t->reason) {
        return json_pack("{s:s, s:s}", "name", t->name, "not_compared", t->reason);
    }
    json_t *index = json_array();
    for (int d = 0; d < t->rank; d++) {
        json_array_append_new(index, json_integer(t->index[d]));
    }
    return json_pack("{s:s, s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:I, s:I}",
                     "name", t->name, "dtype", gdn_dtype_name(t->dtype), "elements",
                     (json_int_t)t->elements, "changed", (json_int_t)t->changed, "ulps",
                     number(t->ulps), "limits",
                     t->bounded ? number(t->limits) : json_null(), "worst_at", index,
                     "before", number(t->before), "after", number(t->after),
                     "limits_changed", (json_int_t)t->limits_changed, "limits_factor",
                     t->bounded ? number(t->limits_factor) : json_null(), "rows_gone",
                     (json_int_t)t->rows_gone, "rows_added", (json_int_t)t->rows_added);
}

static json_t *diff_json(const char *suite, const gdn_vector_diff *diff) {
    json_t *cases = json_array();
    for (size_t i = 0; i < diff->n_cases; i++) {
        const gdn_case_diff *c = &diff->cases[i];
        json_t *tensors = json_array();
        for (size_t k = 0; k < c->n_tensors; k++) {
            json_array_append_new(tensors, tensor_json(&c->tensors[k]));
        }
        json_array_append_new(cases, json_pack("{s:s, s:s, s:s?, s:o}", "id", c->id,
                                               "change", change_name(c->change), "note",
                                               c->note, "tensors", tensors));
    }
    return json_pack("{s:s, s:I, s:I, s:o}", "suite", suite, "in_both",
                     (json_int_t)diff->in_both, "equal", (json_int_t)diff->equal, "cases",
                     cases);
}

/* ---- the command ---- */

/* Appends to `suites` or, if that is NULL, prints; `*equal` becomes false if they
 * differ. */
static gdn_status tell_suite(const place *old, const char *old_suite, const place *new,
                             const char *new_suite, json_t *suites, bool *equal,
                             gdn_error *err) {
    gdn_vector_diff diff;
    GDN_TRY(diff_suite(&diff, old, old_suite, new, new_suite, err));
    gdn_status status = GDN_OK;
    *equal = *equal && diff.n_cases == 0;
    if (!suites) {
        print_diff(new_suite, &diff);
    } else if (json_array_append_new(suites, diff_json(new_suite, &diff)) != 0) {
        status = gdn_error_set(err, GDN_ERR_OOM, "no memory for the JSON");
    }
    gdn_vector_diff_destroy(&diff);
    return status;
}

static gdn_status tell_all(const place *old, const place *new, json_t *suites, bool *equal,
                           gdn_error *err) {
    if (old->is_file != new->is_file) {
        return gdn_error_set(
            err, GDN_ERR_ARG,
            "expected two files or two folders but found \"%s\" and \"%s\"", old->given,
            new->given);
    }
    if (old->is_file) {
        return tell_suite(old, old->suites.items[0], new, new->suites.items[0], suites,
                          equal, err);
    }
    for (size_t i = 0; i < old->suites.count; i++) {
        const char *suite = old->suites.items[i];
        GDN_TRY(tell_suite(old, suite, new, suite, suites, equal, err));
    }
    for (size_t i = 0; i < new->suites.count; i++) {
        const char *suite = new->suites.items[i];
        if (!has_suite(old, suite)) {
            GDN_TRY(tell_suite(old, suite, new, suite, suites, equal, err));
        }
    }
    return GDN_OK;
}

static gdn_status print_json(const arguments *a, json_t *suites, bool equal,
                             gdn_error *err) {
    json_t *all =
        json_pack("{s:i, s:s, s:s, s:b, s:O}", "schema", JSON_SCHEMA, "old", a->words[1],
                  "new", a->words[2], "equal", equal, "suites", suites);
    const bool printed = all && json_dumpf(all, stdout, JSON_INDENT(1)) == 0;
    json_decref(all);
    if (!printed) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for the JSON");
    }
    printf("\n");
    return GDN_OK;
}

int gdn_cmd_vectors(int argc, char **argv) {
    static const struct argp ARGP = {
        .options = OPTIONS,
        .parser = parse,
        .args_doc = "diff OLD NEW\nlint FOLDER [OLD]\nindex FOLDER",
        .doc =
            "diff says by how much golden values differ: OLD and NEW are two vector "
            "files (<suite>.h5, its manifest beside it) or two folders of them. lint says "
            "what keeps a folder from being committed, against an older state too. index "
            "writes FOLDER/index.json: any web server can then serve the folder to "
            "pull.\v"
            "Exit: 0 equal, or nothing found; 1 different, or something found; 2 bad usage "
            "or input.",
    };
    static const char *const ACTIONS[] = {"diff", "lint", "index", NULL};
    arguments a = {.n_words = 0};
    gdn_cli_parse(&ARGP, argc, argv, &a);
    gdn_error err = {0};
    if (strcmp(a.words[0], "lint") == 0) {
        return gdn_cli_vectors_lint(a.words[1], a.words[2]);
    }
    if (strcmp(a.words[0], "index") == 0) {
        return gdn_cli_vectors_index(a.words[1]);
    }
    if (strcmp(a.words[0], "diff") != 0) {
        gdn_error_unknown(&err, GDN_ERR_ARG, "vectors", a.words[0], ACTIONS);
        return gdn_cli_fail(&err);
    }
    place old = {.given = NULL}, new = {.given = NULL};
    bool equal = true;
    json_t *suites = a.json ? json_array() : NULL;
    gdn_status status = place_find(&old, a.words[1], &err);
    if (status == GDN_OK) {
        status = place_find(&new, a.words[2], &err);
    }
    if (status == GDN_OK) {
        status = tell_all(&old, &new, suites, &equal, &err);
    }
    if (status == GDN_OK && a.json) {
        status = print_json(&a, suites, equal, &err);
    }
    json_decref(suites);
    place_destroy(&old);
    place_destroy(&new);
    if (status != GDN_OK) {
        return gdn_cli_fail(&err);
    }
    return equal ? GDN_EXIT_GREEN : GDN_EXIT_RED;
}
