/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* gdn_metadata: a request batch to the index tensors of the other ops, by the rules of
 * contract vllm_cpu_and_metadata 3.1 and 3.2. One work-item: every output is a list that is
 * appended to in request order, and a batch has hundreds of requests, not millions. */
typedef struct gk_builder {
    const gk_memory *m;
    const gk_metadata_args *args;
    long rows[GK_METADATA_OUTPUTS];
    long prefills, prefill_tokens, decodes, decode_tokens, specs, spec_tokens;
} gk_builder;

static void gk_append(gk_builder *b, int output, long value) {
    gk_put_int(b->m, &b->args->out[output], b->rows[output]++, 0, value);
}

static long gk_start(const gk_builder *b, long i) {
    return gk_int(b->m, &b->args->starts, i, 0);
}

static long gk_length(const gk_builder *b, long i) {
    return gk_start(b, i + 1) - gk_start(b, i);
}

/* Tokens before this step? */
static bool gk_has_context(const gk_builder *b, long i) {
    return gk_int(b->m, &b->args->seq_lens, i, 0) > gk_length(b, i);
}

static bool gk_is_spec(const gk_builder *b, long i) {
    return gk_int(b->m, &b->args->drafts, i, 0) >= 0;
}

static void gk_append_non_spec(gk_builder *b, long i, long end) {
    gk_append(b, GK_STARTS, end);
    gk_append(b, GK_STATES, gk_int(b->m, &b->args->blocks, i, 0));
    if (b->prefills > 0) {
        gk_append(b, GK_HAS_INITIAL, gk_has_context(b, i));
    }
}

static void gk_append_spec(gk_builder *b, long i, long end) {
    gk_append(b, GK_SPEC_STARTS, end);
    for (int c = 0; c < b->args->columns; c++) {
        gk_put_int(b->m, &b->args->out[GK_SPEC_STATES], b->rows[GK_SPEC_STATES], c,
                   gk_int(b->m, &b->args->blocks, i, c));
    }
    b->rows[GK_SPEC_STATES]++;
    gk_append(b, GK_ACCEPTED, gk_int(b->m, &b->args->accepted, i, 0));
}

/* Nobody has drafts. The batch is ordered: its leading rows of a token or none are decodes,
 * all behind them prefills. */
static void gk_build_plain(gk_builder *b) {
    const gk_metadata_args *args = b->args;
    for (; b->decodes < args->count; b->decodes++) {
        const long length = gk_length(b, b->decodes);
        const bool fresh = args->rules == GK_RULES_LATE && !gk_has_context(b, b->decodes);
        if (length > 1 || (length == 1 && fresh)) {
            break;
        }
    }
    b->prefills = args->count - b->decodes;
    b->decode_tokens = gk_start(b, b->decodes);
    b->prefill_tokens = gk_start(b, args->count) - b->decode_tokens;
    gk_append(b, GK_STARTS, 0);
    for (int i = 0; i < args->count; i++) {
        gk_append_non_spec(b, i, gk_start(b, i + 1));
    }
    /* A batch of decodes may be a captured graph's: it is padded up to the graph's size. */
    while (b->prefills == 0 && b->decodes > 0 && b->rows[GK_STATES] < args->padded) {
        gk_append(b, GK_STATES, args->pad_slot);
        gk_append(b, GK_STARTS, b->decode_tokens);
    }
}

static void gk_classify(gk_builder *b) {
    const bool early = b->args->rules == GK_RULES_EARLY;
    for (int i = 0; i < b->args->count; i++) {
        const long length = gk_length(b, i);
        if (gk_is_spec(b, i)) {
            b->specs++;
            b->spec_tokens += length;
        } else if (length == 1 && early) {
            b->decodes++;
            b->decode_tokens++;
        } else if (length >= 1 || early) { /* beside drafts, decodes are prefills */
            b->prefills++;
            b->prefill_tokens += length;
        }
    }
}

/* All rows that have tokens are speculative: starts are the batch's own, because rows
 * without tokens stand at its end. */
static void gk_build_pure(gk_builder *b) {
    const gk_metadata_args *args = b->args;
    const long total = gk_start(b, args->count), most = b->specs * args->columns;
    long row = 0;
    gk_append(b, GK_SPEC_STARTS, 0);
    for (int i = 0; i < args->count; i++) {
        if (gk_is_spec(b, i)) {
            gk_append_spec(b, i, gk_start(b, ++row));
        }
    }
    for (long t = 0; t < (most < total ? most : total); t++) {
        gk_append(b, GK_SPEC_TOKENS, t);
    }
    while (b->rows[GK_SPEC_STATES] < args->padded) {
        for (int c = 0; c < args->columns; c++) {
            gk_put_int(b->m, &args->out[GK_SPEC_STATES], b->rows[GK_SPEC_STATES], c,
                       args->pad_slot);
        }
        b->rows[GK_SPEC_STATES]++;
        gk_append(b, GK_SPEC_STARTS, gk_start(b, b->specs));
        gk_append(b, GK_ACCEPTED, 1);
    }
}

static void gk_build_mixed(gk_builder *b) {
    long spec_tokens = 0, tokens = 0;
    gk_append(b, GK_SPEC_STARTS, 0);
    gk_append(b, GK_STARTS, 0);
    for (int i = 0; i < b->args->count; i++) {
        const bool spec = gk_is_spec(b, i);
        for (long t = gk_start(b, i); t < gk_start(b, i + 1); t++) {
            gk_append(b, spec ? GK_SPEC_TOKENS : GK_TOKENS, t);
        }
        if (spec) {
            gk_append_spec(b, i, spec_tokens += gk_length(b, i));
        } else {
            gk_append_non_spec(b, i, tokens += gk_length(b, i));
        }
    }
}

__kernel void gk_metadata(const gk_metadata_args args, __global char *arena,
                          __global char *scratch) {
    const gk_memory m = {arena, scratch};
    gk_builder b = {0};
    b.m = &m;
    b.args = &args;
    bool speculative = false;
    for (int i = 0; args.drafts.data && i < args.count; i++) {
        speculative = speculative || gk_int(&m, &args.drafts, i, 0) > 0;
    }
    if (!speculative) {
        gk_build_plain(&b);
    } else {
        gk_classify(&b);
        if (b.prefills + b.decodes == 0) {
            gk_build_pure(&b);
        } else {
            gk_build_mixed(&b);
        }
    }
    const long numbers[] = {b.prefills,      b.prefill_tokens, b.decodes,
                            b.decode_tokens, b.specs,          b.spec_tokens};
    for (int i = 0; i < 6; i++) {
        gk_put_int(&m, &args.counts, i, 0, numbers[i]);
    }
    for (int i = 0; i < GK_METADATA_OUTPUTS; i++) {
        gk_put_int(&m, &args.counts, 6 + i, 0, b.rows[i]);
    }
}
