/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "bench_print.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct spread {
    double lowest, median, highest;
} spread;

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

static spread spread_of(const double *values, int count) {
    double sorted[BENCH_ROUNDS];
    memcpy(sorted, values, (size_t)count * sizeof *values);
    qsort(sorted, (size_t)count, sizeof *sorted, compare);
    const double middle = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2.0;
    return (spread){sorted[0], middle, sorted[count - 1]};
}

/* Round by round, for both saw the same disturbances. */
static spread ratio_of(const double *a, const double *b, int count) {
    double ratios[BENCH_ROUNDS];
    for (int i = 0; i < count; i++) {
        ratios[i] = a[i] / b[i];
    }
    return spread_of(ratios, count);
}

/* What Linux on x86 says; elsewhere the lines are missing. */
static void print_cpu(void) {
    static const char *const KEYS[] = {"model name", "cpu family", "model\t"};
    static const char *const LABELS[] = {"", ", family ", ", model "};
    char found[3][128] = {"unknown CPU", "?", "?"};
    char line[512];
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof line, file) && line[0] != '\n') {
        char *colon = strchr(line, ':');
        for (int i = 0; colon && i < 3; i++) {
            if (strncmp(line, KEYS[i], strlen(KEYS[i])) == 0) {
                snprintf(found[i], sizeof found[i], "%.*s", (int)strcspn(colon + 2, "\n"),
                         colon + 2);
            }
        }
    }
    if (file) {
        fclose(file);
    }
    for (int i = 0; i < 3; i++) {
        printf("%s%s", LABELS[i], found[i]);
    }
}

static void print_cell(const double *values, int count, bool used) {
    const spread s = spread_of(values, count);
    if (!used) {
        printf(" |");
    } else if (s.median >= 10.0) {
        printf(" %.1f (%.1f-%.1f) |", s.median, s.lowest, s.highest);
    } else {
        printf(" %.3f (%.3f-%.3f) |", s.median, s.lowest, s.highest);
    }
}

static void print_row(const bench_row *row, int threads, int rounds) {
    printf("| %s | %s | %s |", row->name, row->detail, row->unit);
    print_cell(row->rate, rounds, true);
    print_cell(row->share, rounds, row->peak != NULL);
    if (threads > 1) {
        /* The least disturbed rounds: two busy threads find less room than one. */
        const double all = spread_of(row->wall[1], rounds).highest;
        printf(all >= 10.0 ? " %.1f | %.2f |" : " %.3f | %.2f |", all,
               all / spread_of(row->wall[0], rounds).highest);
    }
    printf("\n");
}

static const bench_row *find(const bench_row *rows, int n, const char *name,
                             const char *detail) {
    for (int i = 0; i < n; i++) {
        if (strcmp(rows[i].name, name) == 0 &&
            (!detail || strcmp(rows[i].detail, detail) == 0)) {
            return &rows[i];
        }
    }
    return NULL;
}

/* A peak of one or two fma a cycle was not halved by the compiler, whatever the clock. */
static void print_sanity(const bench_row *rows, int n, int rounds) {
    const bench_row *clock = find(rows, n, "clock", NULL);
    for (int i = 0; i < n; i++) {
        const bench_peak *peak = bench_peak_get(rows[i].detail);
        if (strcmp(rows[i].name, "fma peak") == 0 && peak) {
            const spread flops = ratio_of(rows[i].rate, clock->rate, rounds);
            printf("fma a cycle, %s: %.2f of %d lanes\n", rows[i].detail,
                   flops.median / 2.0 / peak->width, peak->width);
        }
    }
}

void bench_print(const bench_row *rows, int n, int threads, int rounds) {
    print_cpu();
    printf("; %d thread%s; median (lowest-highest) of %d rounds.\n", threads,
           threads == 1 ? "" : "s", rounds);
    printf(
        "An fma is 2 flops, a sum or a product 1; absolute values, and what is done once "
        "a token, 0.\n\n");
    printf("| what | | unit | one thread | of the peak |%s\n",
           threads > 1 ? " all threads, best | all/one, best |" : "");
    printf("|---|---|---|---|---|%s\n", threads > 1 ? "---|---|" : "");
    for (int i = 0; i < n; i++) {
        print_row(&rows[i], threads, rounds);
    }
    printf("\n");
    print_sanity(rows, n, rounds);
    const bench_row *plain = find(rows, n, "op causal_conv1d", "plain");
    const bench_row *silu = find(rows, n, "op causal_conv1d", "SiLU");
    printf("conv with SiLU: %.2f of the plain conv's rate\n",
           ratio_of(silu->rate, plain->rate, rounds).median);
}
