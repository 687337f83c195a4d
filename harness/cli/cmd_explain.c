/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <math.h>
#include <stdlib.h>

#include "cli.h"
#include "explain.h"
#include "judge.h"
#include "plan_cases.h"

enum { KEY_FOUND = 256 };

static const struct argp_option OPTIONS[] = {
    {"suite", 's', "SUITE", 0, "Suite that has the case, repeatable (default ci)", 0},
    {"found", KEY_FOUND, "VALUE", 0, "What a device wrote there: shows the budget", 0},
    {0},
};

typedef struct arguments {
    const char *suites[GDN_CLI_MAX_SUITES];
    const char *test, *element;
    bool has_found;
    double found;
} arguments;

static error_t parse(int key, char *arg, struct argp_state *state) {
    arguments *a = state->input;
    char *end = NULL;
    switch (key) {
    case 's':
        gdn_cli_add_suites(state, a->suites, arg);
        return 0;
    case KEY_FOUND:
        a->has_found = true;
        a->found = strtod(arg, &end);
        if (end == arg || *end != '\0') {
            argp_error(state, "--found: expected a number but found \"%s\"", arg);
        }
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 1) {
            argp_error(state, "unexpected argument \"%s\"", arg);
        }
        *(state->arg_num == 0 ? &a->test : &a->element) = arg;
        return 0;
    case ARGP_KEY_END:
        if (!a->element) {
            argp_error(state, "expected a case and an element, \"TENSOR[i,j,..]\"");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void print_floor(const gdn_explanation *e) {
    if (!e->limit.any) {
        printf("\nno noise floor: the bound alone decides\n");
        return;
    }
    const double before = e->limit.largest + 6.0 * e->operand;
    printf("\nnoise floor of head %lld: largest error %.4g, root mean square %.4g, of %.4g "
           "independent errors%s\n",
           (long long)e->head, e->floor.largest, e->floor.rms, e->floor.degrees,
           e->floor.matrix != 0.0 ? ", on matrix units" : "");
    printf("  %-12s %12.4g  %.4g x the largest\n", "floor", e->limit.largest,
           e->limit.largest / e->floor.largest);
    printf("  %-12s %12.4g  6 deviations of what comes with k, q and v\n", "operands",
           6.0 * e->operand);
    printf("  %-12s %12.4g  of the output itself\n", "store", e->floor_element - before);
    printf("  %-12s %12.4g\n", "limit", e->floor_element);
    printf("  and the head's root mean square error may be %.4g x its floor's\n",
           e->limit.factor);
}

static void print_found(const gdn_explanation *e, double found) {
    double budget;
    const double limit = gdn_explained_limit(e);
    const bool ok = gdn_judge_element(e->golden, found, limit, e->storage, &budget);
    printf("\nfound      %.17g: error %.4g, budget %.4g, %s\n", found,
           fabs(found - e->golden), budget, ok ? "within the limit" : "beyond the limit");
}

static void print_explanation(const gdn_explanation *e, const arguments *a) {
    printf("%s of %s\n\n", e->element, a->test);
    printf("golden     %.17g\nrounded    %.9g to %s\n\n", e->golden, e->rounded,
           gdn_dtype_name(e->storage));
    printf("bound, by what may cause an error in this token or before it\n");
    for (size_t i = 0; i < GDN_EXPLAIN_TERMS; i++) {
        printf("  %-12s %12.4g  %5.1f %%  %s\n", e->terms[i].name, e->terms[i].value,
               e->bound > 0.0 ? 100.0 * e->terms[i].value / e->bound : 0.0,
               e->terms[i].what);
    }
    printf("  %-12s %12.4g\n", "limit", e->bound);
    print_floor(e);
    printf("\nbinding    %s, %.6g\n", gdn_limit_kind_name(e->binding),
           gdn_explained_limit(e));
    if (a->has_found) {
        print_found(e, a->found);
    }
}

static gdn_status explain(const arguments *a, const gdn_paths *paths, gdn_error *err) {
    gdn_case_plan plan = {0};
    gdn_problem problem = {0};
    gdn_golden golden = {0};
    gdn_explanation e;
    GDN_TRY(gdn_case_plan_create(&plan, a->suites, a->test, NULL, paths, err));
    gdn_status status = GDN_OK;
    if (plan.n_cases != 1) {
        status = gdn_error_set(err, GDN_ERR_ARG,
                               "expected the id of one case but \"%s\" selects %zu",
                               a->test, plan.n_cases);
    }
    if (status == GDN_OK) {
        status = gdn_problem_create(&problem, plan.cases[0].test, err);
    }
    if (status == GDN_OK) {
        status = gdn_golden_create(&golden, &problem, err);
    }
    if (status == GDN_OK) {
        status = gdn_explain(&e, &problem, &golden, a->element, err);
    }
    if (status == GDN_OK) {
        print_explanation(&e, a);
    }
    gdn_golden_destroy(&golden);
    gdn_problem_destroy(&problem);
    gdn_case_plan_destroy(&plan);
    return status;
}

int gdn_cmd_explain(int argc, char **argv) {
    static const struct argp ARGP = {
        .options = OPTIONS,
        .parser = parse,
        .args_doc = "CASE 'TENSOR[i,j,..]'",
        .doc = "Shows what the limit of one element is made of, and which limit binds.\v"
               "Terms are what the bound grows by as they are added in this order; carry "
               "may take away, for a rounding hides errors that do not reach its "
               "boundary.",
    };
    arguments a = {.suites = {NULL}};
    gdn_cli_parse(&ARGP, argc, argv, &a);
    if (!a.suites[0]) {
        a.suites[0] = "ci";
    }
    gdn_error err = {0};
    gdn_paths paths;
    int code = GDN_EXIT_HARNESS;
    if (!gdn_cli_paths(&paths, &code)) {
        return code;
    }
    return explain(&a, &paths, &err) == GDN_OK ? GDN_EXIT_GREEN : gdn_cli_fail(&err);
}
