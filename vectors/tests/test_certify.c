/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The reference against its 113-bit shadow on random small cases over all conventions, and
 * whether the certificate would see what it is there to see. */
#include "vector_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gdn/random.h"

typedef struct bench {
    gdn_case test;
    gdn_problem problem;
    gdn_golden golden;
} bench;

static void require(gdn_status status, const gdn_error *err) {
    if (status != GDN_OK) {
        fail_msg("%s: %s", gdn_status_name(status), err->message);
    }
}

static void parse_case(bench *b, json_t *json) {
    gdn_error err = {0};
    assert_non_null(json);
    const char *profile = json_string_value(json_object_get(json, "profile"));
    const bool bench_profile = strncmp(profile, "bench", 5) == 0;
    require(gdn_case_from_json(&b->test, json,
                               bench_profile ? GDN_TEST_PROFILE_DIR : GDN_PROFILE_DIR,
                               &err),
            &err);
    json_decref(json);
}

static void read_case(bench *b, const char *text) {
    parse_case(b, json_loads(text, 0, NULL));
}

static void evaluate(bench *b) {
    gdn_error err = {0};
    require(gdn_problem_create(&b->problem, &b->test, &err), &err);
    require(gdn_golden_create(&b->golden, &b->problem, &err), &err);
}

static void end(bench *b) {
    gdn_golden_destroy(&b->golden);
    gdn_problem_destroy(&b->problem);
    gdn_case_destroy(&b->test);
}

static gdn_certificate certify(const bench *b) {
    gdn_error err = {0};
    gdn_certificate certificate;
    require(gdn_certify(&certificate, &b->problem, &b->golden, &err), &err);
    return certificate;
}

/* ---- random cases ---- */

static int pick(const gdn_random *random, uint64_t *index, uint32_t n) {
    return (int)gdn_random_below(random, (*index)++, n);
}

static const char *one_of(const gdn_random *random, uint64_t *index,
                          const char *const *names) {
    uint32_t n = 0;
    while (names[n]) {
        n++;
    }
    return names[pick(random, index, n)];
}

/* One draw a statement: the order of draws within one would be the compiler's choice. */
#define ONE_OF(...) one_of(random, index, (const char *const[]){__VA_ARGS__, NULL})

static const char *random_batch(const gdn_random *random, uint64_t *index, bool fused,
                                bool ragged) {
    if (ragged) {
        return fused ? ONE_OF("rag3x3", "pre2x4+rag2x3") : ONE_OF("rag4x4", "rag2x3");
    }
    return fused ? ONE_OF("pre1x1", "pre2x5", "dec3", "pre1x7+dec2", "pre2x3+spec2x4",
                          "dec1+spec1x3", "spec3x3", "pre3x2+dec2+spec2x2")
                 : ONE_OF("pre1x9", "pre3x4", "dec4", "spec3x3", "spec2x5", "pre1x2");
}

static void set_int(json_t *json, const char *name, int value) {
    assert_int_equal(json_object_set_new(json, name, json_integer(value)), 0);
}

static void set_text(json_t *json, const char *name, const char *value) {
    assert_int_equal(json_object_set_new(json, name, json_string(value)), 0);
}

static void set_flag(json_t *json, const char *name, bool value) {
    assert_int_equal(json_object_set_new(json, name, json_boolean(value)), 0);
}

