/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Depthwise causal convolution with activation (contract vllm_xpu 2.3), and the op of that
 * name. */
#include "conv_lines.h"
#include "gdn/exact.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Channels that one task of the op takes: enough to amortise its buffers, few enough that a
 * decode batch fills every core. */
#define CHANNEL_BLOCK 256

/* How far a backend's y may be from the exact one, before y is stored. */
static double output_error(const gdn_conventions *conventions, gdnp_arithmetic arithmetic,
                           double y, double u, double sum_error) {
    if (conventions->activation == GDN_ACTIVATION_NONE) {
        return sum_error;
    }
    /* |silu'| < 1.0999 everywhere; the sigmoid errs relatively, the product once more. */
    double error =
        1.1 * sum_error + fabs(y) * (gdnp_sigmoid_error(conventions, u) + arithmetic.unit);
    if (u < -87.0 && conventions->numeric_class != GDN_CLASS_FP64) {
        error += fabs(y); /* exp(-u) is beyond fp32 from 88.7 on: -0 is a correct answer */
    }
    return error + arithmetic.tiny;
}

/* Activation, rounding and error of one token's channels. `u` holds the sums on entry;
 * `reach` holds sum |w||x| + |bias| and the floor, or is NULL. */
static void finish_token(const gdnp_conv *conv, gdn_dtype storage, double gamma,
                         const double *u, const double *reach, double *y, double *y_error) {
    const gdnp_arithmetic arithmetic = gdnp_arithmetic_of(conv->conventions);
    const bool rounded = conv->conventions->conv_output == GDN_ROUND_STORAGE;
    const bool silu = conv->conventions->activation == GDN_ACTIVATION_SILU;
    for (int64_t c = 0; c < conv->channels; c++) {
        const double exact = silu ? gdn_silu(u[c]) : u[c];
        y[c] = rounded ? gdn_round_to(exact, storage) : exact;
        if (!y_error) {
            continue;
        }
        const double error =
            output_error(conv->conventions, arithmetic, exact, u[c], gamma * reach[c]);
        if (rounded) {
            /* Only a value within its own error of a rounding boundary may land elsewhere.
             */
            const double above = fabs(gdn_round_to(exact + error, storage) - y[c]);
            const double below = fabs(gdn_round_to(exact - error, storage) - y[c]);
            y_error[c] = fmax(above, below);
        } else {
            y_error[c] = error;
        }
    }
}

/* What a sum may lose to subnormals that become zeros: each product and each sum `tiny`,
 * each input as much times its weight. In the units of `reach`. */
static void fill_floor(const double *weight, int64_t taps, int64_t channels, double tiny,
                       double *floor) {
    for (int64_t c = 0; c < channels; c++) {
        double reads = 0.0;
        for (int64_t i = 0; i < taps; i++) {
            reads += fabs(weight[i * channels + c]);
        }
        floor[c] = tiny * (2.0 * (double)taps + 2.0 + reads);
    }
}

/* Sums of one token, oldest tap first, then the bias; and, from `floor` on,
 * sum |w||x| + |bias| unless `reach` is NULL. Products of storage values are exact in FP64,
 * so an addition is an fma; where the backend rounds them to storage, the place of the
 * rounding is therefore certain, and no correct product differs. */
static void add_taps(const gdnp_conv *conv, const double *window, const double *weight,
                     const double *bias, const double *floor, int64_t taps, int64_t token,
                     double *sum, double *reach) {
    const int64_t n = conv->channels;
    const bool rounded = conv->conventions->conv_product == GDN_ROUND_STORAGE;
    memset(sum, 0, (size_t)n * sizeof *sum);
    if (reach) {
        memcpy(reach, floor, (size_t)n * sizeof *reach);
    }
    for (int64_t i = 0; i <= taps; i++) {
        const double *x = window + (token + i) % taps * n;
        const double *w = weight + i * n;
        if (rounded && i < taps) {
            for (int64_t c = 0; c < n; c++) {
                const double product = gdn_round_to(w[c] * x[c], conv->x->dtype);
                sum[c] += product;
                if (reach) {
                    reach[c] += fabs(product);
                }
            }
            continue;
        }
        for (int64_t c = 0; c < n; c++) {
            sum[c] += i < taps ? w[c] * x[c] : bias[c];
        }
        for (int64_t c = 0; reach && c < n; c++) {
            reach[c] += fabs(i < taps ? w[c] * x[c] : bias[c]);
        }
    }
}

