/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "plan.h"

#include <stdlib.h>

#include "fill.h"
#include "gdn/random.h"

/* Slots that no sequence names, beside slot 0: poison on which stray reads and writes show.
 */
#define FREE_SLOTS 2

static int64_t max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static gdn_random stream_of(const gdn_case *test, gdn_field field, uint64_t part) {
    return (gdn_random){.seed = test->seed, .stream = (uint64_t)field + (part << 32)};
}

static void number_tokens(gdn_plan *plan, const gdn_case *test) {
    int64_t token = 0;
    for (size_t i = 0; i < test->n_sequences; i++) {
        for (int64_t t = 0; t < test->sequences[i].length; t++) {
            plan->token_items[token++] = test->sequences[i].first_item + t;
        }
    }
}

/* Lays sequences one after the other into rows, in the order given. */
static void place_sequences(gdn_plan *plan, const gdn_case *test, const uint32_t *order) {
    int64_t *first = plan->sequence_slots; /* borrowed as scratch: filled for real later */
    int64_t local = 0;
    for (size_t i = 0; i < test->n_sequences; i++) {
        first[i] = local;
        local += test->sequences[i].length;
    }
    int64_t row = 0;
    for (size_t i = 0; i < test->n_sequences; i++) {
        const size_t s = order ? order[i] : i;
        for (int64_t t = 0; t < test->sequences[s].length; t++) {
            plan->token_rows[first[s] + t] = row++;
        }
    }
}

/* Permutes the rows of speculative tokens among themselves, as upstream's tests do. */
static void scatter_spec(gdn_plan *plan, const gdn_case *test, uint32_t *scratch) {
    const int64_t count = plan->tokens - plan->non_spec_tokens;
    int64_t *rows = plan->token_rows + plan->non_spec_tokens;
    const gdn_random random = stream_of(test, GDN_FIELD_ROWS, 1);
    gdn_random_permutation(&random, (uint32_t)count, scratch);
    for (int64_t t = 0; t < count; t++) {
        /* Follow the permutation in place: swap t with where its value has gone to. */
        int64_t from = scratch[t];
        while (from < t) {
            from = scratch[from];
        }
        const int64_t row = rows[t];
        rows[t] = rows[from];
        rows[from] = row;
    }
}

static void place_rows(gdn_plan *plan, const gdn_case *test, uint32_t *scratch) {
    if (test->order == GDN_ROWS_GROUPED) {
        place_sequences(plan, test, NULL);
        return;
    }
    const gdn_random random = stream_of(test, GDN_FIELD_ROWS, 0);
    gdn_random_permutation(&random, (uint32_t)test->n_sequences, scratch);
    place_sequences(plan, test, scratch);
    if (test->order == GDN_ROWS_SCATTERED) {
        scatter_spec(plan, test, scratch);
    }
}

/* Slots that a sequence names. */
static int64_t slots_of(const gdn_case *test, const gdn_sequence *s) {
    const bool columns =
        s->kind == GDN_SEQ_SPEC && test->conventions.spec_state == GDN_SPEC_SLOTS;
    return columns ? max64(test->columns, 1) : 1;
}

/* Every named slot is distinct and none is slot 0, which belongs to nobody. */
static void place_slots(gdn_plan *plan, const gdn_case *test, uint32_t *scratch) {
    const gdn_random random = stream_of(test, GDN_FIELD_SLOTS, 2 * test->twist.pool);
    gdn_random_permutation(&random, (uint32_t)(plan->slots - 1), scratch);
    int64_t next = 0;
    for (size_t i = 0; i < test->n_sequences; i++) {
        const bool padded = test->sequences[i].padded;
        for (int64_t c = 0; c < plan->columns; c++) {
            const bool own = c < slots_of(test, &test->sequences[i]) && !padded;
            plan->sequence_slots[(int64_t)i * plan->columns + c] =
                own      ? 1 + (int64_t)scratch[next++]
                : padded ? test->conventions.pad_slot_id
                         : -1;
        }
    }
}

/* Rows of the intermediate tensors, two places more than sequences: poison behind those of
 * requests, or between places in any order. */
