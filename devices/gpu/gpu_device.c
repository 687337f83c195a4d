/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The adapter of a GPU: one source for CUDA and HIP. The arena is uploaded whole, the op
 * runs on the same offsets, and the arena is downloaded whole.
 *
 * A fault of a kernel (an illegal address) stays with the process: every later call of the
 * driver fails too. run() answers GDN_ERR_DEVICE then, after which the host ends the worker
 * and starts a fresh one. */
#include <stdlib.h>
#include <string.h>

#include "gpu.h"
#include "gpu_vendor.h"

static gdn_status check(gdn_device *device, int code, const char *what, gdn_error *err) {
    return gpu_driver_check(&device->driver, code, what, err);
}

static gdn_status open_device(gdn_device *device, gdn_error *err) {
    /* Once a process: no driver survives the fork of a process that it serves. */
    static int devices;
    if (devices == 0) {
        GDN_TRY(gpu_driver_probe(device->options.driver, &devices, err));
    }
    if (device->options.ordinal >= devices) {
        return gdn_error_set(err, GDN_ERR_UNSUPPORTED,
                             "device %d: the driver has devices 0 to %d",
                             device->options.ordinal, devices - 1);
    }
    GDN_TRY(gpu_driver_load(&device->driver, device->options.driver, err));
    const gpu_driver *d = &device->driver;
    char target[32];
    GDN_TRY(check(device, d->device_get(&device->ordinal, device->options.ordinal),
                  GPU_NAME_device_get, err));
    GDN_TRY(gpu_identify(device, target, err));
    GDN_TRY(check(device, d->context_retain(&device->context, device->ordinal),
                  GPU_NAME_context_retain, err));
    GDN_TRY(check(device, d->context_set(device->context), GPU_NAME_context_set, err));
    GDN_TRY(
        check(device, d->stream_create(&device->stream, 0), GPU_NAME_stream_create, err));
    GDN_TRY(
        check(device, d->event_create(&device->started, 0), GPU_NAME_event_create, err));
    GDN_TRY(check(device, d->event_create(&device->ended, 0), GPU_NAME_event_create, err));
    device->plan.warp = device->warp;
    device->plan.matrix_units = device->options.mma;
    return gpu_load_modules(device, GPU_TARGET_BY_CAPABILITY ? target : NULL, err);
}

/* What CUDA's and HIP's driver hold ends with the process: after a fault nothing else would
 * work. */
static void gpu_close(gdn_device *device) {
#if GPU_LINKED
    gpu_linked_close(device);
#else
    /* Of the rest the driver disposes with the process; after a fault it refuses these too. */
    const gpu_buffer buffers[] = {device->arena, device->scratch};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++) {
        if (buffers[i].address) {
            (void)device->driver.memory_free(buffers[i].address);
        }
    }
#endif
    gpu_package_destroy(device->package);
    gpu_options_destroy(&device->options);
    free(device);
}

static gdn_status gpu_open(const char *options, gdn_device **device, gdn_error *err) {
    gdn_device *d = calloc(1, sizeof *d);
    if (!d) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for the device");
    }
    gdn_status status = gpu_options_parse(&d->options, options, err);
    if (status == GDN_OK && d->options.package) {
        status = gpu_package_open(&d->package, d->options.package, err);
    }
    if (status == GDN_OK) {
        status = open_device(d, err);
    }
    if (status != GDN_OK) {
        gpu_close(d);
        return status;
    }
    *device = d;
    return GDN_OK;
}

static gdn_status gpu_name(gdn_device *device, gdn_device_identity *identity,
                           gdn_error *err) {
    (void)err;
    *identity = (gdn_device_identity){.hardware = device->hardware,
                                      .driver = device->driver_text,
                                      .build = device->build};
    return GDN_OK;
}

static gdn_status check_arguments(const gdn_call *call, gdn_error *why) {
    const gdn_op_info *op = gdn_op_get(call->op);
    for (size_t i = 0; i < op->n_arguments; i++) {
        if (!op->arguments[i].optional && !gdn_call_tensor(call, op->arguments[i].name)) {
            return gdn_error_set(why, GDN_ERR_ARG, "%s: the call lacks it",
                                 op->arguments[i].name);
        }
    }
    return GDN_OK;
}

static gdn_status plan_call(gdn_device *device, const gdn_call *call, gdn_error *err) {
    if (call->struct_size < sizeof *call) {
        return gdn_error_set(err, GDN_ERR_ABI, "call: expected %zu bytes but found %u",
                             sizeof *call, call->struct_size);
    }
    GDN_TRY(check_arguments(call, err));
    if (device->package) {
        return gpu_package_plan(device->package, &device->plan, call, err);
    }
    GDN_TRY(gpu_check_conventions(call->conventions, err));
    return gpu_plan_build(&device->plan, call, err);
}

/* Room for the call, so that a device without it declines. What is free is the driver's
 * guess, and one allocation may be limited to less. */
static gdn_status reserve(gdn_device *device, const gdn_call *call, gdn_error *why) {
    gdn_error cause = {0};
    gdn_status status =
        gpu_buffer_reserve(device, &device->scratch, device->plan.scratch_bytes, &cause);
    if (status == GDN_OK) {
        status = gpu_buffer_reserve(device, &device->arena, call->arena_bytes, &cause);
    }
    return status == GDN_OK ? GDN_OK
                            : gdn_error_set(why, GDN_ERR_UNSUPPORTED,
                                            "an arena of %zu bytes and scratch of %zu: %s",
                                            call->arena_bytes, device->plan.scratch_bytes,
                                            cause.message);
}

