#!/usr/bin/env python3
"""Writes the binary seeds: seeds.py FOLDER. They are not committed, because they are easier to read here."""
import io
import pathlib
import struct
import subprocess
import sys
import tarfile

out = pathlib.Path(sys.argv[1])


def write(target, name, data):
    (out / target).mkdir(parents=True, exist_ok=True)
    (out / target / name).write_bytes(data)


# ---- tar: ustar, plain names

def archive(files, **options):
    room = io.BytesIO()
    with tarfile.open(fileobj=room, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in options.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
    data = room.getvalue()
    return data.rstrip(b"\0").ljust(-(-len(data.rstrip(b"\0")) // 512) * 512, b"\0") + bytes(1024)


write("tar", "two", archive([("plugin.so", b"one"), ("swiftlet.json5", b"{}" * 300)]))
write("tar", "empty-file", archive([("empty", b"")]))
write("tar", "above", archive([("../above", b"x")]))
write("tar", "link", archive([("link", b"")], type=tarfile.SYMTYPE, linkname="/etc/passwd"))
write("tar", "twice", archive([("same", b"1"), ("same", b"2")]))

# ---- minisig: a public key, signatures of both kinds, a secret key without a password, a list of files

KEY = "RWS5qAP/ooxWF1GBYmftVRvLEfdsGtAq8lzkjxGcAOeHCPBGrlGRfwIn"
SECRET = ("RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAuagD/6KMVhc68xOhRMzhkYsv6RuD/1FL9XcyEVMyDORnTIGL6bE5"
          "1lGBYmftVRvLEfdsGtAq8lzkjxGcAOeHCPBGrlGRfwInAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
PREHASHED = ("RUS5qAP/ooxWF6T6rXsNXVgic8iyichnB9MtL0RL2nfxtPQrZodgSaFRhVJ3H94QJngXIeS1sMKTU1mMX2WyeTCsxkOqo1lRyAA=",
             "timestamp:1795821880\tfile:m\thashed", "LV6sL3OeNHMnPS1MKRiZwqJmmphC7BhOxJLl+Yl1vweb9pkSEsEKlswgrOQ0+FxrF2kvaddZPFUF4F/El8r1AQ==")
LEGACY = ("RWS5qAP/ooxWF/1HYLc5jjkPWZ0DHdb5LfMOaobZXZM2CvKToiOnZ6VE54aaHLLxKH8c/IwkyVZNXvv5VmOKCQXFDERYOX50dgg=",
          "timestamp:1795821881\tfile:m", "xb4cI6mJgu2R+iR85Orm1YgULVHg2uUrIOLQLBakhBlDr0rtGmAYLTWWhi2tCYDSztTF5uwTdiw5F//lijMGBQ==")
write("minisig", "public", f"untrusted comment: minisign public key 17568CA2FF03A8B9\n{KEY}\n".encode())
write("minisig", "key-alone", KEY.encode())
write("minisig", "secret", f"untrusted comment: minisign encrypted secret key\n{SECRET}\n".encode())
for name, (first, comment, second) in {"prehashed": PREHASHED, "legacy": LEGACY}.items():
    write("minisig", name, f"untrusted comment: x\n{first}\ntrusted comment: {comment}\n{second}\n".encode())
write("minisig", "list", f"{'a' * 64}  a\n{'b' * 64} *plugin.so\n".encode())

# ---- http2: a 0 byte, then frames of type, flags, stream, size, payload (Targets/HTTP.swift)


def frame(kind, flags, stream, payload=b""):
    return bytes([kind, flags, stream, len(payload)]) + payload


def text(name, value):
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def head(path, *more, method=b"\x82"):
    return method + b"\x86" + b"\x04" + bytes([len(path)]) + path + b"\x41\x01h" + b"".join(more)


DATA, HEADERS, PRIORITY, RST, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
POST = b"\x83"
write("http2", "get", b"\0" + frame(HEADERS, 5, 1, head(b"/early")) + frame(HEADERS, 5, 3, head(b"/length")))
write("http2", "post", b"\0" + frame(HEADERS, 4, 1, head(b"/collect", text(b"content-length", b"5"), method=POST))
      + frame(DATA, 0, 1, b"hel") + frame(DATA, 1, 1, b"lo"))
write("http2", "pause", b"\0" + frame(HEADERS, 4, 1, head(b"/pause", text(b"expect", b"100-continue"), method=POST))
      + frame(DATA, 0, 1, b"a" * 40) + frame(WINDOW, 0, 1, b"\0\0\1\0") + frame(DATA, 9, 1, b"\x02bb\0\0"))
write("http2", "trailers", b"\0" + frame(HEADERS, 4, 1, head(b"/echo", method=POST)) + frame(DATA, 0, 1, b"x")
      + frame(HEADERS, 5, 1, text(b"x-sum", b"1")))
write("http2", "continuation", b"\0" + frame(HEADERS, 1, 1, head(b"/early")) + frame(CONTINUATION, 4, 1, text(b"cookie", b"a=b") * 2))
write("http2", "housekeeping", b"\0" + frame(SETTINGS, 1, 0) + frame(SETTINGS, 0, 0, struct.pack(">HIHI", 1, 0, 4, 1))
      + frame(PING, 0, 0, bytes(8)) + frame(PRIORITY, 0, 1, bytes(5)) + frame(HEADERS, 4, 1, head(b"/", method=POST))
      + frame(RST, 0, 1, b"\0\0\0\x08") + frame(GOAWAY, 0, 0, bytes(8)))
write("http2", "window", b"\0" + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2)) + frame(HEADERS, 5, 1, head(b"/length"))
      + frame(WINDOW, 0, 1, b"\0\0\0\x09"))
write("http2", "abort", b"\0" + frame(HEADERS, 5, 1, head(b"/abort")) + frame(HEADERS, 5, 3, head(b"/short")))
write("http2", "raw", b"\1\0\0\x05\1\5\0\0\0\1\x82\x86\x84\x41\0")

# ---- wire: a byte for who listens, then packets (Targets/Wire.swift)


def packet(kind, flags=0, call=0, payload=b"", how=0, id=0):
    return bytes([how, kind, flags, id, call]) + struct.pack("<H", len(payload)) + payload


def fields(*pairs):
    return b"".join(struct.pack("<II", len(n), len(v)) + n + v for n, v in pairs)


READY, FAILED, LOG, RESPONSE, MORE, FINISHED, CALL, CALL_DATA, CALL_CANCEL, OP_RESULT = range(96, 106)
ready = struct.pack("<IIQQQQIIiIQ", 1, 1, 1, 2, 3, 4, 1, 1, 5, 0, 9) + b"nv"
done = struct.pack("<iIQQ", 0, 0, 5, 6)
answer = struct.pack("<II", 200, 1) + fields((b"a", b"b"))
write("wire", "warm", b"\1\0" + packet(LOG, call=1, payload=b"hi") + packet(RESPONSE, payload=answer + b"body")
      + packet(MORE, payload=b"more") + packet(FINISHED, payload=done))
write("wire", "cold", b"\1\1" + packet(READY, payload=ready) + packet(RESPONSE, 5, payload=answer + b"x" + done))
write("wire", "failed", b"\1\1" + packet(FAILED, payload=b"load: no"))
write("wire", "calls", b"\1\0" + packet(CALL, 0, 1, struct.pack("<I", 2) + b"kv1") + packet(CALL_DATA, 1, 1, b"2")
      + packet(CALL, 1, 3, struct.pack("<I", 1) + b"m") + packet(CALL_CANCEL, 0, 1) + packet(MORE, how=1, payload=b""))
model = struct.pack("<8I2Q", 1, 100, 64, 64, 4, 32, 8, 0, 9, 9)
backend_ready = ready[:52] + struct.pack("<IQ", 1, 9) + b"nv" + model
write("wire", "backend", b"\2" + packet(READY, payload=backend_ready)
      + packet(OP_RESULT, 0, id=1, payload=bytes(8)) + packet(OP_RESULT, 1, id=1, payload=struct.pack("<ii", 3, 4)))
step = struct.pack("<IIQ", 1, 0, 5) + struct.pack("<IiIifIII", 3, 0, 0, 8, -1, 2, 1, 0) + b"AB" + struct.pack("<ifI", 1, -2, 1) + b"C"
write("wire", "step", b"\0" + struct.pack("<HHIII", OP_RESULT, 1, len(step), 1, 0) + step)
info = backend_ready
write("wire", "model", b"\0" + struct.pack("<HHIII", READY, 0, len(info), 0, 0) + info)
gone = struct.pack("<IiIIQQIiQII", 1, 9, 1, 0, 7, 8, 4, 6, 0, 0, 0) + b"boom"
write("wire", "zygote", b"\3" + packet(16, payload=bytes(16)) + packet(20, payload=struct.pack("<Ii", 1, 5)) + packet(18, payload=gone))

# ---- tensors: whether the length of the JSON is announced, that length, the body (Targets/Bodies.swift)


def tensors(body, raw=None):
    head = b"\0" if raw is None else b"\1" + struct.pack("<H", len(body))
    return head + body + (raw or b"")


def tensor(name, datatype, shape, rest):
    return b'{"name":"%s","datatype":"%s","shape":%s,%s}' % (name, datatype, shape, rest)


write("tensors", "json", tensors(b'{"id":"1","inputs":[' + tensor(b"a", b"FP32", b"[1,2]", b'"data":[[1,2.5]]') + b","
      + tensor(b"b", b"BYTES", b"[2]", b'"data":["x",""]') + b'],"outputs":[{"name":"o","parameters":{"binary_data":true}}]}'))
write("tensors", "raw", tensors(b'{"inputs":[' + tensor(b"a", b"INT64", b"[1]", b'"parameters":{"binary_data_size":8}') + b","
      + tensor(b"b", b"BYTES", b"[1]", b'"parameters":{"binary_data_size":5}') + b'],"parameters":{"binary_data_output":true}}',
      bytes(8) + b"\1\0\0\0x"))
write("tensors", "bool", tensors(b'{"inputs":[' + tensor(b"a", b"BOOL", b"[0]", b'"data":[]') + b"]}"))

# ---- job: the payload of START (job.c)


def job(kind, directory, library, model, config, devices=0, memory=0):
    sizes = struct.pack("<6I", len(directory), len(library), len(model), len(config), devices, 0)
    return struct.pack("<IIQ", 1, kind, 1 << 27) + struct.pack("<8IQ", 1, 100, 0, 16, 0, 0, 0, 1, memory) + sizes + directory + library + model + config


write("job", "handler", job(1, b"d", b"plugin.so", b"", b"{}"))
write("job", "backend", job(2, b"dir", b"llama.so", b"m.gguf", b'{"a":1}'))
write("job", "device", job(2, b"dir", b"llama.so", b"m.gguf", b"{}", 3, 8 << 30))
write("job", "handler-device", job(1, b"d", b"plugin.so", b"", b"{}", 1, 1))
write("job", "above", job(3, b"../x", b"a/../b", b"", b""))

# ---- tokens: a byte that says which, then a token, a header's size with header and claims, a key set, or JSON (Targets/Tokens.swift)

HEAD = b'{"alg":"EdDSA","kid":"a"}'
CLAIMS = b'{"iss":"i","aud":["a"],"sub":"s","exp":1767225700,"nbf":1.5e9,"iat":1767225600,"t":"acme","r":["x"],"f":["c-*"]}'
write("tokens", "token", b"\0eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UifQ.AAAA")
write("tokens", "claims", b"\1" + bytes([len(HEAD)]) + HEAD + CLAIMS)
write("tokens", "keys", b"\2" + b'{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a","use":"sig"},'
      b'{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},'
      b'{"kty":"RSA","e":"AQAB","n":"' + b"_" * 342 + b'","alg":"RS256"}]}')
write("tokens", "json", b"\3" + b'{"a":[1,-0.5e3,"\\u00e9\\ud83d\\ude00",true,null,{}]}')

# ---- elf: small libraries of this machine

SOURCE = "const void *swiftlet_plugin_entry(unsigned host) { return host == 0 ? 0 : \"x\"; }\n"
(out / "elf").mkdir(parents=True, exist_ok=True)


def library(name, *options):
    command = ["cc", "-shared", "-fPIC", "-s", "-nostdlib", "-x", "c", "-", "-o", str(out / "elf" / name), *options]
    subprocess.run(command, input=SOURCE, text=True, check=True)


library("plain", "-Wl,-z,noseparate-code", "-Wl,--build-id=none")
library("pages", "-Wl,--hash-style=sysv")
library("origin", "-Wl,-z,noseparate-code", "-Wl,-rpath,$ORIGIN", "-Wl,-soname,x.so")
library("needs", "-Wl,-z,noseparate-code", "-Wl,--no-as-needed", "-lc")
