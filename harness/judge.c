/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Every output element is decided on its own; every other byte of the arena must be what it
 * was. Special values come first, by this table, and only pairs of numbers reach a metric:
 *
 *     golden     device          verdict
 *     NaN        NaN             right
 *     NaN        anything else   wrong
 *     any other  NaN             wrong (still poison: never written)
 *     inf        the same inf    right
 *     inf        anything else   wrong
 *     number     inf             right only if a value within the limit rounds to that inf
 *     number     number          right if error <= limit
 *
 * -0 equals 0. Comparisons are written so that a NaN anywhere makes them false. */
#include "judge.h"

#include "dye.h"
#include "floor_limit.h"
#include "lattice.h"
#include "lattice_reading.h"
#include "stray.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Rows are compared in blocks whose partial sums are added in order: metrics do not depend
 * on the number of threads. */
#define BLOCKS 64

/* Elements from which a team of threads is worth its start. */
#define WORTH_THREADS (1 << 16)

bool gdn_judge_element(double golden, double found, double limit, gdn_dtype storage,
                       double *budget) {
    *budget = INFINITY;
    if (isnan(golden) || isnan(found)) {
        const bool ok = isnan(golden) && isnan(found);
        *budget = ok ? 0.0 : INFINITY;
        return ok;
    }
    if (isinf(golden)) {
        const bool ok = found == golden;
        *budget = ok ? 0.0 : INFINITY;
        return ok;
    }
    if (isinf(found)) {
        const double reach = golden + copysign(limit, found);
        const bool ok = isinf(gdn_round_to(reach, storage)) && (reach > 0) == (found > 0);
        *budget = ok ? 1.0 : INFINITY;
        return ok;
    }
    const double error = fabs(found - golden);
    const bool ok = (error <= limit);
    if (ok || error > limit) { /* else the limit is NaN, and accepts nothing */
        *budget = error == 0.0 ? 0.0 : error / limit;
    }
    return ok;
}

/* Partial result of a block of rows. */
typedef struct partial {
    int64_t compared, failed;
    gdn_special_counts special;
    double budget, max_error, max_ulps;
    double error_square, golden_square, found_square, product;
    int64_t worst, first_bad;             /* flat index over the compared rows; -1: none */
    double golden, found, limit;          /* at worst, or at first_bad for exact tensors */
    gdn_limit_kind binding;               /* there */
    bool close, nan_pairs, special_wrong; /* gdn_upstream_sums */
} partial;

typedef struct comparison {
    const gdn_expected *expected;
    const gdn_tensor *tensor;
    const gdn_upstream *upstream;
    bool lattice;
    bool huge;          /* nothing is said of what a huge dye reaches */
    const bool *spread; /* elements that a NaN may reach (dye.h); NULL: none but golden's */
    double *row;        /* scratch of one block: a row of the device's values */
    /* Outputs with a noise floor: their heads, with limits and the sums of one block. */
    int64_t heads; /* 0: no floor */
    double shares; /* elements of a state's row; 1 for outputs */
    const gdn_floor_limit *floors;
    gdn_pool_sums *sums;
} comparison;

static void count_special(partial *p, double golden, double found, bool poison) {
    if (isnan(found) && !isnan(golden)) {
        p->special.nan_unexpected++;
        p->special.unwritten += poison;
    } else if (isnan(golden) && !isnan(found)) {
        p->special.nan_missing++;
    } else if (isinf(found) || isinf(golden)) {
        p->special.inf_wrong++;
    }
}

static bool is_poison(const void *data, gdn_dtype dtype, int64_t at) {
    const size_t size = gdn_dtype_size(dtype);
    const uint8_t *bytes = (const uint8_t *)data + (size_t)at * size;
    for (size_t k = 0; k + 1 < size; k += 2) {
        const uint16_t word = GDN_POISON_WORD;
        if (memcmp(bytes + k, &word, sizeof word) != 0) {
            return false;
        }
    }
    return true;
}

