/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The simulated device: the reference, rounded to storage, with one convention obeyed
 * wrongly if asked. It proves that suites and judge see what they claim to see; it says
 * nothing about hardware.
 *
 * Options, separated by commas:
 *   deviation=NAME    a row of the deviation table (gdn-conform list deviations);
 *                     NAME+NAME: two bugs at once
 *   class=CLASS       what a kernel of that numeric class errs by in gated_delta_rule and
 *                     gdn_attention: the emulated kernel of the noise floor, matrix units in
 *                     chunked calls (reference/floor.h)
 *   fault=KIND        run() misbehaves on every call: crash, hang, error, stdout
 *   fault-op=OP       only on calls of this op */
#include "gdn/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gdn/deviation.h"
#include "gdn/nearest.h"
#include "gdn/reference.h"

struct gdn_device {
    const gdn_deviation *deviation, *second;
    const char *class_name; /* NULL: exact */
    gdn_numeric_class class;
    char fault[16];
    gdn_op fault_op; /* GDN_OP_COUNT: every op */
};

static bool fault_is_known(const char *fault) {
    static const char *const FAULTS[] = {"crash", "hang", "error", "stdout"};
    for (size_t i = 0; i < sizeof FAULTS / sizeof FAULTS[0]; i++) {
        if (strcmp(fault, FAULTS[i]) == 0) {
            return true;
        }
    }
    return false;
}

static gdn_status refuse_deviation(const char *name, gdn_error *err) {
    size_t count;
    const gdn_deviation *rows = gdn_deviations(&count);
    const char **names = calloc(count + 1, sizeof *names);
    if (!names) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for names");
    }
    for (size_t i = 0; i < count; i++) {
        names[i] = rows[i].name;
    }
    const gdn_status status = gdn_error_unknown(err, GDN_ERR_ARG, "deviation", name, names);
    free(names);
    return status;
}

static gdn_status read_deviation(const gdn_deviation **deviation, const char *name,
                                 gdn_error *err) {
    *deviation = gdn_deviation_find(name);
    return *deviation ? GDN_OK : refuse_deviation(name, err);
}

static gdn_status read_deviations(gdn_device *device, const char *value, gdn_error *err) {
    const char *plus = strchr(value, '+');
    if (!plus) {
        return read_deviation(&device->deviation, value, err);
    }
    char first[64];
    snprintf(first, sizeof first, "%.*s", (int)(plus - value), value);
    GDN_TRY(read_deviation(&device->deviation, first, err));
    return read_deviation(&device->second, plus + 1, err);
}

static gdn_status read_class(gdn_device *device, const char *value, gdn_error *err) {
    const gdn_convention_field *field = gdn_convention_field_find("chunk_class");
    for (int i = 0; field->values[i]; i++) {
        if (strcmp(field->values[i], value) == 0) {
            device->class = (gdn_numeric_class)i;
            device->class_name = field->values[i];
            return GDN_OK;
        }
    }
    return gdn_error_unknown(err, GDN_ERR_ARG, "class", value, field->values);
}

static gdn_status read_option(gdn_device *device, const char *option, gdn_error *err) {
    const char *value = strchr(option, '=');
    const size_t length = value ? (size_t)(value - option) : strlen(option);
    value = value ? value + 1 : "";
    if (length == strlen("deviation") && strncmp(option, "deviation", length) == 0) {
        return read_deviations(device, value, err);
    }
    if (length == strlen("class") && strncmp(option, "class", length) == 0) {
        return read_class(device, value, err);
    }
    if (length == strlen("fault") && strncmp(option, "fault", length) == 0 &&
        fault_is_known(value)) {
        snprintf(device->fault, sizeof device->fault, "%s", value);
        return GDN_OK;
    }
    if (length == strlen("fault-op") && strncmp(option, "fault-op", length) == 0 &&
        gdn_op_from_name(value, &device->fault_op)) {
        return GDN_OK;
    }
    return gdn_error_set(
        err, GDN_ERR_ARG,
        "sim: expected deviation=NAME, class=CLASS, fault=crash|hang|error|stdout or "
        "fault-op=OP but found \"%s\"",
        option);
}

static gdn_status sim_open(const char *options, gdn_device **device, gdn_error *err) {
    gdn_device *sim = calloc(1, sizeof *sim);
    char *copy = strdup(options);
    gdn_status status = sim && copy ? GDN_OK : gdn_error_set(err, GDN_ERR_OOM, "no memory");
    if (sim) {
        sim->fault_op = GDN_OP_COUNT;
    }
    char *rest = copy;
    char *option;
    while (status == GDN_OK && (option = strsep(&rest, ",")) != NULL) {
        if (*option != '\0') {
            status = read_option(sim, option, err);
        }
    }
    free(copy);
    if (status != GDN_OK) {
        free(sim);
        return status;
    }
    *device = sim;
    return GDN_OK;
}

static void sim_close(gdn_device *device) {
    free(device);
}

static gdn_status sim_identify(gdn_device *device, gdn_device_identity *identity,
                               gdn_error *err) {
    (void)err;
    *identity = (gdn_device_identity){
        .hardware = "none: the FP64 reference",
        .driver = device->deviation ? device->deviation->name : "",
        .build = __VERSION__,
    };
    return GDN_OK;
}

