/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* rejection_sample and chain_speculative_sampling, in fp32. */
#include <math.h>
#include <stdlib.h>

#include "cpu_verify.h"

int64_t cpu_pick_weight(const float *weights, int64_t count, float u) {
    float total = 0.0F;
    int64_t last = count - 1;
    for (int64_t i = 0; i < count; i++) {
        total += weights[i];
    }
    while (last > 0 && !(weights[last] > 0.0F)) {
        last--;
    }
    float below = 0.0F;
    for (int64_t i = 0; i < last; i++) {
        below += weights[i];
        if (below > u * total) {
            return i;
        }
    }
    const bool nothing = !(weights[last] > 0.0F);
    return nothing ? count - 1 : last;
}

typedef struct sampler {
    const gdn_call *call;
    const gdn_verify_conventions *v;
    int64_t vocab, method;
    float *p, *q; /* one row of each law */
} sampler;

/* Rows of the laws for a draft; without a drafter the draft is certain. */
static void load_row(const sampler *s, int64_t row) {
    const gdn_tensor *drafter = cpu_arg(s->call, "draft_probs");
    const gdn_tensor *target = cpu_arg(s->call, "target_probs");
    cpu_load(s->p, target->data, GDN_FP32, row * s->vocab, 1, s->vocab);
    if (drafter) {
        cpu_load(s->q, drafter->data, GDN_FP32, row * s->vocab, 1, s->vocab);
        return;
    }
    const int64_t draft = cpu_int(cpu_arg(s->call, "draft_token_ids"), row);
    for (int64_t t = 0; t < s->vocab; t++) {
        s->q[t] = t == draft ? 1.0F : 0.0F;
    }
}

static int64_t favourite(const sampler *s) {
    int64_t best = s->vocab - 1;
    for (int64_t t = s->vocab - 2; t >= 0; t--) {
        best = s->p[t] >= s->p[best] ? t : best;
    }
    return best;
}

/* The race of exponentials over what the target has in excess of the drafter. */
static int64_t race(const sampler *s, int64_t b, float scale) {
    const gdn_tensor *noise = cpu_arg(s->call, "exponential");
    int64_t winner = -1;
    float best = 0.0F;
    for (int64_t t = 0; t < s->vocab; t++) {
        const float excess = scale * s->p[t] - s->q[t];
        const float speed =
            excess > 0.0F ? excess / cpu_real(noise, b * s->vocab + t) : 0.0F;
        if (winner < 0 || speed > best) {
            winner = t;
            best = speed;
        }
    }
    return winner;
}

static double coin(const sampler *s, int64_t row) {
    const double u = ((const double *)cpu_arg(s->call, "uniform")->data)[row];
    if (s->method != GDN_REJECT_ENTROPY) {
        return u;
    }
    double entropy = 0.0;
    for (int64_t t = 0; t < s->vocab; t++) {
        entropy -= s->p[t] > 0.0F ? (double)(s->p[t] * logf(s->p[t])) : 0.0;
    }
    const double factor = exp(-s->v->entropy_alpha * entropy);
    return u * (factor < s->v->entropy_threshold ? factor : s->v->entropy_threshold);
}

static bool stands(const sampler *s, int64_t row, int64_t position, int64_t draft) {
    if (draft < 0) {
        return false;
    }
    const double u = coin(s, row);
    if (s->method == GDN_REJECT_SYNTHETIC) {
        const gdn_tensor *rates = cpu_arg(s->call, "acceptance_rates");
        const double before = position == 0 ? 1.0 : (double)cpu_real(rates, position - 1);
        return before > 0.0 && u * before < (double)cpu_real(rates, position);
    }
    const double p = (double)s->p[draft], bar = u * (double)s->q[draft];
    return s->v->accept == GDN_ACCEPT_STRICT ? p > bar : s->q[draft] > 0.0F && p >= bar;
}

