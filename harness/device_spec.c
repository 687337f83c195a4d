/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "device_spec.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIBRARY_PREFIX "gdn-device-"
#define LIBRARY_SUFFIX ".so"
#define BACKEND_SUFFIX ".py"
#define BRIDGE         "bridge"
#define BRIDGE_EXEC    "exec="

static bool ends_with(const char *text, const char *suffix) {
    const size_t length = strlen(text);
    const size_t tail = strlen(suffix);
    return length > tail && strcmp(text + length - tail, suffix) == 0;
}

static int is_library(const struct dirent *entry) {
    return strncmp(entry->d_name, LIBRARY_PREFIX, strlen(LIBRARY_PREFIX)) == 0 &&
           ends_with(entry->d_name + strlen(LIBRARY_PREFIX), LIBRARY_SUFFIX);
}

static int is_backend(const struct dirent *entry) {
    return entry->d_name[0] != '_' && ends_with(entry->d_name, BACKEND_SUFFIX);
}

/* Which files of a folder are devices, and what of their names stands around the device's. */
typedef struct kind {
    int (*is_one)(const struct dirent *entry);
    const char *prefix;
    const char *suffix;
} kind;

static const kind LIBRARIES = {is_library, LIBRARY_PREFIX, LIBRARY_SUFFIX};
static const kind BACKENDS = {is_backend, "", BACKEND_SUFFIX};

/* Appends the device names of one folder; a folder that is not there has none. */
static gdn_status add_folder(gdn_names *names, const char *folder, const kind *wanted,
                             gdn_error *err) {
    struct dirent **entries = NULL;
    const int n = scandir(folder, &entries, wanted->is_one, alphasort);
    if (n <= 0) {
        free(entries);
        return GDN_OK;
    }
    char **items = realloc(names->items, (names->count + (size_t)n + 1) * sizeof *items);
    bool complete = items != NULL;
    names->items = items ? items : names->items;
    for (int i = 0; i < n; i++) {
        if (complete) {
            const char *stem = entries[i]->d_name + strlen(wanted->prefix);
            char *name = strndup(stem, strlen(stem) - strlen(wanted->suffix));
            complete = name != NULL;
            items[names->count] = name;
            names->count += complete;
            items[names->count] = NULL;
        }
        free(entries[i]);
    }
    free(entries);
    return complete ? GDN_OK
                    : gdn_error_set(err, GDN_ERR_OOM, "no memory for device names");
}

/* The folders in which gdn-worker looks too. */
gdn_status gdn_device_names(gdn_names *names, const gdn_paths *paths, gdn_error *err) {
    *names = (gdn_names){.items = calloc(1, sizeof *names->items)};
    const char *list = getenv("GDN_DEVICE_PATH");
    char *folders = NULL;
    const int n = list && *list ? asprintf(&folders, "%s", list)
                                : asprintf(&folders, "%s:%s/../lib/gdn-conform",
                                           paths->programs, paths->programs);
    gdn_status status = names->items && n >= 0
                            ? GDN_OK
                            : gdn_error_set(err, GDN_ERR_OOM, "no memory for device names");
    char *rest = n >= 0 ? folders : NULL;
    char *folder;
    while (status == GDN_OK && (folder = strsep(&rest, ":")) != NULL) {
        status = add_folder(names, folder, &LIBRARIES, err);
    }
    if (n >= 0) {
        free(folders);
    }
    if (status != GDN_OK) {
        gdn_names_destroy(names);
    }
    return status;
}

gdn_status gdn_bridge_names(gdn_names *names, const gdn_paths *paths, gdn_error *err) {
    *names = (gdn_names){.items = calloc(1, sizeof *names->items)};
    char *folder = NULL;
    if (!names->items || asprintf(&folder, "%s/backends", paths->bridge) < 0) {
        gdn_names_destroy(names);
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for device names");
    }
    const gdn_status status = add_folder(names, folder, &BACKENDS, err);
    free(folder);
    if (status != GDN_OK) {
        gdn_names_destroy(names);
    }
    return status;
}

