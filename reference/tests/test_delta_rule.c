/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The recurrence against a second algorithm, against an fp32 kernel, and its inner loop
 * against its own builds for other instruction sets. */
#include "op_bench.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "delta_kernel.h"
#include "gdn/random.h"

/* Largest |a - b| / limit over the rows that the op wrote. */
static double largest_share(op_bench *b, const char *name, const double *other) {
    const gdn_output *output = op_output(b, name);
    const int64_t row_count = gdn_tensor_row_count(&output->value);
    const int64_t count = gdn_tensor_count(&output->value);
    double largest = 0.0;
    for (int64_t i = 0; i < count; i++) {
        if (!output->written[i / row_count]) {
            continue;
        }
        const double golden = ((const double *)output->value.data)[i];
        const double share = fabs(other[i] - golden) / (double)output->limit[i];
        assert_true(share >= 0.0); /* no NaN gets past this */
        largest = share > largest ? share : largest;
    }
    return largest;
}

static void compare_with_chunks(const delta_shape *shape, const int *lengths, int n,
                                uint64_t seed) {
    op_bench b;
    op_delta(&b, shape, lengths, n, seed);
    op_run(&b);
    op_bench c;
    op_delta(&c, shape, lengths, n, seed);
    gdn_error err = {0};
    assert_int_equal(gdn_reference_run_chunked(&c.call, c.outputs, &err), GDN_OK);
    const char *const names[] = {"out", "ssm_state"};
    for (int i = 0; i < 2; i++) {
        const double share =
            largest_share(&b, names[i], op_output(&c, names[i])->value.data);
        if (!(share <= 1e-9)) {
            fail_msg("%s: the two algorithms differ by %g of the limit, seed %llu",
                     names[i], share, (unsigned long long)seed);
        }
    }
    op_end(&b);
    op_end(&c);
}

static void test_chunk_form_agrees_to_1e_9_of_the_limit(void **state) {
    (void)state;
    const int lengths[] = {1, 2, 63, 64, 65, 129, 300};
    const delta_shape shapes[] = {
        {2, 4, 32, 48, GDN_BF16, GDN_FP32, 0.05, 0.0},
        {1, 3, 40, 20, GDN_FP32, GDN_FP32, 2.0, 0.0},  /* strong forgetting */
        {2, 2, 64, 16, GDN_FP16, GDN_FP64, 1e-4, 6.0}, /* weak forgetting, beta near 1 */
    };
    for (uint64_t seed = 0; seed < 3; seed++) {
        compare_with_chunks(&shapes[seed], lengths, 7, seed);
    }
}

/* The recurrence in fp32, written for the test alone: sums from the last key down, so that
 * its roundings are not the reference's. */
