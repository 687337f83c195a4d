/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "certify.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gdn/shadow.h"

/* Three digits say all there is to say, and read back from text as the same number. */
static double shortened(double x) {
    char text[32];
    snprintf(text, sizeof text, "%.2e", x);
    return strtod(text, NULL);
}

static gdn_status differs(const gdn_expected *e, int64_t row, int64_t i, double golden,
                          double shadow, const char *how, gdn_error *err) {
    return gdn_error_set(err, GDN_ERR_FORMAT,
                         "%s, row %lld, element %lld: the reference says %.17g and its "
                         "shadow %.17g: %s",
                         e->tensor->name, (long long)row, (long long)i, golden, shadow,
                         how);
}

static gdn_status compare_bounded(const gdn_expected *e, int64_t r, int64_t i,
                                  const gdn_shadow_output *shadow, gdn_certified *figures,
                                  gdn_error *err) {
    const double golden = e->golden[r * e->row_count + i];
    const double limit = (double)e->limit[r * e->row_count + i];
    const int64_t at = e->rows[r] * e->row_count + i;
    const double high = shadow->high[at];
    if (!isfinite(golden) || !isfinite(high)) {
        const bool same = golden == high || (isnan(golden) && isnan(high));
        return same ? GDN_OK
                    : differs(e, e->rows[r], i, golden, high, "not the same kind", err);
    }
    /* golden - high is exact where the two are near each other, and elsewhere it does not
     * matter. */
    const double difference = fabs((golden - high) - shadow->low[at]);
    if (difference == 0.0) {
        return GDN_OK;
    }
    if (!(difference <= limit)) {
        return differs(e, e->rows[r], i, golden, high, "more than the limit apart", err);
    }
    const double ulp = gdn_dtype_ulp(fmax(fabs(golden), fabs(high)), GDN_FP64);
    figures->limits = fmax(figures->limits, difference / limit);
    figures->ulps = fmax(figures->ulps, difference / ulp);
    return GDN_OK;
}

/* Elements that the shadow does not write keep what they held: rows of a conv state beyond
 * its window. */
static gdn_status compare_exact(const gdn_expected *e, int64_t r, int64_t i,
                                const gdn_shadow_output *shadow, gdn_error *err) {
    const gdn_tensor *t = e->tensor;
    const int64_t at = e->rows[r] * e->row_count + i;
    const double golden = gdn_load(e->bits, t->dtype, r * e->row_count + i);
    const double expected = shadow->mark[at] == GDN_SHADOW_UNTOUCHED
                                ? gdn_load(t->data, t->dtype, gdn_tensor_flat_offset(t, at))
                                : shadow->high[at];
    if (golden == expected || (isnan(golden) && isnan(expected))) {
        return GDN_OK;
    }
    return differs(e, e->rows[r], i, golden, expected, "a copy must be equal", err);
}

static gdn_status compare_row(const gdn_expected *e, int64_t r,
                              const gdn_shadow_output *shadow, gdn_certified *figures,
                              gdn_error *err) {
    for (int64_t i = 0; i < e->row_count; i++) {
        const uint8_t mark = shadow->mark[e->rows[r] * e->row_count + i];
        if (e->judgement == GDN_JUDGE_EXACT) {
            GDN_TRY(compare_exact(e, r, i, shadow, err));
        } else if (mark == GDN_SHADOW_VALUE) {
            GDN_TRY(compare_bounded(e, r, i, shadow, figures, err));
        } else if (mark == GDN_SHADOW_UNDECIDED) {
            figures->undecided++;
        } else {
            return gdn_error_set(
                err, GDN_ERR_FORMAT,
                "%s, row %lld: the reference writes it and its shadow does "
                "not",
                e->tensor->name, (long long)e->rows[r]);
        }
    }
    return GDN_OK;
}

