/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The batch grammar: "spec4x3+pre2x65+dec5" to sequences. */
#include "case_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TERMS 64

typedef enum term_kind { TERM_PRE, TERM_DEC, TERM_SPEC, TERM_RAG, TERM_PAD } term_kind;

static const struct {
    const char *name;
    bool has_length;
} TERMS[] = {
    [TERM_PRE] = {"pre", true}, [TERM_DEC] = {"dec", false}, [TERM_SPEC] = {"spec", true},
    [TERM_RAG] = {"rag", true}, [TERM_PAD] = {"pad", false},
};

typedef struct term {
    term_kind kind;
    int64_t count, length;
} term;

typedef struct term_list {
    term items[MAX_TERMS];
    size_t count;
    int64_t sequences, tokens;
} term_list;

/* One spelling a number, so that one batch has one id. */
static bool read_number(const char **text, int64_t *number) {
    if (**text < '1' || **text > '9') {
        return false;
    }
    *number = 0;
    for (; isdigit((unsigned char)**text); (*text)++) {
        if (*number <= GDNP_MAX_TOKENS) {
            *number = *number * 10 + (**text - '0');
        }
    }
    return true;
}

static bool read_term(const char **text, term *out) {
    for (size_t i = 0; i < sizeof TERMS / sizeof TERMS[0]; i++) {
        const size_t n = strlen(TERMS[i].name);
        if (strncmp(*text, TERMS[i].name, n) != 0) {
            continue;
        }
        *text += n;
        *out = (term){.kind = (term_kind)i, .length = 1};
        if (!read_number(text, &out->count)) {
            return false;
        }
        return !TERMS[i].has_length ||
               (**text == 'x' && (++*text, read_number(text, &out->length)));
    }
    return false;
}

static gdn_status check_size(const char *what, int64_t value, int64_t most,
                             const char *batch, gdn_error *err) {
    if (value <= most) {
        return GDN_OK;
    }
    return gdn_error_set(err, GDN_ERR_ARG,
                         "batch: expected at most %lld %s but found more in \"%.200s\"",
                         (long long)most, what, batch);
}

/* Tokens of a term: ragged sequences run through Q, Q-1, .., 1 again and again. */
static int64_t term_tokens(const term *t) {
    if (t->kind != TERM_RAG) {
        return t->count * t->length;
    }
    const int64_t rest = t->count % t->length;
    return t->count / t->length * (t->length * (t->length + 1) / 2) + rest * t->length -
           rest * (rest - 1) / 2;
}

/* The request batch is padded before a backend sees it; elsewhere the profile says. */
static bool takes_padding(const gdn_case *test) {
    return test->op == GDN_OP_GDN_METADATA ||
           (test->op != GDN_OP_GDN_GATING &&
            test->conventions.pad_sequences != GDN_PAD_REFUSED);
}

static gdn_status bad_term(const gdn_case *test, const char *start, gdn_error *err) {
    const int length = (int)strcspn(start, "+");
    return gdn_error_set(
        err, GDN_ERR_ARG,
        "batch: expected pre<n>x<len>, dec<n>, spec<n>x<Q> or rag<n>x<Q>%s, "
        "numbers from 1 on, but found \"%.*s\" in \"%.200s\"",
        takes_padding(test) ? ", and pad<n> last" : "", length < 80 ? length : 80, start,
        test->batch);
}

static gdn_status check_term(const term *t, const char *batch, gdn_error *err) {
    const bool spec = t->kind == TERM_SPEC || t->kind == TERM_RAG;
    GDN_TRY(check_size("sequences", t->count, GDNP_MAX_SEQUENCES, batch, err));
    GDN_TRY(check_size("tokens", t->length, GDNP_MAX_TOKENS, batch, err));
    return spec ? check_size("draft columns", t->length, GDNP_MAX_COLUMNS, batch, err)
                : GDN_OK;
}

