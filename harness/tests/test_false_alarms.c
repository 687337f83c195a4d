/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Prints how many right kernels the judge fails; exit 1 if it is any, or if nothing comes
 * near a limit.
 *
 * Usage: test_false_alarms PROFILES SEEDS [relations] */
#include "false_alarms.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <omp.h>

int main(int argc, char **argv) {
    const bool relations = argc == 4 && strcmp(argv[3], "relations") == 0;
    if (argc != 3 && !relations) {
        fprintf(stderr, "usage: %s PROFILES SEEDS [relations]\n", argv[0]);
        return 2;
    }
    gdn_false_alarms result;
    gdn_error err = {0};
    omp_set_num_threads(1); /* small calls, one after the other */
    if (gdn_false_alarms_count(&result, argv[1], atoi(argv[2]), relations, stdout, &err) !=
        GDN_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 3;
    }
    gdn_false_alarms_print(&result, stdout);
    const bool used = result.budget[0] > 0.1 && (relations || result.budget[1] > 0.1);
    return result.runs > 0 && result.alarms == 0 && used ? 0 : 1;
}
