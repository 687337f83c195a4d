/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Markdown that must fit into a comment: lines are written while they fit, and what is left
 * out is counted. Private to reports/. */
#ifndef GDN_LIMITED_H
#define GDN_LIMITED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

typedef struct gdn_limited {
    FILE *out;
    size_t left;    ///< bytes
    size_t omitted; ///< lines that did not fit
    char *line;     ///< of the line that is being written
    size_t length;
    FILE *draft;
} gdn_limited;

/// `most` bytes may be written to `out`, of which some are kept for the last line.
void gdn_limited_start(gdn_limited *limited, FILE *out, size_t most);

/// Where the next line is to be written, its newline included.
FILE *gdn_limited_line(gdn_limited *limited);

/// Writes the line, or counts it as omitted if it does not fit or another one was before
/// it: what is there is then a beginning, not a selection.
void gdn_limited_end(gdn_limited *limited);

/// Tells how many lines are missing, if any are.
void gdn_limited_finish(gdn_limited *limited);

#endif
