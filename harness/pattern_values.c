/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "pattern_values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fit.h"

/* A relation holds if this share of the wrong elements obeys it, and there are enough of
 * them that chance is out of the question. */
#define SHARE 0.95
#define FEW   4

/* Limits of a scaled value: the device's error scales with it, and a factor is
 * estimated. */
#define SLACK 4.0

/* A transposed state correlates at least so well with the transposed golden one, and the
 * golden one itself at most so well. */
#define ALIKE  0.98
#define UNLIKE 0.7

/* Largest side of a residual whose rank is computed, and largest rank worth telling. */
#define SIDE_MOST 256
#define RANK_MOST 3

static double found_at(const gdn_problem *problem, const gdn_expected *e, int64_t index,
                       int64_t i) {
    return gdn_load(gdn_fit_found(&problem->arena, e->tensor), e->tensor->dtype,
                    e->rows[index] * e->tensor->stride[0] + i);
}

static void name_factor(const gdn_problem *problem, double factor, FILE *out) {
    const double k = (double)problem->test->head_k_dim;
    const struct {
        double value;
        const char *name;
    } KNOWN[] = {
        {sqrt(k), "sqrt(K)"}, {1.0 / sqrt(k), "1/sqrt(K)"}, {k, "K"},
        {1.0 / k, "1/K"},     {M_LOG2E, "log2(e)"},         {M_LN2, "ln(2)"},
    };
    fprintf(out, ", %.6g times the right value", factor);
    for (size_t i = 0; i < sizeof KNOWN / sizeof KNOWN[0]; i++) {
        if (fabs(factor - KNOWN[i].value) <= 1e-3 * KNOWN[i].value && k > 1.0) {
            fprintf(out, " (%s)", KNOWN[i].name);
            return;
        }
    }
}

/* Least squares over the wrong elements; the factor must then hold for nearly each of
 * them. */
static bool tell_factor(const gdn_problem *problem, const gdn_expected *e, FILE *out) {
    double product = 0.0, square = 0.0, budget;
    int64_t wrong = 0, obeyed = 0;
    for (int pass = 0; pass < 2; pass++) {
        const double factor = square > 0.0 ? product / square : 0.0;
        for (int64_t flat = 0; flat < e->n_rows * e->row_count; flat++) {
            const int64_t index = flat / e->row_count, i = flat % e->row_count;
            const double golden = e->golden[flat];
            if (!gdn_fit_wrong(problem, e, index, i, &budget)) {
                continue;
            }
            const double found = found_at(problem, e, index, i);
            if (pass == 0 && isfinite(found) && isfinite(golden)) {
                product += found * golden;
                square += golden * golden;
            }
            wrong += pass;
            obeyed +=
                pass == 1 && fabs(found - factor * golden) <=
                                 SLACK * fmax(1.0, fabs(factor)) * (double)e->limit[flat];
        }
    }
    if (wrong < FEW || !(square > 0.0) || (double)obeyed < SHARE * (double)wrong) {
        return false;
    }
    const double factor = product / square;
    if (fabs(factor) < 1e-6) {
        fprintf(out, ", zero");
    } else {
        name_factor(problem, factor, out);
    }
    return true;
}

/* Correlation of the wrong blocks of a state pool with the golden blocks, as they are and
 * taken for the other order. */
static bool tell_transposed(const gdn_problem *problem, const gdn_expected *e, FILE *out) {
    const gdn_tensor *t = e->tensor;
    const int64_t rows = t->shape[2], columns = t->shape[3], block = rows * columns;
    double own = 0.0, other = 0.0, found_square = 0.0, golden_square = 0.0;
    for (int64_t flat = 0; flat < e->n_rows * e->row_count; flat++) {
        const int64_t start = flat / block * block, place = flat % block;
        /* The element whose place in the other order this is. */
        const int64_t twin = start + place % rows * columns + place / rows;
        const double found = found_at(problem, e, flat / e->row_count, flat % e->row_count);
        if (!isfinite(found) || !isfinite(e->golden[flat]) || !isfinite(e->golden[twin])) {
            return false;
        }
        own += found * e->golden[flat];
        other += found * e->golden[twin];
        found_square += found * found;
        golden_square += e->golden[flat] * e->golden[flat];
    }
    const double norms = sqrt(found_square) * sqrt(golden_square);
    if (!(norms > 0.0) || other < ALIKE * norms || own > UNLIKE * norms) {
        return false;
    }
    fprintf(out, ", the transposed state (correlation %.4f)", other / norms);
    return true;
}

/* Rank of a matrix by elimination with complete pivoting; what is at most `noise` is 0. */
static int rank_of(double *m, int64_t rows, int64_t columns, double noise) {
    int rank = 0;
    for (; rank <= RANK_MOST; rank++) {
        int64_t best = -1;
        double most = noise;
        for (int64_t i = 0; i < rows * columns; i++) {
            if (fabs(m[i]) > most) {
                most = fabs(m[i]);
                best = i;
            }
        }
        if (best < 0) {
            break;
        }
        const int64_t row = best / columns, column = best % columns;
        const double pivot = m[best];
        for (int64_t i = 0; i < rows; i++) {
            const double factor = m[i * columns + column] / pivot;
            for (int64_t j = 0; i != row && j < columns; j++) {
                m[i * columns + j] -= factor * m[row * columns + j];
            }
        }
        memset(m + row * columns, 0, (size_t)columns * sizeof *m);
    }
    return rank;
}

/* The residual of the worst head: one bad token is a matrix of rank 1. */
static void tell_rank(const gdn_problem *problem, const gdn_expected *e, FILE *out) {
    const gdn_tensor *t = e->tensor;
    const int64_t rows = t->shape[2], columns = t->shape[3], block = rows * columns;
    double most = 0.0;
    int64_t worst = 0;
    for (int64_t flat = 0; flat < e->n_rows * e->row_count; flat++) {
        const double error =
            fabs(found_at(problem, e, flat / e->row_count, flat % e->row_count) -
                 e->golden[flat]);
        if (!isfinite(error)) {
            return;
        }
        if (error > most) {
            most = error;
            worst = flat / block * block;
        }
    }
    double *residual = malloc((size_t)block * sizeof *residual);
    if (!residual || rows > SIDE_MOST || columns > SIDE_MOST) {
        free(residual);
        return;
    }
    double noise = 0.0;
    for (int64_t i = 0; i < block; i++) {
        const int64_t flat = worst + i;
        residual[i] = found_at(problem, e, flat / e->row_count, flat % e->row_count) -
                      e->golden[flat];
        noise = fmax(noise, SLACK * (double)e->limit[flat]);
    }
    const int rank = rank_of(residual, rows, columns, noise);
    if (rank > 0 && rank <= RANK_MOST && rank < rows && rank < columns) {
        fprintf(out, ", residual of rank %d in %s[%lld,%lld]", rank, t->name,
                (long long)e->rows[worst / e->row_count],
                (long long)(worst % e->row_count / block));
    }
    free(residual);
}

void gdn_pattern_values(const gdn_problem *problem, const gdn_expected *e, FILE *out) {
    if (e->judgement != GDN_JUDGE_BOUNDED || tell_factor(problem, e, out)) {
        return;
    }
    if (strcmp(e->tensor->name, "ssm_state") == 0 && e->tensor->rank == 4 &&
        !tell_transposed(problem, e, out)) {
        tell_rank(problem, e, out);
    }
}
