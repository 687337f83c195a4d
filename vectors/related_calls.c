/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Which calls a relation makes of a case: their sequences, and where these have the same
 * outputs or come from. */
#include "related.h"

#include <stdio.h>

/* Calls that `alone` and the relations of single tokens make at most. */
#define MOST_CALLS 80

static gdn_sequence *base_sequences(const gdn_related *r) {
    return r->calls[0].test.sequences;
}

static const gdn_case *base_of(const gdn_related *r) {
    return &r->calls[0].test;
}

/* Sequence s of the case as it is, with the same outputs. */
static gdn_related_sequence same_as(const gdn_related *r, size_t s) {
    return (gdn_related_sequence){
        .sequence = base_sequences(r)[s],
        .call = 0,
        .origin = (int)s,
        .column = GDN_ALL_COLUMNS,
        .from_call = -1,
    };
}

/* A sequence that is new. */
static gdn_related_sequence stranger_to(const gdn_related *r, size_t s) {
    gdn_related_sequence tie = same_as(r, s);
    tie.call = -1;
    tie.column = GDN_NO_STATE;
    tie.sequence.source += (int64_t)base_of(r)->n_sequences;
    tie.sequence.first_item += gdn_case_tokens(base_of(r));
    return tie;
}

static void append(gdn_related_call *call, const gdn_related_sequence *tie) {
    call->ties[call->test.n_sequences] = *tie;
    call->test.sequences[call->test.n_sequences++] = tie->sequence;
}

static bool is_spec(const gdn_sequence *s) {
    return s->kind == GDN_SEQ_SPEC;
}

static gdn_status refuse(const gdn_related *r, const char *expected, gdn_error *err) {
    return gdn_error_set(err, GDN_ERR_ARG, "relation \"%s\": expected %s, but found %s",
                         GDN_RELATION_NAMES[r->relation], expected, base_of(r)->id);
}

/* The whole case again, with another twist. */
static gdn_status add_twisted(gdn_related *r, const gdn_twist *twist, gdn_error *err) {
    gdn_related_call *call;
    GDN_TRY(gdnp_related_add(r, base_of(r), base_of(r)->n_sequences, &call, err));
    call->test.twist = *twist;
    for (size_t s = 0; s < base_of(r)->n_sequences; s++) {
        const gdn_related_sequence tie = same_as(r, s);
        append(call, &tie);
    }
    return GDN_OK;
}

/* A chunk or a bit more where there is as much, else half. */
static int64_t cut_of(const gdn_case *test, int64_t length) {
    return length > 66 ? 64 + (int64_t)(test->seed % 3) : (length + 1) / 2;
}

static gdn_status split(gdn_related *r, gdn_error *err) {
    const size_t n = base_of(r)->n_sequences;
    gdn_related_call *head, *tail;
    GDN_TRY(gdnp_related_add(r, base_of(r), n, &head, err));
    GDN_TRY(gdnp_related_add(r, base_of(r), n, &tail, err));
    head = &r->calls[1];
    for (size_t s = 0; s < n; s++) {
        gdn_related_sequence first = same_as(r, s);
        if (!is_spec(&first.sequence) && first.sequence.length > 1) {
            const int64_t cut = cut_of(base_of(r), first.sequence.length);
            gdn_related_sequence second = first;
            first.sequence.length = cut;
            first.column = GDN_NO_STATE;
            second.sequence.length -= cut;
            second.sequence.first_item += cut;
            second.sequence.has_initial_state = true;
            second.token = cut;
            second.from_call = 1;
            second.from = (int)s;
            append(tail, &second);
        }
        append(head, &first);
    }
    return tail->test.n_sequences > 0 ? GDN_OK
                                      : refuse(r, "a prefill of two tokens or more", err);
}

static gdn_status permuted(gdn_related *r, gdn_error *err) {
    const size_t n = base_of(r)->n_sequences;
    gdn_related_call *call;
    GDN_TRY(gdnp_related_add(r, base_of(r), n, &call, err));
    for (int spec = 0; spec < 2; spec++) {
        for (size_t s = n; s-- > 0;) {
            const gdn_related_sequence tie = same_as(r, s);
            if (is_spec(&tie.sequence) == (spec == 1)) {
                append(call, &tie);
            }
        }
    }
    return n > 1 ? GDN_OK : refuse(r, "two requests or more", err);
}

