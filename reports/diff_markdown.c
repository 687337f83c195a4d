/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "diff.h"
#include "forms.h"
#include "limited.h"
#include "text.h"

static void code(FILE *out, const char *text) {
    fputs("<code>", out);
    gdn_put_markdown(out, text);
    fputs("</code>", out);
}

static void put_head(gdn_limited *md, const gdn_report_diff *diff) {
    FILE *out = gdn_limited_line(md);
    fprintf(out, "### %s ", diff->regressions > 0 ? "❌" : "✅");
    code(out, diff->now->device);
    if (diff->regressions > 0) {
        fprintf(out, ": %zu regressions", diff->regressions);
    } else {
        fputs(": no regression", out);
    }
    fprintf(out, "\n\n%zu cases in both reports, %zu comparable", diff->in_both,
            diff->comparable);
    for (int change = 0; change < GDN_CHANGE_COUNT; change++) {
        if (diff->tally[change] > 0) {
            fprintf(out, "; **%zu** %s", diff->tally[change],
                    gdn_change_title((gdn_change)change));
        }
    }
    fputs(".\n\n", out);
    gdn_limited_end(md);
    for (size_t i = 0; i < diff->n_facts; i++) {
        const gdn_diff_fact *fact = &diff->facts[i];
        out = gdn_limited_line(md);
        fputs("* changed: ", out);
        code(out, fact->what);
        fputs(" ", out);
        code(out, gdn_diff_side(fact->base));
        fputs(" → ", out);
        code(out, gdn_diff_side(fact->now));
        fputs("\n", out);
        gdn_limited_end(md);
    }
}

static void put_side(FILE *out, const gdn_case_result *c) {
    fputs(c ? gdn_verdict_name(c->verdict) : "–", out);
    if (c && c->n_tensors > 0) {
        fputs(" ", out);
        gdn_put_number(out, gdn_case_budget(c));
    }
    if (c && c->diagnosis.deviation) {
        fputs("<br>", out);
        code(out, c->diagnosis.deviation);
    }
}

static void put_entry(gdn_limited *md, const gdn_diff_entry *e) {
    FILE *out = gdn_limited_line(md);
    fprintf(out, "| %s%s%s | ", e->regression ? "**" : "", gdn_change_title(e->change),
            e->regression ? "**" : "");
    code(out, e->now ? e->now->id : e->base->id);
    fputs(" | ", out);
    put_side(out, e->base);
    fputs(" | ", out);
    put_side(out, e->now);
    fputs(" | ", out);
    if (e->change == GDN_CHANGE_RAISED) {
        code(out, e->now->ratchet.reason ? e->now->ratchet.reason : "no reason");
    } else if (e->now && e->now->message) {
        code(out, e->now->message);
    }
    fputs(" |\n", out);
    gdn_limited_end(md);
}

void gdn_diff_markdown(const gdn_report_diff *diff, FILE *out) {
    gdn_limited md;
    gdn_limited_start(&md, out, GDN_MARKDOWN_MOST);
    put_head(&md, diff);
    if (diff->n_entries > 0) {
        fputs("\n| change | case | base | new | why |\n|---|---|---|---|---|\n",
              gdn_limited_line(&md));
        gdn_limited_end(&md);
    }
    for (size_t i = 0; i < diff->n_entries; i++) {
        put_entry(&md, &diff->entries[i]);
    }
    gdn_limited_finish(&md);
}
