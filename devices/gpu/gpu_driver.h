/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A vendor's driver API in the shape of CUDA's. HIP mirrors that one to one; what differs
 * are the names, which gpu_vendor.h holds, one header a vendor (devices/cuda, devices/hip),
 * and which are resolved at run time, so that building needs no package of the vendor's.
 * OpenCL and Level Zero are put into that shape by functions of ours (GPU_LINKED;
 * devices/opencl, devices/level_zero): gpu_linked_<member>.
 *
 * Handles are opaque pointers on both sides. Device addresses are 64-bit integers to CUDA
 * and pointers to HIP, which every 64-bit ABI passes alike. Calls return 0 for success. */
#ifndef GDN_GPU_DRIVER_H
#define GDN_GPU_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gdn/status.h"

typedef uint64_t gpu_address;

/* X(member, arguments): the names stand in gpu_vendor.h as GPU_NAME_<member>. `extra` of
 * launch is NULL; where GPU_LINKED, the sizes of the arguments, 0 behind the last, and an argument that is a
 * null pointer is NULL itself. */
#define GPU_FUNCTIONS(X)                                                                   \
    X(init, (unsigned flags))                                                              \
    X(device_count, (int *count))                                                          \
    X(device_get, (int *device, int ordinal))                                              \
    X(context_retain, (void **context, int device))                                        \
    X(context_set, (void *context))                                                        \
    X(module_function, (void **function, void *module, const char *name))                  \
    X(memory_alloc, (gpu_address * address, size_t bytes))                                 \
    X(memory_free, (gpu_address address))                                                  \
    X(memory_info, (size_t * available, size_t * total))                                   \
    X(copy_in, (gpu_address to, const void *from, size_t bytes))                           \
    X(copy_out, (void *to, gpu_address from, size_t bytes))                                \
    X(launch,                                                                              \
      (void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,    \
       unsigned bz, unsigned shared, void *stream, void **arguments, void **extra))        \
    X(stream_create, (void **stream, unsigned flags))                                      \
    X(stream_synchronize, (void *stream))                                                  \
    X(event_create, (void **event, unsigned flags))                                        \
    X(event_record, (void *event, void *stream))                                           \
    X(event_elapsed, (float *milliseconds, void *start, void *end))

/* Where GPU_GRAPHS. */
#define GPU_GRAPH_FUNCTIONS(X)                                                             \
    X(stream_capture_begin, (void *stream, int mode))                                      \
    X(stream_capture_end, (void *stream, void **graph))                                    \
    X(graph_instantiate, (void **exec, void *graph, unsigned long long flags))             \
    X(graph_destroy, (void *graph))                                                        \
    X(graph_exec_destroy, (void *exec))                                                    \
    X(graph_launch, (void *exec, void *stream))

/* What only gpu_identity.c and gpu_modules.c call, which are of CUDA and HIP. */
#define GPU_RESOLVED_FUNCTIONS(X)                                                          \
    X(driver_version, (int *version))                                                      \
    X(device_name, (char *name, int size, int device))                                     \
    X(device_attribute, GPU_ATTRIBUTE_ARGUMENTS)                                           \
    X(device_pci_bus_id, (char *id, int size, int device))                                 \
    X(device_uuid, (unsigned char uuid[16], int device))                                   \
    X(module_load, (void **module, const void *image))

#define GPU_ATTRIBUTE_ARGUMENTS (int *value, int attribute, int device)

typedef struct gpu_driver {
#define GPU_MEMBER(member, arguments) int(*member) arguments;
    GPU_FUNCTIONS(GPU_MEMBER)
    GPU_GRAPH_FUNCTIONS(GPU_MEMBER)
    GPU_RESOLVED_FUNCTIONS(GPU_MEMBER)
#undef GPU_MEMBER
    void *library;
} gpu_driver;

#define GPU_LINKED_FUNCTION(member, arguments) int gpu_linked_##member arguments;
GPU_FUNCTIONS(GPU_LINKED_FUNCTION)
GPU_GRAPH_FUNCTIONS(GPU_LINKED_FUNCTION)
#undef GPU_LINKED_FUNCTION

/// Where GPU_LINKED: the name of a code, with what the driver said besides, "" if neither.
const char *gpu_linked_error(int code);

/// Where GPU_LINKED: opens the vendor's library, `path` or its usual names.
GDN_NODISCARD gdn_status gpu_linked_open(void **library, const char *path, gdn_error *err);

/// What a look at the machine in a child process found, so that a vendor library which
/// aborts, crashes or hangs while it looks for devices takes nobody along.
/// `path`: the library, or NULL for the vendor's usual names. GDN_ERR_UNSUPPORTED with the
/// driver's reason: no library, no device, or the child's end.
GDN_NODISCARD gdn_status gpu_driver_probe(const char *path, int *devices, gdn_error *err);

/// Loads the library and initialises it. Never unloaded: drivers leave threads behind.
GDN_NODISCARD gdn_status gpu_driver_load(gpu_driver *driver, const char *path,
                                         gdn_error *err);

/// GDN_OK if `code` is 0, else GDN_ERR_DEVICE with "what: name of the code (number)".
GDN_NODISCARD gdn_status gpu_driver_check(const gpu_driver *driver, int code,
                                          const char *what, gdn_error *err);

/// Opens the first of `names` (NULL-terminated) that loads, or `path` alone if it is given.
/// GDN_ERR_UNSUPPORTED with the loader's reasons.
GDN_NODISCARD gdn_status gpu_library_open(void **library, const char *path,
                                          const char *const *names, gdn_error *err);

/// The symbol as a function; GDN_ERR_UNSUPPORTED names it and the library.
GDN_NODISCARD gdn_status gpu_library_symbol(void *library, const char *name, void *function,
                                            gdn_error *err);

#endif
