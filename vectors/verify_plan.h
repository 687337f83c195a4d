/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Private to vectors/: the requests of a verification case, and how values reach
 * tensors. */
#ifndef GDN_VERIFY_PLAN_H
#define GDN_VERIFY_PLAN_H

#include "gdn/random.h"
#include "gdn/verify.h"
#include "problem.h"

#define GDN_VERIFY_SLOTS 256

typedef struct gdn_verify_request {
    int64_t tokens;  ///< of this step: 1 + drafts
    int64_t kept;    ///< drafts that are to stand
    int64_t first;   ///< first target row, or first draft
    int64_t encoder; ///< prompt length of a prefill; 0: none
    bool stopped, blocked, thinking;
} gdn_verify_request;

typedef struct gdn_verify_plan {
    int64_t size['Z' + 1];
    gdn_verify_request requests[GDN_VERIFY_SLOTS];
} gdn_verify_plan;

void gdn_verify_plan_make(gdn_verify_plan *plan, const gdn_case *test);

typedef struct gdn_verify_filler {
    gdn_problem *problem;
    const gdn_case *test;
    const gdn_verify_plan *plan;
    const gdn_verify_conventions *v;
    uint64_t drawn; ///< so far
} gdn_verify_filler;

/// Uniform in [0, n).
int64_t gdn_verify_below(gdn_verify_filler *f, int64_t n);

/// An odd multiple of 2^-9 in (0, 1): products with laws of 14 bits are exact in fp32.
double gdn_verify_coin(gdn_verify_filler *f);

/// Element of a tensor of rank 1 to 3; an absent tensor is passed over.
void gdn_verify_set_int(gdn_verify_filler *f, const char *name, int64_t i, int64_t j,
                        int64_t value);
void gdn_verify_set_real(gdn_verify_filler *f, const char *name, int64_t i, int64_t j,
                         int64_t k, double value);
int64_t gdn_verify_get_int(const gdn_verify_filler *f, const char *name, int64_t i,
                           int64_t j);

/// All elements of a tensor.
void gdn_verify_set_all(gdn_verify_filler *f, const char *name, double value);

/// The `rank`-th largest probability of a law over `count` tokens, in steps of 2^-14:
/// halves down to 2^-8, the rest spread evenly. The sum is 1 exactly, in fp32 in any order.
double gdn_verify_law(int64_t rank, int64_t count);

/* verify_laws.c */
void gdn_verify_fill_candidates(gdn_verify_filler *f);
void gdn_verify_fill_rejection(gdn_verify_filler *f);
void gdn_verify_fill_tree(gdn_verify_filler *f);
void gdn_verify_fill_build(gdn_verify_filler *f);
void gdn_verify_fill_commit(gdn_verify_filler *f);

#endif
