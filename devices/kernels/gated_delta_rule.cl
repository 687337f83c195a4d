/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The recurrence, token by token. A work-item owns one value row of one head of one
 * sequence from the first token to the last and holds it as vectors of 16; nobody waits for
 * anybody. */

/* Tokens after which a state that is carried by chunks passes through storage. */
#define GK_CHUNK 64

/* Vectors of a row; the largest kernel takes K up to 256. */
#define GK_MAX_VECTORS 16

static float gk_sum(float16 x) {
    const float8 a = x.lo + x.hi;
    const float4 b = a.lo + a.hi;
    const float2 c = b.lo + b.hi;
    return c.lo + c.hi;
}

/* `count` elements from `at` on, zeros behind them. */
static void gk_load_row(const __global char *data, long at, long stride, int count,
                        int dtype, int vectors, float16 *row) {
    for (int i = 0; i < vectors; i++) {
        if (dtype == GK_FP32 && stride == 1 && 16 * i + 16 <= count) {
            row[i] = vload16(0, (const __global float *)data + at + 16 * i);
            continue;
        }
        float values[16];
        for (int j = 0; j < 16; j++) {
            const int k = 16 * i + j;
            values[j] = k < count ? gk_get(data, at + k * stride, dtype) : 0.0f;
        }
        row[i] = vload16(0, values);
    }
}

static void gk_store_row(__global char *data, long at, long stride, int count, int dtype,
                         int vectors, const float16 *row) {
    for (int i = 0; i < vectors; i++) {
        if (dtype == GK_FP32 && stride == 1 && 16 * i + 16 <= count) {
            vstore16(row[i], 0, (__global float *)data + at + 16 * i);
            continue;
        }
        float values[16];
        vstore16(row[i], 0, values);
        for (int j = 0; j < 16 && 16 * i + j < count; j++) {
            gk_put(data, at + (16 * i + j) * stride, dtype, values[j]);
        }
    }
}

static void gk_round_row(int dtype, int vectors, float16 *row) {
    for (int i = 0; dtype != GK_FP32 && i < vectors; i++) {
        float values[16];
        vstore16(row[i], 0, values);
        for (int j = 0; j < 16; j++) {
            values[j] = gk_round(values[j], dtype);
        }
        row[i] = vload16(0, values);
    }
}

/* One token: decay, read, delta, update, output. */
static float gk_step(float16 *state, const float16 *q, const float16 *k, float v,
                     float decay, float beta, int vectors) {
    float16 sum = 0.0f;
    for (int i = 0; i < vectors; i++) {
        state[i] *= decay;
        sum += state[i] * k[i];
    }
    const float delta = beta * (v - gk_sum(sum));
    sum = 0.0f;
    for (int i = 0; i < vectors; i++) {
        state[i] += delta * k[i];
        sum += state[i] * q[i];
    }
    return gk_sum(sum);
}

/* One row of one head's state in a slot of the pool or in a row of the buffer. */
typedef struct gk_place_of_row {
    __global char *data;
    long at, stride;
} gk_place_of_row;

static gk_place_of_row gk_row_of(const gk_memory *m, const gk_view *pool, long slot,
                                 int head, int v_row) {
    gk_place_of_row row;
    row.data = gk_at(m, pool->data);
    row.at = slot * pool->stride[0] + head * pool->stride[1] + v_row * pool->stride[2];
    row.stride = pool->stride[3];
    return row;
}

/* What token t continues from, if it is not the state at hand. 0: there is none. */
static int gk_source(const gk_memory *m, const gk_delta_args *args, const gk_sequence *s,
                     long t, int head, int v_row, gk_place_of_row *from) {
    long place = -1;
    if (t > 0) {
        if (!args->group.parents.data || s->padded) {
            return 0;
        }
        /* What the same work-item has stored. */
        place = gk_int(m, &args->group.places, s->index,
                       gk_int(m, &args->group.parents, s->index, t));
    } else {
        place = s->load_place;
    }
    if (place >= 0) {
        *from = gk_row_of(m, &args->buffer, place, head, v_row);
        return 1;
    }
    *from = gk_row_of(m, &args->state, s->load_slot, head, v_row);
    return s->load_slot >= 0;
}

/* Where the state goes after token t of a speculative sequence, or the last of another.
 * 0: nowhere. */
