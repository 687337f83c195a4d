/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* OpenCL in the shape of gpu_driver.h. An address is a buffer, which kernels get whole. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu_vendor.h"
#include "opencl.h"

enum { MAX_DEVICES = 64 };

opencl_library cl;

static cl_device_id devices[MAX_DEVICES];
static int devices_count;
static opencl_context *current;

gdn_status gpu_linked_open(void **library, const char *path, gdn_error *err) {
    static const char *const NAMES[] = {"libOpenCL.so.1", NULL};
    GDN_TRY(gpu_library_open(library, path, NAMES, err));
#define RESOLVE(name) GDN_TRY(gpu_library_symbol(*library, #name, &cl.name, err));
    OPENCL_FUNCTIONS(RESOLVE)
#undef RESOLVE
    void *create_with_il = dlsym(*library, "clCreateProgramWithIL");
    memcpy(&cl.clCreateProgramWithIL, &create_with_il, sizeof create_with_il);
    return GDN_OK;
}

const char *gpu_linked_error(int code) {
    static const struct {
        int code;
        const char *name;
    } NAMES[] = {
        {-1, "CL_DEVICE_NOT_FOUND"},
        {-2, "CL_DEVICE_NOT_AVAILABLE"},
        {-4, "CL_MEM_OBJECT_ALLOCATION_FAILURE"},
        {-5, "CL_OUT_OF_RESOURCES"},
        {-6, "CL_OUT_OF_HOST_MEMORY"},
        {-7, "CL_PROFILING_INFO_NOT_AVAILABLE"},
        {-11, "CL_BUILD_PROGRAM_FAILURE"},
        {-14, "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST"},
        {-30, "CL_INVALID_VALUE"},
        {-38, "CL_INVALID_MEM_OBJECT"},
        {-42, "CL_INVALID_BINARY"},
        {-45, "CL_INVALID_PROGRAM_EXECUTABLE"},
        {-46, "CL_INVALID_KERNEL_NAME"},
        {-48, "CL_INVALID_KERNEL"},
        {-49, "CL_INVALID_ARG_INDEX"},
        {-51, "CL_INVALID_ARG_SIZE"},
        {-52, "CL_INVALID_KERNEL_ARGS"},
        {-54, "CL_INVALID_WORK_GROUP_SIZE"},
        {-61, "CL_INVALID_BUFFER_SIZE"},
        {-1001, "CL_PLATFORM_NOT_FOUND_KHR"},
    };
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        if (NAMES[i].code == code) {
            return NAMES[i].name;
        }
    }
    return "";
}

int gpu_linked_init(unsigned flags) {
    (void)flags;
    cl_platform_id platforms[16];
    cl_uint count = 0;
    const int code = cl.clGetPlatformIDs(16, platforms, &count);
    if (code != CL_SUCCESS) {
        return code;
    }
    devices_count = 0;
    for (cl_uint i = 0; i < count && i < 16; i++) {
        cl_uint found = 0;
        const int room = MAX_DEVICES - devices_count;
        /* A platform without devices says so by an error. */
        if (cl.clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_ALL, (cl_uint)room,
                              devices + devices_count, &found) == CL_SUCCESS) {
            devices_count += (int)found < room ? (int)found : room;
        }
    }
    return 0;
}

int gpu_linked_device_count(int *count) {
    *count = devices_count;
    return 0;
}

int gpu_linked_device_get(int *device, int ordinal) {
    *device = ordinal;
    return 0;
}

cl_device_id opencl_device(int ordinal) {
    return ordinal < devices_count ? devices[ordinal] : NULL;
}

int gpu_linked_context_retain(void **context, int device) {
    opencl_context *c = calloc(1, sizeof *c);
    if (!c) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    cl_int code = CL_SUCCESS;
    c->device = opencl_device(device);
    c->context = cl.clCreateContext(NULL, 1, &c->device, NULL, NULL, &code);
    if (code != CL_SUCCESS) {
        free(c);
        return code;
    }
    *context = c;
    return 0;
}

int gpu_linked_context_set(void *context) {
    current = context;
    return 0;
}

int gpu_linked_module_function(void **function, void *module, const char *name) {
    opencl_module *m = module;
    for (int i = 0; i < m->count; i++) {
        if (strcmp(m->kernels[i].name, name) == 0) {
            *function = m->kernels[i].kernel;
            return 0;
        }
    }
    opencl_kernel *kernel = &m->kernels[m->count];
    if (m->count == OPENCL_MAX_KERNELS || strlen(name) >= sizeof kernel->name) {
        return CL_OUT_OF_RESOURCES;
    }
    cl_int code = CL_SUCCESS;
    kernel->kernel = cl.clCreateKernel(m->program, name, &code);
    if (code == CL_SUCCESS) {
        strcpy(kernel->name, name);
        m->count++;
        *function = kernel->kernel;
    }
    return code;
}

