/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "diagnose.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fit_heads.h"
#include "invisible.h"
#include "judge.h"
#include "pattern.h"

/* A suspect that explains must foretell this share of what is wrong: the rest may lie
 * within its limits by accident. */
#define FORETOLD_SHARE 0.5

/* One that explains nearly everything is worth naming if it leaves this share of the wrong
 * elements and of the residual, and the next one twice as much. A bug that rounds is never
 * reproduced to the last element: a device's own error decides which way a tie goes. */
#define LEFT_SHARE    0.25
#define NEXT_FACTOR   2.0
#define NAMED_AT_MOST 4

/* Where no element is beyond its limit, what explains a head leaves this share of the squared
 * errors: thousands of errors of a device that is merely inexact do not fall to a quarter by
 * accident. Others that leave twice as much are worse names. */
#define LEFT_ENERGY 0.25

/* Below this many state elements times tokens the reference gains nothing by its own
 * threads, and suspects run side by side. */
#define SMALL_WORK 4e6

const char *gdn_finding_name(gdn_finding finding) {
    static const char *const NAMES[] = {
        [GDN_FOUND_NOTHING_WRONG] = "correct",
        [GDN_FOUND_DIAGNOSED] = "diagnosed",
        [GDN_FOUND_CONSISTENT] = "consistent with",
        [GDN_FOUND_PATTERN] = "pattern",
    };
    return NAMES[finding];
}

/* One search: what all of its parts read. */
typedef struct search {
    const gdn_problem *problem;
    const gdn_golden *golden; /* with the limits of the judge */
    gdn_golden judged;
    const gdn_suspects *suspects;
    gdn_fit correct;
    gdn_wrong wrong;
} search;

static bool lists(const char *names, const char *name) {
    const size_t n = strlen(name);
    for (const char *at = names; (at = strstr(at, name)) != NULL; at += n) {
        if ((at == names || at[-1] == ' ') && (at[n] == '\0' || at[n] == ' ')) {
            return true;
        }
    }
    return false;
}

/* Whether a row of the table can touch every output that is wrong. */
static bool can_touch(const search *s, const gdn_deviation *row) {
    if (row->touches[0] == '\0') {
        return true; /* nobody said */
    }
    for (size_t i = 0; i < s->golden->n_outputs; i++) {
        if (s->wrong.elements[i] > 0 &&
            !lists(row->touches, s->golden->outputs[i].tensor->name)) {
            return false;
        }
    }
    return s->wrong.stray == 0 || lists(row->touches, "elsewhere");
}

static gdn_status bend(gdn_conventions *bent, const search *s, const gdn_hypothesis *h,
                       gdn_error *err) {
    *bent = *s->problem->call.conventions;
    GDN_TRY(gdn_deviation_apply(&s->suspects->items[h->suspect], bent, err));
    return h->other == SIZE_MAX
               ? GDN_OK
               : gdn_deviation_apply(&s->suspects->items[h->other], bent, err);
}

static gdn_status evaluate(const search *s, gdn_hypothesis *h, gdn_error *err) {
    const gdn_deviation *row = &s->suspects->items[h->suspect];
    gdn_conventions bent;
    if (h->other == SIZE_MAX &&
        (!can_touch(s, row) || gdn_invisible_proof(row, s->problem->test) ||
         gdn_deviation_is_idle(row, s->problem->call.conventions))) {
        h->pruned = true;
        return GDN_OK;
    }
    gdn_status status = bend(&bent, s, h, err);
    if (status == GDN_OK) {
        status = gdn_fit_measure(&h->fit, s->problem, s->golden, &bent, &s->correct, err);
    }
    h->explains = status == GDN_OK && h->fit.applies && h->fit.wrong == 0 &&
                  (double)h->fit.foretold >= FORETOLD_SHARE * (double)s->correct.wrong;
    if (status != GDN_OK) {
        gdn_error_context(err, "%s", row->name);
    }
    return status;
}

