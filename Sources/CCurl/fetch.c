// A bounded GET of libcurl's; the header says what for.
#include "CCurl.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

typedef struct fetch {
    ccurl_receive receive, receive_header;
    ccurl_stop stop;
    void *context;
    size_t left, headers_left;
    bool too_large;
} fetch;

static size_t take(fetch *f, size_t *left, ccurl_receive receive, const char *data, size_t size) {
    if (size > *left) {
        f->too_large = true;
        return 0;
    }
    *left -= size;
    receive(f->context, data, size);
    return size;
}

static size_t on_body(char *data, size_t one, size_t count, void *raw) {
    fetch *f = raw;
    return take(f, &f->left, f->receive, data, one * count);
}

static size_t on_header(char *data, size_t one, size_t count, void *raw) {
    fetch *f = raw;
    return take(f, &f->headers_left, f->receive_header, data, one * count);
}

static int on_progress(void *raw, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    (void)a, (void)b, (void)c, (void)d;
    fetch *f = raw;
    return f->stop(f->context);
}

long ccurl_fetch(const char *url, size_t most, long milliseconds, const char *authorities, ccurl_receive receive,
                 ccurl_receive receive_header, ccurl_stop stop, void *context, char *error) {
    char words[CURL_ERROR_SIZE] = "";
    long status = 0;
    CURL *curl = curl_easy_init();
    if (curl == NULL) {
        snprintf(error, 256, "libcurl has no memory");
        return 0;
    }
    fetch f = {receive, receive_header, stop, context, most, 64 << 10, false};
    curl_easy_setopt(curl, CURLOPT_URL, url);
    // No redirect is followed: whoever answers must not choose where the next request goes.
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https,http");
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "swiftlet");
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, milliseconds / 2);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, milliseconds);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, words);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &f);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &f);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &f);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    if (authorities != NULL) curl_easy_setopt(curl, CURLOPT_CAINFO, authorities);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK) {
        status = 0;
        if (f.too_large) snprintf(error, 256, "the answer is larger than %zu bytes", most);
        else snprintf(error, 256, "%s", words[0] != 0 ? words : curl_easy_strerror(code));
    }
    curl_easy_cleanup(curl);
    return status;
}
