// Ends workers that have no memory left, where the kernel can be told not to do it itself (v1); forked.c polls for them.
#include <sys/epoll.h>

#include "workers.h"

int starved_poller(void) {
    static int poller = -1;
    static bool asked;
    // The groups' files say on their own whether it will be used.
    if (!asked && Z.options->groups.version == 1) poller = epoll_create1(EPOLL_CLOEXEC);
    asked = true;
    return poller;
}

void starved_watch(worker *w) {
    cgroup_leaf_watch(&w->leaf, starved_poller(), w);
}

void starved_end(void) {
    enum { AT_ONCE = 16 };
    struct epoll_event news[AT_ONCE];
    int count = epoll_wait(starved_poller(), news, AT_ONCE, 0);
    for (int i = 0; i < count; i++) {
        worker *w = news[i].data.ptr;
        // An event may be older than what lives in its place by now: the group's file decides.
        cgroup_leaf_end_starved(&w->leaf);
    }
}
