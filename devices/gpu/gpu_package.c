/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "gpu_package.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu_expression.h"

#define MAX_DEFINITIONS 64
#define MAX_MODULES     8
#define MAX_SHARED      49152 /* what a kernel gets without asking the driver for more */
#define MAX_TEXT        512

struct gpu_package {
    char *folder;
    json_t *json;
    char paths[MAX_MODULES][4096];
    bool is_source[MAX_MODULES];
    size_t modules;
};

/* ---- Reading ---- */

static gdn_status expect(const gpu_package *p, bool good, const char *path,
                         const char *expected, gdn_error *err) {
    return good ? GDN_OK
                : gdn_error_set(err, GDN_ERR_ARG, "%.400s/kernel.json: %s: expected %s",
                                p->folder, path, expected);
}

/* An object whose members are all among `known`. */
static gdn_status check_members(const gpu_package *p, const json_t *object,
                                const char *path, const char *const *known,
                                gdn_error *err) {
    const char *key;
    json_t *value;
    GDN_TRY(expect(p, json_is_object(object), path, "an object", err));
    json_object_foreach((json_t *)object, key, value) {
        const char *const *name = known;
        while (*name && strcmp(*name, key) != 0) {
            name++;
        }
        if (!*name) {
            return gdn_error_set(err, GDN_ERR_ARG,
                                 "%.400s/kernel.json: %s.%.100s: there is no such member",
                                 p->folder, path, key);
        }
    }
    return GDN_OK;
}

static bool is_expression(const json_t *json) {
    return json_is_integer(json) ||
           (json_is_string(json) && json_string_length(json) < MAX_TEXT);
}

static bool is_object_of(const json_t *json, bool (*good)(const json_t *)) {
    const char *key;
    json_t *value;
    if (!json_is_object(json)) {
        return false;
    }
    json_object_foreach((json_t *)json, key, value) {
        if (!good(value)) {
            return false;
        }
    }
    return true;
}

static bool is_array_of(const json_t *json, bool (*good)(const json_t *)) {
    size_t i;
    json_t *value;
    if (!json_is_array(json)) {
        return false;
    }
    json_array_foreach((json_t *)json, i, value) {
        if (!good(value)) {
            return false;
        }
    }
    return true;
}

static bool is_text(const json_t *json) {
    return json_is_string(json);
}

static bool is_texts(const json_t *json) {
    return is_array_of(json, is_text);
}

static bool is_argument(const json_t *json) {
    if (json_object_size(json) != 1) {
        return false;
    }
    return is_text(json_object_get(json, "tensor")) ||
           is_text(json_object_get(json, "scratch")) ||
           is_expression(json_object_get(json, "i32")) ||
           is_expression(json_object_get(json, "i64")) ||
           json_is_number(json_object_get(json, "f32")) ||
           json_is_true(json_object_get(json, "null"));
}

static bool is_triple(const json_t *json) {
    return is_array_of(json, is_expression) && json_array_size(json) == 3;
}

static gdn_status check_launch(const gpu_package *p, const json_t *launch, gdn_error *err) {
    static const char *const MEMBERS[] = {"module", "kernel",    "grid", "block",
                                          "shared", "arguments", NULL};
    const json_t *shared = json_object_get(launch, "shared");
    const char *module = json_string_value(json_object_get(launch, "module"));
    GDN_TRY(check_members(p, launch, "launches[]", MEMBERS, err));
    GDN_TRY(expect(p,
                   module && json_object_get(json_object_get(p->json, "modules"), module),
                   "launches[].module", "the name of a module", err));
    GDN_TRY(expect(p, is_text(json_object_get(launch, "kernel")), "launches[].kernel",
                   "a text", err));
    GDN_TRY(expect(p, is_triple(json_object_get(launch, "grid")), "launches[].grid",
                   "three expressions", err));
    GDN_TRY(expect(p, is_triple(json_object_get(launch, "block")), "launches[].block",
                   "three expressions", err));
    GDN_TRY(expect(p, !shared || is_expression(shared), "launches[].shared",
                   "an expression", err));
    return expect(p, is_array_of(json_object_get(launch, "arguments"), is_argument),
                  "launches[].arguments",
                  "a list of objects with one of tensor, scratch, i32, i64, f32, null",
                  err);
}

static gdn_status check_modules(gpu_package *p, gdn_error *err) {
    const char *key;
    json_t *value;
    json_t *modules = json_object_get(p->json, "modules");
    GDN_TRY(expect(
        p, json_object_size(modules) >= 1 && json_object_size(modules) <= MAX_MODULES,
        "modules", "an object of 1 to 8 modules", err));
    json_object_foreach(modules, key, value) {
        const char *source = json_string_value(json_object_get(value, "source"));
        const char *binary = json_string_value(json_object_get(value, "binary"));
        const char *file = source ? source : binary;
        GDN_TRY(expect(p, json_object_size(value) == 1 && file && !strchr(file, '/'),
                       "modules.*", "\"source\" or \"binary\": a file of the folder", err));
        p->is_source[p->modules] = source != NULL;
        snprintf(p->paths[p->modules++], sizeof p->paths[0], "%s/%s", p->folder, file);
    }
    return GDN_OK;
}

