/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Run-time compilation (NVRTC, hiprtc). Vendors' compilers are known to abort on a target
 * that they do not know: call it only where that costs a process that may be lost. */
#ifndef GDN_GPU_COMPILE_H
#define GDN_GPU_COMPILE_H

#include <stdbool.h>
#include <stddef.h>

#include "gdn/status.h"

/// A named source text; the program's files #include each other by these names.
typedef struct gpu_source {
    const char *name, *text;
} gpu_source;

/// The kernels of devices/kernels, the program first, {NULL} last.
extern const gpu_source gpu_sources[];

typedef struct gpu_code {
    void *image;
    size_t size;
    char compiler[64]; ///< "NVRTC 13.0"
    char *log;         ///< what the compiler said, "" if nothing
} gpu_code;

typedef struct gpu_compile_options {
    const char *library; ///< path of the compiler; NULL: the vendor's usual names
    const char *target;  ///< "sm_90", "gfx90a"; NULL: the compiler's own choice
    int warp;            ///< lanes that run in step
    const char *extra;   ///< one more option, or NULL
} gpu_compile_options;

/// Compiles `sources` ({NULL} last), of which the first is the program. Whatever is
/// returned, `code` is the caller's to destroy: a failed compilation leaves its log there.
/// GDN_ERR_UNSUPPORTED: there is no compiler. GDN_ERR_DEVICE: the first error of the log.
GDN_NODISCARD gdn_status gpu_compile(gpu_code *code, const gpu_source *sources,
                                     const gpu_compile_options *options, gdn_error *err);

void gpu_code_destroy(gpu_code *code);

#endif
