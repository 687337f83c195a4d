/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "metadata_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static const char *const NAMES[TABLES] = {"has_initial_state",
                                          "spec_query_start_loc",
                                          "non_spec_query_start_loc",
                                          "spec_state_indices_tensor",
                                          "non_spec_state_indices_tensor",
                                          "spec_token_indx",
                                          "non_spec_token_indx",
                                          "spec_num_accepted_tokens"};

static int block(int request, int column) {
    return 10 * request + 1 + column;
}

static int padded_requests(const batch *b) {
    return b->pad_requests > b->requests ? b->pad_requests : b->requests;
}

static gdn_tensor *add(bench *b, const char *name, void *data, gdn_dtype dtype, int rows,
                       int columns) {
    gdn_tensor *t = &b->tensors[b->call.n_tensors++];
    *t = gdn_tensor_dense(name, data, dtype, columns > 0 ? 2 : 1,
                          (const int64_t[]){rows, columns});
    return t;
}

static void add_inputs(bench *b, const batch *in) {
    const int width = in->num_spec + 2;
    int start = 0;
    for (int i = 0; i < in->requests; i++) {
        start += in->lengths[i];
        b->inputs[0][i + 1] = start;
        b->inputs[1][i] = in->seq_lens[i];
        b->inputs[3][i] = in->drafts[i];
        b->inputs[4][i] = in->accepted[i];
        for (int c = 0; c < width; c++) {
            b->inputs[2][i * 2 * width + c] = block(i, c);
        }
    }
    add(b, "query_start_loc", b->inputs[0], GDN_I32, in->requests + 1, 0);
    add(b, "seq_lens", b->inputs[1], GDN_I32, in->requests, 0);
    add(b, "block_table", b->inputs[2], GDN_I32, in->requests, width)->stride[0] =
        2 * width;
    if (in->speculation) {
        add(b, "num_decode_draft_tokens", b->inputs[3], GDN_I32, in->requests, 0);
        add(b, "num_accepted_tokens", b->inputs[4], GDN_I32, in->requests, 0);
    }
}

/* The call's own tensors have no data. */
static void add_outputs(bench *b, const batch *in, gdn_dtype dtype) {
    const int padded = padded_requests(in);
    const int tokens = b->inputs[0][in->requests];
    const int rows[1 + TABLES] = {14,     in->requests, padded + 1, padded + 1, padded,
                                  padded, tokens,       tokens,     padded};
    for (int i = 0; i < 1 + TABLES; i++) {
        const bool flags = i == 1 + HAS;
        const int columns = i == 1 + SPEC_SLOTS ? in->num_spec + 1 : 0;
        const gdn_tensor *t = add(b, i == 0 ? "counts" : NAMES[i - 1], NULL,
                                  flags ? GDN_BOOL : GDN_I32, rows[i], columns);
        gdn_output *out = &b->outputs[b->call.n_tensors - 1];
        out->value = *t;
        out->value.data = &b->memory[i];
        out->value.dtype = flags && dtype == GDN_I32 ? GDN_BOOL : dtype;
        for (int d = 0; d < t->rank; d++) {
            out->value.stride[d] *= 2;
        }
        for (int64_t k = 0; k < gdn_tensor_extent(&out->value) + MARGIN; k++) {
            gdn_store(out->value.data, out->value.dtype, k, UNTOUCHED);
        }
        out->written = b->written[i];
    }
}

void bench_init(bench *b, const batch *in, gdn_dtype dtype) {
    memset(b, 0, sizeof *b);
    memset(b->inputs, 0x5a, sizeof b->inputs); /* what stands behind an input is nonsense */
    b->inputs[0][0] = 0;
    b->conventions = gdn_conventions_default();
    b->conventions.metadata_rules = in->rules;
    b->conventions.pad_slot_id = in->pad_slot_id;
    b->scalars[0] = (gdn_scalar){"num_spec", in->num_spec};
    b->scalars[1] = (gdn_scalar){"pad_requests", in->pad_requests};
    b->call = (gdn_call){.struct_size = sizeof b->call,
                         .op = GDN_OP_GDN_METADATA,
                         .conventions = &b->conventions,
                         .tensors = b->tensors,
                         .scalars = b->scalars,
                         .n_scalars = 2};
    add_inputs(b, in);
    add_outputs(b, in, dtype);
}

int64_t bench_value(const gdn_output *out, int64_t row, int64_t column) {
    const gdn_tensor *v = &out->value;
    const int64_t at = row * v->stride[0] + (v->rank > 1 ? column * v->stride[1] : 0);
    return (int64_t)gdn_load(v->data, v->dtype, at);
}

/* Rows in front of `rows` hold the values and are flagged; the rest is as it was. */
static void check_table(const gdn_output *out, const int *values, int rows) {
    const gdn_tensor *v = &out->value;
    const int64_t columns = v->rank > 1 ? v->shape[1] : 1;
    const int64_t untouched = v->dtype == GDN_BOOL ? 1 : UNTOUCHED;
    for (int64_t i = 0; i < v->shape[0]; i++) {
        assert_int_equal(out->written[i], i < rows);
        for (int64_t j = 0; j < columns; j++) {
            const int64_t expected = i < rows ? values[i * columns + j] : untouched;
            if (bench_value(out, i, j) != expected) {
                fail_msg("%s[%d,%d]: expected %d but found %d", v->name, (int)i, (int)j,
                         (int)expected, (int)bench_value(out, i, j));
            }
        }
    }
    /* Every other element is a gap, and everything behind the last one. */
    const int64_t extent = gdn_tensor_extent(v);
    for (int64_t k = 0; k < extent + MARGIN; k++) {
        if (k % 2 == 1 || k >= extent) {
            assert_int_equal((int64_t)gdn_load(v->data, v->dtype, k), untouched);
        }
    }
}

