#!/usr/bin/env python3
"""Whole-model speed beside llama.cpp: prompt and generation, of one text and of several at a time, tokens a second,
interleaved, medians. See README.md."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

# Name, options of `quantize run`, options of `quantize bench`.
OURS = [
    ("W4 g128", ["--scheme", "W4A16_ASYM"], []),
    ("W4 g128, float activations", ["--scheme", "W4A16_ASYM"], ["--activations", "float"]),
    ("W8 rows", ["--scheme", "W8A16"], []),
]
THEIRS = ["Q4_0", "Q4_K_M", "Q8_0"]
# Texts continued together, besides one.
BATCHES = [4, 8]

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model", help="a Hugging Face folder in full precision, with tokenizer.model for llama.cpp's converter")
parser.add_argument("--quantize", default=os.path.join(ROOT, ".build/release/quantize"))
parser.add_argument("--llama-source", help="llama.cpp's source, for convert_hf_to_gguf.py")
parser.add_argument("--llama-build", help="its build folder, with bin/llama-quantize, bin/llama-bench and bin/llama-batched-bench")
parser.add_argument("--python", default=sys.executable, help="a Python with torch and transformers, for the converter")
parser.add_argument("--work", default=os.path.join(HERE, ".work"), help="where quantized models are kept")
parser.add_argument("--only", nargs="*", help="names of contestants; all by default")
parser.add_argument("--prompt", type=int, default=512)
parser.add_argument("--generated", type=int, default=128)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--threads", type=int, default=os.cpu_count())
parser.add_argument("--out", help="a file for every figure, as JSON")
options = parser.parse_args()


def run(*command, **keywords):
    return subprocess.run(command, check=True, text=True, **keywords)


def chosen(name):
    return not options.only or name in options.only


def artifact(arguments):
    """Our artifact: rounded to nearest, since values do not change the speed; the head as well, as llama.cpp has it."""
    path = os.path.join(options.work, "-".join(arguments).strip("-").lower() + ".tar.zst")
    if not os.path.exists(path):
        run(options.quantize, options.model, "-o", path, "--method", "rtn", "--include", "lm_head", "--tokens", "64",
            "--verify-seqlen", "32", "-q", *arguments, stdout=subprocess.DEVNULL)
    return path


def gguf(kind):
    path = os.path.join(options.work, kind.lower() + ".gguf")
    if not os.path.exists(path):
        full = os.path.join(options.work, "bf16.gguf")
        if not os.path.exists(full):
            environment = dict(os.environ, PYTHONPATH=os.path.join(options.llama_source, "gguf-py"))
            run(options.python, os.path.join(options.llama_source, "convert_hf_to_gguf.py"), options.model, "--outtype",
                "bf16", "--outfile", full, env=environment, stdout=subprocess.DEVNULL)
        run(os.path.join(options.llama_build, "bin/llama-quantize"), full, path, kind, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
    return path


def time_ours(path, arguments):
    command = [options.quantize, "bench", "--model", path, "--rounds", "1", "--prompt-tokens", str(options.prompt),
               "--generated-tokens", str(options.generated), "--batch", "1", *map(str, BATCHES), "--threads",
               str(options.threads), "--json", *arguments]
    found = json.loads(run(*command, stdout=subprocess.PIPE).stdout)
    rates = {batch["texts"]: batch["tokensPerSecond"][0] for batch in found["generated"]}
    return {"prompt": found["promptTokensPerSecond"][0], "generation": rates[1], "load": found["secondsToLoad"],
            **{f"batch {texts}": rates[texts] for texts in BATCHES}}


def time_theirs(path):
    command = [os.path.join(options.llama_build, "bin/llama-bench"), "-m", path, "-p", str(options.prompt), "-n",
               str(options.generated), "-t", str(options.threads), "-r", "1", "-o", "json"]
    found = json.loads(run(*command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)
    rates = {("prompt" if entry["n_prompt"] else "generation"): entry["avg_ts"] for entry in found}
    # A prompt of one token, as ours; it warms up by itself.
    command = [os.path.join(options.llama_build, "bin/llama-batched-bench"), "-m", path, "-npp", "1", "-ntg",
               str(options.generated), "-npl", ",".join(map(str, BATCHES)), "-c",
               str(max(BATCHES) * (options.generated + 1)), "-t", str(options.threads), "-tb", str(options.threads),
               "--output-format", "jsonl"]
    for line in run(*command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.splitlines():
        if line.startswith("{"):
            entry = json.loads(line)
            rates[f"batch {entry['pl']}"] = entry["speed_tg"]
    return rates


os.makedirs(options.work, exist_ok=True)
contestants = []
for name, make, measure in OURS:
    if chosen(name):
        path = artifact(make)
        contestants.append((name, path, lambda path=path, measure=measure: time_ours(path, measure)))
if options.llama_build:
    for kind in THEIRS:
        if chosen(kind):
            path = gguf(kind)
            contestants.append((kind, path, lambda path=path: time_theirs(path)))

figures = {name: [] for name, _, _ in contestants}
for round in range(options.rounds):
    # Every round begins with another contestant, so that none always follows the same one.
    order = contestants[round % len(contestants):] + contestants[:round % len(contestants)]
    for name, _, measure in order:
        figures[name].append(measure())
        print(f"round {round + 1}: {name}: {figures[name][-1]}", file=sys.stderr)

if options.out:
    with open(options.out, "w") as file:
        json.dump({"machine": platform.processor() or platform.machine(), "threads": options.threads,
                   "prompt": options.prompt, "generated": options.generated, "figures": figures}, file, indent=1)


def middle(name, key):
    values = [figure[key] for figure in figures[name] if key in figure]
    return statistics.median(values) if values else None


baselines = [kind for kind in ("Q4_0", "Q4_K_M") if kind in figures]
head = ["", "MB", f"prompt of {options.prompt}", f"{options.generated} generated", *[f"of each of {texts} texts" for texts in BATCHES],
        "loaded after"]
for kind in baselines:
    head += [f"prompt / {kind}", f"generation / {kind}"]
print("| " + " | ".join(head) + " |")
print("|" + "---|" * len(head))
for name, path, _ in contestants:
    prompt, generation, load = middle(name, "prompt"), middle(name, "generation"), middle(name, "load")
    batches = [middle(name, f"batch {texts}") for texts in BATCHES]
    row = [name, f"{os.path.getsize(path) / 1e6:.0f}", f"{prompt:.1f}", f"{generation:.1f}",
           *[f"{rate:.1f}" for rate in batches], f"{load:.2f} s" if load else ""]
    for kind in baselines:
        row += [f"{prompt / middle(kind, 'prompt'):.2f}", f"{generation / middle(kind, 'generation'):.2f}"]
    print("| " + " | ".join(row) + " |")
