/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Inputs must be the same bits everywhere, so the transformation to normals uses only
 * operations that IEEE 754 rounds correctly, in the order written, and gdn_log(). */
#include "gdn/random.h"

#include "gdn/exact.h"

#include <float.h>
#include <math.h>

_Static_assert(FLT_EVAL_METHOD == 0, "wider intermediate results would change the normals");

#define WORDS 4

void gdn_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0];
    uint32_t c1 = counter[1];
    uint32_t c2 = counter[2];
    uint32_t c3 = counter[3];
    uint32_t k0 = key[0];
    uint32_t k1 = key[1];
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = UINT64_C(0xd2511f53) * c0;
        const uint64_t p1 = UINT64_C(0xcd9e8d57) * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += UINT32_C(0x9e3779b9);
        k1 += UINT32_C(0xbb67ae85);
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

static void block_bits(const gdn_random *random, uint64_t block, uint32_t out[WORDS]) {
    const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32),
                                 (uint32_t)random->stream,
                                 (uint32_t)(random->stream >> 32)};
    const uint32_t key[2] = {(uint32_t)random->seed, (uint32_t)(random->seed >> 32)};
    gdn_philox4x32(counter, key, out);
}

static double uniform(uint32_t bits) {
    return ((double)bits + 0.5) * 0x1p-32;
}

/* PPND7 of AS 241, without its region for r > 5: no uniform of 32 bits lies that far out,
 * sqrt(-log(2^-33)) being 4.78. */
static double normal_quantile(double p) {
    const double q = p - 0.5;
    if (fabs(q) <= 0.425) {
        const double r = 0.180625 - q * q;
        return q *
               (((59.109374720 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179) /
               (((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1.0);
    }
    const double r = sqrt(-gdn_log(q < 0 ? p : 1.0 - p)) - 1.6;
    const double tail =
        (((0.17023821103 * r + 1.3067284816) * r + 2.7568153900) * r + 1.4234372777) /
        ((0.12021132975 * r + 0.73700164250) * r + 1.0);
    return q < 0 ? -tail : tail;
}

uint32_t gdn_random_bits(const gdn_random *random, uint64_t index) {
    uint32_t bits[WORDS];
    block_bits(random, index / WORDS, bits);
    return bits[index % WORDS];
}

double gdn_random_uniform(const gdn_random *random, uint64_t index) {
    return uniform(gdn_random_bits(random, index));
}

uint32_t gdn_random_below(const gdn_random *random, uint64_t index, uint32_t n) {
    return (uint32_t)((uint64_t)gdn_random_bits(random, index) * n >> 32);
}

double gdn_random_normal(const gdn_random *random, uint64_t index) {
    return normal_quantile(gdn_random_uniform(random, index));
}

void gdn_random_normals(const gdn_random *random, uint64_t first, uint64_t count,
                        double *out) {
    uint32_t bits[WORDS];
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t index = first + i;
        if (i == 0 || index % WORDS == 0) {
            block_bits(random, index / WORDS, bits);
        }
        out[i] = normal_quantile(uniform(bits[index % WORDS]));
    }
}

void gdn_random_permutation(const gdn_random *random, uint32_t n, uint32_t *out) {
    for (uint32_t i = 0; i < n; i++) {
        out[i] = i;
    }
    for (uint32_t i = n; i > 1; i--) {
        const uint32_t j = gdn_random_below(random, i - 1, i);
        const uint32_t last = out[i - 1];
        out[i - 1] = out[j];
        out[j] = last;
    }
}
