/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Private to gdn_call_check(): what its parts share. call_check.c knows names, types
 * and shapes, call_check_conv.c more of convolutions, call_check_indices.c what index
 * tensors hold. */
#ifndef GDN_CALL_CHECK_H
#define GDN_CALL_CHECK_H

#include "gdn/call.h"

/* Sizes go by one letter each, in the shape tables and in messages. */
enum {
    GDNP_ACTUAL = 'A',      /* rows of gdn_attention that hold tokens */
    GDNP_SEQUENCES = 'B',   /* non-spec ones in gdn_attention */
    GDNP_CHANNELS = 'C',    /* of the conv */
    GDNP_SPEC = 'D',        /* spec sequences of gdn_attention */
    GDNP_QKVZ = 'E',        /* columns of the first projection */
    GDNP_BA = 'F',          /* columns of the second one */
    GDNP_KEY_HEADS = 'H',   /* of this rank */
    GDNP_BUFFER_ROWS = 'I', /* of intermediate tensors */
    GDNP_VALUE_HEADS = 'J', /* of this rank */
    GDNP_K = 'K',           /* key head dim */
    GDNP_NON_SPEC_TOKENS = 'L',
    GDNP_REQUESTS = 'M',
    GDNP_ROWS = 'N',
    GDNP_COUNTS = 'O',  /* entries of gdn_metadata's counts */
    GDNP_PADDED = 'P',  /* requests with graph padding */
    GDNP_COLUMNS = 'Q', /* of spec slot rows */
    GDNP_CONV_ROWS = 'R',
    GDNP_SLOTS = 'S',
    GDNP_SPEC_TOKENS = 'U',
    GDNP_V = 'V', /* value head dim */
    GDNP_TAPS = 'W',
    GDNP_WINDOW = 'X', /* rows of intermediate_conv_window */
};

typedef struct gdnp_check {
    const gdn_call *call;
    gdn_error *err;
    int64_t size['Z' + 1]; /* by letter; -1: not known yet */
    int activation, state; /* gdn_dtype; -1: not known yet */
} gdnp_check;

static inline const gdn_tensor *gdnp_check_tensor(const gdnp_check *c, const char *name) {
    return gdn_call_tensor(c->call, name);
}

/* Whether state_indices has a slot for each draft column. */
static inline bool gdnp_check_columns(const gdnp_check *c) {
    return c->call->conventions->spec_state == GDN_SPEC_SLOTS &&
           gdn_call_is_speculative(c->call);
}

/* What a table of shapes cannot say of gated_delta_rule: heads, gates given or made, and
 * which arguments speculation brings. */
GDN_NODISCARD gdn_status gdnp_finish_delta_rule(gdnp_check *c);
/* Conv pool and weight (by its name) of an op whose shapes are as the tables say;
 * `columns`: some sequence has a slot for each draft column. */
GDN_NODISCARD gdn_status gdnp_check_conv_pool(const gdnp_check *c, const char *weight,
                                              bool columns);
/* The rest of causal_conv1d, and of conv_weight_pack. */
GDN_NODISCARD gdn_status gdnp_check_conv(gdnp_check *c);
GDN_NODISCARD gdn_status gdnp_check_conv_pack(gdnp_check *c);

/* Before and after the shapes of gdn_metadata. */
GDN_NODISCARD gdn_status gdnp_check_metadata_begin(gdnp_check *c);
GDN_NODISCARD gdn_status gdnp_check_metadata_finish(gdnp_check *c);

/* Reads the index tensors that have data. Names, types, shapes and scalars are as they
 * should be. */
GDN_NODISCARD gdn_status gdnp_check_indices(const gdnp_check *c);

#endif
