/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What the tables of call_check.c cannot say of convolutions. */
#include "call_check.h"

typedef long long ll; /* for printf */

/* Whoever slides needs room for the window that the next step may start from. */
static gdn_status check_conv_rows(const gdnp_check *c, bool columns) {
    const gdn_conventions *conventions = c->call->conventions;
    const bool sliding = conventions->conv_window == GDN_CONV_SLIDING;
    const int64_t taps = c->size[GDNP_TAPS];
    const int64_t kept = conventions->conv_history == GDN_CONV_KEEPS_TAPS ? taps : taps - 1;
    const int64_t least = columns && sliding ? taps - 2 + c->size[GDNP_COLUMNS] : kept;
    if (c->size[GDNP_CONV_ROWS] < least) {
        return gdn_error_set(
            c->err, GDN_ERR_ARG,
            "conv_state: expected at least %lld rows a slot but found %lld", (ll)least,
            (ll)c->size[GDNP_CONV_ROWS]);
    }
    return GDN_OK;
}

/* Packed weights come in blocks of two taps and 32 channels, and are a permutation of
 * memory, so there is no room between their rows. */
static gdn_status check_packed(const gdnp_check *c, const char *name) {
    const gdn_tensor *t = gdnp_check_tensor(c, name);
    if (t->shape[0] % 32 != 0 || t->shape[1] % 2 != 0) {
        return gdn_error_set(c->err, GDN_ERR_ARG,
                             "%s: expected a multiple of 32 channels and an even number of "
                             "taps but found %lld and %lld",
                             name, (ll)t->shape[0], (ll)t->shape[1]);
    }
    if (t->stride[1] != 1 || t->stride[0] != t->shape[1]) {
        return gdn_error_set(c->err, GDN_ERR_ARG,
                             "%s: expected dense memory but found strides %lld and %lld",
                             name, (ll)t->stride[0], (ll)t->stride[1]);
    }
    return GDN_OK;
}

/* Arguments that mean something beside others only. */
static gdn_status check_buffer(const gdnp_check *c) {
    static const char *const BUFFERED[] = {"intermediate_indices", "parent_token",
                                           "intermediate_conv_window"};
    const gdn_conventions *conventions = c->call->conventions;
    const bool buffer = conventions->spec_state == GDN_SPEC_BUFFER;
    for (int i = 0; i < 3; i++) {
        if (gdnp_check_tensor(c, BUFFERED[i]) && !buffer) {
            return gdn_error_set(c->err, GDN_ERR_ARG,
                                 "%s: expected none under spec_state \"slots\" but found "
                                 "one",
                                 BUFFERED[i]);
        }
    }
    for (int i = 1; i < 4; i++) {
        const char *name = i < 3 ? BUFFERED[i] : "num_accepted_tokens";
        if (buffer && gdnp_check_tensor(c, name) && !gdn_call_is_speculative(c->call)) {
            return gdn_error_set(c->err, GDN_ERR_ARG,
                                 "intermediate_indices: expected a tensor beside %s under "
                                 "spec_state \"buffer\" but found none",
                                 name);
        }
    }
    const gdn_tensor *window = gdnp_check_tensor(c, BUFFERED[2]);
    if (window && conventions->conv_window != GDN_CONV_WINDOWS) {
        return gdn_error_set(c->err, GDN_ERR_ARG,
                             "%s: expected none but for conv_window \"windows\" but found "
                             "one",
                             window->name);
    }
    if (window && c->size[GDNP_WINDOW] != c->size[GDNP_TAPS] - 1) {
        return gdn_error_set(
            c->err, GDN_ERR_ARG, "%s: expected %lld rows (taps - 1) but found %lld",
            window->name, (ll)c->size[GDNP_TAPS] - 1, (ll)c->size[GDNP_WINDOW]);
    }
    return GDN_OK;
}

gdn_status gdnp_check_conv_pool(const gdnp_check *c, const char *weight, bool columns) {
    if (c->call->conventions->conv_weight == GDN_WEIGHT_VNNI) {
        GDN_TRY(check_packed(c, weight));
    }
    return check_conv_rows(c, columns);
}

gdn_status gdnp_check_conv(gdnp_check *c) {
    GDN_TRY(check_buffer(c));
    return gdnp_check_conv_pool(c, "weight",
                                c->call->conventions->spec_state == GDN_SPEC_SLOTS &&
                                    gdn_call_is_speculative(c->call));
}

gdn_status gdnp_check_conv_pack(gdnp_check *c) {
    GDN_TRY(check_packed(c, "weight"));
    return check_packed(c, "packed");
}
