/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Handles that are known, alive or not. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "test_driver.h"

static const char *const NAMES[KINDS] = {
    [CONTEXT] = "context",     [QUEUE] = "command queue", [LIST] = "command list",
    [POOL] = "event pool",     [EVENT] = "event",         [MODULE] = "module",
    [BUILD_LOG] = "build log", [KERNEL] = "kernel",
};

static object *objects;

ze_result_t refuse(ze_result_t code, const char *function, const char *format, ...) {
    va_list arguments;
    fprintf(stderr, "test driver: %s: ", function);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return code;
}

void *object_create(object_kind kind, size_t bytes) {
    object *o = calloc(1, bytes);
    if (o) {
        o->kind = kind;
        o->live = true;
        o->next = objects;
        objects = o;
    }
    return o;
}

void *object_find(const void *handle, object_kind kind, const char *function) {
    for (object *o = objects; o; o = o->next) {
        if (o != handle) {
            continue;
        }
        if (o->kind != kind) {
            refuse(0, function, "a %s is given where a %s is due", NAMES[o->kind],
                   NAMES[kind]);
            return NULL;
        }
        if (!o->live) {
            refuse(0, function, "the %s was destroyed", NAMES[kind]);
            return NULL;
        }
        return o;
    }
    refuse(0, function, "no such %s", NAMES[kind]);
    return NULL;
}

ze_result_t object_destroy(void *handle, object_kind kind, const char *function) {
    object *o = object_find(handle, kind, function);
    if (!o) {
        return ZE_RESULT_ERROR_INVALID_NULL_HANDLE;
    }
    o->live = false;
    return ZE_RESULT_SUCCESS;
}

__attribute__((visibility("default"))) int test_driver_live(void) {
    int live = memory_live();
    if (live > 0) {
        fprintf(stderr, "test driver: never released: %d allocations\n", live);
    }
    for (const object *o = objects; o; o = o->next) {
        if (o->live) {
            fprintf(stderr, "test driver: never released: a %s\n", NAMES[o->kind]);
            live++;
        }
    }
    return live;
}

/* A process that ends by itself has released everything. */
__attribute__((destructor)) static void tell_leaks(void) {
    test_driver_live();
}
