/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "coverage.h"

#include <stdlib.h>
#include <string.h>

#include "case_facets.h"

/* Values that cases can have. Dimensions without such a list (heads, lengths) are open. */
static const struct {
    const char *dimension;
    const char *const values[8];
} KNOWN[] = {
    {"mix", {"prefill", "decode", "spec", "mixed"}},
    {"longest sequence", {"1", "2-8", "9-64", "65-256", "257-1024", "1025-"}},
    {"dtype", {"bf16", "fp16", "fp32"}},
    {"state_dtype", {"bf16", "fp16", "fp32"}},
    {"conv_bias", {"false", "true"}},
    {"misaligned", {"false", "true"}},
    {"order", {"grouped", "interleaved", "scattered"}},
    {"initial", {"mixed", "all", "none", "absent"}},
    {"accepted", {"cycle", "full", "one"}},
    {"fill", {"normal", "model"}},
};

/* Members of a case that are dimensions by themselves. */
static const char *const MEMBERS[] = {
    "profile",    "dtype",      "state_dtype", "num_k_heads", "num_v_heads", "tp_size",
    "head_k_dim", "head_v_dim", "conv_width",  "conv_bias",   "order",       "initial",
    "accepted",   "pad_rows",   "page_bytes",  "misaligned",  "fill"};

static gdn_status count(gdn_coverage *coverage, const char *dimension, const char *value,
                        int by, gdn_error *err) {
    json_t *values = json_object_get(coverage->dimensions, dimension);
    if (!values) {
        values = json_object();
        json_object_set_new(coverage->dimensions, dimension, values);
    }
    const json_int_t before = json_integer_value(json_object_get(values, value));
    return json_object_set_new(values, value, json_integer(before + by)) == 0
               ? GDN_OK
               : gdn_error_set(err, GDN_ERR_OOM, "no memory for a count");
}

gdn_status gdn_coverage_start(gdn_coverage *coverage, gdn_error *err) {
    *coverage = (gdn_coverage){.dimensions = json_object()};
    gdn_status status = GDN_OK;
    for (int op = 0; status == GDN_OK && op < GDN_OP_COUNT; op++) {
        status = count(coverage, "op", gdn_op_get((gdn_op)op)->name, 0, err);
    }
    for (size_t i = 0; status == GDN_OK && i < sizeof KNOWN / sizeof KNOWN[0]; i++) {
        for (int k = 0; status == GDN_OK && k < 8 && KNOWN[i].values[k]; k++) {
            status = count(coverage, KNOWN[i].dimension, KNOWN[i].values[k], 0, err);
        }
    }
    size_t n_fields;
    const gdn_convention_field *fields = gdn_convention_fields(&n_fields);
    for (size_t i = 0; status == GDN_OK && i < n_fields; i++) {
        for (int k = 0; status == GDN_OK && fields[i].correct > 1 && k < fields[i].correct;
             k++) {
            status = count(coverage, fields[i].name, fields[i].values[k], 0, err);
        }
    }
    if (status != GDN_OK) {
        gdn_coverage_destroy(coverage);
    }
    return status;
}

static gdn_status add_conventions(gdn_coverage *coverage, const gdn_case *test,
                                  gdn_error *err) {
    size_t n_fields;
    const gdn_convention_field *fields = gdn_convention_fields(&n_fields);
    for (size_t i = 0; i < n_fields; i++) {
        /* A field with one right value is no dimension: the others are slips. */
        if (fields[i].kind == GDN_FIELD_ENUM && fields[i].correct < 2) {
            continue;
        }
        char text[64];
        gdn_conventions_get(&test->conventions, &fields[i], text, sizeof text);
        GDN_TRY(count(coverage, fields[i].name, text, 1, err));
    }
    return GDN_OK;
}

