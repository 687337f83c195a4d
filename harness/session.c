/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue.h"
#include "worker_process.h"

/* A device may compile or load firmware when it is opened or first asked. */
#define OPEN_TIMEOUT  300.0
#define CLOSE_TIMEOUT 5.0

/* The smallest case of an op. */
static const char PROBE_CASE[] =
    "{\"op\": \"%s\", \"profile\": \"vllm-xpu\", \"batch\": \"dec1\","
    " \"num_k_heads\": 1, \"num_v_heads\": 1, \"head_k_dim\": 32, \"head_v_dim\": 32}";

static void drop_worker(gdn_session *session) {
    gdn_worker_close(session->worker, CLOSE_TIMEOUT, NULL);
    session->worker = NULL;
}

static void lose(gdn_session *session, const char *what, const gdn_worker_reply *reply) {
    session->lost = true;
    free(session->reason);
    if (asprintf(&session->reason, "%s: %s", what, reply->message) < 0) {
        session->reason = NULL;
    }
}

/* Spawns and greets a worker. GDN_OK with `reply` not OK: it did not get that far. */
static gdn_status start_worker(gdn_session *session, gdn_worker_reply *reply,
                               gdn_error *err) {
    GDN_TRY(gdn_worker_spawn(&session->worker, session->device->argv, err));
    const gdn_status status =
        gdn_worker_hello(session->worker, session->device->name, session->device->options,
                         OPEN_TIMEOUT, reply, err);
    if (status != GDN_OK || reply->outcome != GDN_WORKER_OK) {
        drop_worker(session);
    }
    return status;
}

static gdn_status remember_identity(gdn_session *session, gdn_error *err) {
    const gdn_worker_identity *identity = gdn_worker_identify(session->worker);
    session->hardware = strdup(identity->hardware);
    session->driver = strdup(identity->driver);
    session->build = strdup(identity->build);
    if (!session->hardware || !session->driver || !session->build) {
        gdn_session_close(session);
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for the device's names");
    }
    return GDN_OK;
}

/* The last line that a worker printed: of a script that failed, usually the reason. */
static const char *last_line(const char *output, int *length) {
    size_t end = strlen(output);
    while (end > 0 && output[end - 1] == '\n') {
        end--;
    }
    size_t start = end;
    while (start > 0 && output[start - 1] != '\n') {
        start--;
    }
    *length = end - start < 400 ? (int)(end - start) : 400;
    return output + start;
}

gdn_status gdn_session_open(gdn_session *session, const gdn_device_spec *device,
                            const char *profiles, double timeout, gdn_error *err) {
    *session = (gdn_session){.device = device, .profiles = profiles, .timeout = timeout};
    GDN_TRY(gdn_worker_spawn(&session->worker, device->argv, err));
    gdn_worker_reply reply;
    gdn_status status = gdn_worker_hello(session->worker, device->name, device->options,
                                         OPEN_TIMEOUT, &reply, err);
    if (status == GDN_OK && reply.outcome == GDN_WORKER_OK) {
        return remember_identity(session, err);
    }
    if (status == GDN_OK) {
        const bool told =
            reply.outcome == GDN_WORKER_UNSUPPORTED || reply.outcome == GDN_WORKER_ERROR;
        int length = 0;
        const char *line = last_line(gdn_worker_output(session->worker), &length);
        /* What an answer gives as its reason is often what was printed last. */
        length =
            memmem(reply.message, strlen(reply.message), line, (size_t)length) ? 0 : length;
        status = gdn_error_set(err, told ? reply.status : GDN_ERR_DEVICE,
                               "device %s: %s%s%.*s", device->text, reply.message,
                               length > 0 ? "; it printed: " : "", length, line);
    }
    drop_worker(session);
    return status;
}

void gdn_session_close(gdn_session *session) {
    drop_worker(session);
    gdn_queue_close(session->queue);
    session->queue = NULL;
    free(session->hardware);
    free(session->driver);
    free(session->build);
    free(session->reason);
    session->hardware = session->driver = session->build = session->reason = NULL;
}

