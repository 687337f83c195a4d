/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What a diagnosis tries: the deviation table, deviations from a file, and every other
 * value that a profile may choose for a field and no row of the table chooses. */
#ifndef GDN_SUSPECTS_H
#define GDN_SUSPECTS_H

#include "gdn/deviation.h"

typedef struct gdn_suspects {
    gdn_deviation *items; ///< table rows, then rows of the file, then values of fields
    size_t count;
    size_t n_rows; ///< of table and file
    char **texts;  ///< names and symptoms of the rest
    size_t n_texts;
} gdn_suspects;

/// For cases of these conventions. `more` (of `n_more` rows; NULL: none) is borrowed, as
/// are its texts. If GDN_OK is returned the caller destroys the suspects.
GDN_NODISCARD gdn_status gdn_suspects_create(gdn_suspects *suspects,
                                             const gdn_conventions *conventions,
                                             const gdn_deviation *more, size_t n_more,
                                             gdn_error *err);

/// Accepts zeroed suspects.
void gdn_suspects_destroy(gdn_suspects *suspects);

#endif
