/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "vector_diff.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manifest.h"
#include "tensor_diff.h"

static gdn_status no_memory(gdn_error *err) {
    return gdn_error_set(err, GDN_ERR_OOM, "no memory for a comparison");
}

/* ---- names of two objects, ascending ---- */

typedef struct name_list {
    const char **items; ///< borrowed from the objects
    size_t count;
} name_list;

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Those of `a`, and those that only `b` has. If GDN_OK is returned the caller frees the
 * items. */
static gdn_status list_names(name_list *list, json_t *a, json_t *b, gdn_error *err) {
    const char *name;
    json_t *value;
    const size_t most = json_object_size(a) + json_object_size(b) + 1;
    *list = (name_list){.items = malloc(most * sizeof *list->items)};
    if (!list->items) {
        return no_memory(err);
    }
    json_object_foreach(a, name, value) {
        list->items[list->count++] = name;
    }
    json_object_foreach(b, name, value) {
        if (!json_object_get(a, name)) {
            list->items[list->count++] = name;
        }
    }
    qsort(list->items, list->count, sizeof *list->items, compare_names);
    return GDN_OK;
}

/* ---- one case ---- */

/* The manifest's entries of the two files. */
typedef struct entries {
    const gdn_vector_reader *before, *after;
    const json_t *a, *b;
    name_list datasets;
} entries;

/* Whether digests differ, or only one file has the dataset. */
static bool dataset_differs(const entries *e, const char *name) {
    const json_t *a = json_object_get(gdnp_case_datasets(e->a), name);
    const json_t *b = json_object_get(gdnp_case_datasets(e->b), name);
    return !a != !b || (a && !json_equal(a, b));
}

static bool begins_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Closes a stream on `*text` of items that begin with two characters of separator, and
 * takes the first separator off; without items `*text` becomes NULL. */
static gdn_status end_text(FILE *stream, char **text, gdn_error *err) {
    if (fclose(stream) != 0) {
        return no_memory(err);
    }
    const size_t length = strlen(*text);
    if (length > 2) {
        memmove(*text, *text + 2, length - 1);
    } else {
        free(*text);
        *text = NULL;
    }
    return GDN_OK;
}

/* Names of the inputs that differ; NULL if none does. */
static gdn_status changed_inputs(const entries *e, char **names, gdn_error *err) {
    size_t size = 0;
    FILE *text = open_memstream(names, &size);
    if (!text) {
        return no_memory(err);
    }
    for (size_t i = 0; i < e->datasets.count; i++) {
        const char *name = e->datasets.items[i];
        if (begins_with(name, "input/") && dataset_differs(e, name)) {
            fprintf(text, ", %s", strchr(name, '/') + 1);
        }
    }
    return end_text(text, names, err);
}

/* What differs beside the datasets, in words; NULL if nothing does. */
static gdn_status other_changes(const entries *e, char **note, gdn_error *err) {
    gdn_error which = {0};
    const gdn_status status = gdnp_case_compare(json_object_get(e->a, "case"),
                                                json_object_get(e->b, "case"), &which);
    if (status != GDN_OK && status != GDN_ERR_FORMAT) {
        return gdn_error_set(err, status, "%s", which.message);
    }
    size_t size = 0;
    FILE *text = open_memstream(note, &size);
    if (!text) {
        return no_memory(err);
    }
    if (status != GDN_OK) {
        fprintf(text, "; the id names another case (%s)", which.message);
    }
    if (strcmp(gdnp_case_profile_digest(e->a), gdnp_case_profile_digest(e->b)) != 0) {
        fputs("; the profile has changed", text);
    }
    if (gdnp_case_stored(e->a) != gdnp_case_stored(e->b)) {
        fputs(gdnp_case_stored(e->b) ? "; stored now" : "; no longer stored", text);
    }
    return end_text(text, note, err);
}

/* Whether golden values, limits, floors or rows of an output differ. */
static bool output_differs(const entries *e, const char *golden) {
    const char *tensor = strchr(golden, '/') + 1;
    static const char *const beside[] = {"limit", "rows", "floor", "operand"};
    bool differs = dataset_differs(e, golden);
    for (size_t i = 0; i < sizeof beside / sizeof beside[0]; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s/%s", beside[i], tensor);
        differs = differs || dataset_differs(e, name);
    }
    return differs;
}

