/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "cpu_sequences.h"

bool cpu_group_is_speculative(const cpu_group *group) {
    return group->accepted || group->places;
}

gdn_status cpu_group_expect(const cpu_group *group, gdn_error *err) {
    if (group->count < 0) {
        return gdn_error_set(err, GDN_ERR_ARG, "%s: expected 1 row or more but found none",
                             group->starts->name);
    }
    if (group->count == 0) {
        return GDN_OK;
    }
    /* More rows than sequences are accepted: padded batches have them. */
    const gdn_tensor *tensors[] = {group->slots, group->initial, group->accepted,
                                   group->places, group->parents};
    for (int i = 0; i < 5; i++) {
        if (tensors[i] && tensors[i]->shape[0] < group->count) {
            return gdn_error_set(
                err, GDN_ERR_ARG, "%s: expected %lld rows or more but found %lld",
                tensors[i]->name, (long long)group->count, (long long)tensors[i]->shape[0]);
        }
    }
    return GDN_OK;
}

int64_t cpu_group_conv_rows(const cpu_group *group, int64_t taps) {
    const bool line =
        group->count > 0 && group->accepted && group->window == GDN_CONV_SLIDING;
    return line ? taps - 2 + group->slots->shape[1] : taps - 1;
}

static gdn_status check_range(const char *name, int64_t i, int64_t value, int64_t low,
                              int64_t high, gdn_error *err) {
    if (value >= low && value <= high) {
        return GDN_OK;
    }
    return gdn_error_set(err, GDN_ERR_ARG,
                         "%s: expected row %lld in [%lld, %lld] but found %lld", name,
                         (long long)i, (long long)low, (long long)high, (long long)value);
}

static gdn_status check_sequence(const cpu_group *group, int64_t i, int64_t slots,
                                 gdn_error *err) {
    const cpu_sequence sequence = cpu_sequence_at(group, i);
    if (cpu_group_is_speculative(group)) {
        const int64_t columns = (group->places ? group->places : group->slots)->shape[1];
        const int64_t length =
            gdn_tensor_int(group->starts, i + 1, 0) - gdn_tensor_int(group->starts, i, 0);
        GDN_TRY(
            check_range("length of a speculative sequence", i, length, 1, columns, err));
        if (group->accepted) {
            GDN_TRY(check_range(group->accepted->name, i,
                                gdn_tensor_int(group->accepted, i, 0), 0, columns, err));
        }
    }
    if (sequence.padded) {
        return GDN_OK;
    }
    const bool columns = group->accepted && !group->places;
    if (columns) {
        GDN_TRY(check_range(group->slots->name, i, sequence.load_slot, 0, slots - 1, err));
    }
    const int64_t stores = columns ? sequence.length : 1;
    for (int64_t t = 0; t < stores; t++) {
        GDN_TRY(check_range(group->slots->name, i, cpu_sequence_slot(&sequence, t), 0,
                            slots - 1, err));
    }
    return GDN_OK;
}

gdn_status cpu_group_check(const cpu_group *group, int64_t rows, int64_t slots,
                           gdn_error *err) {
    if (group->count == 0) {
        return GDN_OK;
    }
    const int64_t limit = group->tokens ? group->tokens->shape[0] : rows;
    int64_t start = gdn_tensor_int(group->starts, 0, 0);
    GDN_TRY(check_range(group->starts->name, 0, start, 0, limit, err));
    for (int64_t i = 0; i < group->count; i++) {
        const int64_t end = gdn_tensor_int(group->starts, i + 1, 0);
        GDN_TRY(check_range(group->starts->name, i + 1, end, start, limit, err));
        if (end > start) {
            GDN_TRY(check_sequence(group, i, slots, err));
        }
        for (int64_t t = start; group->tokens && t < end; t++) {
            GDN_TRY(check_range(group->tokens->name, t, gdn_tensor_int(group->tokens, t, 0),
                                0, rows - 1, err));
        }
        start = end;
    }
    return GDN_OK;
}

static bool is_padding(const cpu_group *group, int64_t index) {
    return group->conventions && group->conventions->pad_sequences != GDN_PAD_REFUSED &&
           gdn_tensor_int(group->slots, index, 0) == group->conventions->pad_slot_id;
}

cpu_sequence cpu_sequence_at(const cpu_group *group, int64_t index) {
    cpu_sequence s = {.group = group, .index = index};
    s.first = gdn_tensor_int(group->starts, index, 0);
    s.length = gdn_tensor_int(group->starts, index + 1, 0) - s.first;
    s.load_place = -1;
    const int64_t accepted =
        group->accepted ? gdn_tensor_int(group->accepted, index, 0) : 0;
    const int64_t column = accepted > 0 ? accepted - 1 : 0;
    if (is_padding(group, index)) {
        s.padded = true;
        s.load_slot = -1;
        s.conv_slot = -1;
    } else if (group->places) {
        s.load_slot = gdn_tensor_int(group->slots, index, 0);
        s.load_place = column > 0 ? gdn_tensor_int(group->places, index, column) : -1;
        s.conv_slot = s.load_slot;
    } else if (group->accepted) {
        const bool line = group->window == GDN_CONV_SLIDING;
        s.load_slot = gdn_tensor_int(group->slots, index, column);
        s.conv_slot = line ? gdn_tensor_int(group->slots, index, 0) : s.load_slot;
        s.conv_row = line ? column : 0;
    } else {
        const bool starts =
            !group->initial || gdn_tensor_int(group->initial, index, 0) != 0;
        s.load_slot = starts ? gdn_tensor_int(group->slots, index, 0) : -1;
        s.conv_slot = s.load_slot;
    }
    return s;
}

int64_t cpu_sequence_row(const cpu_sequence *sequence, int64_t t) {
    const int64_t local = sequence->first + t;
    return sequence->group->tokens ? gdn_tensor_int(sequence->group->tokens, local, 0)
                                   : local;
}

int64_t cpu_sequence_place(const cpu_sequence *sequence, int64_t t) {
    return gdn_tensor_int(sequence->group->places, sequence->index, t);
}

int64_t cpu_sequence_slot(const cpu_sequence *sequence, int64_t t) {
    const bool spec = sequence->group->accepted && !sequence->group->places;
    return gdn_tensor_int(sequence->group->slots, sequence->index, spec ? t : 0);
}
