/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "dye.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan.h"
#include "problem_tensors.h"

const char *const GDN_DYE_NAMES[] = {"none",  "value",    "key",  "query",  "gate",
                                     "state", "sequence", "huge", "unread", NULL};

/* 0x7b7b in every 16 bits: 61,280 in fp16, 1.3e36 in bf16 and fp32, finite in fp64. */
#define HUGE_WORD UINT16_C(0x7b7b)

/* What a huge dye holds: all types have it, and its square overflows in fp16. */
#define HUGE_DYE 49152.0

/* The dyed sequence is the first of the longest ones; its token lies in the third quarter,
 * so that there are tokens before and after it, and chunks where there are any. */
static size_t dyed_sequence(const gdn_case *test, int64_t *first) {
    size_t longest = 0;
    int64_t position = 0;
    *first = 0;
    for (size_t i = 0; i < test->n_sequences; i++) {
        if (test->sequences[i].length > test->sequences[longest].length) {
            longest = i;
            *first = position;
        }
        position += test->sequences[i].length;
    }
    return longest;
}

/* Whether the dye is in this run of values; from which element on, and in how many. */
static bool lies_in(const gdn_case *test, gdn_field field, int64_t item, int64_t head,
                    int64_t heads, int64_t count, int64_t *at, int64_t *many) {
    int64_t first = 0;
    const size_t sequence = dyed_sequence(test, &first);
    const int64_t length = test->sequences[sequence].length;
    const int64_t token = first + 3 * length / 4;
    const int64_t pick = (int64_t)(test->seed % 1024);
    const bool of_token = field == GDN_FIELD_Q || field == GDN_FIELD_K ||
                          field == GDN_FIELD_V || field == GDN_FIELD_A ||
                          field == GDN_FIELD_B;
    const bool of_sequence = field == GDN_FIELD_STATE || field == GDN_FIELD_CONV_HISTORY;
    *at = (pick + 1) % count;
    *many = 1;
    switch (test->dye) {
    case GDN_DYE_VALUE:
    case GDN_DYE_HUGE:
        return field == GDN_FIELD_V && item == token && head == pick % heads;
    case GDN_DYE_KEY:
        return field == GDN_FIELD_K && item == token && head == pick % heads;
    case GDN_DYE_QUERY:
        return field == GDN_FIELD_Q && item == token && head == pick % heads;
    case GDN_DYE_GATE:
        return field == GDN_FIELD_A && item == token;
    case GDN_DYE_STATE:
        return field == GDN_FIELD_STATE && item == (int64_t)sequence &&
               head == pick % heads;
    case GDN_DYE_SEQUENCE:
        *at = 0;
        *many = count;
        return (of_token && item >= first && item < first + length) ||
               (of_sequence && item == (int64_t)sequence);
    case GDN_DYE_NONE:
    case GDN_DYE_UNREAD:
        break;
    }
    return false;
}

bool gdn_dye_fits(const gdn_case *test) {
    const bool gating = test->op == GDN_OP_GDN_GATING;
    const bool recurrent =
        test->op == GDN_OP_GATED_DELTA_RULE || test->op == GDN_OP_GDN_ATTENTION;
    int64_t first = 0;
    const gdn_sequence *s = &test->sequences[dyed_sequence(test, &first)];
    switch (test->dye) {
    case GDN_DYE_GATE:
        return gating || recurrent;
    case GDN_DYE_STATE:
        return recurrent && (s->has_initial_state || s->kind == GDN_SEQ_SPEC);
    case GDN_DYE_NONE:
    case GDN_DYE_UNREAD:
        return true;
    default:
        return !gating && !s->padded;
    }
}

void gdnp_dye_values(const gdn_case *test, gdn_field field, int64_t item, int64_t head,
                     int64_t heads, int64_t count, double *out) {
    int64_t at = 0, many = 0;
    if (test->dye == GDN_DYE_NONE ||
        !lies_in(test, field, item, head, heads, count, &at, &many)) {
        return;
    }
    for (int64_t i = at; i < at + many; i++) {
        out[i] = test->dye == GDN_DYE_HUGE ? HUGE_DYE : (double)NAN;
    }
}

void gdnp_dye_unread(gdn_arena *arena) {
    const uint16_t poison = GDN_POISON_WORD, word = HUGE_WORD;
    size_t from = 0, to = 0;
    for (; gdn_arena_next(arena, to, &from, &to);) {
        for (size_t at = from; at + sizeof word <= to; at += sizeof word) {
            if (memcmp(arena->base + at, &poison, sizeof poison) == 0) {
                memcpy(arena->base + at, &word, sizeof word);
            }
        }
    }
}

