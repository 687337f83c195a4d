/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "captured.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gdn/nearest.h"
#include "gdn/profile.h"
#include "hdf5_io.h"
#include "problem_tensors.h"

#define WHERE GDN_CAPTURE_KEY

/* The one that gdn_call_check() lets a call do without. */
#define OPTIONAL_SCALAR "chunked"

static const gdn_tensor *find(const gdn_bundle *bundle, const char *folder,
                              const char *name) {
    char full[160];
    const int n = snprintf(full, sizeof full, "%s/%s", folder, name);
    return n > 0 && (size_t)n < sizeof full ? gdn_bundle_tensor(bundle, full) : NULL;
}

static bool has_inputs(const gdn_bundle *bundle) {
    for (size_t i = 0; i < bundle->n_tensors; i++) {
        if (strncmp(bundle->tensors[i].name, "input/", 6) == 0) {
            return true;
        }
    }
    return false;
}

/* A misspelt optional argument would silently be absent. */
static gdn_status check_names(const gdn_bundle *bundle, gdn_op op, gdn_error *err) {
    const gdn_op_info *info = gdn_op_get(op);
    for (size_t i = 0; i < bundle->n_tensors; i++) {
        const char *name = bundle->tensors[i].name;
        const char *slash = strchr(name, '/');
        const gdn_argument *argument = slash ? gdn_op_argument(op, slash + 1) : NULL;
        const bool input = strncmp(name, "input/", 6) == 0;
        const bool output = strncmp(name, "output/", 7) == 0;
        if (!input && !output) {
            continue; /* what else a file holds is its own business */
        }
        if (!argument || (output && argument->access == GDN_IN)) {
            const char *names[64] = {NULL};
            for (size_t k = 0, n = 0; k < info->n_arguments && n < 63; k++) {
                if (input || info->arguments[k].access != GDN_IN) {
                    names[n++] = info->arguments[k].name;
                }
            }
            gdn_error_unknown(err, GDN_ERR_FORMAT, input ? "input" : "output",
                              slash ? slash + 1 : name, names);
            return GDN_ERR_FORMAT;
        }
    }
    return GDN_OK;
}

/* ---- a call of production: everything from the file ---- */

static gdn_status missing(gdn_error *err, const char *folder, const char *name) {
    return gdn_error_set(err, GDN_ERR_FORMAT, "%s/%s: the tensor is missing", folder, name);
}

/* The shapes of all arguments in the order of the op's table. */
static gdn_status collect_shapes(const gdn_bundle *bundle, gdn_op op, gdn_shapes *shapes,
                                 gdn_error *err) {
    const gdn_op_info *info = gdn_op_get(op);
    for (size_t i = 0; i < info->n_arguments; i++) {
        const gdn_argument *argument = &info->arguments[i];
        const gdn_tensor *before = find(bundle, "input", argument->name);
        const gdn_tensor *after = find(bundle, "output", argument->name);
        const gdn_tensor *form = before ? before : after;
        if (!before && !after && argument->optional) {
            continue;
        }
        if (!before && argument->access != GDN_OUT) {
            return missing(err, "input", argument->name);
        }
        if (!after && argument->access != GDN_IN) {
            return missing(err, "output", argument->name);
        }
        if (before && after &&
            (before->dtype != after->dtype || before->rank != after->rank ||
             memcmp(before->shape, after->shape,
                    (size_t)before->rank * sizeof *before->shape) != 0)) {
            return gdn_error_set(err, GDN_ERR_FORMAT,
                                 "output/%s: type or shape differ from input/%s",
                                 argument->name, argument->name);
        }
        gdn_tensor *t = &shapes->tensors[shapes->n_tensors++];
        *t = gdn_tensor_dense(argument->name, NULL, form->dtype, form->rank, form->shape);
    }
    return GDN_OK;
}

static gdn_status collect_scalars(const json_t *about, gdn_op op, gdn_shapes *shapes,
                                  gdn_error *err) {
    const json_t *scalars = json_object_get(about, "scalars");
    const char *const *names = gdn_op_get(op)->scalars;
    const char *name;
    json_t *value;
    for (size_t i = 0; names[i]; i++) {
        const json_t *scalar = json_object_get(scalars, names[i]);
        if (!scalar && strcmp(names[i], OPTIONAL_SCALAR) == 0) {
            continue;
        }
        if (!json_is_integer(scalar) && !json_is_boolean(scalar)) {
            return gdn_error_set(err, GDN_ERR_FORMAT,
                                 WHERE ".scalars.%s: expected a number but found %s "
                                       "(gdn-conform import --scalar %s=VALUE adds it)",
                                 names[i], scalar ? "something else" : "none", names[i]);
        }
        shapes->scalars[shapes->n_scalars++] = (gdn_scalar){
            .name = names[i],
            .value = json_is_true(scalar) ? 1 : json_integer_value(scalar),
        };
    }
    json_object_foreach((json_t *)(uintptr_t)scalars, name, value) {
        bool known = false;
        for (size_t i = 0; names[i]; i++) {
            known = known || strcmp(names[i], name) == 0;
        }
        if (!known) {
            gdn_error_unknown(err, GDN_ERR_FORMAT, WHERE ".scalars", name, names);
            return GDN_ERR_FORMAT;
        }
    }
    return GDN_OK;
}