/* Members that an op or a batch does not read must keep their defaults. */
static json_t *random_json(const gdn_random *random, uint64_t *index, uint64_t seed) {
    json_t *json = json_object();
    const char *op = ONE_OF("causal_conv1d", "gdn_gating", "gated_delta_rule",
                            "gdn_attention", "gdn_attention", "gdn_attention");
    const bool fused = strcmp(op, "gdn_attention") == 0;
    const bool gating = strcmp(op, "gdn_gating") == 0;
    const bool conv = fused || strcmp(op, "causal_conv1d") == 0;
    const bool recurs = fused || strcmp(op, "gated_delta_rule") == 0;
    const bool ragged = !gating && pick(random, index, 4) == 0;
    const bool window_a = !ragged && pick(random, index, 2);
    const char *batch = random_batch(random, index, fused, ragged);
    const int heads = 1 + pick(random, index, 3);
    const int r = 1 + pick(random, index, 3);
    const int tp = 1 + pick(random, index, 2);
    set_text(json, "op", op);
    set_text(json, "profile", window_a ? "vllm-xpu@a" : "vllm-xpu@b");
    set_text(json, "batch", gating ? "pre1x9" : batch);
    set_int(json, "num_k_heads", heads * tp);
    set_int(json, "num_v_heads", heads * r * tp);
    set_int(json, "tp_size", tp);
    set_int(json, "head_k_dim", 1 + pick(random, index, 12));
    set_int(json, "head_v_dim", 1 + pick(random, index, 9));
    set_text(json, "dtype", ONE_OF("bf16", "fp16", "fp32"));
    set_text(json, "fill", ONE_OF("normal", "model"));
    set_flag(json, "misaligned", pick(random, index, 2));
    set_int(json, "seed", (int)seed);
    if (conv) {
        set_int(json, "conv_width", 2 + pick(random, index, 3));
        set_flag(json, "conv_bias", pick(random, index, 2));
    }
    if (recurs) {
        set_text(json, "state_dtype", ONE_OF("fp32", "bf16", "fp16"));
    }
    if (!gating) {
        set_int(json, "page_bytes", 8192 * pick(random, index, 2));
    }
    const bool spec = strstr(batch, "spec") || strstr(batch, "rag");
    if (!gating && spec) {
        set_text(json, "accepted", ONE_OF("cycle", "full", "one"));
    } else if (!gating) {
        set_text(json, "initial", ONE_OF("mixed", "all", "none", "absent"));
    }
    if (fused) {
        set_text(json, "qkvz_layout", ONE_OF("interleaved", "separate"));
        set_text(json, "order",
                 spec ? ONE_OF("grouped", "interleaved", "scattered")
                      : ONE_OF("grouped", "interleaved"));
        set_int(json, "pad_rows", pick(random, index, 3));
    }
    return json;
}

/* Every field that a profile may set and the shadow must honour. */
static void set_conventions(const gdn_random *random, uint64_t *index, gdn_conventions *c) {
    const char *const fields[][2] = {
        {"state_order", ONE_OF("vk", "kv")},
        {"head_map", ONE_OF("grouped", "tiled")},
        {"activation", ONE_OF("silu", "silu", "none")},
        {"conv_output", ONE_OF("storage", "none")},
        {"state_carry", ONE_OF("call", "chunk", "token")},
        {"l2norm_eps", ONE_OF("1e-6", "1e-5", "0.5")},
        {"softplus_threshold", ONE_OF("20", "0.5", "1000")},
        {"conv_state_order", ONE_OF("sd", "ds")},
        {"conv_weight", ONE_OF("cw", "wc")},
        {"conv_product", ONE_OF("none", "storage")},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        gdn_error err = {0};
        require(gdn_conventions_set(c, fields[i][0], fields[i][1], &err), &err);
    }
}

/* The recurrence under everything that only its profiles have: padding, gates made inside,
 * intermediate states. */
static json_t *random_rule(const gdn_random *random, uint64_t *index, uint64_t seed) {
    json_t *json = json_object();
    const bool buffer = pick(random, index, 3) == 0;
    const bool fused = !buffer && pick(random, index, 2);
    const char *batch = buffer ? ONE_OF("spec3x3", "rag4x4", "spec2x5")
                        : fused
                            ? ONE_OF("pre2x5+dec1+pad3", "dec3+pad2", "pre1x70", "dec4")
                            : ONE_OF("pre1x66+pad1", "pre3x4+pad3", "dec4+pad2", "spec3x3");
    const bool spec = strstr(batch, "spec") || strstr(batch, "rag");
    const int heads = 1 + pick(random, index, 2);
    set_text(json, "op", fused ? "gdn_attention" : "gated_delta_rule");
    set_text(json, "profile", buffer ? "bench@buffer" : "bench@slots");
    set_text(json, "batch", batch);
    set_int(json, "num_k_heads", heads);
    set_int(json, "num_v_heads", heads * (1 + pick(random, index, 3)));
    set_int(json, "head_k_dim", 1 + pick(random, index, 12));
    set_int(json, "head_v_dim", 1 + pick(random, index, 9));
    set_text(json, "dtype", ONE_OF("bf16", "fp16", "fp32"));
    set_text(json, "state_dtype", ONE_OF("fp32", "bf16", "fp16"));
    set_text(json, "fill", ONE_OF("normal", "model"));
    set_int(json, "seed", (int)seed);
    if (fused) {
        set_int(json, "pad_rows", pick(random, index, 3));
    } else {
        set_text(json, "gates", ONE_OF("given", "fused"));
    }
    if (!fused && !spec) {
        set_flag(json, "chunked", pick(random, index, 2));
    }
    if (spec) {
        set_text(json, "accepted",
                 buffer ? ONE_OF("cycle", "full", "absent") : ONE_OF("cycle", "full"));
    }
    return json;
}

