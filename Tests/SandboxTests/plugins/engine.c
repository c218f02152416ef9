// The smallest engine that has something to say: tokens are bytes, and the next token is the last one; it uses a thread.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "swiftlet_backend.h"

static void *work(void *argument) {
    *(int *)argument += 1;
    return NULL;
}

static void *wait_a_little(void *argument) {
    usleep(50000);
    return argument;
}

/// Engines compute in threads, when they open a model and in each step.
static int compute(void) {
    int done = 0;
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, &done) != 0) return 0;
    pthread_join(thread, NULL);
    return done;
}

/// Threads until one is refused.
static int count_threads(void) {
    enum { MANY = 64 };
    static int done[MANY];
    pthread_t thread[MANY];
    int count = 0;
    while (count < MANY && pthread_create(&thread[count], NULL, wait_a_little, &done[count]) == 0) count++;
    for (int i = 0; i < count; i++) pthread_join(thread[i], NULL);
    return count;
}

static void *hog(void *unused) {
    enum { BLOCK = 1 << 20, BLOCKS = 256 };
    for (int i = 0; i < BLOCKS; i++) {
        char *block = malloc(BLOCK);
        if (block != NULL) memset(block, 1, BLOCK);
    }
    return unused;
}

static void hog_in_threads(void) {
    enum { THREADS = 3 };
    pthread_t thread[THREADS];
    int count = 0;
    while (count < THREADS && pthread_create(&thread[count], NULL, hog, NULL) == 0) count++;
    for (int i = 0; i < count; i++) pthread_join(thread[i], NULL);
}

static int is(swiftlet_bytes text, const char *word) {
    return text.size == strlen(word) && memcmp(text.data, word, text.size) == 0;
}

static char device[80]; ///< the node that the test names

/// What opening the device and asking its driver for something came to: two errnos, 0 for none.
static int describe_device(char *text, size_t room) {
    int fd = open(device, O_RDWR | O_NOCTTY), opened = fd < 0 ? errno : 0;
    int asked = fd < 0 ? 0 : ioctl(fd, 0x5eed, 0) < 0 ? errno : 0;
    return snprintf(text, room, "open %d ioctl %d", opened, asked);
}

/// Writes a function and calls it, as engines do that compile a model: first the errno of each step, then what it returned.
static int describe_code(char *text, size_t room) {
    static const unsigned char RETURN_42[] = {0xb8, 42, 0, 0, 0, 0xc3};
    int (*made)(void);
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return snprintf(text, room, "no page");
    memcpy(page, RETURN_42, sizeof RETURN_42);
    memcpy(&made, &page, sizeof made);
    if (mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) < 0) return snprintf(text, room, "code refused");
    int value = made();
    munmap(page, 4096);
    return snprintf(text, room, "code %d", value);
}

/// How many cores the text about them has, and whether anything else of /proc is there.
static int describe_processors(char *text, size_t room) {
    char line[128];
    int count = 0;
    FILE *file = fopen("/proc/cpuinfo", "re");
    if (file == NULL) return snprintf(text, room, "processors: errno %d", errno);
    while (fgets(line, sizeof line, file) != NULL) count += strncmp(line, "processor", 9) == 0;
    fclose(file);
    return snprintf(text, room, "processors %d, self %s", count, access("/proc/self", F_OK) == 0 ? "there" : "absent");
}

static int can_read(const char *path) {
    char byte;
    int fd = open(path, O_RDONLY), got = fd < 0 ? 0 : read(fd, &byte, 1) == 1;
    if (fd >= 0) close(fd);
    return got;
}

/// As CUDA starts a thread: it has a name, or the driver does not start.
static void *take_a_name(void *unused) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%ld/comm", (long)syscall(SYS_gettid));
    FILE *file = fopen(path, "w");
    int named = file != NULL && fputs("cuda00001400007", file) >= 0;
    if (file != NULL) named &= fclose(file) == 0;
    return named ? take_a_name : unused;
}

/// CUDA's abstract name in the network namespace, of which it tells its own children.
static int offer(void) {
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0cuda-uvmfd-4026531836-1"};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    int done = fd >= 0 && bind(fd, (struct sockaddr *)&name, 29) == 0 && listen(fd, 128) == 0;
    if (fd >= 0) close(fd);
    return done;
}

