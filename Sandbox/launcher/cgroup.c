// Resource groups: find a place, make and remove our own, hand each worker a fresh leaf; v1 and v2 are beside it.
#include "cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/// What the kernel gives a new group.
enum { CPU_WEIGHT_DEFAULT = 100 };

static const char *const CONTROLLERS[CGROUP_CONTROLLERS] = {"memory", "pids", "cpu"};

// ---- small files ---------------------------------------------------------------------------------------------------

int cgroup_write(int directory, const char *file, const char *text) {
    int fd = openat(directory, file, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    ssize_t wrote = write(fd, text, strlen(text));
    int error = errno;
    close(fd);
    return wrote < 0 ? -error : 0;
}

int cgroup_write_number(int directory, const char *file, uint64_t number) {
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    return cgroup_write(directory, file, text);
}

void cgroup_read(int directory, const char *file, char *text, size_t room) {
    text[0] = 0;
    int fd = openat(directory, file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    ssize_t got = read(fd, text, room - 1);
    text[got < 0 ? 0 : got] = 0;
    close(fd);
}

uint64_t cgroup_read_key(int directory, const char *file, const char *key) {
    char text[1024];
    cgroup_read(directory, file, text, sizeof text);
    size_t length = strlen(key);
    for (const char *line = text; line != NULL && *line != 0; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, key, length) == 0 && line[length] == ' ') return strtoull(line + length, NULL, 10);
    }
    return 0;
}

// ---- finding a place -------------------------------------------------------------------------------------------------

static bool has_word(const char *list, const char *word, const char *separators) {
    char copy[1024], *rest = NULL;
    snprintf(copy, sizeof copy, "%s", list);
    for (char *item = strtok_r(copy, separators, &rest); item != NULL; item = strtok_r(NULL, separators, &rest))
        if (strcmp(item, word) == 0) return true;
    return false;
}

/// Mount point of the v1 hierarchy that has `controller`, or of v2 when it is NULL. Empty when there is none.
static void find_mount(const char *controller, char *point, size_t room) {
    point[0] = 0;
    FILE *table = fopen("/proc/self/mountinfo", "re");
    if (table == NULL) return;
    char *line = NULL;
    size_t size = 0;
    while (point[0] == 0 && getline(&line, &size, table) > 0) {
        char where[512], type[64], options[1024];
        const char *dash = strstr(line, " - ");
        if (dash == NULL || sscanf(line, "%*d %*d %*s %*s %511s", where) != 1) continue;
        if (sscanf(dash, " - %63s %*s %1023s", type, options) != 2) continue;
        bool match = controller == NULL ? strcmp(type, "cgroup2") == 0
                                        : strcmp(type, "cgroup") == 0 && has_word(options, controller, ",");
        if (match) snprintf(point, room, "%s", where);
    }
    free(line);
    fclose(table);
}

/// The group we live in ourselves, in the hierarchy of `controller`; "/" when it can't be told.
static void find_own(const char *controller, char *path, size_t room) {
    snprintf(path, room, "/");
    FILE *table = fopen("/proc/self/cgroup", "re");
    if (table == NULL) return;
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, table) > 0) {
        char *names = strchr(line, ':');
        char *where = names == NULL ? NULL : strchr(names + 1, ':');
        if (where == NULL) continue;
        *where++ = 0;
        where[strcspn(where, "\n")] = 0;
        bool match = controller == NULL ? strncmp(line, "0", 2) == 0 || names[1] == 0 : has_word(names + 1, controller, ",");
        if (match) snprintf(path, room, "%s", where);
    }
    free(line);
    fclose(table);
}

static int make_at(char *result, size_t room, const char *point, const char *own, const char *name) {
    if ((size_t)snprintf(result, room, "%s%s/%s", point, strcmp(own, "/") == 0 ? "" : own, name) >= room) {
        result[0] = 0;
        return -ENAMETOOLONG;
    }
    if (mkdir(result, 0755) == 0) return 0;
    int error = errno;
    result[0] = 0;
    return -error;
}

static void make_top_v1(cgroup_groups *groups, const char *name) {
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        char point[512], own[512];
        find_mount(CONTROLLERS[i], point, sizeof point);
        groups->error[i] = point[0] == 0 ? ENOENT : 0;
        if (point[0] == 0) continue;
        // The top keeps us clear of limits that hold for the host itself; below our own group when that is refused.
        int status = make_at(groups->path[i], sizeof groups->path[i], point, "/", name);
        find_own(CONTROLLERS[i], own, sizeof own);
        if (status < 0) status = make_at(groups->path[i], sizeof groups->path[i], point, own, name);
        groups->error[i] = -status;
        if (status == 0) groups->version = 1;
    }
    char point[512];
    find_mount("devices", point, sizeof point);
    if (groups->version == 1 && point[0] != 0) make_at(groups->devices, sizeof groups->devices, point, "/", name);
}

