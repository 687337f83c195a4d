/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Prints a digest of every output of a fixed set of calls, or compares the lines with a
 * file of them. Links reference/ and nothing else, so that it is built and run wherever a
 * compiler is; every build must print the same lines.
 *
 *   digest_reference          prints
 *   digest_reference FILE     exit 0 equal, 1 different, 77 GDN_REFERENCE_KERNEL names a
 *                             kernel that this machine has not
 *
 * A line is "<call> <tensor> <values> <limits> <written rows>", each of the three a 64-bit
 * FNV-1a (G. Fowler, L. C. Noll, K.-P. Vo, D. Eastlake, "The FNV Non-Cryptographic Hash
 * Algorithm", draft-eastlake-fnv) over the little-endian bytes in C order: enough to tell
 * builds apart, not to keep out a forger. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "digest_calls.h"
#include "gdn/exact.h"
#include "gdn/random.h"
#include "gdn/reference.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "digests are over little-endian bytes"
#endif

enum { EQUAL = 0, DIFFERENT = 1, NOT_HERE = 77, LINE = 200 };

typedef struct run {
    FILE *expected; ///< NULL: print
    int lines, differences;
} run;

static uint64_t fnv1a(const void *bytes, size_t size) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

static void *allocate(size_t count, size_t size) {
    void *memory = calloc(count + 1, size);
    if (!memory) {
        fprintf(stderr, "digest_reference: out of memory\n");
        exit(EXIT_FAILURE);
    }
    return memory;
}

/* `line` ends with a newline. */
static void tell(run *r, const char *line) {
    char expected[LINE] = "";
    r->lines++;
    if (!r->expected) {
        fputs(line, stdout);
    } else if (!fgets(expected, sizeof expected, r->expected) ||
               strcmp(expected, line) != 0) {
        r->differences++;
        printf("line %d: expected %sfound            %s", r->lines,
               expected[0] ? expected : "nothing\n", line);
    }
}

static void tell_digests(run *r, const char *call, const char *tensor, uint64_t values,
                         uint64_t limits, uint64_t rows) {
    char line[LINE];
    snprintf(line, sizeof line, "%s %s %016llx %016llx %016llx\n", call, tensor,
             (unsigned long long)values, (unsigned long long)limits,
             (unsigned long long)rows);
    tell(r, line);
}

/* ---- elementary functions ---- */

static double softplus20(double x) {
    return gdn_softplus(x, 1.0, 20.0);
}

/* On arguments of all magnitudes: a random significand times 2^-40 .. 2^10. */
static void digest_functions(run *r) {
    enum { COUNT = 20000 };
    static const struct {
        const char *name;
        double (*f)(double);
        bool positive;
    } FUNCTIONS[] = {
        {"exp", gdn_exp, false},         {"log", gdn_log, true},
        {"log1p", gdn_log1p, true},      {"expm1", gdn_expm1, false},
        {"softplus", softplus20, false}, {"sigmoid", gdn_sigmoid, false},
        {"silu", gdn_silu, false},
    };
    const gdn_random random = {.seed = 3, .stream = 1};
    double *values = allocate(COUNT, sizeof *values);
    for (size_t f = 0; f < sizeof FUNCTIONS / sizeof FUNCTIONS[0]; f++) {
        for (uint64_t i = 0; i < COUNT; i++) {
            const double x = ldexp(gdn_random_normal(&random, i), (int)(i % 51) - 40);
            values[i] = FUNCTIONS[f].f(FUNCTIONS[f].positive ? fabs(x) : x);
        }
        tell_digests(r, "function", FUNCTIONS[f].name,
                     fnv1a(values, COUNT * sizeof *values), 0, 0);
    }
    free(values);
}

/* ---- calls ---- */

static void fill(const gdn_tensor *t, const digest_tensor *as, const gdn_random *random) {
    const int64_t count = gdn_tensor_count(t);
    for (int64_t i = 0; i < count; i++) {
        double value = 0.0;
        if (as->ints) {
            value = as->ints[i];
        } else if (as->scale != 0.0) {
            value = as->scale * gdn_random_normal(random, (uint64_t)i);
            value = as->fill == FILL_DECAY  ? -fabs(value)
                    : as->fill == FILL_BETA ? gdn_sigmoid(value)
                                            : value;
        }
        gdn_store(t->data, t->dtype, i, value);
    }
}

/* As golden values are made: FP64 with limits, exact outputs over what was there. */
static void want(gdn_output *output, const gdn_tensor *t, gdn_judgement judgement) {
    const size_t count = (size_t)gdn_tensor_count(t);
    const bool bounded = judgement == GDN_JUDGE_BOUNDED;
    const gdn_dtype dtype = bounded ? GDN_FP64 : t->dtype;
    void *values = allocate(count, gdn_dtype_size(dtype));
    output->value = gdn_tensor_dense(t->name, values, dtype, t->rank, t->shape);
    output->written = allocate((size_t)t->shape[0], 1);
    if (bounded) {
        output->limit = allocate(count, sizeof(float));
    } else {
        memcpy(values, t->data, count * gdn_dtype_size(dtype));
    }
}

static void set_conventions(gdn_conventions *conventions, const char *text) {
    char copy[LINE], *rest = copy, *field;
    snprintf(copy, sizeof copy, "%s", text);
    while ((field = strsep(&rest, " ")) != NULL && *field) {
        gdn_error err = {0};
        const char *name = strsep(&field, "=");
        if (gdn_conventions_set(conventions, name, field, &err) != GDN_OK) {
            fprintf(stderr, "digest_reference: %s\n", err.message);
            exit(EXIT_FAILURE);
        }
    }
}

static void digest_outputs(run *r, const char *name, const gdn_output *outputs, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const gdn_output *o = &outputs[i];
        if (o->value.data) {
            const size_t count = (size_t)gdn_tensor_count(&o->value);
            tell_digests(r, name, o->value.name,
                         fnv1a(o->value.data, count * gdn_dtype_size(o->value.dtype)),
                         o->limit ? fnv1a(o->limit, count * sizeof(float)) : 0,
                         fnv1a(o->written, (size_t)o->value.shape[0]));
        }
    }
}

