/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "apart.h"

static gdn_status succeed(void *data, gdn_error *err) {
    (void)err;
    *(int *)data = 1; /* the parent must not see this */
    return GDN_OK;
}

static gdn_status refuse(void *data, gdn_error *err) {
    return gdn_error_set(err, GDN_ERR_IO, "refused %s", (const char *)data);
}

static gdn_status refuse_silently(void *data, gdn_error *err) {
    (void)data;
    (void)err;
    return GDN_ERR_OOM;
}

static gdn_status die(void *data, gdn_error *err) {
    (void)err;
    raise(*(const int *)data);
    return GDN_OK;
}

static gdn_status leave(void *data, gdn_error *err) {
    (void)err;
    _exit(*(const int *)data);
}

static gdn_status sleep_on(void *data, gdn_error *err) {
    (void)data;
    (void)err;
    pause();
    return GDN_OK;
}

static void expect(gdnp_work work, void *data, gdn_status status, const char *message) {
    gdn_error err = {0};
    assert_int_equal(gdnp_run_apart(work, data, "F", 1, &err), status);
    assert_string_equal(err.message, message);
}

static void test_answers_come_back(void **state) {
    (void)state;
    int seen = 0;
    expect(succeed, &seen, GDN_OK, "");
    assert_int_equal(seen, 0);
    expect(refuse, (char[]){"it"}, GDN_ERR_IO, "refused it");
    expect(refuse_silently, NULL, GDN_ERR_OOM, "out of memory");
    assert_int_equal(gdnp_run_apart(refuse, (char[]){"it"}, "F", 1, NULL), GDN_ERR_IO);
}

/* cmocka handles these signals itself: its handlers must not run in the child. */
static void test_crashes_are_told(void **state) {
    (void)state;
    expect(die, &(int){SIGSEGV}, GDN_ERR_FORMAT,
           "reading F crashed the HDF5 library (signal 11)");
    expect(die, &(int){SIGABRT}, GDN_ERR_FORMAT,
           "reading F crashed the HDF5 library (signal 6)");
    expect(die, &(int){SIGKILL}, GDN_ERR_FORMAT,
           "reading F crashed the HDF5 library (signal 9)");
    expect(die, &(int){SIGINT}, GDN_ERR_IO, "checking F was interrupted (signal 2)");
}

static void test_silence_is_told(void **state) {
    (void)state;
    expect(leave, &(int){0}, GDN_ERR_FORMAT,
           "reading F ended the process that checked it (exit status 0)");
    expect(leave, &(int){3}, GDN_ERR_FORMAT,
           "reading F ended the process that checked it (exit status 3)");
    expect(sleep_on, NULL, GDN_ERR_FORMAT, "checking F did not end within 1 s");
}

/* A host that ignores SIGCHLD has no children to wait for, but still has an answer. */
static void test_ignored_sigchld(void **state) {
    (void)state;
    void (*before)(int) = signal(SIGCHLD, SIG_IGN);
    int seen = 0;
    expect(succeed, &seen, GDN_OK, "");
    expect(refuse, (char[]){"it"}, GDN_ERR_IO, "refused it");
    signal(SIGCHLD, before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_come_back),
        cmocka_unit_test(test_crashes_are_told),
        cmocka_unit_test(test_silence_is_told),
        cmocka_unit_test(test_ignored_sigchld),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
