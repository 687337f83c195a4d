/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Keys and queries made ready for the recurrence: normalised, scaled, rounded where a
 * profile says so, each with the terms of BOUND.md. */
#include "ops.h"

#include <math.h>
#include <string.h>

/* Tokens whose sums of squares run side by side: each has to wait for itself. */
#define ABREAST 8

static double sum_of_squares(const double *x, int64_t count) {
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++) {
        sum += x[i] * x[i];
    }
    return sum;
}

/* The same for `rows` rows of `count`, at most ABREAST. */
static void sums_of_squares(const double *x, int64_t rows, int64_t count, double *sums) {
    if (rows < ABREAST) {
        for (int64_t r = 0; r < rows; r++) {
            sums[r] = sum_of_squares(x + r * count, count);
        }
        return;
    }
    double sum[ABREAST] = {0.0};
    for (int64_t i = 0; i < count; i++) {
        for (int64_t r = 0; r < ABREAST; r++) {
            sum[r] += x[r * count + i] * x[r * count + i];
        }
    }
    memcpy(sums, sum, sizeof sum);
}

/* What the recurrence must know of a row of k or q: its 2-norm, the bound on a backend's
 * error in it and the part of that which came in, and what a sum with it may lose to zeros.
 */
typedef struct scaled_row {
    double norm, error, input, floor;
} scaled_row;

/* n of x / n. NaN stays NaN. */
static double root_of(const gdn_conventions *conventions, double sum) {
    const double eps = conventions->l2norm_eps;
    switch (conventions->l2norm_form) {
    case GDN_L2NORM_OUTSIDE:
        return sqrt(sum) + eps;
    case GDN_L2NORM_MAX:
        return sqrt(sum) <= eps ? eps : sqrt(sum);
    case GDN_L2NORM_INSIDE:
        break;
    }
    return sqrt(sum + eps);
}

/* Roundings of n and of the quotient, relative to x; squares that are zeros among them. */
static double norm_roundings(const gdn_conventions *conventions, gdnp_arithmetic fp,
                             double sum, double root, double n) {
    const double common =
        gdnp_gamma(n + 1.0, fp.unit) / 2.0 + (conventions->rsqrt_error + 1.0) * fp.unit;
    if (conventions->l2norm_form == GDN_L2NORM_INSIDE) {
        return common + n * fp.tiny / (sum + conventions->l2norm_eps);
    }
    const double lost = fmin(n * fp.tiny / sqrt(sum), sqrt(n * fp.tiny));
    const bool added = conventions->l2norm_form == GDN_L2NORM_OUTSIDE;
    return common + (added ? fp.unit : 0.0) + (sum > 0.0 ? lost / root : 0.0);
}

/* One row on its way: the factor that took it here, and the terms of an element's error
 * that are relative to it, those that came with its input, and absolute ones. */
typedef struct row_terms {
    double scale, roundings, input, least, tiny;
} row_terms;

/* Rounds a row to storage. Only an element within its own error of a rounding boundary may
 * land elsewhere; returns the 2-norm of how far. */
static double round_row(double *x, int64_t count, gdn_dtype storage, const row_terms *terms,
                        const double *errors) {
    double square = 0.0;
    for (int64_t i = 0; i < count; i++) {
        const double input = errors ? errors[i] * terms->scale / terms->least : 0.0;
        const double error = fabs(x[i]) * (terms->input / terms->least + terms->roundings) +
                             input + terms->tiny;
        const double rounded = gdn_round_to(x[i], storage);
        const double above = fabs(gdn_round_to(x[i] + error, storage) - rounded);
        const double below = fabs(gdn_round_to(x[i] - error, storage) - rounded);
        const double worst = fmax(above, below);
        square += worst * worst;
        x[i] = rounded;
    }
    return sqrt(square);
}

/* A row to be normalised, and what becomes of it. */
typedef struct row_plan {
    const gdn_conventions *conventions;
    gdnp_key_form form;
    gdnp_arithmetic fp;
    int64_t count;
    double scale;      /* behind the norm */
    double late_scale; /* behind the rounding */
    bool rounded;
} row_plan;

/* x = scale * x / n with sum = sum x^2, or scale * x; the terms are those of BOUND.md,
 * "Keys and queries". */
