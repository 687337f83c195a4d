/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Pieces of the HTML pages. The pages have no script, and a policy that forbids any and all
 * loading: even a name that slipped through the escaping could not act. Private to
 * reports/. */
#ifndef GDN_HTML_H
#define GDN_HTML_H

#include "diff.h"
#include "result.h"

/// Colour classes of budgets, "n" and "b0" to "b9"; from GDN_LEVEL_OVER on the limit is
/// exceeded.
#define GDN_LEVEL_NONE (-1)
#define GDN_LEVEL_OVER 6
#define GDN_LEVELS     10

/// Level of a budget: 0, below 0.01, 0.1, 0.3, 0.7, up to 1, below 10, 1000, above,
/// infinite; GDN_LEVEL_NONE for negative ones, where nothing was compared.
int gdnp_level(double budget);

/// "n", "b0", ...
const char *gdnp_level_class(int level);

void gdnp_html_start(FILE *out, const char *title);
void gdnp_html_end(FILE *out);

/// A case id in <code>, with places to break lines at.
void gdnp_html_id(FILE *out, const char *id);

/// Colour legend of budgets.
void gdnp_html_legend(FILE *out);

/// "device", "driver", ..: the facts of a run.
void gdnp_html_facts(FILE *out, const gdn_run_result *run);

/// A histogram of the budgets of each numeric class and pair of types.
void gdnp_html_histograms(FILE *out, const gdn_run_result *run);

/// Heat map of one map, and the error against the token position where its rows are tokens.
void gdnp_html_map(FILE *out, const gdn_map *map);

/// Cases by op, layout and types x mix and length; with `links` cells lead to #c<index>.
void gdnp_html_matrix(FILE *out, const gdn_run_result *run, bool links);

/// Budget before against budget now.
void gdnp_html_scatter(FILE *out, const gdn_report_diff *diff);

/// What there is to know about one case, as <details id="c<index>">.
void gdnp_html_case(FILE *out, const gdn_case_result *c, size_t index, bool open);

#endif
