/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What is written comes back bit for bit, in the same file every time, or not at all. What
 * a reader makes of damaged files: test_vector_damage.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hdf5_io.h"
#include "vector_fixture.h"

static void assert_contains(const char *text, const char *part) {
    if (!strstr(text, part)) {
        fail_msg("\"%s\" does not contain \"%s\"", text, part);
    }
}

static gdn_vector_reader *open_reader(const fixture *all, const char *suite) {
    gdn_error err = {0};
    gdn_vector_reader *reader = NULL;
    if (gdn_vector_reader_open(&reader, all->dir, suite, &err) != GDN_OK) {
        fail_msg("%s", err.message);
    }
    return reader;
}

static const gdn_expected *find_output(const gdn_golden *golden, const char *name) {
    for (size_t i = 0; i < golden->n_outputs; i++) {
        if (strcmp(golden->outputs[i].tensor->name, name) == 0) {
            return &golden->outputs[i];
        }
    }
    return NULL;
}

static void assert_same_bytes(const void *a, const void *b, size_t size) {
    assert_int_equal(a == NULL, b == NULL);
    if (a) {
        assert_memory_equal(a, b, size);
    }
}

static void assert_same_golden(const gdn_golden *wanted, const gdn_golden *found) {
    assert_int_equal(wanted->n_outputs, found->n_outputs);
    for (size_t i = 0; i < wanted->n_outputs; i++) {
        const gdn_expected *a = &wanted->outputs[i];
        const gdn_expected *b = find_output(found, a->tensor->name);
        assert_non_null(b);
        assert_int_equal(a->judgement, b->judgement);
        assert_int_equal(a->n_rows, b->n_rows);
        assert_int_equal(a->row_count, b->row_count);
        const size_t count = (size_t)(a->n_rows * a->row_count);
        assert_same_bytes(a->rows, b->rows, (size_t)a->n_rows * sizeof *a->rows);
        assert_same_bytes(a->golden, b->golden, count * sizeof *a->golden);
        assert_same_bytes(a->limit, b->limit, count * sizeof *a->limit);
        assert_same_bytes(a->bits, b->bits, count * gdn_dtype_size(a->tensor->dtype));
    }
}

static void test_round_trip(void **state) {
    const fixture *all = *state;
    fixture_write(all, all->dir, "ci");
    assert_int_equal(fixture_count_files(all), 2);
    gdn_vector_reader *reader = open_reader(all, "ci");
    for (int i = 0; i < FIXTURE_LARGE; i++) {
        gdn_error err = {0};
        gdn_problem problem = {0};
        gdn_golden golden = {0};
        assert_true(gdn_vector_reader_has(reader, all->tests[i].id));
        if (gdn_vector_reader_load(reader, &all->tests[i], &problem, &golden, &err) !=
            GDN_OK) {
            fail_msg("%s", err.message);
        }
        /* Guards, gaps and outputs too: both arenas started as poison. */
        assert_int_equal(problem.arena.bytes, all->problems[i].arena.bytes);
        assert_memory_equal(problem.arena.image, all->problems[i].arena.image,
                            problem.arena.bytes);
        assert_memory_equal(problem.arena.base, problem.arena.image, problem.arena.bytes);
        assert_int_equal(problem.call.op, all->tests[i].op);
        assert_same_golden(&all->goldens[i], &golden);
        gdn_golden_destroy(&golden);
        gdn_problem_destroy(&problem);
    }
    gdn_vector_reader_close(reader);
}

static void test_inputs_are_the_frozen_ones(void **state) {
    fixture *all = *state;
    gdn_arena *arena = &all->problems[FIXTURE_ATTENTION].arena;
    gdn_vector_writer *before = fixture_writer(all, NULL, "ci");
    memset(arena->base, 0, arena->bytes);
    gdn_vector_writer *after = fixture_writer(all, NULL, "ci");
    gdn_arena_restore(arena);
    assert_true(
        json_equal(gdn_vector_writer_manifest(before), gdn_vector_writer_manifest(after)));
    gdn_vector_writer_abandon(before);
    gdn_vector_writer_abandon(after);
}

