/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Every relation holds for the reference, catches the bug that it is there for, and says
 * which call disagrees, where, and what both values are. */
#include "relation.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <string.h>

#include "gdn/deviation.h"
#include "mutate.h"

#define ATTENTION                                                                          \
    "\"op\": \"gdn_attention\", \"num_k_heads\": 2, \"num_v_heads\": 4,"                   \
    " \"head_k_dim\": 8, \"head_v_dim\": 6, "
#define DELTA                                                                              \
    "\"op\": \"gated_delta_rule\", \"num_k_heads\": 2, \"num_v_heads\": 4,"                \
    " \"head_k_dim\": 8, \"head_v_dim\": 6, "

/* Which deviation each relation must see. "": an element that moves on some calls only,
 * since no convention makes a kernel that is not linear, or not the same twice. */
static const struct {
    gdn_relation relation;
    const char *deviation, *test;
} SEEN[] = {
    {GDN_RELATION_SPLIT, "history_ignored", ATTENTION "\"batch\": \"pre2x9+dec1\""},
    {GDN_RELATION_PERMUTED, "flags_shifted", ATTENTION "\"batch\": \"pre3x5\""},
    {GDN_RELATION_RELABELLED, "conv_slot_unindexed", ATTENTION "\"batch\": \"dec3\""},
    {GDN_RELATION_ALONE, "beta_row0", ATTENTION "\"batch\": \"dec3\""},
    {GDN_RELATION_BATCH_INVARIANT, "beta_row0", ATTENTION "\"batch\": \"dec3\""},
    {GDN_RELATION_UNPADDED, "pad_in_slot0",
     ATTENTION "\"batch\": \"dec3+pad2\", \"profile\": \"vllm-rocm-aiter\""},
    {GDN_RELATION_SCALED, "", DELTA "\"batch\": \"pre1x9\""},
    {GDN_RELATION_DECODE_IS_PREFILL, "state_truncated",
     DELTA "\"batch\": \"pre1x70\", \"fill\": \"model\""},
    {GDN_RELATION_MIXED_IS_SEPARATE, "tokens_unindexed",
     ATTENTION "\"batch\": \"pre1x5+dec2+spec2x3\", \"order\": \"scattered\""},
    {GDN_RELATION_VERIFY_IS_DECODE, "accepted_off_by_one",
     ATTENTION "\"batch\": \"spec3x3\", \"accepted\": \"one\""},
    {GDN_RELATION_REPEATED, "", DELTA "\"batch\": \"pre1x9\""},
    {GDN_RELATION_REUSED, "", DELTA "\"batch\": \"pre1x9\""},
    {GDN_RELATION_HEADS_PERMUTED, "heads_tiled", DELTA "\"batch\": \"pre1x9\""},
    {GDN_RELATION_LANES_PERMUTED, "state_transposed", DELTA "\"batch\": \"pre1x9\""},
    {GDN_RELATION_REQUERIED, "qk_swapped", ATTENTION "\"batch\": \"pre1x9\""},
    {GDN_RELATION_RECALLED, "decay_after_read", DELTA "\"batch\": \"pre1x9\""},
    {GDN_RELATION_COMMUTED, "dt_bias_missing",
     ATTENTION "\"batch\": \"dec1\", \"fill\": \"model\""},
};

typedef struct bench {
    gdn_conventions bent;
    int calls, moves_from; ///< an element moves on calls from this one on; -1: none
    bool last_bit;         ///< by its last bit only
} bench;

static gdn_status run_bent(void *context, const gdn_problem *problem, bool *ran,
                           gdn_case_result *result, gdn_error *err) {
    bench *b = context;
    (void)result;
    *ran = true;
    GDN_TRY(gdn_mutate_run(problem, &b->bent, err));
    if (b->moves_from >= 0 && b->calls >= b->moves_from) {
        const gdn_tensor *out = gdn_call_tensor(&problem->call, "out");
        const double right = gdn_load(out->data, out->dtype, 3);
        gdn_store(out->data, out->dtype, 3,
                  right + (b->last_bit ? gdn_dtype_ulp(right, out->dtype) : 0.25));
    }
    b->calls++;
    return GDN_OK;
}

