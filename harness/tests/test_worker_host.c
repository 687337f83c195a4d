/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Every answer that a worker can give, right and wrong, costs one request: each test ends
 * with a fresh worker that serves. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "worker_fixture.h"

static void test_good(void **state) {
    fixture *f = *state;
    start(f, "good");
    assert_null(gdn_worker_identify(f->worker));
    say_hello(f);
    expect(f, GDN_WORKER_OK, "");
    assert_string_equal(gdn_worker_identify(f->worker)->hardware, "fake");
    assert_string_equal(gdn_worker_identify(f->worker)->driver, "none");
    assert_string_equal(gdn_worker_identify(f->worker)->build, "1.0");
    assert_int_equal(
        gdn_worker_supports(f->worker, &f->call, LONG, &f->reply, &(gdn_error){0}), GDN_OK);
    expect(f, GDN_WORKER_OK, "");
    for (int i = 1; i <= 100; i++) {
        run(f, INFINITY);
        expect(f, GDN_WORKER_OK, "");
        assert_int_equal(f->board->runs, i);
    }
    close_quietly(f);
}

static void test_returned_outputs_are_named(void **state) {
    fixture *f = *state;
    meet(f, "silent", LONG, GDN_WORKER_OK, "");
    assert_string_equal(f->reply.returned, "");
    close_quietly(f);
    meet(f, "returned", LONG, GDN_WORKER_OK, "");
    assert_string_equal(f->reply.returned, "g,beta");
    close_quietly(f);
}

static void test_options_and_path(void **state) {
    fixture *f = *state;
    start(f, "echo-options");
    assert_int_equal(
        gdn_worker_hello(f->worker, "fake", "a=1", LONG, &f->reply, &(gdn_error){0}),
        GDN_OK);
    assert_string_equal(gdn_worker_identify(f->worker)->hardware, "a=1");
    close_quietly(f);

    /* env is found in PATH, and hands the socket on. */
    const char *const argv[] = {"env", FAKE_WORKER_PATH, "good", NULL};
    assert_int_equal(gdn_worker_spawn(&f->worker, argv, &(gdn_error){0}), GDN_OK);
    say_hello(f);
    expect_service(f);
}

static void test_answers_that_are_no(void **state) {
    fixture *f = *state;
    start(f, "absent");
    say_hello(f);
    expect(f, GDN_WORKER_UNSUPPORTED, "no such hardware");
    assert_null(gdn_worker_identify(f->worker));
    close_quietly(f);

    start(f, "bad-options");
    say_hello(f);
    expect(f, GDN_WORKER_ERROR, "no option x");
    assert_int_equal(f->reply.status, GDN_ERR_ARG);
    close_quietly(f);

    start(f, "unsupported");
    say_hello(f);
    assert_int_equal(gdn_worker_supports(f->worker, &f->call, LONG, &f->reply, NULL),
                     GDN_OK);
    expect(f, GDN_WORKER_UNSUPPORTED, "K = 7");
    expect_service(f);

    char reason[64];
    snprintf(reason, sizeof reason, "an arena of %zu", f->arena.bytes);
    start(f, "no-memory");
    say_hello(f);
    assert_int_equal(gdn_worker_supports(f->worker, &f->call, LONG, &f->reply, NULL),
                     GDN_OK);
    expect(f, GDN_WORKER_UNSUPPORTED, reason);
    assert_string_equal(f->reply.message, reason);
    close_quietly(f);

    meet(f, "error", LONG, GDN_WORKER_ERROR, "lost a wave");
    assert_int_equal(f->reply.status, GDN_ERR_DEVICE);
    assert_true(gdn_worker_alive(f->worker));
    close_quietly(f);

    /* run has been promised: no unsupported any more. */
    meet(f, "declined", LONG, GDN_WORKER_ERROR, "not this one");
    assert_int_equal(f->reply.status, GDN_ERR_UNSUPPORTED);
    close_quietly(f);
}

static void test_deaths(void **state) {
    fixture *f = *state;
    meet(f, "crash", LONG, GDN_WORKER_CRASH, "signal 11");
    assert_int_equal(f->reply.signal, SIGSEGV);
    assert_string_equal(gdn_worker_output(f->worker), "about to crash\n");
    expect_dead_and_replaceable(f);

    meet(f, "abort", LONG, GDN_WORKER_CRASH, "signal 6");
    assert_int_equal(f->reply.signal, SIGABRT);
    expect_dead_and_replaceable(f);

    meet(f, "exit", LONG, GDN_WORKER_CRASH, "status 3");
    assert_int_equal(f->reply.signal, 0);
    assert_int_equal(f->reply.exit_status, 3);
    expect_dead_and_replaceable(f);

    meet(f, "exit0", LONG, GDN_WORKER_CRASH, "status 0");
    expect_dead_and_replaceable(f);

    meet(f, "half", LONG, GDN_WORKER_CRASH, "status 4 without answering, in the middle");
    expect_dead_and_replaceable(f);
}

static void test_hangs(void **state) {
    fixture *f = *state;
    static const char *const modes[] = {"hang", "hang-term", "half-hang", "print-for-ever"};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        meet(f, modes[i], TOO_LONG, GDN_WORKER_HANG, "no answer within 0.3 s");
        assert_false(f->reply.lost);
        expect_dead_and_replaceable(f);
    }
}

