/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "text.h"

#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Decodes one character of UTF-8 by RFC 3629: shortest form, no surrogates, at most
 * U+10FFFF. Returns its length, 0 if the bytes are none. */
static int decode(const unsigned char *s, uint32_t *code) {
    if (s[0] < 0x80) {
        *code = s[0];
        return 1;
    }
    const int length = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4) {
        return 0;
    }
    *code = s[0] & (0xffU >> (length + 1));
    for (int i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
        *code = *code << 6 | (s[i] & 0x3fU);
    }
    static const uint32_t LEAST[] = {0, 0, 0x80, 0x800, 0x10000};
    const bool wrong =
        *code < LEAST[length] || (*code >= 0xd800 && *code <= 0xdfff) || *code > 0x10ffff;
    return wrong ? 0 : length;
}

/* Controls of both sets, what turns the direction of text (it can make a reader see another
 * name), line separators, and what is no character. */
static bool is_hidden(uint32_t c) {
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c ||
           (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c & 0xfffe) == 0xfffe;
}

typedef void (*put_char)(FILE *out, const char *bytes, int length);

static void put_all(FILE *out, const char *text, bool lines, put_char put) {
    const unsigned char *s = (const unsigned char *)text;
    while (*s) {
        uint32_t code = 0;
        const int length = decode(s, &code);
        char shown[16];
        if (length == 0) {
            put(out, shown, snprintf(shown, sizeof shown, "\\x%02x", *s));
        } else if (lines && (code == '\n' || code == '\t')) {
            put(out, (const char *)s, 1);
        } else if (code == '\n') {
            put(out, "\\n", 2);
        } else if (is_hidden(code)) {
            put(out, shown,
                code < 0x100 ? snprintf(shown, sizeof shown, "\\x%02x", code)
                             : snprintf(shown, sizeof shown, "\\u{%x}", code));
        } else {
            put(out, (const char *)s, length);
        }
        s += length > 0 ? length : 1;
    }
}

static void put_same(FILE *out, const char *bytes, int length) {
    fwrite(bytes, 1, (size_t)length, out);
}

void gdn_put_plain(FILE *out, const char *text) {
    put_all(out, text, false, put_same);
}

static void put_entities(FILE *out, const char *bytes, int length) {
    for (int i = 0; i < length; i++) {
        switch (bytes[i]) {
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        case '\'':
            fputs("&#39;", out);
            break;
        default:
            fputc(bytes[i], out);
        }
    }
}

void gdn_put_html(FILE *out, const char *text, bool lines) {
    put_all(out, text, lines, put_entities);
}

static void put_markdown_char(FILE *out, const char *bytes, int length) {
    for (int i = 0; i < length; i++) {
        const unsigned char c = (unsigned char)bytes[i];
        if (c < 0x80 && !isalnum(c) && !strchr(" ,./-=:+%;", c)) {
            fprintf(out, "&#%d;", c);
        } else {
            fputc(c, out);
        }
    }
}

void gdn_put_markdown(FILE *out, const char *text) {
    put_all(out, text, false, put_markdown_char);
}

static void put_doubled(FILE *out, const char *bytes, int length) {
    for (int i = 0; i < length; i++) {
        if (bytes[i] == '"') {
            fputc('"', out);
        }
        fputc(bytes[i], out);
    }
}

void gdn_put_csv(FILE *out, const char *text) {
    fputc('"', out);
    if (*text != '\0' && strchr("=+-@", *text)) {
        fputc('\'', out);
    }
    put_all(out, text, false, put_doubled);
    fputc('"', out);
}

char *gdn_text_clean(const char *text) {
    char *clean = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&clean, &size);
    if (!out) {
        return NULL;
    }
    put_all(out, text, true, put_same);
    if (fclose(out) != 0) {
        free(clean);
        return NULL;
    }
    return clean;
}

void gdn_put_number(FILE *out, double x) {
    if (isnan(x)) {
        fputs("nan", out);
    } else if (isinf(x)) {
        fputs(x > 0 ? "inf" : "-inf", out);
    } else {
        fprintf(out, "%.3g", x);
    }
}
