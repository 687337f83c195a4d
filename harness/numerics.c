/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "numerics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gdn/exact.h"
#include "gdn/profile.h"

#define DIM    64 /* K; keys of one component 4096 have norm 4096, of 64 such 2^15 */
#define LANES  24 /* V */
#define LENGTH 4096.0

/* A lane counts as exact within what fp32 and the granted intrinsics err by: 2^-20 is 16 u. */
#define EXACT 0x1p-20

/* Bits that operands keep at least, from the finest class on. What keeps more than one and
 * less than the next belongs to the coarser. */
static const struct {
    gdn_numeric_class class;
    int bits;
} OPERANDS[] = {
    {GDN_CLASS_FP32, 18},
    {GDN_CLASS_TF32_MMA, 10},
    {GDN_CLASS_FP16_MMA, 10},
    {GDN_CLASS_BF16_MMA, 7},
};

#define COARSER_THAN_ALL (sizeof OPERANDS / sizeof OPERANDS[0])

/* Every class adds in fp32; aligned additions of a matrix unit may drop the last few. */
#define ACCUMULATOR_BITS 18

typedef struct probe {
    const char *profile, *profiles;
    const gdn_executor *executor;
    gdn_run_result *run;
    gdn_case test;
    gdn_problem problem;
    gdn_golden golden;
} probe;

static gdn_status add(probe *p, const gdn_numeric_finding *finding, gdn_error *err) {
    gdn_run_result *run = p->run;
    gdn_numeric_finding *all = realloc(run->numerics, (run->n_numerics + 1) * sizeof *all);
    if (!all) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for numerics");
    }
    run->numerics = all;
    all[run->n_numerics] = *finding;
    snprintf(all[run->n_numerics].profile, sizeof finding->profile, "%s", p->profile);
    run->n_numerics++;
    return GDN_OK;
}

static gdn_status add_unknown(probe *p, const char *quantity, const char *why,
                              gdn_error *err) {
    gdn_numeric_finding finding = {.quantity = quantity, .ok = true};
    snprintf(finding.text, sizeof finding.text, "not measured: %s", why);
    return add(p, &finding, err);
}

static gdn_tensor *tensor(probe *p, const char *name) {
    return gdn_arena_tensor(&p->problem.arena, name);
}

static void put(probe *p, const char *name, int64_t i, int64_t j, int64_t k, double value) {
    gdn_tensor *t = tensor(p, name);
    const int64_t index[] = {i, j, k, 0};
    gdn_store(t->data, t->dtype, gdn_tensor_offset(t, index), value);
}

static double get(probe *p, const char *name, int64_t i, int64_t j, int64_t k) {
    const gdn_tensor *t = tensor(p, name);
    const int64_t index[] = {i, j, k, 0};
    return gdn_load(t->data, t->dtype, gdn_tensor_offset(t, index));
}

static int64_t state_place(probe *p, int64_t sequence, int64_t head, int64_t v, int64_t k) {
    const gdn_tensor *t = tensor(p, "ssm_state");
    const bool vk = p->test.conventions.state_order == GDN_STATE_VK;
    const int64_t index[] = {gdn_tensor_int(tensor(p, "state_indices"), sequence, 0), head,
                             vk ? v : k, vk ? k : v};
    return gdn_tensor_offset(t, index);
}

static void put_state(probe *p, int64_t head, int64_t v, int64_t k, double value) {
    gdn_tensor *t = tensor(p, "ssm_state");
    gdn_store(t->data, t->dtype, state_place(p, 0, head, v, k), value);
}

static double get_state(probe *p, int64_t sequence, int64_t head, int64_t v, int64_t k) {
    const gdn_tensor *t = tensor(p, "ssm_state");
    return gdn_load(t->data, t->dtype, state_place(p, sequence, head, v, k));
}

/* Everything of gated_delta_rule that stands in the way: no decay, nothing stored, no start
 * state, keys and queries one-hot at the last place. */
