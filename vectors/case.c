/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The JSON form of a case. One table says what a member may be, what it is when absent, and
 * for which ops it means anything: a value without an effect is refused, so that a suite
 * cannot claim to vary what it does not.
 *
 *                       conv1d  gating  delta rule  attention  metadata
 *   dims, tp_size         x       x        x           x       (label only)
 *   dtype, fill           x       x        x           x
 *   state_dtype                            x           x
 *   conv_bias             x                            x
 *   qkvz_layout, order                                 x
 *   pad_rows                                           x
 *   page_bytes            x                x           x
 *   row_bytes             x       x        x           x
 *   initial, accepted     x                x           x           x
 *   gates, chunked, l2norm                 x
 *   misaligned, seed      x       x        x           x           x
 *   conv_rows             x                            x
 *   tree                  x                x
 *   relation, dye         x       x        x           x
 *   refuse                x       x        x           x           x
 *
 * `initial` further needs a sequence that is not speculative, `accepted` one that is and,
 * for conv1d, a slot for each draft column; `tree` speculation with a buffer. Of the
 * numeric members conv_weight_pack has dims, tp_size, dtype, fill, misaligned and seed. */
#include "case_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gdn/json_check.h"
#include "gdn/nearest.h"
#include "gdn/profile.h"
#include "plan.h"

#define CONV1D     (1U << GDN_OP_CAUSAL_CONV1D)
#define GATING     (1U << GDN_OP_GDN_GATING)
#define DELTA      (1U << GDN_OP_GATED_DELTA_RULE)
#define ATTENTION  (1U << GDN_OP_GDN_ATTENTION)
#define METADATA   (1U << GDN_OP_GDN_METADATA)
#define PACK       (1U << GDN_OP_CONV_WEIGHT_PACK)
#define STATEFUL   (CONV1D | DELTA | ATTENTION)
#define NUMERIC    (STATEFUL | GATING | PACK)
#define EVERY      (NUMERIC | METADATA)
#define OP_BIT(op) (1U << GDN_OP_##op)
#define VERIFY     ((1U << GDN_OP_COUNT) - (1U << GDN_OP_VERIFY_DRAFT_TOKENS))
#define ALL_OPS    (EVERY | VERIFY)
#define ROWS_ONLY  (OP_BIT(ADJUST_BATCH) | OP_BIT(GATHER_NEXT_TOKEN))
#define TYPED      (OP_BIT(TOP_P_CANDIDATES) | ROWS_ONLY)
#define TOKENLESS                                                                          \
    (OP_BIT(ADJUST_BATCH) | OP_BIT(GATHER_NEXT_TOKEN) | OP_BIT(BUILD_SAMPLING_PARAMS) |    \
     OP_BIT(BUILD_TREE) | OP_BIT(STATE_COMMIT))
#define VERIFIERS                                                                          \
    (OP_BIT(VERIFY_DRAFT_TOKENS) | OP_BIT(REJECTION_SAMPLE) | OP_BIT(VERIFY_TREE_GREEDY) | \
     OP_BIT(TREE_SPECULATIVE_SAMPLING) | OP_BIT(CHAIN_SPECULATIVE_SAMPLING))
#define WINDOWED (OP_BIT(VERIFY_DRAFT_TOKENS) | OP_BIT(SPECULATE_VERIFY))

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

/* OPTIONAL is a text that may be absent, and then is NULL. */
typedef enum member_kind { TEXT, OPTIONAL, INTEGER, BOOLEAN, NAME } member_kind;

typedef struct member {
    const char *name;
    member_kind kind;
    size_t offset;
    int64_t low, high; ///< names: first and last allowed index
    const char *const *names;
    bool required;
    int64_t otherwise; ///< value when absent
    unsigned ops;      ///< where another value has an effect
    bool spare;        ///< not written at its default: files are older than the member
} member;

#define AT(field) offsetof(gdn_case, field)

static const char *const DTYPE_NAMES[] = {"fp64", "fp32", "fp16", "bf16", NULL};

