/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "perf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "judge.h"

static bool is_poison(const uint8_t *element, size_t size) {
    static const uint16_t WORD = GDN_POISON_WORD;
    for (size_t i = 0; i + sizeof WORD <= size; i += sizeof WORD) {
        if (memcmp(element + i, &WORD, sizeof WORD) != 0) {
            return false;
        }
    }
    return size >= sizeof WORD;
}

/* Bytes of the inputs: what the arena held before the run and was not poison. States that no
 * sequence starts from are poison, and so are outputs. */
static double bytes_in(const gdn_problem *problem) {
    double bytes = 0.0;
    for (size_t i = 0; i < problem->arena.n_tensors; i++) {
        const gdn_tensor *tensor = &problem->arena.tensors[i];
        const uint8_t *image =
            problem->arena.image + ((const uint8_t *)tensor->data - problem->arena.base);
        const size_t size = gdn_dtype_size(tensor->dtype);
        const int64_t count = gdn_tensor_count(tensor);
        for (int64_t k = 0; k < count; k++) {
            const int64_t at = gdn_tensor_flat_offset(tensor, k);
            bytes += is_poison(image + (size_t)at * size, size) ? 0.0 : (double)size;
        }
    }
    return bytes;
}

static double bytes_out(const gdn_golden *golden) {
    double bytes = 0.0;
    for (size_t i = 0; i < golden->n_outputs; i++) {
        const gdn_expected *out = &golden->outputs[i];
        bytes += (double)(out->n_rows * out->row_count) *
                 (double)gdn_dtype_size(out->tensor->dtype);
    }
    return bytes;
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Takes over what went wrong in a timed run. */
static gdn_status fail(gdn_case_result *result, const gdn_case_result *timed, int runs,
                       gdn_error *err) {
    free(result->message);
    result->message = NULL;
    result->verdict = timed->verdict == GDN_PASS ? GDN_FAIL : timed->verdict;
    return asprintf(&result->message, "passed once, but after %d runs more: %s", runs,
                    timed->message ? timed->message : "no message") < 0
               ? gdn_error_set(err, GDN_ERR_OOM, "no memory for a message")
               : GDN_OK;
}

/* `*ran`: all runs came back, and the arena is as the last one left it. */
static gdn_status run_times(double *times, bool *by_request, gdn_case_result *result,
                            gdn_session *session, gdn_problem *problem, int runs, bool *ran,
                            gdn_error *err) {
    for (int i = -1; i < runs; i++) {
        gdn_case_result timed = {.kernel_seconds = -1.0};
        gdn_arena_restore(&problem->arena);
        gdn_status status = gdn_session_run(session, problem, ran, &timed, err);
        if (status == GDN_OK && !*ran) {
            status = fail(result, &timed, i + 1, err);
        }
        if (i >= 0) {
            *by_request = timed.kernel_seconds < 0.0;
            times[i] = *by_request ? timed.device_seconds : timed.kernel_seconds;
        }
        gdn_case_result_destroy(&timed);
        if (status != GDN_OK || !*ran) {
            return status;
        }
    }
    return GDN_OK;
}

gdn_status gdn_perf_measure(gdn_case_result *result, gdn_session *session,
                            gdn_problem *problem, const gdn_golden *golden, int runs,
                            gdn_error *err) {
    double times[GDN_PERF_MOST_RUNS];
    gdn_case_perf *perf = &result->perf;
    bool ran = false;
    GDN_TRY(run_times(times, &perf->by_request, result, session, problem, runs, &ran, err));
    if (!ran) {
        return GDN_OK;
    }
    gdn_case_result last = {.kernel_seconds = -1.0};
    gdn_status status = gdn_judge_case(problem, golden, &last, err);
    if (status == GDN_OK && last.verdict != GDN_PASS) {
        status = fail(result, &last, runs, err);
    } else if (status == GDN_OK) {
        qsort(times, (size_t)runs, sizeof *times, compare);
        perf->runs = runs;
        perf->median =
            runs % 2 == 1 ? times[runs / 2] : (times[runs / 2 - 1] + times[runs / 2]) / 2.0;
        perf->least = times[0];
        perf->most = times[runs - 1];
        perf->bytes = bytes_in(problem) + bytes_out(golden);
        status = gdn_session_bandwidth(session, &perf->bandwidth, err);
    }
    gdn_case_result_destroy(&last);
    return status;
}
