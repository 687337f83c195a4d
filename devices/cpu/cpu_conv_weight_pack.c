/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* conv_weight_pack: [C,W] to [C/32][W/2][32][2], bit by bit. */
#include "cpu.h"
#include "cpu_convert.h"

static gdn_status check(const gdn_call *call, gdn_error *err) {
    GDN_TRY(cpu_expect(call, "weight", CPU_FLOATS, 2, (int64_t[]){-1, -1}, err));
    const gdn_tensor *weight = gdn_call_tensor(call, "weight");
    GDN_TRY(cpu_expect(call, "packed", CPU_TYPE(weight->dtype), 2, weight->shape, err));
    const gdn_tensor *packed = gdn_call_tensor(call, "packed");
    if (weight->shape[0] % 32 != 0 || weight->shape[1] % 2 != 0 || packed->stride[1] != 1 ||
        packed->stride[0] != packed->shape[1]) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "weight: expected whole blocks of 32 channels and two taps, "
                             "packed into dense memory");
    }
    return GDN_OK;
}

static gdn_status run(gdn_device *device, const gdn_call *call, gdn_error *err) {
    (void)device;
    (void)err;
    const gdn_tensor *weight = gdn_call_tensor(call, "weight");
    const gdn_tensor *packed = gdn_call_tensor(call, "packed");
    const size_t size = gdn_dtype_size(weight->dtype);
    int64_t at = 0;
    for (int64_t block = 0; block < weight->shape[0]; block += 32) {
        for (int64_t pair = 0; pair < weight->shape[1]; pair += 2) {
            for (int64_t c = 0; c < 32; c++, at += 2) {
                cpu_copy(packed->data, at, 1, weight->data,
                         (block + c) * weight->stride[0] + pair * weight->stride[1],
                         weight->stride[1], 2, size);
            }
        }
    }
    return GDN_OK;
}

const cpu_op cpu_conv_weight_pack = {.check = check, .run = run};
