/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "gdn/conventions.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

/* `ok` is the number of values that a profile may choose; those after it are slips. */
#define ENUM(field, ok, text, ...)                                                         \
    {                                                                                      \
        .name = #field, .kind = GDN_FIELD_ENUM,                                            \
        .offset = offsetof(gdn_conventions, field), .values = NAMES(__VA_ARGS__),          \
        .correct = (ok), .what = (text)                                                    \
    }
#define NUMBER(field, k, lo, hi, text)                                                     \
    {                                                                                      \
        .name = #field, .kind = (k), .offset = offsetof(gdn_conventions, field),           \
        .low = (lo), .high = (hi), .what = (text)                                          \
    }

static const gdn_convention_field FIELDS[] = {
    ENUM(qkvz_layout, 2, "columns of the fused projections", "interleaved", "separate"),
    ENUM(state_order, 2, "memory order of one head's state", "vk", "kv"),
    ENUM(state_access, 1, "whether the declared order is obeyed", "declared", "transposed"),
    ENUM(head_map, 2, "key head of a value head", "grouped", "tiled"),
    ENUM(conv_window, 4, "conv inputs kept by speculative decode", "snapshot", "sliding",
         "rolling", "windows"),
    ENUM(conv_state_order, 2, "axes of the conv state pool", "sd", "ds"),
    ENUM(conv_anchor, 2, "rows of a long conv line that hold the history", "first", "last"),
    ENUM(conv_history, 2, "rows of conv history kept", "window", "taps"),
    ENUM(conv_weight, 3, "memory order of the conv weight", "cw", "wc", "vnni"),
    ENUM(conv_product, 2, "rounding of each product of the convolution", "none", "storage"),
    ENUM(spec_state, 2, "where speculative states go", "slots", "buffer"),
    ENUM(buffer_rows, 2, "intermediate rows of a sequence", "by_request", "by_index"),
    ENUM(gate_input, 2, "what g holds", "log", "decay"),
    ENUM(beta_input, 2, "what beta holds", "value", "logits"),
    ENUM(beta_storage, 2, "type of the tensor beta", "fp32", "activation"),
    ENUM(beta_rounding, 3, "rounding of a beta made inside an op", "none", "once",
         "thrice_in_decode"),
    ENUM(beta_tail, 2, "rounding of gating's heads behind the last 32", "as_others",
         "thrice"),
    ENUM(l2norm_form, 3, "where eps of the norm stands", "inside", "outside", "max"),
    ENUM(chunk_qk, 3, "rounding of normalised q and k in chunked sequences", "none",
         "storage", "scaled"),
    ENUM(chunk_decay, 2, "operand of a chunk's update that takes the decay", "values",
         "keys"),
    ENUM(pad_sequences, 4, "what becomes of padded sequences", "refused", "skipped",
         "zeroed", "from_zero"),
    ENUM(pad_rows, 2, "rows of gdn_attention that no sequence computes", "kept", "zeroed"),
    ENUM(spec_column, 1, "column that a speculative sequence starts from",
         "accepted_minus_one", "accepted", "first"),
    ENUM(decay_order, 1, "where the decay stands in a step", "before_read", "after_read",
         "after_update"),
    ENUM(output_state, 1, "state that the output reads", "updated", "decayed"),
    ENUM(history, 1, "start state and conv history", "honoured", "ignored"),
    ENUM(delta_beta, 1, "beta in the delta", "applied", "omitted"),
    ENUM(activation, 2, "after the convolution", "silu", "none"),
    ENUM(conv_output, 2, "rounding of y after the activation", "none", "storage"),
    ENUM(state_carry, 4, "how often the carried state is stored", "call", "chunk", "token",
         "kernel"),
    ENUM(metadata_rules, 3, "revision of the metadata builder", "early", "mid", "late"),
    ENUM(stray_write, 1, "write outside the outputs", "none", "slot0", "guard"),
    ENUM(slip, 1, "a slip at one place", "none", "q_unscaled", "k_scaled", "l2norm_missing",
         "l2norm_mean", "dt_bias_missing", "gate_bf16", "beta_bf16", "ab_swapped",
         "qk_swapped", "z_from_v", "taps_reversed", "bias_missing", "flags_shifted",
         "tokens_unindexed", "state_rounded", "state_truncated", "last_column_only",
         "tree_ignored", "buffer_by_slot", "pool_advanced", "pad_in_slot0", "pad_in_last",
         "beta_row0", "conv_axes_swapped", "conv_slot_unindexed", "weight_taken_for_plain",
         "weight_packed_twice", "verify_from_first", "window_too_early", "line_shifted",
         "bias_missing_in_decode", "gates_unindexed", "gate_base2"),
    ENUM(numeric_class, 5, "arithmetic of the backend", "fp32", "fp64", "tf32-mma",
         "fp16-mma", "bf16-mma"),
    ENUM(chunk_class, 5, "arithmetic of chunked sequences", "fp32", "fp64", "tf32-mma",
         "fp16-mma", "bf16-mma"),
    NUMBER(pad_slot_id, GDN_FIELD_INT, -1, 0, "state index of padding"),
    NUMBER(l2norm_eps, GDN_FIELD_REAL, 0, 1, "eps of the l2 norm"),
    NUMBER(softplus_beta, GDN_FIELD_REAL, 0.01, 100,
           "softplus(x) = log(1+exp(beta x))/beta"),
    NUMBER(softplus_threshold, GDN_FIELD_REAL, 0, 1000,
           "softplus(x) = x where beta x > it"),
    NUMBER(exp_error, GDN_FIELD_REAL, 0, 1e6, "granted relative error of exp, in u"),
    NUMBER(log_error, GDN_FIELD_REAL, 0, 1e6, "granted error of log beyond 1 u, in u"),
    NUMBER(rsqrt_error, GDN_FIELD_REAL, 0, 1e6, "granted relative error of 1/sqrt, in u"),
    NUMBER(sigmoid_error, GDN_FIELD_REAL, 0, 1e6,
           "granted relative error of sigmoid, in u"),
};

