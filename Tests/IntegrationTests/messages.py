"""Anthropic's own client, unmodified, on real models: messages, streams, tools, counted tokens, errors, quotas. Usage: messages.py PREFIX"""
import json
import unittest

from clients import ClientTests
from run import Host, make_work

BEGIN = """
import json, sys
import anthropic, httpx2, pydantic
client = anthropic.Anthropic(base_url=sys.argv[1], api_key="none", max_retries=0, timeout=120)
create = client.messages.create
# What is read, and what this client knows no argument for.
OWN = ("temperature", "top_p", "top_k")
def ask(text="Count from one to twenty in words.", **fields):
    extra = {name: fields.pop(name) for name in OWN if name in fields}
    return {"model": "smollm2", "max_tokens": 40, "messages": [{"role": "user", "content": text}], **fields, "extra_body": extra}
"""

PLAIN = BEGIN + """
whole = create(**ask(temperature=0, max_tokens=12, metadata={"user_id": "u"}, service_tier="auto", thinking={"type": "disabled"},
    system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "Be kind."}]))
assert (whole.type, whole.role, whole.model) == ("message", "assistant", "smollm2") and whole.id.startswith("msg_"), whole
assert [block.type for block in whole.content] == ["text"] and whole.content[0].text, whole
assert (whole.stop_reason, whole.stop_sequence, whole.usage.output_tokens) == ("max_tokens", None, 12), whole
assert whole.usage.input_tokens > 10 and whole.usage.cache_read_input_tokens == 0 and whole._request_id, whole
# The same again: most of the prompt is kept, and counted apart.
again = create(**ask(temperature=0, max_tokens=12, system="Be brief.\\n\\nBe kind."))
assert again.usage.cache_read_input_tokens > 0, again
assert again.usage.input_tokens + again.usage.cache_read_input_tokens == whole.usage.input_tokens, (again, whole)
counted = client.messages.count_tokens(model="smollm2", messages=ask()["messages"], system="Be brief.\\n\\nBe kind.")
assert counted.input_tokens == whole.usage.input_tokens, (counted, whole)
stopped = create(**ask("Count: one, two, three, four, five", temperature=0, max_tokens=60, stop_sequences=["e", "zzz"]))
assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "e"), stopped
assert "e" not in "".join(block.text for block in stopped.content), stopped
word = {"format": {"type": "json_schema", "schema": {"enum": ["hi", "hello"]}}}
ended = create(**ask("Say hi.", max_tokens=300, output_config=word))
assert ended.stop_reason == "end_turn" and ended.content[0].text in ('"hi"', '"hello"') and ended.usage.output_tokens < 9, ended
blocks = create(**ask([{"type": "text", "text": "Say"}, {"type": "text", "text": "hi."}], max_tokens=3, top_p=0.5, top_k=5))
assert blocks.content, blocks
raw = client.messages.with_raw_response.create(**ask(max_tokens=1))
assert raw.headers["request-id"] == raw.headers["x-request-id"], raw.headers
class Person(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(ge=0, le=99)
parsed = create(**ask("A person.", max_tokens=200, temperature=0, output_config={"format": {"type": "json_schema", "schema": {
    "type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["name", "age"], "additionalProperties": False}}}))
Person.model_validate_json(parsed.content[0].text)
"""

STREAM = BEGIN + """
fields = ask(temperature=0, max_tokens=12)
create(**fields)
# All that follow read the same part of the prompt again, and compute the same numbers.
whole = create(**fields)
raw = list(create(**fields, stream=True))
kinds = [event.type for event in raw]
assert kinds[0] == "message_start" and kinds[1] == "content_block_start" and kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"], kinds
assert set(kinds[2:-3]) == {"content_block_delta"} and len(kinds) > 8, kinds
assert raw[0].message.usage.input_tokens > 0 and raw[0].message.stop_reason is None and raw[0].message.content == [], raw[0]
assert "".join(event.delta.text for event in raw[2:-3]) == whole.content[0].text, (raw, whole)
assert (raw[-2].delta.stop_reason, raw[-2].usage.output_tokens) == ("max_tokens", 12), raw[-2]
with client.messages.stream(**fields) as stream:
    text = "".join(stream.text_stream)
    final = stream.get_final_message()
assert text == final.content[0].text == whole.content[0].text and final.stop_reason == "max_tokens", (final, whole)
with client.messages.stream(**ask("Count: one, two, three, four, five", temperature=0, max_tokens=60, stop_sequences=["e"])) as stream:
    final = stream.get_final_message()
assert (final.stop_reason, final.stop_sequence) == ("stop_sequence", "e"), final
# As it is on the wire: events by name, and a ping.
with httpx2.stream("POST", sys.argv[1] + "/v1/messages", json={**fields, "stream": True, "temperature": 0}, timeout=60) as answer:
    assert answer.headers["content-type"] == "text/event-stream" and answer.headers["request-id"], answer.headers
    lines = [line for line in answer.iter_lines() if line]
assert "event: ping" in lines and len(lines) % 2 == 0, lines
for name, data in zip(lines[::2], lines[1::2]):
    assert name == "event: " + json.loads(data.removeprefix("data: "))["type"], (name, data)
"""

