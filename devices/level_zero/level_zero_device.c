/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Which Level Zero device this is, and its modules: the SPIR-V built in, or a package's
 * SPIR-V and native binaries. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cl_kernels.h"
#include "gpu_vendor.h"
#include "level_zero.h"

#ifndef GDN_GPU_VERSION
#define GDN_GPU_VERSION "unversioned"
#endif

static gdn_status check(gdn_device *device, ze_result_t code, const char *what,
                        gdn_error *err) {
    return gpu_driver_check(&device->driver, (int)code, what, err);
}

static gdn_status read_settings(const gpu_options *options, gdn_error *err) {
    const char *memory = options->memory ? options->memory : "device";
    if (strcmp(memory, "device") != 0 && strcmp(memory, "shared") != 0) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "memory: expected device or shared but found \"%.100s\"",
                             memory);
    }
    level_zero_next = (level_zero_settings){.regular = options->graph,
                                            .shared = strcmp(memory, "shared") == 0};
    return GDN_OK;
}

gdn_status gpu_identify(gdn_device *device, char target[32], gdn_error *err) {
    const level_zero_device *d = level_zero_device_at(device->ordinal);
    ze_device_properties_t properties = {.stype = ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES};
    ze_driver_properties_t driver = {.stype = ZE_STRUCTURE_TYPE_DRIVER_PROPERTIES};
    ze_api_version_t api = ZE_API_VERSION_1_0;
    GDN_TRY(read_settings(&device->options, err));
    GDN_TRY(check(device, ze.zeDeviceGetProperties(d->device, &properties),
                  "zeDeviceGetProperties", err));
    GDN_TRY(check(device, ze.zeDriverGetProperties(d->driver, &driver),
                  "zeDriverGetProperties", err));
    GDN_TRY(check(device, ze.zeDriverGetApiVersion(d->driver, &api),
                  "zeDriverGetApiVersion", err));
    char uuid[40] = "", tile[32] = "";
    for (int i = 0; i < 16; i++) {
        const size_t used = strlen(uuid);
        snprintf(uuid + used, sizeof uuid - used, "%s%02x",
                 i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                 (unsigned)properties.uuid.id[i]);
    }
    if (d->tile >= 0) {
        snprintf(tile, sizeof tile, "tile %d of device %d, ", d->tile, d->of);
    }
    snprintf(device->hardware, sizeof device->hardware,
             "%s%.100s, UUID %s, %u slices of %u subslices of %u execution units", tile,
             properties.name, uuid, properties.numSlices, properties.numSubslicesPerSlice,
             properties.numEUsPerSubslice);
    snprintf(device->driver_text, sizeof device->driver_text,
             "Level Zero %u.%u, driver %u.%u.%u", ZE_MAJOR_VERSION(api),
             ZE_MINOR_VERSION(api), driver.driverVersion >> 24,
             driver.driverVersion >> 16 & 0xff, driver.driverVersion & 0xffff);
    target[0] = '\0';
    device->warp = 1; /* sub-groups are not used */
    return GDN_OK;
}

/* The first line that a log has, "" if it has none; the whole goes to stderr. */
static gdn_status tell_log(ze_module_build_log_handle_t log, ze_result_t code,
                           gdn_error *err) {
    size_t size = 0;
    char *text = NULL;
    if (log && ze.zeModuleBuildLogGetString(log, &size, NULL) == ZE_RESULT_SUCCESS) {
        text = calloc(1, size + 1);
    }
    if (text && ze.zeModuleBuildLogGetString(log, &size, text) != ZE_RESULT_SUCCESS) {
        text[0] = '\0';
    }
    const char *line = text ? text + strspn(text, " \n") : "";
    if (line[0]) {
        fprintf(stderr, "%s\n", text);
    }
    gdn_error_set(err, GDN_ERR_DEVICE, "zeModuleCreate: %s (%#x)%s%.*s",
                  gpu_linked_error((int)code), (unsigned)code,
                  line[0] ? ": " : ", and the build log is empty", (int)strcspn(line, "\n"),
                  line);
    free(text);
    return GDN_ERR_DEVICE;
}