static void test_large_case_is_in_the_manifest_only(void **state) {
    const fixture *all = *state;
    const gdn_case *test = &all->tests[FIXTURE_LARGE];
    fixture_write(all, all->dir, "ci");
    gdn_vector_reader *reader = open_reader(all, "ci");
    const json_t *entry = json_object_get(
        json_object_get(gdn_vector_reader_manifest(reader), "cases"), test->id);
    assert_true(gdn_golden_bytes(&all->goldens[FIXTURE_LARGE]) > GDN_STORED_BYTES);
    assert_true(json_is_false(json_object_get(entry, "stored")));
    const json_t *digest = json_object_get(json_object_get(entry, "datasets"), "golden/g");
    assert_int_equal(json_string_length(digest), 64);
    assert_false(gdn_vector_reader_has(reader, test->id));
    assert_false(gdn_vector_reader_has(reader, "no/such/case"));

    gdn_error err = {0};
    gdn_problem problem;
    gdn_golden golden;
    assert_int_equal(gdn_vector_reader_load(reader, test, &problem, &golden, &err),
                     GDN_ERR_ARG);
    assert_contains(err.message, test->id);
    gdn_vector_reader_close(reader);
}

static void assert_same_file(const fixture *all, const char *a, const char *b) {
    char first[65], second[65];
    assert_int_equal(gdn_sha256_file(fixture_path(all, a), first, NULL), GDN_OK);
    assert_int_equal(gdn_sha256_file(fixture_path(all, b), second, NULL), GDN_OK);
    assert_string_equal(first, second);
}

static void test_files_are_the_same_every_time(void **state) {
    const fixture *all = *state;
    assert_int_equal(mkdir(fixture_path(all, "a"), 0777), 0);
    assert_int_equal(mkdir(fixture_path(all, "b"), 0777), 0);
    fixture_write(all, fixture_path(all, "a"), "ci");
    sleep(1); /* a timestamp anywhere would differ */
    fixture_write(all, fixture_path(all, "b"), "ci");
    assert_same_file(all, "a/ci.h5", "b/ci.h5");
    assert_same_file(all, "a/ci.manifest.json", "b/ci.manifest.json");
    fixture_write(all, fixture_path(all, "b"), "ci"); /* over an existing file */
    assert_same_file(all, "a/ci.h5", "b/ci.h5");
}

static void test_digests_need_no_file(void **state) {
    const fixture *all = *state;
    gdn_error err = {0};
    fixture_write(all, all->dir, "ci");
    gdn_vector_reader *reader = open_reader(all, "ci");
    gdn_vector_writer *writer = fixture_writer(all, NULL, "ci");
    assert_int_equal(gdn_manifest_compare(gdn_vector_reader_manifest(reader),
                                          gdn_vector_writer_manifest(writer), &err),
                     GDN_OK);
    assert_int_equal(gdn_vector_writer_commit(writer, &err), GDN_OK);
    gdn_vector_reader_close(reader);
    assert_int_equal(fixture_count_files(all), 2);
}

