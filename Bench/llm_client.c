// Streams completions over many connections at once and notes when each token came: an interpreter on the servers' own
// cores would be in the figure.
//
// llm_client PORT PATH SECONDS SEED <LANES    a lane a line: "COUNT DELAY_MS TENANT BODY"; COUNT 0: again and again
//
// A lane sends its body COUNT times, one after the other, each time with other letters for "@@@@@@@@", so that no two
// prompts begin alike. After SECONDS (0: never) nothing more is sent, and it ends as soon as lane 0 does not wait for its
// second token. Prints, a request a line and in microseconds since the start: "LANE done|cut SENT PROMPT COMPLETION TOKEN_AT…";
// PROMPT and COMPLETION are the server's own token counts, 0 when cut before they came.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LANES_MAX = 256, ROOM = 65536, LINE = 16384, TOKENS_MAX = 4096, SILENCE_MS = 180000 };

typedef enum part { HEAD, SIZE, CHUNK, CHUNK_END } part;

typedef struct lane {
    unsigned count, delay_ms, sent;
    char *tenant, *body;
    // The request on its way; socket is -1 between two.
    int socket;
    uint64_t sent_at, *tokens;
    size_t token_count;
    unsigned prompt, completion;
    // Its answer, as far as it was read: the piece of HTTP we are in, what is left of the chunk, the line so far.
    part at;
    size_t left, have;
    bool chunked, done;
    char line[LINE];
} lane;

static lane lanes[LANES_MAX];
static unsigned lane_count;
static struct sockaddr_in server = {.sin_family = AF_INET};
static const char *path;
static uint64_t began_us, seed;
static char output[1 << 23];

static void stop(const char *why, const char *text) {
    fprintf(stderr, "llm_client: %s: %.400s\n", why, text);
    exit(1);
}

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u - began_us;
}

static void read_lanes(void) {
    char *text = NULL;
    size_t room = 0;
    while (getline(&text, &room, stdin) > 0) {
        if (lane_count == LANES_MAX) stop("too many lanes", "256 at most");
        lane *l = &lanes[lane_count++];
        int body = 0;
        text[strcspn(text, "\n")] = 0;
        if (sscanf(text, "%u %u %ms %n", &l->count, &l->delay_ms, &l->tenant, &body) != 3 || body == 0) stop("a lane that can't be read", text);
        l->body = strdup(text + body);
        l->tokens = malloc(TOKENS_MAX * sizeof *l->tokens);
        l->socket = -1;
        if (l->body == NULL || l->tokens == NULL) stop("memory", "");
    }
    free(text);
}

