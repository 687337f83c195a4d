/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The two kernels of the noise floor on one head: one token in fp32, one chunk on matrix
 * units. */
#ifndef GDN_FLOOR_KERNEL_H
#define GDN_FLOOR_KERNEL_H

#include "gdn/conventions.h"

/* The longest chunk that backends use: hard keys make its errors larger than those of
 * shorter ones. */
#define GDNP_FLOOR_CHUNK 128

typedef struct gdnp_floor_chunk {
    int64_t length, k_dim, v_dim;
    gdn_numeric_class operands;
    float exp_error; /* relative, of every exp of a chunk, to the same side */
    gdn_chunk_decay decays;
    float *state;            /* [k_dim][v_dim], in and out */
    float *k, *q;            /* [length][k_dim]; q is scaled */
    float *v, *o;            /* [length][v_dim] */
    float *g, *decay, *beta; /* [length], g the log decays */
    float *work;
} gdnp_floor_chunk;

/* Memory for chunks of GDNP_FLOOR_CHUNK tokens; state and work are zero. False if there is
 * none. */
bool gdnp_floor_chunk_create(gdnp_floor_chunk *c);
void gdnp_floor_chunk_destroy(gdnp_floor_chunk *c);

/* The first token of the chunk, in fp32. */
void gdnp_floor_step(gdnp_floor_chunk *c);

/* The chunk by the WY form with operands of the class. */
void gdnp_floor_solve(gdnp_floor_chunk *c);

/* exp(x) for x <= 88, rounded to fp32; errs by less than 1e-9 before that. */
float gdnp_floor_exp(float x);

/* x as an operand of the class. */
float gdnp_floor_operand(gdn_numeric_class operands, float x);

#endif
