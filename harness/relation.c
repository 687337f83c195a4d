/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "relation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "judge.h"

static gdn_status no_memory(gdn_error *err) {
    return gdn_error_set(err, GDN_ERR_OOM, "no memory to compare calls");
}

static const gdn_case *case_of(const gdn_relation_case *r, size_t index) {
    return &r->related.calls[index].test;
}

static int64_t value_heads(const gdn_case *test) {
    return test->num_v_heads / test->tp_size;
}

/* The output of a call that lies in `tensor`, and the index of `row` among its rows; NULL
 * if the call writes no such row. */
static const gdn_expected *find_row(const gdn_golden *golden, const gdn_tensor *tensor,
                                    int64_t row, int64_t *index) {
    for (size_t i = 0; i < golden->n_outputs; i++) {
        const gdn_expected *e = &golden->outputs[i];
        if (e->tensor != tensor) {
            continue;
        }
        int64_t low = 0, high = e->n_rows;
        while (low < high) {
            const int64_t middle = (low + high) / 2;
            *(e->rows[middle] < row ? &low : &high) =
                e->rows[middle] < row ? middle + 1 : middle;
        }
        *index = low;
        return low < e->n_rows && e->rows[low] == row ? e : NULL;
    }
    return NULL;
}

/* N of the start state that a row of an output hangs on, as it reaches one element. */
static double carried_to(const gdn_relation_case *r, size_t index, const gdn_expected *e,
                         int64_t sequence, int64_t element) {
    const gdn_case *test = case_of(r, index);
    const int64_t heads = value_heads(test), K = test->head_k_dim, V = test->head_v_dim;
    if (!r->calls[index].carried || !e->floors || sequence < 0) {
        return 0.0;
    }
    const double *n = r->calls[index].carried + sequence * heads * V;
    if (e->tensor->rank < 4) {
        return n[element] * (1.0 + 0x1p-8) / sqrt((double)K);
    }
    const bool vk = test->conventions.state_order == GDN_STATE_VK;
    return n[element / (K * V) * V + (vk ? element / K % V : element % V)];
}

/* How far element `element` of row `row` may be from its golden value. */
static double limit_of(const gdn_relation_case *r, size_t index, const gdn_expected *e,
                       int64_t row, int64_t sequence, int64_t element) {
    const int64_t flat = row * e->row_count + element;
    const size_t output = (size_t)(e - r->calls[index].golden.outputs);
    const gdn_floor_limit *floors = r->calls[index].floors[output];
    double limit = (double)e->limit[flat];
    if (floors) {
        const double operand = e->operand ? (double)e->operand[flat] : 0.0;
        const int64_t head = element / (e->row_count / e->tensor->shape[1]);
        limit = fmin(limit, gdn_floor_element(&floors[head], e->golden[flat], operand,
                                              e->tensor->dtype));
    }
    return limit + carried_to(r, index, e, sequence, element);
}

/* N of sequence s of call `index`, from the state that it continues from. */
static void carry(const gdn_relation_case *r, size_t index, size_t s) {
    const gdn_related_call *call = &r->related.calls[index];
    const gdn_related_sequence *tie = &call->ties[s];
    const gdn_sequence *sequence = &call->test.sequences[s];
    const size_t from = (size_t)tie->from_call;
    const int64_t column =
        sequence->kind == GDN_SEQ_SPEC ? gdn_plan_start_column(sequence) : 0;
    const int64_t heads = value_heads(&call->test);
    const int64_t K = call->test.head_k_dim, V = call->test.head_v_dim;
    int64_t slot, row;
    const gdn_tensor *state =
        gdn_related_state(&r->related.calls[from], tie->from, column, &slot);
    const gdn_expected *e =
        state ? find_row(&r->calls[from].golden, state, slot, &row) : NULL;
    if (!e) {
        return; /* an op without that state */
    }
    const bool vk = call->test.conventions.state_order == GDN_STATE_VK;
    const double unit = gdn_dtype_unit_roundoff(state->dtype);
    double *n = r->calls[index].carried + (int64_t)s * heads * V;
    for (int64_t i = 0; i < heads * V; i++) {
        double least = INFINITY, square = 0.0;
        for (int64_t k = 0; k < K; k++) {
            const int64_t element = i / V * K * V + (vk ? i % V * K + k : k * V + i % V);
            const double value = e->golden[row * e->row_count + element];
            least = fmin(least, limit_of(r, from, e, row, tie->from, element));
            square += value * value;
        }
        n[i] = least + unit * sqrt(square);
    }
}

