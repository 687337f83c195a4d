/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Which drafted tokens stand: verify_draft_tokens (contract draft_verification 2). */

/* ---- verify_draft_tokens: a work-item a slot ---- */

static long gk_draft(const gk_memory *m, const gk_verify_args *args, int slot, long i) {
    return gk_int(m, &args->inputs, slot, 1 + i);
}

static long gk_candidates(const gk_memory *m, const gk_verify_args *args, long row) {
    const long length = gk_int(m, &args->candidate_lens, row, 0);
    return length < args->candidates ? length : args->candidates;
}

/* How many drafts from `i` on the candidates of `row` let stand: one that is among them, or
 * a window of first choices behind a second choice. */
static long gk_accepted_by_set(const gk_memory *m, const gk_verify_args *args, int slot,
                               long row, long i, long drafts) {
    const long draft = gk_draft(m, args, slot, i);
    for (long k = 0; k < gk_candidates(m, args, row); k++) {
        if (gk_int(m, &args->candidate_ids, row, k) == draft) {
            return 1;
        }
    }
    if (args->candidates < 2 || gk_int(m, &args->candidate_ids, row, 1) != draft ||
        args->window + 1 > drafts - i) {
        return 0;
    }
    for (int k = 1; k <= args->window; k++) {
        if (gk_int(m, &args->candidate_ids, row + k, 0) != gk_draft(m, args, slot, i + k)) {
            return 0;
        }
    }
    return args->window + 1;
}

static long gk_standing(const gk_memory *m, const gk_verify_args *args, int slot, long base,
                        long drafts) {
    long kept = 0;
    while (kept < drafts) {
        const long row = base + kept;
        const long more =
            args->by_set
                ? gk_accepted_by_set(m, args, slot, row, kept, drafts)
                : gk_int(m, &args->targets, row, 0) == gk_draft(m, args, slot, kept);
        if (more == 0) {
            break;
        }
        kept += more;
    }
    return kept;
}

/* The token behind the drafts that stand. */
static long gk_closing(const gk_memory *m, const gk_verify_args *args, int slot, long row) {
    if (!args->by_set) {
        return gk_int(m, &args->targets, row, 0);
    }
    const float bar = gk_load(m, &args->u, slot * args->u.stride[0]) *
                      gk_load(m, &args->top_p, slot * args->top_p.stride[0]);
    const long count = gk_candidates(m, args, row);
    float reached = 0.0f;
    for (long k = 0; k < count; k++) {
        reached += gk_load(m, &args->candidate_scores,
                           row * args->candidate_scores.stride[0] +
                               k * args->candidate_scores.stride[1]);
        if (!(reached < bar)) {
            return gk_int(m, &args->candidate_ids, row, k);
        }
    }
    return gk_int(m, &args->candidate_ids, row, 0);
}

static int gk_ends(const gk_memory *m, const gk_verify_args *args, long token) {
    for (int i = 0; i < args->ends; i++) {
        if (gk_int(m, &args->end_tokens, i, 0) == token) {
            return 1;
        }
    }
    return 0;
}

static void gk_verify_slot(const gk_memory *m, const gk_verify_args *args, int slot) {
    const long base = gk_int(m, &args->rows, slot, 0);
    const long drafts = gk_int(m, &args->this_time, slot, 0) - 1;
    const int alone = args->reject_all || gk_int(m, &args->encoder, slot, 0) != 0 ||
                      gk_int(m, &args->reasoning, slot, 0) == 1;
    const long kept = alone              ? 0
                      : args->accept_all ? drafts
                                         : gk_standing(m, args, slot, base, drafts);
    const long room = args->limits.data ? gk_int(m, &args->limits, slot, 0) -
                                              gk_int(m, &args->steps, slot, 0)
                                        : 0x7fffffffffffffff;
    long length = 0;
    for (int going = 1; going && length <= kept; length++) {
        long token = length < kept ? gk_draft(m, args, slot, length)
                                   : gk_closing(m, args, slot, base + kept);
        const int end = gk_ends(m, args, token), full = length + 1 >= room;
        if (full && !end) {
            token = gk_int(m, &args->end_tokens, 0, 0);
        }
        gk_put_int(m, &args->outputs, slot, length, token);
        going = !end && !full;
    }
    gk_put_int(m, &args->lengths, slot, 0, length);
}

__kernel void gk_verify(const gk_verify_args args, __global char *arena,
                        __global char *scratch) {
    const gk_memory m = {arena, scratch};
    const int slot = (int)get_global_id(0);
    if (slot >= args.slots) {
        return;
    }
    gk_put_int(&m, &args.lengths, slot, 0, 0);
    for (int i = 0; args.pads && i < args.columns; i++) {
        gk_put_int(&m, &args.outputs, slot, i, -1);
    }
    if (slot < args.live && gk_int(&m, &args.stopped, slot, 0) == 0 &&
        gk_int(&m, &args.blocked, slot, 0) == 0) {
        gk_verify_slot(&m, &args, slot);
    }
}
