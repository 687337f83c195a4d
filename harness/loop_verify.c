/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Verification and commit of the loop. Everything is certain at temperature 0: laws have
 * one token, the candidates of a row are one, and every strategy has to say the same. */
#include <string.h>

#include "gdn/verify.h"
#include "loop_stages.h"

#define VOCAB GDNP_LOOP_VOCAB

static void set_int(gdnp_stage *stage, const char *name, int64_t at, int64_t value) {
    gdn_problem_set_int(&stage->problem, name, at, value);
}

/* The law that has one token. */
static void set_certain(gdnp_stage *stage, const char *name, int64_t row, int64_t token) {
    const gdn_tensor *t = gdnp_tensor(stage, name);
    for (int64_t i = 0; t && i < VOCAB; i++) {
        gdn_store(t->data, t->dtype, row * VOCAB + i, i == token);
    }
}

static void set_all(gdnp_stage *stage, const char *name, double value) {
    const gdn_tensor *t = gdnp_tensor(stage, name);
    for (int64_t i = 0; t && i < gdn_tensor_count(t); i++) {
        gdn_store(t->data, t->dtype, i, value);
    }
}

/* An even seed: paths as long as the drafts are. */
gdn_status gdnp_verifier_create(gdnp_stage *stage, const gdn_case *test, gdn_error *err) {
    stage->test = *test;
    stage->test.id = strdup(test->id);
    stage->test.profile = strdup(test->profile);
    stage->test.model = stage->test.batch = NULL;
    stage->test.seed = 2 * test->seed;
    stage->test.verify.steps = 0;
    if (!stage->test.id || !stage->test.profile) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a stage of %s", test->id);
    }
    return gdn_problem_create(&stage->problem, &stage->test, err);
}

/* Some requests draft less than others, where the op can take it. */
int64_t gdnp_verifier_drafts(gdnp_stage *stage, int64_t b) {
    const gdn_tensor *n = gdnp_tensor(stage, "seq_lens_this_time");
    const gdn_tensor *ends = gdnp_tensor(stage, "cu_num_draft_tokens");
    if (n) {
        return gdn_tensor_int(n, b, 0) - 1;
    }
    if (ends) {
        return gdn_tensor_int(ends, b, 0) - (b > 0 ? gdn_tensor_int(ends, b - 1, 0) : 0);
    }
    return stage->test.verify.drafts;
}

/* verify_draft_tokens: the set of a row is the target's token; what stands behind it in the
 * row nobody drafts. */
static void fill_slots(gdnp_stage *stage, const int64_t *rows, const int64_t *targets) {
    const int64_t Q = stage->test.verify.drafts + 1;
    const gdn_tensor *ends = gdnp_tensor(stage, "end_tokens");
    for (int64_t i = 0; i < ends->shape[0]; i++) {
        set_int(stage, "end_tokens", i, 1000 + i);
    }
    for (int64_t b = 0; b < stage->test.verify.slots; b++) {
        const int64_t first =
            gdn_tensor_int(gdnp_tensor(stage, "cu_seqlens_q_output"), b, 0);
        for (int64_t i = 0; i < Q; i++) {
            set_int(stage, "step_input_ids", b * Q + i, rows[b * Q + i]);
        }
        for (int64_t i = 0; i <= gdnp_verifier_drafts(stage, b); i++) {
            const int64_t target = targets[b * Q + i];
            set_int(stage, "target_tokens", first + i, target);
            set_int(stage, "candidate_lens", first + i, 1);
            const int64_t C = stage->test.verify.candidates;
            for (int64_t k = 0; k < C; k++) {
                set_int(stage, "candidate_ids", (first + i) * C + k,
                        k == 0 ? target : VOCAB + k);
            }
        }
    }
    const gdn_tensor *scores = gdnp_tensor(stage, "candidate_scores");
    for (int64_t i = 0; scores && i < gdn_tensor_count(scores); i++) {
        gdn_store(scores->data, scores->dtype, i, i % scores->shape[1] == 0);
    }
}

static void fill_rejection(gdnp_stage *stage, const int64_t *rows, const int64_t *targets) {
    const int64_t Q = stage->test.verify.drafts + 1;
    int64_t row = 0;
    for (int64_t b = 0; b < stage->test.verify.slots; b++) {
        const int64_t drafts = gdnp_verifier_drafts(stage, b);
        for (int64_t i = 0; i < drafts; i++, row++) {
            set_int(stage, "draft_token_ids", row, rows[b * Q + i + 1]);
            set_int(stage, "target_tokens", row, targets[b * Q + i]);
            set_certain(stage, "target_probs", row, targets[b * Q + i]);
            set_certain(stage, "draft_probs", row, rows[b * Q + i + 1]);
        }
        set_int(stage, "bonus_token_ids", b, targets[b * Q + drafts]);
    }
}

