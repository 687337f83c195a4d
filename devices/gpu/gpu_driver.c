/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "gpu_driver.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gpu_vendor.h"

/* Drivers with many devices take seconds; one that takes this long hangs. */
#define PROBE_TIMEOUT_MS 60000

gdn_status gpu_library_open(void **library, const char *path, const char *const *names,
                            gdn_error *err) {
    const char *const given[] = {path, NULL};
    char reasons[512] = "";
    for (const char *const *name = path ? given : names; *name; name++) {
        *library = dlopen(*name, RTLD_NOW | RTLD_LOCAL);
        if (*library) {
            return GDN_OK;
        }
        const size_t used = strlen(reasons);
        snprintf(reasons + used, sizeof reasons - used, "%s%.200s", used > 0 ? "; " : "",
                 dlerror());
    }
    return gdn_error_set(err, GDN_ERR_UNSUPPORTED, "%s", reasons);
}

gdn_status gpu_library_symbol(void *library, const char *name, void *function,
                              gdn_error *err) {
    void *symbol = dlsym(library, name);
    if (!symbol) {
        return gdn_error_set(err, GDN_ERR_UNSUPPORTED, "%s", dlerror());
    }
    memcpy(function, &symbol, sizeof symbol);
    return GDN_OK;
}

/* The vendor's name of an error, "" if it has none. */
static const char *error_name(const gpu_driver *driver, int code) {
    const char *name = NULL;
#if GPU_LINKED
    (void)driver;
    name = gpu_linked_error(code);
#elif defined GPU_ERROR_NAME_BY_POINTER
    int (*get)(int, const char **) = NULL;
    if (gpu_library_symbol(driver->library, GPU_ERROR_NAME, &get, NULL) == GDN_OK) {
        get(code, &name);
    }
#else
    const char *(*get)(int) = NULL;
    if (gpu_library_symbol(driver->library, GPU_ERROR_NAME, &get, NULL) == GDN_OK) {
        name = get(code);
    }
#endif
    return name ? name : "";
}

gdn_status gpu_driver_check(const gpu_driver *driver, int code, const char *what,
                            gdn_error *err) {
    if (code == 0) {
        return GDN_OK;
    }
    return gdn_error_set(err, GDN_ERR_DEVICE, "%s: %s (%d)", what, error_name(driver, code),
                         code);
}

gdn_status gpu_driver_load(gpu_driver *driver, const char *path, gdn_error *err) {
    *driver = (gpu_driver){0};
#if GPU_LINKED
    GDN_TRY(gpu_linked_open(&driver->library, path, err));
#define GPU_RESOLVE(member, arguments) driver->member = gpu_linked_##member;
    GPU_FUNCTIONS(GPU_RESOLVE)
#if GPU_GRAPHS
    GPU_GRAPH_FUNCTIONS(GPU_RESOLVE)
#endif
#undef GPU_RESOLVE
#else
    static const char *const NAMES[] = {GPU_LIBRARIES, NULL};
    GDN_TRY(gpu_library_open(&driver->library, path, NAMES, err));
#define GPU_RESOLVE(member, arguments)                                                     \
    GDN_TRY(gpu_library_symbol(driver->library, GPU_NAME_##member, &driver->member, err));
    GPU_FUNCTIONS(GPU_RESOLVE)
    GPU_GRAPH_FUNCTIONS(GPU_RESOLVE)
    GPU_RESOLVED_FUNCTIONS(GPU_RESOLVE)
#undef GPU_RESOLVE
#endif
    return gpu_driver_check(driver, driver->init(0), GPU_NAME_init, err);
}

/* What a child sends back. */
typedef struct probe {
    gdn_status status;
    int devices;
    char message[512];
} probe;

static void look(const char *path, probe *found) {
    gpu_driver driver;
    gdn_error err = {0};
    found->status = gpu_driver_load(&driver, path, &err);
    if (found->status == GDN_OK) {
        found->status = gpu_driver_check(&driver, driver.device_count(&found->devices),
                                         GPU_NAME_device_count, &err);
    }
    if (found->status == GDN_OK && found->devices < 1) {
        found->status = gdn_error_set(&err, GDN_ERR_UNSUPPORTED, "%s found no device",
                                      GPU_NAME_device_count);
    }
    snprintf(found->message, sizeof found->message, "%.*s", (int)sizeof found->message - 1,
             err.message);
}

/* Reads the whole answer of a child. False: it closed the pipe early, or nothing came. */
static bool receive(int fd, probe *found, bool *late) {
    size_t used = 0;
    while (used < sizeof *found) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        const int n = poll(&ready, 1, PROBE_TIMEOUT_MS);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        *late = n == 0;
        const ssize_t got =
            n > 0 ? read(fd, (char *)found + used, sizeof *found - used) : 0;
        if (got <= 0) {
            return false;
        }
        used += (size_t)got;
    }
    return true;
}

gdn_status gpu_driver_probe(const char *path, int *devices, gdn_error *err) {
    int ends[2];
    if (pipe(ends) != 0) {
        return gdn_error_set(err, GDN_ERR_IO, "pipe: %s", strerror(errno));
    }
    fflush(stdout);
    const pid_t child = fork();
    if (child < 0) {
        close(ends[0]);
        close(ends[1]);
        return gdn_error_set(err, GDN_ERR_IO, "fork: %s", strerror(errno));
    }
    if (child == 0) {
        probe found = {0};
        look(path, &found);
        const ssize_t sent = write(ends[1], &found, sizeof found);
        _exit(sent == (ssize_t)sizeof found ? 0 : 1);
    }
    close(ends[1]);
    probe found = {0};
    bool late = false;
    const bool answered = receive(ends[0], &found, &late);
    close(ends[0]);
    if (late) {
        kill(child, SIGKILL);
    }
    int state = 0;
    while (waitpid(child, &state, 0) < 0 && errno == EINTR) {
    }
    if (late) {
        return gdn_error_set(err, GDN_ERR_UNSUPPORTED,
                             "the driver did not answer within %d s when asked for devices",
                             PROBE_TIMEOUT_MS / 1000);
    }
    if (!answered && WIFSIGNALED(state)) {
        return gdn_error_set(err, GDN_ERR_UNSUPPORTED,
                             "the driver ended its process with signal %d (%s) when asked "
                             "for devices",
                             WTERMSIG(state), strsignal(WTERMSIG(state)));
    }
    if (!answered) {
        return gdn_error_set(err, GDN_ERR_UNSUPPORTED,
                             "the driver ended its process with status %d when asked for "
                             "devices",
                             WEXITSTATUS(state));
    }
    *devices = found.devices;
    /* Whatever keeps the driver from telling its devices, they are not here. */
    return found.status == GDN_OK
               ? GDN_OK
               : gdn_error_set(err, GDN_ERR_UNSUPPORTED, "%s", found.message);
}
