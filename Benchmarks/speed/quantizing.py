#!/usr/bin/env python3
"""The time and memory that quantizing takes: ours, llm-compressor's and llama.cpp's, on one checkpoint and machine.

The checkpoint has the shape of TinyLlama-1.1B, random weights and as many layers as are asked for. Every contestant is
timed from its command to its file on disk, in a process of its own. See README.md.
"""

import argparse
import datetime
import fnmatch
import json
import os
import re
import shutil
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
ACCURACY = os.path.join(os.path.dirname(HERE), "accuracy")
sys.path.append(ACCURACY)

import checkpoint  # noqa: E402
from measuring import CommandFailed, machine, markdown, measured, middle, rotated  # noqa: E402
from measuring import save, save_table, say, warn_of_load  # noqa: E402
from windows import calibration_windows  # noqa: E402

# Name, tool, method.
CONTESTANTS = [
    ("ours awq", "quantize", "awq"),
    ("ours awq+gptq", "quantize", "awq+gptq"),
    ("llm-compressor AWQ", "llm-compressor", "awq"),
    ("llm-compressor AWQ+GPTQ", "llm-compressor", "awq+gptq"),
    ("llama.cpp imatrix, Q4_K_M", "llama.cpp", "Q4_K_M"),
]


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--tokenizer", required=True, metavar="FOLDER",
        help="a Llama tokenizer.json, and for llama.cpp its tokenizer.model")
    add("--text", required=True, metavar="FILE", help="calibration text, with more tokens than are used")
    add("--quantize", default=os.path.join(ROOT, ".build/release/quantize"), help="our tool")
    add("--python-llm-compressor", metavar="PYTHON", help="interpreter with llmcompressor")
    add("--llama-source", help="llama.cpp's source, for convert_hf_to_gguf.py")
    add("--llama-build", help="its build folder, with bin/llama-imatrix and bin/llama-quantize")
    add("--python-llama", metavar="PYTHON", default=sys.executable, help="one with torch and transformers, to convert")
    add("--layers", nargs="*", type=int, default=[22], help="with two or more numbers also the cost of a further layer")
    add("--samples", type=int, default=16, help="windows of calibration text")
    add("--seqlen", type=int, default=512, help="tokens of a window")
    add("--only", nargs="*", default=["*"], metavar="PATTERN", help="names of the table, such as 'ours*'")
    add("--rounds", type=int, default=1)
    add("--threads", type=int, default=os.cpu_count())
    add("--narrow", action="store_true", help="an eighth of the width, to try the script out")
    add("--work", default=os.path.join(HERE, ".work/quantizing"), help="folder of checkpoints and logs")
    add("--out", default=os.path.join(HERE, ".work/quantizing.json"), help="the figures, as JSON; the table beside")
    options = parser.parse_args()
    if not os.path.exists(os.path.join(options.tokenizer, "tokenizer.json")):
        parser.error(f"--tokenizer: {options.tokenizer} has no tokenizer.json")
    if min(options.layers + [options.samples, options.seqlen, options.rounds]) < 1:
        parser.error("--layers, --samples, --seqlen and --rounds are at least 1")
    return options


