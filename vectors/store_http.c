/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: the gdn-conform authors */

#include "store_http.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REDIRECTS       8
#define CONNECT_SECONDS 20
/* libcurl's largest: fewer calls of the writer for each megabyte. */
#define BUFFER_BYTES (512L << 10)

/* ---- URLs ---- */

bool gdn_store_is_url(const char *text) {
    const size_t scheme =
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                     "0123456789+.-");
    return scheme > 1 && strncmp(text + scheme, "://", 3) == 0;
}

/* Words of a URL that was not understood may be a password: they are not repeated. */
static gdn_status bad_url(gdn_error *err, const char *what) {
    return gdn_error_set(err, GDN_ERR_ARG,
                         "URL: expected http://HOST/PATH or https://HOST/PATH but found %s",
                         what);
}

static char *url_part(CURLU *handle, CURLUPart part, unsigned flags) {
    char *text = NULL;
    if (curl_url_get(handle, part, &text, flags) != CURLUE_OK) {
        return NULL;
    }
    char *copy = strdup(text);
    curl_free(text);
    return copy;
}

static gdn_status take_apart(gdnp_http_url *url, CURLU *handle, const char *text,
                             gdn_error *err) {
    if (curl_url_set(handle, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK) {
        return bad_url(err, "something else");
    }
    char *scheme = url_part(handle, CURLUPART_SCHEME, 0);
    url->tls = scheme && strcmp(scheme, "https") == 0;
    const bool known = url->tls || (scheme && strcmp(scheme, "http") == 0);
    char what[64];
    snprintf(what, sizeof what, "the scheme \"%.30s\"", scheme ? scheme : "");
    free(scheme);
    if (!known) {
        return bad_url(err, what);
    }
    char *query = url_part(handle, CURLUPART_QUERY, 0);
    char *fragment = url_part(handle, CURLUPART_FRAGMENT, 0);
    const bool plain = !query && !fragment;
    free(query);
    free(fragment);
    if (!plain) {
        return bad_url(err, "a '?' or a '#'");
    }
    char *host = url_part(handle, CURLUPART_HOST, 0);
    url->local = host && (strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
                          strncmp(host, "127.", 4) == 0);
    free(host);
    url->user = url_part(handle, CURLUPART_USER, CURLU_URLDECODE);
    url->password = url_part(handle, CURLUPART_PASSWORD, CURLU_URLDECODE);
    curl_url_set(handle, CURLUPART_USER, NULL, 0);
    curl_url_set(handle, CURLUPART_PASSWORD, NULL, 0);
    url->shown = url_part(handle, CURLUPART_URL, 0);
    return url->shown ? GDN_OK : gdn_error_set(err, GDN_ERR_OOM, "no memory for a URL");
}

gdn_status gdnp_http_url_parse(gdnp_http_url *url, const char *text, gdn_error *err) {
    *url = (gdnp_http_url){0};
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return gdn_error_set(err, GDN_ERR_OOM, "libcurl cannot start");
    }
    CURLU *handle = curl_url();
    const gdn_status status = handle
                                  ? take_apart(url, handle, text, err)
                                  : gdn_error_set(err, GDN_ERR_OOM, "no memory for a URL");
    curl_url_cleanup(handle);
    if (status != GDN_OK) {
        gdnp_http_url_destroy(url);
    }
    return status;
}

void gdnp_http_url_destroy(gdnp_http_url *url) {
    free(url->shown);
    free(url->user);
    free(url->password);
    *url = (gdnp_http_url){0};
}

/* ---- requests ---- */

static const char *environment(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* libcurl itself reads none of the variables that curl's users know. */
static void trust(CURL *easy, const gdn_store_options *options) {
    const char *file = options->cacert ? options->cacert : environment("CURL_CA_BUNDLE");
    const char *folder = file ? NULL : environment("SSL_CERT_DIR");
    file = file ? file : environment("SSL_CERT_FILE");
    if (file) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, file);
    }
    if (folder) {
        curl_easy_setopt(easy, CURLOPT_CAPATH, folder);
    } else if (file) {
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL); /* the given ones, no others */
    }
}

