/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* gdn-worker: the program behind which C adapters run. It speaks devices/PROTOCOL.md on the
 * socket in GDN_WORKER_FD, loads one adapter and serves one host. It protects nobody: when
 * the adapter crashes or hangs, so does the worker, and the host notices. */
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gdn/device.h"
#include "gdn/profile.h"

#define PROTOCOL_VERSION 1
#define LINE_MAX_BYTES   (1 << 20)

typedef struct worker {
    int socket;
    gdn_device *device; /* NULL before hello */
    const gdn_device_api *api;
    char *arena; /* of the current request; NULL if none */
    size_t arena_bytes;
    int arena_fd;  /* -1 if none */
    json_int_t id; /* of the current request; 0 if it could not be read */
    char line[LINE_MAX_BYTES];
} worker;

/* Messages of drivers may be in any encoding, JSON is UTF-8: where the text is not, every
 * byte that may be at fault is replaced. */
static json_t *json_text(const char *text) {
    json_t *json = json_string(text);
    if (json || !text) {
        return json ? json : json_string("");
    }
    char *plain = strdup(text);
    for (char *c = plain; plain && *c; c++) {
        *c = (unsigned char)*c < 0x80 ? *c : '?';
    }
    json = json_string(plain ? plain : "");
    free(plain);
    return json;
}

/* ---- Adapters ---- */

static bool name_is_valid(const char *name) {
    const char *c = name;
    while (isalnum((unsigned char)*c) || *c == '_' || *c == '-') {
        c++;
    }
    return c > name && *c == '\0' && c - name <= 64;
}

/* Reads struct_size and the major version before anything else of the table: with another
 * major, nothing behind them need be what it looks like. */
static gdn_status check_table(const gdn_device_api *api, const char *path, gdn_error *err) {
    const size_t versions =
        offsetof(gdn_device_api, abi_major) + sizeof api->abi_major + sizeof api->abi_minor;
    if (api->struct_size < versions || api->abi_major != GDN_DEVICE_ABI_MAJOR) {
        return gdn_error_set(err, GDN_ERR_ABI,
                             "%s: expected adapter ABI %d but found %u (table of %u bytes)",
                             path, GDN_DEVICE_ABI_MAJOR,
                             api->struct_size < versions ? 0U : api->abi_major,
                             api->struct_size);
    }
    const size_t required = offsetof(gdn_device_api, bandwidth);
    if (api->struct_size < required) {
        return gdn_error_set(err, GDN_ERR_ABI,
                             "%s: expected a table of at least %zu bytes but found %u",
                             path, required, api->struct_size);
    }
    const char *missing = !api->name       ? "name"
                          : !api->open     ? "open"
                          : !api->close    ? "close"
                          : !api->identify ? "identify"
                          : !api->supports ? "supports"
                          : !api->run      ? "run"
                                           : NULL;
    if (missing) {
        return gdn_error_set(err, GDN_ERR_ABI, "%s: required entry %s is NULL", path,
                             missing);
    }
    return GDN_OK;
}

/* Looks through a colon list for the library; false if no directory has it. */
static bool find_library(const char *list, const char *device, char *path, size_t size) {
    while (*list) {
        const size_t length = strcspn(list, ":");
        const int n =
            snprintf(path, size, "%.*s/gdn-device-%s.so", (int)length, list, device);
        if (length > 0 && n > 0 && (size_t)n < size && access(path, F_OK) == 0) {
            return true;
        }
        list += length + (list[length] == ':');
    }
    return false;
}

static gdn_status load_adapter(worker *w, const char *device, gdn_error *err) {
    char places[8192 + 64];
    char path[4096];
    const char *list = getenv("GDN_DEVICE_PATH");
    if (!list || !*list) {
        char own[4096];
        const ssize_t n = readlink("/proc/self/exe", own, sizeof own - 1);
        own[n > 0 ? n : 0] = '\0';
        char *slash = strrchr(own, '/');
        if (!slash) {
            return gdn_error_set(err, GDN_ERR_IO, "cannot tell where this program lies: %s",
                                 strerror(errno));
        }
        *slash = '\0';
        snprintf(places, sizeof places, "%s:%s/../lib/gdn-conform", own, own);
        list = places;
    }
    if (!find_library(list, device, path, sizeof path)) {
        return gdn_error_set(err, GDN_ERR_UNSUPPORTED,
                             "no adapter gdn-device-%s.so in %.600s", device, list);
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        return gdn_error_set(err, GDN_ERR_DEVICE, "cannot load the adapter: %s", dlerror());
    }
    /* Never unloaded: drivers leave threads and exit handlers behind. */
    const gdn_device_api *api = dlsym(library, "gdn_device_v1");
    if (!api) {
        return gdn_error_set(err, GDN_ERR_ABI, "%s: no symbol gdn_device_v1", path);
    }
    GDN_TRY(check_table(api, path, err));
    w->api = api;
    return GDN_OK;
}

