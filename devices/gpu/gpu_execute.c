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
    void *function = NULL, **extra = NULL;
    void *arguments[GPU_MAX_ARGUMENTS] = {l->arguments};
#if GPU_LINKED
    /* The struct, then the memory that its places are in. */
    size_t sizes[GPU_MAX_ARGUMENTS + 1] = {l->bytes, 8, 8};
    arguments[1] = &device->arena.address;
    arguments[2] = device->scratch.address ? &device->scratch.address : NULL;
    extra = (void **)sizes;
#endif
    for (unsigned i = 0; i < l->arguments_count; i++) {
        arguments[i] = l->arguments + 8 * i;
#if GPU_LINKED
        if (l->nulls >> i & 1) {
            arguments[i] = NULL; /* not a pointer to a null pointer */
        }
        sizes[i] = l->sizes[i];
        sizes[i + 1] = 0;
#endif
    }
    GDN_TRY(check(device,
                  d->module_function(&function, device->modules[l->module], l->kernel),
                  l->kernel, err));
    return check(device,
                 d->launch(function, l->grid[0], l->grid[1], l->grid[2], l->block[0],
                           l->block[1], l->block[2], l->shared, device->stream, arguments,
                           extra),
                 l->kernel, err);
}

static gdn_status launch_all(gdn_device *device, gdn_error *err) {
    for (int i = 0; i < device->plan.count; i++) {
        GDN_TRY(launch(device, &device->plan.launches[i], err));
    }
    return GDN_OK;
}

#if GPU_GRAPHS

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

static gdn_status start(gdn_device *device, gdn_error *err) {
    if (!device->options.graph || device->plan.count == 0) {
        return launch_all(device, err);
    }
    return check(device, device->driver.graph_launch(device->graph, device->stream),
                 GPU_NAME_graph_launch, err);
}

static gdn_status prepare(gdn_device *device, gdn_error *err) {
    const bool graph = device->options.graph && device->plan.count > 0;
    return graph && !is_captured(device) ? capture(device, err) : GDN_OK;
}

#else

static gdn_status start(gdn_device *device, gdn_error *err) {
    return launch_all(device, err);
}

static gdn_status prepare(gdn_device *device, gdn_error *err) {
    (void)device;
    (void)err;
    return GDN_OK;
}

#endif

gdn_status gpu_execute(gdn_device *device, double *seconds, gdn_error *err) {
    const gpu_driver *d = &device->driver;
    GDN_TRY(prepare(device, err));
    GDN_TRY(check(device, d->event_record(device->started, device->stream),
                  GPU_NAME_event_record, err));
    GDN_TRY(start(device, err));
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
