/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A case: everything that decides one call, before any memory exists. Its JSON form is what
 * suites expand to and what HDF5 groups carry; its id is readable, stable and unique. */
#ifndef GDN_CASE_H
#define GDN_CASE_H

#include <jansson.h>

#include "gdn/call.h"
#include "gdn/claims.h"
#include "gdn/upstream.h"

typedef enum gdn_sequence_kind {
    GDN_SEQ_PREFILL,
    GDN_SEQ_DECODE,
    GDN_SEQ_SPEC
} gdn_sequence_kind;

/// One request of the batch.
typedef struct gdn_sequence {
    gdn_sequence_kind kind;
    int64_t length; ///< tokens in this call; 1 for decodes, 1..columns for spec
    int64_t
        accepted; ///< spec: accepted count of the previous step, bonus included, 0..columns
    bool has_initial_state;
    bool padded; ///< padding of a graph: its state index is the profile's pad_slot_id
    /* Whose numbers it has (fill.h): its place in the case's own batch, and that of its
     * first token. The same sequence in another batch keeps them. */
    int64_t source, first_item;
} gdn_sequence;

/// Order of the tokens in the rows of the call.
typedef enum gdn_row_order {
    GDN_ROWS_GROUPED,     ///< non-spec sequences first, spec sequences after
    GDN_ROWS_INTERLEAVED, ///< sequences in random order, each one's tokens adjacent
    GDN_ROWS_SCATTERED,   ///< as interleaved, and spec tokens permuted among their rows
} gdn_row_order;

typedef enum gdn_initial {
    GDN_INITIAL_MIXED, ///< prefills alternate, starting with one that has a state
    GDN_INITIAL_ALL,
    GDN_INITIAL_NONE,   ///< no prefill and no decode has one
    GDN_INITIAL_ABSENT, ///< the flag tensor is not passed: means all
} gdn_initial;

typedef enum gdn_fill {
    GDN_FILL_NORMAL,         ///< N(0,1) everywhere, as upstream's tests
    GDN_FILL_MODEL,          ///< as in trained models, with the hard heads: see fill.h
    GDN_FILL_LATTICE,        ///< every output is an integer: see lattice.h
    GDN_FILL_LATTICE_ALPHA0, ///< and some tokens forget everything
} gdn_fill;

/// Where a NaN, or a huge number, lies in an ordinary case (dye.h).
typedef enum gdn_dye {
    GDN_DYE_NONE,
    GDN_DYE_VALUE,    ///< one lane of v of one token
    GDN_DYE_KEY,      ///< one lane of a key
    GDN_DYE_QUERY,    ///< one lane of a query
    GDN_DYE_GATE,     ///< a of one head of one token
    GDN_DYE_STATE,    ///< one element of a start state
    GDN_DYE_SEQUENCE, ///< everything that one sequence brings
    GDN_DYE_HUGE,     ///< as value, a finite number
    GDN_DYE_UNREAD,   ///< everything that nobody reads, a finite number
} gdn_dye;

/// Accepted counts of the spec sequences.
typedef enum gdn_accepted {
    GDN_ACCEPTED_CYCLE,  ///< 0, 1, .., Q, 0, .. starting at the seed
    GDN_ACCEPTED_FULL,   ///< Q
    GDN_ACCEPTED_ONE,    ///< 1
    GDN_ACCEPTED_ABSENT, ///< not passed (spec_state "buffer"): all start from the pool
} gdn_accepted;

/// Gates of gated_delta_rule.
typedef enum gdn_gates {
    GDN_GATES_GIVEN, ///< g and beta
    GDN_GATES_FUSED, ///< A_log, dt_bias, a and b, from which the op makes them
} gdn_gates;

/// Parents of speculative tokens t > 0; token 0 is the root.
typedef enum gdn_tree {
    GDN_TREE_NONE,        ///< not passed: each token follows the one before
    GDN_TREE_STAR,        ///< the root
    GDN_TREE_BINARY,      ///< (t-1)/2
    GDN_TREE_CATERPILLAR, ///< odd tokens are a spine from the root, even ones its leaves
} gdn_tree;

