/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Modules and launches on OpenCL: SPIR-V becomes LLVM's bitcode, which PoCL builds. That a
 * buffer over the host's memory is that memory is PoCL's way on CPUs. */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include "test_driver.h"

extern char **environ;

static cl_context context;
static cl_device_id device;
static cl_command_queue queue;

/* PoCL's first device. */
static bool open_opencl(void) {
    cl_platform_id platforms[8];
    cl_uint count = 0;
    if (queue) {
        return true;
    }
    clGetPlatformIDs(8, platforms, &count);
    for (cl_uint i = 0; i < count && !device; i++) {
        char name[128] = "";
        clGetPlatformInfo(platforms[i], CL_PLATFORM_NAME, sizeof name, name, NULL);
        if (strstr(name, "Portable Computing Language")) {
            clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_CPU, 1, &device, NULL);
        }
    }
    context = device ? clCreateContext(NULL, 1, &device, NULL, NULL, NULL) : NULL;
    queue = context ? clCreateCommandQueue(context, device, 0, NULL) : NULL;
    return queue != NULL;
}

/* Runs llvm-spirv -r; what it says goes to `log`. */
static bool to_bitcode(const char *spirv, const char *bitcode, const char *log) {
    char *const arguments[] = {(char *)TEST_LLVM_SPIRV, (char *)"-r",
                               (char *)spirv,           (char *)"-o",
                               (char *)bitcode,         NULL};
    posix_spawn_file_actions_t actions;
    pid_t child = 0;
    int state = -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 2, 1);
    const int code =
        posix_spawn(&child, TEST_LLVM_SPIRV, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    return code == 0 && waitpid(child, &state, 0) == child && state == 0;
}

static size_t read_file(const char *path, char **bytes) {
    FILE *file = fopen(path, "rb");
    size_t size = 0;
    *bytes = NULL;
    if (file && fseek(file, 0, SEEK_END) == 0 && ftell(file) >= 0) {
        size = (size_t)ftell(file);
        rewind(file);
        *bytes = calloc(1, size + 1);
        size = *bytes ? fread(*bytes, 1, size, file) : 0;
    }
    if (file) {
        fclose(file);
    }
    return size;
}

static ze_result_t build_bitcode(module *m, const char *path, char *log, size_t log_size) {
    char *bytes = NULL;
    const size_t size = read_file(path, &bytes);
    const unsigned char *binary = (const unsigned char *)bytes;
    cl_int code = CL_INVALID_VALUE;
    if (bytes) {
        m->program =
            clCreateProgramWithBinary(context, 1, &device, &size, &binary, NULL, &code);
    }
    if (code == CL_SUCCESS) {
        code = clBuildProgram(m->program, 1, &device, "-x spir -spir-std=1.2", NULL, NULL);
    }
    if (code != CL_SUCCESS && m->program) {
        clGetProgramBuildInfo(m->program, device, CL_PROGRAM_BUILD_LOG, log_size - 1, log,
                              NULL);
    }
    free(bytes);
    return code == CL_SUCCESS ? ZE_RESULT_SUCCESS : ZE_RESULT_ERROR_MODULE_BUILD_FAILURE;
}

ze_result_t run_build(module *m, const void *bytes, size_t size, char *log,
                      size_t log_size) {
    char folder[] = "/tmp/ze_test_driver_XXXXXX", paths[3][64], *said = NULL;
    if (!open_opencl() || !mkdtemp(folder)) {
        return refuse(ZE_RESULT_ERROR_DEPENDENCY_UNAVAILABLE, "zeModuleCreate",
                      "no PoCL, or no /tmp");
    }
    static const char *const NAMES[] = {"module.spv", "module.bc", "log"};
    for (int i = 0; i < 3; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%s", folder, NAMES[i]);
    }
    FILE *file = fopen(paths[0], "wb");
    const bool written = file && fwrite(bytes, 1, size, file) == size;
    if (file) {
        fclose(file);
    }
    m->words = malloc(size);
    if (m->words) {
        memcpy(m->words, bytes, size);
        m->words_count = size / 4;
    }
    ze_result_t code = ZE_RESULT_ERROR_MODULE_BUILD_FAILURE;
    if (fault_is("fp64") && m->words && spirv_has_fp64(m->words, m->words_count)) {
        snprintf(log, log_size, "the device has no fp64\n");
    } else if (written && to_bitcode(paths[0], paths[1], paths[2])) {
        code = build_bitcode(m, paths[1], log, log_size);
    } else {
        read_file(paths[2], &said);
        snprintf(log, log_size, "%s", said ? said : "");
        free(said);
    }
    for (int i = 0; i < 3; i++) {
        unlink(paths[i]);
    }
    rmdir(folder);
    return code;
}

void run_module_close(module *m) {
    free(m->words);
    if (m->program) {
        clReleaseProgram(m->program);
    }
}

bool run_kernel_open(kernel *k, const char *function) {
    cl_int code = CL_SUCCESS;
    k->kernel = clCreateKernel(k->module->program, k->name, &code);
    k->arguments_count =
        spirv_parameters(k->module->words, k->module->words_count, k->name, k->parameters);
    if (code != CL_SUCCESS) {
        refuse(0, function, "the module has no kernel %s", k->name);
        return false;
    }
    return true;
}

