/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Which drafted tokens stand: verify_draft_tokens (contract draft_verification 2), and
 * rejection_sample (7 and 1.7). Decisions are made in fp32, except for the coins of
 * rejection_sample, which are doubles. */
#include "common.hip"

/* ---- verify_draft_tokens: a thread a slot ---- */

static __device__ inline long long gk_draft(const gk_verify_args &args, int slot,
                                            long long i) {
    return gk_int(args.inputs, slot, 1 + i);
}

static __device__ inline long long gk_candidates(const gk_verify_args &args,
                                                 long long row) {
    const long long length = gk_int(args.candidate_lens, row, 0);
    return length < args.candidates ? length : args.candidates;
}

/* How many drafts from `i` on the candidates of `row` let stand: one that is among them, or
 * a window of first choices behind a second choice. */
static __device__ long long gk_accepted_by_set(const gk_verify_args &args, int slot,
                                               long long row, long long i,
                                               long long drafts) {
    const long long draft = gk_draft(args, slot, i);
    for (long long k = 0; k < gk_candidates(args, row); k++) {
        if (gk_int(args.candidate_ids, row, k) == draft) {
            return 1;
        }
    }
    if (args.candidates < 2 || gk_int(args.candidate_ids, row, 1) != draft ||
        args.window + 1 > drafts - i) {
        return 0;
    }
    for (int k = 1; k <= args.window; k++) {
        if (gk_int(args.candidate_ids, row + k, 0) != gk_draft(args, slot, i + k)) {
            return 0;
        }
    }
    return args.window + 1;
}

static __device__ long long gk_standing(const gk_verify_args &args, int slot,
                                        long long base, long long drafts) {
    long long kept = 0;
    while (kept < drafts) {
        const long long row = base + kept;
        const long long more =
            args.by_set ? gk_accepted_by_set(args, slot, row, kept, drafts)
                        : gk_int(args.targets, row, 0) == gk_draft(args, slot, kept);
        if (more == 0) {
            break;
        }
        kept += more;
    }
    return kept;
}

/* The token behind the drafts that stand. */
static __device__ long long gk_closing(const gk_verify_args &args, int slot,
                                       long long row) {
    if (!args.by_set) {
        return gk_int(args.targets, row, 0);
    }
    const float bar = gk_load(args.u, slot * args.u.stride[0]) *
                      gk_load(args.top_p, slot * args.top_p.stride[0]);
    const long long count = gk_candidates(args, row);
    float reached = 0.0f;
    for (long long k = 0; k < count; k++) {
        reached += gk_load(args.candidate_scores, row * args.candidate_scores.stride[0] +
                                                      k * args.candidate_scores.stride[1]);
        if (!(reached < bar)) {
            return gk_int(args.candidate_ids, row, k);
        }
    }
    return gk_int(args.candidate_ids, row, 0);
}

static __device__ bool gk_ends(const gk_verify_args &args, long long token) {
    for (int i = 0; i < args.ends; i++) {
        if (gk_int(args.end_tokens, i, 0) == token) {
            return true;
        }
    }
    return false;
}

static __device__ void gk_verify_slot(const gk_verify_args &args, int slot) {
    const long long base = gk_int(args.rows, slot, 0);
    const long long drafts = gk_int(args.this_time, slot, 0) - 1;
    const bool alone = args.reject_all || gk_int(args.encoder, slot, 0) != 0 ||
                       gk_int(args.reasoning, slot, 0) == 1;
    const long long kept = alone             ? 0
                           : args.accept_all ? drafts
                                             : gk_standing(args, slot, base, drafts);
    const long long room = args.limits.data
                               ? gk_int(args.limits, slot, 0) - gk_int(args.steps, slot, 0)
                               : 0x7fffffffffffffff;
    long long length = 0;
    for (bool going = true; going && length <= kept; length++) {
        long long token = length < kept ? gk_draft(args, slot, length)
                                        : gk_closing(args, slot, base + kept);
        const bool end = gk_ends(args, token), full = length + 1 >= room;
        if (full && !end) {
            token = gk_int(args.end_tokens, 0, 0);
        }
        gk_put_int(args.outputs, slot, length, token);
        going = !end && !full;
    }
    gk_put_int(args.lengths, slot, 0, length);
}

