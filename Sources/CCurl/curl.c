// Drives libcurl's easy interface; the header says what for.
#include "CCurl.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

typedef struct sink {
    ccurl_receive receive, receive_header;
    ccurl_progress progress;
    void *context;
} sink;

static size_t on_body(char *data, size_t one, size_t count, void *raw) {
    sink *s = raw;
    s->receive(s->context, data, one * count);
    return one * count;
}

static size_t on_header(char *data, size_t one, size_t count, void *raw) {
    sink *s = raw;
    if (s->receive_header != NULL) s->receive_header(s->context, data, one * count);
    return one * count;
}

static int on_progress(void *raw, curl_off_t to_come, curl_off_t come, curl_off_t size, curl_off_t sent) {
    (void)to_come;
    (void)come;
    sink *s = raw;
    if (size > 0) s->progress(s->context, (uint64_t)sent, (uint64_t)size);
    return CURLE_OK;
}

long ccurl_perform(const char *method, const char *url, const char *const *headers, size_t header_count, const void *body,
                   size_t body_size, const char *upload, const char *authorities, const char *pin,
                   ccurl_receive receive, ccurl_receive receive_header, ccurl_progress progress, void *context, char *error) {
    char words[CURL_ERROR_SIZE] = "";
    long status = 0;
    CURL *curl = curl_easy_init();
    if (curl == NULL) {
        snprintf(error, 256, "libcurl has no memory");
        return 0;
    }
    sink s = {receive, receive_header, progress, context};
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    for (size_t i = 0; i < header_count; i++) list = curl_slist_append(list, headers[i]);
    FILE *file = NULL;
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, words);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &s);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &s);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    if (authorities != NULL) curl_easy_setopt(curl, CURLOPT_CAINFO, authorities);
    if (pin != NULL) {
        curl_easy_setopt(curl, CURLOPT_PINNEDPUBLICKEY, pin);
        // The key itself is known: who else vouches for it, and for which name, adds nothing.
        if (authorities == NULL) {
            curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
            curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
        }
    }
    if (upload != NULL) {
        struct stat info;
        file = fopen(upload, "rbe");
        if (file == NULL || fstat(fileno(file), &info) != 0) {
            snprintf(error, 256, "cannot read %.200s", upload);
            goto done;
        }
        curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(curl, CURLOPT_READDATA, file);
        curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)info.st_size);
        if (progress != NULL) {
            curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
            curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
            curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &s);
        }
    } else if (body != NULL) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body_size);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    }
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK) {
        snprintf(error, 256, "%s", words[0] != 0 ? words : curl_easy_strerror(code));
        status = 0;
    }
done:
    if (file != NULL) fclose(file);
    curl_slist_free_all(list);
    curl_easy_cleanup(curl);
    return status;
}
