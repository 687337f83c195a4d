/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The safetensors reader and writer: bytes written down by hand from the format's
 * description, what must be refused, and a seeded storm of mutations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fuzz_safetensors.h"
#include "gdn/random.h"
#include "safetensors.h"

/* A file from a header and `data` bytes 0, 1, 2, .. */
typedef struct image {
    uint8_t bytes[8192];
    size_t size;
} image;

static image make(const char *header, size_t data) {
    image m = {.size = 8 + strlen(header) + data};
    assert_true(m.size <= sizeof m.bytes);
    const uint64_t length = strlen(header);
    for (int i = 0; i < 8; i++) {
        m.bytes[i] = (uint8_t)(length >> (8 * i));
    }
    memcpy(m.bytes + 8, header, length);
    for (size_t i = 0; i < data; i++) {
        m.bytes[8 + length + i] = (uint8_t)i;
    }
    return m;
}

#define GOOD                                                                               \
    "{\"__metadata__\":{\"a\":\"b\"},"                                                     \
    "\"x\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"                   \
    "\"e\":{\"dtype\":\"BF16\",\"shape\":[0,7],\"data_offsets\":[24,24]},"                 \
    "\"s\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[24,32]},"                     \
    "\"b\":{\"dtype\":\"BOOL\",\"shape\":[3],\"data_offsets\":[32,35]}}"

static void reads_a_file_written_by_hand(void **state) {
    (void)state;
    const image m = make(GOOD, 35);
    gdn_safetensors f;
    gdn_error err = {0};
    assert_int_equal(gdn_safetensors_parse(&f, m.bytes, m.size, &err), GDN_OK);
    assert_int_equal(f.n_tensors, 4);
    assert_string_equal(json_string_value(json_object_get(f.metadata, "a")), "b");
    assert_string_equal(f.tensors[0].name, "x");
    assert_int_equal(f.tensors[0].dtype, GDN_FP32);
    assert_int_equal(f.tensors[0].rank, 2);
    assert_int_equal(f.tensors[0].shape[1], 3);
    assert_int_equal(f.tensors[0].stride[0], 3);
    assert_int_equal(gdn_tensor_count(&f.tensors[1]), 0);
    assert_int_equal(gdn_tensor_count(&f.tensors[2]), 1);
    assert_int_equal(((const uint8_t *)f.tensors[2].data)[0], 24);
    assert_int_equal(((const uint8_t *)f.tensors[3].data)[2], 34);
    gdn_safetensors_destroy(&f);
}

static void refuse(const char *header, size_t data, const char *word) {
    const image m = make(header, data);
    gdn_safetensors f;
    gdn_error err = {0};
    const gdn_status status = gdn_safetensors_parse(&f, m.bytes, m.size, &err);
    if (status != GDN_ERR_FORMAT || !strstr(err.message, word)) {
        fail_msg("%.200s: status %d, \"%s\", expected \"%s\"", header, (int)status,
                 err.message, word);
    }
}

#define X(dtype, shape, from, to)                                                          \
    "\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]"