int gpu_linked_memory_alloc(gpu_address *address, size_t bytes) {
    cl_int code = CL_SUCCESS;
    cl_mem buffer =
        cl.clCreateBuffer(current->context, CL_MEM_READ_WRITE, bytes, NULL, &code);
    *address = code == CL_SUCCESS ? (gpu_address)(uintptr_t)buffer : 0;
    return code;
}

int gpu_linked_memory_free(gpu_address address) {
    return cl.clReleaseMemObject((cl_mem)(uintptr_t)address);
}

/* OpenCL does not tell what is free; a buffer that cannot be had says so. */
int gpu_linked_memory_info(size_t *available, size_t *total) {
    cl_ulong all = 0;
    const int code = cl.clGetDeviceInfo(current->device, CL_DEVICE_GLOBAL_MEM_SIZE,
                                        sizeof all, &all, NULL);
    *available = *total = (size_t)all;
    return code;
}

int gpu_linked_copy_in(gpu_address to, const void *from, size_t bytes) {
    return cl.clEnqueueWriteBuffer(current->queue, (cl_mem)(uintptr_t)to, CL_TRUE, 0, bytes,
                                   from, 0, NULL, NULL);
}

int gpu_linked_copy_out(void *to, gpu_address from, size_t bytes) {
    return cl.clEnqueueReadBuffer(current->queue, (cl_mem)(uintptr_t)from, CL_TRUE, 0,
                                  bytes, to, 0, NULL, NULL);
}

int gpu_linked_launch(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                      unsigned by, unsigned bz, unsigned shared, void *stream,
                      void **arguments, void **extra) {
    const size_t *sizes = (const size_t *)extra;
    (void)shared;
    for (cl_uint i = 0; sizes[i] > 0; i++) {
        const int code = cl.clSetKernelArg(function, i, sizes[i], arguments[i]);
        if (code != CL_SUCCESS) {
            return code;
        }
    }
    const size_t group[3] = {bx, by, bz};
    const size_t all[3] = {(size_t)gx * bx, (size_t)gy * by, (size_t)gz * bz};
    return cl.clEnqueueNDRangeKernel(stream, function, 3, NULL, all, group, 0, NULL, NULL);
}

int gpu_linked_stream_create(void **stream, unsigned flags) {
    (void)flags;
    cl_int code = CL_SUCCESS;
    current->queue = cl.clCreateCommandQueue(current->context, current->device,
                                             CL_QUEUE_PROFILING_ENABLE, &code);
    *stream = current->queue;
    return code;
}

int gpu_linked_stream_synchronize(void *stream) {
    return cl.clFinish(stream);
}

/* A place for the marker that the next record leaves. */
int gpu_linked_event_create(void **event, unsigned flags) {
    (void)flags;
    *event = calloc(1, sizeof(cl_event));
    return *event ? 0 : CL_OUT_OF_HOST_MEMORY;
}

int gpu_linked_event_record(void *event, void *stream) {
    cl_event *marker = event;
    if (*marker) {
        cl.clReleaseEvent(*marker);
        *marker = NULL;
    }
    return cl.clEnqueueMarkerWithWaitList(stream, 0, NULL, marker);
}

int gpu_linked_event_elapsed(float *milliseconds, void *start, void *end) {
    cl_ulong ns[2] = {0, 0};
    const cl_event *const events[] = {start, end};
    for (int i = 0; i < 2; i++) {
        const int code = cl.clGetEventProfilingInfo(*events[i], CL_PROFILING_COMMAND_END,
                                                    sizeof ns[i], &ns[i], NULL);
        if (code != CL_SUCCESS) {
            return code;
        }
    }
    *milliseconds = (float)((double)(ns[1] - ns[0]) * 1e-6);
    return 0;
}

static void release_module(opencl_module *module) {
    for (int i = 0; i < module->count; i++) {
        cl.clReleaseKernel(module->kernels[i].kernel);
    }
    cl.clReleaseProgram(module->program);
    free(module);
}

void gpu_linked_close(gdn_device *device) {
    opencl_context *context = device->context;
    void *const events[] = {device->started, device->ended};
    for (int i = 0; i < 2; i++) {
        if (events[i] && *(cl_event *)events[i]) {
            cl.clReleaseEvent(*(cl_event *)events[i]);
        }
        free(events[i]);
    }
    for (size_t i = 0; i < sizeof device->modules / sizeof device->modules[0]; i++) {
        if (device->modules[i]) {
            release_module(device->modules[i]);
        }
    }
    const gpu_address buffers[] = {device->arena.address, device->scratch.address};
    for (int i = 0; i < 2; i++) {
        if (buffers[i]) {
            gpu_linked_memory_free(buffers[i]);
        }
    }
    if (context) {
        cl.clReleaseCommandQueue(context->queue);
        cl.clReleaseContext(context->context);
        free(context);
    }
}
