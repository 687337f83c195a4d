/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Which OpenCL device this is, and its kernels: from SPIR-V where it takes that, else from
 * source; those in doubles are a module of their own, where the device has fp64. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cl_kernels.h"
#include "gpu_vendor.h"
#include "opencl.h"

#ifndef GDN_GPU_VERSION
#define GDN_GPU_VERSION "unversioned"
#endif

enum { MAX_SOURCES = 16, MODULE = 0, MODULE_FP64 = 1 };

static void device_text(cl_device_id device, cl_device_info what, char *text, size_t size) {
    text[0] = '\0';
    if (cl.clGetDeviceInfo(device, what, size, text, NULL) != CL_SUCCESS) {
        text[0] = '\0';
    }
    text[size - 1] = '\0';
}

gdn_status gpu_identify(gdn_device *device, char target[32], gdn_error *err) {
    cl_device_id id = opencl_device(device->ordinal);
    cl_platform_id platform = NULL;
    char name[96], vendor[64], version[96], driver[64], il[64], of[64] = "";
    cl_uint units = 0;
    GDN_TRY(gpu_driver_check(
        &device->driver,
        cl.clGetDeviceInfo(id, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof units, &units, NULL),
        "clGetDeviceInfo", err));
    device_text(id, CL_DEVICE_NAME, name, sizeof name);
    device_text(id, CL_DEVICE_VENDOR, vendor, sizeof vendor);
    device_text(id, CL_DEVICE_VERSION, version, sizeof version);
    device_text(id, CL_DRIVER_VERSION, driver, sizeof driver);
    device_text(id, CL_DEVICE_IL_VERSION, il, sizeof il);
    if (cl.clGetDeviceInfo(id, CL_DEVICE_PLATFORM, sizeof platform, &platform, NULL) ==
        CL_SUCCESS) {
        cl.clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof of, of, NULL);
    }
    snprintf(device->hardware, sizeof device->hardware, "%s, %s, %u compute units", name,
             vendor, units);
    snprintf(device->driver_text, sizeof device->driver_text, "%s, %s, driver %s", of,
             version, driver);
    target[0] = '\0';
    device->warp = 1; /* nothing is known of lanes that run in step */
    return GDN_OK;
}

static bool takes_spirv(cl_device_id device) {
    char il[64];
    device_text(device, CL_DEVICE_IL_VERSION, il, sizeof il);
    return cl.clCreateProgramWithIL && strstr(il, "SPIR-V") && cl_kernels_spirv_bytes > 0;
}

static bool has_fp64(cl_device_id device) {
    cl_device_fp_config config = 0;
    return cl.clGetDeviceInfo(device, CL_DEVICE_DOUBLE_FP_CONFIG, sizeof config, &config,
                              NULL) == CL_SUCCESS &&
           config != 0;
}

/* IEEE division and roots where the device can. */
static const char *build_options(cl_device_id device) {
    cl_device_fp_config config = 0;
    cl.clGetDeviceInfo(device, CL_DEVICE_SINGLE_FP_CONFIG, sizeof config, &config, NULL);
    return config & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT
               ? "-cl-std=CL1.2 -cl-fp32-correctly-rounded-divide-sqrt"
               : "-cl-std=CL1.2";
}

/* The first error of the log, or its first line. The whole goes to stderr. */
static gdn_status tell_log(cl_program program, cl_device_id device, int code,
                           gdn_error *err) {
    char *log = calloc(1, 65536);
    if (log && cl.clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, 65535, log,
                                        NULL) != CL_SUCCESS) {
        log[0] = '\0';
    }
    const char *line = log ? strstr(log, "error:") : NULL;
    line = line ? line : (log ? log : "");
    if (log && log[0]) {
        fprintf(stderr, "%s\n", log);
    }
    gdn_error_set(err, GDN_ERR_DEVICE, "clBuildProgram: %s (%d): %.*s",
                  gpu_linked_error(code), code, (int)strcspn(line, "\n"), line);
    free(log);
    return GDN_ERR_DEVICE;
}

static bool is_of_module(int index, const char *source) {
    if (index == MODULE) {
        return strcmp(source, CL_KERNELS_FP64_SOURCE) != 0;
    }
    return strcmp(source, CL_KERNELS_FP64_SOURCE) == 0 ||
           strcmp(source, "kernel_args.h") == 0 || strcmp(source, "common.cl") == 0;
}

static gdn_status build(gdn_device *device, int index, const gpu_source *sources,
                        bool spirv, gdn_error *err) {
    const opencl_context *context = device->context;
    const char *texts[MAX_SOURCES];
    cl_uint count = 0;
    for (const gpu_source *s = sources; s->name && count < MAX_SOURCES; s++) {
        if (is_of_module(index, s->name)) {
            texts[count++] = s->text;
        }
    }
    opencl_module *module = calloc(1, sizeof *module);
    if (!module) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a module");
    }
    cl_int code = CL_SUCCESS;
    module->program =
        spirv ? cl.clCreateProgramWithIL(
                    context->context,
                    index == MODULE ? cl_kernels_spirv : cl_kernels_fp64_spirv,
                    index == MODULE ? cl_kernels_spirv_bytes : cl_kernels_fp64_spirv_bytes,
                    &code)
              : cl.clCreateProgramWithSource(context->context, count, texts, NULL, &code);
    if (code != CL_SUCCESS) {
        free(module);
        return gpu_driver_check(
            &device->driver, code,
            spirv ? "clCreateProgramWithIL" : "clCreateProgramWithSource", err);
    }
    device->modules[index] = module;
    code = cl.clBuildProgram(module->program, 1, &context->device,
                             build_options(context->device), NULL, NULL);
    return code == CL_SUCCESS ? GDN_OK
                              : tell_log(module->program, context->device, code, err);
}

gdn_status gpu_load_modules(gdn_device *device, const char *target, gdn_error *err) {
    (void)target;
    const opencl_context *context = device->context;
    const bool spirv = !device->options.source && takes_spirv(context->device);
    gpu_source *read = NULL;
    if (device->options.source) {
        GDN_TRY(gpu_sources_read(&read, device->options.source, err));
    }
    const gpu_source *sources = read ? read : gpu_sources;
    gdn_status status = build(device, MODULE, sources, spirv, err);
    device->plan.fp64_module = has_fp64(context->device) ? MODULE_FP64 : -1;
    if (status == GDN_OK && device->plan.fp64_module == MODULE_FP64) {
        status = build(device, MODULE_FP64, sources, spirv, err);
    }
    gpu_sources_destroy(read);
    snprintf(device->build, sizeof device->build, "%s, %s, kernels from %s",
             GDN_GPU_VERSION, __VERSION__,
             spirv  ? "SPIR-V"
             : read ? "a folder"
                    : "source");
    return status;
}
