/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What `run --perf` measured: members of the JSON report, and a line a case. */
#include "report_parts.h"
#include "text.h"

static const char *const CLOCKS[] = {"kernel", "request"};

static double rate_of(const gdn_case_perf *perf) {
    return perf->median > 0.0 ? perf->bytes / perf->median : 0.0;
}

json_t *gdnp_perf_json(const gdn_case_perf *perf) {
    const bool known = perf->bandwidth > 0.0;
    return json_pack("{s:i, s:s, s:f, s:f, s:f, s:f, s:f, s:o, s:o}", "runs", perf->runs,
                     "clock", CLOCKS[perf->by_request], "median", perf->median, "least",
                     perf->least, "most", perf->most, "bytes", perf->bytes,
                     "bytes_per_second", rate_of(perf), "bandwidth",
                     known ? json_real(perf->bandwidth) : json_null(), "share",
                     known ? json_real(rate_of(perf) / perf->bandwidth) : json_null());
}

gdn_status gdnp_perf_read(gdn_case_perf *perf, const json_t *json, const char *where,
                          gdn_error *err) {
    char clock[16];
    int64_t runs = 0;
    GDN_TRY(gdnp_read_int(&runs, json, "runs", 1, INT32_MAX, where, err));
    GDN_TRY(gdnp_read_text(clock, sizeof clock, json, "clock", where, err));
    GDN_TRY(gdnp_read_number(&perf->median, json, "median", where, err));
    GDN_TRY(gdnp_read_number(&perf->least, json, "least", where, err));
    GDN_TRY(gdnp_read_number(&perf->most, json, "most", where, err));
    GDN_TRY(gdnp_read_number(&perf->bytes, json, "bytes", where, err));
    perf->runs = (int)runs;
    perf->by_request = clock[0] == CLOCKS[true][0];
    if (!json_is_null(json_object_get(json, "bandwidth"))) {
        GDN_TRY(gdnp_read_number(&perf->bandwidth, json, "bandwidth", where, err));
    }
    return GDN_OK;
}

void gdn_report_perf(const gdn_run_result *run, FILE *out) {
    for (size_t i = 0; i < run->n_cases; i++) {
        const gdn_case_perf *perf = &run->cases[i].perf;
        if (perf->runs == 0) {
            continue;
        }
        fprintf(out, "perf %10.1f us (%.1f to %.1f, %s) %9.3f MB %8.1f GB/s ",
                1e6 * perf->median, 1e6 * perf->least, 1e6 * perf->most,
                CLOCKS[perf->by_request], perf->bytes / 1e6, rate_of(perf) / 1e9);
        if (perf->bandwidth > 0.0) {
            fprintf(out, "%3.0f %% of %.0f  ", 100.0 * rate_of(perf) / perf->bandwidth,
                    perf->bandwidth / 1e9);
        } else {
            fputs("  ? %  ", out);
        }
        gdn_put_plain(out, run->cases[i].id);
        fputc('\n', out);
    }
}
