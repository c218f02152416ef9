// One small function per forbidden act; plugin.c runs them in a real worker, in its constructor and while it serves.
#include "attempts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int answer(long result) {
    return result < 0 ? errno : 0;
}

static int opened(int fd) {
    if (fd < 0) return errno;
    close(fd);
    return 0;
}

// ---- files ---------------------------------------------------------------------------------------------------------------

static int open_passwd(void) { return opened(open("/etc/passwd", O_RDONLY)); }
static int open_shadow_upwards(void) { return opened(open("/app/../../../etc/shadow", O_RDONLY)); }
static int open_proc_exe(void) { return opened(open("/proc/self/exe", O_RDONLY)); }
static int open_proc_root(void) { return opened(open("/proc/1/root", O_PATH)); }
static int open_sys(void) { return opened(open("/sys/fs/cgroup", O_RDONLY | O_DIRECTORY)); }
static int open_device(void) { return opened(open("/dev/mem", O_RDWR)); }
static int open_neighbour(void) { return opened(open("/app/neighbour/secret", O_RDONLY)); }
static int list_root(void) { return opened(open("/", O_RDONLY | O_DIRECTORY)); }
static int list_app(void) { return opened(open("/app", O_RDONLY | O_DIRECTORY)); }
static int create_in_root(void) { return opened(open("/x", O_WRONLY | O_CREAT, 0600)); }
static int create_in_app(void) { return opened(open("/app/subjects/x", O_WRONLY | O_CREAT, 0600)); }
static int write_library(void) { return opened(open("/lib/x86_64-linux-gnu/libc.so.6", O_WRONLY)); }
static int change_mode(void) { return answer(chmod("/app/subjects", 0777)); }
static int make_node(void) { return answer(mknod("/n", S_IFCHR | 0600, 0x0103)); }
static int make_directory(void) { return answer(mkdir("/d", 0700)); }
static int remove_file(void) { return answer(unlink("/app/subjects/subject.so")); }
static int make_link(void) { return answer(symlink("/etc", "/app/subjects/l")); }
static int change_root(void) { return answer(chroot("/app")); }
static int open_beside_descriptors(void) {
    // A directory descriptor that leaked would answer with something other than EBADF or ENOTDIR.
    for (int fd = 0; fd < 1024; fd++) {
        int found = openat(fd, "..", O_PATH | O_DIRECTORY);
        if (found >= 0) return opened(found);
    }
    return ENOTDIR;
}
static int leaked_descriptors(void) {
    for (int fd = 5; fd < 1024; fd++) {
        struct stat info;
        if (fstat(fd, &info) == 0) return 0;
    }
    return EBADF;
}
static int memory_file(void) { return opened(memfd_create("m", 0)); }

// ---- processes -----------------------------------------------------------------------------------------------------------

static int child_of(long pid) {
    if (pid < 0) return errno;
    if (pid == 0) _exit(0);
    waitpid((pid_t)pid, NULL, 0);
    return 0;
}
static int fork_child(void) { return child_of(syscall(SYS_fork)); }
static int vfork_child(void) { return child_of(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL)); }
static int clone3_child(void) {
    uint64_t arguments[11] = {[4] = SIGCHLD};
    return child_of(syscall(SYS_clone3, arguments, sizeof arguments));
}
static int clone_namespace(void) { return child_of(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL)); }
static int execute(void) {
    char *const words[] = {"sh", NULL};
    return answer(execve("/bin/sh", words, words + 1));
}
static int execute_library(void) {
    char *const words[] = {"x", NULL};
    return answer(execve("/app/subjects/subject.so", words, words + 1));
}
static int unshare_user(void) { return answer(unshare(CLONE_NEWUSER)); }
static int unshare_mounts(void) { return answer(unshare(CLONE_NEWNS)); }
static int enter_namespace(void) { return answer(setns(0, 0)); }
static int kill_all(void) { return answer(kill(-1, SIGCONT)); }
static int kill_other(void) { return answer(kill(2, SIGCONT)); }
static int kill_group(void) { return answer(kill(0, SIGCONT)); }
static int trace_me(void) { return answer(ptrace(PTRACE_TRACEME, 0, NULL, NULL)); }
static int read_process(void) {
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)&errno, 1};
    return answer(process_vm_readv(1, &here, 1, &there, 1, 0));
}
static int open_process(void) { return opened((int)syscall(SYS_pidfd_open, 1, 0)); }
static int take_descriptor(void) { return answer(syscall(SYS_pidfd_getfd, 0, 0, 0)); }