/* Tap i of all channels; the slip reads any memory as [C,W]. */
static void load_tap(const gdnp_conv *conv, int64_t taps, int64_t i, double *weight) {
    const gdn_tensor *w = conv->weight;
    const bool wc = conv->conventions->conv_weight == GDN_WEIGHT_WC;
    const int64_t first = conv->channel;
    if (conv->conventions->slip == GDN_SLIP_WEIGHT_TAKEN_FOR_PLAIN) {
        gdn_load_run(weight, w->data, w->dtype, first * taps + i, taps, conv->channels);
    } else if (conv->conventions->conv_weight == GDN_WEIGHT_VNNI) {
        for (int64_t c = 0; c < conv->channels; c++) {
            weight[c] =
                gdn_load(w->data, w->dtype, gdn_conv_packed_offset(taps, first + c, i));
        }
    } else {
        const int64_t by_channel = w->stride[wc ? 1 : 0];
        gdn_load_run(weight, w->data, w->dtype,
                     first * by_channel + i * w->stride[wc ? 0 : 1], by_channel,
                     conv->channels);
    }
}

static void load_weights(const gdnp_conv *conv, int64_t taps, double *weight,
                         double *bias) {
    const gdnp_sequence *s = conv->sequence;
    const gdn_slip slip = conv->conventions->slip;
    const int64_t n = conv->channels;
    for (int64_t i = 0; i < taps; i++) {
        load_tap(conv, taps, slip == GDN_SLIP_TAPS_REVERSED ? taps - 1 - i : i,
                 weight + i * n);
    }
    memset(bias, 0, (size_t)n * sizeof *bias);
    const bool decode = !s->spec && !s->verify && s->length == 1;
    if (conv->bias && slip != GDN_SLIP_BIAS_MISSING &&
        !(slip == GDN_SLIP_BIAS_MISSING_IN_DECODE && decode)) {
        gdn_load_run(bias, conv->bias->data, conv->bias->dtype,
                     conv->channel * conv->bias->stride[0], conv->bias->stride[0], n);
    }
}

/* Inputs of token t into the window, which add_taps() then reads from `token` on: the next
 * place of a ring for a chain, all of it for a tree. */
static int64_t fill_window(const gdnp_conv *conv, int64_t taps, int64_t depth,
                           const double *history, int64_t t, double *window) {
    const int64_t n = conv->channels;
    if (!conv->sequence->parents) {
        gdnp_line_input(conv, depth, history, depth + t,
                        window + (taps - 1 + t) % taps * n);
        return t;
    }
    for (int64_t i = 0; i < taps; i++) {
        gdnp_line_input(conv, depth, history,
                        gdnp_line_behind(conv->sequence, depth, t, taps - 1 - i),
                        window + i * n);
    }
    return 0;
}

gdn_status gdnp_conv_run(const gdnp_conv *conv, gdn_error *err) {
    const gdnp_sequence *s = conv->sequence;
    const int64_t n = conv->channels;
    const int64_t taps = gdn_conv_taps(conv->conventions, conv->weight);
    if (s->length == 0) {
        return GDN_OK; /* an empty sequence reads and writes nothing */
    }
    const gdnp_line_part part = gdnp_line_stored(conv, taps);
    const int64_t depth = part.depth;
    /* weights [taps], history [depth], window [taps], sums, reach, bias, floor: rows of
     * n */
    double *memory = malloc((size_t)((2 * taps + depth + 4) * n) * sizeof *memory);
    if (!memory) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %lld channels", (long long)n);
    }
    double *weight = memory;
    double *history = weight + taps * n;
    double *window = history + depth * n;
    double *sum = window + taps * n;
    double *reach = sum + n;
    double *bias = reach + n;
    double *floor = bias + n;
    load_weights(conv, taps, weight, bias);
    gdnp_line_load(conv, part, history);
    memcpy(window, history + (gdnp_line_reads_first(conv) ? 0 : depth - (taps - 1)) * n,
           (size_t)((taps - 1) * n) * sizeof *window);

    const gdnp_arithmetic fp = gdnp_arithmetic_of(conv->conventions);
    const double gamma = gdnp_gamma((double)taps + 1.0, fp.unit);
    fill_floor(weight, taps, n, fp.tiny / gamma, floor);
    for (int64_t t = 0; t < s->length; t++) {
        const int64_t oldest = fill_window(conv, taps, depth, history, t, window);
        add_taps(conv, window, weight, bias, floor, taps, oldest, sum,
                 conv->y_error ? reach : NULL);
        finish_token(conv, conv->x->dtype, gamma, sum, reach, conv->y + t * n,
                     conv->y_error ? conv->y_error + t * n : NULL);
    }
    if (conv->windows_out && s->window_rows) {
        gdnp_line_store_windows(conv, taps, depth, history, sum);
    }
    if (conv->state_out) {
        gdnp_line_store(conv, taps, depth, history, sum);
    }
    free(memory);
    return GDN_OK;
}

