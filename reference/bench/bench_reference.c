/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* How fast the reference is, in shares of what this machine can do: prints one Markdown
 * table. Other work on the machine moves every figure, so one thread is measured in its own
 * CPU time, paired with a probe of the fma peak just before it, and medians are printed.
 * With all threads the best round by the wall clock is.
 *
 * bench_reference [ROUNDS]   5 if not said */
#include "bench_calls.h"
#include "bench_peak.h"
#include "bench_print.h"

#include "delta_kernel.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define DIM          128
#define TOKENS       8192
#define HEADS        32
#define SEGMENT      64 /* tokens that the op gives a kernel at once */
#define CONV_TOKENS  512
#define PROBE_STEPS  2000000
#define TRIAD_COUNT  (INT64_C(1) << 23) /* 64 MiB an array: beyond the caches of a core */
#define FLOPS_VALUES 7                  /* a S; three fma */
#define FLOPS_LIMITS 13                 /* and sum |S'||k|, sum |S||q|, sum S^2 */

/* A kernel's whole work for `heads` value heads that share one k and q. */
typedef struct kernel_run {
    const gdnp_delta_kernel *kernel;
    bool limits;
    int64_t heads, tokens;
    double *k, *q;
    gdnp_token *tokens_of;
} kernel_run;

typedef struct triad {
    double *a, *b, *c;
} triad;

static double seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void run_peak(void *context) {
    const bench_peak *peak = context;
    double sum = 0.0;
#pragma omp parallel reduction(+ : sum)
    sum += peak->run(PROBE_STEPS);
    volatile double kept = sum;
    (void)kept;
}

static double peak_work(const bench_peak *peak) {
    return 2.0 * BENCH_PEAK_FMAS * peak->width * (double)PROBE_STEPS;
}

static void run_clock(void *context) {
    (void)context;
    uint64_t sum = 0;
#pragma omp parallel reduction(+ : sum)
    sum += bench_clock_chain(PROBE_STEPS * 10);
    volatile uint64_t kept = sum;
    (void)kept;
}

static void run_triad(void *context) {
    triad *t = context;
    bench_triad(t->a, t->b, t->c, TRIAD_COUNT);
}

static void run_call(void *context) {
    bench_call_run(context);
}

/* One head the way gdnp_head_run() goes: all blocks of rows through a segment of tokens
 * before the next segment. v is the same in each. */
static void run_head(const kernel_run *r) {
    const int64_t lanes = r->kernel->lanes;
    double *state = bench_alloc(DIM * DIM * sizeof *state);
    double *rows = bench_alloc((4 * SEGMENT + 3) * DIM * sizeof *rows);
    double *v = rows, *o = rows + SEGMENT * DIM, *v_error = o + SEGMENT * DIM;
    double *o_error = v_error + SEGMENT * DIM, *row_error = o_error + SEGMENT * DIM;
    double *row_norm = row_error + DIM, *row_mass = row_norm + DIM;
    bench_fill(v, GDN_FP64, SEGMENT * DIM, 1.0);
    for (int64_t token = 0; token < r->tokens; token += SEGMENT) {
        for (int64_t first = 0; first < DIM; first += lanes) {
            const gdnp_delta_block block = {
                .length = SEGMENT,
                .k_dim = DIM,
                .k = r->k + token * DIM,
                .q = r->q + token * DIM,
                .tokens = r->tokens_of + token,
                .stride = DIM,
                .v = v + first,
                .v_error = v_error + first,
                .o = o + first,
                .o_error = o_error + first,
                .state = state + first * DIM,
                .row_error = r->limits ? row_error + first : NULL,
                .row_norm = row_norm + first,
                .row_mass = row_mass + first,
                .unit = 0x1p-24,
                .tiny = 0x1p-126,
            };
            r->kernel->run(&block);
        }
    }
    free(rows);
    free(state);
}

static void run_kernel(void *context) {
    const kernel_run *r = context;
#pragma omp parallel for schedule(dynamic)
    for (int64_t head = 0; head < r->heads; head++) {
        run_head(r);
    }
}

