/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* How workers start, print and end, and what of the host they get to see. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker_fixture.h"

/* Dead: gone, or a zombie that its parent has not collected. */
static bool is_dead(pid_t pid) {
    char path[64];
    char text[512] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file) {
        return true;
    }
    const size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    const char *after_name = strrchr(text, ')');
    return n == 0 || !after_name || after_name[2] == 'Z' || after_name[2] == 'X';
}

static void expect_dies(pid_t pid) {
    const double deadline = now() + LONG;
    while (!is_dead(pid)) {
        assert_true(now() < deadline);
        nap();
    }
}

static void test_no_such_program(void **state) {
    fixture *f = *state;
    const char *const argv[] = {"/nonexistent/worker", NULL};
    gdn_error err = {0};
    assert_int_equal(gdn_worker_spawn(&f->worker, argv, &err), GDN_ERR_IO);
    assert_non_null(strstr(err.message, "/nonexistent/worker"));
    assert_null(f->worker);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie */
    gdn_worker_close(NULL, LONG, NULL);
}

static void test_death_at_once(void **state) {
    fixture *f = *state;
    start(f, "die-at-once");
    say_hello(f);
    expect(f, GDN_WORKER_CRASH, "status 5");
    assert_string_equal(gdn_worker_output(f->worker), "fake worker starts\n");
    expect_dead_and_replaceable(f);

    const char *const argv[] = {"/bin/true", NULL};
    assert_int_equal(gdn_worker_spawn(&f->worker, argv, NULL), GDN_OK);
    say_hello(f);
    expect(f, GDN_WORKER_CRASH, "status 0");
    expect_dead_and_replaceable(f);
}

static void test_death_with_the_socket_held(void **state) {
    fixture *f = *state;
    meet(f, "orphan", LONG, GDN_WORKER_CRASH, "status 9");
    expect_dies(f->board->pid); /* its child went with it */
    expect_dead_and_replaceable(f);
}

static void test_output(void **state) {
    fixture *f = *state;
    start(f, "print");
    say_hello(f);
    assert_string_equal(gdn_worker_output(f->worker), "fake worker starts\n");
    for (int i = 0; i < 3; i++) {
        run(f, LONG);
        expect(f, GDN_WORKER_OK, "");
        assert_string_equal(gdn_worker_output(f->worker),
                            "to stdout\nto stderr: \xc3\xa9 ?\n?");
    }
    assert_int_equal(gdn_worker_supports(f->worker, &f->call, LONG, &f->reply, NULL),
                     GDN_OK);
    assert_string_equal(gdn_worker_output(f->worker), "");
    close_quietly(f);
}

static void test_much_output(void **state) {
    fixture *f = *state;
    meet(f, "print-much", LONG, GDN_WORKER_OK, "");
    for (int i = 0; i < 2; i++) { /* asking twice is the same */
        const char *text = gdn_worker_output(f->worker);
        const char *line = strchr(text, '\n');
        assert_int_equal(text[0], '[');
        assert_non_null(strstr(text, "bytes before this are lost]\n"));
        assert_int_equal(strlen(line + 1), GDN_WORKER_OUTPUT_MAX);
        assert_non_null(strstr(text, "line 19999 of many\nthe end\n"));
        const size_t dropped = strtoul(text + 1, NULL, 10);
        size_t printed = strlen("the end\n");
        for (int k = 0; k < 20000; k++) {
            printed += (size_t)snprintf(NULL, 0, "line %d of many\n", k);
        }
        assert_int_equal(dropped, printed - GDN_WORKER_OUTPUT_MAX);
    }
    close_quietly(f);
}

static void test_nothing_else_is_inherited(void **state) {
    fixture *f = *state;
    const int leak = open("/dev/null", O_RDONLY); /* as libraries do */
    assert_true(leak >= 0);
    sigset_t block;
    sigemptyset(&block);
    sigaddset(&block, SIGTERM);
    sigprocmask(SIG_BLOCK, &block, NULL);
    meet(f, "descriptors", LONG, GDN_WORKER_ERROR, "[] stdin empty, leader, SIGTERM heard");
    sigprocmask(SIG_UNBLOCK, &block, NULL);
    close(leak);
    close_quietly(f);
}

static void test_ends(void **state) {
    fixture *f = *state;
    start(f, "bad-end");
    say_hello(f);
    gdn_worker_close(f->worker, LONG, &f->reply);
    f->worker = NULL;
    expect(f, GDN_WORKER_CRASH, "status 6");

    start(f, "deaf");
    say_hello(f);
    gdn_worker_close(f->worker, TOO_LONG, &f->reply);
    f->worker = NULL;
    expect(f, GDN_WORKER_HANG, "did not end");
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombies */
}

/* Even one that hangs, and so does not see its socket end. */
static void test_worker_dies_with_its_host(void **state) {
    fixture *f = *state;
    const pid_t host = fork();
    if (host == 0) {
        start(f, "hang");
        say_hello(f);
        run(f, LONG);
        _exit(1);
    }
    const double deadline = now() + LONG;
    while (f->board->pid == 0) {
        assert_true(now() < deadline);
        nap();
    }
    kill(host, SIGKILL);
    assert_int_equal(waitpid(host, NULL, 0), host);
    expect_dies(f->board->pid);
}

/* A host without standard streams: its own descriptors are then 0, 1 and 2. */
static void test_closed_standard_streams(void **state) {
    fixture *f = *state;
    const pid_t host = fork();
    if (host == 0) {
        const char *const argv[] = {FAKE_WORKER_PATH, "print", NULL};
        close(0);
        close(1);
        close(2);
        const bool served =
            gdn_worker_spawn(&f->worker, argv, NULL) == GDN_OK &&
            gdn_worker_hello(f->worker, "fake", NULL, LONG, &f->reply, NULL) == GDN_OK &&
            gdn_worker_run(f->worker, &f->call, f->arena.fd, LONG, &f->reply, NULL) ==
                GDN_OK &&
            f->reply.outcome == GDN_WORKER_OK && f->board->runs == 1 &&
            strncmp(gdn_worker_output(f->worker), "to stdout", 9) == 0;
        _exit(served ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(host, &status, 0), host);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_unkillable(void **state) {
    fixture *f = *state;
    start(f, "unkillable");
    say_hello(f);
    const double begin = now();
    run(f, TOO_LONG);
    if (f->reply.outcome == GDN_WORKER_ERROR) {
        print_message("skipped: %s\n", f->reply.message);
        close_quietly(f);
        skip();
    }
    expect(f, GDN_WORKER_HANG, "abandoned");
    assert_true(f->reply.lost);
    assert_true(now() - begin < 15); /* its tracer holds it for 20 seconds */
    expect_dead_and_replaceable(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_no_such_program),
        TEST(test_death_at_once),
        TEST(test_death_with_the_socket_held),
        TEST(test_output),
        TEST(test_much_output),
        TEST(test_nothing_else_is_inherited),
        TEST(test_ends),
        TEST(test_worker_dies_with_its_host),
        TEST(test_closed_standard_streams),
        TEST(test_unkillable), /* last: leaves a process for some seconds */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
