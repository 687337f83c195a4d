/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Where the shadow's tokens and states come from and where its results go. */
#include "mpfr_shadow.h"

#include <math.h>
#include <string.h>

int64_t gdnp_shadow_count(const gdnp_shadow_group *group) {
    return group->starts->shape[0] - 1;
}

int64_t gdnp_shadow_length(const gdnp_shadow_group *group, int64_t n) {
    return gdn_tensor_int(group->starts, n + 1, 0) - gdn_tensor_int(group->starts, n, 0);
}

int64_t gdnp_shadow_row(const gdnp_shadow_group *group, int64_t n, int64_t t) {
    const int64_t local = gdn_tensor_int(group->starts, n, 0) + t;
    return group->rows ? gdn_tensor_int(group->rows, local, 0) : local;
}

bool gdnp_shadow_is_padding(const gdnp_shadow_group *group, int64_t n) {
    const gdn_conventions *conventions = group->conventions;
    return conventions->pad_sequences != GDN_PAD_REFUSED &&
           gdn_tensor_int(group->slots, n, 0) == conventions->pad_slot_id;
}

int64_t gdnp_shadow_store_slot(const gdnp_shadow_group *group, int64_t n, int64_t t) {
    if (gdnp_shadow_is_padding(group, n)) {
        return -1;
    }
    if (group->places) {
        return gdn_tensor_int(group->places, n, t);
    }
    if (group->accepted) {
        return gdn_tensor_int(group->slots, n, t);
    }
    return t == gdnp_shadow_length(group, n) - 1 ? gdn_tensor_int(group->slots, n, 0) : -1;
}

/* Column that a speculative sequence starts from. */
static int64_t start_column(const gdnp_shadow_group *group, int64_t n) {
    const int64_t count = group->accepted ? gdn_tensor_int(group->accepted, n, 0) : 1;
    return count > 1 ? count - 1 : 0;
}

int64_t gdnp_shadow_load_place(const gdnp_shadow_group *group, int64_t n) {
    const int64_t column = group->places ? start_column(group, n) : 0;
    const bool some = column > 0 && !gdnp_shadow_is_padding(group, n);
    return some ? gdn_tensor_int(group->places, n, column) : -1;
}

int64_t gdnp_shadow_load_slot(const gdnp_shadow_group *group, int64_t n) {
    if (gdnp_shadow_is_padding(group, n)) {
        return -1;
    }
    if (group->places) {
        return gdn_tensor_int(group->slots, n, 0);
    }
    if (group->accepted) {
        return gdn_tensor_int(group->slots, n, start_column(group, n));
    }
    const bool zero = group->has_initial && gdn_tensor_int(group->has_initial, n, 0) == 0;
    return zero ? -1 : gdn_tensor_int(group->slots, n, 0);
}

int64_t gdnp_shadow_key_head(const gdn_conventions *conventions, int64_t hv,
                             int64_t key_heads, int64_t value_heads) {
    return conventions->head_map == GDN_HEADS_TILED ? hv % key_heads
                                                    : hv / (value_heads / key_heads);
}

gdnp_shadow_sink gdnp_shadow_sink_of(const gdn_call *call, gdn_shadow_output *outputs,
                                     const char *name) {
    for (size_t i = 0; i < call->n_tensors; i++) {
        if (strcmp(call->tensors[i].name, name) == 0 && outputs[i].high) {
            return (gdnp_shadow_sink){.tensor = &call->tensors[i], .output = &outputs[i]};
        }
    }
    return (gdnp_shadow_sink){0};
}

static int64_t flat_index(const gdn_tensor *tensor, const int64_t *index) {
    int64_t flat = 0;
    for (int d = 0; d < tensor->rank; d++) {
        flat = flat * tensor->shape[d] + index[d];
    }
    return flat;
}

void gdnp_shadow_put(const gdnp_shadow_sink *sink, const int64_t *index, mpfr_srcptr value,
                     bool undecided) {
    if (!sink->output) {
        return;
    }
    const int64_t at = flat_index(sink->tensor, index);
    const double high = mpfr_get_d(value, MPFR_RNDN);
    double low = 0.0;
    if (isfinite(high)) {
        MPFR_DECL_INIT(rest, GDNP_SHADOW_BITS);
        mpfr_sub_d(rest, value, high, MPFR_RNDN);
        low = mpfr_get_d(rest, MPFR_RNDN);
    }
    sink->output->high[at] = high;
    sink->output->low[at] = low;
    sink->output->mark[at] = undecided ? GDN_SHADOW_UNDECIDED : GDN_SHADOW_VALUE;
}

void gdnp_shadow_copy(const gdnp_shadow_sink *sink, const int64_t *index, double value) {
    if (sink->output) {
        const int64_t at = flat_index(sink->tensor, index);
        sink->output->high[at] = value;
        sink->output->low[at] = 0.0;
        sink->output->mark[at] = GDN_SHADOW_VALUE;
    }
}
