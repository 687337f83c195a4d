/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Memory that only its owner of the moment can touch. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test_driver.h"

enum { MAX_ALLOCATIONS = 64 };

typedef struct allocation {
    char *base; /* NULL: free */
    size_t bytes, mapped;
    bool shared;
} allocation;

static allocation allocations[MAX_ALLOCATIONS];
static size_t used;
static bool is_running, is_pending;
static struct sigaction before;

size_t test_driver_memory(void);

/* Bytes of the device's memory. */
size_t test_driver_memory(void) {
    const char *text = getenv("ZE_TEST_MEMORY");
    return text ? strtoull(text, NULL, 10) : (size_t)64 << 30;
}

static allocation *find(const void *address) {
    for (int i = 0; i < MAX_ALLOCATIONS; i++) {
        allocation *a = &allocations[i];
        if (a->base && (const char *)address >= a->base &&
            (const char *)address < a->base + a->bytes) {
            return a;
        }
    }
    return NULL;
}

static void protect(const allocation *a) {
    const bool open = is_running || (a->shared && !is_pending);
    mprotect(a->base, a->mapped, open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

void memory_guard(bool running, bool pending) {
    is_running = running;
    is_pending = pending;
    for (int i = 0; i < MAX_ALLOCATIONS; i++) {
        if (allocations[i].base) {
            protect(&allocations[i]);
        }
    }
}

/* Says whose memory it was before the process dies of it. */
static void on_fault(int number, siginfo_t *info, void *context) {
    const allocation *a = find(info->si_addr);
    (void)context;
    if (a) {
        const char *text =
            a->shared ? "test driver: the host touched shared memory while commands that "
                        "may use it were not waited for\n"
                      : "test driver: the host touched device memory\n";
        const ssize_t written = write(STDERR_FILENO, text, strlen(text));
        (void)written;
    }
    sigaction(number, &before, NULL); /* the instruction faults again */
}

static ze_result_t allocate(const char *function, size_t bytes, bool shared,
                            void **address) {
    static bool watched;
    allocation *a = NULL;
    for (int i = 0; i < MAX_ALLOCATIONS && !a; i++) {
        a = allocations[i].base ? NULL : &allocations[i];
    }
    if (!a || bytes == 0) {
        return refuse(ZE_RESULT_ERROR_UNSUPPORTED_SIZE, function, "%zu bytes", bytes);
    }
    if (bytes > test_driver_memory() - used) {
        return ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    a->mapped = (bytes + 4095) / 4096 * 4096;
    void *base = mmap(NULL, a->mapped, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        return ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    if (!watched) {
        const struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
        watched = sigaction(SIGSEGV, &action, &before) == 0;
    }
    *a = (allocation){.base = base, .bytes = bytes, .mapped = a->mapped, .shared = shared};
    used += bytes;
    protect(a);
    *address = base;
    return ZE_RESULT_SUCCESS;
}

size_t memory_rest(const void *address) {
    const allocation *a = find(address);
    return a ? (size_t)(a->base + a->bytes - (const char *)address) : 0;
}

int memory_live(void) {
    int live = 0;
    for (int i = 0; i < MAX_ALLOCATIONS; i++) {
        live += allocations[i].base != NULL;
    }
    return live;
}

static ze_result_t alloc_device(ze_context_handle_t context,
                                const ze_device_mem_alloc_desc_t *description, size_t bytes,
                                size_t alignment, ze_device_handle_t device,
                                void **address) {
    (void)description;
    (void)device;
    if (!object_find(context, CONTEXT, "zeMemAllocDevice")) {
        return ZE_RESULT_ERROR_INVALID_NULL_HANDLE;
    }
    return alignment > 4096 ? ZE_RESULT_ERROR_UNSUPPORTED_ALIGNMENT
                            : allocate("zeMemAllocDevice", bytes, false, address);
}

static ze_result_t alloc_shared(ze_context_handle_t context,
                                const ze_device_mem_alloc_desc_t *description,
                                const ze_host_mem_alloc_desc_t *host, size_t bytes,
                                size_t alignment, ze_device_handle_t device,
                                void **address) {
    (void)description;
    (void)host;
    (void)device;
    if (!object_find(context, CONTEXT, "zeMemAllocShared")) {
        return ZE_RESULT_ERROR_INVALID_NULL_HANDLE;
    }
    return alignment > 4096 ? ZE_RESULT_ERROR_UNSUPPORTED_ALIGNMENT
                            : allocate("zeMemAllocShared", bytes, true, address);
}

static ze_result_t mem_free(ze_context_handle_t context, void *address) {
    allocation *a = find(address);
    if (!object_find(context, CONTEXT, "zeMemFree")) {
        return ZE_RESULT_ERROR_INVALID_NULL_HANDLE;
    }
    if (!a || a->base != address) {
        return refuse(ZE_RESULT_ERROR_INVALID_ARGUMENT, "zeMemFree",
                      "the address was freed or never allocated");
    }
    if (is_pending) {
        return refuse(ZE_RESULT_ERROR_HANDLE_OBJECT_IN_USE, "zeMemFree",
                      "commands that may use the memory were not waited for");
    }
    munmap(a->base, a->mapped);
    used -= a->bytes;
    *a = (allocation){0};
    return ZE_RESULT_SUCCESS;
}

static ze_result_t address_range(ze_context_handle_t context, const void *address,
                                 void **base, size_t *bytes) {
    const allocation *a = find(address);
    if (!object_find(context, CONTEXT, "zeMemGetAddressRange") || !a) {
        return ZE_RESULT_ERROR_INVALID_ARGUMENT;
    }
    *base = a->base;
    *bytes = a->bytes;
    return ZE_RESULT_SUCCESS;
}

void memory_fill_table(ze_mem_dditable_t *table);
void memory_fill_table(ze_mem_dditable_t *table) {
    table->pfnAllocDevice = alloc_device;
    table->pfnAllocShared = alloc_shared;
    table->pfnFree = mem_free;
    table->pfnGetAddressRange = address_range;
}
