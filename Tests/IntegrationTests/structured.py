"""Answers held to a shape, on a real model with OpenAI's own client: schemas, functions, several answers. Usage: structured.py PREFIX"""
import json
import unittest

from clients import ClientTests

BEGIN = """
import enum, json, random, sys, typing
import jsonschema, openai, pydantic
client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0, timeout=120)
chat = client.chat.completions
def ask(text="Tell me about a person who travels.", **fields):
    return {"model": "smollm2", "messages": [{"role": "user", "content": text}], **fields}
"""

PARSE = BEGIN + """
class Mood(enum.Enum):
    happy = "happy"
    sad = "sad"
class Car(pydantic.BaseModel):
    kind: typing.Literal["car"]
    wheels: int = pydantic.Field(ge=3, le=8)
class Boat(pydantic.BaseModel):
    kind: typing.Literal["boat"]
    sails: bool
class Person(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=1, max_length=12)
    age: int = pydantic.Field(ge=0, le=150)
    height: float = pydantic.Field(gt=0, lt=3)
    mood: Mood
    nick: typing.Optional[typing.Literal["x", "yy"]]
    tags: list[typing.Literal["a", "b"]] = pydantic.Field(min_length=1, max_length=3)
    vehicle: Car | Boat
    code: str = pydantic.Field(pattern="^[A-Z]{2}-[0-9]{3}$")
for temperature in 0, 1:
    done = chat.parse(**ask(response_format=Person, temperature=temperature, seed=5, max_completion_tokens=300))
    person = done.choices[0].message.parsed
    assert isinstance(person, Person) and done.choices[0].finish_reason == "stop", done
again = chat.parse(**ask(response_format=Person, temperature=1, seed=5, max_completion_tokens=300))
assert again.choices[0].message.content == done.choices[0].message.content, (again, done)
with chat.stream(**ask(response_format=Person, temperature=1, max_completion_tokens=300)) as stream:
    assert isinstance(stream.get_final_completion().choices[0].message.parsed, Person)
some = chat.create(**ask(response_format={"type": "json_object"}, max_tokens=60, logprobs=True, top_logprobs=3))
assert some.choices[0].message.content[0] == "{" and len(some.choices[0].logprobs.content) == some.usage.completion_tokens, some
if some.choices[0].finish_reason == "stop": assert isinstance(json.loads(some.choices[0].message.content), dict)
class Endless(pydantic.BaseModel):
    text: str = pydantic.Field(min_length=200)
try:
    chat.parse(**ask(response_format=Endless, max_completion_tokens=10))
except openai.LengthFinishReasonError:
    pass
else:
    raise AssertionError("a cut answer must not look whole")
"""

TOOLS = BEGIN + """
class GetWeather(pydantic.BaseModel):
    "The weather of a city."
    city: str = pydantic.Field(max_length=15)
    unit: typing.Literal["c", "f"]
tools = [openai.pydantic_function_tool(GetWeather), {"type": "function", "function": {"name": "now", "strict": True}}]
named = {"type": "function", "function": {"name": "GetWeather"}}
done = chat.parse(**ask("What is the weather in Bonn?", tools=tools, tool_choice=named, temperature=1, seed=1, max_tokens=100))
choice = done.choices[0]
call = choice.message.tool_calls[0]
assert choice.finish_reason == "tool_calls" and choice.message.content is None and len(choice.message.tool_calls) == 1, done
assert isinstance(call.function.parsed_arguments, GetWeather) and call.id.startswith("call_") and call.type == "function", done
with chat.stream(**ask("What is the weather in Bonn?", tools=tools, tool_choice="required", max_tokens=200)) as stream:
    final = stream.get_final_completion().choices[0]
assert final.finish_reason == "tool_calls" and final.message.tool_calls[0].function.name in ("GetWeather", "now"), final
for seed in range(4):
    free = chat.create(**ask("What is the weather in Bonn?", tools=tools, max_tokens=40, seed=seed)).choices[0]
    called = free.message.tool_calls
    assert bool(called) != bool(free.message.content) and (free.finish_reason == "tool_calls") <= bool(called), free
# Raw deltas: id and name once, in the first delta of the call.
chunks = list(chat.create(**ask(tools=tools, tool_choice=named, stream=True, temperature=0, max_tokens=100, parallel_tool_calls=False,
    stream_options={"include_usage": True})))
deltas = [c for chunk in chunks for choice in chunk.choices for c in choice.delta.tool_calls or []]
assert [bool(d.id) for d in deltas] == [True] + [False] * (len(deltas) - 1) and all(d.index == 0 for d in deltas), deltas
assert deltas[0].function.name == "GetWeather" and all(d.function.name is None for d in deltas[1:]), deltas
assert len(deltas) > 3, "arguments come as they are made"
GetWeather.model_validate_json("".join(d.function.arguments for d in deltas))
assert chunks[-2].choices[0].finish_reason == "tool_calls" and chunks[-1].usage.total_tokens > 0
# The call and its result go back, and the model goes on in words.
history = [{"role": "user", "content": "Weather in Bonn?"}, done.choices[0].message.model_dump(exclude_none=True, exclude={"parsed"}),
    {"role": "tool", "tool_call_id": call.id, "content": "Sunny, 21 degrees."}]
for turn in history[1]["tool_calls"]: turn["function"].pop("parsed_arguments", None)
text = chat.create(model="smollm2", messages=history, tools=tools, tool_choice="none", max_tokens=20).choices[0]
assert text.message.content and not text.message.tool_calls, text
cut = chat.create(**ask(tools=tools, tool_choice=named, max_tokens=14, temperature=0)).choices[0]
assert cut.finish_reason == "length", cut
"""

