#!/usr/bin/env python3
"""Runs `quantize logits` over folders with known logits: check_families.py QUANTIZE DIR… [--limit 1e-4] [--allow-refusals]

DIR: a folder made by fuzz_families.py or Tests/ModelsTests/Families (every sub-folder with tokens.json and logits.safetensors is
checked; with config_old.json once more under that configuration, with tokens-short.json once more on that text), or one such sub-folder.
Prints max|Δ| / standard deviation a case, largest last; fails above the limit, on a refusal, and on any other exit code. numpy only.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np


def logits(path):
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        entry = header["logits"]
        begin, end = entry["data_offsets"]
        if entry["dtype"] != "F32":
            raise ValueError(f"{path}: logits are {entry['dtype']}, not F32")
        file.seek(8 + size + begin)
        return np.frombuffer(file.read(end - begin), "<f4").reshape(entry["shape"]).astype(np.float64)


def cases(folder):
    name = os.path.basename(folder.rstrip("/"))
    yield name, "config.json", "tokens.json", "logits.safetensors"
    if os.path.exists(f"{folder}/config_old.json"):
        yield name + " (old config)", "config_old.json", "tokens.json", "logits.safetensors"
    if os.path.exists(f"{folder}/tokens-short.json"):
        yield name + " (short)", "config.json", "tokens-short.json", "logits-short.safetensors"


def run(quantize, folder, config, tokens, expected):
    """The deviation, or a sentence."""
    with tempfile.TemporaryDirectory() as scratch:
        model = folder
        if config != "config.json":
            model = f"{scratch}/{os.path.basename(folder)}"
            os.mkdir(model)
            os.symlink(os.path.abspath(f"{folder}/{config}"), f"{model}/config.json")
            for file in os.listdir(folder):
                if file.startswith("model"):
                    os.symlink(os.path.abspath(f"{folder}/{file}"), f"{model}/{file}")
        out = f"{scratch}/found.safetensors"
        done = subprocess.run([quantize, "logits", model, "--tokens", f"{folder}/{tokens}", "-o", out],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines()
            return done.returncode, lines[-1] if lines else "no message"
        found, wanted = logits(out), logits(f"{folder}/{expected}")
        if found.shape != wanted.shape:
            return 0, f"logits are {list(found.shape)}, expected {list(wanted.shape)}"
        if not np.isfinite(found).all():
            return 0, "logits are not all finite"
        return 0, float(np.abs(found - wanted).max() / wanted.std())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("quantize")
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--limit", type=float, default=1e-4)
    parser.add_argument("--allow-refusals", action="store_true", help="exit code 3 is listed, and is no failure")
    a = parser.parse_args()
    folders = []
    for top in a.folders:
        inside = [top] + sorted(f"{top}/{name}" for name in os.listdir(top))
        folders += [f for f in inside if os.path.exists(f"{f}/tokens.json") and os.path.exists(f"{f}/logits.safetensors")]
    if not folders:
        sys.exit("no folder with tokens.json and logits.safetensors in " + ", ".join(a.folders))
    measured, refused, broken = [], [], []
    for folder in folders:
        for name, config, tokens, expected in cases(folder):
            code, result = run(a.quantize, folder, config, tokens, expected)
            if isinstance(result, float):
                measured.append((result, name))
            else:
                (refused if code == 3 else broken).append((code, name, result))
    for value, name in sorted(measured):
        print(f"{value:.2e}  {'FAIL' if value > a.limit else 'ok  '}  {name}")
    for code, name, sentence in refused:
        print(f"refused         {name}: {sentence}")
    for code, name, sentence in broken:
        print(f"FAIL exit {code:3d}   {name}: {sentence}")
    above = sum(value > a.limit for value, _ in measured)
    print(f"{len(measured) - above} within {a.limit:g}, {above} above, {len(refused)} refused, {len(broken)} broken")
    if above or broken or (refused and not a.allow_refusals):
        sys.exit(1)


if __name__ == "__main__":
    main()
