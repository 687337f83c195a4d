/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* What feeds verification: candidates of each row, their order in the batch, and sampling
 * parameters (contract draft_verification 4, 5.2 and 6). */
#include <math.h>

#include "verify.h"

/* The largest entry behind (value, id) in descending order, ties to the smaller id; -1: no
 * more. C is at most 10, so C passes over a row are cheap enough. */
static int64_t next_largest(const gdn_tensor *probs, int64_t row, double value, int64_t id,
                            bool larger_first) {
    int64_t best = -1;
    double best_value = 0.0;
    for (int64_t j = 0; j < probs->shape[1]; j++) {
        const double p = gdnp_real(probs, row, j, 0);
        const bool tie_open = larger_first ? j < id : j > id;
        const bool open = id < 0 || p < value || (p == value && tie_open);
        const bool better = best < 0 || p > best_value || (p == best_value && larger_first);
        if (open && better) {
            best = j;
            best_value = p;
        }
    }
    return best;
}

/* Length of the nucleus among `count` values; 0: they do not reach top_p. */
static int64_t nucleus(const double *values, int64_t count, float top_p,
                       const gdn_verify_conventions *v) {
    float sum = v->nucleus == GDN_NUCLEUS_FIRST_TWICE ? (float)values[0] : 0.0F;
    for (int64_t k = 0; k < count; k++) {
        /* The defect tests k = 0 before its sum has a second term. */
        sum += v->nucleus == GDN_NUCLEUS_FIRST_TWICE && k == 0 ? 0.0F
               : v->nucleus == GDN_NUCLEUS_FIRST_TWICE         ? (float)values[k - 1]
                                                               : (float)values[k];
        if (sum >= top_p) {
            const bool exclusive = v->nucleus == GDN_NUCLEUS_EXCLUSIVE && k > 0;
            return exclusive ? k : k + 1;
        }
    }
    return 0;
}

static void candidate_row(const gdn_call *call, gdn_output *outputs, int64_t row) {
    const gdn_verify_conventions *v = &call->conventions->verify;
    const gdn_tensor *probs = gdnp_in(call, "probs");
    gdn_output *scores = gdnp_output(call, outputs, "verify_scores");
    gdn_output *tokens = gdnp_output(call, outputs, "verify_tokens");
    gdn_output *lens = gdnp_output(call, outputs, "actual_candidate_lens");
    const int64_t count = gdnp_in(call, "verify_tokens")->shape[1];
    const int64_t slot = gdnp_int(gdnp_in(call, "batch_id_per_token_output"), row, 0);
    const float top_p = (float)gdnp_real(gdnp_in(call, "top_p"), slot, 0, 0);
    const bool larger = v->slip == GDN_VERIFY_SLIP_TIES_TO_LARGER;
    double values[16];
    int64_t ids[16];
    for (int64_t k = 0; k < count; k++) {
        ids[k] = next_largest(probs, row, k > 0 ? values[k - 1] : 0.0,
                              k > 0 ? ids[k - 1] : -1, larger);
        values[k] = gdnp_real(probs, row, ids[k], 0);
    }
    const int64_t found = nucleus(values, count, top_p, v);
    const int64_t kept = found > 0 ? found : count;
    for (int64_t k = 0; k < count; k++) {
        gdnp_put_int(tokens, row, k, k < kept ? ids[k] : 0);
        if (scores) {
            gdn_store(scores->value.data, scores->value.dtype,
                      row * scores->value.stride[0] + k * scores->value.stride[1],
                      k < kept ? values[k] : 0.0);
            gdnp_mark_row(scores, row);
        }
    }
    int64_t length = found;
    if (found == 0) {
        const bool all = v->short_mass == GDN_SHORT_ALL ||
                         (v->short_mass == GDN_SHORT_ALL_AT_ONE && top_p == 1.0F);
        length = all ? count : 0;
    }
    if (found > 0 || v->short_mass != GDN_SHORT_UNWRITTEN) {
        gdnp_put_int(lens, row, 0, length);
    }
}

