/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Two of the actions of `vectors`; both return exit codes. */
#ifndef GDN_CLI_VECTORS_LINT_H
#define GDN_CLI_VECTORS_LINT_H

/// Prints what is wrong with a folder; `old` may be NULL.
int gdn_cli_vectors_lint(const char *folder, const char *old);

/// Writes <folder>/index.json over the vector files there.
int gdn_cli_vectors_index(const char *folder);

#endif
