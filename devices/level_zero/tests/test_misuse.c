/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The driver without a GPU refuses misuse, so that a device which passes on it made
 * none. Through the stock loader; what the driver says goes to a file. */
#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <level_zero/ze_api.h>

#include "cl_kernels.h"
#include "kernel_args.h"

static ze_driver_handle_t driver;
static ze_device_handle_t device;
static ze_context_handle_t context;
static ze_module_handle_t module;
static ze_kernel_handle_t zero; /* gk_zero: takes rows of a tensor */
static ze_command_list_handle_t list;
static ze_event_pool_handle_t pool;
static ze_event_handle_t done;
static void *memory;

static int (*live)(void);

/* The driver's way with SIGSEGV; cmocka has one of its own. */
static struct sigaction on_fault;

static void open_all(void) {
    uint32_t count = 1;
    const ze_context_desc_t of_context = {.stype = ZE_STRUCTURE_TYPE_CONTEXT_DESC};
    const ze_command_queue_desc_t of_list = {.stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC};
    const ze_event_pool_desc_t of_pool = {.stype = ZE_STRUCTURE_TYPE_EVENT_POOL_DESC,
                                          .count = 1};
    const ze_event_desc_t of_event = {.stype = ZE_STRUCTURE_TYPE_EVENT_DESC};
    const ze_device_mem_alloc_desc_t of_memory = {
        .stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC};
    const ze_kernel_desc_t of_kernel = {.stype = ZE_STRUCTURE_TYPE_KERNEL_DESC,
                                        .pKernelName = "gk_zero"};
    const ze_module_desc_t of_module = {.stype = ZE_STRUCTURE_TYPE_MODULE_DESC,
                                        .format = ZE_MODULE_FORMAT_IL_SPIRV,
                                        .inputSize = cl_kernels_spirv_bytes,
                                        .pInputModule = cl_kernels_spirv};
    assert_int_equal(zeInit(0), 0);
    assert_int_equal(zeDriverGet(&count, &driver), 0);
    assert_int_equal(zeDeviceGet(driver, &count, &device), 0);
    assert_int_equal(zeContextCreate(driver, &of_context, &context), 0);
    assert_int_equal(zeCommandListCreateImmediate(context, device, &of_list, &list), 0);
    assert_int_equal(zeEventPoolCreate(context, &of_pool, 1, &device, &pool), 0);
    assert_int_equal(zeEventCreate(pool, &of_event, &done), 0);
    assert_int_equal(zeMemAllocDevice(context, &of_memory, 4096, 64, device, &memory), 0);
    assert_int_equal(zeModuleCreate(context, device, &of_module, &module, NULL), 0);
    assert_int_equal(zeKernelCreate(module, &of_kernel, &zero), 0);
    assert_int_equal(zeKernelSetGroupSize(zero, 16, 1, 1), 0);
    assert_int_equal(sigaction(SIGSEGV, NULL, &on_fault), 0);
}

static void close_all(void) {
    assert_int_equal(zeKernelDestroy(zero), 0);
    assert_int_equal(zeModuleDestroy(module), 0);
    assert_int_equal(zeMemFree(context, memory), 0);
    assert_int_equal(zeEventDestroy(done), 0);
    assert_int_equal(zeEventPoolDestroy(pool), 0);
    assert_int_equal(zeCommandListDestroy(list), 0);
    assert_int_equal(zeContextDestroy(context), 0);
}

/* What the driver has said on stderr since begin_listening. */
static int saved = -1;
static FILE *heard;

static void begin_listening(void) {
    fflush(stderr);
    saved = dup(STDERR_FILENO);
    heard = tmpfile();
    assert_non_null(heard);
    dup2(fileno(heard), STDERR_FILENO);
}

static void assert_said(const char *text) {
    char said[4096] = "";
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(heard);
    const size_t size = fread(said, 1, sizeof said - 1, heard);
    fclose(heard);
    said[size] = '\0';
    if (!strstr(said, text)) {
        fail_msg("expected \"%s\" but heard \"%s\"", text, said);
    }
}

static void wrong_argument_sizes(void **state) {
    (void)state;
    const gk_zero_args args = {.rows = 1};
    begin_listening();
    assert_int_equal(zeKernelSetArgumentValue(zero, 0, sizeof args - 8, &args),
                     ZE_RESULT_ERROR_INVALID_KERNEL_ARGUMENT_SIZE);
    assert_said("argument 0 of gk_zero has 64 bytes, not 56");
    begin_listening();
    assert_int_equal(zeKernelSetArgumentValue(zero, 1, 4, &memory),
                     ZE_RESULT_ERROR_INVALID_KERNEL_ARGUMENT_SIZE);
    assert_said("argument 1 of gk_zero has 8 bytes, not 4");
    begin_listening();
    assert_int_equal(zeKernelSetArgumentValue(zero, 3, 8, &memory),
                     ZE_RESULT_ERROR_INVALID_KERNEL_ARGUMENT_INDEX);
    assert_said("there is none of index 3");
}

static void pointers_to_nowhere(void **state) {
    (void)state;
    void *nowhere = &state;
    begin_listening();
    assert_int_equal(zeKernelSetArgumentValue(zero, 1, 8, &nowhere),
                     ZE_RESULT_ERROR_INVALID_ARGUMENT);
    assert_said("points to no memory of the driver's");
}

