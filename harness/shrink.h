/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A smaller case that fails for the same reason. */
#ifndef GDN_SHRINK_H
#define GDN_SHRINK_H

#include "case.h"

/// Cases tried at most.
#define GDN_SHRINK_TRIES 400

/// Whether a smaller case still shows what the first one shows; runs the device.
typedef gdn_status (*gdn_shrink_holds)(void *context, const gdn_case *test, bool *holds,
                                       gdn_error *err);

/// Drops and halves sequences, tokens, heads and dimensions, and clears flags, as long as
/// `holds` says so; what a device or a profile refuses does not hold. `*smallest` is a case
/// of its own even if nothing could be dropped. If GDN_OK is returned the caller destroys
/// it. `*tries` receives the number of cases tried.
GDN_NODISCARD gdn_status gdn_shrink(gdn_case *smallest, size_t *tries, const gdn_case *test,
                                    const char *profiles, gdn_shrink_holds holds,
                                    void *context, gdn_error *err);

#endif
