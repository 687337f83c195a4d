/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "false_alarms.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "emulated_device.h"
#include "gdn/profile.h"
#include "judge.h"
#include "lattice.h"

static const struct {
    gdn_numeric_class class;
    gdn_dtype operand;
    const char *name;
} CLASSES[] = {
    {GDN_CLASS_FP32, GDN_FP32, "fp32"},
    {GDN_CLASS_BF16_MMA, GDN_BF16, "bf16-mma"},
    {GDN_CLASS_FP16_MMA, GDN_FP16, "fp16-mma"},
    {GDN_CLASS_TF32_MMA, GDN_FP32, "tf32-mma"},
};

/* One to 300 tokens, pools from 16 elements to 16,384 a head. */
static const char *const SHAPES[] = {
    "\"batch\": \"pre1x200+dec2\", \"num_k_heads\": 2, \"num_v_heads\": 4,"
    " \"head_k_dim\": 32, \"head_v_dim\": 32, \"state_dtype\": \"fp32\"",
    "\"batch\": \"pre2x65+dec1\", \"num_k_heads\": 1, \"num_v_heads\": 2,"
    " \"head_k_dim\": 64, \"head_v_dim\": 64, \"state_dtype\": \"bf16\", \"fill\": "
    "\"model\"",
    "\"batch\": \"dec3\", \"num_k_heads\": 2, \"num_v_heads\": 4, \"head_k_dim\": 16,"
    " \"head_v_dim\": 8, \"state_dtype\": \"fp32\", \"fill\": \"model\"",
    "\"batch\": \"pre1x300\", \"num_k_heads\": 1, \"num_v_heads\": 4, \"head_k_dim\": 32,"
    " \"head_v_dim\": 16, \"state_dtype\": \"fp32\", \"dtype\": \"fp16\", \"fill\": "
    "\"model\"",
    "\"batch\": \"pre1x3\", \"num_k_heads\": 1, \"num_v_heads\": 1, \"head_k_dim\": 128,"
    " \"head_v_dim\": 128, \"state_dtype\": \"fp32\", \"dtype\": \"fp16\"",
    "\"batch\": \"pre1x129+dec1\", \"num_k_heads\": 2, \"num_v_heads\": 4,"
    " \"head_k_dim\": 64, \"head_v_dim\": 16, \"fill\": \"lattice\"",
    "\"batch\": \"pre1x65\", \"num_k_heads\": 1, \"num_v_heads\": 2, \"head_k_dim\": 128,"
    " \"head_v_dim\": 16, \"state_dtype\": \"bf16\", \"fill\": \"lattice-alpha0\"",
};
/* Two cases a seed, every dye within eight seeds. */
static const char DYED[] =
    "\"batch\": \"pre1x176+pre1x9\", \"num_k_heads\": 1, \"num_v_heads\": 2,"
    " \"head_k_dim\": 8, \"head_v_dim\": 4, \"dye\": \"%s\"";
#define DYES 2

#define UNDYED      (sizeof SHAPES / sizeof SHAPES[0])
#define SHAPE_COUNT (UNDYED + DYES)

static void note(gdn_false_alarms *result, const gdn_case_result *verdict) {
    for (size_t i = 0; i < verdict->n_tensors; i++) {
        const gdn_tensor_result *t = &verdict->tensors[i];
        if (t->judgement != GDN_JUDGE_BOUNDED) {
            continue;
        }
        if (t->pool.head >= 0) {
            const int which = t->pool.kind == GDN_LIMIT_FLOOR_RMS ? 1 : 2;
            result->budget[which] = fmax(result->budget[which], t->pool.budget);
        }
        if (t->binding == GDN_LIMIT_BOUND || t->binding == GDN_LIMIT_FLOOR_LARGEST) {
            result->budget[0] = fmax(result->budget[0], t->budget);
        }
    }
}

static gdn_status judge_kernel(gdn_false_alarms *result, const gdn_problem *problem,
                               const gdn_golden *golden, const kernel_style *style,
                               const char *class, FILE *talk, gdn_error *err) {
    gdn_arena arena = problem->arena;
    gdn_case_result verdict = {0};
    gdn_arena_restore(&arena);
    gdnp_emulated_run(problem, golden, style);
    const gdn_status status = gdn_judge_case(problem, golden, &verdict, err);
    result->runs++;
    result->alarms += verdict.verdict != GDN_PASS;
    note(result, &verdict);
    if (talk && verdict.verdict != GDN_PASS) {
        fprintf(talk, "%s, %s, %s: %s\n", class, style->name, problem->test->id,
                verdict.message ? verdict.message : "");
    }
    gdn_case_result_destroy(&verdict);
    return status;
}

static bool without_tolerance(const gdn_case *test) {
    return gdn_case_is_lattice(test) || test->dye != GDN_DYE_NONE;
}

