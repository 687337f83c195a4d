/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Level Zero in the shape of gpu_driver.h: devices, memory and modules' kernels. Lists and
 * events are in level_zero_lists.c. */
#include <stdlib.h>
#include <string.h>

#include "gpu_vendor.h"
#include "level_zero.h"

enum { MAX_DRIVERS = 8, MAX_DEVICES = 64 };

level_zero_library ze;
level_zero_settings level_zero_next;

static level_zero_device devices[MAX_DEVICES];
static int devices_count;
static level_zero_context *current;

gdn_status gpu_linked_open(void **library, const char *path, gdn_error *err) {
    static const char *const NAMES[] = {"libze_loader.so.1", NULL};
    GDN_TRY(gpu_library_open(library, path, NAMES, err));
#define RESOLVE(name) GDN_TRY(gpu_library_symbol(*library, #name, &ze.name, err));
    LEVEL_ZERO_FUNCTIONS(RESOLVE)
#undef RESOLVE
    return GDN_OK;
}

const char *gpu_linked_error(int code) {
    static const struct {
        int code;
        const char *name;
    } NAMES[] = {
        {ZE_RESULT_NOT_READY, "ZE_RESULT_NOT_READY"},
#define NAME(code) {(int)(code), #code}
        NAME(ZE_RESULT_ERROR_DEVICE_LOST),
        NAME(ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY),
        NAME(ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY),
        NAME(ZE_RESULT_ERROR_MODULE_BUILD_FAILURE),
        NAME(ZE_RESULT_ERROR_MODULE_LINK_FAILURE),
        NAME(ZE_RESULT_ERROR_INSUFFICIENT_PERMISSIONS),
        NAME(ZE_RESULT_ERROR_DEPENDENCY_UNAVAILABLE),
        NAME(ZE_RESULT_ERROR_UNINITIALIZED),
        NAME(ZE_RESULT_ERROR_UNSUPPORTED_VERSION),
        NAME(ZE_RESULT_ERROR_UNSUPPORTED_FEATURE),
        NAME(ZE_RESULT_ERROR_INVALID_ARGUMENT),
        NAME(ZE_RESULT_ERROR_INVALID_NULL_HANDLE),
        NAME(ZE_RESULT_ERROR_HANDLE_OBJECT_IN_USE),
        NAME(ZE_RESULT_ERROR_INVALID_NULL_POINTER),
        NAME(ZE_RESULT_ERROR_INVALID_SIZE),
        NAME(ZE_RESULT_ERROR_UNSUPPORTED_SIZE),
        NAME(ZE_RESULT_ERROR_INVALID_SYNCHRONIZATION_OBJECT),
        NAME(ZE_RESULT_ERROR_INVALID_NATIVE_BINARY),
        NAME(ZE_RESULT_ERROR_INVALID_KERNEL_NAME),
        NAME(ZE_RESULT_ERROR_INVALID_GROUP_SIZE_DIMENSION),
        NAME(ZE_RESULT_ERROR_INVALID_KERNEL_ARGUMENT_INDEX),
        NAME(ZE_RESULT_ERROR_INVALID_KERNEL_ARGUMENT_SIZE),
        NAME(ZE_RESULT_ERROR_INVALID_MODULE_UNLINKED),
        NAME(ZE_RESULT_ERROR_UNKNOWN),
#undef NAME
    };
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        if (NAMES[i].code == code) {
            return NAMES[i].name;
        }
    }
    return "";
}

static void add_device(ze_driver_handle_t driver, ze_device_handle_t device, int of,
                       int tile) {
    if (devices_count < MAX_DEVICES) {
        devices[devices_count++] = (level_zero_device){driver, device, of, tile};
    }
}

/* Counts are asked for before what is counted: drivers leave a count alone that is larger
 * than theirs. */
static uint32_t at_most(uint32_t count, uint32_t room) {
    return count < room ? count : room;
}