/* ---- Requests. Each either makes an answer or an error. ---- */

static gdn_status serve_hello(worker *w, json_t *request, json_t **answer, gdn_error *err) {
    const char *type = NULL;
    const char *device = NULL;
    const char *options = NULL;
    json_int_t protocol = 0;
    json_error_t bad;
    if (json_is_integer(json_object_get(request, "protocol"))) {
        /* Before the other members: another version may have others. */
        protocol = json_integer_value(json_object_get(request, "protocol"));
        if (protocol != PROTOCOL_VERSION) {
            return gdn_error_set(err, GDN_ERR_ABI, "expected protocol %d but found %lld",
                                 PROTOCOL_VERSION, (long long)protocol);
        }
    }
    if (json_unpack_ex(request, &bad, JSON_STRICT, "{s:s, s:I, s:s, s:s}", "type", &type,
                       "protocol", &protocol, "device", &device, "options",
                       &options) != 0) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "hello: %s", bad.text);
    }
    if (w->device) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "hello: a device is open already");
    }
    if (!name_is_valid(device)) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "expected a device name of letters, digits, _ and - but found "
                             "\"%.80s\"",
                             device);
    }
    GDN_TRY(load_adapter(w, device, err));
    gdn_device *opened = NULL;
    GDN_TRY(w->api->open(options, &opened, err));
    if (!opened) {
        return gdn_error_set(err, GDN_ERR_DEVICE, "%s: open succeeded without a device",
                             w->api->name);
    }
    gdn_device_identity identity = {0};
    const gdn_status status = w->api->identify(opened, &identity, err);
    if (status != GDN_OK) {
        w->api->close(opened);
        return status;
    }
    w->device = opened;
    *answer =
        json_pack("{s:s, s:i, s:o, s:o, s:o}", "type", "hello", "protocol",
                  PROTOCOL_VERSION, "hardware", json_text(identity.hardware), "driver",
                  json_text(identity.driver), "build", json_text(identity.build));
    return GDN_OK;
}

/* The members that supports and run share. `*call` is borrowed from the request. */
static gdn_status unpack_call(json_t *request, json_t **call, size_t *arena_bytes,
                              gdn_error *err) {
    const char *type = json_string_value(json_object_get(request, "type"));
    json_int_t bytes = 0;
    json_error_t bad;
    if (json_unpack_ex(request, &bad, JSON_STRICT, "{s:s, s:o, s:I}", "type", &type, "call",
                       call, "arena_bytes", &bytes) != 0) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "%s: %s", type, bad.text);
    }
    if (bytes <= 0) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "%s: expected arena_bytes of at least 1 but found %lld", type,
                             (long long)bytes);
    }
    *arena_bytes = (size_t)bytes;
    return GDN_OK;
}

static gdn_status serve_supports(worker *w, json_t *request, json_t **answer,
                                 gdn_error *err) {
    json_t *json = NULL;
    size_t bytes = 0;
    GDN_TRY(unpack_call(request, &json, &bytes, err));
    gdn_call_storage storage;
    GDN_TRY(gdn_call_from_json(&storage, json, NULL, bytes, err));
    gdn_error why = {0};
    const gdn_status status = w->api->supports(w->device, &storage.call, &why);
    gdn_call_storage_destroy(&storage);
    if (status == GDN_OK) {
        *answer = json_pack("{s:s, s:b}", "type", "supports", "supported", 1);
    } else if (status == GDN_ERR_UNSUPPORTED) {
        *answer = json_pack("{s:s, s:b, s:o}", "type", "supports", "supported", 0, "reason",
                            json_text(*why.message ? why.message : "no reason given"));
    } else {
        *err = why;
        return status;
    }
    return GDN_OK;
}

static gdn_status map_arena(worker *w, size_t bytes, gdn_error *err) {
    struct stat info;
    if (w->arena_fd < 0) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "run: no descriptor came with it");
    }
    if (fstat(w->arena_fd, &info) != 0 || info.st_size != (off_t)bytes) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "run: expected a file of arena_bytes = %zu", bytes);
    }
    void *arena = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, w->arena_fd, 0);
    if (arena == MAP_FAILED) {
        return gdn_error_set(err, GDN_ERR_IO, "cannot map the arena: %s", strerror(errno));
    }
    w->arena = arena;
    w->arena_bytes = bytes;
    return GDN_OK;
}