static const char *const OP_NAMES[] = {
    [GDN_OP_CAUSAL_CONV1D] = "causal_conv1d",
    [GDN_OP_GDN_GATING] = "gdn_gating",
    [GDN_OP_GATED_DELTA_RULE] = "gated_delta_rule",
    [GDN_OP_GDN_ATTENTION] = "gdn_attention",
    [GDN_OP_GDN_METADATA] = "gdn_metadata",
    [GDN_OP_CONV_WEIGHT_PACK] = "conv_weight_pack",
    [GDN_OP_VERIFY_DRAFT_TOKENS] = "verify_draft_tokens",
    [GDN_OP_TOP_P_CANDIDATES] = "top_p_candidates",
    [GDN_OP_ADJUST_BATCH] = "adjust_batch",
    [GDN_OP_GATHER_NEXT_TOKEN] = "gather_next_token",
    [GDN_OP_BUILD_SAMPLING_PARAMS] = "build_sampling_params",
    [GDN_OP_SPECULATE_VERIFY] = "speculate_verify",
    [GDN_OP_UNIFIED_UPDATE_MODEL_STATUS] = "unified_update_model_status",
    [GDN_OP_NAIVE_UPDATE_MODEL_STATUS] = "naive_update_model_status",
    [GDN_OP_REJECTION_SAMPLE] = "rejection_sample",
    [GDN_OP_VERIFY_TREE_GREEDY] = "verify_tree_greedy",
    [GDN_OP_TREE_SPECULATIVE_SAMPLING] = "tree_speculative_sampling",
    [GDN_OP_CHAIN_SPECULATIVE_SAMPLING] = "chain_speculative_sampling",
    [GDN_OP_BUILD_TREE] = "build_tree",
    [GDN_OP_STATE_COMMIT] = "state_commit",
    [GDN_OP_COUNT] = NULL,
};

const char *const GDN_RELATION_NAMES[] = {
    [GDN_RELATION_NONE] = "none",
    [GDN_RELATION_SPLIT] = "split",
    [GDN_RELATION_PERMUTED] = "permuted",
    [GDN_RELATION_RELABELLED] = "relabelled",
    [GDN_RELATION_ALONE] = "alone",
    [GDN_RELATION_BATCH_INVARIANT] = "batch_invariant",
    [GDN_RELATION_UNPADDED] = "unpadded",
    [GDN_RELATION_SCALED] = "scaled",
    [GDN_RELATION_DECODE_IS_PREFILL] = "decode_is_prefill",
    [GDN_RELATION_MIXED_IS_SEPARATE] = "mixed_is_separate",
    [GDN_RELATION_VERIFY_IS_DECODE] = "verify_is_decode",
    [GDN_RELATION_REPEATED] = "repeated",
    [GDN_RELATION_HEADS_PERMUTED] = "heads_permuted",
    [GDN_RELATION_LANES_PERMUTED] = "lanes_permuted",
    [GDN_RELATION_REQUERIED] = "requeried",
    [GDN_RELATION_RECALLED] = "recalled",
    [GDN_RELATION_COMMUTED] = "commuted",
    [GDN_RELATION_REUSED] = "reused",
    [GDN_RELATION_COUNT] = NULL,
};

/* The order is that of the written form. The layout's default is the profile's, that of
 * `chunked` the batch's. */
