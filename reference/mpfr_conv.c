/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The shadow's causal convolution, formulas of contract vllm_xpu 2.3, 3.2 and 3.3 and
 * sglang_npu 2.0 and 2.6. */
#include "mpfr_shadow.h"

#include <float.h>
#include <stdlib.h>

static int64_t taps_of(const gdnp_shadow_conv *conv) {
    const bool wc = conv->group->conventions->conv_weight == GDN_WEIGHT_WC;
    return conv->weight->shape[wc ? 0 : 1];
}

static double weight(const gdnp_shadow_conv *conv, int64_t tap) {
    const int64_t c = conv->channel;
    switch (conv->group->conventions->conv_weight) {
    case GDN_WEIGHT_CW:
        break;
    case GDN_WEIGHT_WC:
        return gdnp_shadow_element(conv->weight, (const int64_t[]){tap, c});
    case GDN_WEIGHT_VNNI: {
        /* [C/32][W/2][32][2] as one number in mixed radix. */
        const int64_t pairs = conv->weight->shape[1] / 2;
        const int64_t at = ((c / 32 * pairs + tap / 2) * 32 + c % 32) * 2 + tap % 2;
        return gdn_load(conv->weight->data, conv->weight->dtype, at);
    }
    }
    return gdnp_shadow_element(conv->weight, (const int64_t[]){c, tap});
}

static bool is_sd(const gdnp_shadow_conv *conv) {
    return conv->group->conventions->conv_state_order == GDN_CONV_STATE_SD;
}

/* Index of a row of a line, of this channel. */
typedef struct place {
    int64_t index[3];
} place;

static place place_of(const gdnp_shadow_conv *conv, int64_t slot, int64_t row) {
    return is_sd(conv) ? (place){{slot, row, conv->channel}}
                       : (place){{slot, conv->channel, row}};
}

static int64_t line_rows(const gdnp_shadow_conv *conv) {
    return conv->state->shape[is_sd(conv) ? 1 : 2];
}

/* Rows kept where no slot belongs to a draft column, and the first of them. */
static int64_t kept_rows(const gdnp_shadow_conv *conv) {
    const bool taps = conv->group->conventions->conv_history == GDN_CONV_KEEPS_TAPS;
    return taps_of(conv) - (taps ? 0 : 1);
}

static int64_t kept_first(const gdnp_shadow_conv *conv) {
    const gdn_conventions *conventions = conv->group->conventions;
    const bool first = conventions->conv_anchor == GDN_CONV_FIRST &&
                       conventions->conv_window != GDN_CONV_ROLLING;
    return first ? 0 : line_rows(conv) - kept_rows(conv);
}

/* x(t) of the contracts: t < 0 is history, x(-1) its newest input. Storage values, so FP64
 * holds them exactly. */
static double input(const gdnp_shadow_conv *conv, int64_t t) {
    const gdnp_shadow_group *group = conv->group;
    if (t >= 0) {
        const int64_t row = gdnp_shadow_row(group, conv->n, t);
        return gdnp_shadow_element(conv->x, (const int64_t[]){row, conv->column});
    }
    int64_t slot = gdnp_shadow_load_slot(group, conv->n);
    int64_t end = kept_first(conv) + kept_rows(conv);
    if (group->accepted) {
        end = taps_of(conv) - 1;
        if (group->conventions->conv_window != GDN_CONV_SNAPSHOT) {
            const int64_t count = gdn_tensor_int(group->accepted, conv->n, 0);
            slot = gdn_tensor_int(group->slots, conv->n, 0);
            end += count > 1 ? count - 1 : 0;
        }
    }
    if (slot < 0) {
        return 0.0;
    }
    return gdnp_shadow_element(conv->state, place_of(conv, slot, end + t).index);
}

/* The input that token t meets `back` taps behind itself. */
static double behind(const gdnp_shadow_conv *conv, int64_t t, int64_t back) {
    if (!conv->group->parents || t <= 0 || back == 0) {
        return input(conv, t - back);
    }
    return behind(conv, gdn_tensor_int(conv->group->parents, conv->n, t), back - 1);
}

