/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Kernels onto the device: compiled here, or as a package brings them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu.h"
#include "gpu_vendor.h"

#ifndef GDN_GPU_VERSION
#define GDN_GPU_VERSION "unversioned"
#endif

static gdn_status load(gdn_device *device, size_t index, const void *image,
                       gdn_error *err) {
    return gpu_driver_check(&device->driver,
                            device->driver.module_load(&device->modules[index], image),
                            GPU_NAME_module_load, err);
}

/* `compiler` receives "NVRTC 13.0 for sm_90". */
static gdn_status compile(gdn_device *device, size_t index, const gpu_source *sources,
                          const char *target, char compiler[96], gdn_error *err) {
    const gpu_compile_options options = {
        .library = device->options.rtc,
        .target = device->options.target ? device->options.target : target,
        .warp = device->warp,
    };
    gpu_code code;
    gdn_status status = gpu_compile(&code, sources, &options, err);
    if (status == GDN_OK) {
        snprintf(compiler, 96, "%s%s%.24s", code.compiler, options.target ? " for " : "",
                 options.target ? options.target : "");
        status = load(device, index, code.image, err);
    } else if (code.log && code.log[0]) {
        fprintf(stderr, "%s\n", code.log);
    }
    gpu_code_destroy(&code);
    return status;
}

static gdn_status load_package(gdn_device *device, const char *target, char compiler[96],
                               gdn_error *err) {
    for (size_t i = 0; i < gpu_package_modules(device->package); i++) {
        bool is_source = false;
        const char *path = gpu_package_module(device->package, i, &is_source);
        char *bytes = NULL;
        GDN_TRY(gpu_file_read(&bytes, NULL, path, err));
        const gpu_source sources[] = {{strrchr(path, '/') + 1, bytes}, {0}};
        const gdn_status status = is_source
                                      ? compile(device, i, sources, target, compiler, err)
                                      : load(device, i, bytes, err);
        free(bytes);
        if (status != GDN_OK) {
            gdn_error_context(err, "%s", path);
            return status;
        }
    }
    return GDN_OK;
}

gdn_status gpu_load_modules(gdn_device *device, const char *target, gdn_error *err) {
    char compiler[96] = "binaries";
    if (device->package) {
        GDN_TRY(load_package(device, target, compiler, err));
        snprintf(device->build, sizeof device->build, "%s, %s, package %.64s, %s",
                 GDN_GPU_VERSION, __VERSION__, gpu_package_name(device->package), compiler);
        return GDN_OK;
    }
    gpu_source *read = NULL;
    if (device->options.source) {
        GDN_TRY(gpu_sources_read(&read, device->options.source, err));
    }
    gdn_status status =
        compile(device, 0, read ? read : gpu_sources, target, compiler, err);
    gpu_sources_destroy(read);
    snprintf(device->build, sizeof device->build, "%s, %s, kernels by %s%s%s",
             GDN_GPU_VERSION, __VERSION__, compiler, read ? " from a folder" : "",
             device->options.mma ? ", chunks on matrix units" : "");
    void *chunk = NULL;
    if (status == GDN_OK && device->options.mma &&
        device->driver.module_function(&chunk, device->modules[0], "gk_chunk") != 0) {
        status = gdn_error_set(err, GDN_ERR_UNSUPPORTED,
                               "mma=1: these kernels know no matrix units of this target");
    }
    return status;
}
