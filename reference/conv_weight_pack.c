/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* conv_weight_pack: a permutation of the conv weight's bits (contract vllm_cpu_and_metadata
 * 1.5), and where it puts what. */
#include "ops.h"

#include <string.h>

int64_t gdn_conv_packed_offset(int64_t taps, int64_t c, int64_t j) {
    return c / 32 * (32 * taps) + j / 2 * 64 + c % 32 * 2 + j % 2;
}

int64_t gdn_conv_taps(const gdn_conventions *conventions, const gdn_tensor *weight) {
    return weight->shape[conventions->conv_weight == GDN_WEIGHT_WC ? 0 : 1];
}

/* `twice`: the slip that packs what is packed. */
static int64_t place_of(int64_t taps, int64_t c, int64_t j, bool twice) {
    const int64_t at = gdn_conv_packed_offset(taps, c, j);
    return twice ? gdn_conv_packed_offset(taps, at / taps, at % taps) : at;
}

gdn_status gdn_reference_conv_weight_pack(const gdn_call *call, gdn_output *outputs,
                                          gdn_error *err) {
    (void)err;
    const gdn_tensor *weight = gdn_call_tensor(call, "weight");
    gdn_output *packed = gdnp_output(call, outputs, "packed");
    if (!packed) {
        return GDN_OK;
    }
    const gdn_tensor *out = &packed->value;
    const size_t size = gdn_dtype_size(weight->dtype);
    const bool twice = call->conventions->slip == GDN_SLIP_WEIGHT_PACKED_TWICE;
    for (int64_t c = 0; c < weight->shape[0]; c++) {
        gdnp_mark_row(packed, c);
        for (int64_t j = 0; j < weight->shape[1]; j++) {
            const int64_t from = c * weight->stride[0] + j * weight->stride[1];
            const int64_t to = place_of(weight->shape[1], c, j, twice);
            memcpy((char *)out->data + (size_t)to * size,
                   (const char *)weight->data + (size_t)from * size, size);
        }
    }
    return GDN_OK;
}
