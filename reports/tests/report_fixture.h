/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Reports as text, small enough to be read in a test. */
#ifndef GDN_REPORT_FIXTURE_H
#define GDN_REPORT_FIXTURE_H

#include <stdio.h>
#include <string.h>

#include "report_read.h"

#define CASE_OF(id, verdict, rest)                                                         \
    "{\"id\": \"" id "\", \"verdict\": \"" verdict "\", \"message\": null, \"replay\": "   \
    "null, \"output\": null, \"golden\": \"computed\", \"tensors\": [], \"stray\": "       \
    "{\"bytes\": 0, \"first\": \"\"}, \"seconds\": {\"kernel\": null, \"device\": 0.0, "   \
    "\"total\": 0.0}" rest "}"

#define VERDICTS(pass, fail)                                                               \
    "{\"pass\": " pass ", \"fail\": " fail ", \"xfail\": 0, \"xpass\": 0, \"skip\": 0, "   \
    "\"unsupported\": 0, \"crash\": 0, \"hang\": 0}"

#define REPORT_OF(schema, planned, verdicts, cases)                                        \
    "{\"schema\": " schema ", \"device\": {\"name\": \"cpu\", \"hardware\": null, "        \
    "\"driver\": null, \"build\": null, \"lost\": false, \"lost_reason\": null}, "         \
    "\"suites\": \"smoke\", \"planned\": " planned ", \"verdicts\": " verdicts             \
    ", \"cases\": [" cases "]}"

static inline gdn_status read_bytes(gdn_run_result *run, const void *bytes, size_t size,
                                    gdn_error *err) {
    *run = (gdn_run_result){0};
    FILE *file = fmemopen((void *)(uintptr_t)bytes, size, "r");
    if (!file) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a stream");
    }
    const gdn_status status = gdn_report_read_stream(run, file, "r.json", err);
    fclose(file);
    return status;
}

#endif
