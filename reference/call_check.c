/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Names, types and shapes of a call: tables, and the rules that tables cannot say. */
#include "call_check.h"
#include "verify.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

typedef long long ll; /* for printf */

/* Index tensors are i32, so nothing that they count or name is larger; with heads and head
 * dims up to 2^16 no product of sizes overflows an int64_t. */
#define MAX_SIZE INT32_MAX
#define MAX_DIM  65536

typedef enum type_rule { ACTIVATION, STATE, BETA, FP32, I32, BOOL } type_rule;

/* Arguments with two shapes have two rows. */
typedef enum condition {
    ALWAYS,
    ONE_SLOT, /* a sequence has one slot of the pool */
    SLOT_A_COLUMN,
    STATE_VK,
    STATE_KV,
    CONV_SD,
    CONV_DS,
    WEIGHT_CW, /* packed or not */
    WEIGHT_WC,
} condition;

/* `shape` has one letter a dimension: the size itself, or size + 1 in lower case; behind
 * '>' the least size. A size that is not known yet is learnt from the first tensor that has
 * it, so the tensor that defines a size stands before the others. */
typedef struct shape_rule {
    const char *name;
    type_rule type;
    const char *shape;
    condition when;
} shape_rule;

static const shape_rule CAUSAL_CONV1D[] = {
    {"x", ACTIVATION, "NC", ALWAYS},
    {"weight", ACTIVATION, "CW", WEIGHT_CW},
    {"weight", ACTIVATION, "WC", WEIGHT_WC},
    {"bias", ACTIVATION, "C", ALWAYS},
    {"conv_state", ACTIVATION, "SRC", CONV_SD},
    {"conv_state", ACTIVATION, "SCR", CONV_DS},
    {"state_indices", I32, "B", ONE_SLOT},
    {"state_indices", I32, "BQ", SLOT_A_COLUMN},
    {"query_start_loc", I32, "b", ALWAYS},
    {"has_initial_state", BOOL, "B", ALWAYS},
    {"num_accepted_tokens", I32, "B", ALWAYS},
    {"intermediate_indices", I32, "BQ", ALWAYS},
    {"parent_token", I32, "BQ", ALWAYS},
    {"intermediate_conv_window", ACTIVATION, "IXC", CONV_SD},
    {"intermediate_conv_window", ACTIVATION, "ICX", CONV_DS},
    {"out", ACTIVATION, "NC", ALWAYS},
    {0},
};

static const shape_rule CONV_WEIGHT_PACK[] = {
    {"weight", ACTIVATION, "CW", ALWAYS},
    {"packed", ACTIVATION, "CW", ALWAYS},
    {0},
};

static const shape_rule GDN_GATING[] = {
    {"a", ACTIVATION, "NJ", ALWAYS},
    {"b", ACTIVATION, "NJ", ALWAYS},
    {"A_log", FP32, "J", ALWAYS},
    {"dt_bias", ACTIVATION, "J", ALWAYS},
    {"g", FP32, "NJ", ALWAYS},
    {"beta", BETA, "NJ", ALWAYS},
    {0},
};

static const shape_rule GATED_DELTA_RULE[] = {
    {"q", ACTIVATION, "NHK", ALWAYS},
    {"k", ACTIVATION, "NHK", ALWAYS},
    {"v", ACTIVATION, "NJV", ALWAYS},
    {"g", FP32, "NJ", ALWAYS},
    {"beta", BETA, "NJ", ALWAYS},
    {"A_log", FP32, "J", ALWAYS},
    {"dt_bias", ACTIVATION, "J", ALWAYS},
    {"a", ACTIVATION, "NJ", ALWAYS},
    {"b", ACTIVATION, "NJ", ALWAYS},
    {"ssm_state", STATE, "SJVK", STATE_VK},
    {"ssm_state", STATE, "SJKV", STATE_KV},
    {"intermediate_state", STATE, "IJVK", STATE_VK},
    {"intermediate_state", STATE, "IJKV", STATE_KV},
    {"state_indices", I32, "B", ONE_SLOT},
    {"state_indices", I32, "BQ", SLOT_A_COLUMN},
    {"query_start_loc", I32, "b", ALWAYS},
    {"has_initial_state", BOOL, "B", ALWAYS},
    {"num_accepted_tokens", I32, "B", ALWAYS},
    {"intermediate_indices", I32, "BQ", ALWAYS},
    {"parent_token", I32, "BQ", ALWAYS},
    {"out", ACTIVATION, "NJV", ALWAYS},
    {0},
};

