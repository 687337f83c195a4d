/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The case that a captured call is one of, read off its tensors: what diagnosis and reports
 * ask of a case. The fill, the seed and the order of slots stay unknown. */
#include <stdlib.h>

#include "captured.h"

static const gdn_tensor *tensor_of(const gdn_problem *p, const char *name) {
    return gdn_call_tensor(&p->call, name);
}

static int64_t extent(const gdn_problem *p, const char *name, int dimension,
                      int64_t otherwise) {
    const gdn_tensor *t = tensor_of(p, name);
    return t ? t->shape[dimension] : otherwise;
}

static void describe_shapes(gdn_case *test, const gdn_problem *p) {
    const bool wc = test->conventions.conv_weight == GDN_WEIGHT_WC;
    test->tp_size = gdn_call_scalar(&p->call, "tp_size", 1);
    test->num_k_heads = gdn_call_scalar(&p->call, "num_k_heads", extent(p, "q", 1, 1));
    test->num_v_heads = gdn_call_scalar(&p->call, "num_v_heads",
                                        extent(p, "v", 1, extent(p, "A_log", 0, 1)));
    test->head_k_dim = gdn_call_scalar(&p->call, "head_k_dim", extent(p, "q", 2, 1));
    test->head_v_dim = gdn_call_scalar(&p->call, "head_v_dim", extent(p, "v", 2, 1));
    test->conv_width =
        extent(p, "weight", wc ? 0 : 1, extent(p, "conv_weights", wc ? 0 : 1, 1));
    test->conv_bias = tensor_of(p, "bias") || tensor_of(p, "conv_bias");
    test->gates = test->op == GDN_OP_GATED_DELTA_RULE && !tensor_of(p, "g")
                      ? GDN_GATES_FUSED
                      : GDN_GATES_GIVEN;
    test->chunked = gdn_call_scalar(&p->call, "chunked", 0) != 0;
    test->l2norm = gdn_call_scalar(&p->call, "use_qk_l2norm", 1) != 0;
    const bool indexed =
        tensor_of(p, "non_spec_token_indx") || tensor_of(p, "spec_token_indx");
    test->order = indexed ? GDN_ROWS_SCATTERED : GDN_ROWS_GROUPED;
}

/* Appends the sequences that these query starts tell of; `columns` 0: not speculative. */
static gdn_status add_sequences(gdn_case *test, const gdn_problem *p, const char *starts,
                                int64_t columns, gdn_error *err) {
    const gdn_tensor *at = tensor_of(p, starts);
    const int64_t count = at ? at->shape[0] - 1 : 0;
    const gdn_tensor *flags = tensor_of(p, "has_initial_state");
    const gdn_tensor *accepted = tensor_of(p, "num_accepted_tokens");
    gdn_sequence *more =
        realloc(test->sequences, (test->n_sequences + (size_t)count + 1) * sizeof *more);
    if (!more) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %lld sequences",
                             (long long)count);
    }
    test->sequences = more;
    for (int64_t i = 0; i < count; i++) {
        const int64_t length = gdn_tensor_int(at, i + 1, 0) - gdn_tensor_int(at, i, 0);
        test->sequences[test->n_sequences++] = (gdn_sequence){
            .kind = columns > 0   ? GDN_SEQ_SPEC
                    : length == 1 ? GDN_SEQ_DECODE
                                  : GDN_SEQ_PREFILL,
            .length = length,
            .accepted = columns > 0 && accepted ? gdn_tensor_int(accepted, i, 0) : 0,
            .has_initial_state = columns > 0 || !flags || gdn_tensor_int(flags, i, 0) != 0,
        };
    }
    test->columns = columns > 0 ? columns : test->columns;
    test->initial = flags ? GDN_INITIAL_MIXED : GDN_INITIAL_ABSENT;
    return GDN_OK;
}

gdn_status gdnp_captured_describe(gdn_case *test, const gdn_problem *problem,
                                  gdn_error *err) {
    describe_shapes(test, problem);
    if (test->op == GDN_OP_GDN_ATTENTION) {
        GDN_TRY(add_sequences(test, problem, "non_spec_query_start_loc", 0, err));
        return add_sequences(test, problem, "spec_query_start_loc",
                             extent(problem, "spec_state_indices_tensor", 1, 0), err);
    }
    const bool buffer = tensor_of(problem, "intermediate_indices") != NULL;
    const bool slots = !buffer && tensor_of(problem, "num_accepted_tokens");
    const int64_t columns = buffer  ? extent(problem, "intermediate_indices", 1, 0)
                            : slots ? extent(problem, "state_indices", 1, 0)
                                    : 0;
    return add_sequences(test, problem, "query_start_loc", columns, err);
}