static void test_files_are_readable_by_all(void **state) {
    const fixture *all = *state;
    const mode_t mask = umask(022);
    struct stat info;
    fixture_write(all, all->dir, "ci");
    umask(mask);
    assert_int_equal(stat(fixture_path(all, "ci.h5"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0644);
    assert_int_equal(stat(fixture_path(all, "ci.manifest.json"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0644);
}

/* HDF5's own conversion sees the numbers that our roundings mean. */
static void check_numbers(const fixture *all, int which, const char *name) {
    const gdn_problem *problem = &all->problems[which];
    const gdn_tensor *tensor = gdn_call_tensor(&problem->call, name);
    const int64_t count = gdn_tensor_count(tensor);
    float *values = malloc((size_t)count * sizeof *values);
    hid_t file = H5I_INVALID_HID, group = H5I_INVALID_HID;
    gdn_error err = {0};
    gdnp_h5_dataset dataset;
    assert_non_null(values);
    assert_int_equal(gdnp_h5_file_open(fixture_path(all, "ci.h5"), &file, &err), GDN_OK);
    char *path = NULL;
    assert_true(asprintf(&path, "%s/input", all->tests[which].id) > 0);
    assert_int_equal(gdnp_h5_group(file, path, false, &group, &err), GDN_OK);
    assert_int_equal(gdnp_h5_dataset_open(&dataset, group, name, &err), GDN_OK);
    assert_int_equal(dataset.dtype, tensor->dtype);
    assert_true(
        H5Dread(dataset.id, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    for (int64_t i = 0; i < count; i++) {
        const double wanted =
            gdn_load(tensor->data, tensor->dtype, gdn_tensor_flat_offset(tensor, i));
        if (wanted == wanted) {
            assert_true((double)values[i] == wanted);
        } else {
            assert_true(values[i] != values[i]);
        }
    }
    H5Dclose(dataset.id);
    H5Gclose(group);
    H5Fclose(file);
    free(path);
    free(values);
}

static void test_half_types_are_numbers(void **state) {
    const fixture *all = *state;
    fixture_write(all, all->dir, "ci");
    check_numbers(all, FIXTURE_ATTENTION, "projected_states_qkvz"); /* bf16 */
    check_numbers(all, FIXTURE_CONV, "x");                          /* fp16 */
}

static void test_abandoned_writer_leaves_the_old_file(void **state) {
    const fixture *all = *state;
    char before[65], after[65];
    fixture_write(all, all->dir, "ci");
    assert_int_equal(gdn_sha256_file(fixture_path(all, "ci.h5"), before, NULL), GDN_OK);
    gdn_error err = {0};
    gdn_vector_writer *writer = NULL;
    assert_int_equal(gdn_vector_writer_create(&writer, all->dir, "ci", &err), GDN_OK);
    assert_int_equal(fixture_count_files(all), 3);
    assert_int_equal(gdn_vector_writer_add(writer, &all->problems[0], &all->goldens[0],
                                           &all->certificates[0], &err),
                     GDN_OK);
    gdn_vector_writer_abandon(writer);
    gdn_vector_writer_abandon(NULL);
    assert_int_equal(fixture_count_files(all), 2);
    assert_int_equal(gdn_sha256_file(fixture_path(all, "ci.h5"), after, NULL), GDN_OK);
    assert_string_equal(before, after);
}

static void test_killed_writer_leaves_the_old_file(void **state) {
    const fixture *all = *state;
    fixture_write(all, all->dir, "ci");
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        fixture_writer(all, all->dir, "ci");
        raise(SIGKILL);
        _exit(1);
    }
    int ended = 0;
    assert_int_equal(waitpid(pid, &ended, 0), pid);
    assert_true(WIFSIGNALED(ended) && WTERMSIG(ended) == SIGKILL);
    gdn_vector_reader_close(open_reader(all, "ci"));
    fixture_write(all, all->dir, "ci"); /* the left-over is in nobody's way */
    gdn_vector_reader_close(open_reader(all, "ci"));
}

/* Writes with at most `limit` bytes a file and leaves through exit(), where a file that
 * HDF5 could not close would have its last chance to crash. */
static void write_within(const fixture *all, rlim_t limit) {
    gdn_error err = {0};
    gdn_vector_writer *writer = NULL;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){limit, limit});
    gdn_status status = gdn_vector_writer_create(&writer, all->dir, "ci", &err);
    for (int i = 0; status == GDN_OK && i < FIXTURE_CASES; i++) {
        status = gdn_vector_writer_add(writer, &all->problems[i], &all->goldens[i],
                                       &all->certificates[i], &err);
    }
    if (status == GDN_OK) {
        status = gdn_vector_writer_commit(writer, &err);
    } else {
        gdn_vector_writer_abandon(writer);
    }
    exit(status == GDN_ERR_IO && strstr(err.message, ": File too large") ? 0 : 1);
}

/* Fails in a small dataset, in a large one, and when all that is left is closing. */
static void test_full_disk(void **state) {
    const fixture *all = *state;
    struct stat info;
    fixture_write(all, all->dir, "ci");
    assert_int_equal(stat(fixture_path(all, "ci.h5"), &info), 0);
    const rlim_t size = (rlim_t)info.st_size;
    const rlim_t limits[] = {3000, size / 2, size - 1000, 2000};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        fflush(NULL);
        const pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            write_within(all, limits[i]);
        }
        int ended = 0;
        assert_int_equal(waitpid(pid, &ended, 0), pid);
        assert_int_equal(ended, 0);
        assert_int_equal(fixture_count_files(all), 2);
    }
    gdn_vector_reader_close(open_reader(all, "ci"));
}

static void test_failed_addition_publishes_nothing(void **state) {
    const fixture *all = *state;
    gdn_error err = {0};
    gdn_vector_writer *writer = fixture_writer(all, all->dir, "ci");
    assert_int_equal(gdn_vector_writer_add(writer, &all->problems[1], &all->goldens[1],
                                           &all->certificates[1], &err),
                     GDN_ERR_ARG);
    assert_contains(err.message, "already has this case");
    assert_contains(err.message, all->tests[1].id);
    err = (gdn_error){0};
    assert_int_equal(gdn_vector_writer_commit(writer, &err), GDN_ERR_ARG);
    assert_int_equal(fixture_count_files(all), 0);
}

static void test_bad_places(void **state) {
    const fixture *all = *state;
    gdn_vector_writer *writer = NULL;
    gdn_error err = {0};
    assert_int_equal(
        gdn_vector_writer_create(&writer, fixture_path(all, "none"), "ci", &err),
        GDN_ERR_IO);
    assert_contains(err.message, "No such file or directory");
    assert_int_equal(mkdir(fixture_path(all, "ci.manifest.json"), 0777), 0);
    writer = fixture_writer(all, all->dir, "ci");
    err = (gdn_error){0};
    assert_int_equal(gdn_vector_writer_commit(writer, &err), GDN_ERR_IO);
    assert_contains(err.message, "ci.manifest.json: Is a directory");
    assert_int_equal(fixture_count_files(all), 2); /* no temporary file */
    const char *const bad[] = {"", ".hidden", "a/b", ".."};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        gdn_vector_reader *reader = NULL;
        assert_int_equal(gdn_vector_writer_create(&writer, all->dir, bad[i], NULL),
                         GDN_ERR_ARG);
        assert_int_equal(gdn_vector_reader_open(&reader, all->dir, bad[i], NULL),
                         GDN_ERR_ARG);
    }
}

