// Files: the host's, the kernel's, another function's; and libraries that the loader could be talked into.
#include "acts.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <iconv.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/xattr.h>

// ---- the host's and the kernel's ------------------------------------------------------------------------------------------

static int open_passwd(void) { return opened(open("/etc/passwd", O_RDONLY)); }
static int open_shadow_upwards(void) { return opened(open("/app/../../../etc/shadow", O_RDONLY)); }
static int open_proc_exe(void) { return opened(open("/proc/self/exe", O_RDONLY)); }
static int open_proc_root(void) { return opened(open("/proc/1/root", O_PATH)); }
static int open_proc_memory(void) { return opened(open("/proc/self/mem", O_RDWR)); }
static int open_proc_environment(void) { return opened(open("/proc/1/environ", O_RDONLY)); }
static int open_core_pattern(void) { return opened(open("/proc/sys/kernel/core_pattern", O_WRONLY)); }
static int open_sysrq(void) { return opened(open("/proc/sysrq-trigger", O_WRONLY)); }
static int open_sys(void) { return opened(open("/sys/fs/cgroup", O_RDONLY | O_DIRECTORY)); }
static int open_own_cgroup(void) {
    int fd = open("/sys/fs/cgroup/memory/cgroup.procs", O_WRONLY);
    return opened(fd >= 0 ? fd : open("/sys/fs/cgroup/cgroup.procs", O_WRONLY));
}
static int open_memory_device(void) { return opened(open("/dev/mem", O_RDWR)); }
static int open_kernel_log(void) { return opened(open("/dev/kmsg", O_RDONLY)); }
static int open_terminals(void) { return opened(open("/dev/ptmx", O_RDWR | O_NOCTTY)); }
static int open_fault_device(void) { return opened(open("/dev/userfaultfd", O_RDWR)); }
static int list_root(void) { return opened(open("/", O_RDONLY | O_DIRECTORY)); }
static int write_library(void) { return opened(open("/lib/x86_64-linux-gnu/libc.so.6", O_WRONLY)); }
static int size_of_disk(void) {
    struct statfs told;
    return answer(statfs("/", &told));
}
static int stat_host_file(void) {
    // A filter can't read the path behind the flag that means "no path".
    struct stat told;
    return answer(syscall(SYS_newfstatat, AT_FDCWD, "/etc/passwd", &told, AT_EMPTY_PATH));
}

// ---- another function's, and our own --------------------------------------------------------------------------------------

