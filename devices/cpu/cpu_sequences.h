/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Sequences of a call: which rows they own, where their states come from and where they
 * go. */
#ifndef GDN_CPU_SEQUENCES_H
#define GDN_CPU_SEQUENCES_H

#include "gdn/call.h"

/* Index tensors of sequences that are all speculative or all not. */
typedef struct cpu_group {
    const gdn_tensor *starts;   /* [count+1] */
    const gdn_tensor *tokens;   /* row of each local token; NULL: the same number */
    const gdn_tensor *slots;    /* [count] or, speculative, [count, columns] */
    const gdn_tensor *initial;  /* NULL: all start from their state */
    const gdn_tensor *accepted; /* NULL: not speculative */
    /* [count, columns]: speculative, but `slots` is [count] and read only, and states go to
     * these rows of an intermediate tensor; NULL: they do not. Parents may be NULL. */
    const gdn_tensor *places, *parents;
    const gdn_conventions *conventions; /* say what padding is */
    gdn_conv_window window;
    int64_t count; /* 0: an inactive group; the tensors may then be NULL */
} cpu_group;

typedef struct cpu_sequence {
    const cpu_group *group;
    int64_t index;
    int64_t first; /* local number of its first token */
    int64_t length;
    int64_t load_slot; /* of the start state; -1: zero */
    int64_t conv_slot; /* the history: rows from conv_row of this slot; -1: zero */
    int64_t conv_row;
    int64_t load_place; /* intermediate row that it starts from; -1: none */
    bool padded;        /* names no slot */
} cpu_sequence;

bool cpu_group_is_speculative(const cpu_group *group);

/* The other index tensors have rows for all sequences that `starts` has. */
gdn_status cpu_group_expect(const cpu_group *group, gdn_error *err);

/* Everything that the group will be used to address lies in `rows` rows and `slots` slots.
 * Empty sequences own nothing and are not looked at: padded ones carry no valid slot. */
gdn_status cpu_group_check(const cpu_group *group, int64_t rows, int64_t slots,
                           gdn_error *err);

/* Rows that a slot of conv_state needs for W taps. */
int64_t cpu_group_conv_rows(const cpu_group *group, int64_t taps);

cpu_sequence cpu_sequence_at(const cpu_group *group, int64_t index);

/* Row of the t-th token in the activation tensors. */
int64_t cpu_sequence_row(const cpu_sequence *sequence, int64_t t);

/* Intermediate row of the t-th token. */
int64_t cpu_sequence_place(const cpu_sequence *sequence, int64_t t);

/* Slot that receives the state after the t-th token (the only one if not speculative). */
int64_t cpu_sequence_slot(const cpu_sequence *sequence, int64_t t);

#endif