static void set_rule_conventions(const gdn_random *random, uint64_t *index,
                                 gdn_conventions *c) {
    const char *const fields[][2] = {
        {"pad_sequences", ONE_OF("skipped", "zeroed", "from_zero")},
        {"pad_rows", ONE_OF("kept", "zeroed")},
        {"pad_slot_id", ONE_OF("0", "-1")},
        {"buffer_rows", ONE_OF("by_request", "by_index")},
        {"gate_input", ONE_OF("log", "decay")},
        {"beta_input", ONE_OF("value", "logits")},
        {"beta_storage", ONE_OF("fp32", "activation")},
        {"beta_rounding", ONE_OF("none", "once", "thrice_in_decode")},
        {"l2norm_form", ONE_OF("inside", "outside", "max")},
        {"chunk_qk", ONE_OF("none", "storage", "scaled")},
        {"state_carry", ONE_OF("call", "chunk", "token", "kernel")},
        {"softplus_beta", ONE_OF("1", "0.5", "2")},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        gdn_error err = {0};
        require(gdn_conventions_set(c, fields[i][0], fields[i][1], &err), &err);
    }
    if (c->beta_storage == GDN_BETA_ACTIVATION && pick(random, index, 2)) {
        c->beta_tail = GDN_TAIL_THRICE;
    }
}

/* Convolutions of a verify step, or beside one. */
static json_t *random_verify(const gdn_random *random, uint64_t *index, uint64_t seed) {
    json_t *json = json_object();
    const char *batch =
        ONE_OF("spec3x3", "rag4x4", "spec2x6", "pre2x5+dec1", "pre3x2+pad1");
    set_text(json, "op", "causal_conv1d");
    set_text(json, "profile", ONE_OF("bench@buffer", "bench@rolling"));
    set_text(json, "batch", batch);
    set_int(json, "num_k_heads", 1);
    set_int(json, "num_v_heads", 2);
    set_int(json, "head_k_dim", 1 + pick(random, index, 12));
    set_int(json, "head_v_dim", 1 + pick(random, index, 9));
    set_int(json, "conv_width", 2 + pick(random, index, 3));
    set_int(json, "conv_rows", pick(random, index, 2) * 12);
    set_text(json, "dtype", ONE_OF("bf16", "fp16", "fp32"));
    set_flag(json, "conv_bias", pick(random, index, 2));
    set_int(json, "seed", (int)seed);
    if (batch[0] != 'p') {
        set_text(json, "tree", ONE_OF("none", "star", "binary", "caterpillar"));
    }
    return json;
}

static void set_verify_conventions(const gdn_random *random, uint64_t *index,
                                   gdn_conventions *c) {
    if (c->conv_window == GDN_CONV_ROLLING || pick(random, index, 2)) {
        c->conv_anchor = GDN_CONV_LAST;
        c->conv_history =
            pick(random, index, 2) ? GDN_CONV_KEEPS_TAPS : GDN_CONV_KEEPS_WINDOW;
    }
    c->buffer_rows = pick(random, index, 2) ? GDN_BUFFER_BY_INDEX : GDN_BUFFER_BY_REQUEST;
}

static void random_case(bench *b, uint64_t seed) {
    const gdn_random stream = {.seed = seed, .stream = 77};
    uint64_t index = 0;
    *b = (bench){0};
    if (seed % 8 == 5) {
        parse_case(b, random_verify(&stream, &index, seed));
        set_conventions(&stream, &index, &b->test.conventions);
        set_verify_conventions(&stream, &index, &b->test.conventions);
    } else if (seed % 2 == 0) {
        parse_case(b, random_json(&stream, &index, seed));
        set_conventions(&stream, &index, &b->test.conventions);
    } else {
        parse_case(b, random_rule(&stream, &index, seed));
        set_conventions(&stream, &index, &b->test.conventions);
        set_rule_conventions(&stream, &index, &b->test.conventions);
    }
}

static void test_reference_is_within_1e_9_of_the_limits_of_fp32(void **state) {
    (void)state;
    double largest = 0.0, ulps = 0.0;
    int64_t ties = 0, undecided = 0;
    for (uint64_t seed = 0; seed < 800; seed++) {
        bench b;
        random_case(&b, seed);
        evaluate(&b);
        const gdn_certificate c = certify(&b);
        assert_true(c.certified);
        assert_true(c.n_outputs > 0);
        for (size_t i = 0; i < c.n_outputs; i++) {
            largest = fmax(largest, c.outputs[i].limits);
            ulps = fmax(ulps, c.outputs[i].ulps);
            undecided += c.outputs[i].undecided;
        }
        ties += c.ties;
        end(&b);
    }
    print_message("at most %.3g of a limit, %.3g ulps; %lld ties, %lld undecided\n",
                  largest, ulps, (long long)ties, (long long)undecided);
    assert_true(largest <= 1e-9);
    assert_true(largest > 0.0); /* 53 bits cannot equal 113 everywhere */
    assert_true(undecided == 0 || ties > 0);
}

