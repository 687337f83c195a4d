/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* HIP's names, as in ROCm 5.2 and later, and hiprtc. Numbers are those of hip_runtime_api.h
 * (test_hip_names compares them where the package is installed). */
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

#define GPU_DEVICE    "hip"
#define GPU_LIBRARIES "libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5"
#define GPU_COMPILER  "hiprtc"
/* Up to ROCm 5 the compiler is inside the runtime. */
#define GPU_COMPILER_LIBRARIES "libhiprtc.so.7", "libhiprtc.so.6", "libamdhip64.so.5"
#define GPU_DEFINE             "-DGDN_HIP"
#define GPU_MODULE_VERSION     "/sys/module/amdgpu/version"

/* hiprtc compiles for the current device if it is told no target. */
#define GPU_TARGET_BY_CAPABILITY 0

#define GPU_ATTRIBUTE_WARP            87
#define GPU_ATTRIBUTE_MULTIPROCESSORS 63
#define GPU_ATTRIBUTE_MAJOR           23
#define GPU_ATTRIBUTE_MINOR           61

#define GPU_CAPTURE_RELAXED 2

#define GPU_NAME_init                 "hipInit"
#define GPU_NAME_driver_version       "hipDriverGetVersion"
#define GPU_NAME_device_count         "hipGetDeviceCount"
#define GPU_NAME_device_get           "hipDeviceGet"
#define GPU_NAME_device_name          "hipDeviceGetName"
#define GPU_NAME_device_attribute     "hipDeviceGetAttribute"
#define GPU_NAME_device_pci_bus_id    "hipDeviceGetPCIBusId"
#define GPU_NAME_device_uuid          "hipDeviceGetUuid"
#define GPU_NAME_context_retain       "hipDevicePrimaryCtxRetain"
#define GPU_NAME_context_set          "hipCtxSetCurrent"
#define GPU_NAME_module_load          "hipModuleLoadData"
#define GPU_NAME_module_function      "hipModuleGetFunction"
#define GPU_NAME_memory_alloc         "hipMalloc"
#define GPU_NAME_memory_free          "hipFree"
#define GPU_NAME_memory_info          "hipMemGetInfo"
#define GPU_NAME_copy_in              "hipMemcpyHtoD"
#define GPU_NAME_copy_out             "hipMemcpyDtoH"
#define GPU_NAME_launch               "hipModuleLaunchKernel"
#define GPU_NAME_stream_create        "hipStreamCreateWithFlags"
#define GPU_NAME_stream_synchronize   "hipStreamSynchronize"
#define GPU_NAME_stream_capture_begin "hipStreamBeginCapture"
#define GPU_NAME_stream_capture_end   "hipStreamEndCapture"
#define GPU_NAME_graph_instantiate    "hipGraphInstantiateWithFlags"
#define GPU_NAME_graph_destroy        "hipGraphDestroy"
#define GPU_NAME_graph_exec_destroy   "hipGraphExecDestroy"
#define GPU_NAME_graph_launch         "hipGraphLaunch"
#define GPU_NAME_event_create         "hipEventCreateWithFlags"
#define GPU_NAME_event_record         "hipEventRecord"
#define GPU_NAME_event_elapsed        "hipEventElapsedTime"

#define GPU_ERROR_NAME "hipGetErrorName"

#define GPU_COMPILE_CREATE    "hiprtcCreateProgram"
#define GPU_COMPILE_RUN       "hiprtcCompileProgram"
#define GPU_COMPILE_LOG_SIZE  "hiprtcGetProgramLogSize"
#define GPU_COMPILE_LOG       "hiprtcGetProgramLog"
#define GPU_COMPILE_CODE_SIZE "hiprtcGetCodeSize"
#define GPU_COMPILE_CODE      "hiprtcGetCode"
#define GPU_COMPILE_DESTROY   "hiprtcDestroyProgram"
#define GPU_COMPILE_VERSION   "hiprtcVersion"
#define GPU_COMPILE_ERROR     "hiprtcGetErrorString"

#endif
