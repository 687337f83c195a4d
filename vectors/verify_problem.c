/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Sizes and tensors of a verification case. Shapes come from the op table, so that only
 * what a letter is worth has to be said here. */
#include <assert.h>
#include <ctype.h>
#include <string.h>

#include "fill.h"
#include "problem_tensors.h"
#include "verify_plan.h"

#define TOPK       3
#define DEPTH      4
#define LAYERS     2
#define FREE_SLOTS 2

static int64_t kept_of(const gdn_case *test, int64_t b, int64_t drafts) {
    switch (test->verify.scenario) {
    case GDN_SCENARIO_ALL:
    case GDN_SCENARIO_ENDS:
    case GDN_SCENARIO_FORCED:
        return drafts;
    case GDN_SCENARIO_NONE:
        return 0;
    default:
        return (int64_t)((test->seed + (uint64_t)b) % (uint64_t)(drafts + 1));
    }
}

/* Ragged: every third request drafts less. One without drafts is among them wherever the op
 * can take it. */
static void plan_requests(gdn_verify_plan *plan, const gdn_case *test) {
    const gdn_verify_case *v = &test->verify;
    const bool states = v->scenario == GDN_SCENARIO_STATES;
    const bool fixed = gdn_case_is_sampled(test) || test->op == GDN_OP_VERIFY_TREE_GREEDY ||
                       test->op == GDN_OP_TREE_SPECULATIVE_SAMPLING ||
                       test->op == GDN_OP_CHAIN_SPECULATIVE_SAMPLING ||
                       test->op == GDN_OP_STATE_COMMIT;
    for (int64_t b = 0; b < v->slots; b++) {
        gdn_verify_request *r = &plan->requests[b];
        const int64_t drafts = !fixed && b % 3 == 2 ? b % (v->drafts + 1) : v->drafts;
        r->tokens = 1 + drafts;
        r->kept = kept_of(test, b, drafts);
        r->blocked = states && b % 5 == 1;
        r->stopped = states && b % 5 == 2;
        r->encoder = states && b % 5 == 3 ? 7 : 0;
        r->thinking = states && b % 5 == 4;
    }
}

/* Two slots of padding behind the live ones. */
static int64_t live_slots(const gdn_case *test) {
    return test->verify.scenario == GDN_SCENARIO_STATES ? test->verify.slots - 2
                                                        : test->verify.slots;
}

static void place_rows(gdn_verify_plan *plan, const gdn_case *test) {
    const bool drafts_only = test->op == GDN_OP_REJECTION_SAMPLE;
    const bool all = test->op == GDN_OP_TOP_P_CANDIDATES ||
                     test->op == GDN_OP_BUILD_SAMPLING_PARAMS ||
                     test->op == GDN_OP_NAIVE_UPDATE_MODEL_STATUS || drafts_only;
    const int64_t slots = all ? test->verify.slots : live_slots(test);
    int64_t row = 0;
    for (int64_t b = 0; b < slots; b++) {
        gdn_verify_request *r = &plan->requests[b];
        r->first = row;
        row += r->encoder > 0 && !drafts_only ? 1 : r->tokens - drafts_only;
    }
    plan->size['T'] = row;
    plan->size['N'] = row;
    plan->size['R'] = live_slots(test);
}

/* adjust_batch and gather_next_token: every third slot prefills, every fourth is empty. */
static void plan_groups(gdn_verify_plan *plan, const gdn_case *test) {
    const bool spec =
        test->verify.mode == GDN_MODE_SPECULATIVE || test->op == GDN_OP_ADJUST_BATCH;
    int64_t prefills = 0, decodes = 0, encoded = 0, decoded = 0;
    for (int64_t b = 0; b < test->verify.slots; b++) {
        gdn_verify_request *r = &plan->requests[b];
        r->blocked = b % 4 == 3;
        r->encoder = b % 3 == 0 && !r->blocked ? 3 + b : 0;
        r->tokens = r->blocked   ? 0
                    : r->encoder ? r->encoder
                    : spec       ? 1 + b % (test->verify.drafts + 1)
                                 : 1;
        prefills += r->encoder > 0;
        decodes += !r->blocked && r->encoder == 0;
        encoded += r->encoder;
        decoded += r->encoder > 0 ? 0 : r->tokens;
    }
    plan->size['F'] = prefills;
    plan->size['K'] = decodes;
    plan->size['N'] = encoded + decoded;
    plan->size['O'] = spec ? prefills + decoded : test->verify.slots;
    plan->size['X'] = 8;
}

static int64_t mask_size(const gdn_case *test, int64_t nodes) {
    int64_t size = test->verify.slots * nodes * nodes;
    for (int64_t b = 0; test->verify.mode == GDN_MODE_FULL && b < test->verify.slots; b++) {
        size += nodes * (3 + b);
    }
    return size;
}

