/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The kernels in OpenCL C as one SPIR-V module; as texts they are gpu_sources. */
#ifndef GDN_CL_KERNELS_H
#define GDN_CL_KERNELS_H

#include <stddef.h>

extern const unsigned char cl_kernels_spirv[];

/// 0: built without a compiler to SPIR-V.
extern const size_t cl_kernels_spirv_bytes;

#endif
