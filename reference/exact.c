/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Correct rounding by Ziv's strategy (A. Ziv, ACM TOMS 17, 1991): evaluate as an
 * unevaluated sum hi + lo with a proved bound on its error; if both ends of that interval
 * round to the same number, that number is the answer, else MPFR decides. The answer is
 * therefore defined by mathematics alone: it depends neither on libm nor on whether a
 * compiler has fma.
 *
 * Argument reductions are table-driven (P. Tang, ACM TOMS 15, 1989 and 16, 1990). Tables
 * and constants are computed by MPFR at first use, so that none has to be trusted. Products
 * that must be exact have factors cut to few enough bits; no error-free multiplication is
 * needed.
 *
 * In the bounds u = 2^-53. Round-to-nearest is assumed and nothing may be contracted or
 * kept in wider registers. */
#include "gdn/exact.h"

#include <float.h>
#include <math.h>
#include <mpfr.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

_Static_assert(FLT_EVAL_METHOD == 0, "the error bounds need every operation in FP64");

#define CELLS 256

/* Adding and subtracting 1.5 * 2^(52-b) rounds to a multiple of 2^-b. */
#define TO_INTEGER     0x1.8p52
#define TO_MULTIPLE_27 0x1.8p25
#define TO_MULTIPLE_34 0x1.8p18
#define TO_MULTIPLE_42 0x1.8p10

#define ONE_BITS UINT64_C(0x3ff0000000000000)

/* The logarithm reduces to [0.70703125, 1.4140625): around 1, and 1 is a cell's edge. */
#define LOG_START_BITS UINT64_C(0x3fe6a00000000000)

/* Beyond these, exp has left the range of FP64 whatever the rounding. */
#define EXP_OVERFLOW  709.79
#define EXP_UNDERFLOW (-745.14)

/* Within them, exp is a normal number and 2^k of its reduction too. */
#define EXP_ORDINARY 708.0

static struct {
    double steps_per_unit; /* 256 / ln 2 */
    double step_hi;        /* ln 2 / 256 to a multiple of 2^-42 */
    double step_lo;
    double ln2_hi; /* to a multiple of 2^-42 */
    double ln2_lo;
    struct {
        double hi; /* 2^(j/256) to a multiple of 2^-27 */
        double lo;
    } power[CELLS];
    struct {
        double reciprocal; /* of the cell's middle, 9 significant bits */
        double hi;         /* -log(reciprocal) to a multiple of 2^-42 */
        double lo;
    } log[CELLS];
} tables;

static pthread_once_t tables_once = PTHREAD_ONCE_INIT;
static atomic_bool tables_filled;

/* The exact value lies within `err` of hi + lo. */
typedef struct near_value {
    double hi;
    double lo;
    double err;
} near_value;

/* For gdn_exact_fallback_seconds(). */
static atomic_llong fallback_nanoseconds;

typedef int mpfr_operation(mpfr_ptr, mpfr_srcptr, mpfr_rnd_t);

