/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* rejection_sample: vLLM's sampler, token-wise (Y. Leviathan et al., "Fast inference from
 * transformers via speculative decoding", ICML 2023) and block-wise (Z. Sun et al., "Block
 * verification accelerates speculative decoding", ICLR 2025), by contract
 * draft_verification 1 and 7. Laws come as probabilities, after temperature and
 * truncation. */
#include <math.h>

#include "gdn/exact.h"
#include "verify.h"

typedef struct request {
    const gdn_call *call;
    const gdn_verify_conventions *v;
    gdn_output *out, *count;
    const gdn_tensor *p, *q, *drafts, *uniform, *noise;
    int64_t b, first, n, vocabulary, method;
    bool greedy;
} request;

static double p_of(const request *r, int64_t i, int64_t token) {
    return gdnp_real(r->p, r->first + i, token, 0);
}

static int64_t draft_of(const request *r, int64_t i) {
    return gdnp_int(r->drafts, r->first + i, 0);
}

/* Without a draft law the draft is certain. */
static double q_of(const request *r, int64_t i, int64_t token) {
    return r->q ? gdnp_real(r->q, r->first + i, token, 0) : token == draft_of(r, i);
}

static double entropy_of(const request *r, int64_t i) {
    double sum = 0.0;
    for (int64_t t = 0; t < r->vocabulary; t++) {
        const double p = p_of(r, i, t);
        sum -= p > 0.0 ? p * gdn_log(p) : 0.0;
    }
    return sum;
}

static double uniform_of(const request *r, int64_t i) {
    double u = gdnp_real(r->uniform, r->first + i, 0, 0);
    if (r->v->slip == GDN_VERIFY_SLIP_CONSTANT_DRAW) {
        u = 0.159793362;
    }
    if (r->method == GDN_REJECT_ENTROPY) {
        u *=
            fmin(gdn_exp(-r->v->entropy_alpha * entropy_of(r, i)), r->v->entropy_threshold);
    }
    return u;
}

static int64_t argmax_of(const request *r, int64_t i) {
    int64_t best = 0;
    for (int64_t t = 1; t < r->vocabulary; t++) {
        const bool tie = r->v->slip == GDN_VERIFY_SLIP_TIES_TO_LARGER &&
                         p_of(r, i, t) == p_of(r, i, best);
        best = tie || p_of(r, i, t) > p_of(r, i, best) ? t : best;
    }
    return best;
}

/* Unnormalised residual law; `scale` is 1, or P_tau of block verification. */
static double residual(const request *r, int64_t i, int64_t token, double scale) {
    if (r->v->slip == GDN_VERIFY_SLIP_REJECT_SAMPLES_TARGET) {
        return p_of(r, i, token);
    }
    return fmax(scale * p_of(r, i, token) - q_of(r, i, token), 0.0);
}

/* argmax of residual / Exp(1) is a draw from the residual; ties, all zero among them, to
 * the smaller id. */
static int64_t recovered(const request *r, int64_t i, double scale) {
    if (r->v->slip == GDN_VERIFY_SLIP_DRAW_REUSED) {
        double total = 0.0;
        double sum = 0.0;
        for (int64_t t = 0; t < r->vocabulary; t++) {
            total += residual(r, i, t, scale);
        }
        for (int64_t t = 0; t < r->vocabulary; t++) {
            sum += residual(r, i, t, scale);
            if (sum > uniform_of(r, i) * total) {
                return t;
            }
        }
    }
    int64_t best = 0;
    double best_score = -1.0;
    for (int64_t t = 0; t < r->vocabulary; t++) {
        const double score = residual(r, i, t, scale) / gdnp_real(r->noise, r->b, t, 0);
        if (score > best_score) {
            best = t;
            best_score = score;
        }
    }
    return best;
}

static double rate_of(const request *r, int64_t i) {
    const gdn_tensor *rates = gdnp_in(r->call, "acceptance_rates");
    const double before = i > 0 ? gdnp_real(rates, i - 1, 0, 0) : 1.0;
    return before > 0.0 ? gdnp_real(rates, i, 0, 0) / before : 0.0;
}

static bool accepts(const request *r, int64_t i) {
    const int64_t draft = draft_of(r, i);
    const double u = uniform_of(r, i);
    if (draft < 0) {
        return false;
    }
    if (r->method == GDN_REJECT_SYNTHETIC) {
        return u < rate_of(r, i);
    }
    const double p = p_of(r, i, draft);
    const double q = q_of(r, i, draft);
    if (r->v->accept == GDN_ACCEPT_STRICT) {
        return p > u * q;
    }
    return q > 0.0 && p / q >= u;
}

static double ratio_of(const request *r, int64_t i) {
    const int64_t draft = draft_of(r, i);
    const double q = draft < 0 ? 0.0 : q_of(r, i, draft);
    return q > 0.0 ? p_of(r, i, draft) / q : 0.0;
}

