/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Before every run the judge is judged: a right answer must pass and each of a few planted
 * faults must not, by the path that real cases take, down to the exit code. A build whose
 * judge is broken says so instead of turning green. */
#ifndef GDN_TRIPWIRE_H
#define GDN_TRIPWIRE_H

#include "gdn/status.h"

/// GDN_ERR_BLIND names the fault that was not seen, or says that the right answer failed.
GDN_NODISCARD gdn_status gdn_tripwire(const char *profiles, gdn_error *err);

#endif
