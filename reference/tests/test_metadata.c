/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* gdn_metadata against vectors worked out by hand from contract vllm_cpu_and_metadata 3 and
 * its traps, and against a second implementation on random batches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metadata_bench.h"

/* Sets of revisions. */
enum {
    EARLY = 1 << GDN_METADATA_EARLY,
    MID = 1 << GDN_METADATA_MID,
    LATE = 1 << GDN_METADATA_LATE,
    ANY = EARLY | MID | LATE
};

/* A hand-made vector. Requests are "tokens/seq_len", with ",drafts,accepted" behind them
 * where speculation is configured; tables are lists in which a-b is a run and p the pad id;
 * NULL: the table has no row. */
typedef struct vector {
    const char *what;
    int rules;
    const char *requests;
    int pad_requests;
    int counts[6]; /* prefills, their tokens, decodes, theirs, spec rows, theirs */
    const char *tables[TABLES];
} vector;

static void parse_requests(batch *b, const char *text) {
    int used = 0;
    for (; *text; text += strspn(text, " ")) {
        const int i = b->requests++;
        sscanf(text, "%d/%d%n", &b->lengths[i], &b->seq_lens[i], &used);
        if (text[used] == ',') {
            b->speculation = true;
            sscanf(text, "%*d/%*d,%d,%d%n", &b->drafts[i], &b->accepted[i], &used);
        }
        text += used;
    }
}

static int parse_list(int *values, const char *text, int pad_slot_id) {
    int n = 0;
    while (text && *text) {
        if (*text == 'p') {
            values[n++] = pad_slot_id;
            text++;
        } else {
            char *end = NULL;
            const int first = (int)strtol(text, &end, 10);
            const int last = *end == '-' ? (int)strtol(end + 1, &end, 10) : first;
            for (int v = first; v <= last; v++) {
                values[n++] = v;
            }
            text = end;
        }
        text += strspn(text, " ");
    }
    return n;
}

/* Speculation is configured with two drafts; pad ids are those of the revisions. */
static void load_vector(const vector *v, int rules, batch *b, answer *a) {
    *b = (batch){.rules = (gdn_metadata_rules)rules,
                 .num_spec = 2,
                 .pad_requests = v->pad_requests,
                 .pad_slot_id = rules == GDN_METADATA_EARLY ? -1 : 0};
    parse_requests(b, v->requests);
    memcpy(a->counts, v->counts, sizeof a->counts);
    for (int i = 0; i < TABLES; i++) {
        const int n = parse_list(a->values[i], v->tables[i], b->pad_slot_id);
        a->rows[i] = i == SPEC_SLOTS ? n / 3 : n;
    }
}

/* Contract 3.4. */
static const vector WORKED[] = {
    {"a spec row behind a prefill and a decode: the decode is a prefill",
     MID | LATE,
     "50/100,-1,7 1/65,-1,9 3/20,2,2",
     0,
     {2, 51, 0, 0, 1, 3},
     {"1 1", "0 3", "0 50 51", "21 22 23", "1 11", "51-53", "0-50", "2"}},
    {"the same, and the decode stays one",
     EARLY,
     "50/100,-1,7 1/65,-1,9 3/20,2,2",
     0,
     {1, 50, 1, 1, 1, 3},
     {"1 1", "0 3", "0 50 51", "21 22 23", "1 11", "51-53", "0-50", "2"}},
    {"a spec row in front: flags, slots and tokens are those of the other row",
     ANY,
     "3/20,2,1 50/50,-1,0",
     0,
     {1, 50, 0, 0, 1, 3},
     {"0", "0 3", "0 50", "1 2 3", "11", "0-2", "3-52", "1"}},
    {"an empty row is not counted but keeps its place",
     MID | LATE,
     "0/0,-1,1 1/8,-1,1 3/20,2,3",
     0,
     {1, 1, 0, 0, 1, 3},
     {"0 1", "0 3", "0 0 1", "21 22 23", "1 11", "1-3", "0", "3"}},
    {"an empty row is a prefill",
     EARLY,
     "0/0,-1,1 1/8,-1,1 3/20,2,3",
     0,
     {1, 0, 1, 1, 1, 3},
     {"0 1", "0 3", "0 0 1", "21 22 23", "1 11", "1-3", "0", "3"}},
    {"counts of 0 only: nobody speculates",
     ANY,
     "1/9,0,1 1/5,0,1",
     0,
     {0, 0, 2, 2, 0, 0},
     {NULL, NULL, "0 1 2", NULL, "1 11", NULL, NULL, NULL}},
};