static inline uint64_t bits_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline double from_bits(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The first 26 significant bits, so that the square of the result is exact. */
static inline double leading_half(double value) {
    return from_bits(bits_of(value) & ~UINT64_C(0x7ffffff));
}

/* a + b = sum + *error exactly (D. Knuth, TAOCP 2, 4.2.2). */
static inline double two_sum(double a, double b, double *error) {
    const double sum = a + b;
    const double b_part = sum - a;
    *error = (a - (sum - b_part)) + (b - b_part);
    return sum;
}

/* Splits a constant into a multiple of the grid of `rounder` and the rest. */
static void split_constant(mpfr_t value, double rounder, double *hi, double *lo) {
    *hi = (mpfr_get_d(value, MPFR_RNDN) + rounder) - rounder;
    mpfr_sub_d(value, value, *hi, MPFR_RNDN);
    *lo = mpfr_get_d(value, MPFR_RNDN);
}

static void fill_tables(void) {
    mpfr_t value;
    mpfr_t reciprocal;
    mpfr_init2(value, 200);
    mpfr_init2(reciprocal, 9);
    mpfr_const_log2(value, MPFR_RNDN);
    mpfr_ui_div(value, CELLS, value, MPFR_RNDN);
    tables.steps_per_unit = mpfr_get_d(value, MPFR_RNDN);
    mpfr_const_log2(value, MPFR_RNDN);
    split_constant(value, TO_MULTIPLE_42, &tables.ln2_hi, &tables.ln2_lo);
    mpfr_const_log2(value, MPFR_RNDN);
    mpfr_div_ui(value, value, CELLS, MPFR_RNDN);
    split_constant(value, TO_MULTIPLE_42, &tables.step_hi, &tables.step_lo);
    for (uint64_t i = 0; i < CELLS; i++) {
        mpfr_set_d(value, (double)i / CELLS, MPFR_RNDN);
        mpfr_exp2(value, value, MPFR_RNDN);
        split_constant(value, TO_MULTIPLE_27, &tables.power[i].hi, &tables.power[i].lo);

        const double from = from_bits(LOG_START_BITS + (i << 44));
        const double to = from_bits(LOG_START_BITS + ((i + 1) << 44));
        if (from == 1 || to == 1) {
            /* Beside 1 a reduction would cancel. */
            mpfr_set_ui(reciprocal, 1, MPFR_RNDN);
        } else {
            mpfr_set_d(value, (from + to) / 2, MPFR_RNDN);
            mpfr_ui_div(reciprocal, 1, value, MPFR_RNDN);
        }
        tables.log[i].reciprocal = mpfr_get_d(reciprocal, MPFR_RNDN);
        mpfr_log(value, reciprocal, MPFR_RNDN);
        mpfr_neg(value, value, MPFR_RNDN);
        split_constant(value, TO_MULTIPLE_42, &tables.log[i].hi, &tables.log[i].lo);
    }
    mpfr_clear(value);
    mpfr_clear(reciprocal);
    mpfr_free_cache2(MPFR_FREE_LOCAL_CACHE);
    atomic_store_explicit(&tables_filled, true, memory_order_release);
}

/* pthread_once alone would cost a tenth of an exp: a call, and what is saved around it. */
static inline void need_tables(void) {
    if (!atomic_load_explicit(&tables_filled, memory_order_acquire)) {
        pthread_once(&tables_once, fill_tables);
    }
}

/* All FP64 numbers and the midpoints between them have 54 bits. MPFR rounds to so many
 * toward zero; an inexact result then gets half a unit more, which puts it on the same side
 * of each of them as the exact value, also where subnormals have fewer bits. So only the
 * last rounding counts. */
static double by_mpfr(mpfr_operation *operation, double x) {
    struct timespec from;
    clock_gettime(CLOCK_MONOTONIC, &from);
    mpfr_t argument;
    mpfr_t result;
    mpfr_init2(argument, DBL_MANT_DIG);
    mpfr_init2(result, DBL_MANT_DIG + 1);
    mpfr_set_d(argument, x, MPFR_RNDN);
    const int ternary = operation(result, argument, MPFR_RNDZ);
    if (ternary != 0) {
        mpfr_prec_round(result, DBL_MANT_DIG + 2, MPFR_RNDZ);
        if (ternary < 0) {
            mpfr_nextabove(result);
        } else {
            mpfr_nextbelow(result);
        }
    }
    const double rounded = mpfr_get_d(result, MPFR_RNDN);
    mpfr_clear(argument);
    mpfr_clear(result);
    /* MPFR's cache belongs to the thread and would be lost with it. */
    mpfr_free_cache2(MPFR_FREE_LOCAL_CACHE);
    struct timespec to;
    clock_gettime(CLOCK_MONOTONIC, &to);
    atomic_fetch_add(&fallback_nanoseconds,
                     (to.tv_sec - from.tv_sec) * 1000000000LL + to.tv_nsec - from.tv_nsec);
    return rounded;
}

double gdn_exact_fallback_seconds(void) {
    return (double)atomic_load(&fallback_nanoseconds) * 1e-9;
}

/* Ziv's rounding test: rounding is monotone, so if both ends agree, all between do. The
 * roundings of lo -+ err are at most u*|lo|, and every err below has room for them. */
static inline bool is_decided(near_value value, double *rounded) {
    *rounded = value.hi + (value.lo - value.err);
    return *rounded == value.hi + (value.lo + value.err);
}

/* exp(x) = 2^k * (hi + lo) for |x| <= EXP_ORDINARY, `*scale` = 2^k.
 *
 * x = n * ln2/256 + r with |n| < 2^18 and |r| < 2^-9.5. n*step_hi has 52 bits and x minus
 * it is exact; n*step_lo errs by 2^-78 with the error of step_lo. r = r1 + r2, r1 the
 * nearest multiple of 2^-34 (25 bits): r1*r1 and T1*r1 are exact, T1 = power.hi having 28.
 *
 *   exp(x)/2^k = T1 + T1*r1 + T1*g + T2*(1 + r1 + g),   g = exp(r) - 1 - r1
 *
 * |g| < 2^-20.03. Relative to T1 the roundings of g, T1*g and the two last sums err by
 * 2^-73 each at most, everything else (r, Taylor remainder r^7/5040, T2) by 2^-77 together;
 * expm1 adds one rounding and is_decided() one more: 6.1 * 2^-73 < 2^-70. */
static inline near_value exp_near(double x, double *scale) {
    need_tables();
    const double shifted = x * tables.steps_per_unit + TO_INTEGER;
    const double n = shifted - TO_INTEGER;
    const uint64_t biased = bits_of(shifted) - bits_of(TO_INTEGER) + 1023 * CELLS;
    const uint64_t j = biased % CELLS;
    *scale = from_bits(biased / CELLS << 52);

    const double rough = x - n * tables.step_hi;
    const double fine = n * tables.step_lo;
    const double r = rough - fine;
    const double r1 = (r + TO_MULTIPLE_34) - TO_MULTIPLE_34;
    const double r2 = (rough - r1) - fine;
    const double rr = r * r;
    const double cubic =
        rr * r * ((1.0 / 6 + r * (1.0 / 24)) + rr * (1.0 / 120 + r * (1.0 / 720)));
    const double g = 0.5 * r1 * r1 + (r2 + (cubic + r2 * (r1 + 0.5 * r2)));

    const double t1 = tables.power[j].hi;
    const double t2 = tables.power[j].lo;
    const double linear = t1 * r1;
    const double hi = t1 + linear;
    const double lo = ((t1 - hi) + linear) + (t1 * g + (t2 + t2 * (r1 + g)));
    return (near_value){hi, lo, hi * 0x1p-70};
}

/* exp and expm1 where exp_near() does not reach: NaN, overflow, subnormal results. */
static double exp_extreme(mpfr_operation *operation, double x) {
    if (isnan(x)) {
        return x + x;
    }
    if (x > EXP_OVERFLOW) {
        return INFINITY;
    }
    return x < EXP_UNDERFLOW ? 0 : by_mpfr(operation, x);
}

double gdn_exp(double x) {
    if (!(fabs(x) <= EXP_ORDINARY)) {
        return exp_extreme(mpfr_exp, x);
    }
    double scale;
    double rounded;
    if (is_decided(exp_near(x, &scale), &rounded)) {
        return rounded * scale;
    }
    return by_mpfr(mpfr_exp, x);
}

/* expm1 for 2^-54 < |x| < 2^-6: x + x^2/2 + x^3/6 + ... + x^9/9!. The square is exact in
 * two parts; the rest errs by its own roundings, at most 8u*|x|^3/6 with those of the last
 * sums (the remainder x^10/10! is below 2^-10 of that), and by 2^-77*|x| for the square's
 * low part. */
static near_value expm1_series(double x) {
    const double x1 = leading_half(x);
    const double x2 = x - x1;
    const double cube = x * x * x;
    const double cubic =
        cube * (1.0 / 6 +
                x * (1.0 / 24 +
                     x * (1.0 / 120 +
                          x * (1.0 / 720 + x * (1.0 / 5040 +
                                                x * (1.0 / 40320 + x * (1.0 / 362880)))))));
    double error;
    const double hi = two_sum(x, 0.5 * x1 * x1, &error);
    const double lo = error + (cubic + x2 * (x1 + 0.5 * x2));
    return (near_value){hi, lo, 0x1p-52 * fabs(cube) + 0x1p-76 * fabs(hi)};
}

/* exp(x) - 1 where it loses at most 6 of exp's bits. */
static near_value power_less_one(double x) {
    double scale;
    double error;
    const near_value power = exp_near(x, &scale);
    const double hi = two_sum(power.hi * scale, -1, &error);
    const double lo = error + power.lo * scale;
    /* For x << 0 it is `error`, not the power, that decides how lo rounds: by u^2. */
    return (near_value){hi, lo, power.err * scale + 0x1p-100};
}

double gdn_expm1(double x) {
    if (fabs(x) <= 0x1p-54) {
        return x; /* x^2/2 is below a quarter of an ulp */
    }
    if (x < -38) {
        return -1; /* exp(x) < 2^-54, half the distance to the next number */
    }
    if (!(x <= EXP_ORDINARY)) {
        return exp_extreme(mpfr_expm1, x);
    }
    const near_value value = fabs(x) < 0x1p-6 ? expm1_series(x) : power_less_one(x);
    double rounded;
    return is_decided(value, &rounded) ? rounded : by_mpfr(mpfr_expm1, x);
}

/* base + rest + log(1 + z) for |z| < 2^-8, base 0 or a multiple of 2^-42 that leaves a sum
 * above 2^-9 in magnitude, rest below 2^-32*|base| + u.
 *
 * z^2/2 is exact in two parts. z^3/3 - ... + z^9/9 errs by 6u*|z|^3/3 (remainder and inner
 * roundings below 2^-5 of that), and the sums that it passes through, is_decided()'s
 * included, by 4u*|z|^3/3: together less than 2^-51*|z|^3. All other roundings are of terms
 * below 2^-25*|hi| and err by 2^-76*|hi| together. */
static inline near_value log_near(double base, double rest, double z) {
    const double z1 = leading_half(z);
    const double z2 = z - z1;
    const double zz = z * z;
    const double cube = zz * z;
    const double cubic =
        cube * (((1.0 / 3 - z * (1.0 / 4)) + zz * (1.0 / 5 - z * (1.0 / 6))) +
                zz * zz * ((1.0 / 7 - z * (1.0 / 8)) + zz * (1.0 / 9)));
    double error1;
    double error2;
    const double sum = two_sum(base, z, &error1);
    const double hi = two_sum(sum, -0.5 * z1 * z1, &error2);
    const double lo = (error1 + error2) + (rest + (cubic - z2 * (z1 + 0.5 * z2)));
    return (near_value){hi, lo, 0x1p-51 * fabs(cube) + 0x1p-76 * fabs(hi)};
}

/* log(2^exponent * (x + x_low)) for normal x > 0 and |x_low| <= u*x.
 *
 * x = 2^k * m with m in a cell of width at most 2^-8, c its reciprocal: z = m*c - 1 is
 * below 2^-8 and a multiple of 2^-61, hence exact, and so are its two partial products.
 *
 *   log x = (k*ln2_hi - log(c)_hi) + (k*ln2_lo - log(c)_lo) + log(1 + z) + x_low/x
 */
static inline near_value log_reduced(double x, double x_low, int exponent) {
    need_tables();
    const uint64_t bits = bits_of(x);
    const uint64_t shifted = bits + (ONE_BITS - LOG_START_BITS);
    const int k = (int)(shifted >> 52) - 1023;
    const uint64_t cell = (shifted >> 44) % CELLS;
    const double m = from_bits(bits - ((uint64_t)(int64_t)k << 52));
    const double m1 = leading_half(m);
    const double c = tables.log[cell].reciprocal;
    const double z = (m1 * c - 1) + (m - m1) * c;
    const double turns = (double)(k + exponent);
    double rest = turns * tables.ln2_lo + tables.log[cell].lo;
    if (x_low != 0) {
        rest += x_low / x;
    }
    return log_near(turns * tables.ln2_hi + tables.log[cell].hi, rest, z);
}

double gdn_log(double x) {
    if (!(x > 0 && x < INFINITY)) {
        return x == 0 ? -INFINITY : x < 0 ? NAN : x + x;
    }
    const near_value value =
        x < DBL_MIN ? log_reduced(x * 0x1p54, 0, -54) : log_reduced(x, 0, 0);
    double rounded;
    return is_decided(value, &rounded) ? rounded : by_mpfr(mpfr_log, x);
}

double gdn_log1p(double x) {
    if (fabs(x) <= 0x1p-54) {
        return x; /* x^2/2 is below a quarter of an ulp */
    }
    if (!(x > -1 && x < INFINITY)) {
        return x == -1 ? -INFINITY : x < -1 ? NAN : x + x;
    }
    near_value value;
    if (x >= -0x1p-9 && x < 0x1p-8) {
        value = log_near(0, 0, x);
    } else {
        double low;
        const double sum = two_sum(1, x, &low);
        value = log_reduced(sum, low, 0);
    }
    double rounded;
    return is_decided(value, &rounded) ? rounded : by_mpfr(mpfr_log1p, x);
}

double gdn_softplus(double x, double beta, double threshold) {
    const double scaled = beta * x;
    if (scaled > threshold) {
        return x;
    }
    const double power = gdn_exp(scaled);
    /* A threshold may lie above the overflow of exp; log1p(exp(x)) - x is long 0 there. */
    return isinf(power) ? x : gdn_log1p(power) / beta;
}

double gdn_sigmoid(double x) {
    return 1 / (1 + gdn_exp(-x));
}

double gdn_silu(double x) {
    if (x == -INFINITY) {
        return -0.0; /* the limit, where the formula says inf/inf */
    }
    return x / (1 + gdn_exp(-x));
}
