// What a tenant's handler may ask of the kernel: while it loads, and while it serves.
#ifndef SWIFTLET_POLICY_HANDLER_H
#define SWIFTLET_POLICY_HANDLER_H

#include "common.h"

// Loading is LOADING + CORE + FORBIDDEN + PROBED: no process, no thread, no socket.
// Serving is CORE + PROBED and these:
static const policy_line HANDLER_SERVING[] = {
    LINE(mmap, ALLOW, PRIVATE_NOT_EXEC, "malloc; code is loaded already, and nothing is shared"),
    LINE(mprotect, ALLOW, NOT_EXEC, "malloc grows its arenas"),
};

#endif
