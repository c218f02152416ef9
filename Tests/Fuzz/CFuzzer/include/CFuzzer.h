// libFuzzer's entry points, declared for Swift: one program holds all targets, so it brings its own `main`.
#ifndef CFUZZER_H
#define CFUZZER_H

#include <stddef.h>
#include <stdint.h>

typedef int (*cfuzzer_target)(const uint8_t *_Nullable data, size_t size);

/// Runs the driver with a program's arguments; returns its exit status.
int LLVMFuzzerRunDriver(int *_Nonnull argc, char *_Nullable *_Nonnull *_Nonnull argv, cfuzzer_target _Nonnull target);

#endif