extern "C" __global__ void __launch_bounds__(256) gk_verify(const gk_verify_args args) {
    const int slot = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (slot >= args.slots) {
        return;
    }
    gk_put_int(args.lengths, slot, 0, 0);
    for (int i = 0; args.pads && i < args.columns; i++) {
        gk_put_int(args.outputs, slot, i, -1);
    }
    if (slot < args.live && gk_int(args.stopped, slot, 0) == 0 &&
        gk_int(args.blocked, slot, 0) == 0) {
        gk_verify_slot(args, slot);
    }
}

/* ---- rejection_sample: a warp a request, its lanes share the vocabulary ---- */

static __device__ inline float gk_target(const gk_rejection_args &args, long long row,
                                         long long token) {
    return gk_load(args.target,
                   row * args.target.stride[0] + token * args.target.stride[1]);
}

/* Without a drafter's law the draft was certain. */
static __device__ inline float gk_drafted(const gk_rejection_args &args, long long row,
                                          long long token) {
    return args.drafter.data ? gk_load(args.drafter, row * args.drafter.stride[0] +
                                                         token * args.drafter.stride[1])
           : gk_int(args.drafts, row, 0) == token ? 1.0f
                                                  : 0.0f;
}

/* The token with the largest value over all lanes, the smallest of equal ones; each lane
 * brings its own. */
static __device__ inline int gk_best_of_lanes(float value, int token) {
    for (int mask = GDN_WARP / 2; mask > 0; mask /= 2) {
        const float other = gk_shuffle_xor(value, mask);
        const int other_token = gk_shuffle_xor(token, mask);
        const bool better = other_token >= 0 && (token < 0 || other > value ||
                                                 (other == value && other_token < token));
        value = better ? other : value;
        token = better ? other_token : token;
    }
    return token;
}

static __device__ int gk_favourite(const gk_rejection_args &args, long long row) {
    float best = 0.0f;
    int token = -1;
    for (int t = (int)threadIdx.x; t < args.vocabulary; t += GDN_WARP) {
        const float p = gk_target(args, row, t);
        if (token < 0 || p > best) {
            token = t;
            best = p;
        }
    }
    return gk_best_of_lanes(best, token);
}

/* The race of exponentials over what `mass` of the target has in excess of the drafter. */
static __device__ int gk_race(const gk_rejection_args &args, int request, long long row,
                              float mass) {
    float best = 0.0f;
    int token = -1;
    for (int t = (int)threadIdx.x; t < args.vocabulary; t += GDN_WARP) {
        const float excess = mass * gk_target(args, row, t) - gk_drafted(args, row, t);
        const float noise = gk_load(args.exponential, request * args.exponential.stride[0] +
                                                          t * args.exponential.stride[1]);
        const float speed = excess > 0.0f ? excess / noise : 0.0f;
        if (token < 0 || speed > best) {
            token = t;
            best = speed;
        }
    }
    return gk_best_of_lanes(best, token);
}

static __device__ double gk_coin(const gk_rejection_args &args, long long row) {
    const double u = ((const double *)args.uniform.data)[row * args.uniform.stride[0]];
    if (args.method != GK_REJECT_ENTROPY) {
        return u;
    }
    double entropy = 0.0;
    for (int t = (int)threadIdx.x; t < args.vocabulary; t += GDN_WARP) {
        const float p = gk_target(args, row, t);
        entropy -= p > 0.0f ? (double)(p * logf(p)) : 0.0;
    }
    return u * fmin(exp(-args.entropy_alpha * gk_sum_lanes_double(entropy)),
                    args.entropy_threshold);
}

static __device__ inline double gk_rate(const gk_rejection_args &args, long long i) {
    return i < 0 ? 1.0 : (double)gk_load(args.rates, i * args.rates.stride[0]);
}

