/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* 113-bit numbers: arrays of them, the functions of the ops, rounding to storage. */
#include "mpfr_shadow.h"

#include <math.h>
#include <stdlib.h>

mpfr_ptr gdnp_reals_create(int64_t count) {
    const size_t n = (size_t)count + 1;
    const size_t significand = mpfr_custom_get_size(GDNP_SHADOW_BITS);
    mpfr_ptr x = malloc(n * (sizeof *x + significand));
    if (!x) {
        return NULL;
    }
    /* One block for all: mpfr_init2() would ask malloc for each of some 10^6. */
    char *limbs = (char *)(x + n);
    for (size_t i = 0; i < n; i++) {
        void *own = limbs + i * significand;
        mpfr_custom_init(own, GDNP_SHADOW_BITS);
        mpfr_custom_init_set(x + i, MPFR_ZERO_KIND, 0, GDNP_SHADOW_BITS, own);
    }
    return x;
}

void gdnp_real_sigmoid(mpfr_ptr out, mpfr_srcptr x) {
    mpfr_neg(out, x, MPFR_RNDN);
    mpfr_exp(out, out, MPFR_RNDN);
    mpfr_add_ui(out, out, 1, MPFR_RNDN);
    mpfr_ui_div(out, 1, out, MPFR_RNDN);
}

void gdnp_real_silu(mpfr_ptr out, mpfr_srcptr x) {
    if (mpfr_inf_p(x) && mpfr_sgn(x) < 0) {
        mpfr_set_zero(out, -1); /* the limit; the formula says inf/inf */
        return;
    }
    mpfr_neg(out, x, MPFR_RNDN);
    mpfr_exp(out, out, MPFR_RNDN);
    mpfr_add_ui(out, out, 1, MPFR_RNDN);
    mpfr_div(out, x, out, MPFR_RNDN);
}

void gdnp_real_softplus(mpfr_ptr out, mpfr_srcptr x, double beta, double threshold) {
    MPFR_DECL_INIT(scaled, GDNP_SHADOW_BITS);
    mpfr_mul_d(scaled, x, beta, MPFR_RNDN);
    if (mpfr_cmp_d(scaled, threshold) > 0) {
        mpfr_set(out, x, MPFR_RNDN);
        return;
    }
    mpfr_exp(out, scaled, MPFR_RNDN);
    mpfr_log1p(out, out, MPFR_RNDN);
    mpfr_div_d(out, out, beta, MPFR_RNDN);
}

/* Significand bits, weight of the last bit of subnormals, and the power of two from which
 * values overflow. */
typedef struct storage_form {
    long bits, least, overflow;
} storage_form;

static bool form_of(gdn_dtype storage, storage_form *form) {
    switch (storage) {
    case GDN_FP32:
        *form = (storage_form){24, -149, 128};
        return true;
    case GDN_FP16:
        *form = (storage_form){11, -24, 16};
        return true;
    case GDN_BF16:
        *form = (storage_form){8, -133, 128};
        return true;
    default:
        return false;
    }
}

bool gdnp_real_round(mpfr_ptr x, gdn_dtype storage, mpfr_srcptr margin) {
    storage_form form;
    if (!form_of(storage, &form) || !mpfr_number_p(x) || mpfr_zero_p(x)) {
        return false;
    }
    /* In units of the last place the boundaries are the half integers. */
    const long exponent = mpfr_get_exp(x) - form.bits;
    const long place = exponent > form.least ? exponent : form.least;
    const int sign = mpfr_signbit(x) ? -1 : 1;
    MPFR_DECL_INIT(distance, GDNP_SHADOW_BITS);
    MPFR_DECL_INIT(reach, GDNP_SHADOW_BITS);
    mpfr_mul_2si(x, x, -place, MPFR_RNDN);
    mpfr_mul_2si(reach, margin, -place, MPFR_RNDN);
    mpfr_frac(distance, x, MPFR_RNDN);
    mpfr_abs(distance, distance, MPFR_RNDN);
    mpfr_sub_d(distance, distance, 0.5, MPFR_RNDN);
    const bool tie = mpfr_cmpabs(distance, reach) <= 0;
    mpfr_roundeven(x, x);
    mpfr_mul_2si(x, x, place, MPFR_RNDN);
    if (mpfr_zero_p(x)) {
        mpfr_set_zero(x, sign);
    } else if (mpfr_get_exp(x) > form.overflow) {
        mpfr_set_inf(x, sign);
    }
    return tie;
}

double gdnp_shadow_element(const gdn_tensor *tensor, const int64_t *index) {
    return gdn_load(tensor->data, tensor->dtype, gdn_tensor_offset(tensor, index));
}
