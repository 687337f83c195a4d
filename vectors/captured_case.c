/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "captured_case.h"

#include <stdlib.h>

/* Sequences of one group: query starts, flags, accepted counts and slots may be absent. */
static void add_group(gdn_case *test, const gdn_tensor *starts, const gdn_tensor *flags,
                      const gdn_tensor *accepted, const gdn_tensor *slots, bool spec) {
    for (int64_t i = 0; starts && i + 1 < starts->shape[0]; i++) {
        const int64_t length =
            gdn_tensor_int(starts, i + 1, 0) - gdn_tensor_int(starts, i, 0);
        test->sequences[test->n_sequences++] = (gdn_sequence){
            .kind = spec         ? GDN_SEQ_SPEC
                    : length > 1 ? GDN_SEQ_PREFILL
                                 : GDN_SEQ_DECODE,
            .length = length,
            .accepted = spec && accepted ? gdn_tensor_int(accepted, i, 0) : 0,
            .has_initial_state = spec || !flags || gdn_tensor_int(flags, i, 0) != 0,
            .padded = !spec && slots &&
                      gdn_tensor_int(slots, i, 0) == test->conventions.pad_slot_id,
        };
    }
}

/* A prompt of one token looks like a decode; the call knows how many it has, and engines put
 * prefills behind decodes. */
static void count_prefills(gdn_case *test, int64_t prefills) {
    for (size_t i = 0; i < test->n_sequences; i++) {
        prefills -= test->sequences[i].kind == GDN_SEQ_PREFILL;
    }
    for (size_t i = test->n_sequences; i-- > 0 && prefills > 0;) {
        if (test->sequences[i].kind == GDN_SEQ_DECODE) {
            test->sequences[i].kind = GDN_SEQ_PREFILL;
            prefills--;
        }
    }
}

static gdn_initial initial_of(const gdn_case *test, const gdn_tensor *flags) {
    size_t yes = 0, plain = 0;
    for (size_t i = 0; i < test->n_sequences; i++) {
        const bool spec = test->sequences[i].kind == GDN_SEQ_SPEC;
        plain += !spec;
        yes += !spec && test->sequences[i].has_initial_state;
    }
    return !flags         ? GDN_INITIAL_ABSENT
           : yes == 0     ? GDN_INITIAL_NONE
           : yes == plain ? GDN_INITIAL_ALL
                          : GDN_INITIAL_MIXED;
}

static void describe_heads(gdn_case *test, const gdn_call *call) {
    const gdn_tensor *q = gdn_call_tensor(call, "q"), *v = gdn_call_tensor(call, "v");
    test->tp_size = gdn_call_scalar(call, "tp_size", 1);
    test->num_k_heads = q ? q->shape[1] : gdn_call_scalar(call, "num_k_heads", 1);
    test->num_v_heads = v ? v->shape[1] : gdn_call_scalar(call, "num_v_heads", 1);
    test->head_k_dim = q ? q->shape[2] : gdn_call_scalar(call, "head_k_dim", 1);
    test->head_v_dim = v ? v->shape[2] : gdn_call_scalar(call, "head_v_dim", 1);
    test->l2norm = gdn_call_scalar(call, "use_qk_l2norm", 1) != 0;
    test->chunked = gdn_call_scalar(call, "chunked", 0) != 0;
    test->gates = gdn_call_tensor(call, "A_log") ? GDN_GATES_FUSED : GDN_GATES_GIVEN;
}

static void describe_types(gdn_case *test, const gdn_call *call) {
    const gdn_tensor *state = gdn_call_tensor(call, "ssm_state");
    const char *const activations[] = {"projected_states_qkvz", "q", "x", "a", "weight"};
    for (size_t i = 0; i < sizeof activations / sizeof activations[0]; i++) {
        const gdn_tensor *t = gdn_call_tensor(call, activations[i]);
        if (t) {
            test->dtype = t->dtype;
            break;
        }
    }
    test->state_dtype = state ? state->dtype : GDN_FP32;
    test->conv_bias = gdn_call_tensor(call, "bias") || gdn_call_tensor(call, "conv_bias");
}

