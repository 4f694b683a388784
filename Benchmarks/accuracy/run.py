#!/usr/bin/env python3
"""Accuracy per byte, ours and the peers': one table and one plot for every model. See README.md.

Every candidate is turned into something that `quantize verify` reads, and judged by it on the same held-out text.
"""

import argparse
import fnmatch
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time

import candidates as listed
import figure
import sizes
import tables
from windows import calibration_windows

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = ["pocket-qwen2", "pocket-qwen2-outliers", "pocket-deepseek", "stories260K", "babyllama-tok361"]


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--quantize", default=os.path.join(HERE, "../../.build/release/quantize"), help="our tool")
    add("--shared", default=os.environ.get("QUANTIZE_SHARED", os.path.join(HERE, "../../../shared")),
        help="folder of models/ and texts/ (default: $QUANTIZE_SHARED, or shared beside the checkout)")
    add("--models", nargs="*", default=MODELS, metavar="MODEL", help="names in models/, or folders")
    add("--only", nargs="*", default=["*"], metavar="PATTERN", help="names of candidates, such as 'ours-*' 'lc-*'")
    add("--redo", nargs="*", default=[], metavar="PATTERN", help="candidates to make and judge again")
    add("--work", default=os.path.join(HERE, ".work"), help="folder for what is done and kept")
    add("--out", default=os.path.join(HERE, "results"), help="folder of the table and the plots")
    add("--list", action="store_true", help="print the candidates and stop")
    add("--tables-only", action="store_true", help="run nothing, write tables and plots from what is there")
    for tool in listed.SCRIPTS:
        add(f"--python-{tool.lower().replace('.', '')}", metavar="PYTHON", help=f"interpreter that has {tool}")
    add("--llama-source", help="llama.cpp's source folder")
    add("--llama-build", help="its build folder, with bin/llama-quantize and bin/llama-imatrix")
    add("--samples", type=int, default=64)
    add("--seqlen", type=int, default=256)
    add("--tokens", type=int, default=24576)
    return parser.parse_args()