/* A token is sent to the host that the user named and, by libcurl's rule, to no other. */
static gdn_status identify(CURL *easy, const gdnp_http_url *base, gdn_error *err) {
    const char *token = environment(GDN_STORE_TOKEN);
    curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_OPTIONAL);
    if (!token) {
        if (base->user) {
            curl_easy_setopt(easy, CURLOPT_USERNAME, base->user);
            curl_easy_setopt(easy, CURLOPT_PASSWORD, base->password ? base->password : "");
        }
        return GDN_OK;
    }
    for (const char *c = token; *c; c++) {
        if (!isgraph((unsigned char)*c)) {
            return gdn_error_set(err, GDN_ERR_ARG,
                                 GDN_STORE_TOKEN
                                 ": expected printable characters without spaces (a line "
                                 "end at its end?)");
        }
    }
    if (!base->tls && !base->local) {
        return gdn_error_set(err, GDN_ERR_ARG,
                             "%s: the token in " GDN_STORE_TOKEN
                             " is not sent over http; use https",
                             base->shown);
    }
    curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
    curl_easy_setopt(easy, CURLOPT_XOAUTH2_BEARER, token);
    return GDN_OK;
}

gdn_status gdnp_request_create(gdnp_request *request, const gdnp_http_url *base,
                               const char *relative, const gdn_store_options *options,
                               gdn_error *err) {
    *request = (gdnp_request){.easy = curl_easy_init()};
    if (!request->easy || asprintf(&request->url, "%s%s", base->shown, relative) < 0) {
        request->url = NULL;
        gdnp_request_destroy(request);
        return gdn_error_set(err, GDN_ERR_OOM, "no memory for a request");
    }
    CURL *easy = request->easy;
    curl_easy_setopt(easy, CURLOPT_URL, request->url);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, request->message);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, request);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "gdn-conform/" GDN_VERSION);
    curl_easy_setopt(easy, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, base->tls ? "https" : "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)REDIRECTS);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)options->stall_seconds);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, BUFFER_BYTES);
    /* One connection a file: ranges and several streams at once are then independent. */
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    trust(easy, options);
    const gdn_status status = identify(easy, base, err);
    if (status != GDN_OK) {
        gdnp_request_destroy(request);
    }
    return status;
}

void gdnp_request_destroy(gdnp_request *request) {
    curl_easy_cleanup(request->easy);
    curl_slist_free_all(request->headers);
    free(request->url);
    *request = (gdnp_request){0};
}

/* ---- what came of it ---- */

static gdn_status judge_http(const gdnp_request *request, bool *passing, gdn_error *err) {
    long code = 0;
    curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &code);
    *passing = code == 408 || code == 425 || code == 429 || code >= 500;
    const char *hint = code == 401 || code == 403 ? " (set " GDN_STORE_TOKEN
                                                    ", or an entry in ~/.netrc)"
                                                  : "";
    return gdn_error_set(err, *passing ? GDN_ERR_NETWORK : GDN_ERR_FORMAT,
                         "%s: HTTP status %ld%s", request->url, code, hint);
}

gdn_status gdnp_request_judge(gdnp_request *request, CURLcode code, bool *passing,
                              double *wait, gdn_error *err) {
    curl_off_t seconds = 0;
    curl_easy_getinfo(request->easy, CURLINFO_RETRY_AFTER, &seconds);
    *wait = (double)seconds;
    *passing = false;
    const char *said = request->message[0] ? request->message : curl_easy_strerror(code);
    switch (code) {
    case CURLE_OK:
        return GDN_OK;
    case CURLE_HTTP_RETURNED_ERROR:
        return judge_http(request, passing, err);
    case CURLE_UNSUPPORTED_PROTOCOL:
        return gdn_error_set(err, GDN_ERR_FORMAT,
                             "%s: redirected to another scheme, which is refused: %s",
                             request->url, said);
    case CURLE_TOO_MANY_REDIRECTS:
        return gdn_error_set(err, GDN_ERR_FORMAT, "%s: more than %d redirects",
                             request->url, REDIRECTS);
    case CURLE_SSL_CACERT_BADFILE:
        return gdn_error_set(err, GDN_ERR_ARG, "%s: certificates: %s", request->url, said);
    case CURLE_PEER_FAILED_VERIFICATION:
        return gdn_error_set(err, GDN_ERR_NETWORK, "%s: the server is not trusted: %s",
                             request->url, said);
    case CURLE_OUT_OF_MEMORY:
        return gdn_error_set(err, GDN_ERR_OOM, "%s: %s", request->url, said);
    case CURLE_URL_MALFORMAT:
        return gdn_error_set(err, GDN_ERR_FORMAT, "%s: %s", request->url, said);
    default:
        *passing = true;
        return gdn_error_set(err, GDN_ERR_NETWORK, "%s: %s", request->url, said);
    }
}

