/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "gpu_compile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu_driver.h"
#include "gpu_vendor.h"

#define MAX_SOURCES 32
#define MAX_OPTIONS 6

typedef struct compiler {
    void *library;
    int (*create)(void **program, const char *text, const char *name, int headers,
                  const char *const *texts, const char *const *names);
    int (*run)(void *program, int options, const char *const *texts);
    int (*log_size)(void *program, size_t *size);
    int (*log)(void *program, char *text);
    int (*code_size)(void *program, size_t *size);
    int (*code)(void *program, char *image);
    int (*destroy)(void **program);
    int (*version)(int *major, int *minor);
    const char *(*error)(int code);
} compiler;

static gdn_status load(compiler *c, const char *path, gdn_error *err) {
    static const char *const NAMES[] = {GPU_COMPILER_LIBRARIES, NULL};
    GDN_TRY(gpu_library_open(&c->library, path, NAMES, err));
    const struct {
        const char *name;
        void *function;
    } symbols[] = {
        {GPU_COMPILE_CREATE, &c->create},       {GPU_COMPILE_RUN, &c->run},
        {GPU_COMPILE_LOG_SIZE, &c->log_size},   {GPU_COMPILE_LOG, &c->log},
        {GPU_COMPILE_CODE_SIZE, &c->code_size}, {GPU_COMPILE_CODE, &c->code},
        {GPU_COMPILE_DESTROY, &c->destroy},     {GPU_COMPILE_VERSION, &c->version},
        {GPU_COMPILE_ERROR, &c->error},
    };
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        GDN_TRY(gpu_library_symbol(c->library, symbols[i].name, symbols[i].function, err));
    }
    return GDN_OK;
}

static gdn_status check(const compiler *c, int result, const char *what, gdn_error *err) {
    return result == 0
               ? GDN_OK
               : gdn_error_set(err, GDN_ERR_DEVICE, "%s: %s", what, c->error(result));
}

static gdn_status take_log(const compiler *c, void *program, gpu_code *code,
                           gdn_error *err) {
    size_t size = 0;
    GDN_TRY(check(c, c->log_size(program, &size), GPU_COMPILE_LOG_SIZE, err));
    code->log = calloc(1, size + 1);
    if (!code->log) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for the compiler's log");
    }
    return size > 1 ? check(c, c->log(program, code->log), GPU_COMPILE_LOG, err) : GDN_OK;
}

static gdn_status take_code(const compiler *c, void *program, gpu_code *code,
                            gdn_error *err) {
    GDN_TRY(check(c, c->code_size(program, &code->size), GPU_COMPILE_CODE_SIZE, err));
    if (code->size == 0) {
        return gdn_error_set(err, GDN_ERR_DEVICE,
                             GPU_COMPILER
                             " made no code: it needs a target such as sm_90 or gfx90a");
    }
    code->image = malloc(code->size);
    if (!code->image) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu bytes of code",
                             code->size);
    }
    return check(c, c->code(program, code->image), GPU_COMPILE_CODE, err);
}

/* The line of the log that says why, or its first. */
static const char *first_error(const char *log, int *length) {
    const char *line = strstr(log, "error");
    while (line && line > log && line[-1] != '\n') {
        line--;
    }
    line = line ? line : log;
    *length = (int)strcspn(line, "\n");
    return line;
}

static gdn_status build(const compiler *c, void *program, gpu_code *code,
                        const gpu_compile_options *options, gdn_error *err) {
    const char *list[MAX_OPTIONS];
    char warp[32], target[96];
    int count = 0;
    list[count++] = GPU_DEFINE;
    snprintf(warp, sizeof warp, "-DGDN_WARP=%d", options->warp);
    list[count++] = warp;
    if (options->target) {
        snprintf(target, sizeof target, "--gpu-architecture=%.64s", options->target);
        list[count++] = target;
    }
    if (options->extra) {
        list[count++] = options->extra;
    }
    const int result = c->run(program, count, list);
    GDN_TRY(take_log(c, program, code, err));
    if (result != 0) {
        int length = 0;
        const char *line = first_error(code->log, &length);
        return gdn_error_set(err, GDN_ERR_DEVICE, "%s: %s%s%.*s", GPU_COMPILE_RUN,
                             c->error(result), length > 0 ? ": " : "",
                             length < 600 ? length : 600, line);
    }
    return take_code(c, program, code, err);
}

gdn_status gpu_compile(gpu_code *code, const gpu_source *sources,
                       const gpu_compile_options *options, gdn_error *err) {
    *code = (gpu_code){0};
    compiler c = {0};
    GDN_TRY(load(&c, options->library, err));
    int major = 0, minor = 0;
    GDN_TRY(check(&c, c.version(&major, &minor), GPU_COMPILE_VERSION, err));
    snprintf(code->compiler, sizeof code->compiler, "%s %d.%d", GPU_COMPILER, major, minor);
    const char *texts[MAX_SOURCES], *names[MAX_SOURCES];
    int headers = 0;
    for (const gpu_source *s = sources + 1; s->name; s++) {
        if (headers == MAX_SOURCES) {
            return gdn_error_set(err, GDN_ERR_ARG,
                                 "expected at most %d source files beside the program",
                                 MAX_SOURCES);
        }
        texts[headers] = s->text;
        names[headers++] = s->name;
    }
    void *program = NULL;
    GDN_TRY(check(
        &c, c.create(&program, sources[0].text, sources[0].name, headers, texts, names),
        GPU_COMPILE_CREATE, err));
    const gdn_status status = build(&c, program, code, options, err);
    c.destroy(&program);
    return status;
}

void gpu_code_destroy(gpu_code *code) {
    free(code->image);
    free(code->log);
    *code = (gpu_code){0};
}