/* Contract 3.1. */
static const vector SPLITS[] = {
    {"a count of 0 beside another is a spec row of one token",
     ANY,
     "1/9,0,2 3/20,2,3",
     0,
     {0, 0, 0, 0, 2, 4},
     {NULL, "0 1 4", NULL, "1 2 3 11 12 13", NULL, "0-3", NULL, "2 3"}},
    {"no speculation configured: decodes, then prefills, flags for all",
     ANY,
     "1/9 1/6 5/5 4/10",
     0,
     {2, 9, 2, 2, 0, 0},
     {"1 1 0 1", NULL, "0 1 2 7 11", NULL, "1 11 21 31", NULL, NULL, NULL}},
    {"a decode behind a prefill",
     ANY,
     "1/9 5/5 1/6",
     0,
     {2, 6, 1, 1, 0, 0},
     {"1 0 1", NULL, "0 1 6 7", NULL, "1 11 21", NULL, NULL, NULL}},
    {"an empty request behind a prefill",
     ANY,
     "5/9 0/0",
     0,
     {2, 5, 0, 0, 0, 0},
     {"1 0", NULL, "0 5 5", NULL, "1 11", NULL, NULL, NULL}},
    {"a fresh one-token prompt is taken for a decode",
     EARLY | MID,
     "1/9 1/1",
     0,
     {0, 0, 2, 2, 0, 0},
     {NULL, NULL, "0 1 2", NULL, "1 11", NULL, NULL, NULL}},
    {"a fresh one-token prompt is a prefill",
     LATE,
     "1/9 1/1",
     0,
     {1, 1, 1, 1, 0, 0},
     {"1 0", NULL, "0 1 2", NULL, "1 11", NULL, NULL, NULL}},
    {"a fresh one-token prompt ends the decodes",
     LATE,
     "1/1 1/9",
     0,
     {2, 2, 0, 0, 0, 0},
     {"0 1", NULL, "0 1 2", NULL, "1 11", NULL, NULL, NULL}},
    {"a fresh one-token prompt beside a spec row",
     MID | LATE,
     "1/1,-1,0 3/20,2,3",
     0,
     {1, 1, 0, 0, 1, 3},
     {"0", "0 3", "0 1", "11 12 13", "1", "1-3", "0", "3"}},
    {"one decode beside a spec row: no prefill, no flags",
     EARLY,
     "1/9,-1,1 3/20,2,3",
     0,
     {0, 0, 1, 1, 1, 3},
     {NULL, "0 3", "0 1", "11 12 13", "1", "1-3", "0", "3"}},
    {"nothing but empty requests",
     ANY,
     "0/0 0/0",
     0,
     {0, 0, 2, 0, 0, 0},
     {NULL, NULL, "0 0 0", NULL, "1 11", NULL, NULL, NULL}},
};

/* Contract 5, "Spec / metadata". */
static const vector TRAPS[] = {
    {"classes alternate: each keeps the order of the batch",
     MID | LATE,
     "2/30,1,1 1/7,-1,8 3/31,2,2 4/4,-1,8 1/32,0,3 2/9,-1,8",
     0,
     {3, 7, 0, 0, 3, 6},
     {"1 0 1", "0 2 5 6", "0 1 5 7", "1 2 3 21 22 23 41 42 43", "11 31 51", "0 1 3-5 10",
      "2 6-9 11 12", "1 2 3"}},
    {"the same with a decode",
     EARLY,
     "2/30,1,1 1/7,-1,8 3/31,2,2 4/4,-1,8 1/32,0,3 2/9,-1,8",
     0,
     {2, 6, 1, 1, 3, 6},
     {"1 0 1", "0 2 5 6", "0 1 5 7", "1 2 3 21 22 23 41 42 43", "11 31 51", "0 1 3-5 10",
      "2 6-9 11 12", "1 2 3"}},
    {"a prompt as long as a verification step is a prompt",
     ANY,
     "3/3,-1,1 3/20,2,3",
     0,
     {1, 3, 0, 0, 1, 3},
     {"0", "0 3", "0 3", "11 12 13", "1", "3-5", "0-2", "3"}},
    {"the same where nobody speculates",
     ANY,
     "3/3,-1,1 3/20,-1,3",
     0,
     {2, 6, 0, 0, 0, 0},
     {"0 1", NULL, "0 3 6", NULL, "1 11", NULL, NULL, NULL}},
    {"drafts vanish: column 0 whatever was accepted",
     ANY,
     "1/9,-1,3 1/7,-1,2",
     0,
     {0, 0, 2, 2, 0, 0},
     {NULL, NULL, "0 1 2", NULL, "1 11", NULL, NULL, NULL}},
    {"an accepted count of 0 is passed on",
     ANY,
     "3/9,2,0",
     0,
     {0, 0, 0, 0, 1, 3},
     {NULL, "0 3", NULL, "1 2 3", NULL, "0-2", NULL, "0"}},
};

