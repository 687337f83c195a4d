/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A call on a frozen arena, and the steps that all tests of workers share. For the two test
 * programs only, so everything is inline. FAKE_WORKER_PATH is the program of fake_worker.c.
 */
#ifndef GDN_WORKER_FIXTURE_H
#define GDN_WORKER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "gdn/arena.h"
#include "worker_host.h"

#define LONG     60.0 /* seconds that no test ever waits unless something is wrong */
#define TOO_LONG 0.3  /* for workers that hang */

/* As fake_worker.c. */
typedef struct board {
    volatile unsigned char runs;
    volatile unsigned char test_is_ready;
    volatile unsigned char worker_is_ready;
    volatile pid_t pid;
} board;

typedef struct fixture {
    gdn_arena arena;
    gdn_conventions conventions;
    gdn_call call;
    board *board;
    gdn_worker *worker;
    gdn_worker_reply reply;
} fixture;

static inline int set_up(void **state) {
    static fixture f;
    const int64_t heads[] = {2, 3};
    const gdn_tensor shapes[] = {
        gdn_tensor_dense("A_log", NULL, GDN_FP32, 1, &heads[1]),
        gdn_tensor_dense("dt_bias", NULL, GDN_BF16, 1, &heads[1]),
        gdn_tensor_dense("a", NULL, GDN_BF16, 2, heads),
        gdn_tensor_dense("b", NULL, GDN_BF16, 2, heads),
        gdn_tensor_dense("g", NULL, GDN_FP32, 2, heads),
        gdn_tensor_dense("beta", NULL, GDN_FP32, 2, heads),
    };
    f = (fixture){.conventions = gdn_conventions_default()};
    if (gdn_arena_create(&f.arena, shapes, 6, false, NULL) != GDN_OK) {
        return -1;
    }
    f.call = (gdn_call){.struct_size = sizeof f.call,
                        .op = GDN_OP_GDN_GATING,
                        .conventions = &f.conventions,
                        .tensors = f.arena.tensors,
                        .n_tensors = f.arena.n_tensors,
                        .arena = f.arena.base,
                        .arena_bytes = f.arena.bytes};
    f.board = (board *)f.arena.base; /* in the first guard */
    *f.board = (board){0};
    *state = &f;
    return gdn_arena_freeze(&f.arena, NULL) == GDN_OK ? 0 : -1;
}

static inline int tear_down(void **state) {
    fixture *f = *state;
    gdn_worker_close(f->worker, LONG, NULL);
    gdn_arena_destroy(&f->arena);
    return 0;
}

static inline void start(fixture *f, const char *mode) {
    const char *const argv[] = {FAKE_WORKER_PATH, mode, NULL};
    gdn_error err = {0};
    assert_null(f->worker);
    assert_int_equal(gdn_worker_spawn(&f->worker, argv, &err), GDN_OK);
}

static inline void say_hello(fixture *f) {
    assert_int_equal(
        gdn_worker_hello(f->worker, "fake", "", LONG, &f->reply, &(gdn_error){0}), GDN_OK);
}

static inline void run(fixture *f, double timeout) {
    assert_int_equal(gdn_worker_run(f->worker, &f->call, f->arena.fd, timeout, &f->reply,
                                    &(gdn_error){0}),
                     GDN_OK);
}

static inline void expect(const fixture *f, gdn_worker_outcome outcome, const char *word) {
    if (f->reply.outcome != outcome || !strstr(f->reply.message, word)) {
        fail_msg("expected %s with \"%s\" but found %s with \"%s\"",
                 gdn_worker_outcome_name(outcome), word,
                 gdn_worker_outcome_name(f->reply.outcome), f->reply.message);
    }
    assert_int_equal(f->reply.outcome == GDN_WORKER_OK, f->reply.message[0] == '\0');
}

static inline void close_quietly(fixture *f) {
    gdn_worker_close(f->worker, LONG, &f->reply);
    f->worker = NULL;
    expect(f, GDN_WORKER_OK, "");
}

/* The worker of the fixture takes one more request, and ends as it should. */
static inline void expect_service(fixture *f) {
    gdn_arena_restore(&f->arena);
    assert_true(gdn_worker_alive(f->worker));
    run(f, LONG);
    expect(f, GDN_WORKER_OK, "");
    assert_true(f->reply.seconds == 0.25);
    assert_int_equal(f->board->runs, 1);
    close_quietly(f);
}

/* After an outcome that ends a worker: the handle knows, and the next one works. */
static inline void expect_dead_and_replaceable(fixture *f) {
    assert_false(gdn_worker_alive(f->worker));
    gdn_error err = {0};
    gdn_worker_reply reply;
    assert_int_equal(gdn_worker_supports(f->worker, &f->call, LONG, &reply, &err),
                     GDN_ERR_ARG);
    close_quietly(f);
    start(f, "good");
    say_hello(f);
    expect(f, GDN_WORKER_OK, "");
    expect_service(f);
}

static inline void meet(fixture *f, const char *mode, double timeout,
                        gdn_worker_outcome outcome, const char *word) {
    start(f, mode);
    say_hello(f);
    expect(f, GDN_WORKER_OK, "");
    run(f, timeout);
    expect(f, outcome, word);
    assert_false(f->reply.stale);
}

static inline double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline void nap(void) {
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
