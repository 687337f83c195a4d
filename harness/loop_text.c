/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The target of the loop and what it says when it decodes plainly. It is one layer over
 * random embeddings whose argmax is the next token; its logits have a part that depends on
 * the position, so that the text never falls into a cycle. The gates forget at least half
 * of a state each token, which keeps errors from piling up. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gdn/exact.h"
#include "gdn/random.h"
#include "loop_stages.h"

#define CHANNELS  GDNP_LOOP_CHANNELS
#define HEADS     GDNP_LOOP_VALUE_HEADS
#define OUTPUTS   GDNP_LOOP_OUTPUTS
#define DIM       GDNP_LOOP_DIM
#define POSITION  0.1 /* share of the position in a logit, in standard deviations */
#define FIRST_A   0.0
#define WIDTH_A   2.0
#define DT_BIAS   1.0
#define A_LOG     (-0.5) /* exp(-exp(A_log) softplus(1)) is 0.45 */
#define DIRECTION 2
#define PLACE     3

static double normal(uint64_t stream, int64_t at) {
    const gdn_random random = {.seed = 77, .stream = stream};
    return gdn_random_normal(&random, (uint64_t)at);
}

/* Numbers that do not change: embeddings of tokens and their directions in the output. */
typedef struct model {
    double x[GDNP_LOOP_VOCAB][CHANNELS], a[GDNP_LOOP_VOCAB][HEADS],
        b[GDNP_LOOP_VOCAB][HEADS], direction[GDNP_LOOP_VOCAB][OUTPUTS];
} model;

static const model *get_model(void) {
    static model m;
    static bool made;
    const gdn_random gates = {.seed = 77, .stream = 4};
    for (int64_t t = 0; !made && t < GDNP_LOOP_VOCAB; t++) {
        for (int64_t i = 0; i < CHANNELS; i++) {
            m.x[t][i] = normal(1, t * 100 + i);
        }
        for (int64_t h = 0; h < HEADS; h++) {
            m.b[t][h] = normal(1, t * 100 + CHANNELS + h);
            m.a[t][h] =
                FIRST_A + WIDTH_A * gdn_random_uniform(&gates, (uint64_t)(t * HEADS + h));
        }
        for (int64_t i = 0; i < OUTPUTS; i++) {
            m.direction[t][i] = normal(DIRECTION, t * 100 + i);
        }
    }
    made = true;
    return &m;
}

double gdnp_loop_logit(const double *out, int64_t b, int64_t at, int64_t token) {
    const double *direction = get_model()->direction[token];
    const int64_t place = (b * INT64_C(1000000) + at) * GDNP_LOOP_VOCAB + token;
    double logit = POSITION * normal(PLACE, place);
    for (int64_t i = 0; i < OUTPUTS; i++) {
        logit += out[i] * direction[i];
    }
    return logit;
}

/* ---- stages ---- */

void gdnp_stage_destroy(gdnp_stage *stage) {
    gdn_problem_destroy(&stage->problem);
    gdn_case_destroy(&stage->test);
}

/* A case of `op`; its other members stand in `members`. */
static gdn_status create_stage(gdnp_stage *stage, const gdn_case *test, const char *op,
                               const char *batch, const char *members, const char *profiles,
                               gdn_error *err) {
    json_t *json = json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:I}", "op", op,
                             "profile", test->profile, "batch", batch, "num_k_heads",
                             GDNP_LOOP_KEY_HEADS, "num_v_heads", HEADS, "head_k_dim", DIM,
                             "head_v_dim", DIM, "seed", (json_int_t)test->seed);
    json_t *more = json_loads(members, 0, NULL);
    gdn_status status =
        json && more && json_object_update(json, more) == 0
            ? gdn_case_from_json(&stage->test, json, profiles, err)
            : gdn_error_set(err, GDN_ERR_OOM, "no memory for a stage of %s", test->id);
    json_decref(json);
    json_decref(more);
    GDN_TRY(status);
    stage->test.conventions = test->conventions;
    return gdn_problem_create(&stage->problem, &stage->test, err);
}

gdn_status gdnp_layer_create(gdnp_layer *layer, const gdn_case *test, const char *batch,
                             const char *profiles, gdn_error *err) {
    const bool spec = strncmp(batch, "spec", 4) == 0;
    const bool buffer = test->conventions.spec_state == GDN_SPEC_BUFFER;
    const char *conv = !spec    ? "{\"initial\": \"all\"}"
                       : buffer ? "{}"
                                : "{\"accepted\": \"one\"}";
    const char *delta = !spec    ? "{\"initial\": \"all\", \"gates\": \"fused\"}"
                        : buffer ? "{\"accepted\": \"absent\", \"gates\": \"fused\"}"
                                 : "{\"accepted\": \"one\", \"gates\": \"fused\"}";
    GDN_TRY(create_stage(&layer->conv, test, "causal_conv1d", batch, conv, profiles, err));
    GDN_TRY(
        create_stage(&layer->delta, test, "gated_delta_rule", batch, delta, profiles, err));
    const gdn_tensor *A_log = gdnp_tensor(&layer->delta, "A_log");
    const gdn_tensor *dt_bias = gdnp_tensor(&layer->delta, "dt_bias");
    for (int64_t h = 0; h < HEADS; h++) {
        gdn_store(A_log->data, A_log->dtype, h, A_LOG);
        gdn_store(dt_bias->data, dt_bias->dtype, h, DT_BIAS);
    }
    return GDN_OK;
}

