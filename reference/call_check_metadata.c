/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Sizes of gdn_metadata that its scalars say. */
#include "call_check.h"

typedef long long ll; /* for printf */

gdn_status gdnp_check_metadata_begin(gdnp_check *c) {
    const gdn_tensor *seq_lens = gdnp_check_tensor(c, "seq_lens");
    const int64_t requests = seq_lens->rank > 0 ? seq_lens->shape[0] : 0;
    const int64_t padded = gdn_call_scalar(c->call, "pad_requests", 0);
    c->size[GDNP_COLUMNS] = gdn_call_scalar(c->call, "num_spec", 0) + 1;
    c->size[GDNP_PADDED] = padded > requests ? padded : requests;
    c->size[GDNP_COUNTS] = 14;
    return GDN_OK;
}

gdn_status gdnp_check_metadata_finish(gdnp_check *c) {
    const int64_t padded = gdn_call_scalar(c->call, "pad_requests", 0);
    if (padded != 0 && padded < c->size[GDNP_REQUESTS]) {
        return gdn_error_set(c->err, GDN_ERR_ARG,
                             "pad_requests: expected 0 or at least %lld but found %lld",
                             (ll)c->size[GDNP_REQUESTS], (ll)padded);
    }
    return GDN_OK;
}
