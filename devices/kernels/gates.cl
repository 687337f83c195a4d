/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What stands beside the recurrence: the gates, the norms, z, rows of padding. */

/* g = -exp(A_log) softplus(a + dt_bias), beta = sigmoid(b). One work-item a gate. */
__kernel void gk_gating(const gk_gating_args args, __global char *arena,
                        __global char *scratch) {
    const gk_memory m = {arena, scratch};
    const long item = get_global_id(0);
    const long row = item / args.heads;
    const int head = (int)(item % args.heads);
    if (row >= args.rows) {
        return;
    }
    const float a = gk_load(&m, &args.a,
                            row * args.a.stride[0] +
                                gk_a_column(&args.layout, head) * args.a.stride[1]);
    const float b = gk_load(&m, &args.b,
                            row * args.b.stride[0] +
                                gk_b_column(&args.layout, head) * args.b.stride[1]);
    const float x = a + gk_load(&m, &args.dt_bias, head * args.dt_bias.stride[0]);
    const float scale = gk_real_value(args.softplus_beta), scaled = scale * x;
    float softplus = x;
    if (scaled <= gk_real_value(args.softplus_threshold)) {
        softplus = scaled > 0.0f ? x + gk_log1p(gk_exp(-scaled)) / scale
                                 : gk_log1p(gk_exp(scaled)) / scale;
    }
    /* exp(A_log) in two factors where it overflows: softplus may bring it back. */
    const float A_log = gk_load(&m, &args.A_log, head * args.A_log.stride[0]);
    const float root = gk_exp(0.5f * A_log);
    const float g = A_log > 88.0f ? root * softplus * root : gk_exp(A_log) * softplus;
    gk_store(&m, &args.g, row * args.g.stride[0] + head * args.g.stride[1], -g);
    const int tail = head >= args.heads / 32 * 32;
    gk_store(&m, &args.beta, row * args.beta.stride[0] + head * args.beta.stride[1],
             gk_beta(b, tail ? args.tail_roundings : args.roundings, (int)args.b.dtype));
}

/* Group x: a row, counted from the first. */
__kernel void gk_zero(const gk_zero_args args, __global char *arena,
                      __global char *scratch) {
    const gk_memory m = {arena, scratch};
    const long row = args.first + (long)get_group_id(0);
    for (int i = (int)get_local_id(0); i < args.heads * args.dim;
         i += (int)get_local_size(0)) {
        gk_store(&m, &args.out,
                 row * args.out.stride[0] + i / args.dim * args.out.stride[1] +
                     i % args.dim * args.out.stride[2],
                 0.0f);
    }
}

/* Group x: a local token. */
__kernel void gk_copy_z(const gk_copy_z_args args, __global char *arena,
                        __global char *scratch) {
    const gk_memory m = {arena, scratch};
    if (gk_find_sequence(&m, &args.group, get_group_id(0)) < 0) {
        return;
    }
    const long row = gk_row(&m, &args.group, get_group_id(0));
    const int count = args.layout.value_heads * args.layout.v_dim;
    for (int i = (int)get_local_id(0); i < count; i += (int)get_local_size(0)) {
        const int head = i / args.layout.v_dim, v = i % args.layout.v_dim;
        const int column = gk_z_column(&args.layout, head) + v;
        gk_store_bits(
            &m, &args.z,
            row * args.z.stride[0] + head * args.z.stride[1] + v * args.z.stride[2],
            gk_load_bits(&m, &args.x, row * args.x.stride[0] + column * args.x.stride[1]));
    }
}

/* 1 / norm of a row. */
static float gk_inverse_norm(const gk_memory *m, const gk_normalise_args *args,
                             const gk_view *x, long at) {
    if (args->norm == GK_NORM_NONE) {
        return 1.0f;
    }
    float sum = 0.0f, lost = 0.0f;
    for (int d = 0; d < args->k_dim; d++) {
        const float value = gk_load(m, x, at + d * x->stride[2]);
        const float term = value * value - lost, next = sum + term;
        lost = (next - sum) - term; /* what the addition rounded away */
        sum = next;
    }
    const float epsilon = gk_real_value(args->epsilon);
    switch (args->norm) {
    case GK_NORM_INSIDE:
        return 1.0f / sqrt(sum + epsilon);
    case GK_NORM_OUTSIDE:
        return 1.0f / (sqrt(sum) + epsilon);
    default:
        return 1.0f / (sqrt(sum) <= epsilon ? epsilon : sqrt(sum));
    }
}

/* The scaled query; where it is rounded first, its scale stands apart. */
static float gk_query(const gk_normalise_args *args, float q, float factor, float scale) {
    switch (args->rounding) {
    case GK_QK_STORAGE:
        return gk_round(q * factor, args->storage) * scale;
    case GK_QK_SCALED:
        return gk_round(q * (scale * factor), args->storage);
    default:
        return q * (scale * factor);
    }
}

/* q and k as the recurrence takes them: divided by their norms, q scaled by K^-1/2. Group
 * x: a local token, whose work-items share the key heads. */
__kernel void gk_normalise(const gk_normalise_args args, __global char *arena,
                           __global char *scratch) {
    const gk_memory m = {arena, scratch};
    if (gk_find_sequence(&m, &args.group, get_group_id(0)) < 0) {
        return;
    }
    const long row = gk_row(&m, &args.group, get_group_id(0));
    __global float *q_out = gk_floats_at(&m, args.q_out);
    __global float *k_out = gk_floats_at(&m, args.k_out);
    const float scale = 1.0f / sqrt((float)args.k_dim);
    for (int head = (int)get_local_id(0); head < args.heads;
         head += (int)get_local_size(0)) {
        const long q_at = row * args.q.stride[0] + head * args.q.stride[1];
        const long k_at = row * args.k.stride[0] + head * args.k.stride[1];
        const float q_factor = gk_inverse_norm(&m, &args, &args.q, q_at);
        const float k_factor = gk_inverse_norm(&m, &args, &args.k, k_at);
        const long out = (row * args.heads + head) * args.k_dim;
        for (int d = 0; d < args.k_dim; d++) {
            const float q = gk_load(&m, &args.q, q_at + d * args.q.stride[2]);
            const float k = gk_load(&m, &args.k, k_at + d * args.k.stride[2]);
            q_out[out + d] = gk_query(&args, q, q_factor, scale);
            k_out[out + d] =
                gk_round(k * k_factor, args.rounding == GK_QK_UNROUNDED ? 0 : args.storage);
        }
    }
}
