#!/usr/bin/env python3
"""How long a model takes from disk to its first token, beside reading the same bytes. See README.md."""

import argparse
import mmap
import os
import re
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BLOCK = 4 << 20

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model", help="an artifact, or any other file of a model")
parser.add_argument("--quantize", default=os.path.join(ROOT, ".build/release/quantize"))
parser.add_argument("--gguf", help="a file whose mapped bytes are read as well; the model itself by default")
parser.add_argument("--weight-cache", help="a folder: the first token out of what an earlier run has left there, too")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--threads", type=int, default=os.cpu_count())
options = parser.parse_args()
mapped = options.gguf or options.model


def evict(path):
    """Drops a file from the page cache."""
    handle = os.open(path, os.O_RDONLY)
    os.fdatasync(handle)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)


def read(path):
    """Seconds to read a file into one buffer, again and again."""
    buffer = bytearray(BLOCK)
    start = time.monotonic()
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.monotonic() - start


def touch(path):
    """Seconds to map a file and read one byte of every page, as a model that is mapped is read."""
    start = time.monotonic()
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as bytes:
        if hasattr(mmap, "MADV_SEQUENTIAL"):
            bytes.madvise(mmap.MADV_SEQUENTIAL)
        bytes[::mmap.PAGESIZE]
    return time.monotonic() - start


def clear():
    """Seconds to get fresh memory of the model's size from the system, which clears it: nobody's first token is sooner."""
    size = os.path.getsize(options.model)
    start = time.monotonic()
    with mmap.mmap(-1, size) as bytes:
        if hasattr(mmap, "MADV_HUGEPAGE"):
            bytes.madvise(mmap.MADV_HUGEPAGE)
        bytes[::mmap.PAGESIZE] = bytearray((size + mmap.PAGESIZE - 1) // mmap.PAGESIZE)
    return time.monotonic() - start


def generate(*more):
    """Seconds from the command until its end, and until the first token."""
    command = [options.quantize, "generate", options.model, "--prompt", "Hi", "--max-tokens", "1", "--threads",
               str(options.threads), "--json", *more]
    start = time.monotonic()
    done = subprocess.run(command, check=True, text=True, capture_output=True)
    whole = time.monotonic() - start
    text = done.stdout + done.stderr
    first = re.search(r'"secondsToFirstToken":\s*([0-9.e-]+)', text) or re.search(r"first after ([0-9.]+) s", text)
    return whole, float(first.group(1)) if first else whole


def kept():
    """What a run with --weight-cache reads."""
    names = sorted(os.listdir(options.weight_cache))
    return [os.path.join(options.weight_cache, name) for name in names] + [options.model]


def from_cache():
    return generate("--weight-cache", options.weight_cache)[1]


size = os.path.getsize(options.model)
columns = {
    "read, warm": lambda: read(options.model),
    "mapped, warm": lambda: touch(mapped),
    "cleared memory": clear,
    "first token, warm": lambda: generate()[1],
    "read, cold": lambda: (evict(options.model), read(options.model))[1],
    "mapped, cold": lambda: (evict(mapped), touch(mapped))[1],
    "first token, cold": lambda: (evict(options.model), generate()[1])[1],
}
if options.weight_cache:
    from_cache()
    columns["first token, from cache, warm"] = lambda: ([read(path) for path in kept()], from_cache())[1]
    columns["first token, from cache, cold"] = lambda: ([evict(path) for path in kept()], from_cache())[1]
figures = {name: [] for name in columns}
read(options.model)
for round in range(options.rounds):
    for name, measure in columns.items():
        if name.endswith("warm"):
            read(mapped if name.startswith("mapped") else options.model)
        figures[name].append(measure())
        print(f"round {round + 1}: {name}: {figures[name][-1]:.2f} s", file=sys.stderr)

print(f"{options.model}: {size / 1e6:.0f} MB, {options.threads} threads")
print("| | seconds | GB/s of the file | least |")
print("|---|--:|--:|--:|")
for name, values in figures.items():
    middle = statistics.median(values)
    bytes = os.path.getsize(mapped) if name.startswith("mapped") else size
    print(f"| {name} | {middle:.2f} | {bytes / middle / 1e9:.2f} | {min(values):.2f} |")
