/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "certificate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define CERTIFIER "gdn-conform " GDN_VERSION

/* ---- manifest ---- */

gdn_status gdnp_certificate_to_json(json_t *entry, const gdn_certificate *certificate,
                                    gdn_error *err) {
    bool good = true;
    if (!certificate->certified) {
        char text[128];
        snprintf(text, sizeof text, "some %.1e operations, more than the bound of %.1e",
                 certificate->cost, GDN_CERTIFIED_COST);
        good = json_object_set_new(entry, "uncertified", json_string(text)) == 0;
    } else {
        json_t *tensors = json_object();
        for (size_t i = 0; i < certificate->n_outputs; i++) {
            const gdn_certified *c = &certificate->outputs[i];
            json_t *figures = json_pack("{s:f, s:f, s:I}", "limits", c->limits, "ulps",
                                        c->ulps, "undecided", (json_int_t)c->undecided);
            good = good && json_object_set_new(tensors, c->tensor, figures) == 0;
        }
        good = json_object_set_new(entry, "certified", tensors) == 0 && good;
        good = good && json_object_set_new(entry, "rounding_ties",
                                           json_integer(certificate->ties)) == 0;
    }
    return good ? GDN_OK : gdn_error_set(err, GDN_ERR_OOM, "out of memory");
}

static bool is_figure(const json_t *value) {
    return json_is_number(value) && json_number_value(value) >= 0.0;
}

gdn_status gdnp_certificate_check(const json_t *entry, gdn_error *err) {
    json_t *tensors = json_object_get(entry, "certified");
    const json_t *ties = json_object_get(entry, "rounding_ties");
    const json_t *reason = json_object_get(entry, "uncertified");
    const bool whole = json_is_object(tensors) && json_is_integer(ties) && !reason;
    const bool none = !tensors && !ties && (!reason || json_is_string(reason));
    if (!whole && !none) {
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "expected certified with rounding_ties, or uncertified");
    }
    const char *name;
    json_t *figures;
    json_object_foreach(tensors, name, figures) {
        if (!is_figure(json_object_get(figures, "limits")) ||
            !is_figure(json_object_get(figures, "ulps")) ||
            !json_is_integer(json_object_get(figures, "undecided"))) {
            return gdn_error_set(err, GDN_ERR_FORMAT,
                                 "certified: %s: expected limits, ulps and undecided",
                                 name);
        }
    }
    return GDN_OK;
}

gdn_certified_suite gdn_manifest_certified(const json_t *manifest) {
    gdn_certified_suite suite = {0};
    const char *id, *name;
    json_t *entry, *figures;
    json_object_foreach(json_object_get(manifest, "cases"), id, entry) {
        json_t *tensors = json_object_get(entry, "certified");
        suite.certified += tensors != NULL;
        suite.uncertified += tensors == NULL;
        suite.ties += json_integer_value(json_object_get(entry, "rounding_ties"));
        json_object_foreach(tensors, name, figures) {
            suite.limits =
                fmax(suite.limits, json_number_value(json_object_get(figures, "limits")));
            suite.ulps =
                fmax(suite.ulps, json_number_value(json_object_get(figures, "ulps")));
        }
    }
    return suite;
}

/* ---- file ---- */

gdn_status gdnp_certificate_write(hid_t group, const char *tensor,
                                  const gdn_certificate *certificate, gdn_error *err) {
    for (size_t i = 0; i < certificate->n_outputs; i++) {
        const gdn_certified *c = &certificate->outputs[i];
        if (strcmp(c->tensor, tensor) != 0) {
            continue;
        }
        const hid_t dataset = H5Dopen2(group, tensor, H5P_DEFAULT);
        if (dataset < 0) {
            return gdnp_h5_fail(err, GDN_ERR_IO, "cannot open dataset %s", tensor);
        }
        gdn_status status = gdnp_h5_write_real(dataset, "certified_limits", c->limits, err);
        if (status == GDN_OK) {
            status = gdnp_h5_write_real(dataset, "certified_ulps", c->ulps, err);
        }
        if (status == GDN_OK) {
            status = gdnp_h5_write_text(dataset, "certifier", CERTIFIER, err);
        }
        H5Dclose(dataset);
        return status;
    }
    return GDN_OK;
}

gdn_status gdnp_certificate_verify(hid_t dataset, const json_t *entry, const char *tensor,
                                   gdn_error *err) {
    static const char *const FIGURES[][2] = {{"certified_limits", "limits"},
                                             {"certified_ulps", "ulps"}};
    const json_t *figures = json_object_get(json_object_get(entry, "certified"), tensor);
    for (int i = 0; figures && i < 2; i++) {
        double found = 0.0;
        const double expected = json_number_value(json_object_get(figures, FIGURES[i][1]));
        GDN_TRY(gdnp_h5_read_real(dataset, FIGURES[i][0], &found, err));
        if (found != expected) {
            return gdn_error_set(err, GDN_ERR_FORMAT,
                                 "attribute %s: the manifest says %.3g but the file says "
                                 "%.3g; generate the suite again",
                                 FIGURES[i][0], expected, found);
        }
    }
    return GDN_OK;
}