static gdn_status read_terms(term_list *terms, gdn_case *test, gdn_error *err) {
    const char *at = test->batch;
    const char *start = at;
    do {
        term t;
        start = at;
        if (!read_term(&at, &t) || (*at != '\0' && *at != '+')) {
            return bad_term(test, start, err);
        }
        GDN_TRY(check_term(&t, test->batch, err));
        if (t.kind == TERM_PAD) {
            if (!takes_padding(test) || *at != '\0') {
                return bad_term(test, start, err);
            }
            test->pad_requests = t.count;
            GDN_TRY(check_size("sequences", terms->sequences + t.count, GDNP_MAX_SEQUENCES,
                               test->batch, err));
            break;
        }
        if (terms->count == MAX_TERMS) {
            return gdn_error_set(err, GDN_ERR_ARG,
                                 "batch: expected at most %d terms but found more in "
                                 "\"%.200s\"",
                                 MAX_TERMS, test->batch);
        }
        terms->items[terms->count++] = t;
        terms->sequences += t.count;
        terms->tokens += term_tokens(&t);
        GDN_TRY(check_size("sequences", terms->sequences, GDNP_MAX_SEQUENCES, test->batch,
                           err));
        GDN_TRY(check_size("tokens", terms->tokens, GDNP_MAX_TOKENS, test->batch, err));
    } while (*at++ == '+');
    if (terms->tokens == 0) {
        return gdn_error_set(
            err, GDN_ERR_ARG,
            "batch: expected at least one token but found none in \"%.200s\"", test->batch);
    }
    return GDN_OK;
}

static gdn_sequence_kind sequence_kind(term_kind kind) {
    switch (kind) {
    case TERM_PRE:
        return GDN_SEQ_PREFILL;
    case TERM_SPEC:
    case TERM_RAG:
        return GDN_SEQ_SPEC;
    case TERM_DEC:
    case TERM_PAD:
        break;
    }
    return GDN_SEQ_DECODE;
}

static void append_term(gdn_case *test, const term *t) {
    for (int64_t i = 0; i < t->count; i++) {
        const int64_t less = t->kind == TERM_RAG ? i % t->length : 0;
        test->sequences[test->n_sequences++] = (gdn_sequence){
            .kind = sequence_kind(t->kind),
            .length = t->length - less,
        };
    }
    if (sequence_kind(t->kind) == GDN_SEQ_SPEC && t->length > test->columns) {
        test->columns = t->length;
    }
}

/* Start states and accepted counts; an accepted count beyond the columns cannot be asked
 * for. */
static void set_history(gdn_case *test) {
    int64_t item = 0;
    for (size_t i = 0; i < test->n_sequences; i++) {
        test->sequences[i].source = (int64_t)i;
        test->sequences[i].first_item = item;
        item += test->sequences[i].length;
    }
    int64_t prefills = 0;
    uint64_t drafts = 0;
    for (size_t i = 0; i < test->n_sequences; i++) {
        gdn_sequence *s = &test->sequences[i];
        if (s->kind == GDN_SEQ_SPEC) {
            const uint64_t counts = (uint64_t)test->columns + 1;
            s->has_initial_state = true;
            s->accepted = test->accepted == GDN_ACCEPTED_CYCLE
                              ? (int64_t)((test->seed % counts + drafts++) % counts)
                          : test->accepted == GDN_ACCEPTED_FULL ? test->columns
                                                                : 1;
            continue;
        }
        s->has_initial_state = test->initial != GDN_INITIAL_NONE;
        if (s->kind == GDN_SEQ_PREFILL && test->initial == GDN_INITIAL_MIXED) {
            s->has_initial_state = prefills++ % 2 == 0;
        }
    }
}

bool gdnp_case_has_chunks(const gdn_case *test) {
    for (size_t i = 0; i < test->n_sequences; i++) {
        if (test->sequences[i].kind == GDN_SEQ_PREFILL && test->sequences[i].length > 1) {
            return true;
        }
    }
    return false;
}

bool gdnp_case_has_spec(const gdn_case *test) {
    for (size_t i = 0; i < test->n_sequences; i++) {
        if (test->sequences[i].kind == GDN_SEQ_SPEC) {
            return true;
        }
    }
    return false;
}

bool gdnp_case_has_non_spec(const gdn_case *test) {
    for (size_t i = 0; i < test->n_sequences; i++) {
        if (test->sequences[i].kind != GDN_SEQ_SPEC) {
            return true;
        }
    }
    return false;
}