static double work_of(const gdn_problem *problem) {
    const gdn_case *test = problem->test;
    return (double)gdn_case_tokens(test) * (double)test->num_v_heads /
           (double)test->tp_size * (double)test->head_k_dim * (double)test->head_v_dim;
}

static gdn_status evaluate_all(const search *s, gdn_hypothesis *hypotheses, size_t count,
                               gdn_error *err) {
    gdn_status status = GDN_OK;
#pragma omp parallel for schedule(dynamic) if (work_of(s->problem) < SMALL_WORK)
    for (size_t i = 0; i < count; i++) {
        gdn_error local = {0};
        const gdn_status found = evaluate(s, &hypotheses[i], &local);
        if (found != GDN_OK) {
#pragma omp critical(gdn_diagnose_error)
            status = gdn_error_set(err, found, "%s", local.message);
        }
    }
    return status;
}

/* Best first: what explains, then by what is left unexplained; equal ones by number, so
 * that rows of the table come before values of fields. */
static int by_fit(const void *a, const void *b) {
    const gdn_hypothesis *x = a, *y = b;
    const bool x_ran = x->fit.applies && !x->pruned, y_ran = y->fit.applies && !y->pruned;
    if (x_ran != y_ran) {
        return x_ran ? -1 : 1;
    }
    if (x->explains != y->explains) {
        return x->explains ? -1 : 1;
    }
    if (!x->explains && x->fit.residual != y->fit.residual) {
        return x->fit.residual < y->fit.residual ? -1 : 1;
    }
    if (x->suspect != y->suspect) {
        return x->suspect < y->suspect ? -1 : 1;
    }
    return x->other < y->other ? -1 : x->other > y->other;
}

/* Leading entries to name. Values of fields that explain a case step back behind rows of
 * the table that do: those are bugs that were seen. */
static size_t count_named(const gdn_diagnosis *d, const gdn_suspects *suspects) {
    size_t named = 0;
    while (named < d->n_ranking && d->ranking[named].explains) {
        const bool row = d->ranking[named].suspect < suspects->n_rows;
        if (named > 0 && !row && d->ranking[0].suspect < suspects->n_rows) {
            break;
        }
        named++;
    }
    return named;
}

/* What only tolerates everything that is wrong, by wider limits of its own (a state that is
 * stored more often), is told where nothing else is to tell. */
static size_t count_tolerating(const gdn_diagnosis *d) {
    size_t n = 0;
    while (n < d->n_ranking && d->ranking[n].fit.applies && !d->ranking[n].pruned &&
           d->ranking[n].fit.wrong == 0) {
        n++;
    }
    return n;
}

static bool nearly_explains(const gdn_diagnosis *d) {
    if (d->n_ranking == 0) {
        return false;
    }
    const gdn_fit *best = &d->ranking[0].fit;
    const gdn_fit *next = d->n_ranking > 1 ? &d->ranking[1].fit : &d->correct;
    const gdn_fit *rival = next->applies ? next : &d->correct;
    return best->applies && !d->ranking[0].pruned &&
           (double)best->wrong <= LEFT_SHARE * (double)d->correct.wrong &&
           best->residual <= LEFT_SHARE * d->correct.residual &&
           rival->residual >= NEXT_FACTOR * best->residual &&
           (double)best->foretold >= FORETOLD_SHARE * (double)d->correct.wrong;
}

static void print_name(FILE *out, const gdn_hypothesis *h, const gdn_suspects *suspects) {
    fprintf(out, "%s", suspects->items[h->suspect].name);
    if (h->other != SIZE_MAX) {
        fprintf(out, " + %s", suspects->items[h->other].name);
    }
}

static char *write_names(const gdn_diagnosis *d, const gdn_suspects *suspects) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    for (size_t i = 0; out && i < d->n_named && i < NAMED_AT_MOST; i++) {
        fputs(i > 0 ? ", " : "", out);
        print_name(out, &d->ranking[i], suspects);
    }
    if (out && d->n_named > NAMED_AT_MOST) {
        fprintf(out, " and %zu more", d->n_named - NAMED_AT_MOST);
    }
    if (out) {
        fclose(out);
    }
    return text;
}

