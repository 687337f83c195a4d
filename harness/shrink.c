/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "shrink.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TERMS 64

typedef struct shrinker {
    json_t *best; /* the smallest case that held, as JSON */
    const char *profiles;
    gdn_shrink_holds holds;
    void *context;
    size_t tries;
} shrinker;

/* Tries a candidate, which is taken; it replaces the best one if it holds. A candidate that
 * is no case, or the best one itself, is none. */
static gdn_status try_candidate(shrinker *s, json_t *candidate, bool *held,
                                gdn_error *err) {
    gdn_case test = {0};
    *held = false;
    if (s->tries >= GDN_SHRINK_TRIES || json_equal(candidate, s->best) ||
        gdn_case_from_json(&test, candidate, s->profiles, NULL) != GDN_OK) {
        json_decref(candidate);
        return GDN_OK;
    }
    s->tries++;
    const gdn_status status = s->holds(s->context, &test, held, err);
    gdn_case_destroy(&test);
    if (status == GDN_OK && *held) {
        json_decref(s->best);
        s->best = candidate;
    } else {
        json_decref(candidate);
    }
    return status;
}

/* The label implies dimensions, which change. */
static json_t *copy_best(const shrinker *s) {
    json_t *copy = json_copy(s->best);
    json_object_set_new(copy, "model", json_string("custom"));
    return copy;
}

static json_int_t get(const json_t *json, const char *member) {
    return json_integer_value(json_object_get(json, member));
}

static void set(json_t *json, const char *member, json_int_t value) {
    json_object_set_new(json, member, json_integer(value));
}

/* ---- batches ---- */

typedef struct term {
    char kind[8];
    long count, length; /* length 0: the kind has none */
} term;

typedef struct batch {
    term items[MAX_TERMS];
    size_t n;
} batch;

static bool read_batch(batch *b, const json_t *json) {
    char *text = strdup(json_string_value(json_object_get(json, "batch")));
    char *rest = text;
    *b = (batch){.n = 0};
    bool ok = text != NULL;
    for (char *word; ok && (word = strsep(&rest, "+")) != NULL; b->n++) {
        ok = b->n < MAX_TERMS && sscanf(word, "%7[a-z]%ldx%ld", b->items[b->n].kind,
                                        &b->items[b->n].count, &b->items[b->n].length) >= 2;
    }
    free(text);
    return ok;
}

/* Members that mean nothing any more go back to what a case without them has. */
static void drop_idle(const batch *b, json_t *json) {
    bool spec = false, other = false;
    for (size_t i = 0; i < b->n; i++) {
        const bool is_spec =
            strcmp(b->items[i].kind, "spec") == 0 || strcmp(b->items[i].kind, "rag") == 0;
        spec = spec || is_spec;
        other = other || !is_spec;
    }
    const char *order = json_string_value(json_object_get(json, "order"));
    if (!spec) {
        json_object_set_new(json, "accepted", json_string("cycle"));
        if (order && strcmp(order, "scattered") == 0) {
            json_object_set_new(json, "order", json_string("interleaved"));
        }
    }
    if (!other) {
        json_object_set_new(json, "initial", json_string("mixed"));
    }
}

static void write_batch(const batch *b, json_t *json) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    for (size_t i = 0; out && i < b->n; i++) {
        const term *t = &b->items[i];
        fprintf(out, "%s%s%ld", i > 0 ? "+" : "", t->kind, t->count);
        if (t->length > 0) {
            fprintf(out, "x%ld", t->length);
        }
    }
    if (out) {
        fclose(out);
        json_object_set_new(json, "batch", json_string(text));
        free(text);
    }
    drop_idle(b, json);
}

/* What may become of one term, the boldest first. */
static bool change_term(batch *b, size_t i, int how) {
    term *t = &b->items[i];
    switch (how) {
    case 0: /* gone */
        memmove(t, t + 1, (b->n - i - 1) * sizeof *t);
        return --b->n > 0;
    case 1:
        t->count /= 2;
        return t->count > 0;
    case 2:
        return --t->count > 0;
    case 3:
        t->length /= 2;
        return t->length > 0;
    case 4:
        t->length -= t->length / 4 > 0 ? t->length / 4 : 1;
        return t->length > 0;
    case 5:
        return t->length > 0 && --t->length > 0;
    default:
        return false;
    }
}

