/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What index tensors may hold: nothing that a backend would follow out of bounds or that
 * lets two sequences write one place. Tensors without data are passed over. */
#include "call_check.h"

#include <stdio.h>
#include <stdlib.h>

typedef long long ll; /* for printf */

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* NULL if the tensor is absent or has no data. */
static const gdn_tensor *readable(const gdnp_check *c, const char *name) {
    const gdn_tensor *t = gdnp_check_tensor(c, name);
    return t && t->data ? t : NULL;
}

static int64_t columns_of(const gdn_tensor *t) {
    return t->rank > 1 ? t->shape[1] : 1;
}

static gdn_status refuse(const gdnp_check *c, const gdn_tensor *t, int64_t i, int64_t j,
                         const char *expected) {
    char column[32] = "";
    if (t->rank > 1) {
        snprintf(column, sizeof column, ",%lld", (ll)j);
    }
    return gdn_error_set(c->err, GDN_ERR_ARG, "%s[%lld%s]: expected %s but found %lld",
                         t->name, (ll)i, column, expected, (ll)gdn_tensor_int(t, i, j));
}

static gdn_status check_element(const gdnp_check *c, const gdn_tensor *t, int64_t i,
                                int64_t j, int64_t low, int64_t high) {
    const int64_t value = gdn_tensor_int(t, i, j);
    if (value < low || value > high) {
        char expected[64];
        snprintf(expected, sizeof expected, "%lld to %lld", (ll)low, (ll)high);
        return refuse(c, t, i, j, expected);
    }
    return GDN_OK;
}

/* Whether row i of a slot tensor says that the sequence is padding; its other columns, and
 * its rows of other tensors, then mean nothing. */
static bool is_padding(const gdnp_check *c, const gdn_tensor *slots, int64_t i) {
    const gdn_conventions *conventions = c->call->conventions;
    return slots && conventions->pad_sequences != GDN_PAD_REFUSED &&
           gdn_tensor_int(slots, i, 0) == conventions->pad_slot_id;
}

/* Every element of a sequence that is no padding lies in [low, high]. */
static gdn_status check_rows(const gdnp_check *c, const char *name, const char *slots_name,
                             int64_t low, int64_t high) {
    const gdn_tensor *t = readable(c, name);
    const gdn_tensor *slots = readable(c, slots_name);
    for (int64_t i = 0; t && i < t->shape[0]; i++) {
        for (int64_t j = 0; j < columns_of(t) && !is_padding(c, slots, i); j++) {
            GDN_TRY(check_element(c, t, i, j, low, high));
        }
    }
    return GDN_OK;
}

/* Every element lies in [low, high]. */
static gdn_status check_range(const gdnp_check *c, const char *name, int64_t low,
                              int64_t high) {
    const gdn_tensor *t = readable(c, name);
    for (int64_t i = 0; t && i < t->shape[0]; i++) {
        for (int64_t j = 0; j < columns_of(t); j++) {
            GDN_TRY(check_element(c, t, i, j, low, high));
        }
    }
    return GDN_OK;
}

/* Starts begin at 0, give every sequence `shortest` to `longest` tokens and stay within
 * `limit`. */
static gdn_status check_starts(const gdnp_check *c, const char *name, int64_t shortest,
                               int64_t longest, int64_t limit) {
    const gdn_tensor *t = readable(c, name);
    if (!t) {
        return GDN_OK;
    }
    if (gdn_tensor_int(t, 0, 0) != 0) {
        return refuse(c, t, 0, 0, "0");
    }
    int64_t last = 0;
    for (int64_t i = 1; i < t->shape[0]; i++) {
        const int64_t start = gdn_tensor_int(t, i, 0);
        const int64_t high = min64(last + longest, limit);
        if (start < last + shortest || start > high) {
            char expected[128];
            snprintf(expected, sizeof expected,
                     "%lld to %lld (sequences of %lld to %lld tokens in %lld rows)",
                     (ll)(last + shortest), (ll)high, (ll)shortest, (ll)longest, (ll)limit);
            return refuse(c, t, i, 0, expected);
        }
        last = start;
    }
    return GDN_OK;
}

/* The last start equals the number of tokens that there are. */
static gdn_status check_end(const gdnp_check *c, const char *name, int64_t tokens,
                            const char *counted_by) {
    const gdn_tensor *t = readable(c, name);
    if (t && gdn_tensor_int(t, t->shape[0] - 1, 0) != tokens) {
        char expected[96];
        snprintf(expected, sizeof expected, "%lld (%s)", (ll)tokens, counted_by);
        return refuse(c, t, t->shape[0] - 1, 0, expected);
    }
    return GDN_OK;
}

