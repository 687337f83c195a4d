/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A kernel package: a folder with kernel.json and the modules that it names. It brings one
 * op, as launches of compiled kernels that know nothing of this project; its form is
 * kernel.schema.json, and devices/kernels/packages has examples. */
#ifndef GDN_GPU_PACKAGE_H
#define GDN_GPU_PACKAGE_H

#include "gdn/call.h"
#include "gpu_plan.h"

typedef struct gpu_package gpu_package;

/// Reads kernel.json. GDN_ERR_ARG names file, JSON path and what is allowed there. If
/// GDN_OK is returned the package is the caller's to destroy.
GDN_NODISCARD gdn_status gpu_package_open(gpu_package **package, const char *folder,
                                          gdn_error *err);

/// Accepts NULL.
void gpu_package_destroy(gpu_package *package);

/// Modules, in the order of their numbers in gpu_launch. `is_source`: to be compiled.
size_t gpu_package_modules(const gpu_package *package);
const char *gpu_package_module(const gpu_package *package, size_t index, bool *is_source);

/// Kernel of the n-th launch that is of that module; NULL behind the last.
const char *gpu_package_kernel(const gpu_package *package, size_t module, size_t n);

const char *gpu_package_name(const gpu_package *package);

/// As gpu_plan_build, with the package's launches. GDN_ERR_UNSUPPORTED: another op, a
/// convention, a type or a size that the package does not claim.
GDN_NODISCARD gdn_status gpu_package_plan(const gpu_package *package, gpu_plan *plan,
                                          const gdn_call *call, gdn_error *err);

#endif
