/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Right kernels of every class and profile under every relation that they take part in. */
#include <stdlib.h>
#include <string.h>

#include "emulated_device.h"
#include "false_alarms.h"
#include "gdn/profile.h"
#include "relation.h"

/* Beyond a chunk, short sequences behind it, a head group of two. */
static const char *const SHAPES[] = {
    "\"batch\": \"pre1x70+pre1x7+dec2\", \"num_k_heads\": 2, \"num_v_heads\": 4,"
    " \"head_k_dim\": 16, \"head_v_dim\": 8",
    "\"batch\": \"pre2x9\", \"num_k_heads\": 2, \"num_v_heads\": 4, \"head_k_dim\": 32,"
    " \"head_v_dim\": 16, \"state_dtype\": \"bf16\", \"fill\": \"model\"",
};

static const struct {
    gdn_numeric_class class;
    gdn_dtype operand;
} CLASSES[] = {
    {GDN_CLASS_FP32, GDN_FP32},
    {GDN_CLASS_BF16_MMA, GDN_BF16},
    {GDN_CLASS_FP16_MMA, GDN_FP16},
    {GDN_CLASS_TF32_MMA, GDN_FP32},
};

/* One kernel for chunked calls and one for others, as a backend has them. */
typedef struct emulated {
    const gdn_relation_case *relation;
    kernel_style chunked, recurrent;
} emulated;

static bool is_chunked(const gdn_problem *problem) {
    return problem->test->op == GDN_OP_GDN_ATTENTION
               ? gdn_call_scalar(&problem->call, "num_prefills", 0) > 0
               : gdn_call_scalar(&problem->call, "chunked", 0) != 0;
}

static gdn_status run_emulated(void *context, const gdn_problem *problem, bool *ran,
                               gdn_case_result *result, gdn_error *err) {
    const emulated *kernel = context;
    (void)result;
    *ran = false;
    for (size_t i = 0; i < kernel->relation->related.n_calls; i++) {
        if (&kernel->relation->related.calls[i].problem == problem) {
            gdn_golden *golden = &kernel->relation->calls[i].golden;
            gdnp_emulated_run(problem, golden,
                              is_chunked(problem) ? &kernel->chunked : &kernel->recurrent);
            *ran = true;
            return GDN_OK;
        }
    }
    return gdn_error_set(err, GDN_ERR_ARG, "a problem of no call");
}

static gdn_status judge_kernel(gdn_false_alarms *result, const gdn_case *test, size_t class,
                               int which, FILE *talk, gdn_error *err) {
    const bool matrix = CLASSES[class].class != GDN_CLASS_FP32;
    emulated kernel = {
        .chunked = matrix ? MMA_STYLES[which % MMA_STYLE_COUNT]
                          : KERNEL_STYLES[which % KERNEL_STYLE_COUNT],
        .recurrent = KERNEL_STYLES[which % KERNEL_STYLE_COUNT],
    };
    const gdn_executor executor = {.run = run_emulated, .context = &kernel};
    gdn_relation_case relation;
    gdn_case_result verdict = {0};
    gdn_error refused = {0};
    bool ran = false;
    kernel.chunked.operand = CLASSES[class].operand;
    kernel.recurrent.operand = CLASSES[class].operand;
    kernel.recurrent.chunk = 0;
    if (kernel.chunked.chunk > 64 && test->conventions.state_carry != GDN_CARRY_CALL) {
        return GDN_OK; /* no kernel of the profile, which stores the state more often */
    }
    gdn_status status = gdn_relation_create(&relation, test, &refused);
    if (status == GDN_ERR_ARG) {
        return GDN_OK; /* the relation has no place in the case */
    }
    if (status != GDN_OK) {
        return gdn_error_set(err, status, "%s", refused.message);
    }
    kernel.relation = &relation;
    status = gdn_relation_judge(&relation, &executor, &ran, &verdict, err);
    gdn_relation_destroy(&relation);
    result->runs++;
    result->alarms += verdict.verdict != GDN_PASS;
    if (gdn_case_budget(&verdict) > result->budget[0]) {
        result->budget[0] = gdn_case_budget(&verdict);
    }
    if (talk && verdict.verdict != GDN_PASS) {
        fprintf(talk, "%s, %s, %s: %s\n",
                gdn_convention_field_find("numeric_class")->values[CLASSES[class].class],
                kernel.chunked.name, test->id, verdict.message ? verdict.message : "");
    }
    gdn_case_result_destroy(&verdict);
    return status;
}

/* Every class on one case. */
static gdn_status run_case(gdn_false_alarms *result, const char *op, const char *profile,
                           const char *profiles, size_t shape, int relation, int seed,
                           FILE *talk, gdn_error *err) {
    char text[512];
    snprintf(
        text, sizeof text,
        "{\"op\": \"%s\", \"profile\": \"%s\", \"seed\": %d, \"relation\": \"%s\", %s}", op,
        profile, seed, GDN_RELATION_NAMES[relation], SHAPES[shape]);
    json_t *json = json_loads(text, 0, NULL);
    gdn_case test = {0};
    gdn_error refused = {0};
    gdn_status status = gdn_case_from_json(&test, json, profiles, &refused);
    json_decref(json);
    if (status == GDN_ERR_ARG) {
        return GDN_OK; /* none of the profile's cases */
    }
    if (status != GDN_OK) {
        return gdn_error_set(err, status, "%s", refused.message);
    }
    const bool all = gdnp_emulated_supports(&test);
    for (size_t c = 0; status == GDN_OK && all && c < sizeof CLASSES / sizeof CLASSES[0];
         c++) {
        test.conventions.chunk_class = CLASSES[c].class;
        test.conventions.numeric_class = GDN_CLASS_FP32;
        status = judge_kernel(result, &test, c, seed + relation + (int)shape, talk, err);
    }
    gdn_case_destroy(&test);
    return status;
}

gdn_status gdnp_relation_alarms(gdn_false_alarms *result, const char *profile,
                                const bool ops[GDN_OP_COUNT], const char *profiles,
                                int seeds, FILE *talk, gdn_error *err) {
    static const gdn_op OPS[] = {GDN_OP_GATED_DELTA_RULE, GDN_OP_GDN_ATTENTION};
    for (size_t op = 0; op < sizeof OPS / sizeof OPS[0]; op++) {
        for (size_t shape = 0; ops[OPS[op]] && shape < 2; shape++) {
            for (int relation = 1; relation < GDN_RELATION_COUNT; relation++) {
                for (int seed = 0; seed < seeds; seed++) {
                    GDN_TRY(run_case(result, gdn_op_get(OPS[op])->name, profile, profiles,
                                     shape, relation, seed, talk, err));
                }
            }
        }
    }
    return GDN_OK;
}
