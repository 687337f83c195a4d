/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "shards.h"

#include <stdlib.h>
#include <string.h>

/* Least squares over a run of qwen3-next on two x86-64 cores (351 cases, correlation
 * 0.95): a case, an element of activations and of states (fill, golden value,
 * comparison), the update of a state element by a token, a byte of a page (scanned for
 * stray writes). Only ratios matter. */
#define CASE_MS       1.7
#define ACTIVATION_MS 1.5e-5
#define STATE_MS      3.8e-5
#define UPDATE_MS     2.8e-7
#define PAGE_MS       2.1e-6

double gdn_case_cost(const gdn_case *test) {
    const double tokens = (double)(gdn_case_tokens(test) + test->pad_rows);
    const double hk = (double)(test->num_k_heads / test->tp_size);
    const double hv = (double)(test->num_v_heads / test->tp_size);
    const double k = (double)test->head_k_dim, v = (double)test->head_v_dim;
    const double channels = 2.0 * hk * k + hv * v;
    /* Speculative sequences keep a state a token, the others one. */
    double states = 1.0;
    for (size_t i = 0; i < test->n_sequences; i++) {
        const gdn_sequence *s = &test->sequences[i];
        states += s->kind == GDN_SEQ_SPEC ? (double)test->columns : 1.0;
    }
    const double page = (double)test->page_bytes;
    double activations = 0.0, updates = 0.0, state = 0.0;
    switch (test->op) {
    case GDN_OP_CAUSAL_CONV1D:
        activations = tokens * channels * (double)test->conv_width;
        break;
    case GDN_OP_GDN_GATING:
        activations = 4.0 * tokens * hv;
        break;
    case GDN_OP_GDN_ATTENTION:
        activations = tokens * channels * (double)test->conv_width;
        state = states * hv * k * v;
        updates = tokens * hv * k * v;
        break;
    case GDN_OP_GATED_DELTA_RULE:
        activations = tokens * channels;
        state = states * hv * k * v;
        updates = tokens * hv * k * v;
        break;
    default:
        break;
    }
    return CASE_MS + ACTIVATION_MS * activations + STATE_MS * state + UPDATE_MS * updates +
           PAGE_MS * page * states;
}

typedef struct job {
    double cost;
    size_t index;
    int shard;
} job;

/* By cost, then by place in the plan, which is the same everywhere. */
static int costliest_first(const void *a, const void *b) {
    const job *x = a, *y = b;
    if (x->cost != y->cost) {
        return x->cost < y->cost ? 1 : -1;
    }
    return (x->index > y->index) - (x->index < y->index);
}

static int in_order(const void *a, const void *b) {
    const job *x = a, *y = b;
    return (x->index > y->index) - (x->index < y->index);
}

gdn_status gdn_plan_keep_shard(gdn_case_plan *plan, int index, int count, gdn_error *err) {
    job *jobs = calloc(plan->n_cases + 1, sizeof *jobs);
    double *work = calloc((size_t)count, sizeof *work);
    if (!jobs || !work) {
        free(jobs);
        free(work);
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for shards");
    }
    for (size_t i = 0; i < plan->n_cases; i++) {
        jobs[i] = (job){.cost = gdn_case_cost(plan->cases[i].test), .index = i};
    }
    qsort(jobs, plan->n_cases, sizeof *jobs, costliest_first);
    for (size_t i = 0; i < plan->n_cases; i++) {
        for (int s = 1; s < count; s++) {
            jobs[i].shard = work[s] < work[jobs[i].shard] ? s : jobs[i].shard;
        }
        work[jobs[i].shard] += jobs[i].cost;
    }
    qsort(jobs, plan->n_cases, sizeof *jobs, in_order);
    size_t kept = 0;
    for (size_t i = 0; i < plan->n_cases; i++) {
        if (jobs[i].shard == index - 1) {
            plan->cases[kept++] = plan->cases[i];
        }
    }
    free(jobs);
    free(work);
    const size_t planned = plan->n_cases;
    plan->n_cases = kept;
    return kept > 0 ? GDN_OK
                    : gdn_error_set(err, GDN_ERR_ARG,
                                    "--shard %d/%d: no case is left for it, there are %zu",
                                    index, count, planned);
}
