/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What the loader asks a driver for: its tables. An entry that the driver lacks says so
 * by its name when it is called. */
#include <string.h>

#include "test_driver.h"

#define EXPORT __attribute__((visibility("default")))

void device_fill_tables(ze_global_dditable_t *global, ze_driver_dditable_t *driver,
                        ze_device_dditable_t *device, ze_context_dditable_t *context);
void lists_fill_tables(ze_command_list_dditable_t *lists,
                       ze_command_queue_dditable_t *queues, ze_event_pool_dditable_t *pools,
                       ze_event_dditable_t *events);
void memory_fill_table(ze_mem_dditable_t *table);
void module_fill_tables(ze_module_dditable_t *modules, ze_module_build_log_dditable_t *logs,
                        ze_kernel_dditable_t *kernels);

/* X(object, entry): those of each table that the driver lacks. */
#define GLOBAL_LACKS(X)
#define DRIVER_LACKS(X)                                                                    \
    X(Driver, GetIpcProperties)                                                            \
    X(Driver, GetExtensionProperties)                                                      \
    X(Driver, GetExtensionFunctionAddress)
#define DEVICE_LACKS(X)                                                                    \
    X(Device, GetComputeProperties)                                                        \
    X(Device, GetMemoryAccessProperties)                                                   \
    X(Device, GetCacheProperties)                                                          \
    X(Device, GetImageProperties)                                                          \
    X(Device, GetExternalMemoryProperties)                                                 \
    X(Device, GetP2PProperties)                                                            \
    X(Device, CanAccessPeer)                                                               \
    X(Device, GetStatus)                                                                   \
    X(Device, GetGlobalTimestamps)                                                         \
    X(Device, ReserveCacheExt)                                                             \
    X(Device, SetCacheAdviceExt)                                                           \
    X(Device, PciGetPropertiesExt)
#define DEVICE_EXP_LACKS(X) X(DeviceExp, GetFabricVertexExp)
#define CONTEXT_LACKS(X)                                                                   \
    X(Context, GetStatus)                                                                  \
    X(Context, SystemBarrier)                                                              \
    X(Context, MakeMemoryResident)                                                         \
    X(Context, EvictMemory)                                                                \
    X(Context, MakeImageResident)                                                          \
    X(Context, EvictImage)                                                                 \
    X(Context, CreateEx)
#define COMMAND_QUEUE_LACKS(X)
#define COMMAND_LIST_LACKS(X)                                                              \
    X(CommandList, Reset)                                                                  \
    X(CommandList, AppendWriteGlobalTimestamp)                                             \
    X(CommandList, AppendMemoryRangesBarrier)                                              \
    X(CommandList, AppendMemoryFill)                                                       \
    X(CommandList, AppendMemoryCopyRegion)                                                 \
    X(CommandList, AppendMemoryCopyFromContext)                                            \
    X(CommandList, AppendImageCopy)                                                        \
    X(CommandList, AppendImageCopyRegion)                                                  \
    X(CommandList, AppendImageCopyToMemory)                                                \
    X(CommandList, AppendImageCopyFromMemory)                                              \
    X(CommandList, AppendMemoryPrefetch)                                                   \
    X(CommandList, AppendMemAdvise)                                                        \
    X(CommandList, AppendSignalEvent)                                                      \
    X(CommandList, AppendWaitOnEvents)                                                     \
    X(CommandList, AppendEventReset)                                                       \
    X(CommandList, AppendQueryKernelTimestamps)                                            \
    X(CommandList, AppendLaunchCooperativeKernel)                                          \
    X(CommandList, AppendLaunchKernelIndirect)                                             \
    X(CommandList, AppendLaunchMultipleKernelsIndirect)                                    \
    X(CommandList, AppendImageCopyToMemoryExt)                                             \
    X(CommandList, AppendImageCopyFromMemoryExt)
#define IMAGE_LACKS(X)                                                                     \
    X(Image, GetProperties)                                                                \
    X(Image, Create)                                                                       \
    X(Image, Destroy)                                                                      \
    X(Image, GetAllocPropertiesExt)
#define IMAGE_EXP_LACKS(X)                                                                 \
    X(ImageExp, GetMemoryPropertiesExp)                                                    \
    X(ImageExp, ViewCreateExp)
#define FENCE_LACKS(X)                                                                     \
    X(Fence, Create)                                                                       \
    X(Fence, Destroy)                                                                      \
    X(Fence, HostSynchronize)                                                              \
    X(Fence, QueryStatus)                                                                  \
    X(Fence, Reset)
#define EVENT_POOL_LACKS(X)                                                                \
    X(EventPool, GetIpcHandle)                                                             \
    X(EventPool, OpenIpcHandle)                                                            \
    X(EventPool, CloseIpcHandle)
#define EVENT_LACKS(X)                                                                     \
    X(Event, HostSignal)                                                                   \
    X(Event, QueryStatus)