/* Tokens of sequence i. */
static int64_t length_of(const gdn_tensor *starts, int64_t i) {
    return gdn_tensor_int(starts, i + 1, 0) - gdn_tensor_int(starts, i, 0);
}

/* Who named a slot or a row first; 0: nobody. */
typedef struct ledger {
    int64_t *owner;
    int64_t owners;
    const char *what;
} ledger;

/* Row i of the tensor is one owner: it may name a place twice, another one may not. Empty
 * sequences and padding touch nothing and so own nothing; which ones are empty, the starts
 * say. */
static gdn_status claim(const gdnp_check *c, ledger *book, const char *name,
                        const char *starts_name, const char *slots_name) {
    const gdn_tensor *t = readable(c, name);
    const gdn_tensor *slots = slots_name ? readable(c, slots_name) : NULL;
    const gdn_tensor *starts = starts_name ? readable(c, starts_name) : NULL;
    if (starts_name && !starts) {
        return GDN_OK;
    }
    for (int64_t i = 0; t && i < t->shape[0]; i++) {
        book->owners++;
        if ((starts && length_of(starts, i) == 0) || is_padding(c, slots, i)) {
            continue;
        }
        for (int64_t j = 0; j < columns_of(t); j++) {
            int64_t *owner = &book->owner[gdn_tensor_int(t, i, j)];
            if (*owner != 0 && *owner != book->owners) {
                char expected[64];
                snprintf(expected, sizeof expected, "a %s that nobody else names",
                         book->what);
                return refuse(c, t, i, j, expected);
            }
            *owner = book->owners;
        }
    }
    return GDN_OK;
}

/* Two groups of sequences (NULL: no second one) name distinct places in [0, places). */
static gdn_status check_distinct(const gdnp_check *c, const char *what, int64_t places,
                                 const char *const names[2], const char *const starts[2],
                                 const char *const slots[2]) {
    if (!readable(c, names[0]) && !(names[1] && readable(c, names[1]))) {
        return GDN_OK;
    }
    ledger book = {.owner = calloc((size_t)places + 1, sizeof *book.owner), .what = what};
    if (!book.owner) {
        return gdn_error_set(c->err, GDN_ERR_OOM, "no memory for %lld %ss", (ll)places,
                             what);
    }
    gdn_status status = claim(c, &book, names[0], starts[0], slots[0]);
    if (status == GDN_OK && names[1]) {
        status = claim(c, &book, names[1], starts[1], slots[1]);
    }
    free(book.owner);
    return status;
}

/* Whether the links from token t of sequence i lead back to it. */
static bool in_cycle(const gdn_tensor *parents, int64_t i, int64_t t, int64_t length) {
    int64_t at = t;
    for (int64_t steps = 0; steps < length; steps++) {
        at = gdn_tensor_int(parents, i, at);
        if (at == t) {
            return true;
        }
        if (at <= 0 || at >= length) {
            return false;
        }
    }
    return false;
}

static gdn_status check_parent(const gdnp_check *c, const gdn_tensor *parents, int64_t i,
                               int64_t t, int64_t length) {
    const int64_t parent = gdn_tensor_int(parents, i, t);
    if (parent < -1) {
        return refuse(c, parents, i, t, "-1 (no parent) or a token");
    }
    if (in_cycle(parents, i, t, length)) {
        return refuse(c, parents, i, t, "a tree (its links make a cycle)");
    }
    if (parent < 0 || parent >= t) {
        char expected[96];
        snprintf(expected, sizeof expected, "0 to %lld (a token before its child)",
                 (ll)t - 1);
        return refuse(c, parents, i, t, expected);
    }
    return GDN_OK;
}

/* Token t > 0 of a tree comes from an earlier one; entry 0 means nothing. */
static gdn_status check_parents(const gdnp_check *c) {
    const gdn_tensor *parents = readable(c, "parent_token");
    const gdn_tensor *starts = readable(c, "query_start_loc");
    const gdn_tensor *slots = readable(c, "state_indices");
    for (int64_t i = 0; parents && starts && i < parents->shape[0]; i++) {
        const int64_t length = length_of(starts, i);
        for (int64_t t = 1; t < length && !is_padding(c, slots, i); t++) {
            GDN_TRY(check_parent(c, parents, i, t, length));
        }
    }
    return GDN_OK;
}