static gdn_status load(gdn_device *device, size_t index, const void *bytes, size_t size,
                       bool native, gdn_error *err) {
    const level_zero_context *c = device->context;
    level_zero_module *module = calloc(1, sizeof *module);
    if (!module) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a module");
    }
    const ze_module_desc_t description = {.stype = ZE_STRUCTURE_TYPE_MODULE_DESC,
                                          .format = native ? ZE_MODULE_FORMAT_NATIVE
                                                           : ZE_MODULE_FORMAT_IL_SPIRV,
                                          .inputSize = size,
                                          .pInputModule = bytes,
                                          .pBuildFlags = ""};
    ze_module_build_log_handle_t log = NULL;
    const ze_result_t code = ze.zeModuleCreate(c->context, c->device->device, &description,
                                               &module->module, &log);
    const gdn_status status = code == ZE_RESULT_SUCCESS ? GDN_OK : tell_log(log, code, err);
    if (log) {
        ze.zeModuleBuildLogDestroy(log);
    }
    if (status != GDN_OK) {
        free(module);
        return status;
    }
    device->modules[index] = module;
    return GDN_OK;
}

static gdn_status load_file(gdn_device *device, size_t index, const char *path,
                            gdn_error *err) {
    const size_t length = strlen(path);
    const bool spirv = length > 4 && strcmp(path + length - 4, ".spv") == 0;
    char *bytes = NULL;
    size_t size = 0;
    GDN_TRY(gpu_file_read(&bytes, &size, path, err));
    const gdn_status status = load(device, index, bytes, size, !spirv, err);
    free(bytes);
    return status;
}

/* Every kernel that a package launches is there. */
static gdn_status find_kernels(gdn_device *device, size_t index, gdn_error *err) {
    const char *kernel = NULL;
    for (size_t k = 0; (kernel = gpu_package_kernel(device->package, index, k)); k++) {
        void *function = NULL;
        const int code =
            gpu_linked_module_function(&function, device->modules[index], kernel);
        GDN_TRY(check(device, (ze_result_t)code, kernel, err));
    }
    return GDN_OK;
}

/* What is wrong with a module is the package's fault, told when the device is opened. */
static gdn_status load_package(gdn_device *device, gdn_error *err) {
    for (size_t i = 0; i < gpu_package_modules(device->package); i++) {
        bool is_source = false;
        gdn_error cause = {0};
        const char *path = gpu_package_module(device->package, i, &is_source);
        gdn_status status =
            is_source ? gdn_error_set(&cause, GDN_ERR_ARG,
                                      "expected a binary (.spv, or the device's own), for "
                                      "there is no compiler")
                      : load_file(device, i, path, &cause);
        if (status == GDN_OK) {
            status = find_kernels(device, i, &cause);
        }
        if (status != GDN_OK) {
            return gdn_error_set(err, GDN_ERR_ARG, "%s: %s", path, cause.message);
        }
    }
    return GDN_OK;
}

/* A module with doubles does not load on a device without them. */
static gdn_status load_fp64(gdn_device *device, gdn_error *err) {
    const level_zero_context *c = device->context;
    ze_device_module_properties_t properties = {
        .stype = ZE_STRUCTURE_TYPE_DEVICE_MODULE_PROPERTIES};
    GDN_TRY(check(device, ze.zeDeviceGetModuleProperties(c->device->device, &properties),
                  "zeDeviceGetModuleProperties", err));
    if (!(properties.flags & ZE_DEVICE_MODULE_FLAG_FP64)) {
        device->plan.fp64_module = -1;
        return GDN_OK;
    }
    device->plan.fp64_module = 1;
    return load(device, 1, cl_kernels_fp64_spirv, cl_kernels_fp64_spirv_bytes, false, err);
}

gdn_status gpu_load_modules(gdn_device *device, const char *target, gdn_error *err) {
    (void)target;
    if (device->package) {
        GDN_TRY(load_package(device, err));
        snprintf(device->build, sizeof device->build, "%s, %s, package %.64s",
                 GDN_GPU_VERSION, __VERSION__, gpu_package_name(device->package));
        return GDN_OK;
    }
    if (cl_kernels_spirv_bytes == 0) {
        return gdn_error_set(err, GDN_ERR_UNSUPPORTED,
                             "built without clang-15 and llvm-spirv-15: there are no "
                             "kernels in SPIR-V");
    }
    snprintf(device->build, sizeof device->build, "%s, %s, kernels from SPIR-V",
             GDN_GPU_VERSION, __VERSION__);
    GDN_TRY(load(device, 0, cl_kernels_spirv, cl_kernels_spirv_bytes, false, err));
    return load_fp64(device, err);
}