static scaled_row scale_row(double *x, double sum, const row_plan *plan,
                            const double *errors) {
    const gdn_conventions *conventions = plan->conventions;
    const gdnp_arithmetic fp = plan->fp;
    const bool inside = conventions->l2norm_form == GDN_L2NORM_INSIDE;
    const double eps = conventions->l2norm_eps;
    const double n = (double)plan->count;
    const double scale = plan->scale;
    const double seen = conventions->slip == GDN_SLIP_L2NORM_MEAN ? sum / n : sum;
    const double root = plan->form.l2norm ? root_of(conventions, seen) : 1.0;
    for (int64_t i = 0; i < plan->count; i++) {
        x[i] = scale == 1.0 ? x[i] / root : x[i] / root * scale;
    }
    const double input = errors ? sqrt(sum_of_squares(errors, plan->count)) : 0.0;
    double least = root; /* of the roots between the exact row and the backend's */
    double roundings = scale == 1.0 ? 0.0 : 3.0 * fp.unit;
    if (plan->form.l2norm) {
        least = fmax(root - input, inside ? sqrt(eps) : eps);
        roundings += norm_roundings(conventions, fp, seen, root, n);
    }
    const double factor = scale / root;
    double norm = sqrt(sum) * factor;
    double error =
        input / least * scale + norm * roundings + sqrt(n) * fp.tiny * (factor + 2.0);
    if (plan->rounded) {
        const row_terms terms = {scale, roundings, input, least, fp.tiny * (factor + 2.0)};
        error = round_row(x, plan->count, plan->form.storage, &terms, errors) +
                sqrt(n) * fp.tiny; /* a subnormal may be zero behind the rounding too */
        norm = sqrt(sum_of_squares(x, plan->count));
    }
    const double late = plan->late_scale;
    if (late != 1.0) {
        for (int64_t i = 0; i < plan->count; i++) {
            x[i] *= late;
        }
        norm *= late;
        error = error * late + 3.0 * fp.unit * norm + sqrt(n) * fp.tiny * 2.0;
    }
    const double whole = factor * late;
    return (scaled_row){
        .norm = norm,
        .error = error,
        .input = plan->rounded ? error : input / least * scale * late,
        .floor = (2.0 * n + 8.0) * fp.tiny * fmax(whole, 1.0 / whole),
    };
}

void gdnp_keys_normalise(gdnp_keys *keys, const gdn_conventions *conventions,
                         gdnp_key_form form, const double *k_error, const double *q_error) {
    const int64_t n = keys->k_dim;
    const double scale = 1.0 / sqrt((double)n);
    const double q_scale = conventions->slip == GDN_SLIP_Q_UNSCALED ? 1.0 : scale;
    const double k_scale = conventions->slip == GDN_SLIP_K_SCALED ? scale : 1.0;
    const bool late = form.chunked && conventions->chunk_qk == GDN_CHUNK_QK_STORAGE;
    form.l2norm = form.l2norm && conventions->slip != GDN_SLIP_L2NORM_MISSING;
    keys->l2norm = form.l2norm;
    row_plan plan = {
        .conventions = conventions,
        .form = form,
        .fp = gdnp_recurrence_arithmetic(conventions, form.chunked),
        .count = n,
        .rounded = form.chunked && conventions->chunk_qk != GDN_CHUNK_QK_NONE,
    };
    double kk[ABREAST], qq[ABREAST];
    for (int64_t t = 0; t < keys->length; t++) {
        if (t % ABREAST == 0) {
            const int64_t left = keys->length - t;
            const int64_t rows = left < ABREAST ? left : ABREAST;
            sums_of_squares(keys->k + t * n, rows, n, kk);
            sums_of_squares(keys->q + t * n, rows, n, qq);
        }
        gdnp_token *token = &keys->tokens[t];
        plan.scale = late ? 1.0 : k_scale;
        plan.late_scale = late ? k_scale : 1.0;
        const scaled_row k = scale_row(keys->k + t * n, kk[t % ABREAST], &plan,
                                       k_error ? k_error + t * n : NULL);
        plan.scale = late ? 1.0 : q_scale;
        plan.late_scale = late ? q_scale : 1.0;
        const scaled_row q = scale_row(keys->q + t * n, qq[t % ABREAST], &plan,
                                       q_error ? q_error + t * n : NULL);
        token->k_norm = k.norm;
        token->k_error = k.error;
        token->k_input = k.input;
        token->k_floor = k.floor;
        token->q_norm = q.norm;
        token->q_error = q.error;
        token->q_input = q.input;
        token->q_floor = q.floor;
    }
}
