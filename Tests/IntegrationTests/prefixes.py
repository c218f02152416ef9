"""Kept prefixes: a tenant finds its own again, and how fast an answer begins tells nobody what another tenant asked."""
import http.client
import json
import random
import shutil
import time
import unittest

from run import PREFIX, Host, make_work

TRIALS = 700  # the standard error of the area is then 0.015


class Caller:
    """One tenant on one connection."""

    def __init__(self, host, tenant):
        self.headers = {"content-type": "application/json", "x-swiftlet-tenant": tenant}
        self.connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=30)

    def ask(self, text):
        """How long the first token took, in seconds, and how many tokens of the prompt were there."""
        body = json.dumps({"model": "slow", "messages": [{"role": "user", "content": text}], "max_tokens": 1, "temperature": 0})
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


class Prefixes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        work = make_work()
        folder = work / "slow"
        shutil.copytree(PREFIX / "plugins/echo", folder)
        manifest = folder / "swiftlet.json5"
        text = manifest.read_text().replace('name: "echo"', 'name: "slow"').replace("config: {}", "config: { token_us: 50 }")
        manifest.write_text(text)
        cls.host = Host(work=work)
        cls.host.cli("deploy", str(folder))

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()

    def secret(self):
        return "".join(random.choices("abcdefghij ", k=200))

    def test_an_attacker_learns_nothing_from_times(self):
        victim, attacker = Caller(self.host, "victim"), Caller(self.host, "attacker")
        asked, control, own, fresh = [], [], [], []
        for _ in range(TRIALS):
            secret, other = self.secret(), self.secret()
            fresh.append(victim.ask(secret)[0])
            probes = [(secret, asked), (other, control)]
            random.shuffle(probes)
            for text, times in probes:
                took, cached = attacker.ask(text)
                times.append(took)
                # The chat's frame is the same for everybody, and this tenant's own.
                self.assertLess(cached, 40)
            took, cached = victim.ask(secret)
            own.append(took)
            self.assertGreater(cached, 150)
        # Far from blind, also on a machine that does much else.
        self.assertGreater(area(own, fresh), 0.7, "the same tenant keeps its hits, and they can be measured")
        self.assertAlmostEqual(area(asked, control), 0.5, delta=0.05)

    def test_a_chat_goes_on_where_it_was(self):
        caller = Caller(self.host, "chatting")
        first = self.secret()
        self.assertLess(caller.ask(first)[1], 40)
        self.assertGreater(caller.ask(first + " and more")[1], 180)
        self.assertLess(Caller(self.host, "stranger").ask(first + " and more")[1], 40)


if __name__ == "__main__":
    unittest.main(verbosity=2)
