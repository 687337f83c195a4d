/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "worker_process.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

double gdnp_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- What the worker prints ---- */

/* Bytes of the UTF-8 character at `s`, 0 if there is none (or NUL). */
static size_t utf8_length(const unsigned char *s, size_t left) {
    const size_t n = s[0] < 0x80   ? s[0] != 0
                     : s[0] < 0xc2 ? 0
                     : s[0] < 0xe0 ? 2
                     : s[0] < 0xf0 ? 3
                     : s[0] < 0xf5 ? 4
                                   : 0;
    if (n > left) {
        return 0;
    }
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    /* Overlong forms, surrogates, beyond U+10FFFF. */
    const bool bad =
        n > 2 && ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
                  (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f));
    return bad ? 0 : n;
}

/* Reports are JSON and XML: neither takes other bytes. */
void gdnp_make_utf8(char *text, size_t size) {
    for (size_t i = 0; i < size;) {
        const size_t n = utf8_length((const unsigned char *)text + i, size - i);
        if (n == 0) {
            text[i] = '?';
        }
        i += n > 0 ? n : 1;
    }
}

static void keep_last_output(gdnp_process *p) {
    if (p->captured > GDN_WORKER_OUTPUT_MAX) {
        const size_t cut = p->captured - GDN_WORKER_OUTPUT_MAX;
        memmove(p->capture + GDNP_NOTE_ROOM, p->capture + GDNP_NOTE_ROOM + cut,
                GDN_WORKER_OUTPUT_MAX);
        p->captured = GDN_WORKER_OUTPUT_MAX;
        p->dropped += cut;
    }
}

/* Takes what is there; false if there was nothing more. */
static bool capture_once(gdnp_process *p) {
    if (p->output < 0) {
        return false;
    }
    if (p->captured == 2 * GDN_WORKER_OUTPUT_MAX) {
        keep_last_output(p);
    }
    const ssize_t n = read(p->output, p->capture + GDNP_NOTE_ROOM + p->captured,
                           2 * GDN_WORKER_OUTPUT_MAX - p->captured);
    if (n > 0) {
        p->captured += (size_t)n;
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        close(p->output);
        p->output = -1;
    }
    return n > 0;
}

void gdnp_process_capture(gdnp_process *p) {
    for (int i = 0; i < 64 && capture_once(p); i++) {
    }
}

void gdnp_process_forget_output(gdnp_process *p) {
    gdnp_process_capture(p);
    p->captured = 0;
    p->dropped = 0;
}

const char *gdnp_process_output(gdnp_process *p) {
    keep_last_output(p);
    char *text = p->capture + GDNP_NOTE_ROOM;
    gdnp_make_utf8(text, p->captured);
    text[p->captured] = '\0';
    if (p->dropped > 0) {
        char note[GDNP_NOTE_ROOM];
        const int n =
            snprintf(note, sizeof note, "[%zu bytes before this are lost]\n", p->dropped);
        assert(n > 0 && n < GDNP_NOTE_ROOM);
        text -= n;
        memcpy(text, note, (size_t)n);
    }
    return text;
}

/* ---- Starting ---- */

/* A host that was started without standard streams gets 0, 1 and 2 for its own descriptors;
 * the child must not lose them to dup2. */
static int above_stdio(int fd) {
    if (fd < 0 || fd > 2) {
        return fd;
    }
    const int higher = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    close(fd);
    return higher;
}

typedef struct child_setup {
    const char *const *argv;
    char **environment;
    pid_t host;
    int socket;
    int input;
    int output;
    int failure; /* receives errno if exec fails */
} child_setup;

/* Runs in the child, between fork and exec: only async-signal-safe calls. */
static _Noreturn void become_worker(const child_setup *setup) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    /* The group is what a timeout kills: compilers and helpers included. */
    bool ready = setpgid(0, 0) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
    if (getppid() != setup->host) {
        _exit(127); /* the host died before the line above */
    }
    /* Libraries of the host may have opened files without O_CLOEXEC. */
    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    ready = ready && dup2(setup->input, 0) >= 0 && dup2(setup->output, 1) >= 0 &&
            dup2(setup->output, 2) >= 0 && fcntl(setup->socket, F_SETFD, 0) == 0;
    if (ready) {
        execvpe(setup->argv[0], (char *const *)setup->argv, setup->environment);
    }
    const int cause = errno;
    const ssize_t n = write(setup->failure, &cause, sizeof cause);
    _exit(n == sizeof cause ? 127 : 126);
}

/* The host's environment with GDN_WORKER_FD in front; one block, NULL without memory. */
static char **worker_environment(int fd) {
    size_t count = 0;
    while (environ[count]) {
        count++;
    }
    char **copy = malloc((count + 2) * sizeof *copy + 64);
    if (!copy) {
        return NULL;
    }
    char *own = (char *)(copy + count + 2);
    snprintf(own, 64, "GDN_WORKER_FD=%d", fd);
    size_t n = 0;
    copy[n++] = own;
    for (size_t i = 0; i < count; i++) {
        if (strncmp(environ[i], "GDN_WORKER_FD=", 14) != 0) {
            copy[n++] = environ[i];
        }
    }
    copy[n] = NULL;
    return copy;
}

