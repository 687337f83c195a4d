/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "gpu_plan.h"

#include <stdio.h>
#include <string.h>

/* As in the kernels' sources. */
#define MAX_TAPS       8
#define DELTA_WARPS    4
#define CHUNK          64
#define CHUNK_WARPS    4
#define CHUNK_VALUES   16
#define CHUNK_MAX_KEYS 256

#define BLOCK 256

/* Most that grids take in y and z on both vendors; x takes 2^31 - 1. */
#define MAX_GRID_YZ 65535

_Static_assert(sizeof(gk_metadata_args) <= GPU_ARGS_BYTES, "arguments fit");
_Static_assert(sizeof(gk_chunk_args) <= GPU_ARGS_BYTES, "arguments fit");
_Static_assert(sizeof(gk_verify_args) <= GPU_ARGS_BYTES, "arguments fit");
_Static_assert(sizeof(gk_rejection_args) <= GPU_ARGS_BYTES, "arguments fit");
_Static_assert(sizeof(gk_conv_args) <= GPU_ARGS_BYTES, "arguments fit");
_Static_assert(sizeof(gk_view) == 48 && sizeof(gk_group) == 360, "no gaps");

static int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

gk_view gpu_view(const gpu_plan *plan, const gdn_call *call, const char *name) {
    const gdn_tensor *tensor = gdn_call_tensor(call, name);
    gk_view view = {0};
    if (!tensor) {
        return view;
    }
    /* Any address but NULL where only sizes matter: NULL would mean absent. */
    const uint64_t offset =
        tensor->data ? (uint64_t)((const char *)tensor->data - plan->host_arena) : 1;
    view.data = (char *)(uintptr_t)(plan->arena + offset);
    view.dtype = tensor->dtype;
    for (int i = 0; i < tensor->rank && i < 4; i++) {
        view.stride[i] = tensor->stride[i];
    }
    return view;
}

gk_view gpu_scratch(gpu_plan *plan, int64_t rows, int64_t columns) {
    const size_t bytes = (size_t)(rows * columns) * sizeof(float);
    gk_view view = {.data = (char *)(uintptr_t)(plan->scratch + plan->scratch_bytes),
                    .dtype = GDN_FP32,
                    .stride = {columns, 1}};
    plan->scratch_bytes += (bytes + 255) / 256 * 256;
    return view;
}

gdn_status gpu_plan_add(gpu_plan *plan, const char *kernel, int64_t grid_x, int64_t grid_y,
                        int64_t grid_z, unsigned block, const void *arguments, size_t bytes,
                        gdn_error *err) {
    if (grid_x == 0 || grid_y == 0 || grid_z == 0) {
        return GDN_OK;
    }
    if (grid_x > INT32_MAX || grid_y > MAX_GRID_YZ || grid_z > MAX_GRID_YZ) {
        return gdn_error_set(err, GDN_ERR_UNSUPPORTED,
                             "%s: a grid of %lld x %lld x %lld blocks is more than the "
                             "device takes",
                             kernel, (long long)grid_x, (long long)grid_y,
                             (long long)grid_z);
    }
    if (plan->count == GPU_MAX_LAUNCHES || bytes > GPU_ARGS_BYTES) {
        return gdn_error_set(err, GDN_ERR_DEVICE, "%s: the plan is full", kernel);
    }
    gpu_launch *launch = &plan->launches[plan->count++];
    memset(launch, 0, sizeof *launch);
    launch->kernel = kernel;
    launch->grid[0] = (unsigned)grid_x;
    launch->grid[1] = (unsigned)grid_y;
    launch->grid[2] = (unsigned)grid_z;
    launch->block[0] = block;
    launch->block[1] = launch->block[2] = 1;
    launch->bytes = bytes;
    memcpy(launch->arguments, arguments, bytes);
    return GDN_OK;
}

gdn_status gpu_plan_conv(gpu_plan *plan, const gk_conv_args *args, gdn_error *err) {
    if (args->taps < 1 || args->taps > MAX_TAPS) {
        return gdn_error_set(err, GDN_ERR_UNSUPPORTED,
                             "conv weight: these kernels take 1 to %d taps but found %d",
                             MAX_TAPS, args->taps);
    }
    const int64_t blocks = ceil_div(args->channels, BLOCK);
    GDN_TRY(gpu_plan_add(plan, "gk_conv", args->group.capacity, blocks, 1, BLOCK, args,
                         sizeof *args, err));
    return gpu_plan_add(plan, "gk_conv_keep", args->group.count, blocks, 1, BLOCK, args,
                        sizeof *args, err);
}

