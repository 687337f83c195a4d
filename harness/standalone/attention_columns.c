/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Columns of the fused projections. */
#define R (VALUE_HEADS / KEY_HEADS)

static long v_column(long hv) {
    return SEPARATE ? 2 * KEY_HEADS * K + hv * V
                    : hv / R * (2 * K + 2 * R * V) + 2 * K + hv % R * V;
}

static long z_column(long hv) {
    return v_column(hv) + (SEPARATE ? VALUE_HEADS : R) * V;
}

static long b_column(long hv) {
    return SEPARATE ? hv : hv / R * 2 * R + hv % R;
}

static long a_column(long hv) {
    return b_column(hv) + (SEPARATE ? VALUE_HEADS : R);
}

/* Channels are q of all key heads, k of all, v of all value heads. */
static float token_input(long row, long c) {
    const long at = row * projected_states_qkvz_STRIDE;
    const long qk = 2 * KEY_HEADS * K;
    if (c >= qk) {
        return get_projected_states_qkvz(at + v_column((c - qk) / V) + (c - qk) % V);
    }
    const long key = c / (KEY_HEADS * K), h = c % (KEY_HEADS * K) / K, i = c % K;
    return get_projected_states_qkvz(at + (SEPARATE
                                               ? (key * KEY_HEADS + h) * K + i
                                               : h * (2 * K + 2 * R * V) + key * K + i));
}

static float tap_of(long c, long w) {
    return get_conv_weights(c * W + w);
}

static float bias_of(long c) {
    return HAS_conv_bias ? get_conv_bias(c) : 0.0F;
}
