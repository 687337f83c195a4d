/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* gated_delta_rule beyond its shapes: which of its optional arguments go together. */
#include "call_check.h"

static gdn_status check_heads(const gdnp_check *c) {
    const int64_t key_heads = c->size[GDNP_KEY_HEADS];
    if (c->size[GDNP_VALUE_HEADS] % key_heads != 0) {
        return gdn_error_set(c->err, GDN_ERR_ARG,
                             "v: expected a multiple of %lld heads (q) but found %lld",
                             (long long)key_heads, (long long)c->size[GDNP_VALUE_HEADS]);
    }
    return GDN_OK;
}

/* Gates are given, or made from what gdn_gating takes; one whole set, nothing of the other.
 */
static gdn_status check_gates(const gdnp_check *c) {
    static const char *const GATES[] = {"g", "beta", "A_log", "dt_bias", "a", "b"};
    const bool made = gdnp_check_tensor(c, "A_log") && !gdnp_check_tensor(c, "g");
    for (int i = 0; i < 6; i++) {
        const bool expected = (i >= 2) == made;
        if (expected != (gdnp_check_tensor(c, GATES[i]) != NULL)) {
            return gdn_error_set(
                c->err, GDN_ERR_ARG,
                "%s: expected %s beside %s (gates are either g and beta, or "
                "A_log, dt_bias, a and b) but found %s",
                GATES[i], expected ? "a tensor" : "none", made ? "A_log" : "g",
                expected ? "none" : "one");
        }
    }
    return GDN_OK;
}

/* An argument that needs another one, or a convention, to mean anything. */
static gdn_status check_needs(const gdnp_check *c, const char *name, bool met,
                              const char *need) {
    if (met || !gdnp_check_tensor(c, name)) {
        return GDN_OK;
    }
    return gdn_error_set(c->err, GDN_ERR_ARG, "%s: expected none without %s but found one",
                         name, need);
}

gdn_status gdnp_finish_delta_rule(gdnp_check *c) {
    const bool buffer = c->call->conventions->spec_state == GDN_SPEC_BUFFER;
    const bool indices = gdnp_check_tensor(c, "intermediate_indices") != NULL;
    const bool state = gdnp_check_tensor(c, "intermediate_state") != NULL;
    GDN_TRY(check_heads(c));
    GDN_TRY(check_gates(c));
    GDN_TRY(check_needs(c, "intermediate_indices", buffer, "spec_state \"buffer\""));
    GDN_TRY(check_needs(c, "intermediate_indices", state, "intermediate_state"));
    GDN_TRY(check_needs(c, "intermediate_state", indices, "intermediate_indices"));
    GDN_TRY(check_needs(c, "parent_token", indices, "intermediate_indices"));
    GDN_TRY(check_needs(c, "num_accepted_tokens", indices || !buffer,
                        "intermediate_indices beside spec_state \"buffer\""));
    if (gdn_call_scalar(c->call, "chunked", 0) && gdn_call_is_speculative(c->call)) {
        return gdn_error_set(c->err, GDN_ERR_ARG,
                             "chunked: expected 0 in a speculative call but found 1");
    }
    return GDN_OK;
}
