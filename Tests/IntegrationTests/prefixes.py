"""Kept prefixes: a tenant finds its own again, and how fast an answer begins tells nobody what another tenant asked."""
import http.client
import json
import os
import random
import re
import shutil
import time
import unittest

from run import PREFIX, Host, make_work, wait_for

TRIALS = 700  # the standard error of the area is then 0.015


class Caller:
    """One tenant on one connection."""

    def __init__(self, host, tenant):
        self.headers = {"content-type": "application/json", "x-swiftlet-tenant": tenant}
        self.connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=30)

    def __del__(self):
        self.connection.close()

    def ask(self, text, system=None):
        """How long the first token took, in seconds, and how many tokens of the prompt were there."""
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": text})
        body = json.dumps({"model": "slow", "messages": messages, "max_tokens": 1, "temperature": 0})
        begin = time.perf_counter()
        self.connection.request("POST", "/v1/chat/completions", body, self.headers)
        answer = self.connection.getresponse()
        answer = json.loads(answer.read())
        return time.perf_counter() - begin, answer["usage"]["prompt_tokens_details"]["cached_tokens"]


def area(shorter, longer):
    """The area under the curve of whoever guesses from the time: 0.5 is guessing blindly."""
    ranked = sorted([(value, 1) for value in shorter] + [(value, 0) for value in longer])
    ranks = sum(place for place, (_, kind) in enumerate(ranked, 1) if kind == 1)
    below = ranks - len(shorter) * (len(shorter) + 1) / 2
    return 1 - below / (len(shorter) * len(longer))


def secret(size=200):
    return "".join(random.choices("abcdefghij ", k=size))


class Slow(unittest.TestCase):
    """Echo as a model that takes its time to read; nothing runs by itself."""

    config, sequences, options, more = "token_us: 50", 64, [], ""

    @classmethod
    def setUpClass(cls):
        if cls is Slow:
            raise unittest.SkipTest("for others to build on")
        work = make_work()
        folder = work / "slow"
        shutil.copytree(PREFIX / "plugins/echo", folder)
        manifest = folder / "swiftlet.json5"
        text = manifest.read_text().replace('name: "echo"', 'name: "slow"')
        text = text.replace("config: {}", "%sconfig: { %s }" % (cls.more, cls.config))
        text = text.replace("max_sequences: 64", "max_sequences: %d" % cls.sequences)
        manifest.write_text(text.replace("memory_mb: 64", "memory_mb: 256"))
        cls.host = Host(*cls.options, work=work)
        cls.host.cli("deploy", str(folder))

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    def hits(self, tier):
        text = self.host.request("GET", "/metrics")[1].decode()
        found = re.search(r'swiftlet_prefix_hits_total\{model="slow",tier="%s"\} (\d+)' % tier, text)
        return int(found.group(1)) if found else 0

    def attack(self, tier, least, least_area=0.7):
        """Another tenant asks for what the victim just asked for, or for something else, and guesses from the time."""
        victim, attacker = Caller(self.host, "victim"), Caller(self.host, "attacker")
        asked, control, own, fresh = [], [], [], []
        before, kept = self.hits(tier), 0
        for _ in range(TRIALS):
            text, other = secret(), secret()
            fresh.append(victim.ask(text)[0])
            probes = [(text, asked), (other, control)]
            random.shuffle(probes)
            for probe, times in probes:
                took, cached = attacker.ask(probe)
                times.append(took)
                # The chat's frame is the same for everybody, and this tenant's own.
                self.assertLess(cached, 40)
            took, cached = victim.ask(text)
            own.append(took)
            kept += cached >= least
        self.assertGreaterEqual(kept, 0.97 * TRIALS, "the same tenant keeps its hits")
        self.assertGreaterEqual(self.hits(tier) - before, 0.97 * TRIALS, f"and they are those of {tier}")
        # Far from blind, also on a machine that does much else.
        self.assertGreater(area(own, fresh), least_area, "they can be measured")
        self.assertAlmostEqual(area(asked, control), 0.5, delta=0.05)


class OnTheDevice(Slow):
    def test_an_attacker_learns_nothing_from_times(self):
        self.attack("device", 150)

    def test_a_chat_goes_on_where_it_was(self):
        caller = Caller(self.host, "chatting")
        first = secret()
        self.assertLess(caller.ask(first)[1], 40)
        self.assertGreater(caller.ask(first + " and more")[1], 180)
        self.assertLess(Caller(self.host, "stranger").ask(first + " and more")[1], 40)