static void test_garbage(void **state) {
    fixture *f = *state;
    static const struct {
        const char *mode;
        const char *word;
    } cases[] = {
        {"garbage", "begins with Segmentation fault"},
        {"binary", "begins with ???{}"},
        {"array", "not a JSON object: it is an array"},
        {"empty", "not a JSON object"},
        {"wrong-type", "type: done"},
        {"no-type", "type: done"},
        {"unknown-member", "second"},
        {"negative", "negative"},
        {"text-seconds", "bad answer to run"},
        {"returned-input", "outputs of the op"},
        {"returned-text", "outputs of the op"},
        {"duplicate", "duplicate"},
        {"bad-status", "no gdn_status"},
        {"no-message", "message"},
        {"twice", "more than one answer"},
        {"no-id", "out of order: expected id 2 but found none"},
        {"wrong-id", "out of order: expected id 2 but found 77"},
        {"text-id", "out of order: expected id 2 but found no integer"},
        {"error-no-id", "out of order: expected id 2 but found none"},
        {"unread", "out of order: expected id 2 but found 0"},
        {"long-line", "no end within the limit"},
        {"hang-up", "closed its socket"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        meet(f, cases[i].mode, LONG, GDN_WORKER_GARBAGE, cases[i].word);
        assert_false(f->reply.lost);
        expect_dead_and_replaceable(f);
    }
    start(f, "newer");
    say_hello(f);
    expect(f, GDN_WORKER_GARBAGE, "protocol 1");
    expect_dead_and_replaceable(f);

    start(f, "no-reason");
    say_hello(f);
    assert_int_equal(gdn_worker_supports(f->worker, &f->call, LONG, &f->reply, NULL),
                     GDN_OK);
    expect(f, GDN_WORKER_GARBAGE, "reason");
    expect_dead_and_replaceable(f);
}

/* What happened between two requests is not the second one's fault. */
static void test_stale(void **state) {
    fixture *f = *state;
    meet(f, "late-answer", LONG, GDN_WORKER_OK, "");
    assert_true(f->reply.seconds < 0);
    f->board->test_is_ready = 1;
    const double deadline = now() + LONG;
    while (!f->board->worker_is_ready) {
        assert_true(now() < deadline);
        nap();
    }
    run(f, LONG);
    expect(f, GDN_WORKER_GARBAGE, "without being asked");
    assert_true(f->reply.stale);
    expect_dead_and_replaceable(f);

    /* Later still: when the second answer comes, the next one is already waited for. */
    gdn_arena_restore(&f->arena);
    meet(f, "belated", LONG, GDN_WORKER_OK, "");
    run(f, LONG);
    expect(f, GDN_WORKER_GARBAGE, "out of order: expected id 3 but found 2");
    assert_true(f->reply.stale);
    expect_dead_and_replaceable(f);

    gdn_arena_restore(&f->arena);
    meet(f, "late-death", LONG, GDN_WORKER_OK, "");
    f->board->test_is_ready = 1;
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)f->board->pid, &info, WEXITED | WNOWAIT), 0);
    run(f, LONG);
    expect(f, GDN_WORKER_CRASH, "signal 11 (Segmentation fault) before it was asked");
    assert_true(f->reply.stale);
    expect_dead_and_replaceable(f);
}

static void test_partial_answers(void **state) {
    fixture *f = *state;
    meet(f, "drip", LONG, GDN_WORKER_OK, "");
    assert_true(f->reply.seconds == 1e-3);
    close_quietly(f);
}

static void test_arena_cannot_be_truncated(void **state) {
    fixture *f = *state;
    meet(f, "truncate", LONG, GDN_WORKER_ERROR, "the seal holds");
    assert_int_equal(f->arena.base[f->arena.bytes - 1], GDN_POISON_WORD >> 8);
    close_quietly(f);
}

/* A request larger than any socket buffer, to one that reads and to one that does not. */
static void test_large_requests(void **state) {
    fixture *f = *state;
    char *options = malloc((1 << 20) + 1);
    assert_non_null(options);
    memset(options, 'x', 1 << 20);
    options[1 << 20] = '\0';
    start(f, "good");
    gdn_error err = {0};
    assert_int_equal(gdn_worker_hello(f->worker, "fake", options, LONG, &f->reply, &err),
                     GDN_ERR_ARG);
    options[(1 << 20) - 200] = '\0';
    assert_int_equal(gdn_worker_hello(f->worker, "fake", options, LONG, &f->reply, NULL),
                     GDN_OK);
    expect(f, GDN_WORKER_OK, "");
    expect_service(f);

    const char *const argv[] = {"sleep", "600", NULL};
    assert_int_equal(gdn_worker_spawn(&f->worker, argv, NULL), GDN_OK);
    assert_int_equal(
        gdn_worker_hello(f->worker, "fake", options, TOO_LONG, &f->reply, NULL), GDN_OK);
    expect(f, GDN_WORKER_HANG, "no answer");
    free(options);
    expect_dead_and_replaceable(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_good),
        TEST(test_returned_outputs_are_named),
        TEST(test_options_and_path),
        TEST(test_answers_that_are_no),
        TEST(test_deaths),
        TEST(test_hangs),
        TEST(test_garbage),
        TEST(test_stale),
        TEST(test_partial_answers),
        TEST(test_arena_cannot_be_truncated),
        TEST(test_large_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
