/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The field table of draft verification: same machinery, names that begin with
 * "verify.". */
#include "gdn/conventions.h"

#include <string.h>

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

/* `ok` values are right, `ships` may stand in a profile, the others are slips. */
#define ENUM(field, ok, ships, text, ...)                                                  \
    {                                                                                      \
        .name = "verify." #field, .kind = GDN_FIELD_ENUM,                                  \
        .offset = offsetof(gdn_conventions, verify.field), .values = NAMES(__VA_ARGS__),   \
        .correct = (ok), .shipped = (ships), .what = (text)                                \
    }
#define REAL(field, lo, hi, text)                                                          \
    {                                                                                      \
        .name = "verify." #field, .kind = GDN_FIELD_REAL,                                  \
        .offset = offsetof(gdn_conventions, verify.field), .low = (lo), .high = (hi),      \
        .what = (text)                                                                     \
    }

static const gdn_convention_field FIELDS[] = {
    ENUM(window, 1, 2, "position after a bulk accept", "resume", "skip_one"),
    ENUM(length, 1, 2, "what step_output_len counts", "written", "one_more", "accepted"),
    ENUM(padding, 2, 2, "cells that hold no token", "minus_one", "untouched", "zero"),
    ENUM(cleared, 1, 2, "slots whose length is cleared", "all", "live"),
    ENUM(limits, 2, 2, "whether limits are arguments", "given", "absent"),
    ENUM(forced_end, 1, 2, "accept_all over an end token", "stops", "token_5", "goes_on"),
    ENUM(ends, 1, 2, "end tokens that are looked at", "all", "first_32", "first"),
    ENUM(draws, 2, 2, "where draws come from", "injected", "internal"),
    ENUM(draw_scale, 1, 1, "scale of a top-p draw", "top_p", "capped", "one"),
    ENUM(legacy_scale, 2, 2, "the same in speculate_verify", "top_p", "capped", "one"),
    ENUM(legacy_draw, 1, 3, "whose uniform a slot of speculate_verify uses", "slot",
         "first", "position"),
    ENUM(short_mass, 3, 4, "candidate length when the mass is short", "all", "none",
         "all_at_one", "unwritten"),
    ENUM(nucleus, 1, 2, "how the nucleus is summed", "once", "first_twice", "exclusive"),
    ENUM(bulk_count, 1, 2, "accounting of a bulk accept", "stepwise", "upfront"),
    ENUM(history_index, 2, 2, "where tokens enter the history", "behind_prompt",
         "one_later"),
    ENUM(seed_modulus, 2, 2, "modulus of seeds", "int64", "int32"),
    ENUM(accept, 2, 2, "test of a drawn draft", "ratio", "strict"),
    ENUM(block, 1, 3, "rule of block verification", "sun", "product_torch",
         "product_fused"),
    ENUM(tree_accept, 2, 2, "test of a tree node", "positive", "inclusive", "fresh_coins"),
    ENUM(tree_walk, 1, 2, "how a tree is walked", "linked", "chain", "first_child"),
    ENUM(scratch, 2, 2, "who clears the scratch", "cleared", "trusted"),
    ENUM(overshoot, 1, 2, "inverse CDF beyond the total", "last_positive", "last_id"),
    ENUM(accept_count, 1, 1, "what accept_token_num counts", "drafts", "with_bonus"),
    ENUM(links, 2, 2, "who sets tree links to -1 first", "cleared", "trusted"),
    ENUM(mask_rows, 1, 2, "rows of the query-only mask", "distinct", "collide"),
    ENUM(commit, 2, 2, "how accepted states become live", "move", "index"),
    ENUM(conv_commit, 2, 2, "how accepted windows become live", "rollback", "scatter"),
    ENUM(slip, 1, 1, "a slip at one place", "none", "constant_draw",
         "reject_samples_target", "draw_reused", "starts_inclusive", "draft_shifted",
         "limit_late", "prefill_verified", "thinking_verified", "prefill_row_first",
         "siblings_descend", "coin_of_level", "bonus_missing", "commit_off_by_one",
         "commit_stale", "commit_padded", "seed_stride_one", "decode_first",
         "step_not_counted", "ties_to_larger", "seed_fixed", "seed_shared", "seed_linear"),
    REAL(entropy_alpha, 0, 100, "alpha of entropy verification"),
    REAL(entropy_threshold, 0, 1, "threshold of entropy verification"),
};

#define N_FIELDS (sizeof FIELDS / sizeof FIELDS[0])

const gdn_convention_field *gdn_verify_fields(size_t *count) {
    *count = N_FIELDS;
    return FIELDS;
}

const gdn_convention_field *gdn_verify_field_find(const char *name) {
    for (size_t i = 0; i < N_FIELDS; i++) {
        if (strcmp(FIELDS[i].name, name) == 0) {
            return &FIELDS[i];
        }
    }
    return NULL;
}

const gdn_convention_field *gdn_conventions_defect(const gdn_conventions *conventions) {
    for (size_t i = 0; i < N_FIELDS; i++) {
        if (FIELDS[i].kind == GDN_FIELD_ENUM &&
            *(const int *)((const char *)conventions + FIELDS[i].offset) >=
                FIELDS[i].correct) {
            return &FIELDS[i];
        }
    }
    return NULL;
}
