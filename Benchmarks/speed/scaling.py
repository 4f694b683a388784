#!/usr/bin/env python3
"""How our time and peak memory grow with the layers of a model and with the tokens of its calibration text.

Quantizes narrow random Llama checkpoints that the script makes, without verifying, and fits a straight line to each
series: a table of slopes and residuals, and a plot. See README.md.
"""

import argparse
import fnmatch
import os
import shutil
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

import checkpoint  # noqa: E402
import lines  # noqa: E402
from measuring import CommandFailed, machine, markdown, measured, middle, rotated  # noqa: E402
from measuring import save, save_table, say, warn_of_load  # noqa: E402


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--tokenizer", required=True, metavar="FOLDER", help="folder with a tokenizer.json")
    add("--text", default="builtin", metavar="FILE", help="calibration text; by default what is built in")
    add("--quantize", default=os.path.join(ROOT, ".build/release/quantize"), help="our tool")
    add("--layers", nargs="*", type=int, default=[4, 8, 16, 32], help="depths, at --at-tokens tokens of text")
    add("--tokens", nargs="*", type=int, default=[1024, 2048, 4096, 8192], help="texts, at --at-layers layers")
    add("--at-tokens", type=int, default=2048)
    add("--at-layers", type=int, default=8)
    add("--methods", nargs="*", default=["awq", "awq+gptq"], metavar="METHOD")
    add("--hidden", type=int, default=1024, help="width, in multiples of 256; heads are 64 wide")
    add("--intermediate", type=int, default=2816, help="width of the MLP")
    add("--seqlen", type=int, default=256, help="tokens of a window")
    add("--only", nargs="*", default=["*"], metavar="PATTERN",
        help="runs named 'METHOD, LAYERS layers, TOKENS tokens', such as '*, 8 layers*'")
    add("--rounds", type=int, default=3)
    add("--threads", type=int, default=os.cpu_count())
    add("--work", default=os.path.join(HERE, ".work/scaling"), help="folder of checkpoints and logs")
    add("--out", default=os.path.join(HERE, ".work/scaling.json"),
        help="the figures, as JSON; the table and the plot beside it")
    options = parser.parse_args()
    if not os.path.exists(os.path.join(options.tokenizer, "tokenizer.json")):
        parser.error(f"--tokenizer: {options.tokenizer} has no tokenizer.json")
    if options.hidden % 256:
        parser.error("--hidden is a multiple of 256")
    for tokens in [*options.tokens, options.at_tokens]:
        if tokens < 2 * options.seqlen or tokens % options.seqlen:
            parser.error(f"{tokens} tokens are not two or more whole windows of --seqlen {options.seqlen}")
    return options


def places(options):
    """Layers and tokens of every run, each once."""
    found = [(layers, options.at_tokens) for layers in options.layers]
    found += [(options.at_layers, tokens) for tokens in options.tokens]
    return list(dict.fromkeys(found))


def name(method, layers, tokens):
    return f"{method}, {layers} layers, {tokens} tokens"


