// What a plugin may still ask after a probe has looked at its tables: nothing but the answer and the end.
#ifndef SWIFTLET_POLICY_PROBE_H
#define SWIFTLET_POLICY_PROBE_H

#include "policy.h"

static const policy_line PROBE_SERVING[] = {
    LINE(read, ALLOW, ALWAYS, "our own output pipe"),
    LINE(write, ALLOW, ALWAYS, "last words"),
    LINE(sendto, ALLOW, ON_CHANNEL_UNADDRESSED, "the answer"),
    LINE(poll, ALLOW, ALWAYS, "the answer, when the channel is full"),
    LINE(ppoll, ALLOW, ALWAYS, "as poll"),
    LINE(recvfrom, ALLOW, ON_CHANNEL, "as poll"),
    LINE(clock_gettime, ALLOW, ALWAYS, "times in the answer"),
    LINE(brk, ALLOW, ALWAYS, "malloc"),
    LINE(munmap, ALLOW, ALWAYS, "malloc"),
    LINE(rt_sigreturn, ALLOW, ALWAYS, "return from a signal handler"),
    LINE(exit_group, ALLOW, ALWAYS, "the end"),
};

#endif