static int open_neighbour(void) { return opened(open(beside(WORLD.neighbour, "secret").path, O_RDONLY)); }
static int list_neighbour(void) { return opened(open(WORLD.neighbour, O_RDONLY | O_DIRECTORY)); }
static int list_app(void) { return opened(open("/app", O_RDONLY | O_DIRECTORY)); }
static int stat_neighbour(void) {
    struct stat told;
    return answer(syscall(SYS_newfstatat, AT_FDCWD, beside(WORLD.neighbour, "secret").path, &told, AT_EMPTY_PATH));
}
static int open_neighbour_how(void) {
    uint64_t how[3] = {O_RDONLY, 0, 0};
    return opened(syscall(SYS_openat2, AT_FDCWD, beside(WORLD.neighbour, "secret").path, how, sizeof how));
}
static int watch_neighbour(void) {
    int fd = inotify_init1(0);
    if (fd < 0) return errno;
    int result = answer(inotify_add_watch(fd, WORLD.neighbour, IN_ALL_EVENTS));
    close(fd);
    return result;
}
static int watch_everything(void) { return opened(fanotify_init(FAN_CLASS_NOTIF, O_RDONLY)); }
static int name_handle(void) {
    struct {
        struct file_handle head;
        unsigned char room[128];
    } handle = {.head.handle_bytes = sizeof handle.room};
    int mount;
    return answer(name_to_handle_at(AT_FDCWD, WORLD.own, &handle.head, &mount, 0));
}
static int open_handle(void) {
    // The inode number of a root directory needs no guessing: what CVE-2014-9357 and "shocker" were about.
    struct {
        struct file_handle head;
        unsigned char room[128];
    } handle = {.head.handle_bytes = sizeof handle.room};
    int mount;
    if (name_to_handle_at(AT_FDCWD, WORLD.own, &handle.head, &mount, 0) < 0) handle.head.handle_bytes = 8;
    int directory = open(WORLD.own, O_RDONLY | O_DIRECTORY);
    int result = opened(open_by_handle_at(directory, &handle.head, O_RDONLY));
    if (directory >= 0) close(directory);
    return result;
}
static int create_in_root(void) { return opened(open("/x", O_WRONLY | O_CREAT, 0600)); }
static int create_in_own(void) { return opened(open(beside(WORLD.own, "x").path, O_WRONLY | O_CREAT, 0600)); }
static int create_in_tmp(void) { return opened(open("/tmp/x", O_WRONLY | O_CREAT, 0600)); }
static int create_in_shm(void) { return opened(open("/dev/shm/x", O_WRONLY | O_CREAT, 0600)); }
static int create_unnamed(void) { return opened(open(WORLD.own, O_WRONLY | O_TMPFILE, 0600)); }
static int write_secret(void) { return opened(open(beside(WORLD.neighbour, "secret").path, O_WRONLY)); }
static int cut_secret(void) { return answer(truncate(beside(WORLD.neighbour, "secret").path, 0)); }
static int rename_secret(void) { return answer(rename(beside(WORLD.neighbour, "secret").path, beside(WORLD.own, "taken").path)); }
static int link_secret(void) { return answer(link(beside(WORLD.neighbour, "secret").path, beside(WORLD.own, "taken").path)); }
static int unlink_secret(void) { return answer(unlink(beside(WORLD.neighbour, "secret").path)); }
static int link_outwards(void) { return answer(symlink("/etc", beside(WORLD.own, "l").path)); }
static int change_mode(void) { return answer(chmod(WORLD.own, 0777)); }
static int change_owner(void) { return answer(chown(WORLD.own, 1000, 1000)); }
static int change_times(void) { return answer(utimes(WORLD.own, NULL)); }
static int change_attribute(void) { return answer(setxattr(WORLD.own, "trusted.x", "x", 1, 0)); }
static int make_node(void) { return answer(mknod("/n", S_IFCHR | 0600, 0x0103)); }
static int make_pipe_file(void) { return answer(mknod(beside(WORLD.own, "p").path, S_IFIFO | 0600, 0)); }
static int make_directory(void) { return answer(mkdir("/d", 0700)); }
static int change_root(void) { return answer(chroot("/app")); }

// ---- descriptors ----------------------------------------------------------------------------------------------------------

static int open_beside_descriptors(void) {
    // A directory descriptor that leaked would answer with something other than EBADF or ENOTDIR.
    for (int fd = 0; fd < 1024; fd++) {
        int found = openat(fd, "..", O_PATH | O_DIRECTORY);
        if (found >= 0) return opened(found);
    }
    return errno;
}
static int leaked_descriptors(void) {
    for (int fd = 5; fd < 1024; fd++)
        if (fcntl(fd, F_GETFD) >= 0) return 0;
    return errno;
}
static int memory_file(void) { return opened(memfd_create("m", 0)); }
static int secret_memory_file(void) { return opened(syscall(SYS_memfd_secret, 0)); }
static int lock_shared_file(void) { return answer(flock(0, LOCK_EX | LOCK_NB)); } // /dev/null is everybody's: a bell to ring
static int lock_record(void) {
    struct flock lock = {.l_type = F_RDLCK};
    return answer(fcntl(0, F_SETLK, &lock));
}
static int lease_file(void) { return answer(fcntl(0, F_SETLEASE, F_UNLCK)); }
static int own_by_other(void) { return answer(fcntl(3, F_SETOWN, other())); }
static int change_status(void) { return answer(fcntl(0, F_SETFL, O_APPEND)); } // an open file that siblings share
static int send_file(void) {
    int result = answer(sendfile(1, 0, NULL, 1));
    return result == EINVAL ? 0 : result; // reached: /dev/null has nothing to send
}
static int splice_null(void) { return answer(splice(4, NULL, 1, NULL, 1, SPLICE_F_NONBLOCK)) == EPERM ? EPERM : 0; }
static int copy_range(void) { return answer(syscall(SYS_copy_file_range, 0, NULL, 1, NULL, 0, 0)) == EPERM ? EPERM : 0; }
static int flush_disks(void) { return syscall(SYS_sync) < 0 ? errno : 0; }