/// Other letters for every request, the first ones as well, so that no cache of prefixes ever hits.
static void vary(char *body, unsigned number) {
    char *mark = strstr(body, "@@@@@@@@");
    uint64_t x = (seed << 32) + number * 0x9e3779b97f4a7c15u;
    for (int i = 0; mark != NULL && i < 8; i++) {
        x = (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9u;
        mark[i] = (char)('a' + (x >> 40) % 26);
    }
}

static void begin(lane *l) {
    static char request[ROOM], body[ROOM];
    static unsigned number;
    const int one = 1;
    if ((size_t)snprintf(body, sizeof body, "%s", l->body) >= sizeof body) stop("a body is too long", l->body);
    vary(body, number++);
    int size = snprintf(
        request, sizeof request, "POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
        "x-swiftlet-tenant: %s\r\nContent-Length: %zu\r\n\r\n%s", path, l->tenant, strlen(body), body);
    if (size >= (int)sizeof request) stop("a request is too long", path);
    l->sent++;
    l->token_count = l->left = l->have = 0;
    l->prompt = l->completion = 0;
    l->chunked = l->done = false;
    l->at = HEAD;
    l->sent_at = now_us();
    l->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (l->socket < 0 || connect(l->socket, (struct sockaddr *)&server, sizeof server) != 0) stop("connect", strerror(errno));
    setsockopt(l->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (send(l->socket, request, (size_t)size, MSG_NOSIGNAL) != size) stop("send", strerror(errno));
}

static void end(lane *l, const char *how) {
    printf("%td %s %llu %u %u", l - lanes, how, (unsigned long long)l->sent_at, l->prompt, l->completion);
    for (size_t i = 0; i < l->token_count; i++) printf(" %llu", (unsigned long long)l->tokens[i]);
    putchar('\n');
    close(l->socket);
    l->socket = -1;
}

static unsigned number_after(const char *text, const char *name) {
    const char *found = strstr(text, name);
    return found == NULL ? 0 : (unsigned)strtoul(found + strlen(name), NULL, 10);
}

/// One line of the event stream.
static void hear(lane *l, uint64_t now) {
    if (strncmp(l->line, "data: ", 6) != 0) return;
    if (strncmp(l->line + 6, "[DONE]", 6) == 0) {
        l->done = true;
        return;
    }
    if (strncmp(l->line + 6, "{\"error\"", 8) == 0) stop("an error in a stream", l->line + 6);
    const char *text = strstr(l->line, "\"text\":\"");
    if (text != NULL && text[8] != '"') {
        if (l->token_count == TOKENS_MAX) stop("an answer without end", l->line);
        l->tokens[l->token_count++] = now;
    }
    if (strstr(l->line, "\"usage\":{") != NULL) {
        l->prompt = number_after(l->line, "\"prompt_tokens\":");
        l->completion = number_after(l->line, "\"completion_tokens\":");
    }
}

/// Adds a byte to the line; true at its end.
static bool line_ends(lane *l, char c) {
    if (l->have + 1 >= LINE) stop("a line is too long", l->line);
    l->line[l->have++] = c;
    l->line[l->have] = 0;
    return c == '\n';
}

/// A line of the answer's head; the empty one ends it.
static void read_head(lane *l, const char *bytes) {
    if (strncmp(l->line, "HTTP/1.1 ", 9) == 0 && strncmp(l->line + 9, "200", 3) != 0) stop("not 200", bytes);
    if (strcasestr(l->line, "transfer-encoding: chunked") == l->line) l->chunked = true;
    if (strcmp(l->line, "\r\n") == 0) {
        if (!l->chunked) stop("an answer without chunks", bytes);
        l->at = SIZE;
    }
    l->have = 0;
}

/// A byte of a chunk's size, in hexadecimal digits.
static void read_size(lane *l, char c) {
    const char *digits = "0123456789abcdef", *digit = memchr(digits, c | 0x20, 16);
    if (digit != NULL) l->left = l->left * 16 + (size_t)(digit - digits);
    else if (c == '\n') l->at = l->left > 0 ? CHUNK : CHUNK_END;
    else if (c != '\r') stop("a chunk without a size", l->line);
}

/// Lines of the event stream may go on from chunk to chunk.
static void take(lane *l, const char *bytes, size_t count, uint64_t now) {
    for (size_t i = 0; i < count; i++) {
        switch (l->at) {
        case HEAD:
            if (line_ends(l, bytes[i])) read_head(l, bytes);
            break;
        case SIZE:
            read_size(l, bytes[i]);
            break;
        case CHUNK:
            if (--l->left == 0) l->at = CHUNK_END;
            if (!line_ends(l, bytes[i])) break;
            hear(l, now);
            l->have = 0;
            break;
        case CHUNK_END:
            if (bytes[i] == '\n') l->at = SIZE;
            break;
        }
    }
}

static void receive(lane *l) {
    static char bytes[ROOM];
    ssize_t got = recv(l->socket, bytes, sizeof bytes - 1, 0);
    if (got <= 0) stop("a stream ended early", got < 0 ? strerror(errno) : l->line);
    bytes[got] = 0;
    take(l, bytes, (size_t)got, now_us());
    if (l->done) end(l, "done");
}

static bool more(const lane *l) { return l->socket < 0 && (l->count == 0 || l->sent < l->count); }

/// Sends what is due; returns how many milliseconds until the next is, -1 when none will be.
static int begin_due(void) {
    int wait = -1;
    for (unsigned n = 0; n < lane_count; n++) {
        lane *l = &lanes[n];
        if (!more(l)) continue;
        uint64_t now = now_us() / 1000;
        if (now >= l->delay_ms) begin(l);
        else if (wait < 0 || l->delay_ms - now < (uint64_t)wait) wait = (int)(l->delay_ms - now) + 1;
    }
    return wait;
}

/// One round of waiting and reading; false when no answer is on its way and none will be.
static bool turn(int wait) {
    struct pollfd all[LANES_MAX];
    unsigned of[LANES_MAX], count = 0;
    for (unsigned n = 0; n < lane_count; n++) {
        if (lanes[n].socket < 0) continue;
        all[count] = (struct pollfd){.fd = lanes[n].socket, .events = POLLIN};
        of[count++] = n;
    }
    if (count == 0 && wait < 0) return false;
    int ready = poll(all, count, wait < 0 ? SILENCE_MS : wait);
    if (ready < 0 || (ready == 0 && wait < 0)) stop("nothing came for 180 s", path);
    for (unsigned i = 0; i < count; i++)
        if (all[i].revents != 0) receive(&lanes[of[i]]);
    return true;
}

int main(int count, char **words) {
    if (count != 5) stop("usage", "llm_client PORT PATH SECONDS SEED <LANES");
    server.sin_port = htons((uint16_t)atoi(words[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    path = words[2];
    const uint64_t last_us = (uint64_t)(atof(words[3]) * 1e6);
    seed = strtoull(words[4], NULL, 10);
    setvbuf(stdout, output, _IOFBF, sizeof output); // a full pipe would wake its reader while times are taken
    read_lanes();
    began_us = now_us();
    for (;;) {
        const uint64_t now = now_us();
        const bool over = last_us > 0 && now >= last_us;
        if (over && (lanes[0].socket < 0 || lanes[0].token_count > 1)) break;
        int wait = over ? -1 : begin_due();
        if (!over && last_us > 0) {
            const int rest = (int)((last_us - now) / 1000) + 1;
            if (wait < 0 || rest < wait) wait = rest;
        }
        if (!turn(wait)) break;
    }
    for (unsigned n = 0; n < lane_count; n++)
        if (lanes[n].socket >= 0) end(&lanes[n], "cut");
    return 0;
}