/// What a case of draft verification asks of the op: strategy, method, mask or comparison.
typedef enum gdn_verify_mode {
    GDN_MODE_PLAIN,
    GDN_MODE_TOPP, ///< verify_draft_tokens, in the order of its strategies
    GDN_MODE_GREEDY,
    GDN_MODE_TARGET_MATCH,
    GDN_MODE_STANDARD, ///< rejection_sample, in the order of its methods
    GDN_MODE_BLOCK,    ///< chain_speculative_sampling too
    GDN_MODE_MATCH,
    GDN_MODE_SYNTHETIC,
    GDN_MODE_ENTROPY,
    GDN_MODE_FULL, ///< build_tree, in the order of its masks
    GDN_MODE_QUERY,
    GDN_MODE_PACKED,
    GDN_MODE_CANDIDATES, ///< speculate_verify, in the order of its comparisons
    GDN_MODE_BEST,
    GDN_MODE_SAMPLED,
    GDN_MODE_SPECULATIVE, ///< gather_next_token
    GDN_MODE_NAIVE,       ///< unified_update_model_status
    GDN_MODE_COUNT
} gdn_verify_mode;

/// What happens to the drafts of such a case.
typedef enum gdn_verify_scenario {
    GDN_SCENARIO_MIXED,   ///< 0, 1, 2, .. accepted, slot by slot
    GDN_SCENARIO_ALL,     ///< every one
    GDN_SCENARIO_NONE,    ///< not even the first
    GDN_SCENARIO_ENDS,    ///< end tokens and limits among drafts and behind them
    GDN_SCENARIO_STATES,  ///< blocked, stopped, prefilling, thinking, padding, placeholders
    GDN_SCENARIO_WINDOW,  ///< bulk accepts that succeed, are too short, or fail
    GDN_SCENARIO_FORCED,  ///< accept_all, or thresholds below 1
    GDN_SCENARIO_REFUSED, ///< reject_all over accept_all
    GDN_SCENARIO_EDGES,   ///< draws on cumulative sums, ties, zeros, sums off 1
    /* The op draws by itself, many times over (harness/sampling.h): */
    GDN_SCENARIO_LAW,   ///< what it emits has the law that it must have
    GDN_SCENARIO_SEEDS, ///< its draws differ by slot and call, and do not go together
    GDN_SCENARIO_COUNT
} gdn_verify_scenario;

/// What is asked of the op beside its golden values: that this call agrees with others that
/// follow from it (related.h says with which).
typedef enum gdn_relation {
    GDN_RELATION_NONE, ///< an ordinary case: judged by golden values
    GDN_RELATION_SPLIT,
    GDN_RELATION_PERMUTED,
    GDN_RELATION_RELABELLED,
    GDN_RELATION_ALONE,
    GDN_RELATION_BATCH_INVARIANT,
    GDN_RELATION_UNPADDED,
    GDN_RELATION_SCALED,
    GDN_RELATION_DECODE_IS_PREFILL,
    GDN_RELATION_MIXED_IS_SEPARATE,
    GDN_RELATION_VERIFY_IS_DECODE,
    GDN_RELATION_REPEATED,
    GDN_RELATION_HEADS_PERMUTED,
    GDN_RELATION_LANES_PERMUTED,
    GDN_RELATION_REQUERIED,
    GDN_RELATION_RECALLED,
    GDN_RELATION_COMMUTED,
    GDN_RELATION_REUSED,
    GDN_RELATION_COUNT
} gdn_relation;

/// How the numbers of a related call differ from those of the case. All zero: not at all.
typedef struct gdn_twist {
    int scale;     ///< v and start states times 2^scale
    bool heads;    ///< key heads rotate by one, and the value heads of every other one
    bool lanes;    ///< value dimensions in reverse
    bool queries;  ///< other queries
    bool recall;   ///< each query is its token's key, and beta is 1
    bool commuted; ///< a of the only token and dt_bias change places
    uint64_t pool; ///< which permutation of the slots
} gdn_twist;

/// Vocabulary of a loop, and its most requests.
#define GDN_LOOP_VOCAB 32
#define GDN_LOOP_SLOTS 64

typedef struct gdn_verify_case {
    gdn_verify_mode mode;
    gdn_verify_scenario scenario;
    int64_t slots, drafts; ///< requests, and most drafts of one
    int64_t vocab, candidates, window;
    int64_t steps; ///< of a loop (harness/loop.h), which scenario and mode say more about;
                   ///< 0: a single call
} gdn_verify_case;