static const shape_rule GDN_ATTENTION[] = {
    {"core_attn_out", ACTIVATION, ">AJV", ALWAYS},
    {"z", ACTIVATION, ">AJV", ALWAYS},
    {"projected_states_qkvz", ACTIVATION, ">AE", ALWAYS},
    {"projected_states_ba", ACTIVATION, ">AF", ALWAYS},
    {"conv_state", ACTIVATION, "SRC", CONV_SD},
    {"conv_state", ACTIVATION, "SCR", CONV_DS},
    {"ssm_state", STATE, "SJVK", STATE_VK},
    {"ssm_state", STATE, "SJKV", STATE_KV},
    {"conv_weights", ACTIVATION, "CW", WEIGHT_CW},
    {"conv_weights", ACTIVATION, "WC", WEIGHT_WC},
    {"conv_bias", ACTIVATION, "C", ALWAYS},
    {"A_log", FP32, "J", ALWAYS},
    {"dt_bias", ACTIVATION, "J", ALWAYS},
    {"has_initial_state", BOOL, "B", ALWAYS},
    {"non_spec_query_start_loc", I32, "b", ALWAYS},
    {"non_spec_token_indx", I32, "L", ALWAYS},
    {"non_spec_state_indices_tensor", I32, "B", ALWAYS},
    {"spec_query_start_loc", I32, "d", ALWAYS},
    {"spec_token_indx", I32, "U", ALWAYS},
    {"spec_state_indices_tensor", I32, "DQ", ALWAYS},
    {"num_accepted_tokens", I32, "D", ALWAYS},
    {0},
};

static const shape_rule GDN_METADATA[] = {
    {"seq_lens", I32, "M", ALWAYS},
    {"query_start_loc", I32, "m", ALWAYS},
    {"block_table", I32, "M>Q", ALWAYS},
    {"num_decode_draft_tokens", I32, "M", ALWAYS},
    {"num_accepted_tokens", I32, "M", ALWAYS},
    {"counts", I32, "O", ALWAYS},
    {"has_initial_state", BOOL, "M", ALWAYS},
    {"spec_query_start_loc", I32, "p", ALWAYS},
    {"non_spec_query_start_loc", I32, "p", ALWAYS},
    {"spec_state_indices_tensor", I32, "PQ", ALWAYS},
    {"non_spec_state_indices_tensor", I32, "P", ALWAYS},
    {"spec_token_indx", I32, "N", ALWAYS},
    {"non_spec_token_indx", I32, "N", ALWAYS},
    {"spec_num_accepted_tokens", I32, "P", ALWAYS},
    {0},
};

/* What messages call the letters. */
static const char *const SIZE_NAMES['Z' + 1] = {
    [GDNP_ACTUAL] = "num_actual_tokens",
    [GDNP_SEQUENCES] = "sequences",
    [GDNP_CHANNELS] = "conv channels",
    [GDNP_SPEC] = "spec sequences",
    [GDNP_QKVZ] = "qkvz columns",
    [GDNP_BA] = "ba columns",
    [GDNP_BUFFER_ROWS] = "intermediate rows",
    [GDNP_KEY_HEADS] = "key heads",
    [GDNP_VALUE_HEADS] = "value heads",
    [GDNP_K] = "key head dim",
    [GDNP_NON_SPEC_TOKENS] = "non-spec tokens",
    [GDNP_REQUESTS] = "requests",
    [GDNP_ROWS] = "rows",
    [GDNP_COUNTS] = "counts",
    [GDNP_PADDED] = "padded requests",
    [GDNP_COLUMNS] = "columns",
    [GDNP_CONV_ROWS] = "conv rows",
    [GDNP_SLOTS] = "slots",
    [GDNP_SPEC_TOKENS] = "spec tokens",
    [GDNP_V] = "value head dim",
    [GDNP_TAPS] = "taps",
    [GDNP_WINDOW] = "window rows",
};

