/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "shipped.h"

#include <stdio.h>
#include <string.h>

static bool same(const gdn_golden *a, const gdn_golden *b) {
    for (size_t i = 0; i < a->n_outputs; i++) {
        const gdn_expected *x = &a->outputs[i];
        const gdn_expected *y = &b->outputs[i];
        const size_t bytes =
            (size_t)(x->n_rows * x->row_count) * gdn_dtype_size(x->tensor->dtype);
        if (x->n_rows != y->n_rows ||
            memcmp(x->rows, y->rows, (size_t)x->n_rows * sizeof *x->rows) != 0 ||
            memcmp(x->bits, y->bits, bytes) != 0) {
            return false;
        }
    }
    return true;
}

/* One defect after the other, so that the text names those that show and no others. */
static gdn_status shows(const gdn_problem *problem, const gdn_golden *golden,
                        const gdn_convention_field *field, bool *shown, gdn_error *err) {
    gdn_conventions mended = problem->test->conventions;
    gdn_problem other = *problem;
    gdn_golden right;
    *(int *)((char *)&mended + field->offset) = 0; /* the first value is the right one */
    other.call.conventions = &mended;
    GDN_TRY(gdn_golden_create(&right, &other, err));
    *shown = !same(golden, &right);
    gdn_golden_destroy(&right);
    return GDN_OK;
}

gdn_status gdn_shipped_defect(const gdn_problem *problem, const gdn_golden *golden,
                              bool *shown, char *text, size_t size, gdn_error *err) {
    const gdn_conventions *conventions = &problem->test->conventions;
    size_t count = 0;
    const gdn_convention_field *fields = gdn_verify_fields(&count);
    *shown = false;
    text[0] = '\0';
    if (!gdn_op_is_verify(problem->call.op)) {
        return GDN_OK;
    }
    for (size_t i = 0; i < count; i++) {
        const char *at = (const char *)conventions + fields[i].offset;
        if (fields[i].kind != GDN_FIELD_ENUM || *(const int *)at < fields[i].correct) {
            continue;
        }
        bool this_one = false;
        GDN_TRY(shows(problem, golden, &fields[i], &this_one, err));
        if (this_one) {
            const size_t used = strlen(text);
            snprintf(text + used, size - used, "%s %s=%s (%s)",
                     *shown ? "," : "known upstream defect, as shipped:", fields[i].name,
                     fields[i].values[*(const int *)at], fields[i].what);
            *shown = true;
        }
    }
    return GDN_OK;
}
