/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "tags.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "case_facets.h"
#include "gdn/nearest.h"
#include "shards.h"

#define MOST_TAGS  48
#define LONGEST    200
#define MOST_DEPTH 64
#define LONG_CASE  1024

/* Words that are tags even where no case of the plan has them: "!slow" must be sayable of
 * every suite. */
static const char *const WORDS[] = {"causal_conv1d",
                                    "gdn_gating",
                                    "gated_delta_rule",
                                    "gdn_attention",
                                    "gdn_metadata",
                                    "prefill",
                                    "decode",
                                    "spec",
                                    "mixed",
                                    "bf16",
                                    "fp16",
                                    "fp32",
                                    "int",
                                    "sep",
                                    "bias",
                                    "interleaved",
                                    "scattered",
                                    "initall",
                                    "initnone",
                                    "initabsent",
                                    "mis",
                                    "ragged",
                                    "long",
                                    "slow",
                                    NULL};

typedef struct tag_list {
    char text[MOST_TAGS][LONGEST];
    size_t count;
} tag_list;

static void add_tag(tag_list *tags, const char *text, size_t length) {
    if (length > 0 && length < LONGEST && tags->count < MOST_TAGS) {
        memcpy(tags->text[tags->count], text, length);
        tags->text[tags->count++][length] = '\0';
    }
}

static void add_parts(tag_list *tags, const char *text, char separator) {
    while (*text) {
        const char *end = strchrnul(text, separator);
        add_tag(tags, text, (size_t)(end - text));
        text = *end ? end + 1 : end;
    }
}

static void collect(tag_list *tags, const gdn_case_plan *plan, const gdn_planned_case *p) {
    gdn_case_facets facets;
    gdn_case_facets_read(&facets, p->test->id);
    tags->count = 0;
    add_tag(tags, facets.op, strlen(facets.op));
    add_tag(tags, facets.profile, strlen(facets.profile));
    add_tag(tags, facets.profile, strcspn(facets.profile, "@"));
    add_tag(tags, facets.model, strlen(facets.model));
    add_tag(tags, facets.mix, strlen(facets.mix));
    add_tag(tags, facets.types, strlen(facets.types));
    add_parts(tags, facets.types, '+');
    add_parts(tags, facets.batch, '+');
    add_parts(tags, facets.flags, '-');
    const char *suite = plan->suites[p->suite].name;
    add_tag(tags, suite, strlen(suite));
    if (strstr(facets.batch, "rag")) {
        add_tag(tags, "ragged", 6);
    }
    if (facets.longest > LONG_CASE) {
        add_tag(tags, "long", 4);
    }
    if (gdn_case_cost(p->test) > GDN_SLOW_COST) {
        add_tag(tags, "slow", 4);
    }
}

/* A recursive descent that evaluates while it reads. Both sides of an operator are always
 * read, so that what is wrong in an expression is found at the first case. */
typedef struct parser {
    const char *text, *at;
    const tag_list *tags;
    int depth;
    gdn_error *err;
    bool failed;
} parser;

static void complain(parser *p, const char *expected) {
    if (!p->failed) {
        gdn_error_set(p->err, GDN_ERR_ARG,
                      "--tag \"%s\": expected %s at character %d but found \"%.20s\"",
                      p->text, expected, (int)(p->at - p->text) + 1, p->at);
    }
    p->failed = true;
}

static void skip_blanks(parser *p) {
    while (isspace((unsigned char)*p->at)) {
        p->at++;
    }
}

static bool is_tag_char(char c) {
    return isalnum((unsigned char)c) || (c != '\0' && strchr("_.+@-*?", c));
}

static bool read_or(parser *p);