static gdn_status alone(gdn_related *r, gdn_error *err) {
    for (size_t s = 0; s < base_of(r)->n_sequences; s++) {
        const gdn_related_sequence tie = same_as(r, s);
        gdn_related_call *call;
        if (!tie.sequence.padded && r->n_calls < MOST_CALLS) {
            GDN_TRY(gdnp_related_add(r, base_of(r), 1, &call, err));
            append(call, &tie);
        }
    }
    return r->n_calls > 2 ? GDN_OK : refuse(r, "two requests or more", err);
}

static gdn_status batch_invariant(gdn_related *r, gdn_error *err) {
    const size_t n = base_of(r)->n_sequences;
    gdn_related_call *crowd, *half;
    GDN_TRY(gdnp_related_add(r, base_of(r), 2 * n, &crowd, err));
    GDN_TRY(gdnp_related_add(r, base_of(r), n, &half, err));
    crowd = &r->calls[1];
    for (int spec = 0; spec < 2; spec++) {
        for (size_t i = 0; i < 2 * n; i++) {
            const size_t s = i % n;
            const gdn_related_sequence tie = i < n ? stranger_to(r, s) : same_as(r, s);
            if (is_spec(&tie.sequence) == (spec == 1)) {
                append(crowd, &tie);
            }
        }
    }
    for (size_t s = 0; s < n; s += 2) {
        const gdn_related_sequence tie = same_as(r, s);
        append(half, &tie);
    }
    return GDN_OK;
}

static gdn_status unpadded(gdn_related *r, gdn_error *err) {
    const gdn_case *base = base_of(r);
    gdn_related_call *call;
    GDN_TRY(gdnp_related_add(r, base, base->n_sequences, &call, err));
    call->test.pad_rows = 0;
    call->test.pad_requests = 0;
    for (size_t s = 0; s < base_of(r)->n_sequences; s++) {
        const gdn_related_sequence tie = same_as(r, s);
        if (!tie.sequence.padded) {
            append(call, &tie);
        }
    }
    base = base_of(r);
    return base->pad_rows > 0 || call->test.n_sequences < base->n_sequences
               ? GDN_OK
               : refuse(r, "padded requests or rows", err);
}

/* Token t of sequence `origin` of call `where` as a decode that continues from `from_call`
 * (-1: the fill). */
static gdn_related_sequence decode_of(const gdn_related *r, int where, int origin,
                                      int64_t t, int from_call, int from) {
    const gdn_sequence *whole = &r->calls[where].test.sequences[origin];
    return (gdn_related_sequence){
        .sequence = {.kind = GDN_SEQ_DECODE,
                     .length = 1,
                     .has_initial_state = from_call >= 0 || whole->has_initial_state,
                     .source = whole->source,
                     .first_item = whole->first_item + t},
        .call = where,
        .origin = origin,
        .token = t,
        .column = GDN_NO_STATE,
        .from_call = from_call,
        .from = from,
    };
}

static gdn_status add_decodes(gdn_related *r, gdn_related_call **call, gdn_error *err) {
    if (r->n_calls >= MOST_CALLS) {
        return refuse(r, "fewer tokens a request", err);
    }
    GDN_TRY(gdnp_related_add(r, base_of(r), base_of(r)->n_sequences, call, err));
    (*call)->test.chunked = false;
    (*call)->test.pad_rows = 0;
    (*call)->test.pad_requests = 0;
    return GDN_OK;
}

/* Where sequence s stood in a call of decodes. */
static int place_in(const gdn_related *r, size_t index, int64_t source) {
    const gdn_case *test = &r->calls[index].test;
    for (size_t i = 0; i < test->n_sequences; i++) {
        if (test->sequences[i].source == source) {
            return (int)i;
        }
    }
    return -1;
}

static gdn_status decode_is_prefill(gdn_related *r, gdn_error *err) {
    int64_t longest = 0;
    for (size_t s = 0; s < base_of(r)->n_sequences; s++) {
        const gdn_sequence *whole = &base_sequences(r)[s];
        if (!is_spec(whole) && !whole->padded && whole->length > longest) {
            longest = whole->length;
        }
    }
    for (int64_t t = 0; t < longest; t++) {
        const int before = t > 0 ? (int)r->n_calls - 1 : -1;
        gdn_related_call *call;
        GDN_TRY(add_decodes(r, &call, err));
        for (size_t s = 0; s < base_of(r)->n_sequences; s++) {
            const gdn_sequence *whole = &base_sequences(r)[s];
            if (is_spec(whole) || whole->padded || whole->length <= t) {
                continue;
            }
            const int from = before < 0 ? -1 : place_in(r, (size_t)before, whole->source);
            gdn_related_sequence tie = decode_of(r, 0, (int)s, t, before, from);
            tie.column = t + 1 == whole->length ? 0 : GDN_NO_STATE;
            append(call, &tie);
        }
    }
    return longest > 1 ? GDN_OK : refuse(r, "a prefill of two tokens or more", err);
}

