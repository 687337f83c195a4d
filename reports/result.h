/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The result model: what one run found, from which every form of report is made. */
#ifndef GDN_RESULT_H
#define GDN_RESULT_H

#include <jansson.h>
#include <stdio.h>

#include "gdn/call.h"
#include "gdn/claims.h"

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

/// False if no verdict has this name.
bool gdn_verdict_from_name(const char *name, gdn_verdict *verdict);

/// Whether it makes a run red by itself: fail, xpass, crash, hang.
bool gdn_verdict_is_red(gdn_verdict verdict);

/// Whether the device was given the case: neither skip nor unsupported.
bool gdn_verdict_ran(gdn_verdict verdict);

/// Names of the element classes by which special values are decided before any metric.
typedef struct gdn_special_counts {
    int64_t nan_unexpected; ///< device NaN, golden number
    int64_t nan_missing;    ///< golden NaN, device number
    int64_t inf_wrong;      ///< infinity against a number, or of the other sign
    int64_t unwritten;      ///< the arena's poison: never written, or computed from poison
} gdn_special_counts;

/// Which limit a budget is of. Names are part of the report schema.
typedef enum gdn_limit_kind {
    GDN_LIMIT_EXACT,         ///< "exact": a copy
    GDN_LIMIT_BOUND,         ///< "bound": what a correct kernel can err by at most
    GDN_LIMIT_FLOOR_LARGEST, ///< "floor_largest": of one element, by the noise floor
    GDN_LIMIT_FLOOR_RMS,     ///< "floor_rms": of a head's root mean square error
    GDN_LIMIT_ROUNDED,       ///< "rounded": elements that are not the rounded golden value
    GDN_LIMIT_LATTICE,       ///< "lattice": of the golden integer
} gdn_limit_kind;

const char *gdn_limit_kind_name(gdn_limit_kind kind);

/// The head that comes nearest to a limit of whole heads.
typedef struct gdn_pool_result {
    int64_t head; ///< -1: the tensor has no such limit
    gdn_limit_kind kind;
    double budget, found, limit;
} gdn_pool_result;

/// One output tensor against its golden values.
typedef struct gdn_tensor_result {
    char name[48];
    gdn_dtype dtype;
    gdn_judgement judgement;
    bool ok;
    int64_t compared, failed;
    gdn_special_counts special;
    double budget; ///< largest figure / limit, of elements and of heads; infinity where no
                   ///< limit applies
    gdn_limit_kind binding; ///< whose budget that is
    gdn_pool_result pool;
    char worst[96];              ///< worst element, e.g. "core_attn_out[12,3,77]"
    double golden, found, limit; ///< there
    char first_bad[96];          ///< first failing element in C order, "" if none
    double max_error;            ///< over finite elements
    double max_ulps;             ///< in ulps of the tensor's type at the golden value
    double rel_l2;               ///< ||found - golden|| / ||golden||
    double rms;                  ///< root mean square error
    double nmse;                 ///< rel_l2 squared, ggml's metric
    double cosine;               ///< of found and golden
    bool upstream_ok; ///< what the backend's own test would have said (gdn/upstream.h)
} gdn_tensor_result;

#define GDN_MAX_OUTPUTS 16

/// Where in a tensor the limit is used: the largest budget of each cell of a coarse grid.
/// Small enough to travel in a report: at most GDN_MAP_MOST bins a side.
#define GDN_MAP_MOST  64
#define GDN_MAPS_CASE 2

typedef struct gdn_map {
    char tensor[96];   ///< "core_attn_out", "ssm_state[2,1]": what the grid lies in
    char rows[16];     ///< name of the axis downwards: "token", "slot", "v"
    char columns[16];  ///< across: "head", "channel", "k"
    int64_t n_rows;    ///< length of the axis itself; bins are as equal as they can be
    int64_t n_columns; ///< same
    int row_bins, column_bins;
    int64_t first_row; ///< first failing element in C order; -1: none fails
    int64_t first_column;
    float *budget; ///< row_bins * column_bins; infinity where no limit applies, negative
                   ///< where nothing was compared
} gdn_map;

/// What explains a failure; every member NULL if nobody looked.
typedef struct gdn_case_diagnosis {
    char *verdict;   ///< "diagnosed", "consistent with", "pattern"
    char *deviation; ///< its name, or NULL
    char *text;      ///< one line
} gdn_case_diagnosis;

/// What a case found of a promise to the bit (gdn/claims.h), apart from its limits.
typedef struct gdn_case_claim {
    bool seen; ///< false: the case is of no axis, or its outputs were not right anyway
    gdn_claim_axis axis;
    gdn_claim claimed;
    bool held;         ///< every bit was the same
    char differs[192]; ///< first element that differed, and both values; "" if held
} gdn_case_claim;

/// One property of the device's arithmetic under one profile (run --numerics).
typedef struct gdn_numeric_finding {
    char profile[64];
    const char *quantity; ///< a literal: "operand_chunk", "exp", ..
    const char *unit;     ///< a literal, of the two numbers: "bits", "u"; NULL: none
    bool measured, ok;
    double found, allowed;
    char text[200]; ///< one line for people
} gdn_numeric_finding;

