/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The profile reader and the names that its errors suggest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gdn/nearest.h"
#include "gdn/profile.h"
#include "scratch.h"

static gdn_profile load(const char *name) {
    gdn_error err = {0};
    gdn_profile profile;
    if (gdn_profile_load(&profile, GDN_PROFILE_DIR, name, &err) != GDN_OK) {
        fail_msg("%s: %s", name, err.message);
    }
    return profile;
}

static void test_vllm_xpu(void **state) {
    (void)state;
    gdn_profile a = load("vllm-xpu@a");
    gdn_profile b = load("vllm-xpu@b");
    gdn_profile plain = load("vllm-xpu");
    assert_string_equal(a.name, "vllm-xpu@a");
    assert_string_equal(b.name, "vllm-xpu@b");
    assert_string_equal(plain.name, "vllm-xpu@b");
    assert_int_equal(a.conventions.conv_window, GDN_CONV_SNAPSHOT);
    assert_int_equal(b.conventions.conv_window, GDN_CONV_SLIDING);
    assert_false(a.ragged_spec);
    assert_true(b.ragged_spec);
    assert_non_null(strstr(b.source, "vllm-xpu-kernels at 4543b580"));
    assert_non_null(strstr(b.source, "#544"));
    assert_null(strstr(a.source, "#544"));
    assert_non_null(strstr(a.summary, "snapshot"));
    for (int i = 0; i < GDN_OP_COUNT; i++) {
        const bool has = i < GDN_OP_CONV_WEIGHT_PACK;
        assert_true(a.ops[i] == has && b.ops[i] == has);
    }
    assert_int_equal(b.conventions.pad_slot_id, 0);
    assert_true(b.conventions.l2norm_eps == 1e-6);
    assert_memory_equal(plain.canonical, "{\"conventions\":{", 16);
    assert_non_null(strstr(plain.canonical, "\"l2norm_eps\":\"9.9999999999999995e-07\""));
    assert_null(strchr(plain.canonical, '\n'));
    gdn_profile_destroy(&a);
    gdn_profile_destroy(&b);
    gdn_profile_destroy(&plain);
    gdn_profile_destroy(&plain);
}

/* The schema says the same as the field table: every field, and no slip. */
static void expect_schema(const json_t *schema, const char *section,
                          const gdn_convention_field *fields, size_t count) {
    const json_t *properties = json_object_get(
        json_object_get(json_object_get(schema, "$defs"), section), "properties");
    assert_int_equal(json_object_size(properties), count);
    for (size_t i = 0; i < count; i++) {
        const gdn_convention_field *f = &fields[i];
        const char *dot = strchr(f->name, '.');
        const json_t *property = json_object_get(properties, dot ? dot + 1 : f->name);
        const json_t *values = json_object_get(property, "enum");
        const int most = f->shipped > f->correct ? f->shipped : f->correct;
        assert_non_null(property);
        if (f->kind == GDN_FIELD_ENUM) {
            assert_int_equal(json_array_size(values), most);
            for (int v = 0; v < most; v++) {
                assert_string_equal(json_string_value(json_array_get(values, (size_t)v)),
                                    f->values[v]);
            }
        } else {
            assert_true(json_number_value(json_object_get(property, "minimum")) == f->low);
            assert_true(json_number_value(json_object_get(property, "maximum")) == f->high);
        }
    }
}

static void test_schema_matches_fields(void **state) {
    (void)state;
    json_t *schema = json_load_file(GDN_PROFILE_DIR "/profile.schema.json", 0, NULL);
    size_t count = 0;
    const gdn_convention_field *fields = gdn_convention_fields(&count);
    expect_schema(schema, "conventions", fields, count);
    fields = gdn_verify_fields(&count);
    expect_schema(schema, "verify", fields, count);
    const json_t *axes = json_object_get(
        json_object_get(json_object_get(schema, "$defs"), "claims"), "properties");
    assert_int_equal(json_object_size(axes), GDN_AXIS_COUNT);
    for (int i = 0; i < GDN_AXIS_COUNT; i++) {
        assert_non_null(json_object_get(axes, GDN_AXIS_NAMES[i]));
    }
    json_decref(schema);
}