void gdnp_top_p_candidates(const gdn_call *call, gdn_output *outputs) {
    for (int64_t row = 0; row < gdnp_in(call, "probs")->shape[0]; row++) {
        candidate_row(call, outputs, row);
    }
}

/* Tokens of encoder or decoder slots: who stands where. */
typedef struct group {
    const gdn_tensor *starts, *map;
} group;

static int64_t first_of(const group *g, int64_t i) {
    return gdnp_int(g->starts, i, 0);
}

static int64_t length_of(const group *g, int64_t i) {
    return first_of(g, i + 1) - first_of(g, i);
}

/* Index of a slot within its group; -1: not there. */
static int64_t find(const group *g, int64_t slot) {
    for (int64_t i = 0; i < g->map->shape[0]; i++) {
        if (gdnp_int(g->map, i, 0) == slot) {
            return i;
        }
    }
    return -1;
}

static int64_t slots_of(const group *g) {
    int64_t most = -1;
    for (int64_t i = 0; i < g->map->shape[0]; i++) {
        const int64_t slot = gdnp_int(g->map, i, 0);
        most = slot > most ? slot : most;
    }
    return most + 1;
}

static void copy_row(gdn_output *out, int64_t to, const gdn_tensor *x, int64_t from) {
    if (out) {
        gdnp_put_bits(out, to, to * out->value.stride[0], x, from * x->stride[0],
                      x->shape[1]);
    }
}

static void groups_of(const gdn_call *call, group *encoder, group *decoder) {
    *encoder =
        (group){gdnp_in(call, "encoder_seq_lod"), gdnp_in(call, "encoder_batch_map")};
    *decoder =
        (group){gdnp_in(call, "decoder_seq_lod"), gdnp_in(call, "decoder_batch_map")};
}

static int64_t max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* The slots' tokens lie in ascending order of the slots; they leave group by group. */
void gdnp_adjust_batch(const gdn_call *call, gdn_output *outputs) {
    const gdn_tensor *x = gdnp_in(call, "x");
    gdn_output *out = gdnp_output(call, outputs, "out");
    const bool swapped = call->conventions->verify.slip == GDN_VERIFY_SLIP_DECODE_FIRST;
    group encoder, decoder;
    groups_of(call, &encoder, &decoder);
    const int64_t encoded = first_of(&encoder, encoder.map->shape[0]);
    const int64_t decoded = first_of(&decoder, decoder.map->shape[0]);
    const int64_t slots = max64(slots_of(&encoder), slots_of(&decoder));
    int64_t row = 0;
    for (int64_t slot = 0; slot < slots; slot++) {
        const int64_t e = find(&encoder, slot);
        const int64_t d = find(&decoder, slot);
        if (e < 0 && d < 0) {
            continue;
        }
        const group *g = e >= 0 ? &encoder : &decoder;
        const int64_t i = e >= 0 ? e : d;
        const int64_t to = first_of(g, i) + (e >= 0    ? swapped ? decoded : 0
                                             : swapped ? 0
                                                       : encoded);
        for (int64_t t = 0; t < length_of(g, i); t++) {
            copy_row(out, to + t, x, row++);
        }
    }
}

/* A prefill owns its last row, or, by a slip, its first. */
static int64_t prefill_row(const gdn_call *call, const group *encoder, int64_t e) {
    const bool first = call->conventions->verify.slip == GDN_VERIFY_SLIP_PREFILL_ROW_FIRST;
    return first_of(encoder, e) + (first ? 0 : length_of(encoder, e) - 1);
}

