/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "explain.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gdn/nearest.h"

/* In the order in which they are added. */
static const struct {
    gdn_limit_term term;
    const char *name, *what;
} TERMS[GDN_EXPLAIN_TERMS] = {
    {GDN_TERM_ROUNDINGS, "roundings", "products and sums"},
    {GDN_TERM_DECAY, "decay", "g and exp(g)"},
    {GDN_TERM_BETA, "beta", "the sigmoid, and its rounding to storage"},
    {GDN_TERM_K, "dk", "convolution, SiLU, norm and rounding of the keys"},
    {GDN_TERM_Q, "dq", "the same of the query"},
    {GDN_TERM_V, "dv", "convolution, SiLU and rounding of the values"},
    {GDN_TERM_SUBNORMALS, "subnormals", "zeros in their place"},
    {GDN_TERM_OPERANDS, "operands", "rounded for matrix units"},
    {GDN_TERM_CARRY, "carry", "stores that the state is carried through"},
    {GDN_TERM_STORE, "store", "of the output itself"},
};

/* Which output, and where in its golden values. */
typedef struct place {
    const gdn_expected *expected;
    size_t argument; /* of the call */
    int64_t flat;    /* over the kept rows */
    int64_t whole;   /* over the whole tensor */
} place;

static gdn_status find_output(place *p, const gdn_problem *problem,
                              const gdn_golden *golden, const char *name, gdn_error *err) {
    const char *names[GDN_MAX_OUTPUTS + 1] = {NULL};
    size_t n = 0;
    for (size_t i = 0; i < golden->n_outputs && n < GDN_MAX_OUTPUTS; i++) {
        const gdn_expected *e = &golden->outputs[i];
        if (e->judgement == GDN_JUDGE_BOUNDED) {
            names[n++] = e->tensor->name;
        }
        if (strcmp(e->tensor->name, name) == 0) {
            p->expected = e;
        }
    }
    if (!p->expected) {
        return gdn_error_unknown(err, GDN_ERR_ARG, "output", name, names);
    }
    if (p->expected->judgement != GDN_JUDGE_BOUNDED) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "%s is a copy: expected an output with limits", name);
    }
    while (strcmp(problem->call.tensors[p->argument].name, name) != 0) {
        p->argument++;
    }
    return GDN_OK;
}

static gdn_status parse_index(const gdn_tensor *t, const char *text, int64_t *index,
                              gdn_error *err) {
    const char *at = text;
    for (int d = 0; d < t->rank; d++) {
        const char *digits = *at != '\0' ? at + 1 : at;
        const char closing = d + 1 < t->rank ? ',' : ']';
        char *end = NULL;
        errno = 0;
        index[d] = strtoll(digits, &end, 10);
        if (end == digits || errno != 0 || *end != closing) {
            return gdn_error_set(err, GDN_ERR_ARG,
                                 "%s: expected %d indices in [] but found \"%.60s\"",
                                 t->name, t->rank, text);
        }
        if (index[d] < 0 || index[d] >= t->shape[d]) {
            return gdn_error_set(err, GDN_ERR_ARG,
                                 "%s: expected index %d in [0,%lld) but found %lld",
                                 t->name, d, (long long)t->shape[d], (long long)index[d]);
        }
        at = end;
    }
    if (at[1] != '\0') {
        return gdn_error_set(err, GDN_ERR_ARG, "%s: unexpected \"%.60s\" behind the index",
                             t->name, at + 1);
    }
    return GDN_OK;
}

static gdn_status find_place(place *p, gdn_explanation *e, const gdn_problem *problem,
                             const gdn_golden *golden, const char *element,
                             gdn_error *err) {
    char name[64];
    int64_t index[GDN_MAX_RANK] = {0};
    const size_t length = strcspn(element, "[");
    snprintf(name, sizeof name, "%.*s", (int)(length < 60 ? length : 60), element);
    GDN_TRY(find_output(p, problem, golden, name, err));
    const gdn_tensor *t = p->expected->tensor;
    GDN_TRY(parse_index(t, element + length, index, err));
    int64_t kept = -1;
    for (int64_t i = 0; i < p->expected->n_rows; i++) {
        kept = p->expected->rows[i] == index[0] ? i : kept;
    }
    if (kept < 0) {
        return gdn_error_set(
            err, GDN_ERR_ARG,
            "%s: row %lld is none that the op writes: it must stay as it is", t->name,
            (long long)index[0]);
    }
    int64_t inner = 0;
    for (int d = 1; d < t->rank; d++) {
        inner = inner * t->shape[d] + index[d];
    }
    p->flat = kept * p->expected->row_count + inner;
    p->whole = index[0] * p->expected->row_count + inner;
    e->head = p->expected->floors ? index[1] : -1;
    snprintf(e->element, sizeof e->element, "%s", element);
    return GDN_OK;
}

/* The bound of one element with these sources only. */
static gdn_status bound_of(double *bound, const gdn_problem *problem, const place *p,
                           unsigned terms, gdn_error *err) {
    const gdn_tensor *t = p->expected->tensor;
    const size_t count = (size_t)gdn_tensor_count(t);
    double *values = calloc(count + 1, sizeof *values);
    float *limit = calloc(count + 1, sizeof *limit);
    gdn_output *outputs = calloc(problem->call.n_tensors, sizeof *outputs);
    gdn_status status = GDN_OK;
    if (values && limit && outputs) {
        outputs[p->argument] = (gdn_output){
            .value = gdn_tensor_dense(t->name, values, GDN_FP64, t->rank, t->shape),
            .limit = limit,
            .terms = terms,
        };
        status = gdn_reference_run(&problem->call, outputs, err);
        *bound = (double)limit[p->whole];
    } else {
        status = gdn_error_set(err, GDN_ERR_OOM, "no memory to explain %s", t->name);
    }
    free(values);
    free(limit);
    free(outputs);
    return status;
}

gdn_status gdn_explain(gdn_explanation *e, const gdn_problem *problem,
                       const gdn_golden *golden, const char *element, gdn_error *err) {
    place p = {.expected = NULL};
    *e = (gdn_explanation){.head = -1};
    GDN_TRY(find_place(&p, e, problem, golden, element, err));
    /* The store is a factor on everything: without it nothing is rounded up by it. */
    double before = 0.0;
    unsigned terms = 0;
    for (size_t i = 0; i < GDN_EXPLAIN_TERMS; i++) {
        double bound = 0.0;
        terms |= (unsigned)TERMS[i].term;
        GDN_TRY(bound_of(&bound, problem, &p, terms, err));
        e->terms[i] = (gdn_explain_term){TERMS[i].name, TERMS[i].what, bound - before};
        before = bound;
    }
    e->storage = p.expected->tensor->dtype;
    e->golden = p.expected->golden[p.flat];
    e->rounded = gdn_round_to(e->golden, e->storage);
    e->bound = (double)p.expected->limit[p.flat];
    e->operand = p.expected->operand ? (double)p.expected->operand[p.flat] : 0.0;
    if (e->head >= 0) {
        e->floor = p.expected->floors[e->head];
    }
    e->limit = gdn_floor_limit_of(e->head >= 0 ? &e->floor : NULL);
    e->floor_element = gdn_floor_element(&e->limit, e->golden, e->operand, e->storage);
    e->binding = e->floor_element < e->bound ? GDN_LIMIT_FLOOR_LARGEST : GDN_LIMIT_BOUND;
    return GDN_OK;
}

double gdn_explained_limit(const gdn_explanation *e) {
    return e->binding == GDN_LIMIT_BOUND ? e->bound : e->floor_element;
}