#define HEAD                                                                               \
    "{'schema': 1, 'profile': 'x', 'summary': 's', 'source': {'repository': 'r', "         \
    "'commit': '1234567', 'date': '2026-01-01'}, 'ops': ['gdn_attention']"

static const struct {
    const char *text, *name;
    gdn_status status;
    const char *first, *second;
} REFUSALS[] = {
    {"{", "x", GDN_ERR_FORMAT, "x.json:1:", ""},
    {"[]", "x", GDN_ERR_FORMAT, "x.json: $: expected an object", "[]"},
    {"{'profile': 'x'}", "x", GDN_ERR_FORMAT, "$.schema: expected", "nothing"},
    {"{'schema': 2, 'profile': 'x'}", "x", GDN_ERR_FORMAT, "$.schema", "newer gdn-conform"},
    {"{'schema': 1, 'profile': 'y'}", "x", GDN_ERR_FORMAT, "$.profile", "\"y\""},
    {"{'schema': 1, 'profile': 'x'}", "x", GDN_ERR_FORMAT, "$.summary: expected text",
     "nothing"},
    {HEAD ", 'opps': []}", "x", GDN_ERR_FORMAT, "$: member name", "did you mean \"ops\""},
    {HEAD ", 'summary': 't', 'source': 1}", "x", GDN_ERR_FORMAT, "x.json:1:", "duplicate"},
    {HEAD ", 'claims': {'speed': 'yes'}}", "x", GDN_ERR_FORMAT, "$.claims: member name",
     "speed"},
    {HEAD ", 'claims': {'split': 'maybe'}}", "x", GDN_ERR_FORMAT, "$.claims.split",
     "maybe"},
    {HEAD ", 'claims': {'split': true}}", "x", GDN_ERR_FORMAT, "$.claims.split",
     "\"yes\" or \"no\""},
    {HEAD ", 'ragged_spec': 1}", "x", GDN_ERR_FORMAT, "$.ragged_spec", "true or false"},
    {HEAD ", 'pulls': [0]}", "x", GDN_ERR_FORMAT, "$.pulls[0]", "0"},
    {HEAD ", 'conventions': []}", "x", GDN_ERR_FORMAT, "$.conventions", "an object"},
    {HEAD ", 'conventions': {'colour': 'red'}}", "x", GDN_ERR_FORMAT, "$.conventions",
     "colour"},
    {HEAD ", 'conventions': {'state_order': 'vv'}}", "x", GDN_ERR_FORMAT, "vk, kv", "vv"},
    {HEAD ", 'conventions': {'decay_order': 'after_read'}}", "x", GDN_ERR_FORMAT,
     "$.conventions: decay_order", "after_read"},
    {HEAD ", 'verify': {'window': 'wide'}}", "x", GDN_ERR_FORMAT, "$.verify: verify.window",
     "wide"},
    {HEAD ", 'verify': {'length': 'accepted'}}", "x", GDN_ERR_FORMAT, "written, one_more",
     "slip"},
    {HEAD ", 'conventions': {'l2norm_eps': 2}}", "x", GDN_ERR_FORMAT, "l2norm_eps", "2"},
    {HEAD ", 'conventions': {'conv_anchor': 'last'}}", "x", GDN_ERR_FORMAT,
     "x.json: $.conventions: conv_anchor: expected first beside conv_window \"sliding\"",
     "found \"last\""},
    {HEAD ", 'conventions': {'beta_tail': 'thrice'}}", "x", GDN_ERR_FORMAT,
     "beta_tail: expected as_others beside beta_storage \"fp32\"", "\"thrice\""},
    /* what the common part leaves open a variant decides, well or badly */
    {HEAD ", 'conventions': {'conv_anchor': 'last'}, 'variants': {'a': {'summary': '', "
          "'conventions': {'conv_window': 'rolling'}}}, 'default_variant': 'a'}",
     "x", GDN_ERR_FORMAT, "$.variants.a.conventions: spec_state: expected buffer",
     "rolling"},
    {HEAD ", 'variants': {}, 'default_variant': 'a'}", "x", GDN_ERR_FORMAT, "$.variants",
     "{}"},
    {HEAD ", 'variants': {'a': {'summary': ''}}}", "x", GDN_ERR_FORMAT, "$.default_variant",
     "nothing"},
    {HEAD ", 'default_variant': 'a'}", "x", GDN_ERR_FORMAT, "$.variants", "nothing"},
    {HEAD ", 'variants': {'a': {'summary': ''}}, 'default_variant': 'b'}", "x",
     GDN_ERR_FORMAT, "$.default_variant: expected one of a", "\"b\""},
    {HEAD ", 'variants': {'a': {}}, 'default_variant': 'a'}", "x", GDN_ERR_FORMAT,
     "$.variants.a.summary", "nothing"},
    /* a variant is checked although another one is asked for */
    {HEAD ", 'variants': {'a': {'summary': ''}, 'b': {'summary': '', 'conventions': "
          "{'history': 'ignored'}}}, 'default_variant': 'a'}",
     "x@a", GDN_ERR_FORMAT, "$.variants.b.conventions: history", "ignored"},
    {HEAD ", 'variants': {'a': {'summary': ''}}, 'default_variant': 'a'}", "x@b",
     GDN_ERR_ARG, "variant of profile x: expected one of a", "\"b\""},
    {HEAD "}", "x@a", GDN_ERR_ARG, "has no variants", "\"x@a\""},
    {HEAD "}", "xx", GDN_ERR_ARG, "profile: expected one of x", "did you mean \"x\""},
    {HEAD "}", "../x", GDN_ERR_ARG, "profile: expected one of x", "../x"},
    {HEAD "}", "profile.schema", GDN_ERR_ARG, "profile: expected one of x",
     "profile.schema"},
    {HEAD "}", "", GDN_ERR_ARG, "profile: expected one of x", "\"\""},
};