static gdn_status find_floors(gdn_relation_call *call, gdn_error *err) {
    call->floors = calloc(call->golden.n_outputs + 1, sizeof(gdn_floor_limit *));
    if (!call->floors) {
        return no_memory(err);
    }
    for (size_t i = 0; i < call->golden.n_outputs; i++) {
        const gdn_expected *e = &call->golden.outputs[i];
        if (!e->floors) {
            continue;
        }
        const int64_t heads = e->tensor->shape[1];
        call->floors[i] = calloc((size_t)heads + 1, sizeof(gdn_floor_limit));
        if (!call->floors[i]) {
            return no_memory(err);
        }
        for (int64_t head = 0; head < heads; head++) {
            call->floors[i][head] = gdn_floor_limit_of(&e->floors[head]);
        }
    }
    return GDN_OK;
}

static gdn_status find_limits(gdn_relation_case *r, size_t index, gdn_error *err) {
    const gdn_related_call *call = &r->related.calls[index];
    const gdn_case *test = &call->test;
    gdn_relation_call *own = &r->calls[index];
    own->carried =
        calloc(test->n_sequences * (size_t)(value_heads(test) * test->head_v_dim) + 1,
               sizeof *own->carried);
    if (!own->carried) {
        return no_memory(err);
    }
    for (size_t s = 0; s < test->n_sequences; s++) {
        if (call->ties[s].from_call >= 0) {
            carry(r, index, s);
        }
    }
    gdn_related_prepare(&r->related, index);
    GDN_TRY(gdn_golden_create(&own->golden, &call->problem, err));
    GDN_TRY(find_floors(own, err));
    gdn_golden_answer(&own->golden); /* what later calls continue from */
    return GDN_OK;
}

gdn_status gdn_relation_create(gdn_relation_case *relation, const gdn_case *test,
                               gdn_error *err) {
    *relation = (gdn_relation_case){.calls = NULL};
    GDN_TRY(gdn_related_create(&relation->related, test, err));
    relation->calls = calloc(relation->related.n_calls, sizeof *relation->calls);
    gdn_status status = relation->calls ? GDN_OK : no_memory(err);
    for (size_t i = 0; status == GDN_OK && i < relation->related.n_calls; i++) {
        status = find_limits(relation, i, err);
    }
    if (status != GDN_OK) {
        gdn_relation_destroy(relation);
    }
    return status;
}

void gdn_relation_destroy(gdn_relation_case *relation) {
    for (size_t i = 0; relation->calls && i < relation->related.n_calls; i++) {
        gdn_relation_call *call = &relation->calls[i];
        for (size_t k = 0; call->floors && k < call->golden.n_outputs; k++) {
            free(call->floors[k]);
        }
        free(call->floors);
        free(call->carried);
        gdn_golden_destroy(&call->golden);
    }
    free(relation->calls);
    gdn_related_destroy(&relation->related);
    *relation = (gdn_relation_case){.calls = NULL};
}

/* What one row of a call has to be. */
typedef struct target {
    const gdn_tensor *tensor; ///< of the earlier call; NULL: nothing is known
    const gdn_expected *there;
    size_t call;
    int64_t row, index; ///< in the tensor, and among the rows of `there`
} target;

