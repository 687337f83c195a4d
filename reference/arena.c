/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Layout: guard, tensor, guard, guard, tensor, guard, ... Each tensor owns the guard on
 * either side of it, so that a write 4 KiB off is still blamed on its neighbour's edge and
 * never lands in data. */
#include "gdn/arena.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Far above any machine's memory and far below where sums of two sizes could wrap. */
#define BYTES_MAX ((int64_t)1 << 60)

/* Checks a shape and tells the bytes that its view reaches. Empty dimensions count as 1 in
 * the overflow checks: tensor.c multiplies before it meets the zero. */
static gdn_status view_bytes(const gdn_tensor *shape, int64_t *bytes, gdn_error *err) {
    if (!shape->name || shape->rank < 0 || shape->rank > GDN_MAX_RANK ||
        (int)shape->dtype < 0 || shape->dtype >= GDN_DTYPE_COUNT) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "expected a named tensor of rank 0 to %d and known type but "
                             "found \"%s\" of rank %d, type %d",
                             GDN_MAX_RANK, shape->name ? shape->name : "", shape->rank,
                             (int)shape->dtype);
    }
    int64_t last = 0;
    int64_t count = 1;
    bool fits = true;
    for (int d = 0; d < shape->rank; d++) {
        const int64_t size = shape->shape[d];
        int64_t step = 0;
        if (size < 0 || shape->stride[d] < 0) {
            return gdn_error_set(err, GDN_ERR_ARG,
                                 "%s: expected size and stride of dimension %d to be at "
                                 "least 0 but found %lld and %lld",
                                 shape->name, d, (long long)size,
                                 (long long)shape->stride[d]);
        }
        fits = fits && !__builtin_mul_overflow(count, size > 0 ? size : 1, &count) &&
               !__builtin_mul_overflow(size > 0 ? size - 1 : 0, shape->stride[d], &step) &&
               !__builtin_add_overflow(last, step, &last);
    }
    if (!fits || last >= BYTES_MAX / (int64_t)gdn_dtype_size(shape->dtype)) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "%s: shape and strides reach beyond 2^60 bytes", shape->name);
    }
    *bytes = gdn_tensor_extent(shape) * (int64_t)gdn_dtype_size(shape->dtype);
    return GDN_OK;
}

/* Where a tensor starts if everything before it ends at `end`, its guard included. */
static int64_t start_after(int64_t end, const gdn_tensor *tensor, bool misaligned) {
    const int64_t start =
        (end + GDN_ARENA_GUARD + GDN_ARENA_ALIGN - 1) / GDN_ARENA_ALIGN * GDN_ARENA_ALIGN;
    return misaligned ? start + 2 * (int64_t)gdn_dtype_size(tensor->dtype) : start;
}

/* Bytes of a tensor's row, and to the next one. */
static int64_t row_bytes(const gdn_tensor *shape) {
    int64_t last = 0;
    for (int d = 1; d < shape->rank; d++) {
        last += (shape->shape[d] - 1) * shape->stride[d];
    }
    return (last + 1) * (int64_t)gdn_dtype_size(shape->dtype);
}

static int64_t step_bytes(const gdn_tensor *shape) {
    return shape->stride[0] * (int64_t)gdn_dtype_size(shape->dtype);
}

/* Whether what lies between two rows is left out of memory, but for a guard on either side
 * of it. */
static bool has_holes(const gdn_tensor *shape) {
    return shape->rank > 1 && shape->shape[0] > 1 && gdn_tensor_extent(shape) > 0 &&
           step_bytes(shape) - row_bytes(shape) >= GDN_ARENA_HOLE;
}

/* Bytes of the tensor's view that hold memory. */
static int64_t held_bytes(const gdn_tensor *shape, int64_t bytes) {
    const int64_t gap = step_bytes(shape) - row_bytes(shape) - 4 * GDN_ARENA_GUARD;
    return has_holes(shape) ? bytes - (shape->shape[0] - 1) * gap : bytes;
}