/* ---- what a certificate sees ---- */

static const char SMALL[] =
    "{\"op\":\"gdn_attention\",\"profile\":\"vllm-xpu\",\"batch\":\"pre2x5+dec2+spec5x3\","
    "\"num_k_heads\":2,\"num_v_heads\":4,\"head_k_dim\":8,\"head_v_dim\":6,"
    "\"dtype\":\"fp32\",\"seed\":3}";

static gdn_expected *output(bench *b, const char *name) {
    for (size_t i = 0; i < b->golden.n_outputs; i++) {
        if (strcmp(b->golden.outputs[i].tensor->name, name) == 0) {
            return &b->golden.outputs[i];
        }
    }
    fail_msg("no output %s", name);
    return NULL;
}

static double share_of(const gdn_certificate *c, const char *name) {
    for (size_t i = 0; i < c->n_outputs; i++) {
        if (strcmp(c->outputs[i].tensor, name) == 0) {
            return c->outputs[i].limits;
        }
    }
    fail_msg("no figures of %s", name);
    return 0.0;
}

/* Limits of fp32 outputs are some 10^-6 of the value, so the slip is 10^-6 of a limit. */
static void test_slip_of_1e_12_shows(void **state) {
    (void)state;
    static const char *const NAMES[] = {"core_attn_out", "ssm_state"};
    for (int i = 0; i < 2; i++) {
        bench b = {0};
        read_case(&b, SMALL);
        evaluate(&b);
        gdn_expected *e = output(&b, NAMES[i]);
        const gdn_certificate before = certify(&b);
        double *largest = e->golden;
        for (int64_t j = 0; j < e->n_rows * e->row_count; j++) {
            largest = fabs(e->golden[j]) > fabs(*largest) ? &e->golden[j] : largest;
        }
        *largest *= 1 + 1e-12;
        const gdn_certificate after = certify(&b);
        assert_true(share_of(&before, NAMES[i]) < 1e-9);
        assert_true(share_of(&after, NAMES[i]) > 1e-8);
        assert_true(share_of(&after, NAMES[1 - i]) == share_of(&before, NAMES[1 - i]));
        end(&b);
    }
}

static void expect_refusal(const bench *b, const char *text) {
    gdn_error err = {0};
    gdn_certificate certificate;
    assert_int_equal(gdn_certify(&certificate, &b->problem, &b->golden, &err),
                     GDN_ERR_FORMAT);
    if (!strstr(err.message, text)) {
        fail_msg("expected \"%s\" in: %s", text, err.message);
    }
}

static void test_wrong_goldens_are_refused(void **state) {
    (void)state;
    bench b = {0};
    read_case(&b, SMALL);
    evaluate(&b);
    gdn_expected *core = output(&b, "core_attn_out");
    const double right = core->golden[7];
    core->golden[7] = right + 2 * (double)core->limit[7];
    expect_refusal(&b, "core_attn_out, row 0, element 7");
    core->golden[7] = NAN;
    expect_refusal(&b, "not the same kind");
    core->golden[7] = right;
    ((uint8_t *)output(&b, "z")->bits)[0] ^= 1;
    expect_refusal(&b, "z, row 0, element 0");
    ((uint8_t *)output(&b, "z")->bits)[0] ^= 1;
    core->n_rows--;
    expect_refusal(&b, "the shadow writes it and the reference does not");
    core->n_rows++;
    certify(&b);
    end(&b);
}

/* Cases of which each shows the slips that it can: flags that differ, rows out of order, a
 * bias, more tokens than a chunk, drafts; padding; intermediate states. */
