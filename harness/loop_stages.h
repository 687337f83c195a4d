/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Private to the loop: its text, its model, and the problems that make a step. */
#ifndef GDN_LOOP_STAGES_H
#define GDN_LOOP_STAGES_H

#include "problem.h"

enum {
    GDNP_LOOP_DIM = 4, /* of keys and values */
    GDNP_LOOP_KEY_HEADS = 1,
    GDNP_LOOP_VALUE_HEADS = 2,
    GDNP_LOOP_OUTPUTS = GDNP_LOOP_VALUE_HEADS * GDNP_LOOP_DIM,
    GDNP_LOOP_CHANNELS = 2 * GDNP_LOOP_KEY_HEADS * GDNP_LOOP_DIM + GDNP_LOOP_OUTPUTS,
    GDNP_LOOP_VOCAB = GDN_LOOP_VOCAB,
    GDNP_LOOP_SLOTS = GDN_LOOP_SLOTS,
    GDNP_LOOP_COLUMNS = 33,
};

/* A case of its own and what it became. */
typedef struct gdnp_stage {
    gdn_case test;
    gdn_problem problem;
} gdnp_stage;

void gdnp_stage_destroy(gdnp_stage *stage);

static inline gdn_tensor *gdnp_tensor(gdnp_stage *stage, const char *name) {
    return gdn_arena_tensor(&stage->problem.arena, name);
}

/* The recurrence on its way through a batch, decoding plainly or drafting. */
typedef struct gdnp_layer {
    gdnp_stage conv, delta;
} gdnp_layer;

/* `batch` in the grammar of cases; the conventions are those of `test`. */
GDN_NODISCARD gdn_status gdnp_layer_create(gdnp_layer *layer, const gdn_case *test,
                                           const char *batch, const char *profiles,
                                           gdn_error *err);
void gdnp_layer_destroy(gdnp_layer *layer);

/* Puts the numbers of a token into row `row` of both ops. */
void gdnp_layer_set(gdnp_layer *layer, int64_t row, int64_t token);

/* Hands the convolution's output to the recurrence. */
void gdnp_layer_join(gdnp_layer *layer);

/* The logit of `token` behind position `at` of request `b`, by the outputs of a row. */
double gdnp_loop_logit(const double *out, int64_t b, int64_t at, int64_t token);

/* Outputs of a row as numbers. */
void gdnp_layer_out(gdnp_layer *layer, int64_t row, double *out);

/* Plain decoding by the reference, as far as anybody has asked. */
typedef struct gdnp_text {
    gdnp_layer layer;
    int64_t requests, length, known; /* positions: room, and decoded so far */
    int64_t *tokens;                 /* [requests][length] */
    double *slack; /* [requests][length]: by how much two logits behind a position can be
                      apart and yet change places on a device that is right */
    double state[GDNP_LOOP_SLOTS]
                [GDNP_LOOP_OUTPUTS]; /* norms of state rows, and what they */
    double error[GDNP_LOOP_SLOTS][GDNP_LOOP_OUTPUTS]; /* may be off by */
} gdnp_text;

GDN_NODISCARD gdn_status gdnp_text_create(gdnp_text *text, const gdn_case *test,
                                          const char *profiles, gdn_error *err);
void gdnp_text_destroy(gdnp_text *text);

/* Decodes until position `at` is known for every request. */
GDN_NODISCARD gdn_status gdnp_text_reach(gdnp_text *text, int64_t at, gdn_error *err);

static inline int64_t gdnp_text_token(const gdnp_text *text, int64_t b, int64_t at) {
    return text->tokens[b * text->length + at];
}

/* The verifier: a problem of the loop's own op. `rows` and `targets` are [requests][Q]:
 * inputs of the step, and what the target says behind each. */
GDN_NODISCARD gdn_status gdnp_verifier_create(gdnp_stage *stage, const gdn_case *test,
                                              gdn_error *err);
int64_t gdnp_verifier_drafts(gdnp_stage *stage, int64_t b);
void gdnp_verifier_fill(gdnp_stage *stage, const int64_t *rows, const int64_t *targets);

/* Tokens that stand for request `b` with the one that nobody drafted, -1 behind them;
 * returns their number as the op tells it. */
int64_t gdnp_verifier_read(gdnp_stage *stage, int64_t b, int64_t tokens[GDNP_LOOP_COLUMNS]);

/* The commit, over the pools of the drafting layer. */
GDN_NODISCARD gdn_status gdnp_commit_create(gdnp_stage *stage, const gdn_case *test,
                                            gdnp_layer *layer, const char *profiles,
                                            gdn_error *err);
void gdnp_commit_fill(gdnp_stage *stage, gdnp_layer *layer, const int64_t *counts);

/* Takes the pools back and tells the next step where to start from. */
void gdnp_commit_read(gdnp_stage *stage, gdnp_layer *layer);

#endif