/// The calls beside nodes and maps that NVIDIA's library makes, as they were traced on an H200: those that failed, by name.
/// Behind the bar what must fail all the same.
static int describe_driver(char *text, size_t room) {
    int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), ends[2] = {-1, -1}, policy = 0, again = dup(event);
    pthread_t thread;
    void *named = NULL;
    if (pthread_create(&thread, NULL, take_a_name, NULL) == 0) pthread_join(thread, &named);
    int length = snprintf(text, room, "%s%s%s%s%s%s%s%s|", fcntl(event, F_SETFL, O_NONBLOCK) == 0 ? "" : "nonblock ",
        pipe2(ends, O_CLOEXEC) == 0 ? "" : "pipe ", again >= 0 ? "" : "dup ", named != NULL ? "" : "name ",
        syscall(SYS_get_mempolicy, &policy, NULL, 0, NULL, 0) == 0 ? "" : "mempolicy ", offer() ? "" : "offer ",
        can_read("/proc/cpuinfo") ? "" : "cpuinfo ", can_read("/sys/devices/system/cpu/online") ? "" : "online ");
    int made = open("/proc/self/task/1/made", O_WRONLY | O_CREAT | O_TRUNC, 0600), inet = socket(AF_INET, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    length += snprintf(text + length, room - (size_t)length, "%s%s%s%s%s", made < 0 ? "" : "made ", inet < 0 ? "" : "inet ",
        fcntl(event, F_SETFL, O_ASYNC) < 0 ? "" : "async ", can_read("/proc/self/status") || can_read("/proc/meminfo") ? "proc " : "",
        open("/sys/devices/system/cpu/online", O_WRONLY | O_CREAT | O_TRUNC, 0600) < 0 ? "" : "written ");
    const int used[] = {event, again, ends[0], ends[1]};
    for (size_t i = 0; i < sizeof used / sizeof used[0]; i++)
        if (used[i] >= 0) close(used[i]);
    return length;
}

static int32_t open_model(const swiftlet_open_v1 *options, void **model) {
    *model = NULL;
    if (is(options->config, "code") || is(options->config, "processors")) {
        char words[128];
        int length = is(options->config, "code") ? describe_code(words, sizeof words) : describe_processors(words, sizeof words);
        options->fail((swiftlet_bytes){.data = words, .size = (size_t)length});
        return SWIFTLET_FAILED;
    }
    if (is(options->config, "hog")) hog_in_threads();
    if (is(options->config, "fail")) {
        options->fail((swiftlet_bytes){.data = "no model here", .size = 13});
        return SWIFTLET_FAILED;
    }
    static const char DEVICE[] = "device ";
    char text[128];
    if (is(options->config, "driver")) {
        int length = describe_driver(text, sizeof text);
        options->log(1, (swiftlet_bytes){.data = text, .size = (size_t)length});
    }
    if (is(options->config, "threads")) {
        int length = snprintf(text, sizeof text, "%d threads", count_threads());
        options->fail((swiftlet_bytes){.data = text, .size = (size_t)length});
        return SWIFTLET_FAILED;
    }
    if (is(options->config, "budget")) {
        int length = snprintf(text, sizeof text, "budget %llu", (unsigned long long)options->device_budget);
        options->fail((swiftlet_bytes){.data = text, .size = (size_t)length});
        return SWIFTLET_FAILED;
    }
    if (options->config.size > sizeof DEVICE && memcmp(options->config.data, DEVICE, sizeof DEVICE - 1) == 0) {
        snprintf(device, sizeof device, "%.*s", (int)(options->config.size - sizeof DEVICE + 1), (const char *)options->config.data + sizeof DEVICE - 1);
        int length = describe_device(text, sizeof text);
        options->log(1, (swiftlet_bytes){.data = text, .size = (size_t)length});
    }
    return compute() == 1 ? SWIFTLET_OK : SWIFTLET_FAILED;
}

/// While serving: the same question, behind the last filter.
static int32_t seq_save(void *model, uint32_t sequence, swiftlet_bytes *state) {
    static char text[128];
    (void)model;
    (void)sequence;
    int length = device[0] != 0 ? describe_device(text, sizeof text) : describe_driver(text, sizeof text);
    *state = (swiftlet_bytes){.data = text, .size = (size_t)length};
    return SWIFTLET_OK;
}