double gdnp_backoff(unsigned tries, double wait) {
    double seconds = 0.5;
    for (unsigned i = 1; i < tries && seconds < 8.0; i++) {
        seconds *= 2.0;
    }
    return wait > seconds ? (wait < 60.0 ? wait : 60.0) : seconds;
}

void gdnp_request_log(const gdnp_request *request, const gdn_store_options *options,
                      const char *method) {
    if (!options->log) {
        return;
    }
    long code = 0;
    curl_off_t down = 0, up = 0;
    double seconds = 0.0;
    curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &code);
    curl_easy_getinfo(request->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
    curl_easy_getinfo(request->easy, CURLINFO_SIZE_UPLOAD_T, &up);
    curl_easy_getinfo(request->easy, CURLINFO_TOTAL_TIME, &seconds);
    fprintf(options->log, "%s %s: status %ld, %lld bytes in %.3f s\n", method, request->url,
            code, (long long)(down + up), seconds);
}

static void sleep_for(double seconds) {
    struct timespec left = {.tv_sec = (time_t)seconds,
                            .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&left, &left) != 0) {
    }
}

gdn_status gdnp_request_perform(gdnp_request *request, const gdn_store_options *options,
                                void (*restart)(void *data), void *data, gdn_error *err) {
    for (unsigned tries = 1;; tries++) {
        bool passing = false;
        double wait = 0.0;
        gdn_error cause = {0};
        restart(data);
        request->message[0] = '\0';
        const CURLcode code = curl_easy_perform(request->easy);
        gdnp_request_log(request, options, "request");
        const gdn_status status =
            gdnp_request_judge(request, code, &passing, &wait, &cause);
        if (status == GDN_OK) {
            return GDN_OK;
        }
        if (!passing || tries > options->retries) {
            return gdn_error_set(err, status, "%s", cause.message);
        }
        sleep_for(gdnp_backoff(tries, wait));
    }
}

/* ---- small bodies ---- */

typedef struct body {
    char *text;
    size_t size;
    int64_t most;
} body;

static void forget(void *data) {
    ((body *)data)->size = 0;
}

static size_t append(char *bytes, size_t one, size_t n, void *data) {
    body *b = data;
    (void)one;
    if ((int64_t)(b->size + n) > b->most) {
        return 0;
    }
    char *text = realloc(b->text, b->size + n + 1);
    if (!text) {
        return 0;
    }
    b->text = text;
    memcpy(text + b->size, bytes, n);
    b->size += n;
    text[b->size] = '\0';
    return n;
}

gdn_status gdnp_http_get(char **out, size_t *size, const gdnp_http_url *base,
                         const char *relative, int64_t most, bool may_miss,
                         const gdn_store_options *options, gdn_error *err) {
    gdnp_request request;
    gdn_error cause = {0};
    body b = {.text = calloc(1, 1), .most = most};
    *out = NULL;
    gdn_status status = gdnp_request_create(&request, base, relative, options, err);
    if (status != GDN_OK || !b.text) {
        free(b.text);
        return status != GDN_OK ? status
                                : gdn_error_set(err, GDN_ERR_OOM, "no memory for a body");
    }
    curl_easy_setopt(request.easy, CURLOPT_WRITEFUNCTION, append);
    curl_easy_setopt(request.easy, CURLOPT_WRITEDATA, &b);
    curl_easy_setopt(request.easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)most);
    status = gdnp_request_perform(&request, options, forget, &b, &cause);
    long code = 0;
    curl_easy_getinfo(request.easy, CURLINFO_RESPONSE_CODE, &code);
    if (status == GDN_OK) {
        *out = b.text;
        *size = b.size;
    } else {
        free(b.text);
        if (may_miss && code == 404) {
            status = GDN_OK;
        } else {
            gdn_error_set(err, status, "%s", cause.message);
        }
    }
    gdnp_request_destroy(&request);
    return status;
}