void gdnp_layer_destroy(gdnp_layer *layer) {
    gdnp_stage_destroy(&layer->conv);
    gdnp_stage_destroy(&layer->delta);
}

void gdnp_layer_set(gdnp_layer *layer, int64_t row, int64_t token) {
    const model *m = get_model();
    const gdn_tensor *x = gdnp_tensor(&layer->conv, "x");
    const gdn_tensor *a = gdnp_tensor(&layer->delta, "a");
    const gdn_tensor *b = gdnp_tensor(&layer->delta, "b");
    gdn_store_run(x->data, x->dtype, row * CHANNELS, 1, m->x[token], CHANNELS);
    gdn_store_run(a->data, a->dtype, row * HEADS, 1, m->a[token], HEADS);
    gdn_store_run(b->data, b->dtype, row * HEADS, 1, m->b[token], HEADS);
}

void gdnp_layer_join(gdnp_layer *layer) {
    static const struct {
        const char *name;
        int64_t first, count;
    } PARTS[] = {{"q", 0, GDNP_LOOP_KEY_HEADS * DIM},
                 {"k", GDNP_LOOP_KEY_HEADS * DIM, GDNP_LOOP_KEY_HEADS * DIM},
                 {"v", 2 * GDNP_LOOP_KEY_HEADS * DIM, OUTPUTS}};
    const gdn_tensor *y = gdnp_tensor(&layer->conv, "out");
    const size_t width = gdn_dtype_size(y->dtype);
    for (size_t i = 0; i < sizeof PARTS / sizeof PARTS[0]; i++) {
        const gdn_tensor *to = gdnp_tensor(&layer->delta, PARTS[i].name);
        const size_t bytes = (size_t)PARTS[i].count * width;
        for (int64_t row = 0; row < y->shape[0]; row++) {
            memcpy((uint8_t *)to->data + (size_t)row * bytes,
                   (const uint8_t *)y->data +
                       (size_t)(row * CHANNELS + PARTS[i].first) * width,
                   bytes);
        }
    }
}

void gdnp_layer_out(gdnp_layer *layer, int64_t row, double *out) {
    const gdn_tensor *t = gdnp_tensor(&layer->delta, "out");
    for (int64_t i = 0; i < OUTPUTS; i++) {
        out[i] = gdn_load(t->data, t->dtype, row * OUTPUTS + i);
    }
}

/* ---- plain decoding ---- */

/* Runs the reference in place and keeps the limits of `out`. */
static gdn_status run_with_limit(gdnp_stage *stage, float *limit, gdn_error *err) {
    const gdn_call *call = &stage->problem.call;
    gdn_output outputs[16] = {0};
    assert(call->n_tensors <= sizeof outputs / sizeof outputs[0]);
    for (size_t i = 0; i < call->n_tensors; i++) {
        outputs[i].value = call->tensors[i];
        outputs[i].limit = strcmp(call->tensors[i].name, "out") == 0 ? limit : NULL;
    }
    return gdn_reference_run(call, outputs, err);
}

/* What a right device may differ by in a row of y, as a share of the row's norm. The
 * reference's y is stored too, so both may be a limit off. */
static double share(const gdn_tensor *y, int64_t at, const float *limit, int64_t count) {
    double sum = 0.0, error = 0.0;
    for (int64_t i = at; i < at + count; i++) {
        const double value = gdn_load(y->data, y->dtype, i);
        sum += value * value;
        error += 4.0 * (double)limit[i] * (double)limit[i];
    }
    return sum > 0.0 ? sqrt(error / sum) : 1.0;
}

/* Slack behind a row. With d = b (v - s k), |s| <= N and errors e of y, a state row obeys
 * in first order
 *
 *     N+ = a N + b |v|,    E+ = a E + b e_v + 2 b (|v| + a N) |e_k| / |k|
 *
 * because I - b k k^T is a contraction, and an output |err| <= (E+ + N+ |e_q| / |q|) /
 * sqrt(K). The op's own limit comes thrice: once for the store of the reference, and for
 * the device once for this token and at most once more for all tokens before (a <= 1/2). */