static __device__ bool gk_stands(const gk_rejection_args &args, long long row,
                                 long long position, long long draft) {
    if (draft < 0) {
        return false;
    }
    const double u = gk_coin(args, row);
    if (args.method == GK_REJECT_SYNTHETIC) {
        const double before = gk_rate(args, position - 1);
        return before > 0.0 && u * before < gk_rate(args, position);
    }
    const float q = gk_drafted(args, row, draft);
    const double p = (double)gk_target(args, row, draft), bar = u * (double)q;
    return args.strict ? p > bar : q > 0.0f && p >= bar;
}

/* How many drafts stand, one by one; `next` is what follows them. */
static __device__ long long gk_one_by_one(const gk_rejection_args &args, int request,
                                          long long first, long long count, bool greedy,
                                          long long *next) {
    const bool matches = args.method == GK_REJECT_MATCH;
    const bool compares = matches || (greedy && args.method != GK_REJECT_SYNTHETIC);
    for (long long i = 0; i < count; i++) {
        const long long row = first + i, draft = gk_int(args.drafts, row, 0);
        if (matches) {
            *next = gk_int(args.targets, row, 0);
        } else if (greedy) {
            *next = gk_favourite(args, row);
        }
        if (compares ? *next != draft : !gk_stands(args, row, i, draft)) {
            if (!compares && !greedy) {
                *next = gk_race(args, request, row, 1.0f);
            }
            return i;
        }
    }
    return count;
}

/* h of block verification for a prefix of probability `mass` before `row`. */
static __device__ float gk_block_bar(const gk_rejection_args &args, long long row,
                                     float mass) {
    float excess = 0.0f;
    for (int t = (int)threadIdx.x; t < args.vocabulary; t += GDN_WARP) {
        excess += fmaxf(mass * gk_target(args, row, t) - gk_drafted(args, row, t), 0.0f);
    }
    excess = gk_sum_lanes(excess);
    const float below = excess + (1.0f - mass);
    return below > 0.0f ? excess / below : 1.0f;
}

static __device__ long long gk_in_blocks(const gk_rejection_args &args, int request,
                                         long long first, long long count,
                                         long long *next) {
    float mass = 1.0f, kept_mass = 1.0f;
    long long kept = 0;
    for (long long i = 0; i < count; i++) {
        const long long row = first + i, draft = gk_int(args.drafts, row, 0);
        const float q = draft >= 0 ? gk_drafted(args, row, draft) : 0.0f;
        mass = q > 0.0f ? fminf(mass * gk_target(args, row, draft) / q, 1.0f) : 0.0f;
        const float bar = i + 1 < count ? gk_block_bar(args, row + 1, mass) : mass;
        if (gk_coin(args, row) <= (double)bar) {
            kept = i + 1;
            kept_mass = mass;
        }
    }
    if (kept < count) {
        *next = gk_race(args, request, first + kept, kept_mass);
    }
    return kept;
}

/* Block x: a request, of one warp. */
extern "C" __global__ void __launch_bounds__(GDN_WARP)
    gk_rejection(const gk_rejection_args args) {
    const int request = (int)blockIdx.x;
    const long long first = request > 0 ? gk_int(args.draft_ends, request - 1, 0) : 0;
    const long long count = gk_int(args.draft_ends, request, 0) - first;
    const bool greedy = gk_int(args.greedy, request, 0) != 0;
    long long next = 0;
    const long long kept = args.method == GK_REJECT_BLOCK && !greedy
                               ? gk_in_blocks(args, request, first, count, &next)
                               : gk_one_by_one(args, request, first, count, greedy, &next);
    if (threadIdx.x != 0) {
        return;
    }
    for (long long j = 0; j < kept; j++) {
        gk_put_int(args.outputs, request, j, gk_int(args.drafts, first + j, 0));
    }
    gk_put_int(args.outputs, request, kept,
               kept == count ? gk_int(args.bonus, request, 0) : next);
    for (long long j = kept + 1; args.pads && j < args.columns; j++) {
        gk_put_int(args.outputs, request, j, -1);
    }
    gk_put_int(args.sampled, request, 0, kept + 1);
}