static gdn_status serve_run(worker *w, json_t *request, json_t **answer, gdn_error *err) {
    json_t *json = NULL;
    size_t bytes = 0;
    GDN_TRY(unpack_call(request, &json, &bytes, err));
    GDN_TRY(map_arena(w, bytes, err));
    gdn_call_storage storage;
    GDN_TRY(gdn_call_from_json(&storage, json, w->arena, w->arena_bytes, err));
    double seconds = -1;
    const gdn_status status = w->api->run(w->device, &storage.call, &seconds, err);
    gdn_call_storage_destroy(&storage);
    if (status == GDN_OK) {
        /* Also false for NaN. */
        const bool told = seconds >= 0 && seconds < 1e9;
        *answer = told ? json_pack("{s:s, s:f}", "type", "done", "seconds", seconds)
                       : json_pack("{s:s}", "type", "done");
    }
    return status;
}

static gdn_status serve_bandwidth(worker *w, json_t **answer, gdn_error *err) {
    double value = 0.0;
    if (w->api->struct_size < sizeof *w->api || !w->api->bandwidth) {
        return gdn_error_set(err, GDN_ERR_UNSUPPORTED, "this device does not tell it");
    }
    GDN_TRY(w->api->bandwidth(w->device, &value, err));
    *answer = json_pack("{s:s, s:f}", "type", "bandwidth", "bytes_per_second", value);
    return GDN_OK;
}

static gdn_status serve(worker *w, json_t *request, json_t **answer, gdn_error *err) {
    const char *type = json_string_value(json_object_get(request, "type"));
    const bool is_run = type && strcmp(type, "run") == 0;
    if (w->arena_fd >= 0 && !is_run) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "only run takes a descriptor");
    }
    if (type && strcmp(type, "hello") == 0) {
        return serve_hello(w, request, answer, err);
    }
    if (type && strcmp(type, "bye") == 0) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "bye has no members but its id");
    }
    const bool is_bandwidth = type && strcmp(type, "bandwidth") == 0;
    if (!is_run && !is_bandwidth && !(type && strcmp(type, "supports") == 0)) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "expected a request hello, supports, run, bandwidth or bye "
                             "but found \"%.80s\"",
                             type ? type : "");
    }
    if (!w->device) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "%s came before hello", type);
    }
    if (is_bandwidth) {
        return serve_bandwidth(w, answer, err);
    }
    return is_run ? serve_run(w, request, answer, err)
                  : serve_supports(w, request, answer, err);
}

/* ---- The socket ---- */

/* Keeps the first descriptor, closes any other; false if there was another. */
static bool take_descriptors(worker *w, struct msghdr *header) {
    bool clean = !(header->msg_flags & MSG_CTRUNC);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
            int fd = -1;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (w->arena_fd < 0) {
                w->arena_fd = fd;
            } else {
                clean = false;
                close(fd);
            }
        }
    }
    return clean;
}

/* Reads one line into w->line; `*length` without its end. `*open` false: the host hung up.
 * After an error the stream is out of step and the worker must end. */
static gdn_status receive(worker *w, size_t *length, bool *open, gdn_error *err) {
    size_t used = 0;
    for (;;) {
        union {
            struct cmsghdr align;
            char space[CMSG_SPACE(4 * sizeof(int))];
        } control;
        struct iovec part = {.iov_base = w->line + used, .iov_len = sizeof w->line - used};
        struct msghdr header = {.msg_iov = &part,
                                .msg_iovlen = 1,
                                .msg_control = &control,
                                .msg_controllen = sizeof control};
        const ssize_t n = recvmsg(w->socket, &header, MSG_CMSG_CLOEXEC);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        *open = n > 0;
        if (n <= 0) {
            return n == 0 ? GDN_OK
                          : gdn_error_set(err, GDN_ERR_IO, "recvmsg: %s", strerror(errno));
        }
        if (!take_descriptors(w, &header)) {
            return gdn_error_set(err, GDN_ERR_FORMAT, "more than one descriptor came");
        }
        char *end = memchr(w->line + used, '\n', (size_t)n);
        used += (size_t)n;
        if (end && end + 1 < w->line + used) {
            return gdn_error_set(err, GDN_ERR_FORMAT,
                                 "a second request came before the answer to the first");
        }
        if (end) {
            *length = used - 1;
            return GDN_OK;
        }
        if (used == sizeof w->line) {
            return gdn_error_set(err, GDN_ERR_FORMAT, "a request exceeds %d bytes",
                                 LINE_MAX_BYTES);
        }
    }
}

