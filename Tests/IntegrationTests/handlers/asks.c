/// Makes a host call and sends back what comes of it: "ok:" and the bytes, or "no:" and the host's words.
__attribute__((unused)) static int32_t ask(const swiftlet_host_v1 *host, const char *name, swiftlet_bytes payload) {
    uint32_t number = 0;
    int32_t status = host->call((swiftlet_bytes){name, strlen(name)}, payload, &number);
    if (status != SWIFTLET_OK) return status;
    swiftlet_event_v1 event = {.size = sizeof event, .version = 1};
    bool said = false;
    do {
        status = host->next(UINT64_MAX, &event);
        if (status != SWIFTLET_OK) return status;
        if (!said) host->write((swiftlet_bytes){event.kind == SWIFTLET_EVENT_FAILED ? "no:" : "ok:", 3});
        said = true;
        if (event.data.size > 0) host->write(event.data);
    } while (event.kind == SWIFTLET_EVENT_DATA);
    return SWIFTLET_OK;
}