static gdn_case make(gdn_relation relation, const char *members) {
    char text[512];
    gdn_case test;
    gdn_error err = {0};
    snprintf(text, sizeof text, "{\"relation\": \"%s\", %s%s}",
             GDN_RELATION_NAMES[relation], members,
             strstr(members, "profile") ? "" : ", \"profile\": \"vllm-xpu\"");
    json_t *json = json_loads(text, 0, NULL);
    if (gdn_case_from_json(&test, json, GDN_PROFILE_DIR, &err) != GDN_OK) {
        fail_msg("%s: %s", text, err.message);
    }
    json_decref(json);
    return test;
}

static gdn_case_result judge(gdn_relation_case *relation, bench *b) {
    const gdn_executor executor = {.run = run_bent, .context = b};
    gdn_case_result result = {0};
    gdn_error err = {0};
    bool ran = false;
    b->calls = 0;
    if (gdn_relation_judge(relation, &executor, &ran, &result, &err) != GDN_OK) {
        fail_msg("%s", err.message);
    }
    assert_true(ran);
    return result;
}

static void test_each_sees_its_bug(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof SEEN / sizeof SEEN[0]; i++) {
        gdn_case test = make(SEEN[i].relation, SEEN[i].test);
        const char *name = GDN_RELATION_NAMES[SEEN[i].relation];
        gdn_relation_case relation;
        gdn_error err = {0};
        if (gdn_relation_create(&relation, &test, &err) != GDN_OK) {
            fail_msg("%s: %s", name, err.message);
        }
        bench b = {.bent = test.conventions, .moves_from = -1};
        gdn_case_result result = judge(&relation, &b);
        if (result.verdict != GDN_PASS) {
            fail_msg("%s, right: %s", name, result.message);
        }
        assert_int_equal(b.calls, relation.related.n_calls);
        gdn_case_result_destroy(&result);
        if (SEEN[i].deviation[0]) {
            assert_int_equal(
                gdn_deviation_apply(gdn_deviation_find(SEEN[i].deviation), &b.bent, &err),
                GDN_OK);
        } else {
            b.moves_from = 1;
        }
        result = judge(&relation, &b);
        if (result.verdict != GDN_FAIL || !result.message ||
            strncmp(result.message, name, strlen(name)) != 0 ||
            !strstr(result.message, ", call ") || !strchr(result.message, '[')) {
            fail_msg("%s, %s: %s", name, SEEN[i].deviation,
                     result.message ? result.message : "not seen");
        }
        gdn_case_result_destroy(&result);
        gdn_relation_destroy(&relation);
        gdn_case_destroy(&test);
    }
    /* none is forgotten */
    assert_int_equal(sizeof SEEN / sizeof SEEN[0], GDN_RELATION_COUNT - 1);
}

/* A right kernel's two roundings of a 16-bit state are no disagreement, but its limit is not
 * so wide that a state from zero would pass. */
static void test_carried_states_have_limits(void **state) {
    (void)state;
    gdn_case test =
        make(GDN_RELATION_SPLIT, DELTA "\"batch\": \"pre1x70\", \"state_dtype\":"
                                       " \"bf16\", \"fill\": \"model\"");
    gdn_relation_case relation;
    assert_int_equal(gdn_relation_create(&relation, &test, NULL), GDN_OK);
    assert_int_equal(relation.related.n_calls, 3);
    double least = 1.0, most = 0.0;
    for (int64_t i = 0; i < 4 * test.head_v_dim; i++) {
        const double n = relation.calls[2].carried[i];
        least = n < least ? n : least;
        most = n > most ? n : most;
    }
    assert_true(least > 0.0 && most < 0.1);
    gdn_relation_destroy(&relation);
    gdn_case_destroy(&test);
}

