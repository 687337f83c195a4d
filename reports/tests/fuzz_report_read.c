/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* libFuzzer over the report reader and every form:
 *     cmake --preset fuzz && cmake --build --preset fuzz
 *     build/fuzz/bin/fuzz_report_read CORPUS reports/tests/examples */
#include <stdint.h>

#include "diff.h"
#include "forms.h"
#include "report_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gdn_run_result run;
    gdn_error err = {0};
    if (size == 0 || read_bytes(&run, data, size, &err) != GDN_OK) {
        if (size > 0 && strpbrk(err.message, "\n\x1b")) {
            __builtin_trap();
        }
        return 0;
    }
    FILE *sink = fopen("/dev/null", "w");
    gdn_report_diff diff;
    if (sink && gdn_diff_create(&diff, &run, &run, &err) == GDN_OK) {
        gdn_diff_html(&diff, sink);
        gdn_diff_destroy(&diff);
        gdn_report_html(&run, sink);
        gdn_report_csv(&run, sink);
        gdn_report_markdown(&run, sink);
        (void)!gdn_report_junit(&run, sink, &err);
    }
    if (sink) {
        fclose(sink);
    }
    gdn_run_result_destroy(&run);
    return 0;
}