static gdn_status check_package(gpu_package *p, gdn_error *err) {
    static const char *const MEMBERS[] = {
        "$schema", "schema", "package", "summary", "op",       "types", "conventions",
        "define",  "when",   "scratch", "modules", "launches", NULL};
    gdn_op op;
    size_t i;
    json_t *value;
    const json_t *json = p->json;
    const char *name = json_string_value(json_object_get(json, "op"));
    GDN_TRY(check_members(p, json, "$", MEMBERS, err));
    GDN_TRY(expect(p, json_integer_value(json_object_get(json, "schema")) == 1, "schema",
                   "1", err));
    GDN_TRY(expect(p, is_text(json_object_get(json, "package")), "package", "a text", err));
    GDN_TRY(expect(p, name && gdn_op_from_name(name, &op), "op", "the name of an op", err));
    GDN_TRY(expect(p, is_object_of(json_object_get(json, "types"), is_texts), "types",
                   "an object of lists of type names", err));
    const json_t *conventions = json_object_get(json, "conventions");
    GDN_TRY(expect(p, !conventions || is_object_of(conventions, is_texts), "conventions",
                   "an object of lists of values", err));
    const json_t *define = json_object_get(json, "define");
    GDN_TRY(expect(p,
                   !define || (is_object_of(define, is_expression) &&
                               json_object_size(define) <= MAX_DEFINITIONS),
                   "define", "an object of at most 64 expressions", err));
    const json_t *when = json_object_get(json, "when");
    GDN_TRY(expect(p, !when || is_texts(when), "when", "a list of expressions", err));
    const json_t *scratch = json_object_get(json, "scratch");
    GDN_TRY(expect(p, !scratch || is_object_of(scratch, is_expression), "scratch",
                   "an object of expressions", err));
    GDN_TRY(check_modules(p, err));
    json_t *launches = json_object_get(json, "launches");
    GDN_TRY(expect(
        p, json_array_size(launches) >= 1 && json_array_size(launches) <= GPU_MAX_LAUNCHES,
        "launches", "a list of 1 to 16 launches", err));
    json_array_foreach(launches, i, value) {
        GDN_TRY(check_launch(p, value, err));
    }
    return GDN_OK;
}

gdn_status gpu_package_open(gpu_package **package, const char *folder, gdn_error *err) {
    char path[4096];
    json_error_t bad;
    gpu_package *p = calloc(1, sizeof *p);
    if (!p || !(p->folder = strdup(folder))) {
        free(p);
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a package");
    }
    snprintf(path, sizeof path, "%s/kernel.json", folder);
    p->json = json_load_file(path, JSON_REJECT_DUPLICATES, &bad);
    gdn_status status = p->json ? check_package(p, err)
                                : gdn_error_set(err, GDN_ERR_ARG, "%.600s: line %d: %s",
                                                path, bad.line, bad.text);
    if (status != GDN_OK) {
        gpu_package_destroy(p);
        return status;
    }
    *package = p;
    return GDN_OK;
}

void gpu_package_destroy(gpu_package *package) {
    if (package) {
        json_decref(package->json);
        free(package->folder);
        free(package);
    }
}

size_t gpu_package_modules(const gpu_package *package) {
    return package->modules;
}

const char *gpu_package_module(const gpu_package *package, size_t index, bool *is_source) {
    *is_source = package->is_source[index];
    return package->paths[index];
}

static int module_index(const gpu_package *p, const char *name) {
    const char *key;
    json_t *value;
    int index = 0;
    json_object_foreach(json_object_get(p->json, "modules"), key, value) {
        if (strcmp(key, name) == 0) {
            break;
        }
        index++;
    }
    return index;
}

const char *gpu_package_kernel(const gpu_package *package, size_t module, size_t n) {
    size_t i;
    json_t *launch;
    json_array_foreach(json_object_get(package->json, "launches"), i, launch) {
        const char *of = json_string_value(json_object_get(launch, "module"));
        if ((size_t)module_index(package, of) == module && n-- == 0) {
            return json_string_value(json_object_get(launch, "kernel"));
        }
    }
    return NULL;
}

const char *gpu_package_name(const gpu_package *package) {
    return json_string_value(json_object_get(package->json, "package"));
}

/* ---- Planning ---- */