static gdn_status digest_call_outputs(run *r, const digest_call *c) {
    gdn_conventions conventions = gdn_conventions_default();
    gdn_tensor tensors[DIGEST_TENSORS];
    gdn_output outputs[DIGEST_TENSORS] = {0};
    size_t n = 0, n_scalars = 0;
    set_conventions(&conventions, c->conventions);
    for (; n < DIGEST_TENSORS && c->tensors[n].name; n++) {
        const digest_tensor *as = &c->tensors[n];
        const gdn_random random = {.seed = 7, .stream = n + 1};
        tensors[n] = gdn_tensor_dense(as->name, NULL, as->dtype, as->rank, as->shape);
        tensors[n].data =
            allocate((size_t)gdn_tensor_count(&tensors[n]), gdn_dtype_size(as->dtype));
        fill(&tensors[n], as, &random);
        const gdn_argument *argument = gdn_op_argument(c->op, as->name);
        if (argument && argument->access != GDN_IN) {
            want(&outputs[n], &tensors[n], argument->judgement);
        }
    }
    while (n_scalars < DIGEST_SCALARS && c->scalars[n_scalars].name) {
        n_scalars++;
    }
    const gdn_call call = {
        .struct_size = sizeof call,
        .op = c->op,
        .conventions = &conventions,
        .tensors = tensors,
        .n_tensors = n,
        .scalars = c->scalars,
        .n_scalars = n_scalars,
    };
    gdn_error err = {0};
    const gdn_status status = gdn_reference_run(&call, outputs, &err);
    if (status == GDN_OK) {
        digest_outputs(r, c->name, outputs, n);
    } else {
        fprintf(stderr, "digest_reference: %s: %s\n", c->name, err.message);
    }
    for (size_t i = 0; i < n; i++) {
        free(tensors[i].data);
        free(outputs[i].value.data);
        free(outputs[i].limit);
        free(outputs[i].written);
    }
    return status;
}

int main(int argc, char **argv) {
    run r = {0};
    if (argc > 1 && !(r.expected = fopen(argv[1], "r"))) {
        perror(argv[1]);
        return EXIT_FAILURE;
    }
    digest_functions(&r);
    for (const digest_call *c = DIGEST_CALLS; c->name; c++) {
        const gdn_status status = digest_call_outputs(&r, c);
        if (status != GDN_OK) {
            return status == GDN_ERR_UNSUPPORTED ? NOT_HERE : EXIT_FAILURE;
        }
    }
    if (!r.expected) {
        return EQUAL;
    }
    char more[LINE];
    if (fgets(more, sizeof more, r.expected)) {
        printf("line %d: expected %sfound nothing\n", r.lines + 1, more);
        r.differences++;
    }
    fclose(r.expected);
    printf("%d digests, %d differ\n", r.lines, r.differences);
    return r.differences > 0 ? DIFFERENT : EQUAL;
}
