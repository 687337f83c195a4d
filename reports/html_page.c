/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <math.h>
#include <string.h>

#include "html.h"
#include "text.h"

extern const char gdnp_report_css[];

int gdnp_level(double budget) {
    static const double EDGES[] = {0.01, 0.1, 0.3, 0.7};
    if (!(budget >= 0.0)) {
        return GDN_LEVEL_NONE;
    }
    if (budget == 0.0) {
        return 0;
    }
    for (int i = 0; i < 4; i++) {
        if (budget < EDGES[i]) {
            return i + 1;
        }
    }
    return budget <= 1.0      ? 5
           : budget < 10.0    ? 6
           : budget < 1000.0  ? 7
           : isfinite(budget) ? 8
                              : 9;
}

const char *gdnp_level_class(int level) {
    static const char *const CLASSES[] = {"n",  "b0", "b1", "b2", "b3", "b4",
                                          "b5", "b6", "b7", "b8", "b9"};
    return CLASSES[level + 1];
}

void gdnp_html_start(FILE *out, const char *title) {
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
          "img-src data:; style-src 'unsafe-inline'\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
          "<link rel=\"icon\" href=\"data:,\">\n<title>",
          out);
    gdn_put_html(out, title, false);
    fputs("</title>\n<style>\n", out);
    fputs(gdnp_report_css, out);
    fputs(
        "</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#main\">to the results</a>\n",
        out);
}

void gdnp_html_end(FILE *out) {
    fputs("</main>\n<footer>gdn-conform " GDN_VERSION
          ". Budget is error / limit: 1 is the edge of what a correct kernel can "
          "do.</footer>\n"
          "</body>\n</html>\n",
          out);
}

void gdnp_html_id(FILE *out, const char *id) {
    fputs("<code>", out);
    for (const char *part = id; *part;) {
        char text[256];
        const size_t length = strcspn(part, "/") + (strchr(part, '/') != NULL);
        const size_t taken = length < sizeof text ? length : sizeof text - 1;
        memcpy(text, part, taken);
        text[taken] = '\0';
        gdn_put_html(out, text, false);
        fputs("<wbr>", out);
        part += taken;
    }
    fputs("</code>", out);
}

void gdnp_html_legend(FILE *out) {
    static const char *const NAMES[] = {
        "nothing compared", "0",         "&lt; 0.01",       "&lt; 0.1",
        "&lt; 0.3",         "&lt; 0.7",  "&le; 1",          "&lt; 10",
        "&lt; 1000",        "&ge; 1000", "no limit applies"};
    fputs("<ul class=\"legend\" aria-label=\"colours of budgets\">", out);
    for (int level = GDN_LEVEL_NONE; level < GDN_LEVELS; level++) {
        fprintf(out,
                "<li><svg viewBox=\"0 0 14 14\" aria-hidden=\"true\"><rect width=\"14\" "
                "height=\"14\" class=\"%s\"/>",
                gdnp_level_class(level));
        if (level >= GDN_LEVEL_OVER) {
            fputs("<path class=\"x\" d=\"M3 3l8 8m0-8l-8 8\"/>", out);
        }
        fprintf(out, "</svg>%s</li>", NAMES[level + 1]);
    }
    fputs("</ul>\n", out);
}

static void put_fact(FILE *out, const char *name, const char *value) {
    if (value && *value) {
        fprintf(out, "<dt>%s</dt><dd>", name);
        gdn_put_html(out, value, false);
        fputs("</dd>", out);
    }
}

void gdnp_html_facts(FILE *out, const gdn_run_result *run) {
    fputs("<dl class=\"facts\">", out);
    put_fact(out, "device", run->device);
    put_fact(out, "hardware", run->hardware);
    put_fact(out, "driver", run->driver);
    put_fact(out, "build", run->build);
    put_fact(out, "suites", run->suites);
    put_fact(out, "vectors",
             run->vectors_digest ? run->vectors_digest
                                 : "computed: no vector file was used");
    for (size_t i = 0; i < run->n_profiles; i++) {
        fputs("<dt>profile</dt><dd>", out);
        gdn_put_html(out, run->profiles[i].name, false);
        fprintf(out, " <span class=\"dim\">%.12s</span></dd>", run->profiles[i].digest);
    }
    if (run->seconds > 0.0) {
        fprintf(out, "<dt>time</dt><dd>%.1f s", run->seconds);
        if (run->allowed_seconds > 0.0) {
            fprintf(out, " of %.0f s that its suites may take", run->allowed_seconds);
        }
        fputs("</dd>", out);
    }
    put_fact(out, "out of date", run->complaint);
    put_fact(out, "lost", run->lost_reason);
    put_fact(out, "harness", run->harness_error);
    fputs("</dl>\n", out);
}