static void clear(probe *p) {
    const bool log = p->test.conventions.gate_input == GDN_GATE_LOG;
    const bool logits = p->test.conventions.beta_input == GDN_BETA_LOGITS;
    const int64_t tokens = gdn_case_tokens(&p->test), heads = p->test.num_v_heads;
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t i = 0; i < DIM; i++) {
            put(p, "k", t, 0, i, i == DIM - 1 ? LENGTH : 0.0);
            put(p, "q", t, 0, i, i == DIM - 1 ? LENGTH : 0.0);
        }
        for (int64_t h = 0; h < heads; h++) {
            put(p, "g", t, h, 0, log ? 0.0 : 1.0);
            put(p, "beta", t, h, 0, logits ? -200.0 : 0.0);
            for (int64_t v = 0; v < LANES; v++) {
                put(p, "v", t, h, v, 0.0);
            }
        }
    }
    for (int64_t h = 0; h < heads * LANES * DIM; h++) {
        put_state(p, h / (LANES * DIM), h / DIM % LANES, h % DIM, 0.0);
    }
}

static void full_beta(probe *p, int64_t token) {
    const bool logits = p->test.conventions.beta_input == GDN_BETA_LOGITS;
    for (int64_t h = 0; h < p->test.num_v_heads; h++) {
        put(p, "beta", token, h, 0, logits ? 200.0 : 1.0);
    }
}

/* Head 0: the state's ladder; head 1: the delta's; head 2: what fp16 cannot hold. */
static void craft_operands(probe *p) {
    clear(p);
    full_beta(p, 0);
    put(p, "k", 0, 0, DIM - 1, 0.0);
    put(p, "k", 0, 0, 0, LENGTH);
    for (int64_t v = 0; v < LANES; v++) {
        const double step = ldexp(1.0, -(int)v - 1);
        put_state(p, 0, v, 0, 1.0 + step);
        put_state(p, 1, v, 0, -step);
        put(p, "v", 0, 1, v, 1.0);
    }
    put_state(p, 2, 0, 0, 0x1p20);
}

static int operand_bits(probe *p) {
    int bits = 0;
    while (bits < LANES && fabs(get_state(p, 0, 0, bits, 0)) <= EXACT &&
           fabs(get_state(p, 0, 1, bits, 0) - 1.0) <= EXACT) {
        bits++;
    }
    return bits;
}

static void craft_accumulation(probe *p) {
    clear(p);
    full_beta(p, 0);
    for (int64_t i = 0; i < DIM; i++) {
        put(p, "k", 0, 0, i, LENGTH);
    }
    for (int64_t v = 0; v < LANES; v++) {
        for (int64_t i = 0; i < DIM; i++) {
            const double value = i == 0         ? 1.0
                                 : i == DIM - 1 ? -1.0
                                                : ldexp(1.0, -(int)v - 1);
            put_state(p, 0, v, i, value);
        }
    }
}

/* Element 2 keeps 2^-i (1 - 62/64) of its 2^-i if the sum of the 62 is there: within a
 * quarter of what it loses otherwise. */
static int accumulator_bits(probe *p) {
    int bits = 0;
    for (; bits < LANES; bits++) {
        const double step = ldexp(1.0, -bits - 1);
        const double right = step * (1.0 - 62.0 / 64.0);
        if (!(fabs(get_state(p, 0, 0, bits, 2) - right) <= 0.25 * step)) {
            break;
        }
    }
    return bits;
}

/* Heads 0 and 1 decay to a quarter and to three quarters of a bf16 ulp above 1/2; the state
 * of head 2 is subnormal. */
static void craft_cast(probe *p) {
    const bool log = p->test.conventions.gate_input == GDN_GATE_LOG;
    clear(p);
    put(p, "q", 0, 0, DIM - 1, 0.0);
    put(p, "q", 0, 0, 0, LENGTH);
    for (int64_t h = 0; h < 2; h++) {
        const double decay = 0.5 + (h == 0 ? 0.25 : 0.75) * 0x1p-8;
        put(p, "g", 0, h, 0, log ? gdn_log(decay) : decay);
        for (int64_t v = 0; v < LANES; v++) {
            put_state(p, h, v, 0, 8.0);
        }
    }
    put_state(p, 2, 0, 1, 0x1p-130);
}

