/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Which tensors a case passes and how they lie in memory; shapes as in gdn/call.h. */
#include "problem_tensors.h"

#include <assert.h>
#include <string.h>

static gdn_tensor *add(gdn_shapes *shapes, const char *name, gdn_dtype dtype, int rank,
                       const int64_t *shape) {
    assert(shapes->n_tensors < GDN_MAX_TENSORS);
    gdn_tensor *tensor = &shapes->tensors[shapes->n_tensors++];
    *tensor = gdn_tensor_dense(name, NULL, dtype, rank, shape);
    return tensor;
}

#define ADD(shapes, name, dtype, ...)                                                      \
    add((shapes), (name), (dtype),                                                         \
        (int)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),                   \
        (const int64_t[]){__VA_ARGS__})

/* A pool whose slots lie on pages of a paged cache: the slot stride is the page's. */
static void spread(gdn_tensor *pool, int64_t page_bytes) {
    const int64_t page = page_bytes / (int64_t)gdn_dtype_size(pool->dtype);
    if (page > pool->stride[0]) {
        pool->stride[0] = page;
    }
}

static void scalar(gdn_shapes *shapes, const char *name, int64_t value) {
    assert(shapes->n_scalars < GDN_MAX_SCALARS);
    shapes->scalars[shapes->n_scalars++] = (gdn_scalar){.name = name, .value = value};
}

static void add_states(gdn_shapes *shapes, const char *name, int64_t rows,
                       const gdn_case *test, const gdn_plan *plan) {
    const bool vk = test->conventions.state_order == GDN_STATE_VK;
    gdn_tensor *state = ADD(shapes, name, test->state_dtype, rows, plan->value_heads,
                            vk ? test->head_v_dim : test->head_k_dim,
                            vk ? test->head_k_dim : test->head_v_dim);
    spread(state, test->page_bytes);
}

/* Query starts, state indices and flags of an op that takes one group of sequences. */
static void add_group(gdn_shapes *shapes, const gdn_case *test, const gdn_plan *plan) {
    const int64_t n = (int64_t)test->n_sequences;
    ADD(shapes, "query_start_loc", GDN_I32, n + 1);
    if (plan->places > 0) {
        ADD(shapes, "state_indices", GDN_I32, n);
        ADD(shapes, "intermediate_indices", GDN_I32, n, plan->columns);
        if (test->tree != GDN_TREE_NONE) {
            ADD(shapes, "parent_token", GDN_I32, n, plan->columns);
        }
    } else if (plan->spec > 0) {
        ADD(shapes, "state_indices", GDN_I32, n, plan->columns);
    }
    if (plan->spec > 0) {
        const bool counted = plan->places == 0 || test->op != GDN_OP_CAUSAL_CONV1D;
        if (counted && test->accepted != GDN_ACCEPTED_ABSENT) {
            ADD(shapes, "num_accepted_tokens", GDN_I32, n);
        }
        return;
    }
    ADD(shapes, "state_indices", GDN_I32, n);
    if (test->initial != GDN_INITIAL_ABSENT) {
        ADD(shapes, "has_initial_state", GDN_BOOL, n);
    }
}

static void add_weight(gdn_shapes *shapes, const char *name, const gdn_case *test,
                       const gdn_plan *plan) {
    const bool wc = test->conventions.conv_weight == GDN_WEIGHT_WC;
    ADD(shapes, name, test->dtype, wc ? test->conv_width : plan->channels,
        wc ? plan->channels : test->conv_width);
}

/* `rows` rows of all channels in each of `lines` lines. */
static gdn_tensor *add_lines(gdn_shapes *shapes, const char *name, const gdn_case *test,
                             const gdn_plan *plan, int64_t lines, int64_t rows) {
    const bool sd = test->conventions.conv_state_order == GDN_CONV_STATE_SD;
    return ADD(shapes, name, test->dtype, lines, sd ? rows : plan->channels,
               sd ? plan->channels : rows);
}

static void pack_shapes(gdn_shapes *shapes, const gdn_case *test, const gdn_plan *plan) {
    ADD(shapes, "weight", test->dtype, plan->channels, test->conv_width);
    ADD(shapes, "packed", test->dtype, plan->channels, test->conv_width);
}