static gdn_status shrink_batch(shrinker *s, bool *any, gdn_error *err) {
    batch b;
    for (int how = 0; how <= 5; how++) {
        for (size_t i = 0; read_batch(&b, s->best) && i < b.n;) {
            bool held = false;
            if (change_term(&b, i, how)) {
                json_t *candidate = copy_best(s);
                write_batch(&b, candidate);
                GDN_TRY(try_candidate(s, candidate, &held, err));
            }
            *any = *any || held;
            i += !held;
        }
    }
    return GDN_OK;
}

/* ---- members ---- */

/* One rank's heads instead of a rank of many. */
static json_t *without_ranks(const shrinker *s) {
    json_t *json = copy_best(s);
    const json_int_t tp = get(json, "tp_size");
    set(json, "num_k_heads", get(json, "num_k_heads") / tp);
    set(json, "num_v_heads", get(json, "num_v_heads") / tp);
    set(json, "tp_size", 1);
    return json;
}

/* Fewer key heads, each with as many value heads; then fewer of those. */
static json_t *with_heads(const shrinker *s, json_int_t key_heads, json_int_t r) {
    json_t *json = copy_best(s);
    set(json, "num_k_heads", key_heads);
    set(json, "num_v_heads", key_heads * r);
    return json;
}

static gdn_status shrink_heads(shrinker *s, bool *any, gdn_error *err) {
    bool held = true;
    GDN_TRY(try_candidate(s, without_ranks(s), &held, err));
    *any = *any || held;
    for (int part = 0; part < 4; part++) {
        do {
            const json_int_t hk = get(s->best, "num_k_heads");
            const json_int_t r = get(s->best, "num_v_heads") / hk;
            const json_int_t fewer = part == 0 ? 1 : part == 1 ? hk / 2 : hk;
            const json_int_t less = part == 2 ? 1 : part == 3 ? r / 2 : r;
            held = false;
            if (fewer >= 1 && less >= 1 && (fewer < hk || less < r)) {
                GDN_TRY(try_candidate(s, with_heads(s, fewer, less), &held, err));
                *any = *any || held;
            }
        } while (held);
    }
    return GDN_OK;
}

static gdn_status shrink_number(shrinker *s, const char *member, json_int_t low, bool *any,
                                gdn_error *err) {
    bool held = true;
    while (held) {
        const json_int_t now = get(s->best, member);
        held = false;
        if (now / 2 >= low) {
            json_t *candidate = copy_best(s);
            set(candidate, member, now / 2);
            GDN_TRY(try_candidate(s, candidate, &held, err));
            *any = *any || held;
        }
    }
    return GDN_OK;
}

static gdn_status clear_members(shrinker *s, bool *any, gdn_error *err) {
    static const struct {
        const char *member, *value;
    } PLAIN[] = {
        {"page_bytes", "0"},     {"pad_rows", "0"},        {"misaligned", "false"},
        {"conv_bias", "false"},  {"order", "\"grouped\""}, {"initial", "\"all\""},
        {"accepted", "\"one\""}, {"fill", "\"normal\""},   {"seed", "0"},
    };
    for (size_t i = 0; i < sizeof PLAIN / sizeof PLAIN[0]; i++) {
        bool held = false;
        json_t *candidate = copy_best(s);
        json_object_set_new(candidate, PLAIN[i].member,
                            json_loads(PLAIN[i].value, JSON_DECODE_ANY, NULL));
        GDN_TRY(try_candidate(s, candidate, &held, err));
        *any = *any || held;
    }
    return GDN_OK;
}

gdn_status gdn_shrink(gdn_case *smallest, size_t *tries, const gdn_case *test,
                      const char *profiles, gdn_shrink_holds holds, void *context,
                      gdn_error *err) {
    shrinker s = {.best = gdn_case_to_json(test),
                  .profiles = profiles,
                  .holds = holds,
                  .context = context};
    gdn_status status =
        s.best ? GDN_OK : gdn_error_set(err, GDN_ERR_OOM, "no memory for a case");
    bool any = true;
    while (status == GDN_OK && any) {
        any = false;
        status = shrink_batch(&s, &any, err);
        if (status == GDN_OK) {
            status = shrink_heads(&s, &any, err);
        }
        if (status == GDN_OK) {
            status = shrink_number(&s, "head_k_dim", 4, &any, err);
        }
        if (status == GDN_OK) {
            status = shrink_number(&s, "head_v_dim", 3, &any, err);
        }
        if (status == GDN_OK) {
            status = clear_members(&s, &any, err);
        }
    }
    if (status == GDN_OK) {
        status = gdn_case_from_json(smallest, s.best, profiles, err);
    }
    *tries = s.tries;
    json_decref(s.best);
    return status;
}
