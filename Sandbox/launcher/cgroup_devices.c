// Which devices a tenant's processes may open: v1's devices controller, or a small program on v2; used by cgroup.c.
//
// It holds for a zygote's whole group. No handler may have more than the harmless five; a zygote that adopted devices has
// backends alone, and they have those as well.
#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { HARMLESS_COUNT = 5, RULES_MAX = HARMLESS_COUNT + WIRE_DEVICES_MAX };

typedef struct rule {
    uint32_t major, minor;
} rule;

static const rule HARMLESS[HARMLESS_COUNT] = {{1, 3} /* null */, {1, 5} /* zero */, {1, 7} /* full */, {1, 8} /* random */,
                                              {1, 9} /* urandom */};

static int allow_v1(int directory, const rule *rules, uint32_t count) {
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < count; i++) {
        char line[48];
        snprintf(line, sizeof line, "c %u:%u rw", rules[i].major, rules[i].minor);
        status = cgroup_write(directory, "devices.allow", line);
    }
    return status;
}

static int restrict_v1(const char *path) {
    int directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return -errno;
    int status = cgroup_write(directory, "devices.deny", "a");
    if (status == 0) status = allow_v1(directory, HARMLESS, HARMLESS_COUNT);
    close(directory);
    return status;
}

// ---- v2 ------------------------------------------------------------------------------------------------------------------

#define INSTRUCTION(c, d, s, o, i) ((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (short)(o), .imm = (int)(i)})
#define WHEN(comparison, reg, value, skip) INSTRUCTION(BPF_JMP | (comparison) | BPF_K, reg, 0, skip, value)
#define LOAD_FIELD(reg, field) \
    INSTRUCTION(BPF_LDX | BPF_MEM | BPF_W, reg, BPF_REG_1, offsetof(struct bpf_cgroup_dev_ctx, field), 0)
#define RESULT(value) INSTRUCTION(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, value)
#define EXIT INSTRUCTION(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

static int bpf(int command, union bpf_attr *attr) {
    long status = syscall(SYS_bpf, command, attr, sizeof *attr);
    return status < 0 ? -errno : (int)status;
}

/// A program that lets character devices of these numbers be opened: 1. Anything else, making nodes included: 0.
/// Returns its descriptor or -errno.
static int load_program(const rule *rules, uint32_t count) {
    struct bpf_insn code[6 + 2 * RULES_MAX + 4];
    uint32_t at = 0, refusal = 6 + 2 * count, consent = refusal + 2;
#define SKIP_TO(target) ((target) - at - 1)
    code[at++] = LOAD_FIELD(BPF_REG_2, access_type);
    code[at] = WHEN(BPF_JSET, BPF_REG_2, BPF_DEVCG_ACC_MKNOD << 16, SKIP_TO(refusal)), at++;
    code[at++] = INSTRUCTION(BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff);
    code[at] = WHEN(BPF_JNE, BPF_REG_2, BPF_DEVCG_DEV_CHAR, SKIP_TO(refusal)), at++;
    code[at++] = LOAD_FIELD(BPF_REG_2, major);
    code[at++] = LOAD_FIELD(BPF_REG_3, minor);
    for (uint32_t i = 0; i < count; i++) {
        code[at++] = WHEN(BPF_JNE, BPF_REG_2, rules[i].major, 1);
        code[at] = WHEN(BPF_JEQ, BPF_REG_3, rules[i].minor, SKIP_TO(consent)), at++;
    }
    code[at++] = RESULT(0);
    code[at++] = EXIT;
    code[at++] = RESULT(1);
    code[at++] = EXIT;
    union bpf_attr load = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE, .insn_cnt = at, .insns = (uintptr_t)code,
                           .license = (uintptr_t) "Apache-2.0"};
    return bpf(BPF_PROG_LOAD, &load);
}

static int attach_program(int directory, const rule *rules, uint32_t count) {
    int loaded = load_program(rules, count);
    if (loaded < 0) return loaded;
    union bpf_attr attach = {.target_fd = (unsigned)directory, .attach_bpf_fd = (unsigned)loaded,
                             .attach_type = BPF_CGROUP_DEVICE, .attach_flags = BPF_F_ALLOW_MULTI};
    int status = bpf(BPF_PROG_ATTACH, &attach);
    close(loaded); // the group keeps it
    return status;
}

static int restrict_v2(const char *path) {
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return -errno;
    int status = attach_program(directory, HARMLESS, HARMLESS_COUNT);
    close(directory);
    return status;
}

/// All programs of a group must consent: the wider one goes in first, and the narrower ones out after it.
static int replace_v2(int directory, const rule *rules, uint32_t count) {
    uint32_t old[8] = {0};
    union bpf_attr query = {.query = {.target_fd = (unsigned)directory, .attach_type = BPF_CGROUP_DEVICE,
                                      .prog_ids = (uintptr_t)old, .prog_cnt = sizeof old / sizeof old[0]}};
    int status = bpf(BPF_PROG_QUERY, &query);
    if (status < 0) return status;
    uint32_t known = query.query.prog_cnt;
    if ((status = attach_program(directory, rules, count)) < 0) return status;
    for (uint32_t i = 0; status == 0 && i < known; i++) {
        union bpf_attr get = {.prog_id = old[i]};
        int narrower = bpf(BPF_PROG_GET_FD_BY_ID, &get);
        if (narrower < 0) return narrower;
        union bpf_attr detach = {.target_fd = (unsigned)directory, .attach_bpf_fd = (unsigned)narrower, .attach_type = BPF_CGROUP_DEVICE};
        status = bpf(BPF_PROG_DETACH, &detach);
        close(narrower);
    }
    return status;
}

int cgroup_allow_devices(uint32_t version, int directory, const device_list *devices) {
    rule rules[RULES_MAX];
    memcpy(rules, HARMLESS, sizeof HARMLESS);
    for (uint32_t i = 0; i < devices->count; i++)
        rules[HARMLESS_COUNT + i] = (rule){.major = devices->node[i].major, .minor = devices->node[i].minor};
    if (version == 2) return replace_v2(directory, rules, HARMLESS_COUNT + devices->count);
    return allow_v1(directory, rules + HARMLESS_COUNT, devices->count);
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
