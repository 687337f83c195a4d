/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "tensor_diff.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vector_verify.h"

/* golden/T, rows/T and limit/T of one file. */
typedef struct side {
    gdnp_h5_dataset form;
    void *values;
    int64_t *rows;
    float *limit; ///< NULL: exact
} side;

static void side_free(side *s) {
    free(s->values);
    free(s->rows);
    free(s->limit);
}

/* Elements of one row. */
static int64_t row_count(const gdnp_h5_dataset *form) {
    int64_t count = 1;
    for (int d = 1; d < form->rank; d++) {
        count *= form->shape[d];
    }
    return count;
}

/* Reads kind/<tensor>, which must have `count` elements of `dtype`. */
static gdn_status read_beside(const gdn_vector_reader *reader, const char *id,
                              const char *name, gdn_dtype dtype, int64_t count,
                              void **bytes, gdn_error *err) {
    gdnp_h5_dataset form;
    GDN_TRY(gdnp_vector_reader_dataset(reader, id, name, &form, bytes, err));
    if (form.dtype == dtype && form.bytes == (size_t)count * gdn_dtype_size(dtype)) {
        return GDN_OK;
    }
    return gdn_error_set(err, GDN_ERR_FORMAT, "%s: %s does not fit the golden values", id,
                         name);
}

static gdn_status side_read(side *s, const gdn_vector_reader *reader, const char *id,
                            const char *tensor, gdn_error *err) {
    char golden[128], rows[128], limit[128];
    snprintf(golden, sizeof golden, "golden/%s", tensor);
    snprintf(rows, sizeof rows, "rows/%s", tensor);
    snprintf(limit, sizeof limit, "limit/%s", tensor);
    GDN_TRY(gdnp_vector_reader_dataset(reader, id, golden, &s->form, &s->values, err));
    if (s->form.rank < 1) {
        return gdn_error_set(err, GDN_ERR_FORMAT, "%s: %s has no rows", id, golden);
    }
    void *bytes = NULL;
    const int64_t n = s->form.shape[0];
    gdn_status status = read_beside(reader, id, rows, GDN_I64, n, &bytes, err);
    s->rows = bytes;
    const json_t *entry = gdnp_manifest_case(gdn_vector_reader_manifest(reader), id);
    if (status == GDN_OK && json_object_get(gdnp_case_datasets(entry), limit)) {
        bytes = NULL;
        status =
            read_beside(reader, id, limit, GDN_FP32, n * row_count(&s->form), &bytes, err);
        s->limit = bytes;
    }
    return status;
}

static bool same_form(const side *a, const side *b) {
    const size_t tail = (size_t)(a->form.rank - 1) * sizeof a->form.shape[0];
    return a->form.dtype == b->form.dtype && a->form.rank == b->form.rank &&
           !a->limit == !b->limit &&
           memcmp(a->form.shape + 1, b->form.shape + 1, tail) == 0;
}

/* Change over `unit`; a change from, to or by what is no number is infinite. */
static double in_units(double before, double after, double unit) {
    const double change = fabs(after - before);
    if (!isfinite(change)) {
        return INFINITY;
    }
    return change == 0.0 ? 0.0 : change / unit;
}

static void set_place(gdn_tensor_diff *diff, const gdnp_h5_dataset *form, int64_t row,
                      int64_t within, double before, double after) {
    diff->rank = form->rank;
    for (int d = form->rank - 1; d > 0; d--) {
        diff->index[d] = within % form->shape[d];
        within /= form->shape[d];
    }
    diff->index[0] = row;
    diff->before = before;
    diff->after = after;
}

/* Element `i` of row `r` of one side and `s` of the other. */
static void compare_element(gdn_tensor_diff *diff, const side *a, const side *b, int64_t r,
                            int64_t s, int64_t i) {
    const gdn_dtype dtype = diff->dtype;
    const size_t size = gdn_dtype_size(dtype);
    const int64_t count = row_count(&a->form);
    const int64_t at = r * count + i, bt = s * count + i;
    diff->elements++;
    if (a->limit && a->limit[at] != b->limit[bt]) {
        const double x = (double)a->limit[at], y = (double)b->limit[bt];
        const double factor = x < y ? y / x : x / y;
        diff->limits_changed++;
        diff->limits_factor = factor > diff->limits_factor ? factor : diff->limits_factor;
    }
    if (memcmp((const char *)a->values + (size_t)at * size,
               (const char *)b->values + (size_t)bt * size, size) == 0) {
        return;
    }
    const double before = gdn_load(a->values, dtype, at);
    const double after = gdn_load(b->values, dtype, bt);
    const double ulp = gdn_dtype_is_float(dtype) ? gdn_dtype_ulp(before, dtype) : 1.0;
    const double ulps = in_units(before, after, ulp);
    const double limits = a->limit ? in_units(before, after, (double)a->limit[at]) : 0.0;
    const bool worst = a->limit ? limits > diff->limits : ulps > diff->ulps;
    if (diff->changed++ == 0 || worst) {
        set_place(diff, &a->form, a->rows[r], i, before, after);
    }
    diff->ulps = ulps > diff->ulps ? ulps : diff->ulps;
    diff->limits = limits > diff->limits ? limits : diff->limits;
}

/* Rows ascend in both. */
static void compare_rows(gdn_tensor_diff *diff, const side *a, const side *b) {
    const int64_t n = a->form.shape[0], m = b->form.shape[0];
    const int64_t count = row_count(&a->form);
    int64_t r = 0, s = 0;
    while (r < n && s < m) {
        if (a->rows[r] < b->rows[s]) {
            diff->rows_gone++;
            r++;
        } else if (a->rows[r] > b->rows[s]) {
            diff->rows_added++;
            s++;
        } else {
            for (int64_t i = 0; i < count; i++) {
                compare_element(diff, a, b, r, s, i);
            }
            r++;
            s++;
        }
    }
    diff->rows_gone += n - r;
    diff->rows_added += m - s;
}

gdn_status gdnp_tensor_diff(gdn_tensor_diff *diff, const gdn_vector_reader *before,
                            const gdn_vector_reader *after, const char *id,
                            gdn_error *err) {
    if (!gdn_vector_reader_has(before, id) || !gdn_vector_reader_has(after, id)) {
        diff->reason = "digests differ; the values are not stored";
        return GDN_OK;
    }
    side a = {.values = NULL}, b = {.values = NULL};
    gdn_status status = side_read(&a, before, id, diff->name, err);
    if (status == GDN_OK) {
        status = side_read(&b, after, id, diff->name, err);
    }
    if (status == GDN_OK && !same_form(&a, &b)) {
        diff->reason = "another type, shape or judgement";
    } else if (status == GDN_OK) {
        diff->dtype = a.form.dtype;
        diff->bounded = a.limit != NULL;
        diff->limits_factor = 1.0;
        compare_rows(diff, &a, &b);
    }
    side_free(&a);
    side_free(&b);
    return status;
}
