/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <stdlib.h>
#include <string.h>

#include "store_transfer.h"

/* Connections at a time: enough to fill a line whose delay is large, few for a server. */
#define PARALLEL 4

/* Longest sleep while something may change that libcurl does not see. */
#define POLL_MS 50

typedef struct pull {
    const gdn_store_options *options;
    gdnp_http_url url; ///< folder of the index
    gdnp_cache cache;
    json_t *index;
    char set[65];
    gdnp_transfer *transfers;
    size_t count;
    CURLM *multi;
    double shown; ///< when progress was shown last
    double began;
} pull;

/* ---- the index ---- */

/* The URL of the index, or of the folder that it is in. */
static gdn_status find_base(pull *p, const char *url, gdn_error *err) {
    GDN_TRY(gdnp_http_url_parse(&p->url, url, err));
    const size_t length = strlen(p->url.shown), name = strlen(GDNP_INDEX_NAME);
    if (length > name && p->url.shown[length - name - 1] == '/' &&
        strcmp(p->url.shown + length - name, GDNP_INDEX_NAME) == 0) {
        p->url.shown[length - name] = '\0';
    } else if (p->url.shown[length - 1] != '/') {
        char *folder = NULL;
        if (asprintf(&folder, "%s/", p->url.shown) < 0) {
            return gdn_error_set(err, GDN_ERR_OOM, "no memory for a URL");
        }
        free(p->url.shown);
        p->url.shown = folder;
    }
    return GDN_OK;
}

static gdn_status fetch_index(pull *p, gdn_error *err) {
    char *text = NULL, *where = NULL;
    size_t size = 0;
    gdn_status status = GDN_OK;
    if (asprintf(&where, "%s%s", p->url.shown, GDNP_INDEX_NAME) < 0) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a URL");
    }
    if (p->options->offline) {
        status = gdnp_cache_get_url(&p->cache, p->url.shown, p->set, err);
        if (status == GDN_OK) {
            status = gdnp_cache_read(&p->cache, p->set, &text, &size, err);
        }
    } else {
        status = gdnp_http_get(&text, &size, &p->url, GDNP_INDEX_NAME, GDNP_INDEX_BYTES,
                               false, p->options, err);
    }
    if (status == GDN_OK) {
        status = gdnp_index_parse(&p->index, text, size, where, err);
    }
    if (status == GDN_OK && !p->options->offline) {
        status = gdnp_cache_add(&p->cache, text, size, p->set, err);
        if (status == GDN_OK) {
            status = gdnp_cache_set_url(&p->cache, p->url.shown, p->set, err);
        }
    }
    free(where);
    free(text);
    return status;
}

/* ---- the files ---- */

/* What the cache has is verified here, each time. */
static gdn_status plan_transfers(pull *p, const gdnp_index_file *files, size_t count,
                                 gdn_error *err) {
    p->transfers = calloc(count, sizeof *p->transfers);
    if (!p->transfers) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for %zu transfers", count);
    }
    for (size_t i = 0; i < count; i++) {
        gdnp_transfer *t = &p->transfers[i];
        bool has = false;
        *t = (gdnp_transfer){.file = files[i], .cache = &p->cache, .fd = -1};
        p->count++;
        GDN_TRY(gdnp_cache_has(&p->cache, files[i].sha256, files[i].size, &has, err));
        t->phase = has ? GDNP_FINISHED : GDNP_WAITING;
        if (!has && p->options->offline) {
            return gdn_error_set(err, GDN_ERR_ARG,
                                 "--offline: the cache does not have %s of %s",
                                 files[i].name, p->url.shown);
        }
    }
    return GDN_OK;
}

static void show_progress(pull *p, bool last) {
    const double now = gdnp_seconds();
    if (!p->options->progress || (!last && now < p->shown + 0.1)) {
        return;
    }
    p->shown = now;
    double all = 0.0, have = 0.0, fetched = 0.0;
    for (size_t i = 0; i < p->count; i++) {
        const gdnp_transfer *t = &p->transfers[i];
        all += (double)t->file.size;
        have += t->phase == GDNP_FINISHED ? (double)t->file.size : (double)t->have;
        fetched += (double)t->fetched;
    }
    const int filled = all > 0.0 ? (int)(24.0 * have / all) : 24;
    const double seconds = now - p->began;
    fprintf(p->options->progress, "\r\033[K[%.*s%.*s] %.1f of %.1f MB, %.1f MB/s%s", filled,
            "########################", 24 - filled, "........................", have / 1e6,
            all / 1e6, seconds > 0.0 ? fetched / 1e6 / seconds : 0.0, last ? "\n" : "");
    fflush(p->options->progress);
}