static gdn_status read_op(const json_t *about, gdn_op *op, gdn_error *err) {
    const char *name = json_string_value(json_object_get(about, "op"));
    if (name && gdn_op_from_name(name, op)) {
        return GDN_OK;
    }
    const char *names[GDN_OP_COUNT + 1] = {NULL};
    for (int i = 0; i < GDN_OP_COUNT; i++) {
        names[i] = gdn_op_get((gdn_op)i)->name;
    }
    gdn_error_unknown(err, GDN_ERR_FORMAT, WHERE ".op", name ? name : "", names);
    return GDN_ERR_FORMAT;
}

/* Conventions of the profile; which column layout a call used is an argument of it. */
static gdn_status read_profile(gdn_case *test, const json_t *about, const char *profiles,
                               gdn_error *err) {
    const char *name = json_string_value(json_object_get(about, "profile"));
    const json_t *separate =
        json_object_get(json_object_get(about, "scalars"), "reorder_input");
    gdn_profile profile;
    if (!name) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             WHERE ".profile: expected a profile's name but found none "
                                   "(gdn-conform import --profile NAME adds it)");
    }
    GDN_TRY(gdn_profile_load(&profile, profiles, name, err));
    gdn_status status = GDN_OK;
    test->conventions = profile.conventions;
    test->upstream = profile.upstream;
    test->upstream_state = profile.upstream_state;
    if (separate) {
        test->conventions.qkvz_layout =
            json_is_true(separate) || json_integer_value(separate) != 0
                ? GDN_QKVZ_SEPARATE
                : GDN_QKVZ_INTERLEAVED;
    }
    if (!profile.ops[test->op]) {
        status = gdn_error_set(err, GDN_ERR_ARG, "profile %s has no op %s", profile.name,
                               gdn_op_get(test->op)->name);
    } else if (!(test->profile = strdup(profile.name))) {
        status = gdn_error_set(err, GDN_ERR_OOM, "no memory for a name");
    }
    gdn_profile_destroy(&profile);
    return status;
}

static gdn_status create_call(gdn_captured *c, const char *profiles, gdn_error *err) {
    gdn_shapes shapes = {0};
    gdn_case *test = &c->test;
    gdn_problem *p = &c->problem;
    GDN_TRY(read_op(c->bundle.about, &test->op, err));
    GDN_TRY(check_names(&c->bundle, test->op, err));
    GDN_TRY(read_profile(test, c->bundle.about, profiles, err));
    GDN_TRY(collect_scalars(c->bundle.about, test->op, &shapes, err));
    GDN_TRY(collect_shapes(&c->bundle, test->op, &shapes, err));
    p->test = test;
    GDN_TRY(gdn_arena_create(&p->arena, shapes.tensors, shapes.n_tensors, false, err));
    memcpy(p->scalars, shapes.scalars, sizeof p->scalars);
    p->n_scalars = shapes.n_scalars;
    p->call = (gdn_call){
        .struct_size = sizeof(gdn_call),
        .op = test->op,
        .conventions = &test->conventions,
        .tensors = p->arena.tensors,
        .n_tensors = p->arena.n_tensors,
        .scalars = p->scalars,
        .n_scalars = p->n_scalars,
        .arena = p->arena.base,
        .arena_bytes = p->arena.bytes,
    };
    return GDN_OK;
}

/* ---- a case of the suites: only the outputs need be in the file ---- */

static gdn_status same_form(const gdn_tensor *found, const gdn_tensor *form,
                            const char *folder, gdn_error *err) {
    if (!found) {
        return missing(err, folder, form->name);
    }
    if (found->dtype != form->dtype || found->rank != form->rank ||
        memcmp(found->shape, form->shape, (size_t)form->rank * sizeof *form->shape) != 0) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "%s/%s: type or shape are not those of the case", folder,
                             form->name);
    }
    return GDN_OK;
}