static void add_numbers(partial *p, double golden, double found, gdn_dtype storage) {
    const double error = fabs(found - golden);
    if (!isfinite(error)) {
        return;
    }
    p->max_error = fmax(p->max_error, error);
    if (error > 0.0 && gdn_dtype_is_float(storage)) { /* integers have no ulp */
        p->max_ulps = fmax(p->max_ulps, error / gdn_dtype_ulp(golden, storage));
    }
    p->error_square += error * error;
    p->golden_square += golden * golden;
    p->found_square += found * found;
    p->product += golden * found;
}

static void add_upstream(const gdn_upstream *policy, partial *p, double golden,
                         double found) {
    if (isnan(golden) && isnan(found)) {
        p->nan_pairs = true;
    } else if (!isfinite(golden) || !isfinite(found)) {
        p->special_wrong = p->special_wrong || golden != found;
    } else {
        p->close =
            p->close && fabs(found - golden) <= policy->atol + policy->rtol * fabs(golden);
    }
}

/* The limit of element i of a row, and which one binds. */
static double element_limit(const comparison *c, int64_t flat, int64_t i, double golden,
                            gdn_limit_kind *binding) {
    const gdn_expected *e = c->expected;
    const double bound = (double)e->limit[flat + i];
    *binding = c->lattice ? GDN_LIMIT_LATTICE : GDN_LIMIT_BOUND;
    if (c->heads == 0) {
        return bound;
    }
    const double operand = e->operand ? (double)e->operand[flat + i] : 0.0;
    const double floor = gdn_floor_element(&c->floors[i / (e->row_count / c->heads)],
                                           golden, operand, c->tensor->dtype);
    if (floor < bound) {
        *binding = GDN_LIMIT_FLOOR_LARGEST;
        return floor;
    }
    return bound;
}

static void add_to_pool(const comparison *c, int64_t flat, int64_t i, double golden,
                        double found) {
    const gdn_expected *e = c->expected;
    if (c->heads > 0 && isfinite(golden) && isfinite(found)) {
        const int64_t head = i / (e->row_count / c->heads);
        const double operand = e->operand ? (double)e->operand[flat + i] : 0.0;
        gdn_pool_add(&c->sums[head], &c->floors[head], golden, found, operand, c->shares,
                     c->tensor->dtype);
    }
}

static void compare_bounded_row(const comparison *c, int64_t index, partial *p) {
    const gdn_expected *e = c->expected;
    const gdn_tensor *t = c->tensor;
    const int64_t at = e->rows[index] * t->stride[0];
    const int64_t flat = index * e->row_count;
    gdn_load_run(c->row, t->data, t->dtype, at, 1, e->row_count);
    for (int64_t i = 0; i < e->row_count; i++) {
        const double golden = e->golden[flat + i];
        const double found = c->row[i];
        if ((c->huge && isnan(golden)) ||
            (c->spread && c->spread[flat + i] && isnan(found))) {
            p->compared++;
            continue;
        }
        gdn_limit_kind binding;
        const double limit = element_limit(c, flat, i, golden, &binding);
        double budget;
        const bool ok = gdn_judge_element(golden, found, limit, t->dtype, &budget);
        p->compared++;
        add_upstream(c->upstream, p, golden, found);
        if (!ok) {
            p->failed++;
            p->first_bad = p->first_bad < 0 ? flat + i : p->first_bad;
            if (!isfinite(golden) || !isfinite(found)) {
                count_special(p, golden, found, is_poison(t->data, t->dtype, at + i));
            }
        }
        if (p->worst < 0 || budget > p->budget) {
            p->budget = budget;
            p->worst = flat + i;
            p->golden = golden;
            p->found = found;
            p->limit = limit;
            p->binding = binding;
        }
        add_numbers(p, golden, found, t->dtype);
        add_to_pool(c, flat, i, golden, found);
    }
}

