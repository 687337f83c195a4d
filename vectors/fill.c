/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "fill.h"

#include <math.h>
#include <string.h>

#include "dye.h"
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

/* The numbers of the case itself. */
static void plain_values(const gdn_case *test, gdn_field field, int64_t item, int64_t head,
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
    gdnp_dye_values(test, field, item, head, heads, count, out);
}

/* Items of other queries: of tokens that no case has, and no key's direction either. */
#define OTHER_QUERIES (INT64_C(1) << 36)

/* The logit of a beta that is 1 in every type. */
#define FULL_BETA 200.0

int64_t gdn_twisted_key_head(const gdn_case *test, int64_t head) {
    const int64_t heads = test->num_k_heads / test->tp_size;
    return test->twist.heads ? (head + 1) % heads : head;
}

int64_t gdn_twisted_value_head(const gdn_case *test, int64_t head) {
    const int64_t heads = test->num_k_heads / test->tp_size;
    const int64_t r = test->num_v_heads / test->num_k_heads;
    if (!test->twist.heads) {
        return head;
    }
    /* Only every other group turns in itself: a map by hv mod HK would survive a rotation
     * of all. */
    const bool tiled = test->conventions.head_map == GDN_HEADS_TILED;
    const int64_t key = tiled ? head % heads : head / r;
    const int64_t own = tiled ? head / heads : head % r;
    const int64_t turned = (own + 1 - key % 2) % r;
    const int64_t other = gdn_twisted_key_head(test, key);
    return tiled ? turned * heads + other : other * r + turned;
}

int64_t gdn_twisted_lane(const gdn_case *test, int64_t lane) {
    return test->twist.lanes ? test->head_v_dim - 1 - lane : lane;
}

int64_t gdn_twisted_channel(const gdn_case *test, int64_t channel) {
    const int64_t K = test->head_k_dim, V = test->head_v_dim;
    const int64_t keys = test->num_k_heads / test->tp_size * K;
    if (channel < 2 * keys) {
        const int64_t at = channel % keys;
        return channel - at + gdn_twisted_key_head(test, at / K) * K + at % K;
    }
    const int64_t at = channel - 2 * keys;
    return 2 * keys + gdn_twisted_value_head(test, at / V) * V +
           gdn_twisted_lane(test, at % V);
}

/* out[i] = out[from(i)], cycle by cycle. */
static void rearrange(const gdn_case *test,
                      int64_t (*from)(const gdn_case *test, int64_t index), int64_t count,
                      double *out) {
    const bool moves = test->twist.heads || test->twist.lanes;
    for (int64_t i = 0; moves && i < count; i++) {
        int64_t at = from(test, i);
        while (at < i) {
            at = from(test, at);
        }
        const double value = out[i];
        out[i] = out[at];
        out[at] = value;
    }
}

static void twisted_row(const gdn_case *test, int64_t row, int64_t rows, int64_t count,
                        int64_t item, double *out) {
    const int64_t V = test->head_v_dim;
    const int64_t from =
        gdn_twisted_value_head(test, row / V) * V + gdn_twisted_lane(test, row % V);
    plain_values(test, GDN_FIELD_STATE, item, from, rows, count, out);
    scale(out, count, ldexp(1.0, test->twist.scale));
}

void gdn_fill_values(const gdn_case *test, gdn_field field, int64_t item, int64_t head,
                     int64_t heads, int64_t count, double *out) {
    const gdn_twist *twist = &test->twist;
    gdn_field drawn = field;
    if (twist->commuted && (field == GDN_FIELD_A || field == GDN_FIELD_DT_BIAS)) {
        drawn = field == GDN_FIELD_A ? GDN_FIELD_DT_BIAS : GDN_FIELD_A;
    } else if (twist->recall && field == GDN_FIELD_Q) {
        drawn = GDN_FIELD_K;
    }
    switch (field) {
    case GDN_FIELD_Q:
        item += twist->queries ? OTHER_QUERIES : 0;
        plain_values(test, drawn, item, gdn_twisted_key_head(test, head), heads, count,
                     out);
        break;
    case GDN_FIELD_K:
        plain_values(test, field, item, gdn_twisted_key_head(test, head), heads, count,
                     out);
        break;
    case GDN_FIELD_V:
    case GDN_FIELD_Z:
        plain_values(test, field, item, gdn_twisted_value_head(test, head), heads, count,
                     out);
        rearrange(test, gdn_twisted_lane, count, out);
        scale(out, count, field == GDN_FIELD_V ? ldexp(1.0, twist->scale) : 1.0);
        break;
    case GDN_FIELD_A:
    case GDN_FIELD_B:
    case GDN_FIELD_A_LOG:
    case GDN_FIELD_DT_BIAS:
        plain_values(test, drawn, item, head, heads, count, out);
        rearrange(test, gdn_twisted_value_head, count, out);
        for (int64_t i = 0; twist->recall && field == GDN_FIELD_B && i < count; i++) {
            out[i] = FULL_BETA;
        }
        break;
    case GDN_FIELD_CONV_WEIGHT:
        plain_values(test, field, gdn_twisted_channel(test, item), head, heads, count, out);
        break;
    case GDN_FIELD_CONV_BIAS:
    case GDN_FIELD_CONV_HISTORY:
    case GDN_FIELD_CONV_OLDER:
        plain_values(test, field, item, head, heads, count, out);
        rearrange(test, gdn_twisted_channel, count, out);
        break;
    case GDN_FIELD_STATE:
        twisted_row(test, head, heads, count, item, out);
        break;
    default:
        plain_values(test, field, item, head, heads, count, out);
        break;
    }
}
