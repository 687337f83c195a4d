/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* rejection_sample (contract draft_verification 7 and 1.7): a work-item a request. Its coins
 * are doubles: a module of its own, for devices that have them. Decisions that no coin takes
 * part in are made in fp32. */

static float gk_target(const gk_memory *m, const gk_rejection_args *args, long row,
                       long token) {
    return gk_load(m, &args->target,
                   row * args->target.stride[0] + token * args->target.stride[1]);
}

/* Without a drafter's law the draft was certain. */
static float gk_drafted(const gk_memory *m, const gk_rejection_args *args, long row,
                        long token) {
    if (!args->drafter.data) {
        return gk_int(m, &args->drafts, row, 0) == token ? 1.0f : 0.0f;
    }
    return gk_load(m, &args->drafter,
                   row * args->drafter.stride[0] + token * args->drafter.stride[1]);
}

/* The first of the most probable tokens. */
static int gk_favourite(const gk_memory *m, const gk_rejection_args *args, long row) {
    float best = gk_target(m, args, row, 0);
    int token = 0;
    for (int t = 1; t < args->vocabulary; t++) {
        const float p = gk_target(m, args, row, t);
        if (p > best) {
            token = t;
            best = p;
        }
    }
    return token;
}

/* The race of exponentials over what `mass` of the target has in excess of the drafter. */
static int gk_race(const gk_memory *m, const gk_rejection_args *args, int request, long row,
                   float mass) {
    float best = 0.0f;
    int token = 0;
    for (int t = 0; t < args->vocabulary; t++) {
        const float excess =
            mass * gk_target(m, args, row, t) - gk_drafted(m, args, row, t);
        const float noise = gk_load(m, &args->exponential,
                                    request * args->exponential.stride[0] +
                                        t * args->exponential.stride[1]);
        const float speed = excess > 0.0f ? excess / noise : 0.0f;
        if (speed > best) {
            token = t;
            best = speed;
        }
    }
    return token;
}

static double gk_coin(const gk_memory *m, const gk_rejection_args *args, long row) {
    const __global double *coins = (const __global double *)gk_at(m, args->uniform.data);
    const double u = coins[row * args->uniform.stride[0]];
    if (args->method != GK_REJECT_ENTROPY) {
        return u;
    }
    double entropy = 0.0;
    for (int t = 0; t < args->vocabulary; t++) {
        const double p = (double)gk_target(m, args, row, t);
        entropy -= p > 0.0 ? p * log(p) : 0.0;
    }
    return u * fmin(exp(-as_double(args->entropy_alpha) * entropy),
                    as_double(args->entropy_threshold));
}

static double gk_rate(const gk_memory *m, const gk_rejection_args *args, long i) {
    return i < 0 ? 1.0 : (double)gk_load(m, &args->rates, i * args->rates.stride[0]);
}

static int gk_stands(const gk_memory *m, const gk_rejection_args *args, long row,
                     long position, long draft) {
    if (draft < 0) {
        return 0;
    }
    const double u = gk_coin(m, args, row);
    if (args->method == GK_REJECT_SYNTHETIC) {
        const double before = gk_rate(m, args, position - 1);
        return before > 0.0 && u * before < gk_rate(m, args, position);
    }
    const float q = gk_drafted(m, args, row, draft);
    const double p = (double)gk_target(m, args, row, draft), bar = u * (double)q;
    return args->strict ? p > bar : q > 0.0f && p >= bar;
}

/* How many drafts stand, one by one; `next` is what follows them. */
static long gk_one_by_one(const gk_memory *m, const gk_rejection_args *args, int request,
                          long first, long count, int greedy, long *next) {
    const int matches = args->method == GK_REJECT_MATCH;
    const int compares = matches || (greedy && args->method != GK_REJECT_SYNTHETIC);
    for (long i = 0; i < count; i++) {
        const long row = first + i, draft = gk_int(m, &args->drafts, row, 0);
        if (matches) {
            *next = gk_int(m, &args->targets, row, 0);
        } else if (greedy) {
            *next = gk_favourite(m, args, row);
        }
        if (compares ? *next != draft : !gk_stands(m, args, row, i, draft)) {
            if (!compares && !greedy) {
                *next = gk_race(m, args, request, row, 1.0f);
            }
            return i;
        }
    }
    return count;
}

/* h of block verification for a prefix of probability `mass` before `row`. */
static float gk_block_bar(const gk_memory *m, const gk_rejection_args *args, long row,
                          float mass) {
    float excess = 0.0f;
    for (int t = 0; t < args->vocabulary; t++) {
        excess +=
            fmax(mass * gk_target(m, args, row, t) - gk_drafted(m, args, row, t), 0.0f);
    }
    const float below = excess + (1.0f - mass);
    return below > 0.0f ? excess / below : 1.0f;
}

static long gk_in_blocks(const gk_memory *m, const gk_rejection_args *args, int request,
                         long first, long count, long *next) {
    float mass = 1.0f, kept_mass = 1.0f;
    long kept = 0;
    for (long i = 0; i < count; i++) {
        const long row = first + i, draft = gk_int(m, &args->drafts, row, 0);
        const float q = draft >= 0 ? gk_drafted(m, args, row, draft) : 0.0f;
        mass = q > 0.0f ? fmin(mass * gk_target(m, args, row, draft) / q, 1.0f) : 0.0f;
        const float bar = i + 1 < count ? gk_block_bar(m, args, row + 1, mass) : mass;
        if (gk_coin(m, args, row) <= (double)bar) {
            kept = i + 1;
            kept_mass = mass;
        }
    }
    if (kept < count) {
        *next = gk_race(m, args, request, first + kept, kept_mass);
    }
    return kept;
}

/* Group x: a request, of one work-item. */
__kernel void gk_rejection(const gk_rejection_args args, __global char *arena,
                           __global char *scratch) {
    const gk_memory m = {arena, scratch};
    const int request = (int)get_global_id(0);
    const long first = request > 0 ? gk_int(&m, &args.draft_ends, request - 1, 0) : 0;
    const long count = gk_int(&m, &args.draft_ends, request, 0) - first;
    const int greedy = gk_int(&m, &args.greedy, request, 0) != 0;
    long next = 0;
    const long kept = args.method == GK_REJECT_BLOCK && !greedy
                          ? gk_in_blocks(&m, &args, request, first, count, &next)
                          : gk_one_by_one(&m, &args, request, first, count, greedy, &next);
    for (long j = 0; j < kept; j++) {
        gk_put_int(&m, &args.outputs, request, j, gk_int(&m, &args.drafts, first + j, 0));
    }
    gk_put_int(&m, &args.outputs, request, kept,
               kept == count ? gk_int(&m, &args.bonus, request, 0) : next);
    for (long j = kept + 1; args.pads && j < args.columns; j++) {
        gk_put_int(&m, &args.outputs, request, j, -1);
    }
    gk_put_int(&m, &args.sampled, request, 0, kept + 1);
}