static void test_refusals(void **state) {
    (void)state;
    scratch s;
    scratch_create(&s);
    scratch_write(&s, "profile.schema.json", "{}");
    for (size_t i = 0; i < sizeof REFUSALS / sizeof REFUSALS[0]; i++) {
        gdn_profile profile;
        gdn_error err = {0};
        scratch_write(&s, "x.json", REFUSALS[i].text);
        const gdn_status status = gdn_profile_load(&profile, s.dir, REFUSALS[i].name, &err);
        if (status != REFUSALS[i].status || !strstr(err.message, REFUSALS[i].first) ||
            !strstr(err.message, REFUSALS[i].second) || strchr(err.message, '\n')) {
            fail_msg("%s: %s: %s", REFUSALS[i].text, gdn_status_name(status), err.message);
        }
        assert_null(profile.name);
    }
    scratch_destroy(&s);
}

static void test_ops_and_sources(void **state) {
    (void)state;
    static const char *const ops[][2] = {
        {"[]", "$.ops: expected a list"},
        {"['gdn_atention']", "did you mean \"gdn_attention\""},
        {"['gdn_gating', 'gdn_gating']", "$.ops[1]: expected each op once"},
        {"[7]", "$.ops[0]: expected an op name but found 7"},
    };
    scratch s;
    scratch_create(&s);
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        char text[512];
        gdn_profile profile;
        gdn_error err = {0};
        snprintf(text, sizeof text,
                 "{'schema': 1, 'profile': 'x', 'summary': 's', 'source': {'repository': "
                 "'r', 'commit': '1', 'date': 'd'}, 'ops': %s}",
                 ops[i][0]);
        scratch_write(&s, "x.json", text);
        assert_int_equal(gdn_profile_load(&profile, s.dir, "x", &err), GDN_ERR_FORMAT);
        assert_non_null(strstr(err.message, ops[i][1]));
    }
    scratch_write(&s, "x.json",
                  "{'schema': 1, 'profile': 'x', 'summary': 's', 'source': "
                  "{'repository': 'r'}, 'ops': ['gdn_gating']}");
    gdn_profile profile;
    gdn_error err = {0};
    assert_int_equal(gdn_profile_load(&profile, s.dir, "x", &err), GDN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "$.source.commit"));
    scratch_write(&s, "x.json",
                  HEAD ", 'pulls': [1, 2], 'claims': {'split': 'yes', 'scaled': 'no'}}");
    assert_int_equal(gdn_profile_load(&profile, s.dir, "x", NULL), GDN_OK);
    assert_string_equal(profile.name, "x");
    assert_string_equal(profile.source, "r at 1234567 (2026-01-01), #1 #2");
    assert_string_equal(profile.summary, "s");
    assert_true(profile.ops[GDN_OP_GDN_ATTENTION]);
    assert_false(profile.ops[GDN_OP_GDN_GATING]);
    assert_int_equal(profile.claims[GDN_AXIS_SPLIT], GDN_CLAIMS_YES);
    assert_int_equal(profile.claims[GDN_AXIS_SCALED], GDN_CLAIMS_NO);
    assert_int_equal(profile.claims[GDN_AXIS_DETERMINISM], GDN_NOT_CLAIMED);
    gdn_profile_destroy(&profile);
    scratch_destroy(&s);
    err = (gdn_error){0};
    assert_int_equal(gdn_profile_load(&profile, s.dir, "x", &err), GDN_ERR_IO);
    assert_non_null(strstr(err.message, s.dir));
}

