#!/usr/bin/env python3
"""How long rounding a model to nearest takes, beside reading and writing the same bytes. See README.md."""

import argparse
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BLOCK = 4 << 20

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model", help="a Hugging Face folder in full precision")
parser.add_argument("--quantize", default=os.path.join(ROOT, ".build/release/quantize"))
parser.add_argument("--scheme", nargs="*", default=["FP8_BLOCK", "W4A16_ASYM"])
parser.add_argument("--work", default=os.path.join(HERE, ".work"), help="where artifacts are written, on the disk that is timed")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--threads", type=int, default=os.cpu_count())
options = parser.parse_args()
os.makedirs(options.work, exist_ok=True)
sources = [os.path.join(options.model, name) for name in sorted(os.listdir(options.model)) if name.endswith(".safetensors")]


def read():
    """Seconds to read the model into one buffer, again and again."""
    buffer = bytearray(BLOCK)
    start = time.monotonic()
    for path in sources:
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return time.monotonic() - start


def write(path):
    """Seconds to write a file's bytes to another one, and until the disk has them."""
    copy = path + ".copy"
    total = 0.0
    with open(path, "rb", buffering=0) as source, open(copy, "wb", buffering=0) as target:
        while block := source.read(BLOCK):
            start = time.monotonic()
            target.write(block)
            total += time.monotonic() - start
        start = time.monotonic()
        os.fdatasync(target.fileno())
        total += time.monotonic() - start
    os.remove(copy)
    return total


def convert(scheme):
    """Seconds of the whole command, and its largest memory in bytes."""
    path = os.path.join(options.work, scheme.lower() + ".tar.zst")
    start = time.monotonic()
    process = subprocess.Popen(
        [options.quantize, options.model, "-o", path, "--method", "rtn", "--scheme", scheme, "--no-verify", "--force",
         "--threads", str(options.threads), "-q"], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{scheme}: the command failed")
    return time.monotonic() - start, usage.ru_maxrss * 1024, path


print("| | MB read | MB written | read | written | both | converted | ratio | peak MB |")
print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
size = sum(os.path.getsize(path) for path in sources)
for scheme in options.scheme:
    rounds = []
    for round in range(options.rounds):
        reading = read()
        converting, memory, path = convert(scheme)
        rounds.append((reading, write(path), converting, memory))
        print(f"round {round + 1}: {scheme}: {rounds[-1]}", file=sys.stderr)
    reading, writing, converting, memory = (statistics.median(column) for column in zip(*rounds))
    print(f"| {scheme} | {size / 1e6:.0f} | {os.path.getsize(path) / 1e6:.0f} | {reading:.2f} s | {writing:.2f} s | "
          f"{reading + writing:.2f} s | {converting:.2f} s | {converting / (reading + writing):.2f} | {memory / 1e6:.0f} |")
    os.remove(path)