// ---- the loader -----------------------------------------------------------------------------------------------------------

static int loaded_from(const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return ENOENT;
    dlclose(library);
    return 0;
}
static int load_other_library(void) { return loaded_from("/lib/x86_64-linux-gnu/libresolv.so.2"); }
static int load_by_name(void) { return loaded_from("libresolv.so.2"); }
static int load_by_environment(void) {
    setenv("LD_LIBRARY_PATH", "/usr/lib/x86_64-linux-gnu:/lib/x86_64-linux-gnu", 1);
    setenv("LD_PRELOAD", "libresolv.so.2", 1);
    int result = loaded_from("libnss_compat.so.2");
    unsetenv("LD_LIBRARY_PATH");
    unsetenv("LD_PRELOAD");
    return result;
}
static int load_neighbour(void) { return loaded_from(beside(WORLD.neighbour, "libneighbour.so").path); }
static int load_converter(void) {
    // iconv loads a shared object for each character set, from a path that GCONV_PATH names.
    iconv_t made = iconv_open("UTF-8", "ISO-8859-7");
    if (made == (iconv_t)-1) return errno;
    iconv_close(made);
    return 0;
}
static int load_name_service(void) {
    errno = 0;
    return getpwnam("root") != NULL ? 0 : errno != 0 ? errno : ENOENT;
}