static void write_one(FILE *out, const gdn_diagnosis *d, const gdn_suspects *suspects) {
    const gdn_hypothesis *h = &d->ranking[0];
    print_name(out, h, suspects);
    fprintf(out, ": %s", suspects->items[h->suspect].symptom);
    if (h->other != SIZE_MAX) {
        fprintf(out, "; %s", suspects->items[h->other].symptom);
    }
    if (h->explains) {
        fprintf(out, " (explains all %lld wrong within limits)",
                (long long)d->correct.wrong);
    } else {
        fprintf(out, " (explains all but %lld of %lld wrong; no other comes near)",
                (long long)h->fit.wrong, (long long)d->correct.wrong);
    }
}

/* Decides what was found from the sorted ranking, and says so. */
static gdn_status conclude(gdn_diagnosis *d, const search *s, gdn_error *err) {
    char *text = NULL;
    size_t size = 0;
    d->n_named = count_named(d, s->suspects);
    d->finding = d->n_named == 0   ? GDN_FOUND_PATTERN
                 : d->n_named == 1 ? GDN_FOUND_DIAGNOSED
                                   : GDN_FOUND_CONSISTENT;
    if (d->n_named == 0) {
        d->n_named = nearly_explains(d) ? 1 : count_tolerating(d);
        d->finding = d->n_named > 0 ? GDN_FOUND_CONSISTENT : GDN_FOUND_PATTERN;
    }
    if (d->n_named == 0) {
        d->text = gdn_pattern_text(s->problem, s->golden);
        return d->text ? GDN_OK : gdn_error_set(err, GDN_ERR_OOM, "no memory for a text");
    }
    d->names = write_names(d, s->suspects);
    FILE *out = open_memstream(&text, &size);
    if (out && d->ranking[0].fit.wrong == 0 && !d->ranking[0].explains) {
        fprintf(out, "%s: wider limits hold all %lld wrong, no value tells it apart",
                d->names, (long long)d->correct.wrong);
    } else if (out && d->n_named == 1) {
        write_one(out, d, s->suspects);
    } else if (out) {
        fprintf(out, "%s: alike in this case, each explains all %lld wrong within limits",
                d->names, (long long)d->correct.wrong);
    }
    if (out) {
        fclose(out);
    }
    d->text = text;
    return d->names && text ? GDN_OK
                            : gdn_error_set(err, GDN_ERR_OOM, "no memory for a text");
}

static gdn_status start(gdn_diagnosis *d, search *s, const gdn_problem *problem,
                        const gdn_golden *golden, const gdn_suspects *suspects, size_t room,
                        gdn_error *err) {
    *s = (search){.problem = problem, .golden = &s->judged, .suspects = suspects};
    *d = (gdn_diagnosis){.ranking = calloc(room + 1, sizeof *d->ranking)};
    if (!d->ranking || golden->n_outputs > sizeof s->wrong.elements / sizeof(int64_t)) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu suspects", room);
    }
    GDN_TRY(gdn_fit_golden_create(&s->judged, golden, err));
    gdn_wrong_count(&s->wrong, problem, s->golden);
    GDN_TRY(gdn_fit_measure(&s->correct, problem, s->golden, problem->call.conventions,
                            NULL, err));
    d->correct = s->correct;
    return GDN_OK;
}

static gdn_status nothing_wrong(gdn_diagnosis *d, gdn_error *err) {
    d->finding = GDN_FOUND_NOTHING_WRONG;
    d->text = strdup("a correct kernel explains every element");
    return d->text ? GDN_OK : gdn_error_set(err, GDN_ERR_OOM, "no memory for a text");
}

