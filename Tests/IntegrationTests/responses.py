"""OpenAI's Responses API with its own client, unmodified, on a real model: answers, typed events, functions, schemas. Usage: responses.py PREFIX"""
import json
import unittest

from clients import ClientTests

BEGIN = """
import json, sys, typing
import openai, pydantic, httpx2
client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0, timeout=120)
create = client.responses.create
def ask(words="Count from one to twenty in words.", **fields):
    return {"model": "smollm2", "input": words, **fields}
def twice(**fields):
    "The second of two equal answers: all that follow read the same part of the prompt again, and compute the same numbers."
    create(**fields)
    return create(**fields)
class Person(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=1, max_length=12)
    age: int = pydantic.Field(ge=0, le=150)
class GetWeather(pydantic.BaseModel):
    "The weather of a city."
    city: str = pydantic.Field(max_length=15)
    unit: typing.Literal["c", "f"]
tools = [openai.pydantic_function_tool(GetWeather)["function"] | {"type": "function"}, {"type": "function", "name": "now", "strict": True, "parameters": {}}]
named = {"type": "function", "name": "GetWeather"}
"""

PLAIN = BEGIN + """
whole = create(**ask(instructions="Be brief.", temperature=0, max_output_tokens=12, metadata={"a": "b"}, truncation="disabled",
    reasoning={"effort": None}, include=["reasoning.encrypted_content"], parallel_tool_calls=True, store=False, user="u"))
assert whole.id.startswith("resp_") and whole.object == "response" and whole.created_at > 1.7e9 and whole.model == "smollm2", whole
assert whole.status == "incomplete" and whole.incomplete_details.reason == "max_output_tokens" and whole.error is None, whole
assert [item.type for item in whole.output] == ["message"] and whole.output[0].role == "assistant" and whole.output_text, whole
assert whole.output[0].status == "incomplete" and whole.output[0].content[0].annotations == [], whole
usage = whole.usage
assert usage.output_tokens == 12 and usage.total_tokens == usage.input_tokens + 12 and usage.input_tokens_details.cached_tokens == 0, usage
assert whole.store is False and whole.previous_response_id is None and whole.metadata == {"a": "b"} and whole.instructions == "Be brief.", whole
assert whole.temperature == 0 and whole.max_output_tokens == 12 and whole.tools == [] and whole.tool_choice == "auto" and whole.user == "u", whole
again = create(**ask(instructions="Be brief.", temperature=0, max_output_tokens=12))
assert again.usage.input_tokens_details.cached_tokens > 0, again
chat = client.chat.completions.create(model="smollm2", max_tokens=12, temperature=0, messages=[
    {"role": "system", "content": "Be brief."}, {"role": "user", "content": ask()["input"]}])
assert chat.choices[0].message.content == again.output_text and chat.usage.prompt_tokens == usage.input_tokens, (chat, again)
# The output goes back as it is, and more behind it.
history = [{"role": "user", "content": [{"type": "input_text", "text": "Say hi."}]}, *[item.model_dump() for item in whole.output],
    {"type": "reasoning", "id": "rs_1", "summary": []}, {"type": "message", "role": "developer", "content": "Be kind."}, {"role": "user", "content": "More."}]
more = create(model="smollm2", input=history, max_output_tokens=5)
assert more.output_text and more.usage.input_tokens > usage.input_tokens, more
done = create(**ask("Say hi.", text={"format": {"type": "json_schema", "name": "s", "schema": {"enum": ["hi", "hello"]}}}))
assert done.status == "completed" and done.incomplete_details is None and done.output_text in ('"hi"', '"hello"'), done
some = create(**ask(text={"format": {"type": "json_object"}, "verbosity": "low"}, max_output_tokens=60))
assert some.output_text[0] == "{", some
parsed = client.responses.parse(**ask("A person.", text_format=Person, max_output_tokens=200))
assert isinstance(parsed.output_parsed, Person), parsed
raw = client.responses.with_raw_response.create(**ask(max_output_tokens=1))
assert raw.headers["x-request-id"] and "request-id" not in raw.headers, raw.headers
"""