/* Contract 3.2. */
static const vector PADDING[] = {
    {"pure spec, padding requests absent",
     ANY,
     "3/9,2,3 3/8,2,1",
     5,
     {0, 0, 0, 0, 2, 6},
     {NULL, "0 3 6 6 6 6", NULL, "1 2 3 11 12 13 p p p p p p p p p", NULL, "0-5", NULL,
      "3 1 1 1 1"}},
    {"pure spec, padding requests in the batch",
     MID | LATE,
     "3/9,2,3 2/8,1,2 0/0,-1,1 0/0,-1,1",
     4,
     {0, 0, 0, 0, 2, 5},
     {NULL, "0 3 5 5 5", NULL, "1 2 3 11 12 13 p p p p p p", NULL, "0-4", NULL, "3 2 1 1"}},
    {"the same without graphs",
     MID | LATE,
     "3/9,2,3 2/8,1,2 0/0,-1,1 0/0,-1,1",
     0,
     {0, 0, 0, 0, 2, 5},
     {NULL, "0 3 5", NULL, "1 2 3 11 12 13", NULL, "0-4", NULL, "3 2"}},
    {"padding requests are prefills, so the batch is mixed and not padded",
     EARLY,
     "3/9,2,3 2/8,1,2 0/0,-1,1 0/0,-1,1",
     4,
     {2, 0, 0, 0, 2, 5},
     {"0 0", "0 3 5", "0 0 0", "1 2 3 11 12 13", "21 31", "0-4", NULL, "3 2"}},
    {"pure decode, padding requests absent",
     ANY,
     "1/9,-1,1 1/8,-1,1",
     4,
     {0, 0, 2, 2, 0, 0},
     {NULL, NULL, "0 1 2 2 2", NULL, "1 11 p p", NULL, NULL, NULL}},
    {"pure decode, one padding request in the batch",
     ANY,
     "1/9 1/8 0/0",
     4,
     {0, 0, 3, 2, 0, 0},
     {NULL, NULL, "0 1 2 2 2", NULL, "1 11 21 p", NULL, NULL, NULL}},
    {"a prefill: no graph, no padding",
     ANY,
     "1/9 4/8",
     4,
     {1, 4, 1, 1, 0, 0},
     {"1 1", NULL, "0 1 5", NULL, "1 11", NULL, NULL, NULL}},
    {"mixed: no padding",
     MID | LATE,
     "1/9,-1,1 3/8,2,3",
     4,
     {1, 1, 0, 0, 1, 3},
     {"1", "0 3", "0 1", "11 12 13", "1", "1-3", "0", "3"}},
    {"a decode beside a spec row: no padding either",
     EARLY,
     "1/9,-1,1 3/8,2,3",
     4,
     {0, 0, 1, 1, 1, 3},
     {NULL, "0 3", "0 1", "11 12 13", "1", "1-3", "0", "3"}},
    {"a fresh one-token prompt: no padding",
     LATE,
     "1/9 1/1",
     4,
     {1, 1, 1, 1, 0, 0},
     {"1 0", NULL, "0 1 2", NULL, "1 11", NULL, NULL, NULL}},
};

/* Both implementations are held to the vectors, or their agreement would say little. */
static void check_vectors(const vector *vectors, size_t n) {
    for (size_t i = 0; i < n; i++) {
        for (int rules = GDN_METADATA_EARLY; rules <= GDN_METADATA_LATE; rules++) {
            if (vectors[i].rules >> rules & 1) {
                static answer expected, other;
                batch b;
                memset(&expected, 0, sizeof expected);
                load_vector(&vectors[i], rules, &b, &expected);
                print_message("  %s\n", vectors[i].what);
                check_batch(&b, &expected);
                naive_metadata(&b, &other);
                assert_memory_equal(&other, &expected, sizeof other);
            }
        }
    }
}

#define CHECK_VECTORS(v) check_vectors(v, sizeof(v) / sizeof((v)[0]))

static void test_worked(void **state) {
    (void)state;
    CHECK_VECTORS(WORKED);
}

static void test_splits(void **state) {
    (void)state;
    CHECK_VECTORS(SPLITS);
}

static void test_traps(void **state) {
    (void)state;
    CHECK_VECTORS(TRAPS);
}

static void test_padding(void **state) {
    (void)state;
    CHECK_VECTORS(PADDING);
}

static uint64_t random_state = 1;

/* In [0, n). D. Knuth's MMIX generator; the high bits are the good ones. */
static int below(int n) {
    random_state =
        random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int)((random_state >> 33) % (uint64_t)n);
}

typedef enum row_kind { SPEC_ROW, DECODE_ROW, PREFILL_ROW, EMPTY_ROW } row_kind;