static const member MEMBERS[] = {
    {"op", NAME, AT(op), 0, GDN_OP_COUNT - 1, OP_NAMES, true, 0, ALL_OPS, false},
    {"profile", TEXT, AT(profile), 0, 0, NULL, true, 0, ALL_OPS, false},
    {"model", TEXT, AT(model), 0, 0, NULL, false, 0, EVERY, false},
    {"batch", TEXT, AT(batch), 0, 0, NULL, true, 0, EVERY, false},
    {"num_k_heads", INTEGER, AT(num_k_heads), 1, 1024, NULL, true, 0, EVERY, false},
    {"num_v_heads", INTEGER, AT(num_v_heads), 1, 1024, NULL, true, 0, EVERY, false},
    {"head_k_dim", INTEGER, AT(head_k_dim), 1, 1024, NULL, true, 0, EVERY, false},
    {"head_v_dim", INTEGER, AT(head_v_dim), 1, 1024, NULL, true, 0, EVERY, false},
    {"conv_width", INTEGER, AT(conv_width), 1, 8, NULL, false, 4, EVERY, false},
    {"tp_size", INTEGER, AT(tp_size), 1, 1024, NULL, false, 1, EVERY, false},
    {"qkvz_layout", NAME, AT(conventions.qkvz_layout), 0, 1,
     NAMES("interleaved", "separate"), false, -1, ATTENTION, false},
    {"dtype", NAME, AT(dtype), GDN_FP32, GDN_BF16, DTYPE_NAMES, false, GDN_BF16,
     NUMERIC | TYPED, false},
    {"state_dtype", NAME, AT(state_dtype), GDN_FP32, GDN_BF16, DTYPE_NAMES, false, GDN_FP32,
     DELTA | ATTENTION, false},
    {"conv_bias", BOOLEAN, AT(conv_bias), 0, 1, NULL, false, 0, CONV1D | ATTENTION, false},
    {"order", NAME, AT(order), 0, GDN_ROWS_SCATTERED,
     NAMES("grouped", "interleaved", "scattered"), false, 0, ATTENTION, false},
    {"initial", NAME, AT(initial), 0, GDN_INITIAL_ABSENT,
     NAMES("mixed", "all", "none", "absent"), false, 0, STATEFUL | METADATA, false},
    {"accepted", NAME, AT(accepted), 0, GDN_ACCEPTED_ABSENT,
     NAMES("cycle", "full", "one", "absent"), false, 0, STATEFUL | METADATA, false},
    {"gates", NAME, AT(gates), 0, GDN_GATES_FUSED, NAMES("given", "fused"), false, 0, DELTA,
     true},
    {"chunked", BOOLEAN, AT(chunked), 0, 1, NULL, false, -1, DELTA, true},
    {"l2norm", BOOLEAN, AT(l2norm), 0, 1, NULL, false, 1, DELTA, true},
    {"pad_rows", INTEGER, AT(pad_rows), 0, 65536, NULL, false, 0, ATTENTION, false},
    {"page_bytes", INTEGER, AT(page_bytes), 0, INT64_C(1) << 30, NULL, false, 0, STATEFUL,
     false},
    {"misaligned", BOOLEAN, AT(misaligned), 0, 1, NULL, false, 0, ALL_OPS, false},
    {"fill", NAME, AT(fill), 0, GDN_FILL_LATTICE_ALPHA0,
     NAMES("normal", "model", "lattice", "lattice-alpha0"), false, 0, NUMERIC, false},
    {"seed", INTEGER, AT(seed), 0, INT64_MAX, NULL, false, 0, ALL_OPS, false},
    {"tree", NAME, AT(tree), 0, GDN_TREE_CATERPILLAR,
     NAMES("none", "star", "binary", "caterpillar"), false, 0, CONV1D | DELTA, true},
    {"conv_rows", INTEGER, AT(conv_rows), 0, 4096, NULL, false, 0, CONV1D | ATTENTION,
     true},
    {"relation", NAME, AT(relation), 0, GDN_RELATION_COUNT - 1, GDN_RELATION_NAMES, false,
     0, STATEFUL | GATING, true},
    {"dye", NAME, AT(dye), 0, GDN_DYE_UNREAD, GDN_DYE_NAMES, false, 0, NUMERIC & ~PACK,
     true},
    {"row_bytes", INTEGER, AT(row_bytes), 0, INT64_C(1) << 30, NULL, false, 0, STATEFUL | GATING, true},
    {"refuse", OPTIONAL, AT(refuse), 0, 0, NULL, false, 0, EVERY & ~PACK, true},
    {"mode", NAME, AT(verify.mode), 0, GDN_MODE_COUNT - 1, GDNP_MODE_NAMES, false, 0,
     VERIFY, false},
    {"scenario", NAME, AT(verify.scenario), 0, GDN_SCENARIO_COUNT - 1, GDNP_SCENARIO_NAMES,
     false, 0, VERIFY, false},
    {"slots", INTEGER, AT(verify.slots), 1, 256, NULL, false, 6, VERIFY, false},
    {"drafts", INTEGER, AT(verify.drafts), 1, 32, NULL, false, 4, VERIFY, false},
    {"vocab", INTEGER, AT(verify.vocab), 8, 65536, NULL, false, 16, VERIFY & ~TOKENLESS,
     false},
    {"candidates", INTEGER, AT(verify.candidates), 1, 16, NULL, false, 4,
     WINDOWED | OP_BIT(TOP_P_CANDIDATES), false},
    {"window", INTEGER, AT(verify.window), 0, 32, NULL, false, 2, WINDOWED, false},
    {"steps", INTEGER, AT(verify.steps), 0, 100000, NULL, false, 0, VERIFIERS, true},
};

