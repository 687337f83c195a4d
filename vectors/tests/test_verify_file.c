/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Cases of draft verification in vector files: they come back as they were, and inputs that
 * no backend may follow are refused by name, although every digest is right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vector_file.h"

typedef struct written {
    char dir[64];
    gdn_case test;
    gdn_problem problem;
    gdn_golden golden;
} written;

static void require(gdn_status status, const gdn_error *err) {
    if (status != GDN_OK) {
        fail_msg("%s", err->message);
    }
}

static void begin(written *w, const char *text) {
    gdn_error err = {0};
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    snprintf(w->dir, sizeof w->dir, "/tmp/gdn-verify-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    require(gdn_case_from_json(&w->test, json, GDN_PROFILE_DIR, &err), &err);
    require(gdn_problem_create(&w->problem, &w->test, &err), &err);
    require(gdn_golden_create(&w->golden, &w->problem, &err), &err);
    json_decref(json);
}

static void write_file(written *w) {
    gdn_error err = {0};
    gdn_vector_writer *writer = NULL;
    gdn_certificate certificate;
    require(gdn_certify(&certificate, &w->problem, &w->golden, &err), &err);
    require(gdn_vector_writer_create(&writer, w->dir, "v", &err), &err);
    require(gdn_vector_writer_add(writer, &w->problem, &w->golden, &certificate, &err),
            &err);
    require(gdn_vector_writer_commit(writer, &err), &err);
}

static gdn_status read_file(const written *w, gdn_problem *problem, gdn_golden *golden,
                            gdn_error *err) {
    gdn_vector_reader *reader = NULL;
    GDN_TRY(gdn_vector_reader_open(&reader, w->dir, "v", err));
    const gdn_status status =
        gdn_vector_reader_load(reader, &w->test, problem, golden, err);
    gdn_vector_reader_close(reader);
    return status;
}

static void end(written *w) {
    char path[128];
    snprintf(path, sizeof path, "%s/v.h5", w->dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/v.manifest.json", w->dir);
    unlink(path);
    rmdir(w->dir);
    gdn_golden_destroy(&w->golden);
    gdn_problem_destroy(&w->problem);
    gdn_case_destroy(&w->test);
}

static const char *const CASES[] = {
    ("{\"op\":\"verify_draft_tokens\",\"profile\":\"fastdeploy-xpu\",\"mode\":\"topp\","
     "\"scenario\":\"states\"}"),
    "{\"op\":\"top_p_candidates\",\"profile\":\"fastdeploy-xpu\",\"dtype\":\"fp16\"}",
    "{\"op\":\"build_sampling_params\",\"profile\":\"fastdeploy-gpu\"}",
    "{\"op\":\"rejection_sample\",\"profile\":\"vllm-mrv2\",\"mode\":\"block\"}",
    "{\"op\":\"tree_speculative_sampling\",\"profile\":\"sglang\",\"misaligned\":true}",
    "{\"op\":\"build_tree\",\"profile\":\"sglang-npu\",\"mode\":\"query\"}",
    "{\"op\":\"state_commit\",\"profile\":\"sglang\"}",
};

static void test_round_trip(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        written w;
        gdn_problem problem;
        gdn_golden golden;
        gdn_error err = {0};
        begin(&w, CASES[i]);
        write_file(&w);
        require(read_file(&w, &problem, &golden, &err), &err);
        assert_int_equal(problem.arena.bytes, w.problem.arena.bytes);
        assert_memory_equal(problem.arena.base, w.problem.arena.base, problem.arena.bytes);
        assert_int_equal(golden.n_outputs, w.golden.n_outputs);
        for (size_t k = 0; k < golden.n_outputs; k++) {
            const gdn_expected *a = &golden.outputs[k];
            const gdn_expected *b = &w.golden.outputs[k];
            assert_int_equal(a->n_rows, b->n_rows);
            assert_memory_equal(a->bits, b->bits,
                                (size_t)(a->n_rows * a->row_count) *
                                    gdn_dtype_size(a->tensor->dtype));
        }
        gdn_golden_destroy(&golden);
        gdn_problem_destroy(&problem);
        end(&w);
    }
}

/* Writes an element of an input into a frozen arena. */
static void spoil(written *w, const char *name, int64_t at, double value) {
    gdn_tensor *t = gdn_arena_tensor(&w->problem.arena, name);
    gdn_store(t->data, t->dtype, at, value);
    gdn_arena_refreeze(&w->problem.arena);
}

/* A file as written is refused with these words, before anything runs. */
static void expect_refusal(written *w, const char *message) {
    gdn_problem problem;
    gdn_golden golden;
    gdn_error err = {0};
    write_file(w);
    assert_int_equal(read_file(w, &problem, &golden, &err), GDN_ERR_FORMAT);
    if (!strstr(err.message, message)) {
        fail_msg("expected \"%s\" but found \"%s\"", message, err.message);
    }
    end(w);
}

static void test_bad_inputs_are_named(void **state) {
    (void)state;
    static const struct {
        size_t which;
        const char *name;
        int64_t at;
        double value;
        const char *message;
    } ROWS[] = {
        {0, "candidate_lens", 0, 99, "candidate_lens[0]: expected 0 to 4 but found 99"},
        {0, "candidate_scores", 0, (double)NAN, "candidate_scores[0,0]: expected a number"},
        {0, "candidate_ids", 0, -1, "candidate_ids[0,0]: expected 0 to"},
        {0, "step_input_ids", 1, -5, "step_input_ids[0,1]: expected 0 to"},
        {0, "seq_lens_this_time", 0, 9,
         "seq_lens_this_time[0]: expected 1 to 5 but found 9"},
        {0, "cu_seqlens_q_output", 0, 1, "cu_seqlens_q_output[0]: expected 0 to 0"},
        {0, "cu_seqlens_q_output", 2, 0, "cu_seqlens_q_output[2]: expected 5 to"},
        {0, "topp", 0, 1.5, "topp[0]: expected a number in [0, 1] but found 1.5"},
        {1, "probs", 0, -1, "probs[0,0]: expected a number in [0, inf] but found -1"},
        {1, "probs", 1, (double)NAN, "probs[0,1]: expected a number in [0, inf]"},
        {2, "cu_seqlens_q_output", 2, 0, "cu_seqlens_q_output[2]: expected"},
        {3, "draft_token_ids", 0, 16, "draft_token_ids[0]: expected -1 to 15 but found 16"},
        {3, "cu_num_draft_tokens", 1, 0, "cu_num_draft_tokens[1]: expected 4 to 8"},
        {3, "cu_num_draft_tokens", 0, 9, "cu_num_draft_tokens[0]: expected 0 to 4"},
        {3, "bonus_token_ids", 0, 16, "bonus_token_ids[0]: expected 0 to 15 but found 16"},
        {3, "target_probs", 0, (double)NAN, "target_probs[0,0]: expected a number"},
        {3, "draft_probs", 3, -0.25, "draft_probs[0,3]: expected a number in [0, inf]"},
        {4, "candidates", 1, 16, "candidates[0,1]: expected 0 to 15 but found 16"},
        {4, "retrive_next_token", 0, 2, "two parents"},
        {4, "retrive_next_token", 0, 5, "retrive_next_token[0,0]: expected -1 to 4"},
        {4, "target_probs", 0, -1, "target_probs[0,0,0]: expected a number"},
        {5, "selected_index", 0, 99, "selected_index[0,0]: expected 0 to"},
        {6, "slot_table", 0, -3, "slot_table[0,0]: expected 0 to"},
        {6, "last_steps", 0, 5, "last_steps[0]: expected -1 to 4 but found 5"},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        written w;
        begin(&w, CASES[ROWS[i].which]);
        spoil(&w, ROWS[i].name, ROWS[i].at, ROWS[i].value);
        expect_refusal(&w, ROWS[i].message);
    }
}

/* Two nodes that only each other's links lead to. */
static void test_cycle_is_named(void **state) {
    written w;
    (void)state;
    begin(&w, CASES[4]);
    for (int64_t i = 0; i < 5; i++) {
        spoil(&w, "retrive_next_token", i, i == 1 ? 2 : i == 2 ? 1 : -1);
        spoil(&w, "retrive_next_sibling", i, -1);
    }
    expect_refusal(&w, "retrive_next_token[0,1]: expected a tree but found a cycle");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_bad_inputs_are_named),
        cmocka_unit_test(test_cycle_is_named),
    };
    return cmocka_run_group_tests_name("verify_file", tests, NULL, NULL);
}