static gdn_status measure(const gdn_tensor *shapes, size_t count, bool misaligned,
                          size_t *arena_bytes, size_t *held, size_t *name_bytes,
                          gdn_error *err) {
    int64_t end = 0, holes = 0;
    *name_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t bytes = 0;
        GDN_TRY(view_bytes(&shapes[i], &bytes, err));
        for (size_t j = 0; j < i; j++) {
            if (strcmp(shapes[i].name, shapes[j].name) == 0) {
                return gdn_error_set(err, GDN_ERR_ARG,
                                     "expected distinct names but found \"%s\" twice",
                                     shapes[i].name);
            }
        }
        end = start_after(end, &shapes[i], misaligned) + bytes + GDN_ARENA_GUARD;
        holes += bytes - held_bytes(&shapes[i], bytes);
        if (end >= BYTES_MAX) {
            return gdn_error_set(err, GDN_ERR_ARG,
                                 "the tensors up to %s take more than 2^60 bytes",
                                 shapes[i].name);
        }
        *name_bytes += strlen(shapes[i].name) + 1;
    }
    /* Whole guard units, so at least one even without tensors: mmap refuses 0 bytes. */
    *arena_bytes = ((size_t)end / GDN_ARENA_GUARD + 1) * GDN_ARENA_GUARD;
    *held = *arena_bytes - (size_t)holes;
    return GDN_OK;
}

/* By pwrite(): half the time of storing through a fresh mapping (no zeroed pages, no fault
 * for each), and a machine without memory answers with an error instead of SIGBUS. */
static gdn_status poison(int fd, size_t from, size_t to, gdn_error *err) {
    uint16_t block[32768];
    for (size_t i = 0; i < sizeof block / sizeof block[0]; i++) {
        block[i] = GDN_POISON_WORD;
    }
    while (from < to) {
        /* The phase keeps the words in step after a write that was cut at an odd byte. */
        const size_t phase = from % sizeof block;
        const size_t left = to - from;
        const size_t room = sizeof block - phase;
        const ssize_t n =
            pwrite(fd, (const char *)block + phase, room < left ? room : left, (off_t)from);
        if (n < 0 && errno != EINTR) {
            return gdn_error_set(err, GDN_ERR_OOM, "no memory for poison at byte %zu: %s",
                                 from, strerror(errno));
        }
        from += n > 0 ? (size_t)n : 0;
    }
    return GDN_OK;
}

/* Poison from end to end, less the holes. */
static gdn_status poison_all(int fd, const gdn_tensor *shapes, size_t count,
                             bool misaligned, size_t bytes, gdn_error *err) {
    const int64_t page = GDN_ARENA_GUARD;
    int64_t end = 0;
    size_t from = 0;
    if (ftruncate(fd, (off_t)bytes) != 0) {
        return gdn_error_set(err, GDN_ERR_OOM, "no file of %zu bytes: %s", bytes,
                             strerror(errno));
    }
    for (size_t i = 0; i < count; i++) {
        const gdn_tensor *t = &shapes[i];
        const int64_t start = start_after(end, t, misaligned);
        for (int64_t row = 0; has_holes(t) && row + 1 < t->shape[0]; row++) {
            const int64_t behind = start + row * step_bytes(t) + row_bytes(t);
            const int64_t next = start + (row + 1) * step_bytes(t);
            const int64_t first = (behind + 2 * page - 1) / page * page;
            GDN_TRY(poison(fd, from, (size_t)first, err));
            from = (size_t)((next - page) / page * page);
        }
        end = start + gdn_tensor_extent(t) * (int64_t)gdn_dtype_size(t->dtype) +
              GDN_ARENA_GUARD;
    }
    return poison(fd, from, bytes, err);
}