/* Chains: node i+1 follows node i. The scratch is zeroed by who promised to. */
static void fill_tree(gdnp_stage *stage, const int64_t *rows, const int64_t *targets) {
    const int64_t Q = stage->test.verify.drafts + 1;
    const bool chain = stage->test.op == GDN_OP_CHAIN_SPECULATIVE_SAMPLING;
    const bool trusted = stage->test.conventions.verify.scratch == GDN_SCRATCH_TRUSTED;
    for (int64_t b = 0; b < stage->test.verify.slots; b++) {
        for (int64_t i = 0; i < Q; i++) {
            const int64_t at = b * Q + i;
            set_int(stage, "candidates", at, rows[at]);
            set_int(stage, "retrive_next_token", at, i + 1 < Q ? i + 1 : -1);
            set_int(stage, "retrive_next_sibling", at, -1);
            set_int(stage, "target_predict", at, targets[at]);
            set_certain(stage, "target_probs", at, targets[at]);
            if (chain && i > 0) {
                set_certain(stage, "draft_probs", b * (Q - 1) + i - 1, rows[at]);
            }
        }
    }
    if (!chain && trusted) {
        set_all(stage, "draft_probs", 0.0);
    }
}

void gdnp_verifier_fill(gdnp_stage *stage, const int64_t *rows, const int64_t *targets) {
    if (stage->test.op == GDN_OP_VERIFY_DRAFT_TOKENS) {
        fill_slots(stage, rows, targets);
    } else if (stage->test.op == GDN_OP_REJECTION_SAMPLE) {
        fill_rejection(stage, rows, targets);
    } else {
        fill_tree(stage, rows, targets);
    }
}

/* accept_token_num leaves out the token that nobody drafted. */
static int64_t read_tree(gdnp_stage *stage, int64_t b, int64_t *tokens) {
    const int64_t Q = stage->test.verify.drafts + 1;
    const gdn_tensor *path = gdnp_tensor(stage, "accept_index");
    const gdn_tensor *predicts = gdnp_tensor(stage, "predicts");
    const int64_t count = gdn_tensor_int(gdnp_tensor(stage, "accept_token_num"), b, 0) + 1;
    for (int64_t i = 0; i < count && i < Q; i++) {
        const int64_t node = gdn_tensor_int(path, b, i);
        const bool there = node >= 0 && node < predicts->shape[0];
        tokens[i] = there ? gdn_tensor_int(predicts, node, 0) : -1;
    }
    return count;
}

int64_t gdnp_verifier_read(gdnp_stage *stage, int64_t b,
                           int64_t tokens[GDNP_LOOP_COLUMNS]) {
    const bool slots = stage->test.op == GDN_OP_VERIFY_DRAFT_TOKENS;
    for (int64_t i = 0; i < GDNP_LOOP_COLUMNS; i++) {
        tokens[i] = -1;
    }
    if (!slots && stage->test.op != GDN_OP_REJECTION_SAMPLE) {
        return read_tree(stage, b, tokens);
    }
    const gdn_tensor *ids =
        gdnp_tensor(stage, slots ? "step_output_ids" : "output_token_ids");
    const int64_t count =
        gdn_tensor_int(gdnp_tensor(stage, slots ? "step_output_len" : "num_sampled"), b, 0);
    for (int64_t i = 0; i < count && i < ids->shape[1]; i++) {
        tokens[i] = gdn_tensor_int(ids, b, i);
    }
    return count;
}

/* ---- the commit ---- */

/* Slots in the layer's own order; requests in a buffer by the place of their rows. */
static void fill_slot_table(gdnp_stage *stage, gdnp_layer *layer) {
    const gdn_tensor *slots = gdnp_tensor(&layer->delta, "state_indices");
    const gdn_tensor *places = gdnp_tensor(&layer->delta, "intermediate_indices");
    const int64_t Q = stage->test.verify.drafts + 1;
    for (int64_t b = 0; b < stage->test.verify.slots; b++) {
        for (int64_t i = 0; i < Q; i++) {
            set_int(stage, "slot_table", b * Q + i,
                    gdn_tensor_int(slots, b, slots->rank > 1 ? i : 0));
        }
        set_int(stage, "src_indices", b, places ? gdn_tensor_int(places, b, 0) / Q : 0);
    }
}

