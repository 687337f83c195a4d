/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Limits that are made of the noise floor of one head (reference/BOUND.md, "The noise
 * floor"), held beside the bound of each element. */
#ifndef GDN_FLOOR_LIMIT_H
#define GDN_FLOOR_LIMIT_H

#include "problem.h"

typedef struct gdn_floor_limit {
    bool any;       ///< false: no floor, the bound alone decides
    double largest; ///< an element's error before the store
    double rms;     ///< floor's, not widened
    double factor;  ///< by which a pool's root mean square may exceed the floor's
} gdn_floor_limit;

/// `floor` may be NULL.
gdn_floor_limit gdn_floor_limit_of(const gdn_floor *floor);

/// How much further a right kernel's figure may be than the floor's by chance, where both
/// come from that many independent errors: the largest, and the root mean square.
double gdn_floor_chance_of_largest(double degrees);
double gdn_floor_chance_of_rms(double degrees);

/// Limit of one element with its store: largest + 6 operand + unit * (..) + eta. Infinity
/// without a floor.
double gdn_floor_element(const gdn_floor_limit *limit, double golden, double operand,
                         gdn_dtype storage);

/// What one head's elements come to; all zero at the start.
typedef struct gdn_pool_sums {
    int64_t count;
    double error_square; ///< of finite elements
    double expected;     ///< of what a store and the operands add to the mean square
    int64_t differ;      ///< from the rounded golden value
    double may_differ;   ///< sum of the probabilities of that
} gdn_pool_sums;

/// Adds one finite element. `operand` is shared by `shares` elements: that of a state is of
/// the 2-norm of its row.
void gdn_pool_add(gdn_pool_sums *sums, const gdn_floor_limit *limit, double golden,
                  double found, double operand, double shares, gdn_dtype storage);
void gdn_pool_merge(gdn_pool_sums *into, const gdn_pool_sums *sums);

/// The root mean square that the pool may have.
double gdn_pool_rms_limit(const gdn_pool_sums *sums, const gdn_floor_limit *limit);

/// How many elements may differ from the rounded golden value; infinity for storage that
/// is no coarser than the arithmetic. `together`: elements whose errors may be one.
double gdn_pool_differ_limit(const gdn_pool_sums *sums, gdn_dtype storage, double together);

#endif