_Static_assert(sizeof(gdn_qkvz_layout) == sizeof(int), "enum fields are accessed as int");

const gdn_convention_field *gdn_convention_fields(size_t *count) {
    *count = sizeof FIELDS / sizeof FIELDS[0];
    return FIELDS;
}

const gdn_convention_field *gdn_convention_field_find(const char *name) {
    for (size_t i = 0; i < sizeof FIELDS / sizeof FIELDS[0]; i++) {
        if (strcmp(FIELDS[i].name, name) == 0) {
            return &FIELDS[i];
        }
    }
    return gdn_verify_field_find(name);
}

gdn_conventions gdn_conventions_default(void) {
    /* The granted errors are those of an fp32 backend with ordinary intrinsics: exp and the
     * reciprocal root within 2 ulp = 4u, the sigmoid built from exp, an addition and a
     * division (4u + u + u, rounded up). */
    return (gdn_conventions){
        .qkvz_layout = GDN_QKVZ_INTERLEAVED,
        .conv_window = GDN_CONV_SLIDING,
        .conv_output = GDN_ROUND_STORAGE,
        .metadata_rules = GDN_METADATA_MID,
        .l2norm_eps = 1e-6,
        .softplus_beta = 1.0,
        .softplus_threshold = 20.0,
        .exp_error = 4.0,
        .rsqrt_error = 4.0,
        .sigmoid_error = 8.0,
        .verify = {.entropy_alpha = 0.4, .entropy_threshold = 0.95}, /* ascend's */
    };
}

/* Values of two fields of which only one can be meant; the other field has two values. */
typedef struct contradiction {
    const char *field;
    int value;
    const char *other;
    int wrong;
    const char *reason;
} contradiction;

static const contradiction CONTRADICTIONS[] = {
    {"conv_window", GDN_CONV_SNAPSHOT, "conv_anchor", GDN_CONV_LAST,
     "snapshots are read from row 0"},
    {"conv_window", GDN_CONV_SLIDING, "conv_anchor", GDN_CONV_LAST,
     "a sliding line is counted from row 0"},
    {"conv_window", GDN_CONV_ROLLING, "conv_anchor", GDN_CONV_FIRST,
     "a rolling line ends with the history"},
    {"conv_window", GDN_CONV_SNAPSHOT, "spec_state", GDN_SPEC_BUFFER,
     "snapshots need a slot for each draft column"},
    {"conv_window", GDN_CONV_SLIDING, "spec_state", GDN_SPEC_BUFFER,
     "the line starts where the slots of accepted columns say"},
    {"conv_window", GDN_CONV_ROLLING, "spec_state", GDN_SPEC_SLOTS,
     "a rolled line has forgotten what a column per draft could restore"},
    {"conv_window", GDN_CONV_WINDOWS, "spec_state", GDN_SPEC_SLOTS,
     "windows live in the rows of intermediate tensors"},
    {"conv_history", GDN_CONV_KEEPS_TAPS, "conv_anchor", GDN_CONV_FIRST,
     "the history that a step uses ends the line"},
    {"beta_storage", GDN_BETA_FP32, "beta_tail", GDN_TAIL_THRICE,
     "the tail of a beta in fp32 is not rounded"},
};

