/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "apart.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* The answer must fit into an empty pipe, so that the child never waits for a reader. */
_Static_assert(sizeof(gdn_error) <= PIPE_BUF, "answers are written in one piece");

/* The parent's handlers are not meant for this process (a test framework's would jump back
 * into the test), its standard streams are not for what a dying C library has to say, and
 * a crash that is expected needs no core file. */
static void become_child(unsigned seconds) {
    static const int SIGNALS[] = {SIGSEGV, SIGBUS,  SIGABRT, SIGFPE, SIGILL, SIGSYS,
                                  SIGTRAP, SIGALRM, SIGTERM, SIGINT, SIGHUP, SIGQUIT};
    for (size_t i = 0; i < sizeof SIGNALS / sizeof SIGNALS[0]; i++) {
        signal(SIGNALS[i], SIG_DFL);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
    }
    alarm(seconds);
}

static _Noreturn void child(gdnp_work work, void *data, unsigned seconds, int answer) {
    gdn_error result = {0};
    become_child(seconds);
    const gdn_status status = work(data, &result);
    if (status != GDN_OK && result.status == GDN_OK) {
        gdn_error_set(&result, status, "%s", gdn_status_name(status));
    }
    const bool sent = write(answer, &result, sizeof result) == (ssize_t)sizeof result;
    /* Not exit(): the parent's buffers and open files are not ours to flush. */
    _exit(sent ? 0 : 1);
}

static gdn_status judge_end(int ended, const char *path, unsigned seconds, gdn_error *err) {
    if (!WIFSIGNALED(ended)) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "reading %s ended the process that checked it (exit status "
                             "%d)",
                             path, WEXITSTATUS(ended));
    }
    switch (WTERMSIG(ended)) {
    case SIGALRM:
        return gdn_error_set(err, GDN_ERR_FORMAT, "checking %s did not end within %u s",
                             path, seconds);
    case SIGINT:
    case SIGTERM:
    case SIGHUP:
    case SIGQUIT:
        return gdn_error_set(err, GDN_ERR_IO, "checking %s was interrupted (signal %d)",
                             path, WTERMSIG(ended));
    default:
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "reading %s crashed the HDF5 library (signal %d)", path,
                             WTERMSIG(ended));
    }
}

gdn_status gdnp_run_apart(gdnp_work work, void *data, const char *path, unsigned seconds,
                          gdn_error *err) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        return gdn_error_set(err, GDN_ERR_IO, "cannot check %s: no pipe: %s", path,
                             strerror(errno));
    }
    const pid_t pid = fork();
    if (pid == 0) {
        child(work, data, seconds, ends[1]);
    }
    const int fork_errno = errno;
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return gdn_error_set(err, GDN_ERR_IO, "cannot check %s: no process: %s", path,
                             strerror(fork_errno));
    }
    /* The end of the child is awaited before its answer, not the end of the pipe: another
     * thread's child may hold that open for as long as it likes. A host that ignores
     * SIGCHLD gets no status (ECHILD), and the answer alone decides. */
    int ended = 0;
    while (waitpid(pid, &ended, 0) < 0 && errno == EINTR) {
    }
    gdn_error result = {0};
    const bool answered = read(ends[0], &result, sizeof result) == (ssize_t)sizeof result;
    close(ends[0]);
    if (!answered || !WIFEXITED(ended) || WEXITSTATUS(ended) != 0) {
        return judge_end(ended, path, seconds, err);
    }
    result.message[sizeof result.message - 1] = '\0';
    return result.status == GDN_OK
               ? GDN_OK
               : gdn_error_set(err, result.status, "%s", result.message);
}