static void close_all(int *fds, int count) {
    for (int i = 0; i < count; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

typedef enum end {
    HOST_SOCKET,
    HOST_OUTPUT,
    HOST_FAILURE,
    SOCKET,
    INPUT,
    OUTPUT,
    FAILURE,
    N_ENDS
} end;

/* Makes every descriptor that the two processes need; what exists is in `fds` even if not
 * all do. */
static bool connect_ends(int fds[N_ENDS]) {
    int sockets[2] = {-1, -1};
    int output[2] = {-1, -1};
    int failure[2] = {-1, -1};
    const bool made = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0 &&
                      pipe2(output, O_CLOEXEC) == 0 && pipe2(failure, O_CLOEXEC) == 0 &&
                      fcntl(output[0], F_SETFL, O_NONBLOCK) == 0;
    fds[HOST_SOCKET] = sockets[0];
    fds[HOST_OUTPUT] = output[0];
    fds[HOST_FAILURE] = failure[0];
    fds[SOCKET] = above_stdio(sockets[1]);
    fds[OUTPUT] = above_stdio(output[1]);
    fds[FAILURE] = above_stdio(failure[1]);
    fds[INPUT] = made ? above_stdio(open("/dev/null", O_RDONLY | O_CLOEXEC)) : -1;
    return made && fds[SOCKET] >= 0 && fds[OUTPUT] >= 0 && fds[FAILURE] >= 0 &&
           fds[INPUT] >= 0;
}

gdn_status gdnp_process_start(gdnp_process *p, const char *const *argv, gdn_error *err) {
    int fds[N_ENDS];
    gdn_status status = GDN_OK;
    char **environment = NULL;
    int cause = 0;

    if (!connect_ends(fds)) {
        status =
            gdn_error_set(err, GDN_ERR_IO, "cannot connect a worker: %s", strerror(errno));
        goto cleanup;
    }
    environment = worker_environment(fds[SOCKET]);
    if (!environment) {
        status = gdn_error_set(err, GDN_ERR_OOM, "no memory for a worker's environment");
        goto cleanup;
    }
    const child_setup setup = {.argv = argv,
                               .environment = environment,
                               .host = getpid(),
                               .socket = fds[SOCKET],
                               .input = fds[INPUT],
                               .output = fds[OUTPUT],
                               .failure = fds[FAILURE]};
    p->pid = fork();
    if (p->pid == 0) {
        become_worker(&setup);
    }
    if (p->pid < 0) {
        status = gdn_error_set(err, GDN_ERR_IO, "cannot fork: %s", strerror(errno));
        goto cleanup;
    }
    close(fds[FAILURE]);
    fds[FAILURE] = -1;
    ssize_t n = -1;
    do { /* until exec closes it or the cause comes */
        n = read(fds[HOST_FAILURE], &cause, sizeof cause);
    } while (n < 0 && errno == EINTR);
    if (n != 0) {
        waitpid(p->pid, NULL, 0);
        status = gdn_error_set(err, GDN_ERR_IO, "cannot execute %s: %s", argv[0],
                               strerror(cause));
        goto cleanup;
    }
    p->socket = fds[HOST_SOCKET];
    p->output = fds[HOST_OUTPUT];
    fds[HOST_SOCKET] = -1;
    fds[HOST_OUTPUT] = -1;

cleanup:
    close_all(fds, N_ENDS);
    free(environment);
    return status;
}

/* ---- Ending ---- */

bool gdnp_process_has_exited(gdnp_process *p) {
    siginfo_t info = {0};
    if (p->pid > 0 &&
        waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0) {
        p->pid = -1; /* ECHILD, where somebody ignores SIGCHLD: how it ended is not known */
    }
    /* Left as a zombie, which keeps the group's number from being given to others. */
    return p->pid < 0 || info.si_pid == p->pid;
}

static bool exits_within(gdnp_process *p, double seconds) {
    const double deadline = gdnp_now() + seconds;
    while (!gdnp_process_has_exited(p)) {
        if (gdnp_now() >= deadline) {
            return false;
        }
        /* Reads on: whoever prints on his way out must not be blocked. */
        struct pollfd pipe = {.fd = p->output, .events = POLLIN};
        poll(&pipe, 1, 2);
        capture_once(p);
    }
    return true;
}

gdnp_ending gdnp_process_end(gdnp_process *p, double grace) {
    gdnp_ending ending = {0};
    ending.killed = !exits_within(p, grace);
    if (p->pid > 0) {
        kill(-p->pid, SIGKILL); /* its children too, even if it is gone itself */
        kill(p->pid, SIGKILL);  /* it may have left its group */
    }
    ending.lost = ending.killed && !exits_within(p, GDNP_DEATH_SECONDS);
    int status = 0;
    if (p->pid > 0 && !ending.lost && waitpid(p->pid, &status, WNOHANG) == p->pid) {
        ending.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
        ending.exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    }
    gdnp_process_capture(p);
    int fds[] = {p->socket, p->output};
    close_all(fds, 2);
    p->pid = -1;
    p->socket = -1;
    p->output = -1;
    return ending;
}