/* How many intermediate rows there are, the tensor says that has them. */
static gdn_status check_intermediate(const gdnp_check *c) {
    static const char *const ROWS[2] = {"intermediate_indices", NULL};
    static const char *const STARTS[2] = {"query_start_loc", NULL};
    static const char *const SLOTS[2] = {"state_indices", NULL};
    const int64_t rows = c->size[GDNP_BUFFER_ROWS];
    GDN_TRY(check_rows(c, ROWS[0], SLOTS[0], 0, rows < 0 ? INT32_MAX : rows - 1));
    if (rows >= 0) {
        GDN_TRY(check_distinct(c, "row", rows, ROWS, STARTS, SLOTS));
    }
    return check_parents(c);
}

/* causal_conv1d and gated_delta_rule name their sequences alike. */
static gdn_status check_sequences(const gdnp_check *c) {
    static const char *const SLOTS[2] = {"state_indices", NULL};
    static const char *const STARTS[2] = {"query_start_loc", NULL};
    const bool spec = gdn_call_is_speculative(c->call);
    const int64_t rows = c->size[GDNP_ROWS];
    const int64_t columns = c->size[GDNP_COLUMNS];
    const int64_t slots = c->size[GDNP_SLOTS];
    GDN_TRY(check_starts(c, "query_start_loc", 0, spec ? columns : rows, rows));
    GDN_TRY(check_range(c, "has_initial_state", 0, 1));
    GDN_TRY(check_range(c, "num_accepted_tokens", 0, columns));
    GDN_TRY(check_rows(c, SLOTS[0], SLOTS[0], 0, slots - 1));
    GDN_TRY(check_distinct(c, "slot", slots, SLOTS, STARTS, SLOTS));
    return check_intermediate(c);
}

/* A decode has one token, and so may a prefill. */
static gdn_status check_decodes(const gdnp_check *c) {
    const gdn_tensor *starts = readable(c, "non_spec_query_start_loc");
    const int64_t decodes = gdn_call_scalar(c->call, "num_decodes", 0);
    int64_t singles = 0;
    for (int64_t i = 0; starts && i + 1 < starts->shape[0]; i++) {
        singles += length_of(starts, i) == 1;
    }
    if (starts && singles < decodes) {
        return gdn_error_set(
            c->err, GDN_ERR_ARG,
            "non_spec_query_start_loc: expected at least %lld sequences of "
            "one token (num_decodes) but found %lld",
            (ll)decodes, (ll)singles);
    }
    return GDN_OK;
}

static gdn_status check_attention(const gdnp_check *c) {
    static const char *const SLOTS[2] = {"spec_state_indices_tensor",
                                         "non_spec_state_indices_tensor"};
    static const char *const TOKENS[2] = {"spec_token_indx", "non_spec_token_indx"};
    static const char *const NONE[2] = {NULL, NULL};
    const int64_t actual = c->size[GDNP_ACTUAL];
    const int64_t slots = c->size[GDNP_SLOTS];
    const int64_t columns = c->size[GDNP_COLUMNS];
    const bool indexed = gdnp_check_tensor(c, TOKENS[1]);
    GDN_TRY(check_starts(c, "spec_query_start_loc", 1, columns, actual));
    GDN_TRY(check_starts(c, "non_spec_query_start_loc", 1, actual, actual));
    if (gdnp_check_tensor(c, TOKENS[0])) {
        GDN_TRY(check_end(c, "spec_query_start_loc", c->size[GDNP_SPEC_TOKENS],
                          "size of spec_token_indx"));
    }
    GDN_TRY(check_end(c, "non_spec_query_start_loc",
                      indexed ? c->size[GDNP_NON_SPEC_TOKENS] : actual,
                      indexed ? "size of non_spec_token_indx" : "num_actual_tokens"));
    GDN_TRY(check_decodes(c));
    GDN_TRY(check_range(c, "has_initial_state", 0, 1));
    GDN_TRY(check_range(c, "num_accepted_tokens", 0, columns));
    for (int i = 0; i < 2; i++) {
        GDN_TRY(check_rows(c, SLOTS[i], SLOTS[i], 0, slots - 1));
        GDN_TRY(check_range(c, TOKENS[i], 0, actual - 1));
    }
    GDN_TRY(check_distinct(c, "slot", slots, SLOTS, NONE, SLOTS));
    return check_distinct(c, "row", actual, TOKENS, NONE, NONE);
}

