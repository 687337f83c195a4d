/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The numbers of gpu_vendor.h are those of HIP's own header. That it compiles is the
 * test. */
#define __HIP_PLATFORM_AMD__
#include <hip/hip_runtime_api.h>

#include "gpu_vendor.h"

_Static_assert(GPU_ATTRIBUTE_WARP == hipDeviceAttributeWarpSize, "warp");
_Static_assert(GPU_ATTRIBUTE_MULTIPROCESSORS == hipDeviceAttributeMultiprocessorCount,
               "multiprocessors");
_Static_assert(GPU_ATTRIBUTE_MAJOR == hipDeviceAttributeComputeCapabilityMajor, "major");
_Static_assert(GPU_ATTRIBUTE_MINOR == hipDeviceAttributeComputeCapabilityMinor, "minor");
_Static_assert(GPU_CAPTURE_RELAXED == hipStreamCaptureModeRelaxed, "capture");
_Static_assert(sizeof(hipUUID) == 16, "uuid");

int main(void) {
    return 0;
}
