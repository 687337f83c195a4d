/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* compile_kernels_<vendor> TARGET WARP FILE [RTC [OPTION]]: compiles the kernels for a
 * target, no device needed, and writes the code object. The compiler's log goes to stdout.
 * Exit 77: there is no such compiler here. */
#include <stdio.h>
#include <stdlib.h>

#include "gpu_compile.h"

static gdn_status save(const gpu_code *code, const char *path, gdn_error *err) {
    FILE *file = fopen(path, "wb");
    const bool written = file && fwrite(code->image, 1, code->size, file) == code->size;
    if (!file || fclose(file) != 0 || !written) {
        return gdn_error_set(err, GDN_ERR_IO, "%s: cannot be written", path);
    }
    return GDN_OK;
}

int main(int argc, char **argv) {
    if (argc < 4 || argc > 6) {
        fprintf(stderr, "usage: %s TARGET WARP FILE [RTC [OPTION]]\n", argv[0]);
        return 2;
    }
    const gpu_compile_options options = {
        .target = argv[1],
        .warp = atoi(argv[2]),
        .library = argc > 4 && argv[4][0] != '\0' ? argv[4] : NULL,
        .extra = argc > 5 ? argv[5] : NULL,
    };
    gpu_code code;
    gdn_error err = {0};
    gdn_status status = gpu_compile(&code, gpu_sources, &options, &err);
    if (code.log) {
        printf("%s", code.log);
    }
    if (status == GDN_OK) {
        status = save(&code, argv[3], &err);
        printf("%s: %zu bytes for %s\n", code.compiler, code.size, argv[1]);
    }
    gpu_code_destroy(&code);
    if (status != GDN_OK) {
        fprintf(stderr, "%s: %s\n", argv[0], err.message);
    }
    return status == GDN_OK ? 0 : status == GDN_ERR_UNSUPPORTED ? 77 : 1;
}
