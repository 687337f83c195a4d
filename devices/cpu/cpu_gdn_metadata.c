/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* gdn_metadata: a request batch to the index tensors of the other ops, by the rules of
 * contract vllm_cpu_and_metadata 3.1 and 3.2. Integers only, on one thread. */
#include "cpu.h"

/* Outputs behind `counts`, in the order in which counts tells their rows. */
enum {
    HAS_INITIAL,
    SPEC_STARTS,
    STARTS,
    SPEC_STATES,
    STATES,
    SPEC_TOKENS,
    TOKENS,
    ACCEPTED,
    OUTPUTS
};

static const char *const NAMES[OUTPUTS] = {"has_initial_state",
                                           "spec_query_start_loc",
                                           "non_spec_query_start_loc",
                                           "spec_state_indices_tensor",
                                           "non_spec_state_indices_tensor",
                                           "spec_token_indx",
                                           "non_spec_token_indx",
                                           "spec_num_accepted_tokens"};

typedef struct requests {
    const gdn_conventions *conventions;
    const gdn_tensor *starts, *seq_lens, *blocks, *drafts, *accepted;
    const gdn_tensor *out[OUTPUTS];
    int64_t rows[OUTPUTS]; /* valid ones; 0: None */
    int64_t count, columns, padded;
    bool speculative; /* some request has drafts */
    int64_t prefills, prefill_tokens, decodes, decode_tokens, specs, spec_tokens;
} requests;

static void put(const gdn_tensor *tensor, int64_t i, int64_t j, int64_t value) {
    const int64_t at =
        i * tensor->stride[0] + (tensor->rank > 1 ? j * tensor->stride[1] : 0);
    switch (tensor->dtype) {
    case GDN_I64:
        ((int64_t *)tensor->data)[at] = value;
        break;
    case GDN_I32:
        ((int32_t *)tensor->data)[at] = (int32_t)value;
        break;
    default:
        ((uint8_t *)tensor->data)[at] = (uint8_t)value;
        break;
    }
}

static int64_t start_of(const requests *r, int64_t i) {
    return gdn_tensor_int(r->starts, i, 0);
}

static int64_t length_of(const requests *r, int64_t i) {
    return start_of(r, i + 1) - start_of(r, i);
}

static bool is_spec(const requests *r, int64_t i) {
    return r->speculative && gdn_tensor_int(r->drafts, i, 0) >= 0;
}

/* Tokens that the request had before this step. */
static bool has_context(const requests *r, int64_t i) {
    return gdn_tensor_int(r->seq_lens, i, 0) > length_of(r, i);
}

static requests requests_of(const gdn_call *call) {
    requests r = {
        .conventions = call->conventions,
        .starts = gdn_call_tensor(call, "query_start_loc"),
        .seq_lens = gdn_call_tensor(call, "seq_lens"),
        .blocks = gdn_call_tensor(call, "block_table"),
        .drafts = gdn_call_tensor(call, "num_decode_draft_tokens"),
        .accepted = gdn_call_tensor(call, "num_accepted_tokens"),
        .columns = gdn_call_scalar(call, "num_spec", 0) + 1,
        .padded = gdn_call_scalar(call, "pad_requests", 0),
    };
    r.count = r.starts->shape[0] - 1;
    for (int i = 0; i < OUTPUTS; i++) {
        r.out[i] = gdn_call_tensor(call, NAMES[i]);
    }
    return r;
}

