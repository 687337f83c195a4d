/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* causal_conv1d: the depthwise convolution of whole rows, speculative or not. */
#include <omp.h>
#include <stdlib.h>

#include "cpu.h"
#include "cpu_conv.h"
#include "cpu_convert.h"

/* Channels that one piece of work takes through a sequence. */
enum { BLOCK = 256 };

/* Speculative sequences whose states go to a buffer have one slot, which starts them. */
static bool is_buffered(const gdn_call *call) {
    return call->conventions->spec_state == GDN_SPEC_BUFFER &&
           gdn_call_is_speculative(call);
}

static cpu_group group_of(const gdn_call *call) {
    const gdn_tensor *starts = gdn_call_tensor(call, "query_start_loc");
    const bool buffered = is_buffered(call);
    return (cpu_group){
        .starts = starts,
        .slots = gdn_call_tensor(call, "state_indices"),
        .initial = buffered ? NULL : gdn_call_tensor(call, "has_initial_state"),
        .accepted = buffered ? NULL : gdn_call_tensor(call, "num_accepted_tokens"),
        .window = call->conventions->conv_window,
        .conventions = call->conventions,
        .count = starts->shape[0] - 1,
    };
}

static cpu_conv_op op_of(const gdn_call *call) {
    const bool buffered = is_buffered(call);
    return (cpu_conv_op){
        .conventions = call->conventions,
        .x = gdn_call_tensor(call, "x"),
        .weight = gdn_call_tensor(call, "weight"),
        .bias = gdn_call_tensor(call, "bias"),
        .state = gdn_call_tensor(call, "conv_state"),
        .buffer = buffered ? gdn_call_tensor(call, "intermediate_indices") : NULL,
        .parents = buffered ? gdn_call_tensor(call, "parent_token") : NULL,
        .windows = buffered ? gdn_call_tensor(call, "intermediate_conv_window") : NULL,
        .silu = call->conventions->activation == GDN_ACTIVATION_SILU,
    };
}

/* What only speculation with a buffer has. */
static gdn_status check_buffer(const gdn_call *call, unsigned storage, int64_t channels,
                               gdn_error *err) {
    const gdn_tensor *rows = gdn_call_tensor(call, "intermediate_indices");
    const int64_t sequences = gdn_call_tensor(call, "state_indices")->shape[0];
    const int64_t columns = rows->shape[1];
    int64_t shape[3];
    cpu_conv_state_shape(call->conventions, channels, shape);
    GDN_TRY(cpu_expect(call, "intermediate_indices", CPU_INTEGERS, 2,
                       (int64_t[]){sequences, -1}, err));
    GDN_TRY(cpu_expect(call, "parent_token", CPU_INTEGERS, 2,
                       (int64_t[]){sequences, columns}, err));
    return cpu_expect(call, "intermediate_conv_window", storage, 3, shape, err);
}

static gdn_status check(const gdn_call *call, gdn_error *err) {
    const int64_t any[3] = {-1, -1, -1};
    GDN_TRY(cpu_expect(call, "x", CPU_FLOATS, 2, any, err));
    const gdn_tensor *x = gdn_call_tensor(call, "x");
    const unsigned storage = CPU_TYPE(x->dtype);
    const int64_t channels = x->shape[1];
    const bool spec = gdn_call_is_speculative(call) && !is_buffered(call);
    int64_t weight[2], state[3];
    cpu_conv_weight_shape(call->conventions, channels, weight);
    cpu_conv_state_shape(call->conventions, channels, state);
    GDN_TRY(cpu_expect(call, "weight", storage, 2, weight, err));
    GDN_TRY(cpu_expect(call, "bias", storage, 1, &channels, err));
    GDN_TRY(cpu_expect(call, "conv_state", storage, 3, state, err));
    GDN_TRY(cpu_expect(call, "query_start_loc", CPU_INTEGERS, 1, any, err));
    GDN_TRY(cpu_expect(call, "state_indices", CPU_INTEGERS, spec ? 2 : 1, any, err));
    GDN_TRY(cpu_expect(call, "has_initial_state", CPU_TYPE(GDN_BOOL), 1, any, err));
    GDN_TRY(cpu_expect(call, "num_accepted_tokens", CPU_INTEGERS, 1, any, err));
    GDN_TRY(cpu_expect(call, "out", storage, 2, x->shape, err));
    if (is_buffered(call)) {
        GDN_TRY(check_buffer(call, storage, channels, err));
    }
    const cpu_group group = group_of(call);
    const cpu_conv_op op = op_of(call);
    return cpu_conv_check(&group, &op, err);
}

