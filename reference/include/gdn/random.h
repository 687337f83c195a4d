/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Counter-based random numbers: element i of stream s under a seed is a function of
 * (seed, s, i) alone, so inputs do not depend on threads, order or machine. Philox4x32-10:
 * J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011. */
#ifndef GDN_RANDOM_H
#define GDN_RANDOM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// One block of Philox4x32-10: counter[4], key[2] -> out[4].
void gdn_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/// A named stream of one seed. `stream` numbers what is filled (a tensor, a permutation).
typedef struct gdn_random {
    uint64_t seed;
    uint64_t stream;
} gdn_random;

/// 32 random bits at `index`.
uint32_t gdn_random_bits(const gdn_random *random, uint64_t index);

/// Uniform in (0, 1): (bits + 1/2) / 2^32, exact in FP64.
double gdn_random_uniform(const gdn_random *random, uint64_t index);

/// Uniform integer in [0, n), n >= 1, without modulo bias beyond 2^-32.
uint32_t gdn_random_below(const gdn_random *random, uint64_t index, uint32_t n);

/// Standard normal by inversion of the uniform (M. Wichura, algorithm AS 241, Applied
/// Statistics 37, 1988, the PPND7 rational functions, about 1 part in 10^7; the tails use
/// the correctly rounded log, so the values are the same everywhere).
double gdn_random_normal(const gdn_random *random, uint64_t index);

/// Normals `first` .. `first+count-1` of the stream; four to a Philox block, so fills of
/// 10^8 elements stay cheap.
void gdn_random_normals(const gdn_random *random, uint64_t first, uint64_t count,
                        double *out);

/// Fisher-Yates permutation of 0..n-1 into `out`.
void gdn_random_permutation(const gdn_random *random, uint32_t n, uint32_t *out);

#ifdef __cplusplus
}
#endif

#endif