static int add_devices(ze_driver_handle_t driver) {
    ze_device_handle_t found[MAX_DEVICES];
    uint32_t count = 0;
    int code = (int)ze.zeDeviceGet(driver, &count, NULL);
    count = at_most(count, MAX_DEVICES);
    if (code == 0 && count > 0) {
        code = (int)ze.zeDeviceGet(driver, &count, found);
    }
    for (uint32_t i = 0; code == 0 && i < count; i++) {
        add_device(driver, found[i], -1, -1);
    }
    return code;
}

static int add_tiles(int of) {
    ze_device_handle_t found[MAX_DEVICES];
    uint32_t count = 0;
    int code = (int)ze.zeDeviceGetSubDevices(devices[of].device, &count, NULL);
    count = at_most(count, MAX_DEVICES);
    if (code == 0 && count > 0) {
        code = (int)ze.zeDeviceGetSubDevices(devices[of].device, &count, found);
    }
    for (uint32_t i = 0; code == 0 && i < count; i++) {
        add_device(devices[of].driver, found[i], of, (int)i);
    }
    return code;
}

/* zeDriverGet of some loaders crashes if zeInit failed: nothing is asked after that. */
int gpu_linked_init(unsigned flags) {
    int code = (int)ze.zeInit(flags);
    ze_driver_handle_t drivers[MAX_DRIVERS];
    uint32_t count = 0;
    devices_count = 0;
    if (code == 0) {
        code = (int)ze.zeDriverGet(&count, NULL);
    }
    count = at_most(count, MAX_DRIVERS);
    if (code == 0 && count > 0) {
        code = (int)ze.zeDriverGet(&count, drivers);
    }
    for (uint32_t i = 0; code == 0 && i < count; i++) {
        code = add_devices(drivers[i]);
    }
    const int whole = devices_count;
    for (int i = 0; code == 0 && i < whole; i++) {
        code = add_tiles(i);
    }
    return code;
}

int gpu_linked_device_count(int *count) {
    *count = devices_count;
    return 0;
}

int gpu_linked_device_get(int *device, int ordinal) {
    *device = ordinal;
    return 0;
}

const level_zero_device *level_zero_device_at(int ordinal) {
    return ordinal < devices_count ? &devices[ordinal] : NULL;
}

/* The first group that computes, and one that does nothing but copy, else the same. */
static int find_queue_groups(level_zero_context *c) {
    ze_command_queue_group_properties_t groups[16];
    uint32_t count = 0;
    int code =
        (int)ze.zeDeviceGetCommandQueueGroupProperties(c->device->device, &count, NULL);
    count = at_most(count, 16);
    for (uint32_t i = 0; i < count; i++) {
        groups[i] = (ze_command_queue_group_properties_t){
            .stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_GROUP_PROPERTIES};
    }
    if (code == 0) {
        code = (int)ze.zeDeviceGetCommandQueueGroupProperties(c->device->device, &count,
                                                              groups);
    }
    bool computes = false, copies = false;
    for (uint32_t i = 0; code == 0 && i < count; i++) {
        const bool compute = groups[i].flags & ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COMPUTE;
        if (compute && !computes) {
            c->compute = i;
            computes = true;
        } else if (!compute && !copies &&
                   groups[i].flags & ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COPY) {
            c->copy = i;
            copies = true;
        }
    }
    c->copy = copies ? c->copy : c->compute;
    return code == 0 && !computes ? (int)ZE_RESULT_ERROR_UNSUPPORTED_FEATURE : code;
}

static int read_timer(level_zero_context *c) {
    ze_device_properties_t properties = {.stype = ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES};
    const int code = (int)ze.zeDeviceGetProperties(c->device->device, &properties);
    c->nanoseconds = properties.timerResolution;
    c->timestamps = properties.kernelTimestampValidBits >= 64
                        ? UINT64_MAX
                        : (UINT64_C(1) << properties.kernelTimestampValidBits) - 1;
    return code;
}

