/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* One block of memory for all tensors of a case. It starts as poison from end to end;
 * tensors lie in it with guard zones around them and, where strides leave gaps (pages of a
 * paged cache), with poison between their rows. What is still poison after a run was not
 * written; what changed without being an output was. The block is a memfd, so that a worker
 * maps the same pages by descriptor. Gaps of a megabyte and more are holes of the file, but
 * for a guard on either side: they read as zeros, and a write into one is seen, since it
 * makes data of it. */
#ifndef GDN_ARENA_H
#define GDN_ARENA_H

#include "gdn/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Repeats through guards, gaps and unwritten outputs: a NaN of distinctive payload in
/// fp16, bf16, fp32 and fp64 alike (0x7ff7 in every 16 bits).
#define GDN_POISON_WORD UINT16_C(0x7ff7)

/// Guard bytes before and after each tensor.
#define GDN_ARENA_GUARD 4096

/// Tensors start on this boundary, or 2 elements past one when the arena is misaligned.
#define GDN_ARENA_ALIGN 256

/// Gaps between rows from which on they are holes.
#define GDN_ARENA_HOLE (1 << 20)

typedef struct gdn_arena {
    int fd;
    uint8_t *base; ///< shared mapping
    size_t bytes;
    bool sparse;           ///< some gap is a hole
    uint8_t *image;      ///< private copy taken by gdn_arena_freeze(), NULL before
    gdn_tensor *tensors; ///< `data` points into `base`; names are owned by the arena
    size_t n_tensors;
} gdn_arena;

/// Lays out `shapes` (data ignored, names copied; strides as given, they may leave gaps)
/// and poisons everything. If GDN_OK is returned the caller destroys the arena.
GDN_NODISCARD gdn_status gdn_arena_create(gdn_arena *arena, const gdn_tensor *shapes,
                                          size_t count, bool misaligned, gdn_error *err);

/// Ends the filling phase: seals the file against shrinking and keeps a private copy of
/// every byte, against which gdn_arena_restore() and the judge compare.
GDN_NODISCARD gdn_status gdn_arena_freeze(gdn_arena *arena, gdn_error *err);

/// Takes the image again, for inputs that come from an earlier call. The arena is frozen.
void gdn_arena_refreeze(gdn_arena *arena);

/// The next stretch of memory from byte `at` on that is no hole; false if there is none. A
/// device that wrote into a hole has made it one.
bool gdn_arena_next(const gdn_arena *arena, size_t at, size_t *from, size_t *to);

/// Puts the frozen bytes back, for a second run on the same inputs.
void gdn_arena_restore(gdn_arena *arena);

/// Accepts a zeroed or already destroyed arena.
void gdn_arena_destroy(gdn_arena *arena);

/// NULL if there is no tensor of this name.
gdn_tensor *gdn_arena_tensor(gdn_arena *arena, const char *name);

/// Says in words where byte `offset` lies: "ssm_state[3,0,12,7]", "gap after row 3 of
/// ssm_state", "guard before z". Returns the length as snprintf does.
int gdn_arena_describe(const gdn_arena *arena, size_t offset, char *text, size_t size);

#ifdef __cplusplus
}
#endif

#endif
