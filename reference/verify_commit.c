/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* state_commit: after verification the states behind the last accepted token become the
 * live ones (contract sglang_npu 7). Column 0 of a request's slots is the one it lives
 * in. */
#include "verify.h"

typedef struct commit {
    const gdn_call *call;
    const gdn_verify_conventions *v;
    gdn_output *ssm, *conv;
    const gdn_tensor *ssm_in, *conv_in, *snapshots, *windows;
    int64_t steps;
} commit;

static void move_state(const commit *c, int64_t to, int64_t from, int64_t step) {
    const gdn_tensor *s = c->snapshots;
    for (int64_t layer = 0; c->ssm && layer < s->shape[0]; layer++) {
        const gdn_tensor *out = &c->ssm->value;
        gdnp_put_bits(c->ssm, layer, layer * out->stride[0] + to * out->stride[1], s,
                      layer * s->stride[0] + from * s->stride[1] + step * s->stride[2],
                      s->shape[3]);
    }
}

/* Rows move up by the rejected tokens; those below keep what they held (7.2). From the last
 * row down, so that no row is overwritten before it has moved. */
static void roll_window(const commit *c, int64_t slot, int64_t step) {
    const gdn_tensor *in = c->conv_in;
    const int64_t shift = c->steps - 1 - step;
    for (int64_t layer = 0; c->conv && shift > 0 && layer < in->shape[0]; layer++) {
        const gdn_tensor *out = &c->conv->value;
        for (int64_t row = in->shape[2] - 1; row >= shift; row--) {
            gdnp_put_bits(
                c->conv, layer,
                layer * out->stride[0] + slot * out->stride[1] + row * out->stride[2], in,
                layer * in->stride[0] + slot * in->stride[1] +
                    (row - shift) * in->stride[2],
                in->shape[3]);
        }
    }
}

static void scatter_window(const commit *c, int64_t to, int64_t from, int64_t step) {
    const gdn_tensor *w = c->windows;
    for (int64_t layer = 0; c->conv && layer < w->shape[0]; layer++) {
        const gdn_tensor *out = &c->conv->value;
        for (int64_t row = 0; row < w->shape[3]; row++) {
            gdnp_put_bits(
                c->conv, layer,
                layer * out->stride[0] + to * out->stride[1] + row * out->stride[2], w,
                layer * w->stride[0] + from * w->stride[1] + step * w->stride[2] +
                    row * w->stride[3],
                w->shape[4]);
        }
    }
}

void gdnp_state_commit(const gdn_call *call, gdn_output *outputs) {
    const gdn_tensor *table = gdnp_in(call, "slot_table");
    const commit c = {
        .call = call,
        .v = &call->conventions->verify,
        .ssm = gdnp_output(call, outputs, "ssm_states"),
        .conv = gdnp_output(call, outputs, "conv_states"),
        .ssm_in = gdnp_in(call, "ssm_states"),
        .conv_in = gdnp_in(call, "conv_states"),
        .snapshots = gdnp_in(call, "intermediate"),
        .windows = gdnp_in(call, "intermediate_conv"),
        .steps = table->shape[1],
    };
    const bool padded = c.v->slip == GDN_VERIFY_SLIP_COMMIT_PADDED;
    for (int64_t i = 0; i < table->shape[0]; i++) {
        int64_t step = gdnp_int(gdnp_in(call, "last_steps"), i, 0);
        if (step < 0 && !padded) {
            continue;
        }
        step = step < 0 ? 0 : step;
        if (c.v->slip == GDN_VERIFY_SLIP_COMMIT_OFF_BY_ONE) {
            step = step > 0 ? step - 1 : 0;
        }
        const int64_t home = gdnp_int(table, i, 0);
        const int64_t from = gdnp_int(gdnp_in(call, "src_indices"), i, 0);
        gdn_output *live = gdnp_output(call, outputs, "live_slots");
        if (c.v->commit == GDN_COMMIT_INDEX) {
            const bool stale = c.v->slip == GDN_VERIFY_SLIP_COMMIT_STALE;
            gdnp_put_int(live, i, 0, gdnp_int(table, i, stale ? 0 : step));
            continue;
        }
        gdnp_put_int(live, i, 0, home);
        move_state(&c, home, from, step);
        if (c.v->slip == GDN_VERIFY_SLIP_COMMIT_STALE) {
            continue; /* the conv window stays where verification left it */
        }
        if (c.v->conv_commit == GDN_CONV_COMMIT_SCATTER && c.windows) {
            scatter_window(&c, home, from, step);
        } else {
            roll_window(&c, home, step);
        }
    }
}