/* The caller's case and profile must be the stored ones. */
static void test_stale_vectors_are_refused(void **state) {
    const fixture *all = *state;
    fixture_write(all, all->dir, "ci");
    gdn_vector_reader *reader = open_reader(all, "ci");
    gdn_problem problem;
    gdn_golden golden;
    gdn_error err = {0};
    gdn_case other = all->tests[FIXTURE_CONV];
    other.seed += 1;
    assert_int_equal(gdn_vector_reader_load(reader, &other, &problem, &golden, &err),
                     GDN_ERR_FORMAT);
    assert_contains(err.message, "seed: expected 1 but found 0");
    assert_null(problem.arena.base);

    err = (gdn_error){0};
    other = all->tests[FIXTURE_CONV];
    other.conventions.l2norm_eps *= 2;
    assert_int_equal(gdn_vector_reader_load(reader, &other, &problem, &golden, &err),
                     GDN_ERR_FORMAT);
    assert_contains(err.message, "has changed since the vectors were generated");
    gdn_vector_reader_close(reader);
}

static void expect_difference(const json_t *expected, json_t *found, const char *message) {
    gdn_error err = {0};
    assert_int_equal(gdn_manifest_compare(expected, found, &err), GDN_ERR_FORMAT);
    assert_contains(err.message, message);
    json_decref(found);
}

