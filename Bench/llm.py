"""Streamed completions of Swiftlet and llama-server on the same model, round by round, and how fairly ours shares."""
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

from llm_servers import CONTEXT, MODEL, ROOT, SEQUENCES, THREADS, Lane, Ours, both, client, served
from measure import CouldNotRun, by_turns, compiled, paired, percentile, row

# A quick look at the harness takes 1; a figure to be quoted takes what stands here.
ROUNDS = int(os.environ.get("SWIFTLET_BENCH_ROUNDS", "0"))
# What tokens count in the fair queue: an answer's takes a step of its own, a prompt's shares one with many.
INPUT_WEIGHT, OUTPUT_WEIGHT = 1, 2

# "@@@@@@@@" becomes other letters each time. A story goes on for long, so an answer is as long as it may be.
STORY = "@@@@@@@@ Once upon a time, in a small village between the mountains and the sea, there lived an old clockmaker and his"
WORDS = (
    "the old ship came into the harbour at night and nobody in the town knew who had sent it or what it had on board but "
    "every child ran down to the water with a small light in hand and looked at the tall dark masts").split()


def text_of(tokens):
    """A prompt of about so many tokens that ends like a story: the words are a token each, the letters before them six."""
    words = WORDS * (tokens // len(WORDS) + 1)
    return "@@@@@@@@ " + " ".join(words[:tokens - 12]) + ". Then the captain said to the"


def rounds(usual):
    return range(ROUNDS or usual)


def decode(prefix):
    """Tokens a second of 1, 4, 16 and 32 answers at once, while all of them run."""
    with both(prefix) as (streams, *servers):
        # A round takes 1 s with one answer and 15 with 32; of short ones more are needed.
        for count, usual in ((1, 60), (4, 15), (16, 7), (32, 5)):
            rates = {server.what: [] for server in servers}
            for turn, server in by_turns(servers, rounds(usual)):
                time.sleep(0.3)  # all answers end by themselves, so there is little to settle
                rates[server.what].append(decode_rate(streams, server, count, seed=turn + 1))
            yield paired(f"llm.decode{count}.vs_llama_server", "tokens/s", *rates.values())


def decode_rate(streams, server, count, seed):
    """From when the last answer has its first token until the first answer has its last one."""
    length = 128
    answers = streams.run(server, [Lane(STORY, length)] * count, seed=seed)
    begin, end = max(a.tokens[0] for a in answers), min(a.tokens[-1] for a in answers)
    # An event may hold two tokens where a character is made of them: the server's own count says how many there were.
    tokens = sum(sum(begin < at <= end for at in a.tokens) * a.completion / len(a.tokens) for a in answers)
    if tokens < count * length / 4:
        raise CouldNotRun(
            f"{server.what}: of {count} answers of {length} tokens only {tokens:.0f} came while all ran; the shortest had "
            f"{min(a.completion for a in answers)}")
    return tokens / (end - begin) * 1e6


def ttft(prefix):
    """One request at a time to an idle server, with a prompt of about 100 tokens that it has not seen."""
    with both(prefix) as (streams, *servers):
        times = {server.what: [] for server in servers}
        for turn in rounds(7):
            for server in servers:
                answers = streams.run(server, [Lane(text_of(100), 2, count=15)], seed=turn + 1)
                times[server.what] += [a.first for a in answers]
                streams.settle(server)
    yield row("llm.ttft.vs_llama_server", "ms", *times.values())


def flood(prefix):
    """A tenant with one short chat after the other beside a tenant that keeps 32 prompts of 1,000 tokens on their way."""
    seconds = 90.0
    gaps, firsts = {}, {}
    with both(prefix) as (streams, *servers):
        for turn in rounds(3):
            for server in servers:
                # Lane 0 is the one that is given time for a first token.
                lanes = [Lane(STORY, 48, 0, "light", delay_ms=3000)] + [Lane(text_of(1000), 16, 0, "heavy")] * SEQUENCES
                answers = streams.run(server, lanes, seconds, seed=turn + 1)
                chats = [a for a in answers if a.lane == 0]
                gaps.setdefault(server.what, []).append(percentile(gaps_of(chats, seconds), 0.99))
                firsts.setdefault(server.what, []).append(percentile([a.first for a in chats], 0.99))
                streams.settle(server)
    yield row("llm.flood.gap_p99.vs_llama_server", "ms", *gaps.values())
    yield row("llm.flood.ttft_p99.vs_llama_server", "ms", *firsts.values())


def gaps_of(chats, seconds):
    """Milliseconds between tokens; the gap in which a chat was cut counts as long as it had lasted."""
    found = [(b - a) / 1000 for chat in chats for a, b in zip(chat.tokens, chat.tokens[1:])]
    return found + [(seconds * 1e6 - chat.tokens[-1]) / 1000 for chat in chats if not chat.done and chat.tokens[-1] < seconds * 1e6]


# Streams of each tenant, all more than a fair share of the sequences (8), and together no more than one tenant may queue.
DEMAND = {"one": 10, "two": 20, "three": 30, "four": 60}
SETTLED, LAST = 10.0, 40.0  # seconds of a run between which service is counted


def fair(prefix):
    """Four tenants that always have more to do than is served; the same as one tenant; and a light tenant beside a flood."""
    with served(prefix) as (streams, ours):
        jain, shared, alone = [], [], []
        for turn in rounds(3):
            service, rate = mix(streams, ours, list(DEMAND), turn)
            jain.append(sum(service) ** 2 / (len(service) * sum(one * one for one in service)))
            shared.append(rate)
            alone.append(mix(streams, ours, ["one"] * len(DEMAND), turn)[1])
        yield row("llm.fair.jain", "index", jain, [1.0])
        yield row("llm.fair.vs_fifo", "tokens/s", shared, alone)
        yield light(streams, ours)


def mix(streams, server, tenants, turn):
    """Weighted service of each lane group, and tokens a second of all."""
    of_lane = [group for group, count in enumerate(DEMAND.values()) for _ in range(count)]
    lanes = [Lane(STORY, 32, 0, tenants[group]) for group in of_lane]
    answers = streams.run(server, lanes, LAST, seed=turn + 1)
    streams.settle(server)
    prompts = [a.prompt for a in answers if a.done]
    if not prompts:
        raise CouldNotRun(f"of {len(lanes)} streams none was done within {LAST} s: is the machine busy?")
    prompt = statistics.median(prompts)  # what was cut has no count; all are of one length
    service, tokens = [0.0] * len(DEMAND), 0.0
    for a in answers:
        read = prompt * (bool(a.tokens) and within(a.tokens[0]))
        written = sum(map(within, a.tokens))
        service[of_lane[a.lane]] += INPUT_WEIGHT * read + OUTPUT_WEIGHT * written
        tokens += read + written
    return service, tokens / (LAST - SETTLED)


def within(at):
    return SETTLED * 1e6 <= at < LAST * 1e6


def light(streams, server):
    """The time to a light tenant's first token beside a flood and alone; `step_ms` is a mean step of the flood."""
    beside, alone, steps = [], [], []
    chats = Lane(STORY, 16, 0, "light", delay_ms=2000)
    for turn in rounds(3):
        alone += firsts_of(streams.run(server, [chats], 12.0, seed=turn + 1))
        before = server.counted()
        beside += firsts_of(streams.run(server, [chats] + [Lane(STORY, 32, 0, "heavy")] * (2 * SEQUENCES), 22.0, seed=turn + 1))
        after = server.counted()
        streams.settle(server)
        seconds, count = (after[name] - before[name] for name in ("step_seconds_total", "steps_total"))
        steps.append(seconds / count * 1000)
    return row("llm.fair.light_ttft", "ms", beside, alone) | {"step_ms": round(statistics.median(steps), 3)}


def firsts_of(answers):
    return [a.first for a in answers if a.lane == 0 and a.tokens]


def cold(prefix):
    """From a request for a model without a process to its first token, against llama.cpp alone in a new process."""
    sequences, context, prompt = 16, 8192, STORY.removeprefix("@@@@@@@@ ")
    times, least = [], []
    with client() as streams, tempfile.TemporaryDirectory() as folder:
        floor = [
            floor_program(pathlib.Path(folder)), ROOT / ".deps/models" / MODEL, str(context), str(sequences), str(THREADS), prompt]
        ours = Ours(prefix, "bench-cold", context, sequences, keep_alive=0.2)
        try:
            streams.run(ours, [Lane(prompt, 2)])  # brings the file into memory
            for _ in rounds(15):
                ours.asleep()
                times.append(streams.run(ours, [Lane(prompt, 2)])[0].first)
                ours.asleep()
                done = subprocess.run(floor, capture_output=True, text=True, timeout=120)
                if done.returncode != 0:
                    raise CouldNotRun(done.stderr)
                least.append(int(done.stdout) / 1000)
        finally:
            ours.stop()
    yield row("llm.cold.vs_floor", "ms", times, least)


def floor_program(folder):
    library = ROOT / ".deps/llama"
    return compiled(
        "llama_floor", folder, f"-I{library}/include", f"-L{library}/lib", "-lllama", "-lggml", "-lggml-base",
        f"-Wl,-rpath,{library}/lib")


BENCHMARKS = {"llm.decode": decode, "llm.ttft": ttft, "llm.flood": flood, "llm.fair": fair, "llm.cold": cold}
