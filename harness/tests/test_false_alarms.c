/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Prints how many right kernels the judge fails; exit 1 if it is any, or if nothing comes
 * near a limit.
 *
 * Usage: test_false_alarms PROFILES SEEDS */
#include "false_alarms.h"

#include <stdbool.h>
#include <stdlib.h>

#include <omp.h>

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s PROFILES SEEDS\n", argv[0]);
        return 2;
    }
    gdn_false_alarms result;
    gdn_error err = {0};
    omp_set_num_threads(1); /* small calls, one after the other */
    if (gdn_false_alarms_count(&result, argv[1], atoi(argv[2]), stdout, &err) != GDN_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 3;
    }
    gdn_false_alarms_print(&result, stdout);
    const bool used = result.budget[0] > 0.1 && result.budget[1] > 0.1;
    return result.runs > 0 && result.alarms == 0 && used ? 0 : 1;
}
