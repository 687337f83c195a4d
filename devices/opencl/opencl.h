/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Private to devices/opencl: the library's functions, and what is behind the opaque handles
 * of gpu_driver.h. */
#ifndef GDN_OPENCL_H
#define GDN_OPENCL_H

#define CL_TARGET_OPENCL_VERSION          210
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS /* clCreateCommandQueue: 1.2 devices too */
#include <CL/cl.h>

#include "gpu.h"

#define OPENCL_FUNCTIONS(X)                                                                \
    X(clGetPlatformIDs)                                                                    \
    X(clGetPlatformInfo)                                                                   \
    X(clGetDeviceIDs)                                                                      \
    X(clGetDeviceInfo)                                                                     \
    X(clCreateContext)                                                                     \
    X(clReleaseContext)                                                                    \
    X(clCreateCommandQueue)                                                                \
    X(clReleaseCommandQueue)                                                               \
    X(clCreateBuffer)                                                                      \
    X(clReleaseMemObject)                                                                  \
    X(clEnqueueWriteBuffer)                                                                \
    X(clEnqueueReadBuffer)                                                                 \
    X(clCreateProgramWithSource)                                                           \
    X(clBuildProgram)                                                                      \
    X(clGetProgramBuildInfo)                                                               \
    X(clReleaseProgram)                                                                    \
    X(clCreateKernel)                                                                      \
    X(clReleaseKernel)                                                                     \
    X(clSetKernelArg)                                                                      \
    X(clEnqueueNDRangeKernel)                                                              \
    X(clEnqueueMarkerWithWaitList)                                                         \
    X(clGetEventProfilingInfo)                                                             \
    X(clReleaseEvent)                                                                      \
    X(clFinish)

typedef struct opencl_library {
#define OPENCL_MEMBER(name) __typeof__(&name) name;
    OPENCL_FUNCTIONS(OPENCL_MEMBER)
#undef OPENCL_MEMBER
    /* OpenCL 2.1's, which libraries for older devices lack; NULL then. */
    __typeof__(&clCreateProgramWithIL) clCreateProgramWithIL;
} opencl_library;

extern opencl_library cl;

/* Kernels of a module that were asked for. */
#define OPENCL_MAX_KERNELS 64

typedef struct opencl_kernel {
    char name[64];
    cl_kernel kernel;
} opencl_kernel;

typedef struct opencl_module {
    cl_program program;
    opencl_kernel kernels[OPENCL_MAX_KERNELS];
    int count;
} opencl_module;

typedef struct opencl_context {
    cl_context context;
    cl_device_id device;
    cl_command_queue queue; /* in order */
} opencl_context;

/* The devices of all platforms, in the loader's order; NULL behind the last. */
cl_device_id opencl_device(int ordinal);

#endif