/* A promise to the bit stands apart from limits: where it is made, one last bit refutes it;
 * where it is not, the bit is noted and the case passes. */
static void test_claims_are_apart(void **state) {
    (void)state;
    gdn_case test = make(GDN_RELATION_REPEATED, DELTA "\"batch\": \"pre1x9\", \"dtype\": "
                                                      "\"fp32\"");
    for (int claim = GDN_NOT_CLAIMED; claim <= GDN_CLAIMS_NO; claim++) {
        gdn_relation_case relation;
        test.claims[GDN_AXIS_DETERMINISM] = (gdn_claim)claim;
        assert_int_equal(gdn_relation_create(&relation, &test, NULL), GDN_OK);
        for (int moves = 0; moves < 2; moves++) {
            bench b = {
                .bent = test.conventions, .moves_from = moves ? 1 : -1, .last_bit = true};
            gdn_case_result result = judge(&relation, &b);
            const bool refuted = moves == 1 && claim == GDN_CLAIMS_YES;
            assert_int_equal(result.verdict, refuted ? GDN_FAIL : GDN_PASS);
            assert_true(result.claim.seen && result.claim.axis == GDN_AXIS_DETERMINISM);
            assert_int_equal(result.claim.claimed, claim);
            assert_int_equal(result.claim.held, moves == 0);
            for (size_t i = 0; i < result.n_tensors; i++) {
                assert_true(result.tensors[i].ok); /* accuracy is not in doubt */
            }
            const gdn_run_result run = {.cases = &result, .n_cases = 1, .planned = 1};
            const gdn_claim_sum sum = gdn_run_claim(&run, GDN_AXIS_DETERMINISM);
            assert_string_equal(gdn_claim_outcome(&sum), claim != GDN_CLAIMS_YES
                                                             ? "not claimed"
                                                         : moves == 1 ? "refuted"
                                                                      : "held");
            if (refuted) {
                assert_non_null(strstr(result.message, "claims determinism to the bit"));
                assert_non_null(strstr(result.message, "out, row 0, element 3"));
            }
            gdn_case_result_destroy(&result);
        }
        gdn_relation_destroy(&relation);
    }
    gdn_case_destroy(&test);
}

/* A relation without a place in the case is an error that says so, never a silent pass. */
static void test_refusals(void **state) {
    (void)state;
    static const struct {
        gdn_relation relation;
        const char *test, *message;
    } REFUSED[] = {
        {GDN_RELATION_SPLIT, DELTA "\"batch\": \"dec2\"", "two tokens or more"},
        {GDN_RELATION_ALONE, DELTA "\"batch\": \"dec1\"", "two requests or more"},
        {GDN_RELATION_UNPADDED, ATTENTION "\"batch\": \"dec2\"", "padded"},
        {GDN_RELATION_COMMUTED, ATTENTION "\"batch\": \"dec2\"", "one token"},
        {GDN_RELATION_RECALLED, ATTENTION "\"batch\": \"dec2\"", "gated_delta_rule"},
        {GDN_RELATION_VERIFY_IS_DECODE, DELTA "\"batch\": \"dec2\"", "speculative"},
        {GDN_RELATION_DECODE_IS_PREFILL, DELTA "\"batch\": \"pre1x200\"", "fewer tokens"},
    };
    for (size_t i = 0; i < sizeof REFUSED / sizeof REFUSED[0]; i++) {
        gdn_case test = make(REFUSED[i].relation, REFUSED[i].test);
        gdn_relation_case relation;
        gdn_error err = {0};
        assert_int_equal(gdn_relation_create(&relation, &test, &err), GDN_ERR_ARG);
        if (!strstr(err.message, REFUSED[i].message)) {
            fail_msg("%s: %s", REFUSED[i].test, err.message);
        }
        gdn_case_destroy(&test);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_sees_its_bug),
        cmocka_unit_test(test_carried_states_have_limits),
        cmocka_unit_test(test_claims_are_apart),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