gdn_status gdnp_commit_create(gdnp_stage *stage, const gdn_case *test, gdnp_layer *layer,
                              const char *profiles, gdn_error *err) {
    json_t *json = json_pack("{s:s, s:s, s:I, s:I}", "op", "state_commit", "profile",
                             test->profile, "slots", (json_int_t)test->verify.slots,
                             "drafts", (json_int_t)test->verify.drafts);
    gdn_status status =
        json ? gdn_case_from_json(&stage->test, json, profiles, err)
             : gdn_error_set(err, GDN_ERR_OOM, "no memory for a stage of %s", test->id);
    json_decref(json);
    GDN_TRY(status);
    stage->test.conventions = test->conventions;
    const gdn_tensor *ssm = gdnp_tensor(&layer->delta, "ssm_state");
    const gdn_tensor *conv = gdnp_tensor(&layer->conv, "conv_state");
    const gdn_tensor *states = gdnp_tensor(&layer->delta, "intermediate_state");
    const int64_t B = test->verify.slots, A = test->verify.drafts + 1;
    const int64_t Z = states ? states->shape[0] / A : 1, I = ssm->shape[0];
    const int64_t X = gdn_tensor_row_count(ssm), W = conv->shape[1], C = conv->shape[2];
#define DENSE(name, type, ...)                                                             \
    gdn_tensor_dense(name, NULL, type,                                                     \
                     (int)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),      \
                     (const int64_t[]){__VA_ARGS__})
    const gdn_tensor shapes[] = {
        DENSE("ssm_states", GDN_FP32, 1, I, X),
        DENSE("intermediate", GDN_FP32, 1, Z, A, X),
        DENSE("conv_states", GDN_BF16, 1, I, W, C),
        DENSE("slot_table", GDN_I32, B, A),
        DENSE("src_indices", GDN_I32, B),
        DENSE("last_steps", GDN_I32, B),
        DENSE("live_slots", GDN_I32, B),
        DENSE("intermediate_conv", GDN_BF16, 1, Z, A, W, C),
    };
    const bool windows = gdnp_tensor(&layer->conv, "intermediate_conv_window") != NULL;
    const size_t count = sizeof shapes / sizeof shapes[0] - !windows;
    GDN_TRY(gdn_problem_create_shaped(&stage->problem, &stage->test, shapes, count, err));
    fill_slot_table(stage, layer);
    set_all(stage, "intermediate", 0.0);
    set_all(stage, "live_slots", -1.0);
    return gdn_arena_freeze(&stage->problem.arena, err);
}

static void copy_pool(const gdn_tensor *to, const gdn_tensor *from) {
    if (to && from) {
        memcpy(to->data, from->data,
               (size_t)gdn_tensor_count(from) * gdn_dtype_size(from->dtype));
    }
}

void gdnp_commit_fill(gdnp_stage *stage, gdnp_layer *layer, const int64_t *counts) {
    copy_pool(gdnp_tensor(stage, "ssm_states"), gdnp_tensor(&layer->delta, "ssm_state"));
    copy_pool(gdnp_tensor(stage, "conv_states"), gdnp_tensor(&layer->conv, "conv_state"));
    copy_pool(gdnp_tensor(stage, "intermediate"),
              gdnp_tensor(&layer->delta, "intermediate_state"));
    copy_pool(gdnp_tensor(stage, "intermediate_conv"),
              gdnp_tensor(&layer->conv, "intermediate_conv_window"));
    for (int64_t b = 0; b < stage->test.verify.slots; b++) {
        set_int(stage, "last_steps", b, counts[b] - 1);
    }
}

/* By index the live slot is some column's; moved, it is the first one again. */
void gdnp_commit_read(gdnp_stage *stage, gdnp_layer *layer) {
    const int64_t Q = stage->test.verify.drafts + 1;
    copy_pool(gdnp_tensor(&layer->delta, "ssm_state"), gdnp_tensor(stage, "ssm_states"));
    copy_pool(gdnp_tensor(&layer->conv, "conv_state"), gdnp_tensor(stage, "conv_states"));
    for (int64_t b = 0; b < stage->test.verify.slots; b++) {
        const int64_t live = gdn_tensor_int(gdnp_tensor(stage, "live_slots"), b, 0);
        int64_t column = 0;
        while (column + 1 < Q &&
               gdn_tensor_int(gdnp_tensor(stage, "slot_table"), b, column) != live) {
            column++;
        }
        set_int(&layer->conv, "num_accepted_tokens", b, column + 1);
        set_int(&layer->delta, "num_accepted_tokens", b, column + 1);
    }
}
