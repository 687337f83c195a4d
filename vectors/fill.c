/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "fill.h"

#include <math.h>
#include <string.h>

#include "gdn/exact.h"
#include "gdn/random.h"
#include "lattice.h"

/* What is special about the keys of a head in the model fill. */
typedef enum key_habit {
    KEYS_ORDINARY,
    KEYS_PARALLEL,
    KEYS_ALTERNATING,
    KEYS_SMALL,
} key_habit;

/* Spread of parallel and alternating keys around their common direction. */
#define KEY_SPREAD 1e-3

/* Tokens of a run of zero, tiny or ordinary keys: longer than any conv window, so that keys
 * after the convolution are small too. */
#define SMALL_RUN 8

static key_habit habit_of(const gdn_case *test, int64_t key_head) {
    return (key_habit)(((uint64_t)key_head + test->seed) % 4);
}

static void normals(const gdn_case *test, gdn_field field, int64_t first, int64_t count,
                    double *out) {
    const gdn_random random = {.seed = test->seed, .stream = (uint64_t)field};
    gdn_random_normals(&random, (uint64_t)first, (uint64_t)count, out);
}

static void scale(double *out, int64_t count, double factor) {
    for (int64_t i = 0; i < count; i++) {
        out[i] *= factor;
    }
}

static void shape_keys(const gdn_case *test, int64_t token, int64_t head, int64_t count,
                       double *out) {
    const key_habit habit = habit_of(test, head);
    if (habit == KEYS_SMALL) {
        const int64_t run = token / SMALL_RUN % 3;
        scale(out, count, run == 0 ? 0.0 : run == 1 ? 1e-3 : 1.0);
    } else if (habit != KEYS_ORDINARY) {
        /* The common direction is the head's key of a token that no case has. */
        double direction[1024];
        const double sign = habit == KEYS_ALTERNATING && token % 2 ? -1.0 : 1.0;
        normals(test, GDN_FIELD_K, (INT64_C(1) << 40) + head * count, count, direction);
        for (int64_t i = 0; i < count; i++) {
            out[i] = sign * direction[i] + KEY_SPREAD * out[i];
        }
    }
}

static double model_A_log(const gdn_case *test, int64_t head) {
    const gdn_random random = {.seed = test->seed, .stream = GDN_FIELD_A_LOG};
    switch (head % 4) {
    case 0:
        return gdn_log(1e-3);
    case 1:
        return gdn_log(16.0);
    default:
        return gdn_log(16.0 * gdn_random_uniform(&random, (uint64_t)head));
    }
}

static double model_dt_bias(const gdn_case *test, int64_t head) {
    const gdn_random random = {.seed = test->seed, .stream = GDN_FIELD_DT_BIAS};
    const double low = gdn_log(1e-3);
    const double high = gdn_log(0.1);
    const double dt =
        gdn_exp(low + (high - low) * gdn_random_uniform(&random, (uint64_t)head));
    return dt + gdn_log(-gdn_expm1(-dt));
}

static void model_values(const gdn_case *test, gdn_field field, int64_t item, int64_t head,
                         int64_t count, double *out) {
    const int64_t r = test->num_v_heads / test->num_k_heads;
    switch (field) {
    case GDN_FIELD_K:
        shape_keys(test, item, head, count, out);
        break;
    case GDN_FIELD_B: /* one value a value head */
        for (int64_t i = 0; i < count; i++) {
            const key_habit habit = habit_of(test, i / r);
            out[i] += habit == KEYS_PARALLEL || habit == KEYS_ALTERNATING ? 6.0 : 0.0;
        }
        break;
    case GDN_FIELD_A_LOG:
        for (int64_t i = 0; i < count; i++) {
            out[i] = model_A_log(test, i);
        }
        break;
    case GDN_FIELD_DT_BIAS:
        for (int64_t i = 0; i < count; i++) {
            out[i] = model_dt_bias(test, i);
        }
        break;
    case GDN_FIELD_CONV_WEIGHT:
        scale(out, count, 0.5);
        break;
    case GDN_FIELD_CONV_BIAS:
        scale(out, count, 0.1);
        break;
    case GDN_FIELD_STATE:
        scale(out, count, 0.3);
        break;
    default:
        break;
    }
}

/* What a caller does whose op does not normalise. A zero row stays one. */
static void normalise(int64_t count, double *out) {
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++) {
        sum += out[i] * out[i];
    }
    const double norm = sqrt(sum);
    for (int64_t i = 0; norm > 0.0 && i < count; i++) {
        out[i] /= norm;
    }
}

void gdn_fill_values(const gdn_case *test, gdn_field field, int64_t item, int64_t head,
                     int64_t heads, int64_t count, double *out) {
    if (gdn_case_is_lattice(test)) {
        gdnp_lattice_values(test, field, item, head, heads, count, out);
    } else {
        normals(test, field, (item * heads + head) * count, count, out);
    }
    if (test->fill == GDN_FILL_MODEL) {
        model_values(test, field, item, head, count, out);
    }
    if (!test->l2norm && (field == GDN_FIELD_Q || field == GDN_FIELD_K)) {
        normalise(count, out);
    }
}
