"""Tables of what was measured: Markdown to read, JSON and CSV to reckon with."""

import csv
import json
import math
import os

import candidates as listed

GOAL_W4, GOAL_EC, GOAL_FP8 = 0.8, 0.76, 0.5


def write(rows, failed, out):
    with open(os.path.join(out, "results.json"), "w") as file:
        json.dump([{key: value for key, value in row.items() if key != "binary"} for row in rows], file, indent=1)
        file.write("\n")
    with open(os.path.join(out, "results.csv"), "w", newline="") as file:
        sheet = csv.writer(file)
        sheet.writerow(
            ["model", "tool", "candidate", "kind", "bits_per_linear_weight", "packed_bits", "linear_bytes",
             "file_bytes", "embedding", "kl", "kl_low", "kl_high", "perplexity_ratio", "top1", "whole_kl"])
        for row in rows:
            sheet.writerow(
                [row["model"], row["tool"], row["label"], row["kind"], f"{row['linear_bits']:.4f}",
                 f"{row['packed_bits']:.4f}", round(row["linear_bytes"]), round(row["file_bytes"]), row["embedding"],
                 *(f"{row['kl'][key]:.6g}" for key in ("value", "low", "high")),
                 f"{row['perplexity_ratio']['value']:.6f}", f"{row['top1']['value']:.5f}",
                 f"{row['whole']['kl']['value']:.6g}" if "whole" in row else ""])
    with open(os.path.join(out, "README.md"), "w") as file:
        file.write(markdown(rows, failed))


def markdown(rows, failed):
    models = list(dict.fromkeys(row["model"] for row in rows))
    parts = [
        "# Accuracy per byte: results",
        "Written by `run.py`; how it is measured stands in [../README.md](../README.md). KL is the mean over held-out"
        " text, in nats, with its 95 % bounds; *bits* are those of the blocks' linears on disk, *packed* before zstd.",
    ]
    parts += goals(rows, models)
    for model in models:
        mine = [row for row in rows if row["model"] == model]
        parts += [f"## {model}", f"![KL over bits per weight]({model}.svg)", linear_table(mine), whole_table(mine)]
    reasons = sorted({(model, reason) for (model, _), reason in listed.SKIPPED.items() if model in models})
    if reasons:
        parts += ["## Peers without a row", "\n".join(f"- {model}: {reason}" for model, reason in reasons)]
    if failed:
        parts += ["## Failed", "\n".join(f"- {model}, {name}: {reason}" for model, name, reason in failed)]
    return "\n\n".join(parts) + "\n"


def who(row):
    name = f"{row['tool']} {row['label']}"
    return f"**{name}**" if row["tool"] == listed.OURS else name


def linear_table(rows):
    lines = [
        "| | bits | packed | KL | 95 % | perplexity | top-1 |",
        "|---|--:|--:|--:|:-:|--:|--:|",
    ]
    for row in sorted(rows, key=lambda row: (-row["linear_bits"], row["kl"]["value"])):
        kl = row["kl"]
        packed = "–" if row["kind"] == "EC" else f"{row['packed_bits']:.3f}"
        lines.append(
            f"| {who(row)} | {row['linear_bits']:.3f} | {packed} | {kl['value']:.5f} "
            f"| {kl['low']:.5f}–{kl['high']:.5f} | {percent(row['perplexity_ratio']['value'] - 1, 2)} "
            f"| {100 * row['top1']['value']:.2f} % |")
    return "\n".join(lines)


def whole_table(rows):
    lines = [
        "Whole files, each as its tool writes it, the embedding included:",
        "",
        "| | bytes | embedding | KL |",
        "|---|--:|---|--:|",
    ]
    for row in sorted(rows, key=lambda row: -row["file_bytes"]):
        kl = row.get("whole", row)["kl"]["value"]
        lines.append(f"| {who(row)} | {round(row['file_bytes']):,} | {row['embedding']} | {kl:.5f} |")
    return "\n".join(lines)


