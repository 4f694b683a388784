#!/usr/bin/env python3
"""4-bit products, ours, ONNX Runtime's and OpenVINO's: one row and 512 rows at 7B shapes, interleaved, medians.

Ours are timed by `quantize bench`, in one process with the machine's limits; every peer's product has a process of its
own. A peer without its interpreter is left out. See README.md.
"""

import argparse
import fnmatch
import json
import os
import re
import subprocess
import sys

from measuring import machine, markdown, middle, rotated, save, save_table, say, warn_of_load

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SHAPES = ["4096x4096", "11008x4096", "4096x11008"]
# Name, script, group size, activations that are asked for.
PEERS = [
    ("ONNX Runtime g128, accuracy_level 4", "onnxruntime", 128, "int8"),
    ("ONNX Runtime g128, float", "onnxruntime", 128, "float"),
    ("ONNX Runtime g32, accuracy_level 4", "onnxruntime", 32, "int8"),
    ("ONNX Runtime g32, float", "onnxruntime", 32, "float"),
    ("OpenVINO g128, default", "openvino", 128, "int8"),
    ("OpenVINO g128, dynamic quantization off", "openvino", 128, "float"),
    ("OpenVINO g32, default", "openvino", 32, "int8"),
    ("OpenVINO g32, dynamic quantization off", "openvino", 32, "float"),
]
# Name, title in the table of `quantize bench`, group size, activations.
OURS = [
    ("ours g128, int8", "int4 g128, int8", 128, "int8"),
    ("ours g128, float", "int4 g128, float", 128, "float"),
    ("ours g32, int8", "int4 g32, int8", 32, "int8"),
    ("ours g32, float", "int4 g32, float", 32, "float"),
]
HEAD = ["", "activations", "ms", "GFLOP/s", "GB/s", "of limit", "× fastest peer", "× fastest peer of its kind"]
# A product whose relative error is above this has rounded its activations; one in float stays below 1e-5.
ROUNDED = 1e-3


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--quantize", default=os.path.join(ROOT, ".build/release/quantize"), help="our tool")
    add("--python-onnxruntime", metavar="PYTHON", help="interpreter with onnxruntime, onnx and numpy")
    add("--python-openvino", metavar="PYTHON", help="interpreter with openvino and numpy")
    add("--shapes", nargs="*", default=SHAPES, metavar="OUTxIN", help="output by input features")
    add("--rows", nargs="*", type=int, default=[1, 512], help="rows of activations")
    add("--only", nargs="*", default=["*"], metavar="PATTERN", help="names of the table, such as 'ours*' '*g128*'")
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=1.0, help="how long a peer's process is timed")
    add("--threads", type=int, default=os.cpu_count())
    add("--out", default=os.path.join(HERE, ".work/kernels.json"), help="the figures, as JSON; beside them the table")
    options = parser.parse_args()
    for shape in options.shapes:
        if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", shape) or int(shape.split("x")[1]) % 256:
            parser.error(f"--shapes: {shape} is not OUTxIN with input features in multiples of 256")
    return options


def chosen(name, options):
    return any(fnmatch.fnmatch(name, pattern) for pattern in options.only)


def counted(rows):
    return f"{rows} row{'' if int(rows) == 1 else 's'}"


def run(command, environment=None):
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise ValueError(f"ended with {done.returncode}: {said[-1][:300]}")
    return done.stdout


def time_ours(options, shape, rows):
    """What `quantize bench` says: figures by title, limits among them."""
    outs, ins = shape.split("x")
    # A product of one row takes a fraction of a millisecond, one of 512 rows a tenth of a second.
    rounds = 41 if rows <= 8 else 3
    said = run([
        options.quantize, "bench", "--rows", outs, "--columns", ins, "--tokens", str(rows), "--rounds", str(rounds),
        "--threads", str(options.threads)])
    found = parsed(said, int(outs) * int(ins) * rows)
    if "read" not in found or not any(title in found for _, title, _, _ in OURS):
        raise ValueError("printed no table that this script knows")
    return found


def parsed(said, multiplications):
    """The table of `quantize bench`: a title of 18 characters, then ms, GFLOP/s, GB/s and shares, or some of them."""
    found = {}
    for line in said.splitlines():
        title, numbers = line[:18].strip(), re.findall(r"\d+(?:\.\d+)?", line[18:])
        if title == "read" and len(numbers) == 1:
            found[title] = {"gigabytes": float(numbers[0])}
        elif title.startswith("limit,") and len(numbers) == 1:
            found[title] = {"gigaflops": float(numbers[0])}
        elif len(numbers) == 5 and line.rstrip().endswith("%") and float(numbers[1]) > 0:
            # GFLOP/s has more digits than the milliseconds of a short product.
            seconds = 2e-9 * multiplications / float(numbers[1])
            found[title] = {"seconds": seconds, "bytes": float(numbers[2]) * 1e9 * seconds}
    return found