/* A fresh worker where the last one ended; failing to get one loses the device. */
static gdn_status ensure_worker(gdn_session *session, gdn_error *err) {
    if (session->worker && gdn_worker_alive(session->worker)) {
        return GDN_OK;
    }
    drop_worker(session);
    gdn_worker_reply reply;
    GDN_TRY(start_worker(session, &reply, err));
    if (reply.outcome != GDN_WORKER_OK) {
        lose(session, "no new worker could open the device", &reply);
    }
    return GDN_OK;
}

/* What became of one micro case on a fresh worker. */
typedef enum probe { PROBE_ALIVE, PROBE_DECLINED, PROBE_DEAD } probe;

static gdn_status probe_problem(gdn_session *session, const gdn_problem *problem,
                                gdn_worker_reply *reply, probe *found, gdn_error *err) {
    GDN_TRY(ensure_worker(session, err));
    if (session->lost) {
        return GDN_OK;
    }
    GDN_TRY(
        gdn_worker_supports(session->worker, &problem->call, session->timeout, reply, err));
    if (reply->outcome == GDN_WORKER_OK) {
        GDN_TRY(gdn_worker_run(session->worker, &problem->call, problem->arena.fd,
                               session->timeout, reply, err));
        /* An answered error is life enough. */
        const bool alive =
            reply->outcome == GDN_WORKER_OK || reply->outcome == GDN_WORKER_ERROR;
        *found = alive ? PROBE_ALIVE : PROBE_DEAD;
    } else {
        const bool answered =
            reply->outcome == GDN_WORKER_UNSUPPORTED || reply->outcome == GDN_WORKER_ERROR;
        *found = answered ? PROBE_DECLINED : PROBE_DEAD;
    }
    return GDN_OK;
}

static gdn_status probe_op(gdn_session *session, gdn_op op, gdn_worker_reply *reply,
                           probe *found, gdn_error *err) {
    char text[sizeof PROBE_CASE + 32];
    snprintf(text, sizeof text, PROBE_CASE, gdn_op_get(op)->name);
    json_t *json = json_loads(text, 0, NULL);
    gdn_case test = {0};
    gdn_problem problem = {0};
    gdn_error lacks = {0};
    gdn_status status = gdn_case_from_json(&test, json, session->profiles, &lacks);
    if (status == GDN_ERR_ARG) {
        /* The profile of the micro cases has no such op: nothing was asked. */
        *found = PROBE_DECLINED;
        json_decref(json);
        return GDN_OK;
    }
    if (status == GDN_OK) {
        status = gdn_problem_create(&problem, &test, err);
    } else {
        gdn_error_set(err, status, "%s", lacks.message);
    }
    if (status == GDN_OK) {
        status = probe_problem(session, &problem, reply, found, err);
        gdn_problem_destroy(&problem);
    }
    gdn_case_destroy(&test);
    json_decref(json);
    return status;
}

/* After op `died`: the first micro case of another op that comes through clears the device.
 * If none does, its own op has the last word, for devices that have no other. */
static gdn_status probe_device(gdn_session *session, gdn_op died, gdn_error *err) {
    gdn_worker_reply reply = {0};
    gdn_worker_reply dead = {0};
    size_t tried = 0;
    for (int i = 1; i <= GDN_OP_COUNT && !session->lost; i++) {
        const gdn_op op = (gdn_op)(((int)died + i) % GDN_OP_COUNT);
        if (gdn_op_is_verify(op)) {
            continue; /* no micro case: its profiles are others */
        }
        if (op == died && tried > 0) {
            break;
        }
        probe found = PROBE_DECLINED;
        GDN_TRY(probe_op(session, op, &reply, &found, err));
        if (found == PROBE_ALIVE) {
            return GDN_OK;
        }
        if (found == PROBE_DEAD) {
            tried++;
            dead = reply;
        }
    }
    if (!session->lost && tried > 0) {
        lose(session, "micro cases on fresh workers failed too", &dead);
    }
    return GDN_OK;
}