static void compare_exact_row(const comparison *c, int64_t index, partial *p) {
    const gdn_expected *e = c->expected;
    const gdn_tensor *t = c->tensor;
    const size_t size = gdn_dtype_size(t->dtype);
    const int64_t at = e->rows[index] * t->stride[0];
    const int64_t flat = index * e->row_count;
    const uint8_t *found = (const uint8_t *)t->data + (size_t)at * size;
    const uint8_t *golden = (const uint8_t *)e->bits + (size_t)flat * size;
    p->compared += e->row_count;
    if (memcmp(found, golden, (size_t)e->row_count * size) == 0) {
        return;
    }
    for (int64_t i = 0; i < e->row_count; i++) {
        if (memcmp(found + (size_t)i * size, golden + (size_t)i * size, size) == 0) {
            continue;
        }
        const double g = gdn_load(e->bits, t->dtype, flat + i);
        const double f = gdn_load(t->data, t->dtype, at + i);
        /* A copied NaN may change its payload; poison is no copy, but memory that the op
         * has to leave alone. */
        if (isnan(g) && isnan(f) && !is_poison(e->bits, t->dtype, flat + i)) {
            continue;
        }
        p->failed++;
        add_upstream(c->upstream, p, g, f);
        count_special(p, g, f, is_poison(t->data, t->dtype, at + i));
        if (p->first_bad < 0) {
            p->first_bad = flat + i;
            p->worst = flat + i;
            p->golden = g;
            p->found = f;
            p->budget = INFINITY;
            p->binding = GDN_LIMIT_EXACT;
        }
        add_numbers(p, g, f, t->dtype);
    }
}

static void merge(partial *into, const partial *p) {
    into->compared += p->compared;
    into->failed += p->failed;
    into->special.nan_unexpected += p->special.nan_unexpected;
    into->special.nan_missing += p->special.nan_missing;
    into->special.inf_wrong += p->special.inf_wrong;
    into->special.unwritten += p->special.unwritten;
    into->max_error = fmax(into->max_error, p->max_error);
    into->max_ulps = fmax(into->max_ulps, p->max_ulps);
    into->error_square += p->error_square;
    into->golden_square += p->golden_square;
    into->found_square += p->found_square;
    into->product += p->product;
    into->close = into->close && p->close;
    into->nan_pairs = into->nan_pairs || p->nan_pairs;
    into->special_wrong = into->special_wrong || p->special_wrong;
    if (into->first_bad < 0) {
        into->first_bad = p->first_bad;
    }
    if (p->worst >= 0 && (into->worst < 0 || p->budget > into->budget)) {
        into->worst = p->worst;
        into->budget = p->budget;
        into->golden = p->golden;
        into->found = p->found;
        into->limit = p->limit;
        into->binding = p->binding;
    }
}

/* "name[i,j,k]" of a flat index over the compared rows. */
static void name_element(const gdn_expected *e, int64_t flat, char *text, size_t size) {
    text[0] = '\0';
    if (flat < 0) {
        return;
    }
    const gdn_tensor *t = e->tensor;
    int64_t index[GDN_MAX_RANK] = {e->rows[flat / e->row_count]};
    int64_t rest = flat % e->row_count;
    for (int d = t->rank - 1; d >= 1; d--) {
        index[d] = rest % t->shape[d];
        rest /= t->shape[d];
    }
    size_t used = 0;
    for (int d = 0; d < t->rank && used < size; d++) {
        const int n = snprintf(text + used, size - used, "%s%s%lld", d == 0 ? t->name : "",
                               d == 0 ? "[" : ",", (long long)index[d]);
        used += n > 0 ? (size_t)n : 0;
    }
    if (used + 1 < size) {
        memcpy(text + used, "]", 2);
    }
}

