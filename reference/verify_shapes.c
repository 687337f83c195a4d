/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Types and shapes of a verification call against the op table. */
#include <ctype.h>
#include <string.h>

#include "gdn/verify.h"

typedef long long ll; /* for printf */

/* What messages call the letters. */
static const char *const NAMES['Z' + 1] = {
    ['A'] = "steps",
    ['B'] = "slots",
    ['C'] = "columns of candidates or channels",
    ['D'] = "nodes",
    ['E'] = "end tokens",
    ['F'] = "encoder slots",
    ['G'] = "nodes less the root",
    ['H'] = "history tokens",
    ['I'] = "state slots",
    ['J'] = "drafts + 1",
    ['K'] = "decoder slots",
    ['L'] = "layers",
    ['M'] = "path columns",
    ['N'] = "rows",
    ['O'] = "output rows",
    ['P'] = "nodes of all requests",
    ['Q'] = "parents",
    ['R'] = "live slots",
    ['S'] = "step tokens",
    ['T'] = "target rows",
    ['U'] = "one element",
    ['V'] = "tokens of the vocabulary",
    ['W'] = "window rows",
    ['X'] = "elements",
    ['Y'] = "mask elements",
    ['Z'] = "scratch requests",
};

/* Letters whose size is at least 1. */
static const char NOT_EMPTY[] = "ACDEJMSUVWX";

static gdn_status check_dtype(const gdn_tensor *t, const gdn_argument *argument,
                              int *chosen, gdn_error *err) {
    if ((int)t->dtype < 0 || t->dtype >= GDN_DTYPE_COUNT) {
        return gdn_error_set(err, GDN_ERR_ARG, "%s: expected a type but found number %d",
                             t->name, (int)t->dtype);
    }
    gdn_dtype expected = argument->dtype;
    if (expected == GDN_DTYPE_COUNT) {
        if (*chosen < 0 && !gdn_dtype_is_float(t->dtype)) {
            return gdn_error_set(err, GDN_ERR_ARG, "%s: expected a float type but found %s",
                                 t->name, gdn_dtype_name(t->dtype));
        }
        *chosen = *chosen < 0 ? (int)t->dtype : *chosen;
        expected = (gdn_dtype)*chosen;
    }
    if (t->dtype != expected) {
        return gdn_error_set(err, GDN_ERR_ARG, "%s: expected type %s but found %s", t->name,
                             gdn_dtype_name(expected), gdn_dtype_name(t->dtype));
    }
    return GDN_OK;
}

static gdn_status check_dimension(const gdn_tensor *t, int d, char letter,
                                  gdn_verify_sizes *sizes, gdn_error *err) {
    const int plus = islower((unsigned char)letter) ? 1 : 0;
    const int upper = toupper((unsigned char)letter);
    const int64_t found = t->shape[d];
    int64_t *size = &sizes->of[upper];
    const int64_t least = plus + (strchr(NOT_EMPTY, upper) ? 1 : 0);
    if (found < 0 || found > INT32_MAX || (*size < 0 && found < least)) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "%s: expected size %lld to %d (%s%s) in dimension %d but "
                             "found %lld",
                             t->name, (ll)least, INT32_MAX, NAMES[upper],
                             plus ? " + 1" : "", d, (ll)found);
    }
    if (*size < 0) {
        *size = found - plus;
    }
    if (found != *size + plus) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "%s: expected size %lld (%s%s) in dimension %d but found %lld",
                             t->name, (ll)(*size + plus), NAMES[upper], plus ? " + 1" : "",
                             d, (ll)found);
    }
    return GDN_OK;
}

/* Sizes that follow from others. */
static gdn_status check_derived(const gdn_call *call, const gdn_verify_sizes *sizes,
                                gdn_error *err) {
    const int64_t B = sizes->of['B'], D = sizes->of['D'], R = sizes->of['R'];
    if (R >= 0 && R > B) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "seq_lens_this_time: expected at most %lld live slots but "
                             "found %lld",
                             (ll)B, (ll)R);
    }
    if (call->op == GDN_OP_REJECTION_SAMPLE && sizes->of['S'] >= 0 &&
        sizes->of['S'] != sizes->of['J'] - 1) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "acceptance_rates: expected size %lld (drafts) but found %lld",
                             (ll)(sizes->of['J'] - 1), (ll)sizes->of['S']);
    }
    if (sizes->of['U'] > 1) {
        return gdn_error_set(err, GDN_ERR_ARG, "%s: expected size 1 but found %lld",
                             call->op == GDN_OP_TREE_SPECULATIVE_SAMPLING
                                 ? "threshold_single"
                                 : "has_running",
                             (ll)sizes->of['U']);
    }
    if (sizes->of['P'] >= 0 && sizes->of['P'] != B * D) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "%s: expected size %lld (slots times nodes) but found %lld",
                             call->op == GDN_OP_BUILD_TREE ? "positions" : "predicts",
                             (ll)(B * D), (ll)sizes->of['P']);
    }
    if (sizes->of['G'] >= 0 && D >= 0 && sizes->of['G'] != D - 1) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "%s: expected size %lld (nodes less the root) in dimension 1 "
                             "but found %lld",
                             call->op == GDN_OP_BUILD_TREE ? "selected_index"
                                                           : "draft_probs",
                             (ll)(D - 1), (ll)sizes->of['G']);
    }
    if (sizes->of['M'] > D && D >= 0) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "accept_index: expected at most %lld columns (nodes) but "
                             "found %lld",
                             (ll)D, (ll)sizes->of['M']);
    }
    return GDN_OK;
}

gdn_status gdn_verify_check_shapes(const gdn_call *call, gdn_verify_sizes *sizes,
                                   gdn_error *err) {
    const gdn_op_info *info = gdn_op_get(call->op);
    int chosen = -1;
    memset(sizes, -1, sizeof *sizes);
    for (size_t i = 0; i < info->n_arguments; i++) {
        const gdn_argument *argument = &info->arguments[i];
        const gdn_tensor *t = gdn_call_tensor(call, argument->name);
        if (!t) {
            continue;
        }
        GDN_TRY(check_dtype(t, argument, &chosen, err));
        const int rank = (int)strlen(argument->shape);
        if (t->rank != rank) {
            return gdn_error_set(err, GDN_ERR_ARG, "%s: expected rank %d but found %d",
                                 t->name, rank, t->rank);
        }
        for (int d = 0; d < rank; d++) {
            GDN_TRY(check_dimension(t, d, argument->shape[d], sizes, err));
        }
    }
    return check_derived(call, sizes, err);
}
