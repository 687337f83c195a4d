/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "queue.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "worker_host.h"

#define OPEN_TIMEOUT  300.0
#define CLOSE_TIMEOUT 5.0

struct gdn_queue {
    gdn_worker *worker;
    double timeout;
    gdn_problem problem; ///< its own arena
    pthread_t thread;
    bool running;
    atomic_bool stop;
};

gdn_status gdn_queue_open(gdn_queue **queue, const gdn_device_spec *device, double timeout,
                          gdn_error *err) {
    gdn_queue *q = calloc(1, sizeof *q);
    gdn_worker_reply reply;
    *queue = NULL;
    if (!q) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a second queue");
    }
    q->timeout = timeout;
    gdn_status status = gdn_worker_spawn(&q->worker, device->argv, err);
    if (status == GDN_OK) {
        status = gdn_worker_hello(q->worker, device->name, device->options, OPEN_TIMEOUT,
                                  &reply, err);
    }
    if (status == GDN_OK && reply.outcome == GDN_WORKER_OK) {
        *queue = q;
        return GDN_OK;
    }
    gdn_queue_close(q);
    return status;
}

/* One run; false once the worker is of no more use. */
static bool run_once(gdn_queue *q) {
    gdn_worker_reply reply;
    gdn_error err = {0};
    gdn_arena_restore(&q->problem.arena);
    return gdn_worker_run(q->worker, &q->problem.call, q->problem.arena.fd, q->timeout,
                          &reply, &err) == GDN_OK &&
           reply.outcome == GDN_WORKER_OK;
}

static void *run_on(void *context) {
    gdn_queue *q = context;
    while (!atomic_load(&q->stop) && run_once(q)) {
    }
    return NULL;
}

gdn_status gdn_queue_start(gdn_queue *q, const gdn_problem *problem, gdn_error *err) {
    GDN_TRY(gdn_problem_create(&q->problem, problem->test, err));
    atomic_store(&q->stop, false);
    if (!run_once(q)) {
        return GDN_OK; /* what the device does alone is judged elsewhere */
    }
    q->running = pthread_create(&q->thread, NULL, run_on, q) == 0;
    return q->running ? GDN_OK
                      : gdn_error_set(err, GDN_ERR_OOM, "no thread for a second queue");
}

void gdn_queue_stop(gdn_queue *q) {
    atomic_store(&q->stop, true);
    if (q->running) {
        pthread_join(q->thread, NULL);
        q->running = false;
    }
    gdn_problem_destroy(&q->problem);
}

void gdn_queue_close(gdn_queue *q) {
    if (q) {
        gdn_queue_stop(q);
        gdn_worker_close(q->worker, CLOSE_TIMEOUT, NULL);
        free(q);
    }
}