static const char *const TELLING[] = {
    "{\"op\":\"gdn_attention\",\"profile\":\"vllm-xpu\",\"batch\":\"pre2x66+dec2+spec2x3\","
    "\"order\":\"scattered\",\"conv_bias\":true,\"num_k_heads\":2,\"num_v_heads\":4,"
    "\"head_k_dim\":8,\"head_v_dim\":6,\"seed\":2}",
    "{\"op\":\"gated_delta_rule\",\"profile\":\"bench@slots\",\"batch\":\"dec2+pad3\","
    "\"num_k_heads\":2,\"num_v_heads\":4,\"head_k_dim\":8,\"head_v_dim\":6}",
    "{\"op\":\"gated_delta_rule\",\"profile\":\"bench@buffer\",\"batch\":\"spec3x3\","
    "\"num_k_heads\":2,\"num_v_heads\":4,\"head_k_dim\":8,\"head_v_dim\":6}",
    "{\"op\":\"causal_conv1d\",\"profile\":\"bench@rolling\",\"batch\":\"spec3x5\","
    "\"num_k_heads\":2,\"num_v_heads\":4,\"head_k_dim\":8,\"head_v_dim\":6}",
    "{\"op\":\"causal_conv1d\",\"profile\":\"bench@buffer\",\"batch\":\"spec3x5\","
    "\"tree\":\"binary\",\"num_k_heads\":2,\"num_v_heads\":4,\"head_k_dim\":8,"
    "\"head_v_dim\":6}",
};

/* Whether golden values made with the slip are refused. Writes that are no outputs happen
 * in place only, never in golden values: pool_advanced. Packed weights have no shadow. */
static bool is_refused(const char *text, const char *field, const char *value) {
    bench b = {0};
    read_case(&b, text);
    gdn_error err = {0};
    require(gdn_conventions_set(&b.test.conventions, field, value, &err), &err);
    evaluate(&b);
    gdn_certificate certificate;
    const gdn_status status = gdn_certify(&certificate, &b.problem, &b.golden, &err);
    end(&b);
    assert_true(status == GDN_OK || status == GDN_ERR_FORMAT);
    return status == GDN_ERR_FORMAT;
}

/* The shadow has none of the slips, so golden values made with one are not certified. */
static void test_no_slip_is_certified(void **state) {
    (void)state;
    size_t count;
    const gdn_convention_field *fields = gdn_convention_fields(&count);
    int slips = 0;
    for (size_t i = 0; i < count; i++) {
        if (fields[i].kind != GDN_FIELD_ENUM ||
            strcmp(fields[i].name, "stray_write") == 0) {
            continue; /* stray writes happen only in place, never in golden values */
        }
        for (int v = fields[i].correct; fields[i].values[v]; v++) {
            bool refused = false;
            for (size_t t = 0; !refused && t < sizeof TELLING / sizeof TELLING[0]; t++) {
                refused = is_refused(TELLING[t], fields[i].name, fields[i].values[v]);
            }
            if (!refused && strcmp(fields[i].values[v], "pool_advanced") != 0 &&
                strcmp(fields[i].values[v], "weight_packed_twice") != 0) {
                fail_msg("%s \"%s\" is certified", fields[i].name, fields[i].values[v]);
            }
            slips++;
        }
    }
    assert_true(slips >= 8);
}

static void test_cases_above_the_bound_say_so(void **state) {
    (void)state;
    bench b = {0};
    read_case(&b, "{\"op\":\"gdn_gating\",\"profile\":\"vllm-xpu\",\"batch\":\"pre1x700\","
                  "\"num_k_heads\":32,\"num_v_heads\":32,\"head_k_dim\":8,"
                  "\"head_v_dim\":8}");
    evaluate(&b);
    const gdn_certificate c = certify(&b);
    assert_false(c.certified);
    assert_true(c.cost > GDN_CERTIFIED_COST);
    gdn_error err = {0};
    gdn_vector_writer *writer = NULL;
    require(gdn_vector_writer_create(&writer, NULL, "large", &err), &err);
    require(gdn_vector_writer_add(writer, &b.problem, &b.golden, &c, &err), &err);
    const json_t *manifest = gdn_vector_writer_manifest(writer);
    const json_t *entry = json_object_get(json_object_get(manifest, "cases"), b.test.id);
    assert_null(json_object_get(entry, "certified"));
    assert_non_null(strstr(json_string_value(json_object_get(entry, "uncertified")),
                           "more than the bound of 8.4e+06"));
    const gdn_certified_suite suite = gdn_manifest_certified(manifest);
    assert_int_equal(suite.uncertified, 1);
    assert_int_equal(suite.certified, 0);
    gdn_vector_writer_abandon(writer);
    end(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_is_within_1e_9_of_the_limits_of_fp32),
        cmocka_unit_test(test_slip_of_1e_12_shows),
        cmocka_unit_test(test_wrong_goldens_are_refused),
        cmocka_unit_test(test_no_slip_is_certified),
        cmocka_unit_test(test_cases_above_the_bound_say_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
