/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* JUnit XML in the shape that the importers of GitLab, Jenkins, Buildkite and GitHub
 * actions share: testsuites/testsuite/testcase with failure, error or skipped, and
 * system-out. */
#include <libxml/xmlwriter.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "forms.h"
#include "text.h"

typedef struct writer {
    xmlTextWriterPtr xml;
    bool failed; /* sticky: one check at the end */
} writer;

static void note(writer *w, int result) {
    w->failed = w->failed || result < 0;
}

static void start(writer *w, const char *element) {
    note(w, xmlTextWriterStartElement(w->xml, BAD_CAST element));
}

static void end(writer *w) {
    note(w, xmlTextWriterEndElement(w->xml));
}

/* libxml2 escapes markup; what XML can't hold at all is made visible before. */
static void attribute(writer *w, const char *name, const char *text) {
    char *clean = gdn_text_clean(text);
    note(w,
         clean ? xmlTextWriterWriteAttribute(w->xml, BAD_CAST name, BAD_CAST clean) : -1);
    free(clean);
}

static void count(writer *w, const char *name, size_t value) {
    char text[32];
    snprintf(text, sizeof text, "%zu", value);
    attribute(w, name, text);
}

static void seconds(writer *w, double value) {
    char text[32];
    snprintf(text, sizeof text, "%.6f", isfinite(value) ? value : 0.0);
    attribute(w, "time", text);
}

static void content(writer *w, const char *text) {
    char *clean = gdn_text_clean(text);
    note(w, clean ? xmlTextWriterWriteString(w->xml, BAD_CAST clean) : -1);
    free(clean);
}

static void property(writer *w, const char *name, const char *value) {
    if (value) {
        start(w, "property");
        attribute(w, "name", name);
        attribute(w, "value", value);
        end(w);
    }
}

/* Op and profile are the class: importers make folders of its dots. */
static void name_class(writer *w, const char *id) {
    char text[160];
    const char *slash = strchr(id, '/');
    slash = slash ? strchr(slash + 1, '/') : NULL;
    const size_t length = slash ? (size_t)(slash - id) : strlen(id);
    snprintf(text, sizeof text, "%.*s", length < sizeof text ? (int)length : 150, id);
    for (char *c = text; *c; c++) {
        *c = *c == '/' ? '.' : *c;
    }
    attribute(w, "classname", text);
}

static void outcome(writer *w, const gdn_case_result *c) {
    const char *element = c->verdict == GDN_CRASH || c->verdict == GDN_HANG ? "error"
                          : gdn_verdict_is_red(c->verdict)                  ? "failure"
                                                                            : "skipped";
    start(w, element);
    attribute(w, "message", c->message ? c->message : gdn_verdict_name(c->verdict));
    if (gdn_verdict_is_red(c->verdict)) {
        attribute(w, "type", gdn_verdict_name(c->verdict));
        content(w, c->message ? c->message : "");
        content(w, "\nreplay: ");
        content(w, c->replay ? c->replay : "");
    }
    end(w);
}

static void write_case(writer *w, const gdn_case_result *c) {
    start(w, "testcase");
    attribute(w, "name", c->id);
    name_class(w, c->id);
    seconds(w, c->total_seconds);
    if (c->verdict != GDN_PASS) {
        outcome(w, c);
        start(w, "system-out");
        content(w, "replay: ");
        content(w, c->replay ? c->replay : "");
        if (c->known) {
            content(w, "\nknown failure: ");
            content(w, c->known);
        }
        if (c->diagnosis.verdict) {
            content(w, "\n");
            content(w, c->diagnosis.verdict);
            content(w, ": ");
            content(w, c->diagnosis.text ? c->diagnosis.text : "");
        }
        if (c->output) {
            content(w, "\nthe worker printed:\n");
            content(w, c->output);
        }
        end(w);
    }
    end(w);
}

static void write_suite(writer *w, const gdn_run_result *run) {
    size_t tally[GDN_VERDICT_COUNT];
    gdn_run_tally(run, tally);
    start(w, "testsuite");
    char *name = NULL;
    if (asprintf(&name, "%s on %s", run->suites, run->device) < 0) {
        name = NULL;
        w->failed = true;
    }
    attribute(w, "name", name ? name : "");
    free(name);
    count(w, "tests", run->n_cases);
    count(w, "failures", tally[GDN_FAIL] + tally[GDN_XPASS]);
    count(w, "errors", tally[GDN_CRASH] + tally[GDN_HANG]);
    count(w, "skipped", tally[GDN_SKIP] + tally[GDN_UNSUPPORTED] + tally[GDN_XFAIL]);
    double total = 0.0;
    for (size_t i = 0; i < run->n_cases; i++) {
        total += run->cases[i].total_seconds;
    }
    seconds(w, total);
    start(w, "properties");
    property(w, "hardware", run->hardware);
    property(w, "driver", run->driver);
    property(w, "build", run->build);
    property(w, "vectors_digest", run->vectors_digest);
    end(w);
    for (size_t i = 0; i < run->n_cases; i++) {
        write_case(w, &run->cases[i]);
    }
    end(w);
}

gdn_status gdn_report_junit(const gdn_run_result *run, FILE *out, gdn_error *err) {
    xmlBufferPtr buffer = xmlBufferCreate();
    writer w = {.xml = buffer ? xmlNewTextWriterMemory(buffer, 0) : NULL};
    if (w.xml) {
        note(&w, xmlTextWriterSetIndent(w.xml, 1));
        note(&w, xmlTextWriterStartDocument(w.xml, NULL, "UTF-8", NULL));
        start(&w, "testsuites");
        write_suite(&w, run);
        end(&w);
        note(&w, xmlTextWriterEndDocument(w.xml));
        xmlFreeTextWriter(w.xml);
        fwrite(xmlBufferContent(buffer), 1, (size_t)xmlBufferLength(buffer), out);
    }
    const bool ok = w.xml && !w.failed;
    xmlBufferFree(buffer);
    return ok ? GDN_OK : gdn_error_set(err, GDN_ERR_OOM, "no memory for the JUnit file");
}
