/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A worker that keeps the protocol, except in the one way that its argument names. It links
 * nothing of this project and knows requests by their beginnings only. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int channel = -1;
static int id; /* of the latest request */

/* Sends the text as one piece. An object at the beginning of a line gets the request's id;
 * after a space it does not. */
static void say(const char *text) {
    char *answer = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&answer, &length);
    if (!out) {
        exit(1);
    }
    for (char before = '\n'; *text; before = *text++) {
        fputc(*text, out);
        if (*text == '{' && before == '\n') {
            fprintf(out, "\"id\":%d,", id);
        }
    }
    if (fclose(out) != 0) {
        exit(1);
    }
    for (size_t done = 0; done < length;) {
        const ssize_t n = send(channel, answer + done, length - done, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            exit(1);
        }
        done += n > 0 ? (size_t)n : 0;
    }
    free(answer);
}

/* One request into `line`, its descriptor or -1 into `*fd`. */
static void listen_once(char *line, size_t size, int *fd) {
    size_t used = 0;
    *fd = -1;
    do {
        union {
            struct cmsghdr align;
            char space[CMSG_SPACE(sizeof(int))];
        } control;
        struct iovec part = {.iov_base = line + used, .iov_len = size - used};
        struct msghdr header = {.msg_iov = &part,
                                .msg_iovlen = 1,
                                .msg_control = &control,
                                .msg_controllen = sizeof control};
        const ssize_t n = recvmsg(channel, &header, 0);
        if (n == 0 || (n < 0 && errno != EINTR)) {
            exit(1);
        }
        const struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&header) : NULL;
        if (c) {
            memcpy(fd, CMSG_DATA(c), sizeof *fd);
        }
        used += n > 0 ? (size_t)n : 0;
    } while (used == 0 || line[used - 1] != '\n');
    line[used] = '\0';
}

static void sleep_for_ever(void) {
    for (;;) {
        pause();
    }
}

/* The arena, as the test sees it too: it carries what the protocol has no words for. */
typedef struct board {
    volatile unsigned char runs; /* counted up by every good run */
    volatile unsigned char test_is_ready;
    volatile unsigned char worker_is_ready;
    volatile pid_t pid;
} board;

