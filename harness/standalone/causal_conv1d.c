/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

static void kernel(void) {
    static float y[MOST_TOKENS * CHANNELS];
    for (long s = 0; s + 1 < query_start_loc_ROWS; s++) {
        const long first = (long)get_query_start_loc(s);
        const long length = (long)get_query_start_loc(s + 1) - first;
        const long accepted =
            HAS_num_accepted_tokens ? (long)get_num_accepted_tokens(s) : 0;
        const long column = accepted > 0 ? accepted - 1 : 0;
        long slots[COLUMNS], rows[MOST_TOKENS], load = -1, load_row = 0;
        for (long c = 0; c < COLUMNS; c++) {
            slots[c] = (long)get_state_indices(s * COLUMNS + c);
        }
        for (long t = 0; t < length; t++) {
            rows[t] = first + t;
        }
        if (HAS_num_accepted_tokens) {
            load = slots[CONV_SLIDING ? 0 : column];
            load_row = CONV_SLIDING ? column : 0;
        } else if (!HAS_has_initial_state || get_has_initial_state(s) != 0.0F) {
            load = slots[0];
        }
        convolve(rows, length, load, load_row, HAS_num_accepted_tokens, slots, y);
        for (long i = 0; i < length * CHANNELS; i++) {
            put_out(first * CHANNELS + i, y[i]);
        }
    }
}
