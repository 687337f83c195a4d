/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A CUDA driver and an NVRTC without a GPU: memory is the host's. Launches do nothing, or,
 * with FAKE_EMULATES defined, run the kernels of emulated_kernels.cpp, at once or when the
 * graph is replayed that they were captured into.
 *
 * Without kernels it shows what the host's side does with a driver that misbehaves.
 * FAKE_DRIVER says how:
 *   abort   prints a line and aborts when it is initialised
 *   error   says 999 when it is initialised
 *   none    has no device
 *   idle    does nothing wrong, and nothing else
 *   fault   the first synchronisation after the file FAKE_MARK went says 700, and every
 *           call of this process after it too */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

#ifdef FAKE_EMULATES
int emulated_warp(void);
const void *emulated_find(const char *name);
size_t emulated_bytes(const void *kernel);
void emulated_launch(const void *kernel, const unsigned grid[3], unsigned block,
                     const void *arguments);
#define WARP emulated_warp()
#else
#define WARP 32
#endif

static bool broken;

static bool is(const char *what) {
    const char *mode = getenv("FAKE_DRIVER");
    return mode && strcmp(mode, what) == 0;
}

static int answer(void) {
    return broken ? 700 : 0;
}

EXPORT int cuInit(unsigned flags);
int cuInit(unsigned flags) {
    (void)flags;
    if (is("abort")) {
        fprintf(stderr, "fake driver: no such firmware\n");
        abort();
    }
    return is("error") ? 999 : 0;
}

EXPORT int cuGetErrorName(int code, const char **name);
int cuGetErrorName(int code, const char **name) {
    *name = code == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR_UNKNOWN";
    return 0;
}

EXPORT int cuDriverGetVersion(int *version);
int cuDriverGetVersion(int *version) {
    *version = 13000;
    return 0;
}

EXPORT int cuDeviceGetCount(int *count);
int cuDeviceGetCount(int *count) {
    *count = is("none") ? 0 : 1;
    return 0;
}

EXPORT int cuDeviceGet(int *device, int ordinal);
int cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return 0;
}

EXPORT int cuDeviceGetName(char *name, int size, int device);
int cuDeviceGetName(char *name, int size, int device) {
    snprintf(name, (size_t)size, "fake %d", device);
    return 0;
}

EXPORT int cuDeviceGetPCIBusId(char *id, int size, int device);
int cuDeviceGetPCIBusId(char *id, int size, int device) {
    snprintf(id, (size_t)size, "0000:%02x:00.0", device);
    return 0;
}

EXPORT int cuDeviceGetUuid_v2(unsigned char uuid[16], int device);
int cuDeviceGetUuid_v2(unsigned char uuid[16], int device) {
    memset(uuid, device, 16);
    return 0;
}

EXPORT int cuDeviceGetAttribute(int *value, int attribute, int device);
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    *value = attribute == 10 ? WARP : 9;
    return 0;
}

EXPORT int cuDevicePrimaryCtxRetain(void **context, int device);
int cuDevicePrimaryCtxRetain(void **context, int device) {
    (void)device;
    *context = &broken;
    return 0;
}

EXPORT int cuMemAlloc_v2(uint64_t *address, size_t bytes);
int cuMemAlloc_v2(uint64_t *address, size_t bytes) {
    *address = (uint64_t)(uintptr_t)malloc(bytes);
    return broken ? 700 : *address ? 0 : 2;
}

EXPORT int cuMemFree_v2(uint64_t address);
int cuMemFree_v2(uint64_t address) {
    free((void *)(uintptr_t)address);
    return answer();
}

EXPORT int cuMemGetInfo_v2(size_t *available, size_t *total);
int cuMemGetInfo_v2(size_t *available, size_t *total) {
    *available = *total = (size_t)1 << 32;
    return answer();
}

EXPORT int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t bytes);
int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t bytes) {
    memcpy((void *)(uintptr_t)to, from, bytes);
    return answer();
}

EXPORT int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t bytes);
int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t bytes) {
    memcpy(to, (void *)(uintptr_t)from, bytes);
    return answer();
}

EXPORT int cuStreamSynchronize(void *stream);
int cuStreamSynchronize(void *stream) {
    (void)stream;
    const char *mark = getenv("FAKE_MARK");
    if (is("fault") && mark && unlink(mark) == 0) {
        broken = true;
    }
    return answer();
}

EXPORT int cuEventElapsedTime(float *milliseconds, void *start, void *end);
int cuEventElapsedTime(float *milliseconds, void *start, void *end) {
    (void)start;
    (void)end;
    *milliseconds = 1;
    return answer();
}