/* Keys whose squares are as large as eps, a sequence each. */
static void craft_rsqrt(probe *p) {
    clear(p);
    for (int64_t s = 0; s < gdn_case_tokens(&p->test); s++) {
        full_beta(p, s);
        put(p, "k", s, 0, DIM - 1, 0.0);
        put(p, "k", s, 0, 0, (1.0 + (double)(s % 8) / 8.0) * ldexp(1.0, -(int)(s / 8) - 7));
        for (int64_t h = 0; h < p->test.num_v_heads; h++) {
            put(p, "v", s, h, 0, 1.0);
        }
    }
}

/* Token t: a and b on a grid; the second half of the heads has exp(A_log) on a grid and a
 * softplus that is its own argument. */
static void craft_gates(probe *p) {
    const int64_t tokens = gdn_case_tokens(&p->test), heads = p->test.num_v_heads;
    for (int64_t h = 0; h < heads; h++) {
        const bool powers = h >= heads / 2;
        const double x = (double)(2 * h - heads) / (double)heads;
        put(p, "A_log", h, 0, 0, powers ? (float)(-10.0 + 14.7 * x) : 0.0);
        put(p, "dt_bias", h, 0, 0, powers ? 32.0 : 0.0);
        for (int64_t t = 0; t < tokens; t++) {
            const double y = (double)(h * tokens + t) / (double)(heads * tokens);
            const double grid = gdn_round_to(-24.0 + 48.0 * y, GDN_BF16);
            put(p, "b", t, h, 0, grid);
            put(p, "a", t, h, 0, powers ? 0.0 : gdn_round_to(16.0 - 36.0 * y, GDN_BF16));
        }
    }
}

/* Builds, crafts and runs. `*ran` false: `why` says what the device, or the profile, has
 * against it. */
static gdn_status run_probe(probe *p, const char *members, void (*craft)(probe *),
                            bool *ran, char why[160], gdn_error *err) {
    char text[512];
    gdn_error refused = {0};
    gdn_case_result result = {0};
    *ran = false;
    snprintf(text, sizeof text, "{\"profile\": \"%s\", \"num_k_heads\": 1, %s}", p->profile,
             members);
    json_t *json = json_loads(text, 0, NULL);
    gdn_status status = gdn_case_from_json(&p->test, json, p->profiles, &refused);
    json_decref(json);
    if (status == GDN_ERR_ARG) {
        snprintf(why, 160, "%.159s", refused.message);
        return GDN_OK;
    }
    if (status != GDN_OK) {
        return gdn_error_set(err, status, "%s", refused.message);
    }
    GDN_TRY(gdn_problem_create(&p->problem, &p->test, err));
    craft(p);
    gdn_arena_refreeze(&p->problem.arena);
    GDN_TRY(gdn_golden_create(&p->golden, &p->problem, err));
    status = p->executor->run(p->executor->context, &p->problem, ran, &result, err);
    snprintf(why, 160, "%s: %.120s", gdn_verdict_name(result.verdict),
             result.message ? result.message : "");
    gdn_case_result_destroy(&result);
    return status;
}

static void end_probe(probe *p) {
    gdn_golden_destroy(&p->golden);
    gdn_problem_destroy(&p->problem);
    gdn_case_destroy(&p->test);
}

#define DELTA                                                                              \
    "\"op\": \"gated_delta_rule\", \"num_v_heads\": 3, \"head_k_dim\": 64, "               \
    "\"head_v_dim\": "                                                                     \
    "24, \"initial\": \"all\", "

/* Row of OPERANDS; of two with the same bits fp16 is the one in which 2^20 is infinite. */
static size_t operand_row(int bits, bool narrow) {
    size_t row = 0;
    while (row < COARSER_THAN_ALL && bits < OPERANDS[row].bits) {
        row++;
    }
    const bool fp16 = row < COARSER_THAN_ALL && OPERANDS[row].class == GDN_CLASS_TF32_MMA;
    return fp16 && narrow ? row + 1 : row;
}

