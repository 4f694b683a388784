"""Writes comparison.json: what two models' logits say of each other, by numpy in float64.

    QUANTIZE_RECORD=/tmp/record swift test -c release -Xswiftc -enable-testing --filter ComparisonTests
    python3 make_comparison.py .build/release/quantize /tmp/record > comparison.json

The test writes two tiny models and token windows into the folder (which must be there, and empty); `quantize logits`
computes the logits, this program the rest, from the definitions alone. Made with numpy 2.4.6.
"""
import json, os, struct, subprocess, sys
import numpy as np

program, folder = sys.argv[1:]
windows = json.load(open(f"{folder}/windows.json"))


def logits(model, ids):
    json.dump(ids, open(f"{folder}/ids.json", "w"))
    out = f"{folder}/logits.safetensors"
    subprocess.run(
        [program, "logits", f"{folder}/{model}", "--tokens", f"{folder}/ids.json", "-o", out, "--quiet"],
        check=True, stdout=subprocess.DEVNULL)
    data = open(out, "rb").read()
    size = struct.unpack("<Q", data[:8])[0]
    entry = json.loads(data[8:8 + size])["logits"]
    first, last = entry["data_offsets"]
    return np.frombuffer(data[8 + size + first:8 + size + last], "<f4").reshape(entry["shape"]).astype(np.float64)


def log_softmax(x):
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


kl, losses, same = [], ([], []), []
for ids in windows:
    p, q = (log_softmax(logits(model, ids)[:-1]) for model in ("reference", "candidate"))
    targets = np.array(ids[1:])
    kl += list((np.exp(p) * (p - q)).sum(axis=1))
    for store, x in zip(losses, (p, q)):
        store += list(-x[np.arange(len(targets)), targets])
    same += list(p.argmax(axis=1) == q.argmax(axis=1))
kl = np.array(kl)
reference, candidate = (np.exp(np.mean(x)) for x in losses)
json.dump(
    {
        "tokens": len(kl), "kl.mean": kl.mean(), "kl.median": float(np.quantile(kl, 0.5, method="inverted_cdf")),
        "kl.p99": float(np.quantile(kl, 0.99, method="inverted_cdf")), "kl.max": kl.max(),
        "perplexity.reference": reference, "perplexity.candidate": candidate,
        "perplexity.ratio": candidate / reference, "top1Agreement": float(np.mean(same)), "windows": windows,
    }, sys.stdout, separators=(",", ":"))
print()