static void test_manifest_compare(void **state) {
    const fixture *all = *state;
    gdn_vector_writer *writer = fixture_writer(all, NULL, "ci");
    const json_t *manifest = gdn_vector_writer_manifest(writer);
    const char *id = all->tests[FIXTURE_CONV].id;
    char digest[65], message[256];
    gdn_sha256("", 0, digest);

    json_t *found = json_deep_copy(manifest);
    json_object_set_new(found, "generator", json_string("gdn-conform 9.9.9"));
    assert_int_equal(gdn_manifest_compare(manifest, found, NULL), GDN_OK);
    json_object_set_new(found, "suite", json_string("other"));
    expect_difference(manifest, found, "suite: expected \"ci\" but found \"other\"");

    found = json_deep_copy(manifest);
    json_object_del(json_object_get(found, "cases"), id);
    snprintf(message, sizeof message, "%s: expected but not found", id);
    expect_difference(manifest, found, message);

    found = json_deep_copy(manifest);
    json_object_set_new(json_object_get(found, "cases"), "new", json_object());
    expect_difference(manifest, found, "new: found but not expected");

    found = json_deep_copy(manifest);
    json_t *entry = json_object_get(json_object_get(found, "cases"), id);
    json_object_set_new(json_object_get(entry, "datasets"), "golden/out",
                        json_string(digest));
    snprintf(message, sizeof message, "%s: golden/out: expected sha256 ", id);
    expect_difference(manifest, found, message);
    gdn_vector_writer_abandon(writer);
}

static void test_sha256(void **state) {
    const fixture *all = *state;
    char hex[65];
    gdn_sha256("abc", 3, hex); /* FIPS 180-4's example */
    assert_string_equal(hex,
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    gdn_sha256(NULL, 0, hex);
    assert_string_equal(hex,
                        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    gdn_error err = {0};
    assert_int_equal(gdn_sha256_file(fixture_path(all, "none"), hex, &err), GDN_ERR_IO);
    assert_contains(err.message, "none");
    FILE *file = fopen(fixture_path(all, "abc"), "wb");
    assert_non_null(file);
    assert_true(fputs("abc", file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(gdn_sha256_file(fixture_path(all, "abc"), hex, NULL), GDN_OK);
    assert_string_equal(hex,
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#define IN_NEW_DIR(test)                                                                   \
    cmocka_unit_test_setup_teardown(test, fixture_new_dir, fixture_remove_dir)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_NEW_DIR(test_round_trip),
        IN_NEW_DIR(test_inputs_are_the_frozen_ones),
        IN_NEW_DIR(test_large_case_is_in_the_manifest_only),
        IN_NEW_DIR(test_files_are_the_same_every_time),
        IN_NEW_DIR(test_digests_need_no_file),
        IN_NEW_DIR(test_files_are_readable_by_all),
        IN_NEW_DIR(test_half_types_are_numbers),
        IN_NEW_DIR(test_abandoned_writer_leaves_the_old_file),
        IN_NEW_DIR(test_killed_writer_leaves_the_old_file),
        IN_NEW_DIR(test_full_disk),
        IN_NEW_DIR(test_failed_addition_publishes_nothing),
        IN_NEW_DIR(test_bad_places),
        IN_NEW_DIR(test_stale_vectors_are_refused),
        IN_NEW_DIR(test_manifest_compare),
        IN_NEW_DIR(test_sha256),
    };
    omp_set_num_threads(1); /* a forked writer would wait for its parent's threads */
    return cmocka_run_group_tests(tests, fixture_create, fixture_destroy);
}