/// The best that a case has been held to (`run --ratchet`); `held` false without.
typedef struct gdn_case_ratchet {
    bool held;
    double budget, spread;
    char *reason; ///< why it was raised, NULL if it never was
} gdn_case_ratchet;

/// What a case costs (`run --perf`), in seconds; `runs` 0: not measured.
typedef struct gdn_case_perf {
    int runs;
    bool
        by_request; ///< request to answer, copies included: the device tells no kernel time
    double median, least, most;
    double bytes;     ///< inputs that are there and outputs that are due, each of them once
    double bandwidth; ///< bytes a second of a copy on the device; 0: it does not tell
} gdn_case_perf;

typedef struct gdn_case_result {
    char *id;
    gdn_verdict verdict;
    char numeric_class
        [24];           ///< arithmetic that the limits are of (conventions.h); "": unknown
    char *message;      ///< one line: why it is not a pass; NULL on a pass
    char *replay;       ///< command line that reproduces it
    char *output;       ///< what the worker printed during the case; NULL if nothing
    bool golden_stored; ///< golden values came from a vector file, not from the reference
    char digest[17];    ///< of the golden values and limits (gdn_golden_mix); "": unknown
    gdn_case_diagnosis diagnosis;
    char *known;       ///< issue of the known failure that this is, NULL if it is none
    char *first_wrong; ///< where a failing case goes wrong first, by prefixes; or NULL
    gdn_case_ratchet ratchet;
    gdn_case_claim claim;
    gdn_case_perf perf;
    gdn_map maps[GDN_MAPS_CASE];
    size_t n_maps;
    gdn_tensor_result tensors[GDN_MAX_OUTPUTS];
    size_t n_tensors;
    char
        *returned; ///< outputs, joined by commas, around which stray writes were not looked
                   ///< for: the op made tensors of its own; NULL: none
    int64_t stray_bytes;   ///< changed bytes outside every output row
    char stray_first[96];  ///< where the first of them lies
    double kernel_seconds; ///< negative: unknown
    double device_seconds; ///< request to answer
    double total_seconds;  ///< inputs, golden values, device and comparison
} gdn_case_result;

/// A profile that cases of the run obey, and the SHA-256 of its file.
typedef struct gdn_used_profile {
    char *name;
    char digest[65];
} gdn_used_profile;

typedef struct gdn_run_result {
    char *device; ///< as given: "sim:deviation=wrong_layout"
    char *hardware, *driver, *build;
    char *suites;  ///< names joined by commas
    char *vectors; ///< folder of the vector files, NULL if all golden values were computed
    char *vectors_digest; ///< SHA-256 of the manifests used, NULL without
    gdn_used_profile *profiles;
    size_t n_profiles;
    gdn_numeric_finding *numerics;
    size_t n_numerics;
    int shard, shards;      ///< the run was shard 1..shards of a suite; 0, 0: all of it
    double seconds;         ///< of the whole run
    double allowed_seconds; ///< what its suites may take on the cpu device; 0: no word
    gdn_case_result *cases;
    size_t n_cases, planned;
    bool device_lost;
    char *lost_reason;
    char *complaint;     ///< what is wrong with the user's known failures or ratchet; NULL
    char *harness_error; ///< why the harness could not go on; NULL if it could
} gdn_run_result;

/// Counts by verdict into `tally[GDN_VERDICT_COUNT]`.
void gdn_run_tally(const gdn_run_result *run, size_t tally[GDN_VERDICT_COUNT]);

/// The exit code of `run` (design section 6) and, in `*why`, the reason as a literal.
int gdn_run_exit_code(const gdn_run_result *run, const char **why);

/// Largest budget of the case's tensors; -1 if none was compared.
double gdn_case_budget(const gdn_case_result *result);

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

/// What became of one axis over a run: "held" or "refuted" where some case claims it, else
/// "not claimed".
typedef struct gdn_claim_sum {
    size_t cases, claimed,
        differ; ///< with a word on the axis; claiming yes; with other bits
    const gdn_case_result *refuted; ///< first that refutes a claim, NULL: none
    const gdn_case_result *first;   ///< first that differs, NULL: none
} gdn_claim_sum;

gdn_claim_sum gdn_run_claim(const gdn_run_result *run, gdn_claim_axis axis);
const char *gdn_claim_outcome(const gdn_claim_sum *sum);

/// One case of it; also the payload of a verdict event.
json_t *gdn_report_case_json(const gdn_case_result *result);

/// GDN_ERR_ARG if a report could not be written to `path`: no folder, no permission.
GDN_NODISCARD gdn_status gdn_report_check_path(const char *path, gdn_error *err);

/// Writes JSON to `path` as gdn_out_file() does.
GDN_NODISCARD gdn_status gdn_report_write(const json_t *report, const char *path,
                                          gdn_error *err);

/// The table at the end of a run.
void gdn_report_table(const gdn_run_result *run, FILE *out);

/// A line for each case that was measured.
void gdn_report_perf(const gdn_run_result *run, FILE *out);

#endif
