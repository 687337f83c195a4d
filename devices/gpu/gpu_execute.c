/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <string.h>

#include "gpu.h"
#include "gpu_vendor.h"

static gdn_status check(gdn_device *device, int code, const char *what, gdn_error *err) {
    return gpu_driver_check(&device->driver, code, what, err);
}

gdn_status gpu_buffer_reserve(gdn_device *device, gpu_buffer *buffer, size_t bytes,
                              gdn_error *err) {
    if (bytes <= buffer->bytes) {
        return GDN_OK;
    }
    if (buffer->address) {
        GDN_TRY(check(device, device->driver.memory_free(buffer->address),
                      GPU_NAME_memory_free, err));
    }
    *buffer = (gpu_buffer){0};
    GDN_TRY(check(device, device->driver.memory_alloc(&buffer->address, bytes),
                  GPU_NAME_memory_alloc, err));
    buffer->bytes = bytes;
    return GDN_OK;
}

static gdn_status launch(gdn_device *device, gpu_launch *l, gdn_error *err) {
    const gpu_driver *d = &device->driver;
    void *function = NULL;
    void *arguments[GPU_MAX_ARGUMENTS] = {l->arguments};
    for (unsigned i = 0; i < l->arguments_count; i++) {
        arguments[i] = l->arguments + 8 * i;
    }
    GDN_TRY(check(device,
                  d->module_function(&function, device->modules[l->module], l->kernel),
                  l->kernel, err));
    return check(device,
                 d->launch(function, l->grid[0], l->grid[1], l->grid[2], l->block[0],
                           l->block[1], l->block[2], l->shared, device->stream, arguments,
                           NULL),
                 l->kernel, err);
}

static gdn_status launch_all(gdn_device *device, gdn_error *err) {
    for (int i = 0; i < device->plan.count; i++) {
        GDN_TRY(launch(device, &device->plan.launches[i], err));
    }
    return GDN_OK;
}

static bool is_captured(const gdn_device *device) {
    const gpu_plan *plan = &device->plan, *captured = &device->captured;
    return device->graph && plan->count == captured->count &&
           memcmp(plan->launches, captured->launches,
                  (size_t)plan->count * sizeof *plan->launches) == 0;
}

static gdn_status capture(gdn_device *device, gdn_error *err) {
    const gpu_driver *d = &device->driver;
    if (device->graph) {
        GDN_TRY(check(device, d->graph_exec_destroy(device->graph),
                      GPU_NAME_graph_exec_destroy, err));
        device->graph = NULL;
    }
    void *graph = NULL;
    GDN_TRY(check(device, d->stream_capture_begin(device->stream, GPU_CAPTURE_RELAXED),
                  GPU_NAME_stream_capture_begin, err));
    GDN_TRY(launch_all(device, err));
    GDN_TRY(check(device, d->stream_capture_end(device->stream, &graph),
                  GPU_NAME_stream_capture_end, err));
    GDN_TRY(check(device, d->graph_instantiate(&device->graph, graph, 0),
                  GPU_NAME_graph_instantiate, err));
    device->captured = device->plan;
    return check(device, d->graph_destroy(graph), GPU_NAME_graph_destroy, err);
}

gdn_status gpu_execute(gdn_device *device, double *seconds, gdn_error *err) {
    const gpu_driver *d = &device->driver;
    const bool graph = device->options.graph && device->plan.count > 0;
    if (graph && !is_captured(device)) {
        GDN_TRY(capture(device, err));
    }
    GDN_TRY(check(device, d->event_record(device->started, device->stream),
                  GPU_NAME_event_record, err));
    if (graph) {
        GDN_TRY(check(device, d->graph_launch(device->graph, device->stream),
                      GPU_NAME_graph_launch, err));
    } else {
        GDN_TRY(launch_all(device, err));
    }
    GDN_TRY(check(device, d->event_record(device->ended, device->stream),
                  GPU_NAME_event_record, err));
    GDN_TRY(check(device, d->stream_synchronize(device->stream),
                  GPU_NAME_stream_synchronize, err));
    float milliseconds = 0;
    if (!seconds) {
        return GDN_OK;
    }
    GDN_TRY(check(device, d->event_elapsed(&milliseconds, device->started, device->ended),
                  GPU_NAME_event_elapsed, err));
    *seconds = (double)milliseconds * 1e-3;
    return GDN_OK;
}