/* Letters whose size is at least 1. */
static const char NOT_EMPTY[] = "CHJKMQVW";

typedef struct scalar_rule {
    const char *name;
    int64_t low, high;
} scalar_rule;

static const scalar_rule SCALARS[] = {
    {"use_qk_l2norm", 0, 1},           {"chunked", 0, 1},
    {"num_k_heads", 1, MAX_DIM},       {"num_v_heads", 1, MAX_DIM},
    {"head_k_dim", 1, MAX_DIM},        {"head_v_dim", 1, MAX_DIM},
    {"num_prefills", 0, MAX_SIZE},     {"num_decodes", 0, MAX_SIZE},
    {"num_spec_decodes", 0, MAX_SIZE}, {"num_actual_tokens", 0, MAX_SIZE},
    {"tp_size", 1, MAX_DIM},           {"reorder_input", 0, 1},
    {"num_spec", 0, MAX_DIM},          {"pad_requests", 0, MAX_SIZE},
};

/* An optional argument under a misspelt name would silently be absent, and of two entries
 * the second one be ignored. */
static gdn_status check_tensor_names(const gdnp_check *c) {
    const gdn_call *call = c->call;
    const gdn_op_info *info = gdn_op_get(call->op);
    for (size_t i = 0; i < call->n_tensors; i++) {
        const char *name = call->tensors[i].name;
        if (!name || !gdn_op_argument(call->op, name)) {
            return gdn_error_set(c->err, GDN_ERR_ARG,
                                 "%s: expected an argument of %s but found an unknown name",
                                 name ? name : "(unnamed tensor)", info->name);
        }
        if (gdnp_check_tensor(c, name) != &call->tensors[i]) {
            return gdn_error_set(c->err, GDN_ERR_ARG,
                                 "%s: expected one tensor but found a second one", name);
        }
    }
    for (size_t i = 0; i < info->n_arguments; i++) {
        const gdn_argument *argument = &info->arguments[i];
        if (!argument->optional && !gdnp_check_tensor(c, argument->name)) {
            return gdn_error_set(c->err, GDN_ERR_ARG,
                                 "%s: expected a tensor but found none", argument->name);
        }
    }
    return GDN_OK;
}

static gdn_status check_scalar(const gdnp_check *c, const char *name) {
    int found = 0;
    for (size_t i = 0; i < c->call->n_scalars; i++) {
        found += strcmp(c->call->scalars[i].name, name) == 0;
    }
    const bool optional = strcmp(name, "chunked") == 0;
    if (found == 0 && optional) {
        return GDN_OK;
    }
    if (found != 1) {
        return gdn_error_set(c->err, GDN_ERR_ARG, "%s: expected one scalar but found %d",
                             name, found);
    }
    scalar_rule verify = {.name = name};
    const scalar_rule *rule = &verify;
    if (!gdn_verify_scalar_range(name, &verify.low, &verify.high)) {
        for (rule = SCALARS; strcmp(rule->name, name) != 0; rule++) {
            assert(rule < SCALARS + sizeof SCALARS / sizeof SCALARS[0]);
        }
    }
    const int64_t value = gdn_call_scalar(c->call, name, 0);
    if (value < rule->low || value > rule->high) {
        return gdn_error_set(c->err, GDN_ERR_ARG,
                             "%s: expected %lld to %lld but found %lld", name,
                             (ll)rule->low, (ll)rule->high, (ll)value);
    }
    return GDN_OK;
}