static gdn_status judge_operands(probe *p, bool chunk, gdn_error *err) {
    const gdn_conventions *c = &p->test.conventions;
    const gdn_numeric_class class = chunk ? c->chunk_class : c->numeric_class;
    const char *const *names = gdn_convention_field_find("chunk_class")->values;
    const int bits = operand_bits(p);
    const bool narrow = !(fabs(get_state(p, 0, 2, 0, 0)) <= 1.0);
    const size_t found = operand_row(bits, narrow);
    size_t claimed = 0;
    while (claimed + 1 < COARSER_THAN_ALL && OPERANDS[claimed].class != class) {
        claimed++;
    }
    const char *as =
        found < COARSER_THAN_ALL ? names[OPERANDS[found].class] : "no class at all";
    gdn_numeric_finding f = {.quantity = chunk ? "operand_chunk" : "operand_decode",
                             .unit = "bits",
                             .measured = true,
                             .found = bits,
                             .allowed = OPERANDS[claimed].bits,
                             .ok = found == claimed};
    snprintf(f.text, sizeof f.text, "operands keep %d bits, as %s; the profile claims %s%s",
             bits, as, names[class],
             f.ok              ? ""
             : found > claimed ? ", which is finer than this device"
                               : ", whose limits are wider than this device needs");
    return add(p, &f, err);
}

static gdn_status probe_operands(probe *p, bool chunk, gdn_error *err) {
    bool ran;
    char why[160];
    gdn_status status =
        run_probe(p, chunk ? DELTA "\"batch\": \"pre1x2\"" : DELTA "\"batch\": \"dec1\"",
                  craft_operands, &ran, why, err);
    if (status == GDN_OK) {
        status = ran ? judge_operands(p, chunk, err)
                     : add_unknown(p, chunk ? "operand_chunk" : "operand_decode", why, err);
    }
    end_probe(p);
    return status;
}

static gdn_status probe_accumulation(probe *p, gdn_error *err) {
    bool ran;
    char why[160];
    gdn_status status =
        run_probe(p, DELTA "\"batch\": \"pre1x2\"", craft_accumulation, &ran, why, err);
    if (status == GDN_OK && !ran) {
        status = add_unknown(p, "accumulation", why, err);
    } else if (status == GDN_OK) {
        const int bits = accumulator_bits(p);
        gdn_numeric_finding f = {.quantity = "accumulation",
                                 .unit = "bits",
                                 .measured = true,
                                 .found = bits,
                                 .allowed = ACCUMULATOR_BITS,
                                 .ok = bits >= ACCUMULATOR_BITS};
        snprintf(f.text, sizeof f.text, "sums keep %d bits; every class adds in fp32",
                 bits);
        status = add(p, &f, err);
    }
    end_probe(p);
    return status;
}

static gdn_status judge_cast(probe *p, gdn_error *err) {
    const double low = get(p, "out", 0, 0, 0), high = get(p, "out", 0, 1, 0);
    const bool nearest = low == 0.5 && high == 0.5 + 0x1p-8;
    const bool truncates = low == 0.5 && high == 0.5;
    gdn_numeric_finding f = {.quantity = "cast", .measured = true, .ok = nearest};
    snprintf(f.text, sizeof f.text, "stores %s: %.9g and %.9g of 0.500976562, 0.502929688",
             nearest     ? "round to nearest"
             : truncates ? "truncate"
                         : "round in no known way",
             low, high);
    GDN_TRY(add(p, &f, err));
    const double found = get_state(p, 0, 2, 0, 1);
    const gdn_claim claim = p->test.claims[GDN_AXIS_DENORMALS];
    const bool kept = found == 0x1p-130, flushed = found == 0.0;
    f = (gdn_numeric_finding){.quantity = "denormals",
                              .measured = true,
                              .ok = (kept && claim != GDN_CLAIMS_NO) ||
                                    (flushed && claim != GDN_CLAIMS_YES)};
    snprintf(f.text, sizeof f.text, "subnormals are %s; that they are kept is claimed: %s",
             kept      ? "kept"
             : flushed ? "flushed to zero"
                       : "neither kept nor zero",
             GDN_CLAIM_NAMES[claim]);
    return add(p, &f, err);
}

static gdn_status probe_cast(probe *p, gdn_error *err) {
    bool ran;
    char why[160];
    gdn_status status =
        run_probe(p, DELTA "\"batch\": \"dec1\"", craft_cast, &ran, why, err);
    if (status == GDN_OK) {
        status = ran ? judge_cast(p, err) : add_unknown(p, "cast", why, err);
    }
    end_probe(p);
    return status;
}

