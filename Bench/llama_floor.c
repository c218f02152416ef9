// The least that a first token can take: a new process loads the model with llama.cpp, makes a context and decodes a prompt.
//
// llama_floor MODEL CONTEXT SEQUENCES THREADS PROMPT    prints the microseconds from starting that process to the token
#include <llama.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { STEP = 512, CHILD_WRITES = 3 };

static int stop(const char *why) {
    fprintf(stderr, "llama_floor: %s\n", why);
    return 1;
}

static void quiet(enum ggml_log_level level, const char *text, void *data) {
    (void)data;
    if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

/// The child: says on CHILD_WRITES when the first token is there, and is gone without freeing anything.
static int first_token(char **words) {
    llama_log_set(quiet, NULL);
    llama_backend_init();
    struct llama_model *model = llama_model_load_from_file(words[1], llama_model_default_params());
    if (model == NULL) return stop("the model can't be loaded");
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = (uint32_t)atoi(words[2]);
    params.n_seq_max = params.n_outputs_max = (uint32_t)atoi(words[3]);
    params.n_threads = params.n_threads_batch = atoi(words[4]);
    params.n_batch = params.n_ubatch = STEP;
    params.kv_unified = params.no_perf = true;
    struct llama_context *context = llama_init_from_model(model, params);
    if (context == NULL) return stop("no context");
    const struct llama_vocab *vocabulary = llama_model_get_vocab(model);
    llama_token tokens[STEP];
    int count = llama_tokenize(vocabulary, words[5], (int)strlen(words[5]), tokens, STEP, true, true);
    if (count <= 0 || llama_decode(context, llama_batch_get_one(tokens, count)) != 0) return stop("the prompt can't be decoded");
    const float *logits = llama_get_logits_ith(context, -1);
    llama_token best = 0;
    for (llama_token t = 1; t < llama_vocab_n_tokens(vocabulary); t++)
        if (logits[t] > logits[best]) best = t;
    if (write(CHILD_WRITES, &best, sizeof best) != sizeof best) return stop("nobody waits");
    _exit(0);
}

static uint64_t clock_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

int main(int count, char **words) {
    if (count == 7) return first_token(words);
    if (count != 6) return stop("usage: llama_floor MODEL CONTEXT SEQUENCES THREADS PROMPT");
    int ends[2], status;
    if (pipe(ends) != 0) return stop("no pipe");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], CHILD_WRITES);
    char *child_words[] = {words[0], words[1], words[2], words[3], words[4], words[5], "child", NULL};
    llama_token token;
    pid_t child;
    const uint64_t began = clock_us();
    if (posix_spawn(&child, "/proc/self/exe", &actions, NULL, child_words, environ) != 0) return stop("no process");
    close(ends[1]);
    const ssize_t got = read(ends[0], &token, sizeof token);
    const uint64_t taken = clock_us() - began;
    waitpid(child, &status, 0);
    if (got != sizeof token) return stop("no token came");
    printf("%llu\n", (unsigned long long)taken);
    return 0;
}