gdn_status gpu_plan_pack(gpu_plan *plan, const gk_pack_args *args, gdn_error *err) {
    return gpu_plan_add(plan, "gk_pack",
                        ceil_div((int64_t)args->channels * args->taps, BLOCK), 1, 1, BLOCK,
                        args, sizeof *args, err);
}

gdn_status gpu_plan_zero(gpu_plan *plan, const gk_zero_args *args, gdn_error *err) {
    const int64_t rows = args->rows > args->first ? args->rows - args->first : 0;
    return gpu_plan_add(plan, "gk_zero", rows, 1, 1, BLOCK, args, sizeof *args, err);
}

gdn_status gpu_plan_gating(gpu_plan *plan, const gk_gating_args *args, gdn_error *err) {
    return gpu_plan_add(plan, "gk_gating",
                        ceil_div((int64_t)args->rows * args->heads, BLOCK), 1, 1, BLOCK,
                        args, sizeof *args, err);
}

gdn_status gpu_plan_normalise(gpu_plan *plan, const gk_normalise_args *args,
                              gdn_error *err) {
    return gpu_plan_add(plan, "gk_normalise", args->group.capacity, 1, 1, BLOCK, args,
                        sizeof *args, err);
}

/* Reserves bf16 numbers by local token and value head. */
static gk_place halves(gpu_plan *plan, int64_t rows, int64_t width) {
    return gpu_scratch(plan, rows, (width + 1) / 2).data;
}

static gdn_status plan_chunks(gpu_plan *plan, const gk_delta_args *args, gdn_error *err) {
    const int64_t rows = (int64_t)args->group.capacity * args->value_heads;
    const unsigned block = (unsigned)(CHUNK_WARPS * plan->warp);
    const gk_chunk_args chunk = {
        .delta = *args,
        .sums = (gk_floats)(uintptr_t)gpu_scratch(plan, rows, 1).data,
        .scores = halves(plan, rows, CHUNK),
        .w = halves(plan, rows, args->k_dim),
        .u = halves(plan, rows, args->v_dim),
    };
    GDN_TRY(gpu_plan_add(plan, "gk_chunk_prepare", args->group.capacity, args->value_heads,
                         1, block, &chunk, sizeof chunk, err));
    return gpu_plan_add(plan, "gk_chunk", args->group.count, args->value_heads,
                        ceil_div(args->v_dim, CHUNK_VALUES), block, &chunk, sizeof chunk,
                        err);
}

gdn_status gpu_plan_recurrence(gpu_plan *plan, const gk_delta_args *args,
                               const gdn_conventions *conventions, bool chunked,
                               gdn_error *err) {
    /* What an mma kernel does is within no other class's limits. */
    if (plan->matrix_units && chunked && conventions->chunk_class == GDN_CLASS_BF16_MMA &&
        args->carry != GK_CARRY_TOKEN && args->k_dim <= CHUNK_MAX_KEYS) {
        return plan_chunks(plan, args, err);
    }
    return gpu_plan_delta(plan, args, err);
}

static void swap(long long *a, long long *b) {
    const long long kept = *a;
    *a = *b;
    *b = kept;
}

void gpu_conv_conventions(gk_conv_args *args, const gdn_conventions *conventions,
                          const gdn_tensor *weight, const gdn_tensor *state) {
    const bool transposed = conventions->conv_weight == GDN_WEIGHT_WC;
    const bool rows_last = conventions->conv_state_order == GDN_CONV_STATE_DS;
    args->taps = (int)weight->shape[transposed ? 0 : 1];
    args->packed = conventions->conv_weight == GDN_WEIGHT_VNNI;
    if (transposed) {
        swap(&args->weight.stride[0], &args->weight.stride[1]);
    }
    if (rows_last) {
        swap(&args->state.stride[1], &args->state.stride[2]);
        swap(&args->windows.stride[1], &args->windows.stride[2]);
    }
    args->rows = (int)state->shape[rows_last ? 2 : 1];
    args->kept =
        conventions->conv_history == GDN_CONV_KEEPS_TAPS ? args->taps : args->taps - 1;
    args->kept_first =
        conventions->conv_anchor == GDN_CONV_LAST ? args->rows - args->kept : 0;
    args->rolling = args->group.places.data && conventions->conv_window == GDN_CONV_ROLLING;
    args->silu = conventions->activation == GDN_ACTIVATION_SILU;
    args->round_product =
        conventions->conv_product == GDN_ROUND_STORAGE ? (int)args->x.dtype : 0;
}

