/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Command lists and events in the shape of gpu_driver.h. A stream is the context: its
 * launches go to an immediate list, or, where calls are captured, to regular lists that a
 * queue executes. Commands of a list may run side by side, so that a barrier stands behind
 * each launch. */
#include <stdlib.h>
#include <string.h>

#include "gpu_vendor.h"
#include "level_zero.h"

/* An event, and for regular lists the list that signals it. */
typedef struct record {
    level_zero_context *context;
    ze_event_handle_t event;
    ze_command_list_handle_t list;
} record;

static ze_command_queue_desc_t queue_of(uint32_t group) {
    return (ze_command_queue_desc_t){.stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC,
                                     .ordinal = group,
                                     .mode = ZE_COMMAND_QUEUE_MODE_ASYNCHRONOUS};
}

static ze_result_t create_regular(level_zero_context *c, ze_command_list_handle_t *list) {
    const ze_command_list_desc_t description = {.stype =
                                                    ZE_STRUCTURE_TYPE_COMMAND_LIST_DESC,
                                                .commandQueueGroupOrdinal = c->compute};
    return ze.zeCommandListCreate(c->context, c->device->device, &description, list);
}

static ze_result_t create_event(level_zero_context *c, ze_event_handle_t *event) {
    const ze_event_desc_t description = {.stype = ZE_STRUCTURE_TYPE_EVENT_DESC,
                                         .index = c->events,
                                         .signal = ZE_EVENT_SCOPE_FLAG_HOST,
                                         .wait = ZE_EVENT_SCOPE_FLAG_HOST};
    const ze_result_t code = ze.zeEventCreate(c->pool, &description, event);
    c->events += code == ZE_RESULT_SUCCESS;
    return code;
}

static level_zero_context *context_of(void *stream) {
    return stream;
}

static ze_result_t create_lists(level_zero_context *c) {
    const ze_command_queue_desc_t copy = queue_of(c->copy), compute = queue_of(c->compute);
    ze_result_t code =
        ze.zeCommandListCreateImmediate(c->context, c->device->device, &copy, &c->copies);
    if (code != ZE_RESULT_SUCCESS) {
        return code;
    }
    return c->settings.regular
               ? ze.zeCommandQueueCreate(c->context, c->device->device, &compute, &c->queue)
               : ze.zeCommandListCreateImmediate(c->context, c->device->device, &compute,
                                                 &c->immediate);
}

/* The stream of the current context. */
int gpu_linked_stream_create(void **stream, unsigned flags) {
    level_zero_context *c = level_zero_current();
    (void)flags;
    *stream = c;
    ze_device_handle_t device = c->device->device;
    const ze_event_pool_desc_t pool = {.stype = ZE_STRUCTURE_TYPE_EVENT_POOL_DESC,
                                       .flags = ZE_EVENT_POOL_FLAG_HOST_VISIBLE |
                                                ZE_EVENT_POOL_FLAG_KERNEL_TIMESTAMP,
                                       .count = LEVEL_ZERO_EVENTS};
    ze_result_t code = ze.zeEventPoolCreate(c->context, &pool, 1, &device, &c->pool);
    if (code == ZE_RESULT_SUCCESS) {
        code = create_event(c, &c->done);
    }
    return (int)(code == ZE_RESULT_SUCCESS ? create_lists(c) : code);
}

static ze_result_t wait_for(ze_event_handle_t event) {
    const ze_result_t code = ze.zeEventHostSynchronize(event, UINT64_MAX);
    return code == ZE_RESULT_SUCCESS ? ze.zeEventHostReset(event) : code;
}

int gpu_linked_stream_synchronize(void *stream) {
    level_zero_context *c = context_of(stream);
    if (c->queue) {
        return (int)ze.zeCommandQueueSynchronize(c->queue, UINT64_MAX);
    }
    const ze_result_t code = ze.zeCommandListAppendBarrier(c->immediate, c->done, 0, NULL);
    return (int)(code == ZE_RESULT_SUCCESS ? wait_for(c->done) : code);
}

static int copy(void *to, const void *from, size_t bytes) {
    level_zero_context *c = level_zero_current();
    if (c->settings.shared) {
        memcpy(to, from, bytes); /* nothing runs: every call waits for its end */
        return 0;
    }
    const ze_result_t code =
        ze.zeCommandListAppendMemoryCopy(c->copies, to, from, bytes, c->done, 0, NULL);
    return (int)(code == ZE_RESULT_SUCCESS ? wait_for(c->done) : code);
}

int gpu_linked_copy_in(gpu_address to, const void *from, size_t bytes) {
    return copy((void *)(uintptr_t)to, from, bytes);
}

int gpu_linked_copy_out(void *to, gpu_address from, size_t bytes) {
    return copy(to, (const void *)(uintptr_t)from, bytes);
}

/* The list that is captured, the immediate one, or one for this launch alone. */
int gpu_linked_launch(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                      unsigned by, unsigned bz, unsigned shared, void *stream,
                      void **arguments, void **extra) {
    level_zero_context *c = context_of(stream);
    const size_t *sizes = (const size_t *)extra;
    const ze_group_count_t groups = {gx, gy, gz};
    if (shared > 0) { /* it would be an argument of the kernel's */
        return (int)ZE_RESULT_ERROR_UNSUPPORTED_FEATURE;
    }
    ze_result_t code = ze.zeKernelSetGroupSize(function, bx, by, bz);
    for (uint32_t i = 0; code == ZE_RESULT_SUCCESS && sizes[i] > 0; i++) {
        code = ze.zeKernelSetArgumentValue(function, i, sizes[i], arguments[i]);
    }
    ze_command_list_handle_t list = c->capturing ? c->capturing : c->immediate;
    if (code == ZE_RESULT_SUCCESS) {
        code = ze.zeCommandListAppendLaunchKernel(list, function, &groups, NULL, 0, NULL);
    }
    return (int)(code == ZE_RESULT_SUCCESS
                     ? ze.zeCommandListAppendBarrier(list, NULL, 0, NULL)
                     : code);
}