static int gk_target(const gk_memory *m, const gk_delta_args *args, const gk_sequence *s,
                     long t, int head, int v_row, gk_place_of_row *to) {
    const int placed = args->group.places.data != 0;
    if (s->padded || (!placed && !args->group.accepted.data && t < s->length - 1)) {
        return 0;
    }
    *to = placed ? gk_row_of(m, &args->buffer, gk_int(m, &args->group.places, s->index, t),
                             head, v_row)
                 : gk_row_of(m, &args->state, gk_slot(m, &args->group, s->index, t), head,
                             v_row);
    return 1;
}

static long gk_out_at(const gk_memory *m, const gk_delta_args *args, const gk_sequence *s,
                      long t, int head, int v_row) {
    return gk_row(m, &args->group, s->first + t) * args->out.stride[0] +
           head * args->out.stride[1] + v_row * args->out.stride[2];
}

/* Group x: sequence, group y: value head, group z: as many value rows as it has
 * work-items. `dtype` and `vectors` are constants where this is called. */
static void gk_delta_of(const gk_memory *m, const gk_delta_args *args, int dtype,
                        int vectors) {
    const gk_sequence s = gk_sequence_at(m, &args->group, (int)get_group_id(0));
    const int head = (int)get_group_id(1);
    const int v_row = (int)get_group_id(2) * (int)get_local_size(0) + (int)get_local_id(0);
    if (s.length <= 0 || v_row >= args->v_dim) {
        return;
    }
    if (gk_is_idle(&args->group, &s)) {
        for (long t = 0; args->zero_pads && t < s.length; t++) {
            gk_store(m, &args->out, gk_out_at(m, args, &s, t, head, v_row), 0.0f);
        }
        return;
    }
    const int key_head =
        args->tiled ? head % args->key_heads : head / (args->value_heads / args->key_heads);
    const __global char *q_rows = gk_at(m, args->q), *k_rows = gk_at(m, args->k);

    float16 state[GK_MAX_VECTORS], q[GK_MAX_VECTORS], k[GK_MAX_VECTORS];
    for (int i = 0; i < vectors; i++) {
        state[i] = 0.0f;
    }
    for (long t = 0; t < s.length; t++) {
        gk_place_of_row place;
        if (gk_source(m, args, &s, t, head, v_row, &place)) {
            gk_load_row(place.data, place.at, place.stride, args->k_dim, dtype, vectors,
                        state);
        }
        const long row = gk_row(m, &args->group, s.first + t);
        const long key_at = (row * args->key_heads + key_head) * args->k_dim;
        gk_load_row(q_rows, key_at, 1, args->k_dim, GK_FP32, vectors, q);
        gk_load_row(k_rows, key_at, 1, args->k_dim, GK_FP32, vectors, k);
        const float v = gk_load(m, &args->v,
                                row * args->v.stride[0] + head * args->v.stride[1] +
                                    v_row * args->v.stride[2]);
        const float g =
            gk_load(m, &args->g, row * args->g.stride[0] + head * args->g.stride[1]);
        const float b = gk_load(m, &args->beta,
                                row * args->beta.stride[0] + head * args->beta.stride[1]);
        const float out = gk_step(
            state, q, k, v, args->decays_given ? g : gk_exp(g),
            args->beta_is_logits ? gk_beta(b, args->roundings, args->storage) : b, vectors);
        gk_store(m, &args->out, gk_out_at(m, args, &s, t, head, v_row), out);
        if (gk_target(m, args, &s, t, head, v_row, &place)) {
            gk_store_row(place.data, place.at, place.stride, args->k_dim, dtype, vectors,
                         state);
        }
        if (args->carry == GK_CARRY_TOKEN ||
            (args->carry == GK_CARRY_CHUNK && t % GK_CHUNK == GK_CHUNK - 1)) {
            gk_round_row(dtype, vectors, state);
        }
    }
}

/* A kernel for each type of the state and each multiple of 32 that K is covered by. */
#define GK_DELTA(type, parts)                                                              \
    __kernel void gk_delta_##type##_##parts(                                               \
        const gk_delta_args args, __global char *arena, __global char *scratch) {          \
        const gk_memory m = {arena, scratch};                                              \
        gk_delta_of(&m, &args, GK_##type, 2 * parts);                                      \
    }
#define GK_DELTA_TYPES(parts)                                                              \
    GK_DELTA(FP32, parts)                                                                  \
    GK_DELTA(FP16, parts)                                                                  \
    GK_DELTA(BF16, parts)

GK_DELTA_TYPES(1)
GK_DELTA_TYPES(2)
GK_DELTA_TYPES(4)
GK_DELTA_TYPES(8)