#define EVENT_EXP_LACKS(X) X(EventExp, QueryTimestampsExp)
#define MODULE_LACKS(X)                                                                    \
    X(Module, DynamicLink)                                                                 \
    X(Module, GetNativeBinary)                                                             \
    X(Module, GetGlobalPointer)                                                            \
    X(Module, GetKernelNames)                                                              \
    X(Module, GetProperties)                                                               \
    X(Module, GetFunctionPointer)                                                          \
    X(Module, InspectLinkageExt)
#define MODULE_BUILD_LOG_LACKS(X)
#define KERNEL_LACKS(X)                                                                    \
    X(Kernel, SetCacheConfig)                                                              \
    X(Kernel, SuggestGroupSize)                                                            \
    X(Kernel, SuggestMaxCooperativeGroupCount)                                             \
    X(Kernel, SetIndirectAccess)                                                           \
    X(Kernel, GetIndirectAccess)                                                           \
    X(Kernel, GetSourceAttributes)                                                         \
    X(Kernel, GetProperties)                                                               \
    X(Kernel, GetName)
#define KERNEL_EXP_LACKS(X)                                                                \
    X(KernelExp, SetGlobalOffsetExp)                                                       \
    X(KernelExp, SchedulingHintExp)
#define SAMPLER_LACKS(X)                                                                   \
    X(Sampler, Create)                                                                     \
    X(Sampler, Destroy)
#define PHYSICAL_MEM_LACKS(X)                                                              \
    X(PhysicalMem, Create)                                                                 \
    X(PhysicalMem, Destroy)
#define MEM_LACKS(X)                                                                       \
    X(Mem, AllocHost)                                                                      \
    X(Mem, GetAllocProperties)                                                             \
    X(Mem, GetIpcHandle)                                                                   \
    X(Mem, OpenIpcHandle)                                                                  \
    X(Mem, CloseIpcHandle)                                                                 \
    X(Mem, FreeExt)
#define VIRTUAL_MEM_LACKS(X)                                                               \
    X(VirtualMem, Reserve)                                                                 \
    X(VirtualMem, Free)                                                                    \
    X(VirtualMem, QueryPageSize)                                                           \
    X(VirtualMem, Map)                                                                     \
    X(VirtualMem, Unmap)                                                                   \
    X(VirtualMem, SetAccessAttribute)                                                      \
    X(VirtualMem, GetAccessAttribute)
#define FABRIC_VERTEX_EXP_LACKS(X)                                                         \
    X(FabricVertexExp, GetExp)                                                             \
    X(FabricVertexExp, GetSubVerticesExp)                                                  \
    X(FabricVertexExp, GetPropertiesExp)                                                   \
    X(FabricVertexExp, GetDeviceExp)
#define FABRIC_EDGE_EXP_LACKS(X)                                                           \
    X(FabricEdgeExp, GetExp)                                                               \
    X(FabricEdgeExp, GetVerticesExp)                                                       \
    X(FabricEdgeExp, GetPropertiesExp)

#define REFUSAL(object, entry)                                                             \
    static ze_result_t refuse_##object##entry(void) {                                      \
        return refuse(ZE_RESULT_ERROR_UNSUPPORTED_FEATURE, "ze" #object #entry,            \
                      "the test driver has no such entry point");                          \
    }
