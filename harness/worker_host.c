/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "worker_host.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gdn/profile.h"
#include "worker_process.h"

#define PROTOCOL_VERSION 1
#define LINE_MAX_BYTES   (1 << 20)

struct gdn_worker {
    gdnp_process process;
    bool dead;
    bool asked;
    json_int_t last_id; /* of the latest request that was sent; 0 before the first */
    json_t *hello;      /* the answer; owns the strings of `identity` */
    gdn_worker_identity identity;
    size_t received;
    char line[LINE_MAX_BYTES];
};

const char *gdn_worker_outcome_name(gdn_worker_outcome outcome) {
    static const char *const names[] = {"ok",    "unsupported", "error",
                                        "crash", "hang",        "garbage"};
    return names[outcome];
}

gdn_status gdn_worker_spawn(gdn_worker **worker, const char *const *argv, gdn_error *err) {
    gdn_worker *w = calloc(1, sizeof *w);
    if (!w) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a worker");
    }
    const gdn_status status = gdnp_process_start(&w->process, argv, err);
    if (status != GDN_OK) {
        free(w);
        return status;
    }
    *worker = w;
    return GDN_OK;
}

bool gdn_worker_alive(const gdn_worker *w) {
    return !w->dead;
}

const gdn_worker_identity *gdn_worker_identify(const gdn_worker *w) {
    return w->hello ? &w->identity : NULL;
}

const char *gdn_worker_output(gdn_worker *w) {
    return gdnp_process_output(&w->process);
}

/* ---- Outcomes ---- */

static void conclude(gdn_worker_reply *reply, gdn_worker_outcome outcome, const char *fmt,
                     ...) GDN_PRINTF(3, 4);
static void conclude(gdn_worker_reply *reply, gdn_worker_outcome outcome, const char *fmt,
                     ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(reply->message, sizeof reply->message, fmt, args);
    va_end(args);
    gdnp_make_utf8(reply->message, strlen(reply->message));
    reply->outcome = outcome;
}

static gdnp_ending end_worker(gdn_worker *w, double grace, gdn_worker_reply *reply) {
    const gdnp_ending ending = gdnp_process_end(&w->process, grace);
    w->dead = true;
    reply->lost = ending.lost;
    return ending;
}

static const char *if_lost(const gdn_worker_reply *reply) {
    return reply->lost ? "; it does not die of SIGKILL and is abandoned" : "";
}

/* The socket is at its end, or the process is. */
static void conclude_gone(gdn_worker *w, gdn_worker_reply *reply, const char *when) {
    const gdnp_ending ending = end_worker(w, GDNP_DEATH_SECONDS, reply);
    const char *half = w->received > 0 ? ", in the middle of an answer" : "";
    if (ending.lost) {
        conclude(reply, GDN_WORKER_HANG, "the worker hung up %s%s%s", when, half,
                 if_lost(reply));
    } else if (ending.killed && ending.signal == SIGKILL) {
        conclude(reply, GDN_WORKER_GARBAGE,
                 "the worker closed its socket %s%s but lived on", when, half);
    } else if (ending.signal != 0) {
        reply->signal = ending.signal;
        conclude(reply, GDN_WORKER_CRASH, "the worker died of signal %d (%s) %s%s",
                 ending.signal, strsignal(ending.signal), when, half);
    } else {
        reply->exit_status = ending.exit_status;
        conclude(reply, GDN_WORKER_CRASH, "the worker ended with status %d %s%s",
                 ending.exit_status, when, half);
    }
}

static void conclude_garbage(gdn_worker *w, gdn_worker_reply *reply, const char *what,
                             const char *detail) {
    /* The line's beginning helps more than any diagnosis; it is somebody's bytes. */
    char start[61];
    size_t n = 0;
    while (n < w->received && n < sizeof start - 1 && w->line[n] != '\n') {
        start[n] = w->line[n] >= ' ' && w->line[n] <= '~' ? w->line[n] : '?';
        n++;
    }
    start[n] = '\0';
    end_worker(w, 0, reply);
    conclude(reply, GDN_WORKER_GARBAGE, "%s%s%s%s%s%s", what, *detail ? ": " : "", detail,
             n > 0 ? "; the line begins with " : "", start, if_lost(reply));
}