STREAM = BEGIN + """
fields = ask(temperature=0, max_output_tokens=12)
whole = twice(**fields)
events = list(create(**fields, stream=True, stream_options={"include_obfuscation": False}))
kinds = [event.type for event in events]
assert [event.sequence_number for event in events] == list(range(len(events))), events
assert kinds[:4] == ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"], kinds
assert kinds[-4:] == ["response.output_text.done", "response.content_part.done", "response.output_item.done", "response.incomplete"], kinds
assert set(kinds[4:-4]) == {"response.output_text.delta"} and len(kinds) > 12, kinds
text = "".join(event.delta for event in events[4:-4])
assert text == whole.output_text == events[-4].text == events[-3].part.text == events[-2].item.content[0].text, (events, whole)
assert events[0].response.status == "in_progress" and events[0].response.output == [] and events[0].response.usage is None, events[0]
final = events[-1].response
assert final.id == events[0].response.id and final.status == "incomplete" and final.usage.output_tokens == 12 and final.output_text == text, final
assert len({event.item_id for event in events if hasattr(event, "item_id")} | {final.output[0].id}) == 1, events
with client.responses.stream(**ask("A person.", text_format=Person, max_output_tokens=200)) as stream:
    seen = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
    final = stream.get_final_response()
assert final.status == "completed" and isinstance(final.output_parsed, Person) and final.output_text == seen, final
# As it is on the wire: events by name.
with httpx2.stream("POST", sys.argv[1] + "/v1/responses", json={**fields, "stream": True}, timeout=60) as answer:
    lines = [line for line in answer.iter_lines() if line]
for name, data in zip(lines[::2], lines[1::2]):
    assert name == "event: " + json.loads(data.removeprefix("data: "))["type"], (name, data)
"""

TOOLS = BEGIN + """
fields = ask("What is the weather in Bonn?", tools=tools, tool_choice=named, temperature=0, max_output_tokens=100)
whole = client.responses.parse(**fields)
call = whole.output[0]
assert whole.status == "completed" and len(whole.output) == 1 and (call.type, call.name, call.status) == ("function_call", "GetWeather", "completed"), whole
assert call.call_id.startswith("call_") and call.id.startswith("fc_"), call
GetWeather.model_validate_json(call.arguments)
assert len(whole.tools) == 2 and whole.tools[0].name == "GetWeather" and whole.tool_choice.name == "GetWeather", whole
with client.responses.stream(**fields) as stream:
    events = list(stream)
    final = stream.get_final_response()
kinds = [event.type for event in events]
assert kinds[2] == "response.output_item.added" and kinds[-3:] == ["response.function_call_arguments.done", "response.output_item.done", "response.completed"], kinds
deltas = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
assert len(deltas) > 3 and "".join(deltas) == events[-3].arguments == final.output[0].arguments, events
GetWeather.model_validate_json(final.output[0].arguments)
assert events[2].item.name == "GetWeather" and events[2].item.call_id == final.output[0].call_id, events
forced = create(**ask(tools=tools, tool_choice="required", max_output_tokens=200))
assert forced.output[0].type == "function_call", forced
assert create(**ask(tools=tools, tool_choice="none", max_output_tokens=5)).output[0].type == "message"
assert create(**ask(tools=tools, max_output_tokens=30)).output
cut = create(**{**fields, "max_output_tokens": 14})
assert cut.status == "incomplete" and cut.output[0].status == "incomplete", cut
# The call and its result go back, and the model goes on in words.
history = [{"role": "user", "content": "Weather in Bonn?"}, call.model_dump(exclude={"parsed_arguments"}, exclude_none=True),
    {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny, 21 degrees."}]
assert create(model="smollm2", input=history, tools=tools, tool_choice="none", max_output_tokens=20).output_text
"""

