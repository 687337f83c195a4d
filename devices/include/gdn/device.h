/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The adapter ABI: a device is a shared library with one exported symbol, gdn_device_v1.
 * The worker program loads it, checks the first three members, and calls nothing before.
 * Major versions break, minor versions append; struct_size guards what a reader may touch.
 *
 * Other languages skip this header and speak the worker protocol (devices/PROTOCOL.md). */
#ifndef GDN_DEVICE_H
#define GDN_DEVICE_H

#include "gdn/call.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GDN_DEVICE_ABI_MAJOR 1
#define GDN_DEVICE_ABI_MINOR 1

typedef struct gdn_device gdn_device;

/// Who ran it: part of every report. Strings belong to the device until close().
typedef struct gdn_device_identity {
    const char *hardware; ///< model name of the processor or accelerator
    const char *driver;   ///< driver or runtime with version; "" if none
    const char *build;    ///< version and compiler of the adapter
} gdn_device_identity;

/// All entries but the last are required. Functions are called from one thread.
typedef struct gdn_device_api {
    uint32_t struct_size;
    uint16_t abi_major, abi_minor;
    const char *name;

    /// `options` is what stood behind "name:" on the command line, "" if nothing. If GDN_OK
    /// is returned, `*device` is the caller's until close(). GDN_ERR_UNSUPPORTED: the
    /// hardware or driver is absent (the message says which); GDN_ERR_ARG: bad options.
    gdn_status (*open)(const char *options, gdn_device **device, gdn_error *err);
    void (*close)(gdn_device *device);

    gdn_status (*identify)(gdn_device *device, gdn_device_identity *identity,
                           gdn_error *err);

    /// GDN_OK: run() promises to take this call. GDN_ERR_UNSUPPORTED: it does not, and the
    /// message is the reason that reports show. arena_bytes is that of the coming run;
    /// arena and tensor data are NULL.
    gdn_status (*supports)(gdn_device *device, const gdn_call *call, gdn_error *why);

    /// Runs the call to completion; results are in the arena on return. `*seconds` receives
    /// the kernel time where the adapter can tell it, else stays as it is (negative).
    /// GDN_ERR_DEVICE: the device may not work in this process any more; the host ends the
    /// worker, and the next case gets a fresh one.
    gdn_status (*run)(gdn_device *device, const gdn_call *call, double *seconds,
                      gdn_error *err);

    /// Since 1.1, may be NULL. Bytes a second, those read and those written together, of a
    /// copy on the device that its caches do not hold; the best of a few.
    gdn_status (*bandwidth)(gdn_device *device, double *bytes_per_second, gdn_error *err);
} gdn_device_api;

GDN_EXPORT extern const gdn_device_api gdn_device_v1;

#ifdef __cplusplus
}
#endif

#endif
