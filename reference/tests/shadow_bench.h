/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A call of op_bench run by the reference and by its shadow. */
#ifndef GDN_SHADOW_BENCH_H
#define GDN_SHADOW_BENCH_H

#include "gdn/shadow.h"
#include "op_bench.h"

typedef struct shadow_bench {
    gdn_shadow_output outputs[OP_TENSORS];
    int64_t ties;
} shadow_bench;

/* Asks for every output of the op: bounded ones in FP64 with limits, exact ones in their
 * own type; runs both and fails the test with the message of the one that fails. */
void shadow_begin(shadow_bench *s, op_bench *b);

/* Element `flat` of an output in C order. */
double shadow_reference(op_bench *b, const char *name, int64_t flat);
double shadow_value(const shadow_bench *s, op_bench *b, const char *name, int64_t flat);
int shadow_mark(const shadow_bench *s, op_bench *b, const char *name, int64_t flat);

/* Both computations must say `expected` within `tolerance`. */
void shadow_expect(const shadow_bench *s, op_bench *b, const char *name, int64_t flat,
                   double expected, double tolerance);

/* Ends both. */
void shadow_end(shadow_bench *s, op_bench *b);

#endif