REFUSED = BEGIN + """
def item(**fields): return {"input": [{"role": "user", "content": "x"}, fields]}
tool = {"type": "function", "name": "f", "parameters": {"type": "object"}}
def shape(schema): return {"text": {"format": {"type": "json_schema", "name": "s", "schema": schema}}}
cases = [
    ({"store": True}, "store"), ({"previous_response_id": "resp_1"}, "previous_response_id"), ({"conversation": "conv_1"}, "conversation"),
    ({"background": True}, "background"), ({"prompt": {"id": "p"}}, "prompt"), ({"truncation": "auto"}, "truncation"), ({"truncation": "x"}, "truncation"),
    ({"reasoning": {"effort": "high"}}, "reasoning.effort"), ({"include": ["message.output_text.logprobs"]}, "include"), ({"include": ["x"]}, "include"),
    ({"top_logprobs": 2}, "top_logprobs"), ({"stream_options": {}}, "stream_options"), ({"service_tier": "scale"}, "service_tier"),
    ({"input": None}, "input"), ({"input": []}, "input"), ({"input": 5}, "input"), (item(type="item_reference", id="msg_1"), "input[1].type"),
    (item(type="computer_call"), "input[1].type"), (item(id="x"), "input[1].type"), (item(role="tool", content="x"), "input[1].role"),
    (item(role="user"), "input[1].content"), (item(role="user", content=[{"type": "input_image", "image_url": "x"}]), "input[1].content[0].type"),
    (item(type="function_call_output", call_id="c", output="x"), "input[1].call_id"), (item(type="function_call", call_id="c", name="f"), "input[1].arguments"),
    ({"input": [{"role": "user", "content": "x"}] * 4097}, "input"), ({"instructions": ["x"]}, "instructions"),
    ({"max_output_tokens": 0}, "max_output_tokens"), ({"temperature": 3}, "temperature"), ({"metadata": {"a": 1}}, "metadata"),
    ({"metadata": {str(n): "x" for n in range(17)}}, "metadata"), ({"user": 1}, "user"), ({"text": {"verbosity": "loud"}}, "text.verbosity"),
    ({"text": {"format": {"type": "grammar"}}}, "text.format.type"), (shape({"type": "integer", "multipleOf": 2}), "text.format"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type"), ({"tools": [tool] * 2}, "tools[1].name"), ({"tools": [tool] * 129}, "tools"),
    ({"tools": [tool | {"parameters": {"type": "array"}}]}, "tools[0].parameters.type"), ({"tools": [tool], "tool_choice": {"type": "function", "name": "g"}}, "tool_choice"),
    ({"tools": [tool], "tool_choice": "any"}, "tool_choice"), ({"tool_choice": "required"}, "tool_choice"), (shape({"type": "string"}) | {"tools": [tool]}, "text"),
    ({"max_output_tokens": 100_000}, "input"), ({"model": "echo", "text": {"format": {"type": "json_object"}}}, "model"),
]
for fields, param in cases:
    body = {k: v for k, v in {**ask(), **fields}.items() if v is not None}
    for stream in (False,) if "stream_options" in fields else (False, True):
        try:
            client.post("/responses", body={**body, "stream": stream}, cast_to=object)
        except openai.BadRequestError as refused:
            assert refused.type == "invalid_request_error" and refused.param == param and refused.request_id, (fields, refused, refused.param)
        else:
            raise AssertionError(fields)
try:
    create(**ask(model="nobody"))
except openai.NotFoundError as refused:
    assert refused.code == "model_not_found", refused
try:
    client.responses.retrieve("resp_1")
except openai.NotFoundError as refused:
    assert "not kept" in str(refused), refused
else:
    raise AssertionError("nothing is kept")
for content in b'{"model":"\\xff\\xfe"}', b"[]", b'{"model":"smollm2","input":"x","input":"y"}':
    answer = httpx2.post(sys.argv[1] + "/v1/responses", content=content)
    assert answer.status_code == 400 and answer.json()["error"]["message"], answer.text
assert httpx2.get(sys.argv[1] + "/v1/responses").status_code == 405
"""

# What the older routes say to fields that they don't do, and the way back from tokens that isn't there.
OLDER = BEGIN + """
for fields, param in ({"echo": True}, "echo"), ({"suffix": "end"}, "suffix"), ({"best_of": 2}, "best_of"), ({"prompt": [1, 2]}, "prompt"):
    try:
        client.completions.create(**{"model": "smollm2", "prompt": "x", **fields})
    except openai.BadRequestError as refused:
        assert refused.param == param and refused.code == "unsupported_parameter" and param in str(refused), refused
    else:
        raise AssertionError(fields)
assert client.completions.create(model="smollm2", prompt="Once", echo=False, suffix="", best_of=1, max_tokens=2).choices[0].text
answer = httpx2.post(sys.argv[1] + "/detokenize", json={"model": "smollm2", "tokens": [1]})
assert answer.status_code == 404 and "not offered" in answer.json()["error"]["message"], answer.text
"""


class Responses(ClientTests):
    def test_responses_are_answered(self):
        self.run_client(PLAIN)

    def test_responses_are_streamed(self):
        self.run_client(STREAM)

    def test_functions_are_called_whole_and_streamed(self):
        self.run_client(TOOLS)

    def test_what_cannot_be_honoured_is_refused_by_name(self):
        self.run_client(REFUSED)

    def test_older_routes_refuse_by_name(self):
        self.run_client(OLDER)

    def test_an_error_in_a_running_stream_is_an_event(self):
        self.deploy_failing()
        body = {"model": "fails", "stream": True, "input": "a longer text"}
        status, answer, _ = self.host.request("POST", "/v1/responses", json.dumps(body))
        name, data = answer.decode().split("\n\n")[-2].split("\n")
        failed = json.loads(data.removeprefix("data: "))
        self.assertEqual((status, name, failed["type"]), (200, "event: response.failed", "response.failed"))
        self.assertEqual((failed["response"]["status"], failed["response"]["error"]["code"]), ("failed", "server_error"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