/* Padded sequences among the `real` non-spec ones, which stand first. */
static void insert_padding(gdn_case *test, size_t real) {
    const gdn_sequence pad = {.kind = GDN_SEQ_DECODE, .length = 1, .padded = true};
    size_t placed[3] = {0}; /* before the first, in the middle, behind the last */
    for (int64_t i = 0; i < test->pad_requests; i++) {
        placed[(test->seed % 3 + (uint64_t)i) % 3]++;
    }
    const size_t parts[3] = {0, real / 2, real};
    size_t shift = 0;
    for (int p = 0; p < 3; p++) {
        gdn_sequence *at = test->sequences + parts[p] + shift;
        const size_t behind = test->n_sequences - parts[p] - shift;
        memmove(at + placed[p], at, behind * sizeof *at);
        for (size_t i = 0; i < placed[p]; i++) {
            at[i] = pad;
        }
        test->n_sequences += placed[p];
        shift += placed[p];
    }
}

/* What an op, or the profile, can take of batches. */
static gdn_status check_batch(const gdn_case *test, bool ragged_spec, gdn_error *err) {
    const bool spec = gdnp_case_has_spec(test);
    const char *op = gdn_op_get(test->op)->name;
    if (test->op == GDN_OP_GDN_GATING && spec) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "batch: expected no speculative sequences for %s, which knows "
                             "tokens only, but found \"%.200s\"",
                             op, test->batch);
    }
    if (test->op == GDN_OP_CONV_WEIGHT_PACK && strcmp(test->batch, "dec1") != 0) {
        return gdn_error_set(
            err, GDN_ERR_ARG,
            "batch: expected dec1 for %s, which knows no tokens, but found "
            "\"%.200s\"",
            op, test->batch);
    }
    if (test->op == GDN_OP_GDN_ATTENTION && spec &&
        test->conventions.spec_state == GDN_SPEC_BUFFER) {
        return gdn_error_set(
            err, GDN_ERR_ARG,
            "batch: expected no speculative sequences for %s under profile "
            "%s, whose speculative states go to a buffer that it has not, "
            "but found \"%.200s\"",
            op, test->profile, test->batch);
    }
    const bool one_kind =
        test->op == GDN_OP_CAUSAL_CONV1D || test->op == GDN_OP_GATED_DELTA_RULE;
    if (one_kind && spec && gdnp_case_has_non_spec(test)) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "batch: expected speculative sequences only or none for %s, "
                             "whose calls are one or the other, but found \"%.200s\"",
                             op, test->batch);
    }
    for (size_t i = 0; !ragged_spec && i < test->n_sequences; i++) {
        const gdn_sequence *s = &test->sequences[i];
        if (s->kind == GDN_SEQ_SPEC && s->length < test->columns) {
            return gdn_error_set(
                err, GDN_ERR_ARG,
                "batch: expected speculative sequences of %lld tokens each, "
                "because profile %s takes no ragged ones, but found one of "
                "%lld in \"%.200s\"",
                (long long)test->columns, test->profile, (long long)s->length, test->batch);
        }
    }
    return GDN_OK;
}

gdn_status gdnp_case_expand_batch(gdn_case *test, bool ragged_spec, gdn_error *err) {
    term_list terms = {.count = 0};
    GDN_TRY(read_terms(&terms, test, err));
    const size_t room = (size_t)(terms.sequences + test->pad_requests);
    test->sequences = calloc(room, sizeof *test->sequences);
    if (!test->sequences) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %lld sequences",
                             (long long)terms.sequences);
    }
    if (test->op == GDN_OP_GDN_METADATA) {
        /* The terms are the rows of the request batch, whatever their order. */
        for (size_t i = 0; i < terms.count; i++) {
            append_term(test, &terms.items[i]);
        }
    } else {
        size_t non_spec = 0;
        for (int spec = 0; spec < 2; spec++) {
            non_spec = spec == 0 ? 0 : test->n_sequences;
            for (size_t i = 0; i < terms.count; i++) {
                const bool is_spec = sequence_kind(terms.items[i].kind) == GDN_SEQ_SPEC;
                if (is_spec == (spec == 1)) {
                    append_term(test, &terms.items[i]);
                }
            }
        }
        insert_padding(test, non_spec);
    }
    set_history(test);
    return check_batch(test, ragged_spec, err);
}