#define N_MEMBERS (sizeof MEMBERS / sizeof MEMBERS[0])

_Static_assert(sizeof(gdn_op) == sizeof(int) && sizeof(gdn_dtype) == sizeof(int) &&
                   sizeof(gdn_row_order) == sizeof(int),
               "enum members are accessed as int");

static int64_t get_value(const gdn_case *test, const member *m) {
    const char *at = (const char *)test + m->offset;
    if (m->kind == BOOLEAN) {
        return *(const bool *)at ? 1 : 0;
    }
    return m->kind == NAME ? *(const int *)(const void *)at
                           : *(const int64_t *)(const void *)at;
}

static void set_value(gdn_case *test, const member *m, int64_t value) {
    char *at = (char *)test + m->offset;
    if (m->kind == BOOLEAN) {
        *(bool *)at = value != 0;
    } else if (m->kind == NAME) {
        *(int *)(void *)at = (int)value;
    } else {
        *(int64_t *)(void *)at = value;
    }
}

static gdn_status read_name(int64_t *value, const member *m, const json_t *json,
                            gdn_error *err) {
    const char *allowed[GDN_OP_COUNT + 1] = {NULL}; /* nothing has more names than ops */
    for (int64_t i = m->low; i <= m->high; i++) {
        allowed[i - m->low] = m->names[i];
    }
    const char *name = json_string_value(json);
    if (!name) {
        char expected[512];
        gdn_names_text(expected, sizeof expected, allowed);
        return gdn_json_unexpected(err, GDN_ERR_ARG, m->name, expected, json);
    }
    for (*value = m->low; *value <= m->high; ++*value) {
        if (strcmp(m->names[*value], name) == 0) {
            return GDN_OK;
        }
    }
    return gdn_error_unknown(err, GDN_ERR_ARG, m->name, name, allowed);
}

static gdn_status read_text(gdn_case *test, const member *m, const json_t *json,
                            gdn_error *err) {
    if (!json && m->kind == OPTIONAL) {
        return GDN_OK;
    }
    const char *text = json ? json_string_value(json) : "custom";
    if (!text || text[0] == '\0') {
        return gdn_json_unexpected(err, GDN_ERR_ARG, m->name, "text", json);
    }
    char **target = (char **)(void *)((char *)test + m->offset);
    if (*target) {
        return GDN_OK; /* the profile, whose name is already complete */
    }
    *target = strdup(text);
    return *target ? GDN_OK : gdn_error_set(err, GDN_ERR_OOM, "no memory for a case");
}

static gdn_status read_member(gdn_case *test, const member *m, const json_t *json,
                              gdn_error *err) {
    int64_t value = m->otherwise;
    if (!json && m->required && (m->ops & (1U << test->op))) {
        return gdn_error_set(err, GDN_ERR_ARG, "%s: expected a value but found nothing",
                             m->name);
    }
    if (m->kind == TEXT || m->kind == OPTIONAL) {
        return read_text(test, m, json, err);
    }
    if (json && m->kind == NAME) {
        GDN_TRY(read_name(&value, m, json, err));
    } else if (json && m->kind == BOOLEAN) {
        if (!json_is_boolean(json)) {
            return gdn_json_unexpected(err, GDN_ERR_ARG, m->name, "true or false", json);
        }
        value = json_is_true(json) ? 1 : 0;
    } else if (json) {
        value = json_integer_value(json);
        if (!json_is_integer(json) || value < m->low || value > m->high) {
            char expected[96];
            snprintf(expected, sizeof expected, "an integer in [%lld, %lld]",
                     (long long)m->low, (long long)m->high);
            return gdn_json_unexpected(err, GDN_ERR_ARG, m->name, expected, json);
        }
    }
    if (value >= 0) {
        set_value(test, m, value);
    }
    return GDN_OK;
}

static json_t *member_json(const gdn_case *test, const member *m) {
    const bool text = m->kind == TEXT || m->kind == OPTIONAL;
    const int64_t value = text ? 0 : get_value(test, m);
    switch (m->kind) {
    case TEXT:
    case OPTIONAL:
        return json_string(*(char *const *)(const void *)((const char *)test + m->offset));
    case BOOLEAN:
        return json_boolean(value != 0);
    case NAME:
        return json_string(m->names[value]);
    case INTEGER:
        break;
    }
    return json_integer(value);
}