static double measure_slack(gdnp_text *text, int64_t b, const float *conv_limit,
                            const float *out_limit) {
    const gdn_tensor *y = gdnp_tensor(&text->layer.conv, "out");
    const gdn_tensor *gate = gdnp_tensor(&text->layer.delta, "a");
    const gdn_tensor *beta_of = gdnp_tensor(&text->layer.delta, "b");
    const int64_t at = b * CHANNELS;
    const double q = share(y, at, conv_limit, DIM);
    const double k = share(y, at + DIM, conv_limit, DIM);
    double error[OUTPUTS];
    for (int64_t i = 0; i < OUTPUTS; i++) {
        const int64_t h = i / DIM;
        const double a =
            gdn_exp(-gdn_exp(A_LOG) *
                    gdn_softplus(gdn_load(gate->data, gate->dtype, b * HEADS + h) + DT_BIAS,
                                 1.0, 20.0));
        const double beta =
            gdn_sigmoid(gdn_load(beta_of->data, beta_of->dtype, b * HEADS + h));
        const double v = fabs(gdn_load(y->data, y->dtype, at + 2 * DIM + i));
        double *N = &text->state[b][i], *E = &text->error[b][i];
        *E = a * *E + 2.0 * beta * (double)conv_limit[at + 2 * DIM + i] +
             2.0 * beta * (v + a * *N) * k;
        *N = a * *N + beta * v;
        error[i] =
            (*E + *N * q) / sqrt((double)DIM) + 3.0 * (double)out_limit[b * OUTPUTS + i];
    }
    double most = 0.0;
    for (int64_t t = 0; t < GDNP_LOOP_VOCAB; t++) {
        double sum = 0.0;
        for (int64_t i = 0; i < OUTPUTS; i++) {
            sum += error[i] * fabs(get_model()->direction[t][i]);
        }
        most = fmax(most, sum);
    }
    return 2.0 * most; /* the favourite and its rival */
}

static gdn_status decode(gdnp_text *text, gdn_error *err) {
    float conv_limit[GDNP_LOOP_SLOTS * CHANNELS], out_limit[GDNP_LOOP_SLOTS * OUTPUTS];
    const int64_t at = text->known - 1;
    for (int64_t b = 0; b < text->requests; b++) {
        gdnp_layer_set(&text->layer, b, gdnp_text_token(text, b, at));
    }
    GDN_TRY(run_with_limit(&text->layer.conv, conv_limit, err));
    gdnp_layer_join(&text->layer);
    GDN_TRY(run_with_limit(&text->layer.delta, out_limit, err));
    for (int64_t b = 0; b < text->requests; b++) {
        double out[OUTPUTS], best = 0.0;
        int64_t token = 0;
        gdnp_layer_out(&text->layer, b, out);
        for (int64_t t = 0; t < GDNP_LOOP_VOCAB; t++) {
            const double logit = gdnp_loop_logit(out, b, at, t);
            token = t == 0 || logit > best ? t : token;
            best = t == 0 || logit > best ? logit : best;
        }
        text->tokens[b * text->length + at + 1] = token;
        text->slack[b * text->length + at] = measure_slack(text, b, conv_limit, out_limit);
    }
    text->known++;
    return GDN_OK;
}

/* Largest norm that a row of the start states can have. */
static double start_norm(gdnp_text *text) {
    const gdn_tensor *state = gdnp_tensor(&text->layer.delta, "ssm_state");
    double most = 0.0;
    for (int64_t i = 0; i < gdn_tensor_count(state); i++) {
        const double value = fabs(gdn_load(state->data, state->dtype, i));
        most = value > most ? value : most; /* slots of nobody hold NaN */
    }
    return most * sqrt((double)DIM);
}

gdn_status gdnp_text_create(gdnp_text *text, const gdn_case *test, const char *profiles,
                            gdn_error *err) {
    char batch[32];
    const int64_t requests = test->verify.slots;
    snprintf(batch, sizeof batch, "dec%lld", (long long)requests);
    *text = (gdnp_text){
        .requests = requests,
        .length = (test->verify.steps + 2) * (test->verify.drafts + 1),
        .known = 1,
    };
    const size_t count = (size_t)(requests * text->length);
    text->tokens = calloc(count, sizeof *text->tokens);
    text->slack = calloc(count, sizeof *text->slack);
    if (!text->tokens || !text->slack) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for the text of %s", test->id);
    }
    GDN_TRY(gdnp_layer_create(&text->layer, test, batch, profiles, err));
    const double norm = start_norm(text);
    for (int64_t b = 0; b < requests; b++) {
        text->tokens[b * text->length] = b % GDNP_LOOP_VOCAB;
        for (int64_t i = 0; i < OUTPUTS; i++) {
            text->state[b][i] = norm;
        }
    }
    return GDN_OK;
}

void gdnp_text_destroy(gdnp_text *text) {
    gdnp_layer_destroy(&text->layer);
    free(text->tokens);
    free(text->slack);
}

gdn_status gdnp_text_reach(gdnp_text *text, int64_t at, gdn_error *err) {
    while (text->known <= at) {
        GDN_TRY(decode(text, err));
    }
    return GDN_OK;
}
