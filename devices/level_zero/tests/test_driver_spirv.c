/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The parameters of an entry point, from the module's types: PoCL takes any size for a
 * struct. */
#include <stdlib.h>
#include <string.h>

#include "test_driver.h"

/* Numbers of the SPIR-V specification. */
enum {
    OP_ENTRY_POINT = 15,
    OP_CAPABILITY = 17,
    OP_TYPE_INT = 21,
    OP_TYPE_FLOAT = 22,
    OP_TYPE_VECTOR = 23,
    OP_TYPE_ARRAY = 28,
    OP_TYPE_STRUCT = 30,
    OP_TYPE_POINTER = 32,
    OP_CONSTANT = 43,
    OP_FUNCTION = 54,
    OP_FUNCTION_PARAMETER = 55,
    OP_FUNCTION_END = 56,
    STORAGE_FUNCTION = 7,
    CAPABILITY_FLOAT64 = 10,
    HEADER_WORDS = 5,
};

/* What is known of an id. */
typedef struct known {
    size_t size, align; /* of a type; the value of a constant is in `size` */
    bool pointer, by_value;
    uint32_t of; /* what a pointer points to */
} known;

typedef struct reader {
    known *ids;
    uint32_t bound, entry; /* the entry point's function */
    bool inside;
    parameter *parameters;
    uint32_t count;
} reader;

static size_t aligned(size_t size, size_t align) {
    return align > 0 ? (size + align - 1) / align * align : size;
}

static known struct_of(const reader *r, const uint32_t *members, uint32_t count) {
    known k = {.align = 1};
    for (uint32_t i = 0; i < count; i++) {
        const known *member = &r->ids[members[i] % r->bound];
        k.size = aligned(k.size, member->align) + member->size;
        k.align = member->align > k.align ? member->align : k.align;
    }
    k.size = aligned(k.size, k.align);
    return k;
}

static void add_parameter(reader *r, uint32_t type) {
    const known *k = &r->ids[type % r->bound];
    const bool global = k->pointer && !k->by_value;
    if (r->count < MAX_ARGUMENTS) {
        r->parameters[r->count++] =
            (parameter){.pointer = global,
                        .size = k->by_value ? r->ids[k->of % r->bound].size : k->size};
    }
}

static void read_one(reader *r, const uint32_t *w, uint32_t words, const char *entry) {
    known *ids = r->ids;
    const uint32_t id = words > 1 ? w[1] % r->bound : 0;
    switch (w[0] & 0xffff) {
    case OP_ENTRY_POINT:
        if (strncmp((const char *)&w[3], entry, (words - 3) * 4) == 0) {
            r->entry = w[2];
        }
        break;
    case OP_TYPE_INT:
    case OP_TYPE_FLOAT:
        ids[id] = (known){.size = w[2] / 8, .align = w[2] / 8};
        break;
    case OP_TYPE_VECTOR:
        ids[id].size = ids[id].align = ids[w[2] % r->bound].size * (w[3] == 3 ? 4 : w[3]);
        break;
    case OP_TYPE_ARRAY:
        ids[id] = (known){.size = ids[w[2] % r->bound].size * ids[w[3] % r->bound].size,
                          .align = ids[w[2] % r->bound].align};
        break;
    case OP_TYPE_STRUCT:
        ids[id] = struct_of(r, w + 2, words - 2);
        break;
    case OP_TYPE_POINTER:
        ids[id] = (known){.size = 8,
                          .align = 8,
                          .pointer = true,
                          .by_value = w[2] == STORAGE_FUNCTION,
                          .of = w[3]};
        break;
    case OP_CONSTANT:
        ids[w[2] % r->bound].size = w[3];
        break;
    case OP_FUNCTION:
        r->inside = w[2] == r->entry;
        break;
    case OP_FUNCTION_PARAMETER:
        if (r->inside) {
            add_parameter(r, w[1]);
        }
        break;
    case OP_FUNCTION_END:
        r->inside = false;
        break;
    default:
        break;
    }
}

/* Capabilities stand first. */
bool spirv_has_fp64(const uint32_t *words, size_t count) {
    for (size_t at = HEADER_WORDS; at + 1 < count; at += words[at] >> 16) {
        if ((words[at] & 0xffff) != OP_CAPABILITY || words[at] >> 16 == 0) {
            break;
        }
        if (words[at + 1] == CAPABILITY_FLOAT64) {
            return true;
        }
    }
    return false;
}

uint32_t spirv_parameters(const uint32_t *words, size_t count, const char *entry,
                          parameter parameters[MAX_ARGUMENTS]) {
    if (count < HEADER_WORDS || words[3] == 0 || words[3] > 1U << 22) {
        return 0;
    }
    reader r = {.bound = words[3], .parameters = parameters};
    r.ids = calloc(r.bound, sizeof *r.ids);
    for (size_t at = HEADER_WORDS; r.ids && at < count;) {
        const uint32_t length = words[at] >> 16;
        if (length == 0 || length > count - at) {
            break;
        }
        read_one(&r, words + at, length, entry);
        at += length;
    }
    free(r.ids);
    return r.count;
}