static void fill_result(gdn_tensor_result *r, const gdn_expected *e,
                        const gdn_upstream *upstream, const partial *p) {
    const double n = (double)p->compared;
    const gdn_upstream_sums sums = {
        .close = p->close,
        .nan_pairs = p->nan_pairs,
        .special_wrong = p->special_wrong,
        .largest = p->max_error,
        .error_square = p->error_square,
        .golden_square = p->golden_square,
        .found_square = p->found_square,
        .count = n,
    };
    *r = (gdn_tensor_result){
        .dtype = e->tensor->dtype,
        .judgement = e->judgement,
        .ok = p->failed == 0,
        .compared = p->compared,
        .failed = p->failed,
        .special = p->special,
        .budget = p->budget,
        .golden = p->golden,
        .found = p->found,
        .limit = p->limit,
        .binding = e->judgement == GDN_JUDGE_EXACT ? GDN_LIMIT_EXACT : p->binding,
        .pool = {.head = -1},
        .max_error = p->max_error,
        .max_ulps = p->max_ulps,
        .rms = n > 0 ? sqrt(p->error_square / n) : 0.0,
        .upstream_ok = gdn_upstream_accepts(upstream, &sums),
    };
    /* Equal tensors have no error even where the golden norm is 0. */
    r->nmse = p->error_square == 0.0 ? 0.0 : p->error_square / p->golden_square;
    r->rel_l2 = sqrt(r->nmse);
    const double norms = sqrt(p->golden_square) * sqrt(p->found_square);
    r->cosine = p->error_square == 0.0 ? 1.0 : norms > 0.0 ? p->product / norms : 0.0;
    snprintf(r->name, sizeof r->name, "%s", e->tensor->name);
    name_element(e, p->worst, r->worst, sizeof r->worst);
    name_element(e, p->first_bad, r->first_bad, sizeof r->first_bad);
}

/* Holds one figure of a head beside the worst so far. */
static void hold_pool(gdn_tensor_result *r, int64_t head, gdn_limit_kind kind, double found,
                      double limit) {
    const bool ok = (found <= limit);
    const double budget = found == 0.0 ? 0.0 : found / limit;
    r->ok = r->ok && ok;
    if (r->pool.head < 0 || budget > r->pool.budget) {
        r->pool = (gdn_pool_result){
            .head = head, .kind = kind, .budget = budget, .found = found, .limit = limit};
    }
    if (!(budget <= r->budget)) {
        r->budget = budget;
        r->binding = kind;
    }
}

/* The limits of whole heads. Errors of one row of a head may be one: the gates, the norms
 * of k and q and a flipped ulp of them are common to it. */
static void judge_pools(const comparison *c, gdn_tensor_result *r) {
    for (int64_t head = 0; head < c->heads; head++) {
        const gdn_floor_limit *limit = &c->floors[head];
        const gdn_pool_sums *sums = &c->sums[head];
        if (limit->any && sums->count > 0) {
            hold_pool(r, head, GDN_LIMIT_FLOOR_RMS,
                      sqrt(sums->error_square / (double)sums->count),
                      gdn_pool_rms_limit(sums, limit));
            hold_pool(r, head, GDN_LIMIT_ROUNDED, (double)sums->differ,
                      gdn_pool_differ_limit(sums, c->tensor->dtype,
                                            (double)(c->expected->row_count / c->heads)));
        }
    }
}

/* Limits of every head, and the sums of every block. */
static bool begin_pools(comparison *c, int64_t blocks) {
    const gdn_expected *e = c->expected;
    if (!e->floors) {
        return true;
    }
    const int64_t heads = c->tensor->shape[1];
    gdn_floor_limit *floors = calloc((size_t)heads + 1, sizeof *floors);
    c->sums = calloc((size_t)(blocks * heads + 1), sizeof *c->sums);
    if (!floors || !c->sums) {
        free(floors);
        return false;
    }
    for (int64_t head = 0; head < heads; head++) {
        floors[head] = gdn_floor_limit_of(&e->floors[head]);
    }
    c->floors = floors;
    c->heads = heads;
    return true;
}

static void end_pools(comparison *c) {
    free((void *)(uintptr_t)c->floors);
    free(c->sums);
}

