/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The kernels, compiled for this processor and run here: what they compute, which bytes
 * they touch and whether their lanes keep together is seen with no GPU. Every thread of a
 * block is a fiber, and runs until it meets others. Of what a GPU does at the same time,
 * only this much shows here: lanes of a warp run in rising order, warps and blocks in
 * falling order, so that whoever reads what another has yet to write reads something else.
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#include "emulated_lanes.h"
#include "kernels.hip"

gk_indices threadIdx, blockIdx, blockDim, gridDim;

/* ---- Conversions, by the bits: not every host compiler knows the type ---- */

float gk_fp16_to_float(unsigned short bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const float magnitude = exponent == 31 ? (fraction ? NAN : INFINITY)
                            : exponent == 0
                                ? ldexpf((float)fraction, -24)
                                : ldexpf((float)(fraction + 1024), exponent - 25);
    return bits & 0x8000 ? -magnitude : magnitude;
}

unsigned short gk_float_to_fp16(float value) {
    const unsigned bits = __float_as_uint(value);
    const unsigned short sign = (unsigned short)(bits >> 16 & 0x8000);
    const float magnitude = fabsf(value);
    if (!(magnitude == magnitude)) {
        return 0x7fff;
    }
    if (magnitude >= 65520.0f) {
        return (unsigned short)(sign | 0x7c00);
    }
    if (magnitude == 0.0f) {
        return sign;
    }
    int exponent = 0;
    frexpf(magnitude, &exponent);
    exponent = exponent < -13 ? -13 : exponent; /* subnormal from 2^-14 down */
    /* In units of the last place; a carry moves on into the exponent by itself. */
    const float units = nearbyintf(ldexpf(magnitude, 11 - exponent));
    const unsigned place = (unsigned)units;
    const unsigned whole = (unsigned)(exponent + 13) << 10;
    return (unsigned short)(sign | (whole + place));
}

/* ---- Fibers ---- */

enum { MAX_THREADS = 1024, STACK_BYTES = 256 * 1024 };

enum place { READY, AT_LANES, AT_BARRIER, LEFT };

struct fiber {
    jmp_buf where;
    ucontext_t first;
    bool made;
    place at;
    unsigned meetings;
    char *stack;
};

struct warp {
    alignas(16) char values[2][64 * GK_LANE_BYTES];
};

static fiber fibers[MAX_THREADS];
static warp warps[MAX_THREADS / 32];
static jmp_buf scheduler;
static ucontext_t scheduler_context;

/* What the fibers run. */
static void (*body)(const void *arguments);
static const void *body_arguments;

static __attribute__((noreturn)) void refuse(const char *what) {
    fprintf(stderr, "emulated driver: block %u %u %u, thread %u: %s\n", blockIdx.x,
            blockIdx.y, blockIdx.z, threadIdx.x, what);
    abort();
}

static __attribute__((noinline)) void leave(place at) {
    fiber *self = &fibers[threadIdx.x];
    self->at = at;
    if (_setjmp(self->where) == 0) {
        _longjmp(scheduler, 1);
    }
}

static void live(void) {
    for (;;) {
        body(body_arguments);
        leave(LEFT);
    }
}

static __attribute__((noinline)) void resume(unsigned thread) {
    fiber *f = &fibers[thread];
    threadIdx.x = thread;
    if (_setjmp(scheduler) != 0) {
        return;
    }
    if (f->made) {
        _longjmp(f->where, 1);
    }
    f->made = true;
    f->stack = (char *)malloc(STACK_BYTES);
    getcontext(&f->first);
    f->first.uc_stack.ss_sp = f->stack;
    f->first.uc_stack.ss_size = STACK_BYTES;
    makecontext(&f->first, live, 0);
    swapcontext(&scheduler_context, &f->first);
}

const char *gk_lanes_meet(const void *mine, size_t bytes) {
    fiber *self = &fibers[threadIdx.x];
    char *values = warps[threadIdx.x / GDN_WARP].values[self->meetings++ % 2];
    memcpy(values + threadIdx.x % GDN_WARP * GK_LANE_BYTES, mine, bytes);
    leave(AT_LANES);
    return values;
}