static void conv_shapes(gdn_shapes *shapes, const gdn_case *test, const gdn_plan *plan) {
    const gdn_dtype t = test->dtype;
    ADD(shapes, "x", t, plan->rows, plan->channels);
    add_weight(shapes, "weight", test, plan);
    if (test->conv_bias) {
        ADD(shapes, "bias", t, plan->channels);
    }
    spread(add_lines(shapes, "conv_state", test, plan, plan->slots, plan->conv_rows),
           test->page_bytes);
    add_group(shapes, test, plan);
    ADD(shapes, "out", t, plan->rows, plan->channels);
    if (plan->places > 0 && test->conventions.conv_window == GDN_CONV_WINDOWS) {
        add_lines(shapes, "intermediate_conv_window", test, plan,
                  plan->places * plan->columns, test->conv_width - 1);
    }
}

static gdn_dtype beta_type(const gdn_case *test) {
    return test->conventions.beta_storage == GDN_BETA_FP32 ? GDN_FP32 : test->dtype;
}

static void gating_shapes(gdn_shapes *shapes, const gdn_case *test, const gdn_plan *plan) {
    ADD(shapes, "A_log", GDN_FP32, plan->value_heads);
    ADD(shapes, "dt_bias", test->dtype, plan->value_heads);
    ADD(shapes, "a", test->dtype, plan->tokens, plan->value_heads);
    ADD(shapes, "b", test->dtype, plan->tokens, plan->value_heads);
    ADD(shapes, "g", GDN_FP32, plan->tokens, plan->value_heads);
    ADD(shapes, "beta", beta_type(test), plan->tokens, plan->value_heads);
}

static void delta_shapes(gdn_shapes *shapes, const gdn_case *test, const gdn_plan *plan) {
    const gdn_dtype t = test->dtype;
    ADD(shapes, "q", t, plan->rows, plan->key_heads, test->head_k_dim);
    ADD(shapes, "k", t, plan->rows, plan->key_heads, test->head_k_dim);
    ADD(shapes, "v", t, plan->rows, plan->value_heads, test->head_v_dim);
    if (test->gates == GDN_GATES_FUSED) {
        ADD(shapes, "A_log", GDN_FP32, plan->value_heads);
        ADD(shapes, "dt_bias", t, plan->value_heads);
        ADD(shapes, "a", t, plan->rows, plan->value_heads);
        ADD(shapes, "b", t, plan->rows, plan->value_heads);
    } else {
        ADD(shapes, "g", GDN_FP32, plan->rows, plan->value_heads);
        ADD(shapes, "beta", beta_type(test), plan->rows, plan->value_heads);
    }
    add_states(shapes, "ssm_state", plan->slots, test, plan);
    add_group(shapes, test, plan);
    if (plan->places > 0) {
        add_states(shapes, "intermediate_state", plan->places * plan->columns, test, plan);
    }
    ADD(shapes, "out", t, plan->rows, plan->value_heads, test->head_v_dim);
    scalar(shapes, "use_qk_l2norm", test->l2norm);
    scalar(shapes, "chunked", test->chunked);
}

static void attention_indices(gdn_shapes *shapes, const gdn_case *test,
                              const gdn_plan *plan) {
    if (plan->non_spec > 0) {
        if (test->initial != GDN_INITIAL_ABSENT) {
            ADD(shapes, "has_initial_state", GDN_BOOL, plan->non_spec);
        }
        ADD(shapes, "non_spec_query_start_loc", GDN_I32, plan->non_spec + 1);
        if (plan->indexed) {
            ADD(shapes, "non_spec_token_indx", GDN_I32, plan->non_spec_tokens);
        }
        ADD(shapes, "non_spec_state_indices_tensor", GDN_I32, plan->non_spec);
    }
    if (plan->spec > 0) {
        ADD(shapes, "spec_query_start_loc", GDN_I32, plan->spec + 1);
        ADD(shapes, "spec_token_indx", GDN_I32, plan->tokens - plan->non_spec_tokens);
        ADD(shapes, "spec_state_indices_tensor", GDN_I32, plan->spec, plan->columns);
        ADD(shapes, "num_accepted_tokens", GDN_I32, plan->spec);
    }
}

