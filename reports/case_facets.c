/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "case_facets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t EDGES[GDN_LENGTH_GROUPS - 1] = {1, 8, 64, 256, 1024};

int gdn_length_group(int64_t longest) {
    int group = 0;
    while (group < GDN_LENGTH_GROUPS - 1 && longest > EDGES[group]) {
        group++;
    }
    return group;
}

const char *gdn_length_group_name(int group) {
    static const char *const NAMES[GDN_LENGTH_GROUPS] = {"1",      "2-8",      "9-64",
                                                         "65-256", "257-1024", "1025-"};
    return NAMES[group];
}

static const char *copy_part(char *text, size_t size, const char *from, char end) {
    const char *stop = strchr(from, end);
    const size_t length = stop ? (size_t)(stop - from) : strlen(from);
    snprintf(text, size, "%.*s", length < size ? (int)length : (int)size - 1, from);
    return stop ? stop + 1 : from + length;
}

/* The number behind the last 'x' of a term; decodes have one token. */
static int64_t term_length(const char *term) {
    if (strncmp(term, "dec", 3) == 0) {
        return 1;
    }
    const char *x = strchr(term, 'x');
    const long long length = x ? strtoll(x + 1, NULL, 10) : 0;
    return length > 0 ? length : 0;
}

void gdn_case_facets_read(gdn_case_facets *facets, const char *id) {
    *facets = (gdn_case_facets){0};
    id = copy_part(facets->op, sizeof facets->op, id, '/');
    id = copy_part(facets->profile, sizeof facets->profile, id, '/');
    id = copy_part(facets->model, sizeof facets->model, id, '/');
    char batch[sizeof facets->mix + sizeof facets->batch];
    id = copy_part(batch, sizeof batch, id, '/');
    const char *rest = copy_part(facets->mix, sizeof facets->mix, batch, '-');
    copy_part(facets->batch, sizeof facets->batch, rest, '/');
    id = copy_part(facets->types, sizeof facets->types, id, '/');
    copy_part(facets->flags, sizeof facets->flags, id, '/');
    if (strncmp(facets->flags, "int", 3) == 0 || strncmp(facets->flags, "sep", 3) == 0) {
        const char end = facets->flags[3];
        if (end == '-' || end == '\0') {
            memcpy(facets->layout, facets->flags, 3);
        }
    }
    for (const char *term = facets->batch; *term;) {
        const int64_t length = term_length(term);
        facets->longest = length > facets->longest ? length : facets->longest;
        const char *plus = strchr(term, '+');
        term = plus ? plus + 1 : "";
    }
}
