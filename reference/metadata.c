/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* From a request batch to the index tensors of gdn_attention, by the rules of vLLM's
 * metadata builder (contract vllm_cpu_and_metadata 3.1 and 3.2).
 *
 * A batch is speculative if its draft counts are given and some count is above 0; then the
 * requests with a count of 0 or more are spec rows. Length never decides it: a prompt may
 * be as long as a verification step. What the other requests are differs by revision:
 *
 *                        early               mid               late
 *   no spec rows:        leading requests    as early          as early, but a fresh prompt
 *     decodes are        of <= 1 token                         of one token is none
 *   beside spec rows:
 *     one-token request  decode              prefill           prefill
 *     empty request      prefill             not counted       not counted
 *   pad_slot_id          -1                  0                 0 (the profile's)
 *
 * What is no decode is a prefill. Uncounted requests keep their rows in the non-spec
 * tables, unless nothing but spec rows counts: then there are no non-spec tables at all.
 *
 * Where the contract leaves a choice:
 * - The split without spec rows counts empty requests, in every revision: the exclusion is
 *   stated for the split beside spec rows only, and padded decode batches need the rows.
 * - That split ends at the first prefill, so a decode behind one counts as a prefill.
 * - The "one-token chunk" that late also calls a prefill is a decode here: seq_lens cannot
 *   tell the last token of a chunked prompt from a decode.
 * - Batches without spec rows have no token index tensors (rows are tokens).
 * - Padding a pure decode batch starts behind the last request: an empty request of the
 *   input is a decode with a block table row of its own, and keeps its id. */
#include "ops.h"

typedef enum request_kind { PREFILL, DECODE, SPEC, UNCOUNTED, KINDS } request_kind;

/* The tensors behind `counts`, in its order. */
enum {
    HAS_INITIAL_STATE,
    SPEC_STARTS,
    NON_SPEC_STARTS,
    SPEC_SLOTS,
    NON_SPEC_SLOTS,
    SPEC_TOKENS,
    NON_SPEC_TOKENS,
    ACCEPTED,
    TABLES
};

static const char *const TABLE_NAMES[TABLES] = {
    [HAS_INITIAL_STATE] = "has_initial_state",
    [SPEC_STARTS] = "spec_query_start_loc",
    [NON_SPEC_STARTS] = "non_spec_query_start_loc",
    [SPEC_SLOTS] = "spec_state_indices_tensor",
    [NON_SPEC_SLOTS] = "non_spec_state_indices_tensor",
    [SPEC_TOKENS] = "spec_token_indx",
    [NON_SPEC_TOKENS] = "non_spec_token_indx",
    [ACCEPTED] = "spec_num_accepted_tokens",
};

/* An output that grows by rows. The rows are counted even if nobody wants the values. */
typedef struct table {
    gdn_output *output;
    int64_t rows;
} table;

typedef struct request {
    int64_t first, length;
    int64_t computed; /* tokens that the states already cover */
    bool spec;
} request;

typedef struct batch {
    const gdn_tensor *query_start_loc, *seq_lens, *block_table, *drafts, *accepted;
    gdn_metadata_rules rules;
    int64_t pad_slot_id;
    int64_t columns;
    int64_t padded; /* requests with graph padding; 0: no padding */
    bool speculative;
    int64_t requests[KINDS], tokens[KINDS];
    table tables[TABLES];
} batch;

static void put(const table *t, int64_t column, int64_t value) {
    if (t->output) {
        const gdn_tensor *v = &t->output->value;
        const int64_t at =
            t->rows * v->stride[0] + (v->rank > 1 ? column * v->stride[1] : 0);
        gdn_store(v->data, v->dtype, at, (double)value);
    }
}

static void end_row(table *t) {
    gdnp_mark_row(t->output, t->rows);
    t->rows++;
}

static void append(table *t, int64_t value) {
    put(t, 0, value);
    end_row(t);
}

/* Repeats a value until the table has `rows` rows. */
static void extend(table *t, int64_t rows, int64_t columns, int64_t value) {
    while (t->rows < rows) {
        for (int64_t c = 0; c < columns; c++) {
            put(t, c, value);
        }
        end_row(t);
    }
}

static request request_at(const batch *b, int64_t i) {
    const int64_t first = gdn_tensor_int(b->query_start_loc, i, 0);
    const int64_t length = gdn_tensor_int(b->query_start_loc, i + 1, 0) - first;
    return (request){
        .first = first,
        .length = length,
        .computed = gdn_tensor_int(b->seq_lens, i, 0) - length,
        .spec = b->speculative && gdn_tensor_int(b->drafts, i, 0) >= 0,
    };
}

/* `leading`: no prefill stands before the request. */
static request_kind kind_of(const batch *b, const request *r, bool leading) {
    if (r->spec) {
        return SPEC;
    }
    if (!b->speculative) {
        const bool fresh =
            b->rules == GDN_METADATA_LATE && r->length == 1 && r->computed == 0;
        return leading && r->length <= 1 && !fresh ? DECODE : PREFILL;
    }
    if (b->rules == GDN_METADATA_EARLY) {
        return r->length == 1 ? DECODE : PREFILL;
    }
    return r->length > 0 ? PREFILL : UNCOUNTED;
}

static void count_requests(batch *b) {
    bool leading = true;
    for (int64_t i = 0; i < b->seq_lens->shape[0]; i++) {
        const request r = request_at(b, i);
        const request_kind kind = kind_of(b, &r, leading);
        leading = leading && kind == DECODE;
        b->requests[kind]++;
        b->tokens[kind] += r.length;
    }
}

/* Of what counts, and something always does. */
static bool only(const batch *b, request_kind kind) {
    for (int k = 0; k < UNCOUNTED; k++) {
        if (k != (int)kind && b->requests[k] > 0) {
            return false;
        }
    }
    return true;
}

static void list_spec(batch *b, int64_t i, const request *r, int64_t *tokens) {
    table *const t = b->tables;
    *tokens += r->length;
    append(&t[SPEC_STARTS], *tokens);
    for (int64_t c = 0; c < b->columns; c++) {
        put(&t[SPEC_SLOTS], c, gdn_tensor_int(b->block_table, i, c));
    }
    end_row(&t[SPEC_SLOTS]);
    append(&t[ACCEPTED], gdn_tensor_int(b->accepted, i, 0));
    for (int64_t p = 0; p < r->length; p++) {
        append(&t[SPEC_TOKENS], r->first + p);
    }
}

static void list_non_spec(batch *b, int64_t i, const request *r, int64_t *tokens) {
    table *const t = b->tables;
    *tokens += r->length;
    append(&t[NON_SPEC_STARTS], *tokens);
    append(&t[NON_SPEC_SLOTS], gdn_tensor_int(b->block_table, i, 0));
    if (b->requests[PREFILL] > 0) {
        append(&t[HAS_INITIAL_STATE], r->computed > 0);
    }
    for (int64_t p = 0; b->speculative && p < r->length; p++) {
        append(&t[NON_SPEC_TOKENS], r->first + p);
    }
}

/* One pass in request order keeps every table in that order too, which is what upstream's
 * stable sort of the tokens amounts to. */
static void list_requests(batch *b) {
    const bool pure_spec = only(b, SPEC);
    int64_t spec_tokens = 0;
    int64_t non_spec_tokens = 0;
    if (b->speculative) {
        append(&b->tables[SPEC_STARTS], 0);
    }
    if (!pure_spec) {
        append(&b->tables[NON_SPEC_STARTS], 0);
    }
    for (int64_t i = 0; i < b->seq_lens->shape[0]; i++) {
        const request r = request_at(b, i);
        if (r.spec) {
            list_spec(b, i, &r, &spec_tokens);
        } else if (!pure_spec) {
            list_non_spec(b, i, &r, &non_spec_tokens);
        }
    }
}

/* A captured graph has fixed shapes: padding requests look like empty sequences. Mixed
 * batches and prefills run outside graphs. */
static void pad_tables(batch *b) {
    table *const t = b->tables;
    if (only(b, SPEC)) {
        extend(&t[SPEC_STARTS], b->padded + 1, 1, b->tokens[SPEC]);
        extend(&t[SPEC_SLOTS], b->padded, b->columns, b->pad_slot_id);
        extend(&t[ACCEPTED], b->padded, 1, 1);
    } else if (only(b, DECODE)) {
        extend(&t[NON_SPEC_STARTS], b->padded + 1, 1, b->tokens[DECODE]);
        extend(&t[NON_SPEC_SLOTS], b->padded, 1, b->pad_slot_id);
    }
}

static bool any_draft(const gdn_tensor *drafts) {
    for (int64_t i = 0; drafts && i < drafts->shape[0]; i++) {
        if (gdn_tensor_int(drafts, i, 0) > 0) {
            return true;
        }
    }
    return false;
}

gdn_status gdn_reference_metadata(const gdn_call *call, gdn_output *outputs,
                                  gdn_error *err) {
    /* Calls without data pass the check, which knows shapes only. */
    for (size_t i = 0; i < call->n_tensors; i++) {
        const gdn_tensor *t = &call->tensors[i];
        if (!t->data && gdn_op_argument(call->op, t->name)->access == GDN_IN) {
            return gdn_error_set(err, GDN_ERR_ARG, "%s: expected data but found none",
                                 t->name);
        }
    }
    const gdn_tensor *drafts = gdn_call_tensor(call, "num_decode_draft_tokens");
    batch b = {
        .query_start_loc = gdn_call_tensor(call, "query_start_loc"),
        .seq_lens = gdn_call_tensor(call, "seq_lens"),
        .block_table = gdn_call_tensor(call, "block_table"),
        .drafts = drafts,
        .accepted = gdn_call_tensor(call, "num_accepted_tokens"),
        .rules = call->conventions->metadata_rules,
        .pad_slot_id = call->conventions->pad_slot_id,
        .columns = gdn_call_scalar(call, "num_spec", 0) + 1,
        .padded = gdn_call_scalar(call, "pad_requests", 0),
        .speculative = any_draft(drafts),
    };
    for (int i = 0; i < TABLES; i++) {
        b.tables[i].output = gdnp_output(call, outputs, TABLE_NAMES[i]);
    }
    count_requests(&b);
    list_requests(&b);
    pad_tables(&b);

    table counts = {.output = gdnp_output(call, outputs, "counts")};
    for (int k = PREFILL; k <= SPEC; k++) {
        append(&counts, b.requests[k]);
        append(&counts, b.tokens[k]);
    }
    for (int i = 0; i < TABLES; i++) {
        append(&counts, b.tables[i].rows);
    }
    return GDN_OK;
}