static gdn_status create_case(gdn_captured *c, const json_t *json, const char *profiles,
                              gdn_error *err) {
    GDN_TRY(gdn_case_from_json(&c->test, json, profiles, err));
    GDN_TRY(check_names(&c->bundle, c->test.op, err));
    const bool inputs = has_inputs(&c->bundle);
    GDN_TRY(inputs ? gdn_problem_create_empty(&c->problem, &c->test, err)
                   : gdn_problem_create(&c->problem, &c->test, err));
    for (size_t i = 0; i < c->problem.arena.n_tensors; i++) {
        const gdn_tensor *t = &c->problem.arena.tensors[i];
        const gdn_argument *argument = gdn_op_argument(c->test.op, t->name);
        if (inputs && argument->access != GDN_OUT) {
            GDN_TRY(same_form(find(&c->bundle, "input", t->name), t, "input", err));
        }
        if (argument->access != GDN_IN) {
            GDN_TRY(same_form(find(&c->bundle, "output", t->name), t, "output", err));
        }
    }
    return GDN_OK;
}

/* ---- both ---- */

static void fill(gdn_captured *c) {
    for (size_t i = 0; i < c->problem.arena.n_tensors; i++) {
        const gdn_tensor *t = &c->problem.arena.tensors[i];
        const gdn_tensor *before = find(&c->bundle, "input", t->name);
        if (before) {
            gdnp_scatter(t, before->data);
        }
    }
}

static gdn_status load(gdn_captured *c, const char *path, const char *profiles,
                       gdn_error *err) {
    GDN_TRY(gdn_bundle_open(&c->bundle, path, err));
    if (!c->bundle.about) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "expected " WHERE " but found none: what op and profile is "
                             "this? (gdn-conform import --op NAME --profile NAME adds it)");
    }
    const json_t *json = json_object_get(c->bundle.about, "case");
    GDN_TRY(json ? create_case(c, json, profiles, err) : create_call(c, profiles, err));
    if (!c->problem.arena.image) {
        fill(c);
        GDN_TRY(gdn_arena_freeze(&c->problem.arena, err));
    }
    if (!c->test.id) {
        char *copy = strdup(path);
        if (!copy || asprintf(&c->test.id, "captured/%s", basename(copy)) < 0) {
            c->test.id = NULL;
        }
        free(copy);
        if (!c->test.id) {
            return gdn_error_set(err, GDN_ERR_OOM, "no memory for a name");
        }
    }
    return gdn_call_check(&c->problem.call, err);
}

gdn_status gdn_captured_load(gdn_captured *captured, const char *path, const char *profiles,
                             gdn_error *err) {
    *captured = (gdn_captured){0};
    const gdn_status status = load(captured, path, profiles, err);
    if (status != GDN_OK) {
        gdn_captured_destroy(captured);
        gdn_error_context(err, "%s", path);
        /* What is wrong is the file, whoever says so. */
        if (err && err->status == GDN_ERR_ARG) {
            err->status = GDN_ERR_FORMAT;
        }
    }
    return status;
}

static void apply_rows(const gdn_tensor *to, const gdn_tensor *from,
                       const gdn_expected *expected) {
    const size_t size = gdn_dtype_size(to->dtype);
    const size_t bytes = (size_t)gdn_tensor_row_count(to) * size;
    for (int64_t i = 0; i < expected->n_rows; i++) {
        const int64_t row = expected->rows[i];
        memcpy((uint8_t *)to->data + (size_t)(row * to->stride[0]) * size,
               (const uint8_t *)from->data + (size_t)row * bytes, bytes);
    }
}

void gdn_captured_apply(gdn_captured *captured, const gdn_golden *golden) {
    for (size_t i = 0; i < golden->n_outputs; i++) {
        const gdn_expected *expected = &golden->outputs[i];
        const gdn_tensor *to = expected->tensor;
        const gdn_tensor *from = find(&captured->bundle, "output", to->name);
        const gdn_argument *argument = gdn_op_argument(captured->test.op, to->name);
        /* The state before is known: from the file, or from the seed. */
        if (argument->access == GDN_INOUT || find(&captured->bundle, "input", to->name)) {
            gdnp_scatter(to, from->data);
        } else {
            apply_rows(to, from, expected);
        }
    }
}

void gdn_captured_destroy(gdn_captured *captured) {
    gdn_problem_destroy(&captured->problem);
    gdn_case_destroy(&captured->test);
    gdn_bundle_destroy(&captured->bundle);
    *captured = (gdn_captured){0};
}