static gdn_status sim_supports(gdn_device *device, const gdn_call *call, gdn_error *why) {
    (void)device;
    (void)call;
    (void)why;
    return GDN_OK; /* the reference honours every convention */
}

static gdn_status misbehave(const gdn_device *device, gdn_error *err) {
    if (strcmp(device->fault, "crash") == 0) {
        abort();
    }
    if (strcmp(device->fault, "hang") == 0) {
        for (;;) {
            pause();
        }
    }
    if (strcmp(device->fault, "error") == 0) {
        return gdn_error_set(err, GDN_ERR_DEVICE, "sim: fault=error was asked for");
    }
    printf("sim: a device may print what it likes\n");
    return GDN_OK;
}

static gdn_status run_exact(const gdn_call *call, gdn_error *err) {
    gdn_output *outputs = calloc(call->n_tensors + 1, sizeof *outputs);
    if (!outputs) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for outputs");
    }
    for (size_t i = 0; i < call->n_tensors; i++) {
        outputs[i].value = call->tensors[i];
    }
    const gdn_status status = gdn_reference_run(call, outputs, err);
    free(outputs);
    return status;
}

/* Asks for the emulated kernel's values of one output of the recurrence. */
static bool want_emulated(const gdn_tensor *tensor, gdn_output *output) {
    const size_t count = (size_t)gdn_tensor_count(tensor) + 1;
    double *values = calloc(count, sizeof *values);
    output->limit = calloc(count, sizeof *output->limit);
    output->emulated = calloc(count, sizeof *output->emulated);
    output->input = calloc(count, sizeof *output->input);
    output->pools = calloc((size_t)tensor->shape[1] + 1, sizeof *output->pools);
    output->written = calloc((size_t)tensor->shape[0] + 1, 1);
    output->value =
        gdn_tensor_dense(tensor->name, values, GDN_FP64, tensor->rank, tensor->shape);
    return values && output->limit && output->emulated && output->input && output->pools &&
           output->written;
}

static void store_emulated(const gdn_tensor *tensor, const gdn_output *output) {
    const int64_t count = gdn_tensor_row_count(tensor);
    for (int64_t row = 0; row < tensor->shape[0]; row++) {
        for (int64_t i = 0; output->written[row] && i < count; i++) {
            gdn_store(tensor->data, tensor->dtype, row * tensor->stride[0] + i,
                      (double)output->emulated[row * count + i]);
        }
    }
}

static void drop_emulated(gdn_output *output) {
    free(output->value.data);
    free(output->limit);
    free(output->emulated);
    free(output->input);
    free(output->pools);
    free(output->written);
}

/* First the emulated kernel, which reads start states that the exact run overwrites. */
static gdn_status run_emulated(const gdn_call *call, gdn_error *err) {
    gdn_output *outputs = calloc(call->n_tensors + 1, sizeof *outputs);
    gdn_status status =
        outputs ? GDN_OK : gdn_error_set(err, GDN_ERR_OOM, "no memory for outputs");
    for (size_t i = 0; status == GDN_OK && i < call->n_tensors; i++) {
        const gdn_argument *argument = gdn_op_argument(call->op, call->tensors[i].name);
        if (argument->judgement == GDN_JUDGE_BOUNDED &&
            !want_emulated(&call->tensors[i], &outputs[i])) {
            status = gdn_error_set(err, GDN_ERR_OOM, "no memory for outputs");
        }
    }
    if (status == GDN_OK) {
        status = gdn_reference_run(call, outputs, err);
    }
    if (status == GDN_OK) {
        status = run_exact(call, err);
    }
    for (size_t i = 0; outputs && i < call->n_tensors; i++) {
        if (outputs[i].written && status == GDN_OK) {
            store_emulated(&call->tensors[i], &outputs[i]);
        }
        drop_emulated(&outputs[i]);
    }
    free(outputs);
    return status;
}

static gdn_status sim_run(gdn_device *device, const gdn_call *call, double *seconds,
                          gdn_error *err) {
    (void)seconds;
    if (device->fault[0] != '\0' &&
        (device->fault_op == GDN_OP_COUNT || device->fault_op == call->op)) {
        GDN_TRY(misbehave(device, err));
    }
    gdn_conventions conventions = *call->conventions;
    if (device->deviation) {
        GDN_TRY(gdn_deviation_apply(device->deviation, &conventions, err));
    }
    if (device->second) {
        GDN_TRY(gdn_deviation_apply(device->second, &conventions, err));
    }
    gdn_call bent = *call;
    bent.conventions = &conventions;
    if (device->class_name &&
        (call->op == GDN_OP_GATED_DELTA_RULE || call->op == GDN_OP_GDN_ATTENTION)) {
        conventions.chunk_class = device->class;
        return run_emulated(&bent, err);
    }
    return run_exact(&bent, err);
}

GDN_EXPORT const gdn_device_api gdn_device_v1 = {
    .struct_size = sizeof(gdn_device_api),
    .abi_major = GDN_DEVICE_ABI_MAJOR,
    .abi_minor = GDN_DEVICE_ABI_MINOR,
    .name = "sim",
    .open = sim_open,
    .close = sim_close,
    .identify = sim_identify,
    .supports = sim_supports,
    .run = sim_run,
};