/* One request by single drafts; returns how many stand, `next` what follows them. */
static int64_t one_by_one(const sampler *s, int64_t b, int64_t first, int64_t n,
                          int64_t *next) {
    const bool greedy = cpu_int(cpu_arg(s->call, "is_greedy"), b) != 0;
    const bool synthetic = s->method == GDN_REJECT_SYNTHETIC;
    for (int64_t i = 0; i < n; i++) {
        const int64_t draft = cpu_int(cpu_arg(s->call, "draft_token_ids"), first + i);
        load_row(s, first + i);
        if (s->method == GDN_REJECT_MATCH) {
            *next = cpu_int(cpu_arg(s->call, "target_tokens"), first + i);
        } else if (greedy) {
            *next = favourite(s);
        }
        const bool compares = s->method == GDN_REJECT_MATCH || (greedy && !synthetic);
        if (compares ? *next != draft : !stands(s, first + i, i, draft)) {
            if (!compares && !greedy) {
                *next = race(s, b, 1.0F);
            }
            return i;
        }
    }
    return n;
}

/* h of block verification for a prefix of probability `mass`, from the rows loaded. */
static float block_bar(const sampler *s, float mass) {
    float excess = 0.0F;
    for (int64_t t = 0; t < s->vocab; t++) {
        const float d = mass * s->p[t] - s->q[t];
        excess += d > 0.0F ? d : 0.0F;
    }
    const float below = excess + (1.0F - mass);
    return below > 0.0F ? excess / below : 1.0F;
}

static int64_t in_blocks(const sampler *s, int64_t b, int64_t first, int64_t n,
                         int64_t *next) {
    float mass = 1.0F, kept_mass = 1.0F;
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t draft = cpu_int(cpu_arg(s->call, "draft_token_ids"), first + i);
        load_row(s, first + i);
        const bool drawn = draft >= 0 && s->q[draft] > 0.0F;
        mass = drawn ? fminf(mass * s->p[draft] / s->q[draft], 1.0F) : 0.0F;
        const double u = coin(s, first + i);
        if (i + 1 < n) {
            load_row(s, first + i + 1);
        }
        if (u <= (double)(i + 1 < n ? block_bar(s, mass) : mass)) {
            kept = i + 1;
            kept_mass = mass;
        }
    }
    if (kept < n) {
        load_row(s, first + kept);
        *next = race(s, b, kept_mass);
    }
    return kept;
}

static gdn_status begin(sampler *s, const gdn_call *call, gdn_error *err) {
    const gdn_tensor *target = cpu_arg(call, "target_probs");
    *s = (sampler){.call = call, .v = &call->conventions->verify};
    s->vocab = target->shape[target->rank - 1];
    s->method = gdn_call_scalar(call, "method", 0);
    s->p = malloc((size_t)(2 * s->vocab) * sizeof *s->p);
    s->q = s->p + s->vocab;
    return s->p ? GDN_OK : gdn_error_set(err, GDN_ERR_OOM, "no memory for two laws");
}

static gdn_status run_rejection(gdn_device *device, const gdn_call *call, gdn_error *err) {
    const gdn_tensor *out = cpu_arg(call, "output_token_ids");
    const gdn_tensor *ends = cpu_arg(call, "cu_num_draft_tokens");
    const int64_t width = out->shape[1];
    sampler s;
    (void)device;
    GDN_TRY(begin(&s, call, err));
    int64_t first = 0;
    for (int64_t b = 0; b < ends->shape[0]; b++) {
        const int64_t n = cpu_int(ends, b) - first;
        const bool greedy = cpu_int(cpu_arg(call, "is_greedy"), b) != 0;
        int64_t next = 0;
        const int64_t kept = s.method == GDN_REJECT_BLOCK && !greedy
                                 ? in_blocks(&s, b, first, n, &next)
                                 : one_by_one(&s, b, first, n, &next);
        for (int64_t j = 0; j < kept; j++) {
            cpu_set_int(out, b * width + j,
                        cpu_int(cpu_arg(call, "draft_token_ids"), first + j));
        }
        cpu_set_int(out, b * width + kept,
                    kept == n ? cpu_int(cpu_arg(call, "bonus_token_ids"), b) : next);
        const bool pads = s.v->padding == GDN_PADDING_MINUS_ONE;
        for (int64_t j = kept + 1; pads && j < width; j++) {
            cpu_set_int(out, b * width + j, -1);
        }
        cpu_set_int(cpu_arg(call, "num_sampled"), b, kept + 1);
        first += n;
    }
    free(s.p);
    return GDN_OK;
}

/* Rows of one chain: `step` is the node whose law it is; the drafter has none for the
 * last. */
