/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Private to devices/cpu: what the ops of draft verification share. Laws are read as fp32
 * and decisions are made in fp32; ids and seeds stay integers throughout. */
#ifndef GDN_CPU_VERIFY_H
#define GDN_CPU_VERIFY_H

#include "cpu.h"
#include "cpu_convert.h"
#include "gdn/verify.h"

extern const cpu_op cpu_verify_draft_tokens;
extern const cpu_op cpu_top_p_candidates;
extern const cpu_op cpu_adjust_batch;
extern const cpu_op cpu_gather_next_token;
extern const cpu_op cpu_build_sampling_params;
extern const cpu_op cpu_speculate_verify;
extern const cpu_op cpu_unified_update;
extern const cpu_op cpu_naive_update;
extern const cpu_op cpu_rejection_sample;
extern const cpu_op cpu_verify_tree_greedy;
extern const cpu_op cpu_tree_sampling;
extern const cpu_op cpu_chain_sampling;
extern const cpu_op cpu_build_tree;
extern const cpu_op cpu_state_commit;

/* Shapes and types; the same for every op, from the op table. */
gdn_status cpu_verify_check(const gdn_call *call, gdn_error *err);

typedef gdn_status (*cpu_verify_op)(gdn_device *device, const gdn_call *call,
                                    gdn_error *err);

/* Runs an op with the draws that the call has, or, where they are internal, with its
 * own. */
gdn_status cpu_verify_drawn(gdn_device *device, const gdn_call *call, cpu_verify_op run,
                            gdn_error *err);

static inline const gdn_tensor *cpu_arg(const gdn_call *call, const char *name) {
    return gdn_call_tensor(call, name);
}

/* Element number `at` in C order of a dense integer tensor. */
static inline int64_t cpu_int(const gdn_tensor *t, int64_t at) {
    switch (t->dtype) {
    case GDN_I64:
        return ((const int64_t *)t->data)[at];
    case GDN_I32:
        return ((const int32_t *)t->data)[at];
    default:
        return ((const uint8_t *)t->data)[at];
    }
}

static inline void cpu_set_int(const gdn_tensor *t, int64_t at, int64_t value) {
    switch (t->dtype) {
    case GDN_I64:
        ((int64_t *)t->data)[at] = value;
        break;
    case GDN_I32:
        ((int32_t *)t->data)[at] = (int32_t)value;
        break;
    default:
        ((uint8_t *)t->data)[at] = (uint8_t)value;
        break;
    }
}

static inline float cpu_real(const gdn_tensor *t, int64_t at) {
    return cpu_load_one(t->data, t->dtype, at);
}

/* Place of `value` among the first `count` elements from `at`; -1: not there. */
static inline int64_t cpu_find(const gdn_tensor *t, int64_t at, int64_t count,
                               int64_t value) {
    for (int64_t i = 0; i < count; i++) {
        if (cpu_int(t, at + i) == value) {
            return i;
        }
    }
    return -1;
}

static inline bool cpu_ends(const gdn_call *call, int64_t token) {
    const gdn_tensor *ends = cpu_arg(call, "end_tokens");
    return cpu_find(ends, 0, ends->shape[0], token) >= 0;
}

/* The candidate that r = u * scale falls on, of `count` in row `row`; else the first. */
int64_t cpu_pick_candidate(const gdn_tensor *ids, const gdn_tensor *scores, int64_t row,
                           int64_t count, float r);

/* Index whose slice of the cumulated weights holds u; the last with weight if none does. */
int64_t cpu_pick_weight(const float *weights, int64_t count, float u);

#endif
