/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What a reader says of files that are missing, foreign, newer, damaged or hostile. Every
 * damage is done to <dir>/ci.h5 or its manifest after a good pair was written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hdf5_io.h"
#include "vector_fixture.h"

#define VECTORS  "ci.h5"
#define MANIFEST "ci.manifest.json"

/* ---- tools ---- */

static void expect_refusal(const fixture *all, gdn_status status,
                           const char *const *parts) {
    gdn_error err = {0};
    gdn_vector_reader *reader = NULL;
    assert_int_equal(gdn_vector_reader_open(&reader, all->dir, "ci", &err), status);
    for (; *parts; parts++) {
        if (!strstr(err.message, *parts)) {
            fail_msg("\"%s\" does not contain \"%s\"", err.message, *parts);
        }
    }
}

#define EXPECT_REFUSAL(status, ...)                                                        \
    expect_refusal(all, status, (const char *const[]){__VA_ARGS__, NULL})

static hid_t open_for_damage(const fixture *all) {
    const hid_t file = H5Fopen(fixture_path(all, VECTORS), H5F_ACC_RDWR, H5P_DEFAULT);
    assert_true(file >= 0);
    return file;
}

static const char *case_path(const fixture *all, int which, const char *name) {
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", all->tests[which].id, name);
    return path;
}

static json_t *read_manifest(const fixture *all) {
    json_t *manifest = json_load_file(fixture_path(all, MANIFEST), 0, NULL);
    assert_non_null(manifest);
    return manifest;
}

static void write_manifest(const fixture *all, json_t *manifest) {
    assert_int_equal(json_dump_file(manifest, fixture_path(all, MANIFEST), JSON_INDENT(1)),
                     0);
    json_decref(manifest);
}

static json_t *datasets_of(const fixture *all, json_t *manifest, int which) {
    json_t *entry =
        json_object_get(json_object_get(manifest, "cases"), all->tests[which].id);
    json_t *datasets = json_object_get(entry, "datasets");
    assert_non_null(datasets);
    return datasets;
}

static void write_text(const char *path, const char *text) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* Replaces a dataset's bytes and all that is said of them, as a forger would. */
static void forge(const fixture *all, int which, const char *name, const void *bytes,
                  size_t size) {
    char digest[65];
    gdn_sha256(bytes, size, digest);
    const hid_t file = open_for_damage(all);
    const hid_t dataset = H5Dopen2(file, case_path(all, which, name), H5P_DEFAULT);
    const hid_t type = H5Dget_type(dataset);
    assert_true(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes) >= 0);
    assert_true(H5Adelete(dataset, "sha256") >= 0);
    assert_int_equal(gdnp_h5_write_text(dataset, "sha256", digest, NULL), GDN_OK);
    H5Tclose(type);
    H5Dclose(dataset);
    H5Fclose(file);
    json_t *manifest = read_manifest(all);
    json_object_set_new(datasets_of(all, manifest, which), name, json_string(digest));
    write_manifest(all, manifest);
}

static int write_good(void **state) {
    if (fixture_new_dir(state) != 0) {
        return -1;
    }
    const fixture *all = *state;
    fixture_write(all, all->dir, "ci");
    return 0;
}

/* ---- whole files ---- */

static void test_missing(void **state) {
    const fixture *all = *state;
    assert_int_equal(unlink(fixture_path(all, MANIFEST)), 0);
    EXPECT_REFUSAL(GDN_ERR_IO, MANIFEST, "No such file or directory");
    assert_int_equal(unlink(fixture_path(all, VECTORS)), 0);
    EXPECT_REFUSAL(GDN_ERR_IO, VECTORS, "No such file or directory");
}

static void test_not_hdf5(void **state) {
    const fixture *all = *state;
    write_text(fixture_path(all, VECTORS), "hello");
    EXPECT_REFUSAL(GDN_ERR_FORMAT, VECTORS, "is not an HDF5 file");
    write_text(fixture_path(all, VECTORS), "");
    EXPECT_REFUSAL(GDN_ERR_FORMAT, "is not an HDF5 file");
    assert_int_equal(unlink(fixture_path(all, VECTORS)), 0);
    assert_int_equal(mkdir(fixture_path(all, VECTORS), 0777), 0);
    EXPECT_REFUSAL(GDN_ERR_FORMAT, "is not an HDF5 file");
}

