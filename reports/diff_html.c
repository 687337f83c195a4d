/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The page that a reviewer of a pull request opens: what changed, and base against new. */
#include <math.h>

#include "diff.h"
#include "html.h"
#include "text.h"

/* ---- scatter ---- */

#define SIZE    460.0
#define LEFT    44.0
#define TOP     10.0
#define LOWEST  (-4.0) /* decades; what lies beyond sits on the edge */
#define HIGHEST 4.0

static double along(double budget) {
    const double decade = budget > 0.0 ? log10(budget) : LOWEST;
    return (fmin(fmax(decade, LOWEST), HIGHEST) - LOWEST) / (HIGHEST - LOWEST);
}

static double x_of(double budget) {
    return LEFT + along(budget) * (SIZE - LEFT - 10.0);
}

static double y_of(double budget) {
    return TOP + (1.0 - along(budget)) * (SIZE - LEFT - 10.0);
}

static void put_line(FILE *out, const char *class, double x0, double y0, double x1,
                     double y1) {
    fprintf(out, "<path class=\"%s\" d=\"M%.1f %.1fL%.1f %.1f\"/>", class, x_of(x0),
            y_of(y0), x_of(x1), y_of(y1));
}

static void put_frame(FILE *out) {
    const double low = 1e-4, high = 1e4;
    put_line(out, "axis", low, low, low, high);
    put_line(out, "axis", low, low, high, low);
    put_line(out, "ident", low, low, high, high);
    put_line(out, "band", low, low * GDN_DRIFT, high / GDN_DRIFT, high);
    put_line(out, "band", low * GDN_DRIFT, low, high, high / GDN_DRIFT);
    put_line(out, "limit", low, 1.0, high, 1.0);
    put_line(out, "limit", 1.0, low, 1.0, high);
    static const struct {
        double budget;
        const char *name;
    } TICKS[] = {{1e-4, "1e-4"}, {1e-2, ".01"}, {1.0, "limit"}, {1e2, "100"}, {1e4, "1e4"}};
    for (size_t i = 0; i < sizeof TICKS / sizeof TICKS[0]; i++) {
        fprintf(
            out,
            "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>"
            "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>",
            x_of(TICKS[i].budget), y_of(1e-4) + 14.0, TICKS[i].name, LEFT - 5.0,
            y_of(TICKS[i].budget) + 4.0, TICKS[i].name);
    }
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">budget in base</text>",
            SIZE - 12.0, y_of(1e-4) - 6.0);
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\">budget in new</text>", LEFT + 6.0,
            TOP + 12.0);
}

/* Worse is a triangle upwards, better one downwards, the rest are dots. */
static void put_point(FILE *out, const gdn_case_result *base, const gdn_case_result *now) {
    const double before = gdn_case_budget(base), after = gdn_case_budget(now);
    if (before < 0.0 || after < 0.0) {
        return;
    }
    const double x = x_of(before), y = y_of(after);
    const bool counts = fmax(before, after) >= GDN_DRIFT_LEAST;
    if (counts && after > GDN_DRIFT * before) {
        fprintf(out, "<path class=\"up\" d=\"M%.1f %.1fl4 7h-8z\">", x, y - 4.0);
    } else if (counts && before > GDN_DRIFT * after) {
        fprintf(out, "<path class=\"down\" d=\"M%.1f %.1fl4-7h-8z\">", x, y + 4.0);
    } else {
        fprintf(out, "<circle class=\"dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\"/>\n", x, y);
        return;
    }
    fputs("<title>", out);
    gdn_put_html(out, now->id, false);
    fputs(": ", out);
    gdn_put_number(out, before);
    fputs(" → ", out);
    gdn_put_number(out, after);
    fputs("</title></path>\n", out);
}

void gdnp_html_scatter(FILE *out, const gdn_report_diff *diff) {
    fprintf(out,
            "<figure style=\"max-width:34rem\"><figcaption>Each case: budget used in base "
            "(across) and new (up). ▲ uses more than %.1f times as much, ▼ less; dashed: "
            "the limit; what lies beyond the edge sits on it.</figcaption>"
            "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"budget in base "
            "against budget in new\">\n",
            GDN_DRIFT, SIZE, SIZE - 14.0);
    put_frame(out);
    for (size_t i = 0; i < diff->comparable; i++) {
        put_point(out, diff->pairs[2 * i], diff->pairs[2 * i + 1]);
    }
    fputs("</svg></figure>\n", out);
}

/* ---- the page ---- */