/* Starts what may start; counts what runs and what is not finished. */
static gdn_status start_some(pull *p, size_t *running, size_t *left, gdn_error *err) {
    *running = 0;
    *left = 0;
    for (size_t i = 0; i < p->count; i++) {
        *running += p->transfers[i].phase == GDNP_RUNNING;
    }
    for (size_t i = 0; i < p->count; i++) {
        gdnp_transfer *t = &p->transfers[i];
        bool started = false;
        if (*running < PARALLEL) {
            GDN_TRY(gdnp_transfer_start(t, &p->url, p->options, &started, err));
        }
        if (started) {
            curl_multi_add_handle(p->multi, t->request.easy);
            ++*running;
        }
        *left += t->phase != GDNP_FINISHED;
    }
    return GDN_OK;
}

static gdn_status collect(pull *p, gdn_error *err) {
    int queued = 0;
    for (CURLMsg *m; (m = curl_multi_info_read(p->multi, &queued));) {
        if (m->msg != CURLMSG_DONE) {
            continue;
        }
        gdnp_transfer *t = NULL;
        const CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        curl_multi_remove_handle(p->multi, m->easy_handle);
        GDN_TRY(gdnp_transfer_end(t, code, p->options, err));
    }
    return GDN_OK;
}

static gdn_status transfer_all(pull *p, gdn_error *err) {
    if (!(p->multi = curl_multi_init())) {
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for transfers");
    }
    p->began = gdnp_seconds();
    bool shown = false;
    for (;;) {
        size_t running = 0, left = 0;
        int active = 0;
        GDN_TRY(start_some(p, &running, &left, err));
        if (left == 0) {
            break;
        }
        shown = true;
        if (curl_multi_perform(p->multi, &active) != CURLM_OK ||
            curl_multi_poll(p->multi, NULL, 0, POLL_MS, NULL) != CURLM_OK) {
            return gdn_error_set(err, GDN_ERR_OOM, "libcurl cannot go on");
        }
        GDN_TRY(collect(p, err));
        show_progress(p, false);
    }
    if (shown) {
        show_progress(p, true);
    }
    return GDN_OK;
}

static gdn_status link_all(pull *p, char **folder, gdn_error *err) {
    GDN_TRY(gdnp_cache_set_folder(&p->cache, p->set, folder, err));
    gdn_status status = GDN_OK;
    for (size_t i = 0; status == GDN_OK && i < p->count; i++) {
        status = gdnp_cache_link(*folder, p->transfers[i].file.name,
                                 p->transfers[i].file.sha256, err);
    }
    if (status != GDN_OK) {
        free(*folder);
        *folder = NULL;
    }
    return status;
}

static void close_pull(pull *p) {
    for (size_t i = 0; i < p->count; i++) {
        gdnp_transfer *t = &p->transfers[i];
        if (t->phase == GDNP_RUNNING && t->request.easy && p->multi) {
            curl_multi_remove_handle(p->multi, t->request.easy);
        }
        gdnp_transfer_cancel(t);
    }
    if (p->multi) {
        curl_multi_cleanup(p->multi);
    }
    free(p->transfers);
    json_decref(p->index);
    gdnp_cache_close(&p->cache);
    gdnp_http_url_destroy(&p->url);
}

gdn_status gdn_store_pull(char **folder, gdn_store_summary *summary, const char *url,
                          const char *const *suites, const gdn_store_options *options,
                          gdn_error *err) {
    pull p = {.options = options};
    gdnp_index_file *files = NULL;
    size_t count = 0;
    *folder = NULL;
    *summary = (gdn_store_summary){0};
    gdn_status status = find_base(&p, url, err);
    if (status == GDN_OK) {
        status = gdnp_cache_open(&p.cache, err);
    }
    if (status == GDN_OK) {
        status = fetch_index(&p, err);
    }
    if (status == GDN_OK) {
        status = gdnp_index_select(&files, &count, p.index, suites, p.url.shown, err);
    }
    if (status == GDN_OK) {
        status = plan_transfers(&p, files, count, err);
    }
    if (status == GDN_OK) {
        status = transfer_all(&p, err);
    }
    if (status == GDN_OK) {
        status = link_all(&p, folder, err);
    }
    for (size_t i = 0; i < p.count; i++) {
        summary->files++;
        summary->fetched += p.transfers[i].fetched > 0;
        summary->bytes += p.transfers[i].fetched;
        summary->total_bytes += p.transfers[i].file.size;
    }
    free(files);
    close_pull(&p);
    return status;
}
