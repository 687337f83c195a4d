/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Queues, command lists and events. Nothing runs before somebody waits for it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test_driver.h"

enum { MAX_PENDING = 64 };

static list *pending[MAX_PENDING]; /* executed, or immediate with commands */
static int pending_count;

static void forget_commands(list *l) {
    for (int i = 0; i < l->count; i++) {
        free(l->commands[i].arguments);
    }
    l->count = 0;
}

void lists_flush(void) {
    for (int i = 0; i < pending_count; i++) {
        run_commands(pending[i]->commands, pending[i]->count);
        if (pending[i]->immediate) {
            forget_commands(pending[i]);
        }
    }
    pending_count = 0;
    memory_guard(false, false);
}

static bool is_pending(const list *l) {
    for (int i = 0; i < pending_count; i++) {
        if (pending[i] == l) {
            return true;
        }
    }
    return false;
}

static ze_result_t submit(list *l, const char *function) {
    if (l->immediate && is_pending(l)) {
        return ZE_RESULT_SUCCESS;
    }
    if (pending_count == MAX_PENDING) {
        return refuse(ZE_RESULT_ERROR_UNSUPPORTED_SIZE, function, "too much to wait for");
    }
    pending[pending_count++] = l;
    memory_guard(false, true);
    return ZE_RESULT_SUCCESS;
}

/* The list, open for one more command; NULL says why not. */
static list *open_list(ze_command_list_handle_t handle, const char *function) {
    list *l = object_find(handle, LIST, function);
    if (l && (l->closed || l->count == MAX_COMMANDS)) {
        refuse(0, function,
               l->closed ? "the command list is closed" : "the command list is full");
        return NULL;
    }
    return l;
}

static ze_result_t append(list *l, command c, ze_event_handle_t signal, uint32_t waits,
                          const char *function) {
    if (waits > 0) {
        return refuse(ZE_RESULT_ERROR_UNSUPPORTED_FEATURE, function,
                      "waiting for events in a list");
    }
    if (signal && !(c.signal = object_find(signal, EVENT, function))) {
        return ZE_RESULT_ERROR_INVALID_SYNCHRONIZATION_OBJECT;
    }
    l->commands[l->count++] = c;
    return l->immediate ? submit(l, function) : ZE_RESULT_SUCCESS;
}

static ze_result_t append_barrier(ze_command_list_handle_t handle, ze_event_handle_t signal,
                                  uint32_t waits, ze_event_handle_t *events) {
    static const char *const FUNCTION = "zeCommandListAppendBarrier";
    list *l = open_list(handle, FUNCTION);
    (void)events;
    return l ? append(l, (command){.kind = BARRIER}, signal, waits, FUNCTION)
             : ZE_RESULT_ERROR_INVALID_ARGUMENT;
}

static ze_result_t append_copy(ze_command_list_handle_t handle, void *to, const void *from,
                               size_t bytes, ze_event_handle_t signal, uint32_t waits,
                               ze_event_handle_t *events) {
    static const char *const FUNCTION = "zeCommandListAppendMemoryCopy";
    list *l = open_list(handle, FUNCTION);
    (void)events;
    if (!l) {
        return ZE_RESULT_ERROR_INVALID_ARGUMENT;
    }
    const size_t sizes[] = {memory_rest(to), memory_rest(from)};
    for (int i = 0; i < 2; i++) {
        if (sizes[i] > 0 && sizes[i] < bytes) {
            return refuse(ZE_RESULT_ERROR_INVALID_SIZE, FUNCTION,
                          "%zu bytes, but the %s has %zu", bytes,
                          i == 0 ? "destination" : "source", sizes[i]);
        }
    }
    return append(l, (command){.kind = COPY, .to = to, .from = from, .bytes = bytes},
                  signal, waits, FUNCTION);
}