TOOLS = BEGIN + """
class Weather(pydantic.BaseModel):
    city: str = pydantic.Field(max_length=15)
    unit: str
schema = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 15}, "unit": {"enum": ["c", "f"]}},
    "required": ["city", "unit"], "additionalProperties": False}
tools = [{"name": "get_weather", "description": "The weather of a city.", "input_schema": schema},
    {"type": "custom", "name": "now", "input_schema": {"type": "object"}}]
named = {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True}
fields = ask("What is the weather in Bonn?", tools=tools, tool_choice=named, temperature=0, max_tokens=100)
whole = create(**fields)
call = whole.content[0]
assert whole.stop_reason == "tool_use" and len(whole.content) == 1 and (call.type, call.name) == ("tool_use", "get_weather"), whole
assert call.id.startswith("toolu_") and Weather.model_validate(call.input), call
with client.messages.stream(**fields) as stream:
    parts = [event.partial_json for event in stream if event.type == "input_json"]
    final = stream.get_final_message()
assert final.stop_reason == "tool_use" and json.loads("".join(parts)) == final.content[0].input and len(parts) > 3, (final, parts)
assert Weather.model_validate(final.content[0].input), final
some = create(**ask(tools=tools, tool_choice={"type": "any"}, max_tokens=200))
assert some.stop_reason in ("tool_use", "max_tokens") and some.content[0].type == "tool_use", some
for choice in {"type": "auto"}, {"type": "none"}:
    free = create(**ask(tools=tools, tool_choice=choice, max_tokens=20))
    assert free.content, free
assert free.content[0].type == "text", free
cut = create(**{**fields, "max_tokens": 14})
assert cut.stop_reason == "max_tokens" and cut.content[0].input == {}, cut
# The call and its result go back, and the model goes on in words.
history = [{"role": "user", "content": "Weather in Bonn?"}, {"role": "assistant", "content": [b.model_dump(exclude_none=True) for b in whole.content]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "Sunny, 21 degrees."}]},
        {"type": "text", "text": "So?"}]}]
text = create(model="smollm2", messages=history, tools=tools, tool_choice={"type": "none"}, max_tokens=20)
assert text.content[0].type == "text", text
bad = {**history[2], "content": [{"type": "tool_result", "tool_use_id": call.id, "is_error": True}]}
assert create(model="smollm2", messages=history[:2] + [bad], max_tokens=5).content
with_tools = client.messages.count_tokens(model="smollm2", messages=ask()["messages"], tools=tools).input_tokens
assert with_tools > client.messages.count_tokens(model="smollm2", messages=ask()["messages"]).input_tokens + 30
"""