void check_batch(const batch *in, const answer *expected) {
    static const gdn_dtype DTYPES[] = {GDN_I32, GDN_I64, GDN_FP64};
    for (size_t d = 0; d < sizeof DTYPES / sizeof DTYPES[0]; d++) {
        bench b;
        bench_init(&b, in, DTYPES[d]);
        gdn_error err = {0};
        if (gdn_call_check(&b.call, &err) != GDN_OK) {
            fail_msg("%s", err.message);
        }
        assert_int_equal(gdn_reference_metadata(&b.call, b.outputs, &err), GDN_OK);
        const gdn_output *out = &b.outputs[b.call.n_tensors - 1 - TABLES];
        int counts[14];
        memcpy(counts, expected->counts, sizeof expected->counts);
        memcpy(counts + 6, expected->rows, sizeof expected->rows);
        check_table(&out[0], counts, 14);
        for (int i = 0; i < TABLES; i++) {
            check_table(&out[1 + i], expected->values[i], expected->rows[i]);
        }
    }
}

static void emit(answer *a, int table, int value) {
    a->values[table][a->rows[table]++] = value;
}

/* A mask over requests, one over tokens; everything else is a sum of masks. */
typedef struct masks {
    bool spec[MAX_REQUESTS];
    int owner[MAX_TOKENS];
    int tokens;
    int spec_rows, ones, empties;
    bool any;
} masks;

static masks mask_batch(const batch *b) {
    masks m = {0};
    for (int i = 0; i < b->requests; i++) {
        m.any = m.any || (b->speculation && b->drafts[i] > 0);
    }
    for (int i = 0; i < b->requests; i++) {
        m.spec[i] = m.any && b->drafts[i] >= 0;
        m.spec_rows += m.spec[i];
        m.ones += !m.spec[i] && b->lengths[i] == 1;
        m.empties += !m.spec[i] && b->lengths[i] == 0;
        for (int t = 0; t < b->lengths[i]; t++) {
            m.owner[m.tokens++] = i;
        }
    }
    return m;
}

/* Tokens of one class whose request stands before `end`. */
static int tokens_before(const masks *m, int end, bool spec) {
    int n = 0;
    for (int t = 0; t < m->tokens; t++) {
        n += m->owner[t] < end && m->spec[m->owner[t]] == spec;
    }
    return n;
}

static void naive_counts(const batch *b, const masks *m, int counts[6]) {
    int prefills = 0;
    int decodes = 0;
    if (!m->any) {
        while (decodes < b->requests && b->lengths[decodes] <= 1 &&
               !(b->rules == GDN_METADATA_LATE && b->lengths[decodes] == 1 &&
                 b->seq_lens[decodes] == 1)) {
            decodes++;
        }
        prefills = b->requests - decodes;
        counts[3] = tokens_before(m, decodes, false);
    } else {
        const bool early = b->rules == GDN_METADATA_EARLY;
        decodes = early ? m->ones : 0;
        prefills = b->requests - m->spec_rows - decodes - (early ? 0 : m->empties);
        counts[3] = decodes;
    }
    counts[0] = prefills;
    counts[2] = decodes;
    counts[4] = m->spec_rows;
    counts[5] = tokens_before(m, b->requests, true);
    counts[1] = m->tokens - counts[3] - counts[5];
}

static void naive_rows(const batch *b, const masks *m, bool spec, answer *a) {
    emit(a, spec ? SPEC_QSL : QSL, 0);
    for (int i = 0; i < b->requests; i++) {
        if (m->spec[i] != spec) {
            continue;
        }
        emit(a, spec ? SPEC_QSL : QSL, tokens_before(m, i + 1, spec));
        if (spec) {
            const int row = a->rows[SPEC_SLOTS]++;
            for (int c = 0; c <= b->num_spec; c++) {
                a->values[SPEC_SLOTS][row * (b->num_spec + 1) + c] = block(i, c);
            }
            emit(a, ACC, b->accepted[i]);
        } else {
            emit(a, SLOTS, block(i, 0));
            if (a->counts[0] > 0) {
                emit(a, HAS, b->seq_lens[i] > b->lengths[i]);
            }
        }
    }
    for (int t = 0; m->any && t < m->tokens; t++) {
        if (m->spec[m->owner[t]] == spec) {
            emit(a, spec ? SPEC_TOK : TOK, t);
        }
    }
}

void naive_metadata(const batch *b, answer *a) {
    const masks m = mask_batch(b);
    memset(a, 0, sizeof *a);
    naive_counts(b, &m, a->counts);
    const bool pure_spec = m.any && a->counts[0] + a->counts[2] == 0;
    const bool pure_decode = !m.any && a->counts[0] == 0;
    if (m.any) {
        naive_rows(b, &m, true, a);
    }
    if (!pure_spec) {
        naive_rows(b, &m, false, a);
    }
    for (int i = m.spec_rows; pure_spec && i < b->pad_requests; i++) {
        emit(a, SPEC_QSL, m.tokens);
        emit(a, ACC, 1);
        for (int c = 0; c <= b->num_spec; c++) {
            a->values[SPEC_SLOTS][i * (b->num_spec + 1) + c] = b->pad_slot_id;
        }
        a->rows[SPEC_SLOTS]++;
    }
    for (int i = b->requests; pure_decode && i < b->pad_requests; i++) {
        emit(a, QSL, m.tokens);
        emit(a, SLOTS, b->pad_slot_id);
    }
}