static gdn_status check_scalars(const gdnp_check *c) {
    const gdn_op_info *info = gdn_op_get(c->call->op);
    size_t n = 0;
    for (; info->scalars[n]; n++) {
        GDN_TRY(check_scalar(c, info->scalars[n]));
    }
    for (size_t i = 0; i < c->call->n_scalars; i++) {
        size_t known = 0;
        while (known < n && strcmp(info->scalars[known], c->call->scalars[i].name) != 0) {
            known++;
        }
        if (known == n) {
            return gdn_error_set(c->err, GDN_ERR_ARG,
                                 "%s: expected an argument of %s but found an unknown name",
                                 c->call->scalars[i].name, info->name);
        }
    }
    return GDN_OK;
}

/* A type that the call chooses: the first tensor decides, the others follow. */
static gdn_status check_chosen(const gdnp_check *c, const gdn_tensor *t, int *chosen) {
    if (*chosen < 0) {
        if (!gdn_dtype_is_float(t->dtype)) {
            return gdn_error_set(c->err, GDN_ERR_ARG,
                                 "%s: expected a float type but found %s", t->name,
                                 gdn_dtype_name(t->dtype));
        }
        *chosen = (int)t->dtype;
    }
    return GDN_OK;
}

static gdn_status check_type(gdnp_check *c, const gdn_tensor *t, type_rule type) {
    static const gdn_dtype FIXED[] = {
        [FP32] = GDN_FP32, [I32] = GDN_I32, [BOOL] = GDN_BOOL};
    if ((int)t->dtype < 0 || t->dtype >= GDN_DTYPE_COUNT) {
        return gdn_error_set(c->err, GDN_ERR_ARG, "%s: expected a type but found number %d",
                             t->name, (int)t->dtype);
    }
    gdn_dtype expected;
    if (type == ACTIVATION || type == STATE) {
        int *chosen = type == ACTIVATION ? &c->activation : &c->state;
        GDN_TRY(check_chosen(c, t, chosen));
        expected = (gdn_dtype)*chosen;
    } else if (type == BETA) {
        const bool fp32 = c->call->conventions->beta_storage == GDN_BETA_FP32;
        expected =
            fp32 ? GDN_FP32 : (gdn_dtype)c->activation; /* tensors before it have T */
    } else {
        expected = FIXED[type];
    }
    if (t->dtype != expected) {
        return gdn_error_set(c->err, GDN_ERR_ARG, "%s: expected type %s but found %s",
                             t->name, gdn_dtype_name(expected), gdn_dtype_name(t->dtype));
    }
    return GDN_OK;
}

static gdn_status check_dimension(gdnp_check *c, const gdn_tensor *t, int d, char letter,
                                  bool least) {
    const int plus = islower((unsigned char)letter) ? 1 : 0;
    const int upper = toupper((unsigned char)letter);
    const int64_t found = t->shape[d];
    if (found < 0 || found > MAX_SIZE) {
        return gdn_error_set(c->err, GDN_ERR_ARG,
                             "%s: expected size 0 to %d in dimension %d but found %lld",
                             t->name, MAX_SIZE, d, (ll)found);
    }
    int64_t *size = &c->size[upper];
    int64_t expected = *size + plus;
    if (*size < 0) {
        least = true;
        expected = plus + (strchr(NOT_EMPTY, upper) ? 1 : 0);
        *size = found - plus;
    }
    if (least ? found < expected : found != expected) {
        return gdn_error_set(
            c->err, GDN_ERR_ARG,
            "%s: expected size %s%lld (%s%s) in dimension %d but found %lld", t->name,
            least ? "at least " : "", (ll)expected, SIZE_NAMES[upper], plus ? " + 1" : "",
            d, (ll)found);
    }
    return GDN_OK;
}

static gdn_status check_shape(gdnp_check *c, const gdn_tensor *t, const char *shape) {
    int rank = 0;
    for (const char *s = shape; *s; s++) {
        rank += *s != '>';
    }
    if (t->rank != rank) {
        return gdn_error_set(c->err, GDN_ERR_ARG, "%s: expected rank %d but found %d",
                             t->name, rank, t->rank);
    }
    for (int d = 0; d < rank; d++) {
        const bool least = *shape == '>';
        shape += least;
        GDN_TRY(check_dimension(c, t, d, *shape++, least));
    }
    return GDN_OK;
}

