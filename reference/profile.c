/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

/* Profile files (suites/profiles/, profile.schema.json). All variants of a file are
 * checked, whichever is asked for: a broken one must not wait for its first user. */
#include "gdn/profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gdn/json_check.h"
#include "gdn/nearest.h"

#define PROFILE_SCHEMA 1

static gdn_status no_memory(gdn_error *err) {
    return gdn_error_set(err, GDN_ERR_OOM, "no memory for a profile");
}

/* `member` is "conventions", or "verify" for those of draft verification. */
static gdn_status read_section(gdn_conventions *conventions, const json_t *object,
                               const char *member, const char *where, gdn_error *err) {
    json_t *json = json_object_get(object, member);
    if (!json) {
        return GDN_OK;
    }
    char path[GDN_JSON_WHERE];
    gdn_json_at(path, where, ".%s", member);
    if (!json_is_object(json)) {
        return gdn_json_unexpected(err, GDN_ERR_FORMAT, path, "an object", json);
    }
    const bool verify = strcmp(member, GDN_VERIFY_OBJECT) == 0;
    gdn_error cause = {0};
    json_t *wrapped = verify ? json_pack("{s:O}", GDN_VERIFY_OBJECT, json) : NULL;
    if (verify && !wrapped) {
        return no_memory(err);
    }
    const gdn_status status =
        gdn_conventions_from_json(conventions, verify ? wrapped : json, true, &cause);
    json_decref(wrapped);
    if (status == GDN_OK || status == GDN_ERR_OOM) {
        return status == GDN_OK ? GDN_OK : no_memory(err);
    }
    /* Below, a wrong value is a caller's; here it stands in a file. */
    return gdn_error_set(err, GDN_ERR_FORMAT, "%s: %s", path, cause.message);
}

static gdn_status read_conventions(gdn_conventions *conventions, const json_t *object,
                                   const char *where, gdn_error *err) {
    GDN_TRY(read_section(conventions, object, "conventions", where, err));
    return read_section(conventions, object, GDN_VERIFY_OBJECT, where, err);
}

static gdn_status read_flag(bool *flag, const json_t *object, const char *member,
                            const char *where, gdn_error *err) {
    const json_t *json = json_object_get(object, member);
    if (json && !json_is_boolean(json)) {
        char path[GDN_JSON_WHERE];
        gdn_json_at(path, where, ".%s", member);
        return gdn_json_unexpected(err, GDN_ERR_FORMAT, path, "true or false", json);
    }
    if (json) {
        *flag = json_is_true(json);
    }
    return GDN_OK;
}

static gdn_status read_ops(gdn_profile *profile, const json_t *root, const char *where,
                           gdn_error *err) {
    const char *names[GDN_OP_COUNT + 1] = {NULL};
    for (int i = 0; i < GDN_OP_COUNT; i++) {
        names[i] = gdn_op_get((gdn_op)i)->name;
    }
    const json_t *ops = json_object_get(root, "ops");
    char path[GDN_JSON_WHERE];
    gdn_json_at(path, where, ".ops");
    if (!json_is_array(ops) || json_array_size(ops) == 0) {
        return gdn_json_unexpected(err, GDN_ERR_FORMAT, path, "a list of op names", ops);
    }
    for (size_t i = 0; i < json_array_size(ops); i++) {
        const json_t *item = json_array_get(ops, i);
        gdn_op op;
        gdn_json_at(path, where, ".ops[%zu]", i);
        if (!json_is_string(item)) {
            return gdn_json_unexpected(err, GDN_ERR_FORMAT, path, "an op name", item);
        }
        if (!gdn_op_from_name(json_string_value(item), &op)) {
            return gdn_error_unknown(err, GDN_ERR_FORMAT, path, json_string_value(item),
                                     names);
        }
        if (profile->ops[op]) {
            return gdn_error_set(err, GDN_ERR_FORMAT,
                                 "%s: expected each op once but found "
                                 "a second \"%s\"",
                                 path, names[op]);
        }
        profile->ops[op] = true;
    }
    return GDN_OK;
}

