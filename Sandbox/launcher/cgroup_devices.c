// Which devices a tenant's processes may open: v1's devices controller, or a small program on v2; used by cgroup.c.
//
// It holds for a zygote's whole group, since no handler may have more than the harmless five.
#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MEMORY_DEVICES = 1 }; ///< the major number of all five
static const struct {
    int minor;
    const char *rule;
} HARMLESS[] = {{3, "c 1:3 rw"} /* null */, {5, "c 1:5 rw"} /* zero */, {7, "c 1:7 rw"} /* full */,
                {8, "c 1:8 rw"} /* random */, {9, "c 1:9 rw"} /* urandom */};
enum { HARMLESS_COUNT = sizeof HARMLESS / sizeof HARMLESS[0] };

static int restrict_v1(const char *path) {
    int directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return -errno;
    int status = cgroup_write(directory, "devices.deny", "a");
    for (int i = 0; status == 0 && i < HARMLESS_COUNT; i++) status = cgroup_write(directory, "devices.allow", HARMLESS[i].rule);
    close(directory);
    return status;
}

#define INSTRUCTION(c, d, s, o, i) ((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)})
#define UNLESS_EQUAL(value, skip) INSTRUCTION(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_2, 0, (short)(skip), (value))
#define LOAD_FIELD(field) \
    INSTRUCTION(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_2, BPF_REG_1, offsetof(struct bpf_cgroup_dev_ctx, field), 0)
#define ANSWER(value) INSTRUCTION(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, (value)), INSTRUCTION(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

/// Opening a character device of the five: 1. Anything else, making nodes included: 0.
static int restrict_v2(const char *path) {
    const struct bpf_insn program[] = {
        LOAD_FIELD(access_type),
        INSTRUCTION(BPF_JMP | BPF_JSET | BPF_K, BPF_REG_2, 0, 10, BPF_DEVCG_ACC_MKNOD << 16),
        INSTRUCTION(BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff),
        UNLESS_EQUAL(BPF_DEVCG_DEV_CHAR, 8),
        LOAD_FIELD(major),
        UNLESS_EQUAL(MEMORY_DEVICES, 6),
        LOAD_FIELD(minor),
        INSTRUCTION(BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_2, 0, 6, HARMLESS[0].minor),
        INSTRUCTION(BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_2, 0, 5, HARMLESS[1].minor),
        INSTRUCTION(BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_2, 0, 4, HARMLESS[2].minor),
        INSTRUCTION(BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_2, 0, 3, HARMLESS[3].minor),
        INSTRUCTION(BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_2, 0, 2, HARMLESS[4].minor),
        ANSWER(0),
        ANSWER(1),
    };
    union bpf_attr load = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE, .insn_cnt = sizeof program / sizeof program[0],
                           .insns = (uintptr_t)program, .license = (uintptr_t) "Apache-2.0"};
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return -errno;
    int loaded = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load), status = loaded < 0 ? -errno : 0;
    union bpf_attr attach = {.target_fd = (unsigned)directory, .attach_bpf_fd = (unsigned)loaded,
                             .attach_type = BPF_CGROUP_DEVICE, .attach_flags = BPF_F_ALLOW_MULTI};
    if (status == 0 && syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach) < 0) status = -errno;
    if (loaded >= 0) close(loaded); // the group keeps it
    close(directory);
    return status;
}

int cgroup_restrict_devices(const cgroup_groups *groups) {
    if (groups->devices[0] != 0) return restrict_v1(groups->devices);
    if (groups->version == 2) return restrict_v2(groups->path[CGROUP_MEMORY][0] != 0 ? groups->path[CGROUP_MEMORY] : groups->path[CGROUP_PIDS]);
    return -ENOENT;
}

int cgroup_enter_devices(const char *path) {
    int directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return -errno;
    int status = cgroup_write(directory, "tasks", "0");
    close(directory);
    return status;
}
