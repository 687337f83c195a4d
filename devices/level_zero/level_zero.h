/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Private to devices/level_zero: the loader's functions, and what is behind the opaque
 * handles of gpu_driver.h. */
#ifndef GDN_LEVEL_ZERO_H
#define GDN_LEVEL_ZERO_H

#include <level_zero/ze_api.h>

#include "gpu.h"

#define LEVEL_ZERO_FUNCTIONS(X)                                                            \
    X(zeInit)                                                                              \
    X(zeDriverGet)                                                                         \
    X(zeDriverGetApiVersion)                                                               \
    X(zeDriverGetProperties)                                                               \
    X(zeDeviceGet)                                                                         \
    X(zeDeviceGetSubDevices)                                                               \
    X(zeDeviceGetProperties)                                                               \
    X(zeDeviceGetMemoryProperties)                                                         \
    X(zeDeviceGetModuleProperties)                                                         \
    X(zeDeviceGetCommandQueueGroupProperties)                                              \
    X(zeContextCreate)                                                                     \
    X(zeContextDestroy)                                                                    \
    X(zeCommandQueueCreate)                                                                \
    X(zeCommandQueueDestroy)                                                               \
    X(zeCommandQueueExecuteCommandLists)                                                   \
    X(zeCommandQueueSynchronize)                                                           \
    X(zeCommandListCreate)                                                                 \
    X(zeCommandListCreateImmediate)                                                        \
    X(zeCommandListDestroy)                                                                \
    X(zeCommandListClose)                                                                  \
    X(zeCommandListAppendBarrier)                                                          \
    X(zeCommandListAppendMemoryCopy)                                                       \
    X(zeCommandListAppendLaunchKernel)                                                     \
    X(zeEventPoolCreate)                                                                   \
    X(zeEventPoolDestroy)                                                                  \
    X(zeEventCreate)                                                                       \
    X(zeEventDestroy)                                                                      \
    X(zeEventHostSynchronize)                                                              \
    X(zeEventHostReset)                                                                    \
    X(zeEventQueryKernelTimestamp)                                                         \
    X(zeMemAllocDevice)                                                                    \
    X(zeMemAllocShared)                                                                    \
    X(zeMemFree)                                                                           \
    X(zeMemGetAddressRange)                                                                \
    X(zeModuleCreate)                                                                      \
    X(zeModuleDestroy)                                                                     \
    X(zeModuleBuildLogGetString)                                                           \
    X(zeModuleBuildLogDestroy)                                                             \
    X(zeKernelCreate)                                                                      \
    X(zeKernelDestroy)                                                                     \
    X(zeKernelSetGroupSize)                                                                \
    X(zeKernelSetArgumentValue)

typedef struct level_zero_library {
#define LEVEL_ZERO_MEMBER(name) __typeof__(&name) name;
    LEVEL_ZERO_FUNCTIONS(LEVEL_ZERO_MEMBER)
#undef LEVEL_ZERO_MEMBER
} level_zero_library;

extern level_zero_library ze;

/* A device as an ordinal names it: those of all drivers, then their tiles. */
typedef struct level_zero_device {
    ze_driver_handle_t driver;
    ze_device_handle_t device;
    int of, tile; /* ordinal of the device that this is a tile of, and its number; -1 */
} level_zero_device;

/* NULL behind the last. */
const level_zero_device *level_zero_device_at(int ordinal);

/* What the options say, for the next context. */
typedef struct level_zero_settings {
    bool regular; /* regular command lists on a queue, else an immediate one */
    bool shared;  /* memory that the host maps, else the device's and copies */
} level_zero_settings;

extern level_zero_settings level_zero_next;

enum { LEVEL_ZERO_EVENTS = 4, LEVEL_ZERO_MAX_KERNELS = 64 };

typedef struct level_zero_kernel {
    char name[64];
    ze_kernel_handle_t kernel;
} level_zero_kernel;

typedef struct level_zero_module {
    ze_module_handle_t module;
    level_zero_kernel kernels[LEVEL_ZERO_MAX_KERNELS];
    int count;
} level_zero_module;

/* Also the stream: there is one. */
typedef struct level_zero_context {
    const level_zero_device *device;
    level_zero_settings settings;
    ze_context_handle_t context;
    ze_command_queue_handle_t queue;    /* of regular lists, else NULL */
    ze_command_list_handle_t immediate; /* of launches, else NULL */
    ze_command_list_handle_t copies;    /* immediate, of a copy engine if there is one */
    ze_command_list_handle_t capturing; /* regular and open, or NULL */
    ze_event_pool_handle_t pool;
    ze_event_handle_t done; /* of the last copy, or of all before a synchronisation */
    uint32_t compute, copy; /* ordinals of the queue groups */
    uint32_t events;        /* taken from the pool */
    uint64_t nanoseconds;   /* of a timestamp's tick */
    uint64_t timestamps;    /* mask of their valid bits */
    size_t allocated;
} level_zero_context;

/* The one that was set last. */
level_zero_context *level_zero_current(void);

void level_zero_module_destroy(level_zero_module *module);

#endif