static void gather_speculative(const gdn_call *call, gdn_output *out) {
    const gdn_tensor *x = gdnp_in(call, "x");
    group encoder, decoder;
    groups_of(call, &encoder, &decoder);
    const int64_t encoded = first_of(&encoder, encoder.map->shape[0]);
    int64_t row = 0;
    if (encoder.map->shape[0] == 0) {
        for (; row < x->shape[0]; row++) {
            copy_row(out, row, x, row);
        }
        return;
    }
    const int64_t slots = max64(slots_of(&encoder), slots_of(&decoder));
    for (int64_t slot = 0; slot < slots; slot++) {
        const int64_t e = find(&encoder, slot);
        const int64_t d = find(&decoder, slot);
        if (e >= 0) {
            copy_row(out, row++, x, prefill_row(call, &encoder, e));
        }
        for (int64_t t = 0; e < 0 && d >= 0 && t < length_of(&decoder, d); t++) {
            copy_row(out, row++, x, encoded + first_of(&decoder, d) + t);
        }
    }
}

void gdnp_gather_next_token(const gdn_call *call, gdn_output *outputs) {
    gdn_output *out = gdnp_output(call, outputs, "out");
    if (gdn_call_scalar(call, "is_speculative", 0)) {
        gather_speculative(call, out);
        return;
    }
    const gdn_tensor *x = gdnp_in(call, "x");
    group encoder, decoder;
    groups_of(call, &encoder, &decoder);
    const int64_t encoded = first_of(&encoder, encoder.map->shape[0]);
    for (int64_t i = 0; i < encoder.map->shape[0]; i++) {
        copy_row(out, gdnp_int(encoder.map, i, 0), x, prefill_row(call, &encoder, i));
    }
    for (int64_t i = 0; i < decoder.map->shape[0]; i++) {
        copy_row(out, gdnp_int(decoder.map, i, 0), x, encoded + first_of(&decoder, i));
    }
}

/* Seeds stay in [0, modulus); INT64_MAX - 1 is upstream's. Sums of two such may pass
 * INT64_MAX and are taken in unsigned arithmetic. */
static int64_t advance_seed(int64_t seed, int64_t by, const gdn_verify_conventions *v) {
    const uint64_t modulus = v->seed_modulus == GDN_SEED_INT64
                                 ? UINT64_C(9223372036854775806)
                                 : UINT64_C(2147483647);
    return (int64_t)(((uint64_t)seed + (uint64_t)by) % modulus);
}

void gdnp_build_sampling_params(const gdn_call *call, gdn_output *outputs) {
    const gdn_verify_conventions *v = &call->conventions->verify;
    const gdn_tensor *starts = gdnp_in(call, "cu_seqlens_q_output");
    const gdn_tensor *top_p = gdnp_in(call, "top_p");
    const gdn_tensor *top_k = gdnp_in(call, "top_k");
    const gdn_tensor *seeds = gdnp_in(call, "infer_seed");
    const int64_t stride = v->slip == GDN_VERIFY_SLIP_SEED_STRIDE_ONE ? 1 : 4;
    for (int64_t b = 0; b < top_p->shape[0]; b++) {
        const int64_t seed = gdnp_int(seeds, b, 0);
        const int64_t first = gdnp_int(starts, b, 0);
        for (int64_t row = first; row < gdnp_int(starts, b + 1, 0); row++) {
            gdn_output *padded = gdnp_output(call, outputs, "top_p_padded");
            if (padded) {
                gdnp_put_bits(padded, row, row * padded->value.stride[0], top_p,
                              b * top_p->stride[0], 1);
            }
            gdnp_put_int(gdnp_output(call, outputs, "top_k_padded"), row, 0,
                         gdnp_int(top_k, b, 0));
            gdnp_put_int(gdnp_output(call, outputs, "topp_seed"), row, 0,
                         advance_seed(seed, stride * (row - first), v));
        }
        gdnp_put_int(gdnp_output(call, outputs, "infer_seed"), b, 0,
                     advance_seed(seed, gdn_call_scalar(call, "increment_value", 0), v));
    }
}