void run_kernel_close(kernel *k) {
    clReleaseKernel(k->kernel);
}

ze_result_t run_set_argument(kernel *k, uint32_t index, size_t size, const void *value) {
    static const char *const FUNCTION = "zeKernelSetArgumentValue";
    if (index >= k->arguments_count) {
        return refuse(ZE_RESULT_ERROR_INVALID_KERNEL_ARGUMENT_INDEX, FUNCTION,
                      "%s has %u arguments, there is none of index %u", k->name,
                      k->arguments_count, index);
    }
    argument *a = &k->arguments[index];
    const parameter *p = &k->parameters[index];
    void *address = NULL;
    if (size != p->size || size > sizeof a->bytes) {
        return refuse(ZE_RESULT_ERROR_INVALID_KERNEL_ARGUMENT_SIZE, FUNCTION,
                      "argument %u of %s has %zu bytes, not %zu", index, k->name, p->size,
                      size);
    }
    if (p->pointer && value) {
        memcpy(&address, value, sizeof address);
    }
    if (address && memory_rest(address) == 0) {
        return refuse(ZE_RESULT_ERROR_INVALID_ARGUMENT, FUNCTION,
                      "argument %u of %s points to no memory of the driver's", index,
                      k->name);
    }
    memset(a->bytes, 0, sizeof a->bytes);
    if (value) {
        memcpy(a->bytes, value, size);
    }
    a->size = size;
    a->set = true;
    return ZE_RESULT_SUCCESS;
}

argument *arguments_copy(const kernel *k) {
    for (uint32_t i = 0; i < k->arguments_count; i++) {
        if (!k->arguments[i].set) {
            refuse(0, "zeCommandListAppendLaunchKernel", "argument %u of %s was never set",
                   i, k->name);
            return NULL;
        }
    }
    argument *copy = calloc(MAX_ARGUMENTS, sizeof *copy);
    if (copy) {
        memcpy(copy, k->arguments, sizeof k->arguments);
    }
    return copy;
}

static void fail(const char *what, int code) {
    fprintf(stderr, "test driver: %s: OpenCL says %d\n", what, code);
    abort();
}

/* A buffer over the rest of the memory that the address is in. */
static cl_mem buffer_at(void *address) {
    cl_int code = CL_SUCCESS;
    const size_t rest = memory_rest(address);
    if (rest == 0) {
        fail("a launch whose memory was freed", 0);
    }
    cl_mem buffer = clCreateBuffer(context, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, rest,
                                   address, &code);
    if (code != CL_SUCCESS) {
        fail("a buffer over memory", code);
    }
    return buffer;
}

static void launch(const command *c) {
    cl_mem buffers[MAX_ARGUMENTS] = {NULL};
    const size_t group[3] = {c->group[0], c->group[1], c->group[2]};
    const size_t all[3] = {group[0] * c->count[0], group[1] * c->count[1],
                           group[2] * c->count[2]};
    for (uint32_t i = 0; i < c->kernel->arguments_count; i++) {
        const argument *a = &c->arguments[i];
        void *address = NULL;
        memcpy(&address, a->bytes, sizeof address);
        const bool pointer = c->kernel->parameters[i].pointer;
        if (pointer && address) {
            buffers[i] = buffer_at(address);
        }
        const int code = pointer ? clSetKernelArg(c->kernel->kernel, i, sizeof buffers[i],
                                                  buffers[i] ? &buffers[i] : NULL)
                                 : clSetKernelArg(c->kernel->kernel, i, a->size, a->bytes);
        if (code != CL_SUCCESS) {
            fail(c->kernel->name, code);
        }
    }
    const int code = clEnqueueNDRangeKernel(queue, c->kernel->kernel, 3, NULL, all, group,
                                            0, NULL, NULL);
    if (code != CL_SUCCESS || clFinish(queue) != CL_SUCCESS) {
        fail(c->kernel->name, code);
    }
    for (uint32_t i = 0; i < c->kernel->arguments_count; i++) {
        if (buffers[i]) {
            clReleaseMemObject(buffers[i]);
        }
    }
}

static void run_command(const command *c) {
    struct timespec now;
    if (c->kind == LAUNCH) {
        launch(c);
    } else if (c->kind == COPY) {
        memcpy(c->to, c->from, c->bytes);
    }
    if (c->signal) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        c->signal->at = (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
        c->signal->signalled = true;
    }
}

/* What no barrier parts runs from the last to the first: an order that is promised to
 * nobody must not matter. */
void run_commands(command *commands, int count) {
    memory_guard(true, false);
    const bool forgotten = fault_is("barriers");
    for (int first = 0; first < count;) {
        int end = first;
        while (end < count && (forgotten || commands[end].kind != BARRIER)) {
            end++;
        }
        for (int i = end - 1; i >= first; i--) {
            run_command(&commands[i]);
        }
        if (end < count) {
            run_command(&commands[end]);
        }
        first = end + 1;
    }
    memory_guard(false, false);
}
