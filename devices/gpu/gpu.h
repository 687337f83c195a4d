/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Private to devices/gpu: the device. */
#ifndef GDN_GPU_H
#define GDN_GPU_H

#include "gdn/device.h"
#include "gpu_driver.h"
#include "gpu_options.h"
#include "gpu_package.h"
#include "gpu_plan.h"

/* Device memory that grows and is kept. */
typedef struct gpu_buffer {
    gpu_address address;
    size_t bytes;
} gpu_buffer;

struct gdn_device {
    gpu_driver driver;
    gpu_options options;
    int ordinal, warp;
    void *context, *stream;
    void *modules[8];      /* of the package, or those built in */
    gpu_package *package;  /* NULL: the kernels built in */
    void *started, *ended; /* events */
    gpu_buffer arena, scratch;
    gpu_plan plan;
    /* graph=1: the last captured plan and its graph */
    gpu_plan captured;
    void *graph;
    char hardware[256];
    char driver_text[256];
    char build[256];
};

/* Fills hardware, driver_text and warp. `target`: what to compile for on this device. */
gdn_status gpu_identify(gdn_device *device, char target[32], gdn_error *err);

/* Where GPU_LINKED: gives back what the vendor's library holds for the device. */
void gpu_linked_close(gdn_device *device);

/* Loads the kernels built in, those of source=DIR, or the modules of the package, and says
 * so in device->build. `target`: what to compile for; NULL: the compiler's own choice. */
gdn_status gpu_load_modules(gdn_device *device, const char *target, gdn_error *err);

/* Uploads the arena, runs the call on it, and downloads it. Index tensors are taken at
 * their word: run() checks them before. */
gdn_status gpu_run_planned(gdn_device *device, const gdn_call *call, double *seconds,
                           gdn_error *err);

/* Runs the plan in device->plan, eagerly or as a graph, and waits for its end. `seconds`
 * may be NULL. */
gdn_status gpu_execute(gdn_device *device, double *seconds, gdn_error *err);

/* At least `bytes` of device memory behind `buffer`. */
gdn_status gpu_buffer_reserve(gdn_device *device, gpu_buffer *buffer, size_t bytes,
                              gdn_error *err);

#endif