static void run_fp32(op_bench *b, const delta_shape *s, int64_t first, int64_t length,
                     int64_t slot, int64_t hv, double *out, double *final) {
    const int64_t h = hv / (s->value_heads / s->key_heads);
    const float *g = op_tensor(b, "g")->data;
    const float *beta = op_tensor(b, "beta")->data;
    const gdn_tensor *q = op_tensor(b, "q"), *k = op_tensor(b, "k"), *v = op_tensor(b, "v");
    const gdn_tensor *pool = op_tensor(b, "ssm_state");
    const int64_t size = s->k_dim * s->v_dim;
    float *S = calloc((size_t)size, sizeof *S);
    float *kn = calloc((size_t)s->k_dim, sizeof *kn);
    float *qn = calloc((size_t)s->k_dim, sizeof *qn);
    for (int64_t i = 0; i < size; i++) {
        S[i] = (float)gdn_load(pool->data, pool->dtype,
                               (slot * s->value_heads + hv) * size + i);
    }
    for (int64_t t = first; t < first + length; t++) {
        float kk = 0.0F, qq = 0.0F;
        for (int64_t i = 0; i < s->k_dim; i++) {
            const int64_t at = (t * s->key_heads + h) * s->k_dim + i;
            kn[i] = (float)gdn_load(k->data, k->dtype, at);
            qn[i] = (float)gdn_load(q->data, q->dtype, at);
            kk += kn[i] * kn[i];
            qq += qn[i] * qn[i];
        }
        const float rk = 1.0F / sqrtf(kk + 1e-6F);
        const float rq = 1.0F / sqrtf(qq + 1e-6F) / sqrtf((float)s->k_dim);
        const float a = expf(g[t * s->value_heads + hv]);
        for (int64_t d = 0; d < s->v_dim; d++) {
            float *row = S + d * s->k_dim;
            float m = 0.0F, o = 0.0F;
            for (int64_t i = s->k_dim - 1; i >= 0; i--) {
                row[i] *= a;
                m += row[i] * (kn[i] * rk);
            }
            const int64_t at = (t * s->value_heads + hv) * s->v_dim + d;
            const float x = (float)gdn_load(v->data, v->dtype, at);
            const float delta = beta[t * s->value_heads + hv] * (x - m);
            for (int64_t i = s->k_dim - 1; i >= 0; i--) {
                row[i] += delta * (kn[i] * rk);
                o += row[i] * (qn[i] * rq);
            }
            out[at] = gdn_round_to((double)o, s->dtype);
        }
    }
    for (int64_t i = 0; i < size; i++) {
        final[(slot * s->value_heads + hv) * size + i] =
            gdn_round_to((double)S[i], s->state_dtype);
    }
    free(S);
    free(kn);
    free(qn);
}

static void test_fp32_kernel_stays_inside_the_bound_and_uses_it(void **state) {
    (void)state;
    double largest = 0.0;
    for (uint64_t seed = 0; seed < 300; seed++) {
        const gdn_random random = {.seed = seed, .stream = 99};
        const gdn_dtype types[] = {GDN_BF16, GDN_FP16, GDN_FP32};
        const double rates[] = {1e-4, 0.1, 5.0};
        const delta_shape shape = {
            .key_heads = 1,
            .value_heads = 1 + gdn_random_below(&random, 0, 2),
            .k_dim = 4 + gdn_random_below(&random, 1, 60),
            .v_dim = 1 + gdn_random_below(&random, 2, 20),
            .dtype =
                GDN_FP32, /* outputs unrounded, or their rounding would be all one sees */
            .state_dtype = types[gdn_random_below(&random, 4, 3)],
            .rate = rates[gdn_random_below(&random, 5, 3)],
            .logit = gdn_random_below(&random, 6, 2) ? 6.0 : 0.0,
        };
        const int length = 1 + (int)gdn_random_below(&random, 7, 100);
        op_bench b;
        op_delta(&b, &shape, &length, 1, seed);
        op_run(&b);
        const int64_t n_out = gdn_tensor_count(op_tensor(&b, "out"));
        const int64_t n_state = gdn_tensor_count(op_tensor(&b, "ssm_state"));
        double *out = calloc((size_t)n_out, sizeof *out);
        double *final = calloc((size_t)n_state, sizeof *final);
        for (int64_t hv = 0; hv < shape.value_heads; hv++) {
            run_fp32(&b, &shape, 0, length, 1, hv, out, final);
        }
        const double o = largest_share(&b, "out", out);
        const double s = largest_share(&b, "ssm_state", final);
        if (!(o <= 1.0) || !(s <= 1.0)) {
            fail_msg("seed %llu: budget %g (out), %g (state)", (unsigned long long)seed, o,
                     s);
        }
        largest = o > largest ? o : largest;
        free(out);
        free(final);
        op_end(&b);
    }
    print_message("largest share of an output limit: %.3f\n", largest);
    assert_true(largest >= 0.01); /* a bound that nothing comes near would judge nothing */
}

#define ROWS   64
#define KEYS   37
#define TOKENS 9

typedef struct kernel_results {
    double state[KEYS][ROWS], o[TOKENS][ROWS], o_error[TOKENS][ROWS], row_error[ROWS];
} kernel_results;