/// Lets children of `path` have the controllers. Returns the bits that they now have.
static unsigned delegate(const char *path) {
    unsigned given = 0;
    int directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return 0;
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        char text[512], word[16];
        snprintf(word, sizeof word, "+%s", CONTROLLERS[i]);
        cgroup_write(directory, "cgroup.subtree_control", word);
        cgroup_read(directory, "cgroup.subtree_control", text, sizeof text);
        if (has_word(text, CONTROLLERS[i], " \n")) given |= 1u << i;
    }
    cgroup_write(directory, "cgroup.subtree_control", "+dmem"); // few kernels have it: not a layer, and no reason to fail
    close(directory);
    return given;
}

/// A group with processes can't hand controllers on: move the host's own into a leaf beside ours.
static void make_room(const char *path, const char *name) {
    char leaf[1024], text[4096];
    if ((size_t)snprintf(leaf, sizeof leaf, "%s/%s-host", path, name) >= sizeof leaf) return;
    if (mkdir(leaf, 0755) < 0 && errno != EEXIST) return;
    int from = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC), to = open(leaf, O_PATH | O_DIRECTORY | O_CLOEXEC);
    cgroup_read(from, "cgroup.procs", text, sizeof text);
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        long pid = strtol(line, NULL, 10);
        // Only the host that started us, and ourselves: other processes are not ours to move.
        if (pid == getppid() || pid == getpid()) cgroup_write(to, "cgroup.procs", line);
    }
    if (from >= 0) close(from);
    if (to >= 0) close(to);
}

/// No process lives in the group itself; those of groups below do not count.
static bool is_empty(const char *path) {
    char text[64];
    int directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return false;
    cgroup_read(directory, "cgroup.procs", text, sizeof text);
    close(directory);
    return text[0] == 0;
}

/// From a leaf that `make_room` made to the group it is in: a second start must not go deeper.
static void leave_leaf(char *own) {
    char *slash = strrchr(own, '/');
    size_t length = strlen(own);
    if (slash == NULL || strncmp(slash, "/swiftlet-", 10) != 0 || strcmp(own + length - 5, "-host") != 0) return;
    slash[slash == own ? 1 : 0] = 0;
}

static void make_top_v2(cgroup_groups *groups, const char *name) {
    char point[512], own[512], parent[1024], made[512];
    find_mount(NULL, point, sizeof point);
    if (point[0] == 0) return;
    find_own(NULL, own, sizeof own);
    leave_leaf(own);
    for (int attempt = 0; attempt < 2; attempt++) {
        const char *below = attempt == 0 ? "/" : own;
        snprintf(parent, sizeof parent, "%s%s", point, strcmp(below, "/") == 0 ? "" : below);
        // Room first: in a group with processes cpu and pids are still handed on, and groups below it can't hold any.
        if (attempt == 1 && !is_empty(parent)) make_room(parent, name);
        if (attempt == 1 && !is_empty(parent)) continue;
        unsigned given = delegate(parent);
        if (given == 0) continue;
        int status = make_at(made, sizeof made, point, below, name);
        if (status == 0 && (given &= delegate(made)) == 0) {
            rmdir(made);
            status = -ENOENT;
        }
        for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
            if (groups->path[i][0] != 0) continue;
            groups->error[i] = status < 0 ? -status : (given >> i & 1u) != 0 ? 0 : ENOENT;
            if (groups->error[i] == 0) snprintf(groups->path[i], sizeof groups->path[i], "%s", made);
        }
        if (status == 0) {
            groups->version = 2;
            return;
        }
    }
}

void cgroup_make_top(cgroup_groups *groups, const char *name) {
    *groups = (cgroup_groups){0};
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) groups->error[i] = ENOENT;
    make_top_v1(groups, name);
    if (groups->version == 0) make_top_v2(groups, name);
}

/// Only the top of the hierarchy has it.
void dmem_capacity(char *text, size_t room) {
    char point[512];
    find_mount(NULL, point, sizeof point);
    text[0] = 0;
    int top = point[0] == 0 ? -1 : open(point, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (top < 0) return;
    cgroup_read(top, "dmem.capacity", text, room);
    close(top);
}

// ---- making and removing ------------------------------------------------------------------------------------------------

int cgroup_make_child(const cgroup_groups *parent, const char *name, cgroup_groups *child) {
    *child = *parent;
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        if (parent->path[i][0] == 0) continue;
        size_t room = sizeof child->path[i];
        if ((size_t)snprintf(child->path[i], room, "%s/%s", parent->path[i], name) >= room) return -ENAMETOOLONG;
        if (mkdir(child->path[i], 0755) < 0 && errno != EEXIST) return -errno;
        if (parent->version == 2) delegate(child->path[i]);
    }
    if (parent->devices[0] == 0) return 0;
    size_t room = sizeof child->devices;
    if ((size_t)snprintf(child->devices, room, "%s/%s", parent->devices, name) >= room) return -ENAMETOOLONG;
    if (mkdir(child->devices, 0755) < 0 && errno != EEXIST) return -errno;
    return 0;
}

