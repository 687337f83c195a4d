/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What index tensors hold: each row breaks one rule and expects the whole message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "call_bench.h"

static void test_starts(void **state) {
    (void)state;
    static const row ROWS[] = {
        {CONV, "query_start_loc[0]=1", "query_start_loc[0]: expected 0 but found 1"},
        {CONV, "query_start_loc[2]=3",
         "query_start_loc[2]: expected 4 to 9 (sequences of 0 to 9 tokens in 9 rows) "
         "but found 3"},
        {CONV, "query_start_loc[3]=10",
         "query_start_loc[3]: expected 4 to 9 (sequences of 0 to 9 tokens in 9 rows) "
         "but found 10"},
        {SPEC_CONV, "query_start_loc[1]=4",
         "query_start_loc[1]: expected 0 to 3 (sequences of 0 to 3 tokens in 6 rows) "
         "but found 4"},
        {SPEC_CONV, "query_start_loc[1]=0 query_start_loc[2]=0", NULL},
        {ATTENTION, "spec_query_start_loc[1]=4",
         "spec_query_start_loc[1]: expected 1 to 3 (sequences of 1 to 3 tokens in 10 rows) "
         "but found 4"},
        {ATTENTION, "spec_query_start_loc[1]=0",
         "spec_query_start_loc[1]: expected 1 to 3 (sequences of 1 to 3 tokens in 10 rows) "
         "but found 0"},
        {ATTENTION, "spec_query_start_loc[2]=4",
         "spec_query_start_loc[2]: expected 5 (size of spec_token_indx) but found 4"},
        {ATTENTION, "non_spec_query_start_loc[2]=4",
         "non_spec_query_start_loc[2]: expected 5 to 10 (sequences of 1 to 10 tokens in 10 "
         "rows) but found 4"},
        {ATTENTION, "non_spec_query_start_loc[2]=6",
         "non_spec_query_start_loc[2]: expected 5 (size of non_spec_token_indx) but found "
         "6"},
        {ATTENTION, "non_spec_query_start_loc[1]=3",
         "non_spec_query_start_loc: expected at least 1 sequences of one token "
         "(num_decodes) "
         "but found 0"},
        {ATTENTION, "num_prefills=0 num_decodes=2",
         "non_spec_query_start_loc: expected at least 2 sequences of one token "
         "(num_decodes) "
         "but found 1"},
        /* A one-token prefill is a prefill all the same. */
        {ATTENTION, "num_prefills=2 num_decodes=0", NULL},
    };
    CHECK_ROWS(ROWS);
}

static void test_index_values(void **state) {
    (void)state;
    static const row ROWS[] = {
        {CONV, "has_initial_state[1]=2",
         "has_initial_state[1]: expected 0 to 1 but found 2"},
        {CONV, "state_indices[0]=7", "state_indices[0]: expected 0 to 6 but found 7"},
        {CONV, "state_indices[1]=-1", "state_indices[1]: expected 0 to 6 but found -1"},
        {CONV, "state_indices[2]=6",
         "state_indices[2]: expected a slot that nobody else names but found 6"},
        {SPEC_CONV, "num_accepted_tokens[1]=4",
         "num_accepted_tokens[1]: expected 0 to 3 but found 4"},
        {SPEC_CONV, "num_accepted_tokens[0]=-1",
         "num_accepted_tokens[0]: expected 0 to 3 but found -1"},
        {SPEC_CONV, "state_indices[5]=2",
         "state_indices[1,2]: expected a slot that nobody else names but found 2"},
        {DELTA, "state_indices[1]=4", "state_indices[1]: expected 0 to 3 but found 4"},
        {DELTA, "state_indices[1]=3",
         "state_indices[1]: expected a slot that nobody else names but found 3"},
        {ATTENTION, "has_initial_state[0]=7",
         "has_initial_state[0]: expected 0 to 1 but found 7"},
        {ATTENTION, "num_accepted_tokens[1]=4",
         "num_accepted_tokens[1]: expected 0 to 3 but found 4"},
        {ATTENTION, "spec_state_indices_tensor[4]=9",
         "spec_state_indices_tensor[1,1]: expected 0 to 8 but found 9"},
        {ATTENTION, "non_spec_state_indices_tensor[0]=-1",
         "non_spec_state_indices_tensor[0]: expected 0 to 8 but found -1"},
        {ATTENTION, "spec_state_indices_tensor[3]=2",
         "spec_state_indices_tensor[1,0]: expected a slot that nobody else names but found "
         "2"},
        {ATTENTION, "non_spec_state_indices_tensor[1]=3",
         "non_spec_state_indices_tensor[1]: expected a slot that nobody else names "
         "but found 3"},
        {ATTENTION, "non_spec_state_indices_tensor[1]=8",
         "non_spec_state_indices_tensor[1]: expected a slot that nobody else names "
         "but found 8"},
        {ATTENTION, "spec_token_indx[2]=10",
         "spec_token_indx[2]: expected 0 to 9 but found 10"},
        {ATTENTION, "non_spec_token_indx[0]=-1",
         "non_spec_token_indx[0]: expected 0 to 9 but found -1"},
        {ATTENTION, "spec_token_indx[2]=9",
         "spec_token_indx[2]: expected a row that nobody else names but found 9"},
        {ATTENTION, "non_spec_token_indx[4]=6",
         "non_spec_token_indx[4]: expected a row that nobody else names but found 6"},
    };
    CHECK_ROWS(ROWS);
}

