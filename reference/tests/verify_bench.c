/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "verify_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void vb_begin(vbench *b, gdn_op op, const char *conventions) {
    *b = (vbench){.conventions = gdn_conventions_default()};
    b->call = (gdn_call){.struct_size = sizeof b->call, .op = op};
    char text[256];
    snprintf(text, sizeof text, "%s", conventions);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
        char field[64];
        char *value = strchr(word, '=');
        *value++ = '\0';
        snprintf(field, sizeof field, "verify.%s", word);
        gdn_error err = {0};
        if (gdn_conventions_set(&b->conventions, field, value, &err) != GDN_OK) {
            fail_msg("%s", err.message);
        }
    }
}

void vb_end(vbench *b) {
    for (size_t i = 0; i < b->call.n_tensors; i++) {
        free(b->tensors[i].data);
    }
}

void vb_scalar(vbench *b, const char *name, int64_t value) {
    for (size_t i = 0; i < b->call.n_scalars; i++) {
        if (strcmp(b->scalars[i].name, name) == 0) {
            b->scalars[i].value = value;
            return;
        }
    }
    b->scalars[b->call.n_scalars++] = (gdn_scalar){.name = name, .value = value};
}

/* A tensor that is there already is replaced. */
static gdn_tensor *add(vbench *b, const char *name, int rank, const int64_t *shape) {
    const gdn_argument *argument = gdn_op_argument(b->call.op, name);
    assert_non_null(argument);
    gdn_tensor *t = vb_tensor(b, name);
    if (!t) {
        assert_true(b->call.n_tensors < sizeof b->tensors / sizeof b->tensors[0]);
        t = &b->tensors[b->call.n_tensors++];
    }
    free(t->data);
    const gdn_dtype dtype = argument->dtype == GDN_DTYPE_COUNT ? GDN_FP32 : argument->dtype;
    *t = gdn_tensor_dense(argument->name, NULL, dtype, rank, shape);
    t->data = calloc((size_t)gdn_tensor_count(t) + 1, gdn_dtype_size(dtype));
    assert_non_null(t->data);
    return t;
}

void vb_ints(vbench *b, const char *name, int rank, const int64_t *shape, size_t n,
             const int64_t *values) {
    gdn_tensor *t = add(b, name, rank, shape);
    for (int64_t i = 0; i < gdn_tensor_count(t); i++) {
        const int64_t value = values[(size_t)i % n];
        if (t->dtype == GDN_I64) {
            ((int64_t *)t->data)[i] = value;
        } else if (t->dtype == GDN_I32) {
            ((int32_t *)t->data)[i] = (int32_t)value;
        } else {
            gdn_store(t->data, t->dtype, i, (double)value);
        }
    }
}

void vb_reals(vbench *b, const char *name, int rank, const int64_t *shape, size_t n,
              const double *values) {
    gdn_tensor *t = add(b, name, rank, shape);
    for (int64_t i = 0; i < gdn_tensor_count(t); i++) {
        gdn_store(t->data, t->dtype, i, values[(size_t)i % n]);
    }
}

gdn_tensor *vb_tensor(vbench *b, const char *name) {
    for (size_t i = 0; i < b->call.n_tensors; i++) {
        if (strcmp(b->tensors[i].name, name) == 0) {
            return &b->tensors[i];
        }
    }
    return NULL;
}

static gdn_status run(vbench *b, gdn_error *err) {
    b->call.conventions = &b->conventions;
    b->call.tensors = b->tensors;
    b->call.scalars = b->scalars;
    for (size_t i = 0; i < b->call.n_tensors; i++) {
        b->outputs[i].value = b->tensors[i];
    }
    return gdn_reference_run(&b->call, b->outputs, err);
}

void vb_run(vbench *b) {
    gdn_error err = {0};
    if (run(b, &err) != GDN_OK) {
        fail_msg("%s", err.message);
    }
}

void vb_refused(vbench *b, const char *message) {
    gdn_error err = {0};
    assert_int_equal(run(b, &err), GDN_ERR_ARG);
    assert_string_equal(err.message, message);
}

int64_t vb_int(vbench *b, const char *name, int64_t flat) {
    const gdn_tensor *t = vb_tensor(b, name);
    return gdn_load_int(t->data, t->dtype, flat);
}

void vb_expect(vbench *b, const char *what, const char *name, size_t n,
               const int64_t *values) {
    const gdn_tensor *t = vb_tensor(b, name);
    assert_non_null(t);
    assert_int_equal(gdn_tensor_count(t), n);
    for (size_t i = 0; i < n; i++) {
        const bool real = gdn_dtype_is_float(t->dtype);
        const int64_t found = real ? (int64_t)gdn_load(t->data, t->dtype, (int64_t)i)
                                   : vb_int(b, name, (int64_t)i);
        if (found != values[i]) {
            fail_msg("%s: %s[%zu] is %lld, expected %lld", what, name, i, (long long)found,
                     (long long)values[i]);
        }
    }
}

void vb_slot(vbench *b, const char *conventions, int64_t strategy, int64_t n,
             const int64_t *drafts) {
    vb_begin(b, GDN_OP_VERIFY_DRAFT_TOKENS, conventions);
    vb_scalar(b, "verify_window", 2);
    vb_scalar(b, "verify_strategy", strategy);
    vb_scalar(b, "reject_all", 0);
    vb_scalar(b, "accept_all", 0);
    vb_ints(b, "step_output_ids", SHAPE(1, 6), LIST(HOLE));
    vb_ints(b, "step_output_len", SHAPE(1), LIST(HOLE));
    const int64_t row[6] = {10, drafts[0], drafts[1], drafts[2], drafts[3], drafts[4]};
    vb_ints(b, "step_input_ids", SHAPE(1, 6), 6, row);
    vb_reals(b, "topp", SHAPE(1), NUMBERS(0.9));
    vb_ints(b, "stop_flags", SHAPE(1), LIST(0));
    vb_ints(b, "seq_lens_encoder", SHAPE(1), LIST(0));
    vb_ints(b, "seq_lens_this_time", SHAPE(1), LIST(n));
    vb_ints(b, "end_tokens", SHAPE(1), LIST(2));
    vb_ints(b, "is_block_step", SHAPE(1), LIST(0));
    vb_ints(b, "cu_seqlens_q_output", SHAPE(2), LIST(0, n));
    vb_ints(b, "reasoning_status", SHAPE(1), LIST(0));
    vb_ints(b, "max_dec_len", SHAPE(1), LIST(1000));
    vb_ints(b, "step_idx", SHAPE(1), LIST(0));
    vb_reals(b, "u", SHAPE(1), NUMBERS(0.5));
}