static int remove_tree(const char *path, int depth) {
    DIR *listing = opendir(path);
    if (listing == NULL) return errno == ENOENT ? 0 : -errno;
    for (struct dirent *entry; (entry = readdir(listing)) != NULL && depth < 8;) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
        char below[1024];
        if ((size_t)snprintf(below, sizeof below, "%s/%s", path, entry->d_name) < sizeof below) remove_tree(below, depth + 1);
    }
    closedir(listing);
    // A process that has just been reaped may still be on its way out of the group.
    for (int wait = 0; wait < 50; wait++) {
        if (rmdir(path) == 0 || errno == ENOENT) return 0;
        if (errno != EBUSY) return -errno;
        usleep(1000);
    }
    return -EBUSY;
}

int cgroup_remove(const cgroup_groups *groups) {
    int worst = 0;
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        if (groups->path[i][0] == 0) continue;
        int status = remove_tree(groups->path[i], 0);
        if (status < 0) worst = status;
    }
    int status = groups->devices[0] == 0 ? 0 : remove_tree(groups->devices, 0);
    return status < 0 ? status : worst;
}

// ---- leaves ---------------------------------------------------------------------------------------------------------------

static const cgroup_kind *kind_of(uint32_t version) {
    return version == 2 ? &CGROUP_V2 : &CGROUP_V1;
}

int cgroup_open(const cgroup_groups *groups, int dirs[CGROUP_CONTROLLERS]) {
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        dirs[i] = -1;
        if (groups->path[i][0] == 0) continue;
        dirs[i] = open(groups->path[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dirs[i] < 0) return -errno;
    }
    return 0;
}

int cgroup_leaf_make(uint32_t version, const int dirs[CGROUP_CONTROLLERS], uint32_t number, cgroup_leaf *leaf) {
    *leaf = (cgroup_leaf){.number = number, .dir = {-1, -1, -1}, .attach = {-1, -1, -1}, .limits.cpu_weight = CPU_WEIGHT_DEFAULT};
    char name[16];
    snprintf(name, sizeof name, "w%u", number);
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        if (dirs[i] < 0) continue;
        if (mkdirat(dirs[i], name, 0755) < 0 && errno != EEXIST) return -errno;
        leaf->dir[i] = openat(dirs[i], name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (leaf->dir[i] < 0) return -errno;
        leaf->version = version; // without any controller there is no group
    }
    return leaf->version == 0 ? 0 : kind_of(version)->open_leaf(leaf);
}

int cgroup_leaf_limit(cgroup_leaf *leaf, const wire_start *job) {
    struct limits wanted = {.memory_bytes = job->memory_bytes, .pids = job->pids, .cpu_percent = job->cpu_percent,
                            .cpu_weight = job->cpu_weight == 0 ? CPU_WEIGHT_DEFAULT : job->cpu_weight};
    // Its threads can't use more than this anyway, and the kernel's accounting of a quota costs every wake-up.
    if (job->pids != 0 && wanted.cpu_percent >= 100 * job->pids) wanted.cpu_percent = 0;
    int status = leaf->version == 0 ? 0 : kind_of(leaf->version)->limit(leaf, &wanted);
    if (status == 0) leaf->limits = wanted;
    return status;
}

void cgroup_leaf_watch(cgroup_leaf *leaf, int poller, void *mark) {
    if (leaf->version != 0 && poller >= 0 && kind_of(leaf->version)->watch != NULL) kind_of(leaf->version)->watch(leaf, poller, mark);
}

void cgroup_leaf_end_starved(cgroup_leaf *leaf) {
    if (leaf->starved_event > 0) kind_of(leaf->version)->end_starved(leaf);
}

int cgroup_leaf_attach(const cgroup_leaf *leaf) {
    for (int i = 0; i < CGROUP_CONTROLLERS; i++)
        if (leaf->attach[i] >= 0 && write(leaf->attach[i], "0", 1) != 1) return -errno;
    return 0;
}

cgroup_result cgroup_leaf_result(const cgroup_leaf *leaf) {
    if (leaf->version == 0) return (cgroup_result){0};
    cgroup_result r = kind_of(leaf->version)->result(leaf);
    r.throttled_us -= leaf->throttled_before;
    r.pids_refused -= leaf->refused_before;
    return r;
}

bool cgroup_leaf_renew(cgroup_leaf *leaf, const cgroup_result *said) {
    if (said->oom || said->exhausted || leaf->version == 0) return false;
    const cgroup_kind *kind = kind_of(leaf->version);
    if (kind->renew == NULL || !kind->renew(leaf)) return false;
    leaf->throttled_before += said->throttled_us;
    leaf->refused_before += said->pids_refused;
    return true;
}

int cgroup_leaf_remove(cgroup_leaf *leaf, const int dirs[CGROUP_CONTROLLERS]) {
    char name[16];
    snprintf(name, sizeof name, "w%u", leaf->number);
    int status = 0;
    // Before the group goes: its end would be told as an event, too.
    if (leaf->starved_event > 0) close(leaf->starved_event);
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        if (leaf->attach[i] >= 0) close(leaf->attach[i]);
        if (leaf->dir[i] >= 0) close(leaf->dir[i]);
        if (dirs[i] >= 0 && unlinkat(dirs[i], name, AT_REMOVEDIR) < 0 && errno != ENOENT) status = -errno;
    }
    *leaf = (cgroup_leaf){.dir = {-1, -1, -1}, .attach = {-1, -1, -1}};
    return status;
}