static gdn_status mixed_is_separate(gdn_related *r, gdn_error *err) {
    for (int kind = GDN_SEQ_PREFILL; kind <= GDN_SEQ_SPEC; kind++) {
        gdn_related_call *call = NULL;
        for (size_t s = 0; s < base_of(r)->n_sequences; s++) {
            const gdn_related_sequence tie = same_as(r, s);
            if ((int)tie.sequence.kind != kind || tie.sequence.padded) {
                continue;
            }
            if (!call) {
                GDN_TRY(
                    gdnp_related_add(r, base_of(r), base_of(r)->n_sequences, &call, err));
            }
            append(call, &tie);
        }
    }
    return r->n_calls > 2 ? GDN_OK : refuse(r, "a mixed batch", err);
}

/* How many of its drafts stand. A buffer's first column is the pool itself, which nobody
 * has moved on, so that one is not enough there. */
static int64_t standing_of(const gdn_case *test, const gdn_sequence *s) {
    const int64_t least = test->conventions.spec_state == GDN_SPEC_BUFFER ? 2 : 1;
    return s->length < least ? 0 : least + s->source % (s->length + 1 - least);
}

static gdn_status second_verify(gdn_related *r, gdn_error *err) {
    gdn_related_call *call;
    GDN_TRY(gdnp_related_add(r, base_of(r), base_of(r)->n_sequences, &call, err));
    for (size_t s = 0; s < base_of(r)->n_sequences; s++) {
        gdn_related_sequence tie = same_as(r, s);
        if (!is_spec(&tie.sequence)) {
            continue;
        }
        tie.call = -1;
        tie.column = GDN_NO_STATE;
        tie.sequence.accepted = standing_of(base_of(r), &tie.sequence);
        tie.sequence.first_item += gdn_case_tokens(base_of(r));
        tie.from_call = 0;
        tie.from = (int)s;
        append(call, &tie);
    }
    return call->test.n_sequences > 0 && base_of(r)->accepted != GDN_ACCEPTED_ABSENT &&
                   base_of(r)->tree == GDN_TREE_NONE
               ? GDN_OK
               : refuse(r, "speculative sequences with counts and without trees", err);
}

/* Decode d of a sequence: one of the drafts that stand, or a token of the second step. */
static gdn_status verify_is_decode(gdn_related *r, gdn_error *err) {
    GDN_TRY(second_verify(r, err));
    const gdn_case *base = base_of(r);
    if (base->op == GDN_OP_CAUSAL_CONV1D &&
        base->conventions.spec_state == GDN_SPEC_BUFFER) {
        return refuse(r, "an op that rolls the conv state back by itself", err);
    }
    const size_t n = r->calls[1].test.n_sequences;
    for (int64_t d = 0;; d++) {
        const int before = d > 0 ? (int)r->n_calls - 1 : -1;
        gdn_related_call *call = NULL;
        for (size_t i = 0; i < n; i++) {
            const gdn_sequence *second = &r->calls[1].test.sequences[i];
            const int64_t stand = second->accepted;
            if (d >= stand + second->length) {
                continue;
            }
            if (!call) {
                GDN_TRY(add_decodes(r, &call, err));
                second = &r->calls[1].test.sequences[i];
            }
            const int from = before < 0 ? -1 : place_in(r, (size_t)before, second->source);
            const bool drafts = d < stand;
            gdn_related_sequence tie =
                decode_of(r, drafts ? 0 : 1, drafts ? r->calls[1].ties[i].from : (int)i,
                          drafts ? d : d - stand, before, from);
            tie.column = tie.token;
            append(call, &tie);
        }
        if (!call) {
            return GDN_OK;
        }
    }
}

