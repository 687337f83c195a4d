/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "environment.h"
#include "ops.h"
#include "verify.h"

/* The slips that no op can make by itself: a write outside its outputs, possible only where
 * the outputs are the call's own tensors, as they are for the sim device. */
static void write_astray(const gdn_call *call, gdn_output *outputs) {
    bool guard_done = call->conventions->stray_write != GDN_STRAY_GUARD;
    for (size_t i = 0; i < call->n_tensors; i++) {
        const gdn_tensor *tensor = &call->tensors[i];
        const gdn_argument *argument = gdn_op_argument(call->op, tensor->name);
        if (argument->access == GDN_IN || outputs[i].value.data != tensor->data) {
            continue;
        }
        if (call->conventions->stray_write == GDN_STRAY_SLOT0 &&
            argument->access == GDN_INOUT) {
            gdn_store(tensor->data, tensor->dtype, 0, 1.0);
        }
        if (!guard_done && argument->access == GDN_OUT) {
            gdn_store(tensor->data, tensor->dtype, gdn_tensor_extent(tensor), 1.0);
            guard_done = true;
        }
    }
}

gdn_status gdn_reference_run(const gdn_call *call, gdn_output *outputs, gdn_error *err) {
    static gdn_status (*const RUN[GDN_OP_VERIFY_DRAFT_TOKENS])(
        const gdn_call *, gdn_output *, gdn_error *) = {
        [GDN_OP_CAUSAL_CONV1D] = gdn_reference_causal_conv1d,
        [GDN_OP_GDN_GATING] = gdn_reference_gating,
        [GDN_OP_GATED_DELTA_RULE] = gdn_reference_delta_rule,
        [GDN_OP_GDN_ATTENTION] = gdn_reference_attention,
        [GDN_OP_GDN_METADATA] = gdn_reference_metadata,
        [GDN_OP_CONV_WEIGHT_PACK] = gdn_reference_conv_weight_pack,
    };
    const gdnp_delta_kernel *kernel;
    GDN_TRY(gdnp_environment_check(gdnp_is_large(call), err));
    GDN_TRY(gdnp_delta_kernel_choose(&kernel, err)); /* no op may ignore a wrong name */
    GDN_TRY(gdn_call_check(call, err));
    GDN_TRY(gdn_op_is_verify(call->op) ? gdnp_verify_run(call, outputs, err)
                                       : RUN[call->op](call, outputs, err));
    if (call->conventions->stray_write != GDN_STRAY_NONE) {
        write_astray(call, outputs);
    }
    return GDN_OK;
}
