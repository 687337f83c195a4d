/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Certificates in files and manifests: where they stand, and that the two cannot
 * disagree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hdf5_io.h"
#include "vector_fixture.h"

static int write_good(void **state) {
    if (fixture_new_dir(state) != 0) {
        return -1;
    }
    const fixture *all = *state;
    fixture_write(all, all->dir, "ci");
    return 0;
}

static json_t *read_manifest(const fixture *all) {
    json_t *manifest = json_load_file(fixture_path(all, "ci.manifest.json"), 0, NULL);
    assert_non_null(manifest);
    return manifest;
}

static json_t *entry_of(const fixture *all, const json_t *manifest, int which) {
    json_t *entry =
        json_object_get(json_object_get(manifest, "cases"), all->tests[which].id);
    assert_non_null(entry);
    return entry;
}

static void write_manifest(const fixture *all, json_t *manifest) {
    assert_int_equal(json_dump_file(manifest, fixture_path(all, "ci.manifest.json"),
                                    JSON_REAL_PRECISION(3)),
                     0);
    json_decref(manifest);
}

static gdn_status open_file(const fixture *all, gdn_error *err) {
    gdn_vector_reader *reader = NULL;
    const gdn_status status = gdn_vector_reader_open(&reader, all->dir, "ci", err);
    gdn_vector_reader_close(reader);
    return status;
}

static void expect_refusal(const fixture *all, const char *text) {
    gdn_error err = {0};
    assert_int_equal(open_file(all, &err), GDN_ERR_FORMAT);
    if (!strstr(err.message, text)) {
        fail_msg("expected \"%s\" in: %s", text, err.message);
    }
}

static void test_attributes_and_manifest_hold_the_figures(void **state) {
    const fixture *all = *state;
    const gdn_certificate *c = &all->certificates[FIXTURE_ATTENTION];
    assert_true(c->certified);
    assert_int_equal(c->n_outputs, 2);
    json_t *manifest = read_manifest(all);
    const hid_t file = H5Fopen(fixture_path(all, "ci.h5"), H5F_ACC_RDONLY, H5P_DEFAULT);
    for (size_t i = 0; i < c->n_outputs; i++) {
        char path[512];
        double limits = 0.0, ulps = 0.0;
        char *certifier = NULL;
        snprintf(path, sizeof path, "%s/golden/%s", all->tests[FIXTURE_ATTENTION].id,
                 c->outputs[i].tensor);
        const hid_t dataset = H5Dopen2(file, path, H5P_DEFAULT);
        assert_int_equal(gdnp_h5_read_real(dataset, "certified_limits", &limits, NULL), 0);
        assert_int_equal(gdnp_h5_read_real(dataset, "certified_ulps", &ulps, NULL), 0);
        assert_int_equal(gdnp_h5_read_text(dataset, "certifier", &certifier, NULL), 0);
        assert_true(limits == c->outputs[i].limits && limits > 0.0);
        assert_true(ulps == c->outputs[i].ulps && ulps > 0.0);
        assert_ptr_equal(strstr(certifier, "gdn-conform "), certifier);
        const json_t *figures = json_object_get(
            json_object_get(entry_of(all, manifest, FIXTURE_ATTENTION), "certified"),
            c->outputs[i].tensor);
        assert_true(json_number_value(json_object_get(figures, "limits")) == limits);
        assert_true(json_number_value(json_object_get(figures, "ulps")) == ulps);
        free(certifier);
        H5Dclose(dataset);
    }
    H5Fclose(file);
    json_decref(manifest);
}