def percent(value, digits=0):
    return f"{100 * value:+.{digits}f} %"


def best(rows, model, kind, ours):
    found = [
        row for row in rows
        if row["model"] == model and row["kind"] == kind and (row["tool"] == listed.OURS) == ours]
    return min(found, key=lambda row: row["kl"]["value"], default=None)


def bits_at(curve, kl):
    """Bits at which a curve of (bits, KL) has this KL, straight in log KL; `None` outside of it."""
    points = sorted(curve)
    for (bits0, kl0), (bits1, kl1) in zip(points, points[1:]):
        if kl1 <= kl <= kl0 and kl1 < kl0:
            return bits0 + (bits1 - bits0) * math.log(kl0 / kl) / math.log(kl0 / kl1)
    return None


def curve_of(rows, model):
    """Our entropy-coded points."""
    return [(row["linear_bits"], row["kl"]["value"]) for row in rows if row["model"] == model and row["kind"] == "EC"]


def verdict(value, goal):
    return f"{value:.2f} ({'held' if value <= goal else f'{value / goal - 1:+.0%} away'.replace('+', '')})"


def goals(rows, models):
    """The goals of the accuracy issue, each with its distance."""
    lines = []
    for model in models:
        mine, theirs = (best(rows, model, "W4 g128", ours) for ours in (True, False))
        if mine and theirs:
            lines.append(
                f"| {model} | W4 g128: KL at most {GOAL_W4} × the best peer's | {theirs['tool']} {theirs['label']} "
                f"{theirs['kl']['value']:.5f} | {mine['label']} {mine['kl']['value']:.5f} "
                f"| {verdict(mine['kl']['value'] / theirs['kl']['value'], GOAL_W4)} |")
        curve = curve_of(rows, model)
        target = next((row for row in rows if row["model"] == model and row["label"] == "Q4_K_M"), None)
        if curve and target:
            bits = bits_at(curve, target["kl"]["value"])
            if bits is not None:
                lines.append(
                    f"| {model} | entropy-coded: Q4_K_M's KL in at most {GOAL_EC:.0%} of its bits "
                    f"| {target['linear_bits']:.3f} bits | {bits:.3f} bits "
                    f"| {verdict(bits / target['linear_bits'], GOAL_EC)} |")
            low, high = min(bits for bits, _ in curve), max(bits for bits, _ in curve)
            below = []
            for row in rows:
                if row["model"] == model and row["tool"] != listed.OURS and low <= row["linear_bits"] <= high:
                    needed = bits_at(curve, row["kl"]["value"])
                    if needed is not None and needed > row["linear_bits"]:
                        below.append(f"{row['tool']} {row['label']}")
            lines.append(
                f"| {model} | no peer below our curve, {low:.1f} to {high:.1f} bits | – "
                f"| {', '.join(below) or 'none'} | {'not held' if below else 'held'} |")
        for kind in ("FP8_DYNAMIC", "FP8_BLOCK"):
            mine, theirs = (best(rows, model, kind, ours) for ours in (True, False))
            if mine and theirs:
                lines.append(
                    f"| {model} | {kind}: KL at most {GOAL_FP8} × llm-compressor's | {theirs['kl']['value']:.5f} "
                    f"| {mine['kl']['value']:.5f} | {verdict(mine['kl']['value'] / theirs['kl']['value'], GOAL_FP8)} |")
        mine = best(rows, model, "W4 g128", True)
        if mine:
            saved = mine["linear_bits"] / mine["packed_bits"]
            lines.append(
                f"| {model} | W4 on disk at most 0.92 × packed | {mine['packed_bits']:.3f} bits "
                f"| {mine['linear_bits']:.3f} bits | {verdict(saved, 0.92)} |")
    if not lines:
        return []
    return ["## Goals", "\n".join(["| model | goal | to beat | ours | ratio |", "|---|---|---|---|---|", *lines])]
