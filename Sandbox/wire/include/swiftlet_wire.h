// The frames between host, zygote and worker: the one header, besides the plugin ABI, that both sides of the fork read.
//
// Every socket is SOCK_SEQPACKET: one frame is one packet, so a frame can't be cut in half; only behind READY the next frame
// may lie in the same packet. All integers are little-endian. A reader checks every length against the packet before it looks inside; a frame that breaks a rule
// ends the process that sent it.
#ifndef SWIFTLET_WIRE_H
#define SWIFTLET_WIRE_H

#include <stdint.h>

#define WIRE_VERSION 1u
/// A frame's head and payload together never exceed this.
#define WIRE_FRAME_MAX 65536u
#define WIRE_HEAD_SIZE 16u
#define WIRE_PAYLOAD_MAX (WIRE_FRAME_MAX - WIRE_HEAD_SIZE)
/// The descriptor number of a worker's channel.
#define WIRE_CHANNEL_FD 3
/// Host calls that may be open at once in one invocation.
#define WIRE_CALLS_MAX 64u
#define WIRE_HEADERS_MAX 128u

typedef struct wire_head {
    uint16_t type;  ///< WIRE_*
    uint16_t flags; ///< WIRE_FLAG_*
    uint32_t size;  ///< payload bytes; equals packet length - WIRE_HEAD_SIZE, but for READY
    uint32_t id;    ///< the low 32 bits of the invocation id, or the request number in a backend; else 0
    uint32_t call;  ///< host call number; else 0
} wire_head;
_Static_assert(sizeof(wire_head) == WIRE_HEAD_SIZE, "wire_head has padding");

/// Set on the last frame of a body, an answer or a host call's reply.
#define WIRE_FLAG_END 1u
/// Set on HOST_REPLY: the payload is an error.
#define WIRE_FLAG_ERROR 2u
/// Set on RESPONSE or DATA together with END: the payload ends with a wire_finished (24 bytes, status 0), and no
/// FINISHED frame follows. A small answer then costs one packet.
#define WIRE_FLAG_FINISHED 4u

// ---- host -> zygote (control socket) --------------------------------------------------------------------------
enum {
    /// wire_adopt + SCM_RIGHTS [directory of the tenant's artefacts]: from now on this zygote serves one tenant.
    /// The zygote mounts the directory read-only at /app. Answer: ADOPTED. A second ADOPT ends the zygote.
    /// With devices, it mounts them below /dev, and from then on starts only backends that are assigned all of them.
    WIRE_ADOPT = 1,
    /// wire_start + strings + SCM_RIGHTS [worker's end of the channel]: turn a prepared worker into this one.
    /// No answer; READY or FAILED comes on the channel, and EXITED in the end.
    WIRE_START = 2,
    /// wire_kill: SIGKILL one worker. EXITED follows.
    WIRE_KILL = 3,
    /// wire_taken, then perhaps the payload of a START: the host has given work to a prepared worker itself, on the socket
    /// that came with PREPARED, which is the worker's channel from then on: a START's payload first, unless it had its job
    /// already. Another one is prepared in its place; with a START, one that has this job, and loads with its first frame.
    /// A START whose `id` is such a worker's number asks the zygote to do that, since its limits must change first.
    WIRE_TAKEN = 4,
    // ---- zygote -> host
    /// wire_layers: sent once, when the zygote has workers prepared.
    WIRE_ZYGOTE_READY = 16,
    WIRE_ADOPTED = 17,
    /// wire_exited + last words (what the worker wrote to stderr last, at most 2 KiB).
    WIRE_EXITED = 18,
    /// Text "step: cause": the zygote or forker can't go on.
    WIRE_ZYGOTE_FAILED = 19,
    /// wire_started: sent after a START, off the path: which process the worker is.
    WIRE_STARTED = 20,
    /// wire_prepared + SCM_RIGHTS [the host's end of the worker's channel]: a worker that waits for a job, after adoption.
    WIRE_PREPARED = 21,

    // ---- host -> forker (the privileged parent of the zygotes)
    /// wire_spawn + SCM_RIGHTS [zygote's end of its control socket]: exec a new zygote.
    WIRE_SPAWN = 32,
    // ---- forker -> host
    /// wire_layers: sent once at start: what this machine gives.
    WIRE_FORKER_READY = 48,
    /// wire_zygote_gone: the zygote has been reaped and its cgroups removed.
    WIRE_ZYGOTE_GONE = 49,

