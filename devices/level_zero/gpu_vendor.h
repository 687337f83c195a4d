/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Level Zero's names. The GPU_NAME_ are what messages blame: the call that each function of
 * level_zero_driver.c comes down to. */
#ifndef GDN_GPU_VENDOR_H
#define GDN_GPU_VENDOR_H

/* The driver's functions are ours, and kernels get arena and scratch memory as arguments. */
#define GPU_LINKED 1

/* A graph is a regular command list that is closed once and executed again. */
#define GPU_GRAPHS 1

#define GPU_DEVICE "level_zero"
#define GPU_OPTIONS                                                                        \
    "graph=0|1, repeat=0..10000, memory=device|shared, package=DIR or driver=PATH"

#define GPU_TARGET_BY_CAPABILITY 0
#define GPU_CAPTURE_RELAXED      0

#define GPU_NAME_init                 "zeInit"
#define GPU_NAME_device_count         "zeDeviceGet"
#define GPU_NAME_device_get           "zeDeviceGet"
#define GPU_NAME_context_retain       "zeContextCreate"
#define GPU_NAME_context_set          "zeContextCreate"
#define GPU_NAME_memory_alloc         "zeMemAlloc"
#define GPU_NAME_memory_free          "zeMemFree"
#define GPU_NAME_memory_info          "zeDeviceGetMemoryProperties"
#define GPU_NAME_copy_in              "zeCommandListAppendMemoryCopy"
#define GPU_NAME_copy_out             "zeCommandListAppendMemoryCopy"
#define GPU_NAME_stream_create        "zeCommandListCreateImmediate"
#define GPU_NAME_stream_synchronize   "zeEventHostSynchronize"
#define GPU_NAME_stream_capture_begin "zeCommandListCreate"
#define GPU_NAME_stream_capture_end   "zeCommandListClose"
#define GPU_NAME_graph_instantiate    "zeCommandListClose"
#define GPU_NAME_graph_destroy        "zeCommandListDestroy"
#define GPU_NAME_graph_exec_destroy   "zeCommandListDestroy"
#define GPU_NAME_graph_launch         "zeCommandQueueExecuteCommandLists"
#define GPU_NAME_event_create         "zeEventCreate"
#define GPU_NAME_event_record         "zeCommandListAppendBarrier"
#define GPU_NAME_event_elapsed        "zeEventQueryKernelTimestamp"

#endif