static gdn_status run_block(const gdn_call *call, const gdnp_sequence *s, int64_t channel,
                            int64_t channels, gdn_output *outputs, gdn_error *err) {
    if (s->padded) {
        return GDN_OK; /* whatever the profile does with it elsewhere */
    }
    gdn_output *out = gdnp_output(call, outputs, "out");
    const gdn_tensor *x = gdn_call_tensor(call, "x");
    const size_t count = (size_t)(s->length * channels);
    double *y = malloc(2 * count * sizeof *y + 1);
    if (!y) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu conv outputs", count);
    }
    /* The op's own output is rounded when it is stored, so that golden values stay exact.
     */
    gdn_conventions conventions = *call->conventions;
    conventions.conv_output = GDN_ROUND_NONE;
    const gdnp_conv conv = {
        .conventions = &conventions,
        .sequence = s,
        .x = x,
        .column = channel,
        .weight = gdn_call_tensor(call, "weight"),
        .bias = gdn_call_tensor(call, "bias"),
        .state = gdn_call_tensor(call, "conv_state"),
        .channel = channel,
        .channels = channels,
        .y = y,
        .y_error = out && out->limit ? y + count : NULL,
        .state_out = gdnp_output(call, outputs, "conv_state"),
        .windows_out = gdnp_output(call, outputs, "intermediate_conv_window"),
    };
    const gdn_status status = gdnp_conv_run(&conv, err);
    if (conv.y_error && !(gdnp_terms(out) & GDN_TERM_ROUNDINGS)) {
        memset(conv.y_error, 0, count * sizeof *y);
    }
    for (int64_t t = 0; status == GDN_OK && out && t < s->length; t++) {
        const gdn_tensor *value = &out->value;
        const int64_t at = s->rows[t] * value->stride[0] + channel * value->stride[1];
        gdnp_store_bounded(out, at, value->stride[1],
                           s->rows[t] * value->shape[1] + channel, y + t * channels,
                           conv.y_error ? conv.y_error + t * channels : NULL, channels,
                           x->dtype, gdnp_arithmetic_of(&conventions).tiny);
    }
    free(y);
    return status;
}

static void mark_windows(const gdnp_batch *batch, gdn_output *windows) {
    for (int64_t i = 0; i < batch->count; i++) {
        const gdnp_sequence *s = &batch->sequences[i];
        for (int64_t t = 0; s->window_rows && t < s->length; t++) {
            gdnp_mark_row(windows, s->window_rows[t]);
        }
    }
}

gdn_status gdn_reference_causal_conv1d(const gdn_call *call, gdn_output *outputs,
                                       gdn_error *err) {
    const int64_t channels = gdn_call_tensor(call, "x")->shape[1];
    const bool buffered =
        call->conventions->spec_state == GDN_SPEC_BUFFER && gdn_call_is_speculative(call);
    gdnp_batch batch = {0};
    gdn_status status =
        gdnp_batch_add(&batch, call->conventions, gdn_call_tensor(call, "query_start_loc"),
                       NULL, gdn_call_tensor(call, "state_indices"),
                       buffered ? NULL : gdn_call_tensor(call, "has_initial_state"),
                       buffered ? NULL : gdn_call_tensor(call, "num_accepted_tokens"), err);
    if (status == GDN_OK && buffered) {
        status = gdnp_batch_verify(&batch, call->conventions,
                                   gdn_call_tensor(call, "intermediate_indices"), NULL,
                                   gdn_call_tensor(call, "parent_token"), err);
    }
    if (status == GDN_OK) {
        gdnp_batch_mark(&batch, call->conventions, gdnp_output(call, outputs, "out"),
                        gdnp_output(call, outputs, "conv_state"), NULL);
        mark_windows(&batch, gdnp_output(call, outputs, "intermediate_conv_window"));
        const int64_t blocks = (channels + CHANNEL_BLOCK - 1) / CHANNEL_BLOCK;
#pragma omp parallel for schedule(dynamic) if (gdnp_is_large(call))
        for (int64_t i = 0; i < batch.count * blocks; i++) {
            const int64_t first = i % blocks * CHANNEL_BLOCK;
            const int64_t left = channels - first;
            gdn_error local = {0};
            if (run_block(call, &batch.sequences[i / blocks], first,
                          left < CHANNEL_BLOCK ? left : CHANNEL_BLOCK, outputs,
                          &local) != GDN_OK) {
#pragma omp critical(gdn_reference_error)
                status = gdn_error_set(err, local.status, "%s", local.message);
            }
        }
    }
    gdnp_batch_destroy(&batch);
    return status;
}
