/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "standalone.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "standalone_parts.h"

/* Parts of the program (standalone/), in order; the last is the kernel itself. */
static const char *const *parts_of(gdn_op op) {
    static const char *const CONV1D[] = {gdn_part_conv1d_columns, gdn_part_convolution,
                                         gdn_part_causal_conv1d, NULL};
    static const char *const GATING[] = {gdn_part_gates, gdn_part_gdn_gating, NULL};
    static const char *const DELTA[] = {gdn_part_recurrence, gdn_part_gated_delta_rule,
                                        NULL};
    static const char *const ATTENTION[] = {
        gdn_part_gates,       gdn_part_recurrence,    gdn_part_attention_columns,
        gdn_part_convolution, gdn_part_gdn_attention, NULL};
    static const char *const *const PARTS[GDN_OP_COUNT] = {
        [GDN_OP_CAUSAL_CONV1D] = CONV1D,
        [GDN_OP_GDN_GATING] = GATING,
        [GDN_OP_GATED_DELTA_RULE] = DELTA,
        [GDN_OP_GDN_ATTENTION] = ATTENTION,
    };
    return PARTS[op];
}

/* What of a case the plain kernel does not know, or NULL. */
static const char *beyond_case(const gdn_case *test) {
    for (size_t i = 0; i < test->n_sequences; i++) {
        if (test->sequences[i].padded) {
            return "padding";
        }
    }
    return test->gates != GDN_GATES_GIVEN ? "gates"
           : !test->l2norm                ? "l2norm"
           : test->tree != GDN_TREE_NONE  ? "tree"
                                          : NULL;
}

/* Fields that the plain kernel honours, or that do not reach it; any other one must have
 * its default. Returns the first that does not, or NULL. */
static const char *beyond_kernel(const gdn_conventions *conventions) {
    static const char FREE[] =
        " qkvz_layout state_order head_map activation conv_output numeric_class "
        "chunk_class chunk_decay "
        "pad_slot_id l2norm_eps softplus_threshold exp_error log_error rsqrt_error "
        "sigmoid_error "
        "metadata_rules ";
    const gdn_conventions plain = gdn_conventions_default();
    size_t count;
    const gdn_convention_field *fields = gdn_convention_fields(&count);
    for (size_t i = 0; i < count; i++) {
        char own[64], other[64], word[80];
        gdn_conventions_get(conventions, &fields[i], own, sizeof own);
        gdn_conventions_get(&plain, &fields[i], other, sizeof other);
        snprintf(word, sizeof word, " %s ", fields[i].name);
        const bool window =
            strcmp(fields[i].name, "conv_window") == 0 && strcmp(own, "snapshot") == 0;
        if (strcmp(own, other) != 0 && !strstr(FREE, word) && !window) {
            return fields[i].name;
        }
    }
    return NULL;
}

/* A part without the two lines of licence at its head. */
static const char *body_of(const char *part) {
    const char *end = strstr(part, "\n\n");
    return end ? end + 2 : part;
}

static const char *word_of(gdn_dtype dtype) {
    switch (gdn_dtype_size(dtype)) {
    case 1:
        return "uint8_t";
    case 2:
        return "uint16_t";
    case 4:
        return "uint32_t";
    default:
        return "uint64_t";
    }
}

static void write_words(FILE *out, const uint8_t *data, size_t size, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        uint64_t word = 0;
        for (size_t b = 0; b < size; b++) { /* as the machine reads it: little-endian */
            word |= (uint64_t)data[(size_t)i * size + b] << (8 * b);
        }
        fprintf(out, "%s0x%llx,", i % 12 == 0 ? "\n    " : " ", (unsigned long long)word);
    }
}