#define LACK(object, entry)                                                                \
    table->pfn##entry =                                                                    \
        (__typeof__(table->pfn##entry))(void (*)(void))refuse_##object##entry;

GLOBAL_LACKS(REFUSAL)
DRIVER_LACKS(REFUSAL)
DEVICE_LACKS(REFUSAL)
DEVICE_EXP_LACKS(REFUSAL)
CONTEXT_LACKS(REFUSAL)
COMMAND_QUEUE_LACKS(REFUSAL)
COMMAND_LIST_LACKS(REFUSAL)
IMAGE_LACKS(REFUSAL)
IMAGE_EXP_LACKS(REFUSAL)
FENCE_LACKS(REFUSAL)
EVENT_POOL_LACKS(REFUSAL)
EVENT_LACKS(REFUSAL)
EVENT_EXP_LACKS(REFUSAL)
MODULE_LACKS(REFUSAL)
MODULE_BUILD_LOG_LACKS(REFUSAL)
KERNEL_LACKS(REFUSAL)
KERNEL_EXP_LACKS(REFUSAL)
SAMPLER_LACKS(REFUSAL)
PHYSICAL_MEM_LACKS(REFUSAL)
MEM_LACKS(REFUSAL)
VIRTUAL_MEM_LACKS(REFUSAL)
FABRIC_VERTEX_EXP_LACKS(REFUSAL)
FABRIC_EDGE_EXP_LACKS(REFUSAL)

#define TABLE(name, type, lacks, fill)                                                     \
    EXPORT ze_result_t zeGet##name##ProcAddrTable(ze_api_version_t version, type *table);  \
    ze_result_t zeGet##name##ProcAddrTable(ze_api_version_t version, type *table) {        \
        (void)version;                                                                     \
        memset(table, 0, sizeof *table);                                                   \
        lacks(LACK) fill return ZE_RESULT_SUCCESS;                                         \
    }

TABLE(Global, ze_global_dditable_t, GLOBAL_LACKS,
      device_fill_tables(table, NULL, NULL, NULL);)
TABLE(Driver, ze_driver_dditable_t, DRIVER_LACKS,
      device_fill_tables(NULL, table, NULL, NULL);)
TABLE(Device, ze_device_dditable_t, DEVICE_LACKS,
      device_fill_tables(NULL, NULL, table, NULL);)
TABLE(DeviceExp, ze_device_exp_dditable_t, DEVICE_EXP_LACKS, )
TABLE(Context, ze_context_dditable_t, CONTEXT_LACKS,
      device_fill_tables(NULL, NULL, NULL, table);)
TABLE(CommandQueue, ze_command_queue_dditable_t, COMMAND_QUEUE_LACKS,
      lists_fill_tables(NULL, table, NULL, NULL);)
TABLE(CommandList, ze_command_list_dditable_t, COMMAND_LIST_LACKS,
      lists_fill_tables(table, NULL, NULL, NULL);)
TABLE(Image, ze_image_dditable_t, IMAGE_LACKS, )
TABLE(ImageExp, ze_image_exp_dditable_t, IMAGE_EXP_LACKS, )
TABLE(Fence, ze_fence_dditable_t, FENCE_LACKS, )
TABLE(EventPool, ze_event_pool_dditable_t, EVENT_POOL_LACKS,
      lists_fill_tables(NULL, NULL, table, NULL);)
TABLE(Event, ze_event_dditable_t, EVENT_LACKS, lists_fill_tables(NULL, NULL, NULL, table);)
TABLE(EventExp, ze_event_exp_dditable_t, EVENT_EXP_LACKS, )
TABLE(Module, ze_module_dditable_t, MODULE_LACKS, module_fill_tables(table, NULL, NULL);)
TABLE(ModuleBuildLog, ze_module_build_log_dditable_t, MODULE_BUILD_LOG_LACKS,
      module_fill_tables(NULL, table, NULL);)
TABLE(Kernel, ze_kernel_dditable_t, KERNEL_LACKS, module_fill_tables(NULL, NULL, table);)
TABLE(KernelExp, ze_kernel_exp_dditable_t, KERNEL_EXP_LACKS, )
TABLE(Sampler, ze_sampler_dditable_t, SAMPLER_LACKS, )
TABLE(PhysicalMem, ze_physical_mem_dditable_t, PHYSICAL_MEM_LACKS, )
TABLE(Mem, ze_mem_dditable_t, MEM_LACKS, memory_fill_table(table);)
TABLE(VirtualMem, ze_virtual_mem_dditable_t, VIRTUAL_MEM_LACKS, )
TABLE(FabricVertexExp, ze_fabric_vertex_exp_dditable_t, FABRIC_VERTEX_EXP_LACKS, )
TABLE(FabricEdgeExp, ze_fabric_edge_exp_dditable_t, FABRIC_EDGE_EXP_LACKS, )

/* The loader wants the tables of tools and system management too; they stay empty. */
#define EMPTY(prefix, name)                                                                \
    EXPORT ze_result_t prefix##Get##name##ProcAddrTable(ze_api_version_t version,          \
                                                        void *table);                      \
    ze_result_t prefix##Get##name##ProcAddrTable(ze_api_version_t version, void *table) {  \
        (void)version;                                                                     \
        (void)table;                                                                       \
        return ZE_RESULT_SUCCESS;                                                          \
    }

EMPTY(zet, Device)
EMPTY(zet, Context)
EMPTY(zet, CommandList)
EMPTY(zet, Module)
EMPTY(zet, Kernel)
EMPTY(zet, MetricGroup)
EMPTY(zet, MetricGroupExp)
EMPTY(zet, Metric)
EMPTY(zet, MetricStreamer)
EMPTY(zet, MetricQueryPool)
EMPTY(zet, MetricQuery)
EMPTY(zet, TracerExp)
EMPTY(zet, Debug)
EMPTY(zes, Driver)
EMPTY(zes, Device)
EMPTY(zes, Scheduler)
EMPTY(zes, PerformanceFactor)
EMPTY(zes, Power)
EMPTY(zes, Frequency)
EMPTY(zes, Engine)
EMPTY(zes, Standby)
EMPTY(zes, Firmware)
EMPTY(zes, Memory)
EMPTY(zes, FabricPort)
EMPTY(zes, Temperature)
EMPTY(zes, Psu)
EMPTY(zes, Fan)
EMPTY(zes, Led)
EMPTY(zes, Ras)
EMPTY(zes, Diagnostics)