static gdn_status add_members(gdn_coverage *coverage, const json_t *json, gdn_error *err) {
    for (size_t i = 0; i < sizeof MEMBERS / sizeof MEMBERS[0]; i++) {
        const json_t *value = json_object_get(json, MEMBERS[i]);
        if (!value) {
            continue;
        }
        char *text = json_is_string(value) ? strdup(json_string_value(value))
                                           : json_dumps(value, JSON_ENCODE_ANY);
        const gdn_status status =
            text ? count(coverage, MEMBERS[i], text, 1, err)
                 : gdn_error_set(err, GDN_ERR_OOM, "no memory for a count");
        free(text);
        GDN_TRY(status);
    }
    return GDN_OK;
}

gdn_status gdn_coverage_add(gdn_coverage *coverage, const gdn_case *test, gdn_error *err) {
    gdn_case_facets facets;
    gdn_case_facets_read(&facets, test->id);
    char ratio[32];
    snprintf(ratio, sizeof ratio, "%lld",
             (long long)(test->num_v_heads / test->num_k_heads));
    GDN_TRY(count(coverage, "op", facets.op, 1, err));
    GDN_TRY(count(coverage, "mix", facets.mix, 1, err));
    GDN_TRY(count(coverage, "longest sequence",
                  gdn_length_group_name(gdn_length_group(facets.longest)), 1, err));
    GDN_TRY(count(coverage, "v heads a k head", ratio, 1, err));
    json_t *json = gdn_case_to_json(test);
    gdn_status status = json ? add_members(coverage, json, err)
                             : gdn_error_set(err, GDN_ERR_OOM, "no memory for a case");
    json_decref(json);
    if (status == GDN_OK) {
        status = add_conventions(coverage, test, err);
    }
    coverage->cases++;
    return status;
}

/* Numbers by value, texts as they are. */
static int by_value(const void *a, const void *b) {
    const char *const *x = a, *const *y = b;
    char *end_x, *end_y;
    const double p = strtod(*x, &end_x), q = strtod(*y, &end_y);
    if (*end_x == '\0' && *end_y == '\0') {
        return (p > q) - (p < q);
    }
    return 0;
}

static void print_dimension(const char *name, json_t *values, FILE *out) {
    const char **order = calloc(json_object_size(values) + 1, sizeof *order);
    size_t n = 0;
    const char *value;
    json_t *number;
    json_object_foreach(values, value, number) {
        if (order) {
            order[n++] = value;
        }
    }
    /* Stable for texts: an insertion sort. */
    for (size_t i = 1; i < n; i++) {
        for (size_t k = i; k > 0 && by_value(&order[k - 1], &order[k]) > 0; k--) {
            const char *swap = order[k];
            order[k] = order[k - 1];
            order[k - 1] = swap;
        }
    }
    fprintf(out, "%-19s", name);
    for (size_t i = 0; i < n; i++) {
        const json_int_t cases = json_integer_value(json_object_get(values, order[i]));
        if (cases > 0) {
            fprintf(out, " %s: %lld ", order[i], (long long)cases);
        }
    }
    const char *before = " never:";
    for (size_t i = 0; i < n; i++) {
        if (json_integer_value(json_object_get(values, order[i])) == 0) {
            fprintf(out, "%s %s", before, order[i]);
            before = "";
        }
    }
    fputc('\n', out);
    free(order);
}

void gdn_coverage_print(const gdn_coverage *coverage, FILE *out) {
    const char *name;
    json_t *values;
    size_t all = 0, covered = 0;
    json_object_foreach(coverage->dimensions, name, values) {
        print_dimension(name, values, out);
        const char *value;
        json_t *number;
        json_object_foreach(values, value, number) {
            all++;
            covered += json_integer_value(number) > 0;
        }
    }
    fprintf(out, "%zu cases; %zu of %zu values occur\n", coverage->cases, covered, all);
}

void gdn_coverage_destroy(gdn_coverage *coverage) {
    json_decref(coverage->dimensions);
    *coverage = (gdn_coverage){0};
}