class Trial:
    """One checkpoint of some layers, and how each contestant quantizes it."""

    def __init__(self, options, layers):
        self.options, self.layers = options, layers
        self.folder = os.path.join(options.work, f"{'narrow-' if options.narrow else ''}layers-{layers}")
        self.model = os.path.join(self.folder, "checkpoint")
        self.out = os.path.join(self.folder, "out")
        os.makedirs(self.folder, exist_ok=True)
        shape = checkpoint.TINYLLAMA
        if options.narrow:
            shape = {"hidden": 256, "intermediate": 768, "heads": 4, "kv_heads": 1}
        checkpoint.write(self.model, options.tokenizer, shape, layers)
        self.windows = os.path.join(self.folder, f"windows-{options.samples}-{options.seqlen}.json")
        found = calibration_windows(options.quantize, self.model, options.text, options.samples, options.seqlen)
        self.tokens = sum(map(len, found))
        if len(found) < options.samples:
            sys.exit(f"{options.text} has {len(found)} windows of {options.seqlen} tokens, --samples asks for more")
        save(self.windows, found)
        self.environment = dict(
            os.environ, OMP_NUM_THREADS=str(options.threads), TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1",
            TRANSFORMERS_OFFLINE="1")

    def run(self, name, tool, method):
        """Quantizes once, from nothing; stages with their seconds and peaks, and the bytes that were written."""
        shutil.rmtree(self.out, ignore_errors=True)
        os.makedirs(self.out)
        try:
            stages = []
            for stage, command, environment in self.commands(tool, method):
                log = os.path.join(self.folder, f"{name}, {stage}.log".replace(" ", "-").replace(",", ""))
                stages.append({"stage": stage, **measured(command, log, env={**self.environment, **environment})})
                if tool == "quantize":
                    stages[-1]["work"] = seconds_in_layers(log)
                elif tool == "llm-compressor":
                    stages[-1]["work"] = seconds_between(log, "lifecycle initialized", "lifecycle finalized")
                elif stage != "convert":
                    stages[-1]["work"] = stages[-1]["seconds"]
            written = sum(
                os.path.getsize(os.path.join(folder, file))
                for folder, _, files in os.walk(os.path.join(self.out, "model")) for file in files)
        finally:
            shutil.rmtree(self.out, ignore_errors=True)
        return {
            "seconds": sum(stage["seconds"] for stage in stages), "peak": max(stage["peak"] for stage in stages),
            "work": sum(stage.get("work") or 0 for stage in stages) or None,
            "cpu": sum(stage["cpu"] for stage in stages), "bytes": written, "stages": stages}

    def commands(self, tool, method):
        """Stage, command and environment, one after another; what is wanted ends up in out/model."""
        options = self.options
        model = os.path.join(self.out, "model")
        threads = str(options.threads)
        os.makedirs(model)
        if tool == "quantize":
            yield "run", [
                options.quantize, self.model, "-o", os.path.join(model, "model.tar.zst"), "--method", method,
                "--scheme", "W4A16_ASYM", "--calibration", options.text, "--samples", str(options.samples), "--seqlen",
                str(options.seqlen), "--no-verify", "--threads", threads, "--json"], {}
        elif tool == "llm-compressor":
            peers = os.path.join(ACCURACY, "peers")
            yield "oneshot", [
                options.python_llm_compressor, os.path.join(peers, "llmcompressor_peer.py"), self.model, self.windows,
                model, method, "W4A16_ASYM", "--dtype", "float32"], {"PYTHONPATH": peers}
        else:
            full, matrix = os.path.join(self.out, "bf16.gguf"), os.path.join(self.out, "imatrix.gguf")
            programs = os.path.join(options.llama_build, "bin")
            yield "convert", [
                options.python_llama, os.path.join(options.llama_source, "convert_hf_to_gguf.py"), self.model,
                "--outtype", "bf16", "--outfile", full
            ], {"PYTHONPATH": os.path.join(options.llama_source, "gguf-py")}
            yield "imatrix", [
                os.path.join(programs, "llama-imatrix"), "-m", full, "-f", options.text, "-o", matrix, "-c",
                str(options.seqlen), "--chunks", str(options.samples), "--no-ppl", "-t", threads, "-ngl", "0"], {}
            yield "quantize", [
                os.path.join(programs, "llama-quantize"), "--imatrix", matrix, full, os.path.join(model, "model.gguf"),
                method, threads], {}


def seconds_in_layers(log):
    """What our run spent between the first layer and the final norm, from its lines of progress; None without them."""
    marks = {}
    with open(log) as file:
        for line in file:
            try:
                said = json.loads(line)
            except ValueError:
                continue
            if said.get("stage") == "quantize":
                marks.setdefault(said.get("detail"), said["seconds"])
    first, last = marks.get("layer 0"), marks.get("final norm and head")
    return None if first is None or last is None else last - first


def seconds_between(log, first, last):
    """Between the first line that says the one and the last that says the other, by the times that lines begin with."""
    times = {first: [], last: []}
    with open(log, errors="replace") as file:
        for line in file:
            for words in times:
                found = re.search(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+) \|[^|]*\|[^|]*" + words, line)
                if found:
                    times[words].append(datetime.datetime.fromisoformat(found[1].ljust(26, "0")))
    return (times[last][-1] - times[first][0]).total_seconds() if times[first] and times[last] else None