/* Every suspect by the figures of whole heads; the fit's residual is its energy. */
static gdn_status fit_heads(gdn_diagnosis *d, const search *s, const gdn_golden *golden,
                            const gdn_case_result *failed, gdn_error *err) {
    gdn_heads_fit correct;
    GDN_TRY(gdn_heads_fit_measure(&correct, s->problem, golden,
                                  s->problem->call.conventions, failed, err));
    double least = LEFT_ENERGY * correct.energy;
    d->correct.residual = correct.energy;
    d->n_ranking = s->suspects->count;
    for (size_t i = 0; i < d->n_ranking; i++) {
        const gdn_deviation *row = &s->suspects->items[i];
        gdn_hypothesis *h = &d->ranking[i];
        gdn_heads_fit fit = {0};
        gdn_conventions bent;
        *h = (gdn_hypothesis){.suspect = i, .other = SIZE_MAX};
        h->pruned = gdn_invisible_proof(row, s->problem->test) ||
                    gdn_deviation_is_idle(row, s->problem->call.conventions);
        if (h->pruned) {
            continue;
        }
        GDN_TRY(bend(&bent, s, h, err));
        GDN_TRY(gdn_heads_fit_measure(&fit, s->problem, golden, &bent, failed, err));
        d->n_run++;
        h->fit.applies = fit.applies;
        h->fit.residual = fit.energy;
        h->explains =
            fit.applies && fit.passes && fit.energy <= LEFT_ENERGY * correct.energy;
        least = h->explains && fit.energy < least ? fit.energy : least;
    }
    for (size_t i = 0; i < d->n_ranking; i++) {
        gdn_hypothesis *h = &d->ranking[i];
        h->explains = h->explains && h->fit.residual <= NEXT_FACTOR * least;
    }
    qsort(d->ranking, d->n_ranking, sizeof *d->ranking, by_fit);
    return GDN_OK;
}

/* "head 3 of ssm_state: floor_rms 1.42 of its limit". */
static void write_head(FILE *out, const gdn_case_result *failed) {
    const gdn_tensor_result *worst = gdn_case_worst(failed);
    fprintf(out, "head %lld of %s: %s %.3g of its limit", (long long)worst->pool.head,
            worst->name, gdn_limit_kind_name(worst->binding), worst->budget);
}

static gdn_status conclude_heads(gdn_diagnosis *d, const search *s,
                                 const gdn_case_result *failed, gdn_error *err) {
    char *text = NULL;
    size_t size = 0;
    d->n_named = count_named(d, s->suspects);
    d->finding = d->n_named == 0   ? GDN_FOUND_PATTERN
                 : d->n_named == 1 ? GDN_FOUND_DIAGNOSED
                                   : GDN_FOUND_CONSISTENT;
    d->names = d->n_named > 0 ? write_names(d, s->suspects) : NULL;
    FILE *out = open_memstream(&text, &size);
    if (out && d->n_named == 0) {
        fputs("no element is beyond its limit, and no known bug explains ", out);
        write_head(out, failed);
    } else if (out) {
        fprintf(out, "%s: %s (no element is beyond its limit; explains ", d->names,
                d->n_named == 1 ? s->suspects->items[d->ranking[0].suspect].symptom
                                : "alike in this case");
        write_head(out, failed);
        fputc(')', out);
    }
    if (out) {
        fclose(out);
    }
    d->text = text;
    return text && (d->names || d->n_named == 0)
               ? GDN_OK
               : gdn_error_set(err, GDN_ERR_OOM, "no memory for a text");
}

/* No element is beyond its limit: the device is right, or what failed the case is a figure
 * of a whole head. */
static gdn_status diagnose_heads(gdn_diagnosis *d, search *s, const gdn_golden *golden,
                                 gdn_error *err) {
    gdn_case_result failed = {0};
    gdn_fit_golden_destroy(&s->judged);
    gdn_status status = gdn_judge_case(s->problem, golden, &failed, err);
    if (status == GDN_OK && failed.verdict == GDN_PASS) {
        status = nothing_wrong(d, err);
    } else if (status == GDN_OK) {
        status = fit_heads(d, s, golden, &failed, err);
        if (status == GDN_OK) {
            status = conclude_heads(d, s, &failed, err);
        }
    }
    gdn_case_result_destroy(&failed);
    if (status != GDN_OK) {
        gdn_diagnosis_destroy(d);
    }
    return status;
}