int gpu_linked_stream_capture_begin(void *stream, int mode) {
    level_zero_context *c = context_of(stream);
    (void)mode;
    return (int)create_regular(c, &c->capturing);
}

int gpu_linked_stream_capture_end(void *stream, void **graph) {
    level_zero_context *c = context_of(stream);
    *graph = c->capturing;
    c->capturing = NULL;
    return (int)ze.zeCommandListClose(*graph);
}

/* A closed list is what is executed. */
int gpu_linked_graph_instantiate(void **exec, void *graph, unsigned long long flags) {
    (void)flags;
    *exec = graph;
    return 0;
}

int gpu_linked_graph_destroy(void *graph) {
    (void)graph;
    return 0;
}

int gpu_linked_graph_exec_destroy(void *exec) {
    return (int)ze.zeCommandListDestroy(exec);
}

int gpu_linked_graph_launch(void *exec, void *stream) {
    ze_command_list_handle_t list = exec;
    return (int)ze.zeCommandQueueExecuteCommandLists(context_of(stream)->queue, 1, &list,
                                                     NULL);
}

static ze_result_t create_record_list(record *r) {
    ze_result_t code = create_regular(r->context, &r->list);
    if (code == ZE_RESULT_SUCCESS) {
        code = ze.zeCommandListAppendBarrier(r->list, r->event, 0, NULL);
    }
    return code == ZE_RESULT_SUCCESS ? ze.zeCommandListClose(r->list) : code;
}

int gpu_linked_event_create(void **event, unsigned flags) {
    record *r = calloc(1, sizeof *r);
    (void)flags;
    if (!r) {
        return (int)ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY;
    }
    *event = r;
    r->context = level_zero_current();
    const ze_result_t code = create_event(r->context, &r->event);
    return (int)(code == ZE_RESULT_SUCCESS && r->context->queue ? create_record_list(r)
                                                                : code);
}

int gpu_linked_event_record(void *event, void *stream) {
    level_zero_context *c = context_of(stream);
    record *r = event;
    const ze_result_t code = ze.zeEventHostReset(r->event);
    if (code != ZE_RESULT_SUCCESS) {
        return (int)code;
    }
    return (int)(c->queue
                     ? ze.zeCommandQueueExecuteCommandLists(c->queue, 1, &r->list, NULL)
                     : ze.zeCommandListAppendBarrier(c->immediate, r->event, 0, NULL));
}

int gpu_linked_event_elapsed(float *milliseconds, void *start, void *end) {
    const record *const records[] = {start, end};
    const level_zero_context *c = records[0]->context;
    ze_kernel_timestamp_result_t stamps[2];
    for (int i = 0; i < 2; i++) {
        const ze_result_t code =
            ze.zeEventQueryKernelTimestamp(records[i]->event, &stamps[i]);
        if (code != ZE_RESULT_SUCCESS) {
            return (int)code;
        }
    }
    /* Counters wrap around; a difference of less than a turn survives that. */
    const uint64_t ticks =
        (stamps[1].global.kernelEnd - stamps[0].global.kernelEnd) & c->timestamps;
    *milliseconds = (float)((double)ticks * (double)c->nanoseconds * 1e-6);
    return 0;
}

static void destroy_record(record *r) {
    if (!r) {
        return;
    }
    if (r->list) {
        ze.zeCommandListDestroy(r->list);
    }
    if (r->event) {
        ze.zeEventDestroy(r->event);
    }
    free(r);
}

static void destroy_context(level_zero_context *c) {
    ze_command_list_handle_t const lists[] = {c->capturing, c->immediate, c->copies};
    for (int i = 0; i < 3; i++) {
        if (lists[i]) {
            ze.zeCommandListDestroy(lists[i]);
        }
    }
    if (c->queue) {
        ze.zeCommandQueueDestroy(c->queue);
    }
    if (c->done) {
        ze.zeEventDestroy(c->done);
    }
    if (c->pool) {
        ze.zeEventPoolDestroy(c->pool);
    }
    if (c->context) {
        ze.zeContextDestroy(c->context);
    }
    free(c);
}

void gpu_linked_close(gdn_device *device) {
    if (!device->context) {
        return;
    }
    gpu_linked_context_set(device->context);
    if (device->graph) {
        ze.zeCommandListDestroy(device->graph);
    }
    destroy_record(device->started);
    destroy_record(device->ended);
    for (size_t i = 0; i < sizeof device->modules / sizeof device->modules[0]; i++) {
        if (device->modules[i]) {
            level_zero_module_destroy(device->modules[i]);
        }
    }
    const gpu_address buffers[] = {device->arena.address, device->scratch.address};
    for (int i = 0; i < 2; i++) {
        if (buffers[i]) {
            gpu_linked_memory_free(buffers[i]);
        }
    }
    destroy_context(device->context);
}
