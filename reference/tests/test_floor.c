/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The kernels of the noise floor: their roundings against the storage types', the chunk
 * form against the token form, and the bits of a whole run, which no build may change. */
#include "floor_kernel.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gdn/dtype.h"
#include "gdn/exact.h"
#include "gdn/random.h"

/* Random bit patterns, subnormals and infinities among them. */
static float any_float(const gdn_random *random, uint64_t i) {
    const uint32_t high = gdn_random_below(random, 2 * i, UINT32_C(1) << 16);
    const uint32_t word =
        high << 16 | gdn_random_below(random, 2 * i + 1, UINT32_C(1) << 16);
    float x;
    memcpy(&x, &word, sizeof x);
    return x;
}

static void test_operands_round_like_the_storage_types(void **state) {
    (void)state;
    const gdn_random random = {.seed = 5, .stream = 6};
    for (uint64_t i = 0; i < 400000; i++) {
        const float x = any_float(&random, i);
        if (isnan(x)) {
            assert_true(isnan(gdnp_floor_operand(GDN_CLASS_FP16_MMA, x)));
            continue;
        }
        /* Three in four within fp16's range. */
        const float y = i % 4 == 0 || isinf(x)
                            ? x
                            : (float)ldexp(frexp(x, &(int){0}), (int)(i % 48) - 30);
        assert_true(gdnp_floor_operand(GDN_CLASS_BF16_MMA, y) ==
                    (float)gdn_round_to((double)y, GDN_BF16));
        assert_true(gdnp_floor_operand(GDN_CLASS_FP16_MMA, y) ==
                    (float)gdn_round_to((double)y, GDN_FP16));
        assert_true(gdnp_floor_operand(GDN_CLASS_FP32, y) == y);
        if (fabsf(y) >= 0x1p-14F && fabsf(y) < 65504.0F) { /* there tf32 has fp16's bits */
            assert_true(gdnp_floor_operand(GDN_CLASS_TF32_MMA, y) ==
                        (float)gdn_round_to((double)y, GDN_FP16));
        }
    }
}

static void test_exp_is_the_rounded_one_or_its_neighbour(void **state) {
    (void)state;
    int differ = 0;
    for (int i = 0; i < 200000; i++) {
        const float x = -120.0F * (float)i / 200000.0F;
        const double exact = gdn_exp((double)x);
        const double found = (double)gdnp_floor_exp(x);
        const double ulp = gdn_dtype_ulp(exact, GDN_FP32);
        differ += found != gdn_round_to(exact, GDN_FP32);
        assert_true(fabs(found - exact) <= 0.51 * ulp);
    }
    assert_true(differ < 20); /* 1e-9 before rounding: once in tens of millions, and ties */
    assert_true(gdnp_floor_exp(0.0F) == 1.0F);
    assert_true(gdnp_floor_exp(-INFINITY) == 0.0F);
    assert_true(gdnp_floor_exp(-500.0F) == 0.0F);
    assert_true(isnan(gdnp_floor_exp(NAN)));
}

#define TOKENS 100
#define KEYS   24
#define VALUES 20

static void fill(gdnp_floor_chunk *c, int64_t first, int64_t count) {
    const gdn_random random = {.seed = 9, .stream = 1};
    c->length = count;
    for (int64_t t = 0; t < count; t++) {
        double norm = 0.0;
        for (int64_t i = 0; i < KEYS; i++) {
            const uint64_t at = (uint64_t)((first + t) * 100 + i);
            c->k[t * KEYS + i] = (float)gdn_random_normal(&random, at);
            c->q[t * KEYS + i] = (float)gdn_random_normal(&random, at + 20000);
            norm += (double)c->k[t * KEYS + i] * (double)c->k[t * KEYS + i];
        }
        for (int64_t i = 0; i < KEYS; i++) {
            c->k[t * KEYS + i] /= (float)sqrt(norm);
        }
        for (int64_t i = 0; i < VALUES; i++) {
            c->v[t * VALUES + i] = (float)gdn_random_normal(
                &random, (uint64_t)((first + t) * 100 + i + 40000));
        }
        c->g[t] = -0.05F * (float)((first + t) % 7);
        c->decay[t] = gdnp_floor_exp(c->g[t]);
        c->beta[t] = 0.2F + 0.1F * (float)((first + t) % 8);
    }
}