static void put_state(const gdnp_shadow_conv *conv, int64_t slot, int64_t row, int64_t t) {
    gdnp_shadow_copy(&conv->state_out, place_of(conv, slot, row).index, input(conv, t));
}

/* The most recent inputs that end with token t, in `rows` rows from `first` on. */
static void put_inputs(const gdnp_shadow_conv *conv, int64_t slot, int64_t first,
                       int64_t rows, int64_t t) {
    for (int64_t i = 0; i < rows; i++) {
        put_state(conv, slot, first + i, t + 1 - rows + i);
    }
}

static void put_windows(const gdnp_shadow_conv *conv, int64_t length) {
    const int64_t rows = taps_of(conv) - 1;
    for (int64_t t = 0; t < length; t++) {
        const int64_t slot = gdn_tensor_int(conv->group->places, conv->n, t);
        for (int64_t i = 0; i < rows; i++) {
            gdnp_shadow_copy(&conv->windows_out, place_of(conv, slot, i).index,
                             behind(conv, t, rows - 1 - i));
        }
    }
}

static void put_states(const gdnp_shadow_conv *conv, int64_t length) {
    const gdnp_shadow_group *group = conv->group;
    const int64_t taps = taps_of(conv);
    const int64_t slot = gdn_tensor_int(group->slots, conv->n, 0);
    const gdn_conv_window window = group->conventions->conv_window;
    if (gdnp_shadow_is_padding(group, conv->n)) {
        return;
    }
    if (group->places && window == GDN_CONV_ROLLING) {
        put_inputs(conv, slot, 0, line_rows(conv), length - 1);
    } else if (!group->accepted) {
        put_inputs(conv, slot, kept_first(conv), kept_rows(conv), length - 1);
    } else if (window == GDN_CONV_SNAPSHOT) {
        for (int64_t t = 0; t < length; t++) {
            put_inputs(conv, gdn_tensor_int(group->slots, conv->n, t), 0, taps - 1, t);
        }
    } else {
        /* new[i] = line[r0 + 1 + i] for i < W-2 and new[W-2+t] = x(t). */
        for (int64_t i = 0; i < taps - 2; i++) {
            put_state(conv, slot, i, i + 2 - taps);
        }
        for (int64_t t = taps > 1 ? 0 : 1; t < length; t++) {
            put_state(conv, slot, taps - 2 + t, t);
        }
    }
}

/* How far FP64 arithmetic may be from y: the sum's W+1 roundings, each relative to `reach`
 * (sum |w||x| + |bias|) and weighted with the largest slope of SiLU (below 1.1), and those
 * of the activation, which are fewer than 8. */
static void set_margin(mpfr_ptr margin, mpfr_srcptr reach, mpfr_srcptr y, int64_t taps) {
    mpfr_mul_d(margin, y, 8.0, MPFR_RNDN);
    mpfr_abs(margin, margin, MPFR_RNDN);
    MPFR_DECL_INIT(sum, GDNP_SHADOW_BITS);
    mpfr_mul_d(sum, reach, 1.1 * (double)(taps + 2), MPFR_RNDN);
    mpfr_add(margin, margin, sum, MPFR_RNDN);
    mpfr_mul_d(margin, margin, GDNP_FP64_UNIT, MPFR_RNDN);
    mpfr_add_d(margin, margin, DBL_MIN, MPFR_RNDN);
}