/* Data and accessors of one argument; one that the call lacks has no rows. */
static void write_tensor(FILE *out, const gdn_problem *problem,
                         const gdn_argument *argument) {
    const char *name = argument->name;
    const gdn_tensor *t = gdn_call_tensor(&problem->call, name);
    if (!t) {
        fprintf(out,
                "enum { HAS_%s = 0, %s_ROWS = 0, %s_STRIDE = 0 };\n"
                "static inline float get_%s(long i) { (void)i; return 0.0F; }\n\n",
                name, name, name, name);
        return;
    }
    const int64_t extent = gdn_tensor_extent(t);
    const uint8_t *data =
        problem->arena.image + ((const uint8_t *)t->data - problem->arena.base);
    const char *type = gdn_dtype_name(t->dtype);
    const bool is_float =
        t->dtype == GDN_FP32 || t->dtype == GDN_FP16 || t->dtype == GDN_BF16;
    fprintf(out, "/* %s: %s [", name, type);
    for (int d = 0; d < t->rank; d++) {
        fprintf(out, "%s%lld", d > 0 ? ", " : "", (long long)t->shape[d]);
    }
    fprintf(out, "]%s */\n",
            argument->access == GDN_IN      ? ""
            : argument->access == GDN_INOUT ? ", read and written"
                                            : ", written");
    fprintf(out, "enum { HAS_%s = 1, %s_ROWS = %lld, %s_STRIDE = %lld };\n", name, name,
            (long long)t->shape[0], name, (long long)t->stride[0]);
    fprintf(out, "static %s %s_data[%lld]", word_of(t->dtype), name,
            (long long)(extent > 0 ? extent : 1));
    if (argument->access != GDN_OUT) {
        fprintf(out, " = {");
        write_words(out, data, gdn_dtype_size(t->dtype), extent);
        fprintf(out, "\n}");
    }
    fprintf(out, ";\n");
    if (is_float) {
        fprintf(out,
                "static inline float get_%s(long i) { return %s_get(%s_data, i); }\n"
                "static inline void put_%s(long i, float x) { %s_put(%s_data, i, x); }\n\n",
                name, type, name, name, type, name);
    } else {
        fprintf(out,
                "static inline float get_%s(long i) { return (float)(%s)%s_data[i]; }\n\n",
                name, t->dtype == GDN_I32 ? "int32_t" : "int64_t", name);
    }
}

static void write_constants(FILE *out, const gdn_problem *problem) {
    const gdn_case *c = problem->test;
    const gdn_conventions *conventions = problem->call.conventions;
    const long long key_heads = c->num_k_heads / c->tp_size;
    const long long value_heads = c->num_v_heads / c->tp_size;
    const char *type = gdn_dtype_name(c->dtype);
    fprintf(
        out,
        "enum {\n    KEY_HEADS = %lld, VALUE_HEADS = %lld, K = %lld, V = %lld, W = %lld,\n"
        "    CHANNELS = %lld, COLUMNS = %lld, MOST_TOKENS = %lld,\n"
        "    STATE_VK = %d, HEADS_TILED = %d, SEPARATE = %d, CONV_SLIDING = %d, "
        "SILU = %d\n};\n",
        key_heads, value_heads, (long long)c->head_k_dim, (long long)c->head_v_dim,
        (long long)c->conv_width,
        2 * key_heads * c->head_k_dim + value_heads * c->head_v_dim,
        (long long)(c->columns > 0 ? c->columns : 1), (long long)gdn_case_tokens(c),
        conventions->state_order == GDN_STATE_VK, conventions->head_map == GDN_HEADS_TILED,
        conventions->qkvz_layout == GDN_QKVZ_SEPARATE,
        conventions->conv_window == GDN_CONV_SLIDING,
        conventions->activation == GDN_ACTIVATION_SILU);
    fprintf(out, "#define L2NORM_EPS %.9gF\n#define SOFTPLUS_THRESHOLD %.9eF\n\n",
            conventions->l2norm_eps, conventions->softplus_threshold);
    fprintf(out, "%s\n", body_of(gdn_part_storage));
    if (conventions->conv_output == GDN_ROUND_STORAGE) {
        fprintf(out,
                "static inline float round_y(float x) {\n    %s y;\n    %s_put(&y, 0, x);\n"
                "    return %s_get(&y, 0);\n}\n\n",
                word_of(c->dtype), type, type);
    } else {
        fprintf(out, "static inline float round_y(float x) { return x; }\n\n");
    }
}

static void write_kernel(FILE *out, const gdn_problem *problem) {
    const char *beyond = beyond_case(problem->test);
    beyond = beyond ? beyond : beyond_kernel(problem->call.conventions);
    const char *const *parts = parts_of(problem->call.op);
    fprintf(out,
            "/* ==== YOUR KERNEL GOES HERE ====\n"
            " * Replace kernel(), or compile with -DGDN_KERNEL='\"mine.c\"'. It finds its\n"
            " * arguments in NAME_data, in memory order, and leaves its results there. */\n"
            "#ifdef GDN_KERNEL\n#include GDN_KERNEL\n#else\n");
    if (!parts || beyond) {
        fprintf(out,
                "/* No plain kernel obeys this case's %s, so there is none here. */\n"
                "static void kernel(void) {}\n",
                parts ? beyond : "op");
    }
    for (; parts && !beyond && *parts; parts++) {
        fprintf(out, "%s\n", body_of(*parts));
    }
    fprintf(out, "#endif\n/* ==== end of the kernel ==== */\n\n");
}

