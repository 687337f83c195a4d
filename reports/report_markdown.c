/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <stdlib.h>
#include <string.h>

#include "forms.h"
#include "limited.h"
#include "text.h"

static void put_head(gdn_limited *md, const gdn_run_result *run) {
    size_t tally[GDN_VERDICT_COUNT];
    gdn_run_tally(run, tally);
    const char *why = NULL;
    const int code = gdn_run_exit_code(run, &why);
    FILE *out = gdn_limited_line(md);
    fprintf(out, "### %s <code>", code == 0 ? "✅" : "❌");
    gdn_put_markdown(out, run->device);
    fprintf(out, "</code>: %s\n\n%zu cases of <code>", why, run->planned);
    gdn_put_markdown(out, run->suites);
    fputs("</code> =", out);
    const char *separator = " ";
    for (int v = 0; v < GDN_VERDICT_COUNT; v++) {
        if (tally[v] > 0) {
            fprintf(out, "%s%zu %s", separator, tally[v], gdn_verdict_name((gdn_verdict)v));
            separator = " + ";
        }
    }
    const gdn_case_result *worst = NULL;
    for (size_t i = 0; i < run->n_cases; i++) {
        if (!worst || gdn_case_budget(&run->cases[i]) > gdn_case_budget(worst)) {
            worst = &run->cases[i];
        }
    }
    if (worst && worst->n_tensors > 0) {
        fputs("; nearest to its limit, or furthest beyond: **", out);
        gdn_put_number(out, gdn_case_budget(worst));
        fputs("** of the budget in <code>", out);
        gdn_put_markdown(out, worst->id);
        fputs("</code>", out);
    }
    if (run->complaint) {
        fputs("\n\nOut of date: <code>", out);
        gdn_put_markdown(out, run->complaint);
        fputs("</code>", out);
    }
    fputs("\n", out);
    gdn_limited_end(md);
}

static void put_row(gdn_limited *md, const gdn_case_result *c) {
    FILE *out = gdn_limited_line(md);
    fprintf(out, "| %s | <code>", gdn_verdict_name(c->verdict));
    gdn_put_markdown(out, c->id);
    fputs("</code> | ", out);
    if (c->n_tensors > 0) {
        gdn_put_number(out, gdn_case_budget(c));
    }
    fputs(" | <code>", out);
    gdn_put_markdown(out, c->message ? c->message : "");
    fputs("</code>", out);
    if (c->diagnosis.verdict) {
        fprintf(out, "<br>");
        gdn_put_markdown(out, c->diagnosis.verdict);
        fputs(": <code>", out);
        gdn_put_markdown(out, c->diagnosis.text ? c->diagnosis.text : "");
        fputs("</code>", out);
    }
    fputs(" |\n", out);
    gdn_limited_end(md);
}

void gdn_report_markdown(const gdn_run_result *run, FILE *out) {
    gdn_limited md;
    gdn_limited_start(&md, out, GDN_MARKDOWN_MOST);
    put_head(&md, run);
    bool started = false;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < run->n_cases; i++) {
            const gdn_case_result *c = &run->cases[i];
            if (c->verdict == GDN_PASS || gdn_verdict_is_red(c->verdict) != (pass == 0)) {
                continue;
            }
            if (!started) {
                fputs("\n| verdict | case | budget | why |\n|---|---|---|---|\n",
                      gdn_limited_line(&md));
                gdn_limited_end(&md);
                started = true;
            }
            put_row(&md, c);
        }
    }
    gdn_limited_finish(&md);
}