static gdn_status judge_tensor(const gdn_expected *e, const gdn_case *test,
                               const bool *spread, gdn_tensor_result *result,
                               gdn_error *err) {
    const gdn_tensor *t = e->tensor;
    if (!gdn_tensor_is_dense_from(t, 1)) {
        return gdn_error_set(err, GDN_ERR_ARG, "%s: rows of an output must be dense",
                             t->name);
    }
    const int64_t most = e->n_rows < BLOCKS ? e->n_rows : BLOCKS;
    const bool state = strstr(t->name, "state") != NULL;
    const bool vk = test->conventions.state_order == GDN_STATE_VK;
    comparison whole = {.expected = e,
                        .tensor = t,
                        .lattice = gdn_case_is_lattice(test),
                        .huge = test->dye == GDN_DYE_HUGE,
                        .spread = spread,
                        .upstream = state ? &test->upstream_state : &test->upstream,
                        .shares = t->rank == 4 ? (double)t->shape[vk ? 3 : 2] : 1.0};
    double *scratch = malloc((size_t)(most * e->row_count + 1) * sizeof *scratch);
    if (!scratch || !begin_pools(&whole, most)) {
        free(scratch);
        end_pools(&whole);
        return gdn_error_set(err, GDN_ERR_OOM, "no memory to compare %s", t->name);
    }
    partial parts[BLOCKS];
#pragma omp parallel for schedule(dynamic) if (e->n_rows * e->row_count > WORTH_THREADS)
    for (int64_t block = 0; block < most; block++) {
        comparison c = whole;
        c.row = scratch + block * e->row_count;
        c.sums = whole.sums ? whole.sums + block * whole.heads : NULL;
        partial *p = &parts[block];
        *p = (partial){.worst = -1, .first_bad = -1, .close = true};
        const int64_t last = (block + 1) * e->n_rows / most;
        for (int64_t index = block * e->n_rows / most; index < last; index++) {
            if (e->judgement == GDN_JUDGE_EXACT) {
                compare_exact_row(&c, index, p);
            } else {
                compare_bounded_row(&c, index, p);
            }
        }
    }
    partial all = {.worst = -1, .first_bad = -1, .close = true};
    for (int64_t block = 0; block < most; block++) {
        merge(&all, &parts[block]);
        for (int64_t head = 0; block > 0 && head < whole.heads; head++) {
            gdn_pool_merge(&whole.sums[head], &whole.sums[block * whole.heads + head]);
        }
    }
    fill_result(result, e, whole.upstream, &all);
    judge_pools(&whole, result);
    end_pools(&whole);
    free(scratch);
    return GDN_OK;
}

gdn_status gdn_judge_case(const gdn_problem *problem, const gdn_golden *golden,
                          gdn_case_result *result, gdn_error *err) {
    if (golden->n_outputs > GDN_MAX_OUTPUTS) {
        return gdn_error_set(err, GDN_ERR_ARG, "more than %d outputs", GDN_MAX_OUTPUTS);
    }
    bool ok = true;
    for (size_t i = 0; i < golden->n_outputs; i++) {
        gdn_tensor_result *tensor = &result->tensors[result->n_tensors];
        bool *spread = gdn_dye_spread(problem, &golden->outputs[i]);
        const gdn_status status =
            judge_tensor(&golden->outputs[i], problem->test, spread, tensor, err);
        free(spread);
        GDN_TRY(status);
        result->n_tensors++;
        ok = ok && tensor->ok;
    }
    gdn_judge_stray(problem, golden, result);
    ok = ok && result->stray_bytes == 0;
    result->verdict = ok ? GDN_PASS : GDN_FAIL;
    if (!ok) {
        char text[1024];
        const int n = gdn_case_headline(result, text, sizeof text / 2);
        gdn_lattice_read_case(problem, golden, result, text + n, sizeof text - (size_t)n);
        result->message = strdup(text);
    }
    return GDN_OK;
}