/* Whether exactly one of the hints explains the case; it is then the whole ranking. */
static gdn_status try_hints(gdn_diagnosis *d, const search *s,
                            const gdn_diagnose_hints *hints, bool *found, gdn_error *err) {
    size_t explaining = 0;
    for (size_t i = 0; hints && i < hints->count; i++) {
        gdn_hypothesis h = {.suspect = hints->suspects[i], .other = SIZE_MAX};
        GDN_TRY(evaluate(s, &h, err));
        d->n_run += !h.pruned;
        if (h.explains && explaining++ == 0) {
            d->ranking[0] = h;
            d->n_ranking = 1;
        }
    }
    *found = explaining == 1;
    d->n_ranking = *found ? 1 : 0;
    return GDN_OK;
}

gdn_status gdn_diagnose(gdn_diagnosis *d, const gdn_problem *problem,
                        const gdn_golden *golden, const gdn_suspects *suspects,
                        const gdn_diagnose_hints *hints, gdn_error *err) {
    search s;
    bool found = false;
    gdn_status status = start(d, &s, problem, golden, suspects, suspects->count, err);
    if (status == GDN_OK && s.correct.wrong == 0) {
        return diagnose_heads(d, &s, golden, err);
    }
    if (status == GDN_OK) {
        status = try_hints(d, &s, hints, &found, err);
    }
    if (status == GDN_OK && !found && !(hints && hints->only)) {
        d->n_ranking = suspects->count;
        for (size_t i = 0; i < suspects->count; i++) {
            d->ranking[i] = (gdn_hypothesis){.suspect = i, .other = SIZE_MAX};
        }
        status = evaluate_all(&s, d->ranking, d->n_ranking, err);
        for (size_t i = 0; i < d->n_ranking; i++) {
            d->n_run += !d->ranking[i].pruned;
        }
        qsort(d->ranking, d->n_ranking, sizeof *d->ranking, by_fit);
    }
    if (status == GDN_OK) {
        status = conclude(d, &s, err);
    }
    gdn_fit_golden_destroy(&s.judged);
    if (status != GDN_OK) {
        gdn_diagnosis_destroy(d);
    }
    return status;
}

gdn_status gdn_diagnose_pairs(gdn_diagnosis *d, const gdn_problem *problem,
                              const gdn_golden *golden, const gdn_suspects *suspects,
                              gdn_error *err) {
    search s;
    const size_t n = suspects->n_rows;
    gdn_status status = start(d, &s, problem, golden, suspects, n * n / 2, err);
    if (status == GDN_OK && s.correct.wrong == 0) {
        gdn_fit_golden_destroy(&s.judged);
        return nothing_wrong(d, err);
    }
    for (size_t i = 0; status == GDN_OK && i < n; i++) {
        for (size_t j = i + 1; j < n; j++) {
            if (strcmp(suspects->items[i].field, suspects->items[j].field) != 0) {
                d->ranking[d->n_ranking++] = (gdn_hypothesis){.suspect = i, .other = j};
            }
        }
    }
    if (status == GDN_OK) {
        status = evaluate_all(&s, d->ranking, d->n_ranking, err);
        d->n_run = d->n_ranking;
        qsort(d->ranking, d->n_ranking, sizeof *d->ranking, by_fit);
    }
    if (status == GDN_OK) {
        status = conclude(d, &s, err);
    }
    gdn_fit_golden_destroy(&s.judged);
    if (status != GDN_OK) {
        gdn_diagnosis_destroy(d);
    }
    return status;
}

void gdn_diagnosis_destroy(gdn_diagnosis *diagnosis) {
    free(diagnosis->ranking);
    free(diagnosis->names);
    free(diagnosis->text);
    *diagnosis = (gdn_diagnosis){0};
}