static gdn_status check(const gdn_call *call, gdn_error *err) {
    const int64_t any[2] = {-1, -1};
    GDN_TRY(cpu_expect(call, "query_start_loc", CPU_INTEGERS, 1, any, err));
    const int64_t count = gdn_call_tensor(call, "query_start_loc")->shape[0] - 1;
    const int64_t columns = gdn_call_scalar(call, "num_spec", 0) + 1;
    const int64_t padded = gdn_call_scalar(call, "pad_requests", 0);
    const int64_t room = count > padded ? count : padded;
    const struct {
        const char *name;
        int rank;
        int64_t rows;
    } arguments[] = {
        {"seq_lens", 1, count},
        {"block_table", 2, count},
        {"num_decode_draft_tokens", 1, count},
        {"num_accepted_tokens", 1, count},
        {"counts", 1, 6 + OUTPUTS},
        {NAMES[HAS_INITIAL], 1, count},
        {NAMES[SPEC_STARTS], 1, room + 1},
        {NAMES[STARTS], 1, room + 1},
        {NAMES[SPEC_STATES], 2, room},
        {NAMES[STATES], 1, room},
        {NAMES[SPEC_TOKENS], 1, 0},
        {NAMES[TOKENS], 1, 0},
        {NAMES[ACCEPTED], 1, room},
    };
    GDN_TRY(cpu_expect_positive("columns", columns, err));
    if (count < 0) {
        return gdn_error_set(err, GDN_ERR_ARG, "query_start_loc: expected 1 row or more");
    }
    for (size_t i = 0; i < sizeof arguments / sizeof arguments[0]; i++) {
        const char *name = arguments[i].name;
        const unsigned types = CPU_INTEGERS | CPU_TYPE(GDN_BOOL);
        GDN_TRY(cpu_expect(call, name, types, arguments[i].rank, any, err));
        const gdn_tensor *tensor = gdn_call_tensor(call, name);
        if (tensor && tensor->shape[0] < arguments[i].rows) {
            return gdn_error_set(err, GDN_ERR_ARG,
                                 "%s: expected %lld rows or more but found %lld", name,
                                 (long long)arguments[i].rows, (long long)tensor->shape[0]);
        }
        if (tensor && tensor->rank == 2 && tensor->shape[1] < columns) {
            return gdn_error_set(err, GDN_ERR_ARG,
                                 "%s: expected %lld columns or more but found %lld", name,
                                 (long long)columns, (long long)tensor->shape[1]);
        }
    }
    return GDN_OK;
}

/* What the shapes cannot tell. */
static gdn_status check_values(const requests *r, gdn_error *err) {
    if (start_of(r, 0) != 0) {
        return gdn_error_set(err, GDN_ERR_ARG, "query_start_loc: expected to start at 0");
    }
    for (int64_t i = 0; i < r->count; i++) {
        if (length_of(r, i) < 0) {
            return gdn_error_set(err, GDN_ERR_ARG, "query_start_loc: falls after row %lld",
                                 (long long)i);
        }
    }
    const int64_t tokens = start_of(r, r->count);
    if (r->out[SPEC_TOKENS]->shape[0] < tokens || r->out[TOKENS]->shape[0] < tokens) {
        return gdn_error_set(err, GDN_ERR_ARG, "token lists: expected room for %lld tokens",
                             (long long)tokens);
    }
    if (r->speculative && !r->accepted) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "num_accepted_tokens: the call has drafts but lacks it");
    }
    return GDN_OK;
}

static void find_drafts(requests *r) {
    int64_t sum = 0;
    for (int64_t i = 0; r->drafts && i < r->count; i++) {
        const int64_t drafts = gdn_tensor_int(r->drafts, i, 0);
        sum += drafts > 0 ? drafts : 0;
    }
    r->speculative = sum > 0;
}

/* Without speculation the batch is ordered: the leading rows of a token or none are
 * decodes, all others prefills. */
static void classify_plain(requests *r) {
    const bool late = r->conventions->metadata_rules == GDN_METADATA_LATE;
    while (r->decodes < r->count) {
        const int64_t length = length_of(r, r->decodes);
        if (length > 1 || (late && length == 1 && !has_context(r, r->decodes))) {
            break;
        }
        r->decodes++;
    }
    r->prefills = r->count - r->decodes;
    r->decode_tokens = start_of(r, r->decodes);
    r->prefill_tokens = start_of(r, r->count) - r->decode_tokens;
}

static void classify_spec(requests *r) {
    const bool early = r->conventions->metadata_rules == GDN_METADATA_EARLY;
    for (int64_t i = 0; i < r->count; i++) {
        const int64_t length = length_of(r, i);
        if (is_spec(r, i)) {
            r->specs++;
            r->spec_tokens += length;
        } else if (length == 1) {
            r->decodes++;
            r->decode_tokens++;
        } else if (length > 1 || early) {
            r->prefills++;
            r->prefill_tokens += length;
        }
    }
    if (!early) {
        r->prefills += r->decodes;
        r->prefill_tokens += r->decode_tokens;
        r->decodes = 0;
        r->decode_tokens = 0;
    }
}

