/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "store_http.h"
#include "store_index.h"
#include "vector_file.h"

/* ---- one upload ---- */

static void rewind_file(void *data) {
    rewind(data);
}

static size_t drop_answer(char *bytes, size_t one, size_t n, void *data) {
    (void)bytes;
    (void)data;
    return one * n;
}

static gdn_status upload(const gdnp_http_url *base, const char *relative, FILE *file,
                         int64_t size, bool post, const gdn_store_options *options,
                         gdn_error *err) {
    gdnp_request request;
    GDN_TRY(gdnp_request_create(&request, base, relative, options, err));
    CURL *easy = request.easy;
    /* A redirected upload would be sent to a place that nobody named. */
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, NULL); /* libcurl's own: fread */
    curl_easy_setopt(easy, CURLOPT_READDATA, file);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, drop_answer);
    request.headers = curl_slist_append(NULL, "Content-Type: application/octet-stream");
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, request.headers);
    if (post) {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
    } else {
        curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)size);
    }
    gdn_status status = gdnp_request_perform(&request, options, rewind_file, file, err);
    long code = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &code);
    if (status == GDN_OK && code / 100 != 2) {
        status = gdn_error_set(err, GDN_ERR_FORMAT,
                               "%s: HTTP status %ld: an upload is not redirected",
                               request.url, code);
    }
    gdnp_request_destroy(&request);
    return status;
}

static gdn_status upload_path(const gdnp_http_url *base, const char *relative,
                              const char *path, bool post, const gdn_store_options *options,
                              int64_t *size, gdn_error *err) {
    struct stat info;
    FILE *file = fopen(path, "rbe");
    if (!file || fstat(fileno(file), &info) != 0 || !S_ISREG(info.st_mode)) {
        gdn_error_set(err, GDN_ERR_IO, "cannot open %s: %s", path,
                      file ? "not a regular file" : strerror(errno));
        if (file) {
            fclose(file);
        }
        return GDN_ERR_IO;
    }
    *size = info.st_size;
    const gdn_status status =
        upload(base, relative, file, info.st_size, post, options, err);
    fclose(file);
    return status;
}

gdn_status gdn_store_push_file(const char *url, const char *path, bool post,
                               const gdn_store_options *options, gdn_error *err) {
    gdnp_http_url base;
    int64_t size = 0;
    GDN_TRY(gdnp_http_url_parse(&base, url, err));
    char *copy = strdup(path);
    const bool folder = base.shown[strlen(base.shown) - 1] == '/';
    char *name = copy && folder && !post ? curl_easy_escape(NULL, basename(copy), 0) : NULL;
    gdn_status status =
        !copy || (folder && !post && !name)
            ? gdn_error_set(err, GDN_ERR_OOM, "no memory for a name")
            : upload_path(&base, name ? name : "", path, post, options, &size, err);
    curl_free(name);
    free(copy);
    gdnp_http_url_destroy(&base);
    return status;
}

/* ---- a folder of vectors ---- */

typedef struct push {
    const gdn_store_options *options;
    const char *folder;
    gdnp_http_url url;
    gdn_store_summary *summary;
} push;

/* Names with a digest in them are never written twice with other bytes: whoever reads the
 * old index meanwhile finds the old files. */
static gdn_status name_files(json_t *suite, gdn_error *err) {
    json_t *files = json_object_get(suite, "files");
    for (size_t i = 0; i < json_array_size(files); i++) {
        json_t *file = json_array_get(files, i);
        const char *name = json_string_value(json_object_get(file, "name"));
        const char *digest = json_string_value(json_object_get(file, "sha256"));
        json_t *path = json_sprintf("%.16s.%s", digest, name);
        if (!path || json_object_set_new(file, "path", path) != 0) {
            return gdn_error_set(err, GDN_ERR_OOM, "no memory for the index");
        }
    }
    return GDN_OK;
}

