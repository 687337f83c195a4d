/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* level_zero, on the driver without a GPU, gives the bits that opencl gives: every case of
 * suite smoke, the whole arena with guards and gaps. SPIR-V on the one side, source on the
 * other. At the end everything that level_zero held is released. */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "expand.h"
#include "gdn/arena.h"
#include "gdn/device.h"
#include "problem.h"

enum { OPENCL, LEVEL_ZERO, DEVICES };

static const char *const PATHS[DEVICES] = {OPENCL_PATH, LEVEL_ZERO_PATH};
static const gdn_device_api *apis[DEVICES];
static gdn_device *devices[DEVICES];

static void run(int which, const gdn_call *call, const char *id) {
    gdn_error err = {0};
    double seconds = -1;
    if (apis[which]->run(devices[which], call, &seconds, &err) != GDN_OK) {
        fail_msg("%s on %s: %s", id, apis[which]->name, err.message);
    }
}

static void compare(const gdn_case *test) {
    gdn_error err = {0};
    gdn_problem problem;
    if (gdn_problem_create(&problem, test, &err) != GDN_OK) {
        fail_msg("%s: %s", test->id, err.message);
    }
    gdn_arena *arena = &problem.arena;
    uint8_t *start = malloc(arena->bytes), *other = malloc(arena->bytes);
    assert_non_null(start);
    assert_non_null(other);
    memcpy(start, arena->base, arena->bytes);
    run(OPENCL, &problem.call, test->id);
    memcpy(other, arena->base, arena->bytes);
    memcpy(arena->base, start, arena->bytes);
    run(LEVEL_ZERO, &problem.call, test->id);
    for (size_t i = 0; i < arena->bytes; i++) {
        if (other[i] != arena->base[i]) {
            char place[128];
            gdn_arena_describe(arena, i, place, sizeof place);
            fail_msg("%s: the devices differ at %s", test->id, place);
        }
    }
    free(start);
    free(other);
    gdn_problem_destroy(&problem);
}

static void every_case_of_smoke(void **state) {
    (void)state;
    gdn_error err = {0};
    gdn_suite suite;
    if (gdn_suite_load(&suite, GDN_SUITE_DIR, GDN_PROFILE_DIR, "smoke", &err) != GDN_OK) {
        fail_msg("%s", err.message);
    }
    assert_true(suite.n_cases > 100);
    for (size_t i = 0; i < suite.n_cases; i++) {
        compare(&suite.cases[i]);
    }
    gdn_suite_destroy(&suite);
}

static void everything_is_released(void **state) {
    (void)state;
    int (*live)(void) = NULL;
    void *driver = dlopen(getenv("ZE_ENABLE_ALT_DRIVERS"), RTLD_NOW | RTLD_NOLOAD);
    assert_non_null(driver);
    void *symbol = dlsym(driver, "test_driver_live");
    assert_non_null(symbol);
    memcpy(&live, &symbol, sizeof symbol);
    assert_int_not_equal(live(), 0);
    apis[LEVEL_ZERO]->close(devices[LEVEL_ZERO]);
    assert_int_equal(live(), 0);
}

static int open_device(int which) {
    gdn_error err = {0};
    void *library = dlopen(PATHS[which], RTLD_NOW | RTLD_LOCAL);
    apis[which] = library ? dlsym(library, "gdn_device_v1") : NULL;
    if (!apis[which]) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    if (apis[which]->open("", &devices[which], &err) != GDN_OK) {
        fprintf(stderr, "%s: %s\n", PATHS[which], err.message);
        return 1;
    }
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_of_smoke),
        cmocka_unit_test(everything_is_released),
    };
    if (open_device(OPENCL) || open_device(LEVEL_ZERO)) {
        return 1;
    }
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    apis[OPENCL]->close(devices[OPENCL]);
    return failed;
}