static bool applies(const gdnp_check *c, condition when) {
    const gdn_conventions *conventions = c->call->conventions;
    switch (when) {
    case ALWAYS:
        return true;
    case ONE_SLOT:
        return !gdnp_check_columns(c);
    case SLOT_A_COLUMN:
        return gdnp_check_columns(c);
    case STATE_VK:
        return conventions->state_order == GDN_STATE_VK;
    case STATE_KV:
        return conventions->state_order == GDN_STATE_KV;
    case CONV_SD:
        return conventions->conv_state_order == GDN_CONV_STATE_SD;
    case CONV_DS:
        return conventions->conv_state_order == GDN_CONV_STATE_DS;
    case WEIGHT_CW:
        return conventions->conv_weight != GDN_WEIGHT_WC;
    case WEIGHT_WC:
        break;
    }
    return conventions->conv_weight == GDN_WEIGHT_WC;
}

static gdn_status check_shapes(gdnp_check *c, const shape_rule *rules) {
    for (const shape_rule *rule = rules; rule->name; rule++) {
        const gdn_tensor *t = gdnp_check_tensor(c, rule->name);
        if (t && applies(c, rule->when)) {
            GDN_TRY(check_type(c, t, rule->type));
            GDN_TRY(check_shape(c, t, rule->shape));
        }
    }
    return GDN_OK;
}

/* One scalar is a multiple of another. */
static gdn_status check_multiple(const gdnp_check *c, const char *name, const char *of) {
    const int64_t value = gdn_call_scalar(c->call, name, 0);
    const int64_t unit = gdn_call_scalar(c->call, of, 1);
    if (value % unit != 0) {
        return gdn_error_set(c->err, GDN_ERR_ARG,
                             "%s: expected a multiple of %s (%lld) but found %lld", name,
                             of, (ll)unit, (ll)value);
    }
    return GDN_OK;
}

/* Optional arguments that a group of sequences cannot do without. */
static gdn_status check_group(const gdnp_check *c, int64_t sequences,
                              const char *const *names) {
    for (; sequences > 0 && *names; names++) {
        if (!gdnp_check_tensor(c, *names)) {
            return gdn_error_set(c->err, GDN_ERR_ARG,
                                 "%s: expected a tensor for %lld sequences but found none",
                                 *names, (ll)sequences);
        }
    }
    return GDN_OK;
}

static gdn_status begin_attention(gdnp_check *c) {
    static const char *const NON_SPEC[] = {"non_spec_query_start_loc",
                                           "non_spec_state_indices_tensor", NULL};
    /* Without it the non-spec rows are all rows. */
    static const char *const MIXED[] = {"non_spec_token_indx", NULL};
    static const char *const SPEC[] = {"spec_query_start_loc", "spec_token_indx",
                                       "spec_state_indices_tensor", "num_accepted_tokens",
                                       NULL};
    GDN_TRY(check_multiple(c, "num_k_heads", "tp_size"));
    GDN_TRY(check_multiple(c, "num_v_heads", "tp_size"));
    GDN_TRY(check_multiple(c, "num_v_heads", "num_k_heads"));
    const int64_t tp = gdn_call_scalar(c->call, "tp_size", 1);
    const int64_t key_heads = gdn_call_scalar(c->call, "num_k_heads", 0) / tp;
    const int64_t value_heads = gdn_call_scalar(c->call, "num_v_heads", 0) / tp;
    const int64_t k_dim = gdn_call_scalar(c->call, "head_k_dim", 0);
    const int64_t v_dim = gdn_call_scalar(c->call, "head_v_dim", 0);
    const int64_t sequences = gdn_call_scalar(c->call, "num_prefills", 0) +
                              gdn_call_scalar(c->call, "num_decodes", 0);
    const int64_t spec = gdn_call_scalar(c->call, "num_spec_decodes", 0);
    c->size[GDNP_KEY_HEADS] = key_heads;
    c->size[GDNP_VALUE_HEADS] = value_heads;
    c->size[GDNP_K] = k_dim;
    c->size[GDNP_V] = v_dim;
    c->size[GDNP_CHANNELS] = 2 * key_heads * k_dim + value_heads * v_dim;
    c->size[GDNP_QKVZ] = 2 * key_heads * k_dim + 2 * value_heads * v_dim;
    c->size[GDNP_BA] = 2 * value_heads;
    c->size[GDNP_ACTUAL] = gdn_call_scalar(c->call, "num_actual_tokens", 0);
    c->size[GDNP_SEQUENCES] = sequences;
    c->size[GDNP_SPEC] = spec;
    GDN_TRY(check_group(c, sequences, NON_SPEC));
    GDN_TRY(check_group(c, spec, SPEC));
    return check_group(c, spec > 0 ? sequences : 0, MIXED);
}

