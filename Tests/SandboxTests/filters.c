// A seal and the serve filter it stands for, run by hand: on top of the filter below they allow exactly the same calls.
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "launcher.h"

/// The few instructions that seccomp filters are made of. Returns the action.
static uint32_t verdict(const filter *f, const struct seccomp_data *data) {
    uint32_t a = 0;
    for (unsigned at = 0; at < f->length; at++) {
        const struct sock_filter *i = &f->code[at];
        switch (i->code) {
        case BPF_LD | BPF_W | BPF_ABS: memcpy(&a, (const char *)data + i->k, sizeof a); break;
        case BPF_ALU | BPF_AND | BPF_K: a &= i->k; break;
        case BPF_JMP | BPF_JA: at += i->k; break;
        case BPF_JMP | BPF_JEQ | BPF_K: at += a == i->k ? i->jt : i->jf; break;
        case BPF_JMP | BPF_JGT | BPF_K: at += a > i->k ? i->jt : i->jf; break;
        case BPF_JMP | BPF_JGE | BPF_K: at += a >= i->k ? i->jt : i->jf; break;
        case BPF_JMP | BPF_JSET | BPF_K: at += (a & i->k) != 0 ? i->jt : i->jf; break;
        case BPF_RET | BPF_K: return i->k & SECCOMP_RET_ACTION_FULL;
        default: CHECK(false, "an instruction %x", i->code); return 0;
        }
    }
    return 0;
}

/// What the kernel does when both are in force.
static int32_t both(const filter *one, const filter *two, const struct seccomp_data *data) {
    int32_t a = (int32_t)verdict(one, data), b = (int32_t)verdict(two, data);
    return a < b ? a : b;
}

static void compare(const filter *below, const filter *serve, const filter *seal, const char *name) {
    static const uint64_t VALUES[] = {0, 1, 2, 3, 4, 5, 6, 7, 9, 0x10, 0x22, 0x21, 0x23, 0x32, 0x1000, 0x1003, 15, 0x53564d41,
                                      0x100000001, 0x51e1f1d, ~0ull};
    enum { VALUE_COUNT = sizeof VALUES / sizeof VALUES[0], CALLS = 480, TRIES = 400 };
    CHECK(seal->length * 3 < serve->length, "%s: %u instructions of %u", name, seal->length, serve->length);
    unsigned seed = 1, allowed = 0, refused = 0;
    for (int call = 0; call < CALLS; call++)
        for (int n = 0; n < TRIES; n++) {
            struct seccomp_data data = {.nr = n == 0 ? call | 0x40000000 : call, .arch = n == 1 ? AUDIT_ARCH_I386 : AUDIT_ARCH_X86_64};
            for (int i = 0; i < 6; i++) data.args[i] = VALUES[(unsigned)rand_r(&seed) % VALUE_COUNT];
            int32_t wanted = both(below, serve, &data), got = both(below, seal, &data);
            allowed += got == SECCOMP_RET_ALLOW;
            refused += got != SECCOMP_RET_ALLOW && verdict(below, &data) == SECCOMP_RET_ALLOW;
            CHECK(wanted == got, "%s: call %d(%llx, %llx, %llx, %llx): %x by the policy, %x by the seal", name, data.nr,
                  (unsigned long long)data.args[0], (unsigned long long)data.args[1], (unsigned long long)data.args[2],
                  (unsigned long long)data.args[3], (unsigned)wanted, (unsigned)got);
            if (wanted != got) break;
        }
    CHECK(allowed > 40 * 100, "%s: only %u calls were allowed at all", name, allowed);
    CHECK(refused > 5 * 100, "%s: only %u calls were refused by it", name, refused);
}

void test_seal(void) {
    filter_set set;
    int status = filters_build(&set);
    CHECK(status == 0, "filters_build %d", status);
    if (status != 0) return;
    compare(&set.handler_load, &set.handler_serve, &set.handler_seal, "handler");
    compare(&set.template_serve, &set.handler_serve, &set.fresh_seal, "fresh");
}
