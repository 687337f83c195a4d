/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "gpu_expression.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define MAX_NAME  64
#define MAX_DEPTH 64

typedef struct parser {
    const char *text, *at;
    const gpu_scope *scope;
    gdn_error *err;
    int depth;
} parser;

static gdn_status compare(parser *p, int64_t *value);

static gdn_status refuse(parser *p, const char *expected) {
    return gdn_error_set(p->err, GDN_ERR_ARG,
                         "expression \"%.200s\": expected %s at character %d", p->text,
                         expected, (int)(p->at - p->text) + 1);
}

static void skip(parser *p) {
    while (*p->at == ' ') {
        p->at++;
    }
}

static bool take(parser *p, const char *token) {
    skip(p);
    const size_t length = strlen(token);
    if (strncmp(p->at, token, length) != 0) {
        return false;
    }
    p->at += length;
    return true;
}

static gdn_status need(parser *p, const char *token) {
    char expected[16];
    snprintf(expected, sizeof expected, "\"%s\"", token);
    return take(p, token) ? GDN_OK : refuse(p, expected);
}

static bool take_name(parser *p, char name[MAX_NAME]) {
    skip(p);
    size_t length = 0;
    while (isalpha((unsigned char)p->at[length]) || p->at[length] == '_' ||
           (length > 0 && isdigit((unsigned char)p->at[length]))) {
        length++;
    }
    if (length == 0 || length >= MAX_NAME) {
        return false;
    }
    memcpy(name, p->at, length);
    name[length] = '\0';
    p->at += length;
    return true;
}

static gdn_status read_number(parser *p, int64_t *value) {
    *value = 0;
    while (isdigit((unsigned char)*p->at)) {
        if (__builtin_mul_overflow(*value, 10, value) ||
            __builtin_add_overflow(*value, *p->at - '0', value)) {
            return refuse(p, "a number of at most 63 bits");
        }
        p->at++;
    }
    return GDN_OK;
}

static gdn_status look_up(parser *p, const char *start, const char *name, int64_t *value) {
    const gpu_scope *s = p->scope;
    for (size_t i = s->n_definitions; i > 0; i--) {
        if (strcmp(s->definitions[i - 1].name, name) == 0) {
            *value = s->definitions[i - 1].value;
            return GDN_OK;
        }
    }
    for (size_t i = 0; i < s->call->n_scalars; i++) {
        if (strcmp(s->call->scalars[i].name, name) == 0) {
            *value = s->call->scalars[i].value;
            return GDN_OK;
        }
    }
    p->at = start;
    return refuse(p, "a defined name or a scalar of the call");
}

/* size(tensor,axis), stride(tensor,axis), has(tensor); the parenthesis is taken. */
static gdn_status ask_tensor(parser *p, const char *function, int64_t *value) {
    char name[MAX_NAME];
    if (!take_name(p, name)) {
        return refuse(p, "a tensor's name");
    }
    const gdn_tensor *tensor = gdn_call_tensor(p->scope->call, name);
    if (strcmp(function, "has") == 0) {
        *value = tensor != NULL;
        return need(p, ")");
    }
    GDN_TRY(need(p, ","));
    int64_t axis = 0;
    GDN_TRY(compare(p, &axis));
    if (!tensor || axis < 0 || axis >= tensor->rank) {
        return refuse(p, tensor ? "an axis of that tensor before here"
                                : "the name of a tensor of the call before here");
    }
    *value = strcmp(function, "size") == 0 ? tensor->shape[axis] : tensor->stride[axis];
    return need(p, ")");
}

static gdn_status call_function(parser *p, const char *name, int64_t *value) {
    if (strcmp(name, "size") == 0 || strcmp(name, "stride") == 0 ||
        strcmp(name, "has") == 0) {
        return ask_tensor(p, name, value);
    }
    int64_t a = 0, b = 0;
    GDN_TRY(compare(p, &a));
    GDN_TRY(need(p, ","));
    GDN_TRY(compare(p, &b));
    if (strcmp(name, "min") == 0) {
        *value = a < b ? a : b;
    } else if (strcmp(name, "max") == 0) {
        *value = a > b ? a : b;
    } else if (strcmp(name, "cdiv") == 0) {
        if (a < 0 || b < 1) {
            return refuse(p, "cdiv of 0 or more by 1 or more before here");
        }
        *value = a / b + (a % b != 0);
    } else {
        return refuse(p, "cdiv, min, max, size, stride or has before here");
    }
    return need(p, ")");
}

static gdn_status primary(parser *p, int64_t *value) {
    char name[MAX_NAME];
    skip(p);
    const char *start = p->at;
    if (isdigit((unsigned char)*p->at)) {
        return read_number(p, value);
    }
    if (take_name(p, name)) {
        return take(p, "(") ? call_function(p, name, value)
                            : look_up(p, start, name, value);
    }
    if (!take(p, "(")) {
        return refuse(p, "a number, a name or \"(\"");
    }
    GDN_TRY(compare(p, value));
    return need(p, ")");
}

static gdn_status product(parser *p, int64_t *value) {
    GDN_TRY(primary(p, value));
    for (;;) {
        skip(p);
        const char sign = *p->at;
        if (sign != '*' && sign != '/' && sign != '%') {
            return GDN_OK;
        }
        p->at++;
        int64_t right = 0;
        GDN_TRY(primary(p, &right));
        if (sign == '*') {
            if (__builtin_mul_overflow(*value, right, value)) {
                return refuse(p, "a value of at most 63 bits before here");
            }
        } else if (right < 1) {
            return refuse(p, "a divisor of 1 or more before here");
        } else {
            *value = sign == '/' ? *value / right : *value % right;
        }
    }
}

static gdn_status sum(parser *p, int64_t *value) {
    GDN_TRY(product(p, value));
    for (;;) {
        skip(p);
        const char sign = *p->at;
        if (sign != '+' && sign != '-') {
            return GDN_OK;
        }
        p->at++;
        int64_t right = 0;
        GDN_TRY(product(p, &right));
        if (sign == '+' ? __builtin_add_overflow(*value, right, value)
                        : __builtin_sub_overflow(*value, right, value)) {
            return refuse(p, "a value of at most 63 bits before here");
        }
    }
}

static gdn_status compare(parser *p, int64_t *value) {
    if (++p->depth > MAX_DEPTH) {
        return refuse(p, "fewer nested parentheses");
    }
    GDN_TRY(sum(p, value));
    static const char *const SIGNS[] = {"==", "!=", "<=", ">=", "<", ">"};
    for (int i = 0; i < 6; i++) {
        if (take(p, SIGNS[i])) {
            int64_t right = 0;
            GDN_TRY(sum(p, &right));
            const bool results[] = {*value == right, *value != right, *value <= right,
                                    *value >= right, *value<right, *value> right};
            *value = results[i];
            break;
        }
    }
    p->depth--;
    return GDN_OK;
}

gdn_status gpu_evaluate(int64_t *value, const char *text, const gpu_scope *scope,
                        gdn_error *err) {
    parser p = {.text = text, .at = text, .scope = scope, .err = err};
    GDN_TRY(compare(&p, value));
    skip(&p);
    return *p.at == '\0' ? GDN_OK : refuse(&p, "the end");
}
