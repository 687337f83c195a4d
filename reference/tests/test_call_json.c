/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gdn/profile.h"

#define ARENA_BYTES 65536

/* A gdn_gating call, small and complete: two rows, three heads, `a` with a row gap. */
static json_t *good_call(void) {
    static const char text[] =
        "{\"op\":\"gdn_gating\",\"scalars\":{},\"tensors\":["
        "{\"name\":\"A_log\",\"dtype\":\"fp32\",\"offset\":256,\"shape\":[3],\"stride\":[1]"
        "},"
        "{\"name\":\"dt_bias\",\"dtype\":\"bf16\",\"offset\":512,\"shape\":[3],"
        "\"stride\":[1]},"
        "{\"name\":\"a\",\"dtype\":\"bf16\",\"offset\":768,\"shape\":[2,3],"
        "\"stride\":[8,1]},"
        "{\"name\":\"b\",\"dtype\":\"bf16\",\"offset\":1024,\"shape\":[2,3],"
        "\"stride\":[3,1]},"
        "{\"name\":\"g\",\"dtype\":\"fp32\",\"offset\":1280,\"shape\":[2,3],"
        "\"stride\":[3,1]},"
        "{\"name\":\"beta\",\"dtype\":\"fp32\",\"offset\":1536,\"shape\":[2,3],"
        "\"stride\":[3,1]}]}";
    json_t *call = json_loads(text, 0, NULL);
    assert_non_null(call);
    const gdn_conventions conventions = gdn_conventions_default();
    assert_int_equal(
        json_object_set_new(call, "conventions", gdn_conventions_to_json(&conventions)), 0);
    return call;
}

static json_t *tensor_of(json_t *call, size_t i) {
    return json_array_get(json_object_get(call, "tensors"), i);
}

/* Takes the call. */
static void expect_refusal(json_t *call, const char *word) {
    gdn_call_storage storage;
    gdn_error err = {0};
    assert_int_equal(gdn_call_from_json(&storage, call, NULL, ARENA_BYTES, &err),
                     GDN_ERR_FORMAT);
    if (!strstr(err.message, word)) {
        fail_msg("expected \"%s\" in \"%s\"", word, err.message);
    }
    gdn_call_storage_destroy(&storage); /* after a refusal it holds nothing */
    json_decref(call);
}

/* Replaces one member of tensor 2 ("a") by parsed JSON; NULL removes it. */
static void refuse_member(const char *member, const char *json, const char *word) {
    json_t *call = good_call();
    if (json) {
        json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);
        assert_non_null(value);
        json_object_set_new(tensor_of(call, 2), member, value);
    } else {
        json_object_del(tensor_of(call, 2), member);
    }
    expect_refusal(call, word);
}

/* Shape and stride of tensor 2 together. */
static void refuse_view(const char *shape, const char *stride, const char *word) {
    json_t *call = good_call();
    json_object_set_new(tensor_of(call, 2), "shape", json_loads(shape, 0, NULL));
    json_object_set_new(tensor_of(call, 2), "stride", json_loads(stride, 0, NULL));
    expect_refusal(call, word);
}

static void test_conventions_round_trip(void **state) {
    (void)state;
    gdn_conventions conventions = gdn_conventions_default();
    conventions.state_order = GDN_STATE_KV;
    conventions.decay_order = GDN_DECAY_AFTER_UPDATE;
    conventions.pad_slot_id = -1;
    conventions.l2norm_eps = 1.0 / 3.0;
    json_t *json = gdn_conventions_to_json(&conventions);
    size_t count = 0;
    const gdn_convention_field *fields = gdn_convention_fields(&count);
    size_t verify = 0;
    gdn_verify_fields(&verify);
    assert_int_equal(json_object_size(json), count + 1);
    assert_int_equal(json_object_size(json_object_get(json, GDN_VERIFY_OBJECT)), verify);
    for (size_t i = 0; i < count; i++) {
        assert_true(json_is_string(json_object_get(json, fields[i].name)));
    }
    gdn_conventions back = gdn_conventions_default();
    assert_int_equal(gdn_conventions_from_json(&back, json, false, NULL), GDN_OK);
    for (size_t i = 0; i < count; i++) {
        char was[64];
        char is[64];
        gdn_conventions_get(&conventions, &fields[i], was, sizeof was);
        gdn_conventions_get(&back, &fields[i], is, sizeof is);
        assert_string_equal(is, was);
    }
    assert_true(back.l2norm_eps == 1.0 / 3.0);
    json_decref(json);
}

