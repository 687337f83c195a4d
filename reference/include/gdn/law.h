/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Laws of samplers. A sampler whose draws cannot be injected is judged by what it emits
 * over many trials: a G-test (likelihood ratio) against the law that it claims, in two
 * looks, so that a thousand nightly runs raise no false alarm and a real bias still shows.
 *
 * Look 1 takes `screen_trials` and passes unless p < screen_alpha. Only then look 2 takes
 * `confirm_trials` fresh ones; the sampler fails if p < confirm_alpha there too. The looks
 * are independent, so a correct sampler fails with probability screen_alpha *
 * confirm_alpha, and one in 1 / screen_alpha pays for the second look. A token of
 * probability 0 that is emitted once fails at once: no sample size excuses it.
 *
 * Biases are measured by w = sqrt(sum (q - p)^2 / p) (J. Cohen, Statistical Power Analysis
 * for the Behavioral Sciences, 2nd ed., chapter 7); G is then noncentral chi-square with
 * noncentrality trials * w^2. */
#ifndef GDN_LAW_H
#define GDN_LAW_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gdn_law_plan {
    int64_t screen_trials, confirm_trials;
    double screen_alpha, confirm_alpha;
} gdn_law_plan;

/// 2e5 trials at 1e-3, then 8e5 at 1e-6: a false alarm in 1e9 tests.
gdn_law_plan gdn_law_nightly(void);

/// P(X > x) of chi-square with `df` degrees of freedom.
double gdn_chi_square_tail(double x, double df);

/// G of `counts` over `n` outcomes against `law`, with outcomes that are expected less than
/// five times merged into one; `*df` degrees of freedom. Infinity if something impossible
/// was counted.
double gdn_law_g(const int64_t *counts, const double *law, int64_t n, int64_t *df);

/// Probability that a bias of w is found in both looks, for `df` degrees of freedom.
double gdn_law_power(const gdn_law_plan *plan, int64_t df, double w);

/// Smallest w that is found with probability `power`.
double gdn_law_detectable(const gdn_law_plan *plan, int64_t df, double power);

/// Adds the outcomes of trials first .. first+trials-1 under `seed` to counts[].
typedef void (*gdn_law_sampler)(void *context, uint64_t seed, int64_t first, int64_t trials,
                                int64_t *counts);

typedef struct gdn_law_result {
    bool ok;
    int looks;
    int64_t df;
    double p[2]; ///< of each look
    double w;    ///< observed, over the last look
} gdn_law_result;

/// Runs both looks as needed. `n` is at most 64 outcomes.
gdn_law_result gdn_law_test(const gdn_law_plan *plan, const double *law, int64_t n,
                            gdn_law_sampler sampler, void *context, uint64_t seed);

/// What is wrong with draws of several slots over several calls.
typedef struct gdn_draws_report {
    bool equal_slots; ///< in some call every slot has the same draw
    bool equal_calls; ///< two calls in a row draw the same for every slot
    bool shifted;     ///< a slot draws what its neighbour drew a call before
    bool correlated;  ///< neighbouring slots, or calls, go together
    double slot_correlation, call_correlation;
} gdn_draws_report;

/// `draws` is [calls][slots], in [0, 1]; at least 2 calls of 8 slots. Correlations are
/// found beyond 6 / sqrt(pairs): 2e-9 for independent draws.
gdn_draws_report gdn_draws_check(const double *draws, int64_t calls, int64_t slots);

#ifdef __cplusplus
}
#endif

#endif