static void fill_keys(kernel_run *r) {
    const size_t count = (size_t)TOKENS * DIM;
    r->k = bench_alloc(count * sizeof *r->k);
    r->q = bench_alloc(count * sizeof *r->q);
    r->tokens_of = bench_alloc(TOKENS * sizeof *r->tokens_of);
    /* About 1 / sqrt(DIM): keys of norm 1. */
    bench_fill(r->k, GDN_FP64, TOKENS * DIM, 0.088);
    bench_fill(r->q, GDN_FP64, TOKENS * DIM, 0.0078);
    for (int64_t t = 0; t < TOKENS; t++) {
        r->tokens_of[t] = (gdnp_token){.decay = 0.97,
                                       .beta = 0.5,
                                       .decay_error = 1e-7,
                                       .beta_error = 1e-7,
                                       .k_norm = 1.0,
                                       .q_norm = 0.088,
                                       .k_error = 1e-6,
                                       .q_error = 1e-7,
                                       .k_floor = 3e-36,
                                       .q_floor = 3e-36};
    }
}

static void measure(bench_row *row, int threads, int round) {
    omp_set_num_threads(threads);
    double peak = 0.0;
    if (row->peak && threads == 1) {
        const double start = seconds(CLOCK_THREAD_CPUTIME_ID);
        run_peak((void *)row->peak);
        peak = peak_work(row->peak) / (seconds(CLOCK_THREAD_CPUTIME_ID) - start);
    }
    const double work = row->work * (row->each_thread ? threads : 1);
    const double wall = seconds(CLOCK_MONOTONIC);
    const double cpu = seconds(CLOCK_THREAD_CPUTIME_ID);
    row->run(row->context);
    const double rate = work / (seconds(CLOCK_THREAD_CPUTIME_ID) - cpu);
    if (round < 0) {
        return; /* this run touched the memory first */
    }
    row->wall[threads > 1][round] = work / (seconds(CLOCK_MONOTONIC) - wall) * 1e-9;
    if (threads == 1) {
        row->rate[round] = rate * 1e-9;
        row->share[round] = row->peak ? rate / peak : 0.0;
    }
}

static const char *const KERNELS[] = {"avx512", "avx2", "neon", "scalar"};

/* NULL for scalar code beside vector sets: its fma is a call of libm, whose rate is no
 * peak.
 */
static const bench_peak *peak_of(const char *name) {
    const bench_peak *peak = bench_peak_get(name);
    return peak && peak->width == 1 && peak != bench_peak_get(NULL) ? NULL : peak;
}

static int add_peaks(bench_row *rows) {
    int n = 0;
    for (size_t i = 0; i < sizeof KERNELS / sizeof KERNELS[0]; i++) {
        const bench_peak *peak = peak_of(KERNELS[i]);
        if (peak) {
            rows[n++] = (bench_row){.name = "fma peak",
                                    .detail = peak->name,
                                    .unit = "GFLOP/s",
                                    .run = run_peak,
                                    .context = (void *)peak,
                                    .work = peak_work(peak),
                                    .each_thread = true};
        }
    }
    return n;
}

/* `runs` has room for two entries a kernel; the first holds the keys of all. */
static int add_kernels(bench_row *rows, kernel_run *runs) {
    int n = 0;
    fill_keys(&runs[0]);
    for (size_t i = 0; i < sizeof KERNELS / sizeof KERNELS[0]; i++) {
        const gdnp_delta_kernel *kernel = gdnp_delta_kernel_get(KERNELS[i]);
        for (int limits = 0; kernel && limits < 2; limits++, n++) {
            const bench_peak *peak = peak_of(kernel->name);
            runs[n] = (kernel_run){.kernel = kernel,
                                   .limits = limits,
                                   .heads = HEADS,
                                   .tokens = peak ? TOKENS : 2 * SEGMENT, /* slow */
                                   .k = runs[0].k,
                                   .q = runs[0].q,
                                   .tokens_of = runs[0].tokens_of};
            const double elements = (double)(runs[n].heads * runs[n].tokens * DIM * DIM);
            rows[n] =
                (bench_row){.name = limits ? "recurrence, limits" : "recurrence, values",
                            .detail = kernel->name,
                            .unit = "GFLOP/s",
                            .run = run_kernel,
                            .context = &runs[n],
                            .work = elements * (limits ? FLOPS_LIMITS : FLOPS_VALUES),
                            .peak = peak};
        }
    }
    return n;
}

