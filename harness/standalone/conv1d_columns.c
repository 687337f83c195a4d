/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

static float token_input(long row, long c) {
    return get_x(row * CHANNELS + c);
}

static float tap_of(long c, long w) {
    return get_weight(c * W + w);
}

static float bias_of(long c) {
    return HAS_bias ? get_bias(c) : 0.0F;
}