gdn_status gdn_arena_create(gdn_arena *arena, const gdn_tensor *shapes, size_t count,
                            bool misaligned, gdn_error *err) {
    gdn_status status = GDN_OK;
    size_t bytes = 0, held = 0;
    size_t name_bytes = 0;
    uint8_t *base = MAP_FAILED;
    gdn_tensor *tensors = NULL;
    int fd = -1;

    *arena = (gdn_arena){.fd = -1};
    GDN_TRY(measure(shapes, count, misaligned, &bytes, &held, &name_bytes, err));
    /* Every page but those of holes gets written; beyond the machine's memory that ends by
     * the OOM killer. */
    const long pages = sysconf(_SC_PHYS_PAGES);
    if (pages > 0 && held / (size_t)sysconf(_SC_PAGESIZE) > (size_t)pages) {
        return gdn_error_set(err, GDN_ERR_OOM,
                             "an arena of %zu bytes is larger than this machine's memory",
                             held);
    }
    /* One block: the views, then their names. */
    tensors = malloc(count * sizeof *tensors + name_bytes + 1);
    if (!tensors) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu tensors", count);
    }
    fd = memfd_create("gdn-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        status = gdn_error_set(err, GDN_ERR_IO, "memfd_create: %s", strerror(errno));
        goto cleanup;
    }
    status = poison_all(fd, shapes, count, misaligned, bytes, err);
    if (status != GDN_OK) {
        goto cleanup;
    }
    base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        status = gdn_error_set(err, GDN_ERR_OOM, "cannot map an arena of %zu bytes: %s",
                               bytes, strerror(errno));
        goto cleanup;
    }

    char *name = (char *)(tensors + count);
    int64_t end = 0;
    for (size_t i = 0; i < count; i++) {
        const int64_t start = start_after(end, &shapes[i], misaligned);
        tensors[i] = shapes[i];
        tensors[i].data = base + start;
        tensors[i].name = strcpy(name, shapes[i].name);
        name += strlen(name) + 1;
        end = start +
              gdn_tensor_extent(&shapes[i]) * (int64_t)gdn_dtype_size(shapes[i].dtype) +
              GDN_ARENA_GUARD;
    }
    *arena = (gdn_arena){.fd = fd,
                         .base = base,
                         .bytes = bytes,
                         .sparse = held < bytes,
                         .tensors = tensors,
                         .n_tensors = count};
    return GDN_OK;

cleanup:
    if (fd >= 0) {
        close(fd);
    }
    free(tensors);
    return status;
}

gdn_status gdn_arena_freeze(gdn_arena *arena, gdn_error *err) {
    if (!arena->base || arena->image) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "expected an arena that is being filled but found %s one",
                             arena->image ? "a frozen" : "no");
    }
    /* Pages of it that nobody writes cost nothing: holes stay holes. */
    uint8_t *image = mmap(NULL, arena->bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (image == MAP_FAILED) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for the image of %zu bytes",
                             arena->bytes);
    }
    /* A worker that truncated the file would kill the host by SIGBUS; one that added a seal
     * of its own would lock out the next worker. */
    if (fcntl(arena->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        munmap(image, arena->bytes);
        return gdn_error_set(err, GDN_ERR_IO, "cannot seal the arena: %s", strerror(errno));
    }
    size_t from = 0, to = 0;
    for (; gdn_arena_next(arena, to, &from, &to);) {
        memcpy(image + from, arena->base + from, to - from);
    }
    arena->image = image;
    return GDN_OK;
}

bool gdn_arena_next(const gdn_arena *arena, size_t at, size_t *from, size_t *to) {
    if (at >= arena->bytes) {
        return false;
    }
    *from = at;
    *to = arena->bytes;
    if (arena->sparse) {
        const off_t data = lseek(arena->fd, (off_t)at, SEEK_DATA);
        const off_t hole = data < 0 ? -1 : lseek(arena->fd, data, SEEK_HOLE);
        *from = data < 0 ? arena->bytes : (size_t)data;
        *to = hole < 0 ? arena->bytes : (size_t)hole;
    }
    return *from < *to;
}

void gdn_arena_refreeze(gdn_arena *arena) {
    size_t from = 0, to = 0;
    for (; gdn_arena_next(arena, to, &from, &to);) {
        memcpy(arena->image + from, arena->base + from, to - from);
    }
}

void gdn_arena_restore(gdn_arena *arena) {
    size_t from = 0, to = 0;
    for (; arena->image && gdn_arena_next(arena, to, &from, &to);) {
        memcpy(arena->base + from, arena->image + from, to - from);
    }
}

void gdn_arena_destroy(gdn_arena *arena) {
    /* A zeroed arena has descriptor 0, which is somebody else's: `base` is what tells. */
    if (arena->base) {
        munmap(arena->base, arena->bytes);
        close(arena->fd);
    }
    if (arena->image) {
        munmap(arena->image, arena->bytes);
    }
    free(arena->tensors);
    *arena = (gdn_arena){.fd = -1};
}

gdn_tensor *gdn_arena_tensor(gdn_arena *arena, const char *name) {
    for (size_t i = 0; i < arena->n_tensors; i++) {
        if (strcmp(arena->tensors[i].name, name) == 0) {
            return &arena->tensors[i];
        }
    }
    return NULL;
}