static target find_target(const gdn_relation_case *r, size_t index, const gdn_expected *e,
                          int64_t row) {
    const gdn_same_row same = gdn_related_row(&r->related, index, e->tensor, e->rows[row]);
    target found = {.tensor = same.call >= 0 ? same.tensor : NULL,
                    .call = (size_t)(same.call > 0 ? same.call : 0),
                    .row = same.row};
    if (found.tensor) {
        found.there =
            find_row(&r->calls[found.call].golden, found.tensor, found.row, &found.index);
    }
    found.tensor = found.there ? found.tensor : NULL;
    return found;
}

/* `out` of a token whose query is its key, with beta 1: what was stored under that key. */
static bool recall(const gdn_relation_case *r, size_t index, const gdn_expected *e,
                   int64_t row, double *value) {
    const gdn_case *test = case_of(r, index);
    if (r->related.relation != GDN_RELATION_RECALLED || !gdn_related_is_token(e->tensor)) {
        return false;
    }
    const gdn_tensor *v = gdn_call_tensor(&r->related.calls[index].problem.call, "v");
    for (int64_t i = 0; i < e->row_count; i++) {
        const double stored = gdn_load(v->data, v->dtype, e->rows[row] * v->stride[0] + i);
        value[i] = stored / sqrt((double)test->head_k_dim);
    }
    return true;
}

/* Golden values and limits of one row, made of an earlier call's outputs. */
static void expect_bounded(const gdn_relation_case *r, size_t index, const gdn_expected *e,
                           int64_t row, gdn_expected *made) {
    const gdn_case *test = case_of(r, index);
    const target t = find_target(r, index, e, row);
    const int64_t sequence =
        gdn_related_owner(&r->related.calls[index], e->tensor, e->rows[row]);
    const double factor = ldexp(1.0, test->twist.scale);
    double *value = made->golden + row * e->row_count;
    const bool recalled = recall(r, index, e, row, value);
    const int64_t owner =
        t.tensor ? gdn_related_owner(&r->related.calls[t.call], t.tensor, t.row) : -1;
    for (int64_t i = 0; i < e->row_count; i++) {
        const double golden = e->golden[row * e->row_count + i];
        const double own = limit_of(r, index, e, row, sequence, i);
        double limit = INFINITY;
        if (t.tensor) {
            const int64_t k = gdn_related_element(test, e->tensor, i);
            const double other = t.there->golden[t.index * e->row_count + k];
            value[i] = factor * gdn_load(t.tensor->data, t.tensor->dtype,
                                         t.row * t.tensor->stride[0] + k);
            limit = own + factor * limit_of(r, t.call, t.there, t.index, owner, k) +
                    fabs(golden - factor * other);
        } else if (recalled) {
            limit = own + fabs(golden - value[i]);
        } else {
            value[i] = golden;
        }
        made->limit[row * e->row_count + i] = nextafterf((float)limit, INFINITY);
    }
}

/* The same for copies; where nothing is known, whatever is there is right. */
static void expect_exact(const gdn_relation_case *r, size_t index, const gdn_expected *e,
                         int64_t row, gdn_expected *made) {
    const target t = find_target(r, index, e, row);
    const gdn_tensor *from = t.tensor ? t.tensor : e->tensor;
    const int64_t at = (t.tensor ? t.row : e->rows[row]) * from->stride[0];
    const size_t size = gdn_dtype_size(e->tensor->dtype);
    uint8_t *bits = (uint8_t *)made->bits + (size_t)(row * e->row_count) * size;
    for (int64_t i = 0; i < e->row_count; i++) {
        const int64_t k =
            t.tensor ? gdn_related_element(case_of(r, index), e->tensor, i) : i;
        memcpy(bits + (size_t)i * size,
               (const uint8_t *)from->data + (size_t)(at + k) * size, size);
    }
}

static void drop_expected(gdn_golden *made) {
    for (size_t i = 0; i < made->n_outputs; i++) {
        free(made->outputs[i].golden);
        free(made->outputs[i].limit);
        free(made->outputs[i].bits);
    }
    free(made->outputs);
    *made = (gdn_golden){.outputs = NULL};
}

