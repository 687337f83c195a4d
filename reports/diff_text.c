/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* The diff for a terminal and as JSON. */
#include <math.h>

#include "diff.h"
#include "report_parts.h"
#include "text.h"

static void put_side(FILE *out, const gdn_case_result *c) {
    fputs(c ? gdn_verdict_name(c->verdict) : "none", out);
    if (c && c->n_tensors > 0) {
        fputs(" at ", out);
        gdn_put_number(out, gdn_case_budget(c));
    }
    if (c && c->diagnosis.deviation) {
        fputs(" by ", out);
        gdn_put_plain(out, c->diagnosis.deviation);
    }
}

static void put_entry(const gdn_diff_entry *e, FILE *out) {
    const gdn_case_result *c = e->now ? e->now : e->base;
    fprintf(out, "%-10s %s: ", e->regression ? "REGRESSION" : "",
            gdn_change_title(e->change));
    gdn_put_plain(out, c->id);
    fputs("\n           ", out);
    put_side(out, e->base);
    fputs(" -> ", out);
    put_side(out, e->now);
    if (e->change == GDN_CHANGE_RAISED) {
        fputs(", held to ", out);
        gdn_put_number(out, e->base->ratchet.budget);
        fputs(" -> ", out);
        gdn_put_number(out, e->now->ratchet.budget);
        fputs(": ", out);
        gdn_put_plain(out, e->now->ratchet.reason ? e->now->ratchet.reason : "no reason");
    } else if (e->factor != 0.0) {
        fprintf(out, ", %.3g times", e->factor);
    }
    if (e->now && e->now->message) {
        fputs("\n           ", out);
        gdn_put_plain(out, e->now->message);
    }
    fputc('\n', out);
}

void gdn_diff_text(const gdn_report_diff *diff, FILE *out) {
    for (size_t i = 0; i < diff->n_facts; i++) {
        const gdn_diff_fact *fact = &diff->facts[i];
        fprintf(out, "%-10s ", "");
        gdn_put_plain(out, fact->what);
        fputs(": ", out);
        gdn_put_plain(out, gdn_diff_side(fact->base));
        fputs(" -> ", out);
        gdn_put_plain(out, gdn_diff_side(fact->now));
        fputc('\n', out);
    }
    for (size_t i = 0; i < diff->n_entries; i++) {
        put_entry(&diff->entries[i], out);
    }
    fprintf(out, "%zu cases in both, %zu comparable", diff->in_both, diff->comparable);
    for (int change = 0; change < GDN_CHANGE_COUNT; change++) {
        if (diff->tally[change] > 0) {
            fprintf(out, "; %zu %s", diff->tally[change],
                    gdn_change_title((gdn_change)change));
        }
    }
    fprintf(out, "\n%zu regressions\n", diff->regressions);
}

static json_t *side_json(const gdn_case_result *c) {
    if (!c) {
        return json_null();
    }
    return json_pack("{s:s, s:o, s:s?, s:s?}", "verdict", gdn_verdict_name(c->verdict),
                     "budget",
                     c->n_tensors > 0 ? gdnp_number_json(gdn_case_budget(c)) : json_null(),
                     "deviation", c->diagnosis.deviation, "message", c->message);
}

static json_t *entry_json(const gdn_diff_entry *e) {
    json_t *json =
        json_pack("{s:s, s:s, s:b, s:o, s:o}", "change", gdn_change_name(e->change), "id",
                  e->now ? e->now->id : e->base->id, "regression", e->regression, "base",
                  side_json(e->base), "new", side_json(e->now));
    if (json && e->factor != 0.0) {
        json_object_set_new(json, "factor", gdnp_number_json(e->factor));
    }
    if (json && e->change == GDN_CHANGE_RAISED && e->now->ratchet.reason) {
        json_object_set_new(json, "reason", json_string(e->now->ratchet.reason));
    }
    return json;
}

json_t *gdn_diff_json(const gdn_report_diff *diff) {
    json_t *facts = json_array();
    for (size_t i = 0; i < diff->n_facts; i++) {
        const gdn_diff_fact *fact = &diff->facts[i];
        json_array_append_new(facts, json_pack("{s:s, s:s?, s:s?}", "what", fact->what,
                                               "base", fact->base, "new", fact->now));
    }
    json_t *tally = json_object();
    for (int change = 0; change < GDN_CHANGE_COUNT; change++) {
        json_object_set_new(tally, gdn_change_name((gdn_change)change),
                            json_integer((json_int_t)diff->tally[change]));
    }
    json_t *changes = json_array();
    for (size_t i = 0; i < diff->n_entries; i++) {
        if (json_array_append_new(changes, entry_json(&diff->entries[i])) != 0) {
            json_decref(changes);
            changes = NULL;
            break;
        }
    }
    return json_pack("{s:i, s:I, s:I, s:I, s:o, s:o, s:o}", "schema", GDN_REPORT_SCHEMA,
                     "in_both", (json_int_t)diff->in_both, "comparable",
                     (json_int_t)diff->comparable, "regressions",
                     (json_int_t)diff->regressions, "tally", tally, "facts", facts,
                     "changes", changes);
}