static bool touches(const gdn_shadow_output *shadow, int64_t row, int64_t row_count) {
    for (int64_t i = 0; i < row_count; i++) {
        if (shadow->mark[row * row_count + i] != GDN_SHADOW_UNTOUCHED) {
            return true;
        }
    }
    return false;
}

static gdn_status compare_output(const gdn_expected *e, const gdn_shadow_output *shadow,
                                 gdn_certified *figures, gdn_error *err) {
    int64_t r = 0;
    for (int64_t row = 0; row < e->tensor->shape[0]; row++) {
        if (r < e->n_rows && e->rows[r] == row) {
            GDN_TRY(compare_row(e, r, shadow, figures, err));
            r++;
        } else if (touches(shadow, row, e->row_count)) {
            return gdn_error_set(
                err, GDN_ERR_FORMAT,
                "%s, row %lld: the shadow writes it and the reference does "
                "not",
                e->tensor->name, (long long)row);
        }
    }
    figures->limits = shortened(figures->limits);
    figures->ulps = shortened(figures->ulps);
    return GDN_OK;
}

static gdn_status create_output(gdn_shadow_output *output, const gdn_tensor *tensor,
                                gdn_error *err) {
    const size_t count = (size_t)gdn_tensor_count(tensor) + 1;
    output->high = calloc(count, sizeof *output->high);
    output->low = calloc(count, sizeof *output->low);
    output->mark = calloc(count, sizeof *output->mark);
    return output->high && output->low && output->mark
               ? GDN_OK
               : gdn_error_set(err, GDN_ERR_OOM, "%s: no memory for its shadow",
                               tensor->name);
}

static gdn_status compare(gdn_certificate *certificate, const gdn_problem *problem,
                          const gdn_golden *golden, gdn_shadow_output *outputs,
                          gdn_error *err) {
    const gdn_call *call = &problem->call;
    for (size_t i = 0; i < golden->n_outputs; i++) {
        const gdn_tensor *tensor = golden->outputs[i].tensor;
        GDN_TRY(create_output(&outputs[tensor - call->tensors], tensor, err));
    }
    GDN_TRY(gdn_shadow_run(call, outputs, &certificate->ties, err));
    for (size_t i = 0; i < golden->n_outputs; i++) {
        const gdn_expected *e = &golden->outputs[i];
        gdn_certified figures = {.tensor = e->tensor->name};
        GDN_TRY(compare_output(e, &outputs[e->tensor - call->tensors], &figures, err));
        if (e->judgement == GDN_JUDGE_BOUNDED) {
            if (certificate->n_outputs == GDN_MAX_CERTIFIED) {
                return gdn_error_set(err, GDN_ERR_ARG, "more than %d bounded outputs",
                                     GDN_MAX_CERTIFIED);
            }
            certificate->outputs[certificate->n_outputs++] = figures;
        }
    }
    return GDN_OK;
}

gdn_status gdn_certify(gdn_certificate *certificate, const gdn_problem *problem,
                       const gdn_golden *golden, gdn_error *err) {
    const gdn_call *call = &problem->call;
    *certificate = (gdn_certificate){.cost = gdn_shadow_cost(call)};
    certificate->certified = certificate->cost <= GDN_CERTIFIED_COST;
    if (!certificate->certified || call->op == GDN_OP_GDN_METADATA ||
        call->op == GDN_OP_CONV_WEIGHT_PACK || gdn_op_is_verify(call->op)) {
        return GDN_OK; /* integers and copies are their own certificate */
    }
    gdn_shadow_output *outputs = calloc(call->n_tensors, sizeof *outputs);
    if (!outputs) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a shadow");
    }
    const gdn_status status = compare(certificate, problem, golden, outputs, err);
    for (size_t i = 0; i < call->n_tensors; i++) {
        free(outputs[i].high);
        free(outputs[i].low);
        free(outputs[i].mark);
    }
    free(outputs);
    if (status != GDN_OK) {
        gdn_error_context(err, "certification of %s", problem->test->id);
    }
    return status;
}