SEVERAL = BEGIN + """
one = chat.create(**ask(n=3, seed=9, temperature=1, max_tokens=12, logprobs=True))
assert [c.index for c in one.choices] == [0, 1, 2] and len({c.message.content for c in one.choices}) == 3, one
assert one.usage.completion_tokens == sum(len(c.logprobs.content) for c in one.choices), one
assert one.usage.total_tokens == one.usage.prompt_tokens + one.usage.completion_tokens, one
chunks = list(chat.create(**ask(n=3, seed=9, temperature=1, max_tokens=12, stream=True, stream_options={"include_usage": True})))
for index in range(3):
    own = [c for chunk in chunks for c in chunk.choices if c.index == index]
    assert "".join(c.delta.content or "" for c in own) == one.choices[index].message.content, (own, one)
    assert own[0].delta.role == "assistant" and [c.finish_reason for c in own if c.finish_reason] == ["length"], own
assert chunks[-1].usage.completion_tokens == one.usage.completion_tokens and not chunks[-1].choices
texts = client.completions.create(model="smollm2", prompt="Once upon", n=2, max_tokens=5, seed=3)
assert [c.index for c in texts.choices] == [0, 1] and texts.usage.completion_tokens == 10, texts
stopped = chat.create(**ask("Count: 1, 2, 3", stop=["a", "e", "i", "o"], max_tokens=50, temperature=0))
assert not set("aeio") & set(stopped.choices[0].message.content), stopped
"""

REFUSED = BEGIN + """
def shape(schema): return {"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": schema}}
def tool(schema): return [{"type": "function", "function": {"name": "f", "parameters": schema}}]
cases = [
    ({"response_format": shape({"type": "integer", "multipleOf": 2})}, "response_format", "schema.multipleOf"),
    ({"response_format": shape({"type": "object", "properties": {"a": {"format": "hostname", "type": "string"}}})}, "response_format", "properties.a.format"),
    ({"response_format": {"type": "grammar"}}, "response_format.type", "json_schema"),
    ({"tools": tool({"type": "object", "properties": {"a": {"not": {}}}})}, "tools[0].function.parameters.properties.a.not", "not offered"),
    ({"tools": tool({"type": "array"})}, "tools[0].function.parameters.type", "object"),
    ({"tools": tool({"type": "object"}), "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice", "no function"),
    ({"n": 9}, "n", "from 1 to 8"), ({"n": 0}, "n", "from 1 to 8"), ({"logit_bias": {"5": 1}}, "logit_bias", "not offered"),
    ({"stop": ["a"] * 5}, "stop", "4"), ({"stop": "x" * 5000}, "stop", "4096"), ({"seed": 1.5}, "seed", "integer"),
    ({"presence_penalty": 3}, "presence_penalty", "from"), ({"top_logprobs": 2}, "top_logprobs", "logprobs"),
    ({"model": "echo", "response_format": {"type": "json_object"}}, "model", "shape"),
    ({"model": "echo", "tools": tool({"type": "object"})}, "model", "shape"),
]
for fields, param, word in cases:
    for stream in False, True:
        try:
            chat.create(**{**ask(stream=stream), **fields})
        except openai.BadRequestError as refused:
            assert refused.type == "invalid_request_error" and refused.param == param and word in str(refused), (fields, refused)
        else:
            raise AssertionError(fields)
chat.create(**ask(max_tokens=1, user="u", extra_body={"metadata": {"a": "b"}, "store": False, "some_new_field": 1}))
"""

