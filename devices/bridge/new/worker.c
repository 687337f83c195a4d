/* SPDX-License-Identifier: Apache-2.0 */
/* A worker that speaks the protocol itself; for C++ or Rust read it as the example that it is.
 * Fill in gdn_gating(), then
 *
 *     cc -O2 worker.c -o worker -ljansson -lm
 *     gdn-conform run --device bridge:exec=./worker --suite smoke --case 'gdn_gating/vllm-xpu*'
 *
 * Every request is a line of JSON with an id, and gets one line with that id as its answer.
 * What you print on stdout or stderr is kept with the case. */
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ARG = 1, FORMAT = 4, DEVICE = 5, UNSUPPORTED = 7 }; /* gdn_status */

typedef struct tensor {
    void *data;
    const char *dtype; /* fp64 fp32 fp16 bf16 i64 i32 bool */
    int rank;
    int64_t shape[8], stride[8]; /* strides in elements */
} tensor;

/* False if the case does not pass this argument. A device with memory of its own uploads the
 * arena whole, uses the same offsets there, and downloads it whole. */
static bool find(const json_t *call, char *arena, const char *name, tensor *t) {
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(call, "tensors"), i, entry) {
        if (strcmp(json_string_value(json_object_get(entry, "name")), name) == 0) {
            const json_t *shape = json_object_get(entry, "shape");
            const json_t *stride = json_object_get(entry, "stride");
            t->data = arena + json_integer_value(json_object_get(entry, "offset"));
            t->dtype = json_string_value(json_object_get(entry, "dtype"));
            t->rank = (int)json_array_size(shape);
            for (int d = 0; d < t->rank && d < 8; d++) {
                t->shape[d] = json_integer_value(json_array_get(shape, (size_t)d));
                t->stride[d] = json_integer_value(json_array_get(stride, (size_t)d));
            }
            return true;
        }
    }
    return false;
}

static const char *convention(const json_t *call, const char *field) {
    return json_string_value(json_object_get(json_object_get(call, "conventions"), field));
}

/* ---- yours ---- */

/* Why this call is not for you, or NULL. */
static const char *decline(const json_t *call) {
    if (strcmp(json_string_value(json_object_get(call, "op")), "gdn_gating") != 0) {
        return "this worker has gdn_gating only";
    }
    tensor a = {0};
    if (find(call, NULL, "a", &a) && strcmp(a.dtype, "bf16") != 0) {
        return "activations other than bf16";
    }
    return strcmp(convention(call, "beta_storage"), "fp32") != 0 ? "beta in another type"
                                                                 : NULL;
}

/* A_log [HV] fp32, dt_bias [HV], a, b [N,HV] bf16 -> g, beta [N,HV] fp32:
 * g = -exp(A_log) softplus(a + dt_bias), beta = sigmoid(b). NULL, or what went wrong. */
static const char *gdn_gating(const json_t *call, char *arena) {
    (void)call;
    (void)arena;
    return "gdn_gating is not filled in";
}

/* ---- the protocol (devices/PROTOCOL.md) ---- */

static json_t *error(int status, const char *message) {
    return json_pack("{s:s, s:i, s:s}", "type", "error", "status", status, "message",
                     message);
}

static json_t *run(const json_t *request, int fd) {
    const json_t *call = json_object_get(request, "call");
    const size_t bytes =
        (size_t)json_integer_value(json_object_get(request, "arena_bytes"));
    char *arena = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (arena == MAP_FAILED) {
        return error(FORMAT, "cannot map the arena");
    }
    const char *wrong = gdn_gating(call, arena);
    munmap(arena, bytes);
    return wrong ? error(ARG, wrong) : json_pack("{s:s}", "type", "done");
}

static json_t *answer(const json_t *request, int fd) {
    const char *type = json_string_value(json_object_get(request, "type"));
    if (type && strcmp(type, "hello") == 0) { /* status 7 here: the hardware is not there */
        return json_pack("{s:s, s:i, s:s, s:s, s:s}", "type", "hello", "protocol", 1,
                         "hardware", "host", "driver", "", "build", "0");
    }
    if (type && strcmp(type, "supports") == 0) {
        const char *reason = decline(json_object_get(request, "call"));
        return reason ? json_pack("{s:s, s:b, s:s}", "type", "supports", "supported", 0,
                                  "reason", reason)
                      : json_pack("{s:s, s:b}", "type", "supports", "supported", 1);
    }
    return type && strcmp(type, "run") == 0 ? run(request, fd)
                                            : error(FORMAT, "no such request");
}

/* One line, and the descriptor that came with it or -1; false if the host hung up. */
static bool receive(int channel, char *line, size_t size, int *fd) {
    *fd = -1;
    for (size_t used = 0; used + 1 < size;) {
        union {
            struct cmsghdr align;
            char space[CMSG_SPACE(sizeof(int))];
        } control;
        struct iovec part = {line + used, size - 1 - used};
        struct msghdr header = {.msg_iov = &part,
                                .msg_iovlen = 1,
                                .msg_control = &control,
                                .msg_controllen = sizeof control};
        const ssize_t n = recvmsg(channel, &header, 0);
        if (n <= 0) {
            return false;
        }
        const struct cmsghdr *c = CMSG_FIRSTHDR(&header);
        if (c && c->cmsg_type == SCM_RIGHTS) {
            memcpy(fd, CMSG_DATA(c), sizeof *fd);
        }
        used += (size_t)n;
        line[used] = '\0';
        if (line[used - 1] == '\n') {
            return true;
        }
    }
    return false;
}

int main(void) {
    static char line[(1 << 20) + 1];
    const char *number = getenv("GDN_WORKER_FD");
    int fd = -1;
    if (!number) {
        fprintf(stderr, "this is a worker: gdn-conform starts it\n");
        return 2;
    }
    while (receive(atoi(number), line, sizeof line, &fd)) {
        json_t *request = json_loads(line, 0, NULL);
        const json_t *id = json_object_get(request, "id");
        const char *type = json_string_value(json_object_get(request, "type"));
        if (type && strcmp(type, "bye") == 0) {
            return 0;
        }
        json_t *reply = answer(request, fd);
        json_object_set_new(reply, "id", json_integer(json_integer_value(id)));
        fflush(stdout); /* belongs to this request */
        char *text = json_dumps(reply, JSON_COMPACT);
        dprintf(atoi(number), "%s\n", text);
        free(text);
        json_decref(reply);
        json_decref(request);
        if (fd >= 0) {
            close(fd);
        }
    }
    return 0;
}