static void test_metadata_values(void **state) {
    (void)state;
    static const row ROWS[] = {
        {METADATA,
         "pad_requests=3 spec_query_start_loc.0=5 non_spec_query_start_loc.0=5 "
         "spec_state_indices_tensor.0=4 non_spec_state_indices_tensor.0=4 "
         "spec_num_accepted_tokens.0=4",
         "pad_requests: expected 0 or at least 4 but found 3"},
        {METADATA,
         "pad_requests=4 spec_query_start_loc.0=5 non_spec_query_start_loc.0=5 "
         "spec_state_indices_tensor.0=4 non_spec_state_indices_tensor.0=4 "
         "spec_num_accepted_tokens.0=4",
         NULL},
        /* A draft count of 0 is one token, and a spec row only beside a larger count. */
        {METADATA, "num_decode_draft_tokens[0]=0",
         "num_decode_draft_tokens[0]: expected -1 or 4 (tokens but one) but found 0"},
        {METADATA, "num_decode_draft_tokens[1]=0",
         "num_accepted_tokens[1]: expected 0 to 3 but found 9"},
        {METADATA,
         "num_decode_draft_tokens[1]=0 num_decode_draft_tokens[2]=-1 -num_accepted_tokens",
         NULL},
        /* The first of two spec rows behind a padding request is named. */
        {METADATA,
         "query_start_loc[1]=0 query_start_loc[2]=1 query_start_loc[3]=4 "
         "query_start_loc[4]=4 num_decode_draft_tokens[1]=0 num_accepted_tokens[1]=1 "
         "block_table[5]=7 block_table[6]=7 spec_token_indx.0=4 non_spec_token_indx.0=4",
         "num_decode_draft_tokens[1]: expected -1 behind an empty request but found 0"},
        /* Padding requests in front of the only spec row. */
        {METADATA,
         "query_start_loc[1]=0 query_start_loc[2]=0 query_start_loc[3]=3 "
         "query_start_loc[4]=3 spec_token_indx.0=3 non_spec_token_indx.0=3",
         "num_decode_draft_tokens[2]: expected -1 behind an empty request but found 2"},
        {METADATA, "query_start_loc[0]=-1", "query_start_loc[0]: expected 0 but found -1"},
        {METADATA, "query_start_loc[2]=4",
         "query_start_loc[2]: expected 5 to 9 (sequences of 0 to 9 tokens in 9 rows) "
         "but found 4"},
        {METADATA, "spec_token_indx.0=10 non_spec_token_indx.0=10",
         "query_start_loc[4]: expected 10 (size of the token indices) but found 9"},
        {METADATA, "seq_lens[0]=4", "seq_lens[0]: expected 5 to 2147483647 but found 4"},
        {METADATA, "num_decode_draft_tokens[0]=-2",
         "num_decode_draft_tokens[0]: expected -1 to 2 but found -2"},
        {METADATA, "num_decode_draft_tokens[2]=3",
         "num_decode_draft_tokens[2]: expected -1 to 2 but found 3"},
        {METADATA, "num_decode_draft_tokens[2]=1",
         "num_decode_draft_tokens[2]: expected -1 or 2 (tokens but one) but found 1"},
        {METADATA, "num_accepted_tokens[2]=4",
         "num_accepted_tokens[2]: expected 0 to 3 but found 4"},
        {METADATA, "num_accepted_tokens[2]=-1",
         "num_accepted_tokens[2]: expected 0 to 3 but found -1"},
        {METADATA, "num_accepted_tokens[2]=0", NULL},
        {METADATA, "-num_accepted_tokens",
         "num_accepted_tokens: expected a tensor beside draft counts above 0 but found "
         "none"},
        {METADATA, "-num_accepted_tokens -num_decode_draft_tokens", NULL},
        {METADATA, "block_table[0]=-1",
         "block_table[0,0]: expected 0 to 2147483647 but found -1"},
        {METADATA, "block_table[10]=-1",
         "block_table[2,2]: expected 0 to 2147483647 but found -1"},
        {METADATA, "pad_requests=0",
         "spec_query_start_loc: expected size 5 (padded requests + 1) in dimension 0 but "
         "found 7"},
    };
    CHECK_ROWS(ROWS);
}