static bool read_atom(parser *p) {
    skip_blanks(p);
    if (++p->depth > MOST_DEPTH) {
        complain(p, "fewer nested parts");
    }
    bool holds = false;
    if (p->failed) {
        return false;
    }
    if (*p->at == '!') {
        p->at++;
        holds = !read_atom(p);
    } else if (*p->at == '(') {
        p->at++;
        holds = read_or(p);
        skip_blanks(p);
        if (*p->at == ')') {
            p->at++;
        } else {
            complain(p, "')'");
        }
    } else if (is_tag_char(*p->at)) {
        char tag[LONGEST] = "";
        size_t n = 0;
        for (; is_tag_char(*p->at); p->at++) {
            if (n + 1 < sizeof tag) {
                tag[n++] = *p->at;
            }
        }
        for (size_t i = 0; i < p->tags->count; i++) {
            holds = holds || fnmatch(tag, p->tags->text[i], 0) == 0;
        }
    } else {
        complain(p, "a tag, '!' or '('");
    }
    p->depth--;
    return holds;
}

static bool read_and(parser *p) {
    bool holds = read_atom(p);
    for (skip_blanks(p); *p->at == '&' && !p->failed; skip_blanks(p)) {
        p->at++;
        const bool right = read_atom(p);
        holds = holds && right;
    }
    return holds;
}

static bool read_or(parser *p) {
    bool holds = read_and(p);
    for (skip_blanks(p); *p->at == '|' && !p->failed; skip_blanks(p)) {
        p->at++;
        const bool right = read_and(p);
        holds = holds || right;
    }
    return holds;
}

static gdn_status evaluate(bool *holds, const char *expression, const tag_list *tags,
                           gdn_error *err) {
    parser p = {.text = expression, .at = expression, .tags = tags, .err = err};
    *holds = read_or(&p);
    skip_blanks(&p);
    if (!p.failed && *p.at != '\0') {
        complain(&p, "'&', '|' or the end");
    }
    return p.failed ? GDN_ERR_ARG : GDN_OK;
}

static bool exists(const gdn_case_plan *plan, const char *tag) {
    tag_list *tags = malloc(sizeof *tags);
    bool found = false;
    for (size_t i = 0; WORDS[i]; i++) {
        found = found || fnmatch(tag, WORDS[i], 0) == 0;
    }
    for (int op = 0; op < GDN_OP_COUNT; op++) {
        found = found || fnmatch(tag, gdn_op_get((gdn_op)op)->name, 0) == 0;
    }
    for (size_t i = 0; tags && !found && i < plan->n_cases; i++) {
        collect(tags, plan, &plan->cases[i]);
        for (size_t k = 0; k < tags->count; k++) {
            found = found || fnmatch(tag, tags->text[k], 0) == 0;
        }
    }
    free(tags);
    return found;
}

static gdn_status check_words(const gdn_case_plan *plan, const char *expression,
                              gdn_error *err) {
    for (const char *at = expression; *at;) {
        if (!is_tag_char(*at)) {
            at++;
            continue;
        }
        char tag[LONGEST] = "";
        size_t n = 0;
        for (; is_tag_char(*at); at++) {
            if (n + 1 < sizeof tag) {
                tag[n++] = *at;
            }
        }
        if (!exists(plan, tag)) {
            return gdn_error_unknown(err, GDN_ERR_ARG, "--tag", tag, WORDS);
        }
    }
    return GDN_OK;
}

gdn_status gdn_plan_keep_tagged(gdn_case_plan *plan, const char *expression,
                                gdn_error *err) {
    tag_list *tags = calloc(1, sizeof *tags);
    if (!tags) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for tags");
    }
    bool holds = false;
    size_t kept = 0;
    gdn_status status = evaluate(&holds, expression, tags, err);
    if (status == GDN_OK) {
        status = check_words(plan, expression, err);
    }
    for (size_t i = 0; status == GDN_OK && i < plan->n_cases; i++) {
        collect(tags, plan, &plan->cases[i]);
        status = evaluate(&holds, expression, tags, err);
        if (holds) {
            plan->cases[kept++] = plan->cases[i];
        }
    }
    plan->n_cases = status == GDN_OK ? kept : plan->n_cases;
    free(tags);
    return status;
}

void gdn_plan_keep_glob(gdn_case_plan *plan, const char *glob) {
    size_t kept = 0;
    for (size_t i = 0; i < plan->n_cases; i++) {
        if (fnmatch(glob, plan->cases[i].test->id, 0) == 0) {
            plan->cases[kept++] = plan->cases[i];
        }
    }
    plan->n_cases = kept;
}
