/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A case made concrete: its tensors in an arena, ready for a device, and the golden outputs
 * that go with them. */
#ifndef GDN_PROBLEM_H
#define GDN_PROBLEM_H

#include "case.h"
#include "gdn/arena.h"
#include "gdn/reference.h"

#define GDN_MAX_SCALARS 16

typedef struct gdn_problem {
    const gdn_case *test; ///< borrowed
    gdn_arena arena;
    gdn_scalar scalars[GDN_MAX_SCALARS];
    size_t n_scalars;
    gdn_call call; ///< over the members above
} gdn_problem;

/// What the emulated kernel of the profile's class errs by on one head of an output, before
/// the store (reference/floor.h). Stored as four numbers, in this order.
typedef struct gdn_floor {
    double largest; ///< of its errors
    double rms;
    double degrees; ///< errors that rms stands for, as many independent ones; 0: no floor
    double matrix;  ///< 1 if operands of matrix products were rounded, else 0
} gdn_floor;
#define GDN_FLOOR_FIGURES 4

/// What one output must be. Golden values are dense in C order over the rows in `rows`;
/// every other row of the tensor must keep its bytes.
typedef struct gdn_expected {
    const gdn_tensor *tensor; ///< into the problem's arena
    gdn_judgement judgement;  ///< GDN_JUDGE_EXACT or GDN_JUDGE_BOUNDED
    int64_t *rows;            ///< ascending indices of dimension 0
    int64_t n_rows;
    int64_t row_count; ///< elements a row
    double *golden;    ///< bounded: n_rows * row_count, FP64
    float *limit;      ///< bounded: same shape
    gdn_floor *floors; ///< [shape[1]] for outputs of the recurrence, else NULL
    float
        *operand; ///< as limit: standard deviation of the part of the error that comes with
                  ///< k, q and v (gdn_output's input); NULL: none
    void *bits;   ///< exact: same shape, in the tensor's type
} gdn_expected;

typedef struct gdn_golden {
    gdn_expected *outputs;
    size_t n_outputs;
} gdn_golden;

/// Lays out the arena of a case and fills it from the seed: index tensors, then values.
/// Slots that no sequence starts from, conv rows outside every history window and pad rows
/// hold poison. If GDN_OK is returned the caller destroys the problem. The arena is frozen.
GDN_NODISCARD gdn_status gdn_problem_create(gdn_problem *problem, const gdn_case *test,
                                            gdn_error *err);

/// The same layout without values, for inputs that come from a file; the caller fills the
/// tensors and freezes the arena.
GDN_NODISCARD gdn_status gdn_problem_create_empty(gdn_problem *problem,
                                                  const gdn_case *test, gdn_error *err);

/// The same for tensors of other shapes than the case's, without scalars.
GDN_NODISCARD gdn_status gdn_problem_create_shaped(gdn_problem *problem,
                                                   const gdn_case *test,
                                                   const gdn_tensor *tensors,
                                                   size_t n_tensors, gdn_error *err);

/// Writes element `at` of a dense integer or bool tensor; an absent one is passed over.
void gdn_problem_set_int(gdn_problem *problem, const char *name, int64_t at, int64_t value);

void gdn_problem_destroy(gdn_problem *problem);

/// Evaluates the reference on a frozen problem. If GDN_OK is returned the caller destroys
/// the golden outputs, before the problem.
GDN_NODISCARD gdn_status gdn_golden_create(gdn_golden *golden, const gdn_problem *problem,
                                           gdn_error *err);

/// Leaves in the arena what a device that is right would: golden values rounded to storage,
/// and copies, poison that stands in them included.
void gdn_golden_answer(const gdn_golden *golden);
/// How much of golden outputs is wanted; each has what stands before it too.
typedef enum gdn_golden_depth {
    GDN_GOLDEN_VALUES, ///< `limit`, `floors` and `operand` are NULL
    GDN_GOLDEN_LIMITS, ///< `floors` and `operand` are NULL: the bound alone
    GDN_GOLDEN_FLOORS,
} gdn_golden_depth;

/// gdn_golden_create() is GDN_GOLDEN_FLOORS. Values have the same bits at every depth.
GDN_NODISCARD gdn_status gdn_golden_create_to(gdn_golden *golden,
                                              const gdn_problem *problem,
                                              gdn_golden_depth depth, gdn_error *err);

void gdn_golden_destroy(gdn_golden *golden);

/// Bytes of golden values (FP64, or storage for exact outputs) and limits.
int64_t gdn_golden_bytes(const gdn_golden *golden);

#endif