/* ---- One request on the wire ---- */

/* Takes `request` (or NULL) and writes it with the next id, for the caller to free; NULL if
 * that fails. The id is not used up before the request is sent. */
static char *write_request(const gdn_worker *w, json_t *request) {
    char *text = NULL;
    if (json_object_set_new(request, "id", json_integer(w->last_id + 1)) == 0) {
        text = json_dumps(request, JSON_COMPACT);
    }
    json_decref(request);
    return text;
}

typedef enum event { EVENT_READY, EVENT_EXPIRED, EVENT_GONE, EVENT_TOO_LONG } event;

/* Waits until the socket is ready for `events`; meanwhile takes what the worker prints. */
static event await(gdn_worker *w, short events, double deadline) {
    for (;;) {
        /* The socket tells of most deaths; but a child of the worker may hold it open, so
         * the process is looked at ten times a second. Before poll: what it sent while it
         * lived is then seen first. */
        const bool gone = gdnp_process_has_exited(&w->process);
        const double left = deadline - gdnp_now();
        const int wait = gone || left <= 0 ? 0 : left < 0.1 ? (int)(left * 1e3) + 1 : 100;
        struct pollfd fds[] = {{.fd = w->process.socket, .events = events},
                               {.fd = w->process.output, .events = POLLIN}};
        const int n = poll(fds, 2, wait);
        if (n > 0 && fds[1].revents != 0) {
            gdnp_process_capture(&w->process);
        }
        if (n > 0 && fds[0].revents != 0) {
            return EVENT_READY;
        }
        if (gone || left <= 0) {
            return gone ? EVENT_GONE : EVENT_EXPIRED;
        }
    }
}

/* Sends `length` bytes, `fd` (-1: none) attached to the first. A worker that does not
 * listen is not yet an outcome: it may have answered before it hung up. */
static event send_line(gdn_worker *w, const char *text, size_t length, int fd,
                       double deadline) {
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    for (size_t done = 0; done < length;) {
        struct iovec part = {.iov_base = (char *)text + done, .iov_len = length - done};
        struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
        if (fd >= 0 && done == 0) {
            header.msg_control = &control;
            header.msg_controllen = sizeof control;
            struct cmsghdr *c = CMSG_FIRSTHDR(&header);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(sizeof fd);
            memcpy(CMSG_DATA(c), &fd, sizeof fd);
        }
        const ssize_t n = sendmsg(w->process.socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return EVENT_READY;
        }
        done += n > 0 ? (size_t)n : 0;
        const event e = n < 0 ? await(w, POLLOUT, deadline) : EVENT_READY;
        if (e != EVENT_READY) {
            return e;
        }
    }
    return EVENT_READY;
}

/* Reads until a line is complete; `*length` without its end. */
static event receive_line(gdn_worker *w, double deadline, size_t *length) {
    for (;;) {
        const event e = await(w, POLLIN, deadline);
        if (e != EVENT_READY) {
            return e;
        }
        char *fresh = w->line + w->received;
        const ssize_t n =
            recv(w->process.socket, fresh, sizeof w->line - w->received, MSG_DONTWAIT);
        if (n == 0) {
            return EVENT_GONE;
        }
        /* Not ECONNRESET: it is reported once, and what was sent before comes after it. */
        w->received += n > 0 ? (size_t)n : 0;
        const char *end = n > 0 ? memchr(fresh, '\n', (size_t)n) : NULL;
        if (end) {
            *length = (size_t)(end - w->line);
            return EVENT_READY;
        }
        if (w->received == sizeof w->line) {
            return EVENT_TOO_LONG;
        }
        if (gdnp_now() >= deadline) {
            return EVENT_EXPIRED; /* one that always has another byte ready */
        }
    }
}