/* The value must be the default because nothing reads it. */
static gdn_status refuse_idle(const gdn_case *test, const member *m, int64_t otherwise,
                              const char *why, gdn_error *err) {
    if (get_value(test, m) == otherwise) {
        return GDN_OK;
    }
    char expected[160];
    gdn_case plain = {.op = test->op};
    set_value(&plain, m, otherwise);
    json_t *normal = member_json(&plain, m);
    json_t *found = member_json(test, m);
    char *text = normal ? json_dumps(normal, JSON_ENCODE_ANY) : NULL;
    snprintf(expected, sizeof expected, "%s, because %s", text ? text : "the default", why);
    const gdn_status status =
        gdn_json_unexpected(err, GDN_ERR_ARG, m->name, expected, found);
    free(text);
    json_decref(normal);
    json_decref(found);
    return status;
}

/* The default of members whose row has none. */
static int64_t default_of(const gdn_case *test, const member *m, int64_t profile_layout) {
    if (m->otherwise >= 0) {
        return m->otherwise;
    }
    return m->offset == AT(chunked) ? gdnp_case_has_chunks(test) : profile_layout;
}

/* Members that the op, or the batch, makes no use of. */
static gdn_status check_members(const gdn_case *test, int64_t profile_layout,
                                gdn_error *err) {
    const bool verify = gdn_op_is_verify(test->op);
    const bool spec = verify || gdnp_case_has_spec(test);
    const bool non_spec = verify || gdnp_case_has_non_spec(test);
    const bool buffer = test->conventions.spec_state == GDN_SPEC_BUFFER;
    for (size_t i = 0; i < N_MEMBERS; i++) {
        const member *m = &MEMBERS[i];
        const bool is_initial = m->offset == AT(initial);
        const bool is_accepted = m->offset == AT(accepted);
        const bool is_tree = m->offset == AT(tree);
        char why[96] = "";
        if (m->kind != TEXT && m->kind != OPTIONAL && !(m->ops & (1U << test->op))) {
            snprintf(why, sizeof why, "%s does not read it", gdn_op_get(test->op)->name);
        } else if (is_initial && !non_spec) {
            snprintf(why, sizeof why, "speculative sequences always have a state");
        } else if ((is_accepted || is_tree) && !spec) {
            snprintf(why, sizeof why, "the batch has no speculative sequences");
        } else if (m->offset == AT(chunked) && spec) {
            snprintf(why, sizeof why, "speculative sequences are not chunked");
        } else if (is_tree && !buffer) {
            snprintf(why, sizeof why, "the profile gives each draft column a slot");
        } else if (is_accepted && buffer && test->op == GDN_OP_CAUSAL_CONV1D) {
            snprintf(why, sizeof why, "the profile's convolution takes no count");
        }
        if (why[0]) {
            GDN_TRY(refuse_idle(test, m, default_of(test, m, profile_layout), why, err));
        }
    }
    return GDN_OK;
}

static gdn_status check_idle(const gdn_case *test, int64_t profile_layout, gdn_error *err) {
    const bool spec = gdnp_case_has_spec(test);
    GDN_TRY(check_members(test, profile_layout, err));
    if (test->accepted == GDN_ACCEPTED_ABSENT &&
        test->conventions.spec_state != GDN_SPEC_BUFFER) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "accepted: expected cycle, full or one, because profile %s "
                             "finds states by the counts, but found \"absent\"",
                             test->profile);
    }
    if (test->order == GDN_ROWS_SCATTERED && !spec) {
        return gdn_error_set(
            err, GDN_ERR_ARG,
            "order: expected grouped or interleaved, because the batch has "
            "no speculative sequences, but found \"scattered\"");
    }
    if (test->op == GDN_OP_GDN_METADATA && test->initial == GDN_INITIAL_ABSENT) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "initial: expected mixed, all, none, because the flags are an "
                             "output of gdn_metadata, but found \"absent\"");
    }
    return GDN_OK;
}

