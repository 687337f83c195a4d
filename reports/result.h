/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The result model: what one run found, from which every form of report is made. */
#ifndef GDN_RESULT_H
#define GDN_RESULT_H

#include <jansson.h>
#include <stdio.h>

#include "gdn/call.h"

/// What the device did on one case. Names are part of the report schema.
typedef enum gdn_verdict {
    GDN_PASS,
    GDN_FAIL,
    GDN_XFAIL, ///< wrong as the known-failures list says, or as the profile's kernel ships
    GDN_XPASS, ///< passed although the list says that it fails
    GDN_SKIP,  ///< not reached: the device was lost before, or the harness failed
    GDN_UNSUPPORTED,
    GDN_CRASH,
    GDN_HANG,
    GDN_VERDICT_COUNT
} gdn_verdict;

const char *gdn_verdict_name(gdn_verdict verdict);

/// Names of the element classes by which special values are decided before any metric.
typedef struct gdn_special_counts {
    int64_t nan_unexpected; ///< device NaN, golden number
    int64_t nan_missing;    ///< golden NaN, device number
    int64_t inf_wrong;      ///< infinity against a number, or of the other sign
    int64_t unwritten;      ///< the arena's poison: never written, or computed from poison
} gdn_special_counts;

/// One output tensor against its golden values.
typedef struct gdn_tensor_result {
    char name[48];
    gdn_dtype dtype;
    gdn_judgement judgement;
    bool ok;
    int64_t compared, failed;
    gdn_special_counts special;
    double budget;               ///< largest error / limit; infinity where no limit applies
    char worst[96];              ///< where, e.g. "core_attn_out[12,3,77]"
    double golden, found, limit; ///< there
    char first_bad[96];          ///< first failing element in C order, "" if none
    double max_error;            ///< over finite elements
    double max_ulps;             ///< in ulps of the tensor's type at the golden value
    double rel_l2;               ///< ||found - golden|| / ||golden||
    double rms;                  ///< root mean square error
    double nmse;                 ///< rel_l2 squared, ggml's metric
    double cosine;               ///< of found and golden
    bool upstream_ok; ///< what torch.allclose(5e-2, 5e-2, equal_nan) would have said
} gdn_tensor_result;

#define GDN_MAX_OUTPUTS 16

typedef struct gdn_case_result {
    char *id;
    gdn_verdict verdict;
    char *message;      ///< one line: why it is not a pass; NULL on a pass
    char *replay;       ///< command line that reproduces it
    char *output;       ///< what the worker printed during the case; NULL if nothing
    bool golden_stored; ///< golden values came from a vector file, not from the reference
    gdn_tensor_result tensors[GDN_MAX_OUTPUTS];
    size_t n_tensors;
    int64_t stray_bytes;   ///< changed bytes outside every output row
    char stray_first[96];  ///< where the first of them lies
    double kernel_seconds; ///< negative: unknown
    double device_seconds; ///< request to answer
    double total_seconds;  ///< inputs, golden values, device and comparison
} gdn_case_result;

typedef struct gdn_run_result {
    char *device; ///< as given: "sim:deviation=wrong_layout"
    char *hardware, *driver, *build;
    char *suites;  ///< names joined by commas
    char *vectors; ///< folder of the vector files, NULL if all golden values were computed
    char *vectors_digest; ///< SHA-256 of the manifests used, NULL without
    gdn_case_result *cases;
    size_t n_cases, planned;
    bool device_lost;
    char *lost_reason;
    char *harness_error; ///< why the harness could not go on; NULL if it could
} gdn_run_result;

/// Counts by verdict into `tally[GDN_VERDICT_COUNT]`.
void gdn_run_tally(const gdn_run_result *run, size_t tally[GDN_VERDICT_COUNT]);

/// The exit code of `run` (design section 6) and, in `*why`, the reason as a literal.
int gdn_run_exit_code(const gdn_run_result *run, const char **why);

/// Worst tensor of a case: the first failing one, else the one with the largest budget;
/// NULL if none was compared.
const gdn_tensor_result *gdn_case_worst(const gdn_case_result *result);

/// One line that says what failed, where and by how much. Returns the length as snprintf
/// does.
int gdn_case_headline(const gdn_case_result *result, char *text, size_t size);

void gdn_run_result_destroy(gdn_run_result *run);
void gdn_case_result_destroy(gdn_case_result *result);

/// New reference: the report of reports/report.schema.json.
json_t *gdn_report_json(const gdn_run_result *run);

/// One case of it; also the payload of a verdict event.
json_t *gdn_report_case_json(const gdn_case_result *result);

/// GDN_ERR_ARG if a report could not be written to `path`: no folder, no permission.
GDN_NODISCARD gdn_status gdn_report_check_path(const char *path, gdn_error *err);

/// Writes JSON to a temporary name beside `path` and renames it into place; to what is no
/// regular file directly.
GDN_NODISCARD gdn_status gdn_report_write(const json_t *report, const char *path,
                                          gdn_error *err);

/// The table at the end of a run.
void gdn_report_table(const gdn_run_result *run, FILE *out);

#endif
