/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Where results go, and the last step of every bound: rounding to storage. */
#include "ops.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

gdn_output *gdnp_output(const gdn_call *call, gdn_output *outputs, const char *name) {
    for (size_t i = 0; i < call->n_tensors; i++) {
        if (strcmp(call->tensors[i].name, name) == 0) {
            return outputs[i].value.data ? &outputs[i] : NULL;
        }
    }
    return NULL;
}

unsigned gdnp_terms(const gdn_output *output) {
    return output && output->terms ? output->terms : GDN_TERM_ALL;
}

void gdnp_mark_row(gdn_output *output, int64_t row) {
    if (output && output->written) {
        output->written[row] = 1;
    }
}

/* Limits are kept in fp32; rounding them up keeps them bounds. They are not negative, so
 * the next fp32 number has the next bits. */
static inline float round_up(double x) {
    const float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    bits += (double)f < x;
    float up;
    memcpy(&up, &bits, sizeof up);
    return up;
}

double gdnp_underflow(gdn_dtype storage, double tiny) {
    const double under = gdn_dtype_underflow(storage);
    return storage == GDN_FP16 ? under : fmax(under, tiny);
}

void gdnp_store_bounded(gdn_output *output, int64_t at, int64_t stride, int64_t flat,
                        const double *values, const double *errors, int64_t count,
                        gdn_dtype storage, double tiny) {
    gdn_store_run(output->value.data, output->value.dtype, at, stride, values, count);
    if (!output->limit || !errors) {
        return;
    }
    const double unit = gdn_dtype_unit_roundoff(storage);
    const double eta = gdnp_underflow(storage, tiny);
    float *limit = output->limit + flat;
    if (!(gdnp_terms(output) & GDN_TERM_STORE)) {
        for (int64_t i = 0; i < count; i++) {
            limit[i] = round_up(errors[i] + unit * errors[i]);
        }
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        const double rounding = unit * (fabs(values[i]) + errors[i]);
        limit[i] = round_up(errors[i] + rounding + eta);
    }
}

void gdnp_zero_row(gdn_output *output, int64_t row) {
    if (!output) {
        return;
    }
    const int64_t count = gdn_tensor_row_count(&output->value);
    for (int64_t i = row * count; i < (row + 1) * count; i++) {
        gdn_store(output->value.data, output->value.dtype,
                  gdn_tensor_flat_offset(&output->value, i), 0.0);
    }
    if (output->limit) {
        memset(output->limit + row * count, 0, (size_t)count * sizeof *output->limit);
    }
    gdnp_mark_row(output, row);
}

gdnp_arithmetic gdnp_arithmetic_of_class(gdn_numeric_class numeric_class) {
    gdnp_arithmetic a = {.unit = (double)FLT_EPSILON / 2, .tiny = (double)FLT_MIN};
    switch (numeric_class) {
    case GDN_CLASS_FP64:
        return (gdnp_arithmetic){.unit = DBL_EPSILON / 2, .tiny = DBL_MIN};
    case GDN_CLASS_TF32_MMA: /* 11 significant bits, like fp16, and fp32's exponents */
        a.operand = gdn_dtype_unit_roundoff(GDN_FP16);
        a.operand_tiny = a.tiny;
        break;
    case GDN_CLASS_FP16_MMA:
        a.operand = gdn_dtype_unit_roundoff(GDN_FP16);
        a.operand_tiny = gdn_dtype_underflow(GDN_FP16);
        break;
    case GDN_CLASS_BF16_MMA:
        a.operand = gdn_dtype_unit_roundoff(GDN_BF16);
        a.operand_tiny = a.tiny;
        break;
    case GDN_CLASS_FP32:
        break;
    }
    return a;
}

gdnp_arithmetic gdnp_arithmetic_of(const gdn_conventions *conventions) {
    return gdnp_arithmetic_of_class(conventions->numeric_class);
}

double gdnp_gamma(double n, double unit) {
    return n * unit / (1.0 - n * unit);
}