static gdn_status check_name(const char *what, const char *name, const gdn_names *names,
                             gdn_error *err) {
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->items[i], name) == 0) {
            return GDN_OK;
        }
    }
    return gdn_error_unknown(err, GDN_ERR_ARG, what, name,
                             (const char *const *)names->items);
}

/* NAME or FILE.py, and behind a comma what its worker gets to read. */
static gdn_status parse_backend(gdn_device_spec *spec, const gdn_paths *paths,
                                gdn_error *err) {
    char *rest = strchrnul(spec->options, ',');
    spec->backend = strndup(spec->options, (size_t)(rest - spec->options));
    memmove(spec->options, *rest ? rest + 1 : rest, strlen(*rest ? rest + 1 : rest) + 1);
    const char *python = getenv("GDN_PYTHON");
    spec->program = strdup(python && *python ? python : "python3");
    if (asprintf(&spec->launcher, "%s/gdn_worker", paths->bridge) < 0) {
        spec->launcher = NULL;
    }
    if (!spec->backend || !spec->program || !spec->launcher) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a device name");
    }
    if (ends_with(spec->backend, BACKEND_SUFFIX)) {
        return access(spec->backend, R_OK) == 0
                   ? GDN_OK
                   : gdn_error_set(err, GDN_ERR_ARG, "bridge: cannot read %s",
                                   spec->backend);
    }
    gdn_names names;
    GDN_TRY(gdn_bridge_names(&names, paths, err));
    const gdn_status status =
        check_name("bridge (or exec=COMMAND, or FILE.py)", spec->backend, &names, err);
    gdn_names_destroy(&names);
    return status;
}

/* What is executed for the device. */
static gdn_status find_worker(gdn_device_spec *spec, const gdn_paths *paths,
                              gdn_error *err) {
    if (strcmp(spec->name, BRIDGE) != 0) {
        gdn_names names;
        GDN_TRY(gdn_device_names(&names, paths, err));
        const gdn_status status = check_name("device", spec->name, &names, err);
        gdn_names_destroy(&names);
        GDN_TRY(status);
        if (asprintf(&spec->program, "%s/gdn-worker", paths->programs) < 0) {
            spec->program = NULL;
        }
        spec->argv[0] = spec->program;
    } else if (strncmp(spec->options, BRIDGE_EXEC, strlen(BRIDGE_EXEC)) == 0 &&
               spec->options[strlen(BRIDGE_EXEC)] != '\0') {
        spec->program = strdup(spec->options + strlen(BRIDGE_EXEC));
        spec->argv[0] = "/bin/sh";
        spec->argv[1] = "-c";
        spec->argv[2] = spec->program;
    } else {
        GDN_TRY(parse_backend(spec, paths, err));
        spec->argv[0] = spec->program;
        spec->argv[1] = spec->launcher;
        spec->argv[2] = spec->backend;
    }
    return spec->program ? GDN_OK
                         : gdn_error_set(err, GDN_ERR_OOM, "no memory for a device name");
}

gdn_status gdn_device_spec_parse(gdn_device_spec *spec, const char *text,
                                 const gdn_paths *paths, gdn_error *err) {
    const char *colon = strchr(text, ':');
    *spec = (gdn_device_spec){
        .text = strdup(text),
        .name = colon ? strndup(text, (size_t)(colon - text)) : strdup(text),
        .options = strdup(colon ? colon + 1 : ""),
    };
    const gdn_status status =
        spec->text && spec->name && spec->options
            ? find_worker(spec, paths, err)
            : gdn_error_set(err, GDN_ERR_OOM, "no memory for a device name");
    if (status != GDN_OK) {
        gdn_device_spec_destroy(spec);
    }
    return status;
}

void gdn_device_spec_destroy(gdn_device_spec *spec) {
    free(spec->text);
    free(spec->name);
    free(spec->options);
    free(spec->program);
    free(spec->backend);
    free(spec->launcher);
    *spec = (gdn_device_spec){0};
}