static ze_result_t append_launch(ze_command_list_handle_t handle,
                                 ze_kernel_handle_t kernel_handle,
                                 const ze_group_count_t *count, ze_event_handle_t signal,
                                 uint32_t waits, ze_event_handle_t *events) {
    static const char *const FUNCTION = "zeCommandListAppendLaunchKernel";
    list *l = open_list(handle, FUNCTION);
    kernel *k = object_find(kernel_handle, KERNEL, FUNCTION);
    (void)events;
    if (!l || !k) {
        return ZE_RESULT_ERROR_INVALID_NULL_HANDLE;
    }
    if (k->group[0] == 0) {
        return refuse(ZE_RESULT_ERROR_INVALID_GROUP_SIZE_DIMENSION, FUNCTION,
                      "the group size of %s was never set", k->name);
    }
    command c = {.kind = LAUNCH, .kernel = k, .arguments = arguments_copy(k)};
    if (!c.arguments) {
        return ZE_RESULT_ERROR_INVALID_ARGUMENT;
    }
    memcpy(c.group, k->group, sizeof c.group);
    c.count[0] = count->groupCountX;
    c.count[1] = count->groupCountY;
    c.count[2] = count->groupCountZ;
    return append(l, c, signal, waits, FUNCTION);
}

static ze_result_t create_list(ze_context_handle_t context, bool immediate,
                               ze_command_list_handle_t *handle, const char *function) {
    if (!object_find(context, CONTEXT, function)) {
        return ZE_RESULT_ERROR_INVALID_NULL_HANDLE;
    }
    list *l = object_create(LIST, sizeof *l);
    if (!l) {
        return ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY;
    }
    l->immediate = immediate;
    *handle = (ze_command_list_handle_t)l;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t list_create(ze_context_handle_t context, ze_device_handle_t device,
                               const ze_command_list_desc_t *description,
                               ze_command_list_handle_t *handle) {
    (void)device;
    (void)description;
    return create_list(context, false, handle, "zeCommandListCreate");
}

static ze_result_t list_create_immediate(ze_context_handle_t context,
                                         ze_device_handle_t device,
                                         const ze_command_queue_desc_t *description,
                                         ze_command_list_handle_t *handle) {
    (void)device;
    (void)description;
    return create_list(context, true, handle, "zeCommandListCreateImmediate");
}

static ze_result_t list_destroy(ze_command_list_handle_t handle) {
    list *l = object_find(handle, LIST, "zeCommandListDestroy");
    if (l && is_pending(l)) {
        return refuse(ZE_RESULT_ERROR_HANDLE_OBJECT_IN_USE, "zeCommandListDestroy",
                      "the command list was not waited for");
    }
    if (l) {
        forget_commands(l);
    }
    return object_destroy(handle, LIST, "zeCommandListDestroy");
}

static ze_result_t list_close(ze_command_list_handle_t handle) {
    list *l = open_list(handle, "zeCommandListClose");
    if (!l || l->immediate) {
        return ZE_RESULT_ERROR_INVALID_ARGUMENT;
    }
    l->closed = true;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t queue_create(ze_context_handle_t context, ze_device_handle_t device,
                                const ze_command_queue_desc_t *description,
                                ze_command_queue_handle_t *handle) {
    (void)device;
    (void)description;
    if (!object_find(context, CONTEXT, "zeCommandQueueCreate")) {
        return ZE_RESULT_ERROR_INVALID_NULL_HANDLE;
    }
    *handle = object_create(QUEUE, sizeof(object));
    return *handle ? ZE_RESULT_SUCCESS : ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY;
}

static ze_result_t queue_destroy(ze_command_queue_handle_t handle) {
    return object_destroy(handle, QUEUE, "zeCommandQueueDestroy");
}

static ze_result_t queue_execute(ze_command_queue_handle_t queue, uint32_t count,
                                 ze_command_list_handle_t *lists, ze_fence_handle_t fence) {
    static const char *const FUNCTION = "zeCommandQueueExecuteCommandLists";
    if (!object_find(queue, QUEUE, FUNCTION) || fence) {
        return ZE_RESULT_ERROR_INVALID_NULL_HANDLE;
    }
    for (uint32_t i = 0; i < count; i++) {
        list *l = object_find(lists[i], LIST, FUNCTION);
        if (!l) {
            return ZE_RESULT_ERROR_INVALID_NULL_HANDLE;
        }
        if (!l->closed) {
            return refuse(ZE_RESULT_ERROR_INVALID_ARGUMENT, FUNCTION,
                          "the command list is not closed");
        }
        const ze_result_t code = submit(l, FUNCTION);
        if (code != ZE_RESULT_SUCCESS) {
            return code;
        }
    }
    return ZE_RESULT_SUCCESS;
}

static ze_result_t queue_synchronize(ze_command_queue_handle_t queue, uint64_t timeout) {
    (void)timeout;
    if (!object_find(queue, QUEUE, "zeCommandQueueSynchronize")) {
        return ZE_RESULT_ERROR_INVALID_NULL_HANDLE;
    }
    lists_flush();
    return ZE_RESULT_SUCCESS;
}

static ze_result_t pool_create(ze_context_handle_t context,
                               const ze_event_pool_desc_t *description, uint32_t count,
                               ze_device_handle_t *devices,
                               ze_event_pool_handle_t *handle) {
    (void)description;
    (void)count;
    (void)devices;
    if (!object_find(context, CONTEXT, "zeEventPoolCreate")) {
        return ZE_RESULT_ERROR_INVALID_NULL_HANDLE;
    }
    *handle = object_create(POOL, sizeof(object));
    return *handle ? ZE_RESULT_SUCCESS : ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY;
}

static ze_result_t pool_destroy(ze_event_pool_handle_t handle) {
    return object_destroy(handle, POOL, "zeEventPoolDestroy");
}

static ze_result_t event_create(ze_event_pool_handle_t pool,
                                const ze_event_desc_t *description,
                                ze_event_handle_t *handle) {
    (void)description;
    if (!object_find(pool, POOL, "zeEventCreate")) {
        return ZE_RESULT_ERROR_INVALID_NULL_HANDLE;
    }
    *handle = object_create(EVENT, sizeof(event));
    return *handle ? ZE_RESULT_SUCCESS : ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY;
}

static ze_result_t event_destroy(ze_event_handle_t handle) {
    return object_destroy(handle, EVENT, "zeEventDestroy");
}

static ze_result_t event_synchronize(ze_event_handle_t handle, uint64_t timeout) {
    const event *e = object_find(handle, EVENT, "zeEventHostSynchronize");
    (void)timeout;
    if (!e) {
        return ZE_RESULT_ERROR_INVALID_NULL_HANDLE;
    }
    lists_flush();
    return e->signalled ? ZE_RESULT_SUCCESS
                        : refuse(ZE_RESULT_NOT_READY, "zeEventHostSynchronize",
                                 "nothing that was appended signals the event");
}

static ze_result_t event_reset(ze_event_handle_t handle) {
    event *e = object_find(handle, EVENT, "zeEventHostReset");
    if (!e) {
        return ZE_RESULT_ERROR_INVALID_NULL_HANDLE;
    }
    e->signalled = false;
    return ZE_RESULT_SUCCESS;
}

static ze_result_t event_timestamp(ze_event_handle_t handle,
                                   ze_kernel_timestamp_result_t *stamp) {
    const event *e = object_find(handle, EVENT, "zeEventQueryKernelTimestamp");
    if (!e || !e->signalled) {
        return e ? refuse(ZE_RESULT_NOT_READY, "zeEventQueryKernelTimestamp",
                          "the event is not signalled")
                 : ZE_RESULT_ERROR_INVALID_NULL_HANDLE;
    }
    const ze_kernel_timestamp_data_t at = {e->at, e->at};
    *stamp = (ze_kernel_timestamp_result_t){.global = at, .context = at};
    return ZE_RESULT_SUCCESS;
}

void lists_fill_tables(ze_command_list_dditable_t *lists,
                       ze_command_queue_dditable_t *queues, ze_event_pool_dditable_t *pools,
                       ze_event_dditable_t *events);

/* Those that are given. */
void lists_fill_tables(ze_command_list_dditable_t *lists,
                       ze_command_queue_dditable_t *queues, ze_event_pool_dditable_t *pools,
                       ze_event_dditable_t *events) {
    if (lists) {
        lists->pfnCreate = list_create;
        lists->pfnCreateImmediate = list_create_immediate;
        lists->pfnDestroy = list_destroy;
        lists->pfnClose = list_close;
        lists->pfnAppendBarrier = append_barrier;
        lists->pfnAppendMemoryCopy = append_copy;
        lists->pfnAppendLaunchKernel = append_launch;
    }
    if (queues) {
        queues->pfnCreate = queue_create;
        queues->pfnDestroy = queue_destroy;
        queues->pfnExecuteCommandLists = queue_execute;
        queues->pfnSynchronize = queue_synchronize;
    }
    if (pools) {
        pools->pfnCreate = pool_create;
        pools->pfnDestroy = pool_destroy;
    }
    if (events) {
        events->pfnCreate = event_create;
        events->pfnDestroy = event_destroy;
        events->pfnHostSynchronize = event_synchronize;
        events->pfnHostReset = event_reset;
        events->pfnQueryKernelTimestamp = event_timestamp;
    }
}