REFUSED = BEGIN + """
def user(*blocks): return {"messages": [{"role": "user", "content": list(blocks)}]}
image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aaaa"}}
result = {"type": "tool_result", "tool_use_id": "toolu_x", "content": "x"}
tool = {"name": "f", "input_schema": {"type": "object"}}
cases = [
    ({"max_tokens": None}, "max_tokens"), ({"max_tokens": 0}, "max_tokens"), ({"max_tokens": "9"}, "max_tokens"),
    ({"messages": []}, "messages"), ({"messages": "x"}, "messages"), ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"), (user(image), 'messages[0].content[0].type'),
    (user({"type": "document"}), "messages[0].content[0].type"), (user(result), "messages[0].content[0].tool_use_id"),
    (user({"type": "text"}), "messages[0].content[0].text"), (user({"text": "x"}), "messages[0].content[0].type"),
    ({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "The answer is ("}]}, "messages"),
    ({"messages": [{"role": "user", "content": "x"}] * 4097}, "messages"),
    ({"system": 1}, "system"), ({"system": [{"type": "image"}]}, "system[0].type"),
    ({"temperature": 1.5}, "temperature"), ({"top_p": -1}, "top_p"), ({"top_k": -1}, "top_k"), ({"stream": "yes"}, "stream"),
    ({"stop_sequences": "x"}, "stop_sequences"), ({"stop_sequences": ["a"] * 5}, "stop_sequences"), ({"stop_sequences": [""]}, "stop_sequences"),
    ({"stop_sequences": ["x" * 5000]}, "stop_sequences"), ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking"),
    ({"tools": [tool] * 2}, "tools[1].name"), ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
    ({"tools": [{**tool, "input_schema": {"type": "object", "properties": {"a": {"not": {}}}}}]}, "tools[0].input_schema.properties.a.not"),
    ({"tools": [{"name": "f%d" % n, "input_schema": {"type": "object"}} for n in range(129)]}, "tools"),
    ({"tools": [tool], "tool_choice": {"type": "tool", "name": "g"}}, "tool_choice"), ({"tools": [tool], "tool_choice": {"type": "required"}}, "tool_choice.type"),
    ({"tool_choice": {"type": "any"}}, "tool_choice"), ({"metadata": {"user_id": "u" * 600}}, "metadata.user_id"), ({"service_tier": "flex"}, "service_tier"),
    ({"output_config": {"format": {"type": "json_schema", "schema": {"type": "integer", "multipleOf": 2}}}}, "output_config"),
    ({"max_tokens": 100_000}, "messages"),
]
for fields, param in cases:
    for stream in False, True:
        body = {k: v for k, v in {**ask(), "stream": stream, **fields}.items() if v is not None}
        answer = httpx2.post(sys.argv[1] + "/v1/messages", json=body, timeout=60)
        error = answer.json()
        assert answer.status_code == 400 and error["type"] == "error" and error["error"]["type"] == "invalid_request_error", (fields, error)
        assert error["error"]["details"]["param"] == param and (param in error["error"]["message"] or param == "messages"), (fields, error)
        assert error["request_id"] == answer.headers["request-id"], (error, answer.headers)
for error, kind, fields in [(anthropic.BadRequestError, "invalid_request_error", {"temperature": 9}), (anthropic.NotFoundError, "not_found_error", {"model": "nobody"})]:
    try:
        create(**ask(**fields))
    except error as refused:
        assert refused.type == kind and refused.request_id and refused.error_code in ("invalid_value", "model_not_found"), refused
    else:
        raise AssertionError(fields)
try:
    create(**ask("x" * (9 << 20)))
except anthropic.APIStatusError as refused:
    assert refused.status_code == 413 and refused.type == "request_too_large", refused
else:
    raise AssertionError("9 MiB")
try:
    create(**ask(stop_sequences=["x" * (10 << 20)]))
except anthropic.APIStatusError as refused:
    assert refused.status_code == 413, refused
assert client.beta.messages.create(model="smollm2", max_tokens=1, messages=ask()["messages"]).content
for path, method in ("/v1/messages", "GET"), ("/v1/messages/batches", "POST"), ("/v1/messages/count_tokens", "PUT"):
    answer = httpx2.request(method, sys.argv[1] + path)
    assert answer.status_code in (404, 405) and answer.json()["type"] == "error", answer.text
answer = httpx2.post(sys.argv[1] + "/v1/messages", content=b'{"model":"\\xff\\xfe"}')
assert answer.status_code == 400 and answer.json()["error"]["details"]["error_code"] == "invalid_json", answer.text
answer = httpx2.post(sys.argv[1] + "/v1/messages/count_tokens", json={k: v for k, v in ask("x " * (80 << 10)).items() if k != "max_tokens"})
assert answer.status_code == 400 and answer.json()["error"]["details"]["param"] == "messages", answer.text
answer = httpx2.post(sys.argv[1] + "/v1/messages/count_tokens", json=ask(model="minilm"))
assert answer.status_code == 400 and "chat" in answer.json()["error"]["message"], answer.text
"""