/* True if the worker had broken the protocol, or itself, before it is asked. */
static bool was_broken(gdn_worker *w, gdn_worker_reply *reply) {
    char byte = 0;
    const ssize_t n = recv(w->process.socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n > 0) {
        w->received =
            (size_t)recv(w->process.socket, w->line, sizeof w->line, MSG_DONTWAIT);
        conclude_garbage(w, reply, "the worker spoke without being asked", "");
    } else if (n == 0 || gdnp_process_has_exited(&w->process)) {
        conclude_gone(w, reply, "before it was asked");
    } else {
        return false;
    }
    reply->stale = true;
    return true;
}

/* True if this answers the latest request; takes the id out, so that nothing behind this
 * sees it. */
static bool is_in_order(gdn_worker *w, json_t *answer, gdn_worker_reply *reply) {
    const json_t *id = json_object_get(answer, "id");
    const json_int_t found = json_integer_value(id);
    char detail[96];
    if (json_is_integer(id) && found == w->last_id) {
        json_object_del(answer, "id");
        return true;
    }
    if (json_is_integer(id)) {
        snprintf(detail, sizeof detail, "expected id %lld but found %lld",
                 (long long)w->last_id, (long long)found);
    } else {
        snprintf(detail, sizeof detail, "expected id %lld but found %s",
                 (long long)w->last_id, id ? "no integer" : "none");
    }
    conclude_garbage(w, reply, "the answer is out of order", detail);
    /* An earlier request's second answer, too late for was_broken() to see. */
    reply->stale = found > 0 && found < w->last_id;
    return false;
}

/* The received line as an answer of type `expected`, without its id; NULL if it is none,
 * with the reply concluded. */
static json_t *read_answer(gdn_worker *w, size_t length, const char *expected,
                           gdn_worker_reply *reply) {
    json_error_t bad;
    json_t *answer = json_loadb(w->line, length, JSON_REJECT_DUPLICATES, &bad);
    if (!json_is_object(answer)) {
        conclude_garbage(w, reply, "the answer is not a JSON object",
                         answer ? "it is an array" : bad.text);
        json_decref(answer);
        return NULL;
    }
    if (!is_in_order(w, answer, reply)) {
        json_decref(answer);
        return NULL;
    }
    const char *type = json_string_value(json_object_get(answer, "type"));
    const bool alone = length + 1 == w->received;
    if (alone && type && strcmp(type, expected) == 0) {
        return answer;
    }
    json_int_t status = 0;
    const char *message = NULL;
    if (!alone) {
        conclude_garbage(w, reply, "the worker sent more than one answer", "");
    } else if (!type || strcmp(type, "error") != 0) {
        conclude_garbage(w, reply, "expected an answer of type", expected);
    } else if (json_unpack_ex(answer, &bad, JSON_STRICT, "{s:s, s:I, s:s}", "type", &type,
                              "status", &status, "message", &message) != 0) {
        conclude_garbage(w, reply, "bad answer \"error\"", bad.text);
    } else if (status < GDN_ERR_ARG || status > GDN_ERR_UNSUPPORTED) {
        conclude_garbage(w, reply, "bad answer \"error\"", "no gdn_status is that number");
    } else {
        reply->status = (gdn_status)status;
        conclude(reply, GDN_WORKER_ERROR, "%s", message);
    }
    json_decref(answer);
    return NULL;
}

/* Asks and waits. Takes `request`. `*answer` is an object of type `expected` and the
 * caller's, or NULL: then the reply is concluded, or this failed. */