/* NULL, and an error answered, without an arena. Never unmapped: the process is short. */
static board *map_board(int fd) {
    struct stat info;
    void *arena = MAP_FAILED;
    if (fd >= 0 && fstat(fd, &info) == 0) {
        arena = mmap(NULL, (size_t)info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    if (arena == MAP_FAILED) {
        say("{\"type\":\"error\",\"status\":3,\"message\":\"no arena\"}\n");
        return NULL;
    }
    return arena;
}

static void good_run(int fd) {
    board *shared = map_board(fd);
    if (shared) {
        shared->pid = getpid();
        shared->runs++;
        say("{\"type\":\"done\",\"seconds\":0.25}\n");
    }
}

/* Answers, lets the test see that, and then does what it should not. */
static void answer_and(bool die, int fd) {
    board *shared = map_board(fd);
    if (!shared) {
        return;
    }
    shared->pid = getpid();
    say("{\"type\":\"done\"}\n");
    while (!shared->test_is_ready) {
        usleep(1000);
    }
    if (die) {
        signal(SIGSEGV, SIG_DFL); /* sanitizers have a handler */
        raise(SIGSEGV);
    }
    say("{\"type\":\"done\"}\n");
    shared->worker_is_ready = 1;
}

/* Answers the latest run once more after the next one has come, and then that one. */
static void answer_again_later(int fd) {
    static int previous;
    const int current = id;
    if (previous != 0) {
        id = previous;
        say("{\"type\":\"done\"}\n");
        id = current;
    }
    previous = current;
    good_run(fd);
}

static void die_with_child_holding_the_socket(int fd) {
    board *shared = map_board(fd);
    if (!shared) {
        return;
    }
    const pid_t child = fork();
    if (child == 0) {
        sleep_for_ever();
    }
    shared->pid = child;
    exit(9);
}

/* Which descriptors the worker has that the protocol does not give it. */
static void list_descriptors(int arena_fd) {
    char list[256] = "";
    for (int fd = 3; fd < 1024; fd++) {
        if (fd != channel && fd != arena_fd && fcntl(fd, F_GETFD) != -1) {
            snprintf(list + strlen(list), sizeof list - strlen(list), " %d", fd);
        }
    }
    char text[512];
    sigset_t blocked;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    snprintf(
        text, sizeof text,
        "{\"type\":\"error\",\"status\":5,\"message\":\"[%s] stdin %s, %s, SIGTERM %s\"}\n",
        list, read(0, list + sizeof list - 1, 1) == 0 ? "empty" : "open",
        getpgrp() == getpid() ? "leader" : "member",
        sigismember(&blocked, SIGTERM) ? "blocked" : "heard");
    say(text);
}

/* A tracer keeps the dead from its parent: the host kills, and waits in vain, as if the
 * worker were stuck in a driver. Errors are answered, for the test to skip. */
static void become_unkillable(void) {
    int ready[2];
    char byte = 0;
    const pid_t worker = getpid();
    if (pipe(ready) != 0) {
        exit(1);
    }
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    if (fork() == 0) {
        setsid(); /* not in the group that gets killed */
        const long rc = ptrace(PTRACE_SEIZE, worker, NULL, NULL);
        byte = rc == 0 ? 'y' : 'n';
        if (write(ready[1], &byte, 1) == 1 && rc == 0) {
            close(channel);
            close(1);
            close(2);
            sleep(20);
        }
        _exit(0);
    }
    if (read(ready[0], &byte, 1) != 1 || byte != 'y') {
        say("{\"type\":\"error\",\"status\":5,\"message\":\"ptrace is forbidden\"}\n");
        return;
    }
    sleep_for_ever();
}

static void print_much(void) {
    for (int i = 0; i < 20000; i++) {
        printf("line %d of many\n", i);
    }
    printf("the end\n");
    fflush(stdout);
}

static void two_mebibytes(void) {
    static char text[(2 << 20) + 1];
    memset(text, ' ', sizeof text - 1);
    say(text);
    say("{\"type\":\"done\"}\n");
}

static void truncate_arena(int fd) {
    char text[256];
    const bool refused = ftruncate(fd, 0) != 0 && errno == EPERM;
    snprintf(text, sizeof text, "{\"type\":\"error\",\"status\":5,\"message\":\"%s\"}\n",
             refused ? "the seal holds" : "truncated it");
    say(text);
}

/* Modes that answer `run` with a fixed text. */
static const struct {
    const char *mode;
    const char *answer;
} ANSWERS[] = {
    {"garbage", "Segmentation fault (core dumped)\n"},
    {"binary", "\x01\xff\xfe{}\n"},
    {"array", "[1, 2]\n"},
    {"empty", "\n"},
    {"wrong-type", "{\"type\":\"supports\",\"supported\":true}\n"},
    {"no-type", "{\"seconds\":1}\n"},
    {"unknown-member", "{\"type\":\"done\",\"second\":1}\n"},
    {"negative", "{\"type\":\"done\",\"seconds\":-1}\n"},
    {"text-seconds", "{\"type\":\"done\",\"seconds\":\"1\"}\n"},
    {"returned", "{\"type\":\"done\",\"returned\":[\"g\",\"beta\"]}\n"},
    {"returned-input", "{\"type\":\"done\",\"returned\":[\"a\"]}\n"},
    {"returned-text", "{\"type\":\"done\",\"returned\":\"g\"}\n"},
    {"duplicate", "{\"type\":\"done\",\"type\":\"done\"}\n"},
    {"bad-status", "{\"type\":\"error\",\"status\":99,\"message\":\"?\"}\n"},
    {"no-message", "{\"type\":\"error\",\"status\":5}\n"},
    {"twice", "{\"type\":\"done\"}\n{\"type\":\"done\"}\n"},
    {"no-id", " {\"type\":\"done\"}\n"},
    {"wrong-id", " {\"type\":\"done\",\"id\":77}\n"},
    {"text-id", " {\"type\":\"done\",\"id\":\"2\"}\n"},
    {"error-no-id", " {\"type\":\"error\",\"status\":5,\"message\":\"?\"}\n"},
    {"unread", " {\"type\":\"error\",\"status\":4,\"message\":\"what?\",\"id\":0}\n"},
    {"silent", "{\"type\":\"done\"}\n"},
    {"error", "{\"type\":\"error\",\"status\":5,\"message\":\"lost a wave\"}\n"},
    {"declined", "{\"type\":\"error\",\"status\":7,\"message\":\"not this one\"}\n"},
};

static void run(const char *mode, int fd) {
    for (size_t i = 0; i < sizeof ANSWERS / sizeof ANSWERS[0]; i++) {
        if (strcmp(mode, ANSWERS[i].mode) == 0) {
            say(ANSWERS[i].answer);
            return;
        }
    }
    if (strcmp(mode, "crash") == 0) {
        printf("about to crash\n");
        fflush(stdout);
        signal(SIGSEGV, SIG_DFL); /* sanitizers have a handler */
        raise(SIGSEGV);
    } else if (strcmp(mode, "abort") == 0) {
        signal(SIGABRT, SIG_DFL);
        abort();
    } else if (strcmp(mode, "exit") == 0) {
        exit(3);
    } else if (strcmp(mode, "exit0") == 0) {
        exit(0);
    } else if (strcmp(mode, "hang") == 0) {
        board *shared = map_board(fd);
        if (shared) {
            shared->pid = getpid();
        }
        sleep_for_ever();
    } else if (strcmp(mode, "hang-term") == 0) {
        signal(SIGTERM, SIG_IGN);
        sleep_for_ever();
    } else if (strcmp(mode, "unkillable") == 0) {
        become_unkillable();
    } else if (strcmp(mode, "half") == 0) {
        say("{\"type\":\"do");
        exit(4);
    } else if (strcmp(mode, "half-hang") == 0) {
        say("{\"type\":\"do");
        sleep_for_ever();
    } else if (strcmp(mode, "print") == 0) {
        printf("to stdout\n");
        fflush(stdout);
        fprintf(stderr, "to stderr: \xc3\xa9 \xff\n");
        fputc('\0', stderr);
        good_run(fd);
    } else if (strcmp(mode, "print-much") == 0) {
        print_much();
        good_run(fd);
    } else if (strcmp(mode, "print-for-ever") == 0) {
        for (;;) {
            print_much();
        }
    } else if (strcmp(mode, "long-line") == 0) {
        two_mebibytes();
    } else if (strcmp(mode, "hang-up") == 0) {
        close(channel);
        sleep_for_ever();
    } else if (strcmp(mode, "truncate") == 0) {
        truncate_arena(fd);
    } else if (strcmp(mode, "orphan") == 0) {
        die_with_child_holding_the_socket(fd);
    } else if (strcmp(mode, "drip") == 0) {
        for (const char *c = "{\"type\":\"done\",\"seconds\":1e-3}\n"; *c; c++) {
            say((char[]){*c, '\0'});
            usleep(1000);
        }
    } else if (strcmp(mode, "late-answer") == 0 || strcmp(mode, "late-death") == 0) {
        answer_and(strcmp(mode, "late-death") == 0, fd);
    } else if (strcmp(mode, "belated") == 0) {
        answer_again_later(fd);
    } else if (strcmp(mode, "descriptors") == 0) {
        list_descriptors(fd);
    } else {
        good_run(fd);
    }
}

static void hello(const char *mode, const char *line) {
    if (strcmp(mode, "absent") == 0) {
        say("{\"type\":\"error\",\"status\":7,\"message\":\"no such hardware\"}\n");
    } else if (strcmp(mode, "bad-options") == 0) {
        say("{\"type\":\"error\",\"status\":1,\"message\":\"no option x\"}\n");
    } else if (strcmp(mode, "newer") == 0) {
        say("{\"type\":\"hello\",\"protocol\":2,\"hardware\":\"\",\"driver\":\"\","
            "\"build\":\"\"}\n");
    } else if (strcmp(mode, "echo-options") == 0 && strstr(line, "\"options\":\"a=1\"")) {
        say("{\"type\":\"hello\",\"protocol\":1,\"hardware\":\"a=1\",\"driver\":\"\","
            "\"build\":\"\"}\n");
    } else {
        say("{\"type\":\"hello\",\"protocol\":1,\"hardware\":\"fake\",\"driver\":\"none\","
            "\"build\":\"1.0\"}\n");
    }
}

static void supports(const char *mode, const char *line) {
    if (strcmp(mode, "unsupported") == 0) {
        say("{\"type\":\"supports\",\"supported\":false,\"reason\":\"K = 7\"}\n");
    } else if (strcmp(mode, "no-reason") == 0) {
        say("{\"type\":\"supports\",\"supported\":false}\n");
    } else if (strcmp(mode, "no-memory") == 0) {
        const char *bytes = strstr(line, "\"arena_bytes\":");
        char text[128];
        snprintf(text, sizeof text,
                 "{\"type\":\"supports\",\"supported\":false,"
                 "\"reason\":\"an arena of %lld\"}\n",
                 bytes ? atoll(bytes + strlen("\"arena_bytes\":")) : -1);
        say(text);
    } else {
        say("{\"type\":\"supports\",\"supported\":true}\n");
    }
}

/* Ids rise by one from 1. */
static void take_id(const char *line) {
    const char *found = strstr(line, "\"id\":");
    const int next = id + 1;
    id = found ? atoi(found + strlen("\"id\":")) : 0;
    if (id != next) {
        exit(7);
    }
}

int main(int argc, char **argv) {
    static char line[(1 << 20) + 1];
    const char *mode = argc > 1 ? argv[1] : "good";
    const char *number = getenv("GDN_WORKER_FD");
    if (!number) {
        return 2;
    }
    channel = atoi(number);
    printf("fake worker starts\n");
    fflush(stdout);
    if (strcmp(mode, "die-at-once") == 0) {
        return 5;
    }
    for (;;) {
        int fd = -1;
        listen_once(line, sizeof line - 1, &fd);
        take_id(line);
        if (strstr(line, "\"type\":\"bye\"")) {
            if (strcmp(mode, "deaf") == 0) {
                sleep_for_ever();
            }
            return strcmp(mode, "bad-end") == 0 ? 6 : 0;
        }
        if (strstr(line, "\"type\":\"hello\"")) {
            hello(mode, line);
        } else if (strstr(line, "\"type\":\"supports\"")) {
            supports(mode, line);
        } else {
            run(mode, fd);
        }
        if (fd >= 0) {
            close(fd);
        }
    }
}
