// Runs every act without any sandbox, each in a throw-away world: what fails here proves nothing when it fails in there.
//
// The world has namespaces of its own, a root on a tmpfs, a channel with a descriptor waiting in it, and a directory that
// leaked. Run as root. Prints one line an act; exits with 1 when an act fails that has no known reason to.
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../Sandbox/attempts/attempts.h"

#define MUST(call) \
    do { \
        if ((call) < 0) fprintf(stderr, "unconfined: %s: %s\n", #call, strerror(errno)), _exit(99); \
    } while (0)

enum { RESULT = 900, WORLD_FAILED = 99 };

static void copy(const char *from, const char *to) {
    static char block[1 << 16];
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT, 0755);
    MUST(in);
    MUST(out);
    for (ssize_t got; (got = read(in, block, sizeof block)) > 0;) MUST(write(out, block, (size_t)got));
    close(in);
    close(out);
}

static void bind_or_link(const char *name) {
    char from[64], to[64], target[256];
    snprintf(from, sizeof from, "/%s", name);
    snprintf(to, sizeof to, "/tmp/%s", name);
    ssize_t length = readlink(from, target, sizeof target - 1);
    if (length > 0) {
        target[length] = 0;
        MUST(symlink(target, to));
        return;
    }
    if (access(from, F_OK) < 0) return;
    MUST(mkdir(to, 0755));
    MUST(mount(from, to, NULL, MS_BIND | MS_REC, NULL));
}

static void make_root(const char *plugin) {
    static const char *const SEEN[] = {"usr", "lib", "lib64", "bin", "etc", "dev", "sys"};
    char image[512];
    MUST(snprintf(image, sizeof image, "%s", plugin));
    MUST(mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL));
    int given = open(image, O_RDONLY);
    MUST(given);
    MUST(mount("world", "/tmp", "tmpfs", 0, "size=1g,mode=0755"));
    for (size_t i = 0; i < sizeof SEEN / sizeof SEEN[0]; i++) bind_or_link(SEEN[i]);
    MUST(mkdir("/tmp/proc", 0755));
    MUST(mount("proc", "/tmp/proc", "proc", 0, NULL));
    MUST(mkdir("/tmp/tmp", 0777));
    MUST(mkdir("/tmp/app", 0755));
    MUST(mount("app", "/tmp/app", "tmpfs", 0, "size=1g,mode=0755"));
    MUST(mkdir("/tmp/app/subjects", 0755));
    MUST(mkdir("/tmp/app/neighbour", 0755));
    MUST(mkdir("/tmp/app/old", 0755));
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", given);
    copy(path, "/tmp/app/subjects/plugin.so");
    copy(path, "/tmp/app/neighbour/libneighbour.so");
    copy("/dev/null", "/tmp/app/neighbour/secret");
    close(given);
    MUST(chdir("/tmp"));
    MUST(syscall(SYS_pivot_root, ".", "."));
    MUST(umount2(".", MNT_DETACH));
    MUST(chdir("/"));
}

static void bring_loopback_up(void) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    if (fd >= 0) ioctl(fd, SIOCSIFFLAGS, &up), close(fd);
}

/// As a worker's descriptors are: 0 null, 1 and 2 a pipe, 3 the channel, 4 the pipe's other end; and one that leaked.
static void place_descriptors(int result) {
    int ends[2], channel[2];
    MUST(dup3(result, RESULT, O_CLOEXEC));
    close_range(3, RESULT - 1, 0);
    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, channel));
    MUST(dup2(channel[0], 20));
    MUST(dup2(channel[1], 21));
    MUST(pipe2(ends, O_NONBLOCK));
    MUST(dup2(ends[0], 22));
    MUST(dup2(ends[1], 23));
    MUST(dup2(21, 3));
    MUST(dup2(22, 4));
    MUST(dup2(open("/dev/null", O_RDWR), 0));
    MUST(dup2(23, 1));
    MUST(dup2(23, 2));
    MUST(dup2(open("/app/subjects", O_PATH | O_DIRECTORY), 5));
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    char byte = 0;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room};
    MUST(sendmsg(20, &message, 0));
}

_Noreturn static void live(const attempt *a, const char *plugin, int result) {
    make_root(plugin);
    bring_loopback_up();
    // Somebody to be signalled, since kill(-1) spares init and the caller.
    if (fork() == 0) {
        pause();
        _exit(0);
    }
    pid_t child = fork();
    if (child == 0) {
        place_descriptors(result);
        int number = a->act();
        MUST(write(RESULT, &number, sizeof number));
        _exit(0);
    }
    close(result);
    int status = 0;
    while (waitpid(child, &status, 0) != child) {}
    _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

/// 0: it worked. Else an errno; minus a signal; -1000: the world could not be made.
static int run(const attempt *a, const char *plugin) {
    int ends[2];
    MUST(pipe(ends));
    fflush(stdout);
    unsigned long flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | SIGCHLD;
    pid_t world = (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
    if (world == 0) {
        close(ends[0]);
        live(a, plugin, ends[1]);
    }
    close(ends[1]);
    int number = 0, status = 0;
    struct pollfd watched = {.fd = ends[0], .events = POLLIN};
    bool told = poll(&watched, 1, 20000) > 0 && read(ends[0], &number, sizeof number) == sizeof number;
    close(ends[0]);
    if (!told && watched.revents == 0) kill(world, SIGKILL);
    waitpid(world, &status, 0);
    if (told) return number;
    if (!WIFEXITED(status)) return -SIGKILL;
    if (WEXITSTATUS(status) == WORLD_FAILED) return -1000;
    return WEXITSTATUS(status) > 128 ? 128 - WEXITSTATUS(status) : 0; // it became another program
}

static bool has_answer(const attempt *a) {
    return a->outcome != DISOWNED && (a->flags & WITHOUT_ANSWER) == 0;
}

/// For attack.py: name, outcome, flags, the layers that are thought to stand against it.
static int list(void) {
    static const char *const OUTCOMES[] = {"refused", "ended", "limited", "disowned"};
    const attempt *a;
    for (size_t i = 0; (a = attempt_at(i)) != NULL; i++) printf("%s\t%s\t%u\t%s\n", a->name, OUTCOMES[a->outcome], a->flags, a->stops);
    return 0;
}

int main(int count, char **words) {
    if (count == 2 && strcmp(words[1], "--list") == 0) return list();
    if (count < 2 || geteuid() != 0) {
        fprintf(stderr, "usage, as root: unconfined PLUGIN [ACT]\n");
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int worked = 0, excused = 0, wrong = 0, judged = 0;
    const attempt *a;
    for (size_t i = 0; (a = attempt_at(i)) != NULL; i++) {
        if (count > 2 && strcmp(words[2], a->name) != 0) continue;
        if (!has_answer(a)) {
            judged++;
            continue;
        }
        int number = run(a, words[1]);
        const char *cause = number == -1000 ? "no world" : number < 0 ? strsignal(-number) : number > 0 ? strerrorname_np(number) : "works";
        worked += number == 0;
        excused += number != 0 && a->needs != NULL;
        wrong += number != 0 && a->needs == NULL;
        if (number == 0) printf("works    %s\n", a->name);
        else if (a->needs != NULL) printf("cannot   %-22s %s: needs %s\n", a->name, cause, a->needs);
        else printf("WRONG    %-22s %s\n", a->name, cause);
    }
    printf("%d acts work unconfined, %d cannot on this machine, %d WRONG; %d are judged by the host or by a time limit\n",
           worked, excused, wrong, judged);
    return wrong > 0;
}
