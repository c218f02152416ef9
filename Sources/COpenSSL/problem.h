// Turns OpenSSL's last error into words.
#ifndef COPENSSL_PROBLEM_H
#define COPENSSL_PROBLEM_H

#include <stddef.h>

/// Writes "step: reason" and empties the thread's error queue.
void copenssl_describe(char *problem, size_t size, const char *step);

#endif
