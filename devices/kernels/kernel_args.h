/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Arguments of the kernels, one struct a kernel, passed by value. Read by the host's C
 * compiler and by both run-time compilers, so plain types and no #include: int has 32
 * bits, gk_long and pointers 64 on all of them, and members stand in an order that
 * leaves no gap for them to fill differently. Pointers are the device's; the host never
 * follows them.
 *
 * Everything that changes from call to call of one shape (lengths, slots, tokens, accepted
 * counts) is read from index tensors in device memory, never from these structs: a graph
 * that was captured once can be replayed with other metadata. */
#ifndef GDN_KERNEL_ARGS_H
#define GDN_KERNEL_ARGS_H

/* OpenCL takes no pointers inside of arguments, not every device has doubles, and long long
 * has 128 bits: places are numbers there (gk_at in common.cl), and doubles their bits. */
#ifdef __OPENCL_C_VERSION__
typedef ulong gk_place, gk_floats, gk_real;
typedef long gk_long;
#else
typedef char *gk_place;
typedef float *gk_floats;
typedef double gk_real;
typedef long long gk_long;
#endif

/* Places for kernels that get arena and scratch memory as arguments of their own, behind
 * the struct: an offset in bytes from the one or the other. */
#define GK_IN_ARENA   0x0100000000000000
#define GK_IN_SCRATCH 0x0200000000000000

/* A strided view; strides in elements, `dtype` as in gdn/dtype.h. No data: not passed. */
typedef struct gk_view {
    gk_place data;
    gk_long stride[4];
    gk_long dtype;
} gk_view;

/* Values of `pads`: what becomes of a sequence whose slot is `pad_slot`. */
enum { GK_PADS_UNKNOWN, GK_PADS_IDLE, GK_PADS_FROM_ZERO };

/* Index tensors of sequences that are all speculative (`accepted` or `places` is there) or
 * all not. */
typedef struct gk_group {
    gk_view starts;  /* [count+1] first local token */
    gk_view tokens;  /* row of each local token; not there: the same number */
    gk_view slots;   /* [count], or [count, columns] */
    gk_view initial; /* not there: all start from their state */
    gk_view accepted;
    /* [count, columns]: slots are [count] and only read; states and windows go to these
     * rows of intermediate tensors. Parents: the token that each follows, if not the one
     * before. */
    gk_view places, parents;
    int count;
    int capacity; /* local tokens that there may be */
    int sliding;  /* conv history: a line in column 0's slot, or one in each column's */
    int pads;
    int pad_slot;
    int unused;
} gk_group;

/* Columns of the fused projections; contract vllm_xpu 2.1. */
typedef struct gk_layout {
    int key_heads, value_heads, k_dim, v_dim;
    int separate; /* else interleaved, a group a key head */
    int plain;    /* channels and heads are columns as they are */
} gk_layout;

typedef struct gk_conv_args {
    gk_view x;       /* [rows, columns] */
    gk_view weight;  /* [channels, taps] */
    gk_view bias;    /* [channels], or not there */
    gk_view state;   /* [slots, rows, channels] */
    gk_view windows; /* [places, taps-1, channels], or not there */
    gk_view out;     /* [rows, channels] */
    gk_group group;
    gk_layout layout;
    int channels, taps;
    int silu;
    int packed; /* weight: blocks of 32 channels, in those pairs of taps */
    /* dtypes that each product and y pass through; 0: none */
    int round_product, round;
    /* Rows of a slot that hold the history where draft columns have no slots of their own:
     * `kept` of `rows` from `kept_first` on, of which the last taps-1 are seen. */
    int rows, kept, kept_first;
    int rolling; /* buffered speculation: all rows roll on */
} gk_conv_args;

typedef struct gk_pack_args {
    gk_view weight; /* [channels, taps] */
    gk_view packed; /* dense */
    int channels, taps;
} gk_pack_args;

typedef struct gk_gating_args {
    gk_view a, b; /* [rows, columns] */
    gk_view A_log, dt_bias;
    gk_view g, beta; /* [rows, heads] */
    gk_layout layout;
    gk_real softplus_beta, softplus_threshold;
    int rows, heads;
    /* How often beta passes through b's type: 0, 1, or 3 times, after each step. */
    int roundings;
    int tail_roundings; /* the same for heads behind the last whole 32 */
} gk_gating_args;

/* Rows from `first` on become zero. */
typedef struct gk_zero_args {
    gk_view out; /* [rows, heads, dim] */
    int first, rows, heads, dim;
} gk_zero_args;

/* Multiples of 16 bytes. */
typedef struct gk_copy_args {
    gk_place from, to;
    gk_long bytes;
} gk_copy_args;

typedef struct gk_copy_z_args {
    gk_view x; /* [rows, columns] */
    gk_view z; /* [rows, heads, v_dim] */
    gk_group group;
    gk_layout layout;
} gk_copy_z_args;

