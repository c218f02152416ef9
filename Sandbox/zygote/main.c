// swiftlet-zygote: reads the command line and goes to the room it names: forker, zygote, layers or order.
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "zygote.h"

static const char USAGE[] =
    "usage: swiftlet-zygote forker --control FD --cgroup-name NAME [--kit FILE] [--swift-runtime DIR]\n"
    "                              [--rehearsal FILE] [--uid-base N] [--without LAYER,LAYER]\n"
    "       swiftlet-zygote layers [--json] [--require all|LAYER,LAYER]\n"
    "                                          what this machine gives, with the fix for what it does not; fails when a\n"
    "                                          required layer is missing\n"
    "       swiftlet-zygote order              the order of confinement, one step a line\n"
    "The forker and the zygotes it starts are run by `swiftlet serve`, not by hand.\n";

enum { KIT = 1000, REHEARSAL, RUNTIME, CGROUP_NAME, CONTROL, UID, WITHOUT, REQUIRE, JSON, HAVE, PREPARE, UID_FIRST, VERSION, MEMORY, PIDS, CPU, DEVICES, USERNS };

static const struct option LONG[] = {
    {"control", required_argument, NULL, CONTROL},
    {"kit", required_argument, NULL, KIT},
    {"rehearsal", required_argument, NULL, REHEARSAL},
    {"swift-runtime", required_argument, NULL, RUNTIME},
    {"cgroup-name", required_argument, NULL, CGROUP_NAME},
    {"uid-base", required_argument, NULL, UID},
    {"without", required_argument, NULL, WITHOUT},
    {"require", required_argument, NULL, REQUIRE},
    {"json", no_argument, NULL, JSON},
    {"have", required_argument, NULL, HAVE},
    {"prepare", required_argument, NULL, PREPARE},
    {"uid-first", required_argument, NULL, UID_FIRST},
    {"cgroup-version", required_argument, NULL, VERSION},
    {"cgroup-memory", required_argument, NULL, MEMORY},
    {"cgroup-pids", required_argument, NULL, PIDS},
    {"cgroup-cpu", required_argument, NULL, CPU},
    {"cgroup-devices", required_argument, NULL, DEVICES},
    {"user-namespace", no_argument, NULL, USERNS},
    {0},
};

static bool read_layers(char *names, uint32_t *bits) {
    char *rest = NULL;
    for (char *name = strtok_r(names, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest)) {
        uint32_t bit = layer_bit(name);
        if (bit == 0) {
            fprintf(stderr, "swiftlet-zygote: no layer is called '%s'; `swiftlet-zygote layers` names them\n", name);
            return false;
        }
        *bits |= bit;
    }
    return true;
}

static void set_group(options *o, int controller) {
    snprintf(o->groups.path[controller], sizeof o->groups.path[controller], "%s", optarg);
}

static bool read_option(options *o, int option, bool *json) {
    switch (option) {
    case CONTROL: o->control = atoi(optarg); return true;
    case KIT: o->kit = optarg; return true;
    case REHEARSAL: o->rehearsal = optarg; return true;
    case RUNTIME:
        // Its real path, because inside the jail there is no link to follow.
        o->swift_runtime = realpath(optarg, NULL);
        if (o->swift_runtime == NULL) fprintf(stderr, "swiftlet-zygote: --swift-runtime %s: %s\n", optarg, strerror(errno));
        return o->swift_runtime != NULL;
    case CGROUP_NAME: o->cgroup_name = optarg; return strchr(optarg, '/') == NULL && optarg[0] != '.' && optarg[0] != 0;
    case UID: o->uid_base = (uid_t)strtoul(optarg, NULL, 0); return o->uid_base != 0;
    case WITHOUT: return read_layers(optarg, &o->without);
    case REQUIRE: return strcmp(optarg, "all") == 0 || read_layers(optarg, &o->require);
    case JSON: *json = true; return true;
    case HAVE: o->have = (uint32_t)strtoul(optarg, NULL, 0); return true;
    case PREPARE: o->prepare = (uint32_t)strtoul(optarg, NULL, 0); return true;
    case UID_FIRST: o->uid_first = (uid_t)strtoul(optarg, NULL, 0); return true;
    case VERSION: o->groups.version = (uint32_t)strtoul(optarg, NULL, 0); return true;
    case MEMORY: set_group(o, CGROUP_MEMORY); return true;
    case PIDS: set_group(o, CGROUP_PIDS); return true;
    case CPU: set_group(o, CGROUP_CPU); return true;
    case DEVICES: snprintf(o->groups.devices, sizeof o->groups.devices, "%s", optarg); return true;
    case USERNS: o->user_namespace = true; return true;
    default: return false;
    }
}

/// Two hosts on one machine would count each other's processes against RLIMIT_NPROC if their workers were the same users.
static uid_t default_uid_base(void) {
    return UID_BASE + (uid_t)(getpid() % UID_RANGES) * ZYGOTES_MAX * WORKERS_MAX;
}

int main(int count, char **words) {
    options o = {.control = -1, .uid_base = default_uid_base()};
    bool json = false;
    const char *verb = count > 1 ? words[1] : "";
    for (int option; count > 1 && (option = getopt_long(count - 1, words + 1, "", LONG, NULL)) != -1;)
        if (!read_option(&o, option, &json)) {
            fputs(USAGE, stderr);
            return 2;
        }
    if (strcmp(verb, "forker") == 0 && o.control >= 0 && o.cgroup_name != NULL) return forker_main(&o);
    if (strcmp(verb, "zygote") == 0 && o.control >= 0) return forked_main(&o);
    if (strcmp(verb, "layers") == 0) return layers_main(&o, json);
    if (strcmp(verb, "order") == 0) {
        confine_print();
        return 0;
    }
    bool help = strcmp(verb, "--help") == 0;
    fputs(USAGE, help ? stdout : stderr);
    return help ? 0 : 2;
}
