/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Draft verification: the two ops that decide which drafts stand. */
#include "gdn/verify.h"
#include "gpu_plan.h"

static int size_of(const gdn_call *call, const char *name, int axis) {
    const gdn_tensor *tensor = gdn_call_tensor(call, name);
    return tensor ? (int)tensor->shape[axis] : 0;
}

/* Shapes, by the op table; and the rules that these kernels follow, which are the right
 * ones: what backends ship although it is wrong is for the sim device. */
static gdn_status check(const gdn_call *call, gdn_error *err) {
    const gdn_convention_field *wrong = gdn_conventions_defect(call->conventions);
    gdn_verify_sizes sizes;
    if (wrong) {
        char value[64];
        gdn_conventions_get(call->conventions, wrong, value, sizeof value);
        return gdn_error_set(err, GDN_ERR_UNSUPPORTED,
                             "%s: these kernels do not implement \"%s\"", wrong->name,
                             value);
    }
    if (call->conventions->verify.draws == GDN_DRAWS_INTERNAL) {
        return gdn_error_set(err, GDN_ERR_UNSUPPORTED,
                             "verify.draws: these kernels do not draw, they take "
                             "\"injected\" alone");
    }
    return gdn_verify_check_shapes(call, &sizes, err);
}

gdn_status gpu_plan_verify(gpu_plan *plan, const gdn_call *call, gdn_error *err) {
    const int64_t strategy = gdn_call_scalar(call, "verify_strategy", 0);
    const gk_verify_args args = {
        .outputs = gpu_view(plan, call, "step_output_ids"),
        .lengths = gpu_view(plan, call, "step_output_len"),
        .inputs = gpu_view(plan, call, "step_input_ids"),
        .targets = gpu_view(plan, call, "target_tokens"),
        .candidate_ids = gpu_view(plan, call, "candidate_ids"),
        .candidate_scores = gpu_view(plan, call, "candidate_scores"),
        .candidate_lens = gpu_view(plan, call, "candidate_lens"),
        .top_p = gpu_view(plan, call, "topp"),
        .u = gpu_view(plan, call, "u"),
        .stopped = gpu_view(plan, call, "stop_flags"),
        .blocked = gpu_view(plan, call, "is_block_step"),
        .encoder = gpu_view(plan, call, "seq_lens_encoder"),
        .reasoning = gpu_view(plan, call, "reasoning_status"),
        .this_time = gpu_view(plan, call, "seq_lens_this_time"),
        .rows = gpu_view(plan, call, "cu_seqlens_q_output"),
        .end_tokens = gpu_view(plan, call, "end_tokens"),
        .limits = gpu_view(plan, call, "max_dec_len"),
        .steps = gpu_view(plan, call, "step_idx"),
        .slots = size_of(call, "step_output_len", 0),
        .live = size_of(call, "seq_lens_this_time", 0),
        .columns = size_of(call, "step_output_ids", 1),
        .candidates = size_of(call, "candidate_ids", 1),
        .ends = size_of(call, "end_tokens", 0),
        .window = (int)gdn_call_scalar(call, "verify_window", 0),
        .by_set = strategy == GDN_STRATEGY_TOPP,
        .reject_all = gdn_call_scalar(call, "reject_all", 0) != 0,
        .accept_all = gdn_call_scalar(call, "accept_all", 0) != 0,
        .pads = call->conventions->verify.padding == GDN_PADDING_MINUS_ONE,
    };
    GDN_TRY(check(call, err));
    return gpu_plan_add(plan, "gk_verify", (args.slots + 255) / 256, 1, 1, 256, &args,
                        sizeof args, err);
}

gdn_status gpu_plan_rejection(gpu_plan *plan, const gdn_call *call, gdn_error *err) {
    if (plan->fp64_module < 0) {
        return gdn_error_set(err, GDN_ERR_UNSUPPORTED,
                             "rejection_sample: its coins are doubles, and this device "
                             "has no fp64");
    }
    const gdn_verify_conventions *rules = &call->conventions->verify;
    const gk_rejection_args args = {
        .outputs = gpu_view(plan, call, "output_token_ids"),
        .sampled = gpu_view(plan, call, "num_sampled"),
        .draft_ends = gpu_view(plan, call, "cu_num_draft_tokens"),
        .drafts = gpu_view(plan, call, "draft_token_ids"),
        .drafter = gpu_view(plan, call, "draft_probs"),
        .target = gpu_view(plan, call, "target_probs"),
        .targets = gpu_view(plan, call, "target_tokens"),
        .bonus = gpu_view(plan, call, "bonus_token_ids"),
        .greedy = gpu_view(plan, call, "is_greedy"),
        .uniform = gpu_view(plan, call, "uniform"),
        .exponential = gpu_view(plan, call, "exponential"),
        .rates = gpu_view(plan, call, "acceptance_rates"),
        .entropy_alpha = rules->entropy_alpha,
        .entropy_threshold = rules->entropy_threshold,
        .vocabulary = size_of(call, "target_probs", 1),
        .columns = size_of(call, "output_token_ids", 1),
        .method = (int)gdn_call_scalar(call, "method", 0),
        .strict = rules->accept == GDN_ACCEPT_STRICT,
        .pads = rules->padding == GDN_PADDING_MINUS_ONE,
    };
    GDN_TRY(check(call, err));
    GDN_TRY(gpu_plan_add(plan, "gk_rejection", size_of(call, "num_sampled", 0), 1, 1,
                         (unsigned)plan->warp, &args, sizeof args, err));
    plan->launches[0].module = plan->fp64_module;
    return GDN_OK;
}