static gdn_status read_claims(gdn_claim claims[GDN_AXIS_COUNT], const json_t *object,
                              const char *where, gdn_error *err) {
    static const char *const words[] = {"yes", "no", NULL};
    json_t *json = json_object_get(object, "claims");
    char path[GDN_JSON_WHERE];
    if (!json) {
        return GDN_OK;
    }
    gdn_json_at(path, where, ".claims");
    GDN_TRY(gdn_json_members(json, GDN_ERR_FORMAT, path, GDN_AXIS_NAMES, err));
    for (int axis = 0; axis < GDN_AXIS_COUNT; axis++) {
        const json_t *claim = json_object_get(json, GDN_AXIS_NAMES[axis]);
        const char *text = json_string_value(claim);
        if (!claim) {
            continue;
        }
        gdn_json_at(path, where, ".claims.%s", GDN_AXIS_NAMES[axis]);
        if (!text) {
            return gdn_json_unexpected(err, GDN_ERR_FORMAT, path, "\"yes\" or \"no\"",
                                       claim);
        }
        if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0) {
            return gdn_error_unknown(err, GDN_ERR_FORMAT, path, text, words);
        }
        claims[axis] = text[0] == 'y' ? GDN_CLAIMS_YES : GDN_CLAIMS_NO;
    }
    return GDN_OK;
}

/* Appends ", #1 #2" for pull requests after the commit. */
static gdn_status read_pulls(char *text, size_t size, const json_t *object,
                             const char *where, gdn_error *err) {
    const json_t *pulls = json_object_get(object, "pulls");
    char path[GDN_JSON_WHERE];
    gdn_json_at(path, where, ".pulls");
    if (pulls && !json_is_array(pulls)) {
        return gdn_json_unexpected(err, GDN_ERR_FORMAT, path,
                                   "a list of pull request numbers", pulls);
    }
    for (size_t i = 0; i < json_array_size(pulls); i++) {
        const json_t *pull = json_array_get(pulls, i);
        if (!json_is_integer(pull) || json_integer_value(pull) < 1) {
            gdn_json_at(path, where, ".pulls[%zu]", i);
            return gdn_json_unexpected(err, GDN_ERR_FORMAT, path, "a pull request number",
                                       pull);
        }
        const size_t used = strlen(text);
        snprintf(text + used, size - used, "%s #%lld", i > 0 ? "" : ",",
                 (long long)json_integer_value(pull));
    }
    return GDN_OK;
}

static gdn_status read_source(char *text, size_t size, const json_t *root,
                              const char *where, gdn_error *err) {
    static const char *const members[] = {"repository", "commit", "date", NULL};
    const json_t *source = json_object_get(root, "source");
    char path[GDN_JSON_WHERE];
    gdn_json_at(path, where, ".source");
    GDN_TRY(gdn_json_members(source, GDN_ERR_FORMAT, path, members, err));
    const char *repository = NULL;
    const char *commit = NULL;
    const char *date = NULL;
    GDN_TRY(gdn_json_text(&repository, source, "repository", GDN_ERR_FORMAT, path, err));
    GDN_TRY(gdn_json_text(&commit, source, "commit", GDN_ERR_FORMAT, path, err));
    GDN_TRY(gdn_json_text(&date, source, "date", GDN_ERR_FORMAT, path, err));
    snprintf(text, size, "%s at %s (%s)", repository, commit, date);
    return read_pulls(text, size, root, where, err);
}

/* Of the whole: what a file leaves open a variant may still decide. */
static gdn_status check_conventions(const gdn_conventions *conventions, const char *where,
                                    gdn_error *err) {
    gdn_error cause = {0};
    if (gdn_conventions_check(conventions, &cause) == GDN_OK) {
        return GDN_OK;
    }
    return gdn_error_set(err, GDN_ERR_FORMAT, "%s.conventions: %s", where, cause.message);
}

