/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Vector types rather than plain loops: compilers disagree widely on what they make of the
 * latter. Chosen once at open() by asking the processor: target_clones would do it through
 * ifunc, which runs before a sanitizer is set up and which not every C library has. */
#include "cpu_kernels.h"

/* Products that are summed in one go. */
enum { RUN = 32 };

#define LANES 4
#define TARGET
#define NAME(x) x##_4
#define ISA     "128-bit vectors"
#include "cpu_lanes.h"

#if defined(__x86_64__)
#define LANES   8
#define TARGET  __attribute__((target("avx2,fma")))
#define NAME(x) x##_8
#define ISA     "avx2"
#include "cpu_lanes.h"
#endif

const cpu_kernels *cpu_kernels_best(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return &kernels_8;
    }
#endif
    return &kernels_4;
}