static void test_truncated(void **state) {
    const fixture *all = *state;
    struct stat info;
    assert_int_equal(stat(fixture_path(all, VECTORS), &info), 0);
    assert_int_equal(truncate(fixture_path(all, VECTORS), info.st_size - 1), 0);
    EXPECT_REFUSAL(GDN_ERR_FORMAT, VECTORS, "truncated file");
    assert_int_equal(truncate(fixture_path(all, VECTORS), info.st_size / 2), 0);
    EXPECT_REFUSAL(GDN_ERR_FORMAT, VECTORS, "truncated file");
    assert_int_equal(truncate(fixture_path(all, VECTORS), 20), 0);
    EXPECT_REFUSAL(GDN_ERR_FORMAT, VECTORS);
}

static void test_foreign(void **state) {
    const fixture *all = *state;
    const hid_t file =
        H5Fcreate(fixture_path(all, VECTORS), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(file >= 0);
    H5Fclose(file);
    EXPECT_REFUSAL(GDN_ERR_FORMAT, VECTORS,
                   "is an HDF5 file but not a vector file of gdn-conform");
}

static void set_schema(const fixture *all, int schema) {
    const hid_t file = open_for_damage(all);
    const hid_t attribute = H5Aopen(file, "gdn_schema", H5P_DEFAULT);
    assert_true(H5Awrite(attribute, H5T_NATIVE_INT, &schema) >= 0);
    H5Aclose(attribute);
    H5Fclose(file);
}

static void test_other_schema(void **state) {
    const fixture *all = *state;
    set_schema(all, 2);
    EXPECT_REFUSAL(GDN_ERR_FORMAT, VECTORS,
                   "schema 2 is newer than 1: a newer gdn-conform wrote it");
    set_schema(all, 0);
    EXPECT_REFUSAL(GDN_ERR_FORMAT, VECTORS, "expected schema 1 but found 0");
    set_schema(all, 1);
    json_t *manifest = read_manifest(all);
    json_object_set_new(manifest, "schema", json_integer(7));
    write_manifest(all, manifest);
    EXPECT_REFUSAL(GDN_ERR_FORMAT, MANIFEST,
                   "schema 7 is newer than 1: a newer gdn-conform wrote it");
}

static void test_schema_of_another_type(void **state) {
    const fixture *all = *state;
    const hid_t file = open_for_damage(all);
    assert_true(H5Adelete(file, "gdn_schema") >= 0);
    assert_int_equal(gdnp_h5_write_text(file, "gdn_schema", "1", NULL), GDN_OK);
    H5Fclose(file);
    EXPECT_REFUSAL(GDN_ERR_FORMAT, "attribute gdn_schema: expected one integer");
}

/* ---- manifests ---- */

static void test_bad_manifest(void **state) {
    const fixture *all = *state;
    write_text(fixture_path(all, MANIFEST), "{\n \"schema\": 1,\n oops");
    EXPECT_REFUSAL(GDN_ERR_FORMAT, MANIFEST ":3:");
    write_text(fixture_path(all, MANIFEST), "[]");
    EXPECT_REFUSAL(GDN_ERR_FORMAT, MANIFEST, "no schema number");
    write_text(fixture_path(all, MANIFEST), "{\"schema\": 1}");
    EXPECT_REFUSAL(GDN_ERR_FORMAT, MANIFEST, "expected suite, generator and cases");
    write_text(fixture_path(all, MANIFEST),
               "{\"schema\": 1, \"suite\": \"ci\", \"generator\": \"g\","
               " \"cases\": {\"c\": {\"stored\": 1}}}");
    EXPECT_REFUSAL(GDN_ERR_FORMAT, MANIFEST, "case c: expected stored, case");

    fixture_write(all, all->dir, "ci");
    json_t *manifest = read_manifest(all);
    json_object_set_new(datasets_of(all, manifest, FIXTURE_CONV), "../x", json_string("0"));
    write_manifest(all, manifest);
    EXPECT_REFUSAL(GDN_ERR_FORMAT, MANIFEST, "../x: expected 64 hexadecimal digits");
}

static void test_manifest_and_file_disagree(void **state) {
    const fixture *all = *state;
    const char *id = all->tests[FIXTURE_CONV].id;
    json_t *manifest = read_manifest(all);
    json_object_del(json_object_get(manifest, "cases"), id);
    write_manifest(all, manifest);
    EXPECT_REFUSAL(GDN_ERR_FORMAT, VECTORS, id,
                   "is in the file but not in the manifest; generate the suite again");

    fixture_write(all, all->dir, "ci");
    manifest = read_manifest(all);
    json_object_set_new(datasets_of(all, manifest, FIXTURE_CONV), "golden/out",
                        json_pack("s+", "0123456789abcdef0123456789abcdef",
                                  "0123456789abcdef0123456789abcdef"));
    write_manifest(all, manifest);
    EXPECT_REFUSAL(GDN_ERR_FORMAT, id, "golden/out",
                   "the manifest says sha256 0123456789ab.. but the file says ");

    fixture_write(all, all->dir, "ci");
    manifest = read_manifest(all);
    json_object_set_new(manifest, "generator", json_string("gdn-conform 0.0.1"));
    write_manifest(all, manifest);
    EXPECT_REFUSAL(GDN_ERR_FORMAT, "generator", "the manifest says \"gdn-conform 0.0.1\"");

    fixture_write(all, all->dir, "ci");
    manifest = read_manifest(all);
    json_object_set_new(
        json_object_get(json_object_get(json_object_get(manifest, "cases"), id), "case"),
        "seed", json_integer(99));
    write_manifest(all, manifest);
    EXPECT_REFUSAL(GDN_ERR_FORMAT, id, "seed: expected 99 but found 0");
}

static void test_suite_under_another_name(void **state) {
    const fixture *all = *state;
    fixture_write(all, all->dir, "other");
    assert_int_equal(rename(fixture_path(all, "other.h5"), fixture_path(all, VECTORS)), 0);
    EXPECT_REFUSAL(GDN_ERR_FORMAT, VECTORS, "attribute suite", "the file says \"other\"");
    assert_int_equal(
        rename(fixture_path(all, "other.manifest.json"), fixture_path(all, MANIFEST)), 0);
    EXPECT_REFUSAL(GDN_ERR_FORMAT, MANIFEST, "expected suite \"ci\" but found \"other\"");
}

/* ---- datasets ---- */

/* One bit of one golden value, changed behind HDF5's back. */
static void test_flipped_bit(void **state) {
    const fixture *all = *state;
    const hid_t file = open_for_damage(all);
    const hid_t dataset =
        H5Dopen2(file, case_path(all, FIXTURE_ATTENTION, "golden/z"), H5P_DEFAULT);
    assert_true(dataset >= 0);
    const haddr_t offset = H5Dget_offset(dataset);
    assert_true(offset != HADDR_UNDEF);
    H5Dclose(dataset);
    H5Fclose(file);

    uint8_t byte = 0;
    const int fd = open(fixture_path(all, VECTORS), O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)offset + 5), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset + 5), 1);
    close(fd);
    EXPECT_REFUSAL(GDN_ERR_FORMAT, VECTORS, all->tests[FIXTURE_ATTENTION].id,
                   "golden/z: expected sha256 ", ".. but found ", "the data is damaged");
}