static gdn_status diff_outputs(gdn_case_diff *c, const entries *e, const char *id,
                               gdn_error *err) {
    c->tensors = calloc(e->datasets.count + 1, sizeof *c->tensors);
    if (!c->tensors) {
        return no_memory(err);
    }
    for (size_t i = 0; i < e->datasets.count; i++) {
        const char *name = e->datasets.items[i];
        if (!begins_with(name, "golden/") || !output_differs(e, name)) {
            continue;
        }
        gdn_tensor_diff *diff = &c->tensors[c->n_tensors++];
        if (!(diff->name = strdup(strchr(name, '/') + 1))) {
            return no_memory(err);
        }
        if (!json_object_get(gdnp_case_datasets(e->a), name)) {
            diff->reason = "only the new file has it";
        } else if (!json_object_get(gdnp_case_datasets(e->b), name)) {
            diff->reason = "only the old file has it";
        } else {
            GDN_TRY(gdnp_tensor_diff(diff, e->before, e->after, id, err));
        }
    }
    return GDN_OK;
}

/* Both files have the case. */
static gdn_status diff_case(gdn_case_diff *c, entries *e, const char *id, gdn_error *err) {
    GDN_TRY(
        list_names(&e->datasets, gdnp_case_datasets(e->a), gdnp_case_datasets(e->b), err));
    c->change = GDN_CASE_INPUTS;
    gdn_status status = changed_inputs(e, &c->note, err);
    if (status == GDN_OK && !c->note) {
        c->change = GDN_CASE_GOLDEN;
        status = other_changes(e, &c->note, err);
        if (status == GDN_OK) {
            status = diff_outputs(c, e, id, err);
        }
    }
    free(e->datasets.items);
    return status;
}

/* ---- all cases ---- */

static void case_destroy(gdn_case_diff *c) {
    for (size_t i = 0; i < c->n_tensors; i++) {
        free(c->tensors[i].name);
    }
    free(c->tensors);
    free(c->note);
    free(c->id);
    *c = (gdn_case_diff){0};
}

static gdn_status add_case(gdn_vector_diff *diff, entries *e, const char *id,
                           gdn_error *err) {
    gdn_case_diff *c = &diff->cases[diff->n_cases];
    gdn_status status = GDN_OK;
    if (e->a && e->b) {
        diff->in_both++;
        status = diff_case(c, e, id, err);
        if (status == GDN_OK && !c->note && c->n_tensors == 0) {
            diff->equal++;
            case_destroy(c);
            return GDN_OK;
        }
    } else {
        c->change = e->a ? GDN_CASE_GONE : GDN_CASE_ADDED;
    }
    diff->n_cases++; /* owned by the diff from here on */
    if (status == GDN_OK && !(c->id = strdup(id))) {
        status = no_memory(err);
    }
    return status;
}

gdn_status gdn_vector_diff_create(gdn_vector_diff *diff, const gdn_vector_reader *before,
                                  const gdn_vector_reader *after, gdn_error *err) {
    const json_t *old = before ? gdn_vector_reader_manifest(before) : NULL;
    const json_t *new = after ? gdn_vector_reader_manifest(after) : NULL;
    name_list ids;
    GDN_TRY(list_names(&ids, json_object_get(old, "cases"), json_object_get(new, "cases"),
                       err));
    *diff = (gdn_vector_diff){.cases = calloc(ids.count + 1, sizeof *diff->cases)};
    gdn_status status = diff->cases ? GDN_OK : no_memory(err);
    for (size_t i = 0; status == GDN_OK && i < ids.count; i++) {
        entries e = {
            .before = before,
            .after = after,
            .a = gdnp_manifest_case(old, ids.items[i]),
            .b = gdnp_manifest_case(new, ids.items[i]),
        };
        status = add_case(diff, &e, ids.items[i], err);
    }
    free(ids.items);
    if (status != GDN_OK) {
        gdn_vector_diff_destroy(diff);
    }
    return status;
}

void gdn_vector_diff_destroy(gdn_vector_diff *diff) {
    for (size_t i = 0; i < diff->n_cases; i++) {
        case_destroy(&diff->cases[i]);
    }
    free(diff->cases);
    *diff = (gdn_vector_diff){0};
}
