#!/usr/bin/env python3
"""Says what files are, by Magika's model on a Swiftlet host: file_type.py [--host URL] [--model NAME] --config FILE PATH…

The model reads the first and the last bytes of a file as numbers; its config file says how many, and what its outputs mean.
"""
import argparse
import array
import json
import pathlib
import sys
import urllib.error
import urllib.request


def features(content, config):
    """What the model takes: bytes from both ends without the white space around them, padded to a fixed length."""
    block, padding = config["block_size"], config["padding_token"]
    first = list(content[:block].lstrip()[:config["beg_size"]])
    last = list(content[-block:].rstrip()[-config["end_size"]:])
    return (first + [padding] * (config["beg_size"] - len(first))) + ([padding] * (config["end_size"] - len(last)) + last)


def ask(host, model, rows):
    """Likelihoods of every type, a list for each row; tensors travel as raw bytes behind the JSON."""
    numbers = array.array("i", [number for row in rows for number in row])
    if sys.byteorder == "big":
        numbers.byteswap()
    raw = numbers.tobytes()
    head = json.dumps({
        "inputs": [{"name": "bytes", "datatype": "INT32", "shape": [len(rows), len(rows[0])],
                    "parameters": {"binary_data_size": len(raw)}}],
        "outputs": [{"name": "target_label"}]}).encode()
    request = urllib.request.Request(
        f"{host}/v2/models/{model}/infer", head + raw,
        {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            output = json.load(answer)["outputs"][0]
    except urllib.error.HTTPError as refused:
        sys.exit(f"file_type: the host answers {refused.code}: {json.load(refused)['error']}")
    width = output["shape"][1]
    return [output["data"][at:at + width] for at in range(0, len(output["data"]), width)]


def name(likelihoods, config):
    """The likeliest type, or a plain one when the model is not sure enough."""
    best = max(range(len(likelihoods)), key=likelihoods.__getitem__)
    label, score = config["target_labels_space"][best], likelihoods[best]
    if score < config["thresholds"].get(label, config["medium_confidence_threshold"]):
        return "unknown", score
    return config["overwrite_map"].get(label, label), score


def main():
    words = argparse.ArgumentParser(description="Says what files are.")
    words.add_argument("--host", default="http://127.0.0.1:8080")
    words.add_argument("--model", default="magika")
    words.add_argument("--config", type=pathlib.Path, required=True, help="the model's config.min.json")
    words.add_argument("paths", type=pathlib.Path, nargs="+")
    given = words.parse_args()
    config = json.loads(given.config.read_text())
    contents = [path.read_bytes() for path in given.paths]
    # A few bytes say nothing: the model was not trained on such files.
    known = [index for index, content in enumerate(contents) if len(content) >= config["min_file_size_for_dl"]]
    answers = ask(given.host, given.model, [features(contents[index], config) for index in known]) if known else []
    found = dict(zip(known, answers))
    for index, path in enumerate(given.paths):
        label, score = name(found[index], config) if index in found else ("unknown", 0.0)
        print(f"{path}\t{label}\t{score:.3f}")


if __name__ == "__main__":
    main()
