/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* A device as named on the command line: "cpu", "hip:1", "sim:deviation=wrong_layout",
 * "bridge:vllm_xpu,double" (a shipped backend in Python), "bridge:./mine.py" (your own),
 * "bridge:exec=./my-worker --flag" (any worker). */
#ifndef GDN_DEVICE_SPEC_H
#define GDN_DEVICE_SPEC_H

#include "data_paths.h"
#include "gdn/nearest.h"

typedef struct gdn_device_spec {
    char *text;    ///< as given
    char *name;    ///< before the first colon
    char *options; ///< what the worker gets to read, "" if there is none
    char *program; ///< what is executed, or the command of bridge:exec=
    char *backend; ///< of a bridge in Python: its name, or the path of its file
    char *launcher;
    const char *argv[4];
} gdn_device_spec;

/// Checks that the device exists and finds its worker program; an unknown one is
/// GDN_ERR_ARG with the nearest name. If GDN_OK is returned the caller destroys the spec,
/// which must not move.
GDN_NODISCARD gdn_status gdn_device_spec_parse(gdn_device_spec *spec, const char *text,
                                               const gdn_paths *paths, gdn_error *err);

/// Accepts a zeroed spec.
void gdn_device_spec_destroy(gdn_device_spec *spec);

/// Names of the device libraries in $GDN_DEVICE_PATH, else beside the program and in
/// ../lib/gdn-conform. If GDN_OK is returned the caller
/// destroys the names.
GDN_NODISCARD gdn_status gdn_device_names(gdn_names *names, const gdn_paths *paths,
                                          gdn_error *err);

/// Names of the shipped backends in Python, as they stand behind "bridge:". If GDN_OK is
/// returned the caller destroys the names.
GDN_NODISCARD gdn_status gdn_bridge_names(gdn_names *names, const gdn_paths *paths,
                                          gdn_error *err);

#endif