static void test_nearest(void **state) {
    (void)state;
    static const char *const names[] = {"smoke", "qwen3-next", "qwen3.5", "ci", NULL};
    static const char *const answers[][2] = {
        {"smoke", "smoke"},
        {"SMOKE", "smoke"},
        {"smkoe", "smoke"},
        {"smok", "smoke"},
        {"qwen3next", "qwen3-next"},
        {"qwen35", "qwen3.5"},
        {"qwen", "qwen3-next"},
        {"cii", "ci"},
        {"qwen3-n", "qwen3-next"},
        {"hardware", NULL},
        {"", NULL},
        {"x", NULL},
        {"zz", NULL},
    };
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        const char *found = gdn_nearest(answers[i][0], names);
        if (answers[i][1]) {
            assert_non_null(found);
            assert_string_equal(found, answers[i][1]);
        } else {
            assert_null(found);
        }
    }
    char longest[300];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_null(gdn_nearest(longest, names));
    static const char *const none[] = {NULL};
    assert_null(gdn_nearest("smoke", none));
    gdn_error err = {0};
    assert_int_equal(gdn_error_unknown(&err, GDN_ERR_ARG, "suite", longest, none),
                     GDN_ERR_ARG);
    assert_non_null(strstr(err.message, "suite: expected one of (none) but found \"aaa"));
}

static void test_names_text(void **state) {
    (void)state;
    static const char *const names[] = {"one", "two", "three", NULL};
    char text[32];
    gdn_names_text(text, sizeof text, names);
    assert_string_equal(text, "one, two, three");
    gdn_names_text(text, 14, names);
    assert_string_equal(text, "one, two, ..");
    gdn_names_text(text, 6, names);
    assert_string_equal(text, "..");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vllm_xpu), cmocka_unit_test(test_schema_matches_fields),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_ops_and_sources),
        cmocka_unit_test(test_nearest),  cmocka_unit_test(test_names_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
