/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "device_spec.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARY_PREFIX "gdn-device-"
#define LIBRARY_SUFFIX ".so"
#define BRIDGE_EXEC    "exec="

static int is_library(const struct dirent *entry) {
    const size_t length = strlen(entry->d_name);
    const size_t around = strlen(LIBRARY_PREFIX) + strlen(LIBRARY_SUFFIX);
    return length > around &&
           strncmp(entry->d_name, LIBRARY_PREFIX, strlen(LIBRARY_PREFIX)) == 0 &&
           strcmp(entry->d_name + length - strlen(LIBRARY_SUFFIX), LIBRARY_SUFFIX) == 0;
}

/* Appends the device names of one folder; a folder that is not there has none. */
static gdn_status add_folder(gdn_names *names, const char *folder, gdn_error *err) {
    struct dirent **entries = NULL;
    const int n = scandir(folder, &entries, is_library, alphasort);
    if (n <= 0) {
        free(entries);
        return GDN_OK;
    }
    char **items = realloc(names->items, (names->count + (size_t)n + 1) * sizeof *items);
    bool complete = items != NULL;
    names->items = items ? items : names->items;
    for (int i = 0; i < n; i++) {
        if (complete) {
            const char *stem = entries[i]->d_name + strlen(LIBRARY_PREFIX);
            char *name = strndup(stem, strlen(stem) - strlen(LIBRARY_SUFFIX));
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
        status = add_folder(names, folder, err);
    }
    if (n >= 0) {
        free(folders);
    }
    if (status != GDN_OK) {
        gdn_names_destroy(names);
    }
    return status;
}

static gdn_status check_name(const char *name, const gdn_paths *paths, gdn_error *err) {
    gdn_names names;
    GDN_TRY(gdn_device_names(&names, paths, err));
    gdn_status status = GDN_ERR_ARG;
    for (size_t i = 0; i < names.count; i++) {
        if (strcmp(names.items[i], name) == 0) {
            status = GDN_OK;
        }
    }
    if (status != GDN_OK) {
        gdn_error_unknown(err, status, "device", name, (const char *const *)names.items);
    }
    gdn_names_destroy(&names);
    return status;
}

gdn_status gdn_device_spec_parse(gdn_device_spec *spec, const char *text,
                                 const gdn_paths *paths, gdn_error *err) {
    const char *colon = strchr(text, ':');
    *spec = (gdn_device_spec){
        .text = strdup(text),
        .name = colon ? strndup(text, (size_t)(colon - text)) : strdup(text),
        .options = strdup(colon ? colon + 1 : ""),
    };
    if (!spec->text || !spec->name || !spec->options) {
        gdn_device_spec_destroy(spec);
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a device name");
    }
    gdn_status status = GDN_OK;
    if (strcmp(spec->name, "bridge") == 0) {
        spec->shell = strncmp(spec->options, BRIDGE_EXEC, strlen(BRIDGE_EXEC)) == 0 &&
                      spec->options[strlen(BRIDGE_EXEC)] != '\0';
        if (!spec->shell) {
            status = gdn_error_set(err, GDN_ERR_ARG,
                                   "bridge: expected exec=COMMAND but found \"%s\"",
                                   spec->options);
        } else {
            spec->program = strdup(spec->options + strlen(BRIDGE_EXEC));
        }
    } else {
        status = check_name(spec->name, paths, err);
        if (status == GDN_OK &&
            asprintf(&spec->program, "%s/gdn-worker", paths->programs) < 0) {
            spec->program = NULL;
        }
    }
    if (status == GDN_OK && !spec->program) {
        status = gdn_error_set(err, GDN_ERR_OOM, "no memory for a device name");
    }
    if (status != GDN_OK) {
        gdn_device_spec_destroy(spec);
        return status;
    }
    if (spec->shell) {
        spec->argv[0] = "/bin/sh";
        spec->argv[1] = "-c";
        spec->argv[2] = spec->program;
    } else {
        spec->argv[0] = spec->program;
    }
    return GDN_OK;
}

void gdn_device_spec_destroy(gdn_device_spec *spec) {
    free(spec->text);
    free(spec->name);
    free(spec->options);
    free(spec->program);
    *spec = (gdn_device_spec){0};
}