static void headers_that_lie_are_refused(void **state) {
    (void)state;
    refuse("{\"x\":{" X("F32", "[2]", "0", "4") "}}", 4, "expected 8 bytes");
    refuse("{\"x\":{" X("F32", "[1]", "0", "8") "}}", 8, "expected 4 bytes");
    refuse("{\"x\":{" X("F32", "[2]", "0", "8") "}}", 7, "[0, 7]");
    refuse("{\"x\":{" X("F32", "[2]", "8", "0") "}}", 8, "data_offsets");
    refuse("{\"x\":{" X("F32", "[2]", "-8", "0") "}}", 8, "data_offsets");
    refuse("{\"x\":{" X("F32", "[-2]", "0", "8") "}}", 8, "shape");
    refuse("{\"x\":{" X("F32", "[2.0]", "0", "8") "}}", 8, "shape");
    refuse("{\"x\":{" X("F32", "[4294967296,4294967296]", "0", "0") "}}", 0, "shape");
    refuse("{\"x\":{" X("F32", "[0,4294967296,4294967296]", "0", "0") "}}", 0, "shape");
    refuse("{\"x\":{" X("F32", "[9223372036854775807]", "0", "0") "}}", 0, "shape");
    refuse("{\"x\":{" X("F32", "[1,1,1,1,1,1]", "0", "4") "}}", 4, "at most 5");
    refuse("{\"x\":{" X("F8_E4M3", "[2]", "0", "2") "}}", 2, "F8_E4M3");
    refuse("{\"x\":{" X("F32", "[1]", "0", "4") ",\"more\":1}}", 4, "nothing else");
    refuse("{\"x\":[]}", 0, "nothing else");
    refuse("{\"x\":{\"dtype\":\"F32\"}}", 0, "nothing else");
    refuse("{\"__metadata__\":{\"a\":1}}", 0, "expected a text");
    refuse("{\"__metadata__\":[]}", 0, "expected an object");
    refuse("[]", 0, "'{'");
    refuse(" {}", 0, "'{'");
    refuse("{} {}", 0, "header");
}

static void overlaps_holes_and_twins_are_refused(void **state) {
    (void)state;
    refuse("{\"x\":{" X("I32", "[2]", "0", "8") "},\"y\":{" X("I32", "[2]", "4", "12") "}}",
           12, "y: data_offsets: expected to begin at 8");
    refuse("{\"x\":{" X("I32", "[2]", "0", "8") "},\"y\":{" X("I32", "[2]", "0", "8") "}}",
           8, "expected to begin at 8");
    refuse("{\"x\":{" X("I32", "[1]", "0", "4") "},\"y\":{" X("I32", "[1]", "8", "12") "}}",
           12, "expected to begin at 4");
    refuse("{\"x\":{" X("I32", "[1]", "4", "8") "}}", 8, "expected to begin at 0");
    refuse("{\"x\":{" X("I32", "[1]", "0", "4") "}}", 9, "5 bytes at the end");
    refuse("{\"x\":{" X("I32", "[1]", "0", "4") "},\"x\":{" X("I32", "[1]", "4", "8") "}}",
           8, "duplicate");
}

static void absurd_nesting_is_refused(void **state) {
    (void)state;
    char header[8000] = "{\"x\":";
    memset(header + 5, '[', sizeof header - 6);
    refuse(header, 0, "depth");
    for (size_t i = 5; i + 6 < sizeof header; i += 5) {
        memcpy(header + i, "{\"a\":", 5);
    }
    header[7900] = '\0';
    refuse(header, 0, "header");
}

static void lengths_of_the_header(void **state) {
    (void)state;
    gdn_safetensors f;
    image m = make("{}", 0);
    static const uint64_t LENGTHS[] = {0, 1, 3, 1 << 20, UINT64_C(1) << 40, UINT64_MAX};
    for (size_t i = 0; i < sizeof LENGTHS / sizeof LENGTHS[0]; i++) {
        gdn_error err = {0};
        for (int b = 0; b < 8; b++) {
            m.bytes[b] = (uint8_t)(LENGTHS[i] >> (8 * b));
        }
        assert_int_equal(gdn_safetensors_parse(&f, m.bytes, m.size, &err), GDN_ERR_FORMAT);
    }
    m = make("{}", 0);
    for (size_t size = 0; size < m.size; size++) {
        gdn_error err = {0};
        assert_int_equal(gdn_safetensors_parse(&f, m.bytes, size, &err), GDN_ERR_FORMAT);
    }
    gdn_error err = {0};
    assert_int_equal(gdn_safetensors_parse(&f, m.bytes, m.size, &err), GDN_OK);
    gdn_safetensors_destroy(&f);
}

