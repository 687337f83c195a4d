/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Storage types. bf16 and fp16 are rounded to nearest, ties to even. */
static inline float fp32_get(const uint32_t *p, long i) {
    float x;
    memcpy(&x, p + i, sizeof x);
    return x;
}

static inline void fp32_put(uint32_t *p, long i, float x) {
    memcpy(p + i, &x, sizeof x);
}

static inline float bf16_get(const uint16_t *p, long i) {
    const uint32_t bits = (uint32_t)p[i] << 16;
    return fp32_get(&bits, 0);
}

static inline void bf16_put(uint16_t *p, long i, float x) {
    uint32_t bits;
    fp32_put(&bits, 0, x);
    p[i] = isnan(x) ? 0x7fc0 : (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline float fp16_get(const uint16_t *p, long i) {
    const int exponent = p[i] >> 10 & 31, fraction = p[i] & 1023;
    const float size = exponent == 31  ? (fraction ? NAN : INFINITY)
                       : exponent == 0 ? ldexpf((float)fraction, -24)
                                       : ldexpf((float)(fraction + 1024), exponent - 25);
    return p[i] & 0x8000 ? -size : size;
}

static inline void fp16_put(uint16_t *p, long i, float x) {
    int exponent = 0;
    const float size = fabsf(x);
    uint16_t bits = 0x7e00;
    if (size >= 65520.0F) {
        bits = 0x7c00;
    } else if (size < 0x1p-14F) {
        bits = (uint16_t)rintf(size * 0x1p24F);
    } else if (!isnan(x)) {
        frexpf(size, &exponent); /* a carry out of the fraction raises the exponent */
        bits = (uint16_t)((exponent + 13) * 1024 + (int)rintf(ldexpf(size, 11 - exponent)));
    }
    p[i] = (uint16_t)(bits | (signbit(x) ? 0x8000 : 0));
}