void gpu_normalise_conventions(gk_normalise_args *args, const gdn_conventions *conventions,
                               bool norm, bool chunked) {
    static const int ROUNDINGS[] = {
        [GDN_CHUNK_QK_NONE] = GK_QK_UNROUNDED,
        [GDN_CHUNK_QK_STORAGE] = GK_QK_STORAGE,
        [GDN_CHUNK_QK_SCALED] = GK_QK_SCALED,
    };
    args->epsilon = conventions->l2norm_eps;
    args->rounding = chunked ? ROUNDINGS[conventions->chunk_qk] : GK_QK_UNROUNDED;
    args->norm = !norm                                            ? GK_NORM_NONE
                 : conventions->l2norm_form == GDN_L2NORM_INSIDE  ? GK_NORM_INSIDE
                 : conventions->l2norm_form == GDN_L2NORM_OUTSIDE ? GK_NORM_OUTSIDE
                                                                  : GK_NORM_MAX;
}

int gpu_beta_roundings(const gdn_conventions *conventions, bool speculative) {
    switch (conventions->beta_rounding) {
    case GDN_BETA_ROUNDED:
        return 1;
    case GDN_BETA_THRICE_IN_DECODE:
        return speculative ? 0 : 3;
    case GDN_BETA_UNROUNDED:
        break;
    }
    return 0;
}

void gpu_gating_conventions(gk_gating_args *args, const gdn_conventions *conventions) {
    args->softplus_beta = conventions->softplus_beta;
    args->softplus_threshold = conventions->softplus_threshold;
    args->roundings = conventions->beta_storage == GDN_BETA_ACTIVATION;
    args->tail_roundings = conventions->beta_tail == GDN_TAIL_THRICE ? 3 : args->roundings;
}

void gpu_group_conventions(gk_group *group, const gdn_conventions *conventions,
                           bool computes_pads) {
    const gdn_pad_sequences pads = conventions->pad_sequences;
    group->sliding = conventions->conv_window == GDN_CONV_SLIDING;
    group->pad_slot = conventions->pad_slot_id;
    group->pads = pads == GDN_PAD_REFUSED                      ? GK_PADS_UNKNOWN
                  : pads == GDN_PAD_FROM_ZERO && computes_pads ? GK_PADS_FROM_ZERO
                                                               : GK_PADS_IDLE;
}

static int carry_of(gdn_state_carry carry, bool chunked) {
    if (carry == GDN_CARRY_KERNEL) {
        return chunked ? GK_CARRY_CHUNK : GK_CARRY_TOKEN;
    }
    return carry == GDN_CARRY_CHUNK   ? GK_CARRY_CHUNK
           : carry == GDN_CARRY_TOKEN ? GK_CARRY_TOKEN
                                      : GK_CARRY_CALL;
}

void gpu_delta_conventions(gk_delta_args *args, const gdn_conventions *conventions,
                           bool chunked) {
    args->tiled = conventions->head_map == GDN_HEADS_TILED;
    args->carry = carry_of(conventions->state_carry, chunked);
    args->zero_pads = conventions->pad_sequences == GDN_PAD_ZEROED;
    if (conventions->state_order == GDN_STATE_KV) {
        swap(&args->state.stride[2], &args->state.stride[3]);
        swap(&args->buffer.stride[2], &args->buffer.stride[3]);
    }
}

gdn_status gpu_plan_delta(gpu_plan *plan, const gk_delta_args *args, gdn_error *err) {
    static const char *const NAMES[3][4] = {
        {"gk_delta_FP32_1", "gk_delta_FP32_2", "gk_delta_FP32_4", "gk_delta_FP32_8"},
        {"gk_delta_FP16_1", "gk_delta_FP16_2", "gk_delta_FP16_4", "gk_delta_FP16_8"},
        {"gk_delta_BF16_1", "gk_delta_BF16_2", "gk_delta_BF16_4", "gk_delta_BF16_8"},
    };
    const int type = args->state.dtype == GDN_FP32   ? 0
                     : args->state.dtype == GDN_FP16 ? 1
                                                     : 2;
    /* Without lanes that run in step a row is one work-item's. */
    const bool alone = plan->warp == 1;
    const int lanes = alone ? 32 : plan->warp, largest = lanes == 32 ? 3 : 2;
    int parts = 0;
    while (parts <= largest && (lanes << parts) < args->k_dim) {
        parts++;
    }
    if (parts > largest) {
        return gdn_error_set(err, GDN_ERR_UNSUPPORTED,
                             "head_k_dim: these kernels take at most %d but found %d",
                             lanes << largest, args->k_dim);
    }
    const int64_t rows = parts == 3 ? 4 : 8; /* of a warp: GK_ROWS */
    return gpu_plan_add(plan, NAMES[type][parts], args->group.count, args->value_heads,
                        ceil_div(args->v_dim, DELTA_WARPS * rows),
                        (unsigned)(DELTA_WARPS * (alone ? rows : plan->warp)), args,
                        sizeof *args, err);
}