/* What the buffer's index tensors hold for the tokens that there are. */
static gdn_status check_rows(const cpu_conv_op *op, const cpu_group *group,
                             gdn_error *err) {
    for (int64_t i = 0; op->buffer && i < group->count; i++) {
        const cpu_sequence sequence = cpu_sequence_at(group, i);
        if (sequence.padded) {
            continue;
        }
        if (sequence.length > op->buffer->shape[1]) {
            return gdn_error_set(err, GDN_ERR_ARG,
                                 "%s: expected %lld columns or more but found %lld",
                                 op->buffer->name, (long long)sequence.length,
                                 (long long)op->buffer->shape[1]);
        }
        for (int64_t t = 0; t < sequence.length; t++) {
            const int64_t row = gdn_tensor_int(op->buffer, i, t);
            const int64_t parent =
                op->parents && t > 0 ? gdn_tensor_int(op->parents, i, t) : -1;
            const bool placed = !op->windows || (row >= 0 && row < op->windows->shape[0]);
            if (!placed || parent >= t || (parent < 0 && op->parents && t > 0)) {
                return gdn_error_set(err, GDN_ERR_ARG,
                                     "sequence %lld, token %lld: row %lld or parent %lld "
                                     "is out of range",
                                     (long long)i, (long long)t, (long long)row,
                                     (long long)parent);
            }
        }
    }
    return GDN_OK;
}

static void convolve(const cpu_conv_op *op, const cpu_sequence *sequence,
                     cpu_channels channels, const gdn_tensor *out, float *scratch) {
    cpu_conv conv;
    float *y = scratch;
    cpu_conv_begin(&conv, op, sequence, channels, y + CPU_SEGMENT * BLOCK);
    for (int64_t first = 0; first < sequence->length; first += CPU_SEGMENT) {
        const int64_t rest = sequence->length - first;
        const int64_t n = rest < CPU_SEGMENT ? rest : CPU_SEGMENT;
        cpu_conv_segment(&conv, first, n, y, channels.count);
        for (int64_t t = 0; t < n; t++) {
            cpu_store(out->data, out->dtype,
                      cpu_sequence_row(sequence, first + t) * out->stride[0] +
                          channels.column * out->stride[1],
                      out->stride[1], y + t * channels.count, channels.count);
        }
    }
}

static gdn_status run(gdn_device *device, const gdn_call *call, gdn_error *err) {
    const gdn_tensor *out = gdn_call_tensor(call, "out");
    const cpu_group group = group_of(call);
    const cpu_conv_op op = op_of(call);
    GDN_TRY(cpu_group_check(&group, op.x->shape[0], op.state->shape[0], err));
    GDN_TRY(check_rows(&op, &group, err));
    const int64_t total = op.x->shape[1], blocks = (total + BLOCK - 1) / BLOCK;
    const int threads = cpu_threads(device, call, group.count * blocks);
    const size_t floats =
        (size_t)CPU_SEGMENT * BLOCK + cpu_conv_floats(cpu_conv_taps(&op), BLOCK);
    float *scratch = cpu_scratch_create(threads, floats);
    if (!scratch) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %d threads of causal_conv1d",
                             threads);
    }
    /* A block of channels is its own: its history is replaced by who read it. */
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t item = 0; item < group.count * blocks; item++) {
        const cpu_sequence sequence = cpu_sequence_at(&group, item / blocks);
        const int64_t first = item % blocks * BLOCK;
        const cpu_channels channels = {
            .channel = first,
            .column = first,
            .count = total - first < BLOCK ? total - first : BLOCK,
        };
        if (sequence.length > 0 && !sequence.padded) {
            convolve(&op, &sequence, channels, out,
                     scratch + (size_t)omp_get_thread_num() * cpu_aligned((int64_t)floats));
            cpu_conv_keep(&op, &sequence, channels);
        }
    }
    free(scratch);
    return GDN_OK;
}

const cpu_op cpu_causal_conv1d = {.check = check, .run = run};
