// A host of a few functions: enough to drive the real forker, zygotes and workers from a test.
#ifndef SWIFTLET_TEST_HOST_H
#define SWIFTLET_TEST_HOST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "swiftlet_wire.h"

typedef struct packet {
    wire_head head;
    uint32_t size; ///< of the payload; 0 with `ended`
    bool ended;    ///< end of file, or nothing within the time
    bool late;     ///< nothing within the time
    _Alignas(8) uint8_t bytes[WIRE_FRAME_MAX];
} packet;

typedef struct host {
    pid_t forker;
    int forker_socket;
    int zygote; ///< control socket of the one zygote in use
    int32_t zygote_pid;
    uint32_t have;
    uint32_t workers;
    char cgroup[64];
} host;

extern const char *PROGRAM; ///< swiftlet-zygote
extern const char *APP;     ///< directory of the test's plugins
extern const char *KIT;     ///< libSwiftletKit.so, or NULL

/// Starts a forker and waits until it says what the machine gives. `without` as its option, or NULL.
host host_start(const char *without);
void host_zygote(host *h, uint32_t number, uint32_t prepare);
void host_adopt(host *h);
/// The same for a host that starts waiting workers itself.
void host_adopt_giving(host *h);
/// With devices; false when the zygote refused, whose words are in `*answer`.
bool host_adopt_devices(host *h, const wire_device *devices, uint32_t count, packet *answer);
/// Closes the zygote's control socket and waits until the forker says it is gone.
void host_drop_zygote(host *h);
/// Closes everything and waits for the forker. Returns its wait status.
int host_stop(host *h);

typedef struct worker {
    uint32_t number;
    int channel;
} worker;

wire_start job_default(void);
worker host_worker(host *h, wire_start job, const char *library, const char *config);
/// A worker that waits: its number, our end of its channel, and what it may use.
typedef struct prepared {
    wire_prepared told;
    int channel; ///< -1: none came
} prepared;
prepared host_prepared(host *h);
/// Starts a worker that waits, on its own channel.
void host_start_prepared(const prepared *p, wire_start job, const char *library);
/// Says that a worker was taken, and that one is wanted that has this job, which is called `number`; 0: none is.
void host_take(host *h, uint32_t which, uint32_t number, wire_start job, const char *library);
packet receive(int socket, int timeout_ms);
bool send_frame(int socket, wire_head head, const void *payload, size_t size);
void send_invoke(int channel, uint64_t id, const char *path, const void *body, size_t size, bool whole);
/// Waits for EXITED of this worker; other workers' are dropped.
typedef struct exited {
    wire_exited told;
    char words[2100];
    bool came;
} exited;
exited host_exited(host *h, uint32_t worker);
/// Text of a packet, NUL-terminated.
const char *text_of(packet *p);
/// Waits for a packet of this type on the channel; logs on the way are skipped.
packet receive_type(int channel, uint16_t type);
/// The body of a RESPONSE frame; `*finished` is filled when the frame carries it.
const uint8_t *response_body(const packet *p, uint32_t *status, size_t *size, wire_finished *finished);
uint64_t clock_ns(void);
/// How much longer than usual a test waits before it calls something hung: for machines that are emulated.
int patience(void);

#endif