/* What a call that has run has to be, by those before it. Rows are borrowed. */
static gdn_status make_expected(const gdn_relation_case *r, size_t index, gdn_golden *made,
                                gdn_error *err) {
    const gdn_golden *golden = &r->calls[index].golden;
    *made = (gdn_golden){.outputs = calloc(golden->n_outputs, sizeof *made->outputs)};
    if (!made->outputs) {
        return no_memory(err);
    }
    for (size_t i = 0; i < golden->n_outputs; i++) {
        const gdn_expected *e = &golden->outputs[i];
        gdn_expected *own = &made->outputs[made->n_outputs++];
        const size_t count = (size_t)(e->n_rows * e->row_count) + 1;
        const bool bounded = e->judgement == GDN_JUDGE_BOUNDED;
        *own = (gdn_expected){.tensor = e->tensor,
                              .judgement = e->judgement,
                              .rows = e->rows,
                              .n_rows = e->n_rows,
                              .row_count = e->row_count};
        own->golden = bounded ? calloc(count, sizeof *own->golden) : NULL;
        own->limit = bounded ? calloc(count, sizeof *own->limit) : NULL;
        own->bits = bounded ? NULL : calloc(count, gdn_dtype_size(e->tensor->dtype));
        if (bounded ? !own->golden || !own->limit : !own->bits) {
            drop_expected(made);
            return no_memory(err);
        }
        for (int64_t row = 0; row < e->n_rows; row++) {
            (bounded ? expect_bounded : expect_exact)(r, index, e, row, own);
        }
    }
    return GDN_OK;
}

/* Adds a call's tensor to the case's of that name: the worse one stays. */
static void add_tensor(gdn_case_result *result, const gdn_tensor_result *tensor) {
    for (size_t i = 0; i < result->n_tensors; i++) {
        gdn_tensor_result *t = &result->tensors[i];
        if (strcmp(t->name, tensor->name) == 0) {
            const int64_t compared = t->compared + tensor->compared;
            const int64_t failed = t->failed + tensor->failed;
            if ((t->ok && !tensor->ok) ||
                (t->ok == tensor->ok && tensor->budget > t->budget)) {
                *t = *tensor;
            }
            t->compared = compared;
            t->failed = failed;
            return;
        }
    }
    if (result->n_tensors < GDN_MAX_OUTPUTS) {
        result->tensors[result->n_tensors++] = *tensor;
    }
}

/* Says which calls disagree. */
static void add_call(const gdn_relation_case *r, size_t index, const gdn_case_result *call,
                     gdn_case_result *result) {
    for (size_t i = 0; i < call->n_tensors; i++) {
        add_tensor(result, &call->tensors[i]);
    }
    if (result->stray_bytes == 0 && call->stray_bytes > 0) {
        memcpy(result->stray_first, call->stray_first, sizeof result->stray_first);
    }
    result->stray_bytes += call->stray_bytes;
    if (call->verdict == GDN_FAIL && result->verdict != GDN_FAIL) {
        result->verdict = GDN_FAIL;
        if (asprintf(&result->message, "%s, call %zu of %zu: %s",
                     GDN_RELATION_NAMES[r->related.relation], index + 1, r->related.n_calls,
                     call->message ? call->message : "") < 0) {
            result->message = NULL;
        }
    }
}

static bool axis_of(gdn_relation relation, gdn_claim_axis *axis) {
    static const char *const ALIASES[GDN_RELATION_COUNT] = {
        [GDN_RELATION_REPEATED] = "determinism",
        [GDN_RELATION_ALONE] = "batch_invariance",
        [GDN_RELATION_BATCH_INVARIANT] = "batch_invariance",
    };
    const char *name = ALIASES[relation] ? ALIASES[relation] : GDN_RELATION_NAMES[relation];
    for (int i = 0; i < GDN_AXIS_COUNT; i++) {
        if (strcmp(GDN_AXIS_NAMES[i], name) == 0) {
            *axis = (gdn_claim_axis)i;
            return true;
        }
    }
    return false; /* recalled: no two calls */
}

/* The first element that is not what an earlier call has, to the bit. Equal values have
 * equal bits but for zeros and NaN, which nobody promises. */
