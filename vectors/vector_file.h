/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Vector files: HDF5 with one group a case, and the manifest that says what must be in
 * them.
 *
 *   /                      attributes: gdn_schema (int), suite, generator
 *   /<case id>             attributes: case (JSON text, variable length), profile_digest
 *   /<case id>/input/<tensor>    storage type, logical shape; states as before the call
 *   /<case id>/golden/<tensor>   FP64 (bounded) or storage type (exact), [rows, ...]
 *   /<case id>/limit/<tensor>    fp32, bounded outputs only
 *   /<case id>/rows/<tensor>     i64: which rows of the tensor golden speaks of
 *   /<case id>/floor/<tensor>    FP64 [heads, 4]: gdn_floor; outputs of the recurrence
 *   /<case id>/operand/<tensor>  fp32, as limit: gdn_expected's operand, if any is not 0
 *
 * Every dataset has an attribute sha256 over its logical bytes (little-endian, C order).
 * bf16 and fp16 are proper HDF5 float types. There are no timestamps: the same generator
 * gives the same digests everywhere.
 *
 * The manifest is JSON beside the file (<suite>.manifest.json):
 *   {"schema":1, "suite":S, "generator":G, "cases":{id:{"stored":bool, "case":{..},
 *    "profile_digest":hex, "datasets":{"golden/z":hex,..}, ..}}}
 * and per case what certify.h says about its certificate.
 *
 * Writers and readers are for one thread at a time: Debian's HDF5 is not thread-safe. The
 * folder must exist. A generator that was killed leaves a *.tmp file behind, which nothing
 * reads.
 *
 * Cases whose golden outputs exceed GDN_STORED_BYTES are in the manifest only ("stored":
 * false): run computes them from the seed, and the digests say whether it got the same. */
#ifndef GDN_VECTOR_FILE_H
#define GDN_VECTOR_FILE_H

#include "certify.h"
#include "gdn/nearest.h"

#define GDN_VECTOR_SCHEMA 1
#define GDN_STORED_BYTES  (INT64_C(8) << 20)

typedef struct gdn_vector_writer gdn_vector_writer;
typedef struct gdn_vector_reader gdn_vector_reader;

/// Starts <dir>/<suite>.h5 under a temporary name. Nothing appears under the final name
/// before gdn_vector_writer_commit(); a killed generator leaves the old files or the new
/// ones. `dir` NULL: digests only, no file (for --check).
GDN_NODISCARD gdn_status gdn_vector_writer_create(gdn_vector_writer **writer,
                                                  const char *dir, const char *suite,
                                                  gdn_error *err);

/// Adds a case: datasets if it is small enough, digests and certificate in any case.
GDN_NODISCARD gdn_status gdn_vector_writer_add(gdn_vector_writer *writer,
                                               const gdn_problem *problem,
                                               const gdn_golden *golden,
                                               const gdn_certificate *certificate,
                                               gdn_error *err);

/// Borrowed: the manifest of what was added so far.
const json_t *gdn_vector_writer_manifest(const gdn_vector_writer *writer);

/// Writes the manifest, syncs, renames both files into place, destroys the writer.
GDN_NODISCARD gdn_status gdn_vector_writer_commit(gdn_vector_writer *writer,
                                                  gdn_error *err);

/// Drops everything, including temporary files. Accepts NULL.
void gdn_vector_writer_abandon(gdn_vector_writer *writer);

/// Opens <dir>/<suite>.h5 and its manifest. The whole file is first parsed and its digests
/// verified in a child process, so that a hostile or damaged file that crashes the HDF5
/// library is a GDN_ERR_FORMAT here. A missing file is GDN_ERR_IO; a newer schema says so.
GDN_NODISCARD gdn_status gdn_vector_reader_open(gdn_vector_reader **reader, const char *dir,
                                                const char *suite, gdn_error *err);

void gdn_vector_reader_close(gdn_vector_reader *reader);

/// Borrowed manifest.
const json_t *gdn_vector_reader_manifest(const gdn_vector_reader *reader);

/// True if the file holds inputs and golden outputs of this case id.
bool gdn_vector_reader_has(const gdn_vector_reader *reader, const char *id);

/// Builds the problem from the stored inputs and the golden outputs from the stored values.
/// The case must be the stored one (its JSON is compared). Digests are verified again.
GDN_NODISCARD gdn_status gdn_vector_reader_load(gdn_vector_reader *reader,
                                                const gdn_case *test, gdn_problem *problem,
                                                gdn_golden *golden, gdn_error *err);

/// Suites of which the folder has a manifest, ascending. If GDN_OK is returned the caller
/// destroys the names.
GDN_NODISCARD gdn_status gdn_vector_suites(gdn_names *suites, const char *dir,
                                           gdn_error *err);

/// SHA-256 of a file's or a buffer's bytes as 64 hex digits.
GDN_NODISCARD gdn_status gdn_sha256_file(const char *path, char hex[65], gdn_error *err);
void gdn_sha256(const void *bytes, size_t size, char hex[65]);

/// Compares two manifests case by case and dataset by dataset; the first difference is the
/// message of a GDN_ERR_FORMAT.
GDN_NODISCARD gdn_status gdn_manifest_compare(const json_t *expected, const json_t *found,
                                              gdn_error *err);

#endif