static gdn_status commuted(gdn_related *r, gdn_error *err) {
    const gdn_case *base = base_of(r);
    const bool gates = base->op == GDN_OP_GDN_GATING || base->op == GDN_OP_GDN_ATTENTION ||
                       base->gates == GDN_GATES_FUSED;
    const gdn_twist twist = {.commuted = true};
    return gates && base->op != GDN_OP_CAUSAL_CONV1D && gdn_case_tokens(base) == 1
               ? add_twisted(r, &twist, err)
               : refuse(r, "an op that makes gates, and one token", err);
}

static gdn_status recalled(gdn_related *r, gdn_error *err) {
    if (base_of(r)->op != GDN_OP_GATED_DELTA_RULE) {
        return refuse(r, "gated_delta_rule", err);
    }
    r->calls[0].test.twist.recall = true;
    return GDN_OK;
}

static gdn_status scaled(gdn_related *r, gdn_error *err) {
    const gdn_twist twist = {.scale = 3};
    return base_of(r)->op == GDN_OP_GATED_DELTA_RULE ? add_twisted(r, &twist, err)
                                                     : refuse(r, "gated_delta_rule", err);
}

static gdn_status repeated(gdn_related *r, gdn_error *err) {
    const gdn_twist none = {0};
    for (int i = 0; i < 4; i++) {
        GDN_TRY(add_twisted(r, &none, err));
    }
    return GDN_OK;
}

/* Strangers only, `rounds` times as many as the case has, or one if that is 0. */
static gdn_status add_strangers(gdn_related *r, size_t rounds, gdn_error *err) {
    const size_t n = base_of(r)->n_sequences;
    const size_t count = rounds > 0 ? rounds * n : 1;
    gdn_related_call *call;
    GDN_TRY(gdnp_related_add(r, base_of(r), count, &call, err));
    for (int spec = 0; spec < 2; spec++) {
        for (size_t i = 0; i < count; i++) {
            const int64_t round = (int64_t)(i / n);
            gdn_related_sequence tie = stranger_to(r, i % n);
            tie.sequence.source += round * (int64_t)n;
            tie.sequence.first_item += round * gdn_case_tokens(base_of(r));
            if (is_spec(&tie.sequence) == (spec == 1)) {
                append(call, &tie);
            }
        }
    }
    return GDN_OK;
}

static gdn_status reused(gdn_related *r, gdn_error *err) {
    const gdn_twist none = {0};
    GDN_TRY(add_strangers(r, 2, err));
    GDN_TRY(add_twisted(r, &none, err));
    GDN_TRY(add_strangers(r, 0, err));
    return add_twisted(r, &none, err);
}

gdn_status gdnp_related_calls(gdn_related *r, gdn_error *err) {
    const gdn_twist pool = {.pool = 1}, heads = {.heads = true}, lanes = {.lanes = true},
                    queries = {.queries = true};
    switch (r->relation) {
    case GDN_RELATION_SPLIT:
        return split(r, err);
    case GDN_RELATION_PERMUTED:
        return permuted(r, err);
    case GDN_RELATION_RELABELLED:
        return add_twisted(r, &pool, err);
    case GDN_RELATION_ALONE:
        return alone(r, err);
    case GDN_RELATION_BATCH_INVARIANT:
        return batch_invariant(r, err);
    case GDN_RELATION_UNPADDED:
        return unpadded(r, err);
    case GDN_RELATION_SCALED:
        return scaled(r, err);
    case GDN_RELATION_DECODE_IS_PREFILL:
        return decode_is_prefill(r, err);
    case GDN_RELATION_MIXED_IS_SEPARATE:
        return mixed_is_separate(r, err);
    case GDN_RELATION_VERIFY_IS_DECODE:
        return verify_is_decode(r, err);
    case GDN_RELATION_REPEATED:
        return repeated(r, err);
    case GDN_RELATION_HEADS_PERMUTED:
        return add_twisted(r, &heads, err);
    case GDN_RELATION_LANES_PERMUTED:
        return add_twisted(r, &lanes, err);
    case GDN_RELATION_REQUERIED:
        return add_twisted(r, &queries, err);
    case GDN_RELATION_RECALLED:
        return recalled(r, err);
    case GDN_RELATION_COMMUTED:
        return commuted(r, err);
    case GDN_RELATION_REUSED:
        return reused(r, err);
    case GDN_RELATION_NONE:
    case GDN_RELATION_COUNT:
        break;
    }
    return GDN_OK;
}