static int enum_value(const gdn_conventions *conventions, const char *name) {
    const gdn_convention_field *field = gdn_convention_field_find(name);
    return *(const int *)((const char *)conventions + field->offset);
}

gdn_status gdn_conventions_check(const gdn_conventions *conventions, gdn_error *err) {
    for (size_t i = 0; i < sizeof CONTRADICTIONS / sizeof CONTRADICTIONS[0]; i++) {
        const contradiction *c = &CONTRADICTIONS[i];
        if (enum_value(conventions, c->field) == c->value &&
            enum_value(conventions, c->other) == c->wrong) {
            const gdn_convention_field *field = gdn_convention_field_find(c->field);
            const gdn_convention_field *other = gdn_convention_field_find(c->other);
            return gdn_error_set(err, GDN_ERR_ARG,
                                 "%s: expected %s beside %s \"%s\", because %s, but found "
                                 "\"%s\"",
                                 c->other, other->values[1 - c->wrong], c->field,
                                 field->values[c->value], c->reason,
                                 other->values[c->wrong]);
        }
    }
    return GDN_OK;
}

static gdn_status set_enum(int *target, const gdn_convention_field *field,
                           const char *value, gdn_error *err) {
    char allowed[512];
    size_t used = 0;
    for (int i = 0; field->values[i]; i++) {
        if (strcmp(field->values[i], value) == 0) {
            *target = i;
            return GDN_OK;
        }
        const int n = snprintf(allowed + used, sizeof allowed - used, "%s%s",
                               i > 0 ? ", " : "", field->values[i]);
        assert(n > 0 && used + (size_t)n < sizeof allowed);
        used += (size_t)n;
    }
    return gdn_error_set(err, GDN_ERR_ARG, "%s: expected one of %s but found \"%s\"",
                         field->name, allowed, value);
}

gdn_status gdn_conventions_set(gdn_conventions *conventions, const char *name,
                               const char *value, gdn_error *err) {
    const gdn_convention_field *field = gdn_convention_field_find(name);
    if (!field) {
        return gdn_error_set(err, GDN_ERR_ARG, "no convention is named \"%s\"", name);
    }
    void *target = (char *)conventions + field->offset;
    if (field->kind == GDN_FIELD_ENUM) {
        return set_enum(target, field, value, err);
    }
    char *end = NULL;
    errno = 0;
    const double number = strtod(value, &end);
    const bool whole = number >= field->low && number <= field->high;
    if (end == value || *end != '\0' || errno == ERANGE || !whole ||
        (field->kind == GDN_FIELD_INT && number != (double)(int)number)) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "%s: expected a%s in [%g, %g] but found \"%s\"", field->name,
                             field->kind == GDN_FIELD_INT ? "n integer" : " number",
                             field->low, field->high, value);
    }
    if (field->kind == GDN_FIELD_INT) {
        *(int *)target = (int)number;
    } else {
        *(double *)target = number;
    }
    return GDN_OK;
}

int gdn_conventions_get(const gdn_conventions *conventions,
                        const gdn_convention_field *field, char *text, size_t size) {
    const void *source = (const char *)conventions + field->offset;
    switch (field->kind) {
    case GDN_FIELD_ENUM:
        return snprintf(text, size, "%s", field->values[*(const int *)source]);
    case GDN_FIELD_INT:
        return snprintf(text, size, "%d", *(const int *)source);
    case GDN_FIELD_REAL:
        break;
    }
    /* The shortest text that reads back as the same number. */
    const double number = *(const double *)source;
    char shortest[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(shortest, sizeof shortest, "%.*g", digits, number);
        if (strtod(shortest, NULL) == number) {
            break;
        }
    }
    return snprintf(text, size, "%s", shortest);
}
