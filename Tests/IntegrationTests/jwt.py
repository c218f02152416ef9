"""Tokens of identity providers: a real host, keys by file and by address, signed by openssl; rotation, revocation, refusals."""
import base64
import http.server
import json
import pathlib
import signal
import subprocess
import tempfile
import threading
import time
import unittest

from run import SWIFTLET, Host, make_work, wait_for

ECHO = r"""
#include <string.h>
#include "swiftlet_handler.h"
static int32_t invoke(void *state, const swiftlet_invocation_v1 *in, const swiftlet_host_v1 *host) {
    (void)state;
    for (size_t i = 0; i < in->header_count; i++) {
        host->write(in->headers[i].name);
        host->write((swiftlet_bytes){"=", 1});
        host->write(in->headers[i].value);
        host->write((swiftlet_bytes){"\n", 1});
    }
    return SWIFTLET_OK;
}
const swiftlet_plugin *swiftlet_plugin_entry(uint32_t abi) {
    static const swiftlet_handler_v1 handler = {.size = sizeof handler, .version = 1, .invoke = invoke};
    static const swiftlet_plugin plugin = {.size = sizeof plugin, .abi = SWIFTLET_ABI_VERSION, .kind = SWIFTLET_KIND_HANDLER,
        .name = "echo", .version = "1.0.0", .table = &handler};
    return abi >= SWIFTLET_ABI_VERSION ? &plugin : NULL;
}
"""


def b64(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else data.encode()).rstrip(b"=").decode()


def openssl(*words, data=None):
    return subprocess.run(["openssl", *words], input=data, capture_output=True, check=True).stdout


