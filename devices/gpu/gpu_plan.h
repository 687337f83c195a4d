/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A call as launches: which kernels, over which grids, with which arguments. A plan depends
 * on shapes, types, scalars and addresses alone, never on what index tensors hold: equal
 * plans may share a captured graph. */
#ifndef GDN_GPU_PLAN_H
#define GDN_GPU_PLAN_H

#include "gdn/call.h"
#include "kernel_args.h"

#define GPU_MAX_LAUNCHES  16
#define GPU_ARGS_BYTES    2048
#define GPU_MAX_ARGUMENTS 64

/// GDN_OK, or GDN_ERR_UNSUPPORTED with field and value of the first convention that the
/// kernels do not implement. A field that this build has never heard of must have its
/// default: a profile that differs there means something that the kernels do not do.
GDN_NODISCARD gdn_status gpu_check_conventions(const gdn_conventions *conventions,
                                               gdn_error *why);

typedef struct gpu_launch {
    const char *kernel;
    int module; ///< of a package, or of the kernels built in
    unsigned grid[3], block[3], shared;
    unsigned arguments_count;               ///< eight bytes apart; 0: one struct of `bytes`
    unsigned char sizes[GPU_MAX_ARGUMENTS]; ///< of the arguments, if there is a count
    uint64_t nulls;                         ///< bit i: argument i is a null pointer
    _Alignas(16) unsigned char arguments[GPU_ARGS_BYTES];
    size_t bytes;
} gpu_launch;

typedef struct gpu_plan {
    int warp;
    bool matrix_units; ///< mma=1: for chunked sequences of profiles with bf16 operands
    int fp64_module;   ///< of gk_rejection, whose coins are doubles; -1: no fp64
    uint64_t arena;    ///< device address of the arena; 0 where only sizes matter
    uint64_t scratch;  ///< that of the scratch memory
    const char *host_arena;
    size_t scratch_bytes; ///< needed
    gpu_launch launches[GPU_MAX_LAUNCHES];
    int count;
} gpu_plan;

/// Plans `call`, whose conventions have been checked. `plan` comes with warp, arena and
/// scratch set. GDN_ERR_UNSUPPORTED: a size or type that the kernels do not take.
GDN_NODISCARD gdn_status gpu_plan_build(gpu_plan *plan, const gdn_call *call,
                                        gdn_error *err);

/* What the ops' planners share. */

/// The tensor on the device; no data if the call lacks it.
gk_view gpu_view(const gpu_plan *plan, const gdn_call *call, const char *name);

/// Reserves `elements` floats of scratch memory, 256-byte aligned, as a dense view of two
/// dimensions.
gk_view gpu_scratch(gpu_plan *plan, int64_t rows, int64_t columns);

/// Appends a launch; one with an empty grid is left out.
GDN_NODISCARD gdn_status gpu_plan_add(gpu_plan *plan, const char *kernel, int64_t grid_x,
                                      int64_t grid_y, int64_t grid_z, unsigned block,
                                      const void *arguments, size_t bytes, gdn_error *err);

/// Both kernels of a convolution.
GDN_NODISCARD gdn_status gpu_plan_conv(gpu_plan *plan, const gk_conv_args *args,
                                       gdn_error *err);

GDN_NODISCARD gdn_status gpu_plan_pack(gpu_plan *plan, const gk_pack_args *args,
                                       gdn_error *err);

/// Rows of out and z that belong to no token, if the conventions want zeros there.
GDN_NODISCARD gdn_status gpu_plan_zero(gpu_plan *plan, const gk_zero_args *args,
                                       gdn_error *err);

GDN_NODISCARD gdn_status gpu_plan_gating(gpu_plan *plan, const gk_gating_args *args,
                                         gdn_error *err);

GDN_NODISCARD gdn_status gpu_plan_normalise(gpu_plan *plan, const gk_normalise_args *args,
                                            gdn_error *err);

GDN_NODISCARD gdn_status gpu_plan_delta(gpu_plan *plan, const gk_delta_args *args,
                                        gdn_error *err);

/// Puts strides into the order of the kernels and takes over what the conventions say.
/// Tensors are in `args`; of `weight` and `state` the shapes are read.
void gpu_conv_conventions(gk_conv_args *args, const gdn_conventions *conventions,
                          const gdn_tensor *weight, const gdn_tensor *state);
/// `chunked`: the sequences are for a chunk kernel, in profiles that tell these apart.
void gpu_delta_conventions(gk_delta_args *args, const gdn_conventions *conventions,
                           bool chunked);
void gpu_normalise_conventions(gk_normalise_args *args, const gdn_conventions *conventions,
                               bool norm, bool chunked);
void gpu_gating_conventions(gk_gating_args *args, const gdn_conventions *conventions);
/// How often a beta is rounded that an op makes for itself.
int gpu_beta_roundings(const gdn_conventions *conventions, bool speculative);
/// Fields of `group` on padding; `computes_pads`: the op runs those that start from zero.
void gpu_group_conventions(gk_group *group, const gdn_conventions *conventions,
                           bool computes_pads);

/// By gk_delta_*, or, where `chunked` sequences are to be judged as bf16-mma and the plan may
/// use matrix units, by gk_chunk_prepare and gk_chunk.
GDN_NODISCARD gdn_status gpu_plan_recurrence(gpu_plan *plan, const gk_delta_args *args,
                                             const gdn_conventions *conventions,
                                             bool chunked, gdn_error *err);

/// verify_draft_tokens and rejection_sample.
GDN_NODISCARD gdn_status gpu_plan_verify(gpu_plan *plan, const gdn_call *call,
                                         gdn_error *err);
GDN_NODISCARD gdn_status gpu_plan_rejection(gpu_plan *plan, const gdn_call *call,
                                            gdn_error *err);

GDN_NODISCARD gdn_status gpu_plan_attention(gpu_plan *plan, const gdn_call *call,
                                            gdn_error *err);

#endif