static void test_other_figures_in_the_file_are_refused(void **state) {
    const fixture *all = *state;
    char path[512];
    snprintf(path, sizeof path, "%s/golden/out", all->tests[FIXTURE_CONV].id);
    const hid_t file = H5Fopen(fixture_path(all, "ci.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
    const hid_t dataset = H5Dopen2(file, path, H5P_DEFAULT);
    assert_true(H5Adelete(dataset, "certified_limits") >= 0);
    assert_int_equal(gdnp_h5_write_real(dataset, "certified_limits", 0.5, NULL), GDN_OK);
    H5Dclose(dataset);
    H5Fclose(file);
    expect_refusal(all, "attribute certified_limits: the manifest says");
}

static void test_malformed_members_are_refused(void **state) {
    const fixture *all = *state;
    json_t *manifest = read_manifest(all);
    json_t *entry = entry_of(all, manifest, FIXTURE_CONV);
    json_object_set_new(entry, "certified", json_string("yes"));
    write_manifest(all, manifest);
    expect_refusal(all, "expected certified with rounding_ties, or uncertified");

    fixture_write(all, all->dir, "ci");
    manifest = read_manifest(all);
    entry = entry_of(all, manifest, FIXTURE_CONV);
    json_object_set_new(json_object_get(json_object_get(entry, "certified"), "out"), "ulps",
                        json_integer(-1));
    write_manifest(all, manifest);
    expect_refusal(all, "certified: out: expected limits, ulps and undecided");
}

/* A manifest that was written before there were certificates. */
static void test_manifest_without_certificates_opens(void **state) {
    const fixture *all = *state;
    json_t *manifest = read_manifest(all);
    for (int i = 0; i < FIXTURE_CASES; i++) {
        json_t *entry = entry_of(all, manifest, i);
        json_object_del(entry, "certified");
        json_object_del(entry, "rounding_ties");
        json_object_del(entry, "uncertified");
    }
    assert_int_equal(gdn_manifest_certified(manifest).uncertified, FIXTURE_CASES);
    write_manifest(all, manifest);
    gdn_error err = {0};
    if (open_file(all, &err) != GDN_OK) {
        fail_msg("%s", err.message);
    }
}

/* --check must see a certificate that changed, and read back what was written. */
static void test_comparison_covers_certificates(void **state) {
    const fixture *all = *state;
    gdn_vector_writer *writer = fixture_writer(all, NULL, "ci");
    json_t *manifest = read_manifest(all);
    gdn_error err = {0};
    const json_t *generated = gdn_vector_writer_manifest(writer);
    if (gdn_manifest_compare(manifest, generated, &err) != GDN_OK) {
        fail_msg("%s", err.message);
    }
    json_object_set_new(entry_of(all, manifest, FIXTURE_CONV), "rounding_ties",
                        json_integer(1));
    assert_int_equal(gdn_manifest_compare(manifest, generated, &err), GDN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "rounding_ties: expected 1 but found 0"));
    assert_non_null(strstr(err.message, all->tests[FIXTURE_CONV].id));
    json_decref(manifest);
    gdn_vector_writer_abandon(writer);
}

static void test_suite_figures_are_the_largest(void **state) {
    (void)state;
    json_t *manifest = json_loads(
        "{\"cases\":{"
        "\"a\":{\"certified\":{\"x\":{\"limits\":1e-10,\"ulps\":5.0,\"undecided\":0},"
        "\"y\":{\"limits\":3e-10,\"ulps\":2.0,\"undecided\":4}},\"rounding_ties\":1},"
        "\"b\":{\"certified\":{\"x\":{\"limits\":2e-10,\"ulps\":9.0,\"undecided\":0}},"
        "\"rounding_ties\":2},\"c\":{\"uncertified\":\"too large\"}}}",
        0, NULL);
    assert_non_null(manifest);
    const gdn_certified_suite suite = gdn_manifest_certified(manifest);
    assert_int_equal(suite.certified, 2);
    assert_int_equal(suite.uncertified, 1);
    assert_int_equal(suite.ties, 3);
    assert_true(suite.limits == 3e-10);
    assert_true(suite.ulps == 9.0);
    json_decref(manifest);
}

#define ON_GOOD_FILES(test)                                                                \
    cmocka_unit_test_setup_teardown(test, write_good, fixture_remove_dir)

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_GOOD_FILES(test_attributes_and_manifest_hold_the_figures),
        ON_GOOD_FILES(test_other_figures_in_the_file_are_refused),
        ON_GOOD_FILES(test_malformed_members_are_refused),
        ON_GOOD_FILES(test_manifest_without_certificates_opens),
        ON_GOOD_FILES(test_comparison_covers_certificates),
        cmocka_unit_test(test_suite_figures_are_the_largest),
    };
    return cmocka_run_group_tests(tests, fixture_create, fixture_destroy);
}
