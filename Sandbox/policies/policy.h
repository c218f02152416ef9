// One line of a policy: a call, what becomes of it, under which condition, who needs it. What no line names gets EPERM.
#ifndef SWIFTLET_POLICY_H
#define SWIFTLET_POLICY_H

#include <stddef.h>
#include <sys/syscall.h>

enum act {
    ALLOW,
    ABSENT, ///< ENOSYS: libraries probe for it and fall back
    KILL,   ///< no innocent use
};

/// Conditions on arguments; the numbers behind them are in filter.c.
enum when {
    ALWAYS,
    READ_ONLY,        ///< openat: no writing, no creating
    NOT_CREATING,     ///< openat: writing what is there, no creating, no emptying
    AS_FOPEN_WRITES,  ///< openat: exactly what fopen(…, "w") asks for; in a root where nothing can be created
    PRIVATE_NOT_WRITE_EXEC, ///< mmap: never both, never shared with another process
    NOT_EXEC,         ///< mprotect: never executable
    PRIVATE_NOT_EXEC, ///< mmap: never executable, never shared with another process
    NOT_EXEC_FILE_OK, ///< mmap: never executable; a file may be mapped shared
    ON_CHANNEL,       ///< the descriptor is the channel
    ON_CHANNEL_UNADDRESSED, ///< sendto: the channel, and no address
    SELF_GROUP,       ///< the process is ourselves: 1 in our own pid namespace, else the number at the time of loading
    SELF_PID_0,       ///< the process is 0: ourselves
    SELF_QUERY,       ///< prlimit64: ourselves, reading only
    THREAD_ONLY,      ///< clone: exactly the flags of pthread_create
    FORK_ONLY,        ///< clone: exactly the flags of a template's fork: no namespace, the zygote as parent
    FILTER_ONLY,      ///< seccomp: adding a filter, with or without the sibling threads; no listener
    NAME_ONLY,        ///< prctl: naming threads and mappings
    PARENT_DEATH,     ///< prctl: dying with the parent
    DESCRIPTOR_QUERY, ///< fcntl: reading flags, setting close-on-exec
    NOT_WAITING,      ///< fcntl: making a descriptor non-blocking, no other flag
    SEQPACKET_LOCAL,  ///< socket: AF_UNIX, with packets, closed on exec
    EMPTY_PATH,       ///< newfstatat: the flag that fstat sets; a path may follow all the same, which no filter sees
    OWN_ADVICE,       ///< madvise: what concerns our own pages alone
};

typedef struct policy_line {
    int call;
    enum act act;
    enum when when;
    const char *why;
} policy_line;

#define LINE(name, act, when, why) {__NR_##name, act, when, why}

#endif