static void load_step(const sampler *s, int64_t b, int64_t nodes, int64_t step) {
    cpu_load(s->p, cpu_arg(s->call, "target_probs")->data, GDN_FP32,
             (b * nodes + step) * s->vocab, 1, s->vocab);
    for (int64_t t = 0; t < s->vocab; t++) {
        s->q[t] = 0.0F;
    }
    if (step + 1 < nodes) {
        cpu_load(s->q, cpu_arg(s->call, "draft_probs")->data, GDN_FP32,
                 (b * (nodes - 1) + step) * s->vocab, 1, s->vocab);
    }
}

/* The drafter's probability of a draft, or 0 if it is none. */
static float drawn_with(const sampler *s, int64_t draft) {
    const float q = s->q[draft];
    return !(q <= 1.001F) ? 0.0F : q > 1.0F ? 1.0F : q;
}

static int64_t chain_steps(const sampler *s, int64_t b, int64_t nodes, int64_t steps,
                           bool block, float *kept_mass) {
    const gdn_tensor *coins = cpu_arg(s->call, "uniform_samples");
    const gdn_tensor *drafts = cpu_arg(s->call, "candidates");
    float mass = 1.0F;
    int64_t kept = 0;
    *kept_mass = 1.0F;
    for (int64_t i = 0; i < steps && (block || kept == i); i++) {
        const int64_t draft = cpu_int(drafts, b * nodes + i + 1);
        const float u = cpu_real(coins, b * nodes + i);
        load_step(s, b, nodes, i);
        const float q = drawn_with(s, draft);
        if (!block) {
            kept += q > 0.0F && u * q < s->p[draft];
            continue;
        }
        mass = q > 0.0F ? fminf(mass * s->p[draft] / q, 1.0F) : 0.0F;
        if (i + 1 < steps) {
            load_step(s, b, nodes, i + 1);
        }
        if (u < (i + 1 < steps ? block_bar(s, mass) : mass)) {
            kept = i + 1;
            *kept_mass = mass;
        }
    }
    return kept;
}

static gdn_status run_chain(gdn_device *device, const gdn_call *call, gdn_error *err) {
    const gdn_tensor *path = cpu_arg(call, "accept_index");
    const gdn_tensor *index = cpu_arg(call, "retrive_index");
    const gdn_tensor *predicts = cpu_arg(call, "predicts");
    const int64_t nodes = index->shape[1], steps = path->shape[1] - 1;
    const bool in_block = gdn_call_scalar(call, "block", 0) != 0;
    sampler s;
    (void)device;
    GDN_TRY(begin(&s, call, err));
    for (int64_t b = 0; b < index->shape[0]; b++) {
        float mass = 1.0F;
        const int64_t kept = chain_steps(&s, b, nodes, steps, in_block, &mass);
        for (int64_t i = 0; i <= kept; i++) {
            const int64_t at = cpu_int(index, b * nodes + i);
            cpu_set_int(path, b * (steps + 1) + i, at);
            if (i < kept) {
                cpu_set_int(predicts, at,
                            cpu_int(cpu_arg(call, "candidates"), b * nodes + i + 1));
            }
        }
        load_step(&s, b, nodes, kept);
        for (int64_t t = 0; kept < steps && t < s.vocab; t++) {
            const float excess = mass * s.p[t] - s.q[t];
            s.p[t] = excess > 0.0F ? excess : 0.0F;
        }
        const float u = cpu_real(cpu_arg(call, "uniform_samples_for_final_sampling"), b);
        cpu_set_int(predicts, cpu_int(index, b * nodes + kept),
                    cpu_pick_weight(s.p, s.vocab, u));
        cpu_set_int(cpu_arg(call, "accept_token_num"), b, kept);
    }
    free(s.p);
    return GDN_OK;
}

static gdn_status run_rejection_drawn(gdn_device *device, const gdn_call *call,
                                      gdn_error *err) {
    return cpu_verify_drawn(device, call, run_rejection, err);
}

const cpu_op cpu_rejection_sample = {.check = cpu_verify_check, .run = run_rejection_drawn};
static gdn_status run_chain_drawn(gdn_device *device, const gdn_call *call,
                                  gdn_error *err) {
    return cpu_verify_drawn(device, call, run_chain, err);
}

const cpu_op cpu_chain_sampling = {.check = cpu_verify_check, .run = run_chain_drawn};
