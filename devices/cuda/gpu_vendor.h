/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* CUDA's names: the driver API by its exported symbols (CUDA 12 and 13; a symbol with _v2
 * is what the header's plain name means there), and NVRTC. Numbers are those of cuda.h. */
#ifndef GDN_GPU_VENDOR_H
#define GDN_GPU_VENDOR_H

/* The driver's functions are resolved by name, and kernels take addresses as they are. */
#define GPU_LINKED 0
#define GPU_GRAPHS 1
#define GPU_OPTIONS                                                                        \
    "graph=0|1, mma=0|1, repeat=0..10000, source=DIR, package=DIR, driver=PATH, rtc=PATH " \
    "or "                                                                                  \
    "target=NAME"

/* The kernels are devices/kernels' .hip files, which do more than those in OpenCL C: draft
 * verification, matrix units. */
#define GPU_KERNELS_HIP

#define GPU_DEVICE    "cuda"
#define GPU_LIBRARIES "libcuda.so.1"
#define GPU_COMPILER  "NVRTC"
#define GPU_COMPILER_LIBRARIES                                                             \
    "libnvrtc.so.13", "libnvrtc.so.12", "/usr/local/cuda/lib64/libnvrtc.so.13",            \
        "/usr/local/cuda/lib64/libnvrtc.so.12"
#define GPU_DEFINE         "-DGDN_CUDA"
#define GPU_MODULE_VERSION "/sys/module/nvidia/version"

/* sm_90 is the name of a target; what runs on gfx1030 is not told by two numbers. */
#define GPU_TARGET_BY_CAPABILITY 1

#define GPU_ATTRIBUTE_WARP            10
#define GPU_ATTRIBUTE_MULTIPROCESSORS 16
#define GPU_ATTRIBUTE_MAJOR           75
#define GPU_ATTRIBUTE_MINOR           76

#define GPU_CAPTURE_RELAXED 2

#define GPU_NAME_init                 "cuInit"
#define GPU_NAME_driver_version       "cuDriverGetVersion"
#define GPU_NAME_device_count         "cuDeviceGetCount"
#define GPU_NAME_device_get           "cuDeviceGet"
#define GPU_NAME_device_name          "cuDeviceGetName"
#define GPU_NAME_device_attribute     "cuDeviceGetAttribute"
#define GPU_NAME_device_pci_bus_id    "cuDeviceGetPCIBusId"
#define GPU_NAME_device_uuid          "cuDeviceGetUuid_v2"
#define GPU_NAME_context_retain       "cuDevicePrimaryCtxRetain"
#define GPU_NAME_context_set          "cuCtxSetCurrent"
#define GPU_NAME_module_load          "cuModuleLoadData"
#define GPU_NAME_module_function      "cuModuleGetFunction"
#define GPU_NAME_memory_alloc         "cuMemAlloc_v2"
#define GPU_NAME_memory_free          "cuMemFree_v2"
#define GPU_NAME_memory_info          "cuMemGetInfo_v2"
#define GPU_NAME_copy_in              "cuMemcpyHtoD_v2"
#define GPU_NAME_copy_out             "cuMemcpyDtoH_v2"
#define GPU_NAME_launch               "cuLaunchKernel"
#define GPU_NAME_stream_create        "cuStreamCreate"
#define GPU_NAME_stream_synchronize   "cuStreamSynchronize"
#define GPU_NAME_stream_capture_begin "cuStreamBeginCapture_v2"
#define GPU_NAME_stream_capture_end   "cuStreamEndCapture"
#define GPU_NAME_graph_instantiate    "cuGraphInstantiateWithFlags"
#define GPU_NAME_graph_destroy        "cuGraphDestroy"
#define GPU_NAME_graph_exec_destroy   "cuGraphExecDestroy"
#define GPU_NAME_graph_launch         "cuGraphLaunch"
#define GPU_NAME_event_create         "cuEventCreate"
#define GPU_NAME_event_record         "cuEventRecord"
#define GPU_NAME_event_elapsed        "cuEventElapsedTime"

/* Writes the name of an error through its second argument; HIP returns it. */
#define GPU_ERROR_NAME "cuGetErrorName"
#define GPU_ERROR_NAME_BY_POINTER

#define GPU_COMPILE_CREATE    "nvrtcCreateProgram"
#define GPU_COMPILE_RUN       "nvrtcCompileProgram"
#define GPU_COMPILE_LOG_SIZE  "nvrtcGetProgramLogSize"
#define GPU_COMPILE_LOG       "nvrtcGetProgramLog"
#define GPU_COMPILE_CODE_SIZE "nvrtcGetCUBINSize"
#define GPU_COMPILE_CODE      "nvrtcGetCUBIN"
#define GPU_COMPILE_DESTROY   "nvrtcDestroyProgram"
#define GPU_COMPILE_VERSION   "nvrtcVersion"
#define GPU_COMPILE_ERROR     "nvrtcGetErrorString"

#endif
