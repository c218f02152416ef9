// What a model engine may ask of the kernel: while it opens its model, and while it computes.
#ifndef SWIFTLET_POLICY_BACKEND_H
#define SWIFTLET_POLICY_BACKEND_H

#include "common.h"

// Loading and opening is LOADING + CORE + FORBIDDEN + PROBED and these:
static const policy_line BACKEND_LOADING[] = {
    LINE(clone, ALLOW, THREAD_ONLY, "compute threads"),
    LINE(sched_setaffinity, ALLOW, ALWAYS, "engines bind compute threads to cores"),
    LINE(mmap, ALLOW, NOT_EXEC_FILE_OK, "the model's file, which is shared with nobody who could write it"),
    LINE(stat, ALLOW, ALWAYS, "engines look at the model file; Landlock says which files open"),
    LINE(getdents64, ALLOW, ALWAYS, "engines list their own directory for kernels of this processor"),
    LINE(fadvise64, ALLOW, ALWAYS, "reading a model ahead"),
    LINE(readv, ALLOW, ALWAYS, "reading a model"),
};

// For a backend that was assigned a device, loading and computing also have these: what CUDA 13 was seen to need on an H200.
// It opens a node again for each mapping, so that can't end with the seal; Landlock says which files open.
static const policy_line DEVICE_USING[] = {
    LINE(ioctl, ALLOW, ALWAYS, "how a driver is asked for anything; the only devices it can open are its own"),
    LINE(openat, ALLOW, NOT_CREATING, "nodes are opened for reading and writing"),
    LINE(openat, ALLOW, AS_FOPEN_WRITES, "CUDA names its threads, or does not start; Landlock lets nothing be created"),
    LINE(newfstatat, ALLOW, EMPTY_PATH, "fstat, as glibc spells it: drivers look at the nodes they opened"),
    LINE(eventfd2, ALLOW, ALWAYS, "drivers announce the end of work"),
    LINE(fcntl, ALLOW, NOT_WAITING, "which is read without waiting"),
    LINE(pipe2, ALLOW, ALWAYS, "between CUDA's threads; limits.files counts both ends"),
    LINE(dup, ALLOW, ALWAYS, "CUDA keeps the descriptor of a mapping a second time"),
    LINE(get_mempolicy, ALLOW, ALWAYS, "CUDA asks where the memory is"),
    LINE(socket, ALLOW, SEQPACKET_LOCAL, "CUDA offers its memory to processes of its own; the network namespace has no others"),
    LINE(bind, ALLOW, ALWAYS, "to an abstract name there: sockets of other kinds can't be made, and files neither"),
    LINE(listen, ALLOW, ALWAYS, "as bind; nobody is accepted"),
};

// A backend whose manifest says `jit: true` has these as well, while loading and computing, and goes without mdwe. Its
// engine is the platform team's; what a tenant could make of a hole in it is still held by everything else.
static const policy_line JIT_USING[] = {
    LINE(mprotect, ALLOW, ALWAYS, "the engine writes machine code for a model's shapes, and some are known with a request only"),
};

// Computing is CORE + PROBED and these:
static const policy_line BACKEND_SERVING[] = {
    LINE(clone, ALLOW, THREAD_ONLY, "compute threads that an engine starts for each step"),
    LINE(sched_setaffinity, ALLOW, ALWAYS, "engines bind compute threads to cores"),
    LINE(mmap, ALLOW, NOT_EXEC_FILE_OK, "malloc; parts of the model that are mapped late"),
    LINE(mprotect, ALLOW, NOT_EXEC, "malloc; stacks of threads"),
    LINE(pread64, ALLOW, ALWAYS, "parts of the model that are read late"),
    LINE(fadvise64, ALLOW, ALWAYS, "as pread64"),
};

#endif