/* Golden outputs of the same case with another dye. */
static gdn_status golden_with(gdn_golden *golden, const gdn_case *test, gdn_dye dye,
                              gdn_error *err) {
    gdn_case other = *test; /* what it points to is borrowed */
    gdn_problem problem;
    other.dye = dye;
    GDN_TRY(gdn_problem_create(&problem, &other, err));
    const gdn_status status = gdn_golden_create(golden, &problem, err);
    gdn_problem_destroy(&problem);
    return status;
}

/* Rows, order and sizes are the plan's, the same with and without a dye. */
static void take_clean(gdn_expected *dyed, gdn_expected *clean) {
    for (int64_t i = 0; dyed->golden && i < dyed->n_rows * dyed->row_count; i++) {
        if (!isnan(dyed->golden[i])) {
            dyed->golden[i] = clean->golden[i];
        }
    }
    float *const limit = dyed->limit, *const operand = dyed->operand;
    gdn_floor *const floors = dyed->floors;
    dyed->limit = clean->limit;
    dyed->operand = clean->operand;
    dyed->floors = clean->floors;
    clean->limit = limit;
    clean->operand = operand;
    clean->floors = floors;
}

gdn_status gdnp_dye_golden(gdn_golden *golden, const gdn_problem *problem, gdn_error *err) {
    gdn_golden clean = {0}, nan = {0};
    const bool huge = problem->test->dye == GDN_DYE_HUGE;
    GDN_TRY(gdnp_golden_evaluate(golden, problem, err));
    gdn_status status = golden_with(&clean, problem->test, GDN_DYE_NONE, err);
    if (status == GDN_OK && huge) {
        status = golden_with(&nan, problem->test, GDN_DYE_VALUE, err);
    }
    for (size_t i = 0; status == GDN_OK && i < golden->n_outputs; i++) {
        gdn_expected *e = &golden->outputs[i];
        if (huge && e->golden) {
            memcpy(e->golden, nan.outputs[i].golden,
                   (size_t)(e->n_rows * e->row_count) * sizeof *e->golden);
        }
        take_clean(e, &clean.outputs[i]);
    }
    gdn_golden_destroy(&clean);
    gdn_golden_destroy(&nan);
    if (status != GDN_OK) {
        gdn_golden_destroy(golden);
    }
    return status;
}

/* Index into `rows` of a row of the tensor, -1 if it is not compared. */
static int64_t kept_row(const gdn_expected *e, int64_t row) {
    for (int64_t i = 0; i < e->n_rows; i++) {
        if (e->rows[i] == row) {
            return i;
        }
    }
    return -1;
}

static bool is_chunked(const gdn_problem *problem) {
    return problem->test->op == GDN_OP_GDN_ATTENTION
               ? gdn_call_scalar(&problem->call, "num_prefills", 0) > 0
               : gdn_call_scalar(&problem->call, "chunked", 0) != 0;
}

/* Elements of a token's row that some later token of its chunk has NaN: a query's NaN stays
 * with its own token. */
static void spread_back(const gdn_expected *e, const int64_t *rows, int64_t from,
                        int64_t token, bool *may) {
    const int64_t dyed = kept_row(e, rows[token]);
    bool any = false;
    for (int64_t i = 0; dyed >= 0 && !any && i < e->row_count; i++) {
        any = isnan(e->golden[dyed * e->row_count + i]);
    }
    for (int64_t t = from; any && t < token; t++) {
        const int64_t row = kept_row(e, rows[t]);
        for (int64_t i = 0; row >= 0 && i < e->row_count; i++) {
            may[row * e->row_count + i] |= isnan(e->golden[dyed * e->row_count + i]);
        }
    }
}

bool *gdn_dye_spread(const gdn_problem *problem, const gdn_expected *e) {
    const gdn_case *test = problem->test;
    gdn_plan plan;
    if (test->dye == GDN_DYE_NONE || test->dye == GDN_DYE_QUERY || !e->golden ||
        e->tensor->rank != 3 || !is_chunked(problem) ||
        gdn_plan_create(&plan, test, NULL) != GDN_OK) {
        return NULL;
    }
    bool *may = calloc((size_t)(e->n_rows * e->row_count) + 1, sizeof *may);
    int64_t first = 0;
    for (size_t i = 0; may && i < test->n_sequences; i++) {
        const gdn_sequence *s = &test->sequences[i];
        for (int64_t t = 0; s->kind != GDN_SEQ_SPEC && t < s->length; t++) {
            spread_back(e, plan.token_rows + first, t - t % GDN_DYE_CHUNK, t, may);
        }
        first += s->length;
    }
    gdn_plan_destroy(&plan);
    return may;
}
