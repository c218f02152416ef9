// Opens a model through the plugin's own table with device budgets: too small, large enough, none. Run by scripts/test-backends.
#include "check.h"

static long resident_kb(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file != NULL && fscanf(file, "%*d %ld", &pages) != 1) pages = 0;
    if (file != NULL) fclose(file);
    return pages * 4;
}

static int32_t open_with(const char *path, uint64_t budget, uint32_t context) {
    swiftlet_open_v1 how = opening(path, "{}");
    how.device_budget = budget;
    how.context_tokens = context;
    words[0] = 0;
    return table->open(&how, &model);
}

int main(int count, char **arguments) {
    load_plugin(count, arguments);
    long before = resident_kb();

    CHECK(open_with(arguments[2], 600ull << 20, 8192) == SWIFTLET_FAILED, "600 MB for 8192 tokens");
    unsigned needed = 0, weights = 0, kept = 0, work = 0, driver = 0;
    const char *sum = strstr(words, "about");
    CHECK(sum != NULL && sscanf(sum, "about %u MB of its device (weights %u, keys and values %u, computing %u, the driver %u)", &needed,
                                &weights, &kept, &work, &driver) == 5, "the sum is told");
    CHECK(strstr(words, "budget is 600 MB; raise limits.device_memory_mb") != NULL, "the way out is told");
    // SmolLM2-135M: 30 layers, 3 heads of 64 keys and 64 values, 2 bytes each: 23040 a token.
    CHECK(kept == 8192u * 23040 / (1 << 20), "keys and values");
    CHECK(weights >= 80 && weights <= 100, "weights");
    CHECK(needed <= weights + kept + work + driver && needed + 4 >= weights + kept + work + driver, "the sum is one");
    CHECK(resident_kb() - before < 64 << 10, "a dry run loads nothing");

    // Half the context is half the keys and values: what was refused may fit.
    CHECK(open_with(arguments[2], (uint64_t)(needed - 1) << 20, 8192) == SWIFTLET_FAILED && strstr(words, "needs about") != NULL, "1 MB short");
    CHECK(open_with(arguments[2], (uint64_t)(needed - 1) << 20, 4096) == SWIFTLET_FAILED && strstr(words, "finds none") != NULL,
          "it fits with half the context, and then this build has no device");
    CHECK(open_with(arguments[2], 0, 4096) == SWIFTLET_OK, "without a device");
    if (model != NULL) table->close(model);
    printf("budget: weights %u, keys and values %u, computing %u, driver %u MB; %d failed checks\n", weights, kept, work, driver, failures);
    return failures > 0;
}
