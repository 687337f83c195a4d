/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "vector_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Paged and misaligned tensors, both half types, bool, exact and bounded outputs, outputs
 * without limits, and one case that is too large to be stored. */
static const char *const CASES[FIXTURE_CASES] = {
    [FIXTURE_ATTENTION] =
        "{\"op\": \"gdn_attention\", \"profile\": \"vllm-xpu\","
        " \"batch\": \"pre2x5+dec2+spec2x3\", \"num_k_heads\": 2, \"num_v_heads\": 4,"
        " \"head_k_dim\": 64, \"head_v_dim\": 64, \"conv_bias\": true, \"pad_rows\": 3,"
        " \"page_bytes\": 98304, \"misaligned\": true, \"seed\": 7}",
    [FIXTURE_CONV] = "{\"op\": \"causal_conv1d\", \"profile\": \"vllm-xpu\","
                     " \"batch\": \"pre2x5\", \"num_k_heads\": 1, \"num_v_heads\": 2,"
                     " \"head_k_dim\": 64, \"head_v_dim\": 64, \"dtype\": \"fp16\"}",
    [FIXTURE_METADATA] =
        "{\"op\": \"gdn_metadata\", \"profile\": \"vllm-xpu\","
        " \"batch\": \"spec1x3+dec2+pre1x5\", \"num_k_heads\": 1, \"num_v_heads\": 2,"
        " \"head_k_dim\": 64, \"head_v_dim\": 64}",
    [FIXTURE_LARGE] = "{\"op\": \"gdn_gating\", \"profile\": \"vllm-xpu\","
                      " \"batch\": \"pre1x8192\", \"num_k_heads\": 64,"
                      " \"num_v_heads\": 64, \"head_k_dim\": 64, \"head_v_dim\": 64}",
};

static void require(gdn_status status, const gdn_error *err) {
    if (status != GDN_OK) {
        fail_msg("%s: %s", gdn_status_name(status), err->message);
    }
}

int fixture_create(void **state) {
    fixture *all = calloc(1, sizeof *all);
    assert_non_null(all);
    *state = all;
    for (int i = 0; i < FIXTURE_CASES; i++) {
        gdn_error err = {0};
        json_t *json = json_loads(CASES[i], 0, NULL);
        assert_non_null(json);
        require(gdn_case_from_json(&all->tests[i], json, GDN_PROFILE_DIR, &err), &err);
        json_decref(json);
        require(gdn_problem_create(&all->problems[i], &all->tests[i], &err), &err);
        require(gdn_golden_create(&all->goldens[i], &all->problems[i], &err), &err);
        require(
            gdn_certify(&all->certificates[i], &all->problems[i], &all->goldens[i], &err),
            &err);
    }
    return 0;
}

int fixture_destroy(void **state) {
    fixture *all = *state;
    for (int i = 0; i < FIXTURE_CASES; i++) {
        gdn_golden_destroy(&all->goldens[i]);
        gdn_problem_destroy(&all->problems[i]);
        gdn_case_destroy(&all->tests[i]);
    }
    free(all);
    return 0;
}

int fixture_new_dir(void **state) {
    fixture *all = *state;
    snprintf(all->dir, sizeof all->dir, "/tmp/gdn-vectors-XXXXXX");
    return mkdtemp(all->dir) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *info, int type,
                      struct FTW *where) {
    (void)info;
    (void)type;
    (void)where;
    return remove(path);
}

int fixture_remove_dir(void **state) {
    const fixture *all = *state;
    return nftw(all->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

gdn_vector_writer *fixture_writer(const fixture *all, const char *dir, const char *suite) {
    gdn_error err = {0};
    gdn_vector_writer *writer = NULL;
    require(gdn_vector_writer_create(&writer, dir, suite, &err), &err);
    for (int i = 0; i < FIXTURE_CASES; i++) {
        require(gdn_vector_writer_add(writer, &all->problems[i], &all->goldens[i],
                                      &all->certificates[i], &err),
                &err);
    }
    return writer;
}

void fixture_write(const fixture *all, const char *dir, const char *suite) {
    gdn_error err = {0};
    require(gdn_vector_writer_commit(fixture_writer(all, dir, suite), &err), &err);
}

const char *fixture_path(const fixture *all, const char *name) {
    static char paths[4][256];
    static int next = 0;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", all->dir, name);
    return path;
}

int fixture_count_files(const fixture *all) {
    int count = 0;
    DIR *dir = opendir(all->dir);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));) {
        count += entry->d_name[0] != '.';
    }
    closedir(dir);
    return count;
}
