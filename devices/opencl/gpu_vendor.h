/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* OpenCL's names. The GPU_NAME_ are what messages blame: the call that each function of
 * opencl_driver.c comes down to. */
#ifndef GDN_GPU_VENDOR_H
#define GDN_GPU_VENDOR_H

/* The driver's functions are ours, and kernels get arena and scratch memory as arguments. */
#define GPU_LINKED 1

/* Command buffers are an extension that few devices have. */
#define GPU_GRAPHS 0

#define GPU_DEVICE  "opencl"
#define GPU_OPTIONS "repeat=0..10000, source=DIR or driver=PATH"

#define GPU_TARGET_BY_CAPABILITY 0

#define GPU_NAME_init               "clGetPlatformIDs"
#define GPU_NAME_device_count       "clGetDeviceIDs"
#define GPU_NAME_device_get         "clGetDeviceIDs"
#define GPU_NAME_context_retain     "clCreateContext"
#define GPU_NAME_context_set        "clCreateContext"
#define GPU_NAME_memory_alloc       "clCreateBuffer"
#define GPU_NAME_memory_free        "clReleaseMemObject"
#define GPU_NAME_memory_info        "clGetDeviceInfo"
#define GPU_NAME_copy_in            "clEnqueueWriteBuffer"
#define GPU_NAME_copy_out           "clEnqueueReadBuffer"
#define GPU_NAME_stream_create      "clCreateCommandQueue"
#define GPU_NAME_stream_synchronize "clFinish"
#define GPU_NAME_event_create       "clEnqueueMarkerWithWaitList"
#define GPU_NAME_event_record       "clEnqueueMarkerWithWaitList"
#define GPU_NAME_event_elapsed      "clGetEventProfilingInfo"

#endif