int64_t gdnp_shadow_conv_run(const gdnp_shadow_conv *conv, mpfr_ptr y, uint8_t *tie,
                             int64_t stride, mpfr_ptr work) {
    mpfr_ptr u = work, term = work + 1, reach = work + 2, margin = work + 3;
    const int64_t taps = taps_of(conv);
    const int64_t length = gdnp_shadow_length(conv->group, conv->n);
    const bool silu = conv->group->conventions->activation == GDN_ACTIVATION_SILU;
    const bool product_rounded =
        conv->group->conventions->conv_product == GDN_ROUND_STORAGE;
    int64_t ties = 0;
    for (int64_t t = 0; t < length; t++) {
        mpfr_set_zero(u, 1);
        mpfr_set_zero(reach, 1);
        for (int64_t i = 0; i < taps; i++) {
            mpfr_set_d(term, behind(conv, t, taps - 1 - i), MPFR_RNDN);
            mpfr_mul_d(term, term, weight(conv, i), MPFR_RNDN);
            if (product_rounded) {
                mpfr_set_zero(margin, 1); /* the product is exact */
                gdnp_real_round(term, conv->x->dtype, margin);
            }
            mpfr_add(u, u, term, MPFR_RNDN);
            mpfr_abs(term, term, MPFR_RNDN);
            mpfr_add(reach, reach, term, MPFR_RNDN);
        }
        if (conv->bias) {
            mpfr_set_d(term, gdnp_shadow_element(conv->bias, &conv->channel), MPFR_RNDN);
            mpfr_add(u, u, term, MPFR_RNDN);
            mpfr_abs(term, term, MPFR_RNDN);
            mpfr_add(reach, reach, term, MPFR_RNDN);
        }
        mpfr_ptr value = y + t * stride;
        if (silu) {
            gdnp_real_silu(value, u);
        } else {
            mpfr_set(value, u, MPFR_RNDN);
        }
        tie[t * stride] = 0;
        if (conv->rounded) {
            set_margin(margin, reach, value, taps);
            tie[t * stride] = gdnp_real_round(value, conv->x->dtype, margin);
            ties += tie[t * stride];
        }
    }
    if (length > 0) {
        put_states(conv, length);
    }
    if (conv->group->places) {
        put_windows(conv, length);
    }
    return ties;
}

gdn_status gdnp_shadow_causal_conv1d(const gdn_call *call, gdn_shadow_output *outputs,
                                     gdn_error *err) {
    const gdn_tensor *x = gdn_call_tensor(call, "x");
    const gdnp_shadow_sink out = gdnp_shadow_sink_of(call, outputs, "out");
    const gdn_tensor *buffer = gdn_call_tensor(call, "intermediate_indices");
    const bool buffered = buffer && call->conventions->spec_state == GDN_SPEC_BUFFER;
    const gdnp_shadow_group group = {
        .conventions = call->conventions,
        .starts = gdn_call_tensor(call, "query_start_loc"),
        .slots = gdn_call_tensor(call, "state_indices"),
        .has_initial = buffered ? NULL : gdn_call_tensor(call, "has_initial_state"),
        .accepted = buffered ? NULL : gdn_call_tensor(call, "num_accepted_tokens"),
        .places = buffered ? buffer : NULL,
        .parents = buffered ? gdn_call_tensor(call, "parent_token") : NULL,
    };
    mpfr_ptr numbers = gdnp_reals_create(x->shape[0] + GDNP_CONV_WORK);
    uint8_t *tie = calloc((size_t)x->shape[0] + 1, 1);
    gdn_status status = GDN_OK;
    if (!numbers || !tie) {
        status = gdn_error_set(err, GDN_ERR_OOM, "no memory for the shadow of a channel");
        goto cleanup;
    }
    mpfr_ptr y = numbers + GDNP_CONV_WORK;
    for (int64_t n = 0; n < gdnp_shadow_count(&group); n++) {
        if (gdnp_shadow_is_padding(&group, n)) {
            continue;
        }
        for (int64_t c = 0; c < x->shape[1]; c++) {
            /* The op rounds its output when it is stored, as any output; golden values
             * stay exact. */
            const gdnp_shadow_conv conv = {
                .group = &group,
                .n = n,
                .x = x,
                .weight = gdn_call_tensor(call, "weight"),
                .bias = gdn_call_tensor(call, "bias"),
                .state = gdn_call_tensor(call, "conv_state"),
                .column = c,
                .channel = c,
                .state_out = gdnp_shadow_sink_of(call, outputs, "conv_state"),
                .windows_out =
                    gdnp_shadow_sink_of(call, outputs, "intermediate_conv_window"),
            };
            gdnp_shadow_conv_run(&conv, y, tie, 1, numbers);
            for (int64_t t = 0; t < gdnp_shadow_length(&group, n); t++) {
                const int64_t row = gdnp_shadow_row(&group, n, t);
                gdnp_shadow_put(&out, (const int64_t[]){row, c}, y + t, false);
            }
        }
    }

cleanup:
    free(numbers);
    free(tie);
    return status;
}
