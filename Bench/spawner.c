// Reads "PROGRAM ARGUMENT…" lines; for each starts the program, waits for its end, and prints the nanoseconds that took.
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int main(void) {
    char line[1024], *words[32];
    while (fgets(line, sizeof line, stdin) != NULL) {
        int count = 0;
        for (char *word = strtok(line, " \n"); word != NULL && count < 31; word = strtok(NULL, " \n")) words[count++] = word;
        words[count] = NULL;
        if (count == 0) continue;
        pid_t child;
        int status = 0;
        const uint64_t begin = clock_ns();
        const int code = posix_spawn(&child, words[0], NULL, NULL, words, environ);
        if (code == 0) waitpid(child, &status, 0);
        const uint64_t taken = clock_ns() - begin;
        if (code == 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0) printf("%llu\n", (unsigned long long)taken);
        else printf("failed: %s: %s, wait status %x\n", words[0], strerror(code), status);
        fflush(stdout);
    }
    return 0;
}