static gdnp_floor_chunk begin(gdn_numeric_class operands) {
    gdnp_floor_chunk c = {.k_dim = KEYS, .v_dim = VALUES, .operands = operands};
    assert_true(gdnp_floor_chunk_create(&c));
    for (int64_t i = 0; i < KEYS * VALUES; i++) {
        c.state[i] = 0.01F * (float)(i % 13) - 0.06F;
    }
    return c;
}

/* Without rounded operands the WY form computes what token by token does. */
static void test_chunks_agree_with_tokens(void **state) {
    (void)state;
    static const double TOLERANCE[] = {[GDN_CLASS_FP32] = 2e-6,
                                       [GDN_CLASS_TF32_MMA] = 4e-3,
                                       [GDN_CLASS_FP16_MMA] = 4e-3,
                                       [GDN_CLASS_BF16_MMA] = 3e-2};
    static const gdn_numeric_class CLASSES[] = {GDN_CLASS_FP32, GDN_CLASS_TF32_MMA,
                                                GDN_CLASS_FP16_MMA, GDN_CLASS_BF16_MMA};
    for (size_t k = 0; k < 4; k++) {
        gdnp_floor_chunk tokens = begin(GDN_CLASS_FP32), chunk = begin(CLASSES[k]);
        float outputs[TOKENS][VALUES];
        for (int64_t t = 0; t < TOKENS; t++) {
            fill(&tokens, t, 1);
            gdnp_floor_step(&tokens);
            memcpy(outputs[t], tokens.o, sizeof outputs[t]);
        }
        fill(&chunk, 0, TOKENS);
        gdnp_floor_solve(&chunk);
        double largest = 0.0;
        for (int64_t i = 0; i < TOKENS * VALUES; i++) {
            largest =
                fmax(largest, fabs((double)(chunk.o[i] - outputs[i / VALUES][i % VALUES])));
        }
        for (int64_t i = 0; i < KEYS * VALUES; i++) {
            largest = fmax(largest, fabs((double)(chunk.state[i] - tokens.state[i])));
        }
        print_message("class %d: %.3g\n", (int)CLASSES[k], largest);
        assert_true(largest <= 10.0 * TOLERANCE[CLASSES[k]]); /* values of size 5 */
        assert_true(largest >= 1e-3 * TOLERANCE[CLASSES[k]]);
        gdnp_floor_chunk_destroy(&tokens);
        gdnp_floor_chunk_destroy(&chunk);
    }
}

/* FNV-1a over the state's bits after a chunk. */
static uint64_t digest(const gdnp_floor_chunk *c) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (int64_t i = 0; i < KEYS * VALUES; i++) {
        uint32_t word;
        memcpy(&word, &c->state[i], sizeof word);
        hash = (hash ^ word) * UINT64_C(0x100000001b3);
    }
    return hash;
}

/* Floors are stored with vectors and compared by their digests. */
static void test_bits_do_not_change(void **state) {
    (void)state;
    gdnp_floor_chunk c = begin(GDN_CLASS_BF16_MMA);
    fill(&c, 0, TOKENS);
    gdnp_floor_solve(&c);
    const uint64_t solved = digest(&c);
    fill(&c, TOKENS, 1);
    gdnp_floor_step(&c);
    const uint64_t stepped = digest(&c);
    gdnp_floor_chunk_destroy(&c);
    print_message("%016llx %016llx\n", (unsigned long long)solved,
                  (unsigned long long)stepped);
    assert_true(solved == UINT64_C(0x66322e60eea96604));
    assert_true(stepped == UINT64_C(0x7816b045aad2abd4));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operands_round_like_the_storage_types),
        cmocka_unit_test(test_exp_is_the_rounded_one_or_its_neighbour),
        cmocka_unit_test(test_chunks_agree_with_tokens),
        cmocka_unit_test(test_bits_do_not_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
