/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

static void kernel(void) {
    for (long t = 0; t < a_ROWS; t++) {
        for (long h = 0; h < VALUE_HEADS; h++) {
            const long at = t * VALUE_HEADS + h;
            put_g(at, log_decay(get_A_log(h), get_dt_bias(h), get_a(at)));
            put_beta(at, sigmoid(get_b(at)));
        }
    }
}
