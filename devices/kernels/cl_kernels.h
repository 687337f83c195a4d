/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The kernels in OpenCL C as SPIR-V modules, the second with doubles; as texts they are
 * gpu_sources. */
#ifndef GDN_CL_KERNELS_H
#define GDN_CL_KERNELS_H

#include <stddef.h>

extern const unsigned char cl_kernels_spirv[], cl_kernels_fp64_spirv[];

/// 0: built without a compiler to SPIR-V.
extern const size_t cl_kernels_spirv_bytes, cl_kernels_fp64_spirv_bytes;

/// The text that is of the second module alone; kernel_args.h and common.cl are of both.
#define CL_KERNELS_FP64_SOURCE "rejection_sample.cl"

#endif
