// Proves at compile time that no field of the ABI has moved; a line here is never changed, only added.
#include "swiftlet_backend.h"
#include "swiftlet_handler.h"

#define AT(type, field, offset) _Static_assert(offsetof(type, field) == (offset), #type "." #field " moved")
#define SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), #type " changed its size")

SIZE(swiftlet_bytes, 16);
AT(swiftlet_bytes, data, 0);
AT(swiftlet_bytes, size, 8);

SIZE(swiftlet_header, 32);
AT(swiftlet_header, name, 0);
AT(swiftlet_header, value, 16);

SIZE(swiftlet_plugin, 40);
AT(swiftlet_plugin, size, 0);
AT(swiftlet_plugin, abi, 4);
AT(swiftlet_plugin, kind, 8);
AT(swiftlet_plugin, reserved, 12);
AT(swiftlet_plugin, name, 16);
AT(swiftlet_plugin, version, 24);
AT(swiftlet_plugin, table, 32);

SIZE(swiftlet_invocation_v1, 160);
AT(swiftlet_invocation_v1, size, 0);
AT(swiftlet_invocation_v1, version, 4);
AT(swiftlet_invocation_v1, id, 8);
AT(swiftlet_invocation_v1, deadline_ns, 16);
AT(swiftlet_invocation_v1, method, 24);
AT(swiftlet_invocation_v1, path, 40);
AT(swiftlet_invocation_v1, query, 56);
AT(swiftlet_invocation_v1, tenant, 72);
AT(swiftlet_invocation_v1, function, 88);
AT(swiftlet_invocation_v1, request_id, 104);
AT(swiftlet_invocation_v1, headers, 120);
AT(swiftlet_invocation_v1, header_count, 128);
AT(swiftlet_invocation_v1, body, 136);
AT(swiftlet_invocation_v1, body_complete, 152);
AT(swiftlet_invocation_v1, reserved, 156);

SIZE(swiftlet_event_v1, 32);
AT(swiftlet_event_v1, size, 0);
AT(swiftlet_event_v1, version, 4);
AT(swiftlet_event_v1, kind, 8);
AT(swiftlet_event_v1, call, 12);
AT(swiftlet_event_v1, data, 16);

SIZE(swiftlet_host_v1, 80);
AT(swiftlet_host_v1, size, 0);
AT(swiftlet_host_v1, version, 4);
AT(swiftlet_host_v1, log, 8);
AT(swiftlet_host_v1, fail, 16);
AT(swiftlet_host_v1, read_body, 24);
AT(swiftlet_host_v1, respond, 32);
AT(swiftlet_host_v1, write, 40);
AT(swiftlet_host_v1, flush, 48);
AT(swiftlet_host_v1, call, 56);
AT(swiftlet_host_v1, next, 64);
AT(swiftlet_host_v1, cancel, 72);

SIZE(swiftlet_handler_v1, 32);
AT(swiftlet_handler_v1, size, 0);
AT(swiftlet_handler_v1, version, 4);
AT(swiftlet_handler_v1, init, 8);
AT(swiftlet_handler_v1, invoke, 16);
AT(swiftlet_handler_v1, shutdown, 24);

SIZE(swiftlet_open_v1, 88);
AT(swiftlet_open_v1, size, 0);
AT(swiftlet_open_v1, version, 4);
AT(swiftlet_open_v1, model_path, 8);
AT(swiftlet_open_v1, config, 24);
AT(swiftlet_open_v1, memory_budget, 40);
AT(swiftlet_open_v1, device_budget, 48);
AT(swiftlet_open_v1, context_tokens, 56);
AT(swiftlet_open_v1, max_sequences, 60);
AT(swiftlet_open_v1, max_step_tokens, 64);
AT(swiftlet_open_v1, threads, 68);
AT(swiftlet_open_v1, log, 72);
AT(swiftlet_open_v1, fail, 80);