static gdn_status ask(gdn_worker *w, json_t *request, int fd, const char *expected,
                      double timeout, json_t **answer, gdn_worker_reply *reply,
                      gdn_error *err) {
    gdn_status status = GDN_OK;
    size_t length = 0;
    *answer = NULL;
    *reply = (gdn_worker_reply){.seconds = -1};
    const double deadline = gdnp_now() + timeout;
    char *text = write_request(w, request);
    if (w->dead) {
        status = gdn_error_set(err, GDN_ERR_ARG, "expected a worker but found a dead one");
    } else if (!text) {
        status = gdn_error_set(err, GDN_ERR_ARG,
                               "cannot write a request as JSON: text that is not UTF-8, or "
                               "no memory");
    } else if ((length = strlen(text)) >= LINE_MAX_BYTES) {
        status = gdn_error_set(err, GDN_ERR_ARG,
                               "expected a request below %d bytes but found %zu",
                               LINE_MAX_BYTES, length);
    }
    if (status != GDN_OK) {
        goto cleanup;
    }
    if (w->asked) {
        gdnp_process_forget_output(&w->process);
    }
    w->asked = true;
    w->received = 0;
    if (was_broken(w, reply)) {
        goto cleanup;
    }
    w->last_id++;
    text[length] = '\n'; /* over the NUL: from here on these are bytes */
    event e = send_line(w, text, length + 1, fd, deadline);
    if (e == EVENT_READY) {
        e = receive_line(w, deadline, &length);
    }
    gdnp_process_capture(&w->process);
    if (e == EVENT_READY) {
        *answer = read_answer(w, length, expected, reply);
    } else if (e == EVENT_TOO_LONG) {
        conclude_garbage(w, reply, "the answer has no end within the limit of 1 MiB", "");
    } else if (e == EVENT_GONE) {
        conclude_gone(w, reply, "without answering");
    } else {
        end_worker(w, 0, reply);
        conclude(reply, GDN_WORKER_HANG, "no answer within %g s%s", timeout,
                 if_lost(reply));
    }

cleanup:
    free(text);
    return status;
}

/* ---- Requests ---- */

gdn_status gdn_worker_hello(gdn_worker *w, const char *device, const char *options,
                            double timeout, gdn_worker_reply *reply, gdn_error *err) {
    json_t *answer = NULL;
    json_t *request =
        json_pack("{s:s, s:i, s:s, s:s}", "type", "hello", "protocol", PROTOCOL_VERSION,
                  "device", device, "options", options ? options : "");
    GDN_TRY(ask(w, request, -1, "hello", timeout, &answer, reply, err));
    if (!answer) {
        if (reply->outcome == GDN_WORKER_ERROR && reply->status == GDN_ERR_UNSUPPORTED) {
            reply->outcome = GDN_WORKER_UNSUPPORTED;
        }
        return GDN_OK;
    }
    const char *type = NULL;
    json_int_t protocol = 0;
    gdn_worker_identity identity = {0};
    json_error_t bad;
    if (json_unpack_ex(answer, &bad, JSON_STRICT, "{s:s, s:I, s:s, s:s, s:s}", "type",
                       &type, "protocol", &protocol, "hardware", &identity.hardware,
                       "driver", &identity.driver, "build", &identity.build) != 0) {
        conclude_garbage(w, reply, "bad answer to hello", bad.text);
    } else if (protocol != PROTOCOL_VERSION) {
        conclude_garbage(w, reply, "bad answer to hello", "expected protocol 1");
    } else {
        json_decref(w->hello);
        w->hello = json_incref(answer);
        w->identity = identity;
    }
    json_decref(answer);
    return GDN_OK;
}

gdn_status gdn_worker_supports(gdn_worker *w, const gdn_call *call, double timeout,
                               gdn_worker_reply *reply, gdn_error *err) {
    json_t *answer = NULL;
    json_t *request =
        json_pack("{s:s, s:o, s:I}", "type", "supports", "call", gdn_call_to_json(call),
                  "arena_bytes", (json_int_t)call->arena_bytes);
    GDN_TRY(ask(w, request, -1, "supports", timeout, &answer, reply, err));
    if (!answer) {
        return GDN_OK;
    }
    const char *type = NULL;
    const char *reason = NULL;
    int supported = 0;
    json_error_t bad;
    if (json_unpack_ex(answer, &bad, JSON_STRICT, "{s:s, s:b, s?:s}", "type", &type,
                       "supported", &supported, "reason", &reason) != 0) {
        conclude_garbage(w, reply, "bad answer to supports", bad.text);
    } else if ((reason != NULL) == (supported != 0)) {
        conclude_garbage(w, reply, "bad answer to supports",
                         "expected a reason exactly if it is not supported");
    } else if (!supported) {
        reply->status = GDN_ERR_UNSUPPORTED;
        conclude(reply, GDN_WORKER_UNSUPPORTED, "%s", reason);
    }
    json_decref(answer);
    return GDN_OK;
}