/* What the planning of one call knows. */
typedef struct planning {
    const gpu_package *package;
    gpu_plan *plan;
    const gdn_call *call;
    gpu_definition definitions[MAX_DEFINITIONS];
    gpu_scope scope;
    gdn_error *err;
} planning;

static gdn_status evaluate(planning *w, const json_t *json, int64_t *value) {
    if (json_is_integer(json)) {
        *value = json_integer_value(json);
        return GDN_OK;
    }
    return gpu_evaluate(value, json_string_value(json), &w->scope, w->err);
}

static bool lists(const json_t *list, const char *text) {
    size_t i;
    json_t *value;
    json_array_foreach((json_t *)list, i, value) {
        if (strcmp(json_string_value(value), text) == 0 ||
            strcmp(json_string_value(value), "*") == 0) {
            return true;
        }
    }
    return false;
}

/* Every tensor of the call is one that the package takes, in a type that it takes. */
static gdn_status check_types(const planning *w) {
    const json_t *types = json_object_get(w->package->json, "types");
    for (size_t i = 0; i < w->call->n_tensors; i++) {
        const gdn_tensor *t = &w->call->tensors[i];
        const json_t *list = json_object_get(types, t->name);
        if (!list || !lists(list, gdn_dtype_name(t->dtype))) {
            return gdn_error_set(w->err, GDN_ERR_UNSUPPORTED,
                                 "%s: the package takes none of type %s", t->name,
                                 gdn_dtype_name(t->dtype));
        }
    }
    return GDN_OK;
}

/* Conventions that the package does not name must have their defaults. */
static gdn_status check_conventions(const planning *w) {
    const gdn_conventions usual = gdn_conventions_default();
    const json_t *claims = json_object_get(w->package->json, "conventions");
    size_t count = 0;
    const gdn_convention_field *fields = gdn_convention_fields(&count);
    for (size_t i = 0; i < count; i++) {
        char value[64], otherwise[64];
        gdn_conventions_get(w->call->conventions, &fields[i], value, sizeof value);
        gdn_conventions_get(&usual, &fields[i], otherwise, sizeof otherwise);
        const json_t *list = json_object_get(claims, fields[i].name);
        if (list ? !lists(list, value) : strcmp(value, otherwise) != 0) {
            return gdn_error_set(w->err, GDN_ERR_UNSUPPORTED,
                                 "%s: the package does not claim \"%s\"", fields[i].name,
                                 value);
        }
    }
    return GDN_OK;
}

static gdn_status define_names(planning *w) {
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(w->package->json, "define"), key, value) {
        int64_t number = 0;
        GDN_TRY(evaluate(w, value, &number));
        w->definitions[w->scope.n_definitions++] = (gpu_definition){key, number};
    }
    size_t i;
    json_array_foreach(json_object_get(w->package->json, "when"), i, value) {
        int64_t holds = 0;
        GDN_TRY(evaluate(w, value, &holds));
        if (holds == 0) {
            return gdn_error_set(w->err, GDN_ERR_UNSUPPORTED, "the package asks for %.200s",
                                 json_string_value(value));
        }
    }
    return GDN_OK;
}

static gdn_status scratch_address(planning *w, const char *name, uint64_t *address) {
    const char *key;
    json_t *value;
    uint64_t at = w->plan->scratch;
    json_object_foreach(json_object_get(w->package->json, "scratch"), key, value) {
        int64_t bytes = 0;
        GDN_TRY(evaluate(w, value, &bytes));
        if (name && strcmp(key, name) == 0) {
            *address = at;
            return GDN_OK;
        }
        if (bytes < 0 || bytes > (int64_t)1 << 40) {
            return gdn_error_set(w->err, GDN_ERR_ARG,
                                 "scratch.%.60s: expected [0, 2^40] bytes but found %lld",
                                 key, (long long)bytes);
        }
        at += ((uint64_t)bytes + 255) / 256 * 256;
    }
    w->plan->scratch_bytes = (size_t)(at - w->plan->scratch);
    return name ? gdn_error_set(w->err, GDN_ERR_ARG, "scratch: there is no %.60s", name)
                : GDN_OK;
}

