/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "captured.h"
#include "cli.h"

enum {
    KEY_OP = 256,
    KEY_PROFILE,
    KEY_SCALAR,
    KEY_DIMS,
    KEY_TP,
    KEY_BATCH,
    KEY_DTYPE,
    KEY_STATE_DTYPE,
    KEY_SEED,
};

static const struct argp_option OPTIONS[] = {
    {"output", 'o', "FILE", 0, "File to write: HDF5 if it ends with .h5, else safetensors",
     0},
    {"op", KEY_OP, "OP", 0, "What was called", 0},
    {"profile", KEY_PROFILE, "PROFILE", 0, "Whose conventions it follows", 0},
    {"dims", KEY_DIMS, "HK,HV,K,V", 0, "Heads (global) and head dimensions", 0},
    {"tp", KEY_TP, "N", 0, "Ranks that share the heads (tp_size)", 0},
    {"scalar", KEY_SCALAR, "NAME=VALUE", 0, "A scalar argument of the call, repeatable", 0},
    {"batch", KEY_BATCH, "BATCH", 0,
     "The case is one of the suites' kind, with this batch (\"pre2x65+dec5\")", 0},
    {"dtype", KEY_DTYPE, "TYPE", 0, "With --batch: type of activations", 0},
    {"state-dtype", KEY_STATE_DTYPE, "TYPE", 0, "With --batch: type of states", 0},
    {"seed", KEY_SEED, "N", 0, "With --batch: seed of the inputs, if the file has none", 0},
    {0},
};

typedef struct arguments {
    const char *input, *output;
    json_t *about; ///< op, profile, scalars from flags
    json_t *test;  ///< members of a case from flags; `batch` makes it one
} arguments;

static void set_text(arguments *a, const char *member, const char *text) {
    json_object_set_new(a->about, member, json_string(text));
    json_object_set_new(a->test, member, json_string(text));
}

static void set_number(arguments *a, struct argp_state *state, const char *option,
                       const char *scalar, const char *text) {
    char *end = NULL;
    const long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0') {
        argp_error(state, "%s: expected a number but found \"%s\"", option, text);
    }
    json_object_set_new(json_object_get(a->about, "scalars"), scalar, json_integer(value));
    json_object_set_new(a->test, scalar, json_integer(value));
}

static void set_dims(arguments *a, struct argp_state *state, char *text) {
    static const char *const NAMES[] = {"num_k_heads", "num_v_heads", "head_k_dim",
                                        "head_v_dim"};
    for (size_t i = 0; i < 4; i++) {
        const char *number = strsep(&text, ",");
        if (!number || (i == 3 && text)) {
            argp_error(state, "--dims: expected four numbers HK,HV,K,V");
            return;
        }
        set_number(a, state, "--dims", NAMES[i], number);
    }
}

static error_t parse(int key, char *arg, struct argp_state *state) {
    arguments *a = state->input;
    char *equals = NULL;
    switch (key) {
    case 'o':
        a->output = arg;
        return 0;
    case KEY_OP:
        set_text(a, "op", arg);
        return 0;
    case KEY_PROFILE:
        set_text(a, "profile", arg);
        return 0;
    case KEY_DIMS:
        set_dims(a, state, arg);
        return 0;
    case KEY_TP:
        set_number(a, state, "--tp", "tp_size", arg);
        return 0;
    case KEY_SCALAR:
        if (!(equals = strchr(arg, '='))) {
            argp_error(state, "--scalar: expected NAME=VALUE but found \"%s\"", arg);
            return 0;
        }
        *equals = '\0';
        set_number(a, state, "--scalar", arg, equals + 1);
        return 0;
    case KEY_BATCH:
        json_object_set_new(a->test, "batch", json_string(arg));
        return 0;
    case KEY_DTYPE:
        json_object_set_new(a->test, "dtype", json_string(arg));
        return 0;
    case KEY_STATE_DTYPE:
        json_object_set_new(a->test, "state_dtype", json_string(arg));
        return 0;
    case KEY_SEED:
        set_number(a, state, "--seed", "seed", arg);
        return 0;
    case ARGP_KEY_ARG:
        if (a->input) {
            argp_error(state, "unexpected argument \"%s\"", arg);
        }
        a->input = arg;
        return 0;
    case ARGP_KEY_END:
        if (!a->input || !a->output) {
            argp_error(state, "expected FILE and --output FILE");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* The file's own words, with the flags on top. */
static gdn_status complete(const arguments *a, const json_t *found, json_t **about,
                           gdn_error *err) {
    json_t *all = found ? json_deep_copy(found) : json_object();
    if (!all) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory");
    }
    json_object_set_new(all, "schema", json_integer(GDN_CAPTURE_SCHEMA));
    if (json_object_get(a->test, "batch")) {
        json_object_set(all, "case", a->test);
        *about = all;
        return GDN_OK;
    }
    if (json_object_get(a->test, "seed") || json_object_get(a->test, "dtype") ||
        json_object_get(a->test, "state_dtype")) {
        json_decref(all);
        return gdn_error_set(err, GDN_ERR_ARG,
                             "--seed, --dtype and --state-dtype: expected --batch too");
    }
    if (!json_object_get(all, "scalars")) {
        json_object_set_new(all, "scalars", json_object());
    }
    json_object_update(json_object_get(all, "scalars"),
                       json_object_get(a->about, "scalars"));
    json_object_update_missing(a->about, all);
    json_object_set(a->about, "scalars", json_object_get(all, "scalars"));
    json_decref(all);
    *about = json_incref(a->about);
    return GDN_OK;
}

static gdn_status import(const arguments *a, const gdn_paths *paths, gdn_error *err) {
    gdn_bundle bundle;
    gdn_captured captured;
    json_t *about = NULL;
    GDN_TRY(gdn_bundle_open(&bundle, a->input, err));
    gdn_status status = complete(a, bundle.about, &about, err);
    if (status == GDN_OK) {
        status = gdn_bundle_write(a->output, bundle.tensors, bundle.n_tensors, about, err);
    }
    json_decref(about);
    gdn_bundle_destroy(&bundle);
    /* What was written must be what `check` takes; else it is of no use to keep it. */
    if (status == GDN_OK) {
        status = gdn_captured_load(&captured, a->output, paths->profiles, err);
        if (status == GDN_OK) {
            printf("%s: %s, %zu tensors; gdn-conform check judges it\n", a->output,
                   captured.test.id, captured.bundle.n_tensors);
            gdn_captured_destroy(&captured);
        } else {
            remove(a->output);
        }
    }
    return status;
}

int gdn_cmd_import(int argc, char **argv) {
    static const struct argp ARGP = {
        .options = OPTIONS,
        .parser = parse,
        .args_doc = "FILE",
        .doc = "Completes a captured file with what its writer did not know, and verifies "
               "that it can be judged. Flags win over what the file says.\v"
               "Exit: 0 written; 2 bad usage or input; nothing is written then.",
    };
    arguments a = {.about = json_pack("{s:{}}", "scalars"), .test = json_object()};
    gdn_cli_parse(&ARGP, argc, argv, &a);
    gdn_error err = {0};
    gdn_paths paths;
    int code = GDN_EXIT_HARNESS;
    if (gdn_cli_paths(&paths, &code)) {
        code = import(&a, &paths, &err) == GDN_OK ? GDN_EXIT_GREEN : gdn_cli_fail(&err);
    }
    json_decref(a.about);
    json_decref(a.test);
    return code;
}
