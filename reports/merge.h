/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#ifndef GDN_MERGE_H
#define GDN_MERGE_H

#include "result.h"

/// Moves the cases of all runs into runs[0], in the order of the shards. Runs of other
/// devices, drivers, suites, vectors or profiles, a shard that is missing or there twice,
/// and a case that two runs have are GDN_ERR_ARG; `names` are theirs in messages. One run
/// that is no shard stays as it is. The caller destroys all runs in any case.
GDN_NODISCARD gdn_status gdn_merge(gdn_run_result *runs, const char *const *names,
                                   size_t count, gdn_error *err);

#endif