static gdn_status gpu_supports(gdn_device *device, const gdn_call *call, gdn_error *why) {
    device->plan.arena = device->plan.scratch = 0;
    GDN_TRY(plan_call(device, call, why));
    /* A process may have opened another device since. */
    GDN_TRY(check(device, device->driver.context_set(device->context), GPU_NAME_context_set,
                  why));
    size_t available = 0, total = 0;
    GDN_TRY(check(device, device->driver.memory_info(&available, &total),
                  GPU_NAME_memory_info, why));
    const size_t needed = call->arena_bytes + device->plan.scratch_bytes;
    const size_t held = device->arena.bytes + device->scratch.bytes;
    if (needed > available + held) {
        return gdn_error_set(why, GDN_ERR_UNSUPPORTED,
                             "arena and scratch take %zu bytes, the device has %zu", needed,
                             available + held);
    }
    return reserve(device, call, why);
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* repeat=N: the median of N executions, before the one that is judged. States move on from
 * one to the next, which costs the same. */
static gdn_status gpu_measure(gdn_device *device, const gdn_call *call, double *seconds,
                              gdn_error *err) {
    const int count = device->options.repeat;
    if (count == 0) {
        return GDN_OK;
    }
    double *times = calloc((size_t)count, sizeof *times);
    gdn_status status =
        times ? check(device,
                      device->driver.copy_in(device->arena.address, call->arena,
                                             call->arena_bytes),
                      GPU_NAME_copy_in, err)
              : gdn_error_set(err, GDN_ERR_OOM, "no memory for %d times", count);
    for (int i = 0; status == GDN_OK && i < count; i++) {
        status = gpu_execute(device, &times[i], err);
    }
    if (status == GDN_OK) {
        qsort(times, (size_t)count, sizeof *times, compare);
        *seconds = times[count / 2];
    }
    free(times);
    return status;
}

gdn_status gpu_run_planned(gdn_device *device, const gdn_call *call, double *seconds,
                           gdn_error *err) {
    const gpu_driver *d = &device->driver;
    GDN_TRY(gpu_supports(device, call, err));
    device->plan.arena = device->arena.address;
    device->plan.scratch = device->scratch.address;
#if GPU_LINKED
    if (!device->package) {
        device->plan.arena = GK_IN_ARENA;
        device->plan.scratch = GK_IN_SCRATCH;
    }
#endif
    GDN_TRY(plan_call(device, call, err));
    GDN_TRY(gpu_measure(device, call, seconds, err));
    GDN_TRY(check(device, d->copy_in(device->arena.address, call->arena, call->arena_bytes),
                  GPU_NAME_copy_in, err));
    GDN_TRY(gpu_execute(device, device->options.repeat > 0 ? NULL : seconds, err));
    return check(device, d->copy_out(call->arena, device->arena.address, call->arena_bytes),
                 GPU_NAME_copy_out, err);
}

static gdn_status gpu_run(gdn_device *device, const gdn_call *call, double *seconds,
                          gdn_error *err) {
    /* Everything that index tensors address: a kernel would not say which was wrong. */
    GDN_TRY(gdn_call_check(call, err));
    return gpu_run_planned(device, call, seconds, err);
}

#ifdef GPU_KERNELS_HIP
/* A copy from one half of the scratch memory to the other, the best of ten. */
static gdn_status gpu_bandwidth(gdn_device *device, double *bytes_per_second,
                                gdn_error *err) {
    enum { TRIES = 10, BLOCKS = 4096 };
    size_t available = 0, total = 0;
    if (device->package) {
        return gdn_error_set(err, GDN_ERR_UNSUPPORTED,
                             "a package has no kernel that copies");
    }
    GDN_TRY(check(device, device->driver.memory_info(&available, &total),
                  GPU_NAME_memory_info, err));
    const size_t most = (size_t)1 << 30, share = available / 16 / 4096 * 4096;
    const size_t bytes = share < most ? share : most;
    GDN_TRY(gpu_buffer_reserve(device, &device->scratch, 2 * bytes, err));
    const gk_copy_args args = {
        .from = (gk_place)(uintptr_t)device->scratch.address,
        .to = (gk_place)(uintptr_t)(device->scratch.address + bytes),
        .bytes = (gk_long)bytes,
    };
    device->plan.count = 0;
    GDN_TRY(
        gpu_plan_add(&device->plan, "gk_copy", BLOCKS, 1, 1, 256, &args, sizeof args, err));
    double best = 0.0;
    for (int i = 0; i < TRIES; i++) {
        double seconds = 0.0;
        GDN_TRY(gpu_execute(device, &seconds, err));
        best = i == 0 || seconds < best ? seconds : best;
    }
    *bytes_per_second = 2.0 * (double)bytes / best;
    return GDN_OK;
}
#endif

const gdn_device_api gdn_device_v1 = {
    .struct_size = sizeof(gdn_device_api),
    .abi_major = GDN_DEVICE_ABI_MAJOR,
    .abi_minor = GDN_DEVICE_ABI_MINOR,
    .name = GPU_DEVICE,
    .open = gpu_open,
    .close = gpu_close,
    .identify = gpu_name,
    .supports = gpu_supports,
    .run = gpu_run,
#ifdef GPU_KERNELS_HIP
    .bandwidth = gpu_bandwidth,
#endif
};
