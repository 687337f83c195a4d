/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "lattice.h"

#include <math.h>
#include <string.h>

#include "gdn/random.h"

#define LENGTH   4096.0 /* of keys and queries */
#define FAR      200.0  /* exp(-200) is 0 in fp32 */
#define V_LOW    18
#define V_COUNT  183 /* 18..200 */
#define S_LOW    (-55)
#define S_COUNT  73                 /* -55..17: never taken for a v */
#define REACH    5                  /* how far back a query looks */
#define KEEP     4                  /* one token of KEEP has beta 0 */
#define FORGET   6                  /* one token of FORGET has alpha 0 */
#define NO_TOKEN (INT64_C(1) << 32) /* items of conv histories, behind every token's */

bool gdn_case_is_lattice(const gdn_case *test) {
    return test->fill == GDN_FILL_LATTICE || test->fill == GDN_FILL_LATTICE_ALPHA0;
}

static int64_t below(const gdn_case *test, gdn_field field, int64_t index, uint32_t n) {
    const gdn_random random = {.seed = test->seed, .stream = (uint64_t)field};
    return (int64_t)gdn_random_below(&random, (uint64_t)index, n);
}

static bool has_conv(const gdn_case *test) {
    return test->op == GDN_OP_GDN_ATTENTION || test->op == GDN_OP_CAUSAL_CONV1D;
}

static int64_t key_heads(const gdn_case *test) {
    return test->num_k_heads / test->tp_size;
}

static int64_t value_heads(const gdn_case *test) {
    return test->num_v_heads / test->tp_size;
}

int64_t gdn_lattice_delay(const gdn_case *test, gdn_field kind, int64_t head) {
    const int64_t turn = kind == GDN_FIELD_Q ? 0 : kind == GDN_FIELD_K ? 1 : 2;
    return has_conv(test) ? (head + turn) % test->conv_width : 0;
}

static double bias_of(const gdn_case *test, int64_t lane) {
    return test->conv_bias ? (double)(V_LOW + lane % 5) : 0.0;
}

double gdn_lattice_v(const gdn_case *test, int64_t item, int64_t head, int64_t lane) {
    const int64_t index = (item * value_heads(test) + head) * test->head_v_dim + lane;
    return (double)(V_LOW + below(test, GDN_FIELD_V, index, V_COUNT));
}

/* The hot lane of a key. */
static int64_t key_lane(const gdn_case *test, int64_t item, int64_t head) {
    return below(test, GDN_FIELD_K, item * key_heads(test) + head,
                 (uint32_t)test->head_k_dim);
}

/* A query asks for a key of a few tokens before; first tokens for their own. */
static int64_t query_lane(const gdn_case *test, int64_t item, int64_t head) {
    const int64_t back = below(test, GDN_FIELD_Q, item * key_heads(test) + head, REACH);
    return key_lane(test, item % NO_TOKEN >= back ? item - back : item, head);
}

/* Convolution alone: every channel a number of its own. */
static double channel_value(const gdn_case *test, int64_t item, int64_t channel) {
    const int64_t index = item * INT64_C(1048576) + channel;
    return (double)(V_LOW + below(test, GDN_FIELD_V, index, V_COUNT));
}

/* Channel c of the convolution as a kind, a head and a lane. */
static gdn_field channel_of(const gdn_case *test, int64_t c, int64_t *head, int64_t *lane) {
    const int64_t keys = key_heads(test) * test->head_k_dim;
    const int64_t dim = c < 2 * keys ? test->head_k_dim : test->head_v_dim;
    const int64_t rest = c < keys ? c : c < 2 * keys ? c - keys : c - 2 * keys;
    *head = rest / dim;
    *lane = rest % dim;
    return c < keys ? GDN_FIELD_Q : c < 2 * keys ? GDN_FIELD_K : GDN_FIELD_V;
}

/* Input of one lane of the convolution, or of the recurrence where there is none. */
static double input_of(const gdn_case *test, gdn_field kind, int64_t item, int64_t head,
                       int64_t lane) {
    if (test->op == GDN_OP_CAUSAL_CONV1D) {
        const int64_t keys = key_heads(test) * test->head_k_dim;
        const int64_t channel = kind == GDN_FIELD_Q ? head * test->head_k_dim + lane
                                : kind == GDN_FIELD_K
                                    ? keys + head * test->head_k_dim + lane
                                    : 2 * keys + head * test->head_v_dim + lane;
        return channel_value(test, item, channel) - bias_of(test, channel);
    }
    switch (kind) {
    case GDN_FIELD_Q:
        return lane == query_lane(test, item, head) ? LENGTH : 0.0;
    case GDN_FIELD_K:
        return lane == key_lane(test, item, head) ? LENGTH : 0.0;
    default:
        return gdn_lattice_v(test, item, head, lane) - bias_of(test, lane);
    }
}

static void conv_inputs(const gdn_case *test, int64_t item, int64_t count, double *out) {
    for (int64_t c = 0; c < count; c++) {
        int64_t head = 0, lane = 0;
        const gdn_field kind = channel_of(test, c, &head, &lane);
        out[c] = input_of(test, kind, item, head, lane);
    }
}