int gpu_linked_context_retain(void **context, int device) {
    level_zero_context *c = calloc(1, sizeof *c);
    if (!c) {
        return (int)ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY;
    }
    *context = c;
    c->device = &devices[device];
    c->settings = level_zero_next;
    const ze_context_desc_t description = {.stype = ZE_STRUCTURE_TYPE_CONTEXT_DESC};
    int code = find_queue_groups(c);
    if (code == 0) {
        code = read_timer(c);
    }
    return code == 0 ? (int)ze.zeContextCreate(c->device->driver, &description, &c->context)
                     : code;
}

int gpu_linked_context_set(void *context) {
    current = context;
    return 0;
}

level_zero_context *level_zero_current(void) {
    return current;
}

int gpu_linked_module_function(void **function, void *module, const char *name) {
    level_zero_module *m = module;
    for (int i = 0; i < m->count; i++) {
        if (strcmp(m->kernels[i].name, name) == 0) {
            *function = m->kernels[i].kernel;
            return 0;
        }
    }
    level_zero_kernel *kernel = &m->kernels[m->count];
    if (m->count == LEVEL_ZERO_MAX_KERNELS || strlen(name) >= sizeof kernel->name) {
        return (int)ZE_RESULT_ERROR_UNSUPPORTED_SIZE;
    }
    const ze_kernel_desc_t description = {.stype = ZE_STRUCTURE_TYPE_KERNEL_DESC,
                                          .pKernelName = name};
    const int code = (int)ze.zeKernelCreate(m->module, &description, &kernel->kernel);
    if (code == 0) {
        strcpy(kernel->name, name);
        m->count++;
        *function = kernel->kernel;
    }
    return code;
}

void level_zero_module_destroy(level_zero_module *module) {
    for (int i = 0; i < module->count; i++) {
        ze.zeKernelDestroy(module->kernels[i].kernel);
    }
    ze.zeModuleDestroy(module->module);
    free(module);
}

int gpu_linked_memory_alloc(gpu_address *address, size_t bytes) {
    const ze_device_mem_alloc_desc_t on_device = {
        .stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC};
    const ze_host_mem_alloc_desc_t on_host = {.stype =
                                                  ZE_STRUCTURE_TYPE_HOST_MEM_ALLOC_DESC};
    void *memory = NULL;
    const int code =
        (int)(current->settings.shared
                  ? ze.zeMemAllocShared(current->context, &on_device, &on_host, bytes, 4096,
                                        current->device->device, &memory)
                  : ze.zeMemAllocDevice(current->context, &on_device, bytes, 4096,
                                        current->device->device, &memory));
    *address = (gpu_address)(uintptr_t)memory;
    current->allocated += code == 0 ? bytes : 0;
    return code;
}

int gpu_linked_memory_free(gpu_address address) {
    void *memory = (void *)(uintptr_t)address, *base = NULL;
    size_t bytes = 0;
    int code = (int)ze.zeMemGetAddressRange(current->context, memory, &base, &bytes);
    if (code == 0) {
        code = (int)ze.zeMemFree(current->context, memory);
    }
    current->allocated -= bytes < current->allocated ? bytes : current->allocated;
    return code;
}

/* The largest of the device's memories, less what is ours: what others hold is not told. */
int gpu_linked_memory_info(size_t *available, size_t *total) {
    ze_device_memory_properties_t memories[8];
    uint32_t count = 0;
    int code = (int)ze.zeDeviceGetMemoryProperties(current->device->device, &count, NULL);
    count = at_most(count, 8);
    for (uint32_t i = 0; i < count; i++) {
        memories[i] = (ze_device_memory_properties_t){
            .stype = ZE_STRUCTURE_TYPE_DEVICE_MEMORY_PROPERTIES};
    }
    if (code == 0) {
        code =
            (int)ze.zeDeviceGetMemoryProperties(current->device->device, &count, memories);
    }
    *total = 0;
    for (uint32_t i = 0; code == 0 && i < count; i++) {
        *total = memories[i].totalSize > *total ? (size_t)memories[i].totalSize : *total;
    }
    *available = *total > current->allocated ? *total - current->allocated : 0;
    return code;
}
