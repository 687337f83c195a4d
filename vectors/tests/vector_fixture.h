/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Small real cases and a folder to write them into, for the tests of vector files. */
#ifndef GDN_VECTOR_FIXTURE_H
#define GDN_VECTOR_FIXTURE_H

#include "vector_file.h"

enum { FIXTURE_ATTENTION, FIXTURE_CONV, FIXTURE_METADATA, FIXTURE_LARGE, FIXTURE_CASES };

typedef struct fixture {
    gdn_case tests[FIXTURE_CASES];
    gdn_problem problems[FIXTURE_CASES];
    gdn_golden goldens[FIXTURE_CASES];
    gdn_certificate certificates[FIXTURE_CASES];
    char dir[64]; ///< empty at the start of each test
} fixture;

/* cmocka group and test hooks; `*state` is the fixture. */
int fixture_create(void **state);
int fixture_destroy(void **state);
int fixture_new_dir(void **state);
int fixture_remove_dir(void **state);

/// Adds every case to a writer for `dir` (NULL: digests only).
gdn_vector_writer *fixture_writer(const fixture *all, const char *dir, const char *suite);

/// Writes <dir>/<suite>.h5 and its manifest.
void fixture_write(const fixture *all, const char *dir, const char *suite);

/// <all->dir>/<name> in a buffer that the next call but three reuses.
const char *fixture_path(const fixture *all, const char *name);

/// Files in the folder.
int fixture_count_files(const fixture *all);

#endif