static void conv_bias(const gdn_case *test, int64_t count, double *out) {
    for (int64_t c = 0; c < count; c++) {
        int64_t head = 0, lane = 0;
        const gdn_field kind = channel_of(test, c, &head, &lane);
        out[c] = test->op == GDN_OP_CAUSAL_CONV1D ? bias_of(test, c)
                 : kind == GDN_FIELD_V            ? bias_of(test, lane)
                                                  : 0.0;
    }
}

static void conv_taps(const gdn_case *test, int64_t channel, int64_t taps, double *out) {
    int64_t head = 0, lane = 0;
    const gdn_field kind = channel_of(test, channel, &head, &lane);
    memset(out, 0, (size_t)taps * sizeof *out);
    out[taps - 1 - gdn_lattice_delay(test, kind, head)] = 1.0;
}

/* One value a value head. Of gdn_gating the gates themselves are the lattice. */
static double gate_input(const gdn_case *test, gdn_field field, int64_t item, int64_t head,
                         int64_t heads) {
    const bool gating = test->op == GDN_OP_GDN_GATING;
    const int64_t index = item * heads + head;
    switch (field) {
    case GDN_FIELD_DT_BIAS:
        return gating ? -(double)(head % 8) : -FAR;
    case GDN_FIELD_B:
        return below(test, field, index, KEEP) == 0 ? -FAR : FAR;
    case GDN_FIELD_A:
        if (gating) {
            return below(test, GDN_FIELD_Z, index, KEEP) == 0
                       ? -FAR
                       : (double)(V_LOW + head % 8 + below(test, field, index, V_COUNT));
        }
        if (test->fill == GDN_FILL_LATTICE_ALPHA0 &&
            below(test, GDN_FIELD_Z, index, FORGET) == 0) {
            return 2.0 * FAR;
        }
        return (double)(below(test, field, index, 21) - 10);
    default: /* A_log */
        return 0.0;
    }
}

void gdnp_lattice_values(const gdn_case *test, gdn_field field, int64_t item, int64_t head,
                         int64_t heads, int64_t count, double *out) {
    switch (field) {
    case GDN_FIELD_CONV_HISTORY: /* the window before a sequence: head of heads is its row */
    case GDN_FIELD_CONV_OLDER:
        conv_inputs(test, NO_TOKEN * (1 + (int64_t)field) + item * 64 + head, count, out);
        return;
    case GDN_FIELD_CONV_WEIGHT:
        conv_taps(test, item, count, out);
        return;
    case GDN_FIELD_CONV_BIAS:
        conv_bias(test, count, out);
        return;
    default:
        break;
    }
    for (int64_t i = 0; i < count; i++) {
        const int64_t index = (item * heads + head) * count + i;
        switch (field) {
        case GDN_FIELD_Q:
        case GDN_FIELD_K:
        case GDN_FIELD_V:
            out[i] = input_of(test, field, item, head, i);
            break;
        case GDN_FIELD_STATE:
            out[i] = (double)(S_LOW + below(test, field, index, S_COUNT));
            break;
        case GDN_FIELD_Z:
            out[i] = (double)below(test, field, index, 256);
            break;
        default:
            out[i] = gate_input(test, field, item, i, count);
            break;
        }
    }
}

/* Whether K^-1/2 is a power of two. */
static bool root_is_exact(const gdn_case *test) {
    return (0x15555 & test->head_k_dim) != 0 &&
           (test->head_k_dim & (test->head_k_dim - 1)) == 0;
}

double gdn_lattice_scale(const gdn_case *test, const char *output) {
    const bool recurrence =
        test->op == GDN_OP_GATED_DELTA_RULE || test->op == GDN_OP_GDN_ATTENTION;
    return recurrence && strstr(output, "out") ? sqrt((double)test->head_k_dim) : 1.0;
}

static bool only_copies(const gdn_case *test) {
    const gdn_conventions *c = &test->conventions;
    return test->op == GDN_OP_GATED_DELTA_RULE && test->fill == GDN_FILL_LATTICE &&
           !test->l2norm && test->gates == GDN_GATES_GIVEN &&
           c->beta_input == GDN_BETA_VALUE && root_is_exact(test);
}

void gdnp_lattice_limits(gdn_expected *e, const gdn_case *test) {
    if (!gdn_case_is_lattice(test) || !e->golden) {
        return;
    }
    const double scale = gdn_lattice_scale(test, e->tensor->name);
    const bool rounds = scale != 1.0 && !root_is_exact(test);
    const bool exact = only_copies(test);
    for (int64_t i = 0; i < e->n_rows * e->row_count; i++) {
        const double integer = rint(e->golden[i] * scale);
        /* SiLU(18) is 18 less 2.7e-7, the most that FP64 leaves of an integer. */
        if (fabs(e->golden[i] * scale - integer) < 1e-6) {
            e->golden[i] = integer / scale + 0.0; /* no -0 */
        }
        if (!e->limit) {
            continue; /* values alone are wanted */
        }
        /* bf16 is the coarsest type that queries and outputs have. */
        const double limit =
            GDN_LATTICE_LIMIT / scale + (rounds ? ldexp(fabs(e->golden[i]), -7) : 0.0);
        e->limit[i] = exact ? fminf(e->limit[i], (float)limit) : (float)limit;
    }
}