static int32_t describe(void *model, swiftlet_model_info_v1 *info) {
    (void)model;
    info->capabilities = SWIFTLET_CAN_GENERATE;
    info->vocabulary = 256;
    info->max_sequences = 4;
    return SWIFTLET_OK;
}

static int32_t tokenize(void *model, swiftlet_bytes text, uint32_t special, uint32_t start, int32_t *tokens, size_t *count) {
    (void)model;
    (void)special;
    size_t needed = text.size + (start != 0), at = 0;
    int32_t status = *count < needed ? SWIFTLET_TOO_SMALL : SWIFTLET_OK;
    *count = needed;
    if (status != SWIFTLET_OK) return status;
    if (start != 0) tokens[at++] = 1;
    for (size_t i = 0; i < text.size; i++) tokens[at++] = ((const uint8_t *)text.data)[i];
    return SWIFTLET_OK;
}

static int32_t seq_start(void *model, uint32_t sequence, const swiftlet_sampling_v1 *sampling) {
    (void)model;
    return sequence < 4 && sampling->version == 1 ? SWIFTLET_OK : SWIFTLET_INVALID;
}

static int32_t step(void *model, const swiftlet_step_item *items, size_t count, swiftlet_step_output *outputs) {
    static char piece[4];
    static swiftlet_token_logprob top[4];
    (void)model;
    if (compute() != 1) return SWIFTLET_FAILED;
    for (size_t i = 0; i < count && i < 4; i++) {
        int32_t last = items[i].tokens[items[i].count - 1];
        piece[i] = (char)last;
        top[i] = (swiftlet_token_logprob){.token = last, .piece = {.data = &piece[i], .size = 1}};
        outputs[i] = (swiftlet_step_output){.sequence = items[i].sequence, .top_count = 1, .picked = top[i], .top = &top[i]};
    }
    return SWIFTLET_OK;
}

static int32_t seq_drop(void *model, uint32_t sequence) {
    (void)model;
    (void)sequence;
    return SWIFTLET_OK;
}

static const int64_t ANY[] = {-1};
static const swiftlet_tensor TENSOR = {.name = {"x", 1}, .shape = ANY, .rank = 1, .type = SWIFTLET_F32};

static int32_t tensors(
    void *model, const swiftlet_tensor **inputs, size_t *input_count, const swiftlet_tensor **outputs, size_t *output_count) {
    (void)model;
    *inputs = *outputs = &TENSOR;
    *input_count = *output_count = 1;
    return SWIFTLET_OK;
}

/// Gives back what it gets; the tensor named "code" says whether code can still be made.
static int32_t infer(
    void *model, const swiftlet_tensor *inputs, size_t input_count, const swiftlet_tensor **outputs, size_t *output_count) {
    static char text[64];
    static int64_t size;
    static swiftlet_tensor made = {.name = {"code", 4}, .shape = &size, .rank = 1, .type = SWIFTLET_U8};
    (void)model;
    *outputs = inputs;
    *output_count = input_count;
    if (input_count != 1 || !is(inputs[0].name, "code")) return SWIFTLET_OK;
    size = describe_code(text, sizeof text);
    made.data = (swiftlet_bytes){.data = text, .size = (size_t)size};
    *outputs = &made;
    return SWIFTLET_OK;
}

SWIFTLET_EXPORT const swiftlet_plugin *swiftlet_plugin_entry(uint32_t host_abi) {
    static const swiftlet_backend_v1 TABLE = {
        .size = sizeof TABLE, .version = 1, .open = open_model, .describe = describe, .tokenize = tokenize,
        .seq_start = seq_start, .step = step, .seq_drop = seq_drop, .seq_save = seq_save, .infer = infer, .tensors = tensors};
    static const swiftlet_plugin PLUGIN = {
        .size = sizeof PLUGIN, .abi = 1, .kind = SWIFTLET_KIND_BACKEND, .name = "engine", .version = "1", .table = &TABLE};
    (void)host_abi;
    return &PLUGIN;
}