static void put_number_cell(FILE *out, double x) {
    fputs("<td class=\"num\">", out);
    gdn_put_number(out, x);
    fputs("</td>", out);
}

/* Whose budget it is; of a head, with its figures: `worst` is about elements. */
static void put_binding(FILE *out, const gdn_tensor_result *t) {
    const bool head = t->pool.head >= 0 && t->binding == t->pool.kind;
    fprintf(out, "<td>%s", gdn_limit_kind_name(t->binding));
    if (head) {
        fprintf(out, ", head %lld: ", (long long)t->pool.head);
        gdn_put_number(out, t->pool.found);
        fputs(" of ", out);
        gdn_put_number(out, t->pool.limit);
    }
    fputs("</td>", out);
}

static void put_tensors(FILE *out, const gdn_case_result *c) {
    fputs("<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"tensors\">"
          "<table><tr><th>tensor</th><th>type</th><th class=\"num\">beyond</th>"
          "<th class=\"num\">budget</th><th>of limit</th><th>worst</th>"
          "<th class=\"num\">found</th>"
          "<th class=\"num\">expected</th><th class=\"num\">limit</th>"
          "<th class=\"num\">rel. L2</th><th>first bad</th><th>upstream says</th></tr>",
          out);
    for (size_t i = 0; i < c->n_tensors; i++) {
        const gdn_tensor_result *t = &c->tensors[i];
        fputs("<tr><td>", out);
        gdn_put_html(out, t->name, false);
        fprintf(out, "</td><td>%s</td><td class=\"num\">%lld of %lld</td>",
                gdn_dtype_name(t->dtype), (long long)t->failed, (long long)t->compared);
        put_number_cell(out, t->budget);
        put_binding(out, t);
        fputs("<td>", out);
        gdn_put_html(out, t->worst, false);
        fputs("</td>", out);
        put_number_cell(out, t->found);
        put_number_cell(out, t->golden);
        put_number_cell(out, t->limit);
        put_number_cell(out, t->rel_l2);
        fputs("<td>", out);
        gdn_put_html(out, t->first_bad, false);
        fprintf(out, "</td><td>%s</td></tr>\n", t->upstream_ok ? "right" : "wrong");
    }
    fputs("</table></div>\n", out);
}

void gdnp_html_case(FILE *out, const gdn_case_result *c, size_t index, bool open) {
    fprintf(out, "<details id=\"c%zu\"%s><summary><span class=\"tag %s\">%s</span>", index,
            open ? " open" : "", gdn_verdict_is_red(c->verdict) ? "bad" : "dim",
            gdn_verdict_name(c->verdict));
    gdnp_html_id(out, c->id);
    if (c->message) {
        fputs("<span class=\"why\">", out);
        gdn_put_html(out, c->message, false);
        fputs("</span>", out);
    }
    fputs("</summary>\n", out);
    if (c->diagnosis.verdict) {
        fputs("<p class=\"diagnosis\"><b>", out);
        gdn_put_html(out, c->diagnosis.verdict, false);
        if (c->diagnosis.deviation) {
            fputs(" <code>", out);
            gdn_put_html(out, c->diagnosis.deviation, false);
            fputs("</code>", out);
        }
        fputs("</b>: ", out);
        gdn_put_html(out, c->diagnosis.text ? c->diagnosis.text : "", false);
        fputs("</p>\n", out);
    }
    if (c->known) {
        fputs("<p>known failure: ", out);
        gdn_put_html(out, c->known, false);
        fputs("</p>\n", out);
    }
    if (c->replay) {
        fputs("<pre>", out);
        gdn_put_html(out, c->replay, true);
        fputs("</pre>\n", out);
    }
    if (c->stray_bytes > 0) {
        fprintf(out, "<p>%lld stray bytes, the first at ", (long long)c->stray_bytes);
        gdn_put_html(out, c->stray_first, false);
        fputs("</p>\n", out);
    }
    if (c->n_tensors > 0) {
        put_tensors(out, c);
    }
    if (c->n_maps > 0) {
        fputs("<h3>Where the limit is used</h3><div class=\"figures\">\n", out);
        for (size_t i = 0; i < c->n_maps; i++) {
            gdnp_html_map(out, &c->maps[i]);
        }
        fputs("</div>\n", out);
    }
    if (c->output) {
        fputs("<h3>The worker printed</h3><pre>", out);
        gdn_put_html(out, c->output, true);
        fputs("</pre>\n", out);
    }
    fputs("</details>\n", out);
}
