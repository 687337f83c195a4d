/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

static void kernel(void) {
    static float q1[MOST_TOKENS * K], k1[MOST_TOKENS * K], v1[MOST_TOKENS * V];
    static float g1[MOST_TOKENS], beta1[MOST_TOKENS], out1[MOST_TOKENS * V];
    for (long s = 0; s + 1 < query_start_loc_ROWS; s++) {
        const long first = (long)get_query_start_loc(s);
        const long length = (long)get_query_start_loc(s + 1) - first;
        const long accepted =
            HAS_num_accepted_tokens ? (long)get_num_accepted_tokens(s) : 0;
        const long column = accepted > 0 ? accepted - 1 : 0;
        long slots[COLUMNS], load = -1;
        for (long c = 0; c < COLUMNS; c++) {
            slots[c] = (long)get_state_indices(s * COLUMNS + c);
        }
        if (HAS_num_accepted_tokens) {
            load = slots[column];
        } else if (!HAS_has_initial_state || get_has_initial_state(s) != 0.0F) {
            load = slots[0];
        }
        for (long hv = 0; hv < VALUE_HEADS; hv++) {
            const long h = key_head_of(hv);
            for (long i = 0; i < length * K; i++) {
                const long at = ((first + i / K) * KEY_HEADS + h) * K + i % K;
                q1[i] = get_q(at);
                k1[i] = get_k(at);
            }
            for (long i = 0; i < length * V; i++) {
                v1[i] = get_v(((first + i / V) * VALUE_HEADS + hv) * V + i % V);
            }
            for (long t = 0; t < length; t++) {
                g1[t] = get_g((first + t) * VALUE_HEADS + hv);
                beta1[t] = get_beta((first + t) * VALUE_HEADS + hv);
            }
            normalise(q1, length, 1.0F / sqrtf((float)K));
            normalise(k1, length, 1.0F);
            run_head(q1, k1, v1, g1, beta1, hv, length, load, HAS_num_accepted_tokens,
                     slots, out1);
            for (long i = 0; i < length * V; i++) {
                put_out(((first + i / V) * VALUE_HEADS + hv) * V + i % V, out1[i]);
            }
        }
    }
}
