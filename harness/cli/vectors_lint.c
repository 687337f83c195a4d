/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "vectors_lint.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli.h"
#include "result.h"
#include "store.h"
#include "vector_lint.h"

int gdn_cli_vectors_lint(const char *folder, const char *old) {
    gdn_error err = {0};
    gdn_paths paths;
    int code = GDN_EXIT_HARNESS;
    if (!gdn_cli_paths(&paths, &code)) {
        return code;
    }
    size_t cases = 0;
    json_t *findings = json_array();
    const gdn_status status =
        gdn_vector_lint(findings, &cases, folder, old, paths.profiles, &err);
    for (size_t i = 0; i < json_array_size(findings); i++) {
        printf("%s\n", json_string_value(json_array_get(findings, i)));
    }
    if (status != GDN_OK) {
        code = gdn_cli_fail(&err);
    } else {
        printf("%s: %zu cases, %zu findings\n", folder, cases, json_array_size(findings));
        code = json_array_size(findings) == 0 ? GDN_EXIT_GREEN : GDN_EXIT_RED;
    }
    json_decref(findings);
    return code;
}

int gdn_cli_vectors_index(const char *folder) {
    gdn_error err = {0};
    json_t *index = NULL;
    char *path = NULL;
    gdn_status status = gdn_store_index(&index, folder, NULL, &err);
    if (status == GDN_OK && asprintf(&path, "%s/index.json", folder) < 0) {
        path = NULL;
        status = gdn_error_set(&err, GDN_ERR_OOM, "no memory for a path");
    }
    if (status == GDN_OK) {
        status = gdn_report_write(index, path, &err);
    }
    if (status == GDN_OK) {
        printf("%s: %zu suites\n", path,
               json_object_size(json_object_get(index, "suites")));
    }
    free(path);
    json_decref(index);
    return status == GDN_OK ? GDN_EXIT_GREEN : gdn_cli_fail(&err);
}
