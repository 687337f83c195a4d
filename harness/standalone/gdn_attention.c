/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

static void sequence(const long *rows, long length, int spec, const long *slots, long load,
                     long conv_load, long conv_row) {
    static float y[MOST_TOKENS * CHANNELS], q1[MOST_TOKENS * K], k1[MOST_TOKENS * K];
    static float v1[MOST_TOKENS * V], g1[MOST_TOKENS], beta1[MOST_TOKENS];
    static float out1[MOST_TOKENS * V];
    convolve(rows, length, conv_load, conv_row, spec, slots, y);
    for (long hv = 0; hv < VALUE_HEADS; hv++) {
        const long h = key_head_of(hv);
        for (long i = 0; i < length * K; i++) {
            q1[i] = y[i / K * CHANNELS + h * K + i % K];
            k1[i] = y[i / K * CHANNELS + (KEY_HEADS + h) * K + i % K];
        }
        for (long i = 0; i < length * V; i++) {
            const long row = rows[i / V], at = (row * VALUE_HEADS + hv) * V + i % V;
            v1[i] = y[i / V * CHANNELS + 2 * KEY_HEADS * K + hv * V + i % V];
            put_z(at, get_projected_states_qkvz(row * projected_states_qkvz_STRIDE +
                                                z_column(hv) + i % V));
        }
        for (long t = 0; t < length; t++) {
            const long at = rows[t] * projected_states_ba_STRIDE;
            g1[t] = log_decay(get_A_log(hv), get_dt_bias(hv),
                              get_projected_states_ba(at + a_column(hv)));
            beta1[t] = sigmoid(get_projected_states_ba(at + b_column(hv)));
        }
        normalise(q1, length, 1.0F / sqrtf((float)K));
        normalise(k1, length, 1.0F);
        run_head(q1, k1, v1, g1, beta1, hv, length, load, spec, slots, out1);
        for (long i = 0; i < length * V; i++) {
            put_core_attn_out((rows[i / V] * VALUE_HEADS + hv) * V + i % V, out1[i]);
        }
    }
}

static void kernel(void) {
    long slots[COLUMNS], rows[MOST_TOKENS];
    for (long s = 0; s + 1 < non_spec_query_start_loc_ROWS; s++) {
        const long first = (long)get_non_spec_query_start_loc(s);
        const long length = (long)get_non_spec_query_start_loc(s + 1) - first;
        const int starts = !HAS_has_initial_state || get_has_initial_state(s) != 0.0F;
        slots[0] = (long)get_non_spec_state_indices_tensor(s);
        for (long t = 0; t < length; t++) {
            rows[t] = HAS_non_spec_token_indx ? (long)get_non_spec_token_indx(first + t)
                                              : first + t;
        }
        sequence(rows, length, 0, slots, starts ? slots[0] : -1, starts ? slots[0] : -1, 0);
    }
    for (long s = 0; s + 1 < spec_query_start_loc_ROWS; s++) {
        const long first = (long)get_spec_query_start_loc(s);
        const long length = (long)get_spec_query_start_loc(s + 1) - first;
        const long accepted = (long)get_num_accepted_tokens(s);
        const long column = accepted > 0 ? accepted - 1 : 0;
        for (long c = 0; c < COLUMNS; c++) {
            slots[c] = (long)get_spec_state_indices_tensor(s * COLUMNS + c);
        }
        for (long t = 0; t < length; t++) {
            rows[t] = (long)get_spec_token_indx(first + t);
        }
        sequence(rows, length, 1, slots, slots[column], slots[CONV_SLIDING ? 0 : column],
                 CONV_SLIDING ? column : 0);
    }
}