// ---- rights --------------------------------------------------------------------------------------------------------------

static int become_root(void) { return answer(setuid(0)); }
static int become_other(void) { return answer(setresuid(1000, 1000, 1000)); }
static int drop_groups(void) { return answer(syscall(SYS_setgroups, 0, NULL)); }
static int take_capability(void) {
    struct {
        uint32_t version;
        int pid;
    } head = {0x20080522, 0};
    uint32_t all[6] = {~0u, ~0u, ~0u, ~0u, ~0u, ~0u};
    return answer(syscall(SYS_capset, &head, all));
}
static int be_dumpable(void) { return answer(prctl(PR_SET_DUMPABLE, 1)); }
static int raise_limit(void) {
    struct rlimit more = {RLIM_INFINITY, RLIM_INFINITY};
    return answer(syscall(SYS_prlimit64, 0, RLIMIT_NPROC, &more, NULL));
}
static int limit_other(void) {
    struct rlimit none = {0, 0};
    return answer(syscall(SYS_prlimit64, 2, RLIMIT_NOFILE, &none, NULL));
}
static int be_real_time(void) {
    struct sched_param most = {.sched_priority = 1};
    return answer(sched_setscheduler(0, SCHED_FIFO, &most));
}
static int be_nice(void) { return answer(setpriority(PRIO_PROCESS, 0, -20)); }
static int change_personality(void) { return answer(syscall(SYS_personality, 0x0040000)); }

// ---- the kernel's depths ---------------------------------------------------------------------------------------------------

static int mount_something(void) { return answer(mount("none", "/app", "tmpfs", 0, NULL)); }
static int new_mount(void) { return answer(syscall(SYS_fsopen, "tmpfs", 0)); }
static int unmount(void) { return answer(umount2("/app", MNT_DETACH)); }
static int load_bpf(void) {
    union bpf_attr a = {0};
    return answer(syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof a));
}
static int set_up_uring(void) {
    char parameters[120] = {0};
    return answer(syscall(SYS_io_uring_setup, 4, parameters));
}
static int fault_in_user_space(void) { return answer(syscall(SYS_userfaultfd, 1)); }
static int count_events(void) {
    struct perf_event_attr a = {.type = PERF_TYPE_SOFTWARE, .size = sizeof a};
    return answer(syscall(SYS_perf_event_open, &a, 0, -1, -1, 0));
}
static int look_at_keys(void) { return answer(syscall(SYS_keyctl, 0, -3, 1, 0, 0)); }
static int listen_for_calls(void) {
    struct {
        unsigned short length;
        void *code;
    } none = {0, NULL};
    return answer(syscall(SYS_seccomp, 1, 8 /* NEW_LISTENER */, &none));
}
static int load_module(void) { return answer(syscall(SYS_finit_module, 0, "", 0)); }
static int i386_call(void) {
    // getpid by the old gate: another table of calls, which a filter that only looks at numbers would misread.
    long result = 20;
    __asm__ volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
    return result < 0 ? (int)-result : 0;
}
static int x32_call(void) { return answer(syscall(0x40000000 | SYS_getpid)); }

// ---- memory --------------------------------------------------------------------------------------------------------------

static int mapped(void *at, size_t size) {
    if (at == MAP_FAILED) return errno;
    munmap(at, size);
    return 0;
}
static int map_write_execute(void) {
    return mapped(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096);
}
static int map_execute(void) {
    return mapped(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096);
}
static int make_executable(void) {
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int result = page == MAP_FAILED ? errno : answer(mprotect(page, 4096, PROT_READ | PROT_EXEC));
    if (page != MAP_FAILED) munmap(page, 4096);
    return result;
}
static int share_memory(void) {
    return mapped(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), 4096);
}
static int system_v_memory(void) { return answer(shmget(IPC_PRIVATE, 4096, 0600)); }

