/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* One driver with one device of two tiles; contexts, modules and kernels. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test_driver.h"

enum { LOG_BYTES = 4096 };

typedef struct build_log {
    object object;
    char text[LOG_BYTES];
} build_log;

static int driver_object, device_objects[3]; /* the whole device, then its tiles */

size_t test_driver_memory(void);

bool fault_is(const char *name) {
    const char *text = getenv("ZE_TEST_FAULT");
    return text && strcmp(text, name) == 0;
}

static ze_result_t init(ze_init_flags_t flags) {
    (void)flags;
    if (fault_is("crash")) {
        abort();
    }
    return fault_is("error") ? ZE_RESULT_ERROR_DEVICE_LOST : ZE_RESULT_SUCCESS;
}

static ze_result_t driver_get(uint32_t *count, ze_driver_handle_t *drivers) {
    if (drivers && *count > 0) {
        drivers[0] = (ze_driver_handle_t)&driver_object;
    }
    *count = 1;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t driver_api_version(ze_driver_handle_t driver,
                                      ze_api_version_t *version) {
    (void)driver;
    *version = ZE_API_VERSION_1_3;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t driver_properties(ze_driver_handle_t driver,
                                     ze_driver_properties_t *properties) {
    (void)driver;
    properties->driverVersion = 1;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t device_get(ze_driver_handle_t driver, uint32_t *count,
                              ze_device_handle_t *devices) {
    (void)driver;
    const uint32_t all = fault_is("none") ? 0 : 1;
    if (devices && *count > 0 && all > 0) {
        devices[0] = (ze_device_handle_t)&device_objects[0];
    }
    *count = all;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t device_get_tiles(ze_device_handle_t device, uint32_t *count,
                                    ze_device_handle_t *tiles) {
    const uint32_t all = (int *)device == &device_objects[0] ? 2 : 0;
    for (uint32_t i = 0; tiles && i < all && i < *count; i++) {
        tiles[i] = (ze_device_handle_t)&device_objects[1 + i];
    }
    *count = all;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t device_properties(ze_device_handle_t device,
                                     ze_device_properties_t *properties) {
    properties->type = ZE_DEVICE_TYPE_GPU;
    properties->maxMemAllocSize = test_driver_memory();
    properties->timerResolution = 1;
    properties->kernelTimestampValidBits = 64;
    properties->numSlices = properties->numSubslicesPerSlice = 1;
    properties->numEUsPerSubslice = 1;
    memset(properties->uuid.id, 0, sizeof properties->uuid.id);
    properties->uuid.id[15] = (uint8_t)((int *)device - device_objects);
    snprintf(properties->name, sizeof properties->name, "test driver on OpenCL");
    return ZE_RESULT_SUCCESS;
}

static ze_result_t device_memory(ze_device_handle_t device, uint32_t *count,
                                 ze_device_memory_properties_t *properties) {
    (void)device;
    if (properties && *count > 0) {
        properties[0].totalSize = test_driver_memory();
    }
    *count = 1;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t device_module(ze_device_handle_t device,
                                 ze_device_module_properties_t *properties) {
    (void)device;
    properties->flags = fault_is("fp64") ? 0 : ZE_DEVICE_MODULE_FLAG_FP64;
    properties->spirvVersionSupported = ZE_MAKE_VERSION(1, 1);
    return ZE_RESULT_SUCCESS;
}

/* As on GPUs with copy engines: the second group cannot compute. */
static ze_result_t device_queue_groups(ze_device_handle_t device, uint32_t *count,
                                       ze_command_queue_group_properties_t *properties) {
    static const ze_command_queue_group_property_flags_t FLAGS[] = {
        ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COMPUTE |
            ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COPY,
        ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COPY};
    (void)device;
    for (uint32_t i = 0; properties && i < 2 && i < *count; i++) {
        properties[i].flags = FLAGS[i];
        properties[i].numQueues = 1;
    }
    *count = 2;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t context_create(ze_driver_handle_t driver,
                                  const ze_context_desc_t *description,
                                  ze_context_handle_t *handle) {
    (void)driver;
    (void)description;
    *handle = object_create(CONTEXT, sizeof(object));
    return *handle ? ZE_RESULT_SUCCESS : ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY;
}

static ze_result_t context_destroy(ze_context_handle_t handle) {
    return object_destroy(handle, CONTEXT, "zeContextDestroy");
}

static ze_result_t module_create(ze_context_handle_t context, ze_device_handle_t device,
                                 const ze_module_desc_t *description,
                                 ze_module_handle_t *handle,
                                 ze_module_build_log_handle_t *log_handle) {
    (void)device;
    if (!object_find(context, CONTEXT, "zeModuleCreate")) {
        return ZE_RESULT_ERROR_INVALID_NULL_HANDLE;
    }
    if (description->format != ZE_MODULE_FORMAT_IL_SPIRV) {
        return ZE_RESULT_ERROR_INVALID_NATIVE_BINARY;
    }
    module *m = object_create(MODULE, sizeof *m);
    build_log *log = log_handle ? object_create(BUILD_LOG, sizeof *log) : NULL;
    if (!m) {
        return ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY;
    }
    char unread[LOG_BYTES] = "";
    const ze_result_t code = run_build(m, description->pInputModule, description->inputSize,
                                       log ? log->text : unread, LOG_BYTES);
    if (log_handle) {
        *log_handle = (ze_module_build_log_handle_t)log;
    }
    if (code != ZE_RESULT_SUCCESS) {
        run_module_close(m);
        m->object.live = false;
    }
    *handle = (ze_module_handle_t)(code == ZE_RESULT_SUCCESS ? m : NULL);
    return code;
}

static ze_result_t module_destroy(ze_module_handle_t handle) {
    module *m = object_find(handle, MODULE, "zeModuleDestroy");
    if (m) {
        run_module_close(m);
    }
    return object_destroy(handle, MODULE, "zeModuleDestroy");
}

static ze_result_t log_string(ze_module_build_log_handle_t handle, size_t *size,
                              char *text) {
    const build_log *log = object_find(handle, BUILD_LOG, "zeModuleBuildLogGetString");
    if (!log) {
        return ZE_RESULT_ERROR_INVALID_NULL_HANDLE;
    }
    if (text) {
        snprintf(text, *size, "%s", log->text);
    }
    *size = strlen(log->text) + 1;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t log_destroy(ze_module_build_log_handle_t handle) {
    return object_destroy(handle, BUILD_LOG, "zeModuleBuildLogDestroy");
}

static ze_result_t kernel_create(ze_module_handle_t handle,
                                 const ze_kernel_desc_t *description,
                                 ze_kernel_handle_t *result) {
    module *m = object_find(handle, MODULE, "zeKernelCreate");
    if (!m) {
        return ZE_RESULT_ERROR_INVALID_NULL_HANDLE;
    }
    kernel *k = object_create(KERNEL, sizeof *k);
    if (!k) {
        return ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY;
    }
    k->module = m;
    snprintf(k->name, sizeof k->name, "%s", description->pKernelName);
    if (!run_kernel_open(k, "zeKernelCreate")) {
        k->object.live = false;
        return ZE_RESULT_ERROR_INVALID_KERNEL_NAME;
    }
    *result = (ze_kernel_handle_t)k;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t kernel_destroy(ze_kernel_handle_t handle) {
    kernel *k = object_find(handle, KERNEL, "zeKernelDestroy");
    if (k) {
        run_kernel_close(k);
    }
    return object_destroy(handle, KERNEL, "zeKernelDestroy");
}

static ze_result_t kernel_group_size(ze_kernel_handle_t handle, uint32_t x, uint32_t y,
                                     uint32_t z) {
    kernel *k = object_find(handle, KERNEL, "zeKernelSetGroupSize");
    if (!k) {
        return ZE_RESULT_ERROR_INVALID_NULL_HANDLE;
    }
    if (x == 0 || y == 0 || z == 0 || x * y * z > 1024) {
        return refuse(ZE_RESULT_ERROR_INVALID_GROUP_SIZE_DIMENSION, "zeKernelSetGroupSize",
                      "%u x %u x %u work-items", x, y, z);
    }
    k->group[0] = x;
    k->group[1] = y;
    k->group[2] = z;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t kernel_argument(ze_kernel_handle_t handle, uint32_t index, size_t size,
                                   const void *value) {
    kernel *k = object_find(handle, KERNEL, "zeKernelSetArgumentValue");
    return k ? run_set_argument(k, index, size, value)
             : ZE_RESULT_ERROR_INVALID_NULL_HANDLE;
}

void device_fill_tables(ze_global_dditable_t *global, ze_driver_dditable_t *driver,
                        ze_device_dditable_t *device, ze_context_dditable_t *context);
void module_fill_tables(ze_module_dditable_t *modules, ze_module_build_log_dditable_t *logs,
                        ze_kernel_dditable_t *kernels);

/* Those that are given. */
void device_fill_tables(ze_global_dditable_t *global, ze_driver_dditable_t *driver,
                        ze_device_dditable_t *device, ze_context_dditable_t *context) {
    if (global) {
        global->pfnInit = init;
    }
    if (driver) {
        driver->pfnGet = driver_get;
        driver->pfnGetApiVersion = driver_api_version;
        driver->pfnGetProperties = driver_properties;
    }
    if (device) {
        device->pfnGet = device_get;
        device->pfnGetSubDevices = device_get_tiles;
        device->pfnGetProperties = device_properties;
        device->pfnGetMemoryProperties = device_memory;
        device->pfnGetModuleProperties = device_module;
        device->pfnGetCommandQueueGroupProperties = device_queue_groups;
    }
    if (context) {
        context->pfnCreate = context_create;
        context->pfnDestroy = context_destroy;
    }
}

void module_fill_tables(ze_module_dditable_t *modules, ze_module_build_log_dditable_t *logs,
                        ze_kernel_dditable_t *kernels) {
    if (modules) {
        modules->pfnCreate = module_create;
        modules->pfnDestroy = module_destroy;
    }
    if (logs) {
        logs->pfnGetString = log_string;
        logs->pfnDestroy = log_destroy;
    }
    if (kernels) {
        kernels->pfnCreate = kernel_create;
        kernels->pfnDestroy = kernel_destroy;
        kernels->pfnSetGroupSize = kernel_group_size;
        kernels->pfnSetArgumentValue = kernel_argument;
    }
}
