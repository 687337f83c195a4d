/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "gdn/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

gdn_status gdn_error_set(gdn_error *err, gdn_status status, const char *fmt, ...) {
    if (err && err->status == GDN_OK) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(err->message, sizeof err->message, fmt, args);
        va_end(args);
        err->status = status;
    }
    return status;
}

void gdn_error_context(gdn_error *err, const char *fmt, ...) {
    if (!err || err->status == GDN_OK) {
        return;
    }
    char cause[sizeof err->message];
    memcpy(cause, err->message, sizeof cause);
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(err->message, sizeof err->message, fmt, args);
    va_end(args);
    /* A context that leaves no room shortens the cause, never the context. */
    size_t used = n < 0 ? 0 : (size_t)n;
    for (const char *c = ": "; *c && used + 1 < sizeof err->message; c++) {
        err->message[used++] = *c;
    }
    for (const char *c = cause; *c && used + 1 < sizeof err->message; c++) {
        err->message[used++] = *c;
    }
    if (used < sizeof err->message) {
        err->message[used] = '\0';
    }
}

const char *gdn_status_name(gdn_status status) {
    switch (status) {
    case GDN_OK:
        return "ok";
    case GDN_ERR_ARG:
        return "bad argument";
    case GDN_ERR_OOM:
        return "out of memory";
    case GDN_ERR_IO:
        return "input/output";
    case GDN_ERR_FORMAT:
        return "format";
    case GDN_ERR_DEVICE:
        return "device";
    case GDN_ERR_ABI:
        return "ABI";
    case GDN_ERR_UNSUPPORTED:
        return "unsupported";
    case GDN_ERR_BLIND:
        return "blind";
    case GDN_ERR_NETWORK:
        return "network";
    }
    return "unknown status";
}