/* Lines may be longer than the batch needs; which taps and rows there are is in the shapes. */
static void describe_convolution(gdn_case *test, const gdn_call *call) {
    const gdn_tensor *state = gdn_call_tensor(call, "conv_state");
    const gdn_tensor *weight = gdn_call_tensor(call, "weight");
    weight = weight ? weight : gdn_call_tensor(call, "conv_weights");
    if (state && weight) {
        const bool sd = test->conventions.conv_state_order == GDN_CONV_STATE_SD;
        test->conv_width = gdn_conv_taps(&test->conventions, weight);
        test->conv_rows = state->shape[sd ? 1 : 2];
    }
}

/* Rows of activations that belong to no sequence. */
static int64_t idle_rows(const gdn_case *test, const gdn_call *call) {
    const char *const activations[] = {"projected_states_qkvz", "q", "x"};
    int64_t rows = 0;
    for (size_t i = 0; i < sizeof activations / sizeof activations[0]; i++) {
        const gdn_tensor *t = gdn_call_tensor(call, activations[i]);
        rows = t ? t->shape[0] : rows;
    }
    for (size_t i = 0; i < test->n_sequences; i++) {
        rows -= test->sequences[i].length;
    }
    return rows > 0 ? rows : 0;
}

gdn_status gdnp_captured_describe(gdn_case *test, const gdn_call *call, gdn_error *err) {
    const gdn_tensor *plain = gdn_call_tensor(call, "query_start_loc");
    const gdn_tensor *other = gdn_call_tensor(call, "non_spec_query_start_loc");
    const gdn_tensor *spec = gdn_call_tensor(call, "spec_query_start_loc");
    const gdn_tensor *flags = gdn_call_tensor(call, "has_initial_state");
    const gdn_tensor *accepted = gdn_call_tensor(call, "num_accepted_tokens");
    const gdn_tensor *columns = gdn_call_tensor(call, "spec_state_indices_tensor");
    const bool metadata = call->op == GDN_OP_GDN_METADATA;
    const int64_t most = (plain ? plain->shape[0] : 0) + (other ? other->shape[0] : 0) +
                         (spec ? spec->shape[0] : 0);
    describe_heads(test, call);
    describe_types(test, call);
    describe_convolution(test, call);
    test->sequences = calloc((size_t)most + 1, sizeof *test->sequences);
    if (!test->sequences) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %lld sequences",
                             (long long)most);
    }
    if (plain) {
        add_group(test, plain, metadata ? NULL : flags, accepted,
                  gdn_call_tensor(call, "state_indices"),
                  !metadata && gdn_call_is_speculative(call));
    } else {
        add_group(test, other, flags, NULL,
                  gdn_call_tensor(call, "non_spec_state_indices_tensor"), false);
        add_group(test, spec, NULL, accepted, NULL, true);
    }
    count_prefills(test, gdn_call_scalar(call, "num_prefills", 0));
    if (plain && !metadata && gdn_call_is_speculative(call)) {
        columns = gdn_call_tensor(call, "intermediate_indices");
        columns = columns ? columns : gdn_call_tensor(call, "state_indices");
    }
    test->columns = metadata  ? gdn_call_scalar(call, "num_spec", 0) + 1
                    : columns ? columns->shape[1]
                              : 0;
    test->initial = metadata ? GDN_INITIAL_MIXED : initial_of(test, flags);
    test->pad_rows = idle_rows(test, call);
    test->accepted = accepted ? GDN_ACCEPTED_CYCLE : GDN_ACCEPTED_ABSENT;
    /* Which tree, and which order, is in the tensors; a case knows kinds of them. What holds
     * of the least regular kind holds of all. */
    test->tree =
        gdn_call_tensor(call, "parent_token") ? GDN_TREE_CATERPILLAR : GDN_TREE_NONE;
    test->order = gdn_call_tensor(call, "non_spec_token_indx") ||
                          gdn_call_tensor(call, "spec_token_indx")
                      ? GDN_ROWS_SCATTERED
                      : GDN_ROWS_GROUPED;
    return GDN_OK;
}