/* Dimensions by falling stride: the order in which an offset is taken apart. */
static void by_stride(const gdn_tensor *tensor, int order[GDN_MAX_RANK]) {
    for (int n = 0; n < tensor->rank; n++) {
        int i = n;
        for (; i > 0 && tensor->stride[order[i - 1]] < tensor->stride[n]; i--) {
            order[i] = order[i - 1];
        }
        order[i] = n;
    }
}

/* Looks for the index of the element at `rest` in dimensions order[depth..]. Strides need
 * not nest, so several sizes of an index may have to be tried; where they do, one. */
static bool find_element(const gdn_tensor *tensor, const int *order, int depth,
                         int64_t rest, int64_t *index) {
    if (depth == tensor->rank) {
        return rest == 0;
    }
    const int d = order[depth];
    const int64_t stride = tensor->stride[d];
    index[d] = 0;
    if (stride == 0) {
        return find_element(tensor, order, depth + 1, rest, index);
    }
    int64_t below = 0;
    for (int i = depth + 1; i < tensor->rank; i++) {
        below += (tensor->shape[order[i]] - 1) * tensor->stride[order[i]];
    }
    int64_t i = rest / stride;
    for (i = i < tensor->shape[d] ? i : tensor->shape[d] - 1;
         i >= 0 && rest - i * stride <= below; i--) {
        if (find_element(tensor, order, depth + 1, rest - i * stride, index)) {
            index[d] = i;
            return true;
        }
    }
    return false;
}

/* The last element before `rest`; exact where strides nest. True if it is the last one of
 * its row. */
static bool element_before(const gdn_tensor *tensor, const int *order, int64_t rest,
                           int64_t *index) {
    bool ends_row = true;
    for (int i = 0; i < tensor->rank; i++) {
        const int d = order[i];
        const int64_t stride = tensor->stride[d];
        const int64_t top = tensor->shape[d] - 1;
        index[d] = stride > 0 && rest / stride < top ? rest / stride : top;
        rest -= index[d] * stride;
        ends_row = ends_row && (d == 0 || index[d] == top);
    }
    return ends_row;
}

static int describe_inside(const gdn_tensor *tensor, int64_t element, char *text,
                           size_t size) {
    int order[GDN_MAX_RANK] = {0};
    int64_t index[GDN_MAX_RANK] = {0};
    by_stride(tensor, order);
    const bool gap = !find_element(tensor, order, 0, element, index);
    if (gap && element_before(tensor, order, element, index)) {
        return snprintf(text, size, "gap after row %lld of %s", (long long)index[0],
                        tensor->name);
    }
    char list[GDN_MAX_RANK * 24] = "";
    size_t used = 0;
    for (int d = 0; d < tensor->rank; d++) {
        const int n =
            snprintf(list + used, sizeof list - used, "%s%lld%s", d == 0 ? "[" : ",",
                     (long long)index[d], d == tensor->rank - 1 ? "]" : "");
        assert(n > 0 && used + (size_t)n < sizeof list);
        used += (size_t)n;
    }
    return snprintf(text, size, "%s%s%s", gap ? "gap after " : "", tensor->name, list);
}

int gdn_arena_describe(const gdn_arena *arena, size_t offset, char *text, size_t size) {
    if (offset >= arena->bytes) {
        return snprintf(text, size, "byte %zu past the end of the arena",
                        offset - arena->bytes);
    }
    size_t previous_end = 0;
    for (size_t i = 0; i < arena->n_tensors; i++) {
        const gdn_tensor *tensor = &arena->tensors[i];
        const size_t width = gdn_dtype_size(tensor->dtype);
        const size_t start = (size_t)((uint8_t *)tensor->data - arena->base);
        const size_t end = start + (size_t)gdn_tensor_extent(tensor) * width;
        if (offset < start) {
            const bool after = i > 0 && offset - previous_end < GDN_ARENA_GUARD;
            return snprintf(text, size, "guard %s %s", after ? "after" : "before",
                            after ? tensor[-1].name : tensor->name);
        }
        if (offset < end) {
            return describe_inside(tensor, (int64_t)((offset - start) / width), text, size);
        }
        previous_end = end;
    }
    return snprintf(text, size, "guard after %s",
                    arena->n_tensors > 0 ? arena->tensors[arena->n_tensors - 1].name
                                         : "nothing");
}