/* Values of `norm`. */
enum { GK_NORM_NONE, GK_NORM_INSIDE, GK_NORM_OUTSIDE, GK_NORM_MAX };

/* Values of `rounding`: k and q to their storage type, q before its scale or after it. */
enum { GK_QK_UNROUNDED, GK_QK_STORAGE, GK_QK_SCALED };

typedef struct gk_normalise_args {
    gk_view q, k;           /* [rows, heads, k_dim] */
    gk_floats q_out, k_out; /* dense, the same shape */
    gk_group group;
    gk_real epsilon;
    int heads, k_dim;
    int norm, rounding;
    int storage; /* dtype of the rounding */
    int unused;
} gk_normalise_args;

/* Values of `carry`. */
enum { GK_CARRY_CALL, GK_CARRY_CHUNK, GK_CARRY_TOKEN };

typedef struct gk_delta_args {
    gk_floats q, k;  /* dense [rows, key_heads, k_dim], normalised and scaled */
    gk_view v, out;  /* [rows, value_heads, v_dim] */
    gk_view g, beta; /* [rows, value_heads] */
    gk_view state;   /* [slots, value_heads, v_dim, k_dim] by its strides */
    gk_view buffer;  /* of intermediate states, the same; or not there */
    gk_group group;
    int key_heads, value_heads, k_dim, v_dim;
    int tiled; /* key head hv mod HK, else hv div r */
    int carry;
    int decays_given;   /* g holds exp(g) */
    int beta_is_logits; /* sigmoid due */
    int roundings;      /* of its result, to `storage` */
    int storage;
    int zero_pads; /* output rows of idle padding become zero */
    int unused;
} gk_delta_args;

/* Both kernels of a chunked recurrence. Numbers of bf16 by [local token][value head]. */
typedef struct gk_chunk_args {
    gk_delta_args delta;
    gk_floats sums;  /* of log decays within the chunk, fp32 */
    gk_place scores; /* [..][64] */
    gk_place w, u;   /* [..][k_dim], [..][v_dim] */
} gk_chunk_args;

/* verify_draft_tokens; tensors by the letters of gdn/verify.h. */
typedef struct gk_verify_args {
    gk_view outputs, lengths; /* step_output_ids [B,S], step_output_len [B] */
    gk_view inputs, targets;  /* step_input_ids [B,S], target_tokens [T] */
    gk_view candidate_ids, candidate_scores, candidate_lens; /* [T,C], [T,C], [T] */
    gk_view top_p, u;                                        /* [B] */
    gk_view stopped, blocked;   /* stop_flags, is_block_step [B] */
    gk_view encoder, reasoning; /* seq_lens_encoder, reasoning_status [B] */
    gk_view this_time, rows;    /* seq_lens_this_time [R], cu_seqlens_q_output [R+1] */
    gk_view end_tokens;         /* [E] */
    gk_view limits, steps;      /* max_dec_len, step_idx [B], or not there */
    int slots, live, columns, candidates, ends;
    int window;
    int by_set; /* strategy: against candidates, else against targets */
    int reject_all, accept_all;
    int pads; /* cells without a token become -1 */
} gk_verify_args;

/* Values of `method`, as in gdn/verify.h. */
enum {
    GK_REJECT_STANDARD,
    GK_REJECT_BLOCK,
    GK_REJECT_MATCH,
    GK_REJECT_SYNTHETIC,
    GK_REJECT_ENTROPY
};

typedef struct gk_rejection_args {
    gk_view outputs, sampled;       /* output_token_ids [B,J], num_sampled [B] */
    gk_view draft_ends, drafts;     /* cu_num_draft_tokens [B], draft_token_ids [N] */
    gk_view drafter, target;        /* draft_probs, or not there; target_probs [N,V] */
    gk_view targets, bonus, greedy; /* target_tokens [N], bonus_token_ids, is_greedy [B] */
    gk_view uniform, exponential;   /* [N] doubles, [B,V] */
    gk_view rates;                  /* acceptance_rates [S] */
    gk_real entropy_alpha, entropy_threshold;
    int vocabulary, columns, method;
    int strict; /* p > u q, else p >= u q and q > 0 */
    int pads;
    int unused;
} gk_rejection_args;

/* Outputs of gdn_metadata behind `counts`, in the order in which it tells their rows. */
enum {
    GK_HAS_INITIAL,
    GK_SPEC_STARTS,
    GK_STARTS,
    GK_SPEC_STATES,
    GK_STATES,
    GK_SPEC_TOKENS,
    GK_TOKENS,
    GK_ACCEPTED,
    GK_METADATA_OUTPUTS
};

enum { GK_RULES_EARLY, GK_RULES_MID, GK_RULES_LATE };

typedef struct gk_metadata_args {
    gk_view starts, seq_lens, blocks, drafts, accepted;
    gk_view counts, out[GK_METADATA_OUTPUTS];
    int count, columns, padded;
    int rules;
    int pad_slot;
    int unused;
} gk_metadata_args;

#endif
