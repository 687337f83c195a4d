/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Right kernels through the judge: how many of them it fails. */
#ifndef GDN_FALSE_ALARMS_H
#define GDN_FALSE_ALARMS_H

#include <stdio.h>

#include "gdn/call.h"

typedef struct gdn_false_alarms {
    long runs, alarms;
    double budget[3]; /* largest of a verdict by bound and largest, by rms, by share */
} gdn_false_alarms;

/* Every profile and variant of the folder, every class, recurrent and chunked kernels of
 * reference/emulated, `seeds` seeds. `relations`: through every relation that they take part
 * in, else against golden values. `talk` receives a line for each alarm, NULL: none. */
gdn_status gdn_false_alarms_count(gdn_false_alarms *result, const char *profiles, int seeds,
                                  bool relations, FILE *talk, gdn_error *err);

/* Its part of one profile under `relations`. */
gdn_status gdnp_relation_alarms(gdn_false_alarms *result, const char *profile,
                                const bool ops[GDN_OP_COUNT], const char *profiles,
                                int seeds, FILE *talk, gdn_error *err);

/* "false alarms: 0 of 2304 runs ..." */
void gdn_false_alarms_print(const gdn_false_alarms *result, FILE *out);

#endif
