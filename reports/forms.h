/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The forms that a report takes besides JSON. All are made from the result model alone, and
 * all text goes through text.h. Writers don't close `out`; the caller finds out by ferror()
 * whether everything was written. */
#ifndef GDN_FORMS_H
#define GDN_FORMS_H

#include "result.h"

/// A row a tensor, a row for each case without one; RFC 4180 with a header.
void gdn_report_csv(const gdn_run_result *run, FILE *out);

/// One testsuite, one testcase a case: fail and xpass are failures, crash and hang errors,
/// skip, unsupported and xfail skipped. The replay line, the diagnosis and what the worker
/// printed stand in system-out. GDN_ERR_OOM if libxml2 fails.
GDN_NODISCARD gdn_status gdn_report_junit(const gdn_run_result *run, FILE *out,
                                          gdn_error *err);

/// Bytes that a comment of a pull request may have (GitHub: 65536 characters), with room
/// for what a CI adds around it.
#define GDN_MARKDOWN_MOST 60000

/// A comment for a pull request, at most GDN_MARKDOWN_MOST bytes: what does not fit is
/// counted in the last line.
void gdn_report_markdown(const gdn_run_result *run, FILE *out);

/// A line an error for GitHub Actions.
void gdn_report_annotations(const gdn_run_result *run, FILE *out);

/// One page without network and scripts.
void gdn_report_html(const gdn_run_result *run, FILE *out);

#endif