/* Number of drafts that stand under rule 1.7; `scale` becomes P of the last one. */
static int64_t accept_block(const request *r, double *scale) {
    double product = 1.0;
    int64_t kept = 0;
    *scale = 1.0;
    for (int64_t i = 1; i <= r->n; i++) {
        product = fmin(product * ratio_of(r, i - 1), 1.0);
        double bar = product;
        if (i < r->n) {
            double mass = 0.0;
            for (int64_t t = 0; t < r->vocabulary; t++) {
                mass += fmax(product * p_of(r, i, t) - q_of(r, i, t), 0.0);
            }
            const double below = mass + 1.0 - product;
            bar = below > 0.0 ? mass / below : 1.0;
        }
        if (uniform_of(r, i - 1) <= bar) {
            kept = i;
            *scale = product;
        }
    }
    return kept;
}

/* ascend's: the last draft at which the ratios' product reaches the uniforms'. */
static int64_t accept_product(const request *r) {
    const bool fused = r->v->block == GDN_BLOCK_PRODUCT_FUSED;
    double product = 1.0;
    double uniforms = 1.0;
    int64_t kept = 0;
    for (int64_t i = 0; i < r->n; i++) {
        const double ratio = ratio_of(r, i);
        product = fused ? fmin(product * ratio, 1.0) : product * fmin(ratio, 1.0);
        uniforms *= uniform_of(r, i);
        if (draft_of(r, i) >= 0 && q_of(r, i, draft_of(r, i)) > 0.0 &&
            product >= uniforms) {
            kept = i + 1;
        }
    }
    return kept;
}

/* Drafts that stand; `next` becomes the token behind them unless all do. */
static int64_t verify(const request *r, int64_t *next) {
    const gdn_tensor *targets = gdnp_in(r->call, "target_tokens");
    double scale = 1.0;
    int64_t i = 0;
    if (r->method == GDN_REJECT_BLOCK && !r->greedy) {
        i = r->v->block == GDN_BLOCK_SUN ? accept_block(r, &scale) : accept_product(r);
        *next = i < r->n ? recovered(r, i, scale) : 0;
        return i;
    }
    for (; i < r->n; i++) {
        if (r->method == GDN_REJECT_SYNTHETIC) {
            if (!accepts(r, i)) {
                *next = r->greedy ? argmax_of(r, i) : recovered(r, i, 1.0);
                return i;
            }
        } else if (r->method == GDN_REJECT_MATCH || r->greedy) {
            *next = r->method == GDN_REJECT_MATCH ? gdnp_int(targets, r->first + i, 0)
                                                  : argmax_of(r, i);
            if (*next != draft_of(r, i)) {
                return i;
            }
        } else if (!accepts(r, i)) {
            *next = recovered(r, i, 1.0);
            return i;
        }
    }
    return i;
}

static void run_request(const request *r, int64_t columns) {
    int64_t next = 0;
    const int64_t kept = verify(r, &next);
    if (kept == r->n) {
        next = gdnp_int(gdnp_in(r->call, "bonus_token_ids"), r->b, 0);
    }
    for (int64_t j = 0; j < kept; j++) {
        gdnp_put_int(r->out, r->b, j, draft_of(r, j));
    }
    const bool bonus = kept < r->n || r->v->slip != GDN_VERIFY_SLIP_BONUS_MISSING;
    if (bonus) {
        gdnp_put_int(r->out, r->b, kept, next);
    }
    for (int64_t j = kept + bonus; j < columns; j++) {
        if (r->v->padding != GDN_PADDING_UNTOUCHED) {
            gdnp_put_int(r->out, r->b, j, r->v->padding == GDN_PADDING_ZERO ? 0 : -1);
        }
    }
    gdnp_put_int(r->count, r->b, 0, r->v->length == GDN_LENGTH_ACCEPTED ? kept : kept + 1);
}

void gdnp_rejection_sample(const gdn_call *call, gdn_output *outputs) {
    const gdn_tensor *ends = gdnp_in(call, "cu_num_draft_tokens");
    const gdn_tensor *target = gdnp_in(call, "target_probs");
    request r = {
        .call = call,
        .v = &call->conventions->verify,
        .out = gdnp_output(call, outputs, "output_token_ids"),
        .count = gdnp_output(call, outputs, "num_sampled"),
        .p = target,
        .q = gdnp_in(call, "draft_probs"),
        .drafts = gdnp_in(call, "draft_token_ids"),
        .uniform = gdnp_in(call, "uniform"),
        .noise = gdnp_in(call, "exponential"),
        .vocabulary = target->shape[1],
        .method = gdn_call_scalar(call, "method", 0),
    };
    const int64_t columns = gdnp_in(call, "output_token_ids")->shape[1];
    for (r.b = 0; r.b < ends->shape[0]; r.b++) {
        r.first = r.b > 0 ? gdnp_int(ends, r.b - 1, 0) : 0;
        r.n = gdnp_int(ends, r.b, 0) - r.first;
        r.greedy = gdnp_int(gdnp_in(call, "is_greedy"), r.b, 0) != 0;
        run_request(&r, columns);
    }
}
