/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "fuzz_safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "safetensors.h"

/* Not assert(): it must hold in every build. */
static void require(bool holds) {
    if (!holds) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    gdn_safetensors file;
    gdn_error err = {0};
    /* A copy of just the size: a sanitizer sees a read past its end. */
    uint8_t *copy = malloc(size > 0 ? size : 1);
    require(copy != NULL);
    memcpy(copy, bytes, size);
    if (gdn_safetensors_parse(&file, copy, size, &err) != GDN_OK) {
        require(err.status != GDN_OK && err.message[0] != '\0');
        free(copy);
        return 0;
    }
    volatile uint8_t sink = 0;
    size_t covered = 0;
    for (size_t i = 0; i < file.n_tensors; i++) {
        const gdn_tensor *t = &file.tensors[i];
        const size_t n = (size_t)gdn_tensor_count(t) * gdn_dtype_size(t->dtype);
        const uint8_t *data = t->data;
        require(n == 0 || (data >= copy + 8 && n <= (size_t)(copy + size - data)));
        for (size_t k = 0; k < n; k++) {
            sink = (uint8_t)(sink ^ data[k]);
        }
        covered += n;
    }
    require(covered < size);
    require(json_is_object(file.metadata));
    gdn_safetensors_destroy(&file);
    free(copy);
    return 0;
}