    // ---- host -> worker (channel)
    WIRE_INVOKE = 64,     ///< wire_invoke + strings + header fields + first body bytes; FLAG_END: the body is complete;
                          ///< while another runs, only with FLAG_END: they are served in turn
    WIRE_BODY = 65,       ///< more request body; FLAG_END on the last (may be empty)
    WIRE_HOST_REPLY = 66, ///< bytes of a host call's answer; FLAG_END on the last; FLAG_ERROR: error JSON
    WIRE_CANCEL = 67,     ///< stop the invocation `id`; the worker still answers with FINISHED
    WIRE_OP = 68,         ///< backend: wire_op_* request; `id` numbers it; `call` is the WIRE_OP_* code

    // ---- worker -> host (channel)
    WIRE_READY = 96,     ///< wire_ready + plugin name + version (+ wire_model for a backend); then, perhaps, another frame
    WIRE_FAILED = 97,    ///< text "step: cause; next": loading or init failed; the worker exits
    WIRE_LOG = 98,       ///< level in `call`; text
    WIRE_RESPONSE = 99,  ///< wire_response + header fields + first body bytes; FLAG_END: the answer is complete
    WIRE_DATA = 100,     ///< more answer bytes
    WIRE_FINISHED = 101, ///< the invocation is over: wire_finished + text of a failure. After it the worker is idle.
    WIRE_CALL = 102,     ///< host call: u32 name length, name, payload; continued by WIRE_CALL_DATA unless FLAG_END
    WIRE_CALL_DATA = 103,
    WIRE_CALL_CANCEL = 104,
    WIRE_OP_RESULT = 105, ///< backend: answer to WIRE_OP `id`: wire_op_result + data; FLAG_END on the last part
};

/// What a worker is for; chooses its policy.
/// WIRE_KIND_FRESH serves one invocation and ends: it is forked from a confined template that has loaded the plugin.
/// WIRE_KIND_JIT is a backend whose engine makes machine code while it works, and so has a policy of its own.
enum { WIRE_KIND_HANDLER = 1, WIRE_KIND_BACKEND = 2, WIRE_KIND_PROBE = 3, WIRE_KIND_FRESH = 4, WIRE_KIND_JIT = 5 };

/// Layers of confinement in force; bits of wire_layers.have.
enum {
    WIRE_LAYER_USER = 1u << 0,      ///< own user id per worker
    WIRE_LAYER_PID = 1u << 1,       ///< own pid namespace
    WIRE_LAYER_NET = 1u << 2,       ///< empty network namespace
    WIRE_LAYER_MOUNT = 1u << 3,     ///< minimal read-only root
    WIRE_LAYER_IPC = 1u << 4,       ///< own IPC and UTS namespaces
    WIRE_LAYER_LANDLOCK = 1u << 5,
    WIRE_LAYER_SECCOMP = 1u << 6,
    WIRE_LAYER_CAPS = 1u << 7,      ///< no capabilities, no_new_privs
    WIRE_LAYER_RLIMITS = 1u << 8,
    WIRE_LAYER_MDWE = 1u << 9,
    WIRE_LAYER_CGROUP_MEMORY = 1u << 10,
    WIRE_LAYER_CGROUP_PIDS = 1u << 11,
    WIRE_LAYER_CGROUP_CPU = 1u << 12,
    WIRE_LAYER_CGROUP_DEVICES = 1u << 13, ///< no device but null, zero, full, random, urandom
};

typedef struct wire_layers {
    uint32_t version; ///< WIRE_VERSION
    uint32_t have;    ///< WIRE_LAYER_* in force
    uint32_t cgroup;  ///< 0 none, 1 v1, 2 v2
    int32_t pid;      ///< of the sender, in the host's pid namespace
} wire_layers;

typedef struct wire_spawn {
    uint32_t zygote; ///< number the host gave it
    uint32_t prepare; ///< how many workers it keeps ready
} wire_spawn;

typedef struct wire_zygote_gone {
    uint32_t zygote;
    int32_t status; ///< wait status
} wire_zygote_gone;

/// At most so many device nodes for one backend.
#define WIRE_DEVICES_MAX 8u

/// Then `device_count` times wire_device.
typedef struct wire_adopt {
    uint32_t version;
    uint32_t give; ///< 1: the host wants PREPARED, to start workers itself
    uint32_t device_count;
    uint32_t reserved;
} wire_adopt;
_Static_assert(sizeof(wire_adopt) == 16, "wire_adopt has padding");

