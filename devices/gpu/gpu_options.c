/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "gpu_options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu_vendor.h"

/* Sources and modules larger than this are a mistake in a name. */
#define MAX_FILE_BYTES (64 << 20)

/* A number in [0, most]. */
static bool read_number(int *number, const char *text, long most) {
    char *end = NULL;
    errno = 0;
    const long value = strtol(text, &end, 10);
    const bool good = end != text && *end == '\0' && errno == 0 && value >= 0 &&
                      value <= most && text[0] >= '0' && text[0] <= '9';
    *number = good ? (int)value : *number;
    return good;
}

static gdn_status read_option(gpu_options *options, const char *text, gdn_error *err) {
    const struct {
        const char *name;
        char **value;
    } strings[] = {
        {"source=", &options->source}, {"package=", &options->package},
        {"driver=", &options->driver}, {"rtc=", &options->rtc},
        {"target=", &options->target}, {"memory=", &options->memory},
    };
    if (GPU_GRAPHS && (strcmp(text, "graph=0") == 0 || strcmp(text, "graph=1") == 0)) {
        options->graph = text[6] == '1';
        return GDN_OK;
    }
#ifdef GPU_KERNELS_HIP
    if (strcmp(text, "mma=0") == 0 || strcmp(text, "mma=1") == 0) {
        options->mma = text[4] == '1';
        return GDN_OK;
    }
#endif
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        const size_t length = strlen(strings[i].name);
        if (strstr(GPU_OPTIONS, strings[i].name) &&
            strncmp(text, strings[i].name, length) == 0 && text[length] != '\0') {
            free(*strings[i].value);
            *strings[i].value = strdup(text + length);
            return *strings[i].value
                       ? GDN_OK
                       : gdn_error_set(err, GDN_ERR_OOM, "no memory for options");
        }
    }
    if (strncmp(text, "repeat=", 7) == 0 &&
        read_number(&options->repeat, text + 7, 10000)) {
        return GDN_OK;
    }
    if (read_number(&options->ordinal, text, 1023)) {
        return GDN_OK;
    }
    return gdn_error_set(err, GDN_ERR_ARG,
                         GPU_DEVICE ": expected a device number in [0, 1023], " GPU_OPTIONS
                                    " but found \"%s\"",
                         text);
}

gdn_status gpu_options_parse(gpu_options *options, const char *text, gdn_error *err) {
    *options = (gpu_options){0};
    char *copy = strdup(text);
    if (!copy) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for options");
    }
    gdn_status status = GDN_OK;
    char *rest = copy[0] != '\0' ? copy : NULL;
    char *option;
    while (status == GDN_OK && (option = strsep(&rest, ",")) != NULL) {
        status = read_option(options, option, err);
    }
    free(copy);
    if (status != GDN_OK) {
        gpu_options_destroy(options);
    }
    return status;
}

void gpu_options_destroy(gpu_options *options) {
    free(options->source);
    free(options->package);
    free(options->driver);
    free(options->rtc);
    free(options->target);
    free(options->memory);
    *options = (gpu_options){0};
}

gdn_status gpu_file_read(char **bytes, size_t *size, const char *path, gdn_error *err) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        return gdn_error_set(err, GDN_ERR_ARG, "%.900s: %s", path, strerror(errno));
    }
    *bytes = calloc(1, MAX_FILE_BYTES);
    const size_t read = *bytes ? fread(*bytes, 1, MAX_FILE_BYTES, file) : 0;
    const bool whole = *bytes && read < MAX_FILE_BYTES && !ferror(file);
    fclose(file);
    if (!whole) {
        free(*bytes);
        *bytes = NULL;
        return gdn_error_set(err, GDN_ERR_ARG, "%.900s: expected a file below %d bytes",
                             path, MAX_FILE_BYTES);
    }
    char *exact = realloc(*bytes, read + 1);
    *bytes = exact ? exact : *bytes;
    if (size) {
        *size = read;
    }
    return GDN_OK;
}

gdn_status gpu_sources_read(gpu_source **sources, const char *folder, gdn_error *err) {
    size_t count = 0;
    while (gpu_sources[count].name) {
        count++;
    }
    *sources = calloc(count + 1, sizeof **sources);
    if (!*sources) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for sources");
    }
    gdn_status status = GDN_OK;
    for (size_t i = 0; status == GDN_OK && i < count; i++) {
        char path[4096];
        char *text = NULL;
        snprintf(path, sizeof path, "%s/%s", folder, gpu_sources[i].name);
        status = gpu_file_read(&text, NULL, path, err);
        (*sources)[i] = (gpu_source){.name = gpu_sources[i].name, .text = text};
    }
    if (status != GDN_OK) {
        gpu_sources_destroy(*sources);
        *sources = NULL;
    }
    return status;
}

void gpu_sources_destroy(gpu_source *sources) {
    for (gpu_source *s = sources; s && s->name; s++) {
        free((char *)s->text);
    }
    free(sources);
}