/* The element that uses most of its limit among those that `wanted` takes, in u of fp32. */
static gdn_status judge_function(probe *p, const char *quantity, const char *output,
                                 bool (*wanted)(const probe *, int64_t, int64_t),
                                 gdn_error *err) {
    gdn_numeric_finding f = {
        .quantity = quantity, .unit = "u", .measured = true, .ok = true};
    double worst = -1.0;
    for (size_t o = 0; o < p->golden.n_outputs; o++) {
        const gdn_expected *e = &p->golden.outputs[o];
        if (strcmp(e->tensor->name, output) != 0) {
            continue;
        }
        if (e->tensor->dtype != GDN_FP32) {
            return add_unknown(p, quantity, "the profile stores the output rounded", err);
        }
        for (int64_t i = 0; i < e->n_rows * e->row_count; i++) {
            const int64_t row = i / e->row_count, at = i % e->row_count;
            const double scale = fabs(e->golden[i]) * 0x1p-24;
            if (!wanted(p, row, at) || scale == 0.0) {
                continue;
            }
            const double found = gdn_load(e->tensor->data, e->tensor->dtype,
                                          e->rows[row] * e->tensor->stride[0] + at);
            const double error = fabs(found - e->golden[i]);
            const double budget = error / (double)e->limit[i];
            f.ok = f.ok && (error <= (double)e->limit[i]);
            if (!(budget <= worst)) {
                worst = budget;
                f.found = error / scale;
                f.allowed = (double)e->limit[i] / scale;
            }
        }
    }
    snprintf(f.text, sizeof f.text,
             "off by %.3g u at most of what the profile grants, %.3g u", f.found,
             f.allowed);
    return worst < 0.0 ? add_unknown(p, quantity, "no such output", err) : add(p, &f, err);
}

static bool is_key(const probe *p, int64_t row, int64_t at) {
    (void)p;
    (void)row;
    return at == 0;
}

static bool is_power(const probe *p, int64_t row, int64_t at) {
    (void)row;
    return at >= p->test.num_v_heads / 2;
}

static bool is_softplus(const probe *p, int64_t row, int64_t at) {
    return !is_power(p, row, at);
}

static bool is_any(const probe *p, int64_t row, int64_t at) {
    (void)p;
    (void)row;
    (void)at;
    return true;
}

static gdn_status probe_rsqrt(probe *p, gdn_error *err) {
    bool ran;
    char why[160];
    gdn_status status =
        run_probe(p,
                  "\"op\": \"gated_delta_rule\", \"num_v_heads\": 1, \"head_k_dim\": 64, "
                  "\"head_v_dim\": 24, \"initial\": \"none\", \"batch\": \"dec32\"",
                  craft_rsqrt, &ran, why, err);
    if (status == GDN_OK) {
        status = ran ? judge_function(p, "rsqrt", "ssm_state", is_key, err)
                     : add_unknown(p, "rsqrt", why, err);
    }
    end_probe(p);
    return status;
}

static gdn_status probe_gates(probe *p, gdn_error *err) {
    bool ran;
    char why[160];
    gdn_status status = run_probe(p,
                                  "\"op\": \"gdn_gating\", \"num_v_heads\": 128, "
                                  "\"head_k_dim\": 64, \"head_v_dim\": 64, \"batch\": "
                                  "\"dec32\"",
                                  craft_gates, &ran, why, err);
    if (status == GDN_OK && !ran) {
        status = add_unknown(p, "exp, softplus, sigmoid", why, err);
    } else if (status == GDN_OK) {
        status = judge_function(p, "exp", "g", is_power, err);
        if (status == GDN_OK) {
            status = judge_function(p, "softplus", "g", is_softplus, err);
        }
        if (status == GDN_OK) {
            status = judge_function(p, "sigmoid", "beta", is_any, err);
        }
    }
    end_probe(p);
    return status;
}

gdn_status gdn_numerics_probe(gdn_run_result *run, const char *profile,
                              const char *profiles, const gdn_executor *executor,
                              gdn_error *err) {
    probe p = {.profile = profile, .profiles = profiles, .executor = executor, .run = run};
    GDN_TRY(probe_operands(&p, true, err));
    GDN_TRY(probe_operands(&p, false, err));
    GDN_TRY(probe_accumulation(&p, err));
    GDN_TRY(probe_cast(&p, err));
    GDN_TRY(probe_rsqrt(&p, err));
    return probe_gates(&p, err);
}
