/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Verification calls written down as numbers; types come from the op table. */
#ifndef GDN_VERIFY_BENCH_H
#define GDN_VERIFY_BENCH_H

#include "gdn/reference.h"
#include "gdn/verify.h"

typedef struct vbench {
    gdn_conventions conventions;
    gdn_tensor tensors[24];
    gdn_output outputs[24];
    gdn_scalar scalars[12];
    gdn_call call;
} vbench;

/// Default conventions, changed by "field=value" words such as "window=skip_one".
void vb_begin(vbench *b, gdn_op op, const char *conventions);
void vb_end(vbench *b);

void vb_scalar(vbench *b, const char *name, int64_t value);

/// A tensor of the given shape; `n` values are repeated until it is full.
void vb_ints(vbench *b, const char *name, int rank, const int64_t *shape, size_t n,
             const int64_t *values);
void vb_reals(vbench *b, const char *name, int rank, const int64_t *shape, size_t n,
              const double *values);
gdn_tensor *vb_tensor(vbench *b, const char *name);

/// Runs in place, as a device does.
void vb_run(vbench *b);

/// Expects the call to be refused with this message.
void vb_refused(vbench *b, const char *message);

void vb_expect(vbench *b, const char *what, const char *name, size_t n,
               const int64_t *values);
int64_t vb_int(vbench *b, const char *name, int64_t flat);

#define N_OF(T, ...) (sizeof((const T[]){__VA_ARGS__}) / sizeof(T))
#define SHAPE(...)                                                                         \
    (int)N_OF(int64_t, __VA_ARGS__), (const int64_t[]) {                                   \
        __VA_ARGS__                                                                        \
    }
#define LIST(...)                                                                          \
    N_OF(int64_t, __VA_ARGS__), (const int64_t[]) {                                        \
        __VA_ARGS__                                                                        \
    }
#define NUMBERS(...)                                                                       \
    N_OF(double, __VA_ARGS__), (const double[]) {                                          \
        __VA_ARGS__                                                                        \
    }

/* verify_draft_tokens on the common row of contract 2.5: S = 6, one slot, end token 2;
 * cells that nobody writes hold HOLE. */
enum { HOLE = -777 };
void vb_slot(vbench *b, const char *conventions, int64_t strategy, int64_t n,
             const int64_t *drafts);

#define DRAFTS(...) ((const int64_t[6]){__VA_ARGS__})

#endif