static void test_missing_dataset(void **state) {
    const fixture *all = *state;
    hid_t file = open_for_damage(all);
    assert_true(H5Ldelete(file, case_path(all, FIXTURE_CONV, "limit/out"), H5P_DEFAULT) >=
                0);
    H5Fclose(file);
    EXPECT_REFUSAL(GDN_ERR_FORMAT, all->tests[FIXTURE_CONV].id,
                   "limit/out: the dataset is missing");
    file = open_for_damage(all);
    assert_true(H5Ldelete(file, case_path(all, FIXTURE_CONV, "limit"), H5P_DEFAULT) >= 0);
    H5Fclose(file);
    EXPECT_REFUSAL(GDN_ERR_FORMAT, "limit/out: group limit is missing");
}

/* A link would be followed into a file that nobody checked. */
static void test_links_are_not_followed(void **state) {
    const fixture *all = *state;
    const char *path = case_path(all, FIXTURE_CONV, "golden/out");
    hid_t file = open_for_damage(all);
    assert_true(H5Ldelete(file, path, H5P_DEFAULT) >= 0);
    assert_true(
        H5Lcreate_external("other.h5", "/x", file, path, H5P_DEFAULT, H5P_DEFAULT) >= 0);
    H5Fclose(file);
    EXPECT_REFUSAL(GDN_ERR_FORMAT, "golden/out: a link stands where a dataset should");

    path = case_path(all, FIXTURE_CONV, "golden");
    file = open_for_damage(all);
    assert_true(H5Ldelete(file, path, H5P_DEFAULT) >= 0);
    assert_true(H5Lcreate_soft("/", file, path, H5P_DEFAULT, H5P_DEFAULT) >= 0);
    H5Fclose(file);
    EXPECT_REFUSAL(GDN_ERR_FORMAT, "golden is a link, not a group");
}