static gdn_status read_conventions(const char *text, bool profile,
                                   gdn_conventions *conventions, gdn_error *err) {
    json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(json);
    *conventions = gdn_conventions_default();
    const gdn_status status = gdn_conventions_from_json(conventions, json, profile, err);
    json_decref(json);
    return status;
}

static void test_conventions_values(void **state) {
    (void)state;
    gdn_conventions c;
    assert_int_equal(
        read_conventions("{\"pad_slot_id\":-1,\"l2norm_eps\":1e-5,\"exp_error\":\"7\","
                         "\"softplus_threshold\":15,\"state_order\":\"kv\"}",
                         true, &c, NULL),
        GDN_OK);
    assert_int_equal(c.pad_slot_id, -1);
    assert_true(c.l2norm_eps == 1e-5);
    assert_true(c.exp_error == 7.0);
    assert_true(c.softplus_threshold == 15.0);
    assert_int_equal(c.state_order, GDN_STATE_KV);
    assert_int_equal(c.conv_window, gdn_conventions_default().conv_window);

    static const struct {
        const char *text;
        const char *word;
    } refused[] = {
        {"[]", "object"},
        {"{\"nope\":\"1\"}", "nope"},
        {"{\"state_order\":\"kv\",\"state_ordr\":\"vk\"}", "state_ordr"},
        {"{\"state_order\":\"xx\"}", "vk, kv"},
        {"{\"state_order\":1}", "vk, kv"},
        {"{\"state_order\":null}", "text or a number"},
        {"{\"pad_slot_id\":true}", "text or a number"},
        {"{\"pad_slot_id\":[0]}", "text or a number"},
        {"{\"pad_slot_id\":-0.5}", "integer"},
        {"{\"pad_slot_id\":4}", "[-1, 0]"},
        {"{\"l2norm_eps\":\"nan\"}", "l2norm_eps"},
        {"{\"l2norm_eps\":\"\"}", "l2norm_eps"},
        {"{\"l2norm_eps\":\"1e-6x\"}", "l2norm_eps"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        gdn_error err = {0};
        assert_int_equal(read_conventions(refused[i].text, false, &c, &err),
                         GDN_ERR_FORMAT);
        assert_non_null(strstr(err.message, refused[i].word));
        assert_int_equal(c.state_order, GDN_STATE_VK); /* nothing half set */
    }
}

/* Fields of draft verification stand in an object; what kernels ship although it is wrong
 * may stand in a profile, and is found there; slips may not. */
static void test_verify_conventions(void **state) {
    (void)state;
    size_t count = 0;
    const gdn_convention_field *fields = gdn_verify_fields(&count);
    for (size_t i = 0; i < count; i++) {
        for (int v = 0; fields[i].kind == GDN_FIELD_ENUM && fields[i].values[v]; v++) {
            char text[128];
            snprintf(text, sizeof text, "{\"verify\": {\"%s\":\"%s\"}}",
                     fields[i].name + strlen("verify."), fields[i].values[v]);
            gdn_conventions c;
            assert_int_equal(read_conventions(text, false, &c, NULL), GDN_OK);
            assert_ptr_equal(gdn_conventions_defect(&c),
                             v < fields[i].correct ? NULL : &fields[i]);
            json_t *json = gdn_conventions_to_json(&c);
            gdn_conventions back = gdn_conventions_default();
            assert_int_equal(gdn_conventions_from_json(&back, json, false, NULL), GDN_OK);
            assert_memory_equal(&back.verify, &c.verify, sizeof c.verify);
            json_decref(json);
            const bool may = v < fields[i].correct || v < fields[i].shipped;
            gdn_error err = {0};
            assert_int_equal(read_conventions(text, true, &c, &err),
                             may ? GDN_OK : GDN_ERR_FORMAT);
        }
    }
    gdn_conventions c;
    gdn_error err = {0};
    assert_int_equal(read_conventions("{\"verify.window\":\"resume\"}", false, &c, &err),
                     GDN_ERR_FORMAT);
    assert_string_equal(err.message, "no convention is named \"verify.window\"");
    assert_int_equal(read_conventions("{\"verify\":7}", false, &c, &err), GDN_ERR_FORMAT);
}

static void test_profiles_have_no_slips(void **state) {
    (void)state;
    size_t count = 0;
    const gdn_convention_field *fields = gdn_convention_fields(&count);
    for (size_t i = 0; i < count; i++) {
        for (int v = 0; fields[i].kind == GDN_FIELD_ENUM && fields[i].values[v]; v++) {
            char text[128];
            snprintf(text, sizeof text, "{\"%s\":\"%s\"}", fields[i].name,
                     fields[i].values[v]);
            gdn_conventions c;
            gdn_error err = {0};
            assert_int_equal(read_conventions(text, false, &c, NULL), GDN_OK);
            if (v < fields[i].correct) {
                assert_int_equal(read_conventions(text, true, &c, &err), GDN_OK);
                continue;
            }
            assert_int_equal(read_conventions(text, true, &c, &err), GDN_ERR_FORMAT);
            assert_non_null(strstr(err.message, fields[i].name));
            assert_non_null(strstr(err.message, fields[i].values[0]));
            assert_non_null(strstr(err.message, fields[i].values[v]));
        }
    }
}

static void test_call_round_trip(void **state) {
    (void)state;
    static double arena[ARENA_BYTES / sizeof(double)];
    char *base = (char *)arena;
    const gdn_conventions conventions = gdn_conventions_default();
    const gdn_tensor tensors[] = {
        {"query_start_loc", base + 64, GDN_I32, 1, {3}, {1}},
        {"seq_lens", base + 128, GDN_I64, 1, {2}, {1}},
        {"block_table", base + 256, GDN_I32, 2, {2, 4}, {16, 1}},
        {"counts", base + 1024, GDN_I32, 1, {14}, {1}},
        {"has_initial_state", base + 2048, GDN_BOOL, 1, {2}, {1}},
        {"spec_query_start_loc", base + 3072, GDN_I32, 1, {3}, {1}},
        {"non_spec_query_start_loc", base + 4096, GDN_I32, 1, {3}, {1}},
        {"spec_state_indices_tensor", base + 5120, GDN_I32, 2, {2, 4}, {4, 1}},
        {"non_spec_state_indices_tensor", base + 6144, GDN_I32, 1, {2}, {1}},
        {"spec_token_indx", base + 7168, GDN_I32, 1, {0}, {1}},
        {"non_spec_token_indx", base + ARENA_BYTES - 8, GDN_I32, 1, {2}, {1}},
        {"spec_num_accepted_tokens", base + 8192, GDN_I32, 1, {2}, {1}},
    };
    const gdn_scalar scalars[] = {{"num_spec", 3}, {"pad_requests", -1}};
    const gdn_call call = {.struct_size = sizeof call,
                           .op = GDN_OP_GDN_METADATA,
                           .conventions = &conventions,
                           .tensors = tensors,
                           .n_tensors = sizeof tensors / sizeof tensors[0],
                           .scalars = scalars,
                           .n_scalars = 2,
                           .arena = arena,
                           .arena_bytes = sizeof arena};
    json_t *json = gdn_call_to_json(&call);
    assert_non_null(json);
    gdn_call_storage storage;
    gdn_error err = {0};
    assert_int_equal(gdn_call_from_json(&storage, json, arena, sizeof arena, &err), GDN_OK);
    assert_int_equal(storage.call.struct_size, sizeof(gdn_call));
    assert_int_equal(storage.call.op, call.op);
    assert_ptr_equal(storage.call.arena, arena);
    assert_int_equal(storage.call.arena_bytes, sizeof arena);
    assert_int_equal(storage.call.n_tensors, call.n_tensors);
    for (size_t i = 0; i < call.n_tensors; i++) {
        const gdn_tensor *is = &storage.call.tensors[i];
        assert_string_equal(is->name, tensors[i].name);
        assert_ptr_equal(is->data, tensors[i].data);
        assert_int_equal(is->dtype, tensors[i].dtype);
        assert_int_equal(is->rank, tensors[i].rank);
        assert_memory_equal(is->shape, tensors[i].shape, sizeof is->shape);
        assert_memory_equal(is->stride, tensors[i].stride, sizeof is->stride);
    }
    assert_int_equal(storage.call.n_scalars, 2);
    assert_int_equal(gdn_call_scalar(&storage.call, "num_spec", 0), 3);
    assert_int_equal(gdn_call_scalar(&storage.call, "pad_requests", 0), -1);
    json_t *again = gdn_call_to_json(&storage.call);
    assert_true(json_equal(again, json));
    json_decref(again);
    json_decref(json);
    /* Names outlive the JSON that they came in. */
    assert_string_equal(storage.call.tensors[11].name, "spec_num_accepted_tokens");
    gdn_call_storage_destroy(&storage);
    gdn_call_storage_destroy(&storage);
}

static void test_without_an_arena(void **state) {
    (void)state;
    json_t *json = good_call();
    gdn_call_storage storage;
    assert_int_equal(gdn_call_from_json(&storage, json, NULL, ARENA_BYTES, NULL), GDN_OK);
    assert_int_equal(storage.call.n_tensors, 6);
    for (size_t i = 0; i < storage.call.n_tensors; i++) {
        assert_null(storage.call.tensors[i].data);
    }
    json_t *back = gdn_call_to_json(&storage.call);
    assert_int_equal(json_integer_value(json_object_get(tensor_of(back, 3), "offset")), 0);
    json_decref(back);
    gdn_call_storage_destroy(&storage);
    json_decref(json);
}

static void test_refused_calls(void **state) {
    (void)state;
    expect_refusal(json_array(), "object");
    static const char *const members[] = {"op", "conventions", "scalars", "tensors"};
    for (size_t i = 0; i < 4; i++) {
        json_t *call = good_call();
        json_object_del(call, members[i]);
        expect_refusal(call, members[i]);
        call = good_call();
        json_object_set_new(call, members[i], json_integer(1));
        expect_refusal(call, "");
    }
    json_t *call = good_call();
    json_object_set_new(call, "extra", json_true());
    expect_refusal(call, "extra");

    call = good_call();
    json_object_set_new(call, "op", json_string("gdn_gatling"));
    expect_refusal(call, "gdn_gatling");

    call = good_call();
    json_object_set_new(json_object_get(call, "conventions"), "color", json_string("red"));
    expect_refusal(call, "color");
    call = good_call();
    json_object_del(json_object_get(call, "conventions"), "head_map");
    expect_refusal(call, "head_map");

    call = good_call();
    json_object_set_new(json_object_get(call, "scalars"), "tp_size", json_integer(1));
    expect_refusal(call, "tp_size");
    call = good_call();
    json_object_set_new(call, "op", json_string("gated_delta_rule"));
    json_object_set_new(json_object_get(call, "scalars"), "use_qk_l2norm", json_real(1.0));
    expect_refusal(call, "use_qk_l2norm: expected an integer");
}

static void test_refused_tensors(void **state) {
    (void)state;
    json_t *call = good_call();
    json_array_append(json_object_get(call, "tensors"), tensor_of(call, 0));
    expect_refusal(call, "at most 6");
    call = good_call();
    json_array_remove(json_object_get(call, "tensors"), 5);
    json_array_append(json_object_get(call, "tensors"), tensor_of(call, 0));
    expect_refusal(call, "twice");
    call = good_call();
    json_array_remove(json_object_get(call, "tensors"), 1);
    expect_refusal(call, "needs \"dt_bias\"");
    call = good_call();
    json_array_set_new(json_object_get(call, "tensors"), 0, json_integer(3));
    expect_refusal(call, "tensors[0]");

    refuse_member("extra", "1", "extra");
    refuse_member("stride", NULL, "stride");
    refuse_member("offset", NULL, "offset");
    refuse_member("name", "\"ssm_state\"", "no argument \"ssm_state\"");
    refuse_member("name", "7", "tensors[2]");
    refuse_member("dtype", "\"fp8\"", "fp8");
    refuse_member("offset", "\"256\"", "tensors[2]");
    refuse_member("offset", "256.0", "tensors[2]");
    refuse_member("offset", "-2", "\"a\"");
    refuse_member("offset", "257", "multiple of 2");
    refuse_member("offset", "9223372036854775806", "\"a\"");
    refuse_member("shape", "[2]", "expected 1 strides but found 2");
    refuse_member("shape", "[2,-3]", "shape[1]");
    refuse_member("shape", "[2,3.0]", "shape[1]");
    refuse_member("shape", "\"2,3\"", "shape");
    refuse_member("shape", "[1,1,1,1,1,1]", "at most 5");
    refuse_member("stride", "[-8,1]", "stride[0]");
    refuse_member("stride", "{}", "stride");
}

static void test_refused_views(void **state) {
    (void)state;
    refuse_view("[32385]", "[1]", "inside");
    refuse_view("[2,3]", "[32382,1]", "inside");
    refuse_view("[2,2]", "[9223372036854775807,9223372036854775807]", "inside");
    refuse_view("[9223372036854775807]", "[1]", "inside");
    refuse_view("[9223372036854775807]", "[9223372036854775807]", "inside");
    refuse_view("[4611686018427387904]", "[1]", "inside");
    refuse_view("[4294967296,4294967296]", "[0,0]", "inside");
    refuse_view("[0,9223372036854775807,9223372036854775807]", "[1,1,1]", "inside");
}

/* The last byte of the arena belongs to it, the next does not; an empty view needs none. */
static void test_edges_of_the_arena(void **state) {
    (void)state;
    static const struct {
        int64_t offset;
        const char *shape;
        bool fits;
    } edges[] = {
        {ARENA_BYTES - 2, "[1,1]", true},
        {ARENA_BYTES - 2, "[1,2]", false},
        {ARENA_BYTES, "[1,1]", false},
        {ARENA_BYTES, "[0,5]", true},
        {ARENA_BYTES + 2, "[0,5]", false},
        {0, "[4096,8]", true},
        {2, "[4096,8]", false},
    };
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        json_t *call = good_call();
        json_object_set_new(tensor_of(call, 2), "offset", json_integer(edges[i].offset));
        json_object_set_new(tensor_of(call, 2), "shape",
                            json_loads(edges[i].shape, 0, NULL));
        gdn_call_storage storage;
        assert_int_equal(gdn_call_from_json(&storage, call, NULL, ARENA_BYTES, NULL),
                         edges[i].fits ? GDN_OK : GDN_ERR_FORMAT);
        gdn_call_storage_destroy(&storage);
        json_decref(call);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conventions_round_trip),
        cmocka_unit_test(test_conventions_values),
        cmocka_unit_test(test_verify_conventions),
        cmocka_unit_test(test_profiles_have_no_slips),
        cmocka_unit_test(test_call_round_trip),
        cmocka_unit_test(test_without_an_arena),
        cmocka_unit_test(test_refused_calls),
        cmocka_unit_test(test_refused_tensors),
        cmocka_unit_test(test_refused_views),
        cmocka_unit_test(test_edges_of_the_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
