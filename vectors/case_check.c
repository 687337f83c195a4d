/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What the members of a case must be to each other. */
#include "case_internal.h"

#include "dye.h"
#include "plan.h"
#include "refuse.h"

static gdn_status check_division(const char *what, int64_t value, const char *by,
                                 int64_t divisor, gdn_error *err) {
    if (value % divisor == 0) {
        return GDN_OK;
    }
    return gdn_error_set(err, GDN_ERR_ARG,
                         "%s: expected a multiple of %s %lld but found %lld", what, by,
                         (long long)divisor, (long long)value);
}

gdn_status gdnp_case_check_shapes(const gdn_case *test, gdn_error *err) {
    GDN_TRY(check_division("num_v_heads", test->num_v_heads, "num_k_heads",
                           test->num_k_heads, err));
    GDN_TRY(
        check_division("num_k_heads", test->num_k_heads, "tp_size", test->tp_size, err));
    GDN_TRY(
        check_division("num_v_heads", test->num_v_heads, "tp_size", test->tp_size, err));
    /* Strides count elements, and a page holds a whole number of any type's. */
    GDN_TRY(check_division("page_bytes", test->page_bytes, "the widest element's", 8, err));
    return check_division("row_bytes", test->row_bytes, "the widest element's", 8, err);
}

/* Packed weights come in blocks of 32 channels and two taps. */
static gdn_status check_packing(const gdn_case *test, gdn_error *err) {
    const bool convolves =
        test->op == GDN_OP_CAUSAL_CONV1D || test->op == GDN_OP_GDN_ATTENTION;
    if (test->op != GDN_OP_CONV_WEIGHT_PACK &&
        !(convolves && test->conventions.conv_weight == GDN_WEIGHT_VNNI)) {
        return GDN_OK;
    }
    const int64_t channels =
        (2 * test->num_k_heads * test->head_k_dim + test->num_v_heads * test->head_v_dim) /
        test->tp_size;
    GDN_TRY(check_division("conv_width", test->conv_width, "the packed taps", 2, err));
    return check_division("conv channels of a rank", channels, "the packed block of", 32,
                          err);
}

/* Rows that the batch needs in any case cannot be asked for. */
static gdn_status check_conv_rows(const gdn_case *test, gdn_error *err) {
    const int64_t needed = gdn_plan_conv_rows(test);
    if (test->conv_rows == 0 || test->conv_rows > needed) {
        return GDN_OK;
    }
    return gdn_error_set(err, GDN_ERR_ARG,
                         "conv_rows: expected 0 or more than %lld, which the batch needs, "
                         "but found %lld",
                         (long long)needed, (long long)test->conv_rows);
}

/* alpha = 0 needs an op that decays. */
static gdn_status check_lattice(const gdn_case *test, gdn_error *err) {
    if (test->fill != GDN_FILL_LATTICE_ALPHA0 || test->op == GDN_OP_GATED_DELTA_RULE ||
        test->op == GDN_OP_GDN_ATTENTION) {
        return GDN_OK;
    }
    return gdn_error_set(err, GDN_ERR_ARG,
                         "fill: expected normal, model or lattice, because %s forgets "
                         "nothing, but found \"lattice-alpha0\"",
                         gdn_op_get(test->op)->name);
}

/* A dye lies in a value that the op has, and a case is dyed, or related, or wrong. */
static gdn_status check_dye(const gdn_case *test, gdn_error *err) {
    const char *why = NULL;
    if (test->dye != GDN_DYE_NONE && !gdn_dye_fits(test)) {
        why = "the op, or the batch, has no such value";
    } else if (test->dye != GDN_DYE_NONE && (test->relation || test->refuse)) {
        why = "the case has a relation, or is to be refused";
    }
    if (!why) {
        return GDN_OK;
    }
    return gdn_error_set(err, GDN_ERR_ARG,
                         "dye: expected \"none\", because %s, but found \"%s\"", why,
                         GDN_DYE_NAMES[test->dye]);
}

gdn_status gdnp_case_check_values(const gdn_case *test, gdn_error *err) {
    GDN_TRY(check_packing(test, err));
    GDN_TRY(check_conv_rows(test, err));
    GDN_TRY(check_lattice(test, err));
    GDN_TRY(check_dye(test, err));
    return gdnp_refuse_check(test, err);
}