/* What is written comes back, strides followed, types and empty shapes included. */
static void written_files_come_back(void **state) {
    (void)state;
    char path[] = "/tmp/gdn-safetensors-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    int32_t values[6] = {1, 2, 3, 4, 5, 6};
    int64_t none[1] = {0};
    const int64_t shape[2] = {2, 2}, empty[1] = {0};
    gdn_tensor tensors[2] = {gdn_tensor_dense("input/a", values, GDN_I32, 2, shape),
                             gdn_tensor_dense("b", none, GDN_I64, 1, empty)};
    tensors[0].stride[0] = 3;
    json_t *metadata = json_pack("{s:s}", "k", "v\"\\");
    gdn_error err = {0};
    gdn_safetensors f;
    assert_int_equal(gdn_safetensors_write(path, tensors, 2, metadata, &err), GDN_OK);
    assert_int_equal(gdn_safetensors_open(&f, path, &err), GDN_OK);
    assert_int_equal(f.n_tensors, 2);
    assert_true(json_equal(f.metadata, metadata));
    static const int32_t EXPECTED[4] = {1, 2, 4, 5};
    assert_string_equal(f.tensors[0].name, "input/a");
    assert_memory_equal(f.tensors[0].data, EXPECTED, sizeof EXPECTED);
    assert_int_equal((uintptr_t)f.tensors[0].data % 8, 0);
    assert_true((uint8_t *)f.tensors[0].data > (uint8_t *)f.map &&
                (uint8_t *)f.tensors[0].data < (uint8_t *)f.map + f.map_bytes);
    gdn_safetensors_destroy(&f);
    json_decref(metadata);
    unlink(path);
    assert_int_equal(gdn_safetensors_open(&f, path, &err), GDN_ERR_IO);
}

/* Byte flips, splices, deletions and numbers out of range; each input is reproducible from
 * its number. */
static void mutated_files_are_read_or_refused(void **state) {
    (void)state;
    static const char *const WORDS[] = {"-1",      "9223372036854775807",
                                        "[[",      "}",
                                        "{\"a\":", "18446744073709551616",
                                        "\"",      "e",
                                        "1e9",     "\0"};
    const char *count = getenv("GDN_MUTATIONS");
    const uint64_t most = count ? strtoull(count, NULL, 10) : 50000;
    const image base = make(GOOD, 35);
    for (uint64_t i = 0; i < most; i++) {
        const gdn_random r = {.seed = i, .stream = 77};
        image m = base;
        uint64_t at = 0;
        const int64_t edits = 1 + gdn_random_below(&r, at++, 4);
        for (int64_t e = 0; e < edits; e++) {
            const size_t place = (size_t)gdn_random_below(&r, at++, (uint32_t)m.size);
            const int64_t kind = gdn_random_below(&r, at++, 4);
            const char *word = WORDS[gdn_random_below(&r, at++, 10)];
            const size_t length = strlen(word);
            if (kind == 0) {
                m.bytes[place] ^= (uint8_t)(1 << gdn_random_below(&r, at++, 8));
            } else if (kind == 1 && m.size > 1) {
                memmove(m.bytes + place, m.bytes + place + 1, m.size - place - 1);
                m.size--;
            } else if (kind == 2) {
                memmove(m.bytes + place + length, m.bytes + place, m.size - place);
                memcpy(m.bytes + place, word, length);
                m.size += length;
            } else {
                m.size = place + 1;
            }
        }
        /* Half of them with the right header length: the JSON is then what is met. */
        if (gdn_random_below(&r, at++, 2) == 0 && m.size > 43) {
            const uint64_t length = m.size - 8 - 35;
            for (int b = 0; b < 8; b++) {
                m.bytes[b] = (uint8_t)(length >> (8 * b));
            }
        }
        LLVMFuzzerTestOneInput(m.bytes, m.size);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_file_written_by_hand),
        cmocka_unit_test(headers_that_lie_are_refused),
        cmocka_unit_test(overlaps_holes_and_twins_are_refused),
        cmocka_unit_test(absurd_nesting_is_refused),
        cmocka_unit_test(lengths_of_the_header),
        cmocka_unit_test(written_files_come_back),
        cmocka_unit_test(mutated_files_are_read_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