/* Replaces golden/out of the conv case by a dataset of this type and creation list. */
static void replace_golden(const fixture *all, hid_t type, hid_t creation) {
    const char *path = case_path(all, FIXTURE_CONV, "golden/out");
    const hid_t file = open_for_damage(all);
    const hid_t old = H5Dopen2(file, path, H5P_DEFAULT);
    const hid_t space = H5Dget_space(old);
    H5Dclose(old);
    assert_true(H5Ldelete(file, path, H5P_DEFAULT) >= 0);
    const hid_t dataset =
        H5Dcreate2(file, path, type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    assert_true(dataset >= 0);
    H5Dclose(dataset);
    H5Sclose(space);
    H5Fclose(file);
}

static void test_foreign_storage(void **state) {
    const fixture *all = *state;
    replace_golden(all, H5T_IEEE_F64BE, H5P_DEFAULT);
    EXPECT_REFUSAL(GDN_ERR_FORMAT, "golden/out: the dataset has a type that");

    /* One chunk of exactly the size that one piece would have. */
    const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    assert_true(H5Pset_chunk(creation, 2, (const hsize_t[]){10, 256}) >= 0);
    assert_true(H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY) >= 0);
    replace_golden(all, H5T_IEEE_F64LE, creation);
    H5Pclose(creation);
    EXPECT_REFUSAL(GDN_ERR_FORMAT, "golden/out: the dataset is not stored in one piece");

    const hid_t external = H5Pcreate(H5P_DATASET_CREATE);
    assert_true(H5Pset_external(external, "/etc/passwd", 0, H5F_UNLIMITED) >= 0);
    replace_golden(all, H5T_IEEE_F64LE, external);
    H5Pclose(external);
    EXPECT_REFUSAL(GDN_ERR_FORMAT, "golden/out: the dataset is not stored in one piece");
}

/* Sound as a file, but not what the case's tensors look like. */
static void expect_load_refusal(const fixture *all, int which, const char *message) {
    gdn_error err = {0};
    gdn_vector_reader *reader = NULL;
    gdn_problem problem;
    gdn_golden golden;
    if (gdn_vector_reader_open(&reader, all->dir, "ci", &err) != GDN_OK) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(
        gdn_vector_reader_load(reader, &all->tests[which], &problem, &golden, &err),
        GDN_ERR_FORMAT);
    if (!strstr(err.message, message) || !strstr(err.message, all->tests[which].id)) {
        fail_msg("\"%s\" does not contain \"%s\"", err.message, message);
    }
    assert_null(problem.arena.base);
    assert_null(golden.outputs);
    gdn_vector_reader_close(reader);
}

/* The same bytes under another type have the same digest. */
static void test_another_type(void **state) {
    const fixture *all = *state;
    const gdn_tensor *x = gdn_call_tensor(&all->problems[FIXTURE_CONV].call, "x");
    gdn_tensor other = *x;
    char digest[65];
    assert_int_equal(x->dtype, GDN_FP16);
    assert_true(gdn_tensor_is_dense_from(x, 0));
    other.dtype = GDN_BF16;
    gdn_sha256(x->data, (size_t)gdn_tensor_count(x) * 2, digest);
    const hid_t file = open_for_damage(all);
    const hid_t group = H5Gopen2(file, case_path(all, FIXTURE_CONV, "input"), H5P_DEFAULT);
    assert_true(H5Ldelete(group, "x", H5P_DEFAULT) >= 0);
    assert_int_equal(gdnp_h5_write_dataset(group, &other, digest, NULL), GDN_OK);
    H5Gclose(group);
    H5Fclose(file);
    expect_load_refusal(all, FIXTURE_CONV,
                        "input/x: expected fp16 [10,256] but found bf16 [10,256]");
}

