/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The inner loop of the recurrence against the five formulas written out, and its builds
 * for vector instruction sets against the scalar one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <string.h>

#include "delta_kernel.h"
#include "gdn/random.h"

#define ROWS   64
#define KEYS   37
#define TOKENS 9

static const char *const NAMES[] = {"scalar", "avx2", "avx512", "neon"};

typedef struct kernel_results {
    double state[KEYS][ROWS], o[TOKENS][ROWS], o_error[TOKENS][ROWS], row_error[ROWS];
} kernel_results;

typedef struct kernel_inputs {
    double k[TOKENS][KEYS], q[TOKENS][KEYS], v[TOKENS][ROWS], state[KEYS][ROWS];
    gdnp_token tokens[TOKENS];
} kernel_inputs;

/* One of the orders that conventions and slips can ask for. */
typedef struct kernel_order {
    gdn_decay_order decay;
    gdn_output_state output;
    gdn_delta_beta beta;
} kernel_order;

#define ORDERS 12

static kernel_order order_of(int i) {
    return (kernel_order){(gdn_decay_order)(i % 3), (gdn_output_state)(i / 3 % 2),
                          (gdn_delta_beta)(i / 6)};
}

static void make_inputs(kernel_inputs *in) {
    const gdn_random random = {.seed = 5, .stream = 1};
    gdn_random_normals(&random, 0, TOKENS * KEYS, &in->k[0][0]);
    gdn_random_normals(&random, 10000, TOKENS * KEYS, &in->q[0][0]);
    gdn_random_normals(&random, 20000, KEYS * ROWS, &in->state[0][0]);
    gdn_random_normals(&random, 40000, TOKENS * ROWS, &in->v[0][0]);
    for (int t = 0; t < TOKENS; t++) {
        in->tokens[t] = (gdnp_token){.decay = 0.9 - 0.05 * t,
                                     .beta = 0.1 * t,
                                     .decay_error = 1e-7,
                                     .beta_error = 1e-7,
                                     .k_norm = 6.0,
                                     .q_norm = 5.0,
                                     .k_error = 1e-6,
                                     .q_error = 1e-6,
                                     .k_floor = 1e-30,
                                     .q_floor = 1e-30};
    }
}

/* Rows that a kernel takes at once lie together; `length` tokens. */
static void run_kernel(const gdnp_delta_kernel *kernel, const kernel_inputs *in,
                       kernel_order order, int length, bool limits, kernel_results *r) {
    const int lanes = kernel->lanes;
    *r = (kernel_results){0};
    for (int first = 0; first < ROWS; first += lanes) {
        double state[KEYS * ROWS], row_norm[ROWS], row_mass[ROWS];
        const double v_error[TOKENS][ROWS] = {{0.0}};
        for (int l = 0; l < lanes; l++) {
            for (int i = 0; i < KEYS; i++) {
                state[i * lanes + l] = in->state[i][first + l];
            }
            r->row_error[first + l] = limits ? 1e-5 * (first + l) : 0.0;
            row_norm[l] = 3.0;
            row_mass[l] = 4.0;
        }
        const gdnp_delta_block block = {
            .length = length,
            .k_dim = KEYS,
            .k = &in->k[0][0],
            .q = &in->q[0][0],
            .tokens = in->tokens,
            .stride = ROWS,
            .v = &in->v[0][first],
            .v_error = &v_error[0][first],
            .o = &r->o[0][first],
            .o_error = limits ? &r->o_error[0][first] : NULL,
            .state = state,
            .row_error = limits ? r->row_error + first : NULL,
            .row_norm = row_norm,
            .row_mass = row_mass,
            .unit = (double)FLT_EPSILON / 2,
            .tiny = (double)FLT_MIN,
            .decay_order = order.decay,
            .output_state = order.output,
            .delta_beta = order.beta,
        };
        kernel->run(&block);
        for (int i = 0; i < KEYS; i++) {
            memcpy(&r->state[i][first], state + i * lanes, (size_t)lanes * sizeof *state);
        }
    }
}

/* Contract vllm_xpu 2.5 a row and a token at a time, two passes over the row. */
static void run_formulas(const kernel_inputs *in, kernel_order order, int length,
                         kernel_results *r) {
    *r = (kernel_results){0};
    memcpy(r->state, in->state, sizeof r->state);
    for (int l = 0; l < ROWS; l++) {
        for (int t = 0; t < length; t++) {
            const gdnp_token *token = &in->tokens[t];
            double m = 0.0, o = 0.0;
            for (int i = 0; i < KEYS; i++) {
                const double old = r->state[i][l];
                const double decayed = token->decay * old;
                m = fma(order.decay == GDN_DECAY_BEFORE_READ ? decayed : old, in->k[t][i],
                        m);
                r->state[i][l] = order.decay == GDN_DECAY_AFTER_UPDATE ? old : decayed;
            }
            const double gap = in->v[t][l] - m;
            const double d = order.beta == GDN_BETA_APPLIED ? token->beta * gap : gap;
            for (int i = 0; i < KEYS; i++) {
                const double before = r->state[i][l];
                const double sum = fma(d, in->k[t][i], before);
                const double after =
                    order.decay == GDN_DECAY_AFTER_UPDATE ? token->decay * sum : sum;
                o = fma(order.output == GDN_OUTPUT_UPDATED ? after : before, in->q[t][i],
                        o);
                r->state[i][l] = after;
            }
            r->o[t][l] = o;
        }
    }
}

static void test_every_kernel_gives_the_bits_of_the_formulas(void **state) {
    (void)state;
    static const int LENGTHS[] = {0, 1, 2, TOKENS};
    static kernel_inputs in;
    static kernel_results expected, found;
    int compared = 0;
    make_inputs(&in);
    for (size_t n = 0; n < sizeof NAMES / sizeof NAMES[0]; n++) {
        const gdnp_delta_kernel *kernel = gdnp_delta_kernel_get(NAMES[n]);
        for (int i = 0; kernel && i < ORDERS * 4 * 2; i++) {
            const kernel_order order = order_of(i % ORDERS);
            const int length = LENGTHS[i / ORDERS % 4];
            run_formulas(&in, order, length, &expected);
            run_kernel(kernel, &in, order, length, i / ORDERS / 4, &found);
            assert_memory_equal(expected.state, found.state, sizeof expected.state);
            assert_memory_equal(expected.o, found.o, sizeof expected.o);
            compared++;
        }
    }
    assert_true(compared >= ORDERS * 4 * 2);
}

static void test_every_instruction_set_gives_the_scalar_limits(void **state) {
    (void)state;
    static kernel_inputs in;
    static kernel_results expected, found;
    const gdnp_delta_kernel *scalar = gdnp_delta_kernel_get("scalar");
    int compared = 0;
    make_inputs(&in);
    for (size_t n = 1; scalar && n < sizeof NAMES / sizeof NAMES[0]; n++) {
        const gdnp_delta_kernel *kernel = gdnp_delta_kernel_get(NAMES[n]);
        for (int i = 0; kernel && i < ORDERS; i++) {
            run_kernel(scalar, &in, order_of(i), TOKENS, true, &expected);
            run_kernel(kernel, &in, order_of(i), TOKENS, true, &found);
            assert_memory_equal(&expected, &found, sizeof expected);
            compared++;
        }
    }
    print_message("%d runs of vector builds compared with scalar code\n", compared);
    assert_non_null(gdnp_delta_kernel_get(NULL));
    assert_null(gdnp_delta_kernel_get("no such kernel"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kernel_gives_the_bits_of_the_formulas),
        cmocka_unit_test(test_every_instruction_set_gives_the_scalar_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