/* Names of outputs of the op, joined by commas; false if they are anything else. */
static bool read_returned(gdn_worker_reply *reply, gdn_op op, const json_t *names) {
    for (size_t i = 0; i < json_array_size(names); i++) {
        const size_t used = strlen(reply->returned);
        const char *name = json_string_value(json_array_get(names, i));
        const gdn_argument *argument = name ? gdn_op_argument(op, name) : NULL;
        if (!argument || argument->access == GDN_IN ||
            used + strlen(name) + 2 > sizeof reply->returned) {
            return false;
        }
        sprintf(reply->returned + used, "%s%s", used > 0 ? "," : "", name);
    }
    return !names || json_is_array(names);
}

gdn_status gdn_worker_run(gdn_worker *w, const gdn_call *call, int arena_fd, double timeout,
                          gdn_worker_reply *reply, gdn_error *err) {
    json_t *answer = NULL;
    json_t *request =
        json_pack("{s:s, s:o, s:I}", "type", "run", "call", gdn_call_to_json(call),
                  "arena_bytes", (json_int_t)call->arena_bytes);
    GDN_TRY(ask(w, request, arena_fd, "done", timeout, &answer, reply, err));
    if (!answer) {
        return GDN_OK;
    }
    const char *type = NULL;
    json_error_t bad;
    json_t *returned = NULL;
    if (json_unpack_ex(answer, &bad, JSON_STRICT, "{s:s, s?:F, s?:o}", "type", &type,
                       "seconds", &reply->seconds, "returned", &returned) != 0) {
        conclude_garbage(w, reply, "bad answer to run", bad.text);
    } else if (reply->seconds < 0 && json_object_get(answer, "seconds")) {
        conclude_garbage(w, reply, "bad answer to run", "seconds are negative");
    } else if (!read_returned(reply, call->op, returned)) {
        conclude_garbage(w, reply, "bad answer to run", "returned: no outputs of the op");
    }
    json_decref(answer);
    return GDN_OK;
}

gdn_status gdn_worker_bandwidth(gdn_worker *w, double timeout, double *bytes_per_second,
                                gdn_worker_reply *reply, gdn_error *err) {
    json_t *answer = NULL;
    GDN_TRY(ask(w, json_pack("{s:s}", "type", "bandwidth"), -1, "bandwidth", timeout,
                &answer, reply, err));
    const double value = json_number_value(json_object_get(answer, "bytes_per_second"));
    if (answer && (json_object_size(answer) != 2 || !(value > 0.0))) {
        conclude_garbage(w, reply, "bad answer to bandwidth", "no positive number");
    }
    *bytes_per_second = reply->outcome == GDN_WORKER_OK ? value : 0.0;
    json_decref(answer);
    return GDN_OK;
}

void gdn_worker_close(gdn_worker *w, double timeout, gdn_worker_reply *reply) {
    gdn_worker_reply result = {.seconds = -1};
    if (w && !w->dead) {
        /* The end of the stream says the same to whoever cannot read any more. */
        char *bye = write_request(w, json_pack("{s:s}", "type", "bye"));
        if (bye) {
            const size_t length = strlen(bye);
            bye[length] = '\n'; /* over the NUL */
            (void)send(w->process.socket, bye, length + 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
        free(bye);
        shutdown(w->process.socket, SHUT_WR);
        const gdnp_ending ending = end_worker(w, timeout, &result);
        result.signal = ending.signal;
        result.exit_status = ending.exit_status;
        if (ending.lost || (ending.killed && ending.signal == SIGKILL)) {
            conclude(&result, GDN_WORKER_HANG,
                     "the worker did not end within %g s of bye%s", timeout,
                     if_lost(&result));
        } else if (ending.signal != 0 || ending.exit_status != 0) {
            conclude(&result, GDN_WORKER_CRASH,
                     "expected the worker to end with status 0 after bye but found %s %d",
                     ending.signal != 0 ? "signal" : "status",
                     ending.signal != 0 ? ending.signal : ending.exit_status);
        }
    }
    if (w) {
        json_decref(w->hello);
        free(w);
    }
    if (reply) {
        *reply = result;
    }
}
