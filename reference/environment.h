/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Whether this process computes as the reference assumes. */
#ifndef GDN_ENVIRONMENT_H
#define GDN_ENVIRONMENT_H

#include <stdbool.h>

#include "gdn/status.h"

/* GDN_ERR_ARG if a thread that the ops run on does not round to nearest or flushes
 * denormals to zero: digests would differ and error bounds would not hold. `threads`: asks
 * every thread of a team, else the calling one alone. */
GDN_NODISCARD gdn_status gdnp_environment_check(bool threads, gdn_error *err);

#endif
