/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "bisect.h"

#include <stdlib.h>
#include <string.h>

#include "doctor.h"
#include "judge.h"
#include "plan.h"

/* One prefix: its call and what the device made of it. */
typedef struct prefix {
    gdn_case test;
    gdn_problem problem;
    gdn_golden golden;
    gdn_case_result result;
    bool ran;
} prefix;

static void drop(prefix *p) {
    gdn_case_result_destroy(&p->result);
    gdn_golden_destroy(&p->golden);
    gdn_problem_destroy(&p->problem);
    free(p->test.sequences);
    *p = (prefix){.ran = false};
}

/* The first `tokens` tokens of every sequence that is not speculative. */
static gdn_status cut(prefix *p, const gdn_case *test, int64_t tokens, gdn_error *err) {
    const size_t bytes = test->n_sequences * sizeof *test->sequences;
    *p = (prefix){.test = *test};
    p->test.sequences = malloc(bytes + 1);
    if (!p->test.sequences) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a prefix");
    }
    memcpy(p->test.sequences, test->sequences, bytes);
    for (size_t i = 0; i < test->n_sequences; i++) {
        gdn_sequence *s = &p->test.sequences[i];
        if (s->kind != GDN_SEQ_SPEC && s->length > tokens) {
            s->length = tokens;
        }
    }
    return GDN_OK;
}

static gdn_status run(prefix *p, const gdn_case *test, int64_t tokens,
                      const gdn_executor *executor, gdn_error *err) {
    GDN_TRY(cut(p, test, tokens, err));
    GDN_TRY(gdn_problem_create(&p->problem, &p->test, err));
    GDN_TRY(gdn_golden_create(&p->golden, &p->problem, err));
    GDN_TRY(executor->run(executor->context, &p->problem, &p->ran, &p->result, err));
    return p->ran ? gdn_judge_case(&p->problem, &p->golden, &p->result, err) : GDN_OK;
}

static int64_t longest_of(const gdn_case *test) {
    int64_t longest = 0;
    for (size_t i = 0; i < test->n_sequences; i++) {
        const gdn_sequence *s = &test->sequences[i];
        if (s->kind != GDN_SEQ_SPEC && !s->padded && s->length > longest) {
            longest = s->length;
        }
    }
    return longest;
}

/* What of one sequence is wrong in an output: a range of heads, and of lanes or channels. */
typedef struct extent {
    int64_t head[2], lane[2];
    bool any;
} extent;

static void widen(int64_t range[2], bool first, int64_t value) {
    range[0] = first || value < range[0] ? value : range[0];
    range[1] = first || value > range[1] ? value : range[1];
}

/* Wrong elements of one row, by the limits of the elements. */
static void look(const gdn_expected *e, int64_t row, const gdn_case *test, extent *found) {
    const gdn_tensor *t = e->tensor;
    const bool vk = test->conventions.state_order == GDN_STATE_VK;
    for (int64_t i = 0; i < e->row_count; i++) {
        const int64_t flat = row * e->row_count + i;
        const double value = gdn_load(t->data, t->dtype, e->rows[row] * t->stride[0] + i);
        double budget;
        if (!e->golden || gdn_judge_element(e->golden[flat], value, (double)e->limit[flat],
                                            t->dtype, &budget)) {
            continue;
        }
        const int64_t inner = t->rank > 2 ? e->row_count / t->shape[1] : 1;
        const int64_t lane = t->rank < 4 ? i % inner
                             : vk        ? i % inner / t->shape[3]
                                         : i % t->shape[3];
        widen(found->head, !found->any, t->rank > 2 ? i / inner : 0);
        widen(found->lane, !found->any, t->rank > 2 ? lane : i);
        found->any = true;
    }
}

/* Row of the sequence's last token, or of its state, in an output. */
static int64_t row_of(const prefix *p, const gdn_plan *plan, size_t s,
                      const gdn_tensor *tensor) {
    if (strstr(tensor->name, "state")) {
        return plan->sequence_slots[(int64_t)s * plan->columns];
    }
    int64_t token = -1;
    for (size_t i = 0; i <= s; i++) {
        token += p->test.sequences[i].length;
    }
    return p->test.op == GDN_OP_GDN_ATTENTION ? plan->token_rows[token] : token;
}

