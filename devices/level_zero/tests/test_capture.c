/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Intel's driver and compiler without a GPU, in the driver's capture mode: the module
 * becomes native code of the product that ProductFamilyOverride names, every kernel is
 * created, takes its arguments by their sizes, and is launched; the validation layer has no
 * word to say. Nothing is executed, which is checked too: this is about the use of the API,
 * compilation and the layout of arguments, never about numbers.
 *
 * Exit 77 where Intel's driver is not installed. */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cl_kernels.h"
#include "level_zero.h"

static gdn_device *device;

/* Kernels whose names begin so, and what they take. */
static const struct {
    const char *prefix;
    size_t bytes;
} ARGUMENTS[] = {
    {"gk_conv", sizeof(gk_conv_args)},     {"gk_pack", sizeof(gk_pack_args)},
    {"gk_gating", sizeof(gk_gating_args)}, {"gk_zero", sizeof(gk_zero_args)},
    {"gk_copy_z", sizeof(gk_copy_z_args)}, {"gk_normalise", sizeof(gk_normalise_args)},
    {"gk_delta", sizeof(gk_delta_args)},   {"gk_metadata", sizeof(gk_metadata_args)},
    {"gk_verify", sizeof(gk_verify_args)}, {"gk_rejection", sizeof(gk_rejection_args)},
};

static void launch(int module, const char *name) {
    static unsigned char args[GPU_ARGS_BYTES];
    size_t sizes[] = {0, 8, 8, 0};
    void *const arguments[] = {args, NULL, NULL};
    void *function = NULL;
    for (size_t i = 0; i < sizeof ARGUMENTS / sizeof ARGUMENTS[0]; i++) {
        if (strncmp(name, ARGUMENTS[i].prefix, strlen(ARGUMENTS[i].prefix)) == 0) {
            sizes[0] = ARGUMENTS[i].bytes;
        }
    }
    if (sizes[0] == 0) {
        fail_msg("%s: this test does not know its arguments", name);
    }
    int code = gpu_linked_module_function(&function, device->modules[module], name);
    if (code == 0) {
        code = gpu_linked_launch(function, 1, 1, 1, 32, 1, 1, 0, device->stream,
                                 (void **)arguments, (void **)sizes);
    }
    if (code != 0) {
        fail_msg("%s: %s (%#x)", name, gpu_linked_error(code), (unsigned)code);
    }
}

/* The entry points stand in the module as OpEntryPoint: words 3 on are the name. */
static int launch_module(int module, const unsigned char *spirv, size_t bytes) {
    enum { OP_ENTRY_POINT = 15, HEADER_WORDS = 5 };
    const size_t count = bytes / 4;
    uint32_t *words = malloc(bytes);
    int launched = 0;
    assert_non_null(words);
    memcpy(words, spirv, bytes);
    for (size_t at = HEADER_WORDS; at < count; at += words[at] >> 16) {
        assert_int_not_equal(words[at] >> 16, 0);
        if ((words[at] & 0xffff) == OP_ENTRY_POINT) {
            launch(module, (const char *)&words[at + 3]);
            launched++;
        }
    }
    free(words);
    return launched;
}

/* Of the products, Skylake has fp64. */
static bool has_fp64(void) {
    const char *product = getenv("ProductFamilyOverride");
    return product && strcmp(product, "skl") == 0;
}

static int launch_all(void) {
    int launched = launch_module(0, cl_kernels_spirv, cl_kernels_spirv_bytes);
    if (has_fp64()) {
        launched += launch_module(device->plan.fp64_module, cl_kernels_fp64_spirv,
                                  cl_kernels_fp64_spirv_bytes);
    }
    return launched;
}

static void doubles_are_left_out_where_there_is_no_fp64(void **state) {
    (void)state;
    const gdn_call call = {.op = GDN_OP_REJECTION_SAMPLE};
    gpu_plan plan = {.fp64_module = device->plan.fp64_module};
    gdn_error why = {0};
    if (has_fp64()) {
        assert_non_null(device->modules[1]);
        return;
    }
    assert_null(device->modules[1]);
    assert_int_equal(gpu_plan_build(&plan, &call, &why), GDN_ERR_UNSUPPORTED);
    assert_non_null(strstr(why.message, "this device has no fp64"));
    print_message("%s: %s\n", device->hardware, why.message);
}

static void every_kernel_is_built_and_launched(void **state) {
    (void)state;
    const int launched = launch_all();
    print_message("%s: %d kernels\n", device->hardware, launched);
    assert_int_equal(launched, has_fp64() ? 22 : 21);
}

static void every_kernel_is_captured(void **state) {
    (void)state;
    void *graph = NULL;
    assert_int_equal(gpu_linked_stream_capture_begin(device->stream, 0), 0);
    launch_all();
    assert_int_equal(gpu_linked_stream_capture_end(device->stream, &graph), 0);
    assert_int_equal(gpu_linked_graph_exec_destroy(graph), 0);
}

static void nothing_is_executed(void **state) {
    (void)state;
    float milliseconds = 0;
    assert_int_equal(gpu_linked_event_record(device->started, device->stream), 0);
    assert_int_equal(gpu_linked_event_record(device->ended, device->stream), 0);
    assert_int_equal(
        gpu_linked_event_elapsed(&milliseconds, device->started, device->ended),
        ZE_RESULT_NOT_READY);
}

int main(void) {
    gdn_error err = {0};
    if (!dlopen("libze_intel_gpu.so.1", RTLD_NOW)) {
        fprintf(stderr, "%s\n", dlerror());
        return 77;
    }
    if (gdn_device_v1.open("", &device, &err) != GDN_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kernel_is_built_and_launched),
        cmocka_unit_test(every_kernel_is_captured),
        cmocka_unit_test(doubles_are_left_out_where_there_is_no_fp64),
        cmocka_unit_test(nothing_is_executed),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    gdn_device_v1.close(device);
    return failed;
}
