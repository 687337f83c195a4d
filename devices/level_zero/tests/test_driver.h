/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A Level Zero driver without a GPU, for tests: what the stock loader loads when
 * ZE_ENABLE_ALT_DRIVERS names it. Kernels run on OpenCL (PoCL). It is stricter than drivers
 * are: every handle is looked up, what is wrong is refused by name on stderr, the device's
 * memory cannot be touched by the host, shared memory not while commands are not waited
 * for, and commands that no barrier parts run in reverse order.
 *
 * ZE_TEST_MEMORY: bytes of device memory. ZE_TEST_FAULT: "crash" ends the process in
 * zeInit, "none" has no device, "error" fails zeInit, "barriers" ignores barriers, as if they
 * had been forgotten, "fp64" has no doubles and refuses modules that do. */
#ifndef GDN_TEST_DRIVER_H
#define GDN_TEST_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <level_zero/ze_api.h>
#include <level_zero/ze_ddi.h>

enum { MAX_COMMANDS = 256, MAX_ARGUMENTS = 16, MAX_ARGUMENT_BYTES = 1024 };

typedef enum object_kind {
    CONTEXT,
    QUEUE,
    LIST,
    POOL,
    EVENT,
    MODULE,
    BUILD_LOG,
    KERNEL,
    KINDS
} object_kind;

/* What every object begins with. Destroyed ones stay, so that they are known as such. */
typedef struct object {
    object_kind kind;
    bool live;
    struct object *next;
} object;

typedef struct argument {
    bool set;
    size_t size;
    unsigned char bytes[MAX_ARGUMENT_BYTES]; /* a pointer's: the address */
} argument;

typedef struct module {
    object object;
    void *program; /* cl_program */
    uint32_t *words;
    size_t words_count;
} module;

typedef struct parameter {
    bool pointer; /* to memory, else by value */
    size_t size;
} parameter;

typedef struct kernel {
    object object;
    module *module;
    void *kernel; /* cl_kernel */
    char name[64];
    uint32_t group[3];
    uint32_t arguments_count;
    parameter parameters[MAX_ARGUMENTS];
    argument arguments[MAX_ARGUMENTS];
} kernel;

typedef struct event {
    object object;
    bool signalled;
    uint64_t at; /* ns */
} event;

typedef enum command_kind { LAUNCH, COPY, BARRIER } command_kind;

typedef struct command {
    command_kind kind;
    event *signal; /* or NULL */
    kernel *kernel;
    argument *arguments; /* as they were when the launch was appended */
    uint32_t group[3], count[3];
    void *to;
    const void *from;
    size_t bytes;
} command;

typedef struct list {
    object object;
    bool immediate, closed;
    int count;
    command commands[MAX_COMMANDS];
} list;

/* ---- objects (test_driver_objects.c) ---- */

/* A message on stderr, and the code. */
ze_result_t refuse(ze_result_t code, const char *function, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* NULL: no memory. */
void *object_create(object_kind kind, size_t bytes);

/* Of that kind and live; else says what is wrong with it and returns NULL. */
void *object_find(const void *handle, object_kind kind, const char *function);

ze_result_t object_destroy(void *handle, object_kind kind, const char *function);

/* Objects and allocations that live; names them on stderr. */
int test_driver_live(void);

/* ---- memory (test_driver_memory.c) ---- */

/* The rest of the allocation that holds `address`, 0 if none does. */
size_t memory_rest(const void *address);
int memory_live(void);

/* ZE_TEST_FAULT says so. */
bool fault_is(const char *name);

/* Whether the driver runs commands, and whether some are not waited for: decides who may
 * touch memory. */
void memory_guard(bool running, bool pending);

/* ---- SPIR-V (test_driver_spirv.c) ---- */

/* How many parameters the entry point has, 0 if there is none of that name. */
uint32_t spirv_parameters(const uint32_t *words, size_t count, const char *entry,
                          parameter parameters[MAX_ARGUMENTS]);

/* Whether the module declares doubles. */
bool spirv_has_fp64(const uint32_t *words, size_t count);

/* ---- execution (test_driver_run.c) ---- */

/* Of a list, or of what an immediate list holds. */
void run_commands(command *commands, int count);
bool run_kernel_open(kernel *kernel, const char *function);
ze_result_t run_set_argument(kernel *kernel, uint32_t index, size_t size,
                             const void *value);
ze_result_t run_build(module *module, const void *bytes, size_t size, char *log,
                      size_t log_size);
void run_kernel_close(kernel *kernel);
void run_module_close(module *module);

/* Copies an argument list for a launch, NULL if one was never set. */
argument *arguments_copy(const kernel *kernel);

/* What is not waited for runs now. */
void lists_flush(void);

#endif