class Bench:
    """One run: its options, and where things are kept."""

    def __init__(self, options):
        self.options = options
        self.calibration = os.path.join(options.shared, "texts/tinystories.txt")
        self.held = os.path.join(options.shared, "texts/held.txt")
        with open(options.quantize, "rb") as file:
            self.binary = hashlib.sha256(file.read()).hexdigest()
        self.environment = dict(
            os.environ, OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE", TOKENIZERS_PARALLELISM="false",
            HF_HUB_OFFLINE="1", PYTHONPATH=os.path.join(HERE, "peers"))

    def folder(self, model):
        return model if os.path.isdir(model) else os.path.join(self.options.shared, "models", model)

    def windows(self, model):
        path = os.path.join(self.options.work, model_name(model), "windows.json")
        if not os.path.exists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            found = calibration_windows(
                self.options.quantize, self.folder(model), self.calibration, self.options.samples, self.options.seqlen)
            with open(path, "w") as file:
                json.dump(found, file)
        return path

    def command(self, model, candidate, out):
        """What makes the candidate, or why it cannot be made here."""
        options = self.options
        if candidate.tool == listed.OURS:
            return [
                options.quantize, "run", self.folder(model), "-o", out, *candidate.arguments, "--calibration",
                self.calibration, "--samples", str(options.samples), "--seqlen", str(options.seqlen), "--no-verify",
                "--force", "--quiet"]
        python = getattr(options, "python_" + candidate.tool.lower().replace(".", "").replace("-", "_"))
        if python is None:
            return None
        command = ["nice", "-n", "5", python, os.path.join(HERE, "peers", listed.SCRIPTS[candidate.tool])]
        command += [self.folder(model), self.windows(model), out, *candidate.arguments]
        if candidate.tool == listed.LLAMA_CPP:
            if options.llama_source is None or options.llama_build is None:
                return None
            work = os.path.join(options.work, model_name(model), "llamacpp-work")
            command += ["--source", options.llama_source, "--build", options.llama_build, "--work", work]
        return command

    def verify(self, model, path):
        command = [
            self.options.quantize, "verify", self.folder(model), path, "--text", self.held, "--tokens",
            str(self.options.tokens), "--verify-seqlen", "256",
            "--float-activations", "--json", "--quiet"]
        report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        return {
            "kl": report["kl"]["mean"],
            "perplexity_ratio": report["perplexity"]["ratio"],
            "top1": report["top1Agreement"],
            "tokens": report["tokens"],
        }

    def row(self, model, candidate):
        """The candidate's figures, made anew unless they are there."""
        base = os.path.join(self.options.work, model_name(model), candidate.name)
        os.makedirs(os.path.dirname(base), exist_ok=True)
        kept = base + ".json"
        ours = candidate.tool == listed.OURS
        redo = any(fnmatch.fnmatch(candidate.name, pattern) for pattern in self.options.redo)
        if os.path.exists(kept) and not redo:
            with open(kept) as file:
                row = json.load(file)
            same = row["arguments"] == list(candidate.arguments) and (not ours or row["binary"] == self.binary)
            if self.options.tables_only or same:
                return {**row, "label": candidate.label, "kind": candidate.kind}
        if self.options.tables_only:
            return None
        out = base + (".tar.zst" if ours else "")
        command = self.command(model, candidate, out)
        if command is None:
            return None
        if not ours and redo:
            shutil.rmtree(out, ignore_errors=True)
        started = time.time()
        if ours or not os.path.isdir(out) or not os.listdir(out):
            with open(base + ".log", "w") as log:
                done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=self.environment)
            if done.returncode != 0:
                shutil.rmtree(out, ignore_errors=True)
                raise ValueError(last_line(base + ".log"))
        row = {
            "model": model_name(model), "name": candidate.name, "tool": candidate.tool, "label": candidate.label,
            "kind": candidate.kind, "arguments": list(candidate.arguments), "binary": self.binary if ours else None,
            "seconds": round(time.time() - started, 1), **self.verify(model, out), **self.size(model, out, ours),
        }
        if os.path.isdir(out + "-whole"):
            row["whole"] = self.verify(model, out + "-whole")
        with open(kept, "w") as file:
            json.dump(row, file, indent=1)
        return row

    def size(self, model, out, ours):
        modules = sizes.linear_modules(self.folder(model))
        weights = sum(modules.values())
        said = os.path.join(out, "sizes.json")
        if os.path.exists(said):
            with open(said) as file:
                found = json.load(file)
            packed = on_disk = found["linear_bytes"]
            file_bytes, embedding = found["file_bytes"], found["embedding"]
        else:
            packed, on_disk, everything = sizes.stored(self.options.quantize, out, modules, halve_floats=not ours)
            file_bytes = os.path.getsize(out) if ours else everything
            embedding = sizes.embedding(self.options.quantize, out)
        return {
            "linear_bytes": on_disk, "linear_bits": 8 * on_disk / weights, "packed_bits": 8 * packed / weights,
            "file_bytes": file_bytes, "embedding": embedding,
        }


def last_line(path):
    with open(path, errors="replace") as file:
        lines = [line.strip() for line in file if line.strip()]
    return lines[-1] if lines else "it said nothing"


def model_name(model):
    return os.path.basename(os.path.normpath(model))


def main():
    options = parse()
    everyone = listed.OUR_CANDIDATES + listed.PEERS
    if options.list:
        for one in everyone:
            print(f"{one.name:22} {one.tool:15} {one.kind:12} {' '.join(one.arguments)}")
        return
    bench = Bench(options)
    rows, failed = [], []
    for model in options.models:
        for candidate in everyone:
            if not any(fnmatch.fnmatch(candidate.name, pattern) for pattern in options.only):
                continue
            skipped = {(model_name(model), candidate.kind), (model_name(model), candidate.tool)} & set(listed.SKIPPED)
            if skipped and candidate.tool != listed.OURS:
                continue
            try:
                row = bench.row(model, candidate)
            except (subprocess.CalledProcessError, ValueError, OSError) as error:
                said = getattr(error, "stderr", None) or str(error)
                failed.append((model_name(model), candidate.name, said.strip().splitlines()[-1][:300]))
                print(f"{model_name(model)} {candidate.name}: {failed[-1][2]}", file=sys.stderr, flush=True)
                continue
            if row is not None:
                rows.append(row)
                print(
                    f"{row['model']:22} {row['name']:20} {row['linear_bits']:.3f} bits  KL {row['kl']['value']:.5f}",
                    flush=True)
    os.makedirs(options.out, exist_ok=True)
    tables.write(rows, failed, options.out)
    for model in options.models:
        chosen = [row for row in rows if row["model"] == model_name(model)]
        if chosen:
            figure.write(chosen, model_name(model), os.path.join(options.out, model_name(model) + ".svg"))


if __name__ == "__main__":
    main()
