/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Reading a report back, one case at a time: what is held in memory is the result model and
 * the text of one case, never the file. */
#ifndef GDN_REPORT_READ_H
#define GDN_REPORT_READ_H

#include <stdio.h>

#include "result.h"

/// Cases that a report may have: 250 MB of result model. The largest suite has a fiftieth.
#define GDN_REPORT_MOST_CASES 32768

/// Bytes that one case may have in a report.
#define GDN_REPORT_CASE_BYTES (4 << 20)

/// Reads the report in `file`, which messages call `name`. A report that ends early, is of
/// a newer schema, has a number that JSON does not have, an id twice, verdicts that do not
/// add up or more than the limits above is GDN_ERR_FORMAT; the message is one line without
/// control characters. Members that this schema does not know are ignored. If GDN_OK is
/// returned the caller destroys the result.
GDN_NODISCARD gdn_status gdn_report_read_stream(gdn_run_result *run, FILE *file,
                                                const char *name, gdn_error *err);

/// The same from a path, "-" for standard input. GDN_ERR_IO if it can't be opened.
GDN_NODISCARD gdn_status gdn_report_read(gdn_run_result *run, const char *path,
                                         gdn_error *err);

#endif
