/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The CPU device: a backend in its own right, in fp32 arithmetic, that the harness judges
 * like any other. From reference/ it takes names, views and tables, and no arithmetic. */
#include <errno.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "cpu_verify.h"

#ifndef GDN_CPU_VERSION
#define GDN_CPU_VERSION "unversioned"
#endif

static const cpu_op *op_of(gdn_op op) {
    switch (op) {
    case GDN_OP_CAUSAL_CONV1D:
        return &cpu_causal_conv1d;
    case GDN_OP_GDN_GATING:
        return &cpu_gdn_gating;
    case GDN_OP_GATED_DELTA_RULE:
        return &cpu_gated_delta_rule;
    case GDN_OP_GDN_ATTENTION:
        return &cpu_gdn_attention;
    case GDN_OP_GDN_METADATA:
        return &cpu_gdn_metadata;
    case GDN_OP_CONV_WEIGHT_PACK:
        return &cpu_conv_weight_pack;
    case GDN_OP_VERIFY_DRAFT_TOKENS:
        return &cpu_verify_draft_tokens;
    case GDN_OP_TOP_P_CANDIDATES:
        return &cpu_top_p_candidates;
    case GDN_OP_ADJUST_BATCH:
        return &cpu_adjust_batch;
    case GDN_OP_GATHER_NEXT_TOKEN:
        return &cpu_gather_next_token;
    case GDN_OP_BUILD_SAMPLING_PARAMS:
        return &cpu_build_sampling_params;
    case GDN_OP_SPECULATE_VERIFY:
        return &cpu_speculate_verify;
    case GDN_OP_UNIFIED_UPDATE_MODEL_STATUS:
        return &cpu_unified_update;
    case GDN_OP_NAIVE_UPDATE_MODEL_STATUS:
        return &cpu_naive_update;
    case GDN_OP_REJECTION_SAMPLE:
        return &cpu_rejection_sample;
    case GDN_OP_VERIFY_TREE_GREEDY:
        return &cpu_verify_tree_greedy;
    case GDN_OP_TREE_SPECULATIVE_SAMPLING:
        return &cpu_tree_sampling;
    case GDN_OP_CHAIN_SPECULATIVE_SAMPLING:
        return &cpu_chain_sampling;
    case GDN_OP_BUILD_TREE:
        return &cpu_build_tree;
    case GDN_OP_STATE_COMMIT:
        return &cpu_state_commit;
    default:
        return NULL;
    }
}

static void read_hardware(char *text, size_t size) {
    snprintf(text, size, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (!file) {
        return;
    }
    char line[256];
    while (fgets(line, sizeof line, file)) {
        char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && value) {
            value += 1 + strspn(value + 1, " \t");
            value[strcspn(value, "\n")] = '\0';
            snprintf(text, size, "%.*s", (int)size - 1, value);
            break;
        }
    }
    fclose(file);
}

static gdn_status parse_options(const char *options, int *threads, gdn_error *err) {
    static const char NAME[] = "threads=";
    if (options[0] == '\0') {
        return GDN_OK;
    }
    if (strncmp(options, NAME, sizeof NAME - 1) != 0) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "option: expected threads=N but found \"%s\"", options);
    }
    const char *value = options + sizeof NAME - 1;
    char *end = NULL;
    errno = 0;
    const long number = strtol(value, &end, 10);
    if (end == value || *end != '\0' || errno == ERANGE || number < 1 || number > 4096) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "threads: expected a number in [1, 4096] but found \"%s\"",
                             value);
    }
    *threads = (int)number;
    return GDN_OK;
}

static gdn_status cpu_open(const char *options, gdn_device **device, gdn_error *err) {
    int threads = 0;
    GDN_TRY(parse_options(options, &threads, err));
    gdn_device *d = calloc(1, sizeof *d);
    if (!d) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for the cpu device");
    }
    d->threads = threads;
    d->kernels = cpu_kernels_best();
    read_hardware(d->hardware, sizeof d->hardware);
    snprintf(d->build, sizeof d->build, "%s, %s, %s", GDN_CPU_VERSION, __VERSION__,
             d->kernels->isa);
    *device = d;
    return GDN_OK;
}

static void cpu_close(gdn_device *device) {
    free(device);
}