def available(options):
    """The contestants that are asked for and can run; says what is missing."""
    found = []
    for entry in CONTESTANTS:
        name, tool, _ = entry
        if not any(fnmatch.fnmatch(name, pattern) for pattern in options.only):
            continue
        if tool == "llm-compressor" and not options.python_llm_compressor:
            say(f"{name} is left out: give --python-llm-compressor")
        elif tool == "llama.cpp" and not (options.llama_source and options.llama_build):
            say(f"{name} is left out: give --llama-source and --llama-build")
        else:
            found.append(entry)
    return found


def table(figures, tokens):
    """A row for each contestant and number of layers; a further layer costs the difference to the row of fewer.

    Work leaves out starting, reading and saving: our layers, llm-compressor's lifecycle, llama-imatrix and -quantize.
    """
    names = [name for name, _, _ in CONTESTANTS if name in figures]
    base = next((name for name in names if name.startswith("ours")), None)
    rows = []
    for layers in sorted({layers for by_layers in figures.values() for layers in by_layers}, key=int):
        for name in names:
            rounds = figures[name].get(layers, [])
            if not rounds:
                continue
            seconds = middle([figure["seconds"] for figure in rounds])
            less = [other for other in figures[name] if int(other) < int(layers) and figures[name][other]]
            further = ""
            if less:
                other = max(less, key=int)
                before = middle([figure["seconds"] for figure in figures[name][other]])
                further = f"{(seconds - before) / (int(layers) - int(other)):.1f} s"
            ours = figures.get(base, {}).get(layers)
            ratio = seconds / middle([figure["seconds"] for figure in ours]) if ours else None
            work = middle([figure["work"] for figure in rounds if figure["work"]])
            rows.append([
                name, layers, f"{seconds:.1f} s", f"{seconds / int(layers):.1f} s",
                f"{work / int(layers):.1f} s" if work else "", further,
                f"{middle([figure['peak'] for figure in rounds]) / 1e9:.2f} GB",
                f"{middle([figure['bytes'] for figure in rounds]) / 1e6:.0f} MB", f"{ratio:.2f}" if ratio else ""])
    head = ["", "layers", "wall", "wall / layers", "work / layers", "a further layer", "peak memory", "written"]
    parts = [markdown([*head, f"× {base}"], rows), f"{tokens} tokens of calibration text, medians over rounds."]
    for name in names:
        for layers, rounds in figures[name].items():
            stages = rounds[-1]["stages"] if rounds else []
            if len(stages) > 1:
                told = ", ".join(
                    f"{stage['stage']} {stage['seconds']:.1f} s and {stage['peak'] / 1e9:.2f} GB" for stage in stages)
                parts.append(f"{name}, {layers} layers: {told}.")
    return "\n\n".join(parts)


def main():
    options = parse()
    warn_of_load()
    contestants = available(options)
    if not contestants:
        sys.exit("no contestant is left")
    os.makedirs(os.path.dirname(os.path.abspath(options.out)), exist_ok=True)
    figures, count = {name: {} for name, _, _ in contestants}, 0
    total = len(contestants) * len(options.layers) * options.rounds
    for round in range(options.rounds):
        for layers in options.layers:
            trial = Trial(options, layers)
            for name, tool, method in rotated(contestants, round):
                count += 1
                say(f"[{count}/{total}] round {round + 1}, {layers} layers, {name} …")
                try:
                    figure = trial.run(name, tool, method)
                except (CommandFailed, OSError) as error:
                    say(f"[{count}/{total}] {name}: {error}")
                    continue
                figures[name].setdefault(str(layers), []).append(figure)
                say(f"[{count}/{total}] {figure['seconds']:.1f} s, peak {figure['peak'] / 1e9:.2f} GB")
                save(options.out, {
                    "machine": machine(), "threads": options.threads, "tokens": trial.tokens,
                    "samples": options.samples, "seqlen": options.seqlen, "figures": figures})
    if not any(figures.values()):
        sys.exit("nothing could be timed")
    save_table(options.out, table(figures, trial.tokens))


if __name__ == "__main__":
    main()