class InMemory(Slow):
    """The engine has place for one: whatever is asked next pushes the last one out."""

    sequences = 1

    def test_an_attacker_learns_nothing_from_times(self):
        self.attack("memory", 192)

    def test_a_prefix_outlives_the_worker(self):
        caller, text = Caller(self.host, "patient"), secret()
        caller.ask(text)
        # Saved while nobody asks for anything.
        time.sleep(1.5)
        for row in json.loads(self.host.cli("ps", "--json").stdout)["workers"]:
            if row["name"] == "slow":
                os.kill(row["pid"], 9)
        wait_for(lambda: 'swiftlet_model_loaded{model="slow"} 0' in self.host.request("GET", "/metrics")[1].decode(), "it is gone")
        self.assertEqual(Caller(self.host, "stranger").ask(text)[1], 0)
        self.assertGreaterEqual(caller.ask(text)[1], 192)


class OnDisk(Slow):
    """A state fills the host's memory, so that the one before goes on to disk."""

    sequences = 1
    config = "token_us: 150, token_bytes: 3000"
    options = ["--prefix-memory-mb", "1", "--prefix-disk-mb", "64"]

    def files(self):
        return sorted((self.host.work / "state/prefixes").iterdir())

    def test_an_attacker_learns_nothing_from_times(self):
        self.attack("disk", 192)

    def fill(self, caller):
        for _ in range(3):
            caller.ask(secret())

    def test_files_tell_nothing_and_what_was_changed_is_read_again(self):
        for damage in (lambda f: f.write_bytes(f.read_bytes()[:-100]), lambda f: f.unlink(),
                       lambda f: f.write_bytes(f.read_bytes()[:5000] + bytes([f.read_bytes()[5000] ^ 1]) + f.read_bytes()[5001:])):
            owner, other, text = Caller(self.host, "owner"), Caller(self.host, "filler"), secret()
            before = set(self.files())
            owner.ask(text)
            self.fill(other)
            wait_for(lambda: set(self.files()) - before, "a file is written")
            time.sleep(0.3)
            for file in self.files():
                # Every fourth byte is a letter of the text, where it is not encrypted; and all that Echo adds is zeros.
                self.assertNotIn(bytes(64), file.read_bytes())
                damage(file)
            self.assertLess(owner.ask(text)[1], 64, "it is a miss")
            self.fill(other)
            self.assertGreaterEqual(owner.ask(text)[1], 192, "and is kept anew")


class Salted(Slow):
    sequences = 1
    config = OnDisk.config
    options = OnDisk.options + ["--prefix-salt-hours", "0.001"]

    def test_an_old_salt_finds_nothing_and_leaves_nothing(self):
        owner, other, text = Caller(self.host, "owner"), Caller(self.host, "filler"), secret()
        begin = time.time()
        owner.ask(text)
        other.ask(secret())
        if time.time() - begin < 3:
            self.assertGreaterEqual(owner.ask(text)[1], 192)
        for _ in range(3):
            other.ask(secret())
        time.sleep(4.5)
        self.assertLess(owner.ask(text)[1], 64)
        time.sleep(5)
        self.assertEqual(list((self.host.work / "state/prefixes").iterdir()), [])


class Published(Slow):
    """What the platform lists is everybody's from the first request on, and nothing else is."""

    text = "You are the assistant of a town's library. Answer in one short sentence and name the shelf."
    more = "published_prefixes: [%s],\n  " % json.dumps(text)

    def test_only_what_is_published_is_shared(self):
        first = Caller(self.host, "first")
        first.ask("wakes the model")
        caller = Caller(self.host, "a0")
        tries = iter(range(100))
        wait_for(lambda: Caller(self.host, f"early{next(tries)}").ask("hello", self.text)[1] >= len(self.text), "it is read")
        self.assertGreaterEqual(caller.ask("my first request", self.text)[1], len(self.text))
        private = secret(100)
        self.assertLess(caller.ask("x", private)[1], 40)
        self.assertGreaterEqual(caller.ask("y", private)[1], 100)
        self.assertLess(Caller(self.host, "a1").ask("y", private)[1], 40)
        self.assertGreater(self.hits("published"), 1)
        metrics = self.host.request("GET", "/metrics")[1].decode()
        self.assertIn('swiftlet_tenant_device_seconds_total{model="slow",tenant="platform"}', metrics)
        self.assertIn('tenant="platform",kind="prompt"} 0', metrics, "nobody pays for it")


if __name__ == "__main__":
    unittest.main(verbosity=2)