static gdn_status finish_attention(gdnp_check *c) {
    if (c->size[GDNP_SPEC] > 0 && c->call->conventions->spec_state == GDN_SPEC_BUFFER) {
        return gdn_error_set(c->err, GDN_ERR_ARG,
                             "num_spec_decodes: expected 0 beside spec_state \"buffer\", "
                             "for which this op has no arguments, but found %lld",
                             (ll)c->size[GDNP_SPEC]);
    }
    return gdnp_check_conv_pool(c, "conv_weights", c->size[GDNP_SPEC] > 0);
}

/* `begin` learns sizes from scalars; `finish` holds what a table of shapes cannot say. */
static const struct {
    const shape_rule *shapes;
    gdn_status (*begin)(gdnp_check *c);
    gdn_status (*finish)(gdnp_check *c);
} OPS[GDN_OP_VERIFY_DRAFT_TOKENS] = {
    [GDN_OP_CAUSAL_CONV1D] = {CAUSAL_CONV1D, NULL, gdnp_check_conv},
    [GDN_OP_GDN_GATING] = {GDN_GATING, NULL, NULL},
    [GDN_OP_GATED_DELTA_RULE] = {GATED_DELTA_RULE, NULL, gdnp_finish_delta_rule},
    [GDN_OP_GDN_ATTENTION] = {GDN_ATTENTION, begin_attention, finish_attention},
    [GDN_OP_GDN_METADATA] = {GDN_METADATA, gdnp_check_metadata_begin,
                             gdnp_check_metadata_finish},
    [GDN_OP_CONV_WEIGHT_PACK] = {CONV_WEIGHT_PACK, NULL, gdnp_check_conv_pack},
};

gdn_status gdn_call_check(const gdn_call *call, gdn_error *err) {
    if ((int)call->op < 0 || call->op >= GDN_OP_COUNT) {
        return gdn_error_set(err, GDN_ERR_ARG, "op: expected 0 to %d but found %d",
                             GDN_OP_COUNT - 1, (int)call->op);
    }
    if (!call->conventions) {
        return gdn_error_set(err, GDN_ERR_ARG, "conventions: expected some but found none");
    }
    gdnp_check c = {.call = call, .err = err, .activation = -1, .state = -1};
    for (size_t i = 0; i < sizeof c.size / sizeof c.size[0]; i++) {
        c.size[i] = -1;
    }
    GDN_TRY(check_tensor_names(&c));
    GDN_TRY(check_scalars(&c));
    if (gdn_op_is_verify(call->op)) {
        return gdnp_verify_check(call, err);
    }
    if (OPS[call->op].begin) {
        GDN_TRY(OPS[call->op].begin(&c));
    }
    GDN_TRY(check_shapes(&c, OPS[call->op].shapes));
    if (OPS[call->op].finish) {
        GDN_TRY(OPS[call->op].finish(&c));
    }
    return gdnp_check_indices(&c);
}
