// Device nodes: a backend that was assigned one uses it, and nobody else gets near; a virtual console's memory stands in for a
// GPU, because every kernel has it and its driver answers whoever may open it.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "check.h"
#include "launcher.h"

#define ALL_BUT_GROUP "seccomp,landlock,mount,caps,user,rlimits,mdwe"
enum { CONSOLE = 7 };

/// Two nodes of our own below /dev, which anybody may open: GPUs' are like that.
static wire_device mine, other;
static char mine_path[80], other_path[80];

static bool make_node(wire_device *node, char path[80], const char *name, uint32_t minor_number) {
    *node = (wire_device){.major = CONSOLE, .minor = minor_number};
    snprintf(node->path, sizeof node->path, "swiftlet-test-%d-%s", getpid(), name);
    snprintf(path, 80, "/dev/%s", node->path);
    unlink(path);
    // The mode again, because mknod takes the mask off.
    return mknod(path, S_IFCHR | 0666, makedev(CONSOLE, minor_number)) == 0 && chmod(path, 0666) == 0;
}

/// A backend of an adopted zygote that does what `config` says.
static worker start_told(host *h, const char *config, uint32_t device_count) {
    wire_start job = job_default();
    job.kind = WIRE_KIND_BACKEND;
    job.pids = 4;
    job.threads = 2;
    job.max_sequences = 4;
    job.max_step_tokens = 64;
    job.device_count = device_count;
    return host_worker(h, job, "engine.so", config);
}

/// One that tries the node at `path`.
static worker start(host *h, const char *path, uint32_t device_count) {
    char config[96];
    snprintf(config, sizeof config, "device %s", path);
    return start_told(h, config, device_count);
}

typedef struct tried {
    int loading_open, loading_ioctl, serving_open, serving_ioctl;
} tried;

/// What came of it, while opening the model and while serving. -1: it did not get so far.
static tried try_device(host *h, const char *path, uint32_t device_count) {
    tried t = {-1, -1, -1, -1};
    worker w = start(h, path, device_count);
    packet p = receive(w.channel, 5000);
    if (p.head.type == WIRE_LOG) sscanf(text_of(&p), "open %d ioctl %d", &t.loading_open, &t.loading_ioctl);
    else CHECK(false, "type %u %s", p.head.type, text_of(&p));
    uint32_t sequence = 0;
    send_frame(w.channel, (wire_head){.type = WIRE_OP, .id = 1, .call = WIRE_OP_SEQ_SAVE, .flags = WIRE_FLAG_END}, &sequence, 4);
    p = receive_type(w.channel, WIRE_OP_RESULT);
    if (!p.ended && p.size > 8) sscanf(text_of(&p) + 8, "open %d ioctl %d", &t.serving_open, &t.serving_ioctl);
    leave(h, w);
    return t;
}

static host adopted(const char *without, uint32_t count) {
    host h = host_start(without);
    packet answer;
    host_zygote(&h, 1, 2);
    CHECK(host_adopt_devices(&h, &mine, count, &answer), "the zygote says %u %s", answer.head.type, text_of(&answer));
    return h;
}

static void assigned(void) {
    host h = adopted(NULL, 1);
    tried t = try_device(&h, mine_path, 1);
    // The console's driver does not know the request: that answer is the driver's, so the filter and Landlock let it through.
    CHECK(t.loading_open == 0 && t.loading_ioctl == ENOTTY, "loading: open %d ioctl %d", t.loading_open, t.loading_ioctl);
    CHECK(t.serving_open == 0 && t.serving_ioctl == ENOTTY, "serving: open %d ioctl %d", t.serving_open, t.serving_ioctl);
    t = try_device(&h, "/dev/null", 1);
    CHECK(t.loading_open == ENOENT || t.loading_open == EACCES, "a node beside it: %d", t.loading_open);
    // The zygote's other workers would share its root: it has none.
    worker w = host_worker(&h, job_default(), "subject.so", "{}");
    exited e = host_exited(&h, w.number);
    CHECK(e.came && strstr(e.words, "devices") != NULL, "a handler beside devices: %s", e.words);
    close(w.channel);
    w = start(&h, mine_path, 0);
    e = host_exited(&h, w.number);
    CHECK(e.came && strstr(e.words, "devices") != NULL, "a backend without its devices: %s", e.words);
    close(w.channel);
    host_stop(&h);
}

