/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Labels and ids. A label is a family and what differs from it ("qwen3-next-k96-tp2"); an
 * unknown family implies nothing, so all of its dimensions are spelled out. */
#include "case_internal.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In the order in which labels spell them. */
static const struct {
    const char *part;
    size_t offset;
    const char *member;
} DIMS[] = {
    {"hk", offsetof(gdn_case, num_k_heads), "num_k_heads"},
    {"hv", offsetof(gdn_case, num_v_heads), "num_v_heads"},
    {"k", offsetof(gdn_case, head_k_dim), "head_k_dim"},
    {"v", offsetof(gdn_case, head_v_dim), "head_v_dim"},
    {"w", offsetof(gdn_case, conv_width), "conv_width"},
    {"tp", offsetof(gdn_case, tp_size), "tp_size"},
};

#define N_DIMS (sizeof DIMS / sizeof DIMS[0])

/* What a family's members have in common; 0: they differ in it. */
static const struct {
    const char *name;
    int64_t dims[N_DIMS];
} FAMILIES[] = {
    {"qwen3-next", {16, 32, 128, 128, 4, 0}},
    {"qwen3.5", {16, 0, 128, 128, 4, 0}},
};

static const int64_t UNKNOWN_FAMILY[N_DIMS] = {0, 0, 0, 0, 0, 1};

static int64_t dim_of(const gdn_case *test, size_t dim) {
    return *(const int64_t *)(const void *)((const char *)test + DIMS[dim].offset);
}

static const int64_t *implied_dims(const char *family) {
    for (size_t i = 0; i < sizeof FAMILIES / sizeof FAMILIES[0]; i++) {
        if (strcmp(FAMILIES[i].name, family) == 0) {
            return FAMILIES[i].dims;
        }
    }
    return UNKNOWN_FAMILY;
}

/* Whether `text` is a dimension's letters and a number without leading zero. */
static bool is_part(const char *text, size_t *dim, int64_t *number) {
    for (size_t i = 0; i < N_DIMS; i++) {
        const size_t n = strlen(DIMS[i].part);
        const char *digits = text + n;
        if (strncmp(text, DIMS[i].part, n) != 0 || digits[0] < '1' || digits[0] > '9' ||
            strlen(digits) > 9 || strspn(digits, "0123456789") != strlen(digits)) {
            continue;
        }
        *dim = i;
        *number = strtoll(digits, NULL, 10);
        return true;
    }
    return false;
}

gdn_status gdnp_case_set_label(gdn_case *test, gdn_error *err) {
    char family[65];
    const size_t length = strlen(test->model);
    const bool plain =
        length > 0 && length < sizeof family && isalnum((unsigned char)test->model[0]) &&
        strspn(test->model, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                            ".-_") == length;
    if (!plain) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "model: expected 1 to %zu letters, digits, '.', '-', '_' but "
                             "found \"%.80s\"",
                             sizeof family - 1, test->model);
    }
    memcpy(family, test->model, length + 1);
    size_t dim = 0;
    int64_t stated = 0;
    for (char *dash = strrchr(family, '-'); dash && is_part(dash + 1, &dim, &stated);
         dash = strrchr(family, '-')) {
        if (stated != dim_of(test, dim)) {
            return gdn_error_set(err, GDN_ERR_ARG,
                                 "model: expected a label that agrees with %s %" PRId64
                                 " but found \"%s\"",
                                 DIMS[dim].member, dim_of(test, dim), test->model);
        }
        *dash = '\0';
    }
    const int64_t *implied = implied_dims(family);
    char label[256];
    int used = snprintf(label, sizeof label, "%s", family);
    for (size_t i = 0; i < N_DIMS; i++) {
        if (dim_of(test, i) != implied[i]) {
            used += snprintf(label + used, sizeof label - (size_t)used, "-%s%" PRId64,
                             DIMS[i].part, dim_of(test, i));
        }
    }
    char *copy = strdup(label);
    if (!copy) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a label");
    }
    free(test->model);
    test->model = copy;
    return GDN_OK;
}

static const char *mix_name(const gdn_case *test) {
    bool found[3] = {false, false, false};
    for (size_t i = 0; i < test->n_sequences; i++) {
        found[test->sequences[i].kind] = true;
    }
    if (found[GDN_SEQ_PREFILL] + found[GDN_SEQ_DECODE] + found[GDN_SEQ_SPEC] > 1) {
        return "mixed";
    }
    return found[GDN_SEQ_PREFILL] ? "prefill" : found[GDN_SEQ_DECODE] ? "decode" : "spec";
}

/* Everything that the other parts of the id leave open. */
static void write_flags(const gdn_case *test, char *text, size_t size) {
    static const char *const orders[] = {"", "interleaved-", "scattered-"};
    static const char *const initials[] = {"", "initall-", "initnone-", "initabsent-"};
    static const char *const accepteds[] = {"", "accfull-", "accone-", "accabsent-"};
    static const char *const gates[] = {"", "fused-"};
    static const char *const fills[] = {"n", "m", "lattice-n", "lattice-alpha0-n"};
    static const char *const trees[] = {"", "star-", "binary-", "caterpillar-"};
    char relation[32] = "";
    char fault[128] = "";
    char rows[32] = "";
    char pad[32] = "";
    char page[64] = "";
    const char *layout = "";
    const char *kernel = "";
    if (test->chunked != gdnp_case_has_chunks(test)) {
        kernel = test->chunked ? "chunked-" : "recurrent-";
    }
    if (test->op == GDN_OP_GDN_ATTENTION) {
        layout = test->conventions.qkvz_layout == GDN_QKVZ_SEPARATE ? "sep-" : "int-";
    }
    if (test->pad_rows > 0) {
        snprintf(pad, sizeof pad, "pad%" PRId64 "-", test->pad_rows);
    }
    if (test->page_bytes > 0) {
        snprintf(page, sizeof page, "page%" PRId64 "-", test->page_bytes);
    }
    if (test->row_bytes > 0) {
        const size_t used = strlen(page);
        snprintf(page + used, sizeof page - used, "row%" PRId64 "-", test->row_bytes);
    }
    if (test->conv_rows > 0) {
        snprintf(rows, sizeof rows, "rows%" PRId64 "-", test->conv_rows);
    }
    if (test->relation != GDN_RELATION_NONE) {
        snprintf(relation, sizeof relation, "%s-", GDN_RELATION_NAMES[test->relation]);
    }
    if (test->dye != GDN_DYE_NONE) {
        snprintf(fault, sizeof fault, "dye-%s-", GDN_DYE_NAMES[test->dye]);
    } else if (test->refuse) {
        snprintf(fault, sizeof fault, "refuse-%s-", test->refuse);
    }
    snprintf(text, size, "%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%" PRIu64, relation, fault,
             layout, test->conv_bias ? "bias-" : "", gates[test->gates], kernel,
             test->l2norm ? "" : "unit-", orders[test->order], initials[test->initial],
             accepteds[test->accepted], trees[test->tree], rows, pad, page,
             test->misaligned ? "mis-" : "", fills[test->fill], test->seed);
}

gdn_status gdnp_case_set_id(gdn_case *test, gdn_error *err) {
    char flags[320];
    write_flags(test, flags, sizeof flags);
    if (asprintf(&test->id, "%s/%s/%s/%s-%s/%s+%s/%s", gdn_op_get(test->op)->name,
                 test->profile, test->model, mix_name(test), test->batch,
                 gdn_dtype_name(test->dtype), gdn_dtype_name(test->state_dtype),
                 flags) < 0) {
        test->id = NULL;
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for an id");
    }
    return GDN_OK;
}
