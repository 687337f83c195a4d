/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* One value head of one sequence: S decays, the delta is added, the output reads S. */
static void recur(const float *q, const float *k, const float *v, const float *g,
                  const float *beta, long length, const float *start, float *states,
                  float *out) {
    static float S[V][K];
    for (long i = 0; i < V * K; i++) {
        S[i / K][i % K] = start ? start[i] : 0.0F;
    }
    for (long t = 0; t < length; t++) {
        const float decay = expf(g[t]);
        for (long j = 0; j < V; j++) {
            float read = 0.0F, sum = 0.0F;
            for (long i = 0; i < K; i++) {
                S[j][i] *= decay;
                read += S[j][i] * k[t * K + i];
            }
            const float delta = beta[t] * (v[t * V + j] - read);
            for (long i = 0; i < K; i++) {
                S[j][i] += delta * k[t * K + i];
                sum += S[j][i] * q[t * K + i];
            }
            out[t * V + j] = sum;
        }
        memcpy(states + t * V * K, S, sizeof S);
    }
}

/* x / sqrt(sum x^2 + eps), times `scale`, of each token. */
static void normalise(float *x, long length, float scale) {
    for (long t = 0; t < length; t++) {
        float sum = L2NORM_EPS;
        for (long i = 0; i < K; i++) {
            sum += x[t * K + i] * x[t * K + i];
        }
        for (long i = 0; i < K; i++) {
            x[t * K + i] *= scale / sqrtf(sum);
        }
    }
}

/* Place of an element of the state pool. */
static long state_at(long slot, long head, long j, long i) {
    return slot * ssm_state_STRIDE + head * V * K + (STATE_VK ? j * K + i : i * V + j);
}

static long key_head_of(long hv) {
    return HEADS_TILED ? hv % KEY_HEADS : hv / (VALUE_HEADS / KEY_HEADS);
}

/* Reads the start state and writes one state at the end, or one a token. */
static void run_head(const float *q, const float *k, const float *v, const float *g,
                     const float *beta, long head, long length, long load, int spec,
                     const long *slots, float *out) {
    static float start[V * K], states[MOST_TOKENS * V * K];
    for (long i = 0; load >= 0 && i < V * K; i++) {
        start[i] = get_ssm_state(state_at(load, head, i / K, i % K));
    }
    recur(q, k, v, g, beta, length, load >= 0 ? start : NULL, states, out);
    for (long t = spec ? 0 : length - 1; t < length; t++) {
        for (long i = 0; i < V * K; i++) {
            put_ssm_state(state_at(slots[spec ? t : 0], head, i / K, i % K),
                          states[t * V * K + i]);
        }
    }
}