/* All kernels of one class on one case. */
static gdn_status run_class(gdn_false_alarms *result, gdn_case *test, size_t class,
                            FILE *talk, gdn_error *err) {
    const bool matrix = CLASSES[class].class != GDN_CLASS_FP32;
    gdn_problem problem = {0};
    gdn_golden golden = {0};
    test->conventions.chunk_class = CLASSES[class].class;
    test->conventions.numeric_class = GDN_CLASS_FP32;
    GDN_TRY(gdn_problem_create(&problem, test, err));
    gdn_status status = gdn_golden_create(&golden, &problem, err);
    const bool attention = test->op == GDN_OP_GDN_ATTENTION;
    const bool chunked = attention ? gdn_call_scalar(&problem.call, "num_prefills", 0) > 0
                                   : gdn_call_scalar(&problem.call, "chunked", 0) != 0;
    const kernel_style *styles = matrix && chunked ? MMA_STYLES : KERNEL_STYLES;
    const int n = matrix && chunked ? MMA_STYLE_COUNT : KERNEL_STYLE_COUNT;
    /* What needs no tolerance holds at every length of a chunk. */
    static const int CHUNKS[] = {16, 32, 64, 128};
    const int lengths = without_tolerance(test) && matrix && chunked ? 4 : 1;
    for (int i = 0; status == GDN_OK && i < n * lengths; i++) {
        kernel_style style = styles[i / lengths];
        style.operand = CLASSES[class].operand;
        style.chunk = !chunked                          ? 0
                      : lengths > 1 && style.chunk != 0 ? CHUNKS[i % lengths]
                                                        : style.chunk;
        /* A kernel without a chunk in a class of matrix units is no kernel of it; chunk
         * kernels in fp32 that sum gates in fp32 have no limit yet (BOUND.md). */
        if (style.chunk <= 64 || lengths > 1 ||
            test->conventions.state_carry == GDN_CARRY_CALL) {
            status = judge_kernel(result, &problem, &golden, &style, CLASSES[class].name,
                                  talk, err);
        }
    }
    gdn_golden_destroy(&golden);
    gdn_problem_destroy(&problem);
    return status;
}

static gdn_status run_case(gdn_false_alarms *result, const char *op, const char *profile,
                           const char *profiles, size_t shape, int seed, FILE *talk,
                           gdn_error *err) {
    char text[512], dyed[256];
    const int dye = 1 + (seed + 5 * (int)shape) % GDN_DYE_UNREAD;
    snprintf(dyed, sizeof dyed, DYED, GDN_DYE_NAMES[dye]);
    snprintf(text, sizeof text, "{\"op\": \"%s\", \"profile\": \"%s\", \"seed\": %d, %s}",
             op, profile, seed, shape < UNDYED ? SHAPES[shape] : dyed);
    json_t *json = json_loads(text, 0, NULL);
    gdn_case test = {0};
    /* A case that the profile does not allow is none of its cases. */
    gdn_error refused = {0};
    gdn_status status = gdn_case_from_json(&test, json, profiles, &refused);
    json_decref(json);
    if (status == GDN_ERR_ARG) {
        return GDN_OK;
    }
    if (status != GDN_OK) {
        return gdn_error_set(err, status, "%s", refused.message);
    }
    for (size_t class = 0; status == GDN_OK && gdnp_emulated_supports(&test) &&
                           class < sizeof CLASSES / sizeof CLASSES[0];
         class ++) {
        status = run_class(result, &test, class, talk, err);
    }
    gdn_case_destroy(&test);
    return status;
}

static gdn_status run_profile(gdn_false_alarms *result, const char *name,
                              const char *profiles, int seeds, bool relations, FILE *talk,
                              gdn_error *err) {
    static const gdn_op OPS[] = {GDN_OP_GATED_DELTA_RULE, GDN_OP_GDN_ATTENTION};
    gdn_profile profile;
    GDN_TRY(gdn_profile_load(&profile, profiles, name, err));
    gdn_status status = GDN_OK;
    if (relations) {
        status =
            gdnp_relation_alarms(result, name, profile.ops, profiles, seeds, talk, err);
    }
    for (size_t op = 0; !relations && op < sizeof OPS / sizeof OPS[0]; op++) {
        for (size_t shape = 0; profile.ops[OPS[op]] && shape < SHAPE_COUNT; shape++) {
            for (int seed = 0; status == GDN_OK && seed < seeds; seed++) {
                status = run_case(result, gdn_op_get(OPS[op])->name, name, profiles, shape,
                                  seed, talk, err);
            }
        }
    }
    gdn_profile_destroy(&profile);
    return status;
}

static void merge(gdn_false_alarms *into, const gdn_false_alarms *own) {
    into->runs += own->runs;
    into->alarms += own->alarms;
    for (int k = 0; k < 3; k++) {
        into->budget[k] = fmax(into->budget[k], own->budget[k]);
    }
}

/* Profiles side by side; each is the work of one thread. */
gdn_status gdn_false_alarms_count(gdn_false_alarms *result, const char *profiles, int seeds,
                                  bool relations, FILE *talk, gdn_error *err) {
    struct dirent **entries = NULL;
    const int n = scandir(profiles, &entries, NULL, alphasort);
    gdn_status status =
        n < 0 ? gdn_error_set(err, GDN_ERR_IO, "cannot read %s", profiles) : GDN_OK;
    *result = (gdn_false_alarms){0};
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < n; i++) {
        const char *end = strstr(entries[i]->d_name, ".json");
        gdn_false_alarms own = {0};
        gdn_error local = {0};
        gdn_status found = GDN_OK;
        if (end && end[5] == '\0' && !strstr(entries[i]->d_name, ".schema")) {
            char name[128];
            snprintf(name, sizeof name, "%.*s", (int)(end - entries[i]->d_name),
                     entries[i]->d_name);
            found = run_profile(&own, name, profiles, seeds, relations, talk, &local);
        }
        free(entries[i]);
#pragma omp critical(gdn_false_alarms)
        {
            merge(result, &own);
            if (found != GDN_OK) {
                status = gdn_error_set(err, found, "%s", local.message);
            }
        }
    }
    free(entries);
    return status;
}

void gdn_false_alarms_print(const gdn_false_alarms *r, FILE *out) {
    fprintf(
        out,
        "false alarms: %ld of %ld runs of right kernels (largest budgets: element %.3f, "
        "rms %.3f, rounded %.3f)\n",
        r->alarms, r->runs, r->budget[0], r->budget[1], r->budget[2]);
}
