/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "gdn/law.h"

#include <assert.h>
#include <math.h>

#define MOST_OUTCOMES 64

gdn_law_plan gdn_law_nightly(void) {
    return (gdn_law_plan){.screen_trials = 200000,
                          .confirm_trials = 800000,
                          .screen_alpha = 1e-3,
                          .confirm_alpha = 1e-6};
}

/* Q(a, x), the upper regularised incomplete gamma function: the power series below its
 * maximum, Lentz's continued fraction above it (Abramowitz and Stegun 6.5.29 and
 * 6.5.31). */
static double upper_gamma(double a, double x) {
    const double front = exp(a * log(x) - x - lgamma(a));
    if (x < a + 1.0) {
        double term = 1.0 / a;
        double sum = term;
        for (double n = a + 1.0; term > sum * 1e-17; n += 1.0) {
            term *= x / n;
            sum += term;
        }
        return 1.0 - front * sum;
    }
    double b = x + 1.0 - a;
    double c = 1e300;
    double d = 1.0 / b;
    double h = d;
    for (int i = 1; i < 10000; i++) {
        const double an = -i * (i - a);
        b += 2.0;
        d = 1.0 / (an * d + b);
        c = b + an / c;
        h *= d * c;
        if (fabs(d * c - 1.0) < 1e-15) {
            break;
        }
    }
    return front * h;
}

double gdn_chi_square_tail(double x, double df) {
    return x <= 0.0 ? 1.0 : isinf(x) ? 0.0 : upper_gamma(df / 2.0, x / 2.0);
}

double gdn_law_g(const int64_t *counts, const double *law, int64_t n, int64_t *df) {
    double trials = 0.0;
    double rare_law = 0.0;
    double rare_count = 0.0;
    double g = 0.0;
    int64_t bins = 0;
    for (int64_t i = 0; i < n; i++) {
        trials += (double)counts[i];
    }
    *df = 1;
    for (int64_t i = 0; i < n; i++) {
        const double expected = trials * law[i];
        const double found = (double)counts[i];
        if (law[i] == 0.0 && counts[i] > 0) {
            return (double)INFINITY;
        }
        if (expected < 5.0) {
            rare_law += expected;
            rare_count += found;
            continue;
        }
        g += found > 0.0 ? found * log(found / expected) : 0.0;
        bins++;
    }
    if (rare_law > 0.0) {
        g += rare_count > 0.0 ? rare_count * log(rare_count / rare_law) : 0.0;
        bins++;
    }
    *df = bins > 1 ? bins - 1 : 1;
    return g > 0.0 ? 2.0 * g : 0.0;
}

/* Critical value: the x whose tail is alpha. */
static double critical(double alpha, double df) {
    double low = 0.0;
    double high = 10.0 * df + 400.0;
    for (int i = 0; i < 200; i++) {
        const double middle = 0.5 * (low + high);
        *(gdn_chi_square_tail(middle, df) > alpha ? &low : &high) = middle;
    }
    return high;
}

/* The noncentral tail is a Poisson mixture of central ones. */
static double noncentral_tail(double x, double df, double lambda) {
    double sum = 0.0;
    const double mean = 0.5 * lambda;
    const double spread = 12.0 * sqrt(mean) + 20.0;
    const double from = floor(fmax(0.0, mean - spread));
    for (double j = from; j <= mean + spread; j += 1.0) {
        const double weight =
            mean > 0.0 ? exp(j * log(mean) - mean - lgamma(j + 1.0)) : j == 0.0;
        sum += weight * gdn_chi_square_tail(x, df + 2.0 * j);
    }
    return fmin(sum, 1.0);
}

double gdn_law_power(const gdn_law_plan *plan, int64_t df, double w) {
    const double d = (double)df;
    const double first = (double)plan->screen_trials * w * w;
    const double second = (double)plan->confirm_trials * w * w;
    return noncentral_tail(critical(plan->screen_alpha, d), d, first) *
           noncentral_tail(critical(plan->confirm_alpha, d), d, second);
}

double gdn_law_detectable(const gdn_law_plan *plan, int64_t df, double power) {
    double low = 0.0;
    double high = 1.0;
    for (int i = 0; i < 40; i++) {
        const double middle = 0.5 * (low + high);
        *(gdn_law_power(plan, df, middle) < power ? &low : &high) = middle;
    }
    return high;
}

static double observed_w(const int64_t *counts, const double *law, int64_t n,
                         int64_t trials) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
        const double q = (double)counts[i] / (double)trials;
        sum += law[i] > 0.0 ? (q - law[i]) * (q - law[i]) / law[i] : q > 0.0 ? INFINITY : 0;
    }
    return sqrt(sum);
}

gdn_law_result gdn_law_test(const gdn_law_plan *plan, const double *law, int64_t n,
                            gdn_law_sampler sampler, void *context, uint64_t seed) {
    const int64_t trials[2] = {plan->screen_trials, plan->confirm_trials};
    const double alpha[2] = {plan->screen_alpha, plan->confirm_alpha};
    gdn_law_result result = {.ok = false, .p = {1.0, 1.0}};
    int64_t first = 0;
    assert(n <= MOST_OUTCOMES);
    for (int look = 0; look < 2; look++) {
        int64_t counts[MOST_OUTCOMES] = {0};
        sampler(context, seed, first, trials[look], counts);
        first += trials[look];
        const double g = gdn_law_g(counts, law, n, &result.df);
        result.p[look] = gdn_chi_square_tail(g, (double)result.df);
        result.w = observed_w(counts, law, n, trials[look]);
        result.looks = look + 1;
        if (isinf(g)) {
            return result;
        }
        if (!(result.p[look] < alpha[look])) {
            result.ok = true;
            return result;
        }
    }
    return result;
}

/* Pearson's, over pairs that lie `step` apart; NaN draws correlate with everything. */
static double correlation(const double *draws, int64_t count, int64_t step) {
    double xy = 0.0, x = 0.0, y = 0.0, xx = 0.0, yy = 0.0;
    const double n = (double)(count - step);
    for (int64_t i = 0; i + step < count; i++) {
        const double a = draws[i], b = draws[i + step];
        x += a;
        y += b;
        xx += a * a;
        yy += b * b;
        xy += a * b;
    }
    const double spread = sqrt(fmax(xx - x * x / n, 0.0) * fmax(yy - y * y / n, 0.0));
    return spread > 0.0 ? (xy - x * y / n) / spread : 1.0;
}

gdn_draws_report gdn_draws_check(const double *draws, int64_t calls, int64_t slots) {
    gdn_draws_report r = {0};
    for (int64_t c = 0; c < calls; c++) {
        const double *now = draws + c * slots;
        const double *before = now - slots;
        int64_t as_first = 0, as_before = 0, as_neighbour = 0;
        for (int64_t s = 0; s < slots; s++) {
            as_first += now[s] == now[0];
            as_before += c > 0 && now[s] == before[s];
            as_neighbour += c > 0 && s + 1 < slots && now[s] == before[s + 1];
        }
        r.equal_slots = r.equal_slots || as_first == slots;
        r.equal_calls = r.equal_calls || as_before == slots;
        r.shifted = r.shifted || as_neighbour == slots - 1;
    }
    const double limit = 6.0 / sqrt((double)(calls * slots - slots));
    r.slot_correlation = correlation(draws, calls * slots, 1);
    r.call_correlation = correlation(draws, calls * slots, slots);
    r.correlated =
        !(fabs(r.slot_correlation) <= limit && fabs(r.call_correlation) <= limit);
    return r;
}