const attempt FILE_ATTEMPTS[] = {
    {"open-passwd", open_passwd, REFUSED, "mount, landlock, serve filter", 0, NULL},
    {"open-shadow-upwards", open_shadow_upwards, REFUSED, "mount, landlock, user", 0, NULL},
    {"open-proc-exe", open_proc_exe, REFUSED, "mount, landlock", 0, NULL},
    {"open-proc-root", open_proc_root, REFUSED, "mount, pid", 0, NULL},
    {"open-proc-memory", open_proc_memory, REFUSED, "mount, landlock, filter", 0, NULL},
    {"open-proc-environment", open_proc_environment, REFUSED, "mount, landlock, serve filter", 0, NULL},
    {"open-core-pattern", open_core_pattern, REFUSED, "mount, landlock, filter, user", 0, NULL},
    {"open-sysrq", open_sysrq, REFUSED, "mount, landlock, filter, user", 0, "CONFIG_MAGIC_SYSRQ"},
    {"open-sys", open_sys, REFUSED, "mount, landlock", 0, NULL},
    {"open-cgroup", open_own_cgroup, REFUSED, "mount, landlock, filter, user", 0, NULL},
    {"open-device", open_memory_device, REFUSED, "mount, landlock, user", 0, "CONFIG_DEVMEM"},
    {"open-kernel-log", open_kernel_log, REFUSED, "mount, landlock, serve filter, caps", 0, NULL},
    {"open-terminals", open_terminals, REFUSED, "mount, landlock, filter, cgroup-devices", 0, NULL},
    {"open-fault-device", open_fault_device, REFUSED, "mount, landlock, filter, user", 0, "/dev/userfaultfd"},
    {"list-root", list_root, REFUSED, "landlock, serve filter", 0, NULL},
    {"write-library", write_library, REFUSED, "mount, landlock, filter", 0, NULL},
    {"size-of-disk", size_of_disk, REFUSED, "filter", 0, NULL},
    {"stat-host-file", stat_host_file, REFUSED, "mount, serve filter", HARMLESS_WHILE_LOADING, NULL},
    {"open-neighbour", open_neighbour, REFUSED, "landlock", 0, NULL},
    {"list-neighbour", list_neighbour, REFUSED, "landlock, serve filter", 0, NULL},
    {"list-app", list_app, REFUSED, "landlock, serve filter", 0, NULL},
    {"stat-neighbour", stat_neighbour, REFUSED, "serve filter", HARMLESS_WHILE_LOADING, NULL},
    {"openat2-neighbour", open_neighbour_how, REFUSED, "landlock, filter", 0, NULL},
    {"watch-neighbour", watch_neighbour, REFUSED, "filter", 0, NULL},
    {"fanotify", watch_everything, REFUSED, "filter, caps", 0, NULL},
    {"name-to-handle", name_handle, REFUSED, "filter", 0, "a file system that exports handles"},
    {"open-by-handle", open_handle, ENDED, "filter, caps", 0, "a file system that exports handles"},
    {"create-in-root", create_in_root, REFUSED, "mount, landlock, filter", 0, NULL},
    {"create-in-app", create_in_own, REFUSED, "mount, landlock, filter", 0, NULL},
    {"create-in-tmp", create_in_tmp, REFUSED, "mount, landlock, filter", 0, NULL},
    {"create-in-shm", create_in_shm, REFUSED, "mount, landlock, filter", 0, NULL},
    {"create-unnamed", create_unnamed, REFUSED, "mount, landlock, filter", 0, NULL},
    {"write-neighbour", write_secret, REFUSED, "mount, landlock, filter", 0, NULL},
    {"truncate", cut_secret, REFUSED, "mount, landlock, filter", 0, NULL},
    {"rename", rename_secret, REFUSED, "mount, landlock, filter", 0, NULL},
    {"hard-link", link_secret, REFUSED, "mount, landlock, filter", 0, NULL},
    {"unlink", unlink_secret, REFUSED, "filter, mount, landlock", 0, NULL},
    {"symlink", link_outwards, REFUSED, "filter, mount, landlock", 0, NULL},
    {"chmod", change_mode, REFUSED, "filter, mount", 0, NULL},
    {"chown", change_owner, REFUSED, "filter, mount, caps", 0, NULL},
    {"utimes", change_times, REFUSED, "filter, mount", 0, NULL},
    {"setxattr", change_attribute, REFUSED, "filter, mount, caps", 0, NULL},
    {"mknod", make_node, REFUSED, "filter, caps, mount", 0, NULL},
    {"mkfifo", make_pipe_file, REFUSED, "filter, mount, landlock", 0, NULL},
    {"mkdir", make_directory, REFUSED, "filter, mount, landlock", 0, NULL},
    {"chroot", change_root, ENDED, "filter, caps", 0, NULL},
    {"open-beside-descriptors", open_beside_descriptors, REFUSED, "descriptors, serve filter", 0, NULL},
    {"leaked-descriptors", leaked_descriptors, REFUSED, "descriptors", 0, NULL},
    {"memfd", memory_file, REFUSED, "filter", 0, NULL},
    {"memfd-secret", secret_memory_file, REFUSED, "filter", 0, "secretmem.enable"},
    {"lock-shared-file", lock_shared_file, REFUSED, "filter", 0, NULL},
    {"lock-record", lock_record, REFUSED, "filter", 0, NULL},
    {"lease", lease_file, REFUSED, "filter", 0, "a lease to give up"},
    {"own-by-other", own_by_other, REFUSED, "filter", 0, NULL},
    {"change-status", change_status, REFUSED, "filter", 0, NULL},
    {"sendfile", send_file, REFUSED, "filter", 0, NULL},
    {"splice", splice_null, REFUSED, "filter", 0, NULL},
    {"copy-range", copy_range, REFUSED, "filter", 0, NULL},
    {"sync", flush_disks, REFUSED, "filter", 0, NULL},
    {"dlopen-elsewhere", load_other_library, REFUSED, "mount, serve filter", 0, NULL},
    {"dlopen-by-name", load_by_name, REFUSED, "mount, serve filter", 0, NULL},
    {"dlopen-by-environment", load_by_environment, REFUSED, "mount, serve filter", 0, NULL},
    {"dlopen-neighbour", load_neighbour, REFUSED, "landlock, serve filter", 0, NULL},
    {"gconv", load_converter, REFUSED, "mount, landlock, serve filter", 0, NULL},
    {"nss", load_name_service, REFUSED, "mount, landlock, serve filter", 0, NULL},
    END_OF_TABLE,
};