static gdn_status cpu_identify(gdn_device *device, gdn_device_identity *identity,
                               gdn_error *err) {
    (void)err;
    *identity = (gdn_device_identity){
        .hardware = device->hardware, .driver = "", .build = device->build};
    return GDN_OK;
}

static gdn_status check_fields(const gdn_conventions *conventions,
                               const gdn_convention_field *fields, size_t count,
                               gdn_error *why) {
    for (size_t i = 0; i < count; i++) {
        if (fields[i].kind != GDN_FIELD_ENUM) {
            continue;
        }
        const int value = *(const int *)((const char *)conventions + fields[i].offset);
        if (value < 0 || value >= fields[i].correct) {
            return gdn_error_set(why, GDN_ERR_UNSUPPORTED,
                                 "%s: this device knows no value %d of it", fields[i].name,
                                 value);
        }
    }
    return GDN_OK;
}

/* Every convention that has a right value is honoured, save fp64: slips are not. */
static gdn_status check_conventions(const gdn_conventions *conventions, gdn_error *why) {
    size_t count = 0;
    const gdn_convention_field *fields = gdn_convention_fields(&count);
    GDN_TRY(check_fields(conventions, fields, count, why));
    fields = gdn_verify_fields(&count);
    GDN_TRY(check_fields(conventions, fields, count, why));
    if (conventions->numeric_class != GDN_CLASS_FP32) {
        return gdn_error_set(why, GDN_ERR_UNSUPPORTED,
                             "numeric_class: this device computes in fp32");
    }
    return GDN_OK;
}

static gdn_status cpu_supports(gdn_device *device, const gdn_call *call, gdn_error *why) {
    (void)device;
    if (call->struct_size < sizeof *call) {
        return gdn_error_set(why, GDN_ERR_ABI, "call: expected %zu bytes but found %u",
                             sizeof *call, call->struct_size);
    }
    const cpu_op *op = op_of(call->op);
    if (!op) {
        return gdn_error_set(why, GDN_ERR_UNSUPPORTED, "this device has no op %d",
                             (int)call->op);
    }
    GDN_TRY(check_conventions(call->conventions, why));
    return op->check(call, why);
}

static gdn_status cpu_run(gdn_device *device, const gdn_call *call, double *seconds,
                          gdn_error *err) {
    GDN_TRY(cpu_supports(device, call, err));
    const double start = omp_get_wtime();
    GDN_TRY(op_of(call->op)->run(device, call, err));
    *seconds = omp_get_wtime() - start;
    return GDN_OK;
}

/* A copy of what no cache holds, by all threads, the best of five. */
static gdn_status cpu_bandwidth(gdn_device *device, double *bytes_per_second,
                                gdn_error *err) {
    enum { BLOCKS = 64, BLOCK = 4 << 20, TRIES = 5 };
    char *from = malloc((size_t)BLOCKS * BLOCK), *to = malloc((size_t)BLOCKS * BLOCK);
    const int threads = device->threads > 0 ? device->threads : omp_get_max_threads();
    double best = 0.0;
    for (int i = 0; from && to && i <= TRIES; i++) {
        const double start = omp_get_wtime();
#pragma omp parallel for num_threads(threads)
        for (int k = 0; k < BLOCKS; k++) {
            memcpy(to + (size_t)k * BLOCK, from + (size_t)k * BLOCK, BLOCK);
        }
        const double rate = 2.0 * BLOCKS * BLOCK / (omp_get_wtime() - start);
        best = i > 0 && rate > best ? rate : best; /* the first one touches the pages */
        memset(from, i + 1, (size_t)BLOCKS * BLOCK);
    }
    const bool copied = from && to;
    free(from);
    free(to);
    *bytes_per_second = best;
    return copied ? GDN_OK
                  : gdn_error_set(err, GDN_ERR_OOM, "no memory to measure bandwidth in");
}

const gdn_device_api gdn_device_v1 = {
    .struct_size = sizeof(gdn_device_api),
    .abi_major = GDN_DEVICE_ABI_MAJOR,
    .abi_minor = GDN_DEVICE_ABI_MINOR,
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .identify = cpu_identify,
    .supports = cpu_supports,
    .run = cpu_run,
    .bandwidth = cpu_bandwidth,
};
