/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What stands behind "cuda:" or "hip:": an ordinal and name=value pairs, by commas. */
#ifndef GDN_GPU_OPTIONS_H
#define GDN_GPU_OPTIONS_H

#include <stdbool.h>

#include "gdn/status.h"
#include "gpu_compile.h"

/// Strings are NULL where the option was not given.
typedef struct gpu_options {
    int ordinal; ///< N: which device
    bool graph;  ///< graph=1: every call runs as a captured graph
    bool mma;    ///< mma=1: chunked sequences on matrix units, where profiles have bf16-mma
    int repeat;  ///< repeat=N: kernel time is the median of N executions
    char *source;  ///< source=DIR: kernels from there instead of those built in
    char *package; ///< package=DIR: a kernel package instead of those built in
    char *driver;  ///< driver=PATH: the driver library
    char *rtc;     ///< rtc=PATH: the run-time compiler
    char *memory;  ///< memory=device|shared: where the arena is
    char *target;  ///< target=NAME: what to compile for, if not for the device's own
} gpu_options;

/// GDN_ERR_ARG names the option and what is allowed. On GDN_OK `options` is the caller's.
GDN_NODISCARD gdn_status gpu_options_parse(gpu_options *options, const char *text,
                                           gdn_error *err);

void gpu_options_destroy(gpu_options *options);

/// The files of gpu_sources as they lie in `folder`, {NULL} last; the caller's to destroy.
/// GDN_ERR_ARG names the file that cannot be read.
GDN_NODISCARD gdn_status gpu_sources_read(gpu_source **sources, const char *folder,
                                          gdn_error *err);

/// A file's bytes with a 0 behind them, the caller's to free; `size` may be NULL.
GDN_NODISCARD gdn_status gpu_file_read(char **bytes, size_t *size, const char *path,
                                       gdn_error *err);

void gpu_sources_destroy(gpu_source *sources);

#endif