static bench_row call_row(const char *name, const char *detail, bench_call *call) {
    return (bench_row){.name = name,
                       .detail = detail,
                       .unit = "G elements/s",
                       .run = run_call,
                       .context = call,
                       .work = (double)call->elements};
}

static int add_calls(bench_row *rows, bench_call *calls) {
    const char *const DETAILS[] = {"values", "limits"};
    int n = 0;
    for (int limits = 0; limits < 2; limits++, n++) {
        bench_delta_create(&calls[n], TOKENS, limits);
        rows[n] = call_row("op gated_delta_rule", DETAILS[limits], &calls[n]);
        rows[n].work *= limits ? FLOPS_LIMITS : FLOPS_VALUES;
        rows[n].unit = "GFLOP/s";
        rows[n].peak = bench_peak_get(NULL);
    }
    bench_conv_create(&calls[n], CONV_TOKENS, GDN_ACTIVATION_NONE, false);
    rows[n] = call_row("op causal_conv1d", "plain", &calls[n]);
    n++;
    for (int limits = 0; limits < 2; limits++, n++) {
        bench_conv_create(&calls[n], CONV_TOKENS, GDN_ACTIVATION_SILU, limits);
        rows[n] = call_row("op causal_conv1d", limits ? "SiLU, limits" : "SiLU", &calls[n]);
    }
    bench_gating_create(&calls[n], TOKENS, true);
    rows[n] = call_row("op gdn_gating", "limits", &calls[n]);
    return n + 1;
}

int main(int argc, char **argv) {
    const int rounds = argc > 1 ? atoi(argv[1]) : 5;
    if (argc > 2 || rounds < 1 || rounds > BENCH_ROUNDS) {
        fprintf(stderr, "usage: bench_reference [ROUNDS], at most %d\n", BENCH_ROUNDS);
        return 2;
    }
    const int threads = omp_get_max_threads();
    static bench_row rows[32];
    static kernel_run runs[8];
    static bench_call calls[8];
    triad t;
    double **const arrays[] = {&t.a, &t.b, &t.c};
    for (int i = 0; i < 3; i++) {
        *arrays[i] = bench_alloc(TRIAD_COUNT * sizeof(double));
    }
    int n = 0;
    rows[n++] = (bench_row){.name = "clock",
                            .detail = "dependent integers",
                            .unit = "GHz",
                            .run = run_clock,
                            .work = 2.0 * 10 * PROBE_STEPS,
                            .each_thread = true};
    n += add_peaks(rows + n);
    rows[n++] = (bench_row){.name = "memory",
                            .detail = "triad",
                            .unit = "GB/s",
                            .run = run_triad,
                            .context = &t,
                            .work = 3.0 * sizeof(double) * (double)TRIAD_COUNT};
    n += add_kernels(rows + n, runs);
    n += add_calls(rows + n, calls);
    for (int round = -1; round < rounds; round++) {
        for (int i = 0; i < n; i++) {
            measure(&rows[i], 1, round);
            if (threads > 1) {
                measure(&rows[i], threads, round);
            }
        }
    }
    bench_print(rows, n, threads, rounds);
    for (int i = 0; i < 3; i++) {
        free(*arrays[i]);
    }
    free(runs[0].k);
    free(runs[0].q);
    free(runs[0].tokens_of);
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        bench_call_destroy(&calls[i]);
    }
    return 0;
}
