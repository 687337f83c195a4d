/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Compares `count` rows of an output; `limit` NULL: equal bits. Returns what is wrong. */
static long compare(const char *name, float (*get)(long), long stride, const long *rows,
                    long n_rows, long row_count, const double *expected,
                    const float *limit) {
    long wrong = 0;
    for (long i = 0; i < n_rows * row_count; i++) {
        const long at = rows[i / row_count] * stride + i % row_count;
        const double found = get(at), right = expected[i];
        const double error = fabs(found - right);
        const int ok = isnan(right) || isnan(found) ? isnan(right) && isnan(found)
                       : isinf(right)               ? found == right
                                      : error <= (limit ? (double)limit[i] : 0.0);
        if (!ok && wrong++ == 0) {
            printf("%s: element %ld is %.9g, expected %.9g +- %.3g\n", name, at, found,
                   right, limit ? (double)limit[i] : 0.0);
        }
    }
    if (wrong > 0) {
        printf("%s: %ld of %ld wrong\n", name, wrong, n_rows * row_count);
    }
    return wrong;
}
