/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "limited.h"

#include <stdlib.h>

/* Longest form of the line that counts what is missing. */
#define LAST_LINE 200

void gdn_limited_start(gdn_limited *limited, FILE *out, size_t most) {
    *limited = (gdn_limited){.out = out, .left = most - LAST_LINE};
}

FILE *gdn_limited_line(gdn_limited *limited) {
    limited->draft = open_memstream(&limited->line, &limited->length);
    return limited->draft ? limited->draft : limited->out;
}

void gdn_limited_end(gdn_limited *limited) {
    if (!limited->draft) {
        return;
    }
    fclose(limited->draft);
    limited->draft = NULL;
    if (limited->omitted == 0 && limited->length <= limited->left) {
        fwrite(limited->line, 1, limited->length, limited->out);
        limited->left -= limited->length;
    } else {
        limited->omitted++;
    }
    free(limited->line);
    limited->line = NULL;
}

void gdn_limited_finish(gdn_limited *limited) {
    if (limited->omitted > 0) {
        fprintf(
            limited->out,
            "\n_%zu more lines did not fit into a comment; the HTML and JSON forms have "
            "them._\n",
            limited->omitted);
    }
}
