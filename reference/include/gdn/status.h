/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* How every fallible function of this project answers. Three kinds of answer are never
 * mixed: gdn_status (did the harness work), gdn_verdict (what a device did; judge.h) and
 * bool (a question). Libraries never print, exit or abort. */
#ifndef GDN_STATUS_H
#define GDN_STATUS_H

#ifdef __FAST_MATH__
#error "gdn-conform decides on NaN and on rounding: fast-math breaks it"
#endif

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define GDN_NODISCARD         __attribute__((warn_unused_result))
#define GDN_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define GDN_EXPORT            __attribute__((visibility("default")))
#else
#define GDN_NODISCARD
#define GDN_PRINTF(fmt, args)
#define GDN_EXPORT
#endif

/// Values are part of the worker protocol and of reports: they are never renumbered.
typedef enum gdn_status {
    GDN_OK = 0,
    GDN_ERR_ARG = 1,         ///< a caller's or a user's value is out of its range
    GDN_ERR_OOM = 2,         ///< memory
    GDN_ERR_IO = 3,          ///< the operating system refused a file, a socket, a process
    GDN_ERR_FORMAT = 4,      ///< a file or a message is not what it claims to be
    GDN_ERR_DEVICE = 5,      ///< a device or its worker failed
    GDN_ERR_ABI = 6,         ///< an adapter was built against another ABI
    GDN_ERR_UNSUPPORTED = 7, ///< not offered by this build or device
    GDN_ERR_BLIND = 8,       ///< the harness did not see a fault that it planted itself
    GDN_ERR_NETWORK = 9,     ///< a server cannot be reached, or fails
} gdn_status;

/// Caller-owned message of the first error. Zero-initialise it. Functions take it last and
/// accept NULL. It is untouched on success.
typedef struct gdn_error {
    gdn_status status;
    char message[1024];
} gdn_error;

/// Records `status` and a formatted message unless an error is already recorded (the first
/// one is the cause). Returns `status`, so that failing is one line.
gdn_status gdn_error_set(gdn_error *err, gdn_status status, const char *fmt, ...)
    GDN_PRINTF(3, 4);

/// Prepends "<context>: " to a recorded message; callers add what they were doing on the
/// way up. Does nothing when no error is recorded.
void gdn_error_context(gdn_error *err, const char *fmt, ...) GDN_PRINTF(2, 3);

/// Short stable name of a status ("bad argument", "format", ...), never NULL.
const char *gdn_status_name(gdn_status status);

/// Leaves the function with the status of `expr` if that is not GDN_OK. Only for functions
/// that hold nothing at that point.
#define GDN_TRY(expr)                                                                      \
    do {                                                                                   \
        const gdn_status gdn_try_status_ = (expr);                                         \
        if (gdn_try_status_ != GDN_OK) {                                                   \
            return gdn_try_status_;                                                        \
        }                                                                                  \
    } while (0)

#ifdef __cplusplus
}
#endif

#endif