/// A character device, named twice: a node that is another device by the time it is mounted is refused.
typedef struct wire_device {
    uint32_t major, minor;
    char path[56]; ///< below /dev, as "nvidia0" or "dri/renderD128"; zeros to the end
} wire_device;
_Static_assert(sizeof(wire_device) == 64, "wire_device has padding");

/// Then, in order: `directory` (below /app), `library` (file name in it), `model` (file name in it, or empty),
/// `config` (JSON); each `..._size` bytes, no NUL.
typedef struct wire_start {
    uint32_t worker; ///< number the host gave it
    uint32_t kind;
    uint64_t memory_bytes; ///< cgroup limit; 0 = none
    uint32_t pids;         ///< threads and processes the worker may have
    uint32_t cpu_percent;  ///< of one core; 0 = not limited
    uint32_t cpu_seconds;  ///< RLIMIT_CPU; 0 = none
    uint32_t files;        ///< RLIMIT_NOFILE
    // backends only
    uint32_t context_tokens;
    uint32_t max_sequences;
    uint32_t max_step_tokens;
    uint32_t threads;
    uint64_t device_bytes; ///< of device memory, for the plugin and for dmem; 0 = no device
    uint32_t directory_size, library_size, model_size, config_size;
    uint32_t device_count; ///< nodes that it may open: all that came with ADOPT, or 0
    uint32_t cpu_weight;   ///< beside other workers of this zygote, 1 to 10000; 0 = 100, the default
} wire_start;
_Static_assert(sizeof(wire_start) == 80, "wire_start has padding");

typedef struct wire_started {
    uint32_t worker;
    int32_t pid;       ///< in the host's pid namespace
    uint32_t prepared; ///< 1: it was forked and confined ahead
    uint32_t reserved;
} wire_started;

typedef struct wire_prepared {
    uint32_t worker; ///< number the zygote gave it, with WIRE_PREPARED_BIT; EXITED and KILL name it so
    int32_t pid;     ///< in the host's pid namespace
    uint64_t memory_bytes; ///< limits in force; 0 = none
    uint32_t pids, cpu_percent, cpu_weight;
    uint32_t job; ///< the `job` of the TAKEN whose START it has; 0: it waits for one
} wire_prepared;
_Static_assert(sizeof(wire_prepared) == 32, "wire_prepared has padding");
/// Set in the numbers that zygotes give; the host's own never get so far.
#define WIRE_PREPARED_BIT 0x80000000u

typedef struct wire_taken {
    uint32_t worker;
    uint32_t job; ///< what the host calls the START that follows; 0: none does
} wire_taken;

typedef struct wire_kill {
    uint32_t worker;
    uint32_t reserved;
} wire_kill;

typedef struct wire_exited {
    uint32_t worker;
    int32_t status; ///< wait status; an abort() is reported as SIGABRT
    uint32_t oom;   ///< 1: the memory limit killed it
    uint32_t reserved;
    uint64_t memory_peak; ///< bytes; 0 = not known
    uint64_t cpu_us;      ///< user + system time
    uint32_t words_size;  ///< bytes of last words that follow
    int32_t pid;          ///< in the host's pid namespace
    uint64_t throttled_us; ///< time that it would have run and the CPU limit did not let it
    uint32_t pids_refused; ///< processes and threads that the limit did not let it start
    uint32_t reserved_too;
} wire_exited;
_Static_assert(sizeof(wire_exited) == 56, "wire_exited has padding");

/// Then: method, path, query, tenant, function, request id; then `header_count` times
/// { u32 name size, u32 value size, name, value }; then body bytes to the end of the frame.
typedef struct wire_invoke {
    uint64_t id;
    uint64_t deadline_ns;
    uint32_t method_size, path_size, query_size, tenant_size, function_size, request_id_size;
    uint32_t header_count;
    uint32_t limit_ms; ///< not 0: sent behind another, and its deadline is so long after its turn came
} wire_invoke;
_Static_assert(sizeof(wire_invoke) == 48, "wire_invoke has padding");

/// Then `header_count` times { u32 name size, u32 value size, name, value }; then body bytes.
typedef struct wire_response {
    uint32_t status;
    uint32_t header_count;
} wire_response;

typedef struct wire_finished {
    int32_t status; ///< what `invoke` returned; text follows when it failed
    uint32_t reserved;
    uint64_t run_ns; ///< time inside `invoke`
    uint64_t cpu_ns; ///< CPU time of the worker since it last told any; 0: less than a millisecond ago, it comes with a later one
} wire_finished;