static void attention_shapes(gdn_shapes *shapes, const gdn_case *test,
                             const gdn_plan *plan) {
    const gdn_dtype t = test->dtype;
    ADD(shapes, "core_attn_out", t, plan->rows, plan->value_heads, test->head_v_dim);
    ADD(shapes, "z", t, plan->rows, plan->value_heads, test->head_v_dim);
    ADD(shapes, "projected_states_qkvz", t, plan->rows,
        plan->channels + plan->value_heads * test->head_v_dim);
    ADD(shapes, "projected_states_ba", t, plan->rows, 2 * plan->value_heads);
    spread(add_lines(shapes, "conv_state", test, plan, plan->slots, plan->conv_rows),
           test->page_bytes);
    add_states(shapes, "ssm_state", plan->slots, test, plan);
    add_weight(shapes, "conv_weights", test, plan);
    if (test->conv_bias) {
        ADD(shapes, "conv_bias", t, plan->channels);
    }
    ADD(shapes, "A_log", GDN_FP32, plan->value_heads);
    ADD(shapes, "dt_bias", t, plan->value_heads);
    attention_indices(shapes, test, plan);
    int64_t prefills = 0;
    for (size_t i = 0; i < test->n_sequences; i++) {
        prefills += test->sequences[i].kind == GDN_SEQ_PREFILL;
    }
    scalar(shapes, "num_k_heads", test->num_k_heads);
    scalar(shapes, "num_v_heads", test->num_v_heads);
    scalar(shapes, "head_k_dim", test->head_k_dim);
    scalar(shapes, "head_v_dim", test->head_v_dim);
    scalar(shapes, "num_prefills", prefills);
    scalar(shapes, "num_decodes", plan->non_spec - prefills);
    scalar(shapes, "num_spec_decodes", plan->spec);
    scalar(shapes, "num_actual_tokens", plan->tokens);
    scalar(shapes, "tp_size", test->tp_size);
    scalar(shapes, "reorder_input",
           test->conventions.qkvz_layout == GDN_QKVZ_SEPARATE ? 1 : 0);
}

static void metadata_shapes(gdn_shapes *shapes, const gdn_case *test,
                            const gdn_plan *plan) {
    const int64_t requests = (int64_t)test->n_sequences;
    const int64_t padded = requests + test->pad_requests;
    ADD(shapes, "query_start_loc", GDN_I32, requests + 1);
    ADD(shapes, "seq_lens", GDN_I32, requests);
    ADD(shapes, "block_table", GDN_I32, requests, plan->columns + 1);
    if (plan->spec > 0) {
        ADD(shapes, "num_decode_draft_tokens", GDN_I32, requests);
        ADD(shapes, "num_accepted_tokens", GDN_I32, requests);
    }
    ADD(shapes, "counts", GDN_I32, 14);
    ADD(shapes, "has_initial_state", GDN_BOOL, requests);
    ADD(shapes, "spec_query_start_loc", GDN_I32, padded + 1);
    ADD(shapes, "non_spec_query_start_loc", GDN_I32, padded + 1);
    ADD(shapes, "spec_state_indices_tensor", GDN_I32, padded, plan->columns);
    ADD(shapes, "non_spec_state_indices_tensor", GDN_I32, padded);
    ADD(shapes, "spec_token_indx", GDN_I32, plan->tokens);
    ADD(shapes, "non_spec_token_indx", GDN_I32, plan->tokens);
    ADD(shapes, "spec_num_accepted_tokens", GDN_I32, padded);
    scalar(shapes, "num_spec", plan->columns - 1);
    scalar(shapes, "pad_requests", test->pad_requests > 0 ? padded : 0);
}

/* Tensors with a row a token: those whose first size is the number of rows. */
static void spread_rows(gdn_shapes *shapes, const gdn_case *test) {
    static const char *const names[] = {
        "x", "out", "a",    "b", "g",
        "q", "k",   "v",    "z", "projected_states_qkvz",
        "projected_states_ba", "beta", "core_attn_out"};
    for (size_t i = 0; i < shapes->n_tensors; i++) {
        for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
            if (strcmp(shapes->tensors[i].name, names[n]) == 0) {
                spread(&shapes->tensors[i], test->row_bytes);
            }
        }
    }
}

void gdn_shapes_of(gdn_shapes *shapes, const gdn_case *test, const gdn_plan *plan) {
    *shapes = (gdn_shapes){0};
    switch (test->op) {
    case GDN_OP_CAUSAL_CONV1D:
        conv_shapes(shapes, test, plan);
        break;
    case GDN_OP_GDN_GATING:
        gating_shapes(shapes, test, plan);
        break;
    case GDN_OP_GATED_DELTA_RULE:
        delta_shapes(shapes, test, plan);
        break;
    case GDN_OP_GDN_ATTENTION:
        attention_shapes(shapes, test, plan);
        break;
    case GDN_OP_GDN_METADATA:
        metadata_shapes(shapes, test, plan);
        break;
    case GDN_OP_CONV_WEIGHT_PACK:
        pack_shapes(shapes, test, plan);
        break;
    default: /* draft verification has its own */
        break;
    }
    spread_rows(shapes, test);
}