/* A variant laid over the file's common part, which `profile` holds on entry. */
static gdn_status read_variant(gdn_profile *profile, char *source, size_t size,
                               const json_t *variant, const char *where, gdn_error *err) {
    static const char *const members[] = {"summary", "pulls",  "ragged_spec", "conventions",
                                          "verify",  "claims", NULL};
    GDN_TRY(gdn_json_members(variant, GDN_ERR_FORMAT, where, members, err));
    const char *summary = NULL;
    GDN_TRY(gdn_json_text(&summary, variant, "summary", GDN_ERR_FORMAT, where, err));
    GDN_TRY(read_pulls(source, size, variant, where, err));
    GDN_TRY(read_flag(&profile->ragged_spec, variant, "ragged_spec", where, err));
    GDN_TRY(read_conventions(&profile->conventions, variant, where, err));
    GDN_TRY(read_claims(profile->claims, variant, where, err));
    return check_conventions(&profile->conventions, where, err);
}

/* Finds which variant is meant and says whether the file's variants make sense at all. */
static gdn_status pick_variant(const char **picked, const json_t *root, const char *stem,
                               const char *wanted, const char *where, gdn_error *err) {
    json_t *variants = json_object_get(root, "variants");
    const json_t *otherwise = json_object_get(root, "default_variant");
    char path[GDN_JSON_WHERE];
    *picked = NULL;
    if (!variants && !otherwise) {
        return wanted
                   ? gdn_error_set(err, GDN_ERR_ARG,
                                   "profile: expected \"%s\", which has no variants, but "
                                   "found \"%s@%.120s\"",
                                   stem, stem, wanted)
                   : GDN_OK;
    }
    if (!json_is_object(variants) || json_object_size(variants) == 0) {
        gdn_json_at(path, where, ".variants");
        return gdn_json_unexpected(err, GDN_ERR_FORMAT, path,
                                   "an object with a member for each variant", variants);
    }
    const char *names[32] = {NULL};
    size_t n = 0;
    for (void *at = json_object_iter(variants);
         at && n + 1 < sizeof names / sizeof names[0];
         at = json_object_iter_next(variants, at)) {
        names[n++] = json_object_iter_key(at);
    }
    GDN_TRY(gdn_json_text(picked, root, "default_variant", GDN_ERR_FORMAT, where, err));
    if (!json_object_get(variants, *picked)) {
        gdn_json_at(path, where, ".default_variant");
        return gdn_error_unknown(err, GDN_ERR_FORMAT, path, *picked, names);
    }
    if (wanted && !json_object_get(variants, wanted)) {
        gdn_json_at(path, "variant of profile ", "%s", stem);
        return gdn_error_unknown(err, GDN_ERR_ARG, path, wanted, names);
    }
    *picked = wanted ? wanted : *picked;
    return GDN_OK;
}

/* Numbers with a point as text: how jansson writes them depends on its version, and digests
 * must not. */
static bool spell_reals(json_t *json) {
    const char *name = NULL;
    void *next = NULL;
    json_t *value = NULL;
    bool stored = true;
    json_object_foreach_safe(json, next, name, value) {
        if (json_is_real(value)) {
            char text[32];
            snprintf(text, sizeof text, "%.17g", json_real_value(value));
            stored = json_object_set_new(json, name, json_string(text)) == 0 && stored;
        } else {
            stored = spell_reals(value) && stored;
        }
    }
    return stored;
}

static char *canonical_text(const json_t *root) {
    json_t *copy = json_deep_copy(root);
    char *text =
        copy && spell_reals(copy) ? json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(copy);
    return text;
}

