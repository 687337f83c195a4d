/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* How many independent errors a head's root mean square stands for. Three things make them
 * fewer than its elements:
 *
 * - Errors of different size. A sum of squares of normal errors has the variance of one
 *   with (sum s^2)^2 / sum s^4 equal ones (Welch and Satterthwaite); sum e^4 estimates
 *   3 sum s^4.
 * - After few tokens a row of the state errs by multiples of few keys (gdn_pool's degrees).
 * - Keys that nearly repeat make all errors of a row multiples of one. For independent rows
 *   with one covariance C, E^T E =: S has the expectations tr S = n tr C and
 *   |S|^2 = n^2 |C|^2 + n (tr C)^2, so that the columns count as
 *   (tr C)^2 / |C|^2 = (tr S)^2 / (|S|^2 - (tr S)^2 / n). |S|^2 is estimated from 16
 *   vectors x of signs: x^T S x varies by 2 (|S|^2 - sum S_ii^2) (Hutchinson). */
#include "floor_figures.h"

#include <math.h>
#include <stdlib.h>

#define SKETCHES 16

/* Rows 1 to 16 of a Walsh matrix, whitened by a multiplicative hash of the column: any two
 * columns see independent signs. */
static double sign_of(int64_t column, int sketch) {
    uint64_t x = ((uint64_t)column + 1) * UINT64_C(0x9e3779b97f4a7c15) +
                 (uint64_t)sketch * UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 31;
    x *= UINT64_C(0x94d049bb133111eb);
    return x >> 63 ? 1.0 : -1.0;
}

/* As many independent columns as the matrix has; between 1 and `columns`. */
static double independent_columns(const double *errors, const double *signs,
                                  double *squares, int64_t rows, int64_t columns) {
    double form[SKETCHES] = {0.0};
    for (int64_t c = 0; c < columns; c++) {
        squares[c] = 0.0;
    }
    for (int64_t r = 0; r < rows; r++) {
        const double *row = errors + r * columns;
        double sum[SKETCHES] = {0.0};
        for (int64_t c = 0; c < columns; c++) {
            squares[c] += row[c] * row[c];
            for (int i = 0; i < SKETCHES; i++) {
                sum[i] += signs[c * SKETCHES + i] * row[c];
            }
        }
        for (int i = 0; i < SKETCHES; i++) {
            form[i] += sum[i] * sum[i];
        }
    }
    double trace = 0.0, norm = 0.0, variance = 0.0;
    for (int64_t c = 0; c < columns; c++) {
        trace += squares[c];
        norm += squares[c] * squares[c];
    }
    for (int i = 0; i < SKETCHES; i++) {
        variance += (form[i] - trace) * (form[i] - trace) / SKETCHES;
    }
    const double own = norm + 0.5 * variance - trace * trace / (double)rows;
    const double count = trace * trace / own;
    return !(own > 0.0) || count > (double)columns ? (double)columns : fmax(count, 1.0);
}

gdn_status gdnp_floor_add(gdnp_floor_sums *sums, const double *errors, int64_t rows,
                          int64_t columns, gdn_error *err) {
    double *memory = malloc((size_t)(columns * (SKETCHES + 1) + 1) * sizeof *memory);
    if (!memory) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a noise floor");
    }
    double *signs = memory + columns;
    for (int64_t c = 0; c < columns; c++) {
        for (int i = 0; i < SKETCHES; i++) {
            signs[c * SKETCHES + i] = sign_of(c, i);
        }
    }
    for (int64_t i = 0; i < rows * columns; i++) {
        const double square = errors[i] * errors[i];
        sums->largest = fmax(sums->largest, fabs(errors[i]));
        sums->square += square;
        sums->fourth += square * square;
    }
    sums->count += (double)(rows * columns);
    sums->degrees +=
        (double)rows * independent_columns(errors, signs, memory, rows, columns);
    free(memory);
    return GDN_OK;
}

gdn_floor gdnp_floor_figures(const gdnp_floor_sums *sums, const gdn_pool *pool) {
    gdn_floor floor = {.largest = sums->largest, .matrix = pool->matrix ? 1.0 : 0.0};
    if (sums->fourth > 0.0) {
        const double equal =
            fmin(1.0, 3.0 * sums->square * sums->square / (sums->fourth * sums->count));
        floor.rms = sqrt(sums->square / sums->count);
        floor.degrees = equal * fmin((double)pool->degrees, sums->degrees);
    }
    return floor;
}