SIZE(swiftlet_model_info_v1, 72);
AT(swiftlet_model_info_v1, size, 0);
AT(swiftlet_model_info_v1, version, 4);
AT(swiftlet_model_info_v1, architecture, 8);
AT(swiftlet_model_info_v1, capabilities, 24);
AT(swiftlet_model_info_v1, vocabulary, 28);
AT(swiftlet_model_info_v1, context_tokens, 32);
AT(swiftlet_model_info_v1, sequence_tokens, 36);
AT(swiftlet_model_info_v1, max_sequences, 40);
AT(swiftlet_model_info_v1, max_step_tokens, 44);
AT(swiftlet_model_info_v1, embedding_size, 48);
AT(swiftlet_model_info_v1, reserved, 52);
AT(swiftlet_model_info_v1, bytes_per_token, 56);
AT(swiftlet_model_info_v1, model_bytes, 64);

SIZE(swiftlet_message, 32);
AT(swiftlet_message, role, 0);
AT(swiftlet_message, content, 16);

SIZE(swiftlet_sampling_v1, 72);
AT(swiftlet_sampling_v1, size, 0);
AT(swiftlet_sampling_v1, version, 4);
AT(swiftlet_sampling_v1, seed, 8);
AT(swiftlet_sampling_v1, temperature, 16);
AT(swiftlet_sampling_v1, top_p, 20);
AT(swiftlet_sampling_v1, min_p, 24);
AT(swiftlet_sampling_v1, top_k, 28);
AT(swiftlet_sampling_v1, repeat_penalty, 32);
AT(swiftlet_sampling_v1, frequency_penalty, 36);
AT(swiftlet_sampling_v1, presence_penalty, 40);
AT(swiftlet_sampling_v1, penalty_window, 44);
AT(swiftlet_sampling_v1, top_logprobs, 48);
AT(swiftlet_sampling_v1, want_logprobs, 52);
AT(swiftlet_sampling_v1, grammar, 56);
_Static_assert(SWIFTLET_SAMPLING_V1_FIRST_SIZE == offsetof(swiftlet_sampling_v1, grammar), "the first size changed");

SIZE(swiftlet_step_item, 24);
AT(swiftlet_step_item, sequence, 0);
AT(swiftlet_step_item, position, 4);
AT(swiftlet_step_item, tokens, 8);
AT(swiftlet_step_item, count, 16);
AT(swiftlet_step_item, sample, 20);

SIZE(swiftlet_token_logprob, 24);
AT(swiftlet_token_logprob, token, 0);
AT(swiftlet_token_logprob, logprob, 4);
AT(swiftlet_token_logprob, piece, 8);

SIZE(swiftlet_step_output, 48);
AT(swiftlet_step_output, sequence, 0);
AT(swiftlet_step_output, status, 4);
AT(swiftlet_step_output, end, 8);
AT(swiftlet_step_output, top_count, 12);
AT(swiftlet_step_output, picked, 16);
AT(swiftlet_step_output, top, 40);

SIZE(swiftlet_tensor, 48);
AT(swiftlet_tensor, name, 0);
AT(swiftlet_tensor, shape, 16);
AT(swiftlet_tensor, rank, 24);
AT(swiftlet_tensor, type, 28);
AT(swiftlet_tensor, data, 32);

SIZE(swiftlet_backend_v1, 128);
AT(swiftlet_backend_v1, size, 0);
AT(swiftlet_backend_v1, version, 4);
AT(swiftlet_backend_v1, open, 8);
AT(swiftlet_backend_v1, describe, 16);
AT(swiftlet_backend_v1, tokenize, 24);
AT(swiftlet_backend_v1, chat_prompt, 32);
AT(swiftlet_backend_v1, seq_start, 40);
AT(swiftlet_backend_v1, step, 48);
AT(swiftlet_backend_v1, seq_copy, 56);
AT(swiftlet_backend_v1, seq_drop, 64);
AT(swiftlet_backend_v1, seq_save, 72);
AT(swiftlet_backend_v1, seq_restore, 80);
AT(swiftlet_backend_v1, embed, 88);
AT(swiftlet_backend_v1, infer, 96);
AT(swiftlet_backend_v1, close, 104);
AT(swiftlet_backend_v1, tensors, 112);
AT(swiftlet_backend_v1, seq_restore_prefix, 120);
