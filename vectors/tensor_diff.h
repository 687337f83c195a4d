/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* One output of one case, before and after. Private to vectors/. */
#ifndef GDN_TENSOR_DIFF_H
#define GDN_TENSOR_DIFF_H

#include "vector_diff.h"

/// Fills `diff`, whose name is set, from what the readers hold of output `diff->name` in
/// case `id`; both have it.
GDN_NODISCARD gdn_status gdnp_tensor_diff(gdn_tensor_diff *diff,
                                          const gdn_vector_reader *before,
                                          const gdn_vector_reader *after, const char *id,
                                          gdn_error *err);

#endif