typedef struct gdn_case {
    char *id; ///< made by the parser from everything below
    gdn_op op;
    char *profile;               ///< with variant: "vllm-xpu@b"
    char *model;                 ///< label of the shape: "qwen3-next-tp2"
    char *batch;                 ///< the grammar below, e.g. "pre2x65+dec5+spec4x3"
    gdn_conventions conventions; ///< profile and variant, with the case's layout
    gdn_upstream upstream, upstream_state; ///< the profile's
    gdn_claim claims[GDN_AXIS_COUNT];      ///< the profile's

    int64_t num_k_heads, num_v_heads; ///< global, as in the op's signature
    int64_t head_k_dim, head_v_dim, conv_width, tp_size;
    gdn_dtype dtype, state_dtype;
    bool conv_bias;

    gdn_sequence *sequences; ///< non-spec ones first, then spec ones
    size_t n_sequences;
    int64_t columns; ///< Q: widest spec sequence of the batch; 0 without any
    gdn_row_order order;
    gdn_initial initial;
    gdn_accepted accepted;
    gdn_gates gates;
    bool chunked; ///< gated_delta_rule: scalar of that name
    bool l2norm;  ///< gated_delta_rule: scalar use_qk_l2norm; without it q and k come
                  ///< normalised
    gdn_tree tree;

    int64_t pad_rows;     ///< rows beyond num_actual_tokens
    int64_t pad_requests; ///< gdn_metadata: graph-padding requests, the batch's pad<n>
    int64_t conv_rows;    ///< least rows of a conv slot; 0: what the batch needs
    int64_t page_bytes;   ///< least slot stride of the state pools; 0: dense
    int64_t row_bytes;    ///< least row stride of what has a row a token; 0: dense
    bool misaligned;
    gdn_fill fill;
    uint64_t seed;
    gdn_relation relation;
    gdn_dye dye;
    char *refuse;           ///< what is wrong with the call (refuse.h); NULL: nothing
    bool validates;         ///< the profile says that its backend does
    gdn_twist twist;        ///< of related calls only; no member of the JSON form
    gdn_verify_case verify; ///< ops of draft verification, which read little else
} gdn_case;

/// Names of relations as the JSON form has them, in their order, NULL-terminated.
extern const char *const GDN_RELATION_NAMES[];
extern const char *const GDN_DYE_NAMES[];

/* The JSON form. Members, with their defaults:
 *   op, profile, batch, num_k_heads, num_v_heads, head_k_dim, head_v_dim   required
 *   model "custom", conv_width 4, tp_size 1, qkvz_layout (the profile's), dtype "bf16",
 *   state_dtype "fp32", conv_bias false, order "grouped", initial "mixed",
 *   accepted "cycle", gates "given", chunked (whether a prefill has more than one token),
 *   l2norm true, pad_rows 0, page_bytes 0, misaligned false, fill "normal", seed 0,
 *   tree "none", conv_rows 0, relation "none", dye "none", refuse (absent),
 *   row_bytes 0
 *
 * Ops of draft verification have instead, beside op, profile, misaligned and seed:
 *   mode "plain", scenario "mixed", slots 6, drafts 4, vocab 16, candidates 4, window 2,
 *   and dtype where rows or laws have a type; steps 0
 *
 * batch: terms joined by '+'. pre<n>x<len> prefills, dec<n> decodes, spec<n>x<Q>
 * speculative sequences of Q tokens, rag<n>x<Q> ragged ones of Q, Q-1, .., 1, Q, .. tokens
 * (columns Q). pad<n>, last, adds n padded sequences of one token, by turns before the
 * first non-spec sequence, in the middle and behind the last (the seed says where it
 * begins); for profiles that take any. For gdn_metadata the terms are request rows in that
 * order, and pad<n> adds n graph-padding requests of length 0. */

/// Parses and validates one case; the profile is read from the profile folder. Impossible
/// shapes (HV % HK, tp, a ragged batch under a profile that has none) are GDN_ERR_ARG. If
/// GDN_OK is returned the caller destroys the case.
GDN_NODISCARD gdn_status gdn_case_from_json(gdn_case *test, const json_t *json,
                                            const char *profile_dir, gdn_error *err);

/// New reference to the JSON form in a fixed order, every member written out but those that
/// came after the first files (gates, chunked, l2norm, tree, conv_rows, relation, dye, refuse, row_bytes) at their
/// defaults.
json_t *gdn_case_to_json(const gdn_case *test);

/// Accepts a zeroed case.
void gdn_case_destroy(gdn_case *test);

int64_t gdn_case_tokens(const gdn_case *test);

/// Whether the op draws by itself and is judged over many calls.
static inline bool gdn_case_is_sampled(const gdn_case *test) {
    return gdn_op_is_verify(test->op) && (test->verify.scenario == GDN_SCENARIO_LAW ||
                                          test->verify.scenario == GDN_SCENARIO_SEEDS);
}

#endif
