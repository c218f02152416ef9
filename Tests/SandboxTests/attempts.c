// The forbidden acts of Sandbox/attempts that the kernel answers, tried by a real plugin in a real worker: in its
// constructor and in invoke. Those that need a host and a neighbour are run by Tests/AttackTests.
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../Sandbox/attempts/attempts.h"
#include "check.h"

/// The layer that would have refused the act, when this kernel is too old for it; NULL: none is missing.
static const char *missing_layer(const host *h, const char *name) {
    enum { LANDLOCK_KNOWS_PORTS = 4 };
    const attempt *a = attempt_find(name, strlen(name));
    if (a == NULL) return NULL;
    // The filter stops these by itself; only where it is left out, too, there is nobody.
    if ((h->have & (WIRE_LAYER_MDWE | WIRE_LAYER_SECCOMP)) == 0 && strstr(a->stops, "mdwe") != NULL) return "mdwe (Linux 6.3)";
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* the version */);
    bool about_ports = strstr(name, "port") != NULL && strstr(a->stops, "landlock") != NULL;
    return about_ports && abi < LANDLOCK_KNOWS_PORTS ? "Landlock for ports (Linux 6.7)" : NULL;
}

static void attempts_some(host *h, const char *library, const char *path, int least) {
    worker w;
    packet p = ask(h, &w, library, path);
    uint32_t status;
    size_t size = 0;
    wire_finished finished;
    CHECK(!p.ended, "%s: type %u %s", library, p.head.type, text_of(&p));
    const uint8_t *body = response_body(&p, &status, &size, &finished);
    char *text = p.ended ? NULL : strndup((const char *)body, size), *rest = NULL;
    int tried = 0;
    for (char *line = text == NULL ? NULL : strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        char *number = strchr(line, ' ');
        *number++ = 0;
        tried++;
        // A template may signal what it forked, and nobody else is in reach.
        if (attempts_kind == WIRE_KIND_FRESH && strcmp(path, "/report") == 0 && strstr(line, "kill-") != NULL) continue;
        const char *missing = atoi(number) != 0 ? NULL : missing_layer(h, line);
        if (missing != NULL) printf("note: %s works (%s), because this machine lacks %s\n", line, path, missing);
        CHECK(atoi(number) != 0 || missing != NULL, "%s worked (%s)", line, path);
    }
    CHECK(tried >= least, "only %d attempts", tried);
    free(text);
    close(w.channel);
    exited e = host_exited(h, w.number);
    CHECK(e.came, "no exit");
}

void attempts_all(host *h, const char *library, const char *path) {
    attempts_some(h, library, path, 100);
}

static void test_serving(host *h) {
    attempts_all(h, "attempts.so", "/all");
}

static void test_constructor(host *h) {
    attempts_all(h, "attempts-constructor.so", "/report");
}

/// The loader runs resolvers before any constructor: by then everything must be confined.
static void test_resolver(host *h) {
    attempts_some(h, "attempts-resolver.so", "/resolver", 1);
}

/// The last filter binds only a plugin that lets it be loaded: without it the first must hold whatever does harm.
static void test_false_seal(host *h) {
    attempts_all(h, "attempts-false-seal.so", "/unsealed");
}

/// Those with no innocent use end the process at once, by SIGSYS.
static void test_ended(host *h) {
    const attempt *a;
    for (size_t i = 0; (a = attempt_at(i)) != NULL; i++) {
        if (a->outcome != ENDED) continue;
        char path[64];
        snprintf(path, sizeof path, "/%s", a->name);
        worker w = host_worker(h, job_default(), "attempts.so", "{}");
        send_invoke(w.channel, 1, path, "", 0, true);
        exited e = host_exited(h, w.number);
        CHECK(e.came && WIFSIGNALED(e.told.status) && WTERMSIG(e.told.status) == SIGSYS, "%s: status %x", path, e.told.status);
        close(w.channel);
    }
}

static void test_ended_in_constructor(host *h) {
    static const char *const LIBRARIES[] = {"attempts-ptrace.so", "attempts-unshare-user.so", "attempts-int80.so"};
    for (size_t i = 0; i < 3; i++) {
        worker w = host_worker(h, job_default(), LIBRARIES[i], "{}");
        exited e = host_exited(h, w.number);
        CHECK(e.came && WIFSIGNALED(e.told.status) && WTERMSIG(e.told.status) == SIGSYS, "%s: status %x", LIBRARIES[i], e.told.status);
        close(w.channel);
    }
}

const test ATTEMPT_TESTS[] = {
    {"while serving", test_serving},
    {"in a constructor", test_constructor},
    {"in a resolver", test_resolver},
    {"with a false seal", test_false_seal},
    {"no innocent use", test_ended},
    {"no innocent use, in a constructor", test_ended_in_constructor},
    {NULL, NULL},
};