void gdn_verify_plan_make(gdn_verify_plan *plan, const gdn_case *test) {
    const gdn_verify_case *v = &test->verify;
    int64_t *size = plan->size;
    *plan = (gdn_verify_plan){.size = {0}};
    plan_requests(plan, test);
    place_rows(plan, test);
    size['B'] = v->slots;
    size['S'] = test->op == GDN_OP_REJECTION_SAMPLE ? v->drafts : v->drafts + 1;
    size['J'] = v->drafts + 1;
    size['C'] = test->op == GDN_OP_STATE_COMMIT ? 4 : v->candidates;
    size['E'] = v->scenario == GDN_SCENARIO_ENDS ? 40 : 2;
    size['V'] = v->vocab;
    size['D'] = v->drafts + 1;
    size['G'] = v->drafts;
    /* A path may be shorter than the tree is deep. */
    size['M'] = v->drafts > 2 && test->seed % 2 == 1 ? v->drafts : v->drafts + 1;
    size['P'] = size['B'] * size['D'];
    size['Q'] = TOPK * (DEPTH - 1) + 1;
    size['H'] = 16 + 2 * v->drafts;
    size['Y'] = mask_size(test, size['D']);
    size['U'] = 1;
    size['L'] = LAYERS;
    size['A'] = v->drafts + 1;
    size['I'] = 1 + v->slots * size['A'] + FREE_SLOTS;
    size['Z'] = v->slots;
    size['W'] = 3 + v->drafts;
    if (test->op == GDN_OP_STATE_COMMIT) {
        size['X'] = 12;
    } else if (test->op == GDN_OP_ADJUST_BATCH || test->op == GDN_OP_GATHER_NEXT_TOKEN) {
        plan_groups(plan, test);
    } else if (test->op == GDN_OP_BUILD_TREE) {
        size['G'] = v->drafts;
    }
}

static bool passed(const gdn_case *test, const char *name) {
    const gdn_verify_conventions *c = &test->conventions.verify;
    const gdn_verify_mode mode = test->verify.mode;
    if (strncmp(name, "candidate_", 10) == 0) {
        return mode == GDN_MODE_TOPP;
    }
    if (strcmp(name, "target_tokens") == 0) {
        return mode == GDN_MODE_GREEDY || mode == GDN_MODE_TARGET_MATCH ||
               mode == GDN_MODE_MATCH;
    }
    if (strcmp(name, "max_dec_len") == 0 || strcmp(name, "step_idx") == 0) {
        return test->op != GDN_OP_VERIFY_DRAFT_TOKENS || c->limits == GDN_LIMITS_GIVEN;
    }
    if (strcmp(name, "seed") == 0) {
        return c->draws == GDN_DRAWS_INTERNAL;
    }
    if (strcmp(name, "sampled_token_ids") == 0) {
        return mode == GDN_MODE_SAMPLED;
    }
    if (strcmp(name, "acceptance_rates") == 0) {
        return mode == GDN_MODE_SYNTHETIC;
    }
    if (test->op == GDN_OP_REJECTION_SAMPLE && strcmp(name, "draft_probs") == 0) {
        return gdn_case_is_sampled(test) ||
               test->seed % 3 != 2; /* without: the draft is certain */
    }
    if (strcmp(name, "tree_mask") == 0) {
        return mode != GDN_MODE_PACKED;
    }
    if (strcmp(name, "packed_mask") == 0) {
        return mode == GDN_MODE_PACKED;
    }
    return strcmp(name, "intermediate_conv") != 0 ||
           c->conv_commit == GDN_CONV_COMMIT_SCATTER;
}

static int64_t scalar_of(const gdn_case *test, const char *name) {
    const gdn_verify_case *v = &test->verify;
    const struct {
        const char *name;
        int64_t value;
    } values[] = {
        {"verify_window", v->window},
        {"verify_strategy", (int64_t)v->mode - GDN_MODE_TOPP},
        {"reject_all", v->scenario == GDN_SCENARIO_REFUSED},
        {"accept_all",
         v->scenario == GDN_SCENARIO_REFUSED || v->scenario == GDN_SCENARIO_FORCED},
        {"is_speculative", v->mode == GDN_MODE_SPECULATIVE},
        {"max_bsz", v->slots},
        {"increment_value", 4 * (v->drafts + 1)},
        {"enable_topp", 1 - (int64_t)(test->seed % 2)},
        {"benchmark_mode", v->scenario == GDN_SCENARIO_REFUSED},
        {"accept_all_drafts", v->scenario == GDN_SCENARIO_FORCED},
        {"compare", (int64_t)v->mode - GDN_MODE_CANDIDATES},
        {"prefill_one_step_stop", (int64_t)(test->seed % 2)},
        {"real_bsz", live_slots(test)},
        {"max_model_len", 16 + 2 * v->drafts},
        {"is_naive_mode", v->mode == GDN_MODE_NAIVE},
        {"method", (int64_t)v->mode - GDN_MODE_STANDARD},
        {"block", v->mode == GDN_MODE_BLOCK},
        {"topk", TOPK},
        {"depth", DEPTH},
        {"tree_mask_mode", (int64_t)v->mode - GDN_MODE_FULL},
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        if (strcmp(values[i].name, name) == 0) {
            return values[i].value;
        }
    }
    assert(false && "every scalar has a value");
    return 0;
}