/* The tensors of a request batch; those that cannot be read are NULL. */
typedef struct requests {
    const gdn_tensor *starts, *seq_lens, *block_table, *drafts, *accepted;
    bool speculative;
} requests;

static bool is_spec(const requests *r, int64_t i) {
    return r->speculative && gdn_tensor_int(r->drafts, i, 0) >= 0;
}

static gdn_status check_request(const gdnp_check *c, const requests *r, int64_t i) {
    const int64_t length = length_of(r->starts, i);
    const int64_t columns = c->size[GDNP_COLUMNS];
    if (r->seq_lens) {
        GDN_TRY(check_element(c, r->seq_lens, i, 0, length, INT32_MAX));
    }
    if (r->drafts && gdn_tensor_int(r->drafts, i, 0) >= 0 &&
        gdn_tensor_int(r->drafts, i, 0) + 1 != length) {
        char expected[64];
        snprintf(expected, sizeof expected, "-1 or %lld (tokens but one)", (ll)length - 1);
        return refuse(c, r->drafts, i, 0, expected);
    }
    if (r->accepted && is_spec(r, i)) {
        GDN_TRY(check_element(c, r->accepted, i, 0, 0, columns));
    }
    /* The block table of a padding request holds whatever the runner left there. */
    const int64_t used = is_spec(r, i) ? columns : 1;
    for (int64_t j = 0; r->block_table && length > 0 && j < used; j++) {
        GDN_TRY(check_element(c, r->block_table, i, j, 0, INT32_MAX));
    }
    return GDN_OK;
}

/* Beside empty requests only, mid and late take the first starts of the batch for those of
 * its spec rows: upstream relies on padding being at the back. Early would not mind, but
 * what a valid batch is should not depend on who reads it. */
static gdn_status check_padding_order(const gdnp_check *c, const requests *r) {
    const int64_t n = r->starts->shape[0] - 1;
    bool empty = false;
    int64_t misplaced = -1;
    for (int64_t i = 0; i < n; i++) {
        if (is_spec(r, i)) {
            misplaced = empty && misplaced < 0 ? i : misplaced;
        } else if (length_of(r->starts, i) > 0) {
            return GDN_OK;
        } else {
            empty = true;
        }
    }
    if (misplaced >= 0) {
        return refuse(c, r->drafts, misplaced, 0, "-1 behind an empty request");
    }
    return GDN_OK;
}

static gdn_status check_metadata(const gdnp_check *c) {
    const int64_t tokens = c->size[GDNP_ROWS];
    GDN_TRY(check_starts(c, "query_start_loc", 0, tokens, tokens));
    GDN_TRY(check_end(c, "query_start_loc", tokens, "size of the token indices"));
    GDN_TRY(check_range(c, "num_decode_draft_tokens", -1, c->size[GDNP_COLUMNS] - 1));
    requests r = {
        .starts = readable(c, "query_start_loc"),
        .seq_lens = readable(c, "seq_lens"),
        .block_table = readable(c, "block_table"),
        .drafts = readable(c, "num_decode_draft_tokens"),
        .accepted = readable(c, "num_accepted_tokens"),
    };
    if (!r.starts) {
        return GDN_OK;
    }
    for (int64_t i = 0; r.drafts && i < r.drafts->shape[0]; i++) {
        r.speculative = r.speculative || gdn_tensor_int(r.drafts, i, 0) > 0;
    }
    if (r.speculative && !gdnp_check_tensor(c, "num_accepted_tokens")) {
        return gdn_error_set(c->err, GDN_ERR_ARG,
                             "num_accepted_tokens: expected a tensor beside draft counts "
                             "above 0 but found none");
    }
    for (int64_t i = 0; i < c->size[GDNP_REQUESTS]; i++) {
        GDN_TRY(check_request(c, &r, i));
    }
    return check_padding_order(c, &r);
}

gdn_status gdnp_check_indices(const gdnp_check *c) {
    switch (c->call->op) {
    case GDN_OP_CAUSAL_CONV1D:
    case GDN_OP_GATED_DELTA_RULE:
        return check_sequences(c);
    case GDN_OP_GDN_ATTENTION:
        return check_attention(c);
    case GDN_OP_GDN_METADATA:
        return check_metadata(c);
    default: /* gdn_gating has none; those of draft verification are checked apart */
        break;
    }
    return GDN_OK;
}
