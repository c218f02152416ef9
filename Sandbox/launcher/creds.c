// Who the worker is: a user of its own, and no capability in any set; called by confine.c.
#include "launcher.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int creds_user(const confine *c) {
    gid_t gid = (gid_t)c->uid;
    if (setgroups(0, NULL) < 0) return -errno;
    if (setresgid(gid, gid, gid) < 0) return -errno;
    if (setresuid(c->uid, c->uid, c->uid) < 0) return -errno;
    return getuid() == c->uid && geteuid() == c->uid && getgid() == gid && getegid() == gid ? 0 : -EPERM;
}

int creds_capabilities(const confine *c) {
    // Unprivileged, the worker keeps the name of root in its user namespace: take the meaning away from the name.
    if (c->user_namespace) {
        unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
            SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
        if (prctl(PR_SET_SECUREBITS, bits) < 0) return -errno;
    }
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) return -errno;
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct none[2] = {0}, now[2];
    if (syscall(SYS_capset, &head, none) < 0) return -errno;
    if (syscall(SYS_capget, &head, now) < 0) return -errno;
    for (int i = 0; i < 2; i++)
        if ((now[i].effective | now[i].permitted | now[i].inheritable) != 0) return -EPERM;
    return 0;
}

int creds_keep_few(bool adopted) {
    static const unsigned KEPT[] = {
        CAP_SYS_ADMIN,  // namespaces, mounts at the adoption
        CAP_SYS_CHROOT, // entering a mount namespace
        CAP_SETUID, CAP_SETGID, // each worker's own user
        CAP_SETPCAP,    // locking a worker's security bits
        CAP_KILL,       // ending workers of other users
        CAP_DAC_READ_SEARCH, // reaching a tenant's directory through its owner's private ones
        CAP_NET_ADMIN,  // last, for the adoption alone: letting devices into a v2 group, on kernels before 6.3
    };
    size_t count = sizeof KEPT / sizeof KEPT[0] - (adopted ? 1 : 0);
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct now[2], few[2] = {0};
    if (syscall(SYS_capget, &head, now) < 0) return -errno;
    for (size_t i = 0; i < count; i++) few[KEPT[i] / 32].permitted |= 1u << KEPT[i] % 32;
    for (int i = 0; i < 2; i++) {
        few[i].permitted &= now[i].permitted;
        few[i].effective = few[i].permitted;
    }
    return syscall(SYS_capset, &head, few) < 0 ? -errno : 0;
}
