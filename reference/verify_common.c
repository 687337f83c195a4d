/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "verify.h"

#include <string.h>

gdn_status gdnp_verify_run(const gdn_call *call, gdn_output *outputs, gdn_error *err) {
    static void (*const RUN[])(const gdn_call *, gdn_output *) = {
        gdnp_verify_draft_tokens, gdnp_top_p_candidates,      gdnp_adjust_batch,
        gdnp_gather_next_token,   gdnp_build_sampling_params, gdnp_speculate_verify,
        gdnp_unified_update,      gdnp_naive_update,          gdnp_rejection_sample,
        gdnp_verify_tree_greedy,  gdnp_tree_sampling,         gdnp_chain_sampling,
        gdnp_build_tree,          gdnp_state_commit,
    };
    _Static_assert(sizeof RUN / sizeof RUN[0] == GDN_OP_COUNT - GDN_OP_VERIFY_DRAFT_TOKENS,
                   "one for each op");
    for (size_t i = 0; i < call->n_tensors; i++) {
        const gdn_tensor *t = &call->tensors[i];
        if (!t->data && gdn_op_argument(call->op, t->name)->access != GDN_OUT) {
            return gdn_error_set(err, GDN_ERR_ARG, "%s: expected data but found none",
                                 t->name);
        }
    }
    void (*const run)(const gdn_call *, gdn_output *) =
        RUN[call->op - GDN_OP_VERIFY_DRAFT_TOKENS];
    if (call->conventions->verify.draws == GDN_DRAWS_INTERNAL && gdnp_in(call, "seed")) {
        return gdnp_verify_draw(call, outputs, run, err);
    }
    run(call, outputs);
    return GDN_OK;
}

double gdnp_real(const gdn_tensor *t, int64_t i, int64_t j, int64_t k) {
    int64_t at = i * t->stride[0];
    at += t->rank > 1 ? j * t->stride[1] : 0;
    at += t->rank > 2 ? k * t->stride[2] : 0;
    return gdn_load(t->data, t->dtype, at);
}

void gdnp_put_int(gdn_output *output, int64_t i, int64_t j, int64_t value) {
    if (!output) {
        return;
    }
    const gdn_tensor *t = &output->value;
    const int64_t at = i * t->stride[0] + (t->rank > 1 ? j * t->stride[1] : 0);
    if (t->dtype == GDN_I64) {
        ((int64_t *)t->data)[at] = value;
    } else if (t->dtype == GDN_I32) {
        ((int32_t *)t->data)[at] = (int32_t)value;
    } else {
        ((uint8_t *)t->data)[at] = value != 0;
    }
    gdnp_mark_row(output, i);
}

void gdnp_put_bits(gdn_output *output, int64_t row, int64_t at, const gdn_tensor *from,
                   int64_t from_at, int64_t count) {
    if (!output) {
        return;
    }
    const size_t size = gdn_dtype_size(from->dtype);
    memmove((uint8_t *)output->value.data + (size_t)at * size,
            (const uint8_t *)from->data + (size_t)from_at * size, (size_t)count * size);
    gdnp_mark_row(output, row);
}

bool gdnp_is_end(const gdn_tensor *end_tokens, const gdn_verify_conventions *v,
                 int64_t token) {
    int64_t count = end_tokens->shape[0];
    if (v->ends != GDN_ENDS_ALL) {
        count = gdnp_min64(count, v->ends == GDN_ENDS_FIRST ? 1 : 32);
    }
    for (int64_t i = 0; i < count; i++) {
        if (gdnp_int(end_tokens, i, 0) == token) {
            return true;
        }
    }
    return false;
}

int64_t gdnp_draw_candidate(const gdn_tensor *ids, const gdn_tensor *scores, int64_t row,
                            int64_t length, float u, float top_p,
                            gdn_verify_draw_scale rule) {
    float total = 0.0F;
    for (int64_t k = 0; k < length; k++) {
        total += (float)gdnp_real(scores, row, k, 0);
    }
    float scale = top_p;
    if (rule == GDN_DRAW_CAPPED) {
        scale = total < top_p ? total : top_p;
    } else if (rule == GDN_DRAW_ONE) {
        scale = 1.0F;
    }
    const float r = u * scale;
    float sum = 0.0F;
    for (int64_t k = 0; k < length; k++) {
        sum += (float)gdnp_real(scores, row, k, 0);
        if (r <= sum) {
            return gdnp_int(ids, row, k);
        }
    }
    return gdnp_int(ids, row, 0);
}

int64_t gdnp_draw_weights(gdnp_weight weight, const void *law, int64_t count, double u,
                          const gdn_verify_conventions *v) {
    float total = 0.0F;
    int64_t last = count - 1;
    for (int64_t i = 0; i < count; i++) {
        const double w = weight(law, i);
        total += (float)w;
        last = w > 0.0 ? i : last;
    }
    const float threshold = (float)u * total;
    float sum = 0.0F;
    for (int64_t i = 0; i < count; i++) {
        sum += (float)weight(law, i);
        if (sum > threshold) {
            return i;
        }
    }
    return v->overshoot == GDN_OVERSHOOT_LAST_ID ? count - 1 : last;
}