def quantize(options, method, layers, tokens):
    heads = options.hidden // 64
    shape = {
        "hidden": options.hidden, "intermediate": options.intermediate, "heads": heads, "kv_heads": heads // 4}
    folder = os.path.join(options.work, f"{options.hidden}-{options.intermediate}-{layers}")
    model = checkpoint.write(folder, options.tokenizer, shape, layers)
    out = os.path.join(options.work, "out.tar.zst")
    log = os.path.join(options.work, name(method, layers, tokens).replace(", ", "-").replace(" ", "-") + ".log")
    try:
        return measured([
            options.quantize, model, "-o", out, "--method", method, "--scheme", "W4A16_ASYM", "--calibration",
            options.text, "--samples", str(tokens // options.seqlen), "--seqlen", str(options.seqlen), "--no-verify",
            "--force", "--threads", str(options.threads), "--json"], log)
    finally:
        for rest in (out, out + ".partial", out + ".journal"):
            if os.path.exists(rest):
                os.remove(rest)
        shutil.rmtree(os.path.join(options.work, "out.report"), ignore_errors=True)


def measure(options):
    """All figures: by the run's name, one entry a round."""
    runs = [
        (method, layers, tokens) for layers, tokens in places(options) for method in options.methods
        if any(fnmatch.fnmatch(name(method, layers, tokens), pattern) for pattern in options.only)]
    figures, count = {name(*run): [] for run in runs}, 0
    for round in range(options.rounds):
        for run in rotated(runs, round):
            count += 1
            try:
                figure = quantize(options, *run)
            except (CommandFailed, OSError) as error:
                say(f"[{count}/{options.rounds * len(runs)}] {name(*run)}: {error}")
                continue
            figures[name(*run)].append(figure)
            say(f"[{count}/{options.rounds * len(runs)}] round {round + 1}, {name(*run)}: {figure['seconds']:.2f} s, "
                f"peak {figure['peak'] / 1e6:.0f} MB")
            save(options.out, {
                "machine": machine(), "threads": options.threads, "hidden": options.hidden,
                "intermediate": options.intermediate, "seqlen": options.seqlen, "figures": figures})
    return figures


def series(figures, options, method, axis, quantity):
    """Points of one line: layers or tokens, and the median over rounds of seconds or of peak memory in MB."""
    scale = 1e-6 if quantity == "peak" else 1
    found = []
    for layers, tokens in sorted(places(options)):
        if (axis == "layers" and (tokens != options.at_tokens or layers not in options.layers)) or (
                axis == "tokens" and (layers != options.at_layers or tokens not in options.tokens)):
            continue
        rounds = figures.get(name(method, layers, tokens), [])
        if rounds:
            found.append((layers if axis == "layers" else tokens, scale * middle([one[quantity] for one in rounds])))
    return found


def tables(figures, options):
    rows = []
    for layers, tokens in places(options):
        row = [f"{layers}", f"{tokens}"]
        for method in options.methods:
            rounds = figures.get(name(method, layers, tokens), [])
            row += [
                f"{middle([one['seconds'] for one in rounds]):.2f} s",
                f"{middle([one['peak'] for one in rounds]) / 1e6:.0f} MB"] if rounds else ["", ""]
        rows.append(row)
    head = ["layers", "tokens"]
    for method in options.methods:
        head += [f"{method}, time", f"{method}, peak"]
    fits = []
    for axis, step, per in (("layers", 1, "a layer"), ("tokens", 1024, "1,024 tokens")):
        for method in options.methods:
            row = [f"{method}, over {axis}", per]
            for quantity, unit, digits in (("seconds", "s", 3), ("peak", "MB", 1)):
                line = lines.fit(series(figures, options, method, axis, quantity))
                row += [
                    f"{step * line.slope:.{digits}f} {unit}", f"{line.start:.{digits - 1}f} {unit}",
                    f"{100 * line.residual:.1f} %"] if line else ["", "", ""]
            fits.append(row)
    fit_head = ["", "step", "time a step", "at none", "largest residual", "peak a step", "at none", "largest residual"]
    return (f"Width {options.hidden}, MLP {options.intermediate}, medians.\n\n{markdown(head, rows)}\n\n"
            f"Straight lines through these; a residual is the distance of a point from its line, of the point's value."
            f"\n\n{markdown(fit_head, fits)}")


def plot(figures, options):
    panels = []
    for quantity, unit in (("seconds", "seconds"), ("peak", "peak memory in MB")):
        for axis, at in (("layers", f"{options.at_tokens:,} tokens"), ("tokens", f"{options.at_layers} layers")):
            panels.append(lines.Panel(
                f"{unit} over {axis}, at {at}", axis,
                {method: series(figures, options, method, axis, quantity) for method in options.methods}))
    lines.write(
        os.path.splitext(options.out)[0] + ".svg",
        f"Quantizing layers of {options.hidden} and {options.intermediate}: time and memory", panels)


def main():
    options = parse()
    warn_of_load()
    os.makedirs(options.work, exist_ok=True)
    os.makedirs(os.path.dirname(os.path.abspath(options.out)), exist_ok=True)
    figures = measure(options)
    if not any(figures.values()):
        sys.exit("nothing could be timed")
    plot(figures, options)
    save_table(options.out, tables(figures, options))


if __name__ == "__main__":
    main()
