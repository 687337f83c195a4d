/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* gdn_gating: g = -exp(A_log) softplus(a + dt_bias), beta = sigmoid(b), for all rows. */
#include "cpu.h"
#include "cpu_convert.h"
#include "cpu_gates.h"
#include "cpu_math.h"

static gdn_status check(const gdn_call *call, gdn_error *err) {
    const int64_t any[2] = {-1, -1};
    GDN_TRY(cpu_expect(call, "a", CPU_FLOATS, 2, any, err));
    const gdn_tensor *a = gdn_call_tensor(call, "a");
    const unsigned storage = CPU_TYPE(a->dtype), fp32 = CPU_TYPE(GDN_FP32);
    GDN_TRY(cpu_expect(call, "b", storage, 2, a->shape, err));
    GDN_TRY(cpu_expect(call, "A_log", fp32, 1, &a->shape[1], err));
    GDN_TRY(cpu_expect(call, "dt_bias", storage, 1, &a->shape[1], err));
    GDN_TRY(cpu_expect(call, "g", fp32, 2, a->shape, err));
    const bool wide = call->conventions->beta_storage == GDN_BETA_FP32;
    return cpu_expect(call, "beta", wide ? fp32 : storage, 2, a->shape, err);
}

static float element(const gdn_tensor *tensor, int64_t i, int64_t j) {
    return cpu_load_one(tensor->data, tensor->dtype,
                        i * tensor->stride[0] + j * tensor->stride[1]);
}

static gdn_status run(gdn_device *device, const gdn_call *call, gdn_error *err) {
    const gdn_tensor *A_log = gdn_call_tensor(call, "A_log");
    const gdn_tensor *dt_bias = gdn_call_tensor(call, "dt_bias");
    const gdn_tensor *a = gdn_call_tensor(call, "a"), *b = gdn_call_tensor(call, "b");
    const gdn_tensor *g = gdn_call_tensor(call, "g");
    const gdn_tensor *beta = gdn_call_tensor(call, "beta");
    const int64_t rows = a->shape[0], heads = a->shape[1];
    const gdn_conventions *conventions = call->conventions;
    const int threads = cpu_threads(device, call, rows * heads / 256);
    (void)err;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t h = 0; h < heads; h++) {
            const double rate = cpu_decay_rate(element(A_log, h, 0));
            const float decay =
                cpu_log_decay(conventions, rate, element(a, i, h), element(dt_bias, h, 0));
            const float strength = cpu_beta(cpu_beta_staged(conventions, h, heads),
                                            b->dtype, element(b, i, h));
            cpu_store(g->data, GDN_FP32, i * g->stride[0] + h * g->stride[1], 1, &decay, 1);
            cpu_store(beta->data, beta->dtype, i * beta->stride[0] + h * beta->stride[1], 1,
                      &strength, 1);
        }
    }
    return GDN_OK;
}

const cpu_op cpu_gdn_gating = {.check = check, .run = run};