/* Appends a row to an output of one column. */
static void append(requests *r, int output, int64_t value) {
    put(r->out[output], r->rows[output]++, 0, value);
}

static void append_states(requests *r, int64_t request) {
    for (int64_t c = 0; c < r->columns; c++) {
        put(r->out[SPEC_STATES], r->rows[SPEC_STATES], c,
            gdn_tensor_int(r->blocks, request, c));
    }
    r->rows[SPEC_STATES]++;
}

static void write_plain(requests *r) {
    append(r, STARTS, start_of(r, 0));
    for (int64_t i = 0; i < r->count; i++) {
        append(r, STARTS, start_of(r, i + 1));
        append(r, STATES, gdn_tensor_int(r->blocks, i, 0));
        if (r->prefills > 0) {
            append(r, HAS_INITIAL, has_context(r, i));
        }
    }
    if (r->prefills == 0 && r->decodes > 0) {
        while (r->rows[STATES] < r->padded) {
            append(r, STATES, r->conventions->pad_slot_id);
            append(r, STARTS, start_of(r, r->count));
        }
    }
}

/* Speculative requests alone: starts are the batch's own, since what is not speculative is
 * empty and stands at the end. */
static void write_pure(requests *r) {
    const int64_t total = start_of(r, r->count);
    const int64_t tokens = r->specs * r->columns < total ? r->specs * r->columns : total;
    for (int64_t i = 0; i <= r->specs; i++) {
        append(r, SPEC_STARTS, start_of(r, i));
    }
    for (int64_t t = 0; t < tokens; t++) {
        append(r, SPEC_TOKENS, t);
    }
    for (int64_t i = 0; i < r->count; i++) {
        if (is_spec(r, i)) {
            append_states(r, i);
            append(r, ACCEPTED, gdn_tensor_int(r->accepted, i, 0));
        }
    }
    while (r->rows[SPEC_STATES] < r->padded) {
        for (int64_t c = 0; c < r->columns; c++) {
            put(r->out[SPEC_STATES], r->rows[SPEC_STATES], c, r->conventions->pad_slot_id);
        }
        r->rows[SPEC_STATES]++;
        append(r, SPEC_STARTS, start_of(r, r->specs));
        append(r, ACCEPTED, 1);
    }
}

static void write_mixed(requests *r) {
    int64_t spec_tokens = 0, tokens = 0;
    append(r, SPEC_STARTS, 0);
    append(r, STARTS, 0);
    for (int64_t i = 0; i < r->count; i++) {
        const bool spec = is_spec(r, i);
        for (int64_t t = start_of(r, i); t < start_of(r, i + 1); t++) {
            append(r, spec ? SPEC_TOKENS : TOKENS, t);
        }
        if (spec) {
            spec_tokens += length_of(r, i);
            append(r, SPEC_STARTS, spec_tokens);
            append_states(r, i);
            append(r, ACCEPTED, gdn_tensor_int(r->accepted, i, 0));
            continue;
        }
        tokens += length_of(r, i);
        append(r, STARTS, tokens);
        append(r, STATES, gdn_tensor_int(r->blocks, i, 0));
        if (r->prefills > 0) {
            append(r, HAS_INITIAL, has_context(r, i));
        }
    }
}

static gdn_status run(gdn_device *device, const gdn_call *call, gdn_error *err) {
    (void)device;
    requests r = requests_of(call);
    find_drafts(&r);
    GDN_TRY(check_values(&r, err));
    if (!r.speculative) {
        classify_plain(&r);
        write_plain(&r);
    } else {
        classify_spec(&r);
        if (r.prefills + r.decodes == 0) {
            write_pure(&r);
        } else {
            write_mixed(&r);
        }
    }
    const gdn_tensor *counts = gdn_call_tensor(call, "counts");
    const int64_t numbers[] = {r.prefills,      r.prefill_tokens, r.decodes,
                               r.decode_tokens, r.specs,          r.spec_tokens};
    for (int i = 0; i < 6; i++) {
        put(counts, i, 0, numbers[i]);
    }
    for (int i = 0; i < OUTPUTS; i++) {
        put(counts, 6 + i, 0, r.rows[i]);
    }
    return GDN_OK;
}

const cpu_op cpu_gdn_metadata = {.check = check, .run = run};