void __syncthreads(void) {
    leave(AT_BARRIER);
}

/* Until no lane of the warp waits for another lane. */
static void run_warp(unsigned first) {
    for (;;) {
        unsigned at[4] = {0};
        for (unsigned i = first; i < first + GDN_WARP; i++) {
            if (fibers[i].at == READY) {
                resume(i);
            }
            at[fibers[i].at]++;
        }
        if (at[AT_LANES] == 0) {
            return;
        }
        if (at[AT_LANES] != GDN_WARP) {
            refuse("its warp waits for lanes that do not come");
        }
        for (unsigned i = first; i < first + GDN_WARP; i++) {
            fibers[i].at = READY;
        }
    }
}

static void run_block(void) {
    for (unsigned i = 0; i < blockDim.x; i++) {
        fibers[i].at = READY;
        fibers[i].meetings = 0;
    }
    /* A block of one thread has no warp. */
    if (blockDim.x < GDN_WARP) {
        for (unsigned i = 0; i < blockDim.x; i++) {
            resume(i);
        }
        return;
    }
    bool waiting = true;
    while (waiting) {
        waiting = false;
        for (unsigned first = blockDim.x; first > 0; first -= GDN_WARP) {
            run_warp(first - GDN_WARP);
        }
        for (unsigned i = 0; i < blockDim.x; i++) {
            waiting = waiting || fibers[i].at == AT_BARRIER;
            fibers[i].at = fibers[i].at == AT_BARRIER ? READY : fibers[i].at;
        }
    }
}

/* ---- Kernels by name ---- */

template <typename A, void (*KERNEL)(const A)> static void call(const void *arguments) {
    KERNEL(*(const A *)arguments);
}

struct entry {
    const char *name;
    void (*body)(const void *);
    size_t bytes;
};

#define ENTRY(arguments, kernel)                                                           \
    { #kernel, call < arguments, kernel>, sizeof(arguments) }
#define DELTA(parts)                                                                       \
    ENTRY(gk_delta_args, gk_delta_FP32_##parts),                                           \
        ENTRY(gk_delta_args, gk_delta_FP16_##parts),                                       \
        ENTRY(gk_delta_args, gk_delta_BF16_##parts)

static const entry ENTRIES[] = {
    ENTRY(gk_conv_args, gk_conv),
    ENTRY(gk_conv_args, gk_conv_keep),
    ENTRY(gk_pack_args, gk_pack),
    ENTRY(gk_gating_args, gk_gating),
    ENTRY(gk_zero_args, gk_zero),
    ENTRY(gk_copy_args, gk_copy),
    ENTRY(gk_copy_z_args, gk_copy_z),
    ENTRY(gk_normalise_args, gk_normalise),
    ENTRY(gk_metadata_args, gk_metadata),
    ENTRY(gk_chunk_args, gk_chunk_prepare),
    ENTRY(gk_chunk_args, gk_chunk),
    ENTRY(gk_verify_args, gk_verify),
    ENTRY(gk_rejection_args, gk_rejection),
    DELTA(1),
    DELTA(2),
    DELTA(4),
#if GDN_WARP == 32
    DELTA(8),
#endif
};

extern "C" int emulated_warp(void) {
    return GDN_WARP;
}

extern "C" const void *emulated_find(const char *name) {
    for (const entry &e : ENTRIES) {
        if (strcmp(e.name, name) == 0) {
            return &e;
        }
    }
    fprintf(stderr, "emulated driver: no kernel %s\n", name);
    return nullptr;
}

extern "C" size_t emulated_bytes(const void *kernel) {
    return ((const entry *)kernel)->bytes;
}

extern "C" void emulated_launch(const void *kernel, const unsigned grid[3], unsigned block,
                                const void *arguments) {
    body = ((const entry *)kernel)->body;
    body_arguments = arguments;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block, 1, 1};
    for (blockIdx.z = grid[2]; blockIdx.z-- > 0;) {
        for (blockIdx.y = grid[1]; blockIdx.y-- > 0;) {
            for (blockIdx.x = grid[0]; blockIdx.x-- > 0;) {
                run_block();
            }
        }
    }
}
