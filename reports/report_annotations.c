/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Workflow commands of GitHub Actions: a line an error, shown beside the change. In the
 * title ':' and ',' would end it, in both '%' starts an escape. */
#include <stdlib.h>
#include <string.h>

#include "forms.h"
#include "text.h"

static void put_escaped(FILE *out, const char *text, const char *special) {
    char *plain = NULL;
    size_t size = 0;
    FILE *line = open_memstream(&plain, &size);
    if (!line) {
        return;
    }
    gdn_put_plain(line, text);
    fclose(line);
    for (const char *c = plain; c && *c; c++) {
        if (strchr(special, *c)) {
            fprintf(out, "%%%02X", (unsigned)*c);
        } else {
            fputc(*c, out);
        }
    }
    free(plain);
}

void gdn_report_annotations(const gdn_run_result *run, FILE *out) {
    for (size_t i = 0; i < run->n_cases; i++) {
        const gdn_case_result *c = &run->cases[i];
        if (!gdn_verdict_is_red(c->verdict)) {
            continue;
        }
        fprintf(out, "::error title=%s on ", gdn_verdict_name(c->verdict));
        put_escaped(out, run->device, "%:,");
        fputs("::", out);
        put_escaped(out, c->id, "%");
        fputs(": ", out);
        put_escaped(out, c->message ? c->message : "", "%");
        fputc('\n', out);
    }
    if (run->complaint) {
        fputs("::error title=out of date::", out);
        put_escaped(out, run->complaint, "%");
        fputc('\n', out);
    }
}