static void place_buffers(gdn_plan *plan, const gdn_case *test, uint32_t *scratch) {
    const gdn_random random = stream_of(test, GDN_FIELD_SLOTS, 2 * test->twist.pool + 1);
    const bool by_index = test->conventions.buffer_rows == GDN_BUFFER_BY_INDEX;
    gdn_random_permutation(&random, (uint32_t)plan->places, scratch);
    for (int64_t i = 0; plan->places > 0 && i < plan->spec; i++) {
        plan->sequence_places[i] = plan->columns * (by_index ? (int64_t)scratch[i] : i);
    }
}

int64_t gdn_plan_conv_kept(const gdn_case *test) {
    const bool taps = test->conventions.conv_history == GDN_CONV_KEEPS_TAPS;
    return test->conv_width - (taps ? 0 : 1);
}

int64_t gdn_plan_conv_rows(const gdn_case *test) {
    /* W-2+Q rows hold a line of drafts and what the snapshots take of it, which leave the
     * rest alone. Windows have rows of their own. */
    const int64_t line = test->conventions.conv_window == GDN_CONV_WINDOWS
                             ? 0
                             : test->conv_width - 2 + test->columns;
    return max64(gdn_plan_conv_kept(test), line);
}

gdn_status gdn_plan_create(gdn_plan *plan, const gdn_case *test, gdn_error *err) {
    *plan = (gdn_plan){
        .key_heads = test->num_k_heads / test->tp_size,
        .value_heads = test->num_v_heads / test->tp_size,
        .r = test->num_k_heads > 0 ? test->num_v_heads / test->num_k_heads : 0,
        .columns = max64(test->columns, 1),
        .indexed = test->order != GDN_ROWS_GROUPED,
    };
    plan->channels =
        2 * plan->key_heads * test->head_k_dim + plan->value_heads * test->head_v_dim;
    for (size_t i = 0; i < test->n_sequences; i++) {
        const gdn_sequence *s = &test->sequences[i];
        const bool spec = s->kind == GDN_SEQ_SPEC;
        plan->tokens += s->length;
        plan->spec += spec;
        plan->non_spec += !spec;
        plan->non_spec_tokens += spec ? 0 : s->length;
    }
    plan->indexed = plan->indexed || plan->spec > 0;
    plan->rows = plan->tokens + test->pad_rows;
    const bool buffer = test->conventions.spec_state == GDN_SPEC_BUFFER;
    plan->slots =
        1 + plan->non_spec + plan->spec * (buffer ? 1 : plan->columns) + FREE_SLOTS;
    plan->places = buffer && plan->spec > 0 ? plan->spec + FREE_SLOTS : 0;
    plan->conv_rows = max64(gdn_plan_conv_rows(test), test->conv_rows);
    const int64_t sequences = plan->non_spec + plan->spec;
    plan->token_rows = calloc((size_t)plan->tokens + 1, sizeof(int64_t));
    plan->token_items = calloc((size_t)plan->tokens + 1, sizeof(int64_t));
    plan->sequence_slots = calloc((size_t)(sequences * plan->columns) + 1, sizeof(int64_t));
    plan->sequence_places = calloc((size_t)plan->spec + 1, sizeof(int64_t));
    uint32_t *scratch = calloc(
        (size_t)max64(plan->tokens, max64(plan->slots, sequences)) + 1, sizeof *scratch);
    if (!plan->token_rows || !plan->token_items || !plan->sequence_slots ||
        !plan->sequence_places || !scratch) {
        free(scratch);
        gdn_plan_destroy(plan);
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for the rows of %s", test->id);
    }
    number_tokens(plan, test);
    place_rows(plan, test, scratch);
    place_slots(plan, test, scratch);
    place_buffers(plan, test, scratch);
    free(scratch);
    return GDN_OK;
}

void gdn_plan_destroy(gdn_plan *plan) {
    free(plan->token_rows);
    free(plan->token_items);
    free(plan->sequence_slots);
    free(plan->sequence_places);
    *plan = (gdn_plan){0};
}

int64_t gdn_plan_start_column(const gdn_sequence *sequence) {
    return sequence->accepted > 0 ? sequence->accepted - 1 : 0;
}