/// Times of one start, for Server-Timing. Then name and version; then wire_model when the plugin is a backend.
typedef struct wire_ready {
    uint32_t abi;
    uint32_t kind;
    uint64_t confine_ns; ///< taking the job to the load filter
    uint64_t load_ns;    ///< dlopen and entry
    uint64_t seal_ns;    ///< the serve filter
    uint64_t init_ns;    ///< init or open
    uint32_t name_size, version_size;
    int32_t pid; ///< in the host's pid namespace; 0 when not known to the worker
    uint32_t has_model;
    /// When that was, by CLOCK_MONOTONIC: a worker whose first invocation waits already tells it with the answer.
    uint64_t at_ns;
} wire_ready;
_Static_assert(sizeof(wire_ready) == 64, "wire_ready has padding");

typedef struct wire_model {
    uint32_t capabilities, vocabulary, context_tokens, sequence_tokens;
    uint32_t max_sequences, max_step_tokens, embedding_size, reserved;
    uint64_t bytes_per_token, model_bytes;
} wire_model;

// ---- backend operations (WIRE_OP.call) ---------------------------------------------------------------------------
// A request larger than a frame continues in more WIRE_OP frames with the same id; FLAG_END is on the last. So do results.
enum {
    /// u32 special, u32 start, text -> i32 tokens
    WIRE_OP_TOKENIZE = 1,
    /// u32 message count, then { u32 role size, u32 content size, role, content } -> u32 text size, text, i32 tokens
    WIRE_OP_CHAT = 2,
    /// u32 sequence, then the first 56 bytes of swiftlet_sampling_v1 as in the ABI, then the bytes of its grammar -> nothing
    WIRE_OP_SEQ_START = 3,
    /// u32 item count, u32 0; then { u32 sequence, u32 position, u32 count, u32 WIRE_ITEM_*, i32 tokens[count] }
    /// -> u32 output count, u32 0, u64 step_ns; then wire_output + piece (+ tops) each
    WIRE_OP_STEP = 4,
    /// u32 sequence -> nothing. No result frame is sent.
    WIRE_OP_SEQ_DROP = 5,
    /// u32 from, u32 to, u32 tokens -> nothing
    WIRE_OP_SEQ_COPY = 6,
    /// i32 tokens -> f32 vector
    WIRE_OP_EMBED = 7,
    /// u32 sequence -> state bytes
    WIRE_OP_SEQ_SAVE = 8,
    /// u32 sequence, state bytes -> nothing
    WIRE_OP_SEQ_RESTORE = 9,
    /// u32 sequence, u32 tokens, state bytes -> nothing
    WIRE_OP_SEQ_RESTORE_PREFIX = 10,
    /// u32 tensor count, u32 0, tensors -> u32 tensor count, u32 0, u64 infer_ns, tensors
    WIRE_OP_INFER = 20,
    /// nothing -> u32 input count, u32 output count, tensors without data
    WIRE_OP_TENSORS = 21,
};

/// Of an item of a step.
enum {
    WIRE_ITEM_SAMPLE = 1, ///< pick a token behind its last one
    /// Its one token, which the request leaves out, is the one that the last step picked for the sequence. When that step ended
    /// the sequence or failed, the item is left out of this one, and its output's status is SWIFTLET_INVALID.
    WIRE_ITEM_FOLLOWS = 2,
};

typedef struct wire_op_result {
    int32_t status;   ///< SWIFTLET_*; a failure is followed by its text
    uint32_t size;    ///< of what follows, over all parts: a hint, so that room is made once
} wire_op_result;

/// A tensor: then i64 shape[rank], name, zeros up to a multiple of 8, data, zeros up to a multiple of 8, counted from the
/// first byte of the payload (in a result, behind wire_op_result).
typedef struct wire_tensor {
    uint32_t name_size, type, rank, reserved;
    uint64_t data_size;
} wire_tensor;
_Static_assert(sizeof(wire_tensor) == 24, "wire_tensor has padding");
/// Bounds of one request or result; its size has bounds of its own.
#define WIRE_TENSORS_MAX 256u
#define WIRE_RANK_MAX 16u
#define WIRE_TENSOR_NAME_MAX 1024u

/// Then the piece; then `top_count` times { i32 token, f32 logprob, u32 piece size, piece }.
typedef struct wire_output {
    uint32_t sequence;
    int32_t status;
    uint32_t end;
    int32_t token;
    float logprob;
    uint32_t piece_size;
    uint32_t top_count;
    uint32_t reserved;
} wire_output;

#endif