def time_peer(options, entry, shape, rows):
    _, script, group, activations = entry
    outs, ins = shape.split("x")
    threads = str(options.threads)
    said = run(
        [getattr(options, "python_" + script), os.path.join(HERE, "peers", script + "_peer.py"), "--out-features", outs,
         "--in-features", ins, "--rows", str(rows), "--group", str(group), "--activations", activations, "--threads",
         threads, "--seconds", str(options.seconds)],
        dict(os.environ, OMP_NUM_THREADS=threads))
    return json.loads(said.strip().splitlines()[-1])


def measure(options):
    """All figures: by place (shape and rows), then by name, one entry a round."""
    peers = [entry for entry in PEERS if chosen(entry[0], options) and getattr(options, "python_" + entry[1])]
    for script in sorted({entry[1] for entry in PEERS if chosen(entry[0], options)} - {entry[1] for entry in peers}):
        say(f"{script} is left out: give --python-{script}")
    # Ours always run, because the limits come from the same process.
    contestants = [("ours", None)] + [(entry[0], entry) for entry in peers]
    places = [(shape, rows) for rows in options.rows for shape in options.shapes]
    figures = {f"{shape}, {rows}": {} for shape, rows in places}
    total, count = options.rounds * len(places) * len(contestants), 0
    for round in range(options.rounds):
        for shape, rows in places:
            here = figures[f"{shape}, {rows}"]
            for name, entry in rotated(contestants, round):
                count += 1
                try:
                    if entry is None:
                        found = time_ours(options, shape, rows)
                    else:
                        found = {name: time_peer(options, entry, shape, rows)}
                except (ValueError, OSError) as error:
                    say(f"[{count}/{total}] {shape}, {counted(rows)}, {name}: {error}")
                    continue
                for title, figure in found.items():
                    here.setdefault(title, []).append(figure)
                shown = ", ".join(
                    f"{title} {1000 * found[title]['seconds']:.3f} ms"
                    for title in found if entry or any(title == other for _, other, _, _ in OURS))
                say(f"[{count}/{total}] round {round + 1}, {shape}, {counted(rows)}: {shown}")
        save(options.out, {
            "machine": machine(), "threads": options.threads, "rounds": round + 1, "seconds": options.seconds,
            "figures": figures})
    return figures


def entries(here, options):
    """What the table has a row for: name, group, what its activations are, whether ours, medians over rounds."""
    found = []
    for name, title, group, activations in OURS:
        if title in here and chosen(name, options):
            found.append((name, group, activations, True, here[title]))
    for name, _, group, _ in PEERS:
        if name in here:
            rounded = middle([figure["error"] for figure in here[name]]) > ROUNDED
            found.append((name, group, "int8" if rounded else "float", False, here[name]))
    return [
        {"name": name, "group": group, "activations": activations, "ours": ours,
         "seconds": middle([figure["seconds"] for figure in rounds]),
         "bytes": middle([figure["bytes"] for figure in rounds])}
        for name, group, activations, ours, rounds in found]


def tables(figures, options):
    parts = []
    for place, here in figures.items():
        shape, rows = place.split(", ")
        outs, ins = (int(part) for part in shape.split("x"))
        found = entries(here, options)
        peers = [entry for entry in found if not entry["ours"]]
        limits = {
            title: middle([figure.get("gigaflops", figure.get("gigabytes")) for figure in rounds])
            for title, rounds in here.items() if title == "read" or title.startswith("limit,")}
        lines = []
        for entry in found:
            flops = 2e-9 * outs * ins * int(rows) / entry["seconds"]
            bandwidth = 1e-9 * entry["bytes"] / entry["seconds"]
            kind = [peer for peer in peers if all(peer[key] == entry[key] for key in ("group", "activations"))]
            limit = limits.get("limit, int4 × int8" if entry["activations"] == "int8" else "limit, float")
            if int(rows) == 1:
                share = bandwidth / limits["read"] if "read" in limits else None
            else:
                share = flops / limit if limit else None
            lines.append([
                entry["name"], entry["activations"], f"{1000 * entry['seconds']:.3f}", f"{flops:.0f}",
                f"{bandwidth:.1f}" if int(rows) == 1 else "",
                f"{100 * share:.0f} %" if share else "", faster(entry, peers), faster(entry, kind)])
        said = f"{outs} × {ins}, {counted(rows)}"
        limits_said = ", ".join(
            f"{title.removeprefix('limit, ')} {value:.0f} {'GB/s' if title == 'read' else 'GFLOP/s'}"
            for title, value in limits.items())
        parts.append(f"**{said}** (limits: {limits_said})\n\n" + markdown(HEAD, lines))
    return "\n\n".join(parts)


def faster(entry, peers):
    """How many times as fast as the fastest of these peers."""
    return f"{min(peer['seconds'] for peer in peers) / entry['seconds']:.2f}" if peers else ""


def main():
    options = parse()
    warn_of_load()
    os.makedirs(os.path.dirname(os.path.abspath(options.out)), exist_ok=True)
    figures = measure(options)
    if not any(figures.values()):
        sys.exit("nothing could be timed")
    save_table(options.out, tables(figures, options))


if __name__ == "__main__":
    main()
