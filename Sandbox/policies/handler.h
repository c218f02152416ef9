// What a tenant's handler may ask of the kernel: while it loads, and while it serves.
#ifndef SWIFTLET_POLICY_HANDLER_H
#define SWIFTLET_POLICY_HANDLER_H

#include "common.h"

// Loading is LOADING + CORE + FORBIDDEN + PROBED: no process, no thread, no socket; a template's also has TEMPLATE_SERVING.
// Serving is CORE + PROBED and these:
static const policy_line HANDLER_SERVING[] = {
    LINE(mmap, ALLOW, PRIVATE_NOT_EXEC, "malloc; code is loaded already, and nothing is shared"),
    LINE(mprotect, ALLOW, NOT_EXEC, "malloc grows its arenas"),
};

// A template that has loaded its plugin is CORE + PROBED + HANDLER_SERVING and these; what it forks then gets the serve
// filter on top.
static const policy_line TEMPLATE_SERVING[] = {
    LINE(clone, ALLOW, FORK_ONLY, "one process for each invocation; its cgroup counts them"),
    LINE(recvmsg, ALLOW, ON_CHANNEL, "the zygote's ticket for a new process, with its descriptors"),
    LINE(dup2, ALLOW, ALWAYS, "the new process puts its descriptors in their places"),
    LINE(close_range, ALLOW, ALWAYS, "and closes all others"),
    LINE(prctl, ALLOW, PARENT_DEATH, "and dies with the zygote"),
    LINE(prlimit64, ALLOW, SELF_PID_0, "and may not fork: without privileges limits only sink"),
    LINE(seccomp, ALLOW, FILTER_ONLY, "and loads the serve filter"),
    LINE(tgkill, ALLOW, ALWAYS, "abort in what it forked, whose number no filter knows ahead; others here are another user's"),
    LINE(kill, ALLOW, ALWAYS, "as tgkill"),
};

#endif
