/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <inttypes.h>
#include <math.h>

#include "forms.h"
#include "text.h"

static void put_exact(FILE *out, double x) {
    if (isfinite(x)) {
        fprintf(out, ",%.17g", x);
    } else {
        fputs(isnan(x) ? ",nan" : x > 0 ? ",inf" : ",-inf", out);
    }
}

static void put_case(const gdn_run_result *run, const gdn_case_result *c, FILE *out) {
    gdn_put_csv(out, run->device);
    fputc(',', out);
    gdn_put_csv(out, c->id);
    fprintf(out, ",%s,", gdn_verdict_name(c->verdict));
    gdn_put_csv(out, c->diagnosis.deviation ? c->diagnosis.deviation : "");
    fputc(',', out);
}

static void put_tensor(const gdn_tensor_result *t, FILE *out) {
    gdn_put_csv(out, t->name);
    fprintf(out, ",%s,%s,%d,%" PRId64 ",%" PRId64, gdn_dtype_name(t->dtype),
            t->judgement == GDN_JUDGE_EXACT ? "exact" : "bounded", t->ok, t->compared,
            t->failed);
    put_exact(out, t->budget);
    fputc(',', out);
    gdn_put_csv(out, t->worst);
    fputc(',', out);
    gdn_put_csv(out, t->first_bad);
    const double metrics[] = {t->golden, t->found, t->limit, t->max_error, t->max_ulps,
                              t->rel_l2, t->rms,   t->nmse,  t->cosine};
    for (size_t i = 0; i < sizeof metrics / sizeof metrics[0]; i++) {
        put_exact(out, metrics[i]);
    }
    fprintf(out, ",%d\r\n", t->upstream_ok);
}

void gdn_report_csv(const gdn_run_result *run, FILE *out) {
    fputs("device,case,verdict,deviation,tensor,dtype,judgement,ok,compared,failed,budget,"
          "worst,first_bad,golden,found,limit,max_error,max_ulps,rel_l2,rms,nmse,cosine,"
          "upstream_ok\r\n",
          out);
    for (size_t i = 0; i < run->n_cases; i++) {
        const gdn_case_result *c = &run->cases[i];
        for (size_t k = 0; k < c->n_tensors; k++) {
            put_case(run, c, out);
            put_tensor(&c->tensors[k], out);
        }
        if (c->n_tensors == 0) {
            put_case(run, c, out);
            fputs(",,,,,,,,,,,,,,,,,,\r\n", out);
        }
    }
}