// ---- talking -------------------------------------------------------------------------------------------------------------

static int internet_socket(void) { return opened(socket(AF_INET, SOCK_STREAM, 0)); }
static int connect_loopback(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) return errno;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int result = answer(connect(fd, (struct sockaddr *)&to, sizeof to));
    close(fd);
    return result == ECONNREFUSED ? 0 : result; // refused by the host's loopback: so it was reached
}
static int unix_socket(void) { return opened(socket(AF_UNIX, SOCK_STREAM, 0)); }
static int kernel_socket(void) { return opened(socket(AF_NETLINK, SOCK_RAW, 0)); }
static int vsock(void) { return opened(socket(40, SOCK_STREAM, 0)); }
static int socket_pair(void) {
    int ends[2];
    int result = answer(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    if (result == 0) close(ends[0]), close(ends[1]);
    return result;
}
static int pass_descriptor(void) {
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    char byte = 0;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room};
    control.head = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    return answer(sendmsg(3, &message, 0));
}
static int send_elsewhere(void) {
    struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/x"};
    return answer(sendto(3, "", 0, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to));
}
static int type_into_terminal(void) { return answer(ioctl(0, TIOCSTI, "x")); }
static int change_channel(void) {
    int size = 1 << 30;
    return answer(setsockopt(3, SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
}
static int change_host_name(void) { return answer(sethostname("evil", 4)); }
static int message_queue(void) { return opened((int)syscall(SYS_mq_open, "q", O_CREAT | O_RDWR, 0600, NULL)); }

const attempt ATTEMPTS[] = {
    {"open-passwd", open_passwd, REFUSED, "mount, landlock, serve filter", 0},
    {"open-shadow-upwards", open_shadow_upwards, REFUSED, "mount, landlock, user", 0},
    {"open-proc-exe", open_proc_exe, REFUSED, "mount, landlock", 0},
    {"open-proc-root", open_proc_root, REFUSED, "mount, pid", 0},
    {"open-sys", open_sys, REFUSED, "mount, landlock", 0},
    {"open-device", open_device, REFUSED, "mount, landlock, user", 0},
    {"open-neighbour", open_neighbour, REFUSED, "landlock", 0},
    {"list-root", list_root, REFUSED, "landlock, serve filter", 0},
    {"list-app", list_app, REFUSED, "landlock, serve filter", 0},
    {"create-in-root", create_in_root, REFUSED, "mount, landlock, filter", 0},
    {"create-in-app", create_in_app, REFUSED, "mount, landlock, filter", 0},
    {"write-library", write_library, REFUSED, "mount, landlock, filter", 0},
    {"chmod", change_mode, REFUSED, "filter, mount", 0},
    {"mknod", make_node, REFUSED, "filter, caps, mount", 0},
    {"mkdir", make_directory, REFUSED, "filter, mount", 0},
    {"unlink", remove_file, REFUSED, "filter, mount", 0},
    {"symlink", make_link, REFUSED, "filter, mount", 0},
    {"chroot", change_root, ENDED, "filter, caps", 0},
    {"open-beside-descriptors", open_beside_descriptors, REFUSED, "descriptors", 0},
    {"leaked-descriptors", leaked_descriptors, REFUSED, "descriptors", 0},
    {"memfd", memory_file, REFUSED, "filter", 0},
    {"fork", fork_child, REFUSED, "filter, rlimits, cgroup-pids", 0},
    {"clone", vfork_child, REFUSED, "filter, rlimits, cgroup-pids", 0},
    {"clone3", clone3_child, REFUSED, "filter, rlimits, cgroup-pids", 0},
    {"clone-newuser", clone_namespace, REFUSED, "filter, rlimits", 0},
    {"execve", execute, REFUSED, "filter, mount, landlock", 0},
    {"execve-library", execute_library, REFUSED, "filter", 0},
    {"unshare-user", unshare_user, ENDED, "filter", 0},
    {"unshare-mounts", unshare_mounts, ENDED, "filter, caps", 0},
    {"setns", enter_namespace, ENDED, "filter, caps", 0},
    {"kill-all", kill_all, REFUSED, "filter, pid", 0},
    {"kill-other", kill_other, REFUSED, "filter, pid, user", 0},
    {"kill-group", kill_group, REFUSED, "filter", 0},
    {"ptrace", trace_me, ENDED, "filter", 0},
    {"process-vm-readv", read_process, ENDED, "filter", 0},
    {"pidfd-open", open_process, REFUSED, "filter", 0},
    {"pidfd-getfd", take_descriptor, ENDED, "filter", 0},
    {"setuid", become_root, REFUSED, "caps, filter", 0},
    {"setresuid", become_other, REFUSED, "caps, filter", 0},
    {"setgroups", drop_groups, REFUSED, "caps, filter", 0},
    {"capset", take_capability, REFUSED, "caps, filter", 0},
    {"dumpable", be_dumpable, REFUSED, "filter", 0},
    {"raise-rlimit", raise_limit, REFUSED, "caps", 0},
    {"limit-other", limit_other, REFUSED, "filter, pid", 0},
    {"real-time", be_real_time, REFUSED, "filter, rlimits, caps", 0},
    {"nice", be_nice, REFUSED, "filter, rlimits, caps", 0},
    {"personality", change_personality, REFUSED, "filter", 0},
    {"mount", mount_something, ENDED, "filter, caps", 0},
    {"fsopen", new_mount, ENDED, "filter, caps", 0},
    {"umount", unmount, ENDED, "filter, caps", 0},
    {"bpf", load_bpf, ENDED, "filter", 0},
    {"io-uring", set_up_uring, REFUSED, "filter", 0},
    {"userfaultfd", fault_in_user_space, ENDED, "filter", 0},
    {"perf-event", count_events, ENDED, "filter", 0},
    {"keyctl", look_at_keys, ENDED, "filter", 0},
    {"seccomp-listener", listen_for_calls, REFUSED, "filter", 0},
    {"finit-module", load_module, ENDED, "filter, caps", 0},
    {"int80", i386_call, ENDED, "filter", 0},
    {"x32", x32_call, ENDED, "filter", 0},
    {"map-rwx", map_write_execute, REFUSED, "mdwe, filter", 0},
    {"map-rx", map_execute, REFUSED, "serve filter", 1},
    {"mprotect-rx", make_executable, REFUSED, "mdwe, serve filter", 0},
    {"share-memory", share_memory, REFUSED, "serve filter", 1},
    {"shmget", system_v_memory, REFUSED, "filter", 0},
    {"socket-inet", internet_socket, REFUSED, "filter", 0},
    {"connect-loopback", connect_loopback, REFUSED, "filter, net, landlock", 0},
    {"socket-unix", unix_socket, REFUSED, "filter", 0},
    {"socket-netlink", kernel_socket, REFUSED, "filter", 0},
    {"socket-vsock", vsock, REFUSED, "filter", 0},
    {"socketpair", socket_pair, REFUSED, "filter", 0},
    {"send-descriptor", pass_descriptor, REFUSED, "filter", 0},
    {"send-elsewhere", send_elsewhere, REFUSED, "filter", 0},
    {"tiocsti", type_into_terminal, REFUSED, "filter, session", 0},
    {"setsockopt", change_channel, REFUSED, "filter", 0},
    {"sethostname", change_host_name, REFUSED, "filter, ipc, caps", 0},
    {"mq-open", message_queue, REFUSED, "filter, ipc, rlimits", 0},
};
const size_t ATTEMPT_COUNT = sizeof ATTEMPTS / sizeof ATTEMPTS[0];

bool attempt_is_held_without(const attempt *a, const char *off) {
    char copy[128], *rest = NULL;
    snprintf(copy, sizeof copy, "%s", a->stops);
    for (char *name = strtok_r(copy, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest)) {
        while (*name == ' ') name++;
        bool is_filter = strstr(name, "filter") != NULL;
        if (off == NULL || strcmp(off, is_filter ? "seccomp" : name) != 0) return true;
    }
    return false;
}
