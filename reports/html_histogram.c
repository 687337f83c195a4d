/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Budgets of each numeric class and pair of types: three bars a decade, the limit between
 * two of them. */
#include <math.h>
#include <string.h>

#include "case_facets.h"
#include "html.h"
#include "text.h"

#define DECADES_BELOW 3
#define DECADES_ABOVE 3
#define BARS          (3 * (DECADES_BELOW + DECADES_ABOVE) + 2)
#define MOST_CLASSES  24

typedef struct histogram {
    char name[64];
    size_t bars[BARS];
    size_t cases;
    double most;
} histogram;

/* 0: below all decades, BARS-1: above. The limit itself belongs to the bar below it. */
static int bar_of(double budget) {
    if (!(budget > pow(10.0, -DECADES_BELOW))) {
        return 0;
    }
    if (budget > pow(10.0, DECADES_ABOVE)) {
        return BARS - 1;
    }
    const double at = 3.0 * (log10(budget) + DECADES_BELOW);
    int bar = (int)ceil(at - 1e-9);
    const int limit = 3 * DECADES_BELOW;
    if (budget <= 1.0 && bar > limit) {
        bar = limit;
    }
    if (budget > 1.0 && bar <= limit) {
        bar = limit + 1;
    }
    return bar;
}

static histogram *find_class(histogram *all, size_t *count, const char *name) {
    for (size_t i = 0; i < *count; i++) {
        if (strcmp(all[i].name, name) == 0) {
            return &all[i];
        }
    }
    if (*count == MOST_CLASSES) {
        return NULL;
    }
    histogram *h = &all[(*count)++];
    *h = (histogram){.most = -1.0};
    snprintf(h->name, sizeof h->name, "%s", name);
    return h;
}

#define WIDTH  320.0
#define HEIGHT 130.0
#define LEFT   6.0
#define BASE   104.0

static void put_bars(FILE *out, const histogram *h) {
    size_t most = 1;
    for (int i = 0; i < BARS; i++) {
        most = h->bars[i] > most ? h->bars[i] : most;
    }
    const double step = (WIDTH - 2 * LEFT) / BARS;
    bool told = false;
    for (int i = 0; i < BARS; i++) {
        if (h->bars[i] == 0) {
            continue;
        }
        const double height = 4.0 + 82.0 * (double)h->bars[i] / (double)most;
        const double x = LEFT + i * step;
        const bool over = i > 3 * DECADES_BELOW;
        fprintf(out,
                "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>",
                over ? "b7" : "b4", x + 0.8, BASE - height, step - 1.6, height);
        if (over) {
            fprintf(
                out, "<path class=\"x\" d=\"M%.1f %.1fl%.1f %.1fm0 -%.1fl-%.1f %.1f\"/>",
                x + 3, BASE - height + 1, step - 6, step - 6, step - 6, step - 6, step - 6);
        }
        /* Numbers of three digits are wider than a bar: of those the largest has one. */
        if (over || h->bars[i] < 100 || (h->bars[i] == most && !told)) {
            fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%zu</text>",
                    x + step / 2, BASE - height - 3, h->bars[i]);
            told = told || h->bars[i] == most;
        }
    }
    const double limit = LEFT + (3 * DECADES_BELOW + 1) * step;
    fprintf(out, "<path class=\"axis\" d=\"M%.1f %.1fH%.1f\"/>", LEFT, BASE, WIDTH - LEFT);
    fprintf(out, "<path class=\"limit\" d=\"M%.1f 8V%.1f\"/>", limit, BASE + 4);
    for (int d = -DECADES_BELOW; d <= DECADES_ABOVE; d++) {
        const double x = LEFT + (3 * (d + DECADES_BELOW) + 1) * step;
        static const char *const NAMES[] = {".001", ".01", ".1",  "limit",
                                            "10",   "100", "1000"};
        fprintf(out,
                "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s"
                "</text>",
                x, BASE + 16, NAMES[d + DECADES_BELOW]);
    }
}

/* "bf16_mma, bf16+fp32": arithmetic, activations, states. */
static void name_class(char *name, size_t size, const gdn_case_result *c) {
    gdn_case_facets facets;
    gdn_case_facets_read(&facets, c->id);
    snprintf(name, size, "%s%s%s", c->numeric_class, c->numeric_class[0] ? ", " : "",
             facets.types[0] ? facets.types : "other");
}

void gdnp_html_histograms(FILE *out, const gdn_run_result *run) {
    histogram all[MOST_CLASSES];
    size_t count = 0;
    for (size_t i = 0; i < run->n_cases; i++) {
        const double budget = gdn_case_budget(&run->cases[i]);
        char name[64];
        name_class(name, sizeof name, &run->cases[i]);
        histogram *h = budget < 0.0 ? NULL : find_class(all, &count, name);
        if (h) {
            h->bars[bar_of(budget)]++;
            h->cases++;
            h->most = fmax(h->most, budget);
        }
    }
    fputs("<div class=\"figures\">\n", out);
    for (size_t i = 0; i < count; i++) {
        const histogram *h = &all[i];
        fputs("<figure><figcaption><b>", out);
        gdn_put_html(out, h->name, false);
        fprintf(out, "</b>: %zu cases, at most ", h->cases);
        gdn_put_number(out, h->most);
        fputs(" of the budget</figcaption>", out);
        fprintf(out,
                "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"cases by budget "
                "used\">",
                WIDTH, HEIGHT);
        put_bars(out, h);
        fputs("</svg></figure>\n", out);
    }
    fputs("</div>\n", out);
}