static void compare_bits(size_t index, const gdn_golden *made, gdn_case_claim *claim) {
    for (size_t o = 0; claim->held && o < made->n_outputs; o++) {
        const gdn_expected *e = &made->outputs[o];
        const gdn_tensor *t = e->tensor;
        for (int64_t i = 0; e->golden && i < e->n_rows * e->row_count; i++) {
            const int64_t row = e->rows[i / e->row_count];
            const double found =
                gdn_load(t->data, t->dtype, row * t->stride[0] + i % e->row_count);
            const double other = gdn_round_to(e->golden[i], t->dtype);
            if (isinf(e->limit[i]) || found == other || (isnan(found) && isnan(other))) {
                continue; /* nothing is known of it, or it is the same */
            }
            claim->held = false;
            snprintf(claim->differs, sizeof claim->differs,
                     "call %zu: %s, row %lld, element %lld: %.9g, before %.9g", index + 1,
                     t->name, (long long)row, (long long)(i % e->row_count), found, other);
            return;
        }
    }
}

/* A promise that does not hold is a failure, whatever the limits say. */
static void settle_claim(gdn_case_result *result) {
    const gdn_case_claim *claim = &result->claim;
    if (claim->seen && !claim->held && claim->claimed == GDN_CLAIMS_YES &&
        result->verdict == GDN_PASS) {
        result->verdict = GDN_FAIL;
        if (asprintf(&result->message,
                     "within limits, but the profile claims %s to the bit: %s",
                     GDN_AXIS_NAMES[claim->axis], claim->differs) < 0) {
            result->message = NULL;
        }
    }
}

static gdn_status judge_call(const gdn_relation_case *r, size_t index,
                             gdn_case_result *result, gdn_error *err) {
    gdn_golden made;
    gdn_case_result call = {0};
    GDN_TRY(make_expected(r, index, &made, err));
    const gdn_status status =
        gdn_judge_case(&r->related.calls[index].problem, &made, &call, err);
    if (status == GDN_OK) {
        add_call(r, index, &call, result);
        if (result->claim.held) {
            compare_bits(index, &made, &result->claim);
        }
    }
    gdn_case_result_destroy(&call);
    drop_expected(&made);
    return status;
}

/* From this call on a repeated call is not alone on the device. */
#define FIRST_LOADED 2

static gdn_status run_calls(gdn_relation_case *relation, const gdn_executor *executor,
                            bool *ran, gdn_case_result *result, gdn_error *err) {
    for (size_t i = 0; *ran && result->verdict != GDN_FAIL && i < relation->related.n_calls;
         i++) {
        const gdn_problem *problem = &relation->related.calls[i].problem;
        if (executor->load && relation->related.relation == GDN_RELATION_REPEATED &&
            i == FIRST_LOADED) {
            GDN_TRY(executor->load(executor->context, problem, err));
        }
        gdn_related_prepare(&relation->related, i);
        GDN_TRY(executor->run(executor->context, problem, ran, result, err));
        if (*ran) {
            GDN_TRY(judge_call(relation, i, result, err));
        }
    }
    return GDN_OK;
}

gdn_status gdn_relation_judge(gdn_relation_case *relation, const gdn_executor *executor,
                              bool *ran, gdn_case_result *result, gdn_error *err) {
    *ran = true;
    result->verdict = GDN_PASS;
    result->claim.seen = axis_of(relation->related.relation, &result->claim.axis);
    result->claim.claimed = relation->related.calls[0].test.claims[result->claim.axis];
    result->claim.held = result->claim.seen;
    gdn_status status = run_calls(relation, executor, ran, result, err);
    if (executor->load) {
        const gdn_status ended = executor->load(executor->context, NULL, err);
        status = status == GDN_OK ? ended : status;
    }
    GDN_TRY(status);
    /* Wrong outputs are no word on promises. */
    result->claim.seen = result->claim.seen && *ran && result->verdict == GDN_PASS;
    settle_claim(result);
    return GDN_OK;
}