/* Bytes of one argument in `bits`. */
static gdn_status bind(planning *w, const json_t *argument, uint64_t *bits, size_t *size) {
    const char *tensor = json_string_value(json_object_get(argument, "tensor"));
    const char *scratch = json_string_value(json_object_get(argument, "scratch"));
    const json_t *i32 = json_object_get(argument, "i32");
    const json_t *i64 = json_object_get(argument, "i64");
    const json_t *f32 = json_object_get(argument, "f32");
    *bits = 0;
    *size = i32 || f32 ? 4 : 8;
    if (tensor) {
        *bits = (uint64_t)(uintptr_t)gpu_view(w->plan, w->call, tensor).data;
        return gdn_op_argument(w->call->op, tensor)
                   ? GDN_OK
                   : gdn_error_set(w->err, GDN_ERR_ARG, "argument: the op has no %.60s",
                                   tensor);
    }
    if (scratch) {
        return scratch_address(w, scratch, bits);
    }
    if (f32) {
        const float value = (float)json_number_value(f32);
        memcpy(bits, &value, sizeof value);
        return GDN_OK;
    }
    int64_t value = 0;
    if (i32 || i64) {
        GDN_TRY(evaluate(w, i32 ? i32 : i64, &value));
    }
    if (i32 && (value < INT32_MIN || value > INT32_MAX)) {
        return gdn_error_set(w->err, GDN_ERR_UNSUPPORTED,
                             "argument: %lld is more than an i32 holds", (long long)value);
    }
    memcpy(bits, &value, sizeof value);
    return GDN_OK;
}

static gdn_status add_launch(planning *w, const json_t *json) {
    int64_t grid[3], block[3], shared = 0;
    for (size_t i = 0; i < 3; i++) {
        GDN_TRY(evaluate(w, json_array_get(json_object_get(json, "grid"), i), &grid[i]));
        GDN_TRY(evaluate(w, json_array_get(json_object_get(json, "block"), i), &block[i]));
        if (grid[i] < 0 || block[i] < 1 || block[i] > 1024) {
            return gdn_error_set(w->err, GDN_ERR_UNSUPPORTED,
                                 "launch: a grid of %lld and a block of %lld in axis %d",
                                 (long long)grid[i], (long long)block[i], (int)i);
        }
    }
    if (json_object_get(json, "shared")) {
        GDN_TRY(evaluate(w, json_object_get(json, "shared"), &shared));
    }
    if (shared < 0 || shared > MAX_SHARED) {
        return gdn_error_set(w->err, GDN_ERR_UNSUPPORTED,
                             "launch: expected at most %d bytes of shared memory but found "
                             "%lld",
                             MAX_SHARED, (long long)shared);
    }
    unsigned char bytes[GPU_MAX_ARGUMENTS * 8], sizes[GPU_MAX_ARGUMENTS] = {0};
    uint64_t nulls = 0;
    const json_t *arguments = json_object_get(json, "arguments");
    const size_t count = json_array_size(arguments);
    if (count > GPU_MAX_ARGUMENTS) {
        return gdn_error_set(w->err, GDN_ERR_UNSUPPORTED, "launch: more than %d arguments",
                             GPU_MAX_ARGUMENTS);
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t bits = 0;
        size_t size = 0;
        GDN_TRY(bind(w, json_array_get(arguments, i), &bits, &size));
        memcpy(bytes + 8 * i, &bits, 8);
        sizes[i] = (unsigned char)size;
        if (size == 8 && bits == 0 &&
            !json_object_get(json_array_get(arguments, i), "i64")) {
            nulls |= UINT64_C(1) << i;
        }
    }
    const int before = w->plan->count;
    GDN_TRY(gpu_plan_add(w->plan, json_string_value(json_object_get(json, "kernel")),
                         grid[0], grid[1], grid[2], (unsigned)block[0], bytes, 8 * count,
                         w->err));
    if (w->plan->count > before) {
        gpu_launch *launch = &w->plan->launches[before];
        launch->module =
            module_index(w->package, json_string_value(json_object_get(json, "module")));
        launch->block[1] = (unsigned)block[1];
        launch->block[2] = (unsigned)block[2];
        launch->shared = (unsigned)shared;
        launch->arguments_count = (unsigned)count;
        memcpy(launch->sizes, sizes, sizeof sizes);
        launch->nulls = nulls;
    }
    return GDN_OK;
}

gdn_status gpu_package_plan(const gpu_package *package, gpu_plan *plan,
                            const gdn_call *call, gdn_error *err) {
    const char *op = json_string_value(json_object_get(package->json, "op"));
    if (strcmp(op, gdn_op_get(call->op)->name) != 0) {
        return gdn_error_set(err, GDN_ERR_UNSUPPORTED, "the package has %s only", op);
    }
    planning w = {.package = package, .plan = plan, .call = call, .err = err};
    w.scope = (gpu_scope){.call = call, .definitions = w.definitions};
    plan->count = 0;
    plan->host_arena = call->arena;
    GDN_TRY(check_types(&w));
    GDN_TRY(check_conventions(&w));
    GDN_TRY(define_names(&w));
    GDN_TRY(scratch_address(&w, NULL, NULL));
    size_t i;
    json_t *launch;
    json_array_foreach(json_object_get(package->json, "launches"), i, launch) {
        GDN_TRY(add_launch(&w, launch));
    }
    return GDN_OK;
}