/* Of the last token of sequence s: outputs first, then states. */
static bool describe(const prefix *p, const gdn_plan *plan, size_t s, int64_t token,
                     char **text) {
    for (size_t o = 0; o < p->golden.n_outputs; o++) {
        const gdn_expected *e = &p->golden.outputs[o];
        const int64_t row = row_of(p, plan, s, e->tensor);
        extent found = {.any = false};
        for (int64_t i = 0; i < e->n_rows; i++) {
            if (e->rows[i] == row) {
                look(e, i, &p->test, &found);
            }
        }
        if (!found.any) {
            continue;
        }
        const bool heads = e->tensor->rank > 2;
        char where[96] = "";
        if (heads) {
            const bool one = found.head[0] == found.head[1];
            const int n = snprintf(where, sizeof where, "head%s %lld", one ? "" : "s",
                                   (long long)found.head[0]);
            if (!one) {
                snprintf(where + n, sizeof where - (size_t)n, "-%lld",
                         (long long)found.head[1]);
            }
        }
        return asprintf(text,
                        "first wrong token %lld of sequence %zu: %s, %s%s%s %lld-%lld",
                        (long long)token, s, e->tensor->name, where, heads ? ", " : "",
                        heads ? "lanes" : "channels", (long long)found.lane[0],
                        (long long)found.lane[1]) >= 0;
    }
    return false;
}

/* The sequence that fails at the last token of the shortest failing prefix. */
static gdn_status name_first(const prefix *p, int64_t tokens, gdn_case_result *result,
                             gdn_error *err) {
    gdn_plan plan;
    GDN_TRY(gdn_plan_create(&plan, &p->test, err));
    for (size_t s = 0; !result->first_wrong && s < p->test.n_sequences; s++) {
        const gdn_sequence *q = &p->test.sequences[s];
        if (q->kind != GDN_SEQ_SPEC && !q->padded && q->length == tokens &&
            !describe(p, &plan, s, tokens - 1, &result->first_wrong)) {
            result->first_wrong = NULL;
        }
    }
    gdn_plan_destroy(&plan);
    return GDN_OK;
}

gdn_status gdn_bisect(const gdn_case *test, const gdn_executor *executor,
                      gdn_case_result *result, gdn_error *err) {
    const bool stateful = test->op == GDN_OP_CAUSAL_CONV1D ||
                          test->op == GDN_OP_GATED_DELTA_RULE ||
                          test->op == GDN_OP_GDN_ATTENTION;
    int64_t low = 0, high = longest_of(test); /* 0 tokens pass, `high` fail */
    /* What a dye reaches is another matter than limits. */
    if (!stateful || test->dye != GDN_DYE_NONE || high < 2 ||
        gdn_doctor_work(test) > GDN_DOCTOR_WORK) {
        return GDN_OK;
    }
    prefix failing = {.ran = false};
    gdn_status status = GDN_OK;
    bool going = true;
    while (status == GDN_OK && going && (high - low > 1 || !failing.ran)) {
        const int64_t tokens = high - low > 1 ? (low + high) / 2 : high;
        prefix p;
        status = run(&p, test, tokens, executor, err);
        going = p.ran;
        if (status == GDN_OK && p.ran && p.result.verdict == GDN_FAIL) {
            drop(&failing);
            failing = p;
            high = tokens;
            continue;
        }
        /* the whole case has failed once; if it does not again, nothing is known */
        going = going && tokens < high;
        low = tokens;
        drop(&p);
    }
    if (status == GDN_OK && going && failing.ran) {
        /* cases and problems point at each other: the copy's own are meant */
        failing.problem.test = &failing.test;
        status = name_first(&failing, high, result, err);
    }
    drop(&failing);
    return status;
}
