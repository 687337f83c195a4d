/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "cpu_gates.h"

#include "cpu_convert.h"
#include "cpu_math.h"

int cpu_beta_made(const gdn_conventions *conventions, bool speculative) {
    static const int ROUNDINGS[] = {
        [GDN_BETA_UNROUNDED] = 0, [GDN_BETA_ROUNDED] = 1, [GDN_BETA_THRICE_IN_DECODE] = 3};
    const bool thrice = conventions->beta_rounding == GDN_BETA_THRICE_IN_DECODE;
    return thrice && speculative ? 0 : ROUNDINGS[conventions->beta_rounding];
}

int cpu_beta_staged(const gdn_conventions *conventions, int64_t head, int64_t heads) {
    if (conventions->beta_tail == GDN_TAIL_THRICE && head >= heads / 32 * 32) {
        return 3;
    }
    return conventions->beta_storage == GDN_BETA_ACTIVATION;
}

static float rounded(float x, gdn_dtype storage) {
    cpu_round(&x, storage, 1);
    return x;
}

float cpu_beta(int roundings, gdn_dtype storage, float b) {
    if (roundings < 3) {
        const float beta = cpu_sigmoid(b);
        return roundings == 1 ? rounded(beta, storage) : beta;
    }
    const float power = rounded(expf(-b), storage);
    return rounded(1.0F / rounded(1.0F + power, storage), storage);
}

float cpu_log_decay(const gdn_conventions *conventions, double rate, float a,
                    float dt_bias) {
    const float x = a + dt_bias;
    const float beta = (float)conventions->softplus_beta;
    const float y = beta * x;
    const float softplus =
        (double)y > conventions->softplus_threshold ? x : cpu_softplus(y, INFINITY) / beta;
    return (float)(-rate * (double)softplus);
}
