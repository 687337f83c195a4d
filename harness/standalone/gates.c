/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

static float log_decay(float A_log, float dt_bias, float a) {
    const float x = a + dt_bias;
    const float softplus = x > SOFTPLUS_THRESHOLD ? x : log1pf(expf(x));
    return -expf(A_log) * softplus;
}

static float sigmoid(float x) {
    return 1.0F / (1.0F + expf(-x));
}
