/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "shadow_bench.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

void shadow_begin(shadow_bench *s, op_bench *b) {
    *s = (shadow_bench){0};
    for (size_t i = 0; i < b->call.n_tensors; i++) {
        const gdn_tensor *tensor = &b->tensors[i];
        const gdn_argument *argument = gdn_op_argument(b->call.op, tensor->name);
        if (argument->access == GDN_IN) {
            continue;
        }
        const bool bounded = argument->judgement == GDN_JUDGE_BOUNDED;
        const size_t count = (size_t)gdn_tensor_count(tensor) + 1;
        op_want(b, tensor->name, bounded ? GDN_FP64 : tensor->dtype, bounded);
        if (!bounded) {
            memcpy(b->outputs[i].value.data, tensor->data,
                   (count - 1) * gdn_dtype_size(tensor->dtype));
        }
        s->outputs[i].high = calloc(count, sizeof(double));
        s->outputs[i].low = calloc(count, sizeof(double));
        s->outputs[i].mark = calloc(count, 1);
    }
    op_run(b);
    gdn_error err = {0};
    if (gdn_shadow_run(&b->call, s->outputs, &s->ties, &err) != GDN_OK) {
        fail_msg("%s", err.message);
    }
}

double shadow_reference(op_bench *b, const char *name, int64_t flat) {
    const gdn_tensor *value = &op_output(b, name)->value;
    return gdn_load(value->data, value->dtype, flat);
}

static const gdn_shadow_output *find(const shadow_bench *s, op_bench *b, const char *name) {
    return &s->outputs[op_tensor(b, name) - b->tensors];
}

double shadow_value(const shadow_bench *s, op_bench *b, const char *name, int64_t flat) {
    const gdn_shadow_output *output = find(s, b, name);
    assert_int_not_equal(output->mark[flat], GDN_SHADOW_UNTOUCHED);
    return output->high[flat] + output->low[flat];
}

int shadow_mark(const shadow_bench *s, op_bench *b, const char *name, int64_t flat) {
    return find(s, b, name)->mark[flat];
}

void shadow_expect(const shadow_bench *s, op_bench *b, const char *name, int64_t flat,
                   double expected, double tolerance) {
    const double found[] = {shadow_reference(b, name, flat),
                            shadow_value(s, b, name, flat)};
    for (int i = 0; i < 2; i++) {
        if (!(fabs(found[i] - expected) <= tolerance)) {
            fail_msg("%s[%lld]: expected %.17g but the %s says %.17g", name,
                     (long long)flat, expected, i ? "shadow" : "reference", found[i]);
        }
    }
}

void shadow_end(shadow_bench *s, op_bench *b) {
    for (size_t i = 0; i < b->call.n_tensors; i++) {
        free(s->outputs[i].high);
        free(s->outputs[i].low);
        free(s->outputs[i].mark);
    }
    op_end(b);
}