static void launches_without_arguments(void **state) {
    (void)state;
    const ze_group_count_t one = {1, 1, 1};
    begin_listening();
    assert_int_not_equal(zeCommandListAppendLaunchKernel(list, zero, &one, NULL, 0, NULL),
                         0);
    assert_said("of gk_zero was never set");
}

static void freed_handles(void **state) {
    (void)state;
    const ze_event_desc_t description = {.stype = ZE_STRUCTURE_TYPE_EVENT_DESC};
    ze_event_handle_t gone = NULL;
    assert_int_equal(zeEventCreate(pool, &description, &gone), 0);
    assert_int_equal(zeEventDestroy(gone), 0);
    begin_listening();
    assert_int_not_equal(zeCommandListAppendBarrier(list, gone, 0, NULL), 0);
    assert_said("zeCommandListAppendBarrier: the event was destroyed");
    begin_listening();
    assert_int_not_equal(zeEventHostReset((ze_event_handle_t)list), 0);
    assert_said("a command list is given where a event is due");
}

static void memory_in_use(void **state) {
    (void)state;
    static char from[4096];
    assert_int_equal(zeCommandListAppendMemoryCopy(list, memory, from, 4096, done, 0, NULL),
                     0);
    begin_listening();
    assert_int_equal(zeMemFree(context, memory), ZE_RESULT_ERROR_HANDLE_OBJECT_IN_USE);
    assert_said("were not waited for");
    begin_listening();
    assert_int_equal(zeCommandListDestroy(list), ZE_RESULT_ERROR_HANDLE_OBJECT_IN_USE);
    assert_said("the command list was not waited for");
    assert_int_equal(zeEventHostSynchronize(done, UINT64_MAX), 0);
    assert_int_equal(zeEventHostReset(done), 0);
}

static void copies_that_are_too_long(void **state) {
    (void)state;
    static char from[8192];
    begin_listening();
    assert_int_equal(zeCommandListAppendMemoryCopy(list, memory, from, 8192, NULL, 0, NULL),
                     ZE_RESULT_ERROR_INVALID_SIZE);
    assert_said("8192 bytes, but the destination has 4096");
}

static void entry_points_that_it_lacks(void **state) {
    (void)state;
    begin_listening();
    assert_int_equal(zeCommandListReset(list), ZE_RESULT_ERROR_UNSUPPORTED_FEATURE);
    assert_said("zeCommandListReset: the test driver has no such entry point");
    begin_listening();
    assert_int_equal(zeEventQueryStatus(done), ZE_RESULT_ERROR_UNSUPPORTED_FEATURE);
    assert_said("zeEventQueryStatus");
}

/* The signal that ends a child which reads `address`, with what the driver said. */
static int read_in_child(const volatile char *address) {
    int status = 0;
    fflush(stderr);
    const pid_t child = fork();
    if (child == 0) {
        sigaction(SIGSEGV, &on_fault, NULL);
        _exit(*address);
    }
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void reads_of_device_memory(void **state) {
    (void)state;
    begin_listening();
    assert_int_equal(read_in_child(memory), SIGSEGV);
    assert_said("the host touched device memory");
}

static void unsynchronised_reads(void **state) {
    (void)state;
    const ze_device_mem_alloc_desc_t on_device = {
        .stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC};
    const ze_host_mem_alloc_desc_t on_host = {.stype =
                                                  ZE_STRUCTURE_TYPE_HOST_MEM_ALLOC_DESC};
    void *shared = NULL;
    assert_int_equal(
        zeMemAllocShared(context, &on_device, &on_host, 4096, 64, device, &shared), 0);
    assert_int_equal(read_in_child(shared), 0);
    assert_int_equal(zeCommandListAppendBarrier(list, done, 0, NULL), 0);
    begin_listening();
    assert_int_equal(read_in_child(shared), SIGSEGV);
    assert_said("shared memory while commands that may use it were not waited for");
    assert_int_equal(zeEventHostSynchronize(done, UINT64_MAX), 0);
    assert_int_equal(zeEventHostReset(done), 0);
    assert_int_equal(read_in_child(shared), 0);
    assert_int_equal(zeMemFree(context, shared), 0);
}

static void leaks(void **state) {
    (void)state;
    begin_listening();
    assert_int_not_equal(live(), 0);
    assert_said("never released: a kernel");
}

int main(void) {
    const char *path = getenv("ZE_ENABLE_ALT_DRIVERS");
    void *library = path ? dlopen(path, RTLD_NOW) : NULL;
    void *symbol = library ? dlsym(library, "test_driver_live") : NULL;
    if (!symbol) {
        fprintf(stderr, "ZE_ENABLE_ALT_DRIVERS names no test driver\n");
        return 1;
    }
    memcpy(&live, &symbol, sizeof symbol);
    open_all();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(launches_without_arguments),
        cmocka_unit_test(wrong_argument_sizes),
        cmocka_unit_test(pointers_to_nowhere),
        cmocka_unit_test(freed_handles),
        cmocka_unit_test(memory_in_use),
        cmocka_unit_test(copies_that_are_too_long),
        cmocka_unit_test(entry_points_that_it_lacks),
        cmocka_unit_test(reads_of_device_memory),
        cmocka_unit_test(unsynchronised_reads),
        cmocka_unit_test(leaks),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    close_all();
    return failed > 0 || live() != 0;
}
