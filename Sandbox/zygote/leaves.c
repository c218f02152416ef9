// Control groups of workers, used again where one can be made as good as new: making, watching and removing one takes 0.5 ms.
#include "workers.h"

enum { KEPT_MAX = 8 };

static cgroup_leaf kept[KEPT_MAX];
static int kept_count;

int leaf_get(worker *w) {
    static uint32_t made;
    int status = 0;
    if (kept_count > 0) w->leaf = kept[--kept_count];
    else status = cgroup_leaf_make(Z.options->groups.version, Z.groups, made++, &w->leaf);
    if (status == 0) starved_watch(w);
    return status;
}

void leaf_give_back(worker *w, const cgroup_result *said) {
    if (said != NULL && kept_count < KEPT_MAX && cgroup_leaf_renew(&w->leaf, said)) kept[kept_count++] = w->leaf;
    else cgroup_leaf_remove(&w->leaf, Z.groups);
}