void gdn_verify_shapes_of(gdn_shapes *shapes, const gdn_case *test) {
    const gdn_op_info *info = gdn_op_get(test->op);
    gdn_verify_plan plan;
    *shapes = (gdn_shapes){0};
    gdn_verify_plan_make(&plan, test);
    for (size_t i = 0; i < info->n_arguments; i++) {
        const gdn_argument *a = &info->arguments[i];
        int64_t shape[GDN_MAX_RANK] = {0};
        int rank = 0;
        if (a->optional && !passed(test, a->name)) {
            continue;
        }
        for (const char *s = a->shape; *s; s++) {
            shape[rank++] = plan.size[toupper((unsigned char)*s)] +
                            (islower((unsigned char)*s) ? 1 : 0);
        }
        const gdn_dtype dtype = a->dtype == GDN_DTYPE_COUNT ? test->dtype : a->dtype;
        shapes->tensors[shapes->n_tensors++] =
            gdn_tensor_dense(a->name, NULL, dtype, rank, shape);
    }
    for (size_t i = 0; info->scalars[i]; i++) {
        shapes->scalars[shapes->n_scalars++] = (gdn_scalar){
            .name = info->scalars[i], .value = scalar_of(test, info->scalars[i])};
    }
}

int64_t gdn_verify_below(gdn_verify_filler *f, int64_t n) {
    const gdn_random random = {.seed = f->test->seed, .stream = GDN_FIELD_VERIFY};
    return gdn_random_below(&random, f->drawn++, (uint32_t)n);
}

double gdn_verify_coin(gdn_verify_filler *f) {
    return (double)(2 * gdn_verify_below(f, 256) + 1) / 512.0;
}

static int64_t offset_of(const gdn_tensor *t, int64_t i, int64_t j, int64_t k) {
    return i * t->stride[0] + (t->rank > 1 ? j * t->stride[1] : 0) +
           (t->rank > 2 ? k * t->stride[2] : 0);
}

void gdn_verify_set_int(gdn_verify_filler *f, const char *name, int64_t i, int64_t j,
                        int64_t value) {
    const gdn_tensor *t = gdn_arena_tensor(&f->problem->arena, name);
    if (!t) {
        return;
    }
    const int64_t at = offset_of(t, i, j, 0);
    if (t->dtype == GDN_I64) {
        ((int64_t *)t->data)[at] = value;
    } else if (t->dtype == GDN_I32) {
        ((int32_t *)t->data)[at] = (int32_t)value;
    } else {
        ((uint8_t *)t->data)[at] = value != 0;
    }
}

void gdn_verify_set_real(gdn_verify_filler *f, const char *name, int64_t i, int64_t j,
                         int64_t k, double value) {
    const gdn_tensor *t = gdn_arena_tensor(&f->problem->arena, name);
    if (t) {
        gdn_store(t->data, t->dtype, offset_of(t, i, j, k), value);
    }
}

int64_t gdn_verify_get_int(const gdn_verify_filler *f, const char *name, int64_t i,
                           int64_t j) {
    return gdn_tensor_int(gdn_arena_tensor(&f->problem->arena, name), i, j);
}

void gdn_verify_set_all(gdn_verify_filler *f, const char *name, double value) {
    const gdn_tensor *t = gdn_arena_tensor(&f->problem->arena, name);
    const int64_t count = t ? gdn_tensor_count(t) : 0;
    for (int64_t i = 0; i < count; i++) {
        gdn_store(t->data, t->dtype, i, value);
    }
}

double gdn_verify_law(int64_t rank, int64_t count) {
    const int64_t halves = count < 7 ? count - 1 : 6;
    if (rank < halves) {
        return 1.0 / (double)(INT64_C(2) << rank);
    }
    const int64_t rest = INT64_C(16384) >> halves;
    const int64_t share = rest / (count - halves);
    const int64_t more = rank == halves ? rest % (count - halves) : 0;
    return (double)(share + more) / 16384.0;
}