static gdn_status set_texts(gdn_profile *profile, const json_t *root, const char *stem,
                            const char *variant, const char *source, gdn_error *err) {
    const char *summary = json_string_value(json_object_get(root, "summary"));
    const json_t *chosen =
        variant ? json_object_get(json_object_get(root, "variants"), variant) : NULL;
    const char *more = json_string_value(json_object_get(chosen, "summary"));
    if (asprintf(&profile->name, "%s%s%s", stem, variant ? "@" : "",
                 variant ? variant : "") < 0) {
        profile->name = NULL;
    }
    if (asprintf(&profile->summary, "%s%s%s", summary, more ? ": " : "", more ? more : "") <
        0) {
        profile->summary = NULL;
    }
    profile->source = strdup(source);
    profile->canonical = canonical_text(root);
    return profile->name && profile->summary && profile->source && profile->canonical
               ? GDN_OK
               : no_memory(err);
}

static gdn_status read_profile(gdn_profile *profile, const json_t *root, const char *stem,
                               const char *wanted, const char *where, gdn_error *err) {
    static const char *const members[] = {
        "schema",          "profile",  "summary",     "source",   "ops",
        "conventions",     "verify",   "ragged_spec", "variants", "pulls",
        "default_variant", "upstream", "validates",   "claims",   NULL};
    char common_source[512];
    char source[768];
    const char *text = NULL;
    const char *picked = NULL;
    GDN_TRY(gdn_json_members(root, GDN_ERR_FORMAT, where, members, err));
    GDN_TRY(gdn_json_text(&text, root, "summary", GDN_ERR_FORMAT, where, err));
    GDN_TRY(read_source(common_source, sizeof common_source, root, where, err));
    gdn_profile common = {.conventions = gdn_conventions_default()};
    GDN_TRY(read_ops(&common, root, where, err));
    GDN_TRY(read_flag(&common.validates, root, "validates", where, err));
    GDN_TRY(read_flag(&common.ragged_spec, root, "ragged_spec", where, err));
    GDN_TRY(read_conventions(&common.conventions, root, where, err));
    GDN_TRY(read_claims(common.claims, root, where, err));
    GDN_TRY(
        gdn_upstream_from_json(&common.upstream, &common.upstream_state, root, where, err));
    GDN_TRY(pick_variant(&picked, root, stem, wanted, where, err));
    if (!picked) {
        GDN_TRY(check_conventions(&common.conventions, where, err));
    }
    *profile = common;
    snprintf(source, sizeof source, "%s", common_source);
    const char *name = NULL;
    json_t *variant = NULL;
    json_object_foreach(json_object_get(root, "variants"), name, variant) {
        char path[GDN_JSON_WHERE];
        char variant_source[sizeof source];
        gdn_profile varied = common;
        gdn_json_at(path, where, ".variants.%.32s", name);
        snprintf(variant_source, sizeof variant_source, "%s", common_source);
        GDN_TRY(read_variant(&varied, variant_source, sizeof variant_source, variant, path,
                             err));
        if (strcmp(name, picked) == 0) {
            *profile = varied;
            memcpy(source, variant_source, sizeof source);
        }
    }
    return set_texts(profile, root, stem, picked, source, err);
}

gdn_status gdn_profile_load(gdn_profile *profile, const char *dir, const char *name,
                            gdn_error *err) {
    *profile = (gdn_profile){0};
    char stem[128];
    const char *at = strchr(name, '@');
    const size_t length = at ? (size_t)(at - name) : strlen(name);
    snprintf(stem, sizeof stem, "%.*s", (int)(length < sizeof stem ? length : sizeof stem),
             name);
    json_t *root = NULL;
    char where[GDN_JSON_WHERE];
    GDN_TRY(gdn_json_open(&root, dir, "profile", stem, PROFILE_SCHEMA, where, err));
    const gdn_status status =
        read_profile(profile, root, stem, at ? at + 1 : NULL, where, err);
    json_decref(root);
    if (status != GDN_OK) {
        gdn_profile_destroy(profile);
    }
    return status;
}

void gdn_profile_destroy(gdn_profile *profile) {
    free(profile->name);
    free(profile->source);
    free(profile->summary);
    free(profile->canonical);
    *profile = (gdn_profile){0};
}