static void run_kernel(const gdnp_delta_kernel *kernel, gdn_decay_order order,
                       kernel_results *r) {
    const gdn_random random = {.seed = 5, .stream = 1};
    double k[TOKENS * KEYS], q[TOKENS * KEYS];
    gdnp_token tokens[TOKENS];
    gdn_random_normals(&random, 0, TOKENS * KEYS, k);
    gdn_random_normals(&random, 10000, TOKENS * KEYS, q);
    for (int t = 0; t < TOKENS; t++) {
        tokens[t] = (gdnp_token){.decay = 0.9 - 0.05 * t,
                                 .beta = 0.1 * t,
                                 .decay_error = 1e-7,
                                 .beta_error = 1e-7,
                                 .k_norm = 6.0,
                                 .q_norm = 5.0,
                                 .k_error = 1e-6,
                                 .q_error = 1e-6};
    }
    const int lanes = kernel->lanes;
    for (int first = 0; first < ROWS; first += lanes) {
        double state[KEYS * 64], v[TOKENS * 64], v_error[TOKENS * 64] = {0};
        double o[TOKENS * 64], o_error[TOKENS * 64], row_error[64], row_norm[64];
        for (int l = 0; l < lanes; l++) {
            for (int i = 0; i < KEYS; i++) {
                state[i * lanes + l] =
                    gdn_random_normal(&random, (uint64_t)(20000 + i * ROWS + first + l));
            }
            for (int t = 0; t < TOKENS; t++) {
                v[t * lanes + l] =
                    gdn_random_normal(&random, (uint64_t)(40000 + t * ROWS + first + l));
            }
            row_error[l] = 1e-5 * (first + l);
            row_norm[l] = 3.0;
        }
        const gdnp_delta_block block = {
            .length = TOKENS,
            .k_dim = KEYS,
            .k = k,
            .q = q,
            .tokens = tokens,
            .stride = lanes,
            .v = v,
            .v_error = v_error,
            .o = o,
            .o_error = o_error,
            .state = state,
            .row_error = row_error,
            .row_norm = row_norm,
            .unit = (double)FLT_EPSILON / 2,
            .tiny = (double)FLT_MIN,
            .decay_order = order,
        };
        kernel->run(&block);
        for (int l = 0; l < lanes; l++) {
            for (int i = 0; i < KEYS; i++) {
                r->state[i][first + l] = state[i * lanes + l];
            }
            for (int t = 0; t < TOKENS; t++) {
                r->o[t][first + l] = o[t * lanes + l];
                r->o_error[t][first + l] = o_error[t * lanes + l];
            }
            r->row_error[first + l] = row_error[l];
        }
    }
}

static void test_every_instruction_set_gives_the_scalar_bits(void **state) {
    (void)state;
    static const char *const NAMES[] = {"avx2", "avx512", "neon"};
    const gdnp_delta_kernel *scalar = gdnp_delta_kernel_get("scalar");
    int compared = 0;
    for (int order = GDN_DECAY_BEFORE_READ; order <= GDN_DECAY_AFTER_UPDATE; order++) {
        for (size_t i = 0; scalar && i < sizeof NAMES / sizeof NAMES[0]; i++) {
            const gdnp_delta_kernel *kernel = gdnp_delta_kernel_get(NAMES[i]);
            if (!kernel) {
                continue;
            }
            static kernel_results expected, found;
            run_kernel(scalar, (gdn_decay_order)order, &expected);
            run_kernel(kernel, (gdn_decay_order)order, &found);
            assert_memory_equal(&expected, &found, sizeof expected);
            compared++;
        }
    }
    print_message("%d vector builds compared with scalar code\n", compared);
    assert_non_null(gdnp_delta_kernel_get(NULL));
    assert_null(gdnp_delta_kernel_get("no such kernel"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunk_form_agrees_to_1e_9_of_the_limit),
        cmocka_unit_test(test_fp32_kernel_stays_inside_the_bound_and_uses_it),
        cmocka_unit_test(test_every_instruction_set_gives_the_scalar_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