class Key:
    """One key pair of an issuer: RS256, ES256 or EdDSA."""
    OPTIONS = {
        "RS256": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        "ES256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "EdDSA": ["-algorithm", "ED25519"]}

    def __init__(self, kid, algorithm="ES256"):
        self.kid, self.algorithm = kid, algorithm
        self.folder = tempfile.TemporaryDirectory()
        self.file = pathlib.Path(self.folder.name) / "key.pem"
        openssl("genpkey", *self.OPTIONS[algorithm], "-out", str(self.file))

    def jwk(self):
        der = openssl("pkey", "-in", str(self.file), "-pubout", "-outform", "DER")
        if self.algorithm == "RS256":
            digits = openssl("rsa", "-in", str(self.file), "-noout", "-modulus").decode().strip().split("=")[1]
            own = {"kty": "RSA", "n": b64(bytes.fromhex(digits)), "e": "AQAB"}
        elif self.algorithm == "ES256":
            own = {"kty": "EC", "crv": "P-256", "x": b64(der[-64:-32]), "y": b64(der[-32:])}
        else:
            own = {"kty": "OKP", "crv": "Ed25519", "x": b64(der[-32:])}
        return dict(own, kid=self.kid, use="sig")

    def sign(self, data):
        if self.algorithm == "EdDSA":
            file = pathlib.Path(self.folder.name) / "data"
            file.write_bytes(data)
            return openssl("pkeyutl", "-sign", "-rawin", "-inkey", str(self.file), "-in", str(file))
        signature = openssl("dgst", "-sha256", "-sign", str(self.file), data=data)
        if self.algorithm == "RS256":
            return signature
        pair, at = b"", 2
        for _ in range(2):
            size = signature[at + 1]
            pair += signature[at + 2:at + 2 + size].lstrip(b"\0").rjust(32, b"\0")
            at += 2 + size
        return pair

    def token(self, header=None, **claims):
        now = int(time.time())
        body = {"iss": "https://issuer.test", "aud": "swiftlet", "sub": "user-1", "org": "acme", "iat": now, "exp": now + 600, **claims}
        body = {name: value for name, value in body.items() if value is not None}
        signed = b64(json.dumps({"alg": self.algorithm, "kid": self.kid, **(header or {})})) + "." + b64(json.dumps(body))
        return signed + "." + b64(self.sign(signed.encode()))


def key_set(*keys):
    return json.dumps({"keys": [key.jwk() for key in keys]})


class KeyServer:
    """A provider's address of keys, which answers what the test says and counts."""

    def __init__(self):
        self.answer, self.asked, self.hold = (200, {}, b'{"keys":[]}'), 0, 0.0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked += 1
                time.sleep(outer.hold)
                status, headers, body = outer.answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                try:
                    self.wfile.write(body)
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def serve(self, *keys):
        self.answer = (200, {"cache-control": "max-age=86400"}, key_set(*keys).encode())

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class TokenHost:
    """A host with a file of issuers, and the tenants acme and globex."""

    def __init__(self, issuers, **files):
        self.work = make_work()
        for name, text in files.items():
            self.write(name + ".json", text)
        self.configure(issuers)
        self.host = Host("--jwt", str(self.work / "jwt.json5"), work=self.work)
        for tenant in ("acme", "globex"):
            self.host.cli("tenant", "create", tenant)

    def write(self, name, text):
        new = self.work / (name + ".new")
        new.write_text(text)
        new.rename(self.work / name)

    def configure(self, issuers):
        self.write("jwt.json5", json.dumps({"issuers": issuers}))

    def ask(self, token, path="/admin/v1/whoami", method="GET", body=None, **headers):
        status, text, headers = self.host.request(method, path, body, {"authorization": f"Bearer {token}", **headers})
        return status, json.loads(text) if text[:1] in (b"{", b"[") else text, headers

    def hangup(self):
        self.host.process.send_signal(signal.SIGHUP)

    def log(self):
        return (self.work / "host.log").read_text()


def issuer(**more):
    own = {"issuer": "https://issuer.test", "audience": "swiftlet", "tenant": {"claim": "org"}, "role": {"default": "tenant_admin"}}
    return {**own, **more}


class ByFile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keys = [Key(name, name) for name in ("RS256", "ES256", "EdDSA")]
        cls.ours = cls.keys[1]
        roles = {"claim": "roles", "map": {"boss": "tenant_admin", "dev": "developer", "call": "invoker", "look": "viewer"}}
        cls.it = TokenHost(
            [issuer(jwks_file="keys.json", role=roles),
             issuer(issuer="https://platform.test", jwks_file="keys.json", platform=True, tenant={"fixed": "globex"}, role={"claim": "role"})],
            keys=key_set(*cls.keys))

    @classmethod
    def tearDownClass(cls):
        code, log = cls.it.host.stop()
        assert code == 0, log

    def token(self, **claims):
        return self.ours.token(**{"roles": ["boss"], **claims})

    def test_each_algorithm_is_known_by_its_tenant_and_role(self):
        for key in self.keys:
            status, body, _ = self.it.ask(key.token(roles=["call", "dev"]))
            self.assertEqual(status, 200, body)
            self.assertEqual((body["id"], body["tenant"], body["role"]), ("jwt:user-1", "acme", "developer"))

    def test_a_refusal_has_the_shape_of_its_route_and_never_the_token(self):
        old = self.token(exp=int(time.time()) - 61)
        for path, words in [
            ("/admin/v1/whoami", lambda e: (e["code"], e["cause"])),
            ("/fn/acme/none/", lambda e: (e["code"], e["cause"])),
            ("/v1/models", lambda e: (e["error"]["code"], e["error"]["message"])),
        ]:
            status, body, headers = self.it.ask(old, path)
            self.assertEqual(status, 401, body)
            code, message = words(body)
            self.assertIn(code, ("unauthorized", "invalid_api_key"))
            self.assertIn("the token has ended (exp)", message)
            self.assertRegex(headers["www-authenticate"], r'^Bearer .*error="invalid_token"')
            self.assertNotIn(old.split(".")[1], json.dumps(body))
        status, body, headers = self.it.ask(old, "/v2/models/none")
        self.assertEqual((status, isinstance(body["error"], str)), (401, True))
        self.assertIn('error="invalid_token"', headers["www-authenticate"])
        self.assertNotIn(old.split(".")[1], self.it.log())

    def test_a_tenants_token_ends_at_its_tenant(self):
        acme, globex = self.token(), self.token(org="globex")
        self.assertEqual(self.it.ask(acme, "/admin/v1/tenants/acme/keys")[0], 200)
        self.assertEqual(self.it.ask(globex, "/admin/v1/tenants/globex/keys")[0], 200)
        for path in ("/admin/v1/tenants/globex/keys", "/admin/v1/tenants/globex", "/fn/globex/any/", "/admin/v1/workers", "/metrics"):
            self.assertIn(self.it.ask(acme, path)[0], (403, 404), path)
        status, body, _ = self.it.ask(self.token(org="nobody"))
        self.assertEqual(status, 401, body)

    def test_roles_are_those_of_the_claims(self):
        status, body, _ = self.it.ask(self.token(roles=["look"]), "/v1/chat/completions", "POST", b"{}")
        self.assertEqual((status, body["error"]["code"]), (403, "insufficient_permissions"))
        status, body, _ = self.it.ask(self.token(roles=["platform_admin"]))
        self.assertEqual(status, 401, body)
        platform = self.ours.token(iss="https://platform.test", role="platform_viewer", org=None)
        status, body, _ = self.it.ask(platform)
        self.assertEqual((status, body["role"], "tenant" in body), (200, "platform_viewer", False))
        self.assertEqual(self.it.ask(platform, "/admin/v1/workers")[0], 200)
        self.assertEqual(self.it.ask(platform, "/admin/v1/tenants", "POST", b'{"name":"x"}')[0], 403)

    def test_a_function_learns_who_called_and_not_by_what(self):
        folder = self.it.work / "echo"
        folder.mkdir()
        (folder / "handler.c").write_text(ECHO)
        (folder / "swiftlet.json5").write_text(json.dumps(
            {"name": "echo", "kind": "handler", "version": "1.0.0", "language": "c", "access": "jwt"}))
        self.it.host.cli("deploy", str(folder), "--tenant", "acme")
        token = self.token(roles=["call"])
        status, body, _ = self.it.ask(token, "/fn/acme/echo/")
        self.assertEqual(status, 200, body)
        self.assertIn(b"x-swiftlet-principal=jwt:user-1\n", body)
        self.assertNotIn(b"authorization", body)
        self.assertNotIn(token.encode(), body)
        status, body, _ = self.it.ask(self.token(roles=["call"], org="globex"), "/fn/acme/echo/")
        self.assertIn(status, (403, 404))


class BadTokens(unittest.TestCase):
    """A host of its own: wrong credentials of one address are counted."""

    def setUp(self):
        self.key = Key("one")
        self.it = TokenHost([issuer(jwks_file="keys.json")], keys=key_set(self.key))

    def tearDown(self):
        self.it.host.stop()

    def test_none_of_them_gets_in(self):
        good = self.key.token()
        head, claims, signature = good.split(".")
        none = b64('{"alg":"none"}')
        bad = [
            f"{none}.{claims}.", f"{none}.{claims}.{signature}", self.key.token({"alg": "HS256"}), self.key.token({"crit": ["x"]}),
            self.key.token({"kid": "../../etc/passwd"}), self.key.token({"kid": "k" * 300}), Key("one").token(),
            self.key.token(iss="https://other.test"), self.key.token(aud="else"), self.key.token(nbf=int(time.time()) + 120),
            f"{head}.{claims}.{signature[:-4]}", f"{head}.{claims}.{signature}A", self.key.token(sub=None), self.key.token(exp=None),
            self.key.token(exp="9999999999"),
        ]
        for token in bad:
            status, body, headers = self.it.ask(token)
            self.assertEqual(status, 401, (token, body))
            self.assertIn('error="invalid_token"', headers["www-authenticate"])
        self.assertEqual(self.it.ask(good)[0], 200)
        # Many more from this address are too many, and a good one is still let in.
        statuses = {self.it.ask(bad[0])[0] for _ in range(20)}
        self.assertEqual(statuses, {401, 429})
        self.assertEqual(self.it.ask(good)[0], 200)
        # Clients that must send some word go on as the operator of this machine.
        self.assertEqual(self.it.ask("sk-anything")[1]["id"], "local")

    def test_a_key_that_leaves_the_file_is_revoked(self):
        new = Key("two", "EdDSA")
        old_token, new_token = self.key.token(), new.token()
        self.assertEqual(self.it.ask(old_token)[0], 200)
        self.assertEqual(self.it.ask(new_token)[0], 401)
        self.it.write("keys.json", key_set(self.key, new))
        wait_for(lambda: self.it.ask(new_token)[0] == 200, "the new key is known", 10)
        self.assertEqual(self.it.ask(old_token)[0], 200)
        self.it.write("keys.json", key_set(new))
        wait_for(lambda: self.it.ask(old_token)[0] == 401, "the old key is forgotten", 10)
        self.assertEqual(self.it.ask(new_token)[0], 200)
        self.it.write("keys.json", "{")
        wait_for(lambda: "can't be refreshed" in self.it.log(), "the log says that the file is broken", 10)
        self.assertEqual(self.it.ask(new_token)[0], 200)

    def test_the_file_of_issuers_is_read_again_on_sighup(self):
        token = self.key.token()
        self.assertEqual(self.it.ask(token)[1]["role"], "tenant_admin")
        self.it.configure([issuer(jwks_file="keys.json", role={"default": "viewer"})])
        self.it.hangup()
        wait_for(lambda: self.it.ask(token)[1]["role"] == "viewer", "the role is the new one")
        self.it.write("jwt.json5", "{ issuers: [ { issuer: 1 } ] }")
        self.it.hangup()
        wait_for(lambda: "the old issuers stay in force" in self.it.log(), "the log says why")
        self.assertEqual(self.it.ask(token)[1]["role"], "viewer")


class ByAddress(unittest.TestCase):
    def setUp(self):
        self.server, self.key = KeyServer(), Key("one")
        self.server.serve(self.key)

    def start(self, **more):
        self.it = TokenHost([issuer(jwks_url=self.server.url, **more)])
        self.addCleanup(self.it.host.stop)

    def tearDown(self):
        self.server.close()

    def test_until_keys_are_there_the_answer_is_503(self):
        self.server.hold = 2.5
        self.start()
        begun = time.time()
        status, body, headers = self.it.ask(self.key.token())
        self.assertEqual((status, headers.get("retry-after")), (503, "1"), body)
        self.assertLess(time.time() - begun, 1, "nobody waits for the keys")
        status, body, headers = self.it.ask(self.key.token(), "/v1/models")
        self.assertEqual((status, headers.get("retry-after")), (503, "1"), body)
        wait_for(lambda: self.it.ask(self.key.token())[0] == 200, "the keys are there")
        self.assertEqual(self.server.asked, 1)

    def test_a_new_key_is_found_and_unknown_ones_ask_once(self):
        self.start()
        wait_for(lambda: self.it.ask(self.key.token())[0] == 200, "the keys are there")
        new = Key("two", "RS256")
        old_token, new_token = self.key.token(), new.token()
        self.server.serve(new)
        self.assertEqual(self.it.ask(new_token)[0], 503)
        wait_for(lambda: self.it.ask(new_token)[0] == 200, "the new key is known", 5)
        self.assertEqual((self.it.ask(old_token)[0], self.server.asked), (401, 2))
        for number in range(15):
            self.assertEqual(self.it.ask(Key("one").token({"kid": f"k{number}"}))[0], 401)
        self.assertEqual(self.server.asked, 2, "unknown keys ask once in 30 s")

    def test_what_the_address_answers_is_not_trusted(self):
        other = KeyServer()
        self.addCleanup(other.close)
        other.serve(self.key)
        self.server.answer = (302, {"location": other.url}, b"")
        self.start()
        wait_for(lambda: "redirects are not followed" in self.it.log(), "the log says so")
        self.assertEqual((self.it.ask(self.key.token())[0], other.asked), (503, 0))
        for answer, words in [
            ((200, {}, b" " * (2 << 20)), "larger than"), ((500, {}, b""), "status 500"), ((200, {}, b"<html>"), "not JSON"),
        ]:
            self.server.answer = answer
            wait_for(lambda: self.server.asked > 0 and self.it.ask(self.key.token())[0] == 503, "no keys")
        self.server.serve(self.key)
        wait_for(lambda: self.it.ask(self.key.token())[0] == 200, "the keys are there at last", 30)

    def test_a_host_ends_while_an_address_is_silent(self):
        self.server.hold = 20
        self.start()
        wait_for(lambda: self.server.asked == 1, "the keys are asked for")
        begun = time.time()
        self.it.host.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.it.host.process.wait(20), 0)
        self.assertLess(time.time() - begun, 5)


class Starts(unittest.TestCase):
    def test_a_file_that_says_too_little_is_no_start(self):
        work = make_work()
        (work / "keys.json").write_text(key_set(Key("one")))
        for text, words in [
            ("{}", "issuers"), ("{", "line 1"), (json.dumps({"issuers": [issuer(jwks_file="none.json")]}), "No such file"),
            (json.dumps({"issuers": [issuer(jwks_url="http://issuer.test/keys")]}), "https://"),
            (json.dumps({"issuers": [issuer(jwks_file="keys.json", role={"default": "platform_admin"})]}), "role.default"),
            (json.dumps({"issuers": [issuer(jwks_file="keys.json", algorithms=["none"])]}), "algorithms[0]"),
        ]:
            (work / "jwt.json5").write_text(text)
            done = subprocess.run(
                [SWIFTLET, "serve", "--listen", "127.0.0.1:0", "--state", work / "state", "--jwt", work / "jwt.json5"],
                capture_output=True, text=True, timeout=60)
            self.assertNotEqual(done.returncode, 0, text)
            self.assertIn(words, done.stderr, text)
        subprocess.run(["rm", "-rf", work], check=True)


if __name__ == "__main__":
    unittest.main()