static void test_forged_rows(void **state) {
    const fixture *all = *state;
    const gdn_golden *golden = &all->goldens[FIXTURE_CONV];
    for (size_t i = 0; i < golden->n_outputs; i++) {
        const gdn_expected *expected = &golden->outputs[i];
        if (strcmp(expected->tensor->name, "out") == 0) {
            assert_true(expected->n_rows >= 2);
            const size_t size = (size_t)expected->n_rows * sizeof(int64_t);
            int64_t *rows = malloc(size);
            assert_non_null(rows);
            memcpy(rows, expected->rows, size);
            rows[1] = INT64_C(1) << 40;
            forge(all, FIXTURE_CONV, "rows/out", rows, size);
            expect_load_refusal(all, FIXTURE_CONV, "but found 1099511627776");
            rows[1] = rows[0];
            forge(all, FIXTURE_CONV, "rows/out", rows, size);
            expect_load_refusal(all, FIXTURE_CONV, "rows/out: expected entry 1 in [");
            free(rows);
        }
    }
}

static void test_dataset_of_no_tensor(void **state) {
    const fixture *all = *state;
    const float value = 1;
    char digest[65];
    gdn_sha256(&value, sizeof value, digest);
    const gdn_tensor tensor =
        gdn_tensor_dense("extra", (void *)(uintptr_t)&value, GDN_FP32, 1, (int64_t[]){1});
    const hid_t file = open_for_damage(all);
    const hid_t group = H5Gopen2(file, case_path(all, FIXTURE_CONV, "input"), H5P_DEFAULT);
    assert_true(group >= 0);
    assert_int_equal(gdnp_h5_write_dataset(group, &tensor, digest, NULL), GDN_OK);
    H5Gclose(group);
    H5Fclose(file);
    json_t *manifest = read_manifest(all);
    json_object_set_new(datasets_of(all, manifest, FIXTURE_CONV), "input/extra",
                        json_string(digest));
    write_manifest(all, manifest);
    expect_load_refusal(all, FIXTURE_CONV, "datasets for the tensors of the case");
}

/* Any damaged byte: refused or without consequence, never a crash of this process. */
static void test_random_damage(void **state) {
    const fixture *all = *state;
    struct stat info;
    int refused = 0;
    const int fd = open(fixture_path(all, VECTORS), O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &info), 0);
    uint64_t random = 1;
    for (int i = 0; i < 300; i++) {
        uint8_t byte = 0, damaged = 0;
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        /* Half of the damage near the start, where the structure is densest. */
        const uint64_t range = i % 2 ? (uint64_t)info.st_size : 4096;
        const off_t at = (off_t)((random >> 24) % range);
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        damaged = (uint8_t)(byte ^ (1 + (random >> 16) % 255));
        assert_int_equal(pwrite(fd, &damaged, 1, at), 1);
        gdn_error err = {0};
        gdn_vector_reader *reader = NULL;
        const gdn_status status = gdn_vector_reader_open(&reader, all->dir, "ci", &err);
        if (status != GDN_OK) {
            if (status != GDN_ERR_FORMAT && status != GDN_ERR_OOM) {
                fail_msg("byte %lld: %s", (long long)at, err.message);
            }
            refused++;
        }
        gdn_vector_reader_close(reader);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    close(fd);
    assert_true(refused > 150);
    gdn_vector_reader *reader = NULL;
    assert_int_equal(gdn_vector_reader_open(&reader, all->dir, "ci", NULL), GDN_OK);
    gdn_vector_reader_close(reader);
}

#define ON_GOOD_FILES(test)                                                                \
    cmocka_unit_test_setup_teardown(test, write_good, fixture_remove_dir)

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_GOOD_FILES(test_missing),
        ON_GOOD_FILES(test_not_hdf5),
        ON_GOOD_FILES(test_truncated),
        ON_GOOD_FILES(test_foreign),
        ON_GOOD_FILES(test_other_schema),
        ON_GOOD_FILES(test_schema_of_another_type),
        ON_GOOD_FILES(test_bad_manifest),
        ON_GOOD_FILES(test_manifest_and_file_disagree),
        ON_GOOD_FILES(test_suite_under_another_name),
        ON_GOOD_FILES(test_flipped_bit),
        ON_GOOD_FILES(test_missing_dataset),
        ON_GOOD_FILES(test_links_are_not_followed),
        ON_GOOD_FILES(test_foreign_storage),
        ON_GOOD_FILES(test_another_type),
        ON_GOOD_FILES(test_forged_rows),
        ON_GOOD_FILES(test_dataset_of_no_tensor),
        ON_GOOD_FILES(test_random_damage),
    };
    return cmocka_run_group_tests(tests, fixture_create, fixture_destroy);
}