static void write_expected(FILE *out, const gdn_expected *e) {
    const char *name = e->tensor->name;
    const int64_t count = e->n_rows * e->row_count;
    fprintf(out, "static const long %s_rows[] = {", name);
    for (int64_t i = 0; i < e->n_rows; i++) {
        fprintf(out, "%lld, ", (long long)e->rows[i]);
    }
    fprintf(out, "-1};\nstatic const double %s_expected[] = {", name);
    for (int64_t i = 0; i < count; i++) {
        const double x = e->golden ? e->golden[i] : gdn_load(e->bits, e->tensor->dtype, i);
        fprintf(out, "%s", i % 6 == 0 ? "\n    " : " ");
        if (x != x) {
            fprintf(out, "NAN,");
        } else {
            fprintf(out, x > 1e300 ? "INFINITY," : x < -1e300 ? "-INFINITY," : "%.17g,", x);
        }
    }
    fprintf(out, " 0.0\n};\n");
    if (e->limit) {
        fprintf(out, "static const float %s_limit[] = {", name);
        for (int64_t i = 0; i < count; i++) {
            fprintf(out, "%s%.9eF,", i % 6 == 0 ? "\n    " : " ", (double)e->limit[i]);
        }
        fprintf(out, " 0.0F\n};\n");
    }
    fprintf(out, "\n");
}

static void write_main(FILE *out, const gdn_problem *problem, const gdn_golden *golden) {
    const gdn_op_info *info = gdn_op_get(problem->call.op);
    fprintf(out, "int main(void) {\n    long wrong = 0;\n");
    for (size_t i = 0; i < info->n_arguments; i++) {
        if (info->arguments[i].access == GDN_OUT && /* all ones: NaN, or -1 */
            gdn_call_tensor(&problem->call, info->arguments[i].name)) {
            fprintf(out, "    memset(%s_data, 0xff, sizeof %s_data);\n",
                    info->arguments[i].name, info->arguments[i].name);
        }
    }
    fprintf(out, "    kernel();\n");
    for (size_t i = 0; i < golden->n_outputs; i++) {
        const gdn_expected *e = &golden->outputs[i];
        const char *name = e->tensor->name;
        fprintf(out,
                "    wrong += compare(\"%s\", get_%s, %s_STRIDE, %s_rows, %lld, %lld,\n"
                "                     %s_expected, %s%s);\n",
                name, name, name, name, (long long)e->n_rows, (long long)e->row_count, name,
                e->limit ? name : "NULL", e->limit ? "_limit" : "");
    }
    fprintf(out, "    puts(wrong > 0 ? \"FAIL\" : \"PASS\");\n    return wrong > 0;\n}\n");
}

static gdn_status check_size(const gdn_problem *problem, gdn_error *err) {
    int64_t count = 0;
    for (size_t i = 0; i < problem->call.n_tensors; i++) {
        count += gdn_tensor_extent(&problem->call.tensors[i]);
    }
    return count <= GDN_STANDALONE_MOST
               ? GDN_OK
               : gdn_error_set(err, GDN_ERR_ARG,
                               "%s: expected at most %d elements for a C file but found "
                               "%lld",
                               problem->test->id, GDN_STANDALONE_MOST, (long long)count);
}

gdn_status gdn_standalone_write(const char *path, const gdn_problem *problem,
                                const gdn_golden *golden, const char *about,
                                gdn_error *err) {
    const gdn_op_info *info = gdn_op_get(problem->call.op);
    GDN_TRY(check_size(problem, err));
    FILE *out = fopen(path, "we");
    if (!out) {
        return gdn_error_set(err, GDN_ERR_IO, "cannot write %s: %s", path, strerror(errno));
    }
    fprintf(out,
            "/* %s\n *\n%s *\n * Compile and run: cc -std=c17 %s -lm && ./a.out */\n"
            "#include <math.h>\n#include <stdint.h>\n#include <stdio.h>\n"
            "#include <string.h>\n\n",
            problem->test->id, about, strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
    write_constants(out, problem);
    for (size_t i = 0; i < info->n_arguments; i++) {
        write_tensor(out, problem, &info->arguments[i]);
    }
    write_kernel(out, problem);
    for (size_t i = 0; i < golden->n_outputs; i++) {
        write_expected(out, &golden->outputs[i]);
    }
    fprintf(out, "%s\n", body_of(gdn_part_judge));
    write_main(out, problem, golden);
    const bool written = !ferror(out);
    return fclose(out) == 0 && written
               ? GDN_OK
               : gdn_error_set(err, GDN_ERR_IO, "cannot write %s: %s", path,
                               strerror(errno));
}