/// What a worker said while opening its model, and while serving.
static void ask_driver(host *h, uint32_t device_count, char loading[128], char serving[128]) {
    worker w = start_told(h, "driver", device_count);
    packet p = receive_type(w.channel, WIRE_LOG);
    snprintf(loading, 128, "%s", p.ended ? "ended" : text_of(&p));
    uint32_t sequence = 0;
    send_frame(w.channel, (wire_head){.type = WIRE_OP, .id = 1, .call = WIRE_OP_SEQ_SAVE, .flags = WIRE_FLAG_END}, &sequence, 4);
    p = receive_type(w.channel, WIRE_OP_RESULT);
    snprintf(serving, 128, "%s", p.ended || p.size <= 8 ? "ended" : text_of(&p) + 8);
    leave(h, w);
}

/// A node with a GPU's name brings what NVIDIA's library wants beside it, and no more; one with another name does not.
static void driver(uint32_t have) {
    if ((have & WIRE_LAYER_MOUNT) == 0) return;
    char loading[128], serving[128];
    wire_device gpu, devices[2];
    char path[80];
    if (!make_node(&gpu, path, "gpu", 0)) return;
    CHECK(unlink(path) == 0, "%d", errno);
    snprintf(gpu.path, sizeof gpu.path, "nvidia-test-%d", getpid());
    snprintf(path, sizeof path, "/dev/%s", gpu.path);
    CHECK(mknod(path, S_IFCHR | 0666, makedev(CONSOLE, 0)) == 0 && chmod(path, 0666) == 0, "mknod %d", errno);
    devices[0] = gpu;
    devices[1] = (wire_device){.path = "null", .major = 1, .minor = 3};
    host h = host_start(NULL);
    packet answer;
    host_zygote(&h, 1, 2);
    CHECK(host_adopt_devices(&h, devices, 2, &answer), "the zygote says %u %s", answer.head.type, text_of(&answer));
    ask_driver(&h, 2, loading, serving);
    CHECK(strcmp(loading, "|") == 0, "loading: %s", loading);
    CHECK(strcmp(serving, "|") == 0, "serving: %s", serving);
    host_stop(&h);
    unlink(path);
    h = adopted(NULL, 0);
    ask_driver(&h, 0, loading, serving);
    CHECK(strcmp(loading, "nonblock pipe dup name mempolicy offer online |") == 0, "without a device, loading: %s", loading);
    CHECK(strcmp(serving, "nonblock pipe dup name mempolicy offer cpuinfo online |") == 0, "without a device, serving: %s", serving);
    host_stop(&h);
}

static void not_assigned(void) {
    host h = adopted(NULL, 0);
    tried t = try_device(&h, mine_path, 0);
    CHECK(t.loading_open == EPERM && t.serving_open == EPERM, "open %d, serving %d", t.loading_open, t.serving_open);
    worker w = start(&h, mine_path, 1);
    exited e = host_exited(&h, w.number);
    CHECK(e.came && strstr(e.words, "adopted") != NULL, "devices that were not adopted: %s", e.words);
    close(w.channel);
    wire_start job = job_default();
    job.device_count = 1;
    w = host_worker(&h, job, "subject.so", "{}");
    e = host_exited(&h, w.number);
    CHECK(e.came && strstr(e.words, "only a backend") != NULL, "a handler with a device: %s", e.words);
    close(w.channel);
    job.device_count = 0;
    job.device_bytes = 1;
    job.kind = WIRE_KIND_PROBE;
    w = host_worker(&h, job, "subject.so", "{}");
    e = host_exited(&h, w.number);
    CHECK(e.came && strstr(e.words, "only a backend") != NULL, "a probe with device memory: %s", e.words);
    close(w.channel);
    host_stop(&h);
}

/// Each layer alone refuses the node that the backend was not assigned.
static void each_layer(uint32_t have) {
    static const struct {
        const char *without;
        uint32_t layer;
        int error;
    } CASES[] = {
        {"landlock,mount,cgroup-devices", WIRE_LAYER_SECCOMP, EPERM},
        {"seccomp,mount,cgroup-devices", WIRE_LAYER_LANDLOCK, EACCES},
        {"seccomp,landlock,cgroup-devices", WIRE_LAYER_MOUNT, ENOENT},
        {ALL_BUT_GROUP, WIRE_LAYER_CGROUP_DEVICES, EPERM},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        if ((have & CASES[i].layer) == 0) continue;
        host h = adopted(CASES[i].without, 0);
        tried t = try_device(&h, mine_path, 0);
        CHECK(t.loading_open == CASES[i].error, "without %s: %d", CASES[i].without, t.loading_open);
        host_stop(&h);
    }
    host h = adopted(ALL_BUT_GROUP ",cgroup-devices", 0);
    tried t = try_device(&h, mine_path, 0);
    CHECK(t.loading_open == 0, "nothing stands against it, and still: %d", t.loading_open);
    host_stop(&h);
}