/* Without data only shapes are known; any subset of the index tensors may lack it. */
static void test_missing_data(void **state) {
    (void)state;
    for (size_t v = 0; v < VALID_CALLS; v++) {
        bench b;
        bench_init(&b, (valid_name)v);
        gdn_tensor *indices[MAX_TENSORS];
        void *data[MAX_TENSORS];
        size_t n = 0;
        for (size_t i = 0; i < b.call.n_tensors; i++) {
            if (b.tensors[i].data) {
                data[n] = b.tensors[i].data;
                indices[n++] = &b.tensors[i];
            }
        }
        for (unsigned subset = 0; subset < 1u << n; subset++) {
            for (size_t i = 0; i < n; i++) {
                indices[i]->data = subset >> i & 1 ? NULL : data[i];
            }
            assert_int_equal(gdn_call_check(&b.call, NULL), GDN_OK);
        }
    }
}

/* Whatever one index element holds, the answer is a verdict and the message has its value
 * or that of another element that now contradicts it; sanitizers watch the reads. */
static void test_any_element(void **state) {
    (void)state;
    static const int32_t ODD[] = {INT32_MIN, -2, -1, 0, 1, 2, 3, 9, 1000, INT32_MAX};
    for (size_t v = 0; v < VALID_CALLS; v++) {
        bench b;
        bench_init(&b, (valid_name)v);
        for (size_t i = 0; i < b.call.n_tensors; i++) {
            gdn_tensor *t = &b.tensors[i];
            for (int64_t k = 0; t->data && k < gdn_tensor_count(t); k++) {
                for (size_t o = 0; o < sizeof ODD / sizeof ODD[0]; o++) {
                    gdn_error err = {0};
                    bench_set(t, k, ODD[o]);
                    const gdn_status status = gdn_call_check(&b.call, &err);
                    assert_int_equal(status, err.status);
                    assert_true(status == GDN_OK || strstr(err.message, ": expected "));
                }
                bench_set(t, k, VALID[v].tensors[i].values[k]);
            }
        }
        assert_int_equal(gdn_call_check(&b.call, NULL), GDN_OK);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_starts),          cmocka_unit_test(test_index_values),
        cmocka_unit_test(test_metadata_values), cmocka_unit_test(test_missing_data),
        cmocka_unit_test(test_any_element),
    };
    return cmocka_run_group_tests_name("call_check_indices", tests, NULL, NULL);
}
