// A handler as it was built against the first ABI, with no header of today: this file is never changed, and must load for ever.
typedef unsigned int u32;
typedef unsigned long long u64;
struct bytes { const void *data; u64 size; };
struct header { struct bytes name, value; };
struct invocation {
    u32 size, version;
    u64 id, deadline;
    struct bytes method, path, query, tenant, function, request_id;
    const struct header *headers;
    u64 header_count;
    struct bytes body;
    u32 body_complete, reserved;
};
struct host {
    u32 size, version;
    void (*log)(int, struct bytes);
    void (*fail)(struct bytes);
    int (*read_body)(void *, u64, u64 *);
    int (*respond)(int, const struct header *, u64);
    int (*write)(struct bytes);
    int (*flush)(void);
};
struct table {
    u32 size, version;
    int (*init)(const struct host *, struct bytes, void **);
    int (*invoke)(void *, const struct invocation *, const struct host *);
    void (*shutdown)(void *);
};
struct plugin { u32 size, abi, kind, reserved; const char *name, *version; const void *table; };

static int invoke(void *state, const struct invocation *call, const struct host *host) {
    (void)state;
    struct header type = {{"content-type", 12}, {"text/plain", 10}};
    if (host->respond(201, &type, 1) != 0) return -1;
    host->write(call->method);
    host->write(call->path);
    host->write(call->query);
    return host->write(call->body);
}

__attribute__((visibility("default"))) const struct plugin *swiftlet_plugin_entry(u32 host_abi);
const struct plugin *swiftlet_plugin_entry(u32 host_abi) {
    static const struct table table = {sizeof table, 1, 0, invoke, 0};
    static const struct plugin plugin = {sizeof plugin, 1, 1, 0, "first", "1", &table};
    return host_abi >= 1 ? &plugin : 0;
}
