/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Chunk kernels on matrix units as backends write them, for the tests of limits and floors.
 * They share no code with reference/floor.c: operands are rounded by gdn_round_to() or
 * frexp(), products of 16 are summed exactly before they are added in fp32, as tensor cores
 * do it, and the inverse is built in other ways. */
#ifndef GDN_MMA_KERNEL_H
#define GDN_MMA_KERNEL_H

#include "fp32_kernel.h"

#define MMA_TOKENS 128 /* longest chunk */

/* One chunk of tokens; k and q are normalised, q is scaled. */
void mma_chunk(const kernel_style *style, const kernel_head *head, int64_t first,
               int64_t count);

extern const kernel_style MMA_STYLES[];
extern const int MMA_STYLE_COUNT;

#endif