static gdn_status check_op(const gdn_profile *profile, gdn_op op, gdn_error *err) {
    const char *offered[GDN_OP_COUNT + 1] = {NULL};
    size_t n = 0;
    for (int i = 0; i < GDN_OP_COUNT; i++) {
        if (profile->ops[i]) {
            offered[n++] = OP_NAMES[i];
        }
    }
    if (profile->ops[op]) {
        return GDN_OK;
    }
    char what[160];
    snprintf(what, sizeof what, "op of profile %.120s", profile->name);
    return gdn_error_unknown(err, GDN_ERR_ARG, what, OP_NAMES[op], offered);
}

static gdn_status read_case(gdn_case *test, const json_t *json, const gdn_profile *profile,
                            gdn_error *err) {
    const int64_t layout = profile->conventions.qkvz_layout;
    test->conventions = profile->conventions;
    for (size_t i = 0; i < N_MEMBERS; i++) {
        GDN_TRY(
            read_member(test, &MEMBERS[i], json_object_get(json, MEMBERS[i].name), err));
    }
    GDN_TRY(check_op(profile, test->op, err));
    if (gdn_op_is_verify(test->op)) {
        GDN_TRY(check_members(test, layout, err));
        GDN_TRY(gdnp_verify_case_check(test, err));
        GDN_TRY(gdnp_draws_case_check(test, err));
        GDN_TRY(gdnp_loop_case_check(test, profile->ops, err));
        return gdnp_verify_case_set_id(test, err);
    }
    GDN_TRY(gdnp_case_check_shapes(test, err));
    GDN_TRY(gdnp_case_expand_batch(test, profile->ragged_spec, err));
    if (!json_object_get(json, "chunked")) {
        test->chunked = gdnp_case_has_chunks(test);
    }
    GDN_TRY(check_idle(test, layout, err));
    GDN_TRY(gdnp_case_check_values(test, err));
    GDN_TRY(gdnp_case_set_label(test, err));
    return gdnp_case_set_id(test, err);
}

gdn_status gdn_case_from_json(gdn_case *test, const json_t *json, const char *profile_dir,
                              gdn_error *err) {
    *test = (gdn_case){0};
    const char *names[N_MEMBERS + 1] = {NULL};
    for (size_t i = 0; i < N_MEMBERS; i++) {
        names[i] = MEMBERS[i].name;
    }
    const char *name = NULL;
    gdn_profile profile = {0};
    GDN_TRY(gdn_json_members(json, GDN_ERR_ARG, "case", names, err));
    GDN_TRY(gdn_json_text(&name, json, "profile", GDN_ERR_ARG, "case", err));
    GDN_TRY(gdn_profile_load(&profile, profile_dir, name, err));
    test->profile = strdup(profile.name);
    gdn_status status =
        test->profile ? GDN_OK : gdn_error_set(err, GDN_ERR_OOM, "no memory for a case");
    test->validates = profile.validates;
    test->upstream = profile.upstream;
    memcpy(test->claims, profile.claims, sizeof test->claims);
    test->upstream_state = profile.upstream_state;
    if (status == GDN_OK) {
        status = read_case(test, json, &profile, err);
    }
    gdn_profile_destroy(&profile);
    if (status != GDN_OK) {
        gdn_case_destroy(test);
    }
    return status;
}

json_t *gdn_case_to_json(const gdn_case *test) {
    json_t *json = json_object();
    for (size_t i = 0; i < N_MEMBERS; i++) {
        const member *m = &MEMBERS[i];
        const bool read = m->ops & (1U << test->op);
        /* Ops of the recurrence write every one of their own members, idle ones too. */
        const bool family = (m->ops & EVERY) && !gdn_op_is_verify(test->op);
        if ((!read && !family) || (m->kind == OPTIONAL && !test->refuse) ||
            (m->kind != OPTIONAL && m->spare &&
             get_value(test, m) == default_of(test, m, 0))) {
            continue;
        }
        if (json_object_set_new(json, m->name, member_json(test, m)) < 0) {
            json_decref(json);
            return NULL;
        }
    }
    return json;
}

void gdn_case_destroy(gdn_case *test) {
    free(test->id);
    free(test->profile);
    free(test->model);
    free(test->batch);
    free(test->refuse);
    free(test->sequences);
    *test = (gdn_case){0};
}

int64_t gdn_case_tokens(const gdn_case *test) {
    int64_t tokens = 0;
    for (size_t i = 0; i < test->n_sequences; i++) {
        tokens += test->sequences[i].length;
    }
    return tokens;
}
