// Which descriptors a worker keeps, proved by listing them; called by confine.c.
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

struct entry {
    uint64_t inode;
    int64_t offset;
    unsigned short size;
    unsigned char type;
    char name[];
};

/// Fails when a descriptor other than 0…5 and the listing itself is open.
static int prove(int listing) {
    _Alignas(8) char buffer[1024];
    unsigned seen = 0;
    for (;;) {
        long got = syscall(SYS_getdents64, listing, buffer, sizeof buffer);
        if (got < 0) return -errno;
        if (got == 0) break;
        for (long at = 0; at < got;) {
            const struct entry *e = (const struct entry *)(buffer + at);
            at += e->size;
            if (e->name[0] == '.') continue;
            long number = strtol(e->name, NULL, 10);
            if (number == listing) continue;
            if (number > FD_PROC) return -EMFILE;
            seen |= 1u << number;
        }
    }
    return seen == (1u << (FD_PROC + 1)) - 1 ? 0 : -EBADF;
}

/// Tells the zygote who we are, by the kernel's word, and closes everything that came with the ticket.
int descriptors_fresh(int park) {
    ssize_t told;
    while ((told = write(park, "", 1)) < 0 && errno == EINTR) {}
    if (told != 1) return -errno;
    return close_range(FD_WORDS + 1, ~0u, 0) < 0 ? -errno : 0;
}

int descriptors_close(const confine *c) {
    (void)c;
    if (close_range(FD_PROC + 1, ~0u, 0) < 0) return -errno;
    int listing = openat(FD_PROC, "self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (listing < 0) return -errno;
    int status = prove(listing);
    // The way to the host's /proc ends here.
    if (close_range(FD_PROC, ~0u, 0) < 0) return -errno;
    return status;
}
