/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Private to the check of verification calls: the rules that its two halves share. Tensors
 * without data are passed over. */
#ifndef GDNP_VERIFY_CHECK_H
#define GDNP_VERIFY_CHECK_H

#include <math.h>
#include <stdio.h>

#include "verify.h"

typedef long long ll; /* for printf */

typedef struct gdnp_verify_checked {
    const gdn_call *call;
    const int64_t *size; /* by letter */
    gdn_error *err;
} check;

static inline const gdn_tensor *readable(const check *c, const char *name) {
    const gdn_tensor *t = gdn_call_tensor(c->call, name);
    return t && t->data ? t : NULL;
}

static inline gdn_status refuse(const check *c, const gdn_tensor *t, int64_t i, int64_t j,
                                const char *expected) {
    char column[32] = "";
    if (t->rank > 1) {
        snprintf(column, sizeof column, ",%lld", (ll)j);
    }
    return gdn_error_set(c->err, GDN_ERR_ARG, "%s[%lld%s]: expected %s but found %lld",
                         t->name, (ll)i, column, expected, (ll)gdnp_int(t, i, j));
}

static inline gdn_status check_element(const check *c, const gdn_tensor *t, int64_t i,
                                       int64_t j, int64_t low, int64_t high) {
    const int64_t value = gdnp_int(t, i, j);
    if (value < low || value > high) {
        char expected[64];
        snprintf(expected, sizeof expected, "%lld to %lld", (ll)low, (ll)high);
        return refuse(c, t, i, j, expected);
    }
    return GDN_OK;
}

static inline gdn_status check_range(const check *c, const char *name, int64_t low,
                                     int64_t high) {
    const gdn_tensor *t = readable(c, name);
    for (int64_t i = 0; t && i < t->shape[0]; i++) {
        for (int64_t j = 0; j < (t->rank > 1 ? t->shape[1] : 1); j++) {
            GDN_TRY(check_element(c, t, i, j, low, high));
        }
    }
    return GDN_OK;
}

/* Every element lies in [low, high]; NaN never does. */
static inline gdn_status check_reals(const check *c, const char *name, double low,
                                     double high) {
    const gdn_tensor *t = readable(c, name);
    const int64_t count = t ? gdn_tensor_count(t) : 0;
    for (int64_t flat = 0; flat < count; flat++) {
        const double value = gdn_load(t->data, t->dtype, gdn_tensor_flat_offset(t, flat));
        if (!(value >= low && value <= high)) {
            char at[64];
            int64_t rest = flat;
            int64_t index[GDN_MAX_RANK] = {0};
            for (int d = t->rank - 1; d >= 0; d--) {
                index[d] = rest % t->shape[d];
                rest /= t->shape[d];
            }
            int used = snprintf(at, sizeof at, "[%lld", (ll)index[0]);
            for (int d = 1; d < t->rank; d++) {
                used +=
                    snprintf(at + used, sizeof at - (size_t)used, ",%lld", (ll)index[d]);
            }
            return gdn_error_set(c->err, GDN_ERR_ARG,
                                 "%s%s]: expected a number in [%g, %g] but found %g", name,
                                 at, low, high, isnan(value) ? (double)NAN : value);
        }
    }
    return GDN_OK;
}

/* Laws may sum to a little less or more than 1, and a logit may be off: no upper end. */
static inline gdn_status check_law(const check *c, const char *name) {
    return check_reals(c, name, 0.0, (double)INFINITY);
}

/* Starts begin at 0, never fall, and end within `limit`. */
static inline gdn_status check_starts(const check *c, const char *name, int64_t limit) {
    const gdn_tensor *t = readable(c, name);
    int64_t last = 0;
    for (int64_t i = 0; t && i < t->shape[0]; i++) {
        GDN_TRY(check_element(c, t, i, 0, last, i == 0 ? 0 : limit));
        last = gdnp_int(t, i, 0);
    }
    return GDN_OK;
}

static inline gdn_status need(const check *c, const char *name, const char *why) {
    if (!gdn_call_tensor(c->call, name)) {
        return gdn_error_set(c->err, GDN_ERR_ARG,
                             "%s: expected a tensor for %s but found none", name, why);
    }
    return GDN_OK;
}

/* verify_check_laws.c: ops that read laws or trees, and the commit. */
gdn_status gdnp_check_rejection(const check *c);
gdn_status gdnp_check_tree(const check *c);
gdn_status gdnp_check_build(const check *c);
gdn_status gdnp_check_commit(const check *c);

#endif
