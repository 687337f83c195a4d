/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Text of strangers on its way into a form. Names and messages come from devices and from
 * files: they may hold markup, quotes, newlines, terminal escapes, or no UTF-8 at all.
 * Every form prints them through these functions and through nothing else.
 *
 * In all of them a control character, a byte that is no UTF-8 and a character that turns
 * the direction of the text are shown as \xNN or \u{NNNN}. */
#ifndef GDN_TEXT_H
#define GDN_TEXT_H

#include <stdbool.h>
#include <stdio.h>

/// One line for a terminal or a log.
void gdn_put_plain(FILE *out, const char *text);

/// Content or attribute value of HTML; with `lines` newlines and tabs stay, for <pre>.
void gdn_put_html(FILE *out, const char *text, bool lines);

/// Content of <code> in Markdown: every character that Markdown or HTML knows is an entity.
void gdn_put_markdown(FILE *out, const char *text);

/// A quoted field of CSV (RFC 4180). A text that a spreadsheet would take for a formula
/// starts with an apostrophe.
void gdn_put_csv(FILE *out, const char *text);

/// A copy that is UTF-8 and that XML 1.0 can hold, newlines and tabs kept; NULL without
/// memory. The caller frees it.
char *gdn_text_clean(const char *text);

/// A number for people: three significant digits, "inf", "nan".
void gdn_put_number(FILE *out, double x);

#endif
