/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Depthwise causal convolution with activation (contract vllm_xpu 2.3), the conv state's
 * two windows (3.2, 3.3), and the op of that name. */
#include "gdn/exact.h"
#include "ops.h"

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
    if (u < -87.0 && conventions->numeric_class == GDN_CLASS_FP32) {
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

/* Reads the history rows, oldest first, as W-1 runs of channels. */
static void load_history(const gdnp_conv *conv, int64_t taps, double *history) {
    const gdnp_sequence *s = conv->sequence;
    const gdn_tensor *state = conv->state;
    for (int64_t i = 0; i < taps - 1; i++) {
        double *row = history + i * conv->channels;
        if (s->conv_slot < 0) {
            memset(row, 0, (size_t)conv->channels * sizeof *row);
            continue;
        }
        const int64_t at = s->conv_slot * state->stride[0] +
                           (s->conv_row + i) * state->stride[1] +
                           conv->channel * state->stride[2];
        gdn_load_run(row, state->data, state->dtype, at, state->stride[2], conv->channels);
    }
}

/* Input number `index` of history followed by tokens. */
static void load_input(const gdnp_conv *conv, int64_t taps, const double *history,
                       int64_t index, double *row) {
    if (index < taps - 1) {
        memcpy(row, history + index * conv->channels, (size_t)conv->channels * sizeof *row);
    } else {
        const int64_t token = conv->sequence->rows[index - (taps - 1)];
        const int64_t at = token * conv->x->stride[0] + conv->column * conv->x->stride[1];
        gdn_load_run(row, conv->x->data, conv->x->dtype, at, conv->x->stride[1],
                     conv->channels);
    }
}

/* Writes `count` state rows of a slot from consecutive inputs. */
static void store_rows(const gdnp_conv *conv, int64_t taps, const double *history,
                       int64_t slot, int64_t first_input, int64_t count, double *row) {
    const gdn_tensor *out = &conv->state_out->value;
    for (int64_t i = 0; i < count; i++) {
        load_input(conv, taps, history, first_input + i, row);
        const int64_t at =
            slot * out->stride[0] + i * out->stride[1] + conv->channel * out->stride[2];
        gdn_store_run(out->data, out->dtype, at, out->stride[2], row, conv->channels);
    }
}

static void store_state(const gdnp_conv *conv, int64_t taps, const double *history,
                        double *row) {
    const gdnp_sequence *s = conv->sequence;
    if (!s->spec) {
        store_rows(conv, taps, history, s->slots[0], s->length, taps - 1, row);
    } else if (conv->conventions->conv_window == GDN_CONV_SNAPSHOT) {
        for (int64_t t = 0; t < s->length; t++) {
            store_rows(conv, taps, history, s->slots[t], t + 1, taps - 1, row);
        }
    } else {
        store_rows(conv, taps, history, s->slots[0], 1, taps - 2 + s->length, row);
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
 * so an addition is an fma. */
static void add_taps(const gdnp_conv *conv, const double *window, const double *weight,
                     const double *bias, const double *floor, int64_t taps, int64_t token,
                     double *sum, double *reach) {
    const int64_t n = conv->channels;
    memset(sum, 0, (size_t)n * sizeof *sum);
    if (reach) {
        memcpy(reach, floor, (size_t)n * sizeof *reach);
    }
    for (int64_t i = 0; i <= taps; i++) {
        const double *x = window + (token + i) % taps * n;
        const double *w = weight + i * n;
        for (int64_t c = 0; c < n; c++) {
            sum[c] += i < taps ? w[c] * x[c] : bias[c];
        }
        for (int64_t c = 0; reach && c < n; c++) {
            reach[c] += fabs(i < taps ? w[c] * x[c] : bias[c]);
        }
    }
}

gdn_status gdnp_conv_run(const gdnp_conv *conv, gdn_error *err) {
    const gdnp_sequence *s = conv->sequence;
    const int64_t n = conv->channels;
    const int64_t taps = conv->weight->shape[1];
    if (s->length == 0) {
        return GDN_OK; /* an empty sequence reads and writes nothing */
    }
    /* weights [taps], history [taps-1], window [taps], sums, reach, bias, floor: rows of
     * n */
    double *memory = malloc((size_t)((3 * taps + 3) * n) * sizeof *memory);
    if (!memory) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %lld channels", (long long)n);
    }
    double *weight = memory;
    double *history = weight + taps * n;
    double *window = history + (taps - 1) * n;
    double *sum = window + taps * n;
    double *reach = sum + n;
    double *bias = reach + n;
    double *floor = bias + n;
    const bool reversed = conv->conventions->slip == GDN_SLIP_TAPS_REVERSED;
    for (int64_t i = 0; i < taps; i++) {
        gdn_load_run(weight + i * n, conv->weight->data, conv->weight->dtype,
                     conv->channel * conv->weight->stride[0] +
                         (reversed ? taps - 1 - i : i) * conv->weight->stride[1],
                     conv->weight->stride[0], n);
    }
    memset(bias, 0, (size_t)n * sizeof *bias);
    if (conv->bias && conv->conventions->slip != GDN_SLIP_BIAS_MISSING) {
        gdn_load_run(bias, conv->bias->data, conv->bias->dtype,
                     conv->channel * conv->bias->stride[0], conv->bias->stride[0], n);
    }
    load_history(conv, taps, history);
    memcpy(window, history, (size_t)((taps - 1) * n) * sizeof *window);

    const gdnp_arithmetic fp = gdnp_arithmetic_of(conv->conventions);
    const double gamma = gdnp_gamma((double)taps + 1.0, fp.unit);
    fill_floor(weight, taps, n, fp.tiny / gamma, floor);
    for (int64_t t = 0; t < s->length; t++) {
        load_input(conv, taps, history, taps - 1 + t, window + (taps - 1 + t) % taps * n);
        add_taps(conv, window, weight, bias, floor, taps, t, sum,
                 conv->y_error ? reach : NULL);
        finish_token(conv, conv->x->dtype, gamma, sum, reach, conv->y + t * n,
                     conv->y_error ? conv->y_error + t * n : NULL);
    }
    if (conv->state_out) {
        store_state(conv, taps, history, sum);
    }
    free(memory);
    return GDN_OK;
}

static gdn_status run_block(const gdn_call *call, const gdnp_sequence *s, int64_t channel,
                            int64_t channels, gdn_output *state_out, gdn_output *out,
                            gdn_error *err) {
    if (s->padded) {
        return GDN_OK; /* whatever the profile does with it elsewhere */
    }
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
        .state_out = state_out,
    };
    const gdn_status status = gdnp_conv_run(&conv, err);
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

gdn_status gdn_reference_causal_conv1d(const gdn_call *call, gdn_output *outputs,
                                       gdn_error *err) {
    const int64_t channels = gdn_call_tensor(call, "x")->shape[1];
    gdn_output *out = gdnp_output(call, outputs, "out");
    gdn_output *state_out = gdnp_output(call, outputs, "conv_state");
    gdnp_batch batch = {0};
    gdn_status status = gdnp_batch_add(
        &batch, call->conventions, gdn_call_tensor(call, "query_start_loc"), NULL,
        gdn_call_tensor(call, "state_indices"), gdn_call_tensor(call, "has_initial_state"),
        gdn_call_tensor(call, "num_accepted_tokens"), err);
    if (status == GDN_OK) {
        gdnp_batch_mark(&batch, call->conventions, out, state_out, NULL);
        const int64_t blocks = (channels + CHANNEL_BLOCK - 1) / CHANNEL_BLOCK;
#pragma omp parallel for schedule(dynamic)
        for (int64_t i = 0; i < batch.count * blocks; i++) {
            const int64_t first = i % blocks * CHANNEL_BLOCK;
            const int64_t left = channels - first;
            gdn_error local = {0};
            if (run_block(call, &batch.sequences[i / blocks], first,
                          left < CHANNEL_BLOCK ? left : CHANNEL_BLOCK, state_out, out,
                          &local) != GDN_OK) {
#pragma omp critical(gdn_reference_error)
                status = gdn_error_set(err, local.status, "%s", local.message);
            }
        }
    }
    gdnp_batch_destroy(&batch);
    return status;
}