/// The group lets in what was adopted, and not the console beside it.
static void group(uint32_t have) {
    if ((have & WIRE_LAYER_CGROUP_DEVICES) == 0) return;
    host h = adopted(ALL_BUT_GROUP, 1);
    tried t = try_device(&h, mine_path, 1);
    CHECK(t.loading_open == 0, "its own: %d", t.loading_open);
    t = try_device(&h, other_path, 1);
    CHECK(t.loading_open == EPERM, "another: %d", t.loading_open);
    t = try_device(&h, "/dev/null", 1);
    CHECK(t.loading_open == 0, "the harmless ones: %d", t.loading_open);
    host_stop(&h);
}

/// Lists that no honest host sends, each refused by a step that says what is wrong.
static void refused(void) {
    wire_device link = mine, changed = mine, above = mine, file = mine, twice[2] = {mine, mine}, many[WIRE_DEVICES_MAX + 1] = {0};
    char path[96];
    snprintf(link.path, sizeof link.path, "swiftlet-test-%d-link", getpid());
    snprintf(path, sizeof path, "/dev/%s", link.path);
    CHECK(symlink(mine_path, path) == 0, "symlink %d", errno);
    changed.minor = other.minor;
    snprintf(above.path, sizeof above.path, "../etc/passwd");
    snprintf(file.path, sizeof file.path, "swiftlet-test-%d-nothing", getpid());
    const struct {
        const wire_device *devices;
        uint32_t count;
        const char *words;
    } CASES[] = {{&link, 1, "nodes"}, {&changed, 1, "nodes"}, {&above, 1, "below /dev"}, {&file, 1, "nodes"},
                 {twice, 2, "twice"}, {many, WIRE_DEVICES_MAX + 1, "sizes"}};
    host h = host_start(NULL);
    for (uint32_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        packet answer;
        host_zygote(&h, i + 1, 1);
        bool taken = host_adopt_devices(&h, CASES[i].devices, CASES[i].count, &answer);
        CHECK(!taken && strstr(text_of(&answer), CASES[i].words) != NULL, "case %u: %s", i, text_of(&answer));
        host_drop_zygote(&h);
    }
    unlink(path);
    host_stop(&h);
}

/// The budget reaches the engine as the host gave it.
static void budget(void) {
    host h = adopted(NULL, 1);
    wire_start job = job_default();
    job.kind = WIRE_KIND_BACKEND;
    job.device_count = 1;
    job.device_bytes = 8ull << 30;
    worker w = host_worker(&h, job, "engine.so", "budget");
    packet p = receive_type(w.channel, WIRE_FAILED);
    CHECK(!p.ended && strstr(text_of(&p), "budget 8589934592") != NULL, "%s", text_of(&p));
    host_exited(&h, w.number);
    close(w.channel);
    host_stop(&h);
}

void test_backend_devices(void) {
    bool ready = geteuid() == 0 && make_node(&mine, mine_path, "mine", 0) && make_node(&other, other_path, "other", 1);
    FILE *probe = ready ? fopen(mine_path, "r+") : NULL;
    if (probe == NULL) {
        printf("skip backend devices: no node of a virtual console can be made and opened here: %s\n", strerror(errno));
    } else {
        fclose(probe);
        host h = host_start(NULL);
        uint32_t have = h.have;
        host_stop(&h);
        assigned();
        not_assigned();
        driver(have);
        each_layer(have);
        group(have);
        refused();
        budget();
    }
    unlink(mine_path);
    unlink(other_path);
}

/// Which of the kernel's regions is the device's: by its whole address, never by a part of it.
void test_dmem_regions(void) {
    static const char CAPACITY[] = "drm/0000:03:00.0/vram0 8514437120\ndrm/0000:0a:00.0/stolen 67108864\nodd\n";
    char region[64];
    CHECK(dmem_region(CAPACITY, "0000:0a:00.0", region, sizeof region) && strcmp(region, "drm/0000:0a:00.0/stolen") == 0, "%s", region);
    CHECK(dmem_region(CAPACITY, "0000:03:00.0", region, sizeof region) && strcmp(region, "drm/0000:03:00.0/vram0") == 0, "%s", region);
    CHECK(!dmem_region(CAPACITY, "0000:03:00", region, sizeof region), "a part of an address");
    CHECK(!dmem_region(CAPACITY, "", region, sizeof region) && !dmem_region("", "0000:03:00.0", region, sizeof region), "nothing");
    CHECK(!dmem_region(CAPACITY, "0000:03:00.0", region, 8), "no room");
}