static void add_request(batch *b, row_kind kind) {
    const int i = b->requests++;
    b->drafts[i] = kind == SPEC_ROW ? below(b->num_spec + 1) : -1;
    b->accepted[i] = kind == SPEC_ROW ? below(b->num_spec + 2) : below(100) - 50;
    const int lengths[] = {b->drafts[i] + 1, 1, 2 + below(10), 0};
    b->lengths[i] = lengths[kind];
    b->seq_lens[i] = b->lengths[i] + below(2) * below(30);
}

/* Spec rows only, decodes only (both with empty requests at the back), or anything around
 * one request that is neither. */
static void random_batch(batch *b) {
    *b = (batch){.rules = (gdn_metadata_rules)below(3),
                 .num_spec = below(MAX_COLUMNS - 1),
                 .pad_slot_id = below(2) - 1,
                 .speculation = below(6) > 0};
    const int theme = below(4);
    const int before = below(5);
    const int behind = below(5);
    if (theme < 2) {
        for (int i = 0; i <= before + behind; i++) {
            add_request(b, theme == 0 ? SPEC_ROW : DECODE_ROW);
        }
        for (int i = below(3); i > 0; i--) {
            add_request(b, EMPTY_ROW);
        }
    } else {
        for (int i = 0; i <= before + behind; i++) {
            add_request(b, i == before ? (row_kind)(DECODE_ROW + below(2))
                                       : (row_kind)below(4));
        }
    }
    b->pad_requests = below(2) * (b->requests + below(5));
}

static void test_random(void **state) {
    (void)state;
    int pure_spec = 0, pure_decode = 0, mixed = 0, early_decodes = 0, late_fresh = 0;
    for (int i = 0; i < 2000; i++) {
        static batch b;
        static answer expected;
        random_batch(&b);
        naive_metadata(&b, &expected);
        check_batch(&b, &expected);
        const int *c = expected.counts;
        pure_spec += b.pad_requests > c[4] && c[4] > 0 && c[0] + c[2] == 0;
        pure_decode += b.pad_requests > b.requests && c[0] + c[4] == 0;
        mixed += c[0] > 0 && c[4] > 0;
        early_decodes += c[2] > 0 && c[4] > 0;
        late_fresh += b.rules == GDN_METADATA_LATE && c[0] > 0 && c[1] <= c[0] && c[4] == 0;
    }
    /* Every branch was met often, or the comparison proves nothing. */
    print_message(
        "  %d pure spec and %d pure decode with padding, %d mixed, %d with decodes "
        "beside spec rows, %d with one-token prefills\n",
        pure_spec, pure_decode, mixed, early_decodes, late_fresh);
    assert_true(pure_spec > 50 && pure_decode > 50 && mixed > 200 && early_decodes > 50 &&
                late_fresh > 50);
}

static void test_unwanted_outputs(void **state) {
    (void)state;
    static bench b;
    batch in = {.rules = GDN_METADATA_MID, .num_spec = 2};
    parse_requests(&in, "3/9,2,3 1/8,-1,1");
    bench_init(&b, &in, GDN_I32);
    for (size_t i = 0; i < b.call.n_tensors; i++) {
        b.outputs[i].written = NULL;
        if (strcmp(b.tensors[i].name, "counts") != 0) {
            b.outputs[i].value.data = NULL;
        }
    }
    static const int COUNTS[14] = {1, 1, 0, 0, 1, 3, 1, 2, 2, 1, 1, 3, 1, 1};
    assert_int_equal(gdn_reference_metadata(&b.call, b.outputs, NULL), GDN_OK);
    for (int i = 0; i < 14; i++) {
        assert_int_equal(bench_value(&b.outputs[5], i, 0), COUNTS[i]);
    }
}

static void test_missing_data(void **state) {
    (void)state;
    static bench b;
    batch in = {.rules = GDN_METADATA_MID, .num_spec = 2};
    parse_requests(&in, "3/9,2,3 1/8,-1,1");
    for (int i = 0; i < 5; i++) {
        bench_init(&b, &in, GDN_I32);
        b.tensors[i].data = NULL;
        gdn_error err = {0};
        assert_int_equal(gdn_call_check(&b.call, &err), GDN_OK);
        assert_int_equal(gdn_reference_metadata(&b.call, b.outputs, &err), GDN_ERR_ARG);
        char message[128];
        snprintf(message, sizeof message, "%s: expected data but found none",
                 b.tensors[i].name);
        assert_string_equal(err.message, message);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worked),       cmocka_unit_test(test_splits),
        cmocka_unit_test(test_traps),        cmocka_unit_test(test_padding),
        cmocka_unit_test(test_random),       cmocka_unit_test(test_unwanted_outputs),
        cmocka_unit_test(test_missing_data),
    };
    return cmocka_run_group_tests_name("metadata", tests, NULL, NULL);
}
