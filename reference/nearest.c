/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "gdn/nearest.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Longer names are never typed by hand; they only match exactly. */
#define LONGEST 96

static size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

static bool same_letter(char a, char b) {
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Optimal string alignment distance; three rows of the table suffice because a swap looks
 * two rows back. */
static size_t edit_distance(const char *a, size_t n, const char *b, size_t m) {
    size_t rows[3][LONGEST + 1];
    for (size_t j = 0; j <= m; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= n; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3];
        const size_t *before = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            const size_t replaced =
                above[j - 1] + (same_letter(a[i - 1], b[j - 1]) ? 0 : 1);
            row[j] = min_size(replaced, min_size(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) &&
                same_letter(a[i - 2], b[j - 1])) {
                row[j] = min_size(row[j], before[j - 2] + 1);
            }
        }
    }
    return rows[n % 3][m];
}

const char *gdn_nearest(const char *name, const char *const *candidates) {
    const size_t n = strlen(name);
    const char *nearest = NULL;
    size_t least = 0;
    for (; *candidates; candidates++) {
        const size_t m = strlen(*candidates);
        if (n == 0 || n > LONGEST || m > LONGEST) {
            continue;
        }
        const size_t longer = n > m ? n : m;
        size_t distance = edit_distance(name, n, *candidates, m);
        if (n >= 2 && strncasecmp(name, *candidates, n) == 0) {
            distance = min_size(distance, 1); /* not finished rather than mistyped */
        }
        /* A third of the letters wrong is a slip of the fingers; more is another word. */
        if (distance <= (longer + 2) / 3 && distance < longer &&
            (!nearest || distance < least)) {
            nearest = *candidates;
            least = distance;
        }
    }
    return nearest;
}

void gdn_names_text(char *text, size_t size, const char *const *names) {
    static const char cut[] = ", ..";
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; names[i]; i++) {
        const int n = snprintf(NULL, 0, "%s%s", i > 0 ? ", " : "", names[i]);
        if (used + (size_t)n + sizeof cut > size) {
            snprintf(text + used, size - used, "%s", used > 0 ? cut : cut + 2);
            return;
        }
        used +=
            (size_t)snprintf(text + used, size - used, "%s%s", i > 0 ? ", " : "", names[i]);
    }
}

gdn_status gdn_error_unknown(gdn_error *err, gdn_status status, const char *what,
                             const char *name, const char *const *candidates) {
    char allowed[512];
    gdn_names_text(allowed, sizeof allowed, candidates);
    const char *nearest = gdn_nearest(name, candidates);
    return gdn_error_set(err, status, "%s: expected one of %s but found \"%.120s\"%s%s%s",
                         what, allowed[0] ? allowed : "(none)", name,
                         nearest ? " (did you mean \"" : "", nearest ? nearest : "",
                         nearest ? "\"?)" : "");
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool ends_with(const char *text, const char *end) {
    const size_t n = strlen(text);
    const size_t m = strlen(end);
    return n > m && strcmp(text + n - m, end) == 0;
}

static bool append_stem(gdn_names *names, const char *file) {
    char **items = realloc(names->items, (names->count + 2) * sizeof *items);
    if (!items) {
        return false;
    }
    names->items = items;
    items[names->count] = strndup(file, strlen(file) - strlen(".json"));
    items[names->count + 1] = NULL;
    return items[names->count++] != NULL;
}

gdn_status gdn_names_list(gdn_names *names, const char *dir, gdn_error *err) {
    *names = (gdn_names){.items = calloc(1, sizeof *names->items)};
    DIR *folder = opendir(dir);
    gdn_status status = GDN_OK;
    if (!folder) {
        status = gdn_error_set(err, GDN_ERR_IO, "%s: %s", dir, strerror(errno));
        goto cleanup;
    }
    bool stored = names->items != NULL;
    for (const struct dirent *entry = readdir(folder); stored && entry;
         entry = readdir(folder)) {
        if (entry->d_name[0] != '.' && ends_with(entry->d_name, ".json") &&
            !ends_with(entry->d_name, ".schema.json")) {
            stored = append_stem(names, entry->d_name);
        }
    }
    if (!stored) {
        status = gdn_error_set(err, GDN_ERR_OOM, "%s: no memory for its names", dir);
        goto cleanup;
    }
    qsort(names->items, names->count, sizeof *names->items, compare_names);
cleanup:
    if (folder) {
        closedir(folder);
    }
    if (status != GDN_OK) {
        gdn_names_destroy(names);
    }
    return status;
}

void gdn_names_destroy(gdn_names *names) {
    for (size_t i = 0; i < names->count; i++) {
        free(names->items[i]);
    }
    free(names->items);
    *names = (gdn_names){0};
}