static void put_head(FILE *out, const gdn_report_diff *diff) {
    const bool red = diff->regressions > 0;
    fputs("<header><h1>gdn-conform: ", out);
    gdn_put_html(out, diff->now->device, false);
    fprintf(out, ", base against new</h1>\n<p><span class=\"verdict %s\">%s ",
            red ? "bad" : "good", red ? "✕" : "✓");
    if (red) {
        fprintf(out, "%zu regression%s", diff->regressions,
                diff->regressions == 1 ? "" : "s");
    } else {
        fputs("no regression", out);
    }
    fprintf(out,
            "</span></p>\n<ul class=\"tiles\"><li><b>%zu</b><span>cases in both</span>"
            "</li><li><b>%zu</b><span>comparable</span></li>",
            diff->in_both, diff->comparable);
    for (int change = 0; change < GDN_CHANGE_COUNT; change++) {
        if (diff->tally[change] > 0) {
            fprintf(out, "<li><b>%zu</b><span>%s</span></li>", diff->tally[change],
                    gdn_change_title((gdn_change)change));
        }
    }
    fputs("</ul>\n", out);
    if (diff->n_facts > 0) {
        fputs("<h2>What else changed</h2>\n<dl class=\"facts\">", out);
        for (size_t i = 0; i < diff->n_facts; i++) {
            const gdn_diff_fact *fact = &diff->facts[i];
            fputs("<dt>", out);
            gdn_put_html(out, fact->what, false);
            fputs("</dt><dd>", out);
            gdn_put_html(out, gdn_diff_side(fact->base), false);
            fputs(" → ", out);
            gdn_put_html(out, gdn_diff_side(fact->now), false);
            fputs("</dd>", out);
        }
        fputs("</dl>\n", out);
    }
    fputs("</header>\n", out);
}

static void put_side(FILE *out, const gdn_case_result *c) {
    fputs("<td>", out);
    if (c) {
        fprintf(out, "<span class=\"%s\">%s</span>",
                gdn_verdict_is_red(c->verdict) ? "bad" : "", gdn_verdict_name(c->verdict));
        if (c->n_tensors > 0) {
            fputs("<br>", out);
            gdn_put_number(out, gdn_case_budget(c));
        }
        if (c->diagnosis.deviation) {
            fputs("<br><code>", out);
            gdn_put_html(out, c->diagnosis.deviation, false);
            fputs("</code>", out);
        }
    } else {
        fputs("–", out);
    }
    fputs("</td>", out);
}

static void put_entry(FILE *out, const gdn_diff_entry *e) {
    fprintf(out, "<tr><td class=\"%s\">%s%s</td><td class=\"id\">",
            e->regression ? "bad" : "", e->regression ? "✕ " : "",
            gdn_change_title(e->change));
    gdnp_html_id(out, e->now ? e->now->id : e->base->id);
    fputs("</td>", out);
    put_side(out, e->base);
    put_side(out, e->now);
    fputs("<td>", out);
    if (e->change == GDN_CHANGE_RAISED) {
        gdn_put_html(out, e->now->ratchet.reason ? e->now->ratchet.reason : "no reason",
                     false);
    } else if (e->factor != 0.0) {
        fprintf(out, "%.3g times", e->factor);
    } else if (e->now && e->now->message) {
        gdn_put_html(out, e->now->message, false);
    }
    fputs("</td></tr>\n", out);
}

/* Maps of the cases that are wrong now and were not before: at most as many as a person
 * looks at. */
static void put_pictures(FILE *out, const gdn_report_diff *diff) {
    const size_t most = 8;
    size_t shown = 0;
    for (size_t i = 0; i < diff->n_entries && shown < most; i++) {
        const gdn_diff_entry *e = &diff->entries[i];
        if (e->change == GDN_CHANGE_NEW_FAILURE) {
            if (shown == 0) {
                fputs("<h2>New failures</h2>\n", out);
            }
            gdnp_html_case(out, e->now, (size_t)(e->now - diff->now->cases), shown < 2);
            shown++;
        }
    }
    if (diff->tally[GDN_CHANGE_NEW_FAILURE] > shown) {
        fprintf(out, "<p class=\"dim\">%zu more stand in the table.</p>\n",
                diff->tally[GDN_CHANGE_NEW_FAILURE] - shown);
    }
}

void gdn_diff_html(const gdn_report_diff *diff, FILE *out) {
    char title[256];
    snprintf(title, sizeof title, "gdn-conform: %s, base against new", diff->now->device);
    gdnp_html_start(out, title);
    put_head(out, diff);
    fputs("<main id=\"main\">\n<h2>Base against new</h2>\n", out);
    gdnp_html_scatter(out, diff);
    if (diff->n_entries > 0) {
        fputs(
            "<h2>Cases that changed</h2>\n<div class=\"scroll\" role=\"region\" "
            "tabindex=\"0\" aria-label=\"cases that changed\"><table><thead><tr>"
            "<th>change</th><th>case</th><th>base</th><th>new</th><th>why</th></tr></thead>"
            "<tbody>\n",
            out);
        for (size_t i = 0; i < diff->n_entries; i++) {
            put_entry(out, &diff->entries[i]);
        }
        fputs("</tbody></table></div>\n", out);
    }
    put_pictures(out, diff);
    fputs("<h2>Kinds of cases, new</h2>\n", out);
    gdnp_html_matrix(out, diff->now, false);
    fputs("<h2>Budget used, new</h2>\n", out);
    gdnp_html_histograms(out, diff->now);
    gdnp_html_end(out);
}
