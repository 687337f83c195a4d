/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "floor_limit.h"

#include <float.h>
#include <math.h>

/* Factors at 4,096 independent errors and more. Matrix units: two kernels with the same
 * rounding points differ by chance alone by 1.92 and 1.09 once in 10^7 pools; the rest is
 * for other orders and chunk lengths (FLA's own kernel on an H200: 0.86 to 1.25 and 0.99
 * to 1.11). fp32: chunk forms against the token form; measured by
 * tests/test_false_alarms. */
static const struct { double largest, rms; } FACTORS[2] = {{8.0, 4.0}, {2.0, 1.25}};

/* Standard deviations of what comes with operands: the sum of independent errors, each no
 * larger than c_i, exceeds 6 sqrt(sum c_i^2) once in 10^7 (Hoeffding: 2 exp(-18)). */
#define OPERAND_DEVIATIONS 6.0

/* -log of the probability of a false alarm in one pool. */
#define LOG_CHANCE 16.118 /* 10^-7 */

/* Quantiles at 1 - 10^-7 of the ratio of two figures of 2^i independent normal errors each:
 * of their largest magnitudes, m1 > F m2, and of their root mean squares, whose ratio has
 * the density sech(log F)^n of log F. tests/test_floor_limit.c computes them again. */
static const double LARGEST[] = {6.37e6, 3228, 79.4,  13.7,  5.99,  4.00, 3.17,
                                 2.73,   2.46, 2.259, 2.116, 2.005, 1.916};
static const double RMS[] = {6.37e6, 3163, 74.1, 11.7,  4.55,  2.71, 1.966,
                             1.599,  1.39, 1.26, 1.178, 1.123, 1.086};
#define STEPS ((int)(sizeof RMS / sizeof RMS[0]))

static double interpolate(const double *table, double degrees) {
    const double at = degrees > 1.0 ? log2(degrees) : 0.0;
    if (at >= STEPS - 1) {
        return table[STEPS - 1];
    }
    const int step = (int)at;
    const double part = at - step;
    /* Logarithms are convex in log2(degrees): a chord lies above them. */
    return exp((1.0 - part) * log(table[step]) + part * log(table[step + 1]));
}

double gdn_floor_chance_of_largest(double degrees) {
    return interpolate(LARGEST, degrees);
}

double gdn_floor_chance_of_rms(double degrees) {
    return interpolate(RMS, degrees);
}

gdn_floor_limit gdn_floor_limit_of(const gdn_floor *floor) {
    if (!floor || !(floor->degrees > 0.0)) {
        return (gdn_floor_limit){.any = false};
    }
    const int class = floor->matrix != 0.0;
    return (gdn_floor_limit){
        .any = true,
        .largest = FACTORS[class].largest * interpolate(LARGEST, floor->degrees) /
                   LARGEST[STEPS - 1] * floor->largest,
        .rms = floor->rms,
        .factor = FACTORS[class].rms * interpolate(RMS, floor->degrees) / RMS[STEPS - 1],
    };
}

double gdn_floor_element(const gdn_floor_limit *limit, double golden, double operand,
                         gdn_dtype storage) {
    if (!limit->any) {
        return INFINITY;
    }
    const double error = limit->largest + OPERAND_DEVIATIONS * operand;
    const double eta = storage == GDN_FP16 ? gdn_dtype_underflow(storage)
                                           : fmax(gdn_dtype_underflow(storage), FLT_MIN);
    return error + gdn_dtype_unit_roundoff(storage) * (fabs(golden) + error) + eta;
}

static bool is_coarse(gdn_dtype storage) {
    return storage == GDN_FP16 || storage == GDN_BF16;
}

/* The probability that golden + deviation z rounds elsewhere than golden does, z normal. */
static double differs(double golden, double rounded, double deviation, gdn_dtype storage) {
    const double half = 0.5 * gdn_dtype_ulp(rounded, storage);
    const double outward = fabs(rounded) + half - fabs(golden);
    const double inward = fabs(golden) - fabs(rounded) + half;
    if (!(fmin(outward, inward) < 8.0 * deviation)) {
        return 0.0;
    }
    const double unit = 1.0 / (sqrt(2.0) * deviation);
    return fmin(1.0, 0.5 * (erfc(outward * unit) + erfc(inward * unit)));
}

void gdn_pool_add(gdn_pool_sums *sums, const gdn_floor_limit *limit, double golden,
                  double found, double operand, double shares, gdn_dtype storage) {
    const double error = found - golden;
    const double ulp = gdn_dtype_ulp(golden, storage);
    sums->count++;
    sums->error_square += error * error;
    sums->expected += ulp * ulp / 12.0 + operand * operand / shares;
    if (is_coarse(storage)) {
        const double rounded = gdn_round_to(golden, storage);
        const double deviation = limit->factor * hypot(limit->rms, operand);
        sums->differ += found != rounded;
        sums->may_differ += differs(golden, rounded, deviation, storage);
    }
}

void gdn_pool_merge(gdn_pool_sums *into, const gdn_pool_sums *sums) {
    into->count += sums->count;
    into->error_square += sums->error_square;
    into->expected += sums->expected;
    into->differ += sums->differ;
    into->may_differ += sums->may_differ;
}

double gdn_pool_rms_limit(const gdn_pool_sums *sums, const gdn_floor_limit *limit) {
    const double more = sums->expected / (double)sums->count;
    return limit->factor * sqrt(limit->rms * limit->rms + more);
}

/* Bernstein's inequality for a sum of independent terms between 0 and `together`, of mean
 * m: it exceeds m + t with a probability below exp(-t^2 / (2 together (m + t/3))). */
double gdn_pool_differ_limit(const gdn_pool_sums *sums, gdn_dtype storage,
                             double together) {
    if (!is_coarse(storage)) {
        return INFINITY;
    }
    const double third = together * LOG_CHANCE / 3.0;
    return sums->may_differ + third +
           sqrt(third * third + 2.0 * together * LOG_CHANCE * sums->may_differ);
}
