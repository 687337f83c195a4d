/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <stdlib.h>
#include <string.h>

#include "forms.h"
#include "html.h"
#include "text.h"

/* Cases with everything there is to know about them; the table has all. */
#define DETAILED 60
#define OPENED   3

static bool in_detail(const gdn_case_result *c) {
    return c->verdict != GDN_PASS;
}

static void put_head(FILE *out, const gdn_run_result *run) {
    size_t tally[GDN_VERDICT_COUNT];
    gdn_run_tally(run, tally);
    const char *why = NULL;
    const int code = gdn_run_exit_code(run, &why);
    fputs("<header><h1>gdn-conform: ", out);
    gdn_put_html(out, run->device, false);
    fprintf(out, "</h1>\n<p><span class=\"verdict %s\">%s %s</span></p>\n",
            code == 0 ? "good" : "bad", code == 0 ? "✓" : "✕", why);
    fprintf(out, "<ul class=\"tiles\"><li><b>%zu</b><span>planned</span></li>",
            run->planned);
    for (int v = 0; v < GDN_VERDICT_COUNT; v++) {
        if (tally[v] > 0 || v == GDN_PASS || v == GDN_FAIL) {
            fprintf(out, "<li><b class=\"%s\">%zu</b><span>%s</span></li>",
                    tally[v] > 0 && gdn_verdict_is_red((gdn_verdict)v) ? "bad" : "",
                    tally[v], gdn_verdict_name((gdn_verdict)v));
        }
    }
    const gdn_case_result *worst = NULL;
    for (size_t i = 0; i < run->n_cases; i++) {
        if (!worst || gdn_case_budget(&run->cases[i]) > gdn_case_budget(worst)) {
            worst = &run->cases[i];
        }
    }
    if (worst && worst->n_tensors > 0) {
        fputs("<li><b>", out);
        gdn_put_number(out, gdn_case_budget(worst));
        fputs("</b><span>largest budget</span></li>", out);
    }
    fputs("</ul>\n", out);
    gdnp_html_facts(out, run);
    fputs("</header>\n", out);
}

/* Red cases first, then the others that are no pass. */
static void put_problems(FILE *out, const gdn_run_result *run) {
    size_t shown = 0, omitted = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < run->n_cases; i++) {
            const gdn_case_result *c = &run->cases[i];
            if (!in_detail(c) || gdn_verdict_is_red(c->verdict) != (pass == 0)) {
                continue;
            }
            if (shown == 0) {
                fputs("<h2>Cases that are no pass</h2>\n", out);
            }
            if (shown < DETAILED) {
                gdnp_html_case(out, c, i, shown < OPENED);
                shown++;
            } else {
                omitted++;
            }
        }
    }
    if (omitted > 0) {
        fprintf(out, "<p class=\"dim\">%zu more stand in the table of all cases.</p>\n",
                omitted);
    }
}

/* A pass with maps is the one nearest to its limit. */
static void put_nearest(FILE *out, const gdn_run_result *run) {
    for (size_t i = 0; i < run->n_cases; i++) {
        const gdn_case_result *c = &run->cases[i];
        if (c->verdict == GDN_PASS && c->n_maps > 0) {
            fputs("<h2>The pass nearest to its limit</h2>\n", out);
            gdnp_html_case(out, c, i, true);
            return;
        }
    }
}

static void put_row(FILE *out, const gdn_case_result *c, size_t index, bool detailed) {
    const gdn_tensor_result *t = gdn_case_worst(c);
    if (detailed) {
        fprintf(out, "<tr><td><a class=\"%s\" href=\"#c%zu\">%s</a></td><td class=\"id\">",
                gdn_verdict_is_red(c->verdict) ? "bad" : "", index,
                gdn_verdict_name(c->verdict));
    } else {
        fprintf(out, "<tr id=\"c%zu\"><td class=\"%s\">%s</td><td class=\"id\">", index,
                gdn_verdict_is_red(c->verdict) ? "bad" : "", gdn_verdict_name(c->verdict));
    }
    gdnp_html_id(out, c->id);
    fputs("</td><td class=\"num\">", out);
    if (t) {
        gdn_put_number(out, gdn_case_budget(c));
    }
    fputs("</td><td>", out);
    gdn_put_html(out, t ? t->worst : "", false);
    fprintf(out, "</td><td class=\"num\">%.3f</td></tr>\n", c->total_seconds);
}

static void mark_detailed(const gdn_run_result *run, bool *detailed) {
    size_t shown = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < run->n_cases; i++) {
            const gdn_case_result *c = &run->cases[i];
            const bool turn = in_detail(c) && gdn_verdict_is_red(c->verdict) == (pass == 0);
            if (turn && shown < DETAILED) {
                detailed[i] = true;
                shown++;
            }
        }
    }
    for (size_t i = 0; i < run->n_cases; i++) {
        const gdn_case_result *c = &run->cases[i];
        if (c->verdict == GDN_PASS && c->n_maps > 0) {
            detailed[i] = true;
            return;
        }
    }
}

static void put_all(FILE *out, const gdn_run_result *run) {
    bool *detailed = calloc(run->n_cases + 1, sizeof *detailed);
    if (!detailed) {
        return;
    }
    mark_detailed(run, detailed);
    fputs("<h2>All cases</h2>\n<div class=\"scroll\" role=\"region\" tabindex=\"0\" "
          "aria-label=\"all cases\"><table id=\"all\"><thead><tr><th>verdict</th>"
          "<th>case</th><th class=\"num\">budget</th><th>worst element</th>"
          "<th class=\"num\">seconds</th></tr></thead><tbody>\n",
          out);
    for (size_t i = 0; i < run->n_cases; i++) {
        put_row(out, &run->cases[i], i, detailed[i]);
    }
    fputs("</tbody></table></div>\n", out);
    free(detailed);
}

void gdn_report_html(const gdn_run_result *run, FILE *out) {
    char title[256];
    snprintf(title, sizeof title, "gdn-conform: %s", run->device);
    gdnp_html_start(out, title);
    put_head(out, run);
    fputs("<main id=\"main\">\n<h2>Kinds of cases</h2>\n", out);
    gdnp_html_matrix(out, run, true);
    fputs("<h2>Budget used</h2>\n", out);
    gdnp_html_histograms(out, run);
    put_problems(out, run);
    put_nearest(out, run);
    put_all(out, run);
    gdnp_html_end(out);
}
