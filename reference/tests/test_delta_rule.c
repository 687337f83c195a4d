/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The recurrence against a second algorithm and against an fp32 kernel. */
#include "op_bench.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

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

/* The forms of the norm by turns, and the gate as its decay. */
static void vary(op_bench *b, uint64_t seed) {
    b->conventions.l2norm_form = (gdn_l2norm_form)(seed % 3);
    if (seed % 2 == 0) {
        const gdn_tensor *g = op_tensor(b, "g");
        b->conventions.gate_input = GDN_GATE_DECAY;
        for (int64_t i = 0; i < gdn_tensor_count(g); i++) {
            gdn_store(g->data, g->dtype, i, exp(gdn_load(g->data, g->dtype, i)));
        }
    }
}

static void compare_with_chunks(const delta_shape *shape, const int *lengths, int n,
                                uint64_t seed) {
    op_bench b, c;
    op_delta(&b, shape, lengths, n, seed);
    op_delta(&c, shape, lengths, n, seed);
    vary(&b, seed);
    vary(&c, seed);
    op_run(&b);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunk_form_agrees_to_1e_9_of_the_limit),
        cmocka_unit_test(test_fp32_kernel_stays_inside_the_bound_and_uses_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