static gdn_status push_suite(push *p, const char *name, json_t *suite, gdn_error *err) {
    gdn_vector_reader *reader = NULL;
    GDN_TRY(gdn_vector_reader_open(&reader, p->folder, name, err));
    gdn_vector_reader_close(reader);
    GDN_TRY(name_files(suite, err));
    const json_t *files = json_object_get(suite, "files");
    for (size_t i = 0; i < json_array_size(files); i++) {
        const json_t *file = json_array_get(files, i);
        const char *relative = json_string_value(json_object_get(file, "path"));
        char *path = NULL;
        int64_t size = 0;
        if (asprintf(&path, "%s/%s", p->folder,
                     json_string_value(json_object_get(file, "name"))) < 0) {
            return gdn_error_set(err, GDN_ERR_OOM, "no memory for a path");
        }
        const gdn_status status =
            upload_path(&p->url, relative, path, false, p->options, &size, err);
        free(path);
        if (status != GDN_OK) {
            return status;
        }
        p->summary->files++;
        p->summary->fetched++;
        p->summary->bytes += size;
        p->summary->total_bytes += size;
    }
    return GDN_OK;
}

/* The server's index with ours in place of its suites of the same names. */
static gdn_status merge_index(push *p, json_t *index, gdn_error *err) {
    char *text = NULL;
    size_t size = 0;
    json_t *there = NULL;
    GDN_TRY(gdnp_http_get(&text, &size, &p->url, GDNP_INDEX_NAME, GDNP_INDEX_BYTES, true,
                          p->options, err));
    if (!text) {
        return GDN_OK;
    }
    const gdn_status status =
        gdnp_index_parse(&there, text, size, "the server's " GDNP_INDEX_NAME, err);
    free(text);
    if (status != GDN_OK) {
        return status;
    }
    static const char *const PARTS[] = {"suites", "tombstones"};
    for (size_t i = 0; i < sizeof PARTS / sizeof PARTS[0]; i++) {
        json_t *ours = json_object_get(index, PARTS[i]);
        json_object_update_missing(ours, json_object_get(there, PARTS[i]));
    }
    json_decref(there);
    return GDN_OK;
}

static gdn_status push_index(push *p, const json_t *index, gdn_error *err) {
    char *text = json_dumps(index, JSON_INDENT(1) | JSON_SORT_KEYS);
    FILE *file = text ? fmemopen(text, strlen(text), "r") : NULL;
    const gdn_status status =
        file ? upload(&p->url, GDNP_INDEX_NAME, file, (int64_t)strlen(text), false,
                      p->options, err)
             : gdn_error_set(err, GDN_ERR_OOM, "no memory for the index");
    if (file) {
        fclose(file);
    }
    free(text);
    return status;
}

gdn_status gdn_store_push(gdn_store_summary *summary, const char *url, const char *folder,
                          const char *const *suites, const gdn_store_options *options,
                          gdn_error *err) {
    push p = {.options = options, .folder = folder, .summary = summary};
    json_t *index = NULL;
    *summary = (gdn_store_summary){0};
    GDN_TRY(gdn_store_index(&index, folder, suites, err));
    gdn_status status = gdnp_http_url_parse(&p.url, url, err);
    if (status == GDN_OK && p.url.shown[strlen(p.url.shown) - 1] != '/') {
        status = gdn_error_set(err, GDN_ERR_ARG,
                               "URL: expected a folder's, ending with '/', but found %s",
                               p.url.shown);
    }
    const char *name;
    json_t *suite;
    json_object_foreach(json_object_get(index, "suites"), name, suite) {
        status = status == GDN_OK ? push_suite(&p, name, suite, err) : status;
    }
    if (status == GDN_OK) {
        status = merge_index(&p, index, err);
    }
    if (status == GDN_OK) {
        status = push_index(&p, index, err);
    }
    gdnp_http_url_destroy(&p.url);
    json_decref(index);
    return status;
}