QUOTA = BEGIN + """
import datetime
minute = client.with_options(default_headers={"x-swiftlet-tenant": "minute"})
total = client.with_options(default_headers={"x-swiftlet-tenant": "total"}, max_retries=2)
raw = minute.messages.with_raw_response.create(**ask(max_tokens=5))
assert raw.headers["anthropic-ratelimit-tokens-limit"] == "100" and int(raw.headers["anthropic-ratelimit-tokens-remaining"]) < 100, raw.headers
assert datetime.datetime.fromisoformat(raw.headers["anthropic-ratelimit-tokens-reset"]) > datetime.datetime.now(datetime.timezone.utc)
try:
    for _ in range(20): minute.messages.create(**ask(max_tokens=10))
except anthropic.RateLimitError as refused:
    assert refused.type == "rate_limit_error" and refused.error_code == "rate_limit_exceeded", refused
    headers = refused.response.headers
    assert 0 < int(headers["retry-after-ms"]) <= 60_000 and int(headers["retry-after"]) > 0 and "x-should-retry" not in headers, headers
    assert headers["anthropic-ratelimit-tokens-limit"] == "100", headers
else:
    raise AssertionError("100 tokens a minute")
long = {"format": {"type": "json_schema", "schema": {"type": "string", "minLength": 400}}}
whole = total.messages.create(**ask(max_tokens=200, output_config=long))
assert whole.stop_reason == "max_tokens" and whole.swiftlet_quota == "tokens_total", whole
try:
    total.messages.create(**ask())
except anthropic.RateLimitError as refused:
    # What no waiting mends: the client gave up at once, although it may try again twice.
    assert refused.error_code == "insufficient_quota" and refused.response.headers["x-should-retry"] == "false", refused
    assert refused.response.request.headers["x-stainless-retry-count"] == "0", refused.response.request.headers
else:
    raise AssertionError("60 tokens in all")
# To count tokens costs none, but who has none left is told so there, too.
try:
    total.messages.count_tokens(model="smollm2", messages=ask()["messages"])
except anthropic.RateLimitError:
    pass
else:
    raise AssertionError("counting without a quota")
# It is a request like others, and so is /tokenize: two at once are this tenant's most.
few = client.with_options(default_headers={"x-swiftlet-tenant": "few"})
streams = [few.messages.create(**ask(stream=True, max_tokens=600, output_config=long)) for _ in range(2)]
for stream in streams: next(iter(stream))
for path, body in ("/v1/messages/count_tokens", {"model": "smollm2", "messages": ask()["messages"]}), ("/tokenize", {"model": "smollm2", "content": "x"}):
    answer = httpx2.post(sys.argv[1] + path, json=body, headers={"x-swiftlet-tenant": "few"})
    assert answer.status_code == 429 and "requests_at_once" in answer.json()["error"]["message"] and answer.headers["retry-after-ms"], answer.text
for stream in streams: stream.close()
other = client.with_options(default_headers={"x-swiftlet-tenant": "counts"})
for _ in range(20): other.messages.count_tokens(model="smollm2", messages=ask()["messages"])
raw = other.messages.with_raw_response.create(**ask("Hi.", max_tokens=1))
assert int(raw.headers["anthropic-ratelimit-tokens-remaining"]) > 40, raw.headers
"""


class Messages(ClientTests):
    plugins = ("smollm2", "minilm")

    @classmethod
    def make_host(cls):
        work = make_work()
        (work / "tenants.json5").write_text(
            "{ minute: { tokens_per_minute: 100 }, total: { tokens_total: 60 }, counts: { tokens_total: 100 },"
            " few: { requests_at_once: 2 } }")
        return Host("--tenants", str(work / "tenants.json5"), work=work)

    def test_messages_are_answered(self):
        self.run_client(PLAIN)

    def test_messages_are_streamed(self):
        self.run_client(STREAM)

    def test_tools_are_used_whole_and_streamed(self):
        self.run_client(TOOLS)

    def test_what_cannot_be_honoured_is_refused_by_name(self):
        self.run_client(REFUSED)

    def test_quotas_speak_to_the_client(self):
        self.run_client(QUOTA)

    def test_an_error_in_a_running_stream_is_an_event(self):
        self.deploy_failing()
        body = {"model": "fails", "max_tokens": 50, "stream": True, "messages": [{"role": "user", "content": "a longer text"}]}
        status, answer, headers = self.host.request("POST", "/v1/messages", json.dumps(body))
        events = answer.decode().split("\n\n")
        self.assertEqual(status, 200, answer)
        self.assertTrue(events[0].startswith("event: message_start"), answer)
        name, data = events[-2].split("\n")
        error = json.loads(data.removeprefix("data: "))
        self.assertEqual((name, error["type"], error["error"]["type"]), ("event: error", "error", "api_error"))
        self.assertEqual(error["request_id"], headers["request-id"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