/* Sends the answer, with the id of its request, and drops it; false if the host is gone. */
static bool send_answer(const worker *w, json_t *answer) {
    const bool marked = json_object_set_new(answer, "id", json_integer(w->id)) == 0;
    char *text = marked ? json_dumps(answer, JSON_COMPACT) : NULL;
    json_decref(answer);
    const size_t length = text ? strlen(text) : 0;
    size_t done = 0;
    /* What the adapter printed belongs to this request and must be there before it. */
    fflush(stdout);
    while (text && done <= length) {
        struct iovec parts[2] = {{.iov_base = text + done, .iov_len = length - done},
                                 {.iov_base = (char[]){'\n'}, .iov_len = 1}};
        const struct msghdr header = {.msg_iov = parts, .msg_iovlen = 2};
        const ssize_t n = sendmsg(w->socket, &header, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            break;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    const bool sent = text && done > length;
    free(text);
    return sent;
}

static json_t *error_answer(gdn_status status, const char *message) {
    if ((int)status < 0 || status > GDN_ERR_UNSUPPORTED) {
        status = GDN_ERR_DEVICE; /* an adapter's own number means nothing to the host */
    }
    return json_pack("{s:s, s:i, s:o}", "type", "error", "status", (int)status, "message",
                     json_text(*message ? message : gdn_status_name(status)));
}

static void release_arena(worker *w) {
    if (w->arena) {
        munmap(w->arena, w->arena_bytes);
    }
    if (w->arena_fd >= 0) {
        close(w->arena_fd);
    }
    w->arena = NULL;
    w->arena_fd = -1;
}

/* The line in w->line as a request. Its id moves to w->id: nothing behind this sees it. */
static gdn_status decode(worker *w, size_t length, json_t **request, gdn_error *err) {
    json_error_t bad;
    *request = json_loadb(w->line, length, JSON_REJECT_DUPLICATES, &bad);
    if (!json_is_object(*request)) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "not a JSON object: %s",
                             *request ? "found an array" : bad.text);
    }
    const json_t *id = json_object_get(*request, "id");
    if (!json_is_integer(id) || json_integer_value(id) < 1) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "expected a request with an id, an integer of at least 1");
    }
    w->id = json_integer_value(id);
    json_object_del(*request, "id");
    return GDN_OK;
}

/* One request and its answer. False when there is nothing more to serve; `*orderly` tells
 * whether the host said bye. */
static bool serve_one(worker *w, bool *orderly) {
    bool open = true;
    gdn_error err = {0};
    json_t *answer = NULL;
    json_t *request = NULL;
    size_t length = 0;
    w->id = 0;
    gdn_status status = receive(w, &length, &open, &err);
    const bool in_step = status == GDN_OK;
    if (!open) {
        release_arena(w);
        return false;
    }
    if (in_step) {
        status = decode(w, length, &request, &err);
    }
    const char *type = json_string_value(json_object_get(request, "type"));
    if (status == GDN_OK && type && strcmp(type, "bye") == 0 &&
        json_object_size(request) == 1) {
        json_decref(request);
        release_arena(w);
        *orderly = true;
        return false;
    }
    if (status == GDN_OK) {
        status = serve(w, request, &answer, &err);
    }
    if (status != GDN_OK) {
        answer = error_answer(status, err.message);
    }
    json_decref(request);
    const bool sent = send_answer(w, answer);
    release_arena(w);
    return in_step && sent;
}

int main(void) {
    static worker w = {.arena_fd = -1};
    const char *number = getenv("GDN_WORKER_FD");
    char *end = NULL;
    const long fd = number ? strtol(number, &end, 10) : -1;
    if (!number || end == number || *end || fd < 0 || fd > 1 << 20 ||
        fcntl((int)fd, F_SETFD, FD_CLOEXEC) != 0) {
        fprintf(stderr,
                "gdn-worker: expected a socket in GDN_WORKER_FD but found \"%s\"; "
                "gdn-conform starts this program\n",
                number ? number : "");
        return 2;
    }
    w.socket = (int)fd;
    /* Programs that an adapter starts (compilers) are no workers. */
    unsetenv("GDN_WORKER_FD");
    /* A crash must not swallow the lines that lead to it. */
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);

    bool orderly = false;
    while (serve_one(&w, &orderly)) {
    }
    if (w.device) {
        w.api->close(w.device);
    }
    return orderly ? 0 : 1;
}