/* Entries whose arguments do not matter here. */
#define QUIET(name)                                                                        \
    EXPORT int name(void);                                                                 \
    int name(void) {                                                                       \
        return answer();                                                                   \
    }
QUIET(cuCtxSetCurrent)
QUIET(cuModuleLoadData)
QUIET(cuStreamCreate)
QUIET(cuGraphDestroy)
QUIET(cuEventCreate)
QUIET(cuEventRecord)

#ifdef FAKE_EMULATES

enum { MAX_LAUNCHES = 64, MAX_ARGUMENTS = 4096 };

typedef struct launch {
    const void *kernel;
    unsigned grid[3], block;
    _Alignas(16) char arguments[MAX_ARGUMENTS];
} launch;

typedef struct graph {
    int count;
    launch launches[MAX_LAUNCHES];
} graph;

static graph *capturing;

EXPORT int cuModuleGetFunction(const void **function, void *module, const char *name);
int cuModuleGetFunction(const void **function, void *module, const char *name) {
    (void)module;
    *function = emulated_find(name);
    return *function ? 0 : 500;
}

EXPORT int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz,
                          unsigned bx, unsigned by, unsigned bz, unsigned shared,
                          void *stream, void **arguments, void **extra);
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                   unsigned by, unsigned bz, unsigned shared, void *stream,
                   void **arguments, void **extra) {
    (void)stream;
    (void)extra;
    if (by != 1 || bz != 1 || shared != 0) {
        return 1;
    }
    const unsigned grid[3] = {gx, gy, gz};
    if (!capturing) {
        emulated_launch(function, grid, bx, arguments[0]);
        return 0;
    }
    launch *l = &capturing->launches[capturing->count++];
    *l = (launch){.kernel = function, .grid = {gx, gy, gz}, .block = bx};
    memcpy(l->arguments, arguments[0], emulated_bytes(function));
    return 0;
}

EXPORT int cuStreamBeginCapture_v2(void *stream, int mode);
int cuStreamBeginCapture_v2(void *stream, int mode) {
    (void)stream;
    (void)mode;
    capturing = calloc(1, sizeof *capturing);
    return capturing ? 0 : 2;
}

EXPORT int cuStreamEndCapture(void *stream, void **captured);
int cuStreamEndCapture(void *stream, void **captured) {
    (void)stream;
    *captured = capturing;
    capturing = NULL;
    return 0;
}

EXPORT int cuGraphInstantiateWithFlags(void **exec, void *captured,
                                       unsigned long long flags);
int cuGraphInstantiateWithFlags(void **exec, void *captured, unsigned long long flags) {
    (void)flags;
    *exec = captured;
    return 0;
}

EXPORT int cuGraphExecDestroy(void *exec);
int cuGraphExecDestroy(void *exec) {
    free(exec);
    return 0;
}

EXPORT int cuGraphLaunch(const graph *exec, void *stream);
int cuGraphLaunch(const graph *exec, void *stream) {
    (void)stream;
    for (int i = 0; i < exec->count; i++) {
        const launch *l = &exec->launches[i];
        emulated_launch(l->kernel, l->grid, l->block, l->arguments);
    }
    return 0;
}

#else

QUIET(cuModuleGetFunction)
QUIET(cuLaunchKernel)
QUIET(cuStreamBeginCapture_v2)
QUIET(cuStreamEndCapture)
QUIET(cuGraphInstantiateWithFlags)
QUIET(cuGraphExecDestroy)
QUIET(cuGraphLaunch)

#endif

/* ---- The compiler ---- */

EXPORT int nvrtcCompileProgram(void);
int nvrtcCompileProgram(void) {
    return is("uncompilable") ? 6 : 0;
}

EXPORT int nvrtcGetProgramLogSize(void *program, size_t *size);
int nvrtcGetProgramLogSize(void *program, size_t *size) {
    (void)program;
    *size = 64;
    return 0;
}

EXPORT int nvrtcGetProgramLog(void *program, char *text);
int nvrtcGetProgramLog(void *program, char *text) {
    (void)program;
    strcpy(text, "a note\ncommon.hip(7): error: nonsense\n");
    return 0;
}

EXPORT int nvrtcGetCUBINSize(void *program, size_t *size);
int nvrtcGetCUBINSize(void *program, size_t *size) {
    (void)program;
    *size = 1;
    return 0;
}

EXPORT const char *nvrtcGetErrorString(int code);
const char *nvrtcGetErrorString(int code) {
    return code == 6 ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR";
}

EXPORT int nvrtcVersion(int *major, int *minor);
int nvrtcVersion(int *major, int *minor) {
    *major = 13;
    *minor = 0;
    return 0;
}

QUIET(nvrtcCreateProgram)
QUIET(nvrtcGetCUBIN)
QUIET(nvrtcDestroyProgram)
