// Thin calls into llhttp; the header says what each is for.
#include "CLLHTTP.h"

#include <stdlib.h>

#include "llhttp.h"

struct cllhttp {
    llhttp_t parser;
    const cllhttp_calls *calls;
    void *owner;
    bool in_head;
    bool at_end;
};

static cllhttp *door(llhttp_t *parser) { return (cllhttp *)parser->data; }

static int on_message_begin(llhttp_t *parser) {
    door(parser)->in_head = true;
    return 0;
}

static int on_url(llhttp_t *parser, const char *at, size_t size) {
    cllhttp *self = door(parser);
    return self->calls->target(self->owner, at, size) ? 0 : HPE_USER;
}

// Fields after the head are trailers: parsed, so that framing stays right, and dropped.
static int on_name(llhttp_t *parser, const char *at, size_t size) {
    cllhttp *self = door(parser);
    return !self->in_head || self->calls->name(self->owner, at, size) ? 0 : HPE_USER;
}

static int on_value(llhttp_t *parser, const char *at, size_t size) {
    cllhttp *self = door(parser);
    return !self->in_head || self->calls->value(self->owner, at, size) ? 0 : HPE_USER;
}

static int on_field_end(llhttp_t *parser) {
    cllhttp *self = door(parser);
    return !self->in_head || self->calls->field_end(self->owner) ? 0 : -1;
}

static int on_body(llhttp_t *parser, const char *at, size_t size) {
    cllhttp *self = door(parser);
    return self->calls->body(self->owner, at, size) ? 0 : HPE_USER;
}

static int on_headers_complete(llhttp_t *parser) {
    cllhttp *self = door(parser);
    self->in_head = false;
    // No protocol is switched here: an Upgrade offer is ignored and the message goes on as plain HTTP.
    if (parser->method != HTTP_CONNECT) parser->upgrade = 0;
    return HPE_PAUSED;
}

static int on_message_complete(llhttp_t *parser) {
    door(parser)->at_end = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_message_begin = on_message_begin,
    .on_url = on_url,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_header_value_complete = on_field_end,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

cllhttp *cllhttp_create(const cllhttp_calls *calls) {
    cllhttp *self = calloc(1, sizeof *self);
    if (self == NULL) return NULL;
    llhttp_init(&self->parser, HTTP_REQUEST, &settings);
    self->parser.data = self;
    self->calls = calls;
    return self;
}

void cllhttp_set_owner(cllhttp *self, void *owner) { self->owner = owner; }

void cllhttp_free(cllhttp *parser) { free(parser); }

cllhttp_result cllhttp_execute(cllhttp *self, const void *data, size_t size, size_t *used) {
    if (llhttp_get_errno(&self->parser) == HPE_PAUSED) llhttp_resume(&self->parser);
    self->at_end = false;
    llhttp_errno_t result = llhttp_execute(&self->parser, data, size);
    if (result == HPE_OK) {
        *used = size;
        return CLLHTTP_MORE;
    }
    *used = (size_t)(llhttp_get_error_pos(&self->parser) - (const char *)data);
    if (result == HPE_PAUSED) return self->at_end ? CLLHTTP_END : CLLHTTP_HEAD;
    return result == HPE_USER || result == HPE_CB_HEADER_VALUE_COMPLETE ? CLLHTTP_STOPPED : CLLHTTP_BAD;
}

cllhttp_head cllhttp_head_of(const cllhttp *self) {
    const llhttp_t *parser = &self->parser;
    return (cllhttp_head){
        .method = parser->method,
        .major = parser->http_major,
        .minor = parser->http_minor,
        .chunked = (parser->flags & F_CHUNKED) != 0,
        .has_length = (parser->flags & F_CONTENT_LENGTH) != 0,
        .keep_alive = llhttp_should_keep_alive(parser) != 0,
        .connect = parser->method == HTTP_CONNECT,
        .length = parser->content_length,
    };
}

const char *cllhttp_problem(const cllhttp *self) {
    const char *reason = llhttp_get_error_reason(&self->parser);
    return reason != NULL ? reason : "not HTTP/1";
}

const char *cllhttp_method_name(uint8_t method) {
    return method <= HTTP_QUERY ? llhttp_method_name((llhttp_method_t)method) : NULL;
}
