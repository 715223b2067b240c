// libcurl: the client that alerts are sent with.
#include <curl/curl.h>

// Options and information travel as variable arguments, which Swift can't pass on.
static inline CURLcode fleet_curl_set_text(CURL *handle, CURLoption option, const char *value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode fleet_curl_set_number(CURL *handle, CURLoption option, long value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode fleet_curl_set_size(CURL *handle, CURLoption option, curl_off_t value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode fleet_curl_set_list(CURL *handle, CURLoption option, struct curl_slist *value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode fleet_curl_set_blob(CURL *handle, CURLoption option, struct curl_blob *value) {
    return curl_easy_setopt(handle, option, value);
}
static inline CURLcode fleet_curl_set_writer(
    CURL *handle, size_t (*writer)(char *, size_t, size_t, void *), void *context) {
    CURLcode code = curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, writer);
    return code == CURLE_OK ? curl_easy_setopt(handle, CURLOPT_WRITEDATA, context) : code;
}
// CURLOPT_PROTOCOLS_STR is there from 7.85 on, which Ubuntu 22.04 and RHEL 9 don't have; what it follows goes from 8 on.
static inline CURLcode fleet_curl_allow_only(CURL *handle, int http) {
    CURLcode code = curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, http ? "https,http" : "https");
    if (code != CURLE_UNKNOWN_OPTION) return code;
    const int protocols = 181; // CURLOPT_PROTOCOLS, by its number: naming it is a warning
    return curl_easy_setopt(handle, (CURLoption)protocols, http ? CURLPROTO_HTTPS | CURLPROTO_HTTP : (long)CURLPROTO_HTTPS);
}
static inline CURLcode fleet_curl_status(CURL *handle, long *status) {
    return curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, status);
}
static const size_t fleet_curl_error_size = CURL_ERROR_SIZE;
static inline CURLcode fleet_curl_set_errors(CURL *handle, char *buffer) {
    return curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, buffer);
}
static inline CURLcode fleet_curl_start(void) { return curl_global_init(CURL_GLOBAL_DEFAULT); }
