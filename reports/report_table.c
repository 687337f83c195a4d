/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What stands on the terminal when a run is over: a row an op with its verdicts and how
 * near to the limits it came. */
#include <math.h>
#include <string.h>

#include "result.h"
#include "text.h"

typedef struct op_row {
    size_t cases, bad, declined;
    double budget;
    const char *worst; /* id */
} op_row;

static void count_case(op_row *row, const gdn_case_result *result) {
    row->cases++;
    row->declined += result->verdict == GDN_UNSUPPORTED || result->verdict == GDN_SKIP;
    row->bad += result->verdict == GDN_FAIL || result->verdict == GDN_XPASS ||
                result->verdict == GDN_CRASH || result->verdict == GDN_HANG;
    for (size_t i = 0; i < result->n_tensors; i++) {
        if (!row->worst || result->tensors[i].budget > row->budget) {
            row->budget = result->tensors[i].budget;
            row->worst = result->id;
        }
    }
}

static void print_numerics(const gdn_run_result *run, FILE *out) {
    for (size_t i = 0; i < run->n_numerics; i++) {
        const gdn_numeric_finding *f = &run->numerics[i];
        fprintf(out, "numerics %-4s %-16s %-22s ",
                !f->measured ? "-"
                : f->ok      ? "ok"
                             : "BAD",
                f->profile, f->quantity);
        gdn_put_plain(out, f->text);
        fputc('\n', out);
    }
}

/* Promises to the bit, where some case has a word on them. */
static void print_claims(const gdn_run_result *run, FILE *out) {
    for (int axis = 0; axis < GDN_AXIS_COUNT; axis++) {
        const gdn_claim_sum sum = gdn_run_claim(run, (gdn_claim_axis)axis);
        if (sum.cases > 0) {
            fprintf(out, "claim %-18s %-11s bits differ in %zu of %zu cases\n",
                    GDN_AXIS_NAMES[axis], gdn_claim_outcome(&sum), sum.differ, sum.cases);
        }
    }
}

void gdn_report_table(const gdn_run_result *run, FILE *out) {
    fprintf(out, "%-18s %6s %6s %6s  %-10s %s\n", "op", "cases", "bad", "not run",
            "max budget", "in case");
    for (int op = 0; op < GDN_OP_COUNT; op++) {
        const char *name = gdn_op_get((gdn_op)op)->name;
        const size_t length = strlen(name);
        op_row row = {0};
        for (size_t i = 0; i < run->n_cases; i++) {
            if (strncmp(run->cases[i].id, name, length) == 0 &&
                run->cases[i].id[length] == '/') {
                count_case(&row, &run->cases[i]);
            }
        }
        if (row.cases > 0) {
            fprintf(out, "%-18s %6zu %6zu %7zu  %-10.3g ", name, row.cases, row.bad,
                    row.declined, row.budget);
            gdn_put_plain(out, row.worst ? row.worst + length + 1 : "-");
            fputc('\n', out);
        }
    }
    size_t returned = 0;
    for (size_t i = 0; i < run->n_cases; i++) {
        returned += run->cases[i].returned != NULL;
    }
    if (returned > 0) {
        fprintf(out,
                "in %zu cases the op returned tensors of its own: writes beside those "
                "were not looked for\n",
                returned);
    }
    print_claims(run, out);
    print_numerics(run, out);
    size_t tally[GDN_VERDICT_COUNT];
    gdn_run_tally(run, tally);
    fprintf(out, "planned %zu =", run->planned);
    const char *separator = "";
    for (int v = 0; v < GDN_VERDICT_COUNT; v++) {
        if (tally[v] > 0 || v == GDN_PASS) {
            fprintf(out, "%s %zu %s", separator, tally[v],
                    gdn_verdict_name((gdn_verdict)v));
            separator = " +";
        }
    }
    const char *why = NULL;
    const int code = gdn_run_exit_code(run, &why);
    if (run->allowed_seconds > 0.0) {
        fprintf(out,
                "\ntook %.1f s of the %.0f s that its suites may take on the cpu device",
                run->seconds, run->allowed_seconds);
    }
    fputc('\n', out);
    gdn_put_plain(out, run->device);
    fprintf(out, ": %s (exit %d)\n", why, code);
}
