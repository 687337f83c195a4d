/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A request batch as gdn_metadata sees it, for the tests of that op, and a second
 * implementation that goes by masks over tokens. */
#ifndef GDN_METADATA_BENCH_H
#define GDN_METADATA_BENCH_H

#include "ops.h"

#define MAX_REQUESTS 24
#define MAX_COLUMNS  6
#define MAX_TOKENS   160
#define MAX_VALUES   (MAX_TOKENS + 1)
#define MAX_MEMORY   (2 * MAX_VALUES * MAX_COLUMNS)
#define UNTOUCHED    (-7777)
#define MARGIN       16 /* untouched elements behind each output */

enum { HAS, SPEC_QSL, QSL, SPEC_SLOTS, SLOTS, SPEC_TOK, TOK, ACC, TABLES };

/* Requests; row i of their block table is 10i+1, 10i+2, .. */
typedef struct batch {
    gdn_metadata_rules rules;
    int num_spec, pad_requests, pad_slot_id;
    int requests;
    int lengths[MAX_REQUESTS];
    int seq_lens[MAX_REQUESTS];
    bool speculation; /* draft and accepted counts are passed */
    int drafts[MAX_REQUESTS];
    int accepted[MAX_REQUESTS];
} batch;

/* What the op must produce: counts and the valid rows of each table. */
typedef struct answer {
    int counts[6];
    int rows[TABLES];
    int values[TABLES][MAX_VALUES * MAX_COLUMNS];
} answer;

/* A call with its memory. Outputs have gaps between rows and start out untouched. */
typedef struct bench {
    gdn_conventions conventions;
    gdn_tensor tensors[14];
    gdn_output outputs[14];
    gdn_scalar scalars[2];
    gdn_call call;
    int32_t inputs[5][MAX_REQUESTS * 2 * MAX_COLUMNS];
    union {
        int64_t i64[MAX_MEMORY];
        double f64[MAX_MEMORY];
        int32_t i32[MAX_MEMORY];
        uint8_t flag[MAX_MEMORY];
    } memory[1 + TABLES];
    uint8_t written[1 + TABLES][MAX_VALUES];
} bench;

/* Outputs go to memory of `dtype` (bool stays bool under i32). */
void bench_init(bench *b, const batch *in, gdn_dtype dtype);

/* Element of an output as it stands now. */
int64_t bench_value(const gdn_output *output, int64_t row, int64_t column);

/* Runs the op with outputs of several types: the batch is valid, valid rows hold what they
 * must and are flagged, everything else is untouched. */
void check_batch(const batch *in, const answer *expected);

/* The second implementation. */
void naive_metadata(const batch *in, answer *out);

#endif