/* Turns an outcome that is not OK into a verdict, and looks after the device. */
static gdn_status settle(gdn_session *session, gdn_op op, const gdn_worker_reply *reply,
                         gdn_case_result *result, gdn_error *err) {
    const char *output = session->worker ? gdn_worker_output(session->worker) : "";
    if (*output != '\0') {
        result->output = strdup(output);
    }
    if (reply->outcome == GDN_WORKER_OK) {
        return GDN_OK;
    }
    result->message = strdup(reply->message);
    switch (reply->outcome) {
    case GDN_WORKER_UNSUPPORTED:
        result->verdict = GDN_UNSUPPORTED;
        return GDN_OK;
    case GDN_WORKER_ERROR:
        result->verdict = GDN_FAIL;
        session->answered = reply->status;
        /* A fault of a GPU stays with the process that caused it. */
        if (reply->status == GDN_ERR_DEVICE) {
            drop_worker(session);
        }
        return GDN_OK;
    case GDN_WORKER_HANG:
        result->verdict = GDN_HANG;
        break;
    case GDN_WORKER_CRASH:
    case GDN_WORKER_GARBAGE:
    case GDN_WORKER_OK:
        result->verdict = GDN_CRASH;
        break;
    }
    drop_worker(session);
    if (reply->lost) {
        lose(session, "the worker could not be killed", reply);
        return GDN_OK;
    }
    return probe_device(session, op, err);
}

gdn_status gdn_session_supports(gdn_session *session, const gdn_problem *problem,
                                bool *supported, gdn_case_result *result, gdn_error *err) {
    gdn_worker_reply reply = {0};
    *supported = false;
    /* Once more if the worker had ended before it was asked: not this case's doing. */
    for (int attempt = 0; attempt < 2; attempt++) {
        GDN_TRY(ensure_worker(session, err));
        if (session->lost) {
            result->verdict = GDN_SKIP;
            result->message = strdup("device lost");
            return GDN_OK;
        }
        GDN_TRY(gdn_worker_supports(session->worker, &problem->call, session->timeout,
                                    &reply, err));
        if (!reply.stale) {
            break;
        }
    }
    *supported = reply.outcome == GDN_WORKER_OK;
    return *supported ? GDN_OK : settle(session, problem->call.op, &reply, result, err);
}

gdn_status gdn_session_bandwidth(gdn_session *session, double *bytes_per_second,
                                 gdn_error *err) {
    if (!session->asked_bandwidth) {
        gdn_worker_reply reply;
        GDN_TRY(ensure_worker(session, err));
        if (!session->lost) {
            GDN_TRY(gdn_worker_bandwidth(session->worker, session->timeout,
                                         &session->bandwidth, &reply, err));
            if (!gdn_worker_alive(session->worker)) {
                drop_worker(session);
            }
        }
        session->asked_bandwidth = true;
    }
    *bytes_per_second = session->bandwidth;
    return GDN_OK;
}

gdn_status gdn_session_run(gdn_session *session, const gdn_problem *problem, bool *ran,
                           gdn_case_result *result, gdn_error *err) {
    gdn_worker_reply reply;
    const double start = gdnp_now();
    GDN_TRY(gdn_worker_run(session->worker, &problem->call, problem->arena.fd,
                           session->timeout, &reply, err));
    result->device_seconds = gdnp_now() - start;
    result->kernel_seconds = reply.seconds;
    *ran = reply.outcome == GDN_WORKER_OK;
    if (reply.returned[0]) {
        result->returned = strdup(reply.returned);
    }
    return settle(session, problem->call.op, &reply, result, err);
}

static gdn_status execute(void *context, const gdn_problem *problem, bool *ran,
                          gdn_case_result *result, gdn_error *err) {
    gdn_session *session = context;
    bool supported;
    *ran = false;
    GDN_TRY(gdn_session_supports(session, problem, &supported, result, err));
    return supported ? gdn_session_run(session, problem, ran, result, err) : GDN_OK;
}

/* A device that lets nobody in beside the first worker is judged without a load. */
static gdn_status load(void *context, const gdn_problem *problem, gdn_error *err) {
    gdn_session *session = context;
    if (problem && !session->queue) {
        GDN_TRY(gdn_queue_open(&session->queue, session->device, session->timeout, err));
    }
    if (session->queue && problem) {
        return gdn_queue_start(session->queue, problem, err);
    }
    if (session->queue) {
        gdn_queue_stop(session->queue);
    }
    return GDN_OK;
}

gdn_executor gdn_session_executor(gdn_session *session) {
    return (gdn_executor){.run = execute, .load = load, .context = session};
}