# Schemas made at random of all that is offered: each answer that the model ends must be valid.
RANDOM = BEGIN + """
dice = random.Random(int(sys.argv[2]))
def text():
    kind = dice.randrange(6)
    if kind == 0: return {"type": "string", "maxLength": dice.randrange(1, 8)}
    if kind == 1: return {"type": "string", "minLength": 2, "maxLength": dice.randrange(2, 6)}
    if kind == 2: return {"enum": dice.sample(["a", "ab", "b c", 1, 12, None, True, 'q"', "\\u00e9"], 3)}
    if kind == 3: return {"const": dice.choice(["x", 5, [1, {"k": "v"}], {"a": None}])}
    if kind == 4: return {"type": "string", "format": dice.choice(["date", "time", "date-time", "uuid", "ipv4"])}
    return {"type": "string", "pattern": dice.choice(["^[a-z]{2,4}(-[0-9]+x)?$", "^(red|green|blue)$", "^\\\\d{3}\\\\.[^a-z]{2}$"])}
def number():
    low = dice.randrange(-2000, 2000)
    kind = dice.randrange(4)
    if kind == 0: return {"type": "integer", "minimum": low, "maximum": low + dice.randrange(0, 500)}
    if kind == 1: return {"type": "number", "exclusiveMinimum": low, "exclusiveMaximum": low + dice.randrange(1, 50)}
    if kind == 2: return {"type": dice.choice(["integer", "number"]), dice.choice(["minimum", "exclusiveMaximum"]): low}
    return {"type": ["boolean", "null"]}
def node(depth):
    kind = dice.randrange(7) if depth > 0 else dice.randrange(2)
    if kind == 0: return text()
    if kind == 1: return number()
    if kind == 2: return {"anyOf": [node(depth - 1), {"type": "null"}]}
    if kind == 3: return {"type": "array", "items": node(depth - 1), "minItems": dice.randrange(2), "maxItems": dice.randrange(1, 4)}
    if kind == 4: return {"type": "array", "prefixItems": [node(0), node(0)], "items": False}
    names = dice.sample(["a", "b c", "c\\"d", "long_name", "\\u00fc", "type", "n"], dice.randrange(1, 4))
    return {"type": "object", "properties": {n: node(depth - 1) for n in names}, "additionalProperties": False,
        "required": [n for n in names if dice.random() < 0.7]}
ended = 0
COUNT = 30
for number_of in range(COUNT):
    schema = {"type": "object", "properties": {"v": node(2)}, "required": ["v"], "additionalProperties": False}
    jsonschema.Draft202012Validator.check_schema(schema)
    done = chat.create(**ask(max_tokens=150, temperature=1, seed=number_of, response_format={"type": "json_schema",
        "json_schema": {"name": "s", "schema": schema}}))
    choice = done.choices[0]
    if choice.finish_reason == "length": continue
    ended += 1
    value = json.loads(choice.message.content)
    jsonschema.validate(value, schema, cls=jsonschema.Draft202012Validator, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
    assert json.dumps(value, ensure_ascii=False).count(" ") >= 1
assert ended >= COUNT * 2 // 3, ended
"""


class Structured(ClientTests):
    def test_parsed_answers_are_of_their_class(self):
        self.run_client(PARSE)

    def test_functions_are_called_whole_and_streamed(self):
        self.run_client(TOOLS)

    def test_several_answers_share_one_request(self):
        self.run_client(SEVERAL)

    def test_what_cannot_be_honoured_is_refused_and_never_ignored(self):
        self.run_client(REFUSED)

    def test_answers_to_random_schemas_are_valid(self):
        self.run_client(RANDOM, "1")

    def test_a_model_goes_on_after_a_hundred_refusals(self):
        for number in range(100):
            body = {"model": "smollm2", "messages": [{"role": "user", "content": "x"}], "response_format": {
                "type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "string", "pattern": "^" + "(" * number}}}}
            status, answer, _ = self.host.request("POST", "/v1/chat/completions", json.dumps(body))
            self.assertEqual((status, json.loads(answer)["error"]["param"]), (400, "response_format"))
        body = {"model": "smollm2", "messages": [{"role": "user", "content": "x"}], "max_tokens": 3}
        self.assertEqual(self.host.request("POST", "/v1/chat/completions", json.dumps(body))[0], 200)


if __name__ == "__main__":
    unittest.main(verbosity=2)
